#include "relay/feed.h"

#include <event2/event.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "common/clock.h"
#include "common/enrol.h"
#include "common/link_door.h"
#include "common/link_query.h"
#include "common/log.h"
#include "common/mem.h"
#include "relay/lineage.h"

#define CUT_MAX   64
#define LINKS_MAX 256  /* of all mounts, those who wait among them */
#define WAIT_MS   4000 /* less than what makes a silent link look dead */
#define LOOK_MS   50

/* A relay that asked for a link, before there is anything to send. */
struct asker {
    LIST_ENTRY(asker) next;
    struct feed *feed;
    struct http_request *request;
    struct link_query query;
    int64_t until_ns;
};

struct feed {
    struct feed_conf conf;
    LIST_HEAD(, asker) askers;
    unsigned waiting;
    struct event *look;
    unsigned char key[2][LINK_GRANT_KEY_BYTES]; /* the present one and the one before */
    int keys;
    int64_t clock_s; /* the root's clock less this boot's */
    uint64_t refused;
    struct {
        uint64_t tag;  /* of a node that is not to be fed */
        unsigned life; /* of the root that said so */
        int64_t until_ns;
    } cut[CUT_MAX];
    unsigned life; /* counts the root's, which each have a key */
};

/* A node's id as a number: the tag of its links. */
static uint64_t tag_of(const char *node)
{
    return strtoull(node, NULL, 16);
}

int feed_is_cut(const struct feed *f, const char *node)
{
    uint64_t tag = tag_of(node);
    int64_t now = clock_boot_ns();
    for (size_t i = 0; i < CUT_MAX; i++) {
        if (f->cut[i].tag == tag && now < f->cut[i].until_ns) return 1;
    }
    return 0;
}

static struct node *node_of(const struct feed *f, const char *mount)
{
    for (size_t i = 0; i < bundle_count(f->conf.bundle); i++) {
        const struct bundle_mount *m = bundle_at(f->conf.bundle, i);
        if (!strcmp(mount, m->spec.name) || (i == 0 && !strcmp(mount, "main"))) return m->node;
    }
    return NULL;
}

static int64_t root_clock_s(const struct feed *f)
{
    return clock_boot_ns() / CLOCK_NS_PER_S + f->clock_s;
}

/* When the grant ends, by the root's clock; 0: it is none. */
static int64_t granted_until(const struct feed *f, const char *given, const char *node)
{
    int64_t until_s = 0;
    for (int i = 0; i < f->keys; i++) {
        int64_t one = link_grant_until(f->key[i], given, node, root_clock_s(f));
        if (one > until_s) until_s = one;
    }
    return until_s;
}

/* 1 when the request may go on, until *until_ns (0: for ever); else it was answered. */
static int let_in(struct feed *f, struct http_request *request, const char *node, int64_t *until_ns)
{
    const char *given = http_header(request, "authorization"), *token = f->conf.token;
    if (!given || strncasecmp(given, "Bearer ", 7)) {
        http_add_header(request, "WWW-Authenticate", "Bearer");
        http_reply_error(request, 401, "a bearer token is needed");
        return 0;
    }
    given += 7;
    int64_t until_s = http_is_tls(request) ? granted_until(f, given, node) : 0;
    *until_ns = until_s ? clock_boot_ns() + (until_s - root_clock_s(f)) * CLOCK_NS_PER_S : 0;
    if (until_s && !feed_is_cut(f, node)) return 1;
    if (http_peer_is_loopback(request) && token && strlen(given) == strlen(token) &&
        enrol_same(given, token, strlen(token)))
        return 1;
    f->refused++;
    http_reply_error(request, 403, "this relay was not told by the root to feed that one");
    return 0;
}

static void refuse(struct http_request *request, int status, const char *why)
{
    if (status == 503) http_add_header(request, "Retry-After", "1");
    http_reply_error(request, status, "%s", why);
}

/* The node is told who waits for it. */
static void tell_asking(const struct feed *f, const char *mount)
{
    struct node *node = node_of(f, mount);
    const struct asker *a;
    unsigned count = 0;
    double back_s = 0;
    LIST_FOREACH(a, &f->askers, next)
    {
        if (node_of(f, a->query.mount) != node) continue;
        count++;
        back_s = fmax(back_s, a->query.ask.back_s);
    }
    if (node) node_set_asking(node, count, back_s);
}

static void forget(struct asker *a)
{
    struct feed *f = a->feed;
    LIST_REMOVE(a, next);
    f->waiting--;
    tell_asking(f, a->query.mount);
    free(a);
}

static void on_gone(void *context)
{
    forget(context);
}

static void give(struct node *node, struct http_request *request, struct link_query *query)
{
    log_info("feed", "link of %s to relay %s at %s", query->mount, *query->node ? query->node : "(no id)",
             http_peer(request));
    query->ask.station = query->ask.has_from ? query->station : NULL; /* it may have been copied */
    query->ask.peer = (void *)(uintptr_t)tag_of(query->node);
    if (link_door_give(node_links(node), request, &query->ask))
        log_warn("feed", "a link could not be set up");
}

static void on_look(evutil_socket_t fd, short what, void *context)
{
    struct feed *f = context;
    (void)fd, (void)what;
    int64_t now = clock_boot_ns();
    for (struct asker *a = LIST_FIRST(&f->askers), *after; a; a = after) {
        after = LIST_NEXT(a, next);
        struct node *node = node_of(f, a->query.mount);
        int ready = node && node_links(node) && node_playable(node);
        if (!ready && now < a->until_ns && node) continue;
        struct http_request *request = a->request;
        struct link_query query = a->query;
        if (ready)
            give(node, request, &query); /* before it is forgotten: the pull must not find it unwanted */
        forget(a);
        if (!ready) refuse(request, 503, "nothing has come from above yet");
    }
    if (f->waiting) event_add(f->look, &(struct timeval){0, LOOK_MS * 1000});
}

static void wait_for_music(struct feed *f, struct http_request *request, const struct link_query *query)
{
    struct asker *a = xcalloc(1, sizeof *a);
    *a = (struct asker){.feed = f,
                        .request = request,
                        .query = *query,
                        .until_ns = clock_boot_ns() + WAIT_MS * INT64_C(1000000)};
    LIST_INSERT_HEAD(&f->askers, a, next);
    f->waiting++;
    http_defer(request, on_gone, a);
    tell_asking(f, query->mount);
    node_ask(node_of(f, query->mount));
    event_add(f->look, &(struct timeval){0, LOOK_MS * 1000});
}

static void on_link(void *context, struct http_request *request)
{
    struct feed *f = context;
    struct link_query query;
    const char *why = NULL;
    int status = link_query_read(request, &query, &why);
    if (!let_in(f, request, status ? "" : query.node, &query.ask.until_ns)) return;
    struct node *node = status ? NULL : node_of(f, query.mount);
    if (!status && (!node || !node_links(node))) {
        status = 404;
        why = "no such mount";
    } else if (!status && http_method(request) != HTTP_GET) {
        status = 405;
        why = "a link is asked for with GET";
    } else if (!status && lineage_may_feed(node_lineage(node), query.node, &why)) {
        status = 508;
    } else if (!status && node_draining(node) != NODE_OPEN) {
        status = 503;
        why = "this relay is draining";
    } else if (!status && feed_links(f) + f->waiting >= LINKS_MAX) {
        status = 503;
        why = "too many links";
    }
    if (status)
        refuse(request, status, why);
    else if (node_playable(node) && !node_ask(node))
        give(node, request, &query);
    else
        wait_for_music(f, request, &query);
}

static void on_pace(void *context, struct http_request *request)
{
    struct feed *f = context;
    char id[LINK_ID_MAX], node[LINK_NODE_MAX];
    double times;
    if (!http_query_get(request, "node", node, sizeof node)) *node = '\0';
    int64_t until_ns;
    if (!let_in(f, request, node, &until_ns)) return;
    if (link_query_pace(request, id, &times)) {
        refuse(request, 400, "link must be an id of 16 hex digits, and fill 1 or 2");
        return;
    }
    for (size_t i = 0; i < bundle_count(f->conf.bundle); i++) {
        struct link_server *links = node_links(bundle_at(f->conf.bundle, i)->node);
        if (!links || link_server_pace(links, id, times)) continue;
        http_reply(request, 200, NULL, NULL, 0);
        return;
    }
    refuse(request, 404, "no such link");
}

void feed_routes(struct feed *feed, struct http_server *server)
{
    static const struct http_route routes[] = {
        {HTTP_GET | HTTP_RESERVED, "/link", on_link, 0, "the programme for another relay (docs/PROTOCOL.md)"},
        {HTTP_POST | HTTP_RESERVED, "/link/pace", on_pace, 0, "how fast a link fills (docs/PROTOCOL.md)"},
    };
    http_server_routes(server, routes, sizeof routes / sizeof *routes, feed);
}

struct feed *feed_new(const struct feed_conf *conf)
{
    struct feed *f = xcalloc(1, sizeof *f);
    f->conf = *conf;
    LIST_INIT(&f->askers);
    f->look = evtimer_new(conf->base, on_look, f);
    return f;
}

void feed_free(struct feed *f)
{
    if (!f) return;
    while (!LIST_EMPTY(&f->askers)) {
        struct http_request *request = LIST_FIRST(&f->askers)->request;
        forget(LIST_FIRST(&f->askers));
        refuse(request, 503, "this relay stops");
    }
    event_free(f->look);
    free(f);
}

void feed_set_key(struct feed *f, const unsigned char *key, int64_t root_s)
{
    f->clock_s = root_s - clock_boot_ns() / CLOCK_NS_PER_S;
    if (f->keys && !memcmp(f->key[0], key, LINK_GRANT_KEY_BYTES)) return;
    memcpy(f->key[1], f->key[0], LINK_GRANT_KEY_BYTES);
    memcpy(f->key[0], key, LINK_GRANT_KEY_BYTES);
    f->life++;
    f->keys = f->keys ? 2 : 1;
}

/* In the place it has, or of the one that was named longest ago. */
static void keep_cut(struct feed *f, uint64_t tag)
{
    size_t at = 0;
    for (size_t i = 0; i < CUT_MAX; i++) {
        if (f->cut[i].tag == tag) at = i;
        if (f->cut[i].tag == tag) break;
        if (f->cut[i].until_ns < f->cut[at].until_ns) at = i;
    }
    f->cut[at].tag = tag;
    f->cut[at].life = f->life;
    f->cut[at].until_ns = clock_boot_ns() + LINK_GRANT_LIFE_S * CLOCK_NS_PER_S;
}

void feed_cut(struct feed *f, const json_t *ids)
{
    size_t count = json_array_size(ids);
    for (size_t i = 0; i < CUT_MAX; i++) {
        /* what a root said before it started anew it does not know any more; it holds as long as a grant */
        if (f->cut[i].life == f->life) f->cut[i].until_ns = 0;
    }
    for (size_t i = 0; i < count && i < CUT_MAX; i++) {
        const char *id = json_string_value(json_array_get(ids, i));
        if (!id || !*id) continue;
        uint64_t tag = tag_of(id);
        keep_cut(f, tag);
        for (size_t k = 0; k < bundle_count(f->conf.bundle); k++) {
            struct link_server *links = node_links(bundle_at(f->conf.bundle, k)->node);
            if (links) link_server_close_peer(links, (void *)(uintptr_t)tag);
        }
    }
}

unsigned feed_links(const struct feed *f)
{
    unsigned sum = 0;
    for (size_t i = 0; i < bundle_count(f->conf.bundle); i++) {
        struct link_server *links = node_links(bundle_at(f->conf.bundle, i)->node);
        sum += links ? link_server_count(links) : 0;
    }
    return sum;
}

uint64_t feed_bps(const struct feed *f)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < bundle_count(f->conf.bundle); i++) {
        struct node *node = bundle_at(f->conf.bundle, i)->node;
        struct link_server *links = node_links(node);
        if (links) sum += (uint64_t)link_server_count(links) * ring_kbps(node_ring(node)) * 1000;
    }
    return sum;
}

uint64_t feed_bytes(const struct feed *f)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < bundle_count(f->conf.bundle); i++)
        sum += node_link_bytes(bundle_at(f->conf.bundle, i)->node);
    return sum;
}

uint64_t feed_refused(const struct feed *f)
{
    return f->refused;
}
