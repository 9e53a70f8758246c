/* audition: the transition between two tracks, as a programme of its own, with the stems it is the sum of. */
#ifndef FOREVER_ROOT_WORK_AUDITION_H
#define FOREVER_ROOT_WORK_AUDITION_H
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "root/mix/plan.h"
#include "root/mix/render.h"
#include "root/track.h"

enum { AUDITION_A, AUDITION_B, AUDITION_TRACKS };

struct audition {
    const struct track *tracks[AUDITION_TRACKS]; /* numbered 1 and 2 */
    /* the first alone, the transition, the second alone; NULL where nothing is left to play */
    json_t *before, *transition, *after;
    uint64_t start, end;   /* of the transition, in samples of the programme */
    uint64_t first, count; /* the frames to be written: around_s more on both sides, where there is so much */
};

/* Plans and rehearses it, as the station would when `tracks[0]` was entered at from_s (0: its beginning).
 * open and context as programme_new's. 0; -1 with *cause, and with *bad_track when a file failed. */
int audition_plan(struct audition *out, const struct track *tracks[AUDITION_TRACKS],
                  const struct plan_conf *conf, double from_s, double around_s, programme_open_track open,
                  void *context, int64_t *bad_track, char **cause);
void audition_free(struct audition *audition);
/* The programme with both tracks (AUDITION_TRACKS), or with one of them alone, whose PCM is that one's stem:
 * before the limiter, the two add up to the programme. NULL with *cause. */
struct programme *audition_programme(const struct audition *audition, int which, programme_open_track open,
                                     void *context, char **cause);
/* The PCM of the frames to be written, owned; silence where the programme has nothing. NULL with *cause, and
 * with *bad_track when a file failed. */
float *audition_read(const struct audition *audition, struct programme *programme, size_t *samples,
                     int64_t *bad_track, char **cause);
/* How a track's place `track_s` is heard, in samples of the programme: 1 with *at; 0 when it is not. */
int audition_place(const struct audition *audition, int which, double track_s, double *at);

#endif
