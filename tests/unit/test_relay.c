/* A whole relay but its main(), against a root made of the parts the real one is made of, in one event loop:
 * the pull's life, what listeners hear, and what each side says when something is wrong. */
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
#include "relay/join.h"
#include "relay/metrics.h"
#include "tests/unit/frames.h"
#include "tests/unit/netclient.h"

#define KBPS     128 /* not what a relay assumes before it is told */
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

static uint64_t root_air(void *context, uint32_t *ns)
{
    (void)context;
    return pacer_on_air(root.pacer, ns);
}

/* Keeps the lead, as a studio with credits does. */
static void fill(struct ring *ring, uint64_t until)
{
    while (ring_head(ring) < until) {
        size_t len;
        uint64_t head = ring_head(ring);
        uint8_t *bytes = frames_make(ring_kbps(ring), head, 32, SEED, &len);
        assert_int_equal(ring_append(ring, ring_branch(ring), head, 32, bytes, len, NULL), 0);
        free(bytes);
    }
}

static void on_studio(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what, (void)context;
    uint64_t air = pacer_air(root.pacer, NULL), until = air + LEAD_S * 38;
    ring_set_floor(root.low, air);
    fill(root.ring, until);
    fill(root.low, until);
    link_server_wake(root.link);
    link_server_wake(root.low_link);
}

static int let_in(struct http_request *r)
{
    const char *given = http_header(r, "Authorization");
    if (given && !strcmp(given, "Bearer " TOKEN)) return 1;
    http_reply_error(r, 403, "wrong token");
    return 0;
}

static void on_link(void *context, struct http_request *r)
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

static void on_pace(void *context, struct http_request *r)
{
    char id[LINK_ID_MAX];
    (void)context;
    if (!let_in(r)) return;
    assert_int_equal(link_query_pace(r, id, &root.pace), 0);
    int found =
        !link_server_pace(root.link, id, root.pace) || !link_server_pace(root.low_link, id, root.pace);
    http_reply(r, found ? 200 : 404, NULL, NULL, 0);
}

static void on_report(void *context, struct http_request *r)
{
    size_t len;
    (void)context;
    if (!let_in(r)) return;
    const void *text = http_body(r, &len);
    json_decref(root.last_report);
    root.last_report = json_parse(text, len, 16384, NULL);
    root.reports++;
    static const char alone[] = ",\"mounts\":[{\"name\":\"stream\",\"kbps\":128}]";
    static const char both[] =
        ",\"mounts\":[{\"name\":\"stream\",\"kbps\":128},{\"name\":\"low\",\"kbps\":64}]";
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

static void start_links(void)
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

static void start_root(void)
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

static void stop_root(void)
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
    struct drain *drain; /* NULL: commands are ignored */
    const char *other;   /* a stream at another node; NULL: none is known */
} relay;

static struct node *node_of(size_t mount)
{
    return bundle_at(relay.bundle, mount)->node;
}

static struct pull *pull_of(size_t mount)
{
    return bundle_at(relay.bundle, mount)->pull;
}

static int on_healthy(void *context, char *text, size_t size)
{
    (void)context, (void)text, (void)size;
    return 1;
}

static void on_mounts(void *context, const struct mount_spec *list, size_t count)
{
    (void)context;
    assert_int_equal(bundle_set(relay.bundle, list, count, NULL), 0);
}

static void on_failed(void *context, const char *why)
{
    (void)context, (void)why;
    relay.failed = 1;
}

static int on_elsewhere(void *context, int secure, size_t i, char *location, size_t size)
{
    (void)context;
    return relay.other && !secure && !i ? snprintf(location, size, "%s", relay.other) >= (int)size : -1;
}

static void on_drain(void *context, double deadline_s)
{
    (void)context;
    if (!relay.drain) return;
    if (deadline_s < 0)
        drain_end(relay.drain, DRAIN_REPORT);
    else
        drain_begin(relay.drain, DRAIN_REPORT, deadline_s);
}

static void on_move(void *context, unsigned listeners, double deadline_s)
{
    (void)context;
    if (relay.drain) drain_move(relay.drain, listeners, deadline_s);
}

static void on_drain_news(void *context)
{
    (void)context;
    join_hurry(relay.join);
}

static void start_relay_with(const char *token, unsigned max_listeners, double linger_s)
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
    const struct bundle_conf bundle = {.base = base,
                                       .http = relay.http,
                                       .client = relay.client,
                                       .state = relay.state,
                                       .parents = relay.parents,
                                       .id = ID,
                                       .lead_s = RELAY_S,
                                       .linger_s = relay.linger_s,
                                       .gate = relay.gate,
                                       .elsewhere = on_elsewhere,
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

static void start_relay(const char *token, unsigned max_listeners)
{
    start_relay_with(token, max_listeners, LINGER_S);
}

static void stop_relay(void)
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

static int open_all(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    base = event_base_new();
    return 0;
}

static int close_all(void **state)
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

static struct listener listen_to(const char *path)
{
    struct listener l = {.fd = net_connect(relay.port, 0)};
    assert_true(l.fd >= 0);
    char request[128];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    net_send(l.fd, request);
    return l;
}

static void hang_up(struct listener *l)
{
    close(l->fd);
    free(l->in.data);
    *l = (struct listener){.fd = -1};
}

static const char *body_of(const struct listener *l, size_t *len)
{
    const char *end = l->in.data ? strstr(l->in.data, "\r\n\r\n") : NULL;
    if (!end) return NULL;
    *len = l->in.len - (size_t)(end + 4 - l->in.data);
    return end + 4;
}

/* Until so many bytes of audio have come; how long it took, in ms of a machine that had time for it. */
static int64_t hear(struct listener *l, size_t bytes)
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
static void check_bytes(const struct listener *l)
{
    size_t len;
    const char *body = body_of(l, &len), *head = strstr(l->in.data, "X-Forever-Position: ");
    assert_non_null(head);
    uint64_t from = mp3_frame_offset(KBPS, strtoull(head + 20, NULL, 10));
    const uint8_t *bytes = ring_bytes(root.ring, from, from + len);
    assert_non_null(bytes);
    assert_memory_equal(body, bytes, len);
}

static void one_pull_for_many_none_for_nobody(void **state)
{
    (void)state;
    start_root();
    start_relay(TOKEN, 100);
    UNTIL(!join_trouble(relay.join));
    assert_int_equal(ring_kbps(node_ring(node_of(0))), KBPS); /* told by the answer to the report */
    assert_int_equal(link_server_count(root.link), 0);
    struct listener many[20];
    many[0] = listen_to("/stream.mp3");
    int64_t woke_ms = hear(&many[0], 2000);
    assert_true(woke_ms <= 500);
    for (int i = 1; i < 20; i++)
        many[i] = listen_to("/stream.mp3");
    for (int i = 0; i < 20; i++)
        hear(&many[i], 30000);
    assert_int_equal(link_server_count(root.link), 1);
    assert_int_equal(pull_counts(pull_of(0))->attempts, 1);
    for (int i = 0; i < 20; i++) {
        check_bytes(&many[i]);
        assert_non_null(strstr(many[i].in.data, "icy-name: Radio Test\r\n"));
        assert_non_null(
            strstr(many[i].in.data, "icy-description: a test\r\nicy-url: http://radio.example\r\n"));
        assert_null(strstr(many[i].in.data, "icy-genre"));
    }
    UNTIL(json_integer_value(json_object_get(root.last_report, "listeners")) == 20);
    assert_true(json_is_true(json_object_get(root.last_report, "pulling")));
    assert_true(json_integer_value(json_object_get(root.last_report, "bytes_out")) > 20 * 30000);
    assert_true(json_integer_value(json_object_get(root.last_report, "position")) > 300);
    for (int i = 0; i < 20; i++)
        hang_up(&many[i]);
    UNTIL(link_server_count(root.link) == 0);
    assert_false(pull_following(pull_of(0)));
    UNTIL(json_integer_value(json_object_get(root.last_report, "listeners")) == 0);
    assert_int_equal(json_integer_value(json_object_get(root.last_report, "accepted")), 20);
    assert_int_equal(json_integer_value(json_object_get(root.last_report, "closed")), 20);
    assert_int_equal(pull_counts(pull_of(0))->failures, 0);
    /* and again: what it held still reaches the present, so nothing is begun anew */
    struct listener again = listen_to("/stream.mp3");
    assert_true(hear(&again, 2000) <= 500);
    UNTIL(link_server_count(root.link) == 1);
    hear(&again, 60000);
    check_bytes(&again);
    assert_int_equal(pull_counts(pull_of(0))->resets, 1);
    hang_up(&again);
}

static void the_lead_stays_what_the_relay_can_hold(void **state)
{
    (void)state;
    start_root();
    start_relay(TOKEN, 100);
    UNTIL(!join_trouble(relay.join));
    struct listener one = listen_to("/stream.mp3");
    hear(&one, 20000);
    struct pacer *pacer = node_pacer(node_of(0));
    double most_s = 0;
    for (int64_t end = net_now_ms() + 1800; most_s <= 1.6 || net_now_ms() < end;) {
        net_turn(base);
        double lead_s = pacer_lead_s(pacer);
        if (lead_s > most_s) most_s = lead_s;
        assert_true(net_now_ms() < end + NET_DEADLINE_MS);
    }
    assert_true(most_s < RELAY_S + 0.2);
    /* the root's clock has come a second time by now */
    UNTIL(pacer_offset_s(pacer) > -0.1 && pacer_offset_s(pacer) < 0.1);
    assert_int_equal(pull_counts(pull_of(0))->failures, 0);
    hang_up(&one);
}

static void a_cut_is_not_heard(void **state)
{
    (void)state;
    start_root();
    start_relay(TOKEN, 100);
    UNTIL(!join_trouble(relay.join));
    struct listener one = listen_to("/stream.mp3");
    hear(&one, 30000);
    root.refuse_links = 1;
    link_server_free(root.link);
    link_server_free(root.low_link);
    start_links();
    UNTIL(pull_trouble(pull_of(0)) && strstr(pull_trouble(pull_of(0)), "503 no music yet"));
    hear(&one, one.in.len + 1000); /* it lives on its lead */
    root.refuse_links = 0;
    UNTIL(!pull_trouble(pull_of(0)) && pull_following(pull_of(0)));
    hear(&one, one.in.len + 1000);
    check_bytes(&one);
    assert_int_equal(pull_counts(pull_of(0))->resets, 1); /* the first link */
    assert_int_equal(pull_counts(pull_of(0))->links, 2);
    hang_up(&one);
}

static void listen_again(int port)
{
    char *cause = NULL;
    root.http = http_server_new(base, NULL, "root");
    http_server_routes(root.http, root_routes, 3, NULL);
    if (http_server_listen(root.http, "127.0.0.1", port, &root.port, &cause)) fail_msg("%s", cause);
}

static void the_next_parent_takes_over_and_the_first_comes_back(void **state)
{
    (void)state;
    char url[64];
    int port;
    start_root();
    root.second = http_server_new(base, NULL, "root");
    http_server_routes(root.second, root_routes, 3, NULL);
    assert_int_equal(http_server_listen(root.second, "127.0.0.1", 0, &port, NULL), 0);
    start_relay(TOKEN, 100);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
    parents_add(relay.parents, url, NULL, TOKEN);
    UNTIL(!join_trouble(relay.join));
    struct listener one = listen_to("/stream.mp3");
    hear(&one, 30000);
    assert_int_equal(root.at_first, 1);
    http_server_free(root.http); /* and the link with it */
    root.http = NULL;
    link_server_close_peer(root.link, root.last_peer);
    UNTIL(root.at_second == 1 && pull_following(pull_of(0)));
    hear(&one, one.in.len + 3000);
    check_bytes(&one);
    UNTIL(!join_trouble(relay.join)); /* reports go there too */
    /* the first one is back, but rests: nothing happens until it has */
    listen_again(root.port);
    unsigned reports = root.reports;
    UNTIL(root.reports > reports);
    assert_int_equal(root.at_first, 1);
    parents_worked(relay.parents, parents_at(relay.parents, 0)->id, clock_boot_ns());
    UNTIL(root.at_first == 2 && link_server_count(root.link) == 1);
    hear(&one, one.in.len + 3000);
    check_bytes(&one);
    const struct pull_counts *counts = pull_counts(pull_of(0));
    assert_int_equal(counts->switches, 1);
    assert_int_equal(counts->links, 3);
    assert_int_equal(counts->failures, 1);
    assert_int_equal(counts->resets, 1); /* the first link */
    hang_up(&one);
}

static void a_wrong_token_is_told(void **state)
{
    (void)state;
    start_root();
    start_relay("nonsense", 100);
    UNTIL(strstr(join_trouble(relay.join), "403"));
    struct listener one = listen_to("/stream.mp3");
    assert_true(net_until(base, one.fd, &one.in, "wrong token", 50) == 0);
    assert_true(net_until(base, one.fd, &one.in, "\r\n\r\n", NET_DEADLINE_MS));
    assert_non_null(strstr(one.in.data, "HTTP/1.1 503 "));
    assert_non_null(strstr(one.in.data, "Retry-After: "));
    assert_non_null(strstr(pull_trouble(pull_of(0)), "403 wrong token"));
    assert_int_equal(pull_counts(pull_of(0))->attempts, 1); /* and no busy loop */
    assert_int_equal(link_server_count(root.link), 0);
    hang_up(&one);
}

static void nobody_at_the_roots_address(void **state)
{
    (void)state;
    start_relay(TOKEN, 100); /* of port 1 */
    struct listener one = listen_to("/stream.mp3");
    UNTIL(pull_trouble(pull_of(0)) && join_trouble(relay.join));
    assert_non_null(strstr(pull_trouble(pull_of(0)), "can't be reached"));
    assert_false(pull_refused(pull_of(0)));
    assert_int_equal(node_waiting(node_of(0)), 1); /* it may come yet */
    hang_up(&one);
    UNTIL(!pull_trouble(pull_of(0))); /* nobody waits any more: idle */
    uint64_t attempts = pull_counts(pull_of(0))->attempts;
    assert_true(attempts >= 1 && attempts <= 4);
}

static void a_full_relay_says_so(void **state)
{
    (void)state;
    start_root();
    start_relay(TOKEN, 2);
    UNTIL(!join_trouble(relay.join));
    struct listener a = listen_to("/stream.mp3");
    hear(&a, 100);
    struct listener b = listen_to("/stream.mp3");
    hear(&b, 100);
    struct listener c = listen_to("/stream.mp3");
    assert_true(net_until(base, c.fd, &c.in, "\r\n\r\n", NET_DEADLINE_MS));
    assert_non_null(strstr(c.in.data, "HTTP/1.1 503 "));
    assert_non_null(strstr(c.in.data, "Retry-After: "));
    assert_int_equal(node_turned_away(node_of(0)), 1);
    hang_up(&a);
    UNTIL(node_wanted_by(node_of(0)) == 1);
    struct listener d = listen_to("/stream.mp3");
    hear(&d, 100);
    hang_up(&b);
    hang_up(&c);
    hang_up(&d);
}

/* As a relay asks, plainly. */
static struct listener ask_for_link(const char *bearer, const char *node)
{
    struct listener l = {.fd = net_connect(relay.port, 0)};
    char request[400];
    snprintf(request, sizeof request, "GET /link?mount=stream&node=%s HTTP/1.1\r\nHost: x\r\n%s%s\r\n\r\n",
             node, bearer ? "Authorization: Bearer " : "X: ", bearer ? bearer : "");
    net_send(l.fd, request);
    return l;
}

static void assert_answer(struct listener l, const char *status)
{
    assert_true(net_until(base, l.fd, &l.in, "\r\n\r\n", NET_DEADLINE_MS));
    if (strncmp(l.in.data + 9, status, 3)) fail_msg("%s: %s", status, l.in.data);
    hang_up(&l);
}

static void a_relay_is_fed_while_it_wants_to_be(void **state)
{
    (void)state;
    unsigned char key[LINK_GRANT_KEY_BYTES] = "a key";
    char grant[LINK_GRANT_TEXT];
    start_root();
    start_relay(TOKEN, 100);
    UNTIL(!join_trouble(relay.join));
    assert_answer(ask_for_link(NULL, "aa"), "401");
    assert_answer(ask_for_link("nonsense", "aa"), "403");
    feed_set_key(relay.feed, key, 1000);
    assert_int_equal(link_grant_sign(key, "aa", 2000, grant), 0);
    assert_answer(ask_for_link(grant, "aa"), "403"); /* a grant is not told to everybody on the way */
    assert_int_equal(feed_refused(relay.feed), 2);
    assert_int_equal(link_server_count(root.link), 0);
    struct listener child = ask_for_link(TOKEN, "aa");
    hear(&child, 60000); /* nobody listens, and yet */
    assert_non_null(strstr(child.in.data, "application/x-forever-link"));
    assert_int_equal(link_server_count(root.link), 1);
    assert_int_equal(node_listening(node_of(0)), 0);
    assert_int_equal(feed_links(relay.feed), 1);
    assert_true(feed_bytes(relay.feed) > 60000 && feed_bps(relay.feed) == KBPS * 1000);
    size_t len;
    struct link_decoder *decoder = link_decoder_new();
    struct link_record record;
    link_decoder_feed(decoder, body_of(&child, &len), 2000);
    assert_int_equal(link_decoder_next(decoder, &record, NULL), 1);
    json_t *path = json_object_get(record.body, "path");
    assert_int_equal(json_array_size(path), 1);
    assert_string_equal(json_string_value(json_array_get(path, 0)), ID);
    link_decoder_free(decoder);
    assert_answer(ask_for_link(TOKEN, ID), "508"); /* it would feed itself */
    UNTIL(json_integer_value(json_object_get(root.last_report, "links")) == 1);
    assert_int_equal(json_integer_value(json_object_get(root.last_report, "listeners")), 0);
    assert_string_equal(json_str_or(root.last_report, "upstream", NULL, NULL), "");
    struct listener other = ask_for_link(TOKEN, "bb");
    UNTIL(feed_links(relay.feed) == 2);
    json_t *cut = json_pack("[s,s]", "ab", "aa");
    feed_cut(relay.feed, cut);
    UNTIL(feed_links(relay.feed) == 1);
    assert_true(feed_is_cut(relay.feed, "aa") && feed_is_cut(relay.feed, "ab") &&
                !feed_is_cut(relay.feed, "bb"));
    feed_cut(relay.feed, NULL); /* the root's word counts: it was let in again */
    assert_false(feed_is_cut(relay.feed, "aa"));
    feed_cut(relay.feed, cut);
    json_decref(cut);
    /* a root that has started anew does not know any more whom it cut: their grants may live yet */
    key[0] = 'A';
    feed_set_key(relay.feed, key, 1000);
    feed_cut(relay.feed, NULL);
    assert_true(feed_is_cut(relay.feed, "aa"));
    for (int i = 0; i < 70; i++) { /* more than it can keep: those named now are kept */
        char id[16];
        snprintf(id, sizeof id, "c%d", i);
        cut = json_pack("[s]", id);
        feed_cut(relay.feed, cut);
        json_decref(cut);
        assert_true(feed_is_cut(relay.feed, id));
    }
    assert_true(net_until(base, child.fd, &child.in, "no such text", 10) == 0 && child.in.ended);
    hang_up(&other);
    hang_up(&child);
    UNTIL(link_server_count(root.link) == 0);
    assert_true(feed_bytes(relay.feed) > 60000);
}

static void without_linger_it_ends_with_the_last_listener(void **state)
{
    (void)state;
    start_root();
    start_relay_with(TOKEN, 100, 0);
    UNTIL(!join_trouble(relay.join));
    struct listener one = listen_to("/stream.mp3");
    hear(&one, 70000); /* beyond the burst, so for longer than a turn of the pull's clock */
    assert_int_equal(pull_counts(pull_of(0))->attempts, 1);
    assert_true(pull_following(pull_of(0)));
    hang_up(&one);
    UNTIL(link_server_count(root.link) == 0);
}

static void without_a_listener_nothing_is_filled(void **state)
{
    (void)state;
    start_root();
    start_relay_with(TOKEN, 100, 1.4); /* of which the link stays for half */
    UNTIL(!join_trouble(relay.join));
    struct listener one = listen_to("/stream.mp3");
    hear(&one, 2000);
    hang_up(&one);
    UNTIL(root.pace == 1);
    /* the relay could hold more: RELAY_S ahead, at once only 1.5 s */
    uint64_t begun = link_server_bytes(root.link);
    UNTIL(link_server_count(root.link) == 0);
    assert_true(link_server_bytes(root.link) - begun < 16000 * 0.7 * 1.1 + 3000);
    root.pace = 0;
    one = listen_to("/stream.mp3");
    hear(&one, 2000);
    hang_up(&one);
    UNTIL(root.pace == 1);
    one = listen_to("/stream.mp3"); /* within the linger: the same link fills again */
    UNTIL(root.pace == 2);
    hear(&one, 2000);
    assert_int_equal(root.links_started, 2);
    hang_up(&one);
}

/* The root's further mounts are served as soon as it told them, pulled only while somebody listens there, and
 * gone with its next word; a relay that starts anew knows them before the root answers. */
static void further_mounts_are_pulled_when_heard(void **state)
{
    (void)state;
    start_root();
    start_relay(TOKEN, 2);
    struct listener early = listen_to("/low.mp3");
    assert_true(net_until(base, early.fd, &early.in, "HTTP/1.1 404 ", NET_DEADLINE_MS));
    hang_up(&early);
    root.has_low = 1;
    UNTIL(bundle_count(relay.bundle) == 2);
    assert_true(ring_resting(node_ring(node_of(1))));
    struct listener low = listen_to("/low.mp3");
    assert_true(hear(&low, 2000) <= 500);
    assert_int_equal(link_server_count(root.low_link), 1);
    assert_int_equal(link_server_count(root.link), 0);
    assert_non_null(strstr(low.in.data, "icy-name: Radio Test\r\n"));
    assert_non_null(strstr(low.in.data, "icy-br: 64\r\n"));
    struct listener main = listen_to("/stream.mp3");
    hear(&main, 30000);
    check_bytes(&main);
    struct listener third = listen_to("/low.mp3"); /* the limit is one for all */
    assert_true(net_until(base, third.fd, &third.in, "HTTP/1.1 503 ", NET_DEADLINE_MS));
    hang_up(&third);
    UNTIL(json_integer_value(json_object_get(root.last_report, "listeners")) == 2);
    const json_t *told = json_array_get(json_object_get(root.last_report, "mounts"), 1);
    assert_string_equal(json_str_or(told, "name", "", NULL), "low");
    assert_int_equal(json_int_or(told, "listeners", 0, 0, 9, NULL), 1);
    assert_true(json_is_true(json_object_get(told, "pulling")));
    hang_up(&main);
    UNTIL(link_server_count(root.link) == 0);
    assert_int_equal(link_server_count(root.low_link), 1);
    hang_up(&low);
    UNTIL(link_server_count(root.low_link) == 0);
    root.has_low = 0;
    UNTIL(bundle_count(relay.bundle) == 1);
    low = listen_to("/low.mp3");
    assert_true(net_until(base, low.fd, &low.in, "HTTP/1.1 404 ", NET_DEADLINE_MS));
    hang_up(&low);
    struct fanout_counts counts;
    bundle_counts(relay.bundle, &counts);
    assert_int_equal(counts.opened, 2);
    assert_int_equal(counts.closed, 2);
}

static void the_rate_is_learned_from_the_link_too(void **state)
{
    (void)state;
    start_root();
    root.told_kbps = 0;
    start_relay(TOKEN, 100);
    UNTIL(!join_trouble(relay.join));
    assert_int_equal(ring_kbps(node_ring(node_of(0))), 192);
    struct listener one = listen_to("/stream.mp3");
    UNTIL(ring_kbps(node_ring(node_of(0))) == KBPS);
    hang_up(&one);
    one = listen_to("/stream.mp3");
    hear(&one, 20000);
    check_bytes(&one);
    hang_up(&one);
    assert_int_equal(relay.failed, 0);
}

static void metrics_and_health_answer(void **state)
{
    (void)state;
    start_root();
    start_relay(TOKEN, 100);
    UNTIL(!join_trouble(relay.join));
    struct listener one = listen_to("/stream.mp3"), page = listen_to("/metrics"),
                    health = listen_to("/health");
    hear(&one, 1000);
    assert_true(net_until(base, page.fd, &page.in, "forever_build_info{role=\"relay\"", NET_DEADLINE_MS));
    assert_non_null(strstr(page.in.data, "text/plain; version=0.0.4"));
    hang_up(&page);
    page = listen_to("/metrics");
    assert_true(net_until(base, page.fd, &page.in, "\nprocess_max_fds ", NET_DEADLINE_MS));
    assert_non_null(strstr(page.in.data, "\nforever_listeners 1\n"));
    assert_non_null(strstr(page.in.data, "\nforever_link_up 1\n"));
    assert_non_null(strstr(page.in.data, "forever_http_requests_total{route=\"/metrics\",code=\"200\"} 1\n"));
    assert_true(net_until(base, health.fd, &health.in, "\r\n\r\n", NET_DEADLINE_MS));
    assert_non_null(strstr(health.in.data, "HTTP/1.1 200 "));
    hang_up(&one);
    hang_up(&page);
    hang_up(&health);
}

static int status_of(const char *request)
{
    struct listener l = {.fd = net_connect(relay.port, 0)};
    net_send(l.fd, request);
    UNTIL((net_take(l.fd, &l.in, SIZE_MAX), net_status(&l.in) > 0));
    int status = net_status(&l.in);
    if (status == 302) assert_non_null(strstr(l.in.data, "Location: http://other.example/stream.mp3?from="));
    hang_up(&l);
    return status;
}

/* Nobody is reached, and nothing is held: who comes hears the loop, told so, and without a place. */
static void the_loop_is_there_for_who_comes(void **state)
{
    (void)state;
    size_t len;
    char *cause = NULL;
    start_relay(TOKEN, 100);
    unsigned kbps = ring_kbps(node_ring(node_of(0)));
    uint8_t *bytes = frames_make(kbps, 0, 2 * MP3_PERIOD_FRAMES, SEED, &len);
    struct loop *loop = loop_new(kbps, bytes, len, &cause);
    if (!loop) fail_msg("%s", cause);
    node_set_loop(node_of(0), loop);
    struct listener l = listen_to("/stream.mp3");
    hear(&l, 10000);
    assert_null(strstr(l.in.data, "X-Forever-Position: "));
    size_t heard;
    const char *body = body_of(&l, &heard);
    assert_memory_equal(body, bytes, heard < len ? heard : len);
    hang_up(&l);
    char path[128];
    snprintf(path, sizeof path, "%s/loop-stream.mp3", relay.state);
    assert_int_equal(unlink(path), 0);
    free(bytes);
}

#define BEGINS  "GET /stream.mp3?from=300&nearest=1 HTTP/1.1\r\nHost: x\r\n\r\n"
#define RESUMES "GET /stream.mp3?from=300&nearest=1 HTTP/1.1\r\nHost: x\r\nRange: bytes=400-\r\n\r\n"

static void the_root_moves_and_drains(void **state)
{
    (void)state;
    start_root();
    start_relay(TOKEN, 100);
    UNTIL(!join_trouble(relay.join));
    relay.drain = drain_new(&(struct drain_conf){
        .base = base, .bundle = relay.bundle, .changed = on_drain_news, .over = on_drain_news});
    relay.other = "http://other.example/stream.mp3";
    struct listener l[4];
    for (int i = 0; i < 4; i++) {
        l[i] = listen_to(i ? "/stream.mp3?from=300&nearest=1" : "/stream.mp3");
        hear(&l[i], 5000);
    }
    /* moved: so many as asked for, who may not come back at once; others may come */
    root.most = 2;
    join_hurry(relay.join);
    UNTIL(node_listening(node_of(0)) == 2);
    for (int i = 0; i < 20; i++)
        net_turn(base);
    assert_int_equal(node_listening(node_of(0)), 2);
    assert_int_equal(status_of(RESUMES), 302);
    assert_int_equal(status_of(BEGINS), 200);
    /* draining: nobody new comes; who resumes does while it is the only node */
    relay.other = NULL;
    root.most = 0;
    root.drain_s = 0.8;
    join_hurry(relay.join);
    UNTIL(node_draining(node_of(0)) == NODE_DRAINING);
    UNTIL(json_is_true(json_object_get(root.last_report, "draining")));
    assert_int_equal(status_of(BEGINS), 503);
    assert_int_equal(status_of(RESUMES), 206);
    assert_true(node_listening(node_of(0)) >= 2);
    UNTIL(node_listening(node_of(0)) == 0);
    assert_int_equal(node_draining(node_of(0)), NODE_CLOSED);
    UNTIL((net_take(l[0].fd, &l[0].in, SIZE_MAX), l[0].in.ended));
    assert_int_equal(l[0].in.ended, 1); /* an end, and no cut */
    struct fanout_counts counts;
    node_counts(node_of(0), &counts);
    assert_int_equal(counts.opened, counts.closed);
    assert_int_equal(status_of(RESUMES), 503);
    root.drain_s = 0;
    join_hurry(relay.join);
    UNTIL(node_draining(node_of(0)) == NODE_OPEN);
    assert_int_equal(status_of(BEGINS), 200);
    for (int i = 0; i < 4; i++)
        hang_up(&l[i]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_all, close_all)

int main(void)
{
    log_init("test", LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(one_pull_for_many_none_for_nobody),
        TEST(the_lead_stays_what_the_relay_can_hold),
        TEST(a_cut_is_not_heard),
        TEST(the_next_parent_takes_over_and_the_first_comes_back),
        TEST(a_wrong_token_is_told),
        TEST(nobody_at_the_roots_address),
        TEST(a_full_relay_says_so),
        TEST(a_relay_is_fed_while_it_wants_to_be),
        TEST(without_linger_it_ends_with_the_last_listener),
        TEST(without_a_listener_nothing_is_filled),
        TEST(further_mounts_are_pulled_when_heard),
        TEST(the_rate_is_learned_from_the_link_too),
        TEST(metrics_and_health_answer),
        TEST(the_root_moves_and_drains),
        TEST(the_loop_is_there_for_who_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
