/* A crowd within a minute, and everything that goes wrong meanwhile: reports late, twice, out of order or
 * lost, relays cut off from the root, relays that die, a root that starts anew. Every report is a JSON value
 * through the registry, every redirect a signed ticket that the relay's admission checks. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "tests/sim/crowd_internal.h"

static int64_t wall_s(const struct crowd *c)
{
    return 1767225600 + c->now_ns / SIM_S;
}

void crowd_later(struct crowd *c, double seconds, uint32_t kind, uint32_t who, void *what)
{
    sim_push(&c->queue,
             (struct sim_event){
                 .at_ns = c->now_ns + (int64_t)(seconds * 1e9) + 1, .kind = kind, .who = who, .what = what});
}

double crowd_way_s(struct crowd *c)
{
    return 0.01 + sim_exponential(&c->random, 0.05);
}

static void start_root(struct crowd *c)
{
    struct registry_conf conf = {.router = {.rate_bps = RATE_BPS}};
    for (size_t i = 0; i < sizeof conf.master; i++)
        conf.master[i] = (unsigned char)sim_bits(&c->random);
    c->root = registry_new(&conf);
    c->roots++;
    registry_set_mounts(c->root, &(struct mount_spec){.name = "stream", .kbps = 128}, 1);
    for (unsigned i = 0; i < c->conf->relays; i++) {
        if (registry_enrol(c->root, &c->edges[i].terms, NULL, REGISTRY_FOREVER, c->now_ns, NULL)) abort();
    }
    registry_tick(c->root, c->now_ns, wall_s(c));
}

/* What goes wrong */

static void die(struct crowd *c, uint32_t relay)
{
    c->edges[relay].dead = 1;
    crowd_lose(c, relay);
}

static void revive(struct crowd *c, uint32_t relay)
{
    struct edge *e = &c->edges[relay];
    e->dead = 0;
    e->life++;
    e->seq = e->accepted = e->closed = e->bytes = 0;
    admission_free(e->admission);
    e->admission = admission_new(e->max);
}

enum { CROWD_COMES, CROWD_IS_HERE, ROOT_FALLS, ROOT_RISES, CUT, HEALED, DEATHS, LIVES, CALM };

static void phase(struct crowd *c, uint32_t which)
{
    double steady = c->conf->listeners / STAY_S * 2.5; /* as many as leave soon after they came */
    switch (which) {
    case CROWD_COMES: /* x50 in a minute, of people who stay as long as others */
        c->arrivals_per_s = c->conf->listeners * 0.98 / 60;
        break;
    case CROWD_IS_HERE:
        c->arrivals_per_s = steady;
        break;
    case ROOT_FALLS:
        registry_free(c->root);
        c->root = NULL;
        break;
    case ROOT_RISES:
        start_root(c);
        break;
    case CUT:
    case HEALED:
        for (uint32_t i = 0; i < c->conf->relays; i += 10)
            c->edges[i].cut = which == CUT;
        break;
    case DEATHS:
        for (uint32_t i = 7; i < c->conf->relays; i += 20)
            die(c, i);
        break;
    case LIVES:
        for (uint32_t i = 7; i < c->conf->relays; i += 20)
            revive(c, i);
        break;
    case CALM:
        c->arrivals_per_s = 0;
    }
}

/* How far the choice's own count is from the truth. */
static void compare(struct crowd *c)
{
    struct registry_view v;
    struct router_view r;
    if (!c->root) return;
    for (size_t i = 0; !registry_view(c->root, i, c->now_ns, &v); i++) {
        const struct edge *e = &c->edges[strtoul(v.name + 1, NULL, 10)];
        if (!v.healthy || e->cut || e->dead) continue;
        router_view(registry_router(c->root), v.slot, c->now_ns, &r);
        uint64_t error = r.estimate > e->listeners ? r.estimate - e->listeners : e->listeners - r.estimate;
        c->error_sum += (double)error;
        c->listening_sum += e->listeners;
        if (error > c->worst_error) c->worst_error = error;
    }
}

static void second(struct crowd *c)
{
    if (c->now_ns < c->end_ns) crowd_later(c, 1, SECOND, 0, NULL);
    for (unsigned n = sim_poisson(&c->random, c->arrivals_per_s); n; n--)
        crowd_arrive(c, sim_unit(&c->random));
    if (c->root) registry_tick(c->root, c->now_ns, wall_s(c));
    if (c->now_ns / SIM_S % 5 == 0) compare(c);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t quantile(const struct crowd *c, double share)
{
    return c->latency_count ? c->latencies[(size_t)(share * (double)(c->latency_count - 1))] : 0;
}

static void handle(struct crowd *c, const struct sim_event *e)
{
    switch (e->kind) {
    case ARRIVES:
    case ASKS:
        crowd_ask(c, e->who);
        break;
    case REACHES:
        crowd_reach(c, e->who, e->what);
        break;
    case LEAVES:
        if (c->people[e->who].visit != (uint32_t)(uintptr_t)e->what || c->now_ns > c->end_ns - 8 * SIM_S)
            break;
        crowd_leave(c, e->who);
        break;
    case REPORTS:
        crowd_report(c, e->who);
        break;
    case REPORTED:
        crowd_reported(c, e->who, e->what);
        break;
    case ANSWERED:
        if (!c->edges[e->who].dead) admission_answered(c->edges[e->who].admission, e->what, c->now_ns);
        json_decref(e->what);
        break;
    case PHASE:
        phase(c, e->who);
        break;
    case SECOND:
        second(c);
    }
}

static void make_edges(struct crowd *c)
{
    c->edges = xcalloc(c->conf->relays, sizeof *c->edges);
    /* places for a little more than will come, of relays as different as their lines */
    double sum = 0;
    for (unsigned i = 0; i < c->conf->relays; i++) {
        sim_terms(sim_classes, SIM_CLASSES, i, c->conf->relays, 0, &c->edges[i].terms);
        sum += (double)c->edges[i].terms.uplink_bps;
    }
    for (unsigned i = 0; i < c->conf->relays; i++) {
        struct edge *e = &c->edges[i];
        double places = 1.05 * c->conf->listeners * (double)e->terms.uplink_bps / sum;
        e->max = (uint32_t)places + 20;
        /* half of them say nothing of their places but by their lines */
        e->terms.uplink_bps = (uint64_t)(places * RATE_BPS * 1.062 / 0.92);
        if (i % 2) e->max *= 2;
        if (i % 2 == 0) e->terms.uplink_bps *= 2;
        e->first = NOBODY;
        e->joins = e->joins_per_s = JOINS * places / 60 + 0.1;
        e->admission = admission_new(e->max);
        crowd_later(c, 2 * sim_unit(&c->random), REPORTS, i, NULL);
    }
}

static int finish(struct crowd *c)
{
    struct registry_totals t;
    uint64_t listeners = 0;
    for (unsigned i = 0; i < c->conf->relays; i++)
        listeners += c->edges[i].listeners;
    registry_totals(c->root, c->now_ns, &t);
    qsort(c->latencies, c->latency_count, sizeof *c->latencies, by_size);
    uint64_t misplaced = c->misplaced_full + c->misplaced_dead + c->misplaced_joins;
    printf(
        "{\"scenario\":\"crowd\",\"seed\":%llu,\"relays\":%u,\"joins\":%llu,\"peak\":%llu,\"redirects\":%llu,"
        "\"reports\":%llu,"
        "\"reports_lost\":%llu,\"reports_twice\":%llu,\"reports_late\":%llu,\"roots\":%u,\"over_cap\":%llu,"
        "\"over_line\":%llu,"
        "\"misplaced\":{\"full\":%llu,\"joins\":%llu,\"dead\":%llu,\"share\":%.5f},"
        "\"held\":%llu,\"refused\":%llu,\"gave_up\":%llu,\"lost_at_deaths\":%llu,"
        "\"latency_ms\":{\"p50\":%u,\"p99\":%u,\"max\":%u},"
        "\"count_error\":{\"mean_share\":%.5f,\"worst\":%llu},"
        "\"listeners\":{\"truth\":%llu,\"playing\":%llu,\"counted\":%llu}}\n",
        (unsigned long long)c->conf->seed, c->conf->relays, (unsigned long long)c->joins,
        (unsigned long long)c->peak, (unsigned long long)c->redirects, (unsigned long long)c->reports,
        (unsigned long long)c->reports_lost, (unsigned long long)c->reports_twice,
        (unsigned long long)c->reports_late, c->roots, (unsigned long long)c->over_cap,
        (unsigned long long)c->over_line, (unsigned long long)c->misplaced_full,
        (unsigned long long)c->misplaced_joins, (unsigned long long)c->misplaced_dead,
        (double)misplaced / (double)(c->redirects ? c->redirects : 1), (unsigned long long)c->held,
        (unsigned long long)c->refused, (unsigned long long)c->gave_up, (unsigned long long)c->lost,
        quantile(c, 0.5), quantile(c, 0.99), quantile(c, 1), c->error_sum / c->listening_sum,
        (unsigned long long)c->worst_error, (unsigned long long)listeners, (unsigned long long)c->playing,
        (unsigned long long)t.listeners);
    return c->over_cap || c->over_line || listeners != t.listeners || listeners != c->playing ||
           t.healthy != c->conf->relays;
}

int sim_crowd(const struct sim_conf *conf)
{
    static const struct {
        uint32_t phase;
        double at_s;
    } phases[] = {{CROWD_COMES, 120}, {CROWD_IS_HERE, 180}, {ROOT_FALLS, 240}, {ROOT_RISES, 243}, {CUT, 300},
                  {HEALED, 345},      {DEATHS, 420},        {LIVES, 540},      {CALM, 580}};
    struct crowd *c = xcalloc(1, sizeof *c);
    struct sim_event event;
    c->conf = conf;
    c->random.state = conf->seed;
    c->now_ns = 1000 * SIM_S;
    c->end_ns = c->now_ns + 600 * SIM_S;
    c->latency_capacity = (size_t)conf->listeners * 3 + 1000;
    c->latencies = xcalloc(c->latency_capacity, sizeof *c->latencies);
    make_edges(c);
    start_root(c);
    c->arrivals_per_s = conf->listeners / STAY_S / 50;
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        crowd_later(c, phases[i].at_s, PHASE, phases[i].phase, NULL);
    crowd_later(c, 0, SECOND, 0, NULL);
    while (c->queue.count && c->queue.heap[0].at_ns <= c->end_ns && sim_pop(&c->queue, &event)) {
        c->now_ns = event.at_ns;
        handle(c, &event);
    }
    int failed = finish(c);
    while (sim_pop(&c->queue, &event)) {
        if (event.kind == REACHES) free(event.what);
        if (event.kind == REPORTED || event.kind == ANSWERED) json_decref(event.what);
    }
    for (unsigned i = 0; i < conf->relays; i++)
        admission_free(c->edges[i].admission);
    registry_free(c->root);
    free(c->queue.heap);
    free(c->edges);
    free(c->people);
    free(c->spare);
    free(c->latencies);
    free(c);
    return failed;
}
