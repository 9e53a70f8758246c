/* Crossovers are Linkwitz-Riley's of fourth order for the outer bands (two Butterworth sections at the same
 * frequency: S. H. Linkwitz, "Active Crossover Networks for Noncoincident Drivers", JAES 24, 1976), one
 * section at either side for the middle one. So every band is two sections in a row, and the bands are the
 * lanes of a vector. Sections are the bilinear transform's with Q = 1/sqrt(2), in transposed direct form II.
 *
 * Peaks are kept as the bytes they are drawn from: the square root of the amplitude, which shows -48 dBFS as
 * a sixteenth of the height. It is monotonous, so columns can be joined by taking the greater byte. */
#include "root/analysis/wave.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/pcm.h"

#define QUIET 1e-15f /* keeps decaying filters out of the denormal numbers, which are slow */

typedef float v4 __attribute__((vector_size(16))); /* low, mid, high, unused */
typedef int32_t i4 __attribute__((vector_size(16)));
#define SIGN ((i4){INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN})

struct section4 {
    v4 b0, b1, b2, a1, a2, s1, s2;
};

/* Invariant: count <= WAVE_COLUMNS_MAX; left is what the column under way still lacks, at most `column`. */
struct wave {
    struct section4 first, second;
    v4 peak;
    size_t column, left, count, room;
    uint8_t *bytes;
};

enum kind { LOWPASS, HIGHPASS };

static void set_lane(struct section4 *s, int lane, enum kind kind, double hz)
{
    double w = 2 * M_PI * hz / PCM_RATE, c = cos(w), alpha = sin(w) / M_SQRT2, a0 = 1 + alpha;
    double b1 = kind == LOWPASS ? 1 - c : -(1 + c), b0 = fabs(b1) / 2;
    s->b0[lane] = s->b2[lane] = (float)(b0 / a0);
    s->b1[lane] = (float)(b1 / a0);
    s->a1[lane] = (float)(-2 * c / a0);
    s->a2[lane] = (float)((1 - alpha) / a0);
}

struct wave *wave_new(void)
{
    struct wave *wave = xcalloc(1, sizeof *wave);
    set_lane(&wave->first, 0, LOWPASS, WAVE_LOW_HZ);
    set_lane(&wave->second, 0, LOWPASS, WAVE_LOW_HZ);
    set_lane(&wave->first, 1, HIGHPASS, WAVE_LOW_HZ);
    set_lane(&wave->second, 1, LOWPASS, WAVE_HIGH_HZ);
    set_lane(&wave->first, 2, HIGHPASS, WAVE_HIGH_HZ);
    set_lane(&wave->second, 2, HIGHPASS, WAVE_HIGH_HZ);
    wave->column = wave->left = WAVE_COLUMN;
    return wave;
}

void wave_free(struct wave *wave)
{
    if (!wave) return;
    free(wave->bytes);
    free(wave);
}

/* The filters over n samples; the greatest magnitudes go to wave->peak. */
static void filter(struct wave *wave, const float *x, size_t n)
{
    struct section4 f = wave->first, s = wave->second;
    v4 most = wave->peak;
    for (size_t i = 0; i < n; i++) {
        float sample = x[i] + QUIET;
        v4 in = {sample, sample, sample, sample};
        v4 mid = f.b0 * in + f.s1;
        f.s1 = f.b1 * in - f.a1 * mid + f.s2;
        f.s2 = f.b2 * in - f.a2 * mid;
        v4 out = s.b0 * mid + s.s1;
        s.s1 = s.b1 * mid - s.a1 * out + s.s2;
        s.s2 = s.b2 * mid - s.a2 * out;
        v4 size = (v4)((i4)out & ~SIGN);
        i4 greater = size > most;
        most = (v4)(((i4)size & greater) | ((i4)most & ~greater));
    }
    wave->first = f;
    wave->second = s;
    wave->peak = most;
}

static void halve(struct wave *wave)
{
    for (size_t i = 0; i < wave->count / 2; i++) {
        for (size_t b = 0; b < WAVE_BANDS; b++) {
            uint8_t one = wave->bytes[2 * i * WAVE_BANDS + b],
                    two = wave->bytes[(2 * i + 1) * WAVE_BANDS + b];
            wave->bytes[i * WAVE_BANDS + b] = one > two ? one : two;
        }
    }
    wave->count /= 2;
    wave->column *= 2;
}

static void end_column(struct wave *wave)
{
    if (wave->count == wave->room) {
        wave->room += 4096;
        wave->bytes = xrealloc(wave->bytes, wave->room * WAVE_BANDS);
    }
    for (size_t b = 0; b < WAVE_BANDS; b++) {
        float a = fminf(1, wave->peak[b]);
        wave->bytes[wave->count * WAVE_BANDS + b] = (uint8_t)lrintf(255 * sqrtf(a));
    }
    wave->count++;
    wave->peak = (v4){0};
    if (wave->count == WAVE_COLUMNS_MAX) halve(wave);
    wave->left = wave->column;
}

void wave_feed(struct wave *wave, const float *mono, size_t samples)
{
    while (samples) {
        size_t n = samples < wave->left ? samples : wave->left;
        filter(wave, mono, n);
        mono += n;
        samples -= n;
        wave->left -= n;
        if (!wave->left) end_column(wave);
    }
}

static void put_u32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

uint8_t *wave_finish(struct wave *wave, size_t *len)
{
    if (wave->left < wave->column) end_column(wave);
    *len = WAVE_HEAD + wave->count * WAVE_BANDS;
    uint8_t *out = xcalloc(1, *len);
    static const uint8_t magic[6] = {'w', 'a', 'v', 'e', 1, WAVE_BANDS};
    memcpy(out, magic, sizeof magic);
    put_u32(out + 8, (uint32_t)wave->column);
    put_u32(out + 12, (uint32_t)wave->count);
    if (wave->count) memcpy(out + WAVE_HEAD, wave->bytes, wave->count * WAVE_BANDS);
    return out;
}
