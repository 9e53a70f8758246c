/* icecast: the stream of an Icecast or SHOUTcast server, told as a link's records, so that a relay follows it
 * as it follows a root (relay/follow).
 *
 * Positions are the relay's own: they count the frames it has heard, and go on where its ring ends. Frames
 * must be MPEG-1 Layer III at 44.1 kHz and a constant bit rate; what an encoder keeps in the bit reservoir
 * stays there. A stream is joined at a frame boundary, at a position whose padding is the frame's. After a
 * connection broke, the servers' burst brings much of what came before once more: when the last frames of the
 * ring are found in it, the stream goes on after them and nobody hears a thing; else a few silent frames lead
 * to the next position that fits. Frames whose data lies before the place that was joined are silenced rather
 * than played as noise.
 *
 * There is no clock on such a line, but bytes come in real time: the air told is a straight line some seconds
 * behind the newest frame, moved slowly so that the least of that distance stays the same. */
#ifndef FOREVER_RELAY_ICECAST_H
#define FOREVER_RELAY_ICECAST_H
#include <stddef.h>

#include "common/ring.h"

struct evbuffer;
struct icecast;

/* For one connection. Reads from the ring what it needs to go on there; url names the station. */
struct icecast *icecast_new(const char *url, const struct ring *ring);
void icecast_free(struct icecast *icecast);
/* A field of the answer's header: icy-metaint, icy-name... */
void icecast_field(struct icecast *icecast, const char *name, const char *value);
/* Bytes of the answer's body as they come; appends records (common/link) to out. 0, or -1 with *cause when
 * this is no stream that a relay can carry. */
int icecast_feed(struct icecast *icecast, const void *bytes, size_t len, struct evbuffer *out, char **cause);

#endif
