/* show: the programme as it grows: what comes next, the plans for it, and the marks that announce them.
 *
 * Grown a transition at a time, shortly before the encoder gets to the end of what is planned, so that the
 * future stays open. Nothing here knows how far the air is; what was announced stays until a fork voids it.
 */
#ifndef FOREVER_ROOT_WORK_SHOW_H
#define FOREVER_ROOT_WORK_SHOW_H
#include <stdint.h>
#include <jansson.h>

#include "root/mix/render.h"
#include "root/work/shelf.h"
#include "root/work/work.h"

struct show;

struct show *show_new(struct work *work, struct shelf *shelf);
void show_free(struct show *show);
struct programme *show_programme(struct show *show);

/* Anew from these segment bodies (may be empty): frames below `frame` are sent already. */
void show_begin(struct show *show, uint64_t frame, const json_t *segments);
/* Something else from this frame on, as a skip out of what plays there. */
void show_fork(struct show *show, uint64_t frame);
/* A track failed: its file gives nothing from station sample `sample` on. It won't be chosen again soon. */
void show_fail(struct show *show, int64_t track, uint64_t sample, const char *reason);
/* Plans one transition more. 1; 0 when there is nothing to play now (ask again in a while); -1 when the track
 * that plays at the programme's end can't be had (show_fail was told): only a fork helps. Blocks for
 * requests, and for a rehearsal, which makes do with what it has found at until_ns of CLOCK_BOOTTIME. */
int show_grow(struct show *show, int64_t until_ns);
/* After a fork, for what comes from elsewhere: what plays in the old programme from *at, where the programme
 * ends, on (new reference); and a segment that goes on there: 0, or -1 when it is refused (logged). */
json_t *show_under(const struct show *show, uint64_t *at);
int show_add(struct show *show, json_t *segment);
/* The track that plays at the programme's end; 0 when there is none. */
int64_t show_track(const struct show *show);
/* The next mark to send: {"position","kind","body"}, new reference; NULL when all are out. */
json_t *show_mark(struct show *show);
/* Where a fork has to be so that all that is left of the old programme can be played, given that nothing from
 * `sample` on can: a frame not above `frame`. */
uint64_t show_fork_frame(uint64_t frame, uint64_t sample);

#endif
