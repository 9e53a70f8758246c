/* pacer: the frame on air as a function of the clock.
 *
 * air(t) = anchor frame + (t - anchor time) in frames, in exact integer arithmetic: there is no drift to
 * correct. When the ring has run dry the air stands still at its head and the anchor is set anew when frames
 * come again (counted). A relay slews towards its root's clock: at most 1 % fast or slow, unless it is off by
 * more than 2 s, then it jumps, never back over what it has aired (it then stands until the root is there).
 *
 * Invariant: the ring's floor is this pacer's air. Where it is not, the ring was begun anew (ring_reset), and
 * so is the pacer. */
#ifndef FOREVER_COMMON_PACER_H
#define FOREVER_COMMON_PACER_H
#include <stdint.h>

#include "common/ring.h"

struct pacer;

struct pacer_conf {
    double start_lead_s; /* frames that must lie ahead before the first one airs, and after a standstill */
};

/* Takes up the ring's anchor: same boot: goes on as if never stopped, at most at head; other boot: wall time
 * clamped to what is held, and never before the floor. Borrows the ring. */
struct pacer *pacer_new(struct ring *ring, const struct pacer_conf *conf);
void pacer_free(struct pacer *pacer);
/* The first frame not yet aired (all before it may be sent); also moves the ring's floor and, every few
 * seconds, its stored anchor. Cheap. *ns (may be NULL): since that frame's predecessor began. */
uint64_t pacer_air(struct pacer *pacer, uint32_t *ns);
/* ns until pacer_air will be `position`, were there frames enough: 0 or less when it is; INT64_MAX while the
 * air stands. */
int64_t pacer_until(const struct pacer *pacer, uint64_t position);
/* 1 while the air stands still for want of frames. */
int pacer_starved(const struct pacer *pacer);
uint64_t pacer_starvations(const struct pacer *pacer);
double pacer_lead_s(struct pacer *pacer); /* held ahead of the air */
/* The frame on air and the nanoseconds since it began, as link_server_conf.air and pacer_follow mean it;
 * UINT64_MAX while the air stands. */
uint64_t pacer_on_air(struct pacer *pacer, uint32_t *ns);
/* A relay's word from its root: position (and ns into it) is on air there now. A pacer that stands starts on
 * that clock as soon as enough lies ahead of it. */
void pacer_follow(struct pacer *pacer, uint64_t position, uint32_t ns);
double
pacer_offset_s(const struct pacer *pacer); /* last measured: how far this node is ahead of the root's clock */

#endif
