/* What a visit costs the parent: for any length, linger, rate, and time that the words of its end take, no
 * more than the burst, twice the time and the linger. Links of a real server, all that goes to their sockets
 * counted, with what TLS adds; time is the test's. */
#include <errno.h>
#include <event2/event.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/link.h"
#include "common/log.h"
#include "common/mem.h"
#include "tests/unit/frames.h"

#define FPS        ((double)MP3_RATE / MP3_FRAME_SAMPLES)
#define LEAD_S     60
#define BURST_S    4.0
#define STEP_MS    10
#define TLS_RECORD 16384
#define TLS_HEAD   22
#define LENGTH(a)  (sizeof(a) / sizeof *(a))

static const double lingers[] = {0, 0.5, 1, 2, 3, 5, 15}, lengths[] = {0, 0.3, 1, 2.5, 7, 20};
/* until the parent knows that nobody listens, and beyond the stay until it knows that the link ended */
static const double ways[][2] = {{0, 0}, {0.24, 0.24}, {0.48, 0}, {0, 0.48}};

static int64_t boot_ns, wall_ns, began_ns;
static struct ring *ring;
static struct link_server *server;
static double marked_s;

/* A visit, and its link's end of the socket. */
static struct visit {
    double linger_s, length_s, word_s, end_s;
    int64_t from_ms;
    int fd, there, slowed;
    uint64_t cost;
    char id[LINK_ID_MAX];
} visits[LENGTH(lingers) * LENGTH(lengths) * LENGTH(ways)];

static ssize_t take(void *self, int fd, const struct iovec *pieces, int count, int *full)
{
    struct visit *v = self;
    size_t all = 0;
    (void)fd;
    for (int i = 0; i < count; i++) {
        const char *key = memmem(pieces[i].iov_base, pieces[i].iov_len, "\"link\":\"", 8);
        if (key && !*v->id) memcpy(v->id, key + 8, LINK_ID_MAX - 1);
        all += pieces[i].iov_len;
    }
    v->cost += all + TLS_HEAD * ((all + TLS_RECORD - 1) / TLS_RECORD);
    *full = 0;
    return (ssize_t)all;
}

static int drain(void *self, int fd)
{
    (void)self, (void)fd;
    return 0;
}

static void end(void *self, int reset)
{
    (void)reset;
    ((struct visit *)self)->there = 0;
}

static const struct fanout_transport counted = {.write = take, .drain = drain, .free = end};

/* The air goes on with the clock from frame 2000 on. */
static uint64_t air(void *context, uint32_t *ns)
{
    (void)context;
    *ns = 5;
    return 2000 + (uint64_t)((double)(boot_ns - began_ns) * 1e-9 * FPS);
}

static void mark(double at_s, const char *kind, size_t size)
{
    json_t *body = json_object();
    char *text = xcalloc(1, size + 1);
    memset(text, 'x', size);
    json_object_set_new(body, "title", json_sprintf("%s %.0f", text, at_s));
    assert_int_equal(ring_mark_add(ring, 0, 2000 + (uint64_t)(at_s * FPS), kind, body, NULL), 0);
    json_decref(body);
    free(text);
}

static void studio(void)
{
    uint32_t ns;
    uint64_t until = air(NULL, &ns) + (uint64_t)(LEAD_S * FPS);
    ring_set_floor(ring, air(NULL, &ns) + 1);
    for (; 2000 + marked_s * FPS < (double)until; marked_s += 20) {
        mark(marked_s, "title", 100);
        mark(marked_s + 1, "segment", 1200); /* as those in between tracks are */
    }
    while (ring_head(ring) + 49 <= until) {
        size_t len;
        uint8_t *bytes = frames_make(ring_kbps(ring), ring_head(ring), 49, 1, &len);
        assert_int_equal(ring_append(ring, 0, ring_head(ring), 49, bytes, len, NULL), 0);
        free(bytes);
    }
}

static void begin(struct visit *v)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    v->fd = pair[0];
    v->there = 1;
    const struct link_ask ask = {.header =
                                     "HTTP/1.1 200 OK\r\nContent-Type: application/x-forever-link\r\n\r\n",
                                 .less_s = link_pace_less(v->linger_s),
                                 .transport = &counted,
                                 .transport_self = v,
                                 .peer = v};
    assert_int_equal(link_server_add(server, pair[1], &ask), 0);
    assert_int_equal(strlen(v->id), LINK_ID_MAX - 1);
}

/* Says whether it is still to come or there. */
static int attend(struct visit *v, int64_t now_ms)
{
    double since_s = (double)(now_ms - v->from_ms) / 1000, stay_s = link_pace_stay(v->linger_s);
    if (now_ms == v->from_ms) begin(v);
    if (since_s < 0) return 1;
    if (v->there && since_s >= v->length_s + stay_s + v->end_s) {
        link_server_close_peer(server, v);
        close(v->fd);
    }
    if (v->there && !v->slowed && since_s >= v->length_s + v->word_s) {
        v->slowed = 1;
        assert_int_equal(link_server_pace(server, v->id, 1), 0);
    }
    return v->there;
}

static void visit_all(struct event_base *base)
{
    size_t n = 0;
    memset(visits, 0, sizeof visits);
    for (size_t l = 0; l < LENGTH(lingers); l++)
        for (size_t t = 0; t < LENGTH(lengths); t++)
            for (size_t w = 0; w < LENGTH(ways); w++, n++)
                visits[n] = (struct visit){.linger_s = lingers[l],
                                           .length_s = lengths[t],
                                           .word_s = ways[w][0],
                                           .end_s = ways[w][1],
                                           .from_ms = (int64_t)(n * 7 % 100) * STEP_MS};
    size_t left = n;
    for (int64_t ms = 0; left; ms += STEP_MS) {
        left = 0;
        for (size_t i = 0; i < n; i++)
            left += (size_t)attend(&visits[i], ms);
        boot_ns += STEP_MS * INT64_C(1000000);
        if (ms % 100) continue;
        studio();
        link_server_wake(server);
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
}

static void check_visits(unsigned kbps)
{
    double bytes_s = kbps * 125, closest = 99;
    for (size_t i = 0; i < LENGTH(visits); i++) {
        const struct visit *v = &visits[i];
        double cost_s = (double)v->cost / bytes_s, most_s = BURST_S + 2 * v->length_s + v->linger_s;
        if (cost_s > most_s)
            fail_msg("%u kbit/s, linger %g s, visit of %g s, words in %g and %g s: %.3f s, %.3f at most",
                     kbps, v->linger_s, v->length_s, v->word_s, v->end_s, cost_s, most_s);
        closest = fmin(closest, most_s - cost_s);
        /* nor is it much less: the burst, the fill at twice the rate less 5 %, the stay */
        double least_s =
            BURST_S - LINK_PACE_WAYS_S - 0.1 + fmax(1.9 * v->length_s - 0.5, 0) + link_pace_stay(v->linger_s);
        if (cost_s < least_s)
            fail_msg("%u kbit/s, linger %g s, visit of %g s: %.3f s, %.3f at least", kbps, v->linger_s,
                     v->length_s, cost_s, least_s);
    }
    print_message("%3u kbit/s: %zu visits, the dearest %.3f s below what it may cost\n", kbps, LENGTH(visits),
                  closest);
}

static void no_visit_costs_more_than_it_may(void **state)
{
    (void)state;
    static const unsigned rates[] = {64, 192, 320};
    struct event_base *base = event_base_new();
    boot_ns = 1000 * CLOCK_NS_PER_S;
    wall_ns = 1700000000 * CLOCK_NS_PER_S;
    clock_fake(&boot_ns, &wall_ns);
    for (size_t r = 0; r < LENGTH(rates); r++) {
        const struct ring_conf conf = {.kbps = rates[r], .past_s = 60, .lead_s = LEAD_S + 5};
        assert_int_equal(ring_open(&ring, &conf, NULL), 0);
        struct link_budget budget = {0};
        const struct link_server_conf server_conf = {.name = "Forever",
                                                     .mount = "stream",
                                                     .burst_s = BURST_S,
                                                     .fill_rate = 2,
                                                     .budget = &budget,
                                                     .air = air};
        server = link_server_new(base, ring, &server_conf);
        began_ns = boot_ns;
        marked_s = 0;
        studio();
        visit_all(base);
        check_visits(rates[r]);
        link_server_free(server);
        ring_close(ring);
    }
    clock_fake(NULL, NULL);
    event_base_free(base);
}

static void lingers_are_shared_out(void **state)
{
    (void)state;
    for (double linger_s = 0; linger_s < 40; linger_s += 0.1) {
        double less = link_pace_less(linger_s), stay = link_pace_stay(linger_s);
        assert_true(less >= 0 && less <= LINK_LESS_MAX_S && stay >= 0 && stay < linger_s + 1e-9);
        /* longer is never less of either */
        assert_true(link_pace_less(linger_s + 0.1) <= less && link_pace_stay(linger_s + 0.1) >= stay);
        /* what the beginning brings beside the burst, the stay and what is told late are the linger */
        assert_true(LINK_START_S - less + stay / 0.98 + LINK_PACE_WAYS_S <= linger_s + 1e-9);
    }
    assert_true(link_pace_stay(0) == 0 && link_pace_less(4) == 0 && link_pace_less(86400) == 0);
    assert_true(link_pace_stay(15) > 12.5);
}

int main(void)
{
    log_init("test", LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_visit_costs_more_than_it_may),
        cmocka_unit_test(lingers_are_shared_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
