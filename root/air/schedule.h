/* schedule: air's side of the talk with the studio: how far ahead it may go, what it sent, what has aired.
 *
 * The studio sends frames and marks ahead of the air and no further than its credit, which moves on with the
 * air about once a second; frames go into the ring, marks beside them. When a studio takes over it is told
 * where to go on (the ring's head) and the segments around that place, from which it makes the very bytes its
 * predecessor would have made. A retraction (skip) voids what lies from some seconds ahead on and starts a
 * new branch there; what the studio had under way for the old branch is dropped silently. A skip that no
 * studio has acted on yet is told again to the next one.
 *
 * What airs is reported to the store (its history) and what enters the plan to the brain. Nothing here waits:
 * a store that is away is told when it is back. */
#ifndef FOREVER_ROOT_AIR_SCHEDULE_H
#define FOREVER_ROOT_AIR_SCHEDULE_H
#include <stdint.h>
#include <jansson.h>

#include "common/ring.h"
#include "root/air/transitions.h"
#include "root/wire.h"

struct schedule;

#define SCHEDULE_LIVE_LEAD_S 3.0 /* while a live source is on air */
#define SCHEDULE_SKIP_S                                                                                      \
    6.0 /* how far ahead of the air a skip begins; relays must have heard of it by then                      \
         */

struct schedule_conf {
    struct ring *ring;
    double lead_s;
    uint64_t aired_from; /* segments that begin before this position were reported by an earlier life */
    /* frame on air */
    uint64_t (*air)(void *context);
    /* To the worker that serves the role: consumes body; 0, or -1 when there is none. */
    int (*tell)(void *context, enum role role, enum wire_type type, json_t *body);
    /* The ring has new frames, marks or a new branch. */
    void (*changed)(void *context);
    void *context;
};

struct schedule *schedule_new(const struct schedule_conf *conf);
void schedule_free(struct schedule *schedule);

/* A studio took over, or none is there. */
void schedule_studio_up(struct schedule *schedule);
void schedule_studio_down(struct schedule *schedule);
/* WIRE_FRAMES and WIRE_MARK. -1 with *cause when the studio broke the rules. */
int schedule_frames(struct schedule *schedule, const struct msg *message, char **cause);
int schedule_mark(struct schedule *schedule, const json_t *body, char **cause);
/* A store took over: the one before may have died with the last report unread, so the segment on air is
 * reported again (the store knows it by position and branch). */
void schedule_store_up(struct schedule *schedule);
/* Several times a second: credit, reports of what aired. */
void schedule_tick(struct schedule *schedule);
/* Sets *position to where something else begins. -1 with *cause when there is nothing to skip. */
int schedule_skip(struct schedule *schedule, uint64_t *position, char **cause);
/* A live session goes on air as near as the programme may change; from then on the lead is that of a live
 * source. 0 with *position, or -1 with *cause: not now. */
int schedule_live(struct schedule *schedule, int64_t session, uint64_t *position, char **cause);
/* The mix is back: so is the lead. */
void schedule_live_over(struct schedule *schedule);
double schedule_lead_s(const struct schedule *schedule); /* what the studio is to keep */
/* WIRE_FORK: the studio can't make what it announced. */
int schedule_fork(struct schedule *schedule, const json_t *body, char **cause);

/* Frames below this may be sent by the studio. */
uint64_t schedule_credit(const struct schedule *schedule);
uint64_t schedule_frames_received(const struct schedule *schedule);
/* Those that aired in this life of the program. */
const struct transitions *schedule_transitions(const struct schedule *schedule);

/* Segments as they stand, in order: each one ends where the next begins. */
struct schedule_segment {
    uint64_t position; /* of its mark */
    int64_t start_sample, end_sample;
    const json_t *body; /* the mark's; borrowed until the ring changes */
    uint32_t branch;
};
/* Calls see for each segment that overlaps [from, to) in frames, until it returns non-zero. */
void schedule_segments(const struct ring *ring, uint64_t from, uint64_t to,
                       int (*see)(void *context, const struct schedule_segment *segment), void *context);
/* What may be shown: the body without "plan", with start and end as they stand and "position"; new reference.
 */
json_t *schedule_public(const struct schedule_segment *segment);

#endif
