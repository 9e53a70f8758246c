#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <event2/buffer.h>

#include "common/station_stats.h"
#include "tests/unit/frames.h"
#include "tests/unit/loop.h"
#include "tests/unit/netclient.h"

#define KBPS 128
#define SEED 3

enum { M_CRATES, M_FOUND, M_COUNT };
static const struct stats_row rows[M_COUNT] = {
    [M_CRATES] = {"forever_crates", STATS_GAUGE, "Crates now."},
    [M_FOUND] = {"forever_found_total", STATS_COUNTER, "Found so far."},
};

static struct ring *ring;
static struct pacer *pacer;
static struct http_server *http;
static struct station_stats *stats;
static int port, on_air;

static void look(void *context, struct station_look *out)
{
    assert_ptr_equal(context, &port);
    out->counts = (struct fanout_counts){.opened = 9, .closed = 6, .listening = 3, .bytes = 4096};
    out->counts.seconds = 1.5;
    out->counts.short_writes = 7;
    out->counts.skips = 2;
    out->counts.agents[AGENT_RADIO] = 3;
    out->counts.ended[FANOUT_SLOW] = 6;
    out->peak = 5;
    out->waiting = 4;
    out->max_listeners = 50;
    out->ring = ring;
    out->pacer = pacer;
    out->on_air = on_air;
}

static void values(void *context, double *v)
{
    assert_ptr_equal(context, &port);
    v[M_CRATES] = 8;
    v[M_FOUND]++;
}

static void series(void *context, struct evbuffer *out)
{
    assert_ptr_equal(context, &port);
    stats_write_head(out, "forever_by_colour", STATS_GAUGE, "By colour.");
    stats_write_sample(out, "forever_by_colour", "colour=\"red\"", 1);
}

static int start(void **state)
{
    (void)state;
    char *cause = NULL;
    const struct ring_conf rc = {.kbps = KBPS, .past_s = 20, .lead_s = 20};
    const struct pacer_conf pc = {.start_lead_s = 1};
    size_t len;
    if (ring_open(&ring, &rc, &cause)) fail_msg("%s", cause);
    uint8_t *bytes = frames_make(KBPS, 0, 500, SEED, &len);
    if (ring_append(ring, ring_branch(ring), 0, 500, bytes, len, &cause)) fail_msg("%s", cause);
    free(bytes);
    pacer = pacer_new(ring, &pc);
    http = http_server_new(base, NULL, "forever-test");
    if (http_server_listen(http, "127.0.0.1", 0, &port, &cause)) fail_msg("%s", cause);
    on_air = 1;
    stats = station_stats_new(&(struct station_stats_conf){.http = http,
                                                           .role = "tester",
                                                           .rows = rows,
                                                           .row_count = M_COUNT,
                                                           .look = look,
                                                           .values = values,
                                                           .series = series,
                                                           .context = &port});
    return 0;
}

static int stop(void **state)
{
    (void)state;
    http_server_free(http);
    station_stats_free(stats);
    pacer_free(pacer);
    ring_close(ring);
    return 0;
}

/* The answer to a GET of path, whole. The caller frees it. */
static char *get(const char *path, int expected)
{
    struct net_bytes b = {0};
    char request[128];
    int fd = net_connect(port, 0);
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
    net_send(fd, request);
    assert_true(net_until(base, fd, &b, NULL, NET_DEADLINE_MS));
    assert_int_equal(net_status(&b), expected);
    close(fd);
    return b.data;
}

static void assert_line(const char *page, const char *line)
{
    char whole[200];
    snprintf(whole, sizeof whole, "\n%s\n", line);
    if (!strstr(page, whole)) fail_msg("no line \"%s\" in\n%s", line, page);
}

static double value_of(const char *page, const char *metric)
{
    char before[100];
    snprintf(before, sizeof before, "\n%s ", metric);
    const char *at = strstr(page, before);
    if (!at) fail_msg("no %s in\n%s", metric, page);
    return strtod(at + strlen(before), NULL);
}

static void a_page_has_the_common_and_the_own(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "forever_listeners 3",
        "forever_listeners_max 50",
        "forever_listeners_peak 5",
        "forever_listeners_waiting 4",
        "forever_listener_starts_total 9",
        "forever_listening_seconds_total 1.5",
        "forever_egress_bytes_total 4096",
        "forever_listener_short_writes_total 7",
        "forever_listener_skips_total 2",
        "forever_branch 0",
        "forever_encoder_starvation_total 0",
        "forever_listeners_by_agent{agent=\"radio\"} 3",
        "forever_listeners_by_agent{agent=\"browser\"} 0",
        "forever_listener_sessions_total{end=\"slow\"} 6",
        "# TYPE forever_crates gauge",
        "forever_crates 8",
        "forever_found_total 1",
        "forever_by_colour{colour=\"red\"} 1",
        "forever_build_info{role=\"tester\",version=\"" FOREVER_VERSION "\"} 1",
    };
    char *page = get("/metrics", 200);
    assert_non_null(strstr(page, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_line(page, lines[i]);
    double lead_s = value_of(page, "forever_lead_seconds"), frame = value_of(page, "forever_position_frames");
    assert_true(lead_s > 8 && lead_s < 13.1); /* 500 frames are 13.06 s, and began to air just now */
    assert_true(frame >= 0 && frame < 200);
    free(page);
    page = get("/metrics", 200); /* what is only added to has stayed */
    assert_line(page, "forever_found_total 2");
    free(page);
}

static void requests_count_by_route_and_code(void **state)
{
    (void)state;
    free(get("/metrics", 200));
    free(get("/metrics", 200));
    free(get("/nowhere", 404));
    char *page = get("/metrics", 200);
    assert_line(page, "forever_http_requests_total{route=\"/metrics\",code=\"200\"} 2");
    assert_line(page, "forever_http_requests_total{route=\"\",code=\"404\"} 1");
    free(page);
}

/* A node that plays nothing stands where it would go on, and a page does not set it in motion. */
static void a_node_that_stands_is_left_alone(void **state)
{
    (void)state;
    on_air = 0;
    ring_set_floor(ring, 120);
    char *page = get("/metrics", 200);
    assert_line(page, "forever_position_frames 120");
    assert_line(page, "forever_lead_seconds 0");
    free(page);
    struct ring_anchor anchor;
    assert_true(ring_anchor(ring, &anchor) < 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_page_has_the_common_and_the_own),
        TEST(requests_count_by_route_and_code),
        TEST(a_node_that_stands_is_left_alone),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
