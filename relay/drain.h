/* drain: listeners leave this relay without their music being cut.
 *
 * While it drains, the relay takes no new listener: they are sent to another node. Those who are here leave
 * within the deadline: who can resume is reset, spread over most of that time and in random order of seconds,
 * asks again here and is sent on to where it goes on at its byte; who can't is left alone until the deadline
 * and then let go between two frames. Where no other node is known to have room, nobody is moved before the
 * deadline. What still hangs on after that is cut.
 *
 * Who asks for it: the root's answer to a report, or SIGTERM. Each is withdrawn by itself (a signal never);
 * the relay drains while one stands, until the earliest of their deadlines.
 *
 * Without draining, so many as there are too many can be moved: as many of those who resume are reset in the
 * same way, and no others. */
#ifndef FOREVER_RELAY_DRAIN_H
#define FOREVER_RELAY_DRAIN_H
#include "relay/bundle.h"

#define DRAIN_DEADLINE_MAX_S 86400
#define DRAIN_MOVE_MAX       1000000

struct event_base;
struct drain;

enum drain_reason { DRAIN_REPORT, DRAIN_SIGNAL, DRAIN_REASONS };

struct drain_conf {
    struct event_base *base;
    struct bundle *bundle; /* outlives the drain */
    /* it has begun or ended: the root should hear of it */
    void (*changed)(void *context);
    /* asked for by a signal, and nobody is here any more */
    void (*over)(void *context);
    void *context;
};

struct drain *drain_new(const struct drain_conf *conf);
void drain_free(struct drain *drain);
/* Asked again for the same reason: a deadline that was given stays, unless the new one is nearer. */
void drain_begin(struct drain *drain, enum drain_reason reason, double deadline_s);
void drain_end(struct drain *drain, enum drain_reason reason);
/* So many of those who resume are to be at other nodes within the deadline, in place of what was said before;
 * 0: no more. Without effect while the relay drains. */
void drain_move(struct drain *drain, unsigned listeners, double deadline_s);

#endif
