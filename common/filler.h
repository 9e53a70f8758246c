/* filler: what listeners hear while the programme is missing: a tape beside the ring.
 *
 * When what is held runs out and nothing comes, those who do not count bytes are led aside: from a fork on
 * they are sent the tape instead, on which the last frames held fade out, the loop fades in and goes round,
 * and, when the programme is there again, that fades out and the programme in. There they come back to the
 * ring. The tape is written frame by frame as time goes. Its frames are numbered on from the fork: so byte
 * offsets, lags and bursts are reckoned on it as on the ring, but these numbers are no positions and are told
 * to nobody.
 *
 *     ring  ...[f ... h)   nothing   ... [r ..................
 *               fork \                   / join: tape frame j is followed by ring frame r'
 *     tape            [f..h fading][loop ....][r..r' fading in]
 *
 * Nothing that comes is left out, as long as it begins where the ring had ended: who comes back is then
 * behind the air by what the loop took to fade, and catches up at once. Fades are made in the frames' gain
 * (mp3_gain): nothing here decodes. Pure but for the memory: the caller brings the clock. */
#ifndef FOREVER_COMMON_FILLER_H
#define FOREVER_COMMON_FILLER_H
#include <stdint.h>
#include <jansson.h>

#include "common/loop.h"
#include "common/ring.h"

struct filler;

#define FILLER_FADE_FRAMES 58 /* 1.5 s */
#define FILLER_STALE_S     2  /* that nothing came, before what is held is given up for the last */
#define FILLER_HOME_FRAMES 38 /* 1 s: so much must lie ahead for the programme to be believed in */
#define FILLER_PATIENCE_S  10 /* of programme that is made up for after a return, rather than left out */

/* Borrows the ring, whose frames must stand for themselves. */
struct filler *filler_new(struct ring *ring);
void filler_free(struct filler *filler);
/* Takes the loop over (NULL: none): for the next time, when one is being heard. */
void filler_set_loop(struct filler *filler, struct loop *loop);
const struct loop *filler_loop(const struct filler *filler);
/* What is told to those who hear it: an object as a title mark's; taken over. */
void filler_set_title(struct filler *filler, json_t *title);
/* Such a title for a station of that name (NULL: nameless): new reference. */
json_t *filler_title_of(const char *station);
const json_t *filler_title(const struct filler *filler); /* borrowed; NULL: none was set */

/* At each turn: `air` is the first frame of the ring not yet to be sent, `runs` whether the air moves. The
 * first frame not yet to be sent to those who are led aside, by the tape's numbers; `air` itself when nobody
 * is. */
uint64_t filler_air(struct filler *filler, uint64_t air, int runs, int64_t now_ns);
/* Begins at once, if there is a loop and it has not: for somebody who comes when nothing is held. */
void filler_begin(struct filler *filler, uint64_t air, int64_t now_ns);
/* Ends at once, when nobody hears it and the programme is there. */
void filler_stop(struct filler *filler);
/* Ns until filler_air will be `frame`, while it is on. */
int64_t filler_until(const struct filler *filler, uint64_t frame, int64_t now_ns);
/* 1 while listeners are led aside. */
int filler_on(const struct filler *filler);
/* 1 while it is the loop that is heard (or nothing, between the two). */
int filler_loops(const struct filler *filler);
uint64_t filler_times(const struct filler *filler); /* it began */

/* The tape, as long as somebody may be on it; NULL: none. Its number, from 1 on, tells it from an earlier
 * one. */
struct ring *filler_tape(const struct filler *filler);
uint8_t filler_tape_number(const struct filler *filler);
/* Where the ring is left, in its positions and the tape's alike. */
uint64_t filler_fork(const struct filler *filler);
/* While it is not on: the tape ends at *from, where the ring goes on at *to. */
void filler_join(const struct filler *filler, uint64_t *from, uint64_t *to);

#endif
