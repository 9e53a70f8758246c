/* mp3_gain: the loudness of a Layer III frame, without a codec (ISO/IEC 11172-3, 2.4.1.7 and 2.4.3.4).
 *
 * Each granule's spectrum of each channel is scaled by 2^(global_gain / 4): one less is 1.5 dB less, in 8
 * bits of the side information. A decoder overlaps the granules, so that a step is no click. Pure. */
#ifndef FOREVER_COMMON_MP3_GAIN_H
#define FOREVER_COMMON_MP3_GAIN_H
#include <stddef.h>
#include <stdint.h>

#define MP3_GAIN_STEP_DB 1.505
/* That many steps (48 dB) below the music is as good as nothing; silence is where a fade goes through. */
#define MP3_GAIN_SILENT 32u

/* Lowers the two granules of the frame at bytes (len: the whole of it) by so many steps each, as far as they
 * go; a check sum of the frame is set anew. 0, or -1 when these are no frame's bytes. */
int mp3_gain_lower(uint8_t *bytes, size_t len, unsigned first, unsigned second);
/* Steps below full at granule n of a fade out over `granules` of them: 0 at its beginning, MP3_GAIN_SILENT
 * from its end on, evenly in dB. */
unsigned mp3_gain_fade(uint64_t n, uint64_t granules);

#endif
