/* ahead: segments that are planned in a process of their own, while the first of them are rendered.
 *
 * The planner goes as far ahead as the pipe between both holds, then waits for its reader. What it knows is a
 * copy of what was known when it began. */
#ifndef FOREVER_ROOT_WORK_AHEAD_H
#define FOREVER_ROOT_WORK_AHEAD_H
#include <stdint.h>
#include <jansson.h>

struct ahead;
struct ahead_teller;

/* Runs in the planner: tells one segment after the other. 0; -1 with *cause, and *bad_track where it is a
 * track's fault. */
typedef int (*ahead_plan)(void *context, struct ahead_teller *teller, int64_t *bad_track, char **cause);

/* Starts a planner. NULL with *cause. */
struct ahead *ahead_begin(ahead_plan plan, void *context, char **cause);
/* Ends the planner, wherever it is. */
void ahead_end(struct ahead *ahead);
/* Waits for the next segment: 1 with *segment, the caller's; 0 when all are told; -1 with *cause, and
 * *bad_track as the planner said, else 0. */
int ahead_next(struct ahead *ahead, json_t **segment, int64_t *bad_track, char **cause);

/* 0; -1 with *cause when nobody wants to know. */
int ahead_tell(struct ahead_teller *teller, const json_t *segment, char **cause);

#endif
