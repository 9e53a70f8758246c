/* The root of the months: registry, books and what the store keeps of them, as root/air/relays and
 * root/air/sampler put them together. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "tests/sim/months_internal.h"

#define DAY_S 86400

static void load(struct months *m, uint32_t relay)
{
    json_t *days = json_array();
    const struct billing_tally *t = &m->store[relay].tally;
    for (int i = 0; i < BILLING_DAYS; i++) {
        if (!t->bytes[i]) continue;
        json_array_append_new(days, json_integer((json_int_t)t->days[i]));
        json_array_append_new(days, json_integer((json_int_t)t->bytes[i]));
    }
    books_load(m->books, m->machines[relay].terms.name, days, months_wall_s(m));
    json_decref(days);
}

/* As root/air/recall does. */
static void recall(struct months *m)
{
    for (uint32_t i = 0; i < m->conf->relays; i++)
        registry_recall(m->root, m->machines[i].terms.name, &m->store[i].learned, months_ns(m));
    registry_recall_stays(m->root, &m->stays);
    router_set_week(registry_router(m->root), m->week);
}

static void forget(struct months *m)
{
    m->remembers = 0;
    m->seen_count = 0;
    m->seen = 0;
    router_week_clear(m->week);
}

void months_root_start(struct months *m)
{
    double silence = 2.5 * (double)m->interval_s; /* 5 s of reports that come every 2 s */
    struct registry_conf conf = {.router = {.rate_bps = RATE_BPS,
                                            .suspect_ns = (int64_t)(silence * 1e9),
                                            .dead_ns = (int64_t)(2 * silence * 1e9),
                                            .no_reserve = m->conf->no_reserve}};
    for (size_t i = 0; i < sizeof conf.master; i++)
        conf.master[i] = (unsigned char)sim_bits(&m->random);
    m->root = registry_new(&conf);
    m->books = books_new();
    m->roots++;
    registry_set_mounts(m->root, &(struct mount_spec){.name = "stream", .kbps = 128}, 1);
    for (uint32_t i = 0; i < m->conf->relays; i++) {
        if (registry_enrol(m->root, &m->machines[i].terms, NULL, REGISTRY_FOREVER, months_ns(m), NULL))
            abort();
        load(m, i);
    }
    books_loaded(m->books);
    if (m->remembers && !m->conf->forget)
        recall(m);
    else
        forget(m);
    registry_tick(m->root, months_ns(m), months_wall_s(m));
}

void months_root_stop(struct months *m, double seconds, int store_too)
{
    registry_free(m->root);
    books_free(m->books);
    m->root = NULL;
    m->books = NULL;
    m->root_back_s = m->now_s + seconds;
    months_lose(m, m->conf->relays);
    for (uint32_t i = 0; store_too && i < m->conf->relays; i++)
        m->store[i] = (struct stored){0};
    if (store_too) forget(m);
}

static void learn_hour(struct months *m)
{
    m->seen += (double)m->listening;
    m->seen_count++;
    if (months_wall_s(m) % 3600) return;
    router_week_learn(m->week, months_wall_s(m) / 3600 - 1, m->seen / m->seen_count);
    m->seen = m->seen_count = 0;
}

void months_store(struct months *m)
{
    struct registry_view v;
    struct router_view r;
    if (!m->root) return;
    learn_hour(m);
    registry_stays(m->root, &m->stays);
    m->remembers = 1;
    struct sample_day days[SAMPLE_DAYS_MAX];
    for (uint32_t i = 0; i < m->conf->relays; i++) {
        const char *name = m->machines[i].terms.name;
        struct book *book = books_find(m->books, name);
        struct billing_tally *t = &m->store[i].tally;
        if (registry_find(m->root, name, months_ns(m), &v)) abort();
        router_view(registry_router(m->root), v.slot, months_ns(m), &r);
        m->store[i].learned = (struct registry_learned){.pacing = r.pacing, .redemption = r.redemption};
        for (size_t n = book ? book_unsaved(book, days) : 0; n-- > 0;) {
            t->days[days[n].day % BILLING_DAYS] = days[n].day;
            t->bytes[days[n].day % BILLING_DAYS] = days[n].bytes;
        }
    }
}

static int hear(struct months *m, const struct machine *r, const struct told *told)
{
    static struct registry_said said;
    char session[sizeof r->session];
    char *cause = NULL;
    snprintf(session, sizeof session, "%.8s%08x", r->session, told->life);
    said.name = r->terms.name;
    said.url = r->url;
    said.version = "1";
    said.session = session;
    said.seq = told->seq;
    said.values = (struct registry_values){
        .now = {.bytes_out = told->bytes, .accepted = told->accepted, .closed = told->closed},
        .listeners = told->listeners,
        .max_listeners = MAX_PLACES,
        .redeemed = told->tickets.redeemed,
        .expired = told->tickets.expired,
        .unwanted = told->tickets.refused,
        .lag_s = NAN,
        .position = -1,
        .draining = told->draining};
    said.joins_per_s = 1e6;
    said.epoch = told->counts ? (int64_t)told->tickets.epoch : -1;
    said.floor = told->tickets.floor;
    said.from_floor = told->tickets.from_floor;
    said.mount_count = 1;
    said.mounts[0] = (struct registry_mount){"stream", (uint32_t)told->listeners, 1};
    int news = registry_heard(m->root, &said, 0, months_ns(m), &cause);
    if (news >= 0) return news;
    fprintf(stderr, "%s\n", cause);
    abort();
}

/* Those that root/air/relays names in its answer; asked for only where it matters. */
static void tell_elsewhere(const struct months *m, const struct machine *r, struct answer *out)
{
    int64_t now_ns = months_ns(m);
    size_t n = registry_others(m->root, r->terms.name, 0, (uint64_t)now_ns, now_ns, out->elsewhere, out->room,
                               ELSEWHERE_MAX - 1);
    uint32_t here = m->machines[m->conf->relays].listeners;
    if (here < m->conf->root_places) {
        out->elsewhere[n] = MONTHS_ROOT_URL;
        out->room[n] = n ? 0 : 1 + (m->conf->root_places - here) / REGISTRY_ROOM_SHARE;
        n++;
    }
    out->elsewhere_count = n;
}

int months_heard(struct months *m, uint32_t relay, const struct told *told, struct answer *out)
{
    const struct machine *r = &m->machines[relay];
    struct registry_view v;
    if (!m->root) return 0;
    int news = hear(m, r, told);
    if (registry_find(m->root, r->terms.name, months_ns(m), &v)) abort();
    struct book *book = books_get(m->books, r->terms.name);
    book_count(book, &v, months_wall_s(m));
    if (news) book_raise(book, &r->terms, told->since_s, told->month_bytes, months_wall_s(m));
    book_month(book, &r->terms, months_wall_s(m), &out->month);
    registry_set_ledger(m->root, r->terms.name, &out->month, months_ns(m));
    out->tickets = !registry_ticket(m->root, r->terms.name, months_ns(m), &out->ticket);
    out->drain = registry_is_spent(m->root, r->terms.name, months_ns(m));
    out->move_s = 0;
    out->move = registry_too_many(m->root, r->terms.name, months_ns(m), &out->move_s);
    out->elsewhere_count = 0;
    if (out->drain || out->move || r->moving || r->draining != NODE_OPEN) tell_elsewhere(m, r, out);
    return 1;
}

double months_off(struct months *m, uint32_t relay)
{
    const struct machine *r = &m->machines[relay];
    struct registry_month month;
    struct book *book = m->books ? books_find(m->books, r->terms.name) : NULL;
    if (!book || !r->terms.allotment_bytes) return 0;
    book_month_before(book, &r->terms, months_wall_s(m), &month);
    return fabs((double)month.sent_bytes - r->before_bytes) / (double)r->terms.allotment_bytes;
}
