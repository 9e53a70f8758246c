/* forever-relay: pulls a station once, however many listen, and nothing while nobody does. */
#include <errno.h>
#include <event2/event.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/billing.h"
#include "common/clock.h"
#include "common/fetch.h"
#include "common/http.h"
#include "common/link_door.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"
#include "relay/admission.h"
#include "relay/bundle.h"
#include "relay/challenge.h"
#include "relay/drain.h"
#include "relay/elsewhere.h"
#include "relay/enrol_command.h"
#include "relay/feed.h"
#include "relay/join.h"
#include "relay/lineage.h"
#include "relay/loops.h"
#include "relay/ledger.h"
#include "relay/metrics.h"
#include "relay/options.h"

#define SIGNALS 3

struct relay {
    struct relay_options options;
    char *public_url;
    struct event_base *base;
    struct event *signals[SIGNALS];
    struct front *front;
    struct http_server *http;
    struct fetch_client *client;
    struct parents *parents;
    char id[LINEAGE_ID_MAX];
    struct bundle *bundle;
    struct feed *feed;
    struct link_door *door; /* NULL: none */
    char *link_url;
    struct ledger *ledger;
    struct join *join;
    struct elsewhere *elsewhere;
    struct drain *drain;
    struct admission *admission; /* NULL: there is no root */
    struct challenge *challenge;
    struct loops *loops;
    struct relay_metrics *metrics;
    int exit_code, stopping;
};

static void on_signal(evutil_socket_t number, short what, void *context)
{
    struct relay *r = context;
    (void)what;
    if (number == SIGHUP) {
        log_info("relay", "certificates are read again, the access log is opened again");
        front_reload(r->front, NULL);
        return;
    }
    if (r->stopping++ || !r->drain) {
        log_info("relay", "stops (signal %d)", (int)number);
        event_base_loopbreak(r->base);
        return;
    }
    log_info("relay", "stops when its listeners have gone (signal %d)", (int)number);
    drain_begin(r->drain, DRAIN_SIGNAL, r->options.drain_deadline_s);
}

static void on_failed(void *context, const char *why)
{
    struct relay *r = context;
    log_error("relay", "%s", why);
    r->exit_code = EX_CANTCREAT;
    event_base_loopbreak(r->base);
}

static void on_mounts(void *context, const struct mount_spec *list, size_t count)
{
    struct relay *r = context;
    char *why = NULL;
    if (bundle_set(r->bundle, list, count, &why) == 0) return;
    on_failed(r, why);
    free(why);
}

static void on_drain_changed(void *context)
{
    join_hurry(((struct relay *)context)->join);
}

static void on_drained(void *context)
{
    event_base_loopbreak(((struct relay *)context)->base);
}

static void on_told(void *context, const json_t *mounts, const struct parent *by)
{
    struct relay *r = context;
    loops_told(r->loops, mounts, by->url, by->pin, by->token);
}

/* What the root says with each answer. */
static void on_drain(void *context, double deadline_s)
{
    struct relay *r = context;
    if (deadline_s < 0)
        drain_end(r->drain, DRAIN_REPORT);
    else
        drain_begin(r->drain, DRAIN_REPORT, deadline_s);
}

/* More listen here than may: so many are to go elsewhere. */
static void on_move(void *context, unsigned listeners, double deadline_s)
{
    drain_move(((struct relay *)context)->drain, listeners, deadline_s);
}

/* The root has another credential for us. The old one counts until this one is used, so it is kept first. */
static void on_credential(void *context, const char *credential)
{
    struct relay *r = context;
    struct enrolment *e = r->options.enrolled, next;
    char *cause = NULL;
    if (!e || !strcmp(e->credential, credential)) return;
    next = *e;
    memcpy(next.credential, credential, sizeof next.credential);
    if (enrolment_store(r->options.state, &next, &cause)) {
        log_error("relay", "the new credential is not used, since it can't be kept: %s", cause);
    } else {
        *e = next;
        parents_set_token(r->parents, e->credential);
        log_info("relay", "has a new credential");
    }
    OPENSSL_cleanse(&next, sizeof next);
    free(cause);
}

/* Perhaps it was enrolled again meanwhile: when the root calls, or refuses the old credential. */
static void on_enrolled(void *context)
{
    struct relay *r = context;
    struct enrolment *e = r->options.enrolled, now;
    char *cause = NULL;
    if (!e) return;
    if (enrolment_load(r->options.state, &now, &cause) == 1 && !strcmp(now.name, e->name) &&
        strcmp(now.credential, e->credential) != 0) {
        memcpy(e->credential, now.credential, sizeof e->credential);
        parents_set_token(r->parents, e->credential);
        log_info("relay", "has been enrolled again");
        join_hurry(r->join);
    }
    OPENSSL_cleanse(&now, sizeof now);
    free(cause);
}

#define ACK_BYTES    52  /* headers of IPv4 and TCP, with time stamps */
#define REPORT_BYTES 126 /* around a report: its packet's headers, an acknowledgement, TLS's record */

/* What a provider counts of what this node sends. Beside what listeners and relays below get there are
 * reports and requests, and acknowledgements of what is pulled: one for every two packets of 1500 bytes. */
static uint64_t on_sent(void *context)
{
    const struct relay *r = context;
    struct fanout_counts counts;
    bundle_counts(r->bundle, &counts);
    double bodies = (double)(counts.bytes + (r->feed ? feed_bytes(r->feed) : 0)) * BILLING_OVERHEAD;
    double asked = (double)fetch_bytes_out(r->client) + (double)join_counts(r->join)->sent * REPORT_BYTES;
    return (uint64_t)(bodies + asked + (double)fetch_bytes_in(r->client) * ACK_BYTES / 3000);
}

/* Well: it can serve whoever comes. Nobody listening is no illness, and neither is a root that is gone as
 * long as what is held lasts. */
static int on_healthy(void *context, char *text, size_t size)
{
    struct relay *r = context;
    const char *trouble = bundle_trouble(r->bundle);
    if (node_draining(bundle_at(r->bundle, 0)->node) != NODE_OPEN) {
        snprintf(text, size, "draining");
        return 0;
    }
    if (bundle_following(r->bundle) || bundle_heard(r->bundle)) return 1;
    if (!trouble) trouble = join_trouble(r->join);
    if (!trouble) return 1;
    snprintf(text, size, "%s", trouble);
    return 0;
}

/* By the name that listeners know this relay by. */
static char *link_url_of(const char *public_url, int port)
{
    const char *host = strstr(public_url, "://");
    host = host ? host + 3 : public_url;
    size_t n = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/");
    return xasprintf("https://%.*s:%d", (int)n, host, port);
}

static int open_door(struct relay *r, char **cause)
{
    const struct relay_options *o = &r->options;
    char *why = NULL;
    feed_routes(r->feed, r->http);
    if (!o->link_listen.count || !strcmp(o->link_listen.items[0], LINK_DOOR_NONE)) return 0;
    const struct link_door_conf conf = {
        .base = r->base, .state = o->state, .server_name = "forever-relay/" FOREVER_VERSION};
    r->door = link_door_new(&conf, cause);
    if (!r->door) return -1;
    if (link_door_listen(r->door, &o->link_listen, &why)) {
        cause_set(cause, "--link-listen: %s", why);
        free(why);
        return -1;
    }
    feed_routes(r->feed, link_door_server(r->door));
    r->link_url = link_url_of(r->public_url, link_door_port(r->door));
    log_info("relay", "relays link at %s, whose key is %s", r->link_url, link_door_pin(r->door));
    return 0;
}

static int find_parents(struct relay *r, char **cause)
{
    const struct relay_options *o = &r->options;
    r->parents = parents_new();
    for (size_t i = 0; o->enrolled && i < o->enrolled->url_count; i++)
        parents_add(r->parents, o->enrolled->urls[i], o->enrolled->pin, o->enrolled->credential);
    if (o->upstream_icecast) return parents_add(r->parents, o->upstream_icecast, NULL, NULL);
    for (size_t i = 0; i < o->roots.count; i++) {
        const char *pin = o->root_pins.count ? o->root_pins.items[i] : "-";
        if (parents_add(r->parents, o->roots.items[i], strcmp(pin, "-") ? pin : NULL, o->token))
            return cause_set(cause, "--root: %zu of them, %d are the most", o->roots.count, PARENTS_MAX);
    }
    return 0;
}

static void watch_signals(struct relay *r)
{
    static const int numbers[SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    for (int i = 0; i < SIGNALS; i++) {
        r->signals[i] = evsignal_new(r->base, numbers[i], on_signal, r);
        event_add(r->signals[i], NULL);
    }
    signal(SIGPIPE, SIG_IGN);
}

/* Each step of the start: 0, or -1 with *cause and r->exit_code. */

static int open_state(struct relay *r, char **cause)
{
    r->exit_code = EX_CANTCREAT;
    if (proc_make_dir(r->options.state, cause)) return -1;
    if (proc_lock_state(r->options.state, cause) == 0) return 0;
    if (errno == EWOULDBLOCK) r->exit_code = EX_TEMPFAIL;
    return -1;
}

static int open_front(struct relay *r, char **cause)
{
    const struct relay_options *o = &r->options;
    int port, tls_port;
    r->exit_code = EX_UNAVAILABLE;
    r->front = front_new(r->base, &o->front, (unsigned)o->max_listeners, cause);
    if (!r->front) return -1;
    r->http = front_server(r->front, "forever-relay/" FOREVER_VERSION);
    r->challenge = challenge_new(r->http, o->state, on_enrolled, r);
    if (front_listen(r->front, r->http, &port, &tls_port, cause)) return -1;
    r->public_url = relay_options_public_url(o, port);
    return 0;
}

static int open_bundle(struct relay *r, char **cause)
{
    const struct relay_options *o = &r->options;
    const struct bundle_conf conf = {.base = r->base,
                                     .http = r->http,
                                     .client = r->client,
                                     .state = o->state,
                                     .public_url = o->public_url,
                                     .parents = r->parents,
                                     .id = r->id,
                                     .icecast = o->upstream_icecast != NULL,
                                     .lead_s = o->lead_s,
                                     .linger_s = o->idle_linger_s,
                                     .gate = front_gate(r->front),
                                     .admission = r->admission,
                                     .elsewhere = r->elsewhere,
                                     .healthy = on_healthy,
                                     .failed = on_failed,
                                     .context = r};
    r->exit_code = EX_UNAVAILABLE;
    return bundle_new(&r->bundle, &conf, cause);
}

/* Relays may be fed by this one: not with an Icecast server's stream, which has no positions. */
static int open_feed(struct relay *r, char **cause)
{
    r->exit_code = EX_UNAVAILABLE;
    if (r->options.upstream_icecast) return 0;
    r->feed = feed_new(&(struct feed_conf){.base = r->base, .bundle = r->bundle, .token = r->options.token});
    return open_door(r, cause);
}

static void begin_joining(struct relay *r)
{
    const struct relay_options *o = &r->options;
    const struct join_conf conf = {.base = r->base,
                                   .client = r->client,
                                   .bundle = r->bundle,
                                   .uplink_bps = (uint64_t)(o->front.uplink_mbps * 1e6),
                                   .ledger = r->ledger,
                                   .parents = r->parents,
                                   .feed = r->feed,
                                   .link_url = r->link_url,
                                   .link_pin = r->door ? link_door_pin(r->door) : NULL,
                                   .id = r->id,
                                   .name = o->name,
                                   .public_url = r->public_url,
                                   .max_listeners = (unsigned)o->max_listeners,
                                   .joins_per_s = o->front.joins_per_s,
                                   .admission = r->admission,
                                   .elsewhere = r->elsewhere,
                                   .started_ns = clock_boot_ns(),
                                   .mounts = on_mounts,
                                   .told = on_told,
                                   .drain = on_drain,
                                   .move = on_move,
                                   .credential = on_credential,
                                   .refused = on_enrolled,
                                   .context = r};
    r->join = join_new(&conf);
}

static void open_metrics(struct relay *r)
{
    const struct relay_metrics_conf conf = {.http = r->http,
                                            .client = r->client,
                                            .bundle = r->bundle,
                                            .feed = r->feed,
                                            .join = r->join,
                                            .ledger = r->ledger,
                                            .front = r->front,
                                            .max_listeners = (unsigned)r->options.max_listeners};
    r->metrics = relay_metrics_new(&conf);
}

/* 0, or -1 with *cause and r->exit_code. */
static int start(struct relay *r, char **cause)
{
    const struct relay_options *o = &r->options;
    r->base = event_base_new();
    r->exit_code = EX_OSERR;
    if (!r->base) return cause_set(cause, "no event loop");
    watch_signals(r);
    proc_raise_fd_limit();
    lineage_make_id(r->id);
    r->exit_code = EX_USAGE;
    if (find_parents(r, cause)) return -1;
    if (open_state(r, cause) || open_front(r, cause)) return -1;
    r->client = fetch_client_new(r->base);
    r->elsewhere = elsewhere_new();
    if (!o->upstream_icecast) r->admission = admission_new((unsigned)o->max_listeners);
    if (open_bundle(r, cause)) return -1;
    r->loops = loops_new(&(struct loops_conf){.base = r->base, .client = r->client, .bundle = r->bundle});
    if (open_feed(r, cause)) return -1;
    r->drain = drain_new(&(struct drain_conf){
        .base = r->base, .bundle = r->bundle, .changed = on_drain_changed, .over = on_drained, .context = r});
    r->ledger =
        ledger_new(&(struct ledger_conf){.base = r->base, .state = o->state, .sent = on_sent, .context = r});
    if (!o->upstream_icecast)
        begin_joining(r);
    else
        pull_want(bundle_at(r->bundle, 0)->pull); /* its bit rate, before the first listener comes */
    open_metrics(r);
    log_info("relay", "forever-relay %s for %s, listeners at %s/stream.mp3", FOREVER_VERSION,
             parents_at(r->parents, 0)->url, r->public_url);
    r->exit_code = 0;
    return 0;
}

static void stop(struct relay *r)
{
    if (r->http) http_server_stop(r->http);
    ledger_free(r->ledger); /* while there is something to count */
    join_free(r->join);
    drain_free(r->drain);
    loops_free(r->loops);
    feed_free(r->feed);
    link_door_free(r->door);
    bundle_free(r->bundle);
    elsewhere_free(r->elsewhere);
    admission_free(r->admission);
    fetch_client_free(r->client);
    parents_free(r->parents);
    challenge_free(r->challenge);
    http_server_free(r->http);
    relay_metrics_free(r->metrics);
    front_free(r->front);
    for (int i = 0; i < SIGNALS; i++) {
        if (r->signals[i]) event_free(r->signals[i]);
    }
    if (r->base) event_base_free(r->base);
    free(r->link_url);
    free(r->public_url);
    relay_options_free(&r->options);
}

int main(int argc, char **argv)
{
    struct relay r = {0};
    char *cause = NULL;
    if (argc > 1 && !strcmp(argv[1], "enrol")) return enrol_command_main(argc - 1, argv + 1);
    switch (relay_options_load(&r.options, argc, argv, &r.exit_code, &cause)) {
    case CONF_DONE:
        return 0;
    case CONF_FAIL:
        fprintf(stderr, "forever-relay: %s\n", cause);
        free(cause);
        return r.exit_code;
    case CONF_RUN:
        break;
    }
    log_init("relay", r.options.level);
    if (start(&r, &cause)) {
        log_error("relay", "%s", cause);
        free(cause);
    } else {
        event_base_dispatch(r.base);
    }
    int code = r.exit_code;
    stop(&r);
    return code;
}
