#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/hls.h"
#include "common/mp3.h"
#include "tests/unit/frames.h"
#include "tests/unit/loop.h"
#include "tests/unit/netclient.h"

#define KBPS   128
#define SEED   5
#define FRAMES 4000

static struct ring *ring;
static struct http_server *http;
static struct hls *hls;
static int port;
static uint64_t air;

static uint64_t get_air(void *context, uint32_t *ns)
{
    (void)context;
    *ns = 0;
    return air;
}

static int get_mount(void *context, size_t index, struct hls_mount *out)
{
    (void)context;
    *out = (struct hls_mount){.name = "stream", .ring = ring};
    return index == 0;
}

static void title(uint64_t position, const char *text)
{
    char *cause = NULL;
    json_t *body = json_pack("{s:s,s:s}", "title", text, "artist", "Somebody");
    if (ring_mark_add(ring, ring_branch(ring), position, "title", body, &cause)) fail_msg("%s", cause);
    json_decref(body);
}

static void append(uint64_t from, unsigned count, uint64_t seed)
{
    char *cause = NULL;
    size_t len;
    uint8_t *bytes = frames_make(KBPS, from, count, seed, &len);
    if (ring_append(ring, ring_branch(ring), from, count, bytes, len, &cause)) fail_msg("%s", cause);
    free(bytes);
}

static int start(void **state)
{
    (void)state;
    char *cause = NULL;
    struct ring_conf rc = {.kbps = KBPS, .past_s = 80, .lead_s = 30};
    if (ring_open(&ring, &rc, &cause)) fail_msg("%s", cause);
    title(0, "First");
    append(0, FRAMES, SEED);
    air = 1000;
    ring_set_floor(ring, air);
    http = http_server_new(base, NULL, "forever-test");
    if (http_server_listen(http, "127.0.0.1", 0, &port, &cause)) fail_msg("%s", cause);
    hls = hls_new(http, &(struct hls_conf){.mount = get_mount, .air = get_air});
    return 0;
}

static int stop(void **state)
{
    (void)state;
    hls_free(hls);
    http_server_free(http);
    ring_close(ring);
    return 0;
}

/* A whole answer: asks, reads to the end. The caller frees b->data. */
static int get(const char *path, struct net_bytes *b)
{
    char request[256];
    *b = (struct net_bytes){0};
    int fd = net_connect(port, 0);
    assert_true(fd >= 0);
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
    net_send(fd, request);
    assert_true(net_until(base, fd, b, NULL, NET_DEADLINE_MS));
    close(fd);
    return net_status(b);
}

static const char *body_of(const struct net_bytes *b, size_t *len)
{
    const char *end = strstr(b->data, "\r\n\r\n");
    assert_non_null(end);
    *len = b->len - (size_t)(end + 4 - b->data);
    return end + 4;
}

/* Status alone. */
static int status_of(const char *path)
{
    struct net_bytes b;
    int status = get(path, &b);
    free(b.data);
    return status;
}

static void test_variants(void **state)
{
    (void)state;
    struct net_bytes b;
    size_t len;
    assert_int_equal(get("/hls/index.m3u8", &b), 200);
    assert_non_null(strstr(b.data, "Content-Type: application/vnd.apple.mpegurl\r\n"));
    assert_non_null(strstr(b.data, "Access-Control-Allow-Origin: *\r\n"));
    assert_string_equal(body_of(&b, &len),
                        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n"
                        "#EXT-X-STREAM-INF:BANDWIDTH=130560,AVERAGE-BANDWIDTH=130560,CODECS=\"mp4a.40.34\"\n"
                        "stream/index.m3u8\n");
    free(b.data);
}

static void test_playlist_lists_what_has_aired(void **state)
{
    (void)state;
    struct net_bytes b;
    size_t len;
    assert_int_equal(get("/hls/stream/index.m3u8", &b), 200);
    assert_non_null(strstr(b.data, "Cache-Control: public, max-age=2\r\n"));
    const char *text = body_of(&b, &len);
    assert_non_null(
        strstr(text, "#EXT-X-TARGETDURATION:6\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PROGRAM-DATE-TIME:2"));
    assert_non_null(strstr(text, "#EXTINF:5.12000,\n0-0.mp3\n"));
    assert_non_null(strstr(text, "\n0-784.mp3\n"));
    assert_null(strstr(text, "980.mp3"));        /* on air now */
    assert_null(strstr(text, "#EXT-X-ENDLIST")); /* it never ends */
    free(b.data);
    /* the window moves on, the numbers count on */
    air = 196 * 15 - 1;
    ring_set_floor(ring, air);
    assert_int_equal(get("/hls/stream/index.m3u8", &b), 200);
    text = body_of(&b, &len);
    assert_non_null(strstr(text, "#EXT-X-MEDIA-SEQUENCE:2\n"));
    assert_null(strstr(text, "\n0-196.mp3\n"));
    assert_non_null(strstr(text, "\n0-392.mp3\n"));
    assert_non_null(strstr(text, "\n0-2548.mp3\n"));
    assert_null(strstr(text, "\n0-2744.mp3\n")); /* its last frame is still on air */
    free(b.data);
}

static size_t syncsafe(const char *p)
{
    const uint8_t *b = (const uint8_t *)p;
    return (size_t)b[0] << 21 | (size_t)b[1] << 14 | (size_t)b[2] << 7 | b[3];
}

static void test_segment_is_tag_and_frames(void **state)
{
    (void)state;
    struct net_bytes b;
    size_t len, frames_len;
    assert_int_equal(get("/hls/stream/0-588.mp3", &b), 200);
    assert_non_null(strstr(b.data, "Content-Type: audio/mpeg\r\n"));
    assert_non_null(strstr(b.data, "Cache-Control: public, max-age=31536000, immutable\r\n"));
    assert_non_null(strstr(b.data, "ETag: \""));
    const char *body = body_of(&b, &len);
    assert_memory_equal(body, "ID3\4\0\0", 6);
    size_t tag = 10 + syncsafe(body + 6);
    uint8_t *frames = frames_make(KBPS, 588, HLS_SEGMENT_FRAMES, SEED, &frames_len);
    assert_int_equal(len, tag + frames_len);
    assert_memory_equal(body + tag, frames, frames_len);
    free(frames);
    /* 588 frames are 15.36 s, 1382400 ticks of 90 kHz */
    static const char stamp[] = "com.apple.streaming.transportStreamTimestamp\0\0\0\0\0\0\x15\x18";
    assert_memory_equal(body + 10, "PRIV\0\0\0\x35\0\0", 10);
    assert_memory_equal(body + 20, stamp, sizeof stamp - 1);
    assert_non_null(memmem(body, tag, "position\000588", 12));
    assert_non_null(memmem(body, tag, "TIT2\0\0\0\x06\0\0\3First", 16));
    assert_non_null(memmem(body, tag, "TPE1\0\0\0\x09\0\0\3Somebody", 19));
    free(b.data);
    /* asked again it is the same one, not another copy */
    assert_int_equal(status_of("/hls/stream/0-588.mp3"), 200);
    assert_int_equal(hls_counts(hls)->held, 1);
    assert_int_equal(hls_counts(hls)->segments, 2);
    assert_int_equal(hls_counts(hls)->segment_bytes, 2 * len);
}

static void test_what_is_not_there(void **state)
{
    (void)state;
    struct net_bytes b;
    static const char *const paths[] = {
        "/hls/stream/0-980.mp3",  /* not aired */
        "/hls/stream/1-588.mp3",  /* another branch */
        "/hls/stream/0-589.mp3",  /* no segment begins there */
        "/hls/stream/00-588.mp3", /* a second name for the same bytes */
        "/hls/stream/0-588.mp3x",
        "/hls/stream/-1-588.mp3",
        "/hls/stream/",
        "/hls/stream",
        "/hls/none/index.m3u8",
        "/hls/",
        "/hls/stream/0-99999999999999999999999996.mp3",
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        assert_int_equal(status_of(paths[i]), 404);
    assert_int_equal(hls_counts(hls)->refused, sizeof paths / sizeof *paths);
    /* a cache must not keep a "not yet" */
    assert_int_equal(get(paths[0], &b), 404);
    assert_non_null(strstr(b.data, "Cache-Control: public, max-age=1\r\n"));
    free(b.data);
}

static void test_nothing_aired_yet(void **state)
{
    (void)state;
    struct net_bytes b;
    air = HLS_SEGMENT_FRAMES - 1;
    assert_int_equal(get("/hls/stream/index.m3u8", &b), 503);
    assert_non_null(strstr(b.data, "Retry-After: 2\r\n"));
    free(b.data);
    air = HLS_SEGMENT_FRAMES;
    assert_int_equal(status_of("/hls/stream/index.m3u8"), 200);
}

static void test_a_skip_gives_new_names_only_ahead(void **state)
{
    (void)state;
    char *cause = NULL;
    struct net_bytes b;
    size_t len, frames_len;
    /* within the segment 1176..1371 */
    if (ring_retract(ring, 1, 1300, &cause)) fail_msg("%s", cause);
    title(1300, "Second");
    append(1300, 700, SEED + 1);
    air = 1800;
    ring_set_floor(ring, air);
    assert_int_equal(get("/hls/stream/index.m3u8", &b), 200);
    const char *text = body_of(&b, &len);
    assert_non_null(strstr(text, "\n0-980.mp3\n"));
    assert_non_null(strstr(text, "\n1-1176.mp3\n"));
    assert_non_null(strstr(text, "\n1-1372.mp3\n"));
    free(b.data);
    assert_int_equal(status_of("/hls/stream/0-1176.mp3"), 404);
    assert_int_equal(get("/hls/stream/1-1176.mp3", &b), 200);
    const char *body = body_of(&b, &len);
    size_t tag = 10 + syncsafe(body + 6);
    uint8_t *before = frames_make(KBPS, 1176, 124, SEED, &frames_len);
    assert_memory_equal(body + tag, before, frames_len);
    uint8_t *after = frames_make(KBPS, 1300, 72, SEED + 1, &len);
    assert_memory_equal(body + tag + frames_len, after, len);
    assert_non_null(memmem(body, tag, "First", 5)); /* what holds where it begins */
    free(before);
    free(after);
    free(b.data);
    assert_int_equal(get("/hls/stream/1-1372.mp3", &b), 200);
    assert_non_null(memmem(b.data, b.len, "Second", 6));
    free(b.data);
}

/* However many are asked for, few are kept. */
static void test_memory_is_bounded(void **state)
{
    (void)state;
    air = FRAMES;
    ring_set_floor(ring, air);
    size_t most = 0, asked = 0;
    for (uint64_t p = (ring_tail(ring) + 195) / 196 * 196; p + 196 <= FRAMES; p += 196, asked++) {
        char path[64];
        snprintf(path, sizeof path, "/hls/stream/0-%u.mp3", (unsigned)p);
        assert_int_equal(status_of(path), 200);
        if (hls_counts(hls)->held > most) most = hls_counts(hls)->held;
    }
    assert_true(asked > 12);
    assert_true(most <= 16);
    assert_true(hls_counts(hls)->held_bytes <= most * (5.12 * KBPS * 125 + 2048));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_variants, start, stop),
        cmocka_unit_test_setup_teardown(test_playlist_lists_what_has_aired, start, stop),
        cmocka_unit_test_setup_teardown(test_segment_is_tag_and_frames, start, stop),
        cmocka_unit_test_setup_teardown(test_what_is_not_there, start, stop),
        cmocka_unit_test_setup_teardown(test_nothing_aired_yet, start, stop),
        cmocka_unit_test_setup_teardown(test_a_skip_gives_new_names_only_ahead, start, stop),
        cmocka_unit_test_setup_teardown(test_memory_is_bounded, start, stop),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
