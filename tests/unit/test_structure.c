/* structure: a piece with known parts, and the whole of the analysis over it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "root/analysis/analysis.h"
#include "root/analysis/structure.h"
#include "root/analysis/timbre.h"
#include "root/audio/pcm.h"

#define BEAT_S 0.5
#define BAR_S  (4 * BEAT_S)

static uint32_t state = 11;

static double noise(void)
{
    state = state * 1664525u + 1013904223u;
    return (double)(int32_t)state / 2147483648.0;
}

/* 8 bars of pad, 16 of pad and drums, 8 of pad, 16 of drums and pad, 8 of pad: stereo. */
static float *piece(size_t *samples)
{
    *samples = (size_t)(56 * BAR_S * PCM_RATE);
    float *pcm = calloc(*samples * 2, sizeof *pcm);
    double phase = 0;
    for (size_t i = 0; i < *samples; i++) {
        double t = (double)i / PCM_RATE, in_beat = fmod(t, BEAT_S);
        int bar = (int)(t / BAR_S), beat = (int)(t / BEAT_S) % 4;
        double hz = (bar % 2) ? 196.0 : 220.0;
        double x =
            0.03 * (sin(2 * M_PI * hz * t) + sin(2 * M_PI * hz * 1.5 * t) + sin(2 * M_PI * hz * 2.52 * t));
        if ((bar >= 8 && bar < 24) || (bar >= 32 && bar < 48)) {
            if (in_beat < 1.0 / PCM_RATE) phase = 0;
            phase += 2 * M_PI * (50 + 150 * exp(-in_beat / 0.02)) / PCM_RATE;
            x += 0.6 * sin(phase) * exp(-in_beat / 0.08);
            if (beat % 2) x += 0.25 * noise() * exp(-in_beat / 0.05);
            x += 0.08 * noise() * exp(-fmod(t, BEAT_S / 2) / 0.015);
        }
        pcm[2 * i] = pcm[2 * i + 1] = (float)x;
    }
    return pcm;
}

static const struct section *section_at(const struct features *f, double time_s)
{
    for (size_t i = 0; i < f->section_count; i++) {
        if (f->sections[i].start_s <= time_s && time_s < f->sections[i].end_s) return &f->sections[i];
    }
    return NULL;
}

static void test_parts(void **unused)
{
    (void)unused;
    size_t samples;
    float *pcm = piece(&samples);
    struct analysis *analysis = analysis_new();
    struct features f;
    char *cause = NULL;
    features_init(&f);
    /* in uneven portions */
    for (size_t at = 0, n = 1; at < samples; at += n, n = n * 7 % 5003 + 1) {
        if (n > samples - at) n = samples - at;
        analysis_feed(analysis, pcm + 2 * at, n);
    }
    assert_int_equal(analysis_finish(analysis, &f, &cause), 0);
    analysis_free(analysis);
    free(pcm);

    assert_true(fabs(f.duration_s - 56 * BAR_S) < 0.001);
    assert_true(fabs(f.tempo_bpm - 120) < 0.01);
    assert_int_equal(f.metre, 4);
    assert_true(f.section_count >= 4 && f.section_count <= 7);
    assert_true(f.sections[0].start_s == f.music_start_s);
    assert_true(f.sections[f.section_count - 1].end_s == f.music_end_s);
    for (size_t i = 0; i + 1 < f.section_count; i++)
        assert_true(f.sections[i].end_s == f.sections[i + 1].start_s);
    static const int edge[4] = {8, 24, 32, 48};
    for (int e = 0; e < 4; e++) {
        double nearest = 1e9;
        for (size_t i = 1; i < f.section_count; i++)
            nearest = fmin(nearest, fabs(f.sections[i].start_s - edge[e] * BAR_S));
        if (nearest > BEAT_S * 1.1) fail_msg("the edge at bar %d is missed by %.2f s", edge[e], nearest);
    }
    assert_string_equal(section_at(&f, 4 * BAR_S)->label, "intro");
    assert_string_equal(section_at(&f, 28 * BAR_S)->label, "breakdown");
    assert_string_equal(section_at(&f, 40 * BAR_S)->label, "drop");
    assert_string_equal(section_at(&f, 53 * BAR_S)->label, "outro");
    /* phrases of eight bars from the beginning on, wherever the first downbeat was heard */
    assert_int_equal(f.bar_count, f.downbeat_count);
    assert_in_range(f.phrase_bar, 0, 7);
    double phrase = f.downbeats_s[f.phrase_bar] / (8 * BAR_S);
    assert_true(fabs(phrase - round(phrase)) < BEAT_S / (8 * BAR_S));
    assert_true(f.phrase_confidence > 0.5);
    /* the drums are in the bars where they are: eight hats, on which kicks and snares fall */
    size_t pad = (size_t)lround(4 - f.downbeats_s[0] / BAR_S), drums = pad + 8;
    assert_in_range(f.bars[drums].onsets, 7, 9);
    assert_true(f.bars[pad].onsets < 4 && f.bars[pad].low > f.bars[drums].low + 40);
    assert_true(f.bars[drums].loudness < f.bars[pad].loudness);
    assert_true(f.onset_density > 1.5 && f.onset_density < 4.5);
    assert_true(f.energy >= 0 && f.energy <= 1 && f.danceability >= 0 && f.danceability <= 1);
    assert_true(isfinite(f.timbre[0]) && isfinite(f.timbre[TIMBRE_DIMS - 1]));
    assert_non_null(f.fingerprint);
    /* a part of the beats, in order, is the downbeats */
    for (size_t i = 0, k = 0; i < f.downbeat_count; i++) {
        while (k < f.beat_count && f.beats_s[k] < f.downbeats_s[i])
            k++;
        assert_true(k < f.beat_count && f.beats_s[k] == f.downbeats_s[i]);
    }
    features_free(&f);
}

/* Arrangements as bars: what plays in each part, and how the part is to be called. */
struct part {
    int bars;
    uint8_t loudness, low, high, onsets; /* levels in steps down from 0 */
    const char *label;
};
#define PARTS_MOST 8
static const struct part arrangements[][PARTS_MOST] = {
    /* house: kick and hats, all, no drums, all, kick and hats */
    {{16, 68, 60, 110, 12, "intro"},
     {32, 60, 55, 90, 24, "main"},
     {16, 84, 140, 130, 6, "breakdown"},
     {32, 56, 54, 88, 26, "drop"},
     {16, 68, 60, 112, 12, "outro"}},
    /* a song that begins at full strength and thins out twice */
    {{24, 64, 60, 96, 20, "main"},
     {8, 90, 100, 120, 8, "breakdown"},
     {24, 62, 60, 96, 20, "drop"},
     {8, 88, 102, 124, 8, "breakdown"},
     {24, 62, 58, 94, 20, "drop"}},
    /* a long quiet opening, then drums to the end */
    {{32, 100, 150, 120, 4, "intro"}, {64, 60, 56, 90, 20, "drop"}},
};

static void arrange(const struct part *parts, size_t upbeat)
{
    static struct bar bars[256];
    static double downbeats[256];
    struct series texture = {0};
    size_t count = 0;
    memset(bars, 0, sizeof bars);
    for (int p = 0; p < PARTS_MOST && parts[p].bars; p++) {
        for (int b = 0; b < parts[p].bars; b++, count++) {
            downbeats[count] = (double)upbeat * BEAT_S + (double)count * BAR_S;
            bars[count + (upbeat > 0)] = (struct bar){
                .loudness = (uint8_t)(parts[p].loudness + 2 + 2 * noise()),
                .low = (uint8_t)(parts[p].low + 2 + 2 * noise()),
                .mid = (uint8_t)(parts[p].loudness + 8 + 2 * noise()),
                .high = (uint8_t)(parts[p].high + 2 + 2 * noise()),
                .onsets = (uint8_t)(parts[p].onsets + 1 + noise()),
            };
            bars[count + (upbeat > 0)].chroma[(count * 5) % 4 * 3] = 250;
        }
    }
    if (upbeat) bars[0] = bars[1];
    double end_s = downbeats[count - 1] + BAR_S;
    for (size_t i = 0; i < (size_t)(end_s * TEXTURE_RATE) * TEXTURE_DIMS; i++)
        series_push(&texture, (float)(0.1 * noise()));
    struct course_bars where = structure_bars(downbeats, count, 0, end_s);
    assert_int_equal(where.first, upbeat > 0);
    assert_int_equal(where.count, count + (upbeat > 0));
    struct barrows rows = barrows_make(bars, where.count, &texture, where.start_s, end_s);
    struct barrows in_bars = {rows.row + where.first, count};
    struct phrases phrases = phrases_find(&in_bars);
    assert_int_equal(phrases.first8, 0);
    size_t sections, at = 0;
    struct section *section = structure_find(&where, bars, &rows, &phrases, &sections);
    for (size_t p = 0, s = 0; p < PARTS_MOST && parts[p].bars; at += (size_t)parts[p++].bars, s++) {
        assert_true(s < sections);
        if (p && section[s].start_s != downbeats[at])
            fail_msg("%s begins at %.1f s, not %.1f", section[s].label, section[s].start_s, downbeats[at]);
        assert_string_equal(section[s].label, parts[p].label);
        if (!parts[p + 1].bars) assert_int_equal(sections, s + 1);
    }
    assert_true(section[0].start_s == 0 && section[sections - 1].end_s == end_s);
    free(section);
    free(where.start_s);
    barrows_free(&rows);
    series_free(&texture);
}

static void test_arrangements(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof arrangements / sizeof *arrangements; i++) {
        arrange(arrangements[i], 0);
        arrange(arrangements[i], 2);
    }
}

/* Without downbeats parts are made of stretches of time, and cover the piece none the less. */
static void test_no_bars(void **unused)
{
    (void)unused;
    struct course_bars where = structure_bars(NULL, 0, 1.5, 61);
    assert_int_equal(where.count, 30);
    assert_true(where.start_s[0] == 1.5 && where.start_s[where.count] == 61);
    for (size_t i = 0; i < where.count; i++)
        assert_true(where.start_s[i + 1] - where.start_s[i] >= 1);
    free(where.start_s);
    where = structure_bars(NULL, 0, 3, 3);
    assert_int_equal(where.count, 1);
    free(where.start_s);
}

static void test_nothing(void **unused)
{
    (void)unused;
    struct analysis *analysis = analysis_new();
    struct features f;
    char *cause = NULL;
    features_init(&f);
    assert_int_equal(analysis_finish(analysis, &f, &cause), -1);
    assert_non_null(cause);
    free(cause);
    analysis_free(analysis);
    cause = NULL;
    float silence[2000] = {0};
    analysis = analysis_new();
    analysis_feed(analysis, silence, 1000);
    assert_int_equal(analysis_finish(analysis, &f, &cause), -1);
    assert_non_null(strstr(cause, "silent"));
    free(cause);
    analysis_free(analysis);
}

/* One click, and a file of infinities: features may be few, but nothing breaks. */
static void test_odd(void **unused)
{
    (void)unused;
    for (int odd = 0; odd < 3; odd++) {
        static float pcm[2 * 30000];
        memset(pcm, 0, sizeof pcm);
        for (size_t i = 0; i < 60000; i++) {
            if (odd == 0 && i == 20000) pcm[i] = 1;
            if (odd == 1) pcm[i] = i % 2 ? INFINITY : NAN;
            if (odd == 2) pcm[i] = 1;
        }
        struct analysis *analysis = analysis_new();
        struct features f;
        char *cause = NULL;
        features_init(&f);
        analysis_feed(analysis, pcm, odd == 0 ? 30000 : 20);
        analysis_feed(analysis, pcm, 30000);
        if (analysis_finish(analysis, &f, &cause) == 0) {
            assert_true(isnan(f.tempo_confidence) || f.tempo_confidence < TEMPO_TRUSTED);
            json_t *json = features_to_json(&f);
            assert_non_null(json);
            json_decref(json);
        }
        free(cause);
        features_free(&f);
        analysis_free(analysis);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),   cmocka_unit_test(test_arrangements), cmocka_unit_test(test_no_bars),
        cmocka_unit_test(test_nothing), cmocka_unit_test(test_odd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
