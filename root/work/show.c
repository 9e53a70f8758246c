#include "root/work/show.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "root/mix/plan.h"
#include "root/mix/rehearse.h"
#include "root/work/output.h"

#define PLANNED_MAX 64 /* tracks told to the brain beside its history */
#define AVOID_MAX   32
#define TRIES       5  /* tracks in a row that may turn out bad before we come back later */
#define AWAY_MAX    10 /* failed requests in a row for one track before it is avoided */
#define ALONE_S                                                                                              \
    20.0 /* played before the first transition after an opening or a skip: time to rehearse it               \
          */

struct planned {
    int64_t track;
    uint64_t sample; /* where its first segment starts */
};

/* Invariants: when `current` is set, cursor says where it plays alone, which is the programme's end unless
 * the programme is empty. With `forked`, the programme ends at `at`, and what comes next begins there. */
struct show {
    struct work *work;
    struct shelf *shelf;
    struct programme *programme;
    struct plan_conf conf;
    uint64_t frame; /* where the programme began or forked last */
    int64_t current;
    struct track track; /* current's, once it was needed; id 0 before */
    struct plan_cursor cursor;
    int forked;
    uint64_t at;
    json_t *under;       /* what plays from `at` on in the old programme */
    uint64_t bad_sample; /* nothing from here on could be read; UINT64_MAX */
    struct planned planned[PLANNED_MAX];
    size_t planned_count;
    int64_t avoid[AVOID_MAX];
    size_t avoid_count;
    int64_t away; /* the track the store did not give last, and how often */
    int away_count;
    json_t *marks;    /* to be sent */
    int64_t until_ns; /* no rehearsal lasts longer */
};

static int on_busy(void *context)
{
    const struct show *s = context;
    work_send(s->work, WIRE_ALIVE, 0, json_object(), -1);
    return clock_boot_ns() >= s->until_ns;
}

struct show *show_new(struct work *work, struct shelf *shelf)
{
    struct show *s = xcalloc(1, sizeof *s);
    s->work = work;
    s->shelf = shelf;
    s->conf = (struct plan_conf){.target_lufs = work->target_lufs,
                                 .max_tempo_change_pct = work->max_tempo_change_pct,
                                 .min_play_pct = work->min_play_pct,
                                 .busy = on_busy,
                                 .context = s};
    s->programme = programme_new(shelf_open, shelf);
    s->marks = json_array();
    s->bad_sample = UINT64_MAX;
    track_init(&s->track);
    return s;
}

void show_free(struct show *s)
{
    if (!s) return;
    programme_free(s->programme);
    track_free(&s->track);
    json_decref(s->marks);
    json_decref(s->under);
    free(s);
}

struct programme *show_programme(struct show *s)
{
    return s->programme;
}

int64_t show_track(const struct show *s)
{
    return s->current;
}

/* Segments */

static uint64_t sample_of(const json_t *segment, const char *key)
{
    return (uint64_t)json_int_or(segment, key, 0, 0, INT64_MAX, NULL);
}

static const json_t *last_entry(const json_t *segment)
{
    const json_t *tracks = json_object_get(segment, "tracks");
    return json_array_get(tracks, json_array_size(tracks) - 1);
}

static int64_t last_track(const json_t *segment)
{
    return json_int_or(last_entry(segment), "track", 0, 0, INT64_MAX, NULL);
}

static uint64_t segment_end(const struct show *s, size_t index)
{
    const json_t *next = programme_segment(s->programme, index + 1);
    return next ? sample_of(next, "start_sample") : programme_end(s->programme);
}

/* Marks */

static void add_mark(struct show *s, uint64_t sample, const char *kind, json_t *body)
{
    json_array_append_new(s->marks,
                          json_pack("{s:I,s:s,s:o}", "position", (json_int_t)(sample / MP3_FRAME_SAMPLES),
                                    "kind", kind, "body", body));
}

static json_t *title_body(const json_t *entry)
{
    const char *title = json_str_or(entry, "title", "", NULL),
               *artist = json_str_or(entry, "artist", "", NULL);
    char *text = *artist ? xasprintf("%s - %s", artist, title) : xstrdup(title);
    json_t *body = json_pack("{s:s,s:s,s:s}", "title", title, "artist", artist, "text", text);
    free(text);
    return body;
}

/* The marks of one segment that lie at `frame` or later. A title changes in the middle of a transition. */
static void announce(struct show *s, size_t index, uint64_t frame)
{
    json_t *segment = programme_segment(s->programme, index);
    const json_t *before = index ? programme_segment(s->programme, index - 1) : NULL;
    uint64_t start = sample_of(segment, "start_sample"), turn = start;
    if (start / MP3_FRAME_SAMPLES >= frame) add_mark(s, start, "segment", json_incref(segment));
    if (json_array_size(json_object_get(segment, "tracks")) > 1) {
        turn += (sample_of(segment, "end_sample") - start) / 2;
    } else if (before && last_track(before) == last_track(segment)) {
        return;
    }
    if (turn / MP3_FRAME_SAMPLES >= frame && turn < segment_end(s, index))
        add_mark(s, turn, "title", title_body(last_entry(segment)));
}

static void announce_from(struct show *s, uint64_t frame)
{
    json_array_clear(s->marks);
    for (size_t i = 0; i < programme_count(s->programme); i++)
        announce(s, i, frame);
}

json_t *show_mark(struct show *s)
{
    json_t *mark = json_incref(json_array_get(s->marks, 0));
    if (mark) json_array_remove(s->marks, 0);
    return mark;
}

/* Lists for the brain */

static void note_planned(struct show *s, int64_t track, uint64_t sample)
{
    if (!track) return; /* a live session */
    if (s->planned_count && s->planned[s->planned_count - 1].track == track) return;
    if (s->planned_count == PLANNED_MAX)
        memmove(s->planned, s->planned + 1, --s->planned_count * sizeof *s->planned);
    s->planned[s->planned_count++] = (struct planned){.track = track, .sample = sample};
}

static void note_avoid(struct show *s, int64_t track)
{
    for (size_t i = 0; i < s->avoid_count; i++) {
        if (s->avoid[i] == track) return;
    }
    if (s->avoid_count == AVOID_MAX) memmove(s->avoid, s->avoid + 1, --s->avoid_count * sizeof *s->avoid);
    s->avoid[s->avoid_count++] = track;
}

static void unplayable(struct show *s, int64_t track, const char *reason)
{
    log_warn("studio", "track %" PRId64 " can't be played: %s", track, reason);
    note_avoid(s, track);
    json_t *body = json_pack("{s:I,s:o}", "track", (json_int_t)track, "reason", json_text_lossy(reason));
    work_send(s->work, WIRE_UNPLAYABLE, 0, body, -1);
}

void show_fail(struct show *s, int64_t track, uint64_t sample, const char *reason)
{
    unplayable(s, track, reason);
    if (sample < s->bad_sample) s->bad_sample = sample;
}

/* Beginning and forking */

static void forget_track(struct show *s)
{
    track_free(&s->track);
    track_init(&s->track);
    s->track.id = 0;
}

static void clear(struct show *s, uint64_t frame)
{
    programme_truncate(s->programme, 0);
    json_array_clear(s->marks);
    json_decref(s->under);
    s->under = NULL;
    s->forked = 0;
    s->current = 0;
    s->planned_count = 0;
    s->bad_sample = UINT64_MAX;
    s->frame = frame;
    forget_track(s);
}

static int restore(struct show *s, uint64_t frame, const json_t *segments, char **cause)
{
    json_t *segment;
    size_t i, count = json_array_size(segments);
    json_array_foreach((json_t *)(uintptr_t)segments, i, segment)
    {
        if (programme_add(s->programme, segment, cause)) return -1;
        note_planned(s, last_track(segment), sample_of(segment, "start_sample"));
    }
    if (count == 0) return 0;
    if (programme_end(s->programme) < frame * MP3_FRAME_SAMPLES)
        return cause_set(cause, "the segments end before frame %" PRIu64, frame);
    if (plan_cursor_from(json_array_get(segments, count - 1), &s->cursor, &s->current))
        return cause_set(cause, "it ends in a live show, which is lost, or says no end");
    announce_from(s, frame);
    return 0;
}

void show_begin(struct show *s, uint64_t frame, const json_t *segments)
{
    char *cause = NULL;
    clear(s, frame);
    if (restore(s, frame, segments, &cause) == 0) return;
    log_error("studio", "the plan is lost, another track begins: %s", cause);
    free(cause);
    clear(s, frame);
}

/* What plays in [at, at + length), as bodies. */
static json_t *overlapping(const struct show *s, uint64_t at, uint64_t length)
{
    json_t *list = json_array();
    for (size_t i = 0; i < programme_count(s->programme); i++) {
        json_t *segment = programme_segment(s->programme, i);
        if (sample_of(segment, "start_sample") < at + length && segment_end(s, i) > at)
            json_array_append(list, segment);
    }
    return list;
}

void show_fork(struct show *s, uint64_t frame)
{
    uint64_t at = frame * MP3_FRAME_SAMPLES + OUTPUT_FORK, length = plan_skip_samples();
    if (programme_count(s->programme) && programme_end(s->programme) < at) at = programme_end(s->programme);
    json_decref(s->under);
    s->under = at + length <= s->bad_sample ? overlapping(s, at, length) : json_array();
    s->bad_sample = UINT64_MAX;
    programme_truncate(s->programme, at);
    while (s->planned_count && s->planned[s->planned_count - 1].sample >= at)
        s->planned_count--;
    size_t count = programme_count(s->programme);
    s->current = count ? last_track(programme_segment(s->programme, count - 1)) : 0;
    s->forked = count > 0;
    s->at = at;
    s->frame = frame;
    forget_track(s);
    announce_from(s, frame);
}

uint64_t show_fork_frame(uint64_t frame, uint64_t sample)
{
    uint64_t room = plan_skip_samples() + OUTPUT_FORK;
    uint64_t latest = sample > room ? (sample - room) / MP3_FRAME_SAMPLES : 0;
    return latest < frame ? latest : frame;
}

/* Growing */

/* The brain's choice: 1 with *id and *why (owned), 0 when there is none now. */
static int ask_next(struct show *s, int64_t *id, json_t **why)
{
    json_t *planned = json_array(), *avoid = json_array();
    for (size_t i = 0; i < s->planned_count; i++)
        json_array_append_new(planned, json_integer(s->planned[i].track));
    for (size_t i = 0; i < s->avoid_count; i++)
        json_array_append_new(avoid, json_integer(s->avoid[i]));
    json_t *body = json_pack("{s:o,s:o,s:o}", "after", s->current ? json_integer(s->current) : json_null(),
                             "planned", planned, "avoid", avoid);
    struct work_message reply;
    char *cause = NULL;
    if (work_request(s->work, WIRE_NEXT, body, &reply, &cause)) {
        log_warn("studio", "no choice of the next track: %s", cause);
        free(cause);
        return 0;
    }
    *id = json_int_or(reply.body, "track", 0, 1, INT64_MAX, NULL);
    *why = *id ? json_incref(json_object_get(reply.body, "why")) : NULL;
    work_message_free(&reply);
    return *id != 0;
}

/* 0 with *out; -1 when it can't be had, now or at all. */
static int load(struct show *s, int64_t id, struct track *out)
{
    char *cause = NULL;
    track_init(out);
    switch (shelf_track(s->shelf, id, out, &cause)) {
    case SHELF_FINE:
        s->away_count = 0;
        return 0;
    case SHELF_UNPLAYABLE:
        unplayable(s, id, cause);
        break;
    default:
        log_warn("studio", "track %" PRId64 " can't be had: %s", id, cause);
        s->away_count = s->away == id ? s->away_count + 1 : 1;
        s->away = id;
        if (s->away_count >= AWAY_MAX) note_avoid(s, id);
    }
    free(cause);
    return -1;
}

/* Adds what was planned; all of it or nothing. */
static int add(struct show *s, json_t *const segments[], int count)
{
    size_t before = programme_count(s->programme);
    uint64_t end = programme_end(s->programme);
    for (int i = 0; i < count; i++) {
        char *cause = NULL;
        if (!segments[i]) continue;
        if (programme_add(s->programme, segments[i], &cause) == 0) continue;
        log_error("studio", "a plan is refused: %s", cause);
        free(cause);
        programme_truncate(s->programme, before ? end : 0);
        return -1;
    }
    for (size_t i = before; i < programme_count(s->programme); i++) {
        const json_t *segment = programme_segment(s->programme, i);
        note_planned(s, last_track(segment), sample_of(segment, "start_sample"));
        announce(s, i, s->frame);
    }
    return 0;
}

json_t *show_under(const struct show *s, uint64_t *at)
{
    *at = s->at;
    return s->under ? json_incref(s->under) : json_array();
}

int show_add(struct show *s, json_t *segment)
{
    return add(s, &segment, 1);
}

/* A transition that was listened to. -1 when a file failed: `to` is not to be had, or else the track on air
 * is in trouble, and the transition is planned unheard: the rendering will tell where it fails. */
static int rehearse(struct show *s, const struct track *to, struct plan_cursor *cursor, json_t *why,
                    json_t *segments[2])
{
    int64_t bad = 0;
    char *cause = NULL;
    if (rehearse_transition(&s->track, to, &s->conf, shelf_open, s->shelf, cursor, why, segments, NULL, &bad,
                            &cause) == 0)
        return 0;
    log_warn("studio", "a transition could not be rehearsed: %s", cause ? cause : "no reason");
    if (bad == to->id) unplayable(s, bad, cause ? cause : "it failed");
    free(cause);
    if (bad == to->id) return -1;
    plan_transition(&s->track, to, &s->conf, cursor, why, segments);
    return 0;
}

static void tell(const json_t *last)
{
    const json_t *failed = json_object_get(json_object_get(last, "certificate"), "failed");
    log_info("studio", "%s to %s at %.1f s", json_str_or(last, "technique", "?", NULL),
             json_str_or(last_entry(last), "title", "?", NULL),
             (double)sample_of(last, "start_sample") / MP3_RATE);
    for (size_t i = 0; i < json_array_size(failed); i++)
        log_info("studio", "which is the best there is, but for its %s",
                 json_string_value(json_array_get(failed, i)));
}

/* The loaded track alone for a while; the transition after it is rehearsed meanwhile. */
static json_t *alone(const struct show *s, const struct track *track, struct plan_cursor *cursor)
{
    double third_s =
        (track->features.duration_s - cursor->track_s) / 3; /* of a short one most is left to join */
    json_t *body = plan_alone(track, &s->conf, cursor, third_s < ALONE_S ? third_s : ALONE_S);
    const json_t *voice = json_array_get(json_object_get(json_object_get(body, "plan"), "voices"), 0);
    if (!body) return NULL;
    cursor->sample = sample_of(body, "end_sample");
    cursor->track_s = (double)json_int_or(voice, "to", 0, 0, INT64_MAX, NULL) / MP3_RATE;
    return body;
}

/* Plans from where the show stands to the loaded track. */
static int plan_to(struct show *s, const struct track *to, json_t *why)
{
    json_t *segments[2] = {NULL, NULL};
    struct plan_cursor cursor = s->cursor;
    if (!s->current && !s->forked) {
        segments[0] = alone(s, to, &cursor);
    } else if (s->forked) {
        segments[0] = plan_skip(s->under, s->at, to, &s->conf, &cursor, why);
        segments[1] = alone(s, to, &cursor);
    } else {
        if (rehearse(s, to, &cursor, why, segments)) return -1;
        tell(segments[1]);
    }
    int result = add(s, segments, 2);
    if (result == 0) s->cursor = cursor;
    json_decref(segments[0]);
    json_decref(segments[1]);
    return result;
}

/* The track that plays at the programme's end, which a plan starts from. */
static int load_current(struct show *s)
{
    if (s->track.id || !s->current || s->forked) return 0;
    if (load(s, s->current, &s->track) == 0) return 0;
    forget_track(s);
    size_t avoided = 0;
    while (avoided < s->avoid_count && s->avoid[avoided] != s->current)
        avoided++;
    if (avoided == s->avoid_count) return 1; /* the store may come back */
    if (programme_end(s->programme) < s->bad_sample) s->bad_sample = programme_end(s->programme);
    return -1;
}

/* One track more: 1 planned, 0 nothing to play now, -1 another try is worth it. */
static int grow_once(struct show *s)
{
    int64_t id;
    json_t *why;
    struct track to;
    if (!ask_next(s, &id, &why)) return 0;
    int result = load(s, id, &to);
    /* nothing plays yet: it begins with this one */
    if (result == 0 && !s->current && !s->forked)
        s->cursor = plan_open(&to, s->frame * MP3_FRAME_SAMPLES + OUTPUT_DELAY);
    if (result == 0 && plan_to(s, &to, why)) {
        note_avoid(s, id);
        track_free(&to);
        result = -1;
    }
    json_decref(why);
    if (result) return -1;
    track_free(&s->track);
    s->track = to;
    s->current = id;
    s->forked = 0;
    json_decref(s->under);
    s->under = NULL;
    return 1;
}

int show_grow(struct show *s, int64_t until_ns)
{
    s->until_ns = until_ns;
    int result = load_current(s);
    if (result) return result < 0 ? -1 : 0;
    for (int i = 0; i < TRIES && !s->work->quit; i++) {
        result = grow_once(s);
        if (result >= 0) return result;
    }
    return 0;
}
