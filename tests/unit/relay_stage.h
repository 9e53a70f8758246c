/* A whole relay but its main(), against a root made of the parts the real one is made of, in one event loop.
 */
#ifndef FOREVER_TESTS_RELAY_STAGE_H
#define FOREVER_TESTS_RELAY_STAGE_H
#include <event2/event.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "common/clock.h"
#include "common/fetch.h"
#include "common/http.h"
#include "common/json.h"
#include "common/link_query.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"
#include "relay/bundle.h"
#include "relay/feed.h"
#include "relay/drain.h"
#include "relay/elsewhere.h"
#include "relay/join.h"
#include "relay/metrics.h"
#include "tests/unit/frames.h"
#include "tests/unit/netclient.h"

#define KBPS                                                                                                 \
    320 /* not what a relay assumes before it is told; a listener waits for a flight of bytes less long */
#define BYTES_S  (KBPS * 125)
#define SEED     7
#define TOKEN    "correct horse battery"
#define LEAD_S   20
#define RELAY_S  2
#define LINGER_S 0.2
#define ID       "0123456789abcdef"

static struct event_base *base;

/* --- the root --- */

static struct root {
    struct http_server *http, *second; /* second: another address of it, NULL: none */
    struct ring *ring;
    struct pacer *pacer;
    struct link_server *link;
    struct event *studio;
    int port, told_kbps, silent, refuse_links, has_low;
    struct ring *low; /* the mount beside the main one, and its links */
    struct link_server *low_link;
    unsigned reports, links_started;
    double pace;                  /* a relay asked for last */
    unsigned at_first, at_second; /* links, by address */
    void *last_peer;
    json_t *last_report;
    double drain_s; /* told with each answer; 0: no */
    int most;       /* listeners that may be there; 0: any number */
} root;

static inline uint64_t root_air(void *context, uint32_t *ns)
{
    (void)context;
    return pacer_on_air(root.pacer, ns);
}

/* Keeps the lead, as a studio with credits does. */
static inline void fill(struct ring *ring, uint64_t until)
{
    while (ring_head(ring) < until) {
        size_t len;
        uint64_t head = ring_head(ring);
        uint8_t *bytes = frames_make(ring_kbps(ring), head, 32, SEED, &len);
        assert_int_equal(ring_append(ring, ring_branch(ring), head, 32, bytes, len, NULL), 0);
        free(bytes);
    }
}

static inline void on_studio(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what, (void)context;
    uint64_t air = pacer_air(root.pacer, NULL), until = air + LEAD_S * 38;
    ring_set_floor(root.low, air);
    fill(root.ring, until);
    fill(root.low, until);
    link_server_wake(root.link);
    link_server_wake(root.low_link);
}

static inline int let_in(struct http_request *r)
{
    const char *given = http_header(r, "Authorization");
    if (given && !strcmp(given, "Bearer " TOKEN)) return 1;
    http_reply_error(r, 403, "wrong token");
    return 0;
}

static inline void on_link(void *context, struct http_request *r)
{
    char from[64], station[64], lead[16];
    unsigned branch = 0;
    uint64_t position = 0;
    (void)context;
    if (!let_in(r)) return;
    if (root.refuse_links) {
        http_reply_error(r, 503, "no music yet");
        return;
    }
    int has_from = http_query_get(r, "from", from, sizeof from) &&
                   http_query_get(r, "station", station, sizeof station) &&
                   sscanf(from, "%u,%" SCNu64, &branch, &position) == 2;
    double lead_s = strtod(http_query_get(r, "lead", lead, sizeof lead), NULL);
    void *peer = (void *)(uintptr_t)++root.links_started;
    root.last_peer = peer;
    root.at_second += http_request_server(r) == root.second;
    root.at_first += http_request_server(r) == root.http;
    char mount[40];
    struct link_server *link =
        !strcmp(http_query_get(r, "mount", mount, sizeof mount), "low") ? root.low_link : root.link;
    const struct link_ask ask = {.header = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
                                 .has_from = has_from,
                                 .branch = branch,
                                 .position = position,
                                 .station = station,
                                 .ahead_s = lead_s,
                                 .peer = peer};
    link_server_add(link, http_detach(r), &ask);
}

static inline void on_pace(void *context, struct http_request *r)
{
    char id[LINK_ID_MAX];
    (void)context;
    if (!let_in(r)) return;
    assert_int_equal(link_query_pace(r, id, &root.pace), 0);
    int found =
        !link_server_pace(root.link, id, root.pace) || !link_server_pace(root.low_link, id, root.pace);
    http_reply(r, found ? 200 : 404, NULL, NULL, 0);
}

static inline void on_report(void *context, struct http_request *r)
{
    size_t len;
    (void)context;
    if (!let_in(r)) return;
    const void *text = http_body(r, &len);
    json_decref(root.last_report);
    root.last_report = json_parse(text, len, 16384, NULL);
    root.reports++;
    static const char alone[] = ",\"mounts\":[{\"name\":\"stream\",\"kbps\":320}]";
    static const char both[] =
        ",\"mounts\":[{\"name\":\"stream\",\"kbps\":320},{\"name\":\"low\",\"kbps\":64}]";
    char body[300], drain[60] = "", move[80] = "";
    int listeners = (int)json_int_or(root.last_report, "listeners", 0, 0, 1000, NULL);
    if (root.drain_s > 0) snprintf(drain, sizeof drain, ",\"drain\":{\"deadline_s\":%g}", root.drain_s);
    if (root.most && listeners > root.most)
        snprintf(move, sizeof move, ",\"move\":{\"listeners\":%d,\"deadline_s\":0.3}", listeners - root.most);
    int n = snprintf(body, sizeof body, "{\"ok\":true,\"interval_s\":0.5%s%s%s}",
                     !root.told_kbps ? ""
                     : root.has_low  ? both
                                     : alone,
                     drain, move);
    http_reply(r, 200, "application/json", body, (size_t)n);
}

static const struct http_route root_routes[] = {
    {HTTP_GET, "/link", on_link, 0, ""},
    {HTTP_POST, "/link/pace", on_pace, 0, ""},
    {HTTP_POST, "/api/relay/report", on_report, 0, ""},
};

static inline void start_links(void)
{
    const struct link_server_conf conf = {.name = "Radio Test",
                                          .description = "a test",
                                          .url = "http://radio.example",
                                          .mount = "main",
                                          .burst_s = 4,
                                          .fill_rate = 2,
                                          .air = root_air};
    root.link = link_server_new(base, root.ring, &conf);
    root.low_link = link_server_new(base, root.low, &conf);
}

static inline void start_root(void)
{
    const struct ring_conf ring = {.kbps = KBPS, .past_s = 30, .lead_s = LEAD_S + 5};
    const struct pacer_conf pace = {.start_lead_s = 1};
    char *cause = NULL;
    root.told_kbps = 1;
    if (ring_open(&root.ring, &ring, &cause)) fail_msg("%s", cause);
    const struct ring_conf low = {.kbps = 64, .past_s = 30, .lead_s = LEAD_S + 5, .marks_of = root.ring};
    if (ring_open(&root.low, &low, &cause)) fail_msg("%s", cause);
    root.pacer = pacer_new(root.ring, &pace);
    start_links();
    root.http = http_server_new(base, NULL, "root");
    http_server_routes(root.http, root_routes, 3, NULL);
    if (http_server_listen(root.http, "127.0.0.1", 0, &root.port, &cause)) fail_msg("%s", cause);
    root.studio = event_new(base, -1, EV_PERSIST, on_studio, NULL);
    event_add(root.studio, &(struct timeval){.tv_usec = 50000});
    /* it has been on air for a while */
    size_t len;
    uint8_t *bytes = frames_make(KBPS, 0, 400, SEED, &len);
    json_t *title = json_pack("{s:s,s:s,s:s}", "title", "T", "artist", "A", "text", "A - T");
    assert_int_equal(ring_mark_add(root.ring, 0, 0, "title", title, NULL), 0);
    assert_int_equal(ring_append(root.ring, 0, 0, 400, bytes, len, NULL), 0);
    json_decref(title);
    free(bytes);
    ring_reset(root.low, ring_station(root.ring), 0, 0);
    fill(root.low, 400);
    pacer_air(root.pacer, NULL);
    pacer_follow(root.pacer, 300, 0); /* jumps there */
    on_studio(-1, 0, NULL);
}

static inline void stop_root(void)
{
    event_free(root.studio);
    link_server_free(root.link);
    link_server_free(root.low_link);
    http_server_free(root.http);
    if (root.second) http_server_free(root.second);
    pacer_free(root.pacer);
    ring_close(root.low);
    ring_close(root.ring);
    json_decref(root.last_report);
    memset(&root, 0, sizeof root);
}

/* --- the relay --- */

static struct relay {
    struct http_server *http;
    struct fetch_client *client;
    struct limits *limits;
    struct gate *gate;
    struct parents *parents;
    struct bundle *bundle;
    struct feed *feed;
    struct join *join;
    struct relay_metrics *metrics;
    char state[64], url[64];
    double linger_s;
    int port, failed;
    struct drain *drain;         /* NULL: commands are ignored */
    struct elsewhere *elsewhere; /* no other node, until a test tells one */
} relay;

static inline struct node *node_of(size_t mount)
{
    return bundle_at(relay.bundle, mount)->node;
}

static inline struct pull *pull_of(size_t mount)
{
    return bundle_at(relay.bundle, mount)->pull;
}

static inline int on_healthy(void *context, char *text, size_t size)
{
    (void)context, (void)text, (void)size;
    return 1;
}

static inline void on_mounts(void *context, const struct mount_spec *list, size_t count)
{
    (void)context;
    assert_int_equal(bundle_set(relay.bundle, list, count, NULL), 0);
}

static inline void on_failed(void *context, const char *why)
{
    (void)context, (void)why;
    relay.failed = 1;
}

static inline void on_drain(void *context, double deadline_s)
{
    (void)context;
    if (!relay.drain) return;
    if (deadline_s < 0)
        drain_end(relay.drain, DRAIN_REPORT);
    else
        drain_begin(relay.drain, DRAIN_REPORT, deadline_s);
}

static inline void on_move(void *context, unsigned listeners, double deadline_s)
{
    (void)context;
    if (relay.drain) drain_move(relay.drain, listeners, deadline_s);
}

static inline void on_drain_news(void *context)
{
    (void)context;
    join_hurry(relay.join);
}

static inline void start_relay_with(const char *token, unsigned max_listeners, double linger_s)
{
    char *cause = NULL;
    relay.linger_s = linger_s;
    strcpy(relay.state, "/tmp/test_relay.XXXXXX");
    assert_non_null(mkdtemp(relay.state));
    snprintf(relay.url, sizeof relay.url, "http://127.0.0.1:%d", root.port ? root.port : 1);
    relay.http = http_server_new(base, NULL, "relay");
    assert_int_equal(http_server_listen(relay.http, "127.0.0.1", 0, &relay.port, &cause), 0);
    relay.client = fetch_client_new(base);
    relay.parents = parents_new();
    parents_add(relay.parents, relay.url, NULL, token);
    relay.limits = limits_new(&(struct limits_conf){.listeners = max_listeners});
    relay.gate = gate_new(relay.limits, NULL);
    relay.elsewhere = elsewhere_new();
    const struct bundle_conf bundle = {.base = base,
                                       .http = relay.http,
                                       .client = relay.client,
                                       .state = relay.state,
                                       .parents = relay.parents,
                                       .id = ID,
                                       .lead_s = RELAY_S,
                                       .linger_s = relay.linger_s,
                                       .gate = relay.gate,
                                       .elsewhere = relay.elsewhere,
                                       .healthy = on_healthy,
                                       .failed = on_failed};
    if (bundle_new(&relay.bundle, &bundle, &cause)) fail_msg("%s", cause);
    relay.feed = feed_new(&(struct feed_conf){.base = base, .bundle = relay.bundle, .token = token});
    feed_routes(relay.feed, relay.http);
    const struct join_conf join = {.base = base,
                                   .feed = relay.feed,
                                   .client = relay.client,
                                   .bundle = relay.bundle,
                                   .parents = relay.parents,
                                   .id = ID,
                                   .name = "here",
                                   .public_url = "http://relay.example",
                                   .max_listeners = max_listeners,
                                   .started_ns = 1,
                                   .drain = on_drain,
                                   .move = on_move,
                                   .mounts = on_mounts};
    relay.join = join_new(&join);
    const struct relay_metrics_conf metrics = {.http = relay.http,
                                               .client = relay.client,
                                               .bundle = relay.bundle,
                                               .join = relay.join,
                                               .max_listeners = max_listeners};
    relay.metrics = relay_metrics_new(&metrics);
}

static inline void start_relay(const char *token, unsigned max_listeners)
{
    start_relay_with(token, max_listeners, LINGER_S);
}

static inline void stop_relay(void)
{
    drain_free(relay.drain);
    join_free(relay.join);
    feed_free(relay.feed);
    bundle_free(relay.bundle);
    fetch_client_free(relay.client);
    parents_free(relay.parents);
    http_server_free(relay.http);
    relay_metrics_free(relay.metrics);
    gate_free(relay.gate);
    elsewhere_free(relay.elsewhere);
    limits_free(relay.limits);
    static const char *const names[] = {
        "main.ring", "main.ring.marks", "main.ring.old", "main.ring.old.marks", "main.ring.marks.old", "kbps",
        "mounts",    "mount-low.ring",  "identity"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", relay.state, names[i]);
        unlink(path);
    }
    rmdir(relay.state);
    memset(&relay, 0, sizeof relay);
}

/* --- what is done with them --- */

static inline int open_all(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    base = event_base_new();
    return 0;
}

static inline int close_all(void **state)
{
    (void)state;
    if (relay.http) stop_relay();
    if (root.http) stop_root();
    event_base_free(base);
    return 0;
}

#define UNTIL(condition)                                                                                     \
    do {                                                                                                     \
        int64_t until_end = net_now_ms() + NET_DEADLINE_MS;                                                  \
        while (!(condition)) {                                                                               \
            if (net_now_ms() > until_end) fail_msg("not in time: %s", #condition);                           \
            net_turn(base);                                                                                  \
        }                                                                                                    \
    } while (0)

struct listener {
    int fd;
    struct net_bytes in;
};

static inline struct listener listen_to(const char *path)
{
    struct listener l = {.fd = net_connect(relay.port, 0)};
    assert_true(l.fd >= 0);
    char request[128];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    net_send(l.fd, request);
    return l;
}

static inline void hang_up(struct listener *l)
{
    close(l->fd);
    free(l->in.data);
    *l = (struct listener){.fd = -1};
}

static inline const char *body_of(const struct listener *l, size_t *len)
{
    const char *end = l->in.data ? strstr(l->in.data, "\r\n\r\n") : NULL;
    if (!end) return NULL;
    *len = l->in.len - (size_t)(end + 4 - l->in.data);
    return end + 4;
}

/* Until so many bytes of audio have come; how long it took, in ms of a machine that had time for it. */
static inline int64_t hear(struct listener *l, size_t bytes)
{
    int64_t begin = net_now_ms(), kept = net_kept_ms();
    size_t len = 0;
    while (!body_of(l, &len) || len < bytes) {
        if (l->in.ended || net_now_ms() > begin + NET_DEADLINE_MS)
            fail_msg("only %zu bytes of %zu: %.300s", len, bytes, l->in.data);
        net_turn(base);
        net_take(l->fd, &l->in, SIZE_MAX);
    }
    return net_now_ms() - begin - (net_kept_ms() - kept);
}

/* What was heard is the root's, from the position that the header names. */
static inline void check_bytes(const struct listener *l)
{
    size_t len = 0;
    const char *body = body_of(l, &len), *head = strstr(l->in.data, "X-Forever-Position: ");
    assert_non_null(head);
    uint64_t from = mp3_frame_offset(KBPS, strtoull(head + 20, NULL, 10));
    const uint8_t *bytes = ring_bytes(root.ring, from, from + len);
    assert_non_null(bytes);
    assert_memory_equal(body, bytes, len);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_all, close_all)

#endif
