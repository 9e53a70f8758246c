#include "relay/icecast.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/link.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "relay/icecast_frame.h"
#include "relay/icecast_meta.h"

#define SYNC_FRAMES    4              /* in a row make it certain that these are frames */
#define SYNC_MAX_BYTES (64u << 10)    /* without any: it is something else */
#define BUFFER_MAX     (256u << 10)   /* of what is not yet told */
#define JOIN_NS        CLOCK_NS_PER_S /* how long a burst is searched for what the ring ends with */
#define JOIN_MAX_BYTES (128u << 10)
#define TAIL_FRAMES    3   /* of the ring's end are compared */
#define DISTANCE_S     2.0 /* from the newest frame to the air told */
#define CLOCK_EVERY_NS CLOCK_NS_PER_S
#define BURST_NS       CLOCK_NS_PER_S /* after the join, in which a burst may still come */
#define NEWS_S         0.25           /* a move of the line that is told at once */
#define WINDOW_NS      (10 * CLOCK_NS_PER_S)
#define MOVE_SHARE     4   /* of what the distance is off, in a window */
#define RESERVOIR_MAX  511 /* bytes, what main_data_begin can reach back */
#define TITLES_MAX     4   /* on their way to their frame */
#define FRAME_S        ((double)MP3_FRAME_SAMPLES / MP3_RATE)

struct pending_title {
    uint64_t at; /* audio byte of the connection */
    json_t *body;
};

struct icecast {
    char station[33];
    struct icecast_meta *meta;
    char *name, *description, *genre, *url;
    /* what the ring ends with */
    int goes_on;
    unsigned ring_kbps;
    uint32_t branch;
    uint64_t head;
    uint8_t tail[TAIL_FRAMES * MP3_FRAME_MAX_BYTES];
    size_t tail_len;
    /* audio not yet told: [0, len), which begins at byte `taken` of the connection's audio */
    uint8_t *buffer;
    size_t len;
    uint64_t taken;
    int64_t first_ns;
    /* once joined */
    int synced, joined, greeted;
    unsigned kbps;
    uint64_t next;      /* position of the frame at the buffer's beginning */
    unsigned reservoir; /* bytes before it that are of this stream */
    struct pending_title titles[TITLES_MAX];
    size_t title_count;
    /* the air's line */
    double line_frame;
    int64_t line_ns, told_ns, window_ns, joined_ns;
    double window_least;
};

/* An identity for positions that mean something here alone: of the address, so that a restart goes on. */
static void name_station(char out[33], const char *url)
{
    uint64_t a = UINT64_C(14695981039346656037), b = UINT64_C(0x9e3779b97f4a7c15);
    for (const char *c = url; *c; c++) {
        a = (a ^ (unsigned char)*c) * UINT64_C(1099511628211);
        b = (b ^ a) * UINT64_C(0xff51afd7ed558ccd);
    }
    snprintf(out, 33, "%016" PRIx64 "%016" PRIx64, a, b);
}

struct icecast *icecast_new(const char *url, const struct ring *ring)
{
    struct icecast *ic = xcalloc(1, sizeof *ic);
    name_station(ic->station, url);
    ic->meta = icecast_meta_new();
    ic->buffer = xmalloc(BUFFER_MAX);
    ic->branch = ring_branch(ring);
    ic->head = ring_head(ring);
    ic->ring_kbps = ring_kbps(ring);
    ic->goes_on = !strcmp(ring_station(ring), ic->station) && ic->head > ring_tail(ring);
    if (ic->goes_on && ic->head - ring_tail(ring) >= TAIL_FRAMES) {
        uint64_t from = mp3_frame_offset(ic->ring_kbps, ic->head - TAIL_FRAMES), to = ring_byte_head(ring);
        const uint8_t *bytes = ring_bytes(ring, from, to);
        if (bytes) memcpy(ic->tail, bytes, ic->tail_len = (size_t)(to - from));
    }
    return ic;
}

void icecast_free(struct icecast *ic)
{
    if (!ic) return;
    for (size_t i = 0; i < ic->title_count; i++)
        json_decref(ic->titles[i].body);
    icecast_meta_free(ic->meta);
    free(ic->buffer);
    free(ic->name);
    free(ic->description);
    free(ic->genre);
    free(ic->url);
    free(ic);
}

static void keep(char **text, const char *value)
{
    free(*text);
    *text = *value ? icecast_meta_text(value, strlen(value)) : NULL;
}

void icecast_field(struct icecast *ic, const char *name, const char *value)
{
    if (!strcasecmp(name, "icy-metaint")) icecast_meta_interval(ic->meta, strtoul(value, NULL, 10));
    if (!strcasecmp(name, "icy-name")) keep(&ic->name, value);
    if (!strcasecmp(name, "icy-description")) keep(&ic->description, value);
    if (!strcasecmp(name, "icy-genre")) keep(&ic->genre, value);
    if (!strcasecmp(name, "icy-url")) keep(&ic->url, value);
}

static void take(struct icecast *ic, size_t len)
{
    memmove(ic->buffer, ic->buffer + len, ic->len - len);
    ic->len -= len;
    ic->taken += len;
}

/* Records */

static int greet(struct icecast *ic, struct evbuffer *out, uint64_t position)
{
    json_t *hello =
        json_pack("{s:i,s:s,s:s,s:i,s:I,s:I,s:I,s:f}", "version", 1, "station", ic->station, "mount",
                  "stream", "kbps", (int)ic->kbps, "branch", (json_int_t)ic->branch, "position",
                  (json_int_t)position, "air_position", (json_int_t)position, "lead_s", DISTANCE_S);
    const char *const names[] = {"name", "description", "genre", "url"};
    const char *const values[] = {ic->name ? ic->name : "", ic->description, ic->genre, ic->url};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (values[i]) json_object_set_new(hello, names[i], json_text_lossy(values[i]));
    }
    int result = link_put_hello(out, hello);
    json_decref(hello);
    ic->greeted = 1;
    return result;
}

static int tell_title(struct icecast *ic, struct evbuffer *out, json_t *body)
{
    const struct ring_mark mark = {.position = ic->next, .branch = ic->branch, .kind = "title", .body = body};
    return link_put_mark(out, &mark);
}

/* Frames that lead from the ring's head to the position that fits. */
static int tell_silence(struct icecast *ic, struct evbuffer *out, uint64_t from, uint64_t to)
{
    uint8_t frame[MP3_FRAME_MAX_BYTES];
    for (; from < to; from++) {
        icecast_frame_silent(frame, ic->buffer, mp3_frame_bytes(ic->kbps, from), ic->kbps);
        if (link_put_frames(out, from, ic->branch, 1, frame, mp3_frame_bytes(ic->kbps, from))) return -1;
    }
    return 0;
}

/* Joining */

/* Length of the frame at `at`; 0 when there is none that could be of this stream, -1 when it is not whole. */
static int frame_at(const struct icecast *ic, size_t at)
{
    struct mp3_header h;
    if (at + 4 > ic->len) return -1;
    if (mp3_header_parse(ic->buffer + at, &h) || h.rate != MP3_RATE || h.kbps != ic->kbps) return 0;
    return (int)h.bytes;
}

/* Finds SYNC_FRAMES in a row and drops what stands before them. 1 when they are there. */
static int sync_frames(struct icecast *ic)
{
    struct mp3_header h;
    for (size_t start = 0; start + 4 <= ic->len; start++) {
        if (ic->buffer[start] != 0xff || mp3_header_parse(ic->buffer + start, &h)) continue;
        unsigned kbps = ic->kbps;
        ic->kbps = h.kbps;
        size_t at = start;
        int n = 0, len = 1;
        while (n < SYNC_FRAMES && (len = frame_at(ic, at)) > 0) {
            at += (size_t)len;
            n++;
        }
        if (n == SYNC_FRAMES || (len < 0 && n > 0)) {
            take(ic, start); /* or it may yet be: wait for the rest */
            return n == SYNC_FRAMES;
        }
        ic->kbps = kbps;
    }
    if (ic->len > 3) take(ic, ic->len - 3);
    return 0;
}

/* How many whole frames lie in the buffer, and where the n-th begins. */
static unsigned count_frames(const struct icecast *ic, unsigned most, size_t *end)
{
    unsigned n = 0;
    size_t at = 0;
    int len;
    while (n < most && (len = frame_at(ic, at)) > 0 && at + (size_t)len <= ic->len) {
        at += (size_t)len;
        n++;
    }
    *end = at;
    return n;
}

/* The place in the padding's period of 49 frames that the buffer begins at; -1 when none fits. */
static int find_phase(const struct icecast *ic)
{
    for (unsigned phase = 0; phase < MP3_PERIOD_FRAMES; phase++) {
        size_t at = 0;
        unsigned n = 0;
        while (n < MP3_PERIOD_FRAMES &&
               frame_at(ic, at) == (int)mp3_frame_bytes(ic->kbps, (uint64_t)phase + n))
            at += mp3_frame_bytes(ic->kbps, (uint64_t)phase + n++);
        if (n == MP3_PERIOD_FRAMES) return (int)phase;
    }
    return -1;
}

/* Where in the buffer the frame after those that the ring ends with lies; 0: they are not in it. */
static size_t find_tail(const struct icecast *ic)
{
    int len;
    if (!ic->tail_len || ic->kbps != ic->ring_kbps) return 0;
    for (size_t at = 0; at + ic->tail_len <= ic->len && (len = frame_at(ic, at)) > 0; at += (size_t)len) {
        if (!memcmp(ic->buffer + at, ic->tail, ic->tail_len)) return at + ic->tail_len;
    }
    return 0;
}

static void start_line(struct icecast *ic)
{
    size_t end;
    uint64_t newest = ic->next + count_frames(ic, UINT32_MAX, &end);
    ic->line_ns = ic->window_ns = ic->joined_ns = clock_boot_ns();
    ic->line_frame = (double)newest - DISTANCE_S / FRAME_S;
    ic->window_least = DISTANCE_S / FRAME_S;
    ic->told_ns = 0;
}

/* 1 when joined, 0 when more has to come, -1 with *cause. */
static int join(struct icecast *ic, struct evbuffer *out, char **cause)
{
    size_t end;
    int64_t now = clock_boot_ns();
    if (count_frames(ic, MP3_PERIOD_FRAMES, &end) < MP3_PERIOD_FRAMES) {
        if (frame_at(ic, end) == 0) { /* lost again */
            take(ic, end ? end : 1);
            ic->synced = 0;
        }
        return 0;
    }
    int same = ic->goes_on && ic->kbps == ic->ring_kbps;
    size_t after = find_tail(ic);
    if (same && !after && !ic->greeted && now - ic->first_ns < JOIN_NS && ic->len < JOIN_MAX_BYTES) return 0;
    int phase = find_phase(ic);
    if (phase < 0)
        return cause_set(cause,
                         "its frames are not padded as a constant %u kbit/s asks: a relay can't carry it",
                         ic->kbps);
    uint64_t head = same ? ic->head : 0;
    ic->reservoir = 0;
    if (after) {
        take(ic, after);
        ic->next = head;
        ic->reservoir = RESERVOIR_MAX;
    } else {
        uint64_t ahead = ((uint64_t)phase + MP3_PERIOD_FRAMES - head % MP3_PERIOD_FRAMES) % MP3_PERIOD_FRAMES;
        ic->next = head + ahead;
    }
    if (!ic->greeted && greet(ic, out, same ? head : ic->next)) return -1;
    if (same && tell_silence(ic, out, head, ic->next)) return -1;
    log_info("icecast", "%s frame %" PRIu64 ", %u kbit/s", after ? "goes on at" : "joined at", ic->next,
             ic->kbps);
    start_line(ic);
    ic->joined = 1;
    return 1;
}

/* Running */

/* The air as bytes tell it. */
static int tell_time(struct icecast *ic, struct evbuffer *out)
{
    int64_t now = clock_boot_ns();
    double air = ic->line_frame + (double)(now - ic->line_ns) / 1e9 / FRAME_S,
           distance = (double)ic->next - air;
    double above = distance - DISTANCE_S / FRAME_S;
    if (now - ic->joined_ns < BURST_NS && above > 0) { /* the burst still comes */
        ic->line_frame += above;
        air += above;
        distance -= above;
        if (above > NEWS_S / FRAME_S) ic->told_ns = 0;
    }
    if (distance < ic->window_least) ic->window_least = distance;
    if (now - ic->window_ns >= WINDOW_NS) {
        ic->line_frame += (ic->window_least - DISTANCE_S / FRAME_S) / MOVE_SHARE;
        ic->window_ns = now;
        ic->window_least = distance;
    }
    if (now - ic->told_ns < CLOCK_EVERY_NS || air < 0) return 0;
    ic->told_ns = now;
    uint64_t position = (uint64_t)air;
    return link_put_clock(out, position, (uint32_t)((air - (double)position) * FRAME_S * 1e9));
}

static int tell_titles(struct icecast *ic, struct evbuffer *out)
{
    while (ic->title_count && ic->titles[0].at <= ic->taken) {
        int result = tell_title(ic, out, ic->titles[0].body);
        json_decref(ic->titles[0].body);
        memmove(ic->titles, ic->titles + 1, --ic->title_count * sizeof *ic->titles);
        if (result) return -1;
    }
    return 0;
}

/* All whole frames of the buffer. 1 when the stream has to be joined anew. */
static int tell_frames(struct icecast *ic, struct evbuffer *out)
{
    for (int len; (len = frame_at(ic, 0)) >= 0;) {
        if ((size_t)len != mp3_frame_bytes(ic->kbps, ic->next)) return 1;
        if ((size_t)len > ic->len) return 0;
        ic->reservoir += icecast_frame_mend(ic->buffer, (size_t)len, ic->reservoir);
        if (ic->reservoir > RESERVOIR_MAX) ic->reservoir = RESERVOIR_MAX;
        if (tell_titles(ic, out) || link_put_frames(out, ic->next, ic->branch, 1, ic->buffer, (size_t)len))
            return -1;
        take(ic, (size_t)len);
        ic->next++;
    }
    return 0;
}

static int advance(struct icecast *ic, struct evbuffer *out, char **cause)
{
    for (;;) {
        if (!ic->synced) {
            ic->synced = sync_frames(ic);
            if (!ic->greeted && ic->taken > SYNC_MAX_BYTES)
                return cause_set(cause, "it is no MPEG-1 Layer III stream of 44.1 kHz and constant bit rate");
            if (!ic->synced) return 0;
        }
        if (!ic->joined) {
            int joined = join(ic, out, cause);
            if (joined < 0) return cause && *cause ? -1 : cause_set(cause, "out of memory");
            if (!joined && ic->synced) return 0;
            if (!joined) continue;
        }
        int lost = tell_frames(ic, out);
        if (lost < 0) return cause_set(cause, "out of memory");
        if (!lost) return tell_time(ic, out) ? cause_set(cause, "out of memory") : 0;
        /* something else came in between, or frames were lost: it goes on at the next place that fits */
        log_info("icecast", "lost the stream at frame %" PRIu64, ic->next);
        ic->joined = ic->synced = 0;
        ic->goes_on = 1;
        ic->ring_kbps = ic->kbps;
        ic->head = ic->next;
        ic->tail_len = 0;
    }
}

static void on_title(void *context, size_t audio, char *text)
{
    struct icecast *ic = context;
    if (ic->title_count == TITLES_MAX) { /* the oldest is past */
        json_decref(ic->titles[0].body);
        memmove(ic->titles, ic->titles + 1, --ic->title_count * sizeof *ic->titles);
    }
    ic->titles[ic->title_count++] =
        (struct pending_title){.at = ic->taken + ic->len + audio, .body = icecast_meta_title(text)};
    free(text);
}

int icecast_feed(struct icecast *ic, const void *bytes, size_t len, struct evbuffer *out, char **cause)
{
    const uint8_t *at = bytes;
    if (!ic->first_ns) ic->first_ns = clock_boot_ns();
    while (len) {
        size_t room = BUFFER_MAX - ic->len, audio = 0;
        if (!room) return cause_set(cause, "no frames among %u bytes", BUFFER_MAX);
        size_t used = icecast_meta_split(ic->meta, at, len, ic->buffer + ic->len, room, &audio, on_title, ic);
        ic->len += audio;
        at += used;
        len -= used;
        if (advance(ic, out, cause)) return -1;
        /* of another bit rate than it began with: the ring has to begin anew */
        if (ic->greeted && ic->synced && ic->kbps != ic->ring_kbps && ic->goes_on && !ic->joined)
            return cause_set(cause, "the bit rate has changed to %u kbit/s", ic->kbps);
    }
    return 0;
}
