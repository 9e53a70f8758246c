/* Relays below relays: a root whose line feeds only some links itself, and the others as it proposes: by
 * relays with room to spare. Feeders die (some without a word), a tenth of the relays is cut off, for less
 * than the lead and for longer, the root restarts, relays drain, and for a while the root proposes to some
 * what would lead round. Every link is the relays' own pull, every place the root's own tree. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "tests/sim/tree_internal.h"

#define ROOT_URL     "https://root.example:8001"
#define REPORT_S     2.0
#define WALL0_S      INT64_C(1768694400)
#define LINGER_S     10
#define STARTS_S     400.0 /* in which the relays come */
#define LOST         0.05  /* reports */
#define LONG_CUT     1450  /* from here on leads run out */
#define LEAD_FIRST_S 10    /* one that has just started has this first */
#define FED_SHARE    2     /* one in so many feeds others */

struct tree_sim *tree_world;

void tree_later(double seconds, uint32_t kind, uint32_t who, void *what)
{
    sim_push(&tree_world->queue,
             (struct sim_event){tree_world->now_ns + (int64_t)(seconds * 1e9) + 1, kind, who, what});
}

static double time_s(void)
{
    return (double)tree_world->now_ns / 1e9 - 1000;
}

uint64_t tree_air(void)
{
    return (uint64_t)((double)tree_world->now_ns / 1e9 * TREE_FRAMES_S);
}

/* Relays */

static void on_failed(void *context, const char *why)
{
    (void)context;
    fprintf(stderr, "%s\n", why);
    abort();
}

static void on_lineage(void *context, const json_t *path)
{
    struct machine_relay *r = context;
    json_decref(r->path);
    r->path = json_copy((json_t *)(uintptr_t)path);
    tree_path_changed(r);
}

static void start(uint32_t index)
{
    struct tree_sim *w = tree_world;
    struct machine_relay *r = &w->relays[index];
    if (r->pull) return;
    snprintf(r->id, sizeof r->id, "%08x%08x", index, ++r->life);
    r->parents = parents_new();
    parents_add(r->parents, ROOT_URL, NULL, "credential");
    r->gone = r->draining = r->key_count = 0;
    r->head = r->tail = r->heard = 0;
    r->has_lead = 0;
    r->lost_ns = 0;
    r->pull = pull_new(&(struct pull_conf){.node = (struct node *)r,
                                           .parents = r->parents,
                                           .id = r->id,
                                           .lead_s = TREE_LEAD_S,
                                           .linger_s = LINGER_S,
                                           .failed = on_failed,
                                           .lineage = on_lineage,
                                           .context = r});
    tree_later(0.01, TREE_REPORT, index, (void *)(uintptr_t)r->life);
    if (r->listeners) pull_want(r->pull);
}

/* gone: its machine answers nobody any more. */
static void die(uint32_t index, int gone, double back_s)
{
    struct machine_relay *r = &tree_world->relays[index];
    if (!r->pull) return;
    pull_free(r->pull);
    parents_free(r->parents);
    json_decref(r->path);
    r->pull = NULL;
    r->parents = NULL;
    r->path = NULL;
    r->gone = gone;
    r->lost_ns = 0;
    tree_cut_links((int)index, !gone);
    tree_later(back_s, TREE_START, index, NULL);
}

static const char *upstream(const struct machine_relay *r)
{
    const json_t *path = pull_following(r->pull) ? pull_lineage(r->pull) : NULL;
    size_t n = json_array_size(path);
    if (!n) return NULL;
    return n == 1 ? "" : json_string_value(json_array_get(path, n - 2));
}

static void propose(struct machine_relay *r, const char *url, const char *pin, const char *id)
{
    struct tree_sim *w = tree_world;
    unsigned char key[LINK_GRANT_KEY_BYTES];
    char grant[LINK_GRANT_TEXT];
    if (link_grant_derive(w->master, id, key) ||
        link_grant_sign(key, r->id, w->wall_ns / SIM_S + LINK_GRANT_LIFE_S, grant))
        abort();
    parents_propose(r->parents, url, pin, grant);
}

/* One that it feeds, if it feeds any: the programme would go round. */
static const struct machine_relay *child_of(const struct machine_relay *r)
{
    struct tree_sim *w = tree_world;
    for (unsigned i = 0; i < w->conf->relays; i++) {
        const struct machine_relay *c = &w->relays[i];
        if (c->pull && c->feeds && tree_link_from(c->fed_by) == (int)(r - w->relays)) return c;
    }
    return NULL;
}

static void report(uint32_t index, uint32_t life)
{
    struct tree_sim *w = tree_world;
    struct machine_relay *r = &w->relays[index];
    struct tree_parent parent;
    if (!r->pull || r->life != life) return;
    tree_later(REPORT_S, TREE_REPORT, index, (void *)(uintptr_t)life);
    if (!w->root || r->side || sim_unit(&w->random) < LOST) return;
    const struct tree_report said = {.name = r->name,
                                     .id = r->id,
                                     .upstream = upstream(r),
                                     .url = r->feeds ? r->url : NULL,
                                     .pin = r->feeds ? r->pin : NULL,
                                     .uplink_bps = r->uplink_bps,
                                     .used_bps = r->listeners * TREE_BPS,
                                     .wants_bps = TREE_BPS,
                                     .draining = r->draining};
    enum tree_place place = tree_reported(w->root, &said, w->now_ns, &parent);
    unsigned char key[LINK_GRANT_KEY_BYTES];
    if (link_grant_derive(w->master, r->id, key)) abort();
    if (!r->key_count || memcmp(r->keys[0], key, sizeof key) != 0) {
        memcpy(r->keys[1], r->keys[0], sizeof key);
        memcpy(r->keys[0], key, sizeof key);
        r->key_count = r->key_count ? 2 : 1;
    }
    const struct machine_relay *round = r->misled ? child_of(r) : NULL;
    if (round)
        propose(r, round->url, round->pin, round->id);
    else if (place == TREE_ROOT)
        parents_propose(r->parents, NULL, NULL, NULL);
    else if (place == TREE_UNDER)
        propose(r, parent.url, parent.pin, parent.id);
}

/* The root */

static void root_start(void)
{
    struct tree_sim *w = tree_world;
    w->root = tree_new(&(struct tree_conf){.fanout = w->fanout});
    for (size_t i = 0; i < sizeof w->master; i++)
        w->master[i] = (unsigned char)sim_bits(&w->random);
}

static void root_stop(void)
{
    tree_free(tree_world->root);
    tree_world->root = NULL;
    tree_cut_links(TREE_STATION, 1);
}

/* What goes wrong */

enum { CRASHES, VANISH, CUT, HEALED, ROOT_FALLS, ROOT_RISES, DRAINS, OPEN, MISLED, LED };

static void phase(uint32_t which)
{
    struct tree_sim *w = tree_world;
    if (which == CRASHES) w->root_before = w->root_links;
    if (which == ROOT_FALLS) root_stop();
    if (which == ROOT_RISES) root_start();
    for (uint32_t i = 0; i < w->conf->relays; i++) {
        struct machine_relay *r = &w->relays[i];
        if (which == CRASHES && i % 20 == 4) die(i, 0, 60);
        if (which == VANISH && i % 50 == 8) die(i, 1, 120);
        if ((which == CUT || which == HEALED) && i % 10 == 2) r->side = which == CUT;
        if ((which == HEALED || which == ROOT_RISES) && r->lost_ns)
            r->lost_ns = w->now_ns; /* before, there was no way */
        if ((which == DRAINS || which == OPEN) && i % 50 == 10) r->draining = which == DRAINS;
        if ((which == MISLED || which == LED) && i % 10 == 6) r->misled = which == MISLED;
    }
}

/* Sums */

static void look_at(struct machine_relay *r, uint64_t air)
{
    struct tree_sim *w = tree_world;
    if (r->links && (r->links + r->listeners) * TREE_BPS > r->uplink_bps) w->over_uplink++;
    /* its listeners hear what is held */
    if (r->listeners && r->heard && air > r->heard) {
        uint64_t from = r->head > r->heard ? r->head : r->heard;
        if (r->head > air + (uint64_t)(LEAD_FIRST_S * TREE_FRAMES_S)) r->has_lead = 1;
        if (air > from)
            *(!r->has_lead          ? &w->first_dry_frames
              : time_s() < LONG_CUT ? &w->dry_frames
                                    : &w->late_dry_frames) += air - from;
        r->heard = air;
    }
    unsigned hops = 1;
    const struct machine_relay *at = r;
    int from = tree_link_from(r->fed_by);
    for (; from >= 0 && hops <= w->conf->relays; hops++) {
        at = &w->relays[from];
        if (at == r) break;
        from = tree_link_from(at->fed_by);
    }
    if (at == r && hops > 1) w->loops++;
    if (from != TREE_STATION) return; /* the way to the root is cut somewhere */
    r->far_s = hops > TREE_HOPS_MAX ? r->far_s + 1 : 0;
    w->too_far += r->far_s > 0;
    if (r->far_s > w->longest_far_s) w->longest_far_s = r->far_s;
    if (hops > w->deepest) w->deepest = hops;
}

static void sweep(void)
{
    struct tree_sim *w = tree_world;
    uint64_t air = tree_air();
    if (w->now_ns < w->end_ns) tree_later(1, TREE_SWEEP, 0, NULL);
    tree_push();
    for (uint32_t i = 0; i < w->conf->relays; i++) {
        if (w->relays[i].pull) look_at(&w->relays[i], air);
    }
    if (w->root_links > w->root_peak) {
        w->root_peak = w->root_links;
        w->root_peak_s = time_s();
    }
    w->over_root_s += w->root_links > w->fanout;
    w->twice_root_s += w->root_links > 2 * w->fanout;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t quantile(double share)
{
    const struct tree_sim *w = tree_world;
    return w->wait_count ? w->waits_ms[(size_t)(share * (double)(w->wait_count - 1))] : 0;
}

static int finish(void)
{
    struct tree_sim *w = tree_world;
    unsigned depths[TREE_HOPS_MAX + 2] = {0}, running = 0, short_of_lead = 0;
    for (uint32_t i = 0; i < w->conf->relays; i++) {
        const struct machine_relay *r = &w->relays[i];
        size_t hops = r->pull ? json_array_size(pull_lineage(r->pull)) : 0;
        running += r->pull != NULL;
        depths[hops <= TREE_HOPS_MAX ? hops : TREE_HOPS_MAX + 1]++;
        short_of_lead += r->listeners && (double)r->head < (double)tree_air() + 200 * TREE_FRAMES_S;
    }
    qsort(w->waits_ms, w->wait_count, sizeof *w->waits_ms, by_size);
    printf("{\"scenario\":\"tree\",\"seed\":%llu,\"relays\":%u,\"running\":%u,\"fanout\":%u,"
           "\"asleep\":%u,\"by_hops\":[%u,%u,%u,%u],\"deepest\":%u,\"loops\":%llu,\"too_far\":{\"relay_"
           "seconds\":%llu,\"longest_s\":%u},\"over_uplink\":%llu,"
           "\"links\":%llu,\"refused\":%llu,\"without_a_grant\":%llu,\"refused_as_loops\":%llu,"
           "\"root_links\":{\"at_rest\":%u,\"at_the_end\":%u,\"peak\":%u,\"peak_at_s\":%.0f,\"seconds_over\":"
           "%llu,\"seconds_"
           "over_twice\":%llu},"
           "\"reattached\":{\"times\":%zu,\"p50_ms\":%u,\"p99_ms\":%u,\"max_ms\":%u},"
           "\"frames_lost\":{\"gaps\":%llu,\"dry\":%llu,\"dry_after_the_long_cut\":%llu,\"dry_at_the_start\":"
           "%llu},"
           "\"short_of_lead_at_the_end\":%u}\n",
           (unsigned long long)w->conf->seed, w->conf->relays, running, w->fanout, depths[0], depths[1],
           depths[2], depths[3], depths[4], w->deepest, (unsigned long long)w->loops,
           (unsigned long long)w->too_far, w->longest_far_s, (unsigned long long)w->over_uplink,
           (unsigned long long)w->links_begun, (unsigned long long)w->refused,
           (unsigned long long)w->ungranted, (unsigned long long)w->refused_loops, w->root_before,
           w->root_links, w->root_peak, w->root_peak_s, (unsigned long long)w->over_root_s,
           (unsigned long long)w->twice_root_s, w->wait_count, quantile(0.5), quantile(0.99), quantile(1),
           (unsigned long long)w->gap_frames, (unsigned long long)w->dry_frames,
           (unsigned long long)w->late_dry_frames, (unsigned long long)w->first_dry_frames, short_of_lead);
    return w->loops || w->over_uplink || w->gap_frames || w->dry_frames;
}

static void handle(const struct sim_event *e)
{
    switch (e->kind) {
    case TREE_TIMER:
        sim_timer_fire(e->what, e->who);
        break;
    case TREE_ARRIVES:
        tree_arrives(e->what);
        break;
    case TREE_FAILS:
        tree_fails(e->what);
        break;
    case TREE_PATH:
        tree_path(e->what);
        break;
    case TREE_SWEEP:
        sweep();
        break;
    case TREE_REPORT:
        report(e->who, (uint32_t)(uintptr_t)e->what);
        break;
    case TREE_START:
        start(e->who);
        break;
    case TREE_PHASE:
        phase(e->who);
    }
}

/* Half feed others: lines for their own listeners and four to twenty links. One in ten has no listener
 * and sleeps until it has to feed. */
static void make_relays(void)
{
    struct tree_sim *w = tree_world;
    for (uint32_t i = 0; i < w->conf->relays; i++) {
        struct machine_relay *r = &w->relays[i];
        snprintf(r->name, sizeof r->name, "r%05u", i);
        snprintf(r->url, sizeof r->url, "https://r%05u.example:8002", i);
        snprintf(r->pin, sizeof r->pin, "sha256//r%05u", i);
        r->feeds = i % FED_SHARE == 0;
        r->listeners = i % 10 == 9 || i % 20 == 10 ? 0 : 20 + (unsigned)(sim_unit(&w->random) * 60);
        double links = r->feeds ? 5 + sim_unit(&w->random) * 16 : 0;
        r->uplink_bps = (uint64_t)((r->listeners + links) * TREE_BPS / 0.9) + 1000;
        tree_later(STARTS_S * sim_unit(&w->random), TREE_START, i, NULL);
    }
}

static void keep_timer(const void *base, double seconds, uint32_t turn, struct sim_timer *timer)
{
    (void)base;
    tree_later(seconds, TREE_TIMER, turn, timer);
}

int sim_tree(const struct sim_conf *conf)
{
    static const struct {
        uint32_t phase;
        double at_s;
    } phases[] = {{CRASHES, 700},     {VANISH, 850},      {CUT, 1000},     {HEALED, 1045},
                  {ROOT_FALLS, 1150}, {ROOT_RISES, 1180}, {DRAINS, 1250},  {OPEN, 1310},
                  {MISLED, 1350},     {LED, 1400},        {CUT, LONG_CUT}, {HEALED, LONG_CUT + 300}};
    struct tree_sim *w = tree_world = xcalloc(1, sizeof *w);
    struct sim_event event;
    log_set_level(LOG_LEVEL_ERROR);
    w->conf = conf;
    w->random.state = conf->seed;
    w->fanout = conf->relays / 40;
    w->now_ns = 1000 * SIM_S;
    w->wall_ns = WALL0_S * SIM_S;
    w->end_ns = w->now_ns + 2100 * SIM_S;
    clock_fake(&w->now_ns, &w->wall_ns);
    sim_timers_start(keep_timer);
    w->wait_capacity = (size_t)conf->relays * 50;
    w->waits_ms = xcalloc(w->wait_capacity, sizeof *w->waits_ms);
    w->relays = xcalloc(conf->relays, sizeof *w->relays);
    make_relays();
    root_start();
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        tree_later(phases[i].at_s, TREE_PHASE, phases[i].phase, NULL);
    tree_later(1, TREE_SWEEP, 0, NULL);
    while (w->queue.count && w->queue.heap[0].at_ns <= w->end_ns && sim_pop(&w->queue, &event)) {
        w->wall_ns += event.at_ns - w->now_ns;
        w->now_ns = event.at_ns;
        handle(&event);
    }
    int failed = finish();
    for (uint32_t i = 0; i < conf->relays; i++) {
        struct machine_relay *r = &w->relays[i];
        if (r->pull) pull_free(r->pull);
        parents_free(r->parents);
        json_decref(r->path);
    }
    tree_free(w->root);
    tree_net_free();
    sim_timers_end();
    clock_fake(NULL, NULL);
    free(w->queue.heap);
    free(w->relays);
    free(w->waits_ms);
    free(w);
    return failed;
}
