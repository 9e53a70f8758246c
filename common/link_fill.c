/* What goes into a link's buffer: records in an order that lets the peer keep up a ring of its own: what is
 * void (BRANCH), then marks, then frames. What the peer needs now (up to LINK_START_S ahead of the air) goes
 * at once; beyond that link_pace says how much.
 *
 * Frames and marks carry the ring's present branch: what lies before a fork belongs to it as well. After a
 * fork the marks from there on are sent again, since a relay may drop more than was void; it knows one it
 * has.
 *
 * A record costs its head, and a TLS record beside: frames that have time wait for the clock of each second
 * and go with it. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/link_internal.h"
#include "common/mp3.h"

#define CLOCK_ROOM    (64u << 10) /* a clock behind more than this would come too late to be true */
#define RECORD_FRAMES 64u
#define FRAMES_HEAD   24u /* bytes of a record that are no frames */
#define TLS_HEAD      22u /* of TLS 1.3's with AES-GCM */
#define TLS_RECORD    16384u
#define LEAST_S       0.75 /* ahead of the air: a relay's air starts with half a second */
#define NEEDED_S      0.5
#define WORTH_FILL                                                                                           \
    12u /* of a record that could wait: while there is much to fill an even pace is worth more */

uint64_t link_frames_of(double seconds)
{
    return (uint64_t)(seconds * MP3_RATE / MP3_FRAME_SAMPLES + 0.5);
}

uint64_t link_air(const struct link_server *server)
{
    uint32_t ns;
    uint64_t on_air = server->conf.air(server->conf.context, &ns);
    return on_air == UINT64_MAX ? ring_floor(server->ring) : on_air + 1;
}

/* The ring's branch is no longer the link's: says from where on. 0, or -1 when the link can't go on. */
static int put_branch(struct link *link)
{
    struct ring *ring = link->server->ring;
    uint64_t fork;
    if (ring_fork_after(ring, link->branch, link->position, &fork)) return -1;
    if (fork < link->position) link->position = fork;
    link->start = link->position;
    link->serial = 0;
    link->branch = ring_branch(ring);
    return link_put_branch(link->out, link->position, link->branch);
}

/* What a node is told of a mark. How a segment is rendered is for who renders it: that is half of what marks
 * would take. */
static json_t *told_of(const struct ring_mark *mark)
{
    json_t *body = strcmp(mark->kind, "segment") ? NULL : json_copy(mark->body);
    if (!body) return json_incref(mark->body);
    json_object_del(body, "plan");
    return body;
}

/* 1 when the buffer filled up before the last mark, -1 when memory is out. */
static int put_marks(struct link *link)
{
    struct ring *ring = link->server->ring;
    const struct ring_mark *mark;
    while ((mark = ring_mark_since(ring, link->serial))) {
        if (evbuffer_get_length(link->out) >= LINK_BUFFER_MAX) return 1;
        link->serial = mark->serial;
        if (mark->position <= link->start && ring_mark_at(ring, mark->kind, link->start) != mark) continue;
        struct ring_mark now = *mark;
        now.branch = link->branch;
        now.body = told_of(mark);
        size_t before = evbuffer_get_length(link->out);
        int failed = link_put_mark(link->out, &now);
        json_decref(now.body);
        if (failed) return -1;
        double as_frames = link_pace_frames(&link->pace, evbuffer_get_length(link->out) - before);
        if (link->begin)
            link->begun += as_frames;
        else
            link_pace_spent(&link->pace, as_frames);
    }
    return 0;
}

/* The position up to which frames may go now. */
static uint64_t frames_limit(struct link *link, int64_t now)
{
    struct link_server *server = link->server;
    uint64_t air = link_air(server), most = ring_head(server->ring), start = link_frames_of(LINK_START_S);
    if (link->position >= air + start) link->needed = start;
    /* where there is little at all, what there is goes at once; else the rest of a record can wait */
    int plenty = !link->begin && most > air + 2 * start;
    uint64_t needed = air + (plenty ? link_frames_of(NEEDED_S) : link->needed);
    if (most > air && most - air > link->ahead) most = air + link->ahead;
    uint64_t lacking = most > link->position ? most - link->position : 0;
    uint64_t limit = link->position + link_pace_allow(&link->pace, lacking, now);
    if (limit > most) limit = most;
    /* what need not be sent now is not worth a record of its own */
    uint64_t worth = link_pace_fills(&link->pace) ? WORTH_FILL : RECORD_FRAMES;
    if (link->position >= needed && limit < link->position + worth && link->told_ns != now)
        return link->position;
    if (limit < needed) limit = needed;
    return limit < most ? limit : most;
}

/* Bytes of so many that are put around them, as frames. */
static double around(const struct link *link, size_t bytes, unsigned records)
{
    size_t heads = (size_t)records * FRAMES_HEAD;
    if (link->transport) heads += TLS_HEAD * (1 + (bytes + heads) / TLS_RECORD);
    return link_pace_frames(&link->pace, heads);
}

/* What lies before the end of its beginning is not paced. */
static void spend(struct link *link, uint32_t count, size_t bytes)
{
    double heads = around(link, bytes, 1);
    if (!link->begin) {
        link_pace_spent(&link->pace, count);
        link_pace_around(&link->pace, heads);
        return;
    }
    link->begun += count + heads;
    if (link->position < link->begin) return;
    link_pace_begun(&link->pace, link->begun, fmax(link->begun - link->earned, 0));
    link->begin = 0;
}

/* 1 when the buffer filled up before the limit, -1 when memory is out. */
static int put_frames(struct link *link, int64_t now)
{
    struct ring *ring = link->server->ring;
    unsigned kbps = ring_kbps(ring);
    uint64_t limit = frames_limit(link, now);
    while (link->position < limit) {
        if (evbuffer_get_length(link->out) >= LINK_BUFFER_MAX) return 1;
        uint64_t left = limit - link->position;
        uint32_t count = left < RECORD_FRAMES ? (uint32_t)left : RECORD_FRAMES;
        uint64_t from = mp3_frame_offset(kbps, link->position),
                 to = mp3_frame_offset(kbps, link->position + count);
        const uint8_t *bytes = ring_bytes(ring, from, to);
        if (link_put_frames(link->out, link->position, link->branch, count, bytes, (size_t)(to - from)))
            return -1;
        link->position += count;
        spend(link, count, (size_t)(to - from));
    }
    return 0;
}

int link_fill(struct link *link, int64_t now, const char **why)
{
    struct ring *ring = link->server->ring;
    *why = NULL;
    if (strcmp(link->station, ring_station(ring)))
        *why = "another station is on";
    else if (link->branch != ring_branch(ring) && put_branch(link))
        *why = "its branch is not known";
    else if (link->position < ring_tail(ring))
        *why = "it lags behind all that is held";
    else if (link->position > ring_head(ring) && !link->server->conf.follows)
        *why = "the programme was begun anew";
    if (*why) return -1;
    int more = put_marks(link);
    if (more == 0) more = put_frames(link, now);
    if (more < 0) *why = "out of memory";
    return more;
}

/* Where a relay that holds (branch, position) goes on; *void_from is UINT64_MAX when all it has is good. */
static uint64_t resume_at(const struct link_server *server, const struct link_ask *ask, uint64_t burst,
                          uint64_t *void_from)
{
    const struct ring *ring = server->ring;
    *void_from = UINT64_MAX;
    if (!ask->has_from || strcmp(ask->station ? ask->station : "", ring_station(ring))) return burst;
    if (ring_fork_after(ring, ask->branch, ask->position, void_from)) {
        *void_from = 0;
        return burst;
    }
    /* it has more than there is here: that was lost, and will be made anew */
    if (ask->position > ring_head(ring) && *void_from > ring_head(ring) && !server->conf.follows)
        *void_from = ring_head(ring);
    uint64_t next = ask->position < *void_from ? ask->position : *void_from;
    return next < ring_tail(ring) ? burst : next;
}

static void place(struct link *link, const struct link_ask *ask, uint64_t air, uint64_t *void_from)
{
    const struct link_server *server = link->server;
    uint64_t back = link_frames_of(fmax(ask->back_s, server->conf.burst_s));
    uint64_t burst = air > back ? air - back : 0;
    if (burst < ring_tail(server->ring)) burst = ring_tail(server->ring);
    /* the air of a ring that follows is ahead of it */
    if (burst > ring_head(server->ring)) burst = ring_head(server->ring);
    link->branch = ring_branch(server->ring);
    link->position = link->start = resume_at(server, ask, burst, void_from);
    link->ahead = UINT64_MAX;
    if (ask->ahead_s > 0) link->ahead = link_frames_of(fmax(ask->ahead_s, LINK_START_S));
    strncpy(link->station, ring_station(server->ring), sizeof link->station - 1);
}

static void set_text(json_t *body, const char *key, const char *text)
{
    if (text && *text) json_object_set_new(body, key, json_text_lossy(text));
}

static int greet(struct link *link, uint64_t void_from)
{
    struct link_server *server = link->server;
    uint64_t air = link_air(server), head = ring_head(server->ring);
    double lead_s = head > air ? (double)(head - air) * MP3_FRAME_SAMPLES / MP3_RATE : 0;
    json_t *body =
        json_pack("{s:i,s:s,s:o,s:s,s:i,s:I,s:I,s:I,s:f,s:s,s:O*}", "version", 1, "station", link->station,
                  "name", json_text_lossy(server->conf.name ? server->conf.name : ""), "mount",
                  server->conf.mount, "kbps", (int)ring_kbps(server->ring), "branch",
                  (json_int_t)link->branch, "position", (json_int_t)link->position, "air_position",
                  (json_int_t)(air ? air - 1 : 0), "lead_s", lead_s, "link", link->id, "path", server->path);
    set_text(body, "description", server->conf.description);
    set_text(body, "genre", server->conf.genre);
    set_text(body, "url", server->conf.url);
    if (void_from != UINT64_MAX) json_object_set_new(body, "void_from", json_integer((json_int_t)void_from));
    int rc = link_put_hello(link->out, body);
    json_decref(body);
    return rc;
}

static int put_command(struct link *link, json_t *body)
{
    int rc = link_put_command(link->out, body);
    json_decref(body);
    return rc;
}

int link_tell_time(struct link *link, int64_t now)
{
    uint32_t ns;
    if (now < link->clock_ns || evbuffer_get_length(link->out) > CLOCK_ROOM) return 0;
    link->clock_ns = now + CLOCK_NS_PER_S;
    link->told_ns = now;
    uint64_t position = link->server->conf.air(link->server->conf.context, &ns);
    size_t before = evbuffer_get_length(link->out);
    int rc = position != UINT64_MAX ? link_put_clock(link->out, position, ns)
                                    : put_command(link, json_pack("{s:s}", "command", "wait"));
    link_pace_around(&link->pace, link_pace_frames(&link->pace, evbuffer_get_length(link->out) - before));
    return rc;
}

int link_tell_path(struct link *link)
{
    return put_command(link, json_pack("{s:s,s:O}", "command", "path", "path", link->server->path));
}

/* What a beginning up to that frame takes beside its frames, as frames: made once, and thrown away. -1 when
 * memory is out. */
static double measure_else(struct link *link, uint64_t void_from, uint64_t end, int64_t now)
{
    struct evbuffer *out = link->out;
    unsigned kbps = ring_kbps(link->server->ring);
    uint64_t count = end > link->position ? end - link->position : 0;
    size_t bytes =
        (size_t)(mp3_frame_offset(kbps, link->position + count) - mp3_frame_offset(kbps, link->position));
    double as_frames = -1;
    if (!(link->out = evbuffer_new())) {
        link->out = out;
        return -1;
    }
    if (!greet(link, void_from) && !link_tell_time(link, now) && put_marks(link) >= 0)
        as_frames = link_pace_frames(&link->pace, evbuffer_get_length(out) + evbuffer_get_length(link->out)) +
                    around(link, bytes, 1 + (unsigned)(count / RECORD_FRAMES));
    evbuffer_free(link->out);
    link->out = out;
    link->serial = 0;
    link->clock_ns = link->told_ns = 0;
    return as_frames;
}

/* Beside what lies behind the air a beginning brings `beside`, and owes it, where that is more than nothing.
 * When too little of it is left for frames ahead of the air, those who begin anew get less from behind it. */
int link_begin(struct link *link, const struct link_ask *ask, int64_t now)
{
    uint64_t void_from, air = link_air(link->server), start = link_frames_of(LINK_START_S);
    double beside = (LINK_START_S - ask->less_s) * MP3_RATE / MP3_FRAME_SAMPLES;
    place(link, ask, air, &void_from);
    link->begin = UINT64_MAX; /* what is measured is not spent */
    double as_else = measure_else(link, void_from, air + start, now);
    if (as_else < 0) return -1;
    double behind = air > link->position ? (double)(air - link->position) : 0, room = beside - as_else,
           ahead = fmin(fmax(room, (double)link_frames_of(LEAST_S)), (double)start);
    if (!ask->has_from && ahead > room) link->position += (uint64_t)fmin(ceil(ahead - room), behind);
    link->start = link->position;
    link->needed = (uint64_t)ahead;
    link->begin = air + link->needed;
    if (link->position >= link->begin) link->begin = 0;
    link->earned = behind + fmin(beside, 0);
    if (greet(link, void_from) || link_tell_time(link, now)) return -1;
    link->begun = link_pace_frames(&link->pace, evbuffer_get_length(link->out));
    return 0;
}
