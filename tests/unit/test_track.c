/* track: values come through JSON unchanged, and nothing malformed gets in. */
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
#include "root/track.h"

static void fill(struct track *t)
{
    track_init(t);
    t->id = 42;
    t->path = xstrdup("/music/caf\xe9/a.mp3");
    t->hash = xstrdup("00ff");
    t->tags.title = xstrdup("Título");
    t->tags.artist = xstrdup("Somebody");
    struct features *f = &t->features;
    f->version = 3;
    f->duration_s = 200.1;
    f->tempo_bpm = 1 / 3.0 + 120;
    f->tempo_confidence = 0.9;
    f->steady_from_s = 0.1;
    f->steady_to_s = 1 / 3.0;
    f->beat_count = 3;
    f->beats_s = xcalloc(3, sizeof(double));
    for (int i = 0; i < 3; i++)
        f->beats_s[i] = i * 0.1;
    f->downbeat_count = 1;
    f->downbeats_s = xcalloc(1, sizeof(double));
    f->metre = 4;
    f->key = 21;
    f->loudness_lufs = -9.3;
    for (int i = 0; i < TIMBRE_DIMS; i++)
        f->timbre[i] = (float)i * 0.3f;
    f->section_count = 2;
    f->sections = xcalloc(2, sizeof(struct section));
    f->sections[0] = (struct section){0, 10.5, "intro"};
    f->sections[1] = (struct section){10.5, 200, "main"};
    f->fingerprint = xstrdup("AQAA");
    f->regions = xcalloc(2, sizeof *f->regions);
    f->region_count = 2;
    f->regions[0] = (struct region){0, 2, -0.1, 1 / 3.0};
    f->regions[1] = (struct region){2, 1, 0.2, 0.7};
    f->bars = xcalloc(1, sizeof *f->bars);
    f->bar_count = 1;
    for (size_t i = 0; i < sizeof *f->bars; i++)
        ((uint8_t *)f->bars)[i] = (uint8_t)(250 + i);
    f->phrase_bar = 3;
    f->phrase16_bar = 11;
    f->phrase_confidence = 0.25;
    for (int i = 0; i < 24; i++)
        f->key_scores[i] = 1 - (float)i / 7;
    f->loudness_curve = xcalloc(5, 1);
    f->loudness_count = 5;
    memcpy(f->loudness_curve, "\xff\x00\x40\xfe\x01", 5);
    f->fade_in_s = 0.5;
    f->fade_out_s = 190.25;
    f->onset_density = 4.5;
    f->vocal = 0.125;
    f->colours[0] = 0x00ff7f;
    f->colours[1] = 0xffffff;
    f->colour_count = 2;
}

static void assert_same_arrays(const struct features *a, const struct features *b)
{
    assert_int_equal(b->region_count, a->region_count);
    for (size_t i = 0; i < a->region_count; i++) {
        assert_int_equal(b->regions[i].first_beat, a->regions[i].first_beat);
        assert_int_equal(b->regions[i].beats, a->regions[i].beats);
        assert_true(b->regions[i].start_s == a->regions[i].start_s);
        assert_true(b->regions[i].period_s == a->regions[i].period_s);
    }
    assert_int_equal(b->bar_count, a->bar_count);
    assert_memory_equal(b->bars, a->bars, a->bar_count * sizeof *a->bars);
    assert_int_equal(b->phrase_bar, a->phrase_bar);
    assert_int_equal(b->phrase16_bar, a->phrase16_bar);
    assert_memory_equal(b->key_scores, a->key_scores, sizeof a->key_scores);
    assert_int_equal(b->loudness_count, a->loudness_count);
    assert_memory_equal(b->loudness_curve, a->loudness_curve, a->loudness_count);
    assert_int_equal(b->colour_count, a->colour_count);
    assert_memory_equal(b->colours, a->colours, sizeof a->colours);
}

static void round_trip(void **state)
{
    (void)state;
    struct track a, b;
    fill(&a);
    track_init(&b);
    json_t *json = track_to_json(&a);
    char *text = json_text(json), *cause = NULL;
    json_t *again = json_parse(text, strlen(text), 1 << 20, &cause);
    assert_non_null(again);
    assert_int_equal(track_from_json(&b, again, &cause), 0);
    assert_int_equal(b.id, 42);
    assert_string_equal(b.path, a.path);
    assert_string_equal(b.hash, "00ff");
    assert_string_equal(b.tags.title, "Título");
    assert_null(b.tags.album);
    assert_int_equal(b.features.version, 3);
    assert_true(b.features.tempo_bpm == a.features.tempo_bpm); /* the same double */
    assert_int_equal(b.features.beat_count, 3);
    assert_memory_equal(b.features.beats_s, a.features.beats_s, 3 * sizeof(double));
    assert_int_equal(b.features.key, 21);
    assert_memory_equal(b.features.timbre, a.features.timbre, sizeof a.features.timbre);
    assert_int_equal(b.features.section_count, 2);
    assert_string_equal(b.features.sections[1].label, "main");
    assert_string_equal(b.features.fingerprint, "AQAA");
    assert_same_arrays(&a.features, &b.features);
    assert_true(b.features.phrase_confidence == 0.25 && b.features.fade_in_s == 0.5);
    assert_true(b.features.fade_out_s == 190.25 && b.features.onset_density == 4.5 &&
                b.features.vocal == 0.125);
    assert_true(isnan(b.features.energy)); /* unknown stays unknown */
    assert_null(json_object_get(json_object_get(json, "features"), "energy"));
    json_t *summary = track_summary_to_json(&a), *f = json_object_get(summary, "features");
    assert_null(json_object_get(f, "beats_s"));
    static const char *const whole_only[] = {"sections",   "regions",        "bars",    "phrase_bar",
                                             "key_scores", "loudness_curve", "colours", "fingerprint"};
    for (size_t i = 0; i < sizeof whole_only / sizeof *whole_only; i++) {
        assert_null(json_object_get(f, whole_only[i]));
        assert_non_null(json_object_get(json_object_get(json, "features"), whole_only[i]));
    }
    assert_string_equal(json_string_value(json_object_get(f, "camelot")), "8A");
    json_decref(summary);
    json_decref(json);
    json_decref(again);
    free(text);
    track_free(&a);
    track_free(&b);
}

#define FEATURES(members) "{'track':1,'features':{" members "}}"
#define BAR               "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

/* What the malformed ones below are variations of is taken. */
static void well_formed(void **state)
{
    (void)state;
    static const char text[] =
        "{\"track\":1,\"features\":{\"beats_s\":[1,2,3],\"downbeats_s\":[1],\"bars\":\"" BAR
        "\",\"regions\":[[0,1,1,1],[1,2,2,1]],\"phrase_bar\":2,\"phrase16_bar\":10,"
        "\"key_scores\":[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,-1.5],"
        "\"loudness_curve\":\"AAA=\",\"colours\":[\"#0102ff\"]}}";
    char *cause = NULL;
    json_t *json = json_parse(text, strlen(text), 4096, &cause);
    struct track t;
    track_init(&t);
    if (track_from_json(&t, json, &cause)) fail_msg("%s", cause);
    assert_int_equal(t.features.bar_count, 1);
    assert_int_equal(t.features.region_count, 2);
    assert_int_equal(t.features.loudness_count, 2);
    assert_int_equal(t.features.colours[0], 0x0102ff);
    track_free(&t);
    json_decref(json);
}

/* A track of three hours with all there is stays far below what a message may hold, its summary small. */
static void long_track(void **state)
{
    (void)state;
    struct track t;
    fill(&t);
    struct features *f = &t.features;
    features_free(f);
    f->beat_count = 3 * 3600 * 3; /* 180 BPM */
    f->beats_s = xcalloc(f->beat_count, sizeof *f->beats_s);
    for (size_t i = 0; i < f->beat_count; i++)
        f->beats_s[i] = (double)i / 3.0001;
    f->downbeat_count = f->bar_count = f->beat_count / 3;
    f->downbeats_s = xcalloc(f->bar_count, sizeof *f->downbeats_s);
    f->bars = xcalloc(f->bar_count, sizeof *f->bars);
    for (size_t i = 0; i < f->bar_count; i++)
        f->downbeats_s[i] = f->beats_s[3 * i];
    f->loudness_count = 3 * 3600;
    f->loudness_curve = xcalloc(f->loudness_count, 1);
    for (int i = 0; i < TIMBRE_DIMS; i++)
        f->timbre[i] = (float)i / 3;
    json_t *whole = track_to_json(&t), *summary = track_summary_to_json(&t);
    char *whole_text = json_text(whole), *summary_text = json_text(summary);
    assert_true(strlen(whole_text) < 2 << 20);
    assert_true(strlen(summary_text) < 2048);
    free(whole_text);
    free(summary_text);
    json_decref(whole);
    json_decref(summary);
    track_free(&t);
}

/* Each is refused with a reason, and leaves nothing behind. ' stands for ". */
#define REFUSE_ALL(texts) refuse_all(texts, sizeof(texts) / sizeof *(texts))
static void refuse_all(const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *cause = NULL;
        char *text = xstrdup(texts[i]);
        for (char *c = text; *c; c++) {
            if (*c == '\'') *c = '"';
        }
        json_t *json = json_parse(text, strlen(text), 4096, &cause);
        free(text);
        assert_non_null(json);
        struct track t;
        track_init(&t);
        if (!track_from_json(&t, json, &cause)) fail_msg("accepted: %s", texts[i]);
        assert_non_null(cause);
        assert_null(t.path);
        assert_int_equal(t.features.beat_count, 0);
        free(cause);
        json_decref(json);
    }
}

static void no_track(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "[]",
        "{}",
        "{\"track\":0}",
        "{\"track\":-4}",
        "{\"track\":\"1\"}",
        "{\"track\":1,\"path\":2}",
        "{\"track\":1,\"tags\":[]}",
        "{\"track\":1,\"tags\":{\"title\":5}}",
        "{\"track\":1,\"features\":4}",
    };
    REFUSE_ALL(texts);
}

/* Beats, and what is counted in them. */
static void malformed_time(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"track\":1,\"features\":{\"tempo_bpm\":\"fast\"}}",
        "{\"track\":1,\"features\":{\"tempo_bpm\":-3}}",
        "{\"track\":1,\"features\":{\"tempo_confidence\":1.5}}",
        "{\"track\":1,\"features\":{\"beats_s\":[1,0.5]}}",
        "{\"track\":1,\"features\":{\"beats_s\":[1,\"x\"]}}",
        "{\"track\":1,\"features\":{\"beats_s\":{}}}",
        "{\"track\":1,\"features\":{\"downbeats_s\":[2,1]}}",
        FEATURES("'regions':[[0,1,0.5,0.5]]"), /* beats that are not there */
        FEATURES("'beats_s':[1,2,3],'regions':[[0,1,1,1],[2,1,3,1]]"),
        FEATURES("'beats_s':[1,2,3],'regions':[[0,1,1,1],[1,3,2,1]]"),
        FEATURES("'beats_s':[1,2,3],'regions':[[0,1,1,1],[1,2,0.5,1]]"),
        FEATURES("'beats_s':[1,2,3],'regions':[[0,3,1,0]]"),
        FEATURES("'beats_s':[1,2,3],'regions':[[0,0,1,1]]"),
        FEATURES("'beats_s':[1,2,3],'regions':[[-1,3,1,1]]"),
        FEATURES("'beats_s':[1,2,3],'regions':[[0,3,1]]"),
        FEATURES("'beats_s':[1,2,3],'regions':[[0,3,1,1,1]]"),
        FEATURES("'beats_s':[1,2,3],'regions':[5]"),
        FEATURES("'beats_s':[1,2,3],'regions':'x'"),
        FEATURES("'bars':'" BAR "'"), /* without downbeats */
        FEATURES("'downbeats_s':[1,2],'bars':'" BAR "'"),
        FEATURES("'downbeats_s':[1],'bars':'AAAA'"),
        FEATURES("'downbeats_s':[1],'bars':[1]"),
        FEATURES("'downbeats_s':[1],'bars':''"),
        FEATURES("'phrase_bar':8"),
        FEATURES("'phrase_bar':-1"),
        FEATURES("'phrase16_bar':3"), /* without phrase_bar */
        FEATURES("'phrase_bar':2,'phrase16_bar':3"),
        FEATURES("'phrase_bar':2,'phrase16_bar':18"),
        FEATURES("'phrase_confidence':1.1"),
    };
    REFUSE_ALL(texts);
}

static void malformed_sound(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"track\":1,\"features\":{\"sections\":[{\"start_s\":5,\"end_s\":2,\"label\":\"main\"}]}}",
        "{\"track\":1,\"features\":{\"sections\":[{\"end_s\":2}]}}",
        ("{\"track\":1,\"features\":{\"sections\":[{\"start_s\":1,\"end_s\":2,\"label\":\"a label too "
         "long\"}]}}"),
        "{\"track\":1,\"features\":{\"sections\":4}}",
        "{\"track\":1,\"features\":{\"key\":\"H major\"}}",
        "{\"track\":1,\"features\":{\"key\":\"\"}}",
        "{\"track\":1,\"features\":{\"timbre\":[1,2]}}",
        "{\"track\":1,\"features\":{\"version\":-1}}",
        "{\"track\":1,\"features\":{\"energy\":2}}",
        FEATURES("'key_scores':[1,0.5]"),
        FEATURES("'key_scores':[2,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]"),
        FEATURES("'key_scores':['1',0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]"),
        FEATURES("'loudness_curve':'AAA'"),
        FEATURES("'loudness_curve':'AA=A'"),
        FEATURES("'loudness_curve':'AA-A'"),
        FEATURES("'loudness_curve':'AAB='"), /* bits left over */
        FEATURES("'loudness_curve':'===='"),
        FEATURES("'fade_in_s':-1"),
        FEATURES("'fade_out_s':'x'"),
        FEATURES("'onset_density':-1"),
        FEATURES("'vocal':1.5"),
        FEATURES("'colours':['#12345']"),
        FEATURES("'colours':['x123456']"),
        FEATURES("'colours':['#12345g']"),
        FEATURES("'colours':[1]"),
        FEATURES("'colours':['#000000','#000000','#000000','#000000','#000000','#000000']"),
    };
    REFUSE_ALL(texts);
}

static void keys(void **state)
{
    (void)state;
    for (int k = 0; k < 24; k++) {
        assert_int_equal(key_parse(key_name(k)), k);
        for (int other = 0; other < k; other++)
            assert_string_not_equal(key_camelot(k), key_camelot(other));
        /* on the Camelot wheel a fifth up is the next number on the same side */
        int fifth = (k % 12 + 7) % 12 + k / 12 * 12;
        assert_int_equal(atoi(key_camelot(fifth)), atoi(key_camelot(k)) % 12 + 1);
    }
    assert_string_equal(key_camelot(0), "8B");
    assert_string_equal(key_camelot(21), "8A");
    assert_int_equal(key_parse("Db major"), 1);
    assert_int_equal(key_parse("Cb major"), 11);
    assert_int_equal(key_parse("A"), -1);
    assert_null(key_name(-1));
    assert_null(key_camelot(24));
}

static void paths(void **state)
{
    (void)state;
    static const char *const samples[] = {
        "/plain",
        "/caf\xc3\xa9",
        "/latin\xe9",
        "/cut\xe2\x82",
        "/\xff\xfe\x80",
        "/\xf4\x8f\x9e\x80 a private one",
        "/\xed\xa0\x80 surrogate",
        "/\xf0\x9f\x8e\xb5",
        "",
    };
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        char *text = path_to_text(samples[i]);
        json_t *json = json_string(text);
        assert_non_null(json); /* it is UTF-8 */
        char *path = path_from_text(json_string_value(json));
        assert_string_equal(path, samples[i]);
        json_decref(json);
        free(path);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),     cmocka_unit_test(well_formed),     cmocka_unit_test(no_track),
        cmocka_unit_test(malformed_time), cmocka_unit_test(malformed_sound), cmocka_unit_test(long_track),
        cmocka_unit_test(keys),           cmocka_unit_test(paths),
    };
    return cmocka_run_group_tests_name("track", tests, NULL, NULL);
}
