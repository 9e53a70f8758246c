/* overview_api: /api/relays, /api/relays/NAME and /api/ledger: all of the list is judged for each answer,
 * since what needs attention comes first wherever it stands; a page of it is told. */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "root/air/air.h"
#include "root/air/sampler.h"
#include "root/air/fleet.h"
#include "root/air/overview.h"
#include "root/air/tree_talk.h"

#define LIMIT_MAX     250
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
    char find[TERMS_NAME_MAX + 1]; /* in the name; "": any */
};

int overview_of(struct air *air, size_t index, int64_t now_ns, int64_t now_s, struct overview *out)
{
    struct reach_view reach;
    *out = (struct overview){.now_s = now_s, .root_up_s = (double)(now_ns - air->started_ns) * 1e-9};
    if (registry_view(air->registry, index, now_ns, &out->view)) return -1;
    out->book = books_find(sampler_books(air->sampler), out->view.name);
    if (tree_talk_view(air->tree_talk, out->view.name, &out->tree)) out->tree = (struct tree_view){0};
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
    if (!http_query_get(request, "find", page->find, sizeof page->find)) *page->find = '\0';
    return read_size(request, "offset", REGISTRY_MAX, &page->offset) ||
                   read_size(request, "limit", LIMIT_MAX, &page->limit)
               ? -1
               : 0;
}

/* The lines wanted in order, fresh memory; all of them are told to each. Names are borrowed. */
static struct line *survey(struct air *air, const struct page *page, int64_t now_ns, int64_t now_s,
                           size_t *count, void (*each)(void *context, const struct overview *o),
                           void *context)
{
    struct overview o;
    size_t room = 64;
    struct line *lines = xcalloc(room, sizeof *lines);
    *count = 0;
    for (size_t i = 0; !overview_of(air, i, now_ns, now_s, &o); i++) {
        each(context, &o);
        if (!strstr(o.view.name, page->find)) continue;
        if (*count == room) lines = xrealloc(lines, (room *= 2) * sizeof *lines);
        lines[(*count)++] = (struct line){i, o.view.name, o.level, o.view.listeners};
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
    uint64_t listeners, accepted, closed, bytes_in, bytes_out, redirects, used, allotment, projected;
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
    t->redirects += o->view.redirects;
    t->used += o->month.sent_bytes;
    t->allotment += o->view.terms->allotment_bytes;
    t->projected += o->projected_bytes;
    t->cost += overview_cost(o->view.terms, o->month.sent_bytes);
    t->projected_cost += overview_cost(o->view.terms, o->projected_bytes);
}

static void put(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

/* What both answers begin with. */
static json_t *head_json(const struct page *page, const struct tally *t, size_t found)
{
    json_t *o = json_object();
    json_object_set_new(o, "time", json_real((double)clock_wall_ns() / 1e9));
    put(o, "total", t->levels[0] + t->levels[1] + t->levels[2]);
    put(o, "found", found);
    put(o, "offset", page->offset);
    put(o, "limit", page->limit);
    return o;
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
    json_t *body = head_json(&page, &t, count), *totals = json_object();
    put(body, "healthy", t.healthy);
    json_object_set_new(body, "attention",
                        json_pack("{s:I,s:I}", "bad", (json_int_t)t.levels[OVERVIEW_BAD], "note",
                                  (json_int_t)t.levels[OVERVIEW_NOTE]));
    put(totals, "listeners", t.listeners);
    put(totals, "accepted", t.accepted);
    put(totals, "closed", t.closed);
    put(totals, "bytes_in", t.bytes_in);
    put(totals, "bytes_out", t.bytes_out);
    put(totals, "redirects", t.redirects);
    json_object_set_new(body, "totals", totals);
    json_object_set_new(body, "relays", page_of(air, &page, lines, count, now_ns, now_s, overview_json));
    free(lines);
    api_reply(request, body);
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
    json_t *body = head_json(&page, &t, count), *totals = json_object();
    json_object_set_new(body, "complete", json_boolean(books_are_loaded(sampler_books(air->sampler))));
    put(totals, "used_bytes", t.used);
    put(totals, "projected_bytes", t.projected);
    put(totals, "allotment_bytes", t.allotment);
    json_object_set_new(totals, "cost", json_real(t.cost));
    json_object_set_new(totals, "projected_cost", json_real(t.projected_cost));
    json_object_set_new(body, "totals", totals);
    json_object_set_new(body, "relays",
                        page_of(air, &page, lines, count, now_ns, now_s, overview_ledger_json));
    free(lines);
    api_reply(request, body);
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
    api_reply(request, body);
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
