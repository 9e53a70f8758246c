#include "root/mix/rehearse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "root/audio/pcm.h"
#include "root/mix/join.h"
#include "root/mix/recipe.h"

#define NUDGE_LEAST_MS  1.0
#define NUDGE_BARS      4    /* that agree on the lag */
#define NUDGE_SPREAD_MS 10.0 /* and by how much */
#define ALIKE_LEAST     0.1  /* correlations below it change nothing one could hear */
#define ALIKE_MOST      0.9
#define TAKES_MAX       3
#define STEP_LEFT_LU    0.5 /* of a step: not worth a ride */
#define PIECE           1024
#define SIGN_SAMPLES    (5 * PCM_RATE) /* heard between two signs of life */

struct take {
    struct plan_tuning tuning;
    struct plan_cursor cursor;
    json_t *segments[2];
    struct certificate certificate;
    int broken; /* rules */
    int safe;
};

struct stage {
    const struct track *from, *to;
    const struct plan_conf *conf;
    programme_open_track open;
    void *context;
    struct plan_cursor start;
    json_t *why;
    int64_t *bad_track;
    char **cause;
    /* of the takes of one way to join */
    struct programme *programme;
    struct prelude *prelude; /* NULL before the first take */
};

static void take_drop(struct take *take)
{
    json_decref(take->segments[0]);
    json_decref(take->segments[1]);
    *take = (struct take){0};
}

static double real_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* Asked for its sign of life alone, too: whoever waits for us may have a slow processor. */
static int out_of_time(const struct stage *stage)
{
    return stage->conf->busy && stage->conf->busy(stage->conf->context);
}

/* Reads [from, to) of the programme to the prelude or, where that is NULL, to the listener. */
static int hear(const struct stage *stage, uint64_t from, uint64_t to, struct prelude *prelude,
                struct listen *listener)
{
    float pcm[PIECE * PCM_CHANNELS];
    uint64_t sign = from + SIGN_SAMPLES;
    for (size_t n; from < to; from += n) {
        if (from >= sign) {
            (void)out_of_time(stage);
            sign = from + SIGN_SAMPLES;
        }
        n = to - from < PIECE ? (size_t)(to - from) : PIECE;
        if (programme_read(stage->programme, from, pcm, n, stage->bad_track, stage->cause)) return -1;
        if (prelude)
            prelude_feed(prelude, pcm, n);
        else
            listen_feed(listener, pcm, n);
    }
    return 0;
}

/* Where the bass changes hands, to look at how both basses lie to each other there. */
static int64_t switch_of(const json_t *transition)
{
    const json_t *voices = json_object_get(json_object_get(transition, "plan"), "voices");
    const json_t *last = json_array_get(voices, json_array_size(voices) - 1);
    const json_t *bass = json_array_get(json_object_get(last, "bass"), 0);
    return bass ? json_integer_value(json_object_get(bass, "to")) : -1;
}

static void measure_stems(struct take *take, const struct stem stems[2], int voices)
{
    static int64_t beat[JOIN_BEATS_MAX + 1];
    struct certificate *c = &take->certificate;
    const json_t *transition = take->segments[1];
    int count = recipe_beats(transition, beat), bars = (int)json_int_or(transition, "bars", 0, 0, 64, NULL);
    c->low_band_correlation = c->offbeat = NAN;
    c->apart_beats = -1;
    c->beats = (struct measure_beats){0, NAN, NAN, NAN, NAN};
    if (voices != 2) return;
    c->correlation = measure_correlation(&stems[0], &stems[1]);
    if (count < 1 || bars < 1) return;
    measure_beats(&stems[0], &stems[1], beat, count, count / bars, &c->beats);
    c->apart_beats = measure_apart(&stems[0], &stems[1], beat, count);
    c->offbeat = measure_offbeat(&stems[0], &stems[1], beat, count);
    c->bass_overlap_beats = measure_bass_overlap(&stems[0], &stems[1], beat, count);
    int64_t at = switch_of(transition), beat_samples = beat[count] / count;
    if (at >= 0)
        c->low_band_correlation = measure_low_correlation(
            &stems[0], &stems[1], at > beat_samples ? at - beat_samples : 0, at + beat_samples);
}

/* The programme's end before the transition is the same for all takes. It is read before the track's part of
 * the transition is, so that the track is decoded from front to back. */
static int hear_before(struct stage *stage, uint64_t start)
{
    uint64_t reach = (uint64_t)(LISTEN_AROUND_S * PCM_RATE), first = programme_start(stage->programme);
    if (stage->prelude || start == first) return 0;
    stage->prelude = prelude_new();
    return hear(stage, start > first + reach ? start - reach : first, start, stage->prelude, NULL);
}

/* The transition, rendered, and what comes after it. */
static int hear_transition(struct stage *stage, struct take *take, uint64_t start, uint64_t end)
{
    struct programme *p = stage->programme;
    struct certificate *c = &take->certificate;
    struct stem stems[2];
    int voices;
    (void)out_of_time(stage);
    if (programme_stems(p, start, stems, &voices, stage->bad_track, stage->cause)) return -1;
    (void)out_of_time(stage);
    struct listen *listener = listen_new(stage->prelude, (size_t)(end - start), &stems[0], &stems[1]);
    int result = hear(stage, start, programme_end(p), NULL, listener);
    listen_finish(listener, &c->loudness, &c->dropouts);
    (void)out_of_time(stage);
    if (result == 0) measure_stems(take, stems, voices);
    for (int i = 0; i < 2; i++)
        stem_free(&stems[i]);
    return result;
}

/* Renders and measures the planned transition. 0; -1 when a file failed. */
static int listen(struct stage *stage, struct take *take)
{
    struct programme *p = stage->programme;
    json_t *transition = take->segments[1];
    json_t *alone = plan_alone(stage->to, stage->conf, &take->cursor, LISTEN_AROUND_S);
    uint64_t start = (uint64_t)json_integer_value(json_object_get(transition, "start_sample"));
    uint64_t end = (uint64_t)json_integer_value(json_object_get(transition, "end_sample"));
    json_t *const parts[] = {take->segments[0], transition, alone};
    int result = 0;
    *stage->bad_track = 0;
    programme_truncate(p, 0);
    for (int i = 0; i < 3 && result == 0; i++) {
        if (parts[i]) result = programme_add(p, parts[i], stage->cause);
    }
    if (result == 0) result = hear_before(stage, start);
    if (result == 0) result = hear_transition(stage, take, start, end);
    json_decref(alone);
    return result;
}

static int perform(struct stage *stage, const struct plan_tuning *tuning, struct take *take)
{
    *take = (struct take){.tuning = *tuning, .cursor = stage->start};
    take->safe = plan_transition_tuned(stage->from, stage->to, stage->conf, tuning, &take->cursor, stage->why,
                                       take->segments);
    struct certificate *c = &take->certificate;
    c->consonance = real_of(take->segments[1], "consonance");
    c->consonance_sigmas = real_of(take->segments[1], "consonance_sigmas");
    c->vocal_overlap_beats = (int)json_int_or(take->segments[1], "vocal_overlap_beats", 0, 0, 10000, NULL);
    if (listen(stage, take)) {
        take_drop(take);
        return -1;
    }
    take->broken = certificate_judge(c);
    return 0;
}

/* What a take teaches for the next. 1 when another one is worth it. */
static int tune(const struct take *take, struct plan_tuning *tuning)
{
    const struct certificate *c = &take->certificate;
    const struct measure_beats *b = &c->beats;
    *tuning = take->tuning;
    if (b->bars >= NUDGE_BARS && fabs(b->lag_ms) >= NUDGE_LEAST_MS &&
        b->p95_ms - b->median_ms < NUDGE_SPREAD_MS) {
        int64_t nudge = take->tuning.nudge + llround(b->lag_ms * PCM_RATE / 1000);
        tuning->nudge = nudge > PLAN_NUDGE_MAX    ? PLAN_NUDGE_MAX
                        : nudge < -PLAN_NUDGE_MAX ? -PLAN_NUDGE_MAX
                                                  : nudge;
    }
    if (fabs(c->correlation - take->tuning.correlation) >= ALIKE_LEAST)
        tuning->correlation = fmax(-ALIKE_MOST, fmin(ALIKE_MOST, round(c->correlation * 100) / 100));
    double step = c->loudness.after_lufs - c->loudness.before_lufs;
    if (fabs(step) > 2 * STEP_LEFT_LU) {
        double ride = take->tuning.ride_db + (step > 0 ? STEP_LEFT_LU - step : -STEP_LEFT_LU - step);
        tuning->ride_db = round(fmax(-PLAN_RIDE_DB, fmin(PLAN_RIDE_DB, ride)) * 100) / 100;
    }
    return tuning->nudge != take->tuning.nudge || tuning->correlation != take->tuning.correlation ||
           tuning->ride_db != take->tuning.ride_db;
}

/* Each take is tuned by what the one before taught, better or not: moving a track changes how alike both are,
 * so that the second may swell where the third does not. */
static int try_takes(struct stage *stage, int rank, struct take *best)
{
    struct plan_tuning tuning = {.rank = rank};
    struct take next;
    if (perform(stage, &tuning, best)) return -1;
    for (int takes = 1, more = tune(best, &tuning); more && takes < TAKES_MAX && !out_of_time(stage);
         takes++) {
        if (perform(stage, &tuning, &next)) {
            take_drop(best);
            return -1;
        }
        more = tune(&next, &tuning);
        int better = next.broken <= best->broken;
        take_drop(better ? best : &next);
        if (better) *best = next;
    }
    return 0;
}

/* Why a way was not taken, for whoever wonders. */
static void note_given_up(json_t *list, const struct take *take)
{
    json_t *one = json_object(), *failed = json_array();
    for (int i = 0; i < CERTIFICATE_RULES; i++) {
        if (take->certificate.violations & 1u << i)
            json_array_append_new(failed, json_string(certificate_rules[i]));
    }
    json_object_set(one, "technique", json_object_get(take->segments[1], "technique"));
    json_t *bars = json_object_get(take->segments[1], "bars");
    if (bars) json_object_set(one, "bars", bars);
    json_object_set_new(one, "failed", failed);
    json_array_append_new(list, one);
}

/* One way to join, as good as it gets. */
static int rehearse_way(struct stage *stage, int rank, struct take *best)
{
    stage->programme = programme_new_rehearsal(stage->open, stage->context);
    int result = try_takes(stage, rank, best);
    programme_free(stage->programme);
    prelude_free(stage->prelude);
    stage->programme = NULL;
    stage->prelude = NULL;
    return result;
}

int rehearse_transition(const struct track *from, const struct track *to, const struct plan_conf *conf,
                        programme_open_track open, void *context, struct plan_cursor *cursor, json_t *why,
                        json_t *segments[2], struct certificate *out, int64_t *bad_track, char **cause)
{
    int64_t ignored;
    struct stage stage = {.from = from,
                          .to = to,
                          .conf = conf,
                          .open = open,
                          .context = context,
                          .start = *cursor,
                          .why = why,
                          .bad_track = bad_track ? bad_track : &ignored,
                          .cause = cause};
    struct take take = {0}, next;
    json_t *given_up = json_array(), *certificate;
    for (int rank = 0;; rank++) {
        if (rehearse_way(&stage, rank, &next)) {
            take_drop(&take);
            json_decref(given_up);
            return -1;
        }
        next.certificate.tries = rank;
        int safe = next.safe;
        int better = !take.segments[1] ||
                     certificate_severity(&next.certificate) < certificate_severity(&take.certificate);
        struct take *worse = better ? &take : &next;
        if (worse->segments[1]) note_given_up(given_up, worse);
        take_drop(worse);
        if (better) take = next;
        if (take.broken == 0 || safe || out_of_time(&stage)) break;
    }
    certificate = certificate_to_json(&take.certificate, take.segments[1]);
    json_object_set_new(certificate, "given_up", given_up);
    json_object_set_new(take.segments[1], "certificate", certificate);
    segments[0] = take.segments[0];
    segments[1] = take.segments[1];
    *cursor = take.cursor;
    if (out) *out = take.certificate;
    return 0;
}
