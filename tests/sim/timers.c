/* The programs' timers in virtual time: the linker puts these in the place of libevent's (--wrap). */
#include <event2/event.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "common/mem.h"
#include "tests/sim/sim.h"

struct sim_timer {
    LIST_ENTRY(sim_timer) all;
    const void *base;
    event_callback_fn call;
    void *context;
    uint32_t turn, kept; /* of arming: an older one is void; so many the scenario still keeps */
    int pending, freed;
};

static LIST_HEAD(, sim_timer) timers;
static sim_timer_keep *keep;

void sim_timers_start(sim_timer_keep *with)
{
    keep = with;
}

void sim_timers_end(void)
{
    struct sim_timer *t;
    while ((t = LIST_FIRST(&timers)) != NULL) {
        LIST_REMOVE(t, all);
        free(t);
    }
    keep = NULL;
}

static void forget(struct sim_timer *t)
{
    LIST_REMOVE(t, all);
    free(t);
}

void sim_timer_fire(struct sim_timer *t, uint32_t turn)
{
    t->kept--;
    if (t->freed && !t->kept) {
        forget(t);
    } else if (t->pending && t->turn == turn) {
        t->pending = 0;
        t->call(-1, EV_TIMEOUT, t->context);
    }
}

struct event *__wrap_event_new(struct event_base *base, evutil_socket_t fd, short what,
                               event_callback_fn call, void *context);
int __wrap_event_add(struct event *event, const struct timeval *after);
int __wrap_event_del(struct event *event);
void __wrap_event_free(struct event *event);
int __wrap_event_pending(const struct event *event, short what, struct timeval *when);

struct event *__wrap_event_new(struct event_base *base, evutil_socket_t fd, short what,
                               event_callback_fn call, void *context)
{
    (void)fd, (void)what;
    struct sim_timer *t = xcalloc(1, sizeof *t);
    t->base = base;
    t->call = call;
    t->context = context;
    LIST_INSERT_HEAD(&timers, t, all);
    return (struct event *)t;
}

int __wrap_event_add(struct event *event, const struct timeval *after)
{
    struct sim_timer *t = (struct sim_timer *)event;
    t->pending = 1;
    t->kept++;
    keep(t->base, (double)after->tv_sec + (double)after->tv_usec * 1e-6, ++t->turn, t);
    return 0;
}

int __wrap_event_del(struct event *event)
{
    struct sim_timer *t = (struct sim_timer *)event;
    t->pending = 0;
    t->turn++;
    return 0;
}

/* One that the scenario keeps goes when its time has come. */
void __wrap_event_free(struct event *event)
{
    struct sim_timer *t = (struct sim_timer *)event;
    __wrap_event_del(event);
    t->freed = 1;
    if (!t->kept) forget(t);
}

int __wrap_event_pending(const struct event *event, short what, struct timeval *when)
{
    (void)what, (void)when;
    return ((const struct sim_timer *)event)->pending;
}
