/* The relays of the months: counters, the ledger and its file, admission, reports and what they are answered.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "tests/sim/months_internal.h"

#define LOST_SHARE  0.05 /* of reports, and of their answers */
#define TWICE_SHARE 0.02
#define LATE_SHARE  0.02 /* so late that the next comes before */
#define DAY_S       86400
#define HURRY_STEPS 2

void months_settle(struct months *m, struct machine *r)
{
    double seconds = m->now_s - r->changed_s, bytes = r->listeners * RATE_BPS / 8 * seconds;
    r->changed_s = m->now_s;
    r->bytes += bytes;
    r->month_bytes += bytes * BILLING_OVERHEAD;
    if (m->now_s <= m->measured_from_s) return;
    double gb = bytes * BILLING_OVERHEAD / 1e9;
    m->money += gb * r->terms.price_per_gb;
    m->total_gb += gb;
    m->class_gb[r->class] += gb;
}

/* The program starts: it reads what is on its disk. */
static void start(struct months *m, struct machine *r)
{
    int ended;
    char *text = ledger_sum_text(&r->disk, 0);
    json_t *file = json_parse(text, strlen(text), LEDGER_FILE_MAX, NULL);
    if (!file || ledger_sum_read(&r->ledger, file, &ended)) abort();
    json_decref(file);
    free(text);
    r->bytes = 0;
    r->accepted = r->closed = r->seq = 0;
    r->life++;
    r->moving = r->stops = r->ended = 0;
    elsewhere_free(r->elsewhere);
    r->elsewhere = elsewhere_new();
    r->drain = months_drain_new(m, r);
    admission_free(r->admission);
    r->admission = admission_new(MAX_PLACES);
}

void months_machine(struct months *m, uint32_t relay)
{
    struct machine *r = &m->machines[relay];
    int64_t now_s = months_wall_s(m);
    r->first[0] = r->first[1] = NOBODY;
    r->class = sim_terms(m->classes, m->class_count, relay, m->conf->relays, 1, &r->terms);
    r->terms.reset_day = 1 + (int)(relay * 11 % BILLING_DAY_MAX);
    snprintf(r->session, sizeof r->session, "%08x", relay);
    snprintf(r->url, sizeof r->url, "http://%s.example:8000", r->terms.name);
    /* what was sent before all begins: as much as of the month has gone; the root has it, and the relay */
    struct billing_month month = billing_month(now_s, r->terms.reset_day);
    r->month_bytes = 0.95 * (double)r->terms.allotment_bytes * billing_gone(&month, now_s);
    r->month_ends_s = month.end_s;
    r->disk.reset_day = r->terms.reset_day;
    billing_add(&r->disk.tally, now_s - DAY_S, month.start_s < now_s ? (uint64_t)r->month_bytes : 0);
    if (month.start_s == now_s) r->month_bytes = 0;
    m->store[relay].tally = r->disk.tally;
    start(m, r);
}

static void is_busy(struct months *m, uint32_t relay)
{
    if (m->machines[relay].busy) return;
    m->machines[relay].busy = 1;
    m->busy[m->busy_count++] = relay;
}

void months_stop(struct months *m, uint32_t relay, double seconds, int wiped)
{
    struct machine *r = &m->machines[relay];
    if (r->back_s > 0) return;
    m->restarts++;
    m->wiped += wiped != 0;
    months_lose(m, relay);
    drain_free(r->drain);
    r->drain = NULL;
    if (wiped) r->disk = (struct ledger_sum){.reset_day = BILLING_DAY_MIN};
    r->late_s = 0;
    r->back_s = m->now_s + seconds;
    is_busy(m, relay);
}

void months_hurry(struct months *m, uint32_t relay)
{
    m->machines[relay].hurry_s = m->now_s + HURRY_STEPS * (double)m->step_s;
    is_busy(m, relay);
}

void months_terminate(struct months *m, uint32_t relay)
{
    struct machine *r = &m->machines[relay];
    if (r->back_s > 0 || r->cut_s > m->now_s || r->stops) return;
    r->stops = 1;
    r->stops_s = m->now_s;
    m->terminated++;
    drain_begin(r->drain, DRAIN_SIGNAL, DRAIN_S);
}

static void take_answer(struct months *m, uint32_t relay, const struct answer *a)
{
    struct machine *r = &m->machines[relay];
    r->ledger.reset_day = r->terms.reset_day;
    ledger_sum_told(&r->ledger, a->month.begins_s, a->month.sent_bytes, months_wall_s(m));
    if (a->tickets)
        admission_told(r->admission, a->ticket.epoch, a->ticket.key, a->ticket.clock, a->ticket.floor,
                       months_ns(m));
    elsewhere_set(r->elsewhere, a->elsewhere, a->room, a->elsewhere_count);
    if (a->drain)
        drain_begin(r->drain, DRAIN_REPORT, DRAIN_S);
    else
        drain_end(r->drain, DRAIN_REPORT);
    drain_move(r->drain, a->move, a->move_s);
}

/* It has ended in order: what it counted is on its disk. */
static void end(struct months *m, uint32_t relay)
{
    struct machine *r = &m->machines[relay];
    months_settle(m, r);
    ledger_sum_sent(&r->ledger, (uint64_t)(r->bytes * BILLING_OVERHEAD), months_wall_s(m));
    r->disk = r->ledger;
    months_stop(m, relay, DOWN_S, 0);
}

/* While listeners are moved, their relay and those that get them report at each step, as all do every 2 s. */
static int hurries(const struct months *m, const struct machine *r)
{
    return r->back_s <= 0 && m->interval_s > m->step_s &&
           (m->now_s < r->hurry_s || (r->listeners && (r->moving || r->draining != NODE_OPEN)));
}

static void step(struct months *m, uint32_t relay)
{
    struct machine *r = &m->machines[relay];
    struct answer answer;
    if (r->back_s > 0 && m->now_s >= r->back_s) {
        r->back_s = 0;
        start(m, r);
    }
    if (r->late_s > 0 && m->now_s >= r->late_s) { /* an answer this late is nobody's */
        r->late_s = 0;
        months_heard(m, relay, &r->late, &answer);
    }
    if (r->ended) end(m, relay);
    if (hurries(m, r)) months_report(m, relay, 0);
}

void months_step(struct months *m)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->busy_count; i++) {
        uint32_t relay = m->busy[i];
        struct machine *r = &m->machines[relay];
        step(m, relay);
        r->busy = r->back_s > 0 || r->late_s > 0 || hurries(m, r);
        if (r->busy) m->busy[kept++] = relay;
    }
    m->busy_count = kept;
}

static void make(struct months *m, struct machine *r, struct told *out)
{
    months_settle(m, r);
    ledger_sum_sent(&r->ledger, (uint64_t)(r->bytes * BILLING_OVERHEAD), months_wall_s(m));
    *out = (struct told){.seq = (int64_t)++r->seq,
                         .listeners = r->listeners,
                         .accepted = r->accepted,
                         .closed = r->closed,
                         .bytes = (uint64_t)r->bytes,
                         .life = r->life,
                         .draining = r->draining != NODE_OPEN};
    out->month_bytes = ledger_sum_bytes(&r->ledger, months_wall_s(m), &out->since_s);
    out->counts = !admission_counts(r->admission, &out->tickets);
    if (r->seq % (uint64_t)(STORED_S / m->interval_s) == 0) r->disk = r->ledger;
    double used = r->terms.allotment_bytes ? r->month_bytes / (double)r->terms.allotment_bytes : 0;
    if (used > m->worst_used) m->worst_used = used;
    if (used <= 1 || r->emptied) return;
    m->over_allotment++;
    r->emptied = 1;
}

void months_report(struct months *m, uint32_t relay, int calm)
{
    struct machine *r = &m->machines[relay];
    struct told told;
    struct answer answer;
    if (r->back_s > 0) return;
    make(m, r, &told);
    m->reports++;
    if (r->cut_s > m->now_s || (!calm && sim_unit(&m->random) < LOST_SHARE)) {
        m->lost++;
        return;
    }
    if (!calm && r->late_s <= 0 && sim_unit(&m->random) < LATE_SHARE) {
        r->late = told;
        r->late_s = m->now_s + 1.5 * (double)m->interval_s;
        is_busy(m, relay);
        m->delayed++;
        return;
    }
    int heard = months_heard(m, relay, &told, &answer);
    if (!calm && sim_unit(&m->random) < TWICE_SHARE) {
        heard = months_heard(m, relay, &told, &answer);
        m->twice++;
    }
    if (heard && (calm || sim_unit(&m->random) >= LOST_SHARE))
        take_answer(m, relay, &answer);
    else
        m->answers_lost++;
}

void months_midnight(struct months *m)
{
    for (uint32_t i = 0; i < m->conf->relays; i++) {
        struct machine *r = &m->machines[i];
        if (months_wall_s(m) < r->month_ends_s) continue;
        months_settle(m, r);
        r->before_bytes = r->month_bytes;
        r->month_bytes = 0;
        r->emptied = 0;
        r->month_ends_s = billing_month(months_wall_s(m), r->terms.reset_day).end_s;
        r->settled = 1; /* to be compared when all reports of the month have come */
    }
}
