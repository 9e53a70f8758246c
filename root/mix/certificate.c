#include "root/mix/certificate.h"

#include <math.h>

const char *const certificate_rules[CERTIFICATE_RULES] = {
    "beat_error",    "drift",      "loudness_step", "hole",    "bump", "bass_overlap",
    "vocal_overlap", "consonance", "dropout",       "offbeat", "apart"};

int certificate_judge(struct certificate *c)
{
    int beats = c->beats.bars >= CERTIFICATE_BEAT_BARS_MIN;
    /* a comparison with NAN is false: what is unknown breaks no rule */
    const int broken[CERTIFICATE_RULES] = {
        beats && c->beats.p95_ms > CERTIFICATE_BEAT_P95_MS,
        beats && c->beats.drift_ms > CERTIFICATE_DRIFT_MS,
        c->loudness.step_lu > CERTIFICATE_STEP_LU,
        c->loudness.hole_lu > CERTIFICATE_HOLE_LU,
        c->loudness.bump_lu > CERTIFICATE_BUMP_LU,
        c->bass_overlap_beats > CERTIFICATE_BASS_BEATS,
        c->vocal_overlap_beats > CERTIFICATE_VOCAL_BEATS,
        c->consonance_sigmas<CERTIFICATE_SIGMAS, c->dropouts> 0,
        c->offbeat > CERTIFICATE_OFFBEAT,
        c->apart_beats > CERTIFICATE_APART_BEATS,
    };
    int count = 0;
    c->violations = 0;
    for (int i = 0; i < CERTIFICATE_RULES; i++) {
        if (!broken[i]) continue;
        c->violations |= 1u << i;
        count++;
    }
    return count;
}

static double beyond(double value, double limit)
{
    return value > limit ? value - limit : 0;
}

double certificate_severity(const struct certificate *c)
{
    int beats = c->beats.bars >= CERTIFICATE_BEAT_BARS_MIN;
    double severity =
        beyond(c->loudness.step_lu, CERTIFICATE_STEP_LU) + beyond(c->loudness.hole_lu, CERTIFICATE_HOLE_LU) +
        beyond(c->loudness.bump_lu, CERTIFICATE_BUMP_LU) +
        beyond(c->bass_overlap_beats, CERTIFICATE_BASS_BEATS) +
        beyond(c->vocal_overlap_beats, CERTIFICATE_VOCAL_BEATS) / 4 +
        beyond(CERTIFICATE_SIGMAS, c->consonance_sigmas) + 4 * c->dropouts +
        100 * beyond(c->offbeat, CERTIFICATE_OFFBEAT) + 20 * beyond(c->apart_beats, CERTIFICATE_APART_BEATS);
    if (beats)
        severity += 10 * (beyond(c->beats.p95_ms, CERTIFICATE_BEAT_P95_MS) +
                          beyond(c->beats.drift_ms, CERTIFICATE_DRIFT_MS));
    return severity;
}

static void set_real(json_t *object, const char *key, double value)
{
    if (isfinite(value)) json_object_set_new(object, key, json_real(round(value * 1000) / 1000));
}

static void copy(json_t *to, const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);
    if (value) json_object_set(to, key, value);
}

json_t *certificate_to_json(const struct certificate *c, const json_t *transition)
{
    json_t *out = json_object(), *failed = json_array();
    for (int i = 0; i < CERTIFICATE_RULES; i++) {
        if (c->violations & 1u << i) json_array_append_new(failed, json_string(certificate_rules[i]));
    }
    json_object_set_new(out, "passed", json_boolean(c->violations == 0));
    json_object_set_new(out, "failed", failed);
    json_object_set_new(out, "tries", json_integer(c->tries));
    copy(out, transition, "technique");
    copy(out, transition, "bars");
    copy(out, transition, "tempo_change_pct");
    if (c->beats.bars) {
        json_t *beats = json_object();
        json_object_set_new(beats, "bars", json_integer(c->beats.bars));
        set_real(beats, "median", c->beats.median_ms);
        set_real(beats, "p95", c->beats.p95_ms);
        set_real(beats, "drift", c->beats.drift_ms);
        json_object_set_new(out, "beat_error_ms", beats);
    }
    set_real(out, "offbeat", c->offbeat);
    if (c->apart_beats >= 0) json_object_set_new(out, "apart_beats", json_integer(c->apart_beats));
    set_real(out, "low_band_correlation", c->low_band_correlation);
    set_real(out, "correlation", c->correlation);
    set_real(out, "loudness_before_lufs", c->loudness.before_lufs);
    set_real(out, "loudness_after_lufs", c->loudness.after_lufs);
    set_real(out, "loudness_step_lu", c->loudness.step_lu);
    set_real(out, "hole_lu", c->loudness.hole_lu);
    set_real(out, "bump_lu", c->loudness.bump_lu);
    set_real(out, "true_peak_dbtp", c->loudness.true_peak_dbtp);
    set_real(out, "consonance", c->consonance);
    set_real(out, "consonance_sigmas", c->consonance_sigmas);
    json_object_set_new(out, "bass_overlap_beats", json_integer(c->bass_overlap_beats));
    json_object_set_new(out, "vocal_overlap_beats", json_integer(c->vocal_overlap_beats));
    json_object_set_new(out, "dropouts", json_integer(c->dropouts));
    return out;
}
