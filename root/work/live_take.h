/* live_take: live sources in the studio: what one sends takes the place of the mix, and gives it back.
 *
 * A session's sound comes in through a pipe (live_feed). Once LIVE_TAKE_S of it are held air is asked for the
 * place where the mix may still change, and the programme goes on there with segments of technique "live": a
 * fade from the mix into the session, which begins with the first sample it sent, then the session alone, in
 * pieces of some minutes, each announced when the one before it is nearly out. What waits for that place is
 * held on: the studio is so many seconds behind the source and never takes the last LIVE_FADE_S it has, so
 * that there is always something to fade out.
 *
 * It ends when the pipe does, when nothing has come for LIVE_STALL_S and what is held runs out (programs send
 * in bursts, networks hiccup), when less comes than is aired, or when air says so. All but the last play out
 * what is held. Then the studio asks air for a fork (which voids marks that were announced for later), and
 * the next track comes in over what is left: as a skip does.
 *
 * The sound is kept nowhere else. A studio that is killed takes the session with it: its successor begins
 * with a track, and air closes the source. */
#ifndef FOREVER_ROOT_WORK_LIVE_TAKE_H
#define FOREVER_ROOT_WORK_LIVE_TAKE_H
#include <stdint.h>
#include <jansson.h>

#include "root/work/show.h"
#include "root/work/work.h"

#define LIVE_TAKE_S  3
#define LIVE_FADE_S  2
#define LIVE_STALL_S 2

struct live_take;

struct live_take *live_take_new(struct work *work, struct show *show);
void live_take_free(struct live_take *take);

/* WIRE_LIVE_PCM (fd is taken over), WIRE_LIVE_TITLE, WIRE_LIVE_STOP. */
void live_take_source(struct live_take *take, const json_t *body, int fd);
void live_take_title(struct live_take *take, const json_t *body);
void live_take_stop(struct live_take *take, const json_t *body);

/* Takes in what has come and asks air for the place where a session that holds enough may begin; every few
 * ms. read: station sample up to which the programme has been read. */
void live_take_poll(struct live_take *take, uint64_t read);
/* There is a session, or one's sound is still needed: poll. */
int live_take_busy(const struct live_take *take);
/* Air was asked and has not answered yet: nothing is begun that takes long. */
int live_take_asked(const struct live_take *take);
/* A session plays at the programme's end. */
int live_take_on(const struct live_take *take);

/* The show was forked for this session: it begins where the programme ends. 0; -1 when it is gone (the mix
 * goes on). */
int live_take_begin(struct live_take *take, int64_t session);
/* The show was forked for something else, or begins anew: what was on is over, what waits may ask again. */
void live_take_forked(struct live_take *take);
/* While on: makes the programme reach `sample`. */
void live_take_grow(struct live_take *take, uint64_t sample);
/* While on: the programme may be read up to this station sample. */
uint64_t live_take_limit(const struct live_take *take);
/* While on: 1 when it is time to ask for the fork that ends it. hungry: air's credit runs out of frames.
 * stuck: no frame can be made now. */
int live_take_due(struct live_take *take, int stuck, int hungry);
/* The next title mark that belongs into frames [from, to), as show_mark; NULL: none. */
json_t *live_take_mark(struct live_take *take, uint64_t from, uint64_t to);

#endif
