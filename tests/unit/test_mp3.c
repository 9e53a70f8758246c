#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/mem.h"
#include "common/mp3.h"

static const unsigned rates[] = {64, 80, 96, 112, 128, 160, 192, 224, 256, 320};
#define RATES (sizeof rates / sizeof *rates)

/* The definition: the encoder keeps a lag in 1/44100 byte and pads the frame in which it falls below zero. */
static void offset_is_the_padding_added_up(void **state)
{
    (void)state;
    for (size_t r = 0; r < RATES; r++) {
        long whole = 144000L * rates[r] / 44100, fraction = 144000L * rates[r] % 44100, lag = fraction;
        uint64_t offset = 0;
        for (uint64_t frame = 0; frame < 5000; frame++) {
            assert_int_equal(mp3_frame_offset(rates[r], frame), offset);
            lag -= fraction;
            size_t bytes = (size_t)whole;
            if (lag < 0) {
                lag += 44100;
                bytes++;
            }
            assert_int_equal(mp3_frame_bytes(rates[r], frame), bytes);
            assert_true(bytes <= MP3_FRAME_MAX_BYTES);
            offset += bytes;
        }
    }
}

static void frame_at_is_the_inverse(void **state)
{
    (void)state;
    for (size_t r = 0; r < RATES; r++) {
        for (uint64_t frame = 0; frame < 200; frame++) {
            uint64_t from = mp3_frame_offset(rates[r], frame), to = mp3_frame_offset(rates[r], frame + 1);
            assert_int_equal(mp3_frame_at(rates[r], from), frame);
            assert_int_equal(mp3_frame_at(rates[r], to - 1), frame);
        }
        /* three thousand years on */
        uint64_t far = UINT64_C(3622000000000) + r * 13;
        assert_int_equal(mp3_frame_at(rates[r], mp3_frame_offset(rates[r], far)), far);
        assert_int_equal(mp3_frame_at(rates[r], mp3_frame_offset(rates[r], far) - 1), far - 1);
    }
}

static void time_goes_there_and_back(void **state)
{
    (void)state;
    assert_int_equal(mp3_frame_to_ns(0), 0);
    assert_int_equal(mp3_frame_to_ns(44100), INT64_C(1152000000000));
    assert_int_equal(mp3_ns_to_frame(-5), 0);
    static const uint64_t starts[] = {0, 48, 1000003, UINT64_C(100000000007), UINT64_C(340000000000)};
    for (size_t s = 0; s < sizeof starts / sizeof *starts; s++) {
        for (uint64_t frame = starts[s]; frame < starts[s] + 500; frame++) {
            int64_t ns = mp3_frame_to_ns(frame);
            assert_int_equal(mp3_ns_to_frame(ns), frame);
            assert_int_equal(mp3_ns_to_frame(mp3_frame_to_ns(frame + 1) - 1), frame);
        }
    }
}

/* Frames of silence as an encoder without reservoir would number them. */
static uint8_t *make_frames(unsigned kbps, uint64_t frame, unsigned count, size_t *len)
{
    static const unsigned codes[] = {0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320};
    uint8_t code = 0;
    while (codes[code] != kbps)
        code++;
    *len = (size_t)(mp3_frame_offset(kbps, frame + count) - mp3_frame_offset(kbps, frame));
    uint8_t *bytes = xcalloc(1, *len), *at = bytes;
    for (unsigned i = 0; i < count; i++) {
        size_t n = mp3_frame_bytes(kbps, frame + i);
        at[0] = 0xff;
        at[1] = 0xfb;
        at[2] = (uint8_t)(code << 4 | (n > 144000u * kbps / 44100u) << 1);
        at[3] = 0x40;
        at += n;
    }
    return bytes;
}

static void headers_are_read(void **state)
{
    (void)state;
    struct mp3_header h;
    static const uint8_t good[] = {0xff, 0xfb, 0xb2, 0x40}, with_crc[] = {0xff, 0xfa, 0x94, 0xc0};
    assert_int_equal(mp3_header_parse(good, &h), 0);
    assert_true(h.kbps == 192 && h.rate == 44100 && h.padding == 1 && h.mode == 1 && h.channels == 2 &&
                !h.crc);
    assert_int_equal(h.bytes, 627);
    assert_int_equal(mp3_header_parse(with_crc, &h), 0);
    assert_true(h.kbps == 128 && h.rate == 48000 && h.crc && h.channels == 1 && h.bytes == 384);
    static const uint8_t bad[][4] = {
        {0xfe, 0xfb, 0xb0, 0x40}, {0xff, 0xf3, 0xb0, 0x40}, {0xff, 0xfd, 0xb0, 0x40},
        {0xff, 0xfb, 0x00, 0x40}, {0xff, 0xfb, 0xf0, 0x40}, {0xff, 0xfb, 0xbc, 0x40},
        {0xff, 0xfb, 0xb0, 0x42},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(mp3_header_parse(bad[i], &h), -1);
    static const uint8_t side[] = {0xff, 0xfb, 0xb0, 0x40, 0x81, 0x80},
                         crc[] = {0xff, 0xfa, 0xb0, 0x40, 9, 9, 1, 0x80};
    assert_int_equal(mp3_main_data_begin(side, 6), 0x103);
    assert_int_equal(mp3_main_data_begin(side, 5), -1);
    assert_int_equal(mp3_main_data_begin(crc, 8), 3);
    assert_int_equal(mp3_main_data_begin(crc, 7), -1);
    for (size_t r = 0; r < RATES; r++)
        assert_true(mp3_kbps_valid(rates[r]));
    assert_false(mp3_kbps_valid(56) || mp3_kbps_valid(0) || mp3_kbps_valid(193) || mp3_kbps_valid(384));
}

static void refuse(unsigned kbps, uint64_t frame, unsigned count, const uint8_t *bytes, size_t len,
                   const char *why)
{
    char *cause = NULL;
    assert_int_equal(mp3_frames_check(kbps, frame, count, bytes, len, &cause), -1);
    assert_non_null(cause);
    if (!strstr(cause, why)) fail_msg("\"%s\" does not say \"%s\"", cause, why);
    free(cause);
}

static void frames_are_checked(void **state)
{
    (void)state;
    for (size_t r = 0; r < RATES; r++) {
        for (uint64_t frame = 0; frame < 60; frame += 7) {
            size_t len;
            uint8_t *bytes = make_frames(rates[r], frame, 60, &len);
            char *cause = NULL;
            assert_int_equal(mp3_frames_check(rates[r], frame, 60, bytes, len, &cause), 0);
            free(bytes);
        }
    }
    size_t len;
    uint8_t *bytes = make_frames(192, 100, 3, &len);
    refuse(192, 100, 3, bytes, len - 1, "frame 102: ");
    refuse(192, 100, 2, bytes, len, "bytes after the last of 2 frames");
    refuse(192, 100, 4, bytes, len, "frame 103: 0 bytes left");
    refuse(128, 100, 3, bytes, len, "frame 100: not a frame of 128 kbit/s");
    size_t second = mp3_frame_bytes(192, 100);
    bytes[second + 4] = 1;
    refuse(192, 100, 3, bytes, len, "frame 101: uses the bit reservoir");
    bytes[second + 4] = 0;
    bytes[second + 2] ^= 2; /* padding where there must be none, or none where it must be */
    refuse(192, 100, 3, bytes, len, "frame 101: not a frame");
    bytes[second + 2] ^= 2;
    bytes[0] = 0;
    refuse(192, 100, 3, bytes, len, "frame 100: not a frame");
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offset_is_the_padding_added_up),
        cmocka_unit_test(frame_at_is_the_inverse),
        cmocka_unit_test(time_goes_there_and_back),
        cmocka_unit_test(headers_are_read),
        cmocka_unit_test(frames_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
