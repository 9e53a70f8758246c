/* Billing months: sessions come and go by the hour of the day, relays cost and have allotments. Reports come
 * once a minute here (the choice's limits of silence are longer by as much), since what is looked at is
 * hours. Against it stands what the same hours' traffic would have cost with everything known beforehand
 * (tests/sim/optimum.py). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/billing.h"
#include "common/mem.h"
#include "root/air/router.h"
#include "tests/sim/sim.h"

#define RATE_BPS 128000.0
#define WHEEL    (1 << 17) /* seconds; nobody stays longer */
#define STEP_S   5
#define REPORT_S 60
#define SURGE    4.0
#define SURGE_S  (6 * 3600)
#define SURGE_AT 55 /* per cent of the month */
#define NOBODY   UINT32_MAX

struct session {
    uint32_t next, relay;   /* the next that ends in the same second; where it is */
    uint32_t after, before; /* at the relay */
    uint8_t place;
};

struct machine {
    struct relay_terms terms;
    double month_bytes, bytes, changed_s; /* billed; sent ever; both up to this moment */
    uint32_t listeners, first, class;
    int emptied;
};

struct months {
    const struct sim_conf *conf;
    struct sim_random random;
    struct router *router;
    struct machine *machines;
    struct session *sessions;
    uint32_t free_session, session_count, session_capacity;
    uint32_t wheel[WHEEL];
    int64_t start_s, month_s; /* the billing month that is on: when it began by the wall clock; its length */
    double stay_s, now_s, measured_from_s;
    uint64_t listening, peak, joins, refused, moved, over_line, over_allotment, spent;
    double *hours; /* [hour][place]: GB billed */
    double money, distance_money, total_gb, class_gb[SIM_CLASSES];
    unsigned hour_count;
    /* what the root's statistics know, for its restarts */
    double week[ROUTER_WEEK_HOURS], seen;
    unsigned seen_count, restarts;
};

static int64_t ns(const struct months *m)
{
    return (int64_t)((m->now_s + 1000) * 1e9);
}

/* Brings a relay's counters up to now. */
static void settle(struct months *m, struct machine *r)
{
    double seconds = m->now_s - r->changed_s, bytes = r->listeners * RATE_BPS / 8 * seconds;
    r->changed_s = m->now_s;
    r->bytes += bytes;
    r->month_bytes += bytes * BILLING_OVERHEAD;
    if (m->now_s >= m->measured_from_s) {
        double gb = bytes * BILLING_OVERHEAD / 1e9;
        m->money += gb * r->terms.price_per_gb;
        m->total_gb += gb;
        m->class_gb[r->class] += gb;
    }
}

static void put(struct months *m, uint32_t relay, uint32_t at)
{
    struct machine *r = &m->machines[relay];
    struct session *s = &m->sessions[at];
    settle(m, r);
    r->listeners++;
    if (++m->listening > m->peak) m->peak = m->listening;
    s->relay = relay;
    s->before = NOBODY;
    s->after = r->first;
    if (r->first != NOBODY) m->sessions[r->first].before = at;
    r->first = at;
    if (r->listeners * RATE_BPS * 1.062 > (double)r->terms.uplink_bps) m->over_line++;
}

static void take(struct months *m, uint32_t at)
{
    struct session *s = &m->sessions[at];
    struct machine *r = &m->machines[s->relay];
    settle(m, r);
    r->listeners--;
    m->listening--;
    if (s->before != NOBODY)
        m->sessions[s->before].after = s->after;
    else
        r->first = s->after;
    if (s->after != NOBODY) m->sessions[s->after].before = s->before;
    s->relay = NOBODY;
}

static uint32_t choose(struct months *m, unsigned place, uint32_t but)
{
    struct router_ask ask = {.random = sim_bits(&m->random), .but = but};
    struct router_choice choice;
    region_parse(sim_places[place].region, &ask.region);
    if (router_choose(m->router, &ask, ns(m), &choice) != ROUTER_TO) return NOBODY;
    router_issue(m->router, choice.slot, 0, ns(m));
    return choice.slot;
}

static void join(struct months *m, unsigned place)
{
    uint32_t relay = choose(m, place, ROUTER_NONE_SLOT), at = m->free_session;
    m->joins++;
    if (relay == NOBODY) {
        m->refused++;
        return;
    }
    if (at != NOBODY) {
        m->free_session = m->sessions[at].next;
    } else {
        if (m->session_count == m->session_capacity) {
            m->session_capacity = m->session_capacity ? m->session_capacity * 2 : 4096;
            m->sessions = xrealloc(m->sessions, m->session_capacity * sizeof *m->sessions);
        }
        at = m->session_count++;
    }
    double stay = sim_stay(&m->random, m->stay_s);
    if (stay > WHEEL - 2) stay = WHEEL - 2;
    uint32_t slot = (uint32_t)((int64_t)(m->now_s + stay + 1) % WHEEL);
    m->sessions[at] = (struct session){.next = m->wheel[slot], .place = (uint8_t)place};
    m->wheel[slot] = at;
    put(m, relay, at);
}

static void end_sessions(struct months *m, int64_t second)
{
    uint32_t at = m->wheel[second % WHEEL], next;
    m->wheel[second % WHEEL] = NOBODY;
    for (; at != NOBODY; at = next) {
        struct session *s = &m->sessions[at];
        next = s->next;
        if (s->relay != NOBODY) take(m, at);
        s->next = m->free_session;
        m->free_session = at;
    }
}

/* The allotment ends with those who are there: they are moved. */
static void empty(struct months *m, uint32_t relay)
{
    struct machine *r = &m->machines[relay];
    m->spent++;
    for (uint32_t at = r->first, next; at != NOBODY; at = next) {
        next = m->sessions[at].after;
        uint32_t to = choose(m, m->sessions[at].place, relay);
        if (to == NOBODY) continue;
        take(m, at);
        put(m, to, at);
        m->moved++;
    }
}

static void report(struct months *m, uint32_t relay)
{
    struct machine *r = &m->machines[relay];
    struct router_view v;
    settle(m, r);
    router_heard(m->router, relay,
                 &(struct router_report){.listeners = r->listeners,
                                         .max_listeners = 20000,
                                         .bytes_out = (uint64_t)r->bytes,
                                         .joins_per_s = 1e6},
                 ns(m));
    router_set_month(m->router, relay, (uint64_t)r->month_bytes, m->start_s, m->start_s + m->month_s, ns(m));
    if (!r->terms.allotment_bytes) return;
    router_view(m->router, relay, ns(m), &v);
    if (v.spent) empty(m, relay);
    if (r->month_bytes > (double)r->terms.allotment_bytes && !r->emptied) {
        m->over_allotment++;
        r->emptied = 1;
    }
}

/* Where listeners are, as the hour's traffic, and what their way is worth. */
static void count_places(struct months *m, double seconds)
{
    unsigned hour = (unsigned)((m->now_s - m->measured_from_s) / 3600);
    if (m->now_s < m->measured_from_s || hour >= m->hour_count) return;
    struct relay_region from[SIM_PLACES];
    double gb = RATE_BPS / 8 * seconds * BILLING_OVERHEAD / 1e9;
    for (unsigned p = 0; p < SIM_PLACES; p++)
        region_parse(sim_places[p].region, &from[p]);
    static struct relay_region to[SIM_CLASSES];
    for (unsigned c = 0; c < SIM_CLASSES; c++)
        region_parse(sim_classes[c].region, &to[c]);
    for (uint32_t at = 0; at < m->session_count; at++) {
        const struct session *s = &m->sessions[at];
        if (s->relay == NOBODY) continue;
        m->hours[hour * SIM_PLACES + s->place] += gb;
        m->distance_money += gb * region_distance(from[s->place], to[m->machines[s->relay].class]);
    }
}

/* Restarts of the root */

static void begin_router(struct months *m, int64_t wall_s)
{
    m->router = router_new(&(struct router_conf){.rate_bps = RATE_BPS,
                                                 .suspect_ns = 5 * REPORT_S * SIM_S,
                                                 .dead_ns = 10 * REPORT_S * SIM_S,
                                                 .no_reserve = 1});
    router_set_stay(m->router, m->stay_s, 2.5 * m->stay_s);
    router_tick(m->router, ns(m), wall_s);
}

static void restart(struct months *m, int64_t wall_s)
{
    struct router *before = m->router;
    struct router_view v;
    begin_router(m, wall_s);
    for (unsigned i = 0; i < m->conf->relays; i++) {
        if (router_add(m->router, &m->machines[i].terms, ns(m)) != i) abort();
        if (m->conf->forget) continue;
        router_view(before, i, ns(m), &v);
        router_recall(m->router, i, v.pacing, v.redemption, ns(m));
    }
    if (!m->conf->forget) router_set_week(m->router, m->week);
    router_free(before);
    for (unsigned i = 0; i < m->conf->relays; i++)
        report(m, i);
    m->restarts++;
}

static void count_hour(struct months *m, int64_t wall_s)
{
    m->seen += (double)m->listening;
    m->seen_count++;
    if (wall_s % 3600) return;
    router_week_learn(m->week, wall_s / 3600 - 1, m->seen / m->seen_count);
    m->seen = m->seen_count = 0;
}

static void dump(const struct months *m)
{
    FILE *f = fopen(m->conf->dump, "w");
    if (!f) return;
    unsigned counts[SIM_CLASSES] = {0};
    double allotments[SIM_CLASSES] = {0};
    for (unsigned i = 0; i < m->conf->relays; i++) {
        counts[m->machines[i].class]++;
        allotments[m->machines[i].class] += (double)m->machines[i].terms.allotment_bytes / 1e9;
    }
    fprintf(f, "{\"classes\":[");
    for (unsigned c = 0; c < SIM_CLASSES; c++) {
        fprintf(f, "%s{\"count\":%u,\"price\":%g,\"allotment_gb\":%.17g,\"gb_per_hour\":%.17g,\"distance\":[",
                c ? "," : "", counts[c], sim_classes[c].price_per_gb, allotments[c],
                counts[c] * floor(0.92 * sim_classes[c].uplink_mbps * 1e6 / 1.062 / RATE_BPS) * RATE_BPS / 8 *
                    3600 * BILLING_OVERHEAD / 1e9);
        for (unsigned p = 0; p < SIM_PLACES; p++) {
            struct relay_region a, b;
            region_parse(sim_places[p].region, &a);
            region_parse(sim_classes[c].region, &b);
            fprintf(f, "%s%g", p ? "," : "", region_distance(a, b));
        }
        fprintf(f, "]}");
    }
    fprintf(f, "],\"hours\":[");
    for (unsigned h = 0; h < m->hour_count; h++) {
        fprintf(f, "%s[", h ? "," : "");
        for (unsigned p = 0; p < SIM_PLACES; p++)
            fprintf(f, "%s%.17g", p ? "," : "", m->hours[h * SIM_PLACES + p]);
        fprintf(f, "]");
    }
    fprintf(f, "],\"by_class_gb\":[");
    for (unsigned c = 0; c < SIM_CLASSES; c++)
        fprintf(f, "%s%.0f", c ? "," : "", m->class_gb[c]);
    fprintf(f, "],\"money\":%.17g,\"distance_money\":%.17g,\"gb\":%.17g}\n", m->money, m->distance_money,
            m->total_gb);
    fclose(f);
}

int sim_months(const struct sim_conf *conf)
{
    struct months *m = xcalloc(1, sizeof *m);
    unsigned days = conf->quick ? 7 : 30, months = 2;
    int64_t wall0 = INT64_C(1767225600); /* 2026-01-01 */
    m->conf = conf;
    m->random.state = conf->seed;
    m->month_s = (int64_t)days * 86400;
    m->stay_s = conf->quick ? 3600 : 7200;
    m->hour_count = days * 24;
    m->hours = xcalloc(m->hour_count * SIM_PLACES, sizeof *m->hours);
    m->machines = xcalloc(conf->relays, sizeof *m->machines);
    m->free_session = NOBODY;
    memset(m->wheel, 0xff, sizeof m->wheel);
    m->measured_from_s = (double)((int64_t)(months - 1) * m->month_s);
    m->start_s = wall0;
    router_week_clear(m->week);
    begin_router(m, wall0);
    for (unsigned i = 0; i < conf->relays; i++) {
        struct machine *r = &m->machines[i];
        r->first = NOBODY;
        /* a shorter month has as much less */
        r->class = sim_terms(i, conf->relays, (double)days / 30, &r->terms);
        if (router_add(m->router, &r->terms, ns(m)) != i) abort();
        report(m, i);
    }
    int64_t steps = (int64_t)months * m->month_s / STEP_S;
    for (int64_t step = 0; step < steps; step++) {
        m->now_s = (double)(step * STEP_S);
        int64_t wall_now = wall0 + step * STEP_S;
        if (step * STEP_S % m->month_s == 0) {
            for (unsigned i = 0; i < conf->relays; i++) {
                settle(m, &m->machines[i]);
                m->machines[i].month_bytes = 0;
                m->machines[i].emptied = 0;
            }
            m->start_s = wall_now;
        }
        for (int64_t s = 0; s < STEP_S; s++)
            end_sessions(m, step * STEP_S + s);
        for (unsigned p = 0; p < SIM_PLACES; p++) {
            double rate = conf->listeners * sim_places[p].share * sim_diurnal(p, wall_now) / m->stay_s;
            /* somebody with many readers mentions the station */
            int64_t surge = step * STEP_S % m->month_s - m->month_s * SURGE_AT / 100;
            if (surge >= 0 && surge < SURGE_S) rate *= SURGE;
            for (unsigned n = sim_poisson(&m->random, rate * STEP_S); n; n--)
                join(m, p);
        }
        /* each relay reports once a minute, all of them spread over it */
        unsigned parts = REPORT_S / STEP_S, part = (unsigned)(step % parts);
        for (unsigned i = part; i < conf->relays; i += parts)
            report(m, i);
        router_tick(m->router, ns(m), wall_now);
        if (step % (300 / STEP_S) == 0) count_places(m, 300);
        if (wall_now % REPORT_S == 0) count_hour(m, wall_now);
        if (conf->restart_h && step && step * STEP_S % ((int64_t)conf->restart_h * 3600) == 0)
            restart(m, wall_now);
    }
    for (unsigned i = 0; i < conf->relays; i++)
        settle(m, &m->machines[i]);
    printf("{\"scenario\":\"months\",\"seed\":%llu,\"relays\":%u,\"days\":%u,\"peak\":%llu,\"joins\":%llu,"
           "\"refused\":%llu,"
           "\"gb\":%.0f,\"money\":%.2f,\"with_distance\":%.2f,\"over_line\":%llu,\"over_allotment\":%llu,"
           "\"moved_for_allotment\":%llu,\"restarts\":%u}\n",
           (unsigned long long)conf->seed, conf->relays, days, (unsigned long long)m->peak,
           (unsigned long long)m->joins, (unsigned long long)m->refused, m->total_gb, m->money,
           m->money + m->distance_money, (unsigned long long)m->over_line,
           (unsigned long long)m->over_allotment, (unsigned long long)m->moved, m->restarts);
    if (conf->dump) dump(m);
    int failed = m->over_line || m->over_allotment;
    router_free(m->router);
    free(m->machines);
    free(m->sessions);
    free(m->hours);
    free(m);
    return failed;
}
