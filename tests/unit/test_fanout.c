#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/fanout_icy.h"
#include "tests/unit/fanout_stage.h"

static void test_burst_and_bytes(void **state)
{
    (void)state;
    start(2, 15, 1000, 2000);
    uint64_t first = fanout_start_position(fanout, 0, 0);
    assert_int_equal(first, 1000 - 77); /* 2 s are 76.56 frames */
    int fd = add(
        &(struct fanout_listener_conf){.header = "head\r\n", .header_len = 6, .user_agent = "VLC/3.0"}, 0);
    struct net_bytes b = {0};
    size_t burst = 6 + (size_t)(offset(1000) - offset(first));
    net_until_len(base, fd, &b, burst);
    for (int i = 0; i < 40; i++)
        net_turn(base); /* nothing ahead of the air */
    net_take(fd, &b, SIZE_MAX);
    assert_int_equal(b.len, burst);
    air = 1111;
    net_until_len(base, fd, &b, 6 + (size_t)(offset(1090) - offset(first)));
    assert_true(b.len <= 6 + offset(1111) - offset(first));
    while (air < 1600) {
        air += 22;
        net_until_len(base, fd, &b, 6 + (size_t)(offset(air - 22) - offset(first)));
    }
    assert_memory_equal(b.data, "head\r\n", 6);
    uint64_t got = mp3_frame_at(KBPS, offset(first) + b.len - 6);
    assert_true(got >= air - 22);
    assert_int_equal(offset(got) - offset(first) + 6, b.len); /* whole frames */
    assert_frames(b.data + 6, first, got);
    assert_int_equal(fanout_counts(fanout)->bytes, b.len - 6);
    assert_int_equal(fanout_counts(fanout)->agents[AGENT_PLAYER], 1);
    assert_int_equal(fanout_counts(fanout)->skips, 0);
    close(fd);
    free(b.data);
    for (int i = 0; i < 500 && fanout_counts(fanout)->listening; i++)
        net_turn(base);
    assert_int_equal(ended[FANOUT_CLIENT], 1);
    assert_int_equal(ended_bytes, fanout_counts(fanout)->bytes);
    stop(0);
}

static void until_writes(uint64_t count)
{
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS;
         fanout_counts(fanout)->writes < count && net_now_ms() < end;)
        net_turn(base);
}

/* One write per listener and flight, the flights spread over the frames. */
static void test_writes(void **state)
{
    (void)state;
    enum { N = 44 };
    start(1, 15, 1000, 2000);
    int fds[N];
    for (int i = 0; i < N; i++)
        fds[i] = add(&(struct fanout_listener_conf){0}, 0);
    assert_int_equal(fanout_counts(fanout)->writes, N); /* a first flight of each, the rest in turn */
    uint64_t first = offset(1000) - offset(fanout_start_position(fanout, 0, 0));
    assert_true(fanout_counts(fanout)->bytes <= N * UINT64_C(14000) && first > 14000);
    until_writes(UINT64_C(2) * N);
    assert_int_equal(fanout_counts(fanout)->bytes, N * first);
    uint64_t before = fanout_counts(fanout)->writes, bytes = fanout_counts(fanout)->bytes;
    unsigned turns[3] = {0};
    for (int i = 0; i < 22; i++) { /* two cohorts of 16 and one of 12 */
        air++;
        for (uint64_t t = fanout_counts(fanout)->turns; fanout_counts(fanout)->turns < t + 2;)
            net_turn(base);
        uint64_t now = fanout_counts(fanout)->writes;
        if (now > before) turns[now - before == 12 ? 2 : now - before == 16 ? 1 : 0]++;
        before = now;
    }
    assert_int_equal(turns[0], 0);
    assert_int_equal(turns[1], 2);
    assert_int_equal(turns[2], 1);
    bytes = fanout_counts(fanout)->bytes;
    for (int round = 1; round <= 4; round++) {
        air += 22;
        until_writes(before + N);
        assert_int_equal(fanout_counts(fanout)->writes, before + N);
        uint64_t each = (fanout_counts(fanout)->bytes - bytes) / N;
        assert_in_range(each, 13700, 14000);
        before = fanout_counts(fanout)->writes;
        bytes = fanout_counts(fanout)->bytes;
    }
    assert_int_equal(fanout_counts(fanout)->short_writes, 0);
    assert_true(fanout_bytes_per_listener() <= 256);
    stop(0);
    for (int i = 0; i < N; i++)
        close(fds[i]);
}

static void mark_title(uint64_t position, const char *text)
{
    char *cause = NULL;
    json_t *body = json_pack("{s:s}", "text", text);
    if (ring_mark_add(ring, ring_branch(ring), position, "title", body, &cause)) fail_msg("%s", cause);
    json_decref(body);
}

/* The title text of a position, as the test sets them: long ones, so that many writes end within a block. */
static void title_of(uint64_t position, char *text)
{
    uint64_t n = position / 40;
    int len = sprintf(text, "it's %u - ", (unsigned)n);
    size_t fill_len = frames_hash(n) % 3900;
    memset(text + len, 'a' + (int)(n % 26), fill_len);
    text[(size_t)len + fill_len] = '\0';
}

static void test_icy(void **state)
{
    (void)state;
    unsigned seed = (unsigned)net_now_ms();
    print_message("seed %u\n", seed);
    start(2, 100, 0, 10);
    for (uint64_t p = 0; p < 2200; p += 40) {
        char text[4096];
        title_of(p, text);
        mark_title(p, text);
    }
    fill(2200);
    air = 2200;
    struct fanout_listener_conf conf = {.icy = 1, .has_from = 1, .from = 40};
    int fd = add(&conf, 4096);
    struct net_bytes b = {0};
    uint64_t audio = offset(2200) - offset(40);
    size_t blocks = (size_t)((audio - 1) / FANOUT_ICY_METAINT);
    uint8_t want[FANOUT_ICY_BLOCK_MAX];
    uint64_t told = UINT64_MAX, total = audio;
    for (size_t k = 1; k <= blocks; k++) {
        uint64_t part = mp3_frame_at(KBPS, offset(40) + k * FANOUT_ICY_METAINT) / 40;
        char text[4096];
        title_of(part * 40, text);
        total += part == told ? 1 : fanout_icy_block(want, text);
        told = part;
    }
    told = UINT64_MAX;
    for (int64_t end = net_now_ms() + 4 * NET_DEADLINE_MS; net_now_ms() < end && b.len < total;) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        net_take(fd, &b, 1 + (size_t)rand_r(&seed) % 9000);
    }
    char *plain = malloc(b.len + 1);
    size_t at = 0, n = 0, seen = 0;
    while (at < b.len) {
        size_t len = b.len - at < FANOUT_ICY_METAINT ? b.len - at : FANOUT_ICY_METAINT;
        memcpy(plain + n, b.data + at, len);
        n += len;
        at += len;
        if (at >= b.len) break;
        uint64_t position = mp3_frame_at(KBPS, offset(40) + n);
        size_t block_len = 1;
        want[0] = 0;
        if (position / 40 != told) {
            char text[4096];
            title_of(position, text);
            block_len = fanout_icy_block(want, text);
            told = position / 40;
        }
        assert_true(b.len - at >= block_len);
        assert_memory_equal(b.data + at, want, block_len);
        at += block_len;
        seen++;
    }
    assert_int_equal(n, audio);
    assert_frames(plain, 40, 2200);
    assert_int_equal(seen, blocks);
    assert_true(fanout_counts(fanout)->short_writes > 3);
    assert_int_equal(b.len, total);
    assert_int_equal(fanout_counts(fanout)->bytes, total);
    assert_int_equal(fanout_counts(fanout)->skips, 0);
    free(plain);
    free(b.data);
    close(fd);
    stop(0);
}

static void test_icy_block(void **state)
{
    (void)state;
    uint8_t block[FANOUT_ICY_BLOCK_MAX];
    assert_int_equal(fanout_icy_block(block, "a - b"), 1 + 32);
    assert_int_equal(block[0], 2);
    assert_memory_equal(block + 1, "StreamTitle='a - b';\0\0\0\0\0\0\0\0\0\0\0\0", 32);
    fanout_icy_block(block, "don't; x='\n");
    assert_string_equal((char *)block + 1, "StreamTitle='don\xe2\x80\x99t; x=\xe2\x80\x99';");
    char longest[3 * 2730 + 1];
    for (size_t i = 0; i < sizeof longest - 1; i += 3)
        memcpy(longest + i, "\xe2\x82\xac", 3);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(fanout_icy_block(block, longest), FANOUT_ICY_BLOCK_MAX);
    char *tail = memmem(block + 1, FANOUT_ICY_BLOCK_MAX - 1, "';", 2);
    assert_non_null(tail);
    assert_int_equal((tail - (char *)block - 1 - 13) % 3, 0); /* cut between characters */
}

/* Reads nothing: is moved on once, then let go. */
static void test_slow(void **state)
{
    (void)state;
    start(2, 10, 100, 200);
    int fd = add(&(struct fanout_listener_conf){0}, 2048);
    uint64_t first = fanout_start_position(fanout, 0, 0);
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; !fanout_counts(fanout)->skips && net_now_ms() < end;) {
        air += 5;
        fill(air + 100);
        ring_set_floor(ring, air);
        net_turn(base);
    }
    assert_int_equal(fanout_counts(fanout)->skips, 1);
    assert_int_equal(ended[FANOUT_SLOW], 0);
    /* it wakes up: whole frames, then a jump to the burst's distance from the air */
    struct net_bytes b = {0};
    uint64_t jumped_from = 0, jumped_to = 0;
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; net_now_ms() < end && !jumped_to;) {
        net_turn(base);
        net_take(fd, &b, SIZE_MAX);
        uint64_t have = mp3_frame_at(KBPS, offset(first) + b.len);
        uint8_t one[MP3_FRAME_MAX_BYTES];
        for (uint64_t f = first; f < have && !jumped_to; f++) {
            size_t len = frames_one(one, KBPS, f, SEED);
            if (!memcmp(b.data + (offset(f) - offset(first)), one, len)) continue;
            jumped_from = f;
            uint64_t there = fanout_start_position(fanout, 0, 0);
            frames_one(one, KBPS, there, SEED);
            if (!memcmp(b.data + (offset(f) - offset(first)), one, 64)) jumped_to = there;
            break;
        }
    }
    assert_true(jumped_to > jumped_from && jumped_from > first);
    assert_int_equal(jumped_to, air - 77);
    size_t at = (size_t)(offset(jumped_from) - offset(first));
    uint64_t good = jumped_to;
    net_until_len(base, fd, &b, at + (size_t)(offset(air) - offset(jumped_to)));
    while (at + (offset(good) - offset(jumped_to)) < b.len)
        good++;
    assert_frames(b.data + at, jumped_to, good);
    /* and sleeps again */
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; !ended[FANOUT_SLOW] && net_now_ms() < end;) {
        air += 5;
        fill(air + 100);
        ring_set_floor(ring, air);
        net_turn(base);
    }
    assert_int_equal(ended[FANOUT_SLOW], 1);
    assert_int_equal(fanout_counts(fanout)->listening, 0);
    assert_true(net_until(base, fd, &b, NULL, NET_DEADLINE_MS));
    assert_int_equal(b.ended, -1);
    free(b.data);
    close(fd);
    stop(0);
}

/* Never reads at all: ends, although the frame under way never leaves. */
static void test_stuck(void **state)
{
    (void)state;
    start(2, 5, 100, 200);
    int fd = add(&(struct fanout_listener_conf){0}, 2048);
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; !ended[FANOUT_SLOW] && net_now_ms() < end;) {
        air += 8;
        fill(air + 100);
        ring_set_floor(ring, air);
        net_turn(base);
    }
    assert_int_equal(ended[FANOUT_SLOW], 1);
    assert_int_equal(fanout_counts(fanout)->skips, 1);
    close(fd);
    stop(0);
}

static void test_from(void **state)
{
    (void)state;
    start(2, 5, 1500, 2000);
    assert_int_equal(fanout_start_position(fanout, 1, 1400), 1400);
    assert_int_equal(fanout_start_position(fanout, 1, 1700), 1500); /* not aired yet */
    assert_int_equal(fanout_start_position(fanout, 1, 0), ring_tail(ring));
    /* far back is no lag: it asked for it, and may take its time to catch up */
    int fd = add(&(struct fanout_listener_conf){.has_from = 1, .from = 200}, 2048);
    for (int i = 0; i < 20; i++) {
        air += 2;
        net_turn(base);
    }
    assert_int_equal(fanout_counts(fanout)->skips, 0);
    struct net_bytes b = {0};
    net_until_len(base, fd, &b, (size_t)(offset(1500) - offset(200)));
    assert_frames(b.data, 200, 1500);
    assert_int_equal(fanout_counts(fanout)->skips, 0);
    free(b.data);
    close(fd);
    stop(0);
}

/* A relay that joins anew: its ring starts somewhere else, and listeners go on there. */
static void test_ring_begins_anew(void **state)
{
    (void)state;
    start(1, 10, 1000, 1200);
    int fd = add(&(struct fanout_listener_conf){0}, 0);
    struct net_bytes b = {0};
    uint64_t first = fanout_start_position(fanout, 0, 0);
    net_until_len(base, fd, &b, (size_t)(offset(1000) - offset(first)));
    for (int round = 0; round < 2; round++) {
        uint64_t at = round ? 300 : 90000;
        char id[33];
        memset(id, 'a', 32);
        id[32] = '\0';
        size_t before = b.len;
        ring_reset(ring, id, 2, at);
        air = at;
        for (int i = 0; i < 60; i++)
            net_turn(base);
        net_take(fd, &b, SIZE_MAX);
        assert_int_equal(b.len, before); /* nothing to play */
        fill(at + 400);
        for (int i = 1; i <= 5; i++) {
            air = at + 22 * (unsigned)i;
            net_until_len(base, fd, &b, before + (size_t)(offset(air - 22) - offset(at)));
        }
        uint64_t to = mp3_frame_at(KBPS, offset(at) + b.len - before);
        assert_true(to >= at + 80);
        assert_frames(b.data + before, at, to);
    }
    assert_int_equal(fanout_counts(fanout)->listening, 1);
    free(b.data);
    close(fd);
    stop(0);
}

static void test_lengths(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        int slot;
    } known[] = {{0, 0}, {1, 0},     {1.01, 1},   {2, 1},      {3, 2},   {4, 2},
                 {5, 3}, {3600, 12}, {65536, 16}, {65537, 17}, {1e9, 17}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_int_equal(fanout_length(known[i].seconds), known[i].slot);
}

static void test_counts(void **state)
{
    (void)state;
    enum { N = 300 };
    static const char *const agents[] = {"Mozilla/5.0 (X11) Firefox", "curl/8", "ESP32", NULL,
                                         "AppleCoreMedia/1.0"};
    start(0.5, 10, 1000, 1200);
    int fds[N];
    for (int i = 0; i < N; i++)
        fds[i] = add(&(struct fanout_listener_conf){.user_agent = agents[i % 5]}, 0);
    const struct fanout_counts *c = fanout_counts(fanout);
    assert_int_equal(c->listening, N);
    for (enum fanout_agent a = AGENT_BROWSER; a < AGENT_COUNT; a++)
        assert_int_equal(c->agents[a], a == AGENT_PLAYER ? 0 : N / 5);
    for (int i = 0; i < N; i += 2) {
        if (i % 4)
            shutdown(fds[i], SHUT_WR); /* an end, too */
        else
            close(fds[i]);
    }
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; c->listening != N / 2 && net_now_ms() < end;)
        net_turn(base);
    assert_int_equal(c->listening, N / 2);
    check_counts();
    /* slots are used again; what a listener sends does not matter */
    int again = add(&(struct fanout_listener_conf){0}, 0);
    net_send(again, "GET / HTTP/1.1\r\n\r\n");
    for (int i = 0; i < 20; i++)
        net_turn(base);
    assert_int_equal(c->listening, N / 2 + 1);
    check_counts();
    struct fanout_counts cut;
    fanout_counts_cut(fanout, &cut);
    assert_int_equal(cut.listening, 0);
    assert_int_equal(cut.opened, cut.closed);
    assert_int_equal(cut.lengths[0], cut.closed); /* none has stayed for longer than a second */
    struct net_bytes b = {0};
    stop(1);
    assert_true(net_until(base, again, &b, NULL, NET_DEADLINE_MS));
    assert_int_equal(b.ended, -1); /* a reset, so that players come again */
    assert_int_equal(ended[FANOUT_SHUTDOWN], N / 2 + 1);
    free(b.data);
    close(again);
    for (int i = 0; i < N; i++) {
        if (i % 4) close(fds[i]);
    }
}

/* A server that carries the stream on is served like a listener and is none. */
static void test_carrier(void **state)
{
    (void)state;
    start(0, 15, 1000, 2000);
    int carrier = add(&(struct fanout_listener_conf){.carrier = 1, .user_agent = "Icecast 2.4.4"}, 0);
    const struct fanout_counts *c = fanout_counts(fanout);
    air += 40; /* its turns come while nobody else is there */
    uint64_t due = offset(air - 32) - offset(1000);
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; c->carrier_bytes < due && net_now_ms() < end;)
        net_turn(base);
    assert_true(c->carrier_bytes >= due);
    assert_int_equal(c->carriers, 1);
    assert_int_equal(c->opened + c->listening + c->bytes, 0);
    int fd = add(&(struct fanout_listener_conf){0}, 0);
    check_counts();
    assert_int_equal(c->opened, 1);
    close(carrier);
    while (c->carriers)
        net_turn(base);
    assert_int_equal(ended[FANOUT_CLIENT], 1); /* who keeps its tag is told */
    ended[FANOUT_CLIENT] = 0;
    check_counts();
    assert_int_equal(c->listening, 1);
    close(fd);
    while (c->listening)
        net_turn(base);
    struct fanout_counts sum = {.carriers = 2, .carrier_bytes = 3};
    fanout_counts_add(&sum, c);
    assert_int_equal(sum.carriers, 2);
    assert_int_equal(sum.carrier_bytes, c->carrier_bytes + 3);
    stop(0);
}

static void test_gone_before_it_came(void **state)
{
    (void)state;
    start(1, 10, 1000, 1200);
    for (int reset = 0; reset < 2; reset++) {
        int fds[2];
        assert_int_equal(net_pair(fds, 0), 0);
        if (reset) setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
        close(fds[1]);
        in_add = 1;
        assert_int_equal(fanout_add(fanout, fds[0], &(struct fanout_listener_conf){0}), 0);
        in_add = 0;
        for (int64_t end = net_now_ms() + NET_DEADLINE_MS;
             fanout_counts(fanout)->listening && net_now_ms() < end;)
            net_turn(base);
        assert_int_equal(fanout_counts(fanout)->listening, 0);
    }
    assert_int_equal(ended[FANOUT_CLIENT], 2);
    stop(0);
}

static void test_agents(void **state)
{
    (void)state;
    assert_int_equal(fanout_agent_classify("Mozilla/5.0 (Macintosh) AppleWebKit/605 Safari/605"),
                     AGENT_BROWSER);
    assert_int_equal(fanout_agent_classify("Lavf/59.27.100"), AGENT_PLAYER);
    assert_int_equal(fanout_agent_classify("Linux UPnP/1.0 Sonos/63.2"), AGENT_RADIO);
    assert_int_equal(fanout_agent_classify("python-requests/2"), AGENT_TOOL);
    assert_int_equal(fanout_agent_classify(""), AGENT_OTHER);
    assert_int_equal(fanout_agent_classify(NULL), AGENT_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst_and_bytes),
        cmocka_unit_test(test_writes),
        cmocka_unit_test(test_icy),
        cmocka_unit_test(test_icy_block),
        cmocka_unit_test(test_slow),
        cmocka_unit_test(test_stuck),
        cmocka_unit_test(test_from),
        cmocka_unit_test(test_ring_begins_anew),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_carrier),
        cmocka_unit_test(test_gone_before_it_came),
        cmocka_unit_test(test_agents),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
