#include "relay/drain.h"

#include <event2/event.h>
#include <math.h>
#include <stdlib.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define TICK_MS    100
#define MOVE_SHARE 0.8                  /* of the deadline, in which those who resume are moved */
#define SETTLE_NS  (2 * CLOCK_NS_PER_S) /* they come again for an address before this node may go */
#define PATIENCE_S 3                    /* after the deadline, then who hangs on is cut */

/* Moving goes on while `moving` is left, and until a little after move_end_ns. */
struct drain {
    struct drain_conf conf;
    struct event *tick;
    int64_t end_ns[DRAIN_REASONS]; /* 0: not asked for */
    int64_t begun_ns, moved_ns;
    int64_t move_end_ns;
    unsigned moving; /* to be moved without draining */
    int told;        /* and that this is so was said last */
};

static int64_t after(double seconds)
{
    return clock_boot_ns() + (int64_t)(fmin(fmax(seconds, 0), DRAIN_DEADLINE_MAX_S) * (double)CLOCK_NS_PER_S);
}

static void arm(struct drain *d)
{
    const struct timeval soon = {0, TICK_MS * 1000};
    if (!evtimer_pending(d->tick, NULL)) evtimer_add(d->tick, &soon);
}

/* When the present drain is to be done; 0: none is asked for. */
static int64_t deadline(const struct drain *d)
{
    int64_t first = 0;
    for (int i = 0; i < DRAIN_REASONS; i++) {
        if (d->end_ns[i] && (!first || d->end_ns[i] < first)) first = d->end_ns[i];
    }
    return first;
}

static struct node *main_node(const struct drain *d)
{
    return bundle_at(d->conf.bundle, 0)->node;
}

static unsigned listeners(const struct drain *d)
{
    unsigned count = 0;
    for (size_t i = 0; i < bundle_count(d->conf.bundle); i++)
        count += node_wanted_by(bundle_at(d->conf.bundle, i)->node);
    return count;
}

static unsigned resumable(const struct drain *d)
{
    unsigned count = 0;
    for (size_t i = 0; i < bundle_count(d->conf.bundle); i++)
        count += fanout_kind_count(node_fanout(bundle_at(d->conf.bundle, i)->node), 1);
    return count;
}

static unsigned part(struct drain *d, unsigned most, int who_resumes)
{
    unsigned count = 0;
    for (size_t i = 0; i < bundle_count(d->conf.bundle) && count < most; i++)
        count += fanout_part(node_fanout(bundle_at(d->conf.bundle, i)->node), most - count, who_resumes);
    if (count && who_resumes) d->moved_ns = clock_boot_ns();
    return count;
}

/* So many of `left` are due in this tick that all have gone by `end`: as many as that on average, but never
 * the same number twice. */
static unsigned share(unsigned left, int64_t now, int64_t end)
{
    double ticks = (double)(end - now) / (TICK_MS * 1e6);
    uint16_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random) random = (uint16_t)(now >> 10);
    if (ticks < 1) return left;
    double due = 2.0 * random / 65536 * left / ticks;
    unsigned whole = (unsigned)due;
    whole += due - whole > (random & 0xff) / 256.0;
    return whole < left ? whole : left;
}

static void move_some(struct drain *d, int64_t now, int64_t end)
{
    unsigned left = d->moving ? d->moving : resumable(d), room = node_room_elsewhere(main_node(d));
    unsigned due = left && room ? share(left, now, end) : 0;
    unsigned gone = part(d, due < room ? due : room, 1);
    if (d->moving) d->moving -= gone < d->moving ? gone : d->moving;
}

static void drain_on(struct drain *d, int64_t now, int64_t end)
{
    int64_t move_end = d->begun_ns + (int64_t)(MOVE_SHARE * (double)(end - d->begun_ns));
    if (now < end) {
        if (now < move_end + CLOCK_NS_PER_S) move_some(d, now, move_end);
        return;
    }
    if (node_draining(main_node(d)) != NODE_CLOSED) {
        log_info("relay", "drained: %u listeners are let go at the deadline", listeners(d));
        node_set_draining(main_node(d), NODE_CLOSED);
    }
    part(d, UINT32_MAX, 1);
    part(d, UINT32_MAX, 0);
    if (now < end + PATIENCE_S * CLOCK_NS_PER_S) return;
    for (size_t i = 0; i < bundle_count(d->conf.bundle); i++)
        fanout_cut(node_fanout(bundle_at(d->conf.bundle, i)->node));
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    struct drain *d = context;
    int64_t now = clock_boot_ns(), end = deadline(d);
    if (end) {
        d->moving = 0;
        drain_on(d, now, end);
        int settled = !d->moved_ns || now - d->moved_ns >= SETTLE_NS;
        if (d->end_ns[DRAIN_SIGNAL] && !listeners(d) && settled) {
            d->conf.over(d->conf.context);
            return;
        }
    } else if (d->moving && now < d->move_end_ns + CLOCK_NS_PER_S) { /* a tick may be late */
        move_some(d, now, d->move_end_ns);
    } else if (now - d->moved_ns >= SETTLE_NS) {
        /* those who were moved last have asked again by now */
        d->moving = 0;
        node_set_moving(main_node(d), 0);
        return;
    }
    arm(d);
}

struct drain *drain_new(const struct drain_conf *conf)
{
    struct drain *d = xcalloc(1, sizeof *d);
    d->conf = *conf;
    d->tick = evtimer_new(conf->base, on_tick, d);
    return d;
}

void drain_free(struct drain *d)
{
    if (!d) return;
    event_free(d->tick);
    free(d);
}

void drain_begin(struct drain *d, enum drain_reason reason, double deadline_s)
{
    int64_t end = after(deadline_s);
    int first = !deadline(d);
    if (!d->end_ns[reason] || end < d->end_ns[reason]) d->end_ns[reason] = end;
    if (first) {
        log_info("relay", "draining: no new listener is taken, %u leave within %.0f s", listeners(d),
                 deadline_s);
        d->begun_ns = clock_boot_ns();
        d->moved_ns = 0;
        node_set_draining(main_node(d), NODE_DRAINING);
        d->conf.changed(d->conf.context);
    }
    arm(d);
}

void drain_end(struct drain *d, enum drain_reason reason)
{
    if (!d->end_ns[reason]) return;
    d->end_ns[reason] = 0;
    if (deadline(d)) return;
    log_info("relay", "drains no more: listeners are taken");
    node_set_draining(main_node(d), NODE_OPEN);
    d->conf.changed(d->conf.context);
}

void drain_move(struct drain *d, unsigned count, double deadline_s)
{
    int was_told = d->told;
    d->told = count > 0;
    if (deadline(d) || (!count && !d->moving)) return;
    d->moving = count;
    if (!count) return; /* the tick ends it */
    if (!was_told) {
        log_info("relay", "%u listeners are too many: who resumes goes elsewhere, within %.0f s", count,
                 deadline_s);
        d->moved_ns = clock_boot_ns();
    }
    d->move_end_ns = after(deadline_s);
    node_set_moving(main_node(d), 1);
    arm(d);
}
