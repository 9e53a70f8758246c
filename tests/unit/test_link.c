/* The link: a server whose peer's ring becomes its own, whatever happens in between. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

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

static uint64_t air(void *context, uint32_t *ns)
{
    (void)context;
    *ns = 5;
    return on_air;
}

static void closed(void *context, void *peer)
{
    (void)context;
    closed_peer = peer;
    closed_count++;
}

static struct ring *open_ring(double past_s, double lead_s)
{
    struct ring_conf conf = {.kbps = KBPS, .past_s = past_s, .lead_s = lead_s};
    struct ring *out = NULL;
    assert_int_equal(ring_open(&out, &conf, NULL), 0);
    return out;
}

static void append(struct ring *to, unsigned count, uint64_t seed)
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

static void mark(struct ring *to, uint64_t position, const char *kind, int n)
{
    json_t *body = json_pack("{s:i,s:f}", "n", n, "x", n / 8.0);
    if (to == ring && !strcmp(kind, "segment")) json_object_set_new(body, "plan", json_pack("{s:i}", "n", n));
    assert_int_equal(ring_mark_add(to, ring_branch(to), position, kind, body, NULL), 0);
    json_decref(body);
}

/* The frame on air is `frame`. */
static void set_air(uint64_t frame)
{
    on_air = frame;
    ring_set_floor(ring, frame + 1);
}

static int server_setup(void **state)
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

static int server_teardown(void **state)
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

static void relay_hello(struct relay *r, json_t *body)
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

static void relay_frames(struct relay *r, const struct link_record *record)
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

static void relay_record(struct relay *r, const struct link_record *record)
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

static void relay_connect(struct relay *r, int has_from)
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

static void relay_cut(struct relay *r)
{
    close(r->fd);
    link_decoder_free(r->decoder);
    r->fd = -1;
}

static void relay_end(struct relay *r)
{
    relay_cut(r);
    ring_close(r->ring);
}

/* Lets both sides go on until nothing moves. most: bytes the relay takes. */
static void exchange(struct relay *r, size_t most)
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

static void wake(struct relay *r)
{
    link_server_wake(server);
    exchange(r, SIZE_MAX);
}

/* Lets time pass without the air, until the relay has all there is. */
static void catch_up(struct relay *r)
{
    for (int i = 0; i < 500 && ring_head(r->ring) != ring_head(ring); i++) {
        boot_ns += S / 2;
        wake(r);
    }
}

/* All is told but how a segment is rendered. */
static int same_mark(const struct ring_mark *a, const struct ring_mark *told)
{
    json_t *body = json_copy(a->body);
    json_object_del(body, "plan");
    int same = a->position == told->position && json_equal(body, told->body);
    json_decref(body);
    return same;
}

/* The relay's ring is the root's, from where it starts. */
static void assert_same(const struct relay *r)
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

static struct relay new_relay(void)
{
    return (struct relay){.fd = -1, .ring = open_ring(20, 100)};
}

/* It was sent 1.5 s ahead of the air, less what HELLO and marks took. */
static void assert_at_start(const struct relay *r, uint64_t air)
{
    assert_in_range(ring_head(r->ring), air + 57 - 10, air + 56);
}

static void test_wake_and_fill(void **state)
{
    (void)state;
    struct relay r = new_relay();
    for (int i = 0; i < 30; i++)
        mark(ring, (uint64_t)i * 100, i % 3 ? "title" : "segment", i);
    append(ring, 3000, 1);
    set_air(999);
    relay_connect(&r, 0);
    exchange(&r, SIZE_MAX);
    /* 5 s behind the air, at once up to 1.5 s ahead of it, marks that hold and all that come */
    assert_int_equal(r.resets, 1);
    assert_int_equal(r.hello_position, 1000 - 191);
    assert_at_start(&r, 1000);
    assert_int_equal(r.clocks, 1);
    assert_int_equal(r.clock_position, 999);
    assert_int_equal(r.marks, 2 + 21); /* title 800, segment 600, then 900 to 2900 */
    /* then at twice real time, with a word about the clock each second */
    for (int second = 1; second <= 20; second++) {
        for (int tenth = 0; tenth < 10; tenth++) {
            boot_ns += S / 10;
            set_air(999 +
                    (uint64_t)((second - 1) * 10 + tenth + 1) * 3828 / 1000); /* 38.28 frames a second */
            wake(&r);
        }
        double filled = (double)ring_head(r.ring) - 1000, want = second * 2 * 38.28125;
        assert_true(filled <= fmax(want, 57 + want / 2) + 1 &&
                    filled >= want - 33); /* a record may wait until it is worth it */
        assert_int_equal(r.clocks, 1 + second);
    }
    catch_up(&r);
    assert_same(&r);
    assert_int_equal(r.repeated, 0);
    /* in step: what comes goes on at once */
    boot_ns += S;
    append(ring, 64, 1);
    wake(&r);
    assert_int_equal(ring_head(r.ring), ring_head(ring));
    on_air = UINT64_MAX; /* no clock while the air stands */
    unsigned clocks = r.clocks;
    boot_ns += 2 * S;
    wake(&r);
    assert_int_equal(r.clocks, clocks);
    assert_int_equal(r.commands, 1); /* but a word that it lives */
    assert_int_equal(link_server_count(server), 1);
    assert_true(link_server_bytes(server) > frames_bytes(KBPS, 809, 3064 - 809));
    relay_end(&r);
    exchange(&(struct relay){.fd = -1}, 1);
    assert_int_equal(closed_count, 1);
    assert_ptr_equal(closed_peer, &r);
    assert_int_equal(link_server_count(server), 0);
}

static void test_limit(void **state)
{
    (void)state;
    struct relay r = new_relay();
    append(ring, 1000, 1);
    set_air(299);
    r.ahead_s = 4; /* 153 frames */
    relay_connect(&r, 0);
    catch_up(&r);
    assert_int_equal(ring_head(r.ring), 300 + 153);
    set_air(399);
    catch_up(&r);
    assert_int_equal(ring_head(r.ring), 400 + 153);
    relay_end(&r);
}

static void test_empty_ring(void **state)
{
    (void)state;
    struct relay r = new_relay();
    relay_connect(&r, 0);
    exchange(&r, SIZE_MAX);
    assert_int_equal(r.hello_position, 0);
    assert_int_equal(r.clocks, 0);
    mark(ring, 0, "title", 1);
    append(ring, 70, 1);
    wake(&r);
    assert_at_start(&r, 0);
    catch_up(&r);
    assert_same(&r);
    relay_end(&r);
}

static void test_resume(void **state)
{
    (void)state;
    uint64_t seed = frames_seed("LINK_SEED", 424242);
    struct relay r = new_relay();
    mark(ring, 0, "title", 0);
    append(ring, 500, 1);
    set_air(100);
    relay_connect(&r, 0);
    /* cut anywhere, also in mid-record: nothing is lost, nothing comes twice */
    for (unsigned i = 1; i < 60; i++) {
        uint64_t x = frames_hash(seed + i);
        exchange(&r, x % 30000);
        relay_cut(&r);
        exchange(&(struct relay){.fd = -1}, 1);
        if (i % 3 == 0) mark(ring, ring_head(ring) + x % 20, "title", (int)i);
        append(ring, (unsigned)(x >> 20) % 40, 1);
        set_air(on_air + 20);
        boot_ns += S / 2;
        relay_connect(&r, 1);
    }
    exchange(&r, SIZE_MAX);
    catch_up(&r);
    assert_same(&r);
    assert_int_equal(r.repeated, 0);
    assert_int_equal(r.resets, 1);
    relay_end(&r);
}

static void test_retraction_on_line(void **state)
{
    (void)state;
    struct relay r = new_relay();
    mark(ring, 0, "title", 0);
    append(ring, 2000, 1);
    mark(ring, 300, "segment", 1);
    mark(ring, 350, "title", 2);
    mark(ring, 1200, "title", 3);
    mark(ring, 1500, "segment", 4);
    set_air(100);
    relay_connect(&r, 0);
    exchange(&r, SIZE_MAX);
    assert_at_start(&r, 101);
    /* far ahead of what was sent: the marks before the fork, sent already, stay */
    assert_int_equal(ring_retract(ring, 1, 1000, NULL), 0);
    mark(ring, 1100, "title", 5);
    append(ring, 300, 2);
    wake(&r);
    assert_int_equal(r.branches, 1);
    catch_up(&r);
    assert_same(&r);
    assert_int_equal(r.repeated, 0);
    /* within what was sent */
    assert_int_equal(ring_retract(ring, 2, 900, NULL), 0);
    mark(ring, 905, "title", 6);
    append(ring, 500, 3);
    wake(&r);
    catch_up(&r);
    assert_int_equal(r.branches, 2);
    assert_same(&r);
    /* two in a row before the link looks; and one that the relay's air has passed: it keeps its own past */
    ring_set_floor(r.ring, 1000);
    assert_int_equal(ring_retract(ring, 3, 1050, NULL), 0);
    append(ring, 10, 4);
    assert_int_equal(ring_retract(ring, 4, 990, NULL), 0);
    append(ring, 200, 5);
    wake(&r);
    catch_up(&r);
    assert_int_equal(r.branches, 3);
    assert_int_equal(r.repeated, 10);
    assert_int_equal(ring_head(r.ring), ring_head(ring));
    uint64_t from = mp3_frame_offset(KBPS, 1000), to = ring_byte_head(ring);
    assert_memory_equal(ring_bytes(r.ring, from, to), ring_bytes(ring, from, to), (size_t)(to - from));
    assert_int_equal(r.resets, 1);
    assert_int_equal(closed_count, 0);
    relay_end(&r);
}

static void test_resume_over_a_fork(void **state)
{
    (void)state;
    struct relay r = new_relay();
    mark(ring, 0, "title", 0);
    append(ring, 600, 1);
    set_air(100);
    relay_connect(&r, 0);
    catch_up(&r);
    assert_same(&r);
    relay_cut(&r);
    assert_int_equal(ring_retract(ring, 1, 400, NULL), 0);
    mark(ring, 400, "title", 1);
    append(ring, 300, 2);
    relay_connect(&r, 1);
    exchange(&r, SIZE_MAX);
    assert_int_equal(r.void_from, 400);
    assert_int_equal(r.hello_position, 400);
    catch_up(&r);
    assert_same(&r);
    assert_int_equal(r.resets, 1);
    assert_int_equal(r.repeated, 0);

    /* all it has is good, though the branch is another */
    relay_cut(&r);
    assert_int_equal(ring_retract(ring, 7, 700, NULL), 0);
    append(ring, 10, 3);
    relay_connect(&r, 1);
    exchange(&r, SIZE_MAX);
    catch_up(&r);
    assert_same(&r);
    assert_int_equal(r.void_from, UINT64_MAX);

    /* more than the root has: what is beyond will be made anew */
    relay_cut(&r);
    append(r.ring, 50, 9);
    relay_connect(&r, 1);
    exchange(&r, SIZE_MAX);
    assert_int_equal(r.void_from, 710);
    assert_int_equal(r.hello_position, 710);
    catch_up(&r);
    assert_same(&r);

    /* an unknown branch, another station, too far behind: from the burst */
    for (int i = 0; i < 3; i++) {
        unsigned resets = r.resets;
        relay_cut(&r);
        if (i == 0) ring_reset(r.ring, ring_station(ring), 99, 650);
        if (i == 1) ring_reset(r.ring, "0123", 7, 650);
        if (i == 2) {
            append(ring, 2500, 1);
            set_air(3000);
            append(ring, 3000, 1);
            assert_true(ring_tail(ring) > ring_head(r.ring));
        }
        relay_connect(&r, 1);
        exchange(&r, SIZE_MAX);
        assert_int_equal(r.hello_position, on_air + 1 > 191 ? on_air + 1 - 191 : 0);
        assert_true(r.void_from == (i == 0 ? 0 : UINT64_MAX));
        assert_int_equal(r.resets, resets + 1);
        catch_up(&r);
        assert_same(&r);
    }
    relay_end(&r);
}

static void test_slow_peer(void **state)
{
    (void)state;
    struct relay r = new_relay(), good = new_relay();
    append(ring, 2000, 1);
    set_air(1500);
    relay_connect(&r, 0);
    relay_connect(&good, 0);
    exchange(&good, SIZE_MAX);
    /* takes nothing: the socket fills, then the buffer, then it is dropped; the other one goes on */
    int64_t since = boot_ns;
    for (int i = 0; closed_count == 0 && i < 1000; i++) {
        boot_ns += S;
        append(ring, 38, 1);
        set_air(on_air + 38);
        wake(&good);
        assert_true(closed_count || link_server_count(server) == 2);
    }
    assert_int_equal(closed_count, 1);
    assert_ptr_equal(closed_peer, &r);
    assert_true(boot_ns - since > 10 * S);
    assert_int_equal(link_server_count(server), 1);
    catch_up(&good);
    assert_same(&good);
    exchange(&r, SIZE_MAX); /* what it was sent is still whole, then ends */
    assert_true(r.ended);
    relay_end(&r);
    relay_end(&good);
}

static void test_lagging_peer(void **state)
{
    (void)state;
    struct relay r = new_relay();
    append(ring, 2000, 1);
    set_air(1500);
    relay_connect(&r, 0);
    /* takes a little all the time, but less than there is: until the ring has moved past it */
    for (int i = 0; !closed_count && i < 4000; i++) {
        boot_ns += S;
        append(ring, 38, 1);
        set_air(on_air + 38);
        link_server_wake(server);
        exchange(&r, 6000);
        ring_set_floor(r.ring, ring_head(r.ring));
    }
    assert_int_equal(closed_count, 1);
    assert_true(ring_tail(ring) > ring_head(r.ring));
    relay_end(&r);
}

static void test_close(void **state)
{
    (void)state;
    struct relay a = new_relay(), b = new_relay();
    append(ring, 300, 1);
    set_air(100);
    relay_connect(&a, 0);
    relay_connect(&b, 0);
    exchange(&a, SIZE_MAX);
    exchange(&b, SIZE_MAX);
    link_server_close_peer(server, &a);
    assert_int_equal(link_server_count(server), 1);
    assert_int_equal(closed_count, 0);
    exchange(&a, SIZE_MAX);
    assert_int_equal(closed_count, 1);
    assert_ptr_equal(closed_peer, &a);
    assert_true(a.ended);
    /* the ring begun anew, as a relay's is that feeds others */
    ring_reset(ring, "another", 1, 7);
    wake(&b);
    assert_int_equal(closed_count, 2);
    assert_true(b.ended);
    relay_end(&a);
    relay_end(&b);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, server_setup, server_teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_wake_and_fill),
        CASE(test_limit),
        CASE(test_empty_ring),
        CASE(test_resume),
        CASE(test_retraction_on_line),
        CASE(test_resume_over_a_fork),
        CASE(test_slow_peer),
        CASE(test_lagging_peer),
        CASE(test_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
