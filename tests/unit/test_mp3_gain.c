/* mp3_gain: what a real decoder makes of frames whose gain was lowered. */
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
#include "common/mp3_gain.h"
#include "root/audio/decode.h"
#include "root/audio/encode.h"

#define FRAMES 98
#define FULL   20 /* frames before the fade */
#define FADE   40 /* frames that it takes */
#define SILENT (FULL + FADE)

struct tape {
    uint8_t bytes[FRAMES * MP3_FRAME_MAX_BYTES];
    size_t len, count;
};

static void record(void *context, uint64_t frame, const uint8_t *bytes, size_t len)
{
    struct tape *tape = context;
    assert_int_equal(frame, tape->count);
    if (tape->count == FRAMES) return;
    memcpy(tape->bytes + tape->len, bytes, len);
    tape->len += len;
    tape->count += tape->count < FRAMES;
}

/* A chord and some noise, other ones left and right, so that both ways to join the channels are used. */
static struct tape *encode(unsigned kbps)
{
    struct tape *tape = xcalloc(1, sizeof *tape);
    struct encoder *encoder = encoder_new(kbps, 0, NULL);
    float pcm[MP3_FRAME_SAMPLES * 2];
    uint32_t x = 1;
    for (size_t at = encoder_first_sample(encoder); tape->count < FRAMES;) {
        for (size_t i = 0; i < MP3_FRAME_SAMPLES; i++, at++) {
            double t = (double)at / MP3_RATE;
            x = x * 1664525 + 1013904223;
            double both = 0.2 * sin(2 * M_PI * 440 * t) + 0.1 * (x / 2147483648.0 - 1);
            pcm[2 * i] = (float)(both + 0.2 * sin(2 * M_PI * 523 * t));
            pcm[2 * i + 1] = (float)(both + 0.2 * sin(2 * M_PI * 659 * t) * (at / 40000 % 2));
        }
        assert_int_equal(encoder_feed(encoder, pcm, record, tape, NULL), 0);
    }
    encoder_free(encoder);
    return tape;
}

/* Decibels of each frame as a decoder plays it. */
static void loudness(const struct tape *tape, double *db)
{
    int fd = memfd_create("frames.mp3", 0);
    char *cause = NULL;
    struct decoder *decoder;
    assert_int_equal(write(fd, tape->bytes, tape->len), tape->len);
    lseek(fd, 0, SEEK_SET);
    if (decode_open(&decoder, fd, &cause)) fail_msg("%s", cause);
    for (size_t frame = 0; frame < FRAMES; frame++) {
        float pcm[MP3_FRAME_SAMPLES * 2];
        double sum = 0;
        size_t have = 0;
        while (have < MP3_FRAME_SAMPLES) {
            long n = decode_read(decoder, pcm + 2 * have, MP3_FRAME_SAMPLES - have, &cause);
            assert_true(n >= 0);
            if (n == 0) break;
            have += (size_t)n;
        }
        for (size_t i = 0; i < 2 * have; i++)
            sum += (double)pcm[i] * pcm[i];
        db[frame] = 10 * log10(sum / MP3_FRAME_SAMPLES + 1e-12);
    }
    assert_int_equal(decode_errors(decoder), 0);
    decode_close(decoder);
}

static void lower(struct tape *tape, unsigned kbps)
{
    for (uint64_t n = FULL; n < FRAMES; n++) {
        uint64_t from = mp3_frame_offset(kbps, n), granule = 2 * (n - FULL);
        assert_int_equal(mp3_gain_lower(tape->bytes + from, mp3_frame_bytes(kbps, n),
                                        mp3_gain_fade(granule, 2 * FADE),
                                        mp3_gain_fade(granule + 1, 2 * FADE)),
                         0);
    }
}

static void a_decoder_hears_the_fade(void **state)
{
    (void)state;
    static const unsigned rates[] = {64, 128, 192, 320};
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        struct tape *tape = encode(rates[r]);
        double before[FRAMES], after[FRAMES];
        loudness(tape, before);
        lower(tape, rates[r]);
        loudness(tape, after);
        /* a decoder is late by less than a frame and a half */
        for (size_t n = 0; n < FULL; n++)
            assert_true(fabs(after[n] - before[n]) < 0.001);
        for (size_t n = FULL + 2; n + 2 < SILENT; n++) {
            double steps = (double)(n - FULL) * MP3_GAIN_SILENT / FADE;
            double off = before[n] - after[n] - steps * MP3_GAIN_STEP_DB;
            if (fabs(off) > 2.5) fail_msg("%u kbit/s, frame %zu: %.2f dB off", rates[r], n, off);
        }
        for (size_t n = SILENT + 2; n < FRAMES - 2; n++)
            assert_true(after[n] < before[n] - 45);
        free(tape);
    }
}

/* Bit by bit, as the standard draws it. */
static unsigned crc_of(const uint8_t *frame, size_t side_bytes)
{
    unsigned crc = 0xffff;
    for (size_t i = 2; i < 6 + side_bytes; i++) {
        if (i == 4) i = 6;
        for (int bit = 7; bit >= 0; bit--) {
            unsigned out = crc >> 15 & 1, in = frame[i] >> bit & 1;
            crc = (crc << 1 & 0xffff) ^ (out ^ in ? 0x8005 : 0);
        }
    }
    return crc;
}

static void a_check_sum_stays_right(void **state)
{
    (void)state;
    uint8_t frame[MP3_FRAME_MAX_BYTES];
    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = (uint8_t)(i * 37 + 11);
    frame[0] = 0xff;
    frame[1] = 0xfa; /* protected */
    frame[2] = 9 << 4;
    for (unsigned mode = 0; mode < 4; mode += 3) {
        frame[3] = (uint8_t)(mode << 6);
        size_t side = mode == 3 ? 17 : 32;
        assert_int_equal(mp3_gain_lower(frame, 417, 3, 5), 0);
        unsigned crc = crc_of(frame, side);
        assert_int_equal(frame[4], crc >> 8);
        assert_int_equal(frame[5], crc & 0xff);
    }
}

static void what_is_no_frame_is_left_alone(void **state)
{
    (void)state;
    uint8_t frame[417] = {0xff, 0xfb, 9 << 4, 0x40};
    assert_int_equal(mp3_gain_lower(frame, 417, 300, 300), 0);
    for (size_t i = 4; i < sizeof frame; i++)
        assert_int_equal(frame[i], 0); /* it can't fall below nothing */
    assert_int_equal(mp3_gain_lower(frame, 416, 1, 1), -1);
    assert_int_equal(mp3_gain_lower(frame, 3, 1, 1), -1);
    frame[1] = 0;
    assert_int_equal(mp3_gain_lower(frame, 417, 1, 1), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_decoder_hears_the_fade),
        cmocka_unit_test(a_check_sum_stays_right),
        cmocka_unit_test(what_is_no_frame_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
