/* Relays' reports on their way, and what they are answered. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "tests/sim/crowd_internal.h"
#include "tests/report_json.h"

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

void crowd_report(struct crowd *c, uint32_t relay)
{
    struct edge *e = &c->edges[relay];
    if (c->now_ns < c->end_ns) crowd_later(c, 2, REPORTS, relay, NULL);
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
    if (!calm && sim_unit(&c->random) < 0.02) {
        crowd_later(c, crowd_way_s(c) + 1, REPORTED, relay, json_incref(o));
        c->reports_twice++;
    }
    int late = !calm && sim_unit(&c->random) < 0.02; /* the next one comes first */
    c->reports_late += late != 0;
    crowd_later(c, late ? 3 : crowd_way_s(c), REPORTED, relay, o);
}

void crowd_reported(struct crowd *c, uint32_t relay, json_t *o)
{
    char *cause = NULL;
    if (c->root) {
        if (report_json(c->root, NULL, o, c->now_ns, &cause) < 0) {
            fprintf(stderr, "%s\n", cause);
            abort();
        }
        if (sim_unit(&c->random) >= 0.05)
            crowd_later(c, crowd_way_s(c), ANSWERED, relay,
                        ticket_json(c->root, c->edges[relay].terms.name, c->now_ns));
    }
    json_decref(o);
}
