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
    assert_true(isnan(b.features.energy)); /* unknown stays unknown */
    assert_null(json_object_get(json_object_get(json, "features"), "energy"));
    json_t *summary = track_summary_to_json(&a), *f = json_object_get(summary, "features");
    assert_null(json_object_get(f, "beats_s"));
    assert_null(json_object_get(f, "sections"));
    assert_string_equal(json_string_value(json_object_get(f, "camelot")), "8A");
    json_decref(summary);
    json_decref(json);
    json_decref(again);
    free(text);
    track_free(&a);
    track_free(&b);
}

static void malformed(void **state)
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
        "{\"track\":1,\"features\":{\"tempo_bpm\":\"fast\"}}",
        "{\"track\":1,\"features\":{\"tempo_bpm\":-3}}",
        "{\"track\":1,\"features\":{\"tempo_confidence\":1.5}}",
        "{\"track\":1,\"features\":{\"beats_s\":[1,0.5]}}",
        "{\"track\":1,\"features\":{\"beats_s\":[1,\"x\"]}}",
        "{\"track\":1,\"features\":{\"beats_s\":{}}}",
        "{\"track\":1,\"features\":{\"downbeats_s\":[2,1]}}",
        "{\"track\":1,\"features\":{\"key\":\"H major\"}}",
        "{\"track\":1,\"features\":{\"key\":\"\"}}",
        "{\"track\":1,\"features\":{\"timbre\":[1,2]}}",
        "{\"track\":1,\"features\":{\"sections\":[{\"start_s\":5,\"end_s\":2,\"label\":\"main\"}]}}",
        "{\"track\":1,\"features\":{\"sections\":[{\"end_s\":2}]}}",
        ("{\"track\":1,\"features\":{\"sections\":[{\"start_s\":1,\"end_s\":2,\"label\":\"a label too "
         "long\"}]}}"),
        "{\"track\":1,\"features\":{\"sections\":4}}",
        "{\"track\":1,\"features\":{\"version\":-1}}",
        "{\"track\":1,\"features\":{\"energy\":2}}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *cause = NULL;
        json_t *json = json_parse(texts[i], strlen(texts[i]), 4096, &cause);
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
        cmocka_unit_test(round_trip),
        cmocka_unit_test(malformed),
        cmocka_unit_test(keys),
        cmocka_unit_test(paths),
    };
    return cmocka_run_group_tests_name("track", tests, NULL, NULL);
}
