/* wave: tones show in their band at their height, columns lie where they should, long ones stay bounded. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/wave.h"
#include "root/audio/pcm.h"

static void tone(struct wave *wave, double hz, double dbfs, size_t samples)
{
    float *mono = xmalloc(samples * sizeof *mono);
    for (size_t i = 0; i < samples; i++)
        mono[i] = (float)(pow(10, dbfs / 20) * sin(2 * M_PI * hz * (double)i / PCM_RATE));
    wave_feed(wave, mono, samples);
    free(mono);
}

static uint32_t u32(const uint8_t *in)
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

/* dB of a byte as docs/API.md says it. */
static double db(uint8_t byte)
{
    return byte ? 40 * log10(byte / 255.0) : -120;
}

static uint8_t *finish(struct wave *wave, size_t *columns)
{
    size_t len;
    uint8_t *bytes = wave_finish(wave, &len);
    assert_memory_equal(bytes, "wave\1\3\0\0", 8);
    *columns = u32(bytes + 12);
    assert_int_equal(len, WAVE_HEAD + *columns * WAVE_BANDS);
    wave_free(wave);
    return bytes;
}

/* A tone in the middle of a band: at its level there, and at least 20 dB less in the others. */
static void test_bands(void **unused)
{
    (void)unused;
    static const double hz[WAVE_BANDS] = {60, 700, 9000};
    for (int band = 0; band < WAVE_BANDS; band++) {
        size_t columns;
        struct wave *wave = wave_new();
        tone(wave, hz[band], -6, PCM_RATE);
        uint8_t *bytes = finish(wave, &columns);
        assert_int_equal(columns, 20);
        const uint8_t *column = bytes + WAVE_HEAD + 10 * WAVE_BANDS;
        for (int b = 0; b < WAVE_BANDS; b++) {
            if (b == band && fabs(db(column[b]) + 6) > 1)
                fail_msg("%.0f Hz: %.2f dB", hz[band], db(column[b]));
            if (b != band && db(column[b]) > -26)
                fail_msg("%.0f Hz: %.2f dB in band %d", hz[band], db(column[b]), b);
        }
        free(bytes);
    }
}

/* Both bands beside a crossover have half the amplitude there (the middle one's slope is gentler: -3). */
static void test_crossover(void **unused)
{
    (void)unused;
    size_t columns;
    struct wave *wave = wave_new();
    tone(wave, WAVE_LOW_HZ, 0, PCM_RATE);
    uint8_t *bytes = finish(wave, &columns);
    assert_true(fabs(db(bytes[WAVE_HEAD + 10 * WAVE_BANDS]) + 6) < 0.5);
    assert_true(fabs(db(bytes[WAVE_HEAD + 10 * WAVE_BANDS + 1]) + 3) < 0.5);
    free(bytes);
}

/* Levels down to -80 dBFS come back, louder than full scale is full scale, silence is 0. */
static void test_levels(void **unused)
{
    (void)unused;
    static const double levels[] = {12, 0, -20, -48, -80};
    size_t columns;
    struct wave *wave = wave_new();
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        tone(wave, 50, levels[i], PCM_RATE);
    tone(wave, 50, -200, 10 * PCM_RATE); /* long enough for filters to become denormal */
    uint8_t *bytes = finish(wave, &columns);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        uint8_t byte = bytes[WAVE_HEAD + (20 * i + 15) * WAVE_BANDS];
        double want = levels[i] > 0 ? 0 : levels[i];
        if (fabs(db(byte) - want) > (want < -60 ? 3 : 0.5)) fail_msg("%.1f is not %.1f dB", db(byte), want);
    }
    for (size_t i = 7 * 20; i < columns; i++)
        assert_int_equal(bytes[WAVE_HEAD + i * WAVE_BANDS], 0);
    free(bytes);
}

/* A click at 30.02 s lies in the column of that time, however the stream is cut into pieces. */
static void test_place(void **unused)
{
    (void)unused;
    size_t columns, at = (size_t)(30.02 * PCM_RATE), len = 31 * PCM_RATE + 100;
    float *mono = xcalloc(len, sizeof *mono);
    struct wave *wave = wave_new();
    mono[at] = 1;
    for (size_t i = 0, n = 1; i < len; i += n, n = n * 7 % 10007) {
        if (n > len - i) n = len - i;
        wave_feed(wave, mono + i, n);
    }
    uint8_t *bytes = finish(wave, &columns);
    assert_int_equal(columns, 31 * 20 + 1); /* the last one is not whole */
    for (size_t i = 0; i < columns; i++) {
        int here = bytes[WAVE_HEAD + i * WAVE_BANDS + 2] > 128;
        assert_int_equal(here, i == at / WAVE_COLUMN);
    }
    free(bytes);
    free(mono);
}

/* Beyond the bound columns are joined: nothing gets lost, and the blob stays within what a message may hold.
 */
static void test_long(void **unused)
{
    (void)unused;
    size_t columns, seconds = 45 * 60;
    float *mono = xcalloc(PCM_RATE, sizeof *mono);
    struct wave *wave = wave_new();
    for (size_t s = 0; s < seconds; s++) {
        mono[100] = s == 60 || s == seconds - 2;
        wave_feed(wave, mono, PCM_RATE);
    }
    uint8_t *bytes = finish(wave, &columns);
    assert_int_equal(u32(bytes + 8), 2 * WAVE_COLUMN);
    assert_int_equal(columns, seconds * 10);
    for (size_t i = 0; i < columns; i++) {
        int click = i == 600 || i == (seconds - 2) * 10;
        assert_int_equal(bytes[WAVE_HEAD + i * WAVE_BANDS + 2] > 128, click);
    }
    assert_true(WAVE_MAX_LEN <= 96 * 1024);
    free(bytes);
    free(mono);
    wave = wave_new();
    bytes = finish(wave, &columns);
    assert_int_equal(columns, 0);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bands), cmocka_unit_test(test_crossover), cmocka_unit_test(test_levels),
        cmocka_unit_test(test_place), cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests_name("wave", tests, NULL, NULL);
}
