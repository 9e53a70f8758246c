/* Billing months: sessions come and go by the hour of the day, relays cost and have allotments, whose months
 * begin on different days. The root is the registry, the books and what is stored of them; relays have their
 * ledger, their admission and their reports, which get lost, come twice or late. Relays restart, some with an
 * empty disk; a tenth of them is cut off; the root restarts, once without its store.
 *
 * Reports come once a minute here unless --interval says otherwise (limits of silence are longer by as much),
 * as plain values: the same second half of the registry that reads JSON in the crowd. Against it stands what
 * the same hours' traffic would have cost with everything known beforehand (tests/sim/optimum.py). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "tests/sim/months_internal.h"

#define WALL0_S    INT64_C(1769299200) /* 2026-01-25: a week to learn in */
#define LEARN_S    (7 * 86400)
#define MEASURED_S (28 * 86400) /* February */
#define STAY_S     7200
#define CALM_S     3600 /* at the end, so that sums can be compared */
#define STEP_S     2
#define INTERVAL_S 60
#define COUNT_S    900
#define SURGE      4.0
#define SURGE_S    (6 * 3600)
#define SURGE_AT_S (MEASURED_S * 55 / 100)
#define RESTART_S  (7 * 86400.0) /* each relay, on average */
#define WIPED      0.1           /* of those have an empty disk */
#define IN_ORDER   0.5           /* and so many are terminated, and move their listeners before they end */
#define ROOT_PRICE 0.01
#define ROOT_MBPS  1000

void months_set_now(struct months *m, double now_s)
{
    m->now_s = now_s;
    m->boot_ns = months_ns(m);
    m->wall_ns = months_wall_s(m) * SIM_S;
}

int64_t months_ns(const struct months *m)
{
    return (int64_t)((m->now_s + 1000) * 1e9);
}

int64_t months_wall_s(const struct months *m)
{
    return m->wall0_s + (int64_t)m->now_s;
}

/* What goes wrong, in hours of the measured time: a share of the relays, or the root. */

static void cut(struct months *m, uint32_t first, uint32_t every, double hours)
{
    for (uint32_t i = first; i < m->conf->relays; i += every)
        m->machines[i].cut_s = m->now_s + hours * 3600;
}

static void stop(struct months *m, uint32_t first, uint32_t every, double hours, int wiped)
{
    for (uint32_t i = first; i < m->conf->relays; i += every)
        months_stop(m, i, hours * 3600, wiped);
}

static void accidents(struct months *m)
{
    double hour = (m->now_s - m->measured_from_s) / 3600;
    if (hour != floor(hour)) return;
    switch ((int)hour) {
    case 3 * 24 + 18: /* an evening */
        cut(m, 0, 10, 6);
        break;
    case 5 * 24 + 12:
        stop(m, 7, 20, 2, 0);
        break;
    case 8 * 24 + 12:
        months_root_stop(m, 30, 0);
        break;
    case 11 * 24 + 12: /* its disk is lost: what relays know is all there is */
        months_root_stop(m, 30, 1);
        break;
    case 19 * 24 + 9:
        stop(m, 13, 20, 1.0 / 6, 1);
        break;
    case 22 * 24 + 20:
        cut(m, 3, 10, 2);
        break;
    case 22 * 24 + 21: /* amid that */
        months_root_stop(m, 30, 0);
        break;
    }
}

/* Sums */

/* Where listeners are, as the hour's traffic, and what their way is worth. */
static void count_places(struct months *m)
{
    unsigned hour = (unsigned)((m->now_s - m->measured_from_s) / 3600);
    if (m->now_s < m->measured_from_s || hour >= m->hour_count) return;
    struct relay_region from[SIM_PLACES], to[SIM_CLASSES + 1];
    double gb = RATE_BPS / 8 * COUNT_S * BILLING_OVERHEAD / 1e9;
    for (unsigned p = 0; p < SIM_PLACES; p++)
        region_parse(sim_places[p].region, &from[p]);
    for (unsigned c = 0; c < m->class_count; c++)
        region_parse(m->classes[c].region, &to[c]);
    region_parse(m->machines[m->conf->relays].terms.region, &to[m->class_count]);
    for (uint32_t at = 0; at < m->session_count; at++) {
        const struct session *s = &m->sessions[at];
        if (s->relay == NOBODY) continue;
        m->hours[hour * SIM_PLACES + s->place] += gb;
        m->distance_money += gb * region_distance(from[s->place], to[m->machines[s->relay].class]);
    }
}

/* What of its allotment falls into the measured time, by the share of its billing months. */
static double share_gb(const struct relay_terms *t, int64_t from_s, int64_t to_s)
{
    double share = 0;
    struct billing_month month = billing_month(from_s, t->reset_day);
    for (; month.start_s < to_s; month = billing_after(&month, t->reset_day))
        share += billing_gone(&month, to_s) - billing_gone(&month, from_s);
    return share * (double)t->allotment_bytes / 1e9;
}

/* The kinds of relays, then the root. */
static void dump_class(const struct months *m, FILE *f, unsigned class, unsigned count, double allotment_gb,
                       const struct relay_terms *terms)
{
    struct relay_region a, b;
    double most = floor(0.92 * (double)terms->uplink_bps / LINE_BPS);
    /* whatever was used of an allotment in fact is the optimum's too */
    if (allotment_gb > 0 && m->class_gb[class] > allotment_gb) allotment_gb = m->class_gb[class];
    if (class == m->class_count) most = m->conf->root_places;
    fprintf(f,
            "%s{\"count\":%u,\"root\":%d,\"price\":%g,\"allotment_gb\":%.17g,\"gb_per_hour\":%.17g,"
            "\"distance\":[",
            class ? "," : "", count, class == m->class_count, terms->price_per_gb, allotment_gb,
            count * most * RATE_BPS / 8 * 3600 * BILLING_OVERHEAD / 1e9);
    region_parse(terms->region, &b);
    for (unsigned p = 0; p < SIM_PLACES; p++) {
        region_parse(sim_places[p].region, &a);
        fprintf(f, "%s%g", p ? "," : "", region_distance(a, b));
    }
    fprintf(f, "]}");
}

static void dump(const struct months *m)
{
    FILE *f = fopen(m->conf->dump, "w");
    if (!f) return;
    unsigned counts[SIM_CLASSES + 1] = {0}, example[SIM_CLASSES + 1] = {0};
    double allotments[SIM_CLASSES + 1] = {0};
    int64_t from_s = m->wall0_s + (int64_t)m->measured_from_s;
    for (unsigned i = 0; i <= m->conf->relays; i++) {
        const struct machine *r = &m->machines[i];
        counts[r->class]++;
        example[r->class] = i;
        allotments[r->class] += share_gb(&r->terms, from_s, from_s + MEASURED_S);
    }
    fprintf(f, "{\"reserve\":%d,\"classes\":[", !m->conf->no_reserve);
    for (unsigned c = 0; c <= m->class_count; c++)
        dump_class(m, f, c, counts[c], allotments[c], &m->machines[example[c]].terms);
    fprintf(f, "],\"hours\":[");
    for (unsigned h = 0; h < m->hour_count; h++) {
        fprintf(f, "%s[", h ? "," : "");
        for (unsigned p = 0; p < SIM_PLACES; p++)
            fprintf(f, "%s%.17g", p ? "," : "", m->hours[h * SIM_PLACES + p]);
        fprintf(f, "]");
    }
    fprintf(f, "],\"by_class_gb\":[");
    for (unsigned c = 0; c <= m->class_count; c++)
        fprintf(f, "%s%.0f", c ? "," : "", m->class_gb[c]);
    fprintf(f, "],\"money\":%.17g,\"distance_money\":%.17g,\"gb\":%.17g}\n", m->money, m->distance_money,
            m->total_gb);
    fclose(f);
}

static void print_drains(const struct months *m)
{
    printf("\"drain\":{\"times\":%llu,\"terminated\":%llu,\"longest_s\":%.1f,\"for_allotment\":%llu,"
           "\"for_restart\":%llu,\"let_go\":%llu,\"stranded\":%llu,\"cut\":%llu},"
           "\"by_reserve\":{\"kept_away\":%llu,\"turned_away\":%llu},"
           "\"at_the_root\":{\"joins\":%llu,\"all\":%llu,\"gb\":%.0f}}\n",
           (unsigned long long)m->drains, (unsigned long long)m->terminated, m->longest_drain_s,
           (unsigned long long)m->moved[0], (unsigned long long)m->moved[1], (unsigned long long)m->let_go,
           (unsigned long long)m->stranded, (unsigned long long)m->cut, (unsigned long long)m->kept_away,
           (unsigned long long)m->kept_refused, (unsigned long long)m->at_root,
           (unsigned long long)m->machines[m->conf->relays].accepted, m->class_gb[m->class_count]);
}

static int finish(struct months *m)
{
    struct registry_totals t;
    for (uint32_t i = 0; i < m->conf->relays; i++)
        months_report(m, i, 1);
    registry_totals(m->root, months_ns(m), &t);
    uint64_t listeners = 0, at_root = m->machines[m->conf->relays].listeners;
    for (uint32_t i = 0; i < m->conf->relays; i++)
        listeners += m->machines[i].listeners;
    printf("{\"scenario\":\"months\",\"seed\":%llu,\"relays\":%u,\"interval_s\":%d,\"joins\":%llu,"
           "\"redirects\":%llu,\"peak\":%llu,\"gb\":%.0f,\"money\":%.2f,\"with_distance\":%.2f,"
           "\"over_line\":%llu,\"over_allotment\":%llu,\"most_used_of_an_allotment\":%.4f,"
           "\"ledger_off_at_a_months_end\":%.6f,",
           (unsigned long long)m->conf->seed, m->conf->relays, (int)m->interval_s,
           (unsigned long long)m->joins, (unsigned long long)m->redirects, (unsigned long long)m->peak,
           m->total_gb, m->money, m->money + m->distance_money, (unsigned long long)m->over_line,
           (unsigned long long)m->over_allotment, m->worst_used, m->worst_ledger);
    printf("\"reports\":{\"made\":%llu,\"lost\":%llu,\"twice\":%llu,\"late\":%llu,\"answers_lost\":%llu},"
           "\"roots\":%llu,\"relay_restarts\":%llu,\"ledgers_wiped\":%llu,\"listeners_lost_then\":%llu,"
           "\"misplaced\":%llu,\"refused\":%llu,"
           "\"listeners\":{\"truth\":%llu,\"playing\":%llu,\"counted\":%llu,\"opened_less_closed\":%lld},",
           (unsigned long long)m->reports, (unsigned long long)m->lost, (unsigned long long)m->twice,
           (unsigned long long)m->delayed, (unsigned long long)m->answers_lost, (unsigned long long)m->roots,
           (unsigned long long)m->restarts, (unsigned long long)m->wiped,
           (unsigned long long)m->lost_listeners, (unsigned long long)m->misplaced,
           (unsigned long long)m->refused, (unsigned long long)listeners,
           (unsigned long long)(m->listening - at_root), (unsigned long long)t.listeners,
           (long long)(t.accepted - t.closed));
    print_drains(m);
    if (m->conf->dump) dump(m);
    return m->over_line || m->over_allotment || listeners != t.listeners ||
           listeners + at_root != m->listening || t.accepted - t.closed != listeners;
}

/* Time */

static void join(struct months *m)
{
    int64_t wall_s = months_wall_s(m), surge_s = (int64_t)(m->now_s - m->measured_from_s) - SURGE_AT_S;
    for (unsigned p = 0; p < SIM_PLACES; p++) {
        double rate = m->conf->listeners * sim_places[p].share * sim_diurnal(p, wall_s) / m->stay_s;
        /* somebody with many readers mentions the station */
        if (surge_s >= 0 && surge_s < SURGE_S) rate *= SURGE;
        for (unsigned n = sim_poisson(&m->random, rate * (double)m->step_s); n; n--)
            months_join(m, p);
    }
}

static void relays(struct months *m, int64_t step)
{
    unsigned parts = (unsigned)(m->interval_s / m->step_s), part = (unsigned)(step % parts);
    double chance = (double)m->interval_s / RESTART_S;
    int calm = m->now_s > m->ends_s - CALM_S;
    months_step(m);
    for (uint32_t i = part; i < m->conf->relays; i += parts) {
        months_report(m, i, calm);
        if (calm || sim_unit(&m->random) >= chance) continue;
        double how = sim_unit(&m->random);
        if (how < IN_ORDER)
            months_terminate(m, i);
        else
            months_stop(m, i, DOWN_S, how >= 1 - WIPED);
    }
}

static void compare_ledgers(struct months *m)
{
    for (uint32_t i = 0; m->root && i < m->conf->relays; i++) {
        struct machine *r = &m->machines[i];
        if (!r->settled || r->cut_s > m->now_s || r->back_s > 0 ||
            months_wall_s(m) % 86400 < 4 * m->interval_s)
            continue;
        double off = months_off(m, i);
        if (off > m->worst_ledger) m->worst_ledger = off;
        r->settled = 0;
    }
}

static void step(struct months *m, int64_t number)
{
    int64_t every_s = (int64_t)m->conf->restart_h * 3600;
    months_timers(m, (double)(number * m->step_s));
    if (!m->root && m->now_s >= m->root_back_s) months_root_start(m);
    if (months_wall_s(m) % 86400 == 0) months_midnight(m);
    accidents(m);
    if (every_s && number && m->root && (int64_t)m->now_s % every_s == 0 && m->now_s < m->ends_s - CALM_S)
        months_root_stop(m, 30, 0);
    for (int64_t s = 0; s < m->step_s; s++)
        months_end_sessions(m, number * m->step_s + s);
    months_try_again(m);
    join(m);
    relays(m, number);
    if (m->root) registry_tick(m->root, months_ns(m), months_wall_s(m));
    if ((int64_t)m->now_s % COUNT_S < m->step_s) count_places(m);
    if ((int64_t)m->now_s % STORED_S >= m->step_s) return;
    months_store(m);
    compare_ledgers(m);
}

/* The root as one that serves listeners: dearer than relays, as whoever puts relays beside it finds it. */
static void the_root_serves(struct months *m)
{
    struct machine *r = &m->machines[m->conf->relays];
    r->class = m->class_count;
    r->first[0] = r->first[1] = NOBODY;
    r->terms = (struct relay_terms){.name = "root",
                                    .reset_day = 1,
                                    .region = "eu-de",
                                    .price_per_gb = ROOT_PRICE,
                                    .uplink_bps = (uint64_t)(ROOT_MBPS * 1e6)};
}

int sim_months(const struct sim_conf *conf)
{
    struct months *m = xcalloc(1, sizeof *m);
    log_set_level(LOG_LEVEL_ERROR); /* that an allotment is used up is no news here */
    m->conf = conf;
    m->random.state = conf->seed;
    m->wall0_s = WALL0_S;
    m->interval_s = conf->interval_s ? conf->interval_s : INTERVAL_S;
    m->step_s = m->interval_s < STEP_S ? m->interval_s : STEP_S;
    m->stay_s = conf->stay_s ? conf->stay_s : STAY_S;
    m->measured_from_s = LEARN_S;
    m->ends_s = LEARN_S + MEASURED_S;
    m->hour_count = MEASURED_S / 3600;
    m->hours = xcalloc(m->hour_count * SIM_PLACES, sizeof *m->hours);
    m->machines = xcalloc(conf->relays + 1, sizeof *m->machines);
    m->classes = conf->one_large ? sim_large_classes : sim_classes;
    m->class_count = conf->one_large ? SIM_LARGE_CLASSES : SIM_CLASSES;
    m->store = xcalloc(conf->relays, sizeof *m->store);
    m->busy = xcalloc(conf->relays, sizeof *m->busy);
    m->free_session = NOBODY;
    memset(m->wheel, 0xff, sizeof m->wheel);
    months_drains_start(m);
    for (uint32_t i = 0; i < conf->relays; i++)
        months_machine(m, i);
    the_root_serves(m);
    months_root_start(m);
    for (int64_t number = 0; number * m->step_s <= (int64_t)m->ends_s; number++)
        step(m, number);
    for (uint32_t i = 0; i <= conf->relays; i++)
        months_settle(m, &m->machines[i]);
    int failed = finish(m);
    months_drains_end(m);
    registry_free(m->root);
    books_free(m->books);
    for (uint32_t i = 0; i < conf->relays; i++)
        admission_free(m->machines[i].admission);
    free(m->machines);
    free(m->store);
    free(m->busy);
    free(m->sessions);
    free(m->waiting);
    free(m->hours);
    free(m);
    return failed;
}
