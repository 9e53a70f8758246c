/* live: live sources as air sees them: who may send, one at a time, and where it stands.
 *
 * A source sends as to an Icecast 2 server: PUT or SOURCE to /live (or /live.mp3, /live.ogg) with the
 * password of --live-password-file, user "source". Air checks the header and never reads what follows: the
 * socket goes to a worker of its own (root/work/live.c), which decodes it into a pipe whose other end the
 * studio has (root/work/live_take.h). When the studio holds enough, the schedule makes room as for a skip.
 *
 * A session is over when the studio says so, or is gone; until then, and until its worker is gone, no other
 * source is let in. */
#ifndef FOREVER_ROOT_AIR_LIVE_H
#define FOREVER_ROOT_AIR_LIVE_H
#include <jansson.h>

#include "root/air/switchboard.h"

struct air;
struct evbuffer;
struct live;

struct live *live_new(struct air *air); /* with its routes */
void live_free(struct live *live);

/* The worker took over, or is gone; the studio is gone; several times a second. */
void live_up(struct live *live, struct switch_end *end);
void live_down(struct live *live);
void live_studio_down(struct live *live);
void live_tick(struct live *live);
/* WIRE_LIVE_READY, _OVER, _ENDED: 1 when the row is one of these. */
int live_event(struct live *live, const struct wire_row *row, const json_t *body);
/* The mix comes back. 0, or -1 with *cause when no source is there. */
int live_stop(struct live *live, char **cause);

/* For everybody: {"name","type","since_s"} of the session on air; null while the mix is. */
json_t *live_now(const struct live *live);
/* For operators. */
json_t *live_json(const struct live *live);
void live_metrics(const struct live *live, struct evbuffer *out);

#endif
