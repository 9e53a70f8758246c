/* What a relay's drain (relay/drain.c, the program's own) stands on in the months: its timer, its node and
 * its fan-out, put in their places by the linker (--wrap). Listeners are a count of each kind, and leave at
 * once.
 *
 * The drain looks ten times a second; while nobody is there to be moved, its timer is late by up to a step.
 */
#include <math.h>
#include <stdlib.h>
#include <sys/random.h>

#include "common/clock.h"
#include "tests/sim/months_internal.h"

static struct months *world;

static struct machine *machine_of(const void *part)
{
    return (struct machine *)(uintptr_t)part;
}

static uint32_t index_of(const struct machine *r)
{
    return (uint32_t)(r - world->machines);
}

static void keep(const void *base, double seconds, uint32_t turn, struct sim_timer *timer)
{
    if (!machine_of(base)->listeners && seconds < (double)world->step_s) seconds = (double)world->step_s;
    sim_push(
        &world->timers,
        (struct sim_event){.at_ns = months_ns(world) + (int64_t)(seconds * 1e9), .who = turn, .what = timer});
}

void months_timers(struct months *m, double until_s)
{
    struct sim_event event;
    int64_t until_ns = (int64_t)((until_s + 1000) * 1e9);
    while (m->timers.count && m->timers.heap[0].at_ns <= until_ns && sim_pop(&m->timers, &event)) {
        months_set_now(m, (double)event.at_ns * 1e-9 - 1000);
        sim_timer_fire(event.what, event.who);
    }
    months_set_now(m, until_s);
}

void months_drains_start(struct months *m)
{
    world = m;
    clock_fake(&m->boot_ns, &m->wall_ns);
    sim_timers_start(keep);
}

void months_drains_end(struct months *m)
{
    for (uint32_t i = 0; i < m->conf->relays; i++)
        drain_free(m->machines[i].drain), elsewhere_free(m->machines[i].elsewhere);
    sim_timers_end();
    clock_fake(NULL, NULL);
    free(m->timers.heap);
    world = NULL;
}

static void on_changed(void *context)
{
    struct machine *r = context;
    world->drains += r->draining != NODE_OPEN;
    months_hurry(world, index_of(r));
}

static void on_over(void *context)
{
    struct machine *r = context;
    r->ended = 1;
    world->longest_drain_s = fmax(world->longest_drain_s, world->now_s - r->stops_s);
    months_hurry(world, index_of(r));
}

struct drain *months_drain_new(struct months *m, struct machine *r)
{
    (void)m;
    r->mount.node = (struct node *)r;
    r->draining = NODE_OPEN;
    return drain_new(&(struct drain_conf){.base = (struct event_base *)r,
                                          .bundle = (struct bundle *)r,
                                          .changed = on_changed,
                                          .over = on_over,
                                          .context = r});
}

const struct bundle_mount *__wrap_bundle_at(const struct bundle *bundle, size_t index);
size_t __wrap_bundle_count(const struct bundle *bundle);
unsigned __wrap_node_wanted_by(const struct node *node);
struct fanout *__wrap_node_fanout(struct node *node);
enum node_draining __wrap_node_draining(const struct node *node);
void __wrap_node_set_draining(struct node *node, enum node_draining draining);
void __wrap_node_set_moving(struct node *node, int moving);
unsigned __wrap_node_room_elsewhere(const struct node *node);
unsigned __wrap_fanout_kind_count(const struct fanout *fanout, int resumable);
unsigned __wrap_fanout_part(struct fanout *fanout, unsigned most, int resumable);
void __wrap_fanout_cut(struct fanout *fanout);

const struct bundle_mount *__wrap_bundle_at(const struct bundle *bundle, size_t index)
{
    return index ? NULL : &machine_of(bundle)->mount;
}

size_t __wrap_bundle_count(const struct bundle *bundle)
{
    (void)bundle;
    return 1;
}

unsigned __wrap_node_wanted_by(const struct node *node)
{
    return machine_of(node)->listeners;
}

struct fanout *__wrap_node_fanout(struct node *node)
{
    return (struct fanout *)node;
}

enum node_draining __wrap_node_draining(const struct node *node)
{
    return machine_of(node)->draining;
}

void __wrap_node_set_draining(struct node *node, enum node_draining draining)
{
    machine_of(node)->draining = draining;
}

void __wrap_node_set_moving(struct node *node, int moving)
{
    machine_of(node)->moving = moving != 0;
}

unsigned __wrap_node_room_elsewhere(const struct node *node)
{
    return elsewhere_room(machine_of(node)->elsewhere);
}

unsigned __wrap_fanout_kind_count(const struct fanout *fanout, int resumable)
{
    return machine_of(fanout)->kinds[resumable != 0];
}

unsigned __wrap_fanout_part(struct fanout *fanout, unsigned most, int resumable)
{
    return months_part(world, index_of(machine_of(fanout)), most, resumable != 0);
}

void __wrap_fanout_cut(struct fanout *fanout)
{
    world->cut += machine_of(fanout)->listeners;
    months_lose(world, index_of(machine_of(fanout)));
}

/* The drain's share of chance; nobody else here asks the kernel for any. */
ssize_t __real_getrandom(void *buffer, size_t length, unsigned flags);
ssize_t __wrap_getrandom(void *buffer, size_t length, unsigned flags);
ssize_t __wrap_getrandom(void *buffer, size_t length, unsigned flags)
{
    if (!world) return __real_getrandom(buffer, length, flags);
    for (size_t i = 0; i < length; i++)
        ((unsigned char *)buffer)[i] = (unsigned char)(sim_bits(&world->random) >> 56);
    return (ssize_t)length;
}
