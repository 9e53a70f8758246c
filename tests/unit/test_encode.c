/* encode: a session that starts anywhere gives the bytes of one that never stopped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/mp3.h"
#include "root/audio/decode.h"
#include "root/audio/encode.h"

#define FRAMES  700
#define SAMPLES ((FRAMES + 2) * MP3_FRAME_SAMPLES)

static uint32_t random_state;
static uint32_t random_next(void)
{
    random_state = random_state * 1664525 + 1013904223;
    return random_state >> 8;
}

static double noise(void)
{
    return random_next() / 8388608.0 - 1;
}

/* What tries an encoder's memory: loud noise, tones, drum hits, then quiet, digital silence, and loud again,
 * in pieces of a second or so. */
static float *signal_new(uint32_t seed)
{
    random_state = seed;
    float *pcm = xcalloc(SAMPLES * 2, sizeof *pcm);
    double low = 0, hit = 0, phase = 0;
    for (size_t i = 0; i < SAMPLES;) {
        unsigned kind = random_next() % 5;
        double level = (double[]){0.5, 0.4, 0.003, 0, 0.9}[kind];
        size_t end = i + 20000 + random_next() % 60000;
        for (; i < end && i < SAMPLES; i++) {
            low += 0.2 * (noise() - low);
            phase += 0.02 + 0.1 * kind;
            hit = i % 11025 == 0 ? 1 : hit * 0.999;
            pcm[i * 2] = (float)(level * (0.5 * low + 0.2 * sin(phase) + 0.3 * hit * noise()));
            pcm[i * 2 + 1] = (float)(level * (0.5 * low + 0.2 * sin(phase * 1.01)));
        }
    }
    return pcm;
}

struct tape {
    uint8_t bytes[FRAMES * MP3_FRAME_MAX_BYTES];
    size_t len;
    uint64_t first, count;
};

static void record(void *context, uint64_t frame, const uint8_t *bytes, size_t len)
{
    struct tape *tape = context;
    if (tape->count == 0) tape->first = frame;
    assert_int_equal(frame, tape->first + tape->count);
    assert_true(tape->len + len <= sizeof tape->bytes);
    memcpy(tape->bytes + tape->len, bytes, len);
    tape->len += len;
    tape->count++;
}

static struct tape *encode(const float *pcm, unsigned kbps, uint64_t first, uint64_t count)
{
    struct tape *tape = xcalloc(1, sizeof *tape);
    char *cause = NULL;
    struct encoder *encoder = encoder_new(kbps, first, &cause);
    assert_non_null(encoder);
    for (uint64_t at = encoder_first_sample(encoder); tape->count < count; at += MP3_FRAME_SAMPLES) {
        assert_true(at + MP3_FRAME_SAMPLES <= SAMPLES);
        if (encoder_feed(encoder, pcm + at * 2, record, tape, &cause)) fail_msg("%s", cause);
    }
    encoder_free(encoder);
    return tape;
}

static void test_any_start_gives_the_same_bytes(void **state)
{
    (void)state;
    static const unsigned rates[] = {64, 128, 192, 320};
    static const uint64_t edges[] = {0, 1, 48, 49, 50, 97, 98, 99, 294};
    for (uint32_t seed = 1; seed <= 1; seed++) {
        float *pcm = signal_new(seed);
        for (size_t r = 0; r < 4; r++) {
            struct tape *whole = encode(pcm, rates[r], 0, FRAMES);
            char *cause = NULL;
            assert_int_equal(whole->first, 0);
            if (mp3_frames_check(rates[r], 0, FRAMES, whole->bytes, whole->len, &cause))
                fail_msg("%s", cause);
            for (size_t i = 0; i < 9 + 5; i++) {
                uint64_t first = i < 9 ? edges[i] : random_next() % (FRAMES - 40);
                struct tape *part = encode(pcm, rates[r], first, 30);
                uint64_t from = mp3_frame_offset(rates[r], first);
                assert_int_equal(part->first, first);
                if (memcmp(part->bytes, whole->bytes + from, part->len))
                    fail_msg("seed %u, %u kbit/s: frames from %u on differ", seed, rates[r], (unsigned)first);
                free(part);
            }
            free(whole);
        }
        free(pcm);
    }
}

/* What lies ENCODE_AHEAD samples after a frame's start and later can't change it; one sample earlier can. */
static void test_ahead(void **state)
{
    (void)state;
    float *pcm = signal_new(3);
    for (uint64_t frame = 3; frame < 100; frame += 41) {
        struct tape *before = encode(pcm, 128, 0, frame + 2);
        size_t cut = frame * MP3_FRAME_SAMPLES + ENCODE_AHEAD, end = (size_t)mp3_frame_offset(128, frame + 1);
        float *other = xmalloc(SAMPLES * 2 * sizeof *other);
        memcpy(other, pcm, SAMPLES * 2 * sizeof *other);
        for (size_t i = cut * 2; i < SAMPLES * 2; i++)
            other[i] = (float)noise();
        struct tape *after = encode(other, 128, 0, frame + 2);
        assert_memory_equal(before->bytes, after->bytes, end);
        assert_memory_not_equal(before->bytes + end, after->bytes + end, before->len - end);
        free(after);
        for (size_t i = (cut - 300) * 2; i < cut * 2; i++)
            other[i] = (float)noise();
        after = encode(other, 128, 0, frame + 2);
        assert_memory_not_equal(before->bytes, after->bytes, end);
        free(after);
        free(other);
        free(before);
    }
    free(pcm);
}

static void test_decodes_without_a_gap(void **state)
{
    (void)state;
    float *pcm = signal_new(4);
    struct tape *tape = encode(pcm, 192, 0, 300);
    int fd = memfd_create("tape", MFD_CLOEXEC);
    assert_int_equal(write(fd, tape->bytes, tape->len), tape->len);
    struct decoder *decoder;
    char *cause = NULL;
    if (decode_open(&decoder, fd, &cause)) fail_msg("%s", cause);
    float *heard = xcalloc(SAMPLES * 2, sizeof *heard);
    long n = decode_read(decoder, heard, SAMPLES, &cause);
    assert_int_equal(n, 300 * MP3_FRAME_SAMPLES);
    assert_int_equal(decode_errors(decoder), 0);
    decode_close(decoder);
    /* the signal comes back 576 + 529 samples later */
    enum { DELAY = 1105 };
    double signal = 0, error = 0;
    for (size_t i = 0; i < (size_t)n - DELAY; i++) {
        double d = heard[(i + DELAY) * 2] - pcm[i * 2];
        signal += (double)pcm[i * 2] * pcm[i * 2];
        error += d * d;
    }
    print_message("error %.1f dB below the signal\n", 10 * log10(signal / error));
    assert_true(error < signal / 30);
    free(heard);
    free(tape);
    free(pcm);
}

static void test_rates(void **state)
{
    (void)state;
    static const unsigned bad[] = {0, 32, 56, 100, 384};
    for (size_t i = 0; i < 5; i++) {
        char *cause = NULL;
        assert_null(encoder_new(bad[i], 0, &cause));
        assert_non_null(cause);
        free(cause);
    }
    float *pcm = signal_new(5);
    for (unsigned kbps = 64; kbps <= 320; kbps++) {
        if (!mp3_kbps_valid(kbps)) continue;
        struct tape *tape = encode(pcm, kbps, 0, 60);
        free(tape);
    }
    free(pcm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_start_gives_the_same_bytes),
        cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_decodes_without_a_gap),
        cmocka_unit_test(test_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
