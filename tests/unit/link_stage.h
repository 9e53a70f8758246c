/* link_stage: a link server, and a relay as the protocol means it. */
#ifndef FOREVER_TESTS_UNIT_LINK_STAGE_H
#define FOREVER_TESTS_UNIT_LINK_STAGE_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/link.h"
#include "common/log.h"
#include "tests/unit/frames.h"

#define KBPS 64
#define S    CLOCK_NS_PER_S

static int64_t boot_ns, wall_ns;
static struct event_base *base;
static struct ring *ring;
static struct link_server *server;
static uint64_t on_air;
static void *closed_peer;
static int closed_count;

static inline uint64_t air(void *context, uint32_t *ns)
{
    (void)context;
    *ns = 5;
    return on_air;
}

static inline void closed(void *context, void *peer)
{
    (void)context;
    closed_peer = peer;
    closed_count++;
}

static inline struct ring *open_ring(double past_s, double lead_s)
{
    struct ring_conf conf = {.kbps = KBPS, .past_s = past_s, .lead_s = lead_s};
    struct ring *out = NULL;
    assert_int_equal(ring_open(&out, &conf, NULL), 0);
    return out;
}

static inline void append(struct ring *to, unsigned count, uint64_t seed)
{
    while (count) {
        unsigned n = count < 64 ? count : 64;
        size_t len;
        uint8_t *bytes = frames_make(KBPS, ring_head(to), n, seed, &len);
        assert_int_equal(ring_append(to, ring_branch(to), ring_head(to), n, bytes, len, NULL), 0);
        free(bytes);
        count -= n;
    }
}

static inline void mark(struct ring *to, uint64_t position, const char *kind, int n)
{
    json_t *body = json_pack("{s:i,s:f}", "n", n, "x", n / 8.0);
    if (to == ring && !strcmp(kind, "segment")) json_object_set_new(body, "plan", json_pack("{s:i}", "n", n));
    assert_int_equal(ring_mark_add(to, ring_branch(to), position, kind, body, NULL), 0);
    json_decref(body);
}

/* The frame on air is `frame`. */
static inline void set_air(uint64_t frame)
{
    on_air = frame;
    ring_set_floor(ring, frame + 1);
}

static inline int server_setup(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    boot_ns = 1000 * S;
    wall_ns = INT64_C(1700000000) * S;
    clock_fake(&boot_ns, &wall_ns);
    base = event_base_new();
    ring = open_ring(20, 100);
    struct link_server_conf conf = {.name = "Forever",
                                    .description = "all night",
                                    .url = "http://forever.example",
                                    .mount = "main",
                                    .burst_s = 5,
                                    .fill_rate = 2,
                                    .air = air,
                                    .closed = closed};
    server = link_server_new(base, ring, &conf);
    closed_count = 0;
    on_air = UINT64_MAX;
    return 0;
}

static inline int server_teardown(void **state)
{
    (void)state;
    link_server_free(server);
    ring_close(ring);
    event_base_free(base);
    clock_fake(NULL, NULL);
    return 0;
}

/* A relay as the protocol means it: a ring of its own, kept in step. */
struct relay {
    int fd;
    double ahead_s;
    struct ring *ring;
    struct link_decoder *decoder;
    uint64_t void_from, hello_position; /* void_from: UINT64_MAX when there was none */
    uint64_t clock_position;
    unsigned clocks, frames, repeated, marks, branches, resets, commands;
    int header_left;
    int64_t ended; /* end of the stream seen */
};

static inline void relay_hello(struct relay *r, json_t *body)
{
    uint32_t branch = (uint32_t)json_integer_value(json_object_get(body, "branch"));
    json_t *from = json_object_get(body, "void_from");
    const char *station = json_string_value(json_object_get(body, "station"));
    assert_int_equal(json_integer_value(json_object_get(body, "version")), 1);
    assert_int_equal(json_integer_value(json_object_get(body, "kbps")), KBPS);
    assert_string_equal(json_string_value(json_object_get(body, "name")), "Forever");
    assert_string_equal(json_string_value(json_object_get(body, "description")), "all night");
    assert_string_equal(json_string_value(json_object_get(body, "url")), "http://forever.example");
    assert_null(json_object_get(body, "genre")); /* has none */
    assert_string_equal(json_string_value(json_object_get(body, "mount")), "main");
    r->hello_position = (uint64_t)json_integer_value(json_object_get(body, "position"));
    r->void_from = from ? (uint64_t)json_integer_value(from) : UINT64_MAX;
    int same = strcmp(station, ring_station(r->ring)) == 0;
    if (same && branch > ring_branch(r->ring)) {
        uint64_t at = r->void_from < ring_head(r->ring) ? r->void_from : ring_head(r->ring);
        if (at < ring_floor(r->ring)) at = ring_floor(r->ring);
        same = ring_retract(r->ring, branch, at, NULL) == 0;
    } else if (r->void_from != UINT64_MAX) {
        same = 0;
    }
    if (!same || r->hello_position > ring_head(r->ring)) {
        ring_reset(r->ring, station, branch, r->hello_position);
        r->resets++;
    }
}

static inline void relay_frames(struct relay *r, const struct link_record *record)
{
    uint64_t head = ring_head(r->ring), skip = record->position < head ? head - record->position : 0;
    r->repeated += skip < record->count ? (unsigned)skip : record->count;
    r->frames += record->count;
    if (skip >= record->count) return;
    size_t off = frames_bytes(KBPS, record->position, (unsigned)skip);
    char *cause = NULL;
    if (ring_append(r->ring, record->branch, record->position + skip, record->count - (unsigned)skip,
                    record->bytes + off, record->len - off, &cause))
        fail_msg("%s", cause);
}

static inline void relay_record(struct relay *r, const struct link_record *record)
{
    char *cause = NULL;
    switch (record->type) {
    case LINK_HELLO:
        relay_hello(r, record->body);
        break;
    case LINK_FRAMES:
        relay_frames(r, record);
        break;
    case LINK_MARK:
        r->marks++;
        if (ring_mark_add(r->ring, record->branch, record->position, record->kind, record->body, &cause))
            fail_msg("%s", cause);
        break;
    case LINK_BRANCH:
        r->branches++;
        assert_true(record->position <= ring_head(r->ring));
        if (ring_retract(r->ring, record->branch,
                         record->position < ring_floor(r->ring) ? ring_floor(r->ring) : record->position,
                         &cause))
            fail_msg("%s", cause);
        break;
    case LINK_CLOCK:
        r->clocks++;
        r->clock_position = record->position;
        assert_int_equal(record->ns, 5);
        break;
    case LINK_COMMAND:
        r->commands++;
        break;
    }
}

static inline void relay_connect(struct relay *r, int has_from)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    r->fd = pair[0];
    r->decoder = link_decoder_new();
    r->header_left = 4;
    r->ended = 0;
    const struct link_ask ask = {.header = "HEAD",
                                 .has_from = has_from,
                                 .branch = ring_branch(r->ring),
                                 .position = ring_head(r->ring),
                                 .station = ring_station(r->ring),
                                 .ahead_s = r->ahead_s,
                                 .peer = r};
    assert_int_equal(link_server_add(server, pair[1], &ask), 0);
}

static inline void relay_cut(struct relay *r)
{
    close(r->fd);
    link_decoder_free(r->decoder);
    r->fd = -1;
}

static inline void relay_end(struct relay *r)
{
    relay_cut(r);
    ring_close(r->ring);
}

/* Lets both sides go on until nothing moves. most: bytes the relay takes. */
static inline void exchange(struct relay *r, size_t most)
{
    uint8_t bytes[3000];
    int quiet = 0;
    while (quiet < 2 && most) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        ssize_t n = recv(r->fd, bytes, most < sizeof bytes ? most : sizeof bytes, 0);
        quiet = n > 0 ? 0 : quiet + 1;
        if (n == 0) r->ended = 1;
        if (n <= 0) continue;
        most -= (size_t)n;
        size_t skip = (size_t)n < (size_t)r->header_left ? (size_t)n : (size_t)r->header_left;
        assert_memory_equal(bytes, &"HEAD"[4 - r->header_left], skip);
        r->header_left -= (int)skip;
        link_decoder_feed(r->decoder, bytes + skip, (size_t)n - skip);
        struct link_record record;
        char *cause = NULL;
        int rc;
        while ((rc = link_decoder_next(r->decoder, &record, &cause)) == 1)
            relay_record(r, &record);
        if (rc < 0) fail_msg("%s", cause);
    }
}

static inline void wake(struct relay *r)
{
    link_server_wake(server);
    exchange(r, SIZE_MAX);
}

/* Lets time pass without the air, until the relay has all there is. */
static inline void catch_up(struct relay *r)
{
    for (int i = 0; i < 500 && ring_head(r->ring) != ring_head(ring); i++) {
        boot_ns += S / 2;
        wake(r);
    }
}

/* All is told but how a segment is rendered. */
static inline int same_mark(const struct ring_mark *a, const struct ring_mark *told)
{
    json_t *body = json_copy(a->body);
    json_object_del(body, "plan");
    int same = a->position == told->position && json_equal(body, told->body);
    json_decref(body);
    return same;
}

/* The relay's ring is the root's, from where it starts. */
static inline void assert_same(const struct relay *r)
{
    assert_int_equal(ring_head(r->ring), ring_head(ring));
    assert_int_equal(ring_branch(r->ring), ring_branch(ring));
    assert_string_equal(ring_station(r->ring), ring_station(ring));
    uint64_t tail = ring_tail(r->ring) > ring_tail(ring) ? ring_tail(r->ring) : ring_tail(ring);
    uint64_t from = mp3_frame_offset(KBPS, tail), to = ring_byte_head(ring);
    assert_memory_equal(ring_bytes(r->ring, from, to), ring_bytes(ring, from, to), (size_t)(to - from));
    static const char *const kinds[] = {"title", "segment"};
    for (uint64_t at = tail; at < ring_head(ring) + 100; at++) {
        for (size_t k = 0; k < 2; k++) {
            const struct ring_mark *a = ring_mark_at(ring, kinds[k], at),
                                   *b = ring_mark_at(r->ring, kinds[k], at);
            if (!a != !b || (a && !same_mark(a, b))) fail_msg("%s at %" PRIu64 " differs", kinds[k], at);
        }
    }
}

static inline struct relay new_relay(void)
{
    return (struct relay){.fd = -1, .ring = open_ring(20, 100)};
}

/* It was sent 1.5 s ahead of the air, less what HELLO and marks took. */
static inline void assert_at_start(const struct relay *r, uint64_t air)
{
    assert_in_range(ring_head(r->ring), air + 57 - 10, air + 56);
}

#endif
