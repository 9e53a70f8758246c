/* wave: the waveform as a picture: peaks of three bands, column by column. */
#ifndef FOREVER_ROOT_ANALYSIS_WAVE_H
#define FOREVER_ROOT_ANALYSIS_WAVE_H
#include <stddef.h>
#include <stdint.h>

#define WAVE_BANDS       3     /* below WAVE_LOW_HZ, between, above WAVE_HIGH_HZ */
#define WAVE_LOW_HZ      200.0 /* crossovers, -6 dB in both bands */
#define WAVE_HIGH_HZ     2500.0
#define WAVE_COLUMN      2205  /* samples of a column: 20 a second */
#define WAVE_COLUMNS_MAX 32000 /* about 27 minutes; then columns are joined by twos, again and again */

/* The serialised form (docs/API.md, "Waveform"), little endian: "wave", u8 version 1, u8 bands, u16 0, u32
 * samples in a column, u32 columns; then of each column the low, mid and high band's peak, a byte each: byte
 * b stands for the amplitude (b / 255)^2. */
#define WAVE_HEAD    16
#define WAVE_MAX_LEN (WAVE_HEAD + (size_t)WAVE_COLUMNS_MAX * WAVE_BANDS)

struct wave;
struct wave *wave_new(void);
void wave_free(struct wave *wave);
void wave_feed(struct wave *wave, const float *mono, size_t samples);
/* The serialised form, owned, of *len bytes; the last column may stand for less than the others. */
uint8_t *wave_finish(struct wave *wave, size_t *len);

#endif
