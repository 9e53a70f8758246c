#include "tests/sim/sim.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/mem.h"

uint64_t sim_bits(struct sim_random *r)
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return r->state * UINT64_C(2685821657736338717);
}

double sim_unit(struct sim_random *r)
{
    return (double)(sim_bits(r) >> 11) * 0x1p-53;
}

double sim_exponential(struct sim_random *r, double mean)
{
    return -mean * log(1 - sim_unit(r));
}

unsigned sim_poisson(struct sim_random *r, double mean)
{
    if (mean > 50) {
        double z = sqrt(-2 * log(1 - sim_unit(r))) * cos(2 * M_PI * sim_unit(r));
        double n = floor(mean + sqrt(mean) * z + 0.5);
        return n > 0 ? (unsigned)n : 0;
    }
    double limit = exp(-mean), product = sim_unit(r);
    unsigned n = 0;
    for (; product > limit; n++)
        product *= sim_unit(r);
    return n;
}

double sim_stay(struct sim_random *r, double mean)
{
    return sim_unit(r) < 0.7 ? sim_exponential(r, 0.25 * mean) : sim_exponential(r, 2.75 * mean);
}

/* A binary heap */

void sim_push(struct sim_queue *q, struct sim_event event)
{
    if (q->count == q->capacity) {
        q->capacity = q->capacity ? q->capacity * 2 : 1024;
        q->heap = xrealloc(q->heap, q->capacity * sizeof *q->heap);
    }
    size_t at = q->count++;
    for (; at && q->heap[(at - 1) / 2].at_ns > event.at_ns; at = (at - 1) / 2)
        q->heap[at] = q->heap[(at - 1) / 2];
    q->heap[at] = event;
}

int sim_pop(struct sim_queue *q, struct sim_event *out)
{
    if (!q->count) return 0;
    *out = q->heap[0];
    struct sim_event last = q->heap[--q->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= q->count) break;
        if (child + 1 < q->count && q->heap[child + 1].at_ns < q->heap[child].at_ns) child++;
        if (q->heap[child].at_ns >= last.at_ns) break;
        q->heap[at] = q->heap[child];
        at = child;
    }
    q->heap[at] = last;
    return 1;
}

/* The fleet */

const struct sim_class sim_classes[SIM_CLASSES] = {
    {"eu-de", 0.16, 0, 1, 200},      {"eu-fi", 0.06, 0.0012, 20, 1000}, {"eu-fr", 0.10, 0.002, 0, 100},
    {"eu-nl", 0.08, 0.004, 4, 1000}, {"na-us", 0.18, 0, 2, 500},        {"na-us", 0.08, 0.01, 0, 1000},
    {"na-ca", 0.06, 0.002, 8, 500},  {"as-sg", 0.08, 0.005, 2, 500},    {"as-jp", 0.06, 0.09, 0, 1000},
    {"sa-br", 0.05, 0.02, 2, 200},   {"oc-au", 0.04, 0.05, 1, 500},     {"eu", 0.05, 0.05, 0, 1000},
};

const struct sim_class sim_large_classes[SIM_LARGE_CLASSES] = {
    {"eu-nl", 0.045, 0.001, 120, 1000}, {"eu-fr", 0.455, 0.003, 0, 100}, {"na-us", 0.5, 0.005, 12, 100}};

unsigned sim_terms(const struct sim_class *classes, unsigned class_count, unsigned relay, unsigned count,
                   double scale, struct relay_terms *out)
{
    double upto = 0, at = (relay + 0.5) / count;
    unsigned class = 0;
    for (; class + 1 < class_count; class ++) {
        upto += classes[class].share;
        if (at < upto) break;
    }
    const struct sim_class *c = &classes[class];
    *out = (struct relay_terms){.allotment_bytes = (uint64_t)(c->allotment_tb * 1e12 * scale),
                                .reset_day = 1,
                                .price_per_gb = c->price_per_gb,
                                .uplink_bps = (uint64_t)(c->uplink_mbps * 1e6)};
    snprintf(out->name, sizeof out->name, "r%05u", relay);
    snprintf(out->region, sizeof out->region, "%s", c->region);
    return class;
}

const struct sim_place sim_places[SIM_PLACES] = {
    {"eu-de", 0.25, 1}, {"eu-fr", 0.20, 1}, {"na-us", 0.35, -6}, {"as-jp", 0.12, 9}, {"sa-br", 0.08, -3},
};

double sim_diurnal(unsigned place, int64_t wall_s)
{
    int64_t local = wall_s + sim_places[place].hours * 3600;
    double hour = (double)(local % 86400) / 3600, day = (double)(local / 86400 % 7);
    double of_day = 1 + 0.65 * cos((hour - 19) / 24 * 2 * M_PI) + 0.15 * cos((hour - 9) / 12 * 2 * M_PI);
    return of_day * (day >= 5 ? 1.15 : 0.94);
}
