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
#define STEP_S     5
#define INTERVAL_S 60
#define COUNT_S    900
#define SURGE      4.0
#define SURGE_S    (6 * 3600)
#define SURGE_AT_S (MEASURED_S * 55 / 100)
#define RESTART_S  (7 * 86400.0) /* each relay, on average */
#define DOWN_S     60
#define WIPED      0.1 /* of those have an empty disk */

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
    struct relay_region from[SIM_PLACES], to[SIM_CLASSES];
    double gb = RATE_BPS / 8 * COUNT_S * BILLING_OVERHEAD / 1e9;
    for (unsigned p = 0; p < SIM_PLACES; p++)
        region_parse(sim_places[p].region, &from[p]);
    for (unsigned c = 0; c < SIM_CLASSES; c++)
        region_parse(sim_classes[c].region, &to[c]);
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

static void dump(const struct months *m)
{
    FILE *f = fopen(m->conf->dump, "w");
    if (!f) return;
    unsigned counts[SIM_CLASSES] = {0};
    double allotments[SIM_CLASSES] = {0};
    int64_t from_s = m->wall0_s + (int64_t)m->measured_from_s;
    for (unsigned i = 0; i < m->conf->relays; i++) {
        const struct machine *r = &m->machines[i];
        counts[r->class]++;
        allotments[r->class] += share_gb(&r->terms, from_s, from_s + MEASURED_S);
    }
    fprintf(f, "{\"classes\":[");
    for (unsigned c = 0; c < SIM_CLASSES; c++) {
        /* whatever was used of it in fact is the optimum's too */
        double most = allotments[c] > 0 && m->class_gb[c] > allotments[c] ? m->class_gb[c] : allotments[c];
        fprintf(f, "%s{\"count\":%u,\"price\":%g,\"allotment_gb\":%.17g,\"gb_per_hour\":%.17g,\"distance\":[",
                c ? "," : "", counts[c], sim_classes[c].price_per_gb, most,
                counts[c] * floor(0.92 * sim_classes[c].uplink_mbps * 1e6 / LINE_BPS) * RATE_BPS / 8 * 3600 *
                    BILLING_OVERHEAD / 1e9);
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

static int finish(struct months *m)
{
    struct registry_totals t;
    for (uint32_t i = 0; i < m->conf->relays; i++)
        months_report(m, i, 1);
    registry_totals(m->root, months_ns(m), &t);
    uint64_t listeners = 0;
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
           "\"moved_for_allotment\":%llu,\"misplaced\":%llu,\"refused\":%llu,"
           "\"listeners\":{\"truth\":%llu,\"playing\":%llu,\"counted\":%llu,\"opened_less_closed\":%lld}}\n",
           (unsigned long long)m->reports, (unsigned long long)m->lost, (unsigned long long)m->twice,
           (unsigned long long)m->delayed, (unsigned long long)m->answers_lost, (unsigned long long)m->roots,
           (unsigned long long)m->restarts, (unsigned long long)m->wiped,
           (unsigned long long)m->lost_listeners, (unsigned long long)m->moved,
           (unsigned long long)m->misplaced, (unsigned long long)m->refused, (unsigned long long)listeners,
           (unsigned long long)m->listening, (unsigned long long)t.listeners,
           (long long)(t.accepted - t.closed));
    if (m->conf->dump) dump(m);
    return m->over_line || m->over_allotment || listeners != t.listeners || listeners != m->listening ||
           t.accepted - t.closed != listeners;
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
        if (!calm && sim_unit(&m->random) < chance) months_stop(m, i, DOWN_S, sim_unit(&m->random) < WIPED);
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
    m->now_s = (double)(number * m->step_s);
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
    m->machines = xcalloc(conf->relays, sizeof *m->machines);
    m->store = xcalloc(conf->relays, sizeof *m->store);
    m->busy = xcalloc(conf->relays, sizeof *m->busy);
    m->free_session = NOBODY;
    memset(m->wheel, 0xff, sizeof m->wheel);
    for (uint32_t i = 0; i < conf->relays; i++)
        months_machine(m, i);
    months_root_start(m);
    for (int64_t number = 0; number * m->step_s <= (int64_t)m->ends_s; number++)
        step(m, number);
    for (uint32_t i = 0; i < conf->relays; i++)
        months_settle(m, &m->machines[i]);
    int failed = finish(m);
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
