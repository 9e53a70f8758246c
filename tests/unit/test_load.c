/* The load generator's judgement: what it takes for right and for wrong, and whom it asks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "tests/load/again.h"
#include "tests/load/net.h"
#include "tests/load/response.h"
#include "tests/load/verify.h"
#include "tests/unit/frames.h"

#define KBPS 128

static void test_reference(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    struct load_reference *r = load_reference_new(KBPS, 1 << 17);
    size_t len;
    uint64_t first = 1000, base = mp3_frame_offset(KBPS, first);
    uint8_t *all = frames_make(KBPS, first, 900, 3, &len); /* several times what is kept */
    size_t at[3] = {0, 5000, 0};
    while (at[0] < len || at[1] < len || at[2] < len) {
        int i = rand_r(&seed) % 3;
        size_t most = 1 + (size_t)rand_r(&seed) % 9000, n = len - at[i] < most ? len - at[i] : most;
        if (at[i] > at[(i + 1) % 3] + 100000 && at[i] > at[(i + 2) % 3] + 100000) continue;
        assert_int_equal(load_reference_check(r, base + at[i], all + at[i], n), 0);
        at[i] += n;
    }
    assert_in_range(load_reference_compared(r), len, 2 * len);
    /* another byte, for one who comes second */
    uint64_t compared = load_reference_compared(r);
    all[len - 700] ^= 1;
    assert_int_equal(load_reference_check(r, base + len - 1000, all + len - 1000, 300), 0);
    assert_int_equal(load_reference_check(r, base + len - 1000, all + len - 1000, 301), -1);
    assert_int_equal(load_reference_compared(r), compared + 300);
    load_reference_free(r);
    /* a frame that is missing, for the first one; also in a piece larger than what is kept */
    for (int skip = 0; skip < 2; skip++) {
        r = load_reference_new(KBPS, 1 << 15);
        size_t gap = (size_t)(mp3_frame_offset(KBPS, first + 300) - base),
               one = mp3_frame_bytes(KBPS, first + 300);
        if (skip) memmove(all + gap, all + gap + one, len - gap - one);
        assert_int_equal(load_reference_check(r, base, all, len - one), skip ? -1 : 0);
        load_reference_free(r);
    }
    free(all);
}

static void test_walk(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    size_t len;
    uint8_t *all = frames_make(192, 77, 200, 5, &len);
    struct load_walk w = {0};
    for (size_t at = 100, n; at < len; at += n) { /* from within a frame */
        n = 1 + (size_t)rand_r(&seed) % 1500;
        if (n > len - at) n = len - at;
        assert_int_equal(load_walk(&w, all + at, n), 0);
    }
    assert_int_equal(w.frames, 199);
    w = (struct load_walk){0};
    assert_int_equal(load_walk(&w, all, 5000), 0);
    assert_int_equal(load_walk(&w, all + 5001, 5000), -1); /* a byte is missing */
    assert_int_equal(load_walk(&w, all + 10001, len - 10001), 0);
    free(all);
}

static void test_head(void **state)
{
    (void)state;
    static const char text[] =
        "HTTP/1.1 206 Partial Content\r\nicy-br: 128\r\nX-Forever-Position: 12345678901\r\n"
        "Content-Range: bytes 777-1099511627775/*\r\ntransfer-encoding: chunked\r\n"
        "Location: http://a/b\r\nRetry-After: 5\r\nicy-metaint: 16000\r\n\r\nbody";
    struct load_head h;
    size_t header = sizeof text - 5;
    for (size_t n = 0; n < header; n++)
        assert_int_equal(load_head_parse(text, n, &h), 0);
    assert_int_equal(load_head_parse(text, sizeof text - 1, &h), header);
    assert_int_equal(h.status, 206);
    assert_int_equal(h.kbps, 128);
    assert_true(h.has_position && h.position == UINT64_C(12345678901));
    assert_true(h.has_range && h.range == 777 && h.chunked && h.metaint == 16000);
    assert_string_equal(h.location, "http://a/b");
    assert_int_equal(load_head_parse("nonsense\r\n\r\n", 12, &h), -1);
    assert_int_equal(load_head_parse("ICY 200 OK\r\n\r\n", 14, &h), 14);
    assert_int_equal(h.length, -1);
}

/* Feeds a body by pieces of n bytes; the audio of it. */
static size_t unwrap(const struct load_head *h, const char *text, size_t len, size_t n, char *audio, int *bad)
{
    struct load_body b;
    size_t out = 0;
    *bad = 0;
    load_body_start(&b, h);
    for (size_t at = 0; at < len && !*bad; at += n) {
        const uint8_t *bytes = (const uint8_t *)text + at, *found;
        size_t left = len - at < n ? len - at : n;
        long got;
        while ((got = load_body_next(&b, &bytes, &left, &found)) > 0) {
            memcpy(audio + out, found, (size_t)got);
            out += (size_t)got;
        }
        *bad = got < 0;
    }
    audio[out] = '\0';
    return out;
}

static void test_body(void **state)
{
    (void)state;
    static const char chunks[] = "5\r\nHello\r\n00B;x=y\r\n, listeners\r\n1\r\n!\r\n0\r\n\r\n";
    static const char meta[] = "abcd\0efgh\1StreamTitle='x';ijkl\0mn";
    static const char both[] = "3\r\nabc\r\n6\r\nd\0efgh\r\n14\r\n\1StreamTitle='x';ijk\r\n4\r\nl\0mn\r\n";
    char audio[200];
    int bad;
    for (size_t n = 1; n < 40; n++) {
        unwrap(&(struct load_head){.chunked = 1}, chunks, sizeof chunks - 1, n, audio, &bad);
        assert_string_equal(audio, "Hello, listeners!");
        assert_false(bad);
        unwrap(&(struct load_head){.metaint = 4}, meta, sizeof meta - 1, n, audio, &bad);
        assert_string_equal(audio, "abcdefghijklmn");
        unwrap(&(struct load_head){.chunked = 1, .metaint = 4}, both, sizeof both - 1, n, audio, &bad);
        assert_string_equal(audio, "abcdefghijklmn");
        assert_false(bad);
    }
    unwrap(&(struct load_head){.chunked = 1}, "5\r\nHelloX\r\n", 11, 3, audio, &bad);
    assert_true(bad);
    unwrap(&(struct load_head){.chunked = 1}, "g\r\n", 3, 3, audio, &bad);
    assert_true(bad);
}

static void test_again(void **state)
{
    (void)state;
    struct load_cuts cuts = {.count = 5};
    for (int i = 1; i <= 3; i++)
        load_cuts_back(&cuts, INT64_C(10000000000) * i + (i == 3));
    load_cuts_out(&cuts, INT64_C(30000000000));
    load_cuts_out(&cuts, INT64_C(30000000001));
    json_t *said = load_cuts_report(&cuts);
    assert_int_equal(json_integer_value(json_object_get(said, "back")), 3);
    assert_int_equal(json_integer_value(json_object_get(said, "in_time")), 2);
    assert_int_equal(json_integer_value(json_object_get(said, "late")), 1);
    assert_int_equal(json_integer_value(json_object_get(said, "open")), 1);
    assert_float_equal(json_real_value(json_object_get(said, "in_time_share")), 0.5, 1e-9);
    assert_float_equal(json_real_value(json_object_get(json_object_get(said, "back_ms"), "p50")), 20000, 1);
    json_decref(said);
    load_cuts_free(&cuts);
    static const char *const urls[][2] = {
        {"http://a/s.mp3?from=1", "http://a/s.mp3?from=77"},
        {"http://a/s.mp3?burst=15&from=123&hop=1&ticket=x", "http://a/s.mp3?burst=15&from=77&hop=1&ticket=x"},
        {"http://a/s.mp3?x_from=1&from=", "http://a/s.mp3?x_from=1&from=77"},
        {"http://a/s.mp3?xfrom=1", NULL},
        {"http://a/from=1", NULL},
    };
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        char *url = load_url_from(urls[i][0], 77);
        if (urls[i][1])
            assert_string_equal(url, urls[i][1]);
        else
            assert_null(url);
        free(url);
    }
}

static int node_of(const char *text)
{
    struct load_url url;
    char *cause = NULL;
    int node = load_url_parse(text, NULL, &url, &cause) ? -2 : load_node(&url, &cause);
    assert_true((node < 0) == (cause != NULL));
    free(cause);
    return node;
}

static void test_whom(void **state)
{
    (void)state;
    struct load_url u, base;
    char text[300];
    assert_int_equal(load_url_parse("https://[::1]:8443/a/b.mp3?c=d#e", NULL, &u, NULL), 0);
    assert_true(u.tls && u.port == 8443);
    assert_string_equal(u.host, "::1");
    assert_string_equal(u.target, "/a/b.mp3?c=d");
    load_url_authority(&u, text, sizeof text);
    assert_string_equal(text, "[::1]:8443");
    assert_int_equal(load_url_parse("http://localhost", NULL, &base, NULL), 0);
    assert_int_equal(load_url_parse("/x?y", &base, &u, NULL), 0);
    assert_string_equal(u.host, "localhost");
    assert_int_equal(u.port, 80);
    assert_int_equal(node_of("ftp://127.0.0.1/"), -2);
    assert_int_equal(node_of("http://127.0.0.1:99999/"), -2);
    assert_int_equal(node_of("http://127.0.0.1/a b"), -2);
    assert_true(node_of("http://127.0.0.1:8000/") >= 0);
    assert_true(node_of("http://[::1]:8000/") >= 0);
    assert_int_equal(node_of("http://192.0.2.1:8000/"), -1);
    assert_int_equal(node_of("http://[2001:db8::1]/"), -1);
    assert_int_equal(load_allow("192.0.2.0/25", NULL), 0);
    assert_int_equal(load_allow("2001:db8::1", NULL), 0);
    assert_true(node_of("http://192.0.2.1:8000/") >= 0);
    assert_int_equal(node_of("http://192.0.2.129:8000/"), -1);
    assert_true(node_of("http://[2001:db8::1]/") >= 0);
    assert_int_equal(node_of("http://[2001:db8::2]/"), -1);
    static const char *const bad[] = {"0.0.0.0/0", "example.org", "10.0.0.0/33", "10.0.0.0/", "::/4", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(load_allow(bad[i], NULL), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference), cmocka_unit_test(test_walk), cmocka_unit_test(test_head),
        cmocka_unit_test(test_body),      cmocka_unit_test(test_whom), cmocka_unit_test(test_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
