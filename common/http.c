#include "common/http_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

static void limits_fill(struct http_limits *l)
{
    if (!l->header_bytes) l->header_bytes = 16u << 10;
    if (!l->body_bytes) l->body_bytes = 64u << 10;
    if (!l->header_ms) l->header_ms = 10000;
    if (!l->body_ms) l->body_ms = 20000;
    if (!l->idle_ms) l->idle_ms = 30000;
    if (!l->connections) l->connections = 4096;
}

struct http_server *http_server_new(struct event_base *base, const struct http_limits *limits,
                                    const char *server_name)
{
    struct http_server *s = xcalloc(1, sizeof *s);
    s->base = base;
    if (limits) s->limits = *limits;
    limits_fill(&s->limits);
    s->name = xstrdup(server_name);
    s->common_s = -1;
    TAILQ_INIT(&s->conns);
    return s;
}

void http_server_routes(struct http_server *s, const struct http_route *routes, size_t count, void *context)
{
    s->tables = xrealloc(s->tables, (s->table_count + 1) * sizeof *s->tables);
    s->tables[s->table_count++] = (struct http_routes){routes, count, context};
}

void http_server_unroute(struct http_server *s, const struct http_route *routes, void *context)
{
    for (size_t i = 0; i < s->table_count; i++) {
        if (s->tables[i].routes != routes || s->tables[i].context != context) continue;
        memmove(&s->tables[i], &s->tables[i + 1], (--s->table_count - i) * sizeof *s->tables);
        return;
    }
}

void http_server_stop(struct http_server *s)
{
    s->stopped = 1;
    http_listen_stop(s);
    struct http_conn *c, *next;
    for (c = TAILQ_FIRST(&s->conns); c; c = next) {
        next = TAILQ_NEXT(c, entry);
        http_conn_close_idle(c);
    }
}

void http_server_free(struct http_server *s)
{
    if (!s) return;
    http_listen_stop(s);
    while (!TAILQ_EMPTY(&s->conns))
        http_conn_free(TAILQ_FIRST(&s->conns));
    free(s->tables);
    free(s->name);
    free(s);
}

unsigned http_server_connections(const struct http_server *s)
{
    return s->conn_count;
}

void http_server_on_done(struct http_server *s, void (*done)(void *, const char *, int), void *context)
{
    s->done = done;
    s->done_context = context;
}

void http_server_on_answer(struct http_server *s, void (*answer)(void *, const struct access_line *),
                           void *context)
{
    s->answer = answer;
    s->answer_context = context;
}

void http_server_trust(struct http_server *s, const struct net_list *trusted)
{
    s->trusted = trusted && trusted->count ? trusted : NULL;
}

const struct http_counts *http_server_counts(const struct http_server *s)
{
    return &s->counts;
}

void http_server_count(struct http_server *s, const char *route, int status)
{
    if (s->done) s->done(s->done_context, route ? route : "", status);
}

const char *http_common_headers(const struct http_server *server)
{
    struct http_server *s = (struct http_server *)(uintptr_t)server; /* a cache, no state */
    time_t now = (time_t)(clock_wall_ns() / CLOCK_NS_PER_S);
    if (now != s->common_s) {
        static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
        static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        struct tm t;
        gmtime_r(&now, &t);
        snprintf(s->common, sizeof s->common, "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\nServer: %s\r\n",
                 days[t.tm_wday], t.tm_mday, months[t.tm_mon], t.tm_year + 1900, t.tm_hour, t.tm_min,
                 t.tm_sec, s->name);
        s->common_s = now;
    }
    return s->common;
}

/* Length of the match, 0 when path is not the route's. */
static size_t route_match(const struct http_route *route, const char *path)
{
    size_t len = strlen(route->path);
    if (len >= 2 && !strcmp(route->path + len - 2, "/*"))
        return strncmp(route->path, path, len - 1) ? 0 : len - 1;
    return strcmp(route->path, path) ? 0 : SIZE_MAX; /* exact beats any prefix */
}

static unsigned implied(unsigned methods)
{
    return methods & HTTP_GET ? methods | HTTP_HEAD : methods;
}

/* The best route for path and method; *allow: what the methods of that path are, 0 when there is no path. A
 * route that names the method beats one that implies it. */
static const struct http_route *route_find(struct http_server *s, const char *path, unsigned method,
                                           unsigned *allow, const struct http_route **any, void **context)
{
    const struct http_route *found = NULL;
    size_t best = 0;
    *allow = 0;
    *any = NULL;
    for (size_t t = 0; t < s->table_count; t++) {
        for (size_t i = 0; i < s->tables[t].count; i++) {
            const struct http_route *r = &s->tables[t].routes[i];
            size_t match = route_match(r, path);
            if (match == 0 || match < best) continue;
            if (match > best) {
                found = NULL;
                *allow = 0;
                *any = r;
            }
            best = match;
            *allow |= implied(r->methods);
            int names = (r->methods & method) != 0;
            if (names ? (!found || !(found->methods & method)) : (!found && (implied(r->methods) & method))) {
                found = r;
                *context = s->tables[t].context;
            }
        }
    }
    return found;
}

static void reply_options(struct http_request *r, unsigned allow)
{
    http_add_allow(r, allow);
    if (r->route && r->route->cors) {
        http_add_header(r, "Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, DELETE, OPTIONS");
        http_add_header(r, "Access-Control-Allow-Headers", "Content-Type, Icy-MetaData, Range");
        http_add_header(r, "Access-Control-Max-Age", "86400");
    }
    http_reply(r, 204, NULL, NULL, 0);
}

int http_server_uploads(struct http_request *r)
{
    unsigned allow;
    void *context;
    const struct http_route *any, *found;
    if (!(r->method & (HTTP_PUT | HTTP_SOURCE))) return 0;
    found = route_find(r->conn->server, r->path, r->method, &allow, &any, &context);
    return found && (found->methods & HTTP_UPLOAD);
}

void http_server_dispatch(struct http_request *r)
{
    struct http_server *s = r->conn->server;
    unsigned allow;
    void *context = NULL;
    const struct http_route *any, *found = route_find(s, r->path, r->method, &allow, &any, &context);
    r->route = found ? found : any;
    if (r->conn->over_limit && !(found && (found->methods & HTTP_RESERVED))) {
        http_add_header(r, "Retry-After", "5");
        http_reply_error(r, 503, "too many connections");
    } else if (found) {
        struct http_conn *conn = r->conn;
        const char *path = found->path;
        found->handler(context, r);
        if (conn->state == HTTP_CONN_ANSWER && !conn->request->deferred) {
            log_error("http", "the handler of %s neither answered nor deferred", path);
            http_reply_error(conn->request, 500, "no answer");
        }
    } else if (r->method == HTTP_OPTIONS && (any || !strcmp(r->path, "*"))) {
        reply_options(r, allow);
    } else if (!any) {
        http_reply_error(r, 404, "nothing here");
    } else {
        http_add_allow(r, allow);
        http_reply_error(r, 405, "method not allowed");
    }
}
