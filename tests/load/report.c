/* What a run has to say, as JSON. */
#include <stdlib.h>

#include "tests/load/crowd_internal.h"

#define SILENCE_ALLOWED_NS INT64_C(2000000000)

static json_t *spreads(const struct load_crowd *c, json_t *report)
{
    size_t n = (size_t)c->options->listeners, hearing = 0;
    float *values = calloc(n ? n : 1, sizeof *values);
    if (!values) return report;
    for (size_t i = 0; i < n; i++) {
        if (c->listeners[i].first_byte_ms >= 0) values[hearing++] = (float)c->listeners[i].first_byte_ms;
    }
    json_object_set_new(report, "first_byte_ms", load_spread(values, hearing));
    for (size_t i = 0; i < n; i++)
        values[i] = (float)c->listeners[i].gap_ns / 1e6F;
    json_object_set_new(report, "gap_ms", load_spread(values, n));
    for (size_t i = 0; i < n; i++)
        values[i] = (float)c->listeners[i].silence_ns / 1e6F;
    json_object_set_new(report, "silence_ms", load_spread(values, n));
    free(values);
    return report;
}

static void set(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

json_t *load_report(struct load_crowd *c, double seconds, double ready_s, int *well)
{
    struct load_totals *t = &c->totals;
    uint64_t starved2 = 0, starved5 = 0, compared = 0;
    int streaming = 0, at_end[LOAD_NODES_MAX] = {0};
    for (int i = 0; i < c->options->listeners; i++) {
        const struct load_listener *l = &c->listeners[i];
        starved2 += l->silence_ns > SILENCE_ALLOWED_NS;
        starved5 += l->silence_ns > INT64_C(5000000000);
        streaming += l->state == LOAD_BODY;
        if (l->state == LOAD_BODY) at_end[l->node]++;
    }
    for (int i = 0; i < LOAD_RATES_MAX && c->references[i]; i++)
        compared += load_reference_compared(c->references[i]);
    json_t *r = json_object(), *trouble = json_object(), *served = json_object(), *nodes = json_object();
    set(r, "listeners", (uint64_t)c->options->listeners);
    set(r, "heard", (uint64_t)t->hearing);
    set(r, "streaming", (uint64_t)streaming);
    json_object_set_new(r, "seconds", json_real(seconds));
    json_object_set_new(r, "ready_s", ready_s < 0 ? json_null() : json_real(ready_s));
    spreads(c, r);
    set(r, "starved_2s", starved2);
    set(r, "starved_5s", starved5);
    set(r, "breaks", t->breaks);
    set(r, "bytes", t->bytes);
    set(r, "compared_bytes", compared);
    set(r, "connections", t->connections);
    set(r, "redirects", t->redirects);
    set(r, "reconnects", t->reconnects);
    set(r, "resumed", t->resumed);
    set(r, "restarted", t->restarted);
    set(r, "jumps", t->jumps);
    set(trouble, "refused", t->refused);
    set(trouble, "timeouts", t->timeouts);
    set(trouble, "connect_errors", t->connect_errors);
    set(trouble, "ends", t->ends);
    set(trouble, "resets", t->resets);
    set(trouble, "bad_answers", t->bad_answers);
    set(trouble, "forbidden", t->forbidden);
    json_object_set_new(r, "trouble", trouble);
    json_object_set_new(r, "cuts", load_cuts_report(&t->cuts));
    for (int i = 0; i < load_node_count(); i++) {
        json_t *node = json_object();
        set(served, load_node_name(i), t->served[i]);
        set(node, "listeners", (uint64_t)at_end[i]);
        set(node, "most", (uint64_t)t->most[i]);
        set(node, "refused", t->refused_at[i]);
        json_object_set_new(nodes, load_node_name(i), node);
    }
    json_object_set_new(r, "served", served);
    json_object_set_new(r, "nodes", nodes);
    if (c->options->stalled || c->options->trickle) set(r, "slow_cut", t->cut);
    *well = t->hearing == c->options->listeners && streaming == c->options->listeners && !starved2 &&
            !t->breaks && !t->jumps && !(c->options->again && (t->restarted || t->cuts.late));
    return r;
}
