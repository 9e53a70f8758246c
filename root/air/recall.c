#include "root/air/recall.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/air/air.h"
#include "root/air/sampler.h"

#define SLICE    512 /* relays told in one message */
#define RETRY_NS (5 * CLOCK_NS_PER_S)
#define SAVE_NS  (RECALL_SAVE_S * CLOCK_NS_PER_S)
#define HOUR_S   3600

struct recall {
    struct air *air;
    enum { LEARNED, WEEK, DONE } next; /* what is to be asked for */
    uint32_t asking;
    int64_t after, asked_ns;
    unsigned nodes; /* relays of which something was known */
    /* saving */
    int64_t saved_ns;
    int saving;
    size_t at;
};

static int is_up(const struct recall *r)
{
    return r->air->workers && switchboard_serving(workers_switchboard(r->air->workers), ROLE_STORE);
}

/* The week */

static double at(const json_t *column, size_t i)
{
    const json_t *value = json_array_get(column, i);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static const json_t *average(const json_t *columns)
{
    return json_object_get(json_object_get(columns, "listeners"), "avg");
}

void recall_week(const json_t *cluster, const json_t *root, double week[ROUTER_WEEK_HOURS])
{
    const json_t *times = json_object_get(cluster, "t"), *root_times = json_object_get(root, "t");
    router_week_clear(week);
    for (size_t i = 0, k = 0; i < json_array_size(times); i++) {
        double t = at(times, i), all = at(average(cluster), i), here = 0;
        while (k < json_array_size(root_times) && at(root_times, k) < t)
            k++;
        if (k < json_array_size(root_times) && at(root_times, k) <= t) here = at(average(root), k);
        if (!(at(json_object_get(cluster, "covered_s"), i) >= HOUR_S / 2.0) || !(t >= 0 && t < 1e12))
            continue;
        if (isnan(all) || isnan(here)) continue;
        router_week_learn(week, (int64_t)t / HOUR_S, all > here ? all - here : 0);
    }
}

/* Asking */

static void ask(struct recall *r);

static void take_nodes(struct recall *r, const json_t *nodes)
{
    const json_t *one;
    size_t i;
    json_array_foreach(nodes, i, one)
    {
        const char *name = json_str_or(one, "name", "", NULL);
        const json_t *values = json_object_get(one, "values");
        if (!strcmp(name, SAMPLER_CLUSTER)) {
            registry_recall_stays(
                r->air->registry,
                &(struct registry_stays){.gone = json_real_or(values, "gone", 0, NULL),
                                         .listened_s = json_real_or(values, "listened_s", 0, NULL)});
            continue;
        }
        r->nodes += !registry_recall(
            r->air->registry, name,
            &(struct registry_learned){.pacing = json_real_or(values, "pacing", 0, NULL),
                                       .redemption = json_real_or(values, "redemption", 0, NULL)},
            clock_boot_ns());
    }
}

static void take_week(struct recall *r, const json_t *series)
{
    double week[ROUTER_WEEK_HOURS];
    int known = 0;
    recall_week(json_object_get(series, SAMPLER_CLUSTER), json_object_get(series, SAMPLER_ROOT), week);
    for (int i = 0; i < ROUTER_WEEK_HOURS; i++)
        known += week[i] >= 0;
    router_set_week(registry_router(r->air->registry), week);
    if (known || r->nodes)
        log_info("recall", "goes on with what was learned: %d hours of the week, %u relays", known, r->nodes);
}

static void on_answer(void *context, const struct msg *message, const char *error)
{
    struct recall *r = context;
    r->asking = 0;
    json_t *body = message ? wire_body(message, NULL) : NULL;
    if (!body) {
        if (error) log_debug("recall", "what was learned can't be had from the store: %s", error);
        return; /* asked again by and by */
    }
    if (r->next == WEEK) {
        take_week(r, json_object_get(body, "series"));
        r->next = DONE;
    } else {
        take_nodes(r, json_object_get(body, "nodes"));
        r->after = json_int_or(body, "after", 0, 0, INT64_MAX, NULL);
        if (json_bool_or(body, "last", true, NULL)) r->next = WEEK;
    }
    json_decref(body);
    if (r->next != DONE) ask(r);
}

static void ask(struct recall *r)
{
    struct switchboard *board = workers_switchboard(r->air->workers);
    int64_t hour_s = clock_wall_ns() / CLOCK_NS_PER_S / HOUR_S * HOUR_S; /* the present one is not over */
    int64_t from_s = hour_s - (int64_t)RECALL_WEEKS * ROUTER_WEEK_HOURS * HOUR_S;
    r->asked_ns = clock_boot_ns();
    if (r->next == LEARNED)
        r->asking = switchboard_request(board, WIRE_LEARNED_GET,
                                        json_pack("{s:I}", "after", (json_int_t)r->after), on_answer, r);
    else
        r->asking = switchboard_request(board, WIRE_SERIES_GET,
                                        json_pack("{s:[s,s],s:I,s:I,s:i}", "names", SAMPLER_CLUSTER,
                                                  SAMPLER_ROOT, "from", (json_int_t)(from_s > 0 ? from_s : 0),
                                                  "to", (json_int_t)hour_s, "step", HOUR_S),
                                        on_answer, r);
}

void recall_store_up(struct recall *r)
{
    if (r->next != DONE && !r->asking) ask(r);
}

/* Telling */

static json_t *stays_json(const struct registry *registry)
{
    struct registry_stays stays;
    registry_stays(registry, &stays);
    return json_pack("{s:s,s:{s:f,s:f}}", "name", SAMPLER_CLUSTER, "values", "gone", stays.gone, "listened_s",
                     stays.listened_s);
}

/* Up to SLICE relays from r->at on; 0 when there are no more. */
static int tell_some(struct recall *r)
{
    struct air *air = r->air;
    struct registry_view v;
    struct router_view learned;
    int64_t now_ns = clock_boot_ns();
    int more = 0;
    json_t *nodes = json_array();
    if (!r->at) json_array_append_new(nodes, stays_json(air->registry));
    for (int i = 0; i < SLICE && (more = !registry_view(air->registry, r->at, now_ns, &v)); i++, r->at++) {
        if (!v.enrolled) continue;
        router_view(registry_router(air->registry), v.slot, now_ns, &learned);
        json_array_append_new(nodes, json_pack("{s:o,s:{s:f,s:f}}", "name", json_text_lossy(v.name), "values",
                                               "pacing", learned.pacing, "redemption", learned.redemption));
    }
    switchboard_send(workers_switchboard(air->workers), ROLE_STORE, WIRE_LEARNED,
                     json_pack("{s:o}", "nodes", nodes));
    return more;
}

void recall_tick(struct recall *r)
{
    int64_t now_ns = clock_boot_ns();
    if (!is_up(r)) return;
    if (r->next != DONE) {
        if (!r->asking && now_ns - r->asked_ns > RETRY_NS) ask(r);
        return;
    }
    if (!r->saving && now_ns - r->saved_ns >= SAVE_NS) {
        r->saving = 1;
        r->at = 0;
        r->saved_ns = now_ns;
    }
    if (r->saving) r->saving = tell_some(r);
}

void recall_flush(struct recall *r)
{
    if (r->next != DONE || !is_up(r)) return;
    r->at = 0;
    while (tell_some(r))
        ;
}

/* Life */

struct recall *recall_new(struct air *air)
{
    struct recall *r = xcalloc(1, sizeof *r);
    r->air = air;
    r->saved_ns = clock_boot_ns();
    return r;
}

void recall_free(struct recall *r)
{
    free(r);
}
