/* live_feed: the sound of one live session as the studio holds it: what came through the pipe, some seconds
 * of it, readable at any place among them.
 *
 * Sample 0 is the first that came; its place in the programme is set once the session goes on air. What lies
 * more than LIVE_FEED_PAST before the place told by live_feed_keep is given up for what comes; with no room
 * left, the pipe is left to fill, which holds the source back. */
#ifndef FOREVER_ROOT_WORK_LIVE_FEED_H
#define FOREVER_ROOT_WORK_LIVE_FEED_H
#include <stddef.h>
#include <stdint.h>

#include "root/audio/pcm.h"
#include "root/work/output.h"

#define LIVE_FEED_PAST ((uint64_t)OUTPUT_PAST + PCM_RATE / 2) /* an output that starts anew reads there */
#define LIVE_FEED_ROOM (LIVE_FEED_PAST + 11 * PCM_RATE)

struct live_feed;

/* Takes over fd, the reading end of a pipe. */
struct live_feed *live_feed_new(int fd);
void live_feed_free(struct live_feed *feed); /* NULL is fine */
/* Takes what has come, without waiting. 1 when something has or there is no room, 0 when nothing has, -1 at
 * the end (from then on, always). The last samples are faded out then: a source that is cut off does not
 * click. */
int live_feed_fill(struct live_feed *feed);
/* No more is taken, as at the end. */
void live_feed_close(struct live_feed *feed);
uint64_t live_feed_held(const struct live_feed *feed); /* one behind the last sample held */
/* Samples [from, from + samples); silence where they are not held. */
void live_feed_read(const struct live_feed *feed, uint64_t from, float *out, size_t samples);
/* Nothing before `sample` less LIVE_FEED_PAST is needed any more. */
void live_feed_keep(struct live_feed *feed, uint64_t sample);

#endif
