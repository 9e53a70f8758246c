/* A listener of the crowd: asks the root, goes where it is sent, comes again when there is no place. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "tests/sim/crowd_internal.h"

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

void crowd_arrive(struct crowd *c, double at_s)
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
    crowd_later(c, at_s, ARRIVES, who, NULL);
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
    crowd_later(c, 0.1 + most * sim_unit(&c->random), ASKS, who, NULL);
}

void crowd_ask(struct crowd *c, uint32_t who)
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
            crowd_later(c, (double)choice.hold_ns / 1e9, ASKS, who, NULL);
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
    crowd_later(c, 0.03 + 2 * crowd_way_s(c), REACHES, who, ticket ? xstrdup(ticket + 8) : NULL);
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

void crowd_reach(struct crowd *c, uint32_t who, char *ticket)
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
        crowd_later(c, sim_stay(&c->random, STAY_S), LEAVES, who, (void *)(uintptr_t)p->visit);
    }
    free(ticket);
}

void crowd_leave(struct crowd *c, uint32_t who)
{
    rise(c, who);
    forget(c, who);
}

void crowd_lose(struct crowd *c, uint32_t relay)
{
    while (c->edges[relay].first != NOBODY) {
        uint32_t who = c->edges[relay].first;
        rise(c, who);
        c->lost++;
        c->people[who].came_ns = c->now_ns;
        c->people[who].tries = 0;
        again(c, who);
    }
}
