/* overview_api: /api/relays, /api/relays/NAME and /api/ledger: all of the list is judged for each answer,
 * since what needs attention comes first wherever it stands; a page of it is told. */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "root/air/air.h"
#include "root/air/feed.h"
#include "root/air/fleet.h"
#include "root/air/overview.h"

#define LIMIT_MAX     1000
#define LIMIT_DEFAULT 100

struct line {
    size_t index; /* in the registry */
    const char *name;
    enum overview_level level;
    uint64_t listeners;
};

struct page {
    size_t offset, limit;
    int by_attention;
};

int overview_of(struct air *air, size_t index, int64_t now_ns, int64_t now_s, struct overview *out)
{
    struct reach_view reach;
    *out = (struct overview){.now_s = now_s, .root_up_s = (double)(now_ns - air->started_ns) * 1e-9};
    if (registry_view(air->registry, index, now_ns, &out->view)) return -1;
    out->book = books_find(feed_books(air->feed), out->view.name);
    if (out->view.enrolled) {
        const struct roster_entry *entry = roster_find(fleet_roster(air->fleet), out->view.name);
        out->awaited = entry && entry->kind == ROSTER_FOREVER && !entry->enrolled_s;
        if (entry && !reach_view(entry, &reach)) out->reach_words = reach.words;
    }
    overview_judge(out);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct line *)a)->name, ((const struct line *)b)->name);
}

static int by_attention(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    if (x->level != y->level) return x->level > y->level ? -1 : 1;
    if (x->listeners != y->listeners) return x->listeners > y->listeners ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* A whole number from the query. 0, or -1 when the request was answered. */
static int read_size(struct http_request *request, const char *key, size_t most, size_t *out)
{
    char text[24], *end;
    const char *given = http_query_get(request, key, text, sizeof text);
    if (!given) return 0;
    unsigned long value = strtoul(given, &end, 10);
    if (end == given || *end || *given < '0' || *given > '9' || value > most) {
        http_reply_error(request, 400, "%s must be a whole number, at most %zu", key, most);
        return -1;
    }
    *out = value;
    return 0;
}

static int read_page(struct http_request *request, struct page *page)
{
    char text[16];
    *page = (struct page){.limit = LIMIT_DEFAULT};
    const char *sort = http_query_get(request, "sort", text, sizeof text);
    if (sort && strcmp(sort, "name") && strcmp(sort, "attention")) {
        http_reply_error(request, 400, "sort must be name or attention");
        return -1;
    }
    page->by_attention = sort && !strcmp(sort, "attention");
    return read_size(request, "offset", REGISTRY_MAX, &page->offset) ||
                   read_size(request, "limit", LIMIT_MAX, &page->limit)
               ? -1
               : 0;
}

static void reply(struct http_request *request, json_t *body)
{
    char *text = json_text(body);
    http_add_header(request, "Cache-Control", "no-cache");
    http_reply(request, 200, "application/json", text, strlen(text));
    free(text);
    json_decref(body);
}

/* All lines in order, fresh memory; sums up on the way. Names are borrowed. */
static struct line *survey(struct air *air, const struct page *page, int64_t now_ns, int64_t now_s,
                           size_t *count, void (*each)(void *context, const struct overview *o),
                           void *context)
{
    struct overview o;
    size_t room = 64;
    struct line *lines = xcalloc(room, sizeof *lines);
    for (*count = 0; !overview_of(air, *count, now_ns, now_s, &o); ++*count) {
        if (*count == room) lines = xrealloc(lines, (room *= 2) * sizeof *lines);
        lines[*count] = (struct line){*count, o.view.name, o.level, o.view.listeners};
        each(context, &o);
    }
    qsort(lines, *count, sizeof *lines, page->by_attention ? by_attention : by_name);
    return lines;
}

static json_t *page_of(struct air *air, const struct page *page, const struct line *lines, size_t count,
                       int64_t now_ns, int64_t now_s, json_t *(*row)(const struct overview *o))
{
    json_t *list = json_array();
    struct overview o;
    for (size_t i = page->offset; i < count && i - page->offset < page->limit; i++) {
        if (!overview_of(air, lines[i].index, now_ns, now_s, &o)) json_array_append_new(list, row(&o));
    }
    return list;
}

/* The list */

struct tally {
    size_t levels[3], healthy;
    uint64_t listeners, accepted, closed, bytes_in, bytes_out, used, allotment, projected;
    double cost, projected_cost;
};

static void sum_up(void *context, const struct overview *o)
{
    struct tally *t = context;
    t->levels[o->level]++;
    t->healthy += o->view.healthy != 0;
    t->listeners += o->view.listeners;
    t->accepted += o->view.accepted;
    t->closed += o->view.closed;
    t->bytes_in += o->view.bytes_in;
    t->bytes_out += o->view.bytes_out;
    t->used += o->month.sent_bytes;
    t->allotment += o->view.terms->allotment_bytes;
    t->projected += o->projected_bytes;
    t->cost += overview_cost(o->view.terms, o->month.sent_bytes);
    t->projected_cost += overview_cost(o->view.terms, o->projected_bytes);
}

static void on_relays(void *context, struct http_request *request)
{
    struct air *air = context;
    struct page page;
    struct tally t = {0};
    size_t count;
    int64_t now_ns = clock_boot_ns(), now_s = clock_wall_ns() / CLOCK_NS_PER_S;
    if (read_page(request, &page)) return;
    struct line *lines = survey(air, &page, now_ns, now_s, &count, sum_up, &t);
    json_t *body = json_pack(
        "{s:f,s:I,s:I,s:I,s:I,s:{s:I,s:I},s:{s:I,s:I,s:I,s:I,s:I},s:o}", "time",
        (double)clock_wall_ns() / 1e9, "total", (json_int_t)count, "healthy", (json_int_t)t.healthy, "offset",
        (json_int_t)page.offset, "limit", (json_int_t)page.limit, "attention", "bad",
        (json_int_t)t.levels[OVERVIEW_BAD], "note", (json_int_t)t.levels[OVERVIEW_NOTE], "totals",
        "listeners", (json_int_t)t.listeners, "accepted", (json_int_t)t.accepted, "closed",
        (json_int_t)t.closed, "bytes_in", (json_int_t)t.bytes_in, "bytes_out", (json_int_t)t.bytes_out,
        "relays", page_of(air, &page, lines, count, now_ns, now_s, overview_json));
    free(lines);
    reply(request, body);
}

static void on_ledger(void *context, struct http_request *request)
{
    struct air *air = context;
    struct page page;
    struct tally t = {0};
    size_t count;
    int64_t now_ns = clock_boot_ns(), now_s = clock_wall_ns() / CLOCK_NS_PER_S;
    if (read_page(request, &page)) return;
    struct line *lines = survey(air, &page, now_ns, now_s, &count, sum_up, &t);
    json_t *body =
        json_pack("{s:f,s:b,s:I,s:I,s:I,s:{s:I,s:I,s:I,s:f,s:f},s:o}", "time", (double)clock_wall_ns() / 1e9,
                  "complete", books_are_loaded(feed_books(air->feed)), "total", (json_int_t)count, "offset",
                  (json_int_t)page.offset, "limit", (json_int_t)page.limit, "totals", "used_bytes",
                  (json_int_t)t.used, "projected_bytes", (json_int_t)t.projected, "allotment_bytes",
                  (json_int_t)t.allotment, "cost", t.cost, "projected_cost", t.projected_cost, "relays",
                  page_of(air, &page, lines, count, now_ns, now_s, overview_ledger_json));
    free(lines);
    reply(request, body);
}

/* One */

static void on_relay(void *context, struct http_request *request)
{
    struct air *air = context;
    const char *name = http_path(request) + strlen("/api/relays/");
    struct registry_view seen;
    struct overview o;
    int64_t now_ns = clock_boot_ns(), now_s = clock_wall_ns() / CLOCK_NS_PER_S;
    size_t i = 0;
    while (!registry_view(air->registry, i, now_ns, &seen) && strcmp(seen.name, name))
        i++;
    if (overview_of(air, i, now_ns, now_s, &o)) {
        http_reply_error(request, 404, "no such relay");
        return;
    }
    json_t *body = overview_json(&o), *rest = registry_json(air->registry, i, 1, now_ns);
    const struct roster_entry *entry = roster_find(fleet_roster(air->fleet), name);
    if (o.book) detail_json(&o.book->detail, body);
    json_object_set_new(body, "ledger", overview_ledger_json(&o));
    json_object_update_missing(body, json_array_get(rest, 0));
    if (entry) json_object_set_new(body, "enrolment", fleet_json(air->fleet, entry));
    json_decref(rest);
    reply(request, body);
}

void overview_routes(struct air *air)
{
    static const struct http_route routes[] = {
        {HTTP_GET | HTTP_RESERVED, "/api/relays", on_relays, 1, "the relays: how each fares"},
        {HTTP_GET | HTTP_RESERVED, "/api/relays/*", on_relay, 1,
         "/api/relays/NAME: all that is known of one"},
        {HTTP_GET | HTTP_RESERVED, "/api/ledger", on_ledger, 1,
         "traffic of the billing months, and what it costs"},
    };
    http_server_routes(air->http, routes, sizeof routes / sizeof *routes, air);
}
