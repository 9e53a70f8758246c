#include "common/hls.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/hls_segment.h"
#include "common/mem.h"
#include "common/mp3.h"

#define MOUNTS_MAX    16
#define KEPT          16 /* built segments: the newest of each of a few mounts */
#define PREFIX        "/hls/"
#define INDEX         "index.m3u8"
#define PLAYLIST_TYPE "application/vnd.apple.mpegurl"
#define SEGMENT_TYPE  "audio/mpeg"
#define MP3_CODEC     "mp4a.40.34" /* MPEG-1 Layer III, RFC 6381 by way of ISO 14496-3 */
#define OVERHEAD      1.02         /* the tag */
#define FOR_EVER      "public, max-age=31536000, immutable"
#define TARGET_S      6 /* RFC 8216, 4.3.3.1: a segment's length, rounded up */
#define NS_PER_MS     1000000

#define TEXT2(x) #x
#define TEXT(x)  TEXT2(x)

struct hls {
    struct http_server *http;
    struct hls_conf conf;
    struct hls_counts counts;
    struct hls_segment *kept[KEPT]; /* the oldest goes first */
    unsigned next;
    int64_t epoch_ns; /* wall time of position 0, as the clock on air last said */
};

/* Everything before it has aired. */
static uint64_t aired(struct hls *h, const struct ring *ring)
{
    uint32_t ns = 0;
    uint64_t on_air = h->conf.air(h->conf.context, &ns);
    uint64_t floor = ring_floor(ring);
    if (on_air == UINT64_MAX) return floor;
    h->epoch_ns = clock_wall_ns() - mp3_frame_to_ns(on_air) - ns;
    return on_air < floor ? on_air : floor;
}

/* The segments that can be had: [*first, *end) in units of segments. */
static void segments_of(struct hls *h, const struct ring *ring, uint64_t *first, uint64_t *end)
{
    *first = (ring_tail(ring) + HLS_SEGMENT_FRAMES - 1) / HLS_SEGMENT_FRAMES;
    *end = aired(h, ring) / HLS_SEGMENT_FRAMES;
    if (*end < *first) *end = *first;
}

static uint32_t branch_of(const struct ring *ring, uint64_t segment)
{
    return ring_branch_at(ring, (segment + 1) * HLS_SEGMENT_FRAMES - 1);
}

static void refuse(struct hls *h, struct http_request *r, int status, const char *why)
{
    h->counts.refused++;
    /* a cache may remember a "not yet" for a moment only */
    http_add_header(r, "Cache-Control", "public, max-age=1");
    if (status == 503) http_add_header(r, "Retry-After", "2");
    http_reply_error(r, status, "%s", why);
}

static void reply_playlist(struct hls *h, struct http_request *r, struct evbuffer *body)
{
    h->counts.playlists++;
    http_add_header(r, "Cache-Control", "public, max-age=" TEXT(HLS_PLAYLIST_AGE_S));
    http_reply_buffer(r, 200, PLAYLIST_TYPE, body);
    evbuffer_free(body);
}

static struct evbuffer *playlist_new(void)
{
    struct evbuffer *body = evbuffer_new();
    if (body) evbuffer_add_printf(body, "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    return body;
}

static void on_variants(struct hls *h, struct http_request *r)
{
    struct evbuffer *body = playlist_new();
    if (!body) {
        refuse(h, r, 503, "out of memory");
        return;
    }
    struct hls_mount mount;
    for (size_t i = 0; i < MOUNTS_MAX && h->conf.mount(h->conf.context, i, &mount); i++) {
        unsigned bits = ring_kbps(mount.ring) * 1000;
        evbuffer_add_printf(body,
                            "#EXT-X-STREAM-INF:BANDWIDTH=%.0f,AVERAGE-BANDWIDTH=%.0f,CODECS=\"" MP3_CODEC
                            "\"\n%s/" INDEX "\n",
                            bits * OVERHEAD, bits * OVERHEAD, mount.name);
    }
    reply_playlist(h, r, body);
}

static void put_date(struct evbuffer *body, int64_t wall_ns)
{
    time_t seconds = (time_t)(wall_ns / CLOCK_NS_PER_S);
    struct tm tm;
    char text[32];
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    evbuffer_add_printf(body, "#EXT-X-PROGRAM-DATE-TIME:%s.%03dZ\n", text,
                        (int)(wall_ns % CLOCK_NS_PER_S / NS_PER_MS));
}

static void on_playlist(struct hls *h, struct http_request *r, const struct hls_mount *mount)
{
    uint64_t first, end;
    segments_of(h, mount->ring, &first, &end);
    if (first == end) {
        refuse(h, r, 503, "the first segment has not aired yet");
        return;
    }
    if (end - first > HLS_WINDOW) first = end - HLS_WINDOW;
    struct evbuffer *body = playlist_new();
    if (!body) {
        refuse(h, r, 503, "out of memory");
        return;
    }
    evbuffer_add_printf(body, "#EXT-X-TARGETDURATION:%d\n#EXT-X-MEDIA-SEQUENCE:%" PRIu64 "\n", TARGET_S,
                        first);
    if (h->epoch_ns) put_date(body, h->epoch_ns + mp3_frame_to_ns(first * HLS_SEGMENT_FRAMES));
    double length_s = (double)HLS_SEGMENT_FRAMES * MP3_FRAME_SAMPLES / MP3_RATE;
    for (uint64_t s = first; s < end; s++)
        evbuffer_add_printf(body, "#EXTINF:%.5f,\n%" PRIu32 "-%" PRIu64 ".mp3\n", length_s,
                            branch_of(mount->ring, s), s * HLS_SEGMENT_FRAMES);
    reply_playlist(h, r, body);
}

/* Segments */

static void keep(struct hls *h, struct hls_segment *segment)
{
    struct hls_segment **slot = &h->kept[h->next++ % KEPT];
    if (*slot) {
        h->counts.held--;
        h->counts.held_bytes -= hls_segment_bytes(*slot);
        hls_segment_release(*slot);
    }
    *slot = segment;
    h->counts.held++;
    h->counts.held_bytes += hls_segment_bytes(segment);
}

static struct hls_segment *find(struct hls *h, const struct ring *ring, uint32_t branch, uint64_t position)
{
    for (unsigned i = 0; i < KEPT; i++) {
        if (h->kept[i] && hls_segment_is(h->kept[i], ring, branch, position)) return h->kept[i];
    }
    struct hls_segment *segment = hls_segment_new(ring, branch, position, HLS_SEGMENT_FRAMES);
    if (segment) keep(h, segment);
    return segment;
}

/* "BRANCH-POSITION.mp3", each a number as we write it, so that one segment has one name. */
static int parse_name(const char *text, uint32_t *branch, uint64_t *position)
{
    char again[64];
    if (sscanf(text, "%" SCNu32 "-%" SCNu64 ".mp3", branch, position) != 2) return -1;
    snprintf(again, sizeof again, "%" PRIu32 "-%" PRIu64 ".mp3", *branch, *position);
    return strcmp(again, text) ? -1 : 0;
}

static void on_segment(struct hls *h, struct http_request *r, const struct hls_mount *mount, const char *name)
{
    uint32_t branch;
    uint64_t position, first, end;
    if (parse_name(name, &branch, &position) || position % HLS_SEGMENT_FRAMES) {
        refuse(h, r, 404,
               "no such segment: BRANCH-POSITION.mp3, the position a multiple of " TEXT(HLS_SEGMENT_FRAMES));
        return;
    }
    uint64_t segment = position / HLS_SEGMENT_FRAMES;
    segments_of(h, mount->ring, &first, &end);
    if (segment < first || segment >= end || branch_of(mount->ring, segment) != branch) {
        refuse(h, r, 404, segment >= end ? "this segment has not aired yet" : "this segment is gone");
        return;
    }
    struct hls_segment *found = find(h, mount->ring, branch, position);
    struct evbuffer *body = evbuffer_new();
    if (!found || !body || hls_segment_append(found, body)) {
        if (body) evbuffer_free(body);
        refuse(h, r, 503, "out of memory");
        return;
    }
    h->counts.segments++;
    if (http_method(r) == HTTP_GET) h->counts.segment_bytes += hls_segment_bytes(found);
    char etag[96];
    snprintf(etag, sizeof etag, "\"%s-%" PRIu32 "-%" PRIu64 "-%u\"", ring_station(mount->ring), branch,
             position, ring_kbps(mount->ring));
    http_add_header(r, "ETag", etag);
    http_add_header(r, "Cache-Control", FOR_EVER);
    http_reply_buffer(r, 200, SEGMENT_TYPE, body);
    evbuffer_free(body);
}

static void on_hls(void *context, struct http_request *r)
{
    struct hls *h = context;
    const char *path = http_path(r) + strlen(PREFIX), *slash = strchr(path, '/');
    struct hls_mount mount;
    if (!strcmp(path, INDEX)) {
        on_variants(h, r);
        return;
    }
    for (size_t i = 0; slash && i < MOUNTS_MAX && h->conf.mount(h->conf.context, i, &mount); i++) {
        if (strlen(mount.name) != (size_t)(slash - path) || strncmp(mount.name, path, (size_t)(slash - path)))
            continue;
        if (!strcmp(slash + 1, INDEX))
            on_playlist(h, r, &mount);
        else
            on_segment(h, r, &mount, slash + 1);
        return;
    }
    refuse(h, r, 404, "no such playlist: " PREFIX INDEX " names them");
}

static const struct http_route routes[] = {
    {HTTP_GET, PREFIX "*", on_hls, 1,
     "HTTP Live Streaming: /hls/index.m3u8, /hls/MOUNT/index.m3u8 and its segments, for caches and CDNs"},
};

struct hls *hls_new(struct http_server *http, const struct hls_conf *conf)
{
    struct hls *h = xcalloc(1, sizeof *h);
    h->http = http;
    h->conf = *conf;
    http_server_routes(http, routes, sizeof routes / sizeof *routes, h);
    return h;
}

void hls_free(struct hls *h)
{
    if (!h) return;
    http_server_unroute(h->http, routes, h);
    for (unsigned i = 0; i < KEPT; i++)
        hls_segment_release(h->kept[i]);
    free(h);
}

const struct hls_counts *hls_counts(const struct hls *h)
{
    return &h->counts;
}
