/* A crowd within a minute, and everything that goes wrong meanwhile: reports late, twice, out of order or
 * lost, relays cut off from the root, relays that die, a root that starts anew. Every report is a JSON value
 * through the registry, every redirect a signed ticket that the relay's admission checks. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "relay/admission.h"
#include "root/air/registry.h"
#include "tests/sim/sim.h"

#define RATE_BPS 128000.0
#define NOBODY   UINT32_MAX
#define MS       INT64_C(1000000)
#define WAIT_NS  (20 * SIM_S) /* a root keeps a listener waiting so long */
#define STAY_S   3600.0
#define JOINS    1.2 /* of its places, a relay takes so many in a minute */

enum {
    ARRIVES,  /* a listener comes for the first time */
    ASKS,     /* asks the root (again) */
    REACHES,  /* is at the relay; what: the ticket */
    LEAVES,   /* who: the listener, what: its visit's number */
    REPORTS,  /* a relay makes its report */
    REPORTED, /* it has come to the root; what: the report */
    ANSWERED, /* what: the answer's ticket member */
    PHASE,
    SECOND
};

struct person {
    int64_t came_ns, asked_ns;
    uint32_t relay, after, before, visit;
    uint8_t place, tries, bot, playing;
};

struct edge {
    struct relay_terms terms;
    struct admission *admission;
    uint32_t max, listeners, first;
    uint64_t accepted, closed, bytes, seq;
    unsigned life;
    double joins, joins_per_s;
    int64_t joins_ns;
    int dead, cut; /* it does not run; what it sends to the root is lost */
};

struct crowd {
    const struct sim_conf *conf;
    struct sim_random random;
    struct sim_queue queue;
    struct registry *root; /* NULL: it is down */
    unsigned roots;
    struct edge *edges;
    struct person *people;
    uint32_t people_count, people_capacity, *spare, spare_count;
    uint32_t *latencies;
    size_t latency_count, latency_capacity;
    int64_t now_ns, end_ns;
    double arrivals_per_s;
    uint64_t joins, playing, peak, bots, redirects, held, refused, misplaced_full, misplaced_dead,
        misplaced_joins, over_cap, over_line, lost, back, reports, reports_lost, gave_up, untrue;
    double error_sum, listening_sum;
    uint64_t worst_error;
};

static int64_t wall_s(const struct crowd *c)
{
    return 1767225600 + c->now_ns / SIM_S;
}

static void later(struct crowd *c, double seconds, uint32_t kind, uint32_t who, void *what)
{
    sim_push(&c->queue,
             (struct sim_event){
                 .at_ns = c->now_ns + (int64_t)(seconds * 1e9) + 1, .kind = kind, .who = who, .what = what});
}

static double way_s(struct crowd *c)
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

/* Listeners at relays */

static void sit(struct crowd *c, uint32_t who, uint32_t relay)
{
    struct edge *e = &c->edges[relay];
    struct person *p = &c->people[who];
    p->relay = relay;
    p->before = NOBODY;
    p->after = e->first;
    if (e->first != NOBODY) c->people[e->first].before = who;
    e->first = who;
    e->listeners++;
    e->accepted++;
    c->playing++;
    if (c->playing > c->peak) c->peak = c->playing;
    if (e->listeners > e->max) c->over_cap++;
    if (e->listeners * RATE_BPS * 1.062 > (double)e->terms.uplink_bps) c->over_line++;
}

static void rise(struct crowd *c, uint32_t who)
{
    struct person *p = &c->people[who];
    struct edge *e = &c->edges[p->relay];
    if (p->before != NOBODY)
        c->people[p->before].after = p->after;
    else
        e->first = p->after;
    if (p->after != NOBODY) c->people[p->after].before = p->before;
    e->listeners--;
    e->closed++;
    c->playing--;
    p->relay = NOBODY;
    p->playing = 0;
    p->visit++;
}

static void forget(struct crowd *c, uint32_t who)
{
    c->spare[c->spare_count++] = who;
}

static uint32_t person(struct crowd *c)
{
    if (c->spare_count) return c->spare[--c->spare_count];
    if (c->people_count == c->people_capacity) {
        c->people_capacity = c->people_capacity ? c->people_capacity * 2 : 4096;
        c->people = xrealloc(c->people, c->people_capacity * sizeof *c->people);
        c->spare = xrealloc(c->spare, c->people_capacity * sizeof *c->spare);
    }
    c->people[c->people_count].visit = 0;
    return c->people_count++;
}

static void arrive(struct crowd *c, double at_s)
{
    uint32_t who = person(c), visit = c->people[who].visit;
    double at = sim_unit(&c->random);
    unsigned place = 0;
    while (place + 1 < SIM_PLACES && (at -= sim_places[place].share) > 0)
        place++;
    c->people[who] = (struct person){.came_ns = c->now_ns + (int64_t)(at_s * 1e9),
                                     .relay = NOBODY,
                                     .visit = visit,
                                     .place = (uint8_t)place,
                                     .bot = sim_unit(&c->random) < 0.03};
    c->joins++;
    later(c, at_s, ARRIVES, who, NULL);
}

/* As players and the load generator do: a random pause that doubles. */
static void again(struct crowd *c, uint32_t who)
{
    struct person *p = &c->people[who];
    if (p->tries > 12) {
        c->gave_up++;
        forget(c, who);
        return;
    }
    double most = 0.5 * (double)(1u << (p->tries < 5 ? p->tries : 5));
    p->tries++;
    p->asked_ns = 0;
    later(c, 0.1 + most * sim_unit(&c->random), ASKS, who, NULL);
}

static void ask(struct crowd *c, uint32_t who)
{
    struct person *p = &c->people[who];
    char location[1024];
    struct registry_choice choice;
    struct registry_view view;
    if (!c->root) {
        again(c, who);
        return;
    }
    if (!p->asked_ns) p->asked_ns = c->now_ns;
    const struct registry_ask to = {.region = sim_places[p->place].region, .random = sim_bits(&c->random)};
    switch (registry_route(c->root, &to, c->now_ns, location, sizeof location, &choice)) {
    case ROUTER_TO:
        break;
    case ROUTER_HOLD:
        c->held++;
        if (c->now_ns - p->asked_ns < WAIT_NS)
            later(c, (double)choice.hold_ns / 1e9, ASKS, who, NULL);
        else
            again(c, who);
        return;
    case ROUTER_NOBODY:
        c->refused++;
        again(c, who);
        return;
    }
    c->redirects++;
    if (p->bot) { /* it never comes to where it was sent */
        c->bots++;
        forget(c, who);
        return;
    }
    const char *ticket = strstr(location, "?ticket=");
    registry_find(c->root, choice.name, c->now_ns, &view);
    p->relay = (uint32_t)strtoul(choice.name + 1, NULL, 10);
    later(c, 0.03 + 2 * way_s(c), REACHES, who, ticket ? xstrdup(ticket + 8) : NULL);
}

static int has_join(struct crowd *c, struct edge *e)
{
    double most = 2 * e->joins_per_s > 1 ? 2 * e->joins_per_s : 1;
    e->joins += e->joins_per_s * (double)(c->now_ns - e->joins_ns) / 1e9;
    e->joins_ns = c->now_ns;
    if (e->joins > most) e->joins = most;
    if (e->joins < 1) return 0;
    e->joins -= 1;
    return 1;
}

static void reach(struct crowd *c, uint32_t who, char *ticket)
{
    struct person *p = &c->people[who];
    struct edge *e = &c->edges[p->relay];
    uint32_t relay = p->relay;
    p->relay = NOBODY;
    uint64_t *wrong = e->dead ? &c->misplaced_dead : NULL;
    if (!wrong && e->listeners >= e->max) wrong = &c->misplaced_full;
    if (!wrong && admission_judge(e->admission, ticket, e->listeners, c->now_ns) == ADMISSION_ELSEWHERE)
        wrong = &c->misplaced_full;
    if (!wrong && !has_join(c, e)) wrong = &c->misplaced_joins;
    if (wrong) {
        ++*wrong;
        again(c, who);
    } else {
        admission_taken(e->admission, ticket, 0, c->now_ns);
        sit(c, who, relay);
        p->playing = 1;
        if (c->latency_count < c->latency_capacity)
            c->latencies[c->latency_count++] = (uint32_t)((c->now_ns - p->came_ns) / MS);
        later(c, sim_stay(&c->random, STAY_S), LEAVES, who, (void *)(uintptr_t)p->visit);
    }
    free(ticket);
}

/* Reports */

static json_t *make_report(struct crowd *c, uint32_t relay)
{
    struct edge *e = &c->edges[relay];
    char url[128], session[24];
    snprintf(url, sizeof url, "http://%s.example:8000", e->terms.name);
    snprintf(session, sizeof session, "%08x%08x", relay, e->life);
    json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:I,s:f,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:[{s:s,s:I,s:b}]}", "name",
                          e->terms.name, "public_url", url, "version", "1", "session", session, "seq",
                          (json_int_t)++e->seq, "uptime_s", 1.0, "listeners", (json_int_t)e->listeners,
                          "max_listeners", (json_int_t)e->max, "accepted", (json_int_t)e->accepted, "closed",
                          (json_int_t)e->closed, "bytes_in", (json_int_t)0, "bytes_out", (json_int_t)e->bytes,
                          "joins_per_s", e->joins_per_s, "mounts", "name", "stream", "listeners",
                          (json_int_t)e->listeners, "pulling", 1);
    json_object_set_new(o, "tickets", admission_json(e->admission));
    return o;
}

static void report(struct crowd *c, uint32_t relay)
{
    struct edge *e = &c->edges[relay];
    if (c->now_ns < c->end_ns) later(c, 2, REPORTS, relay, NULL);
    if (e->dead) return;
    e->bytes += (uint64_t)(e->listeners * RATE_BPS / 4);
    c->reports++;
    json_t *o = make_report(c, relay);
    int calm = c->now_ns > c->end_ns - 8 * SIM_S; /* the last ones arrive, so that sums can be compared */
    if (e->cut || (!calm && sim_unit(&c->random) < 0.05)) {
        c->reports_lost++;
        json_decref(o);
        return;
    }
    if (!calm && sim_unit(&c->random) < 0.02) later(c, way_s(c) + 1, REPORTED, relay, json_incref(o));
    later(c, !calm && sim_unit(&c->random) < 0.02 ? 3 : way_s(c), REPORTED, relay, o);
}

static void reported(struct crowd *c, uint32_t relay, json_t *o)
{
    char *cause = NULL;
    if (c->root) {
        if (registry_report(c->root, NULL, o, c->now_ns, &cause) < 0) {
            fprintf(stderr, "%s\n", cause);
            abort();
        }
        if (sim_unit(&c->random) >= 0.05)
            later(c, way_s(c), ANSWERED, relay,
                  registry_ticket_json(c->root, c->edges[relay].terms.name, c->now_ns));
    }
    json_decref(o);
}

/* What goes wrong */

static void die(struct crowd *c, uint32_t relay)
{
    struct edge *e = &c->edges[relay];
    e->dead = 1;
    while (e->first != NOBODY) {
        uint32_t who = e->first;
        rise(c, who);
        c->lost++;
        c->people[who].came_ns = c->now_ns;
        c->people[who].tries = 0;
        again(c, who);
    }
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
    if (c->now_ns < c->end_ns) later(c, 1, SECOND, 0, NULL);
    for (unsigned n = sim_poisson(&c->random, c->arrivals_per_s); n; n--)
        arrive(c, sim_unit(&c->random));
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
        ask(c, e->who);
        break;
    case REACHES:
        reach(c, e->who, e->what);
        break;
    case LEAVES:
        if (c->people[e->who].visit != (uint32_t)(uintptr_t)e->what || c->now_ns > c->end_ns - 8 * SIM_S)
            break;
        rise(c, e->who);
        forget(c, e->who);
        break;
    case REPORTS:
        report(c, e->who);
        break;
    case REPORTED:
        reported(c, e->who, e->what);
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
        sim_terms(i, c->conf->relays, 0, &c->edges[i].terms);
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
        later(c, 2 * sim_unit(&c->random), REPORTS, i, NULL);
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
        "\"reports_lost\":%llu,\"over_cap\":%llu,\"over_line\":%llu,"
        "\"misplaced\":{\"full\":%llu,\"joins\":%llu,\"dead\":%llu,\"share\":%.5f},"
        "\"held\":%llu,\"refused\":%llu,\"gave_up\":%llu,\"lost_at_deaths\":%llu,"
        "\"latency_ms\":{\"p50\":%u,\"p99\":%u,\"max\":%u},"
        "\"count_error\":{\"mean_share\":%.5f,\"worst\":%llu},"
        "\"listeners\":{\"truth\":%llu,\"playing\":%llu,\"counted\":%llu}}\n",
        (unsigned long long)c->conf->seed, c->conf->relays, (unsigned long long)c->joins,
        (unsigned long long)c->peak, (unsigned long long)c->redirects, (unsigned long long)c->reports,
        (unsigned long long)c->reports_lost, (unsigned long long)c->over_cap,
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
        later(c, phases[i].at_s, PHASE, phases[i].phase, NULL);
    later(c, 0, SECOND, 0, NULL);
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
