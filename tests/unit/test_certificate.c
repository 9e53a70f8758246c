#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "root/mix/certificate.h"

static struct certificate good(void)
{
    return (struct certificate){
        .beats = {.bars = 8, .lag_ms = 0.5, .median_ms = 1, .p95_ms = 3, .drift_ms = 1},
        .loudness = {.before_lufs = -16, .after_lufs = -15.5, .step_lu = 0.5, .true_peak_dbtp = -2},
        .low_band_correlation = 0.2,
        .correlation = 0.1,
        .consonance = 0.4,
        .consonance_sigmas = 1.5,
    };
}

static struct certificate unknown(void)
{
    return (struct certificate){.beats = {0, NAN, NAN, NAN, NAN},
                                .offbeat = NAN,
                                .apart_beats = -1,
                                .loudness = {NAN, NAN, NAN, NAN, NAN, NAN},
                                .low_band_correlation = NAN,
                                .correlation = NAN,
                                .consonance = NAN,
                                .consonance_sigmas = NAN};
}

/* Breaks one rule, by its place in certificate_rules. */
static void spoil(struct certificate *c, int rule)
{
    switch (rule) {
    case 0:
        c->beats.p95_ms = 25;
        break;
    case 1:
        c->beats.drift_ms = 15;
        break;
    case 2:
        c->loudness.step_lu = 3;
        break;
    case 3:
        c->loudness.hole_lu = 4;
        break;
    case 4:
        c->loudness.bump_lu = 1.5;
        break;
    case 5:
        c->bass_overlap_beats = 3;
        break;
    case 6:
        c->vocal_overlap_beats = 16;
        break;
    case 7:
        c->consonance_sigmas = -2;
        break;
    case 8:
        c->dropouts = 1;
        break;
    case 9:
        c->offbeat = 1.2;
        break;
    case 10:
        c->apart_beats = 2;
        break;
    }
}

static void each_rule_is_judged(void **state)
{
    (void)state;
    struct certificate c = good();
    assert_int_equal(certificate_judge(&c), 0);
    assert_true(certificate_severity(&c) == 0);
    for (int rule = 0; rule < CERTIFICATE_RULES; rule++) {
        c = good();
        spoil(&c, rule);
        assert_int_equal(certificate_judge(&c), 1);
        assert_int_equal(c.violations, 1u << rule);
        assert_true(certificate_severity(&c) > 0);
    }
}

static void what_is_unknown_breaks_nothing(void **state)
{
    (void)state;
    struct certificate c = unknown();
    assert_int_equal(certificate_judge(&c), 0);
    assert_true(certificate_severity(&c) == 0);
    /* two bars say too little about the beats */
    c.beats = (struct measure_beats){2, 30, 30, 35, 20};
    assert_int_equal(certificate_judge(&c), 0);
    c.beats.bars = CERTIFICATE_BEAT_BARS_MIN;
    assert_int_equal(certificate_judge(&c), 2);
}

static void beats_that_miss_are_the_worst(void **state)
{
    (void)state;
    struct certificate beats = good(), rest = good();
    spoil(&beats, 0);
    for (int rule = 2; rule < CERTIFICATE_RULES - 1; rule++) /* the last one is of beats, too */
        spoil(&rest, rule);
    assert_true(certificate_severity(&beats) > certificate_severity(&rest));
}

static void as_json(void **state)
{
    (void)state;
    struct certificate c = good();
    spoil(&c, 3);
    c.tries = 2;
    certificate_judge(&c);
    json_t *transition =
        json_pack("{s:s, s:i, s:f}", "technique", "blend", "bars", 16, "tempo_change_pct", 2.5);
    json_t *json = certificate_to_json(&c, transition), *beats = json_object_get(json, "beat_error_ms");
    assert_true(json_is_false(json_object_get(json, "passed")));
    assert_int_equal(json_array_size(json_object_get(json, "failed")), 1);
    assert_string_equal(json_string_value(json_array_get(json_object_get(json, "failed"), 0)), "hole");
    assert_int_equal(json_integer_value(json_object_get(json, "tries")), 2);
    assert_string_equal(json_string_value(json_object_get(json, "technique")), "blend");
    assert_true(json_real_value(json_object_get(beats, "p95")) == 3);
    assert_true(json_real_value(json_object_get(json, "hole_lu")) == 4);
    json_decref(json);
    /* absent, not null or NaN */
    c = unknown();
    certificate_judge(&c);
    json = certificate_to_json(&c, transition);
    assert_true(json_is_true(json_object_get(json, "passed")));
    assert_null(json_object_get(json, "beat_error_ms"));
    assert_null(json_object_get(json, "loudness_step_lu"));
    assert_null(json_object_get(json, "consonance"));
    assert_null(json_object_get(json, "offbeat"));
    assert_null(json_object_get(json, "apart_beats"));
    json_decref(json);
    json_decref(transition);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_is_judged),
        cmocka_unit_test(what_is_unknown_breaks_nothing),
        cmocka_unit_test(beats_that_miss_are_the_worst),
        cmocka_unit_test(as_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
