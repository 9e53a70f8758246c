/* loop_make: the studio makes what is played when there is no programme (common/loop), of a track or of a
 * file that the operator named, for every mount.
 *
 * Of a track: some phrases from its middle, as many bars as come nearest to whole periods of frames, so that
 * it goes round on the one. Where no beat can be trusted, a stretch that is blended with itself. The PCM
 * wraps, and each encoder is primed with its end: so the frames at the seam are like any others. In small
 * steps, so that the studio's own work never waits. */
#ifndef FOREVER_ROOT_WORK_LOOP_MAKE_H
#define FOREVER_ROOT_WORK_LOOP_MAKE_H
#include <stdint.h>

#include "root/track.h"
#include "root/work/shelf.h"
#include "root/work/work.h"

struct loop_make;

/* 1 when some mount has no loop, or not one of the file that the operator names, or an old one. */
int loop_make_due(const struct work *work);
/* Of that track, or of the operator's file. NULL when it can't be made (logged). */
struct loop_make *loop_make_new(struct work *work, struct shelf *shelf, int64_t track);
void loop_make_free(struct loop_make *make);
/* Some hundredths of a second of work. 1 when there is more to do; 0: all loops are on disk and air was told,
 * or it failed (logged). */
int loop_make_step(struct loop_make *make);

/* A stretch of a track that can go round: from `start` on `body` source samples become `periods` periods of
 * frames. */
struct loop_cut {
    int64_t start;
    double body;
    unsigned periods;
    int on_bars;
};
/* Pure. 0, or -1 when the track is too short. */
int loop_make_choose(const struct track *track, struct loop_cut *out);

#endif
