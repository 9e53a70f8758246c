#include "common/filler.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "common/mp3_gain.h"

#define GRANULES      (2 * FILLER_FADE_FRAMES)
#define TAPE_PAST_S   30
#define TAPE_LEAD_S   5
#define KEPT_NS       (30 * CLOCK_NS_PER_S) /* the tape, after its end: for those who lag */
#define PAUSE_NS      CLOCK_NS_PER_S        /* between two turns: nobody listened meanwhile */
#define WRITE_MAX     600u /* frames at a time: after a pause of the process time is let go */
#define NOTICE_FRAMES 32u  /* turns can be so far apart: the end is looked for so much earlier */
#define PATIENCE      ((uint64_t)FILLER_PATIENCE_S * MP3_RATE / MP3_FRAME_SAMPLES)

enum course {
    OFF,
    AWAY, /* from the programme, or what is left of it, to the loop, and round */
    HOME
};

/* Invariants: while on, the tape's head is the next frame to be written; of_programme says what that is: ring
 * frame (head - shift), or the loop's. faded counts granules of a fade out that lie behind: 0 is full. */
struct filler {
    struct ring *ring, *tape;
    struct loop *loop, *loop_next;
    json_t *title;
    uint8_t number;
    enum course course;
    int of_programme;
    uint64_t shift, faded;
    uint64_t fork, origin; /* where the loop's first frame lies on the tape, or would */
    uint64_t heard;        /* ring frames below it were heard when the loop began */
    uint64_t turn_at,
        home_at;   /* the tape's frames where the loop begins to fade, and the programme to come */
    uint64_t home; /* the ring's frame there */
    uint64_t join_tape, join_ring;
    int64_t anchor_ns; /* frame `anchor` of the tape is due */
    uint64_t anchor;
    uint64_t head_seen;
    int64_t fed_ns, turned_ns, ended_ns;
    uint64_t times;
};

struct filler *filler_new(struct ring *ring)
{
    struct filler *f = xcalloc(1, sizeof *f);
    f->ring = ring;
    return f;
}

static void drop_tape(struct filler *f)
{
    if (f->tape) ring_close(f->tape);
    f->tape = NULL;
}

void filler_free(struct filler *f)
{
    if (!f) return;
    drop_tape(f);
    loop_free(f->loop);
    loop_free(f->loop_next);
    json_decref(f->title);
    free(f);
}

void filler_set_loop(struct filler *f, struct loop *loop)
{
    struct loop **place = f->course == OFF ? &f->loop : &f->loop_next;
    loop_free(*place);
    *place = loop;
}

const struct loop *filler_loop(const struct filler *f)
{
    return f->loop_next ? f->loop_next : f->loop;
}

void filler_set_title(struct filler *f, json_t *title)
{
    json_decref(f->title);
    f->title = title;
}

const json_t *filler_title(const struct filler *f)
{
    return f->title;
}

json_t *filler_title_of(const char *station)
{
    static const char *const said = "the programme is back in a moment";
    const char *name = station && *station ? station : NULL;
    char *text = xasprintf("%s%s%s", name ? name : "", name ? ": " : "", said);
    json_t *title = json_object();
    json_object_set_new(title, "title", json_string(said));
    json_object_set_new(title, "artist", json_text_lossy(name ? name : ""));
    json_object_set_new(title, "text", json_text_lossy(text));
    free(text);
    return title;
}

/* The tape */

static uint64_t next_frame(const struct filler *f)
{
    return ring_head(f->tape);
}

static uint64_t due(const struct filler *f, int64_t now)
{
    return f->anchor + mp3_ns_to_frame(now - f->anchor_ns);
}

static void put_frame(struct filler *f, const uint8_t *bytes)
{
    uint8_t frame[MP3_FRAME_MAX_BYTES];
    uint64_t n = next_frame(f);
    size_t len = mp3_frame_bytes(ring_kbps(f->tape), n);
    memcpy(frame, bytes, len);
    if (f->faded)
        mp3_gain_lower(frame, len, mp3_gain_fade(f->faded, GRANULES), mp3_gain_fade(f->faded + 1, GRANULES));
    char *cause = NULL;
    if (ring_append(f->tape, ring_branch(f->tape), n, 1, frame, len, &cause)) {
        log_error("filler", "%s", cause); /* frames that were checked before */
        abort();
    }
    ring_set_floor(f->tape, n + 1);
}

/* Ring frame `position`, NULL when it is not held; its length is that of the tape's next one. */
static const uint8_t *programme_frame(const struct filler *f, uint64_t position)
{
    unsigned kbps = ring_kbps(f->ring);
    return ring_bytes(f->ring, mp3_frame_offset(kbps, position), mp3_frame_offset(kbps, position + 1));
}

static void quieter(struct filler *f)
{
    f->faded = f->faded + 2 > GRANULES ? GRANULES : f->faded + 2;
}

static void louder(struct filler *f)
{
    f->faded = f->faded < 2 ? 0 : f->faded - 2;
}

static void begin_loop(struct filler *f)
{
    uint64_t n = next_frame(f);
    f->heard = n - f->shift;
    f->of_programme = 0;
    f->faded = GRANULES;
    f->origin = n / MP3_PERIOD_FRAMES * MP3_PERIOD_FRAMES; /* its frames have the lengths of the tape's */
}

static void take_next_loop(struct filler *f)
{
    if (!f->loop_next) return;
    loop_free(f->loop);
    f->loop = f->loop_next;
    f->loop_next = NULL;
}

static void end(struct filler *f, int64_t now)
{
    f->course = OFF;
    f->join_tape = next_frame(f);
    f->join_ring = f->join_tape - f->shift;
    f->ended_ns = now;
    take_next_loop(f);
    log_info("filler", "the programme is back, from frame %" PRIu64 " on", f->join_ring);
}

static void write_programme(struct filler *f, int64_t now)
{
    uint64_t at = next_frame(f) - f->shift, head = ring_head(f->ring);
    const uint8_t *bytes = at < head && at >= ring_tail(f->ring) ? programme_frame(f, at) : NULL;
    if (!bytes || (f->course == AWAY && f->faded >= GRANULES)) {
        f->course = AWAY;
        begin_loop(f);
        put_frame(f, loop_frame(f->loop, next_frame(f) - f->origin));
        return;
    }
    put_frame(f, bytes);
    if (f->course == AWAY) {
        /* the last frame held is the softest */
        if (head - at <= FILLER_FADE_FRAMES - f->faded / 2) quieter(f);
    } else if (f->faded) {
        louder(f);
    } else {
        end(f, now);
    }
}

static void write_loop(struct filler *f)
{
    uint64_t n = next_frame(f);
    if (f->course == HOME && n >= f->home_at) {
        f->of_programme = 1;
        f->shift = n - f->home;
        f->faded = GRANULES;
        return;
    }
    put_frame(f, loop_frame(f->loop, n - f->origin));
    if (f->course == AWAY)
        louder(f);
    else if (n >= f->turn_at)
        quieter(f);
}

/* Courses */

static int begin(struct filler *f, uint64_t air, int64_t now)
{
    const struct ring_conf conf = {.kbps = ring_kbps(f->ring), .past_s = TAPE_PAST_S, .lead_s = TAPE_LEAD_S};
    char *cause = NULL;
    drop_tape(f);
    if (ring_open(&f->tape, &conf, &cause)) {
        log_error("filler", "no room for the loop: %s", cause);
        free(cause);
        f->tape = NULL;
        f->fed_ns = now; /* the next try */
        return -1;
    }
    ring_reset(f->tape, ring_station(f->ring), 0, air);
    f->number = f->number == UINT8_MAX ? 1 : (uint8_t)(f->number + 1);
    f->course = AWAY;
    f->of_programme = 1;
    f->shift = f->faded = 0;
    f->fork = f->anchor = air;
    f->anchor_ns = now;
    f->times++;
    log_warn("filler", "nothing comes after frame %" PRIu64 ": the loop is played", ring_head(f->ring));
    return 0;
}

/* Back from the loop, to the frame that follows what was heard if that is held and not too long ago. */
static void turn_home(struct filler *f, uint64_t air)
{
    uint64_t n = next_frame(f), tail = ring_tail(f->ring);
    int follows = f->heard >= tail && f->heard <= air && air - f->heard <= PATIENCE;
    f->home = follows ? f->heard : air > tail ? air : tail;
    uint64_t fade = (GRANULES - f->faded + 1) / 2;
    uint64_t off = (f->home % MP3_PERIOD_FRAMES + MP3_PERIOD_FRAMES - (n + fade) % MP3_PERIOD_FRAMES) %
                   MP3_PERIOD_FRAMES;
    f->turn_at = n + off; /* the lengths of both must agree where they meet */
    f->home_at = n + off + fade;
    f->course = HOME;
}

static void look(struct filler *f, uint64_t air, int runs, int64_t now)
{
    uint64_t head = ring_head(f->ring), left = head > air ? head - air : 0;
    int stale = now - f->fed_ns >= FILLER_STALE_S * CLOCK_NS_PER_S;
    if (f->course == OFF) {
        if (f->loop && stale && left <= FILLER_FADE_FRAMES + NOTICE_FRAMES) begin(f, air, now);
    } else if (f->course == AWAY && f->of_programme) {
        uint64_t at = next_frame(f) - f->shift;
        if (!stale && head > at + FILLER_HOME_FRAMES) f->course = HOME;
    } else if (f->course == AWAY) {
        if (!stale && runs && left >= FILLER_HOME_FRAMES) turn_home(f, air);
    } else if (stale && left <= FILLER_FADE_FRAMES) {
        f->course = AWAY;
    }
}

uint64_t filler_air(struct filler *f, uint64_t air, int runs, int64_t now)
{
    if (ring_head(f->ring) != f->head_seen || now - f->turned_ns > PAUSE_NS) f->fed_ns = now;
    if (f->course == OFF && f->tape && now - f->ended_ns > KEPT_NS) drop_tape(f);
    f->head_seen = ring_head(f->ring);
    f->turned_ns = now;
    look(f, air, runs, now);
    if (f->course == OFF) return air;
    if (due(f, now) > next_frame(f) + WRITE_MAX) {
        f->anchor = next_frame(f);
        f->anchor_ns = now;
    }
    while (f->course != OFF && next_frame(f) < due(f, now)) {
        if (f->of_programme)
            write_programme(f, now);
        else
            write_loop(f);
    }
    return f->course == OFF ? air : next_frame(f);
}

void filler_begin(struct filler *f, uint64_t air, int64_t now)
{
    if (f->course != OFF || !f->loop || begin(f, air, now)) return;
    f->head_seen = ring_head(f->ring);
    f->turned_ns = now;
    f->fed_ns = now - FILLER_STALE_S * CLOCK_NS_PER_S;
}

void filler_stop(struct filler *f)
{
    f->course = OFF;
    drop_tape(f);
    take_next_loop(f);
}

int64_t filler_until(const struct filler *f, uint64_t frame, int64_t now)
{
    return frame <= f->anchor ? 0 : f->anchor_ns + mp3_frame_to_ns(frame - f->anchor) - now;
}

int filler_on(const struct filler *f)
{
    return f->course != OFF;
}

int filler_loops(const struct filler *f)
{
    return f->course != OFF && !f->of_programme;
}

uint64_t filler_times(const struct filler *f)
{
    return f->times;
}

struct ring *filler_tape(const struct filler *f)
{
    return f->tape;
}

uint8_t filler_tape_number(const struct filler *f)
{
    return f->number;
}

uint64_t filler_fork(const struct filler *f)
{
    return f->fork;
}

void filler_join(const struct filler *f, uint64_t *from, uint64_t *to)
{
    *from = f->join_tape;
    *to = f->join_ring;
}
