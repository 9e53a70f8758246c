/* plan: writes the segments that join.c chose.
 *
 * The "plan" of a segment is a recipe in whole samples, so that it means the same wherever it is read:
 *   {"version":1, "bass_hz":180, "treble_hz":2500, "correlation":0.1, "ride_db":1.2,
 *    "voices":[voice...], "beats":[of a blend without maps], "under":{"segments":[...],"level":[fade...]},
 *    "live":{"session","level":[fade...]}}: the sound of a live source, in place of voices (work/live_take.c)
 *   voice {"track","hash","gain_db", "from","to": source samples, "at": where in the segment it begins,
 *          "samples": how long it is there, "map":[[in,out]...]: beats, from its own start, absent when it
 * plays at its own speed, "join_in","join_out": how much of its start or end is at its own speed and meets
 *          what plays alone there, "level":[fade...], "bass" and "treble":[fade...]: these bands apart
 *          where present, "ride":[[at,dB]...], "echo":{"from","delay","gain"}}
 *   fade  {"curve":"power"|"linear"|"drop", "way":"in"|"out", "from","to": samples of the segment}
 * Gains multiply. "ride_db": how much louder than its own gain the last voice ends. `under` is what a skip
 * fades out: the old programme's segments. */
#include "root/mix/plan.h"

#include <math.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "root/audio/pcm.h"
#include "root/mix/grid.h"
#include "root/mix/join.h"

#define LOUD_PART_MAX_LU 4.0
#define GAIN_MAX_DB      20.0 /* either way: what needs more is no music */
#define BASS_HZ          180
#define TREBLE_HZ        2500
#define ECHO_GAIN        0.55
#define RIDE_S           60.0 /* a ride is back at nothing after so long */
#define RIDE_LEAST_DB    0.05
#define OPEN_S           0.02  /* fade in of a station's first sound, fade out of its last */
#define STEP_S           0.005 /* least length of any fade: shorter ones click */
#define SKIP_S           2.0
#define UNDER_DEPTH_MAX  4 /* skips of skips that are still told apart */

static int64_t samples_of(double s)
{
    return llround(s * PCM_RATE);
}

static double seconds_of(int64_t samples)
{
    return (double)samples / PCM_RATE;
}

double plan_gain_db(const struct track *track, const struct plan_conf *conf)
{
    const struct features *f = &track->features;
    if (!isfinite(f->loudness_lufs)) return 0;
    double gain = conf->target_lufs - f->loudness_lufs;
    if (isfinite(f->loud_part_lufs))
        gain = fmin(gain, conf->target_lufs + LOUD_PART_MAX_LU - f->loud_part_lufs);
    gain = fmax(-GAIN_MAX_DB, fmin(GAIN_MAX_DB, gain));
    return round(gain * 100) / 100;
}

struct plan_cursor plan_open(const struct track *track, uint64_t at)
{
    return (struct plan_cursor){.sample = at, .track_s = seconds_of(span_of(track).from)};
}

uint64_t plan_skip_samples(void)
{
    return (uint64_t)samples_of(SKIP_S);
}

/* Bodies */

static void set_real(json_t *object, const char *key, double value)
{
    if (isfinite(value)) json_object_set_new(object, key, json_real(value));
}

static void set_text(json_t *object, const char *key, const char *text)
{
    if (text && *text) json_object_set_new(object, key, json_text_lossy(text));
}

/* A track without a title goes by its file's name. */
static void set_title(json_t *object, const struct track *track)
{
    if (track->tags.title && *track->tags.title) {
        set_text(object, "title", track->tags.title);
    } else if (track->path) {
        const char *slash = strrchr(track->path, '/'), *name = slash ? slash + 1 : track->path;
        const char *dot = strrchr(name, '.');
        char *stem = xstrndup(name, dot && dot > name ? (size_t)(dot - name) : strlen(name));
        set_text(object, "title", stem);
        free(stem);
    }
}

/* One of the public "tracks". */
static json_t *entry_new(const struct track *track, double gain_db, int64_t from, int64_t to)
{
    const struct features *f = &track->features;
    json_t *entry = json_object();
    json_object_set_new(entry, "track", json_integer(track->id));
    set_text(entry, "hash", track->hash);
    set_title(entry, track);
    set_text(entry, "artist", track->tags.artist);
    set_text(entry, "album", track->tags.album);
    set_real(entry, "duration_s", f->duration_s);
    set_real(entry, "tempo_bpm", f->tempo_bpm);
    set_text(entry, "camelot", key_camelot(f->key));
    set_real(entry, "gain_db", gain_db);
    set_real(entry, "from_s", seconds_of(from));
    set_real(entry, "to_s", seconds_of(to));
    return entry;
}

static json_t *voice_new(const struct track *track, double gain_db, int64_t from, int64_t to, int64_t at,
                         int64_t samples)
{
    json_t *voice = json_object();
    json_object_set_new(voice, "track", json_integer(track->id));
    set_text(voice, "hash", track->hash);
    json_object_set_new(voice, "gain_db", json_real(gain_db));
    json_object_set_new(voice, "from", json_integer(from));
    json_object_set_new(voice, "to", json_integer(to));
    json_object_set_new(voice, "at", json_integer(at));
    json_object_set_new(voice, "samples", json_integer(samples));
    return voice;
}

static void add_fade(json_t *voice, const char *band, const char *curve, const char *way, int64_t from,
                     int64_t to)
{
    json_t *list = json_object_get(voice, band), *fade = json_object();
    if (!list) json_object_set_new(voice, band, list = json_array());
    json_object_set_new(fade, "curve", json_string(curve));
    json_object_set_new(fade, "way", json_string(way));
    json_object_set_new(fade, "from", json_integer(from));
    json_object_set_new(fade, "to", json_integer(to));
    json_array_append_new(list, fade);
}

/* 0 when it plays at its own speed and needs none. */
static int set_map(json_t *voice, const int64_t *in, const int64_t *out, int beats)
{
    if (!memcmp(in, out, (size_t)(beats + 1) * sizeof *in)) return 0;
    json_t *map = json_array();
    for (int k = 0; k <= beats; k++)
        json_array_append_new(map, json_pack("[I, I]", in[k], out[k]));
    json_object_set_new(voice, "map", map);
    return 1;
}

/* Where the beats lie when no map says so. */
static void set_beats(json_t *plan, const int64_t *beat, int beats)
{
    json_t *list = json_array();
    for (int k = 0; k <= beats; k++)
        json_array_append_new(list, json_integer(beat[k]));
    json_object_set_new(plan, "beats", list);
}

static json_t *plan_new(void)
{
    return json_pack("{s:i, s:i, s:i, s:[]}", "version", 1, "bass_hz", BASS_HZ, "treble_hz", TREBLE_HZ,
                     "voices");
}

static json_t *body_new(const char *technique, uint64_t start, int64_t samples, int64_t track)
{
    json_t *body = json_object();
    char *id = xasprintf("%s-%llu-%lld", technique, (unsigned long long)start, (long long)track);
    json_object_set_new(body, "id", json_string(id));
    free(id);
    json_object_set_new(body, "technique", json_string(technique));
    json_object_set_new(body, "start_sample", json_integer((json_int_t)start));
    json_object_set_new(body, "end_sample", json_integer((json_int_t)start + samples));
    json_object_set_new(body, "tracks", json_array());
    json_object_set_new(body, "plan", plan_new());
    return body;
}

static void add_voice(json_t *body, json_t *voice)
{
    json_array_append_new(json_object_get(json_object_get(body, "plan"), "voices"), voice);
}

static void add_entry(json_t *body, json_t *entry)
{
    json_array_append_new(json_object_get(body, "tracks"), entry);
}

/* Only a station's first sound starts exactly where a track is opened: it gets a fade against the click. */
static void soften_opening(json_t *voice, const struct track *track, int64_t from)
{
    if (from == span_of(track).from) add_fade(voice, "level", "linear", "in", 0, samples_of(OPEN_S));
}

/* What of a ride is left after `samples`. */
static double ride_after(double db, int64_t samples)
{
    double left = 1 - seconds_of(samples) / RIDE_S;
    return left > 0 ? db * left : 0;
}

static void set_ride(json_t *voice, int64_t from, double from_db, int64_t to, double to_db)
{
    if (fabs(from_db) < RIDE_LEAST_DB && fabs(to_db) < RIDE_LEAST_DB) return;
    json_t *ride = json_pack("[[I,f]]", (json_int_t)from, from_db);
    if (to > from) json_array_append_new(ride, json_pack("[I,f]", (json_int_t)to, to_db));
    json_object_set_new(voice, "ride", ride);
}

/* From db at the voice's beginning back to nothing. */
static void set_ride_back(json_t *voice, double db, int64_t samples)
{
    int64_t whole = samples_of(RIDE_S);
    set_ride(voice, 0, db, samples < whole ? samples : whole, ride_after(db, samples));
}

static json_t *play_new(const struct track *track, double gain_db, double ride_db, uint64_t at, int64_t from,
                        int64_t to)
{
    json_t *body = body_new("play", at, to - from, track->id);
    json_t *voice = voice_new(track, gain_db, from, to, 0, to - from);
    soften_opening(voice, track, from);
    set_ride_back(voice, ride_db, to - from);
    add_voice(body, voice);
    add_entry(body, entry_new(track, gain_db, from, to));
    return body;
}

static int64_t later(int64_t at, int64_t least)
{
    return at > least ? at : least;
}

/* The fades of each technique; a is NULL when nothing of it is left. */
static void shape(const struct join *join, json_t *a, json_t *b)
{
    int64_t end = join->length, step = samples_of(STEP_S);
    int64_t ready = later(join->switch_to, join->b_at + step);
    int64_t swapped = later(join->switch_to, join->switch_from + step);
    switch (join->technique) {
    case JOIN_BLEND:
        add_fade(a, "level", "power", "out", 0, end);
        add_fade(b, "level", "power", "in", 0, end);
        add_fade(a, "bass", "power", "out", join->switch_from, swapped);
        add_fade(b, "bass", "power", "in", join->switch_from, swapped);
        add_fade(a, "treble", "power", "out", end / 4, end - end / 4);
        add_fade(b, "treble", "power", "in", end / 4, end - end / 4);
        break;
    case JOIN_SWAP:
        add_fade(a, "level", "drop", "out", join->switch_to, end);
        add_fade(a, "bass", "power", "out", join->switch_from, swapped);
        add_fade(b, "level", "power", "in", join->b_at, ready);
        break;
    case JOIN_CUT:
        add_fade(a, "level", "linear", "out", 0, end);
        add_fade(b, "level", "linear", "in", 0, end);
        break;
    case JOIN_ECHO:
        add_fade(a, "level", "linear", "out", join->switch_to - step, join->switch_to);
        add_fade(b, "level", "linear", "in", join->b_at, join->b_at + step);
        json_object_set_new(a, "echo",
                            json_pack("{s:I,s:I,s:f}", "from", (json_int_t)(join->switch_to - step), "delay",
                                      (json_int_t)join->echo_delay, "gain", ECHO_GAIN));
        break;
    case JOIN_FADE:
        if (a) add_fade(a, "level", "power", "out", 0, join->a_to - join->a_from);
        add_fade(b, "level", "power", "in", join->b_at, end);
        break;
    }
}

/* ride_db: a's at the beginning of the transition. */
static json_t *transition_new(const struct join *join, const struct track *from, const struct track *to,
                              const struct plan_conf *conf, const struct plan_tuning *tuning, double ride_db,
                              uint64_t start, json_t *why)
{
    static const char *const names[] = {[JOIN_FADE] = "fade",
                                        [JOIN_ECHO] = "echo",
                                        [JOIN_CUT] = "cut",
                                        [JOIN_SWAP] = "swap",
                                        [JOIN_BLEND] = "blend"};
    int blend = join->technique == JOIN_BLEND, mapped = 0;
    double a_gain = plan_gain_db(from, conf), b_gain = plan_gain_db(to, conf);
    json_t *body = body_new(names[join->technique], start, join->length, to->id), *a = NULL;
    if (join->a_to > join->a_from) {
        a = voice_new(from, a_gain, join->a_from, join->a_to, 0,
                      blend ? join->length : join->a_to - join->a_from);
        if (blend) mapped += set_map(a, join->a_beat, join->out_beat, join->beats);
        if (blend) json_object_set_new(a, "join_in", json_integer(join->out_beat[1]));
        soften_opening(a, from, join->a_from);
        set_ride_back(a, ride_db, join->length);
    }
    json_t *b = voice_new(to, b_gain, join->b_from, join->b_to, join->b_at,
                          blend ? join->length : join->b_to - join->b_from);
    if (blend) mapped += set_map(b, join->b_beat, join->out_beat, join->beats);
    if (blend)
        json_object_set_new(b, "join_out", json_integer(join->length - join->out_beat[join->beats - 1]));
    shape(join, a, b);
    set_ride(b, 0, tuning->ride_db, 0, 0);
    json_t *plan = json_object_get(body, "plan");
    if (blend && !mapped) set_beats(plan, join->out_beat, join->beats);
    if (tuning->correlation != 0) json_object_set_new(plan, "correlation", json_real(tuning->correlation));
    if (tuning->ride_db != 0) json_object_set_new(plan, "ride_db", json_real(tuning->ride_db));
    if (a) add_voice(body, a);
    add_voice(body, b);
    add_entry(body, entry_new(from, a_gain, join->a_from, join->a_to));
    add_entry(body, entry_new(to, b_gain, join->b_from, join->b_to));
    set_real(body, "tempo_change_pct", round(join->tempo_change_pct * 1000) / 1000);
    if (join->bars) json_object_set_new(body, "bars", json_integer(join->bars));
    if (why) json_object_set(body, "why", why);
    return body;
}

/* Moves the entering track; not before its first sample. */
static void nudge_join(struct join *join, int64_t nudge)
{
    if (nudge > PLAN_NUDGE_MAX) nudge = PLAN_NUDGE_MAX;
    if (nudge < -PLAN_NUDGE_MAX) nudge = -PLAN_NUDGE_MAX;
    if (join->b_from + nudge < 0) return;
    join->b_from += nudge;
    join->b_to += nudge;
}

static void set_forecast(json_t *body, const struct join *join)
{
    if (join->on_phrase) json_object_set_new(body, "on_phrase", json_true());
    set_real(body, "consonance", round(join->consonance * 1000) / 1000);
    if (join->consonance_sigma > 0)
        set_real(body, "consonance_sigmas",
                 round((join->consonance - join->consonance_mean) / join->consonance_sigma * 100) / 100);
    if (join->technique == JOIN_BLEND)
        json_object_set_new(body, "vocal_overlap_beats", json_integer(join->vocal_overlap_beats));
}

int plan_transition_tuned(const struct track *from, const struct track *to, const struct plan_conf *conf,
                          const struct plan_tuning *tuning, struct plan_cursor *cursor, json_t *why,
                          json_t *segments[2])
{
    int64_t pos = samples_of(cursor->track_s);
    struct join_conf jc = {.max_change_pct = conf->max_tempo_change_pct,
                           .min_play_pct = conf->min_play_pct,
                           .a_gain_db = plan_gain_db(from, conf),
                           .b_gain_db = plan_gain_db(to, conf),
                           .a_played_s = cursor->played_s};
    struct join *join = xmalloc(sizeof *join);
    int rank;
    join_choose(join, from, pos, to, &jc, tuning->rank, &rank);
    nudge_join(join, tuning->nudge);
    segments[0] = NULL;
    uint64_t start = cursor->sample;
    double ride_db = cursor->ride_db;
    if (join->a_from > pos) {
        segments[0] = play_new(from, jc.a_gain_db, ride_db, start, pos, join->a_from);
        start += (uint64_t)(join->a_from - pos);
        ride_db = ride_after(ride_db, join->a_from - pos);
    }
    segments[1] = transition_new(join, from, to, conf, tuning, ride_db, start, why);
    set_forecast(segments[1], join);
    cursor->sample = start + (uint64_t)join->length;
    cursor->track_s = seconds_of(join->b_to);
    cursor->played_s = seconds_of(join->b_to - join->b_from) / 2;
    cursor->ride_db = tuning->ride_db;
    free(join);
    return rank >= JOIN_TRIES;
}

void plan_transition(const struct track *from, const struct track *to, const struct plan_conf *conf,
                     struct plan_cursor *cursor, json_t *why, json_t *segments[2])
{
    plan_transition_tuned(from, to, conf, &(struct plan_tuning){0}, cursor, why, segments);
}

json_t *plan_alone(const struct track *track, const struct plan_conf *conf, const struct plan_cursor *cursor,
                   double seconds)
{
    int64_t pos = samples_of(cursor->track_s), end = span_of(track).to, most = pos + samples_of(seconds);
    if (end > most) end = most;
    if (pos >= end) return NULL;
    return play_new(track, plan_gain_db(track, conf), cursor->ride_db, cursor->sample, pos, end);
}

json_t *plan_ending(const struct track *track, const struct plan_conf *conf, struct plan_cursor *cursor)
{
    int64_t pos = samples_of(cursor->track_s), end = span_of(track).to;
    if (pos >= end) return NULL;
    json_t *body = play_new(track, plan_gain_db(track, conf), cursor->ride_db, cursor->sample, pos, end);
    json_t *voice = json_array_get(json_object_get(json_object_get(body, "plan"), "voices"), 0);
    int64_t fade = samples_of(OPEN_S) < end - pos ? samples_of(OPEN_S) : end - pos;
    add_fade(voice, "level", "linear", "out", end - pos - fade, end - pos);
    cursor->sample += (uint64_t)(end - pos);
    cursor->track_s = seconds_of(end);
    return body;
}

/* Skips */

/* What is needed to render a segment of the old programme: its extent and its plan, `depth` skips deep. */
static json_t *under_copy(const json_t *segment, int depth)
{
    json_t *plan = json_copy(json_object_get(segment, "plan"));
    json_t *under = json_object_get(plan, "under");
    if (under && depth <= 0) {
        /* by now faded by as many skips as may nest: what it was under goes on alone */
        json_object_del(plan, "under");
    } else if (under) {
        json_t *kept = json_array(), *inner;
        size_t i;
        json_array_foreach(json_object_get(under, "segments"), i, inner)
        {
            json_array_append_new(kept, under_copy(inner, depth - 1));
        }
        under = json_copy(under);
        json_object_set_new(under, "segments", kept);
        json_object_set_new(plan, "under", under);
    }
    return json_pack("{s:O, s:O, s:o}", "start_sample", json_object_get(segment, "start_sample"),
                     "end_sample", json_object_get(segment, "end_sample"), "plan", plan);
}

static int segment_extent(const json_t *segment, uint64_t *start, uint64_t *end)
{
    const json_t *s = json_object_get(segment, "start_sample"), *e = json_object_get(segment, "end_sample");
    if (!json_is_integer(s) || !json_is_integer(e) || !json_is_object(json_object_get(segment, "plan")))
        return -1;
    if (json_integer_value(s) < 0 || json_integer_value(e) <= json_integer_value(s)) return -1;
    *start = (uint64_t)json_integer_value(s);
    *end = (uint64_t)json_integer_value(e);
    return 0;
}

/* The public entry of what a skip leaves: the track that led in the old programme at `at`. */
static json_t *left_entry(const json_t *segment, uint64_t at)
{
    uint64_t start, end;
    json_t *tracks = json_object_get(segment, "tracks");
    if (!json_array_size(tracks) || segment_extent(segment, &start, &end) < 0) return NULL;
    json_t *entry = json_copy(json_array_get(tracks, json_array_size(tracks) - 1));
    double from_s = json_real_or(entry, "from_s", 0, NULL), to_s = json_real_or(entry, "to_s", from_s, NULL);
    double share = at > start ? (double)(at - start) / (double)(end - start) : 0;
    json_object_set_new(entry, "from_s", json_real(from_s + share * (to_s - from_s)));
    json_object_set_new(entry, "to_s", json_real(to_s));
    return entry;
}

json_t *plan_skip(json_t *under, uint64_t at, const struct track *to, const struct plan_conf *conf,
                  struct plan_cursor *cursor, json_t *why)
{
    int64_t length = samples_of(SKIP_S);
    struct span music = span_of(to);
    int64_t samples = music.to - music.from < length ? music.to - music.from : length;
    json_t *body = body_new("fade", at, length, to->id), *kept = json_array(), *segment;
    size_t i;
    json_array_foreach(under, i, segment)
    {
        uint64_t start, end;
        if (segment_extent(segment, &start, &end) < 0 || end <= at || start >= at + (uint64_t)length)
            continue;
        json_t *entry = json_array_size(kept) ? NULL : left_entry(segment, at);
        if (entry) add_entry(body, entry);
        json_array_append_new(kept, under_copy(segment, UNDER_DEPTH_MAX - 1));
    }
    double gain_db = plan_gain_db(to, conf);
    json_t *voice = voice_new(to, gain_db, music.from, music.from + samples, 0, samples);
    add_fade(voice, "level", "power", "in", 0, length / 2);
    add_voice(body, voice);
    add_entry(body, entry_new(to, gain_db, music.from, music.from + samples));
    json_t *below = json_object();
    add_fade(below, "level", "power", "out", 0, length);
    json_object_set_new(below, "segments", kept);
    json_object_set_new(json_object_get(body, "plan"), "under", below);
    json_object_set_new(body, "tempo_change_pct", json_real(0));
    json_object_set_new(body, "skip", json_true());
    if (why) json_object_set(body, "why", why);
    *cursor = (struct plan_cursor){.sample = at + (uint64_t)length,
                                   .track_s = seconds_of(music.from + samples),
                                   .played_s = seconds_of(samples) / 2};
    return body;
}

int plan_cursor_from(const json_t *segment, struct plan_cursor *out, int64_t *track)
{
    uint64_t start, end;
    if (segment_extent(segment, &start, &end) < 0) return -1;
    json_t *voices = json_object_get(json_object_get(segment, "plan"), "voices");
    json_t *voice = json_array_get(voices, json_array_size(voices) - 1);
    json_t *id = json_object_get(voice, "track"), *to = json_object_get(voice, "to");
    json_int_t from = json_int_or(voice, "from", 0, 0, INT64_MAX, NULL);
    if (!json_is_integer(id) || !json_is_integer(to) || json_integer_value(to) < from) return -1;
    json_t *plan = json_object_get(segment, "plan");
    *out = (struct plan_cursor){.sample = end,
                                .track_s = seconds_of(json_integer_value(to)),
                                .played_s = seconds_of(json_integer_value(to) - from) / 2,
                                .ride_db = json_real_or(plan, "ride_db", 0, NULL)};
    *track = json_integer_value(id);
    return 0;
}
