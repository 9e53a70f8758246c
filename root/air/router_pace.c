/* Traffic: a relay's monthly allotment, and what a GB of it is worth now.
 *
 * Two things are kept apart. That the allotment is never exceeded is a matter of slots: nobody is sent where
 * what is left does not carry those who are there to the end of their stay, with four deviations to spare.
 * That it lasts the month is a matter of cost: each minute a GB of the allotment becomes dearer when the
 * relay sends more than its even share of what is left, and cheaper when it sends less. Even means: as the
 * station's own traffic goes over a week, learned by the hour. */
#include <math.h>
#include <string.h>

#include "common/billing.h"
#include "root/air/router_internal.h"

#define KEPT_SHARE  0.01 /* of the allotment: what is seen late */
#define MOVE_S      90   /* in which present listeners can be moved elsewhere */
#define DEVIATIONS  4
#define MINUTE_S    60
#define PACE_GAIN   0.004 /* a minute, for a rate off by its own size */
#define PACE_RAMP   0.04  /* while it is next to nothing: a root that has just started */
#define PACE_SMALL  1e-3
#define PACE_DOWN   (-1.0)
#define PACE_UP     3.0
#define PACE_LEAST  1e-5
#define PACE_MOST   1.0
#define HOUR_LEAST  0.05
#define WEEK_WEIGHT 0.3 /* of this week's hour against those before */
#define HOUR_SEEN   30  /* minutes of an hour that have to be seen for it to be known */

uint64_t pace_used(const struct router_relay *relay)
{
    uint64_t since = relay->bytes_out > relay->out_base ? relay->bytes_out - relay->out_base : 0;
    return relay->month_base + (uint64_t)((double)since * BILLING_OVERHEAD);
}

static double left_bytes(const struct router_relay *relay)
{
    return (double)relay->allotment_bytes * (1 - KEPT_SHARE) - (double)pace_used(relay);
}

/* n listeners take n * stay on average and sqrt(n) * stay more or less. */
uint32_t pace_slots(const struct router *r, const struct router_relay *relay)
{
    if (!relay->allotment_bytes) return UINT32_MAX;
    double stay_s = r->residual_s, left = left_bytes(relay);
    if (relay->month_ends_s > r->wall_s && (double)(relay->month_ends_s - r->wall_s) < stay_s)
        stay_s = (double)(relay->month_ends_s - r->wall_s);
    double each = router_slot_rate(r, relay) / 8 * BILLING_OVERHEAD * stay_s;
    if (left <= 0 || each <= 0) return 0;
    double root = sqrt(DEVIATIONS * DEVIATIONS / 4.0 + left / each) - DEVIATIONS / 2.0;
    double n = root * root;
    return n > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)n;
}

int pace_spent(const struct router *r, const struct router_relay *relay)
{
    if (!relay->allotment_bytes) return 0;
    double left = (double)relay->allotment_bytes * (1 - KEPT_SHARE / 2) - (double)pace_used(relay);
    return left <= (double)relay->estimate * router_slot_rate(r, relay) / 8 * BILLING_OVERHEAD * MOVE_S;
}

/* Of an hour since 1970: 1 is the average one. */
static double weight_at(const struct router *r, int64_t hour)
{
    double seen = r->week[hour % ROUTER_WEEK_HOURS];
    if (seen < 0 || r->week_mean <= 0) return 1;
    return seen > HOUR_LEAST * r->week_mean ? seen / r->week_mean : HOUR_LEAST;
}

/* The station's traffic from an hour on until the end, in hours of the average one. */
static double weight_until(const struct router *r, int64_t from_s, int64_t to_s)
{
    int64_t hour = from_s / 3600, end = to_s / 3600;
    double sum = 0, week = 0;
    for (int i = 0; i < ROUTER_WEEK_HOURS; i++)
        week += weight_at(r, i);
    sum += week * (double)((end - hour) / ROUTER_WEEK_HOURS);
    for (int64_t h = end - (end - hour) % ROUTER_WEEK_HOURS; h < end; h++)
        sum += weight_at(r, h);
    /* the part of this hour that is over */
    return sum - weight_at(r, hour) * (double)(from_s % 3600) / 3600;
}

static void pace(struct router *r, struct router_relay *relay, double hours)
{
    double left = left_bytes(relay);
    if (left <= 0 || hours <= 0) return;
    double now = weight_at(r, r->wall_s / 3600);
    double target_bps = left * 8 / 3600 * now / hours;
    double rate_bps = (double)relay->estimate * router_slot_rate(r, relay) * BILLING_OVERHEAD;
    double off = target_bps > 0 ? rate_bps / target_bps - 1 : PACE_UP;
    off = off > PACE_UP ? PACE_UP : off < PACE_DOWN ? PACE_DOWN : off;
    double value = (double)relay->pacing;
    if (value < PACE_LEAST) value = PACE_LEAST;
    value *= exp((off > 0 && value < PACE_SMALL ? PACE_RAMP : PACE_GAIN) * off);
    relay->pacing = (float)(value > PACE_MOST ? PACE_MOST : value < PACE_LEAST ? PACE_LEAST : value);
}

/* The week */

void router_week_clear(double week[ROUTER_WEEK_HOURS])
{
    for (int i = 0; i < ROUTER_WEEK_HOURS; i++)
        week[i] = -1;
}

void router_week_learn(double week[ROUTER_WEEK_HOURS], int64_t hour, double listeners)
{
    double *known = &week[hour % ROUTER_WEEK_HOURS];
    *known = *known < 0 ? listeners : *known + WEEK_WEIGHT * (listeners - *known);
}

static void set_mean(struct router *r)
{
    double sum = 0;
    int known = 0;
    for (int i = 0; i < ROUTER_WEEK_HOURS; i++) {
        if (r->week[i] < 0) continue;
        sum += r->week[i];
        known++;
    }
    r->week_mean = known ? sum / known : 0;
}

void router_set_week(struct router *r, const double week[ROUTER_WEEK_HOURS])
{
    memcpy(r->week, week, sizeof r->week);
    set_mean(r);
}

/* What an hour of the week is like: the listeners seen at its minutes. Of one in which the root started, or
 * stood still for long, too little was seen. */
static void learn(struct router *r)
{
    int64_t hour = r->wall_s / 3600;
    if (hour != r->learned_hour) {
        if (r->listening_samples >= HOUR_SEEN) {
            router_week_learn(r->week, r->learned_hour, r->listening_sum / r->listening_samples);
            set_mean(r);
        }
        r->listening_sum = 0;
        r->listening_samples = 0;
    }
    r->learned_hour = hour;
    for (uint32_t i = 0; i < r->high; i++) {
        if (r->relays[i].taken && r->relays[i].state == ROUTER_ALIVE)
            r->listening_sum += r->relays[i].estimate;
    }
    r->listening_samples++;
}

void pace_recall(struct router_relay *relay, double pacing)
{
    if (pacing >= PACE_LEAST && pacing <= PACE_MOST) relay->pacing = (float)pacing;
}

void pace_tick(struct router *r, int64_t now_ns, int64_t wall_s)
{
    int64_t since = wall_s - r->paced_s, ends = 0;
    double hours = 0;
    r->wall_s = wall_s;
    if (since >= 0 && since < MINUTE_S) return;
    r->paced_s = wall_s;
    learn(r);
    for (uint32_t i = 0; i < r->high; i++) {
        struct router_relay *relay = &r->relays[i];
        if (!relay->taken || !relay->allotment_bytes || relay->month_ends_s <= wall_s) continue;
        if (relay->month_ends_s != ends) {
            ends = relay->month_ends_s;
            hours = weight_until(r, wall_s, ends);
        }
        pace(r, relay, hours);
        router_review(r, i, now_ns);
    }
}

void router_set_month(struct router *r, uint32_t slot, uint64_t sent_bytes, int64_t begins_s, int64_t ends_s,
                      int64_t now_ns)
{
    struct router_relay *relay = &r->relays[slot];
    relay->month_base = sent_bytes;
    relay->out_base = relay->bytes_out;
    relay->month_begins_s = begins_s;
    relay->month_ends_s = ends_s;
    router_review(r, slot, now_ns);
}

void router_tick(struct router *r, int64_t now_ns, int64_t wall_s)
{
    router_advance(r, now_ns);
    pace_tick(r, now_ns, wall_s);
}

void router_set_stay(struct router *r, double stay_s, double residual_s)
{
    if (stay_s > 0) r->stay_s = stay_s;
    if (residual_s > 0) r->residual_s = residual_s;
}
