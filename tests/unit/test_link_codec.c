/* The link's records: a strict codec. */
#include <event2/buffer.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/link.h"
#include "tests/unit/frames.h"

#define KBPS 64

static void put_samples(struct evbuffer *out)
{
    size_t len;
    json_t *body = json_pack("{s:i,s:s}", "version", 1, "name", "x");
    json_t *segment = json_pack("{s:s,s:f}", "id", "abc", "gain", 0.1);
    struct ring_mark mark = {9, 1000, 3, "segment", segment};
    uint8_t *frames = frames_make(KBPS, 77, 5, 1, &len);
    link_put_hello(out, body);
    link_put_clock(out, 76, 26122448);
    link_put_mark(out, &mark);
    link_put_frames(out, 77, 3, 5, frames, len);
    link_put_branch(out, RING_POSITION_MAX, UINT32_MAX);
    link_put_command(out, body);
    free(frames);
    json_decref(segment);
    json_decref(body);
}

static void assert_sample(int i, const struct link_record *r)
{
    static const enum link_type order[] = {LINK_HELLO,  LINK_CLOCK,  LINK_MARK,
                                           LINK_FRAMES, LINK_BRANCH, LINK_COMMAND};
    char *cause = NULL;
    assert_int_equal(r->type, order[i]);
    switch (r->type) {
    case LINK_HELLO:
    case LINK_COMMAND:
        assert_string_equal(json_string_value(json_object_get(r->body, "name")), "x");
        break;
    case LINK_CLOCK:
        assert_int_equal(r->position, 76);
        assert_int_equal(r->ns, 26122448);
        break;
    case LINK_MARK:
        assert_int_equal(r->position, 1000);
        assert_int_equal(r->branch, 3);
        assert_string_equal(r->kind, "segment");
        assert_true(json_real_value(json_object_get(r->body, "gain")) == 0.1);
        break;
    case LINK_FRAMES:
        assert_int_equal(r->position, 77);
        assert_int_equal(r->branch, 3);
        assert_int_equal(r->count, 5);
        assert_int_equal(mp3_frames_check(KBPS, 77, 5, r->bytes, r->len, &cause), 0);
        break;
    case LINK_BRANCH:
        assert_true(r->position == RING_POSITION_MAX);
        assert_true(r->branch == UINT32_MAX);
        break;
    }
}

static void test_codec(void **state)
{
    (void)state;
    struct evbuffer *out = evbuffer_new();
    put_samples(out);
    size_t len = evbuffer_get_length(out);
    const uint8_t *bytes = evbuffer_pullup(out, -1);
    static const size_t pieces[] = {1, 7, 1000, 1u << 20};
    for (size_t k = 0; k < 4; k++) {
        struct link_decoder *decoder = link_decoder_new();
        struct link_record record;
        int got = 0, rc;
        for (size_t at = 0; at < len; at += pieces[k]) {
            link_decoder_feed(decoder, bytes + at, pieces[k] < len - at ? pieces[k] : len - at);
            while ((rc = link_decoder_next(decoder, &record, NULL)) == 1)
                assert_sample(got++, &record);
            assert_int_equal(rc, 0);
        }
        assert_int_equal(got, 6);
        link_decoder_free(decoder);
    }
    evbuffer_free(out);
}

/* What the decoder says to one record that follows a hello (or stands first). */
static int judge(int greet, const uint8_t *record, size_t len)
{
    static const uint8_t hello[] = {LINK_HELLO, 0, 0, 0, 2, 0, 0, 0, '{', '}'};
    struct link_decoder *decoder = link_decoder_new();
    struct link_record out;
    char *cause = NULL;
    if (greet) {
        link_decoder_feed(decoder, hello, sizeof hello);
        assert_int_equal(link_decoder_next(decoder, &out, NULL), 1);
    }
    link_decoder_feed(decoder, record, len);
    int rc = link_decoder_next(decoder, &out, &cause);
    assert_int_equal(rc < 0, cause != NULL);
    if (rc < 0) {
        free(cause);
        link_decoder_feed(decoder, hello, sizeof hello); /* no way back */
        assert_int_equal(link_decoder_next(decoder, &out, NULL), -1);
    }
    link_decoder_free(decoder);
    return rc;
}

static void test_codec_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int greet, want;
        size_t len;
        uint8_t bytes[40];
    } rows[] = {
        {"a clock", 1, 1, 20, {5, 0, 0, 0, 12}},
        {"a clock before hello", 0, -1, 20, {5, 0, 0, 0, 12}},
        {"a second hello", 1, -1, 10, {1, 0, 0, 0, 2, 0, 0, 0, '{', '}'}},
        {"a hello that is no object", 0, -1, 10, {1, 0, 0, 0, 2, 0, 0, 0, '[', ']'}},
        {"a hello that is no JSON", 0, -1, 10, {1, 0, 0, 0, 2, 0, 0, 0, '{', '{'}},
        {"a hello that is too long", 0, -1, 8, {1, 0, 0, 0, 1, 0, 1, 0}},
        {"type 0", 1, -1, 8, {0, 0, 0, 0, 12}},
        {"type 7", 1, -1, 8, {7, 0, 0, 0, 12}},
        {"a flag", 1, -1, 8, {5, 1, 0, 0, 12}},
        {"another flag", 1, -1, 8, {5, 0, 0, 128, 12}},
        {"a clock of 11 bytes", 1, -1, 8, {5, 0, 0, 0, 11}},
        {"a branch of 13 bytes", 1, -1, 8, {4, 0, 0, 0, 13}},
        {"a clock within no frame", 1, -1, 20, {5, 0, 0, 0, 12, 0, 0,    0,    0,    0,
                                                0, 0, 0, 0, 0,  0, 0xd1, 0x98, 0x8e, 1}},
        {"a position too great", 1, -1, 20, {5, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 64}},
        {"frames without frames", 1, -1, 24, {2, 0, 0, 0, 16}},
        {"frames too short for their count", 1, -1, 28, {2, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0,
                                                         0, 0, 0, 0, 0,  0, 0, 0, 0, 1}},
        {"over the limit", 1, -1, 8, {3, 0, 0, 0, 1, 0, 8, 0}},
        {"a mark at the limit", 1, 0, 8, {3, 0, 0, 0, 0, 0, 8, 0}},
        {"a mark", 1, 1, 27, {3, 0, 0, 0, 19, 0, 0, 0, 0, 0, 0,   0,   0,  0,
                              0, 0, 0, 0, 0,  0, 1, 0, 0, 0, 'a', '{', '}'}},
        {"a mark without kind", 1, -1, 27, {3, 0, 0, 0, 19, 0, 0, 0, 0, 0, 0,   0,   0,  0,
                                            0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 'a', '{', '}'}},
        {"a mark of a strange kind", 1, -1, 27, {3, 0, 0, 0, 19, 0, 0, 0, 0, 0, 0, 0,   0,  0,
                                                 0, 0, 0, 0, 0,  0, 1, 0, 0, 0, 0, '{', '}'}},
        {"a mark all kind", 1, -1, 27, {3, 0, 0, 0, 19, 0, 0, 0, 0, 0, 0,   0,   0,  0,
                                        0, 0, 0, 0, 0,  0, 4, 0, 0, 0, 'a', 'b', 'c'}},
        {"a mark with a kind of 4 GB", 1, -1, 27, {3, 0, 0, 0, 19, 0, 0,   0,   0,   0,   0,   0,   0,  0,
                                                   0, 0, 0, 0, 0,  0, 255, 255, 255, 255, 'a', '{', '}'}},
        {"half a head", 1, 0, 7, {5, 0, 0, 0, 12}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int rc = judge(rows[i].greet, rows[i].bytes, rows[i].len);
        if (rc != rows[i].want) fail_msg("%s: %d", rows[i].what, rc);
    }
    /* fed without being asked for records */
    struct link_decoder *decoder = link_decoder_new();
    struct link_record out;
    uint8_t *much = calloc(1, LINK_FEED_MAX + 1);
    link_decoder_feed(decoder, much, LINK_FEED_MAX + 1);
    assert_int_equal(link_decoder_next(decoder, &out, NULL), -1);
    free(much);
    link_decoder_free(decoder);
}

static void test_codec_noise(void **state)
{
    (void)state;
    uint64_t seed = frames_seed("LINK_SEED", 424242);
    struct evbuffer *out = evbuffer_new();
    put_samples(out);
    size_t len = evbuffer_get_length(out);
    const uint8_t *bytes = evbuffer_pullup(out, -1);
    uint8_t *copy = malloc(len);
    int refused = 0;
    for (unsigned round = 0; round < 4000; round++) {
        uint64_t x = frames_hash(seed + round);
        memcpy(copy, bytes, len);
        size_t cut = x % 3 == 0 ? (x >> 8) % len : len;
        unsigned flips = x % 3 == 0 ? 0 : 1 + (unsigned)(x >> 4) % 4;
        for (unsigned i = 0; i < flips; i++) {
            uint64_t y = frames_hash(x + i);
            /* the heads and short records more often than the frames */
            size_t at = y & 1 ? (y >> 8) % 120 : (y >> 8) % len;
            copy[at] = (uint8_t)(y >> 40);
        }
        struct link_decoder *decoder = link_decoder_new();
        struct link_record record;
        int rc = 0, got = 0;
        for (size_t at = 0; at < cut && rc >= 0;) {
            size_t piece = 1 + frames_hash(x + at) % 300;
            if (piece > cut - at) piece = cut - at;
            uint8_t *exact = malloc(piece); /* so that reading beyond is seen */
            memcpy(exact, copy + at, piece);
            link_decoder_feed(decoder, exact, piece);
            free(exact);
            at += piece;
            while ((rc = link_decoder_next(decoder, &record, NULL)) == 1) {
                if (flips == 0) assert_sample(got, &record);
                got++;
            }
        }
        if (flips == 0) assert_int_equal(rc, 0);
        assert_true(got <= 30);
        refused += rc < 0;
        link_decoder_free(decoder);
    }
    assert_true(refused > 500);
    free(copy);
    evbuffer_free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codec),
        cmocka_unit_test(test_codec_refuses),
        cmocka_unit_test(test_codec_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
