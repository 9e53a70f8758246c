#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "root/mix/plan.h"

#define RATE 44100.0

static const struct plan_conf conf = {.target_lufs = -16, .max_tempo_change_pct = 6};

/* A track of `duration_s` with beats from first_s on; metre 0: no downbeats. */
static struct track make_track(int64_t id, double duration_s, double bpm, double first_s, int metre)
{
    struct track t;
    track_init(&t);
    t.id = id;
    t.path = xasprintf("/music/track %lld.flac", (long long)id);
    t.hash = xasprintf("%016llx", (unsigned long long)id);
    struct features *f = &t.features;
    f->version = ANALYSIS_VERSION;
    f->duration_s = duration_s;
    f->music_start_s = 0;
    f->music_end_s = duration_s;
    f->loudness_lufs = -12;
    f->loud_part_lufs = -10;
    if (bpm <= 0) return t;
    f->tempo_bpm = bpm;
    f->tempo_confidence = 0.9;
    f->metre = metre;
    size_t most = (size_t)(duration_s * bpm / 60) + 2;
    f->beats_s = xcalloc(most, sizeof(double));
    f->downbeats_s = xcalloc(most, sizeof(double));
    for (size_t k = 0; first_s + (double)k * 60 / bpm < duration_s - 1e-9; k++) {
        double at = first_s + (double)k * 60 / bpm;
        f->beats_s[f->beat_count++] = at;
        if (metre && k % (size_t)metre == 0) f->downbeats_s[f->downbeat_count++] = at;
    }
    return t;
}

static int64_t member(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static json_t *voices_of(const json_t *segment)
{
    json_t *voices = json_object_get(json_object_get(segment, "plan"), "voices");
    assert_true(json_is_array(voices));
    return voices;
}

static const char *technique_of(const json_t *segment)
{
    return json_string_value(json_object_get(segment, "technique"));
}

/* What every segment promises: extents, voices inside it, maps from 0,0 to the lengths, strictly rising. */
static void check_segment(const json_t *segment)
{
    int64_t length = member(segment, "end_sample") - member(segment, "start_sample");
    assert_true(length > 0);
    size_t i, k;
    json_t *voice, *point;
    assert_true(json_array_size(voices_of(segment)) >= 1);
    json_array_foreach(voices_of(segment), i, voice)
    {
        int64_t in = member(voice, "to") - member(voice, "from"), out = member(voice, "samples");
        assert_true(member(voice, "from") >= 0 && in >= 0);
        assert_true(member(voice, "at") >= 0 && member(voice, "at") + out <= length);
        json_t *map = json_object_get(voice, "map");
        if (!map) assert_true(in == out);
        int64_t last_in = -1, last_out = -1;
        json_array_foreach(map, k, point)
        {
            int64_t x = json_integer_value(json_array_get(point, 0)),
                    y = json_integer_value(json_array_get(point, 1));
            assert_true(x > last_in && y > last_out);
            if (k == 0) assert_true(x == 0 && y == 0);
            last_in = x, last_out = y;
        }
        if (map) assert_true(last_in == in && last_out == out);
    }
    char *text = json_text(segment), *cause = NULL;
    json_t *again = json_parse(text, strlen(text), 1 << 20, &cause);
    assert_non_null(again);
    assert_true(json_equal(segment, again));
    json_decref(again);
    free(text);
}

struct joined {
    json_t *play, *transition;
    struct plan_cursor before, after;
};

/* Plans from where `a` was opened or entered, and checks that the pieces fit to the sample. */
static struct joined join_at(const struct track *a, const struct track *b, struct plan_cursor cursor)
{
    struct joined j = {.before = cursor, .after = cursor};
    json_t *segments[2], *why = json_pack("{s:f}", "distance", 0.25);
    plan_transition(a, b, &conf, &j.after, why, segments);
    j.play = segments[0];
    j.transition = segments[1];
    assert_non_null(j.transition);
    uint64_t at = cursor.sample;
    int64_t position = llround(cursor.track_s * RATE);
    if (j.play) {
        check_segment(j.play);
        json_t *voice = json_array_get(voices_of(j.play), 0);
        assert_int_equal(member(j.play, "start_sample"), at);
        assert_int_equal(member(voice, "from"), position);
        at = (uint64_t)member(j.play, "end_sample");
        position = member(voice, "to");
    }
    check_segment(j.transition);
    assert_int_equal(member(j.transition, "start_sample"), at);
    assert_int_equal(member(j.transition, "end_sample"), j.after.sample);
    size_t voices = json_array_size(voices_of(j.transition));
    json_t *in = json_array_get(voices_of(j.transition), voices - 1);
    if (voices == 2) assert_int_equal(member(json_array_get(voices_of(j.transition), 0), "from"), position);
    assert_int_equal(member(in, "track"), b->id);
    assert_int_equal(member(in, "to"), llround(j.after.track_s * RATE));
    assert_int_equal(json_array_size(json_object_get(j.transition, "tracks")), 2);
    struct plan_cursor found;
    int64_t track;
    assert_int_equal(plan_cursor_from(j.transition, &found, &track), 0);
    assert_int_equal(found.sample, j.after.sample);
    assert_true(found.track_s == j.after.track_s && found.played_s == j.after.played_s);
    assert_true(2 * found.played_s * RATE - (double)(member(in, "to") - member(in, "from")) < 1e-3);
    if (member(in, "to") > member(in, "from")) assert_true(found.played_s > 0);
    assert_int_equal(track, b->id);
    json_decref(why);
    return j;
}

static struct joined join(const struct track *a, const struct track *b)
{
    return join_at(a, b, plan_open(a, 1000));
}

static void joined_free(struct joined *j)
{
    json_decref(j->play);
    json_decref(j->transition);
}

static double tempo_change(const struct joined *j)
{
    return json_real_value(json_object_get(j->transition, "tempo_change_pct"));
}

static void test_blend(void **state)
{
    (void)state;
    struct track a = make_track(1, 180, 124, 0.25, 4), b = make_track(2, 200, 128, 0.5, 4);
    struct joined j = join(&a, &b);
    assert_string_equal(technique_of(j.transition), "blend");
    assert_true(fabs(tempo_change(&j) - 100 * (128.0 / 124 - 1)) < 0.05);
    json_t *va = json_array_get(voices_of(j.transition), 0), *vb = json_array_get(voices_of(j.transition), 1);
    json_t *ma = json_object_get(va, "map"), *mb = json_object_get(vb, "map");
    size_t points = json_array_size(ma);
    assert_int_equal(points, json_array_size(mb));
    int64_t bars = member(j.transition, "bars");
    assert_int_equal(points, bars * 4 + 1);
    /* every point is a beat of both, on one output sample; the length of the beat glides */
    double last = 0;
    for (size_t k = 0; k < points; k++) {
        json_t *pa = json_array_get(ma, k), *pb = json_array_get(mb, k);
        int64_t out = json_integer_value(json_array_get(pa, 1));
        assert_int_equal(out, json_integer_value(json_array_get(pb, 1)));
        double sa = (double)(member(va, "from") + json_integer_value(json_array_get(pa, 0))) / RATE;
        double sb = (double)(member(vb, "from") + json_integer_value(json_array_get(pb, 0))) / RATE;
        double ka = (sa - 0.25) * 124 / 60, kb = (sb - 0.5) * 128 / 60;
        assert_true(fabs(ka - round(ka)) < 1e-3 && fabs(kb - round(kb)) < 1e-3);
        /* downbeat on downbeat */
        if (k % 4 == 0) assert_true((int)round(ka) % 4 == 0 && (int)round(kb) % 4 == 0);
        double length = k ? (double)out - last : 0;
        if (k) assert_true(length <= RATE * 60 / 124 + 2 && length >= RATE * 60 / 128 - 2);
        last = (double)out;
    }
    /* both ends at their own speed, to the sample */
    assert_int_equal(json_integer_value(json_array_get(json_array_get(ma, 1), 0)),
                     json_integer_value(json_array_get(json_array_get(ma, 1), 1)));
    int64_t join_out = member(vb, "join_out"), samples = member(vb, "samples");
    json_t *before = json_array_get(mb, points - 2);
    assert_int_equal(json_integer_value(json_array_get(before, 1)), samples - join_out);
    assert_int_equal(json_integer_value(json_array_get(before, 0)),
                     member(vb, "to") - member(vb, "from") - join_out);
    /* the bass changes hands on phrases of both: eight bars from the first downbeat */
    int64_t turn = member(json_array_get(json_object_get(vb, "bass"), 0), "to");
    size_t k = 0;
    while (k < points && json_integer_value(json_array_get(json_array_get(ma, k), 1)) != turn)
        k++;
    assert_true(k < points);
    double ka =
        ((double)(member(va, "from") + json_integer_value(json_array_get(json_array_get(ma, k), 0))) / RATE -
         0.25) *
        124 / 60;
    double kb =
        ((double)(member(vb, "from") + json_integer_value(json_array_get(json_array_get(mb, k), 0))) / RATE -
         0.5) *
        128 / 60;
    assert_int_equal((int)round(ka) % 32, 0);
    assert_int_equal((int)round(kb) % 32, 0);
    joined_free(&j);
    track_free(&a);
    track_free(&b);
}

static void test_half_and_double(void **state)
{
    (void)state;
    struct track a = make_track(1, 200, 87, 0.1, 4), b = make_track(2, 200, 172, 0.3, 4);
    for (int turn = 0; turn < 2; turn++) {
        struct joined j = turn ? join(&b, &a) : join(&a, &b);
        assert_string_equal(technique_of(j.transition), "blend");
        assert_true(fabs(tempo_change(&j)) < 1.3);
        json_t *slow = json_array_get(voices_of(j.transition), turn), *map = json_object_get(slow, "map");
        int64_t first = json_integer_value(json_array_get(json_array_get(map, 1), 0));
        assert_true(fabs((double)first - RATE * 60 / 87) < 2);
        joined_free(&j);
    }
    track_free(&a);
    track_free(&b);
}

static void test_tempo_limits(void **state)
{
    (void)state;
    struct track a = make_track(1, 200, 100, 0.1, 4);
    for (double bpm = 60; bpm < 200; bpm += 3.7) {
        struct track b = make_track(2, 200, bpm, 0.1, 4);
        struct joined j = join(&a, &b);
        double ratio = bpm / 100, nearest = 10;
        for (int fold = -1; fold <= 1; fold++) {
            double r = ratio * pow(2, fold);
            if (fmax(r, 1 / r) < nearest) nearest = fmax(r, 1 / r);
        }
        if (nearest < 1.059) assert_string_equal(technique_of(j.transition), "blend");
        if (nearest > 1.061) {
            assert_string_equal(technique_of(j.transition), "swap");
            assert_true(tempo_change(&j) == 0);
            /* the ones coincide */
            json_t *va = json_array_get(voices_of(j.transition), 0),
                   *vb = json_array_get(voices_of(j.transition), 1);
            json_t *fade = json_array_get(json_object_get(va, "level"), 0);
            int64_t one = member(fade, "from");
            double ka = ((double)(member(va, "from") + one) / RATE - 0.1) * 100 / 60;
            double kb = ((double)(member(vb, "from") + one - member(vb, "at")) / RATE - 0.1) * bpm / 60;
            assert_true(fabs(ka / 4 - round(ka / 4)) < 1e-3 && fabs(kb / 4 - round(kb / 4)) < 1e-3);
            assert_null(json_object_get(va, "map"));
        }
        assert_true(fabs(tempo_change(&j)) <= 6.01);
        joined_free(&j);
        track_free(&b);
    }
    /* a wider setting is still held at 8 */
    struct plan_conf wide = {.target_lufs = -16, .max_tempo_change_pct = 50};
    struct track b = make_track(2, 200, 110, 0.1, 4);
    struct plan_cursor cursor = plan_open(&a, 0);
    json_t *segments[2];
    plan_transition(&a, &b, &wide, &cursor, NULL, segments);
    assert_string_equal(technique_of(segments[1]), "swap");
    json_decref(segments[0]);
    json_decref(segments[1]);
    track_free(&a);
    track_free(&b);
}

/* The beats end in the middle of the track: to blend there is to leave half of it out. */
static void test_an_operator_says_how_much_plays(void **state)
{
    (void)state;
    struct track a = make_track(1, 180, 120, 0.25, 4), b = make_track(2, 200, 120, 0.5, 4);
    while (a.features.beat_count && a.features.beats_s[a.features.beat_count - 1] > 100)
        a.features.beat_count--;
    while (a.features.downbeat_count && a.features.downbeats_s[a.features.downbeat_count - 1] > 100)
        a.features.downbeat_count--;
    static const struct {
        double pct;
        const char *technique;
    } cases[] = {{0, "fade"}, {80, "fade"}, {30, "blend"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct plan_conf said = {.target_lufs = -16, .max_tempo_change_pct = 6, .min_play_pct = cases[i].pct};
        struct plan_cursor cursor = plan_open(&a, 0);
        json_t *segments[2];
        plan_transition(&a, &b, &said, &cursor, NULL, segments);
        assert_string_equal(technique_of(segments[1]), cases[i].technique);
        json_decref(segments[0]);
        json_decref(segments[1]);
    }
    track_free(&a);
    track_free(&b);
}

static void test_untrusted_tempo_fades(void **state)
{
    (void)state;
    struct track a = make_track(1, 180, 124, 0.25, 4), b = make_track(2, 200, 124, 0.5, 4);
    a.features.tempo_confidence = TEMPO_TRUSTED - 0.01;
    struct joined j = join(&a, &b);
    assert_string_equal(technique_of(j.transition), "fade");
    assert_int_equal(j.after.sample - (uint64_t)member(j.transition, "start_sample"), 6 * 44100);
    joined_free(&j);
    /* where a's beats are known it ends on its one and echoes away */
    a.features.tempo_confidence = 0.9;
    b.features.tempo_confidence = TEMPO_TRUSTED - 0.01;
    j = join(&a, &b);
    assert_string_equal(technique_of(j.transition), "echo");
    json_t *echo = json_object_get(json_array_get(voices_of(j.transition), 0), "echo");
    assert_true(llabs(member(echo, "delay") - llround(RATE * 60 / 124)) <= 1);
    double one = ((double)member(json_array_get(voices_of(j.transition), 0), "to") / RATE - 0.25) * 124 / 60;
    assert_true(fabs(one - round(one)) < 1e-3 && (int)round(one) % 4 == 0);
    joined_free(&j);
    track_free(&a);
    track_free(&b);
}

static void test_irregular_beats_are_not_stretched(void **state)
{
    (void)state;
    struct track a = make_track(1, 180, 124, 0.25, 4), b = make_track(2, 200, 124, 0.5, 4);
    for (size_t i = 1; i < b.features.beat_count; i += 2)
        b.features.beats_s[i] += 0.07;
    struct joined j = join(&a, &b);
    assert_string_not_equal(technique_of(j.transition), "blend");
    joined_free(&j);
    track_free(&a);
    track_free(&b);
}

static void test_metres_that_differ_swap(void **state)
{
    (void)state;
    struct track a = make_track(1, 180, 124, 0.25, 4), b = make_track(2, 200, 124, 0.5, 3);
    struct joined j = join(&a, &b);
    assert_string_equal(technique_of(j.transition), "swap");
    joined_free(&j);
    track_free(&a);
    track_free(&b);
}

/* A chain of tracks of all lengths: contiguous, and enough of each is played. */
static void test_enough_is_played(void **state)
{
    (void)state;
    static const double durations[] = {60, 64, 76.8, 91, 120, 300, 62, 610, 45, 180};
    const int count = sizeof durations / sizeof *durations;
    struct track tracks[sizeof durations / sizeof *durations];
    for (int i = 0; i < count; i++)
        tracks[i] = make_track(i + 1, durations[i], 150 + (i % 3) * 4, 0.4 * (i % 2), 4);
    struct plan_cursor cursor = plan_open(&tracks[0], 0);
    double entered_s = 0;
    for (int i = 0; i + 1 < count; i++) {
        struct joined j = join_at(&tracks[i], &tracks[i + 1], cursor);
        assert_string_equal(technique_of(j.transition), "blend");
        json_t *va = json_array_get(voices_of(j.transition), 0),
               *vb = json_array_get(voices_of(j.transition), 1);
        double left_s = (double)member(va, "to") / RATE, played_s = left_s - entered_s;
        assert_true(played_s >= 0.6 * durations[i]);
        if (durations[i] > 90) assert_true(played_s >= 60);
        entered_s = (double)member(vb, "from") / RATE;
        cursor = j.after;
        joined_free(&j);
    }
    for (int i = 0; i < count; i++)
        track_free(&tracks[i]);
}

static void test_outro_is_the_place_to_leave(void **state)
{
    (void)state;
    struct track a = make_track(1, 240, 120, 0, 4), b = make_track(2, 240, 120, 0, 4);
    a.features.sections = xcalloc(2, sizeof(struct section));
    a.features.section_count = 2;
    a.features.sections[0] = (struct section){8, 196, "main"};
    a.features.sections[1] = (struct section){200, 240, "outro"};
    struct joined j = join(&a, &b);
    json_t *va = json_array_get(voices_of(j.transition), 0);
    assert_int_equal(member(va, "from"), 200 * 44100);
    joined_free(&j);
    track_free(&a);
    track_free(&b);
}

/* A loop of 48 bars whose first beat was not heard: it is entered at its first sample and left at its last.
 */
static void test_loops_are_whole(void **state)
{
    (void)state;
    struct track a = make_track(1, 76.8, 150, 0, 4), b = make_track(2, 76.8, 150, 0, 4);
    memmove(b.features.beats_s, b.features.beats_s + 1, --b.features.beat_count * sizeof(double));
    memmove(b.features.downbeats_s, b.features.downbeats_s + 1, --b.features.downbeat_count * sizeof(double));
    struct joined j = join(&a, &b);
    assert_string_equal(technique_of(j.transition), "blend");
    json_t *va = json_array_get(voices_of(j.transition), 0), *vb = json_array_get(voices_of(j.transition), 1);
    assert_int_equal(member(va, "to"), llround(76.8 * RATE));
    assert_int_equal(member(vb, "from"), 0);
    joined_free(&j);
    track_free(&a);
    track_free(&b);
}

static void test_degenerate(void **state)
{
    (void)state;
    struct track tracks[8];
    tracks[0] = make_track(1, 3, 120, 0, 4);
    tracks[1] = make_track(2, 200, 0, 0, 0);
    tracks[2] = make_track(3, 0.02, 0, 0, 0);
    tracks[3] = make_track(4, 200, 120, 0, 0);
    tracks[4] = make_track(5, 30, 120, 29.9, 4);
    tracks[5] = make_track(6, 5, 0, 0, 0);
    tracks[5].features.duration_s = NAN;
    tracks[5].features.music_start_s = NAN;
    tracks[5].features.music_end_s = NAN;
    tracks[6] = make_track(7, 100, 0, 0, 0);
    tracks[6].features.music_start_s = 80;
    tracks[6].features.music_end_s = 20;
    tracks[7] = make_track(8, 100, 120, 0, 4);
    for (size_t k = 0; k < tracks[7].features.beat_count; k++)
        tracks[7].features.beats_s[k] = 50;
    for (int i = 0; i < 8; i++) {
        for (int k = 0; k < 8; k++) {
            struct joined j = join(&tracks[i], &tracks[k]);
            /* and again from where that led */
            struct joined next = join_at(&tracks[k], &tracks[i], j.after);
            joined_free(&next);
            /* also from beyond the end */
            j.after.track_s += 1000;
            next = join_at(&tracks[k], &tracks[i], j.after);
            joined_free(&next);
            joined_free(&j);
        }
    }
    for (int i = 0; i < 8; i++)
        track_free(&tracks[i]);
}

static void test_gain(void **state)
{
    (void)state;
    struct track t = make_track(1, 100, 0, 0, 0);
    t.features.loudness_lufs = -10;
    t.features.loud_part_lufs = -8;
    assert_true(plan_gain_db(&t, &conf) == -6);
    t.features.loud_part_lufs = -3; /* quiet piece with a loud part: 4 LU over the target, no more */
    assert_true(plan_gain_db(&t, &conf) == -9);
    t.features.loud_part_lufs = NAN;
    assert_true(plan_gain_db(&t, &conf) == -6);
    t.features.loudness_lufs = NAN;
    assert_true(plan_gain_db(&t, &conf) == 0);
    t.features.loudness_lufs = -70;
    assert_true(plan_gain_db(&t, &conf) == 20);
    track_free(&t);
}

static void test_opening_and_ending(void **state)
{
    (void)state;
    struct track t = make_track(1, 100, 0, 0, 0);
    t.features.music_start_s = 1.5;
    t.features.music_end_s = 99;
    struct plan_cursor cursor = plan_open(&t, 77);
    assert_int_equal(cursor.sample, 77);
    json_t *ending = plan_ending(&t, &conf, &cursor);
    check_segment(ending);
    json_t *voice = json_array_get(voices_of(ending), 0);
    assert_int_equal(member(voice, "from"), 66150);
    assert_int_equal(member(voice, "to"), 99 * 44100);
    assert_int_equal(json_array_size(json_object_get(voice, "level")), 2);
    assert_int_equal(cursor.sample, member(ending, "end_sample"));
    assert_null(plan_ending(&t, &conf, &cursor));
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(json_object_get(ending, "tracks"), 0), "title")),
        "track 1");
    json_decref(ending);
    track_free(&t);
}

static int depth_of(const json_t *segment)
{
    json_t *inner, *under = json_object_get(json_object_get(segment, "plan"), "under");
    int deepest = 0;
    size_t i;
    json_array_foreach(json_object_get(under, "segments"), i, inner)
    {
        int depth = 1 + depth_of(inner);
        if (depth > deepest) deepest = depth;
    }
    return deepest;
}

static void test_skip(void **state)
{
    (void)state;
    struct track a = make_track(1, 180, 124, 0.25, 4), b = make_track(2, 200, 128, 0.5, 4);
    struct joined j = join(&a, &b);
    uint64_t at = (uint64_t)member(j.transition, "start_sample") - 10000;
    json_t *under = json_pack("[O, O]", j.play, j.transition), *skips[8] = {NULL};
    struct plan_cursor cursor;
    for (int i = 0; i < 8; i++) {
        skips[i] = plan_skip(under, at, &b, &conf, &cursor, NULL);
        check_segment(skips[i]);
        assert_string_equal(technique_of(skips[i]), "fade");
        assert_int_equal(member(skips[i], "start_sample"), at);
        assert_int_equal(cursor.sample, at + plan_skip_samples());
        assert_int_equal(json_array_size(json_object_get(skips[i], "tracks")), 2);
        assert_int_equal(depth_of(skips[i]), i < 4 ? i + 1 : 4);
        json_decref(under);
        under = json_pack("[O]", skips[i]);
        at += 5000;
    }
    json_t *first = json_object_get(json_object_get(json_object_get(skips[0], "plan"), "under"), "segments");
    assert_int_equal(json_array_size(first), 2); /* the fade reaches over the seam */
    assert_null(json_object_get(json_array_get(first, 0), "why"));
    char *text = json_text(skips[7]);
    assert_true(strlen(text) < 128 << 10); /* a mark holds 256 KB */
    free(text);
    json_decref(under);
    for (int i = 0; i < 8; i++)
        json_decref(skips[i]);
    /* out of nothing: an empty programme still gives a segment */
    under = json_array();
    json_t *skip = plan_skip(under, 5, &b, &conf, &cursor, NULL);
    check_segment(skip);
    json_decref(skip);
    json_decref(under);
    joined_free(&j);
    track_free(&a);
    track_free(&b);
}

static void test_cursor_from_refuses(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{}", "{\"start_sample\":0,\"end_sample\":5}", "{\"start_sample\":5,\"end_sample\":5,\"plan\":{}}",
        "{\"start_sample\":0,\"end_sample\":5,\"plan\":{\"voices\":[]}}",
        "{\"start_sample\":0,\"end_sample\":5,\"plan\":{\"voices\":[{\"track\":1}]}}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *cause = NULL;
        json_t *segment = json_parse(texts[i], strlen(texts[i]), 1000, &cause);
        struct plan_cursor cursor;
        int64_t track;
        assert_non_null(segment);
        assert_int_equal(plan_cursor_from(segment, &cursor, &track), -1);
        json_decref(segment);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blend),
        cmocka_unit_test(test_half_and_double),
        cmocka_unit_test(test_tempo_limits),
        cmocka_unit_test(test_untrusted_tempo_fades),
        cmocka_unit_test(test_an_operator_says_how_much_plays),
        cmocka_unit_test(test_irregular_beats_are_not_stretched),
        cmocka_unit_test(test_metres_that_differ_swap),
        cmocka_unit_test(test_enough_is_played),
        cmocka_unit_test(test_outro_is_the_place_to_leave),
        cmocka_unit_test(test_loops_are_whole),
        cmocka_unit_test(test_degenerate),
        cmocka_unit_test(test_gain),
        cmocka_unit_test(test_opening_and_ending),
        cmocka_unit_test(test_skip),
        cmocka_unit_test(test_cursor_from_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
