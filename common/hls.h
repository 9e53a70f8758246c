/* hls: the programme as HTTP Live Streaming (RFC 8216), for any HTTP cache or CDN to carry.
 *
 *   /hls/index.m3u8               every mount, for players that choose by bandwidth
 *   /hls/MOUNT/index.m3u8         the last segments of one mount; to be kept for HLS_PLAYLIST_AGE_S at most
 *   /hls/MOUNT/BRANCH-POSITION.mp3    one segment: HLS_SEGMENT_FRAMES frames from that position, which
 * divides by as much; (branch, position) names the bytes for ever: cacheable for ever
 *
 * Segments are cut at absolute frame numbers and numbered by them, so that a restarted node goes on where it
 * was and two nodes of one station serve equal bytes. Nothing is listed or served before it has aired. Each
 * segment is "packed audio": an ID3v2.4 tag with the time stamp that the standard demands (PRIV, a 90 kHz
 * clock that is the position), the title, the artist and the position itself, then the frames. A title that
 * changes within a segment comes with the next one.
 *
 * The last segments are kept built, shared by all who read them: a slow reader holds one segment, not a copy
 * of its own. */
#ifndef FOREVER_COMMON_HLS_H
#define FOREVER_COMMON_HLS_H
#include <stddef.h>
#include <stdint.h>

#include "common/http.h"
#include "common/ring.h"

#define HLS_SEGMENT_FRAMES 196 /* 5.12 s exactly: 4 * 49 frames */
#define HLS_WINDOW         12  /* segments in a playlist, about a minute */
#define HLS_PLAYLIST_AGE_S 2

struct hls;

struct hls_mount {
    const char *name; /* of a-z 0-9 - _ */
    struct ring *ring;
};

struct hls_conf {
    /* The i-th mount that is always on, the main one first; 0 past the end. Asked at each request. */
    int (*mount)(void *context, size_t index, struct hls_mount *out);
    /* The frame on air and the nanoseconds since it began, as pacer_on_air; UINT64_MAX while the air stands.
     */
    uint64_t (*air)(void *context, uint32_t *ns);
    void *context;
};

struct hls_counts {
    uint64_t playlists, segments, segment_bytes, refused;
    size_t held, held_bytes; /* segments in memory now */
};

/* Borrows the server, which must be freed before it (answers that are under way hold segments). */
struct hls *hls_new(struct http_server *http, const struct hls_conf *conf);
/* Takes the routes back; what is under way keeps its segment. */
void hls_free(struct hls *hls);
const struct hls_counts *hls_counts(const struct hls *hls);

#endif
