#include "common/front.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"
#include "common/stats.h"
#include "common/tls.h"

#define WATCH_S         5
#define SPARE_FDS_MAX   256 /* of the descriptors, kept for the operator, relays, workers and files */
#define SPARE_FDS_SHARE 8
#define EXPIRY_WARN_S   (7 * 86400)

struct front {
    struct event_base *base;
    const struct front_options *options;
    struct http_server *server;
    struct tls *tls; /* NULL: none */
    struct net_list trusted;
    struct limits *limits;
    struct access_log *access; /* NULL: none */
    struct gate *gate;
    struct event *watch;
    uint64_t reloads, reloads_failed;
};

/* Options */

int front_check_listen(const char *text, char **cause)
{
    char host[64];
    int port;
    return conf_parse_listen(text, host, &port, cause);
}

int front_check_proxy(const char *text, char **cause)
{
    struct net_prefix prefix;
    return strcmp(text, "none") ? net_prefix_parse(text, &prefix, cause) : 0;
}

/* The name's length; 0 with *cause. */
static size_t read_mount_limit(const char *text, unsigned *most, char **cause)
{
    const char *equals = strchr(text, '=');
    char *end;
    unsigned long n = equals ? strtoul(equals + 1, &end, 10) : 0;
    if (!equals || equals == text || equals[1] < '0' || equals[1] > '9' || *end || n < 1 || n > 1000000) {
        cause_set(cause, "must be MOUNT=N with N from 1 to 1000000");
        return 0;
    }
    *most = (unsigned)n;
    return (size_t)(equals - text);
}

int front_check_mount_limit(const char *text, char **cause)
{
    unsigned most;
    return read_mount_limit(text, &most, cause) ? 0 : -1;
}

static struct tls *make_tls(const struct front_options *o, char **cause)
{
    const char **keys = xcalloc(o->tls_certs.count + 1, sizeof *keys);
    for (size_t i = 0; i < o->tls_keys.count && i < o->tls_certs.count; i++)
        keys[i] = o->tls_keys.items[i];
    struct tls *tls = tls_new(&(struct tls_conf){.certs = (const char *const *)o->tls_certs.items,
                                                 .keys = keys,
                                                 .count = o->tls_certs.count,
                                                 .dir = o->tls_dir},
                              cause);
    free(keys);
    return tls;
}

int front_options_check(const struct front_options *o, int *exit_code, char **cause)
{
    *exit_code = EX_USAGE;
    int has = o->tls_certs.count || o->tls_dir;
    if (!o->listen.count) return cause_set(cause, "--listen: there must be one address at least");
    if (o->tls_keys.count && o->tls_keys.count != o->tls_certs.count)
        return cause_set(cause, "--tls-key: %zu of them for %zu --tls-cert; give one for each, or none",
                         o->tls_keys.count, o->tls_certs.count);
    if (o->tls_listen.count && !has)
        return cause_set(cause, "--tls-listen: needs a certificate, --tls-cert FILE or --tls-dir DIR");
    if (has && !o->tls_listen.count)
        return cause_set(cause, "--%s: is of no use without --tls-listen ADDR:PORT",
                         o->tls_dir ? "tls-dir" : "tls-cert");
    if (!has) return 0;
    *exit_code = EX_NOINPUT;
    struct tls *tls = make_tls(o, cause);
    if (!tls) return -1;
    tls_free(tls);
    return 0;
}

/* Certificates */

static void tell_certificates(const struct front *f)
{
    int64_t left_s = tls_not_after(f->tls) - (int64_t)time(NULL);
    if (left_s < 0)
        log_warn("tls", "a certificate has expired %lld days ago", (long long)-left_s / 86400);
    else if (left_s < EXPIRY_WARN_S)
        log_warn("tls", "a certificate expires in %lld hours", (long long)left_s / 3600);
}

static int reload_tls(struct front *f, char **cause)
{
    char *why = NULL;
    if (!f->tls) return 0;
    if (tls_reload(f->tls, &why)) {
        f->reloads_failed++;
        log_error("tls", "the certificates in use stay: %s", why);
        cause_set(cause, "%s", why);
        free(why);
        return -1;
    }
    f->reloads++;
    log_info("tls", "certificates read again: %zu", tls_count(f->tls));
    tell_certificates(f);
    return 0;
}

static void on_watch(evutil_socket_t fd, short what, void *context)
{
    struct front *f = context;
    (void)fd, (void)what;
    if (tls_changed(f->tls)) reload_tls(f, NULL);
}

int front_reload(struct front *f, char **cause)
{
    if (f->access) access_log_reopen(f->access);
    return reload_tls(f, cause);
}

/* Life */

static void read_trusted(struct front *f)
{
    const struct conf_list *list = &f->options->trusted_proxies;
    f->trusted.items = xcalloc(list->count + 1, sizeof *f->trusted.items);
    for (size_t i = 0; i < list->count; i++) {
        if (!net_prefix_parse(list->items[i], &f->trusted.items[f->trusted.count], NULL)) f->trusted.count++;
    }
}

static struct limits *make_limits(const struct front_options *o, unsigned max_listeners)
{
    struct limits *limits =
        limits_new(&(struct limits_conf){.listeners = max_listeners,
                                         .uplink_bps = (uint64_t)(o->uplink_mbps * 1e6),
                                         .joins_per_s = o->joins_per_s,
                                         .address_listeners = (unsigned)o->address_listeners,
                                         .address_joins_per_min = o->address_joins_per_min,
                                         .address_bits4 = (unsigned)o->address_bits4,
                                         .address_bits6 = (unsigned)o->address_bits6});
    for (size_t i = 0; i < o->mount_limits.count; i++) {
        unsigned most;
        size_t len = read_mount_limit(o->mount_limits.items[i], &most, NULL);
        char *name = xstrndup(o->mount_limits.items[i], len);
        if (len) limits_mount(limits, name, most);
        free(name);
    }
    return limits;
}

static int open_access_log(struct front *f, char **cause)
{
    const struct front_options *o = f->options;
    if (!o->access_log) return 0;
    enum access_address address = !strcmp(o->access_addresses, "whole")  ? ACCESS_WHOLE
                                  : !strcmp(o->access_addresses, "hash") ? ACCESS_HASH
                                                                         : ACCESS_NETWORK;
    f->access = access_log_new(&(struct access_conf){.path = o->access_log,
                                                     .address = address,
                                                     .max_bytes = (uint64_t)o->access_log_mb * 1000000,
                                                     .keep = (unsigned)o->access_log_keep},
                               cause);
    return f->access ? 0 : -1;
}

struct front *front_new(struct event_base *base, const struct front_options *o, unsigned max_listeners,
                        char **cause)
{
    struct front *f = xcalloc(1, sizeof *f);
    f->base = base;
    f->options = o;
    read_trusted(f);
    f->limits = make_limits(o, max_listeners);
    if (o->tls_listen.count && !(f->tls = make_tls(o, cause))) {
        front_free(f);
        return NULL;
    }
    if (open_access_log(f, cause)) {
        front_free(f);
        return NULL;
    }
    f->gate = gate_new(f->limits, f->access);
    if (f->tls) {
        tell_certificates(f);
        f->watch = event_new(base, -1, EV_PERSIST, on_watch, f);
        event_add(f->watch, &(struct timeval){WATCH_S, 0});
    }
    return f;
}

void front_free(struct front *f)
{
    if (!f) return;
    if (f->watch) event_free(f->watch);
    gate_free(f->gate);
    access_log_free(f->access);
    limits_free(f->limits);
    tls_free(f->tls);
    free(f->trusted.items);
    free(f);
}

static void on_answer(void *context, const struct access_line *line)
{
    struct front *f = context;
    access_log_write(f->access, line);
}

struct http_server *front_server(struct front *f, const char *name)
{
    unsigned limit = proc_raise_fd_limit(), spare = limit / SPARE_FDS_SHARE;
    if (spare > SPARE_FDS_MAX) spare = SPARE_FDS_MAX;
    const struct http_limits limits = {.descriptors = (int)(limit - spare)};
    f->server = http_server_new(f->base, &limits, name);
    http_server_trust(f->server, &f->trusted);
    if (f->access) http_server_on_answer(f->server, on_answer, f);
    return f->server;
}

static int listen_all(struct http_server *server, const struct conf_list *list, struct tls *tls, int *first,
                      char **cause)
{
    *first = 0;
    for (size_t i = 0; i < list->count; i++) {
        char host[64];
        int port;
        if (conf_parse_listen(list->items[i], host, &port, cause) ||
            http_server_listen_tls(server, tls, host, port, &port, cause))
            return -1;
        if (!*first) *first = port;
    }
    return 0;
}

int front_listen(struct front *f, struct http_server *server, int *port, int *tls_port, char **cause)
{
    if (listen_all(server, &f->options->listen, NULL, port, cause)) return -1;
    return listen_all(server, &f->options->tls_listen, f->tls, tls_port, cause);
}

struct gate *front_gate(struct front *f)
{
    return f->gate;
}

/* Metrics */

struct sample {
    const char *label; /* NULL: none */
    double value;
};

static void write_family(struct evbuffer *out, const char *name, enum stats_kind kind, const char *help,
                         const char *key, const struct sample *samples, size_t count)
{
    stats_write_head(out, name, kind, help);
    for (size_t i = 0; i < count; i++) {
        char label[64] = "";
        if (samples[i].label) stats_label(label, sizeof label, key, samples[i].label);
        stats_write_sample(out, name, label, samples[i].value);
    }
}

#define FAMILY(name, kind, help, key, ...)                                                                   \
    do {                                                                                                     \
        const struct sample samples[] = {__VA_ARGS__};                                                       \
        write_family(out, name, kind, help, key, samples, sizeof samples / sizeof *samples);                 \
    } while (0)

static void write_limits(const struct limits_counts *c, struct evbuffer *out)
{
    stats_write_head(out, "forever_refused_total", STATS_COUNTER, "Listeners turned away, by reason.");
    for (int i = LIMITS_OK + 1; i < LIMITS_VERDICTS; i++) {
        char label[64] = "";
        stats_label(label, sizeof label, "reason", limits_names[i]);
        stats_write_sample(out, "forever_refused_total", label, (double)c->refused[i]);
    }
    FAMILY("forever_uplink_used_bytes_per_second", STATS_GAUGE,
           "Rates of all listeners together, with packet headers.", "", {NULL, (double)c->used_bps / 8});
    FAMILY("forever_limited_addresses", STATS_GAUGE, "Networks remembered for the limits by address.", "",
           {NULL, c->addresses});
}

static void write_connections(const struct http_counts *c, struct evbuffer *out)
{
    FAMILY("forever_connections_total", STATS_COUNTER, "Connections taken in.", "transport",
           {"plain", (double)(c->accepted - c->accepted_tls)}, {"tls", (double)c->accepted_tls});
    FAMILY("forever_connections_refused_total", STATS_COUNTER,
           "Connections with no room but for the operator and relays, closed unheard, or too slow.", "reason",
           {"connections", (double)c->over_connections}, {"descriptors", (double)c->over_descriptors},
           {"closed", (double)c->shed}, {"slow", (double)c->late}, {"proxy", (double)c->proxy_broken});
    FAMILY("forever_tls_handshakes_total", STATS_COUNTER, "TLS handshakes, by how they ended.", "result",
           {"done", (double)c->handshakes}, {"failed", (double)c->handshakes_failed},
           {"late", (double)c->handshakes_late});
    FAMILY("forever_proxy_headers_total", STATS_COUNTER, "PROXY headers of trusted proxies.", "",
           {NULL, (double)c->proxy_headers});
}

void front_metrics(const struct front *f, struct evbuffer *out)
{
    write_limits(limits_counts(f->limits), out);
    write_connections(http_server_counts(f->server), out);
    if (f->tls) {
        FAMILY("forever_tls_not_after_seconds", STATS_GAUGE,
               "When the first certificate expires, since 1970.", "", {NULL, (double)tls_not_after(f->tls)});
        FAMILY("forever_tls_reloads_total", STATS_COUNTER, "Certificates read again.", "result",
               {"done", (double)f->reloads}, {"failed", (double)f->reloads_failed});
    }
    if (f->access) {
        struct access_counts c;
        access_log_counts(f->access, &c);
        FAMILY("forever_access_log_lines_total", STATS_COUNTER, "Lines for the access log.", "result",
               {"kept", (double)(c.lines - c.dropped)}, {"dropped", (double)c.dropped});
    }
}
