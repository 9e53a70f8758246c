#include "root/air/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"

#define SKIP_MIN_S     5.0  /* nothing nearer to the air than this is ever retracted */
#define START_PAST_S   10.0 /* of segments before the air that a new studio is told: it primes with them */
#define KIND_MAX_BYTES 31
#define BARREN_MAX     4 /* studios that died in a row without a frame: then what was planned is given up */

/* Invariants: every frame in the ring lay below the credit given when it came; aired_below only grows; a
 * pending skip belongs to the ring's present branch. */
struct schedule {
    struct schedule_conf conf;
    uint64_t credit;        /* last one told */
    uint64_t aired_below;   /* segment marks before this were reported */
    uint64_t counted_below; /* and before this counted */
    struct transitions transitions;
    int studio;       /* one serves */
    int64_t live;     /* the session on air or about to be; 0: the mix */
    int skip_pending; /* no segment of the new branch has come yet */
    int64_t planned;  /* the track told to the brain last */
    uint64_t frames;
    uint64_t frames_at_start; /* `frames` when the present studio took over */
    int plan_given_up;        /* no segment may be told to a studio until a new one is announced */
    unsigned barren;          /* studios that died since the last frame, though they had credit */
};

static uint64_t frames_of(double seconds)
{
    return (uint64_t)ceil(seconds * MP3_RATE / MP3_FRAME_SAMPLES);
}

static uint64_t air_of(const struct schedule *s)
{
    return s->conf.air(s->conf.context);
}

struct schedule *schedule_new(const struct schedule_conf *conf)
{
    struct schedule *s = xcalloc(1, sizeof *s);
    s->conf = *conf;
    s->aired_below = s->counted_below = conf->aired_from;
    transitions_init(&s->transitions);
    s->credit = ring_head(conf->ring);
    return s;
}

void schedule_free(struct schedule *schedule)
{
    free(schedule);
}

/* Credit */

double schedule_lead_s(const struct schedule *s)
{
    return s->live && s->conf.lead_s > SCHEDULE_LIVE_LEAD_S ? SCHEDULE_LIVE_LEAD_S : s->conf.lead_s;
}

static void give_credit(struct schedule *s)
{
    struct ring *ring = s->conf.ring;
    uint64_t air = air_of(s), floor = ring_floor(ring);
    uint64_t until = air + frames_of(schedule_lead_s(s)), room = floor + ring_capacity(ring);
    if (until > room) until = room;
    if (until <= s->credit || !s->studio) return;
    /* about once a second, and at once when the studio may stand still for want of it */
    if (until < s->credit + frames_of(1) && ring_head(ring) < s->credit) return;
    if (s->conf.tell(
            s->conf.context, ROLE_STUDIO, WIRE_CREDIT,
            json_pack("{s:I,s:I}", "branch", (json_int_t)ring_branch(ring), "until", (json_int_t)until)))
        return;
    s->credit = until;
}

uint64_t schedule_credit(const struct schedule *schedule)
{
    return schedule->credit;
}

uint64_t schedule_frames_received(const struct schedule *schedule)
{
    return schedule->frames;
}

const struct transitions *schedule_transitions(const struct schedule *schedule)
{
    return &schedule->transitions;
}

/* The studio comes and goes */

static int collect_body(void *context, const struct schedule_segment *segment)
{
    /* whole, also when it was cut short: its sound follows from its own end */
    json_array_append(context, (json_t *)(uintptr_t)segment->body);
    return 0;
}

/* Voids what lies from position on and has the studio make something else there. */
static int retract(struct schedule *s, uint64_t position, int skip, int64_t live, char **cause)
{
    struct ring *ring = s->conf.ring;
    uint32_t branch = ring_branch(ring) + 1;
    if (ring_retract(ring, branch, position, cause)) return -1;
    s->skip_pending = 1;
    s->planned = 0;
    if (s->credit > position) s->credit = position; /* credits name their branch: the old one's are void */
    json_t *body = json_pack("{s:I,s:I,s:b}", "branch", (json_int_t)branch, "position", (json_int_t)position,
                             "skip", skip);
    if (live) json_object_set_new(body, "live", json_integer(live));
    s->conf.tell(s->conf.context, ROLE_STUDIO, WIRE_RETRACT, body);
    give_credit(s);
    s->conf.changed(s->conf.context);
    return 0;
}

/* What the plan holds seems to kill whoever renders it, and the music must not stop for that: the next studio
 * begins anew at the head and is told of no segment. */
static void give_up_plan(struct schedule *s)
{
    struct ring *ring = s->conf.ring;
    char *cause = NULL;
    s->barren = 0;
    if (ring_retract(ring, ring_branch(ring) + 1, ring_head(ring), &cause)) {
        log_error("schedule", "the plan can't be given up: %s", cause);
        free(cause);
        return;
    }
    log_error("schedule", "%d studios died without a frame: the programme begins anew at %llu, branch %u",
              BARREN_MAX, (unsigned long long)ring_head(ring), ring_branch(ring));
    s->skip_pending = 0;
    s->planned = 0;
    s->plan_given_up = 1;
    s->conf.changed(s->conf.context);
}

void schedule_studio_up(struct schedule *s)
{
    struct ring *ring = s->conf.ring;
    if (s->barren >= BARREN_MAX) give_up_plan(s);
    uint64_t next = ring_head(ring), past = frames_of(START_PAST_S), from = air_of(s);
    if (from > next) from = next;
    json_t *segments = json_array();
    /* from the air on, as a skip fades out what plays there */
    if (!s->plan_given_up)
        schedule_segments(ring, from > past ? from - past : 0, UINT64_MAX, collect_body, segments);
    s->studio = 1;
    s->frames_at_start = s->frames;
    s->credit = next;
    s->conf.tell(s->conf.context, ROLE_STUDIO, WIRE_START,
                 json_pack("{s:I,s:I,s:I,s:o}", "branch", (json_int_t)ring_branch(ring), "next",
                           (json_int_t)next, "air", (json_int_t)from, "segments", segments));
    char *cause = NULL;
    if (s->skip_pending && retract(s, next, 1, 0, &cause))
        log_warn("schedule", "the skip is lost: %s", cause);
    free(cause);
    give_credit(s);
}

void schedule_studio_down(struct schedule *s)
{
    int could_send = s->studio && ring_head(s->conf.ring) < s->credit;
    if (s->frames == s->frames_at_start && could_send) s->barren++;
    s->studio = 0;
    s->live = 0; /* its sound is gone with it */
}

/* What it sends */

int schedule_frames(struct schedule *s, const struct msg *message, char **cause)
{
    struct ring *ring = s->conf.ring;
    uint64_t position;
    uint32_t branch, count;
    const uint8_t *bytes;
    size_t len;
    if (wire_frames_decode(message, &position, &branch, &count, &bytes, &len))
        return cause_set(cause, "a message of frames that is none");
    if (branch < ring_branch(ring)) return 0; /* under way when its branch was retracted */
    if (branch > ring_branch(ring)) return cause_set(cause, "frames of branch %u, which is none", branch);
    if (position != ring_head(ring))
        return cause_set(cause, "frames at %llu, the programme goes on at %llu", (unsigned long long)position,
                         (unsigned long long)ring_head(ring));
    if (position + count > s->credit)
        return cause_set(cause, "frames up to %llu, beyond the credit of %llu",
                         (unsigned long long)position + count, (unsigned long long)s->credit);
    if (ring_append(ring, branch, position, count, bytes, len, cause)) return -1;
    s->frames += count;
    s->barren = 0;
    s->conf.changed(s->conf.context);
    return 0;
}

static int64_t last_track(const json_t *segment)
{
    const json_t *tracks = json_object_get(segment, "tracks");
    return json_int_or(json_array_get(tracks, json_array_size(tracks) - 1), "track", 0, 1, INT64_MAX, NULL);
}

static void note_segment(struct schedule *s, const json_t *segment)
{
    s->skip_pending = 0;
    s->plan_given_up = 0;
    int64_t track = last_track(segment);
    if (!track || track == s->planned) return;
    s->planned = track;
    s->conf.tell(s->conf.context, ROLE_BRAIN, WIRE_PLANNED, json_pack("{s:I}", "track", (json_int_t)track));
}

static int segment_is_sound(const json_t *body)
{
    int bad = 0;
    int64_t start = json_int_or(body, "start_sample", -1, 0, INT64_MAX, &bad);
    int64_t end = json_int_or(body, "end_sample", -1, 0, INT64_MAX, &bad);
    return !bad && start >= 0 && end > start && json_is_array(json_object_get(body, "tracks"));
}

/* A successor may repeat what its predecessor had announced. */
static int is_held(const struct ring *ring, uint64_t position, const char *kind, const json_t *body)
{
    const struct ring_mark *mark;
    for (size_t i = 0; (mark = ring_mark(ring, i)) && mark->position <= position; i++) {
        if (mark->position == position && !strcmp(mark->kind, kind) && json_equal(mark->body, body)) return 1;
    }
    return 0;
}

int schedule_mark(struct schedule *s, const json_t *body, char **cause)
{
    struct ring *ring = s->conf.ring;
    int bad = 0;
    int64_t branch = json_int_or(body, "branch", -1, 0, UINT32_MAX, &bad);
    int64_t position = json_int_or(body, "position", -1, 0, INT64_MAX, &bad);
    const char *kind = json_str_or(body, "kind", "", &bad);
    json_t *content = json_object_get(body, "body");
    if (bad || branch < 0 || position < 0 || !*kind || strlen(kind) > KIND_MAX_BYTES ||
        !json_is_object(content))
        return cause_set(cause, "a mark that is none");
    if (branch < ring_branch(ring)) return 0;
    if (branch > ring_branch(ring))
        return cause_set(cause, "a mark of branch %lld, which is none", (long long)branch);
    int segment = !strcmp(kind, "segment");
    if (segment && !segment_is_sound(content))
        return cause_set(cause, "a segment without start, end and tracks");
    if (is_held(ring, (uint64_t)position, kind, content)) return 0;
    if (ring_mark_add(ring, (uint32_t)branch, (uint64_t)position, kind, content, cause)) return -1;
    if (segment) note_segment(s, content);
    s->conf.changed(s->conf.context);
    return 0;
}

/* What has aired */

static void report_aired(struct schedule *s)
{
    struct ring *ring = s->conf.ring;
    uint64_t air = air_of(s);
    const struct ring_mark *mark;
    for (size_t i = 0; (mark = ring_mark(ring, i)); i++) {
        if (mark->position > air) break;
        if (strcmp(mark->kind, "segment")) continue;
        if (mark->position >= s->counted_below) {
            transitions_note(&s->transitions, mark->body);
            s->counted_below = mark->position + 1;
        }
        if (mark->position < s->aired_below) continue;
        double ago_s = (double)mp3_frame_to_ns(air - mark->position) / 1e9;
        json_t *told = json_pack("{s:I,s:I,s:s,s:O,s:f}", "branch", (json_int_t)mark->branch, "position",
                                 (json_int_t)mark->position, "kind", "segment", "body", mark->body, "wall_s",
                                 (double)clock_wall_ns() / 1e9 - ago_s);
        if (s->conf.tell(s->conf.context, ROLE_STORE, WIRE_AIRED, told))
            return; /* the store is away: later */
        s->aired_below = mark->position + 1;
    }
}

void schedule_store_up(struct schedule *s)
{
    const struct ring_mark *mark = ring_mark_at(s->conf.ring, "segment", air_of(s));
    if (mark && mark->position < s->aired_below) s->aired_below = mark->position;
    report_aired(s);
}

void schedule_tick(struct schedule *schedule)
{
    give_credit(schedule);
    report_aired(schedule);
}

static int change(struct schedule *s, int64_t live, uint64_t *position, char **cause)
{
    struct ring *ring = s->conf.ring;
    uint64_t air = air_of(s), head = ring_head(ring), at = air + frames_of(SCHEDULE_SKIP_S);
    if (s->skip_pending) return cause_set(cause, "a skip is under way");
    if (head <= air) return cause_set(cause, "nothing is on air");
    if (at > head || head < air + frames_of(SKIP_MIN_S)) at = head;
    if (retract(s, at, 1, live, cause)) return -1;
    *position = at;
    log_info("schedule", "%s: branch %u begins at %llu, %.1f s ahead", live ? "live" : "skip",
             ring_branch(ring), (unsigned long long)at, (double)mp3_frame_to_ns(at - air) / 1e9);
    return 0;
}

int schedule_skip(struct schedule *s, uint64_t *position, char **cause)
{
    return change(s, 0, position, cause);
}

int schedule_live(struct schedule *s, int64_t session, uint64_t *position, char **cause)
{
    if (!s->studio) return cause_set(cause, "no studio is there");
    int64_t before = s->live;
    s->live = session; /* no more than its credit is given at once */
    if (change(s, session, position, cause) == 0) return 0;
    s->live = before;
    return -1;
}

void schedule_live_over(struct schedule *s)
{
    s->live = 0;
    give_credit(s);
}

int schedule_fork(struct schedule *s, const json_t *body, char **cause)
{
    struct ring *ring = s->conf.ring;
    int bad = 0;
    int64_t branch = json_int_or(body, "branch", -1, 0, UINT32_MAX, &bad);
    int64_t position = json_int_or(body, "position", -1, 0, INT64_MAX, &bad);
    if (bad || branch < 0 || position < 0) return cause_set(cause, "a fork that is none");
    if (branch != ring_branch(ring)) return 0; /* it has been forked meanwhile */
    uint64_t air = air_of(s), head = ring_head(ring), at = (uint64_t)position;
    if (at < air + frames_of(SKIP_MIN_S)) at = air + frames_of(SKIP_MIN_S);
    if (at > head) at = head;
    char *why = NULL;
    if (retract(s, at, 0, 0, &why)) {
        log_warn("schedule", "the studio can't go on, nor fork at %llu: %s", (unsigned long long)at, why);
    } else {
        log_info("schedule", "%s: branch %u begins at %llu",
                 s->live ? "a live source has ended" : "a file failed", ring_branch(ring),
                 (unsigned long long)at);
    }
    free(why);
    return 0;
}

/* Segments as they stand */

static int fill_segment(const struct ring_mark *mark, struct schedule_segment *out)
{
    if (strcmp(mark->kind, "segment")) return -1;
    *out = (struct schedule_segment){.position = mark->position, .body = mark->body, .branch = mark->branch};
    out->start_sample = json_int_or(mark->body, "start_sample", 0, 0, INT64_MAX, NULL);
    out->end_sample = json_int_or(mark->body, "end_sample", 0, 0, INT64_MAX, NULL);
    return 0;
}

void schedule_segments(const struct ring *ring, uint64_t from, uint64_t to,
                       int (*see)(void *context, const struct schedule_segment *segment), void *context)
{
    int64_t from_sample =
        from > INT64_MAX / MP3_FRAME_SAMPLES ? INT64_MAX : (int64_t)from * MP3_FRAME_SAMPLES;
    struct schedule_segment held, next;
    int have = 0;
    const struct ring_mark *mark;
    for (size_t i = 0;; i++) {
        mark = ring_mark(ring, i);
        if (mark && fill_segment(mark, &next)) continue;
        if (have) {
            /* one that was cut short by a retraction ends where the new branch begins */
            if (mark && held.end_sample > next.start_sample) held.end_sample = next.start_sample;
            int seen =
                held.position < to && held.end_sample > from_sample && held.end_sample > held.start_sample;
            if (seen && see(context, &held)) return;
        }
        if (!mark) return;
        held = next;
        have = 1;
    }
}

json_t *schedule_public(const struct schedule_segment *segment)
{
    json_t *shown = json_copy((json_t *)(uintptr_t)segment->body);
    json_object_del(shown, "plan");
    json_object_set_new(shown, "position", json_integer((json_int_t)segment->position));
    json_object_set_new(shown, "branch", json_integer(segment->branch));
    json_object_set_new(shown, "start_sample", json_integer(segment->start_sample));
    json_object_set_new(shown, "end_sample", json_integer(segment->end_sample));
    return shown;
}
