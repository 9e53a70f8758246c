#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"
#include "root/mix/plan.h"
#include "root/mix/recipe.h"
#include "root/mix/render.h"
#include "root/mix/split.h"
#include "tests/unit/wav.h"

#define RATE   44100
#define TRACKS 4

static const struct plan_conf conf = {.target_lufs = -16, .max_tempo_change_pct = 6};

/* A crate of synthesised files in memory: track i is file[i]. */
struct crate {
    struct track track[TRACKS];
    int file[TRACKS]; /* -1: gone */
    int opened;
};

enum sound { KICKS, PAD, NOISE };

static uint32_t next_random(uint32_t *state)
{
    return *state = *state * 1664525u + 1013904223u;
}

static double noise(uint32_t *state)
{
    return (double)next_random(state) / 2147483648.0 - 1;
}

static double pad_at(double t)
{
    return 0.1 * (sin(2 * M_PI * 220 * t) + sin(2 * M_PI * 277.2 * t + 1) + sin(2 * M_PI * 329.6 * t + 2));
}

/* A kick: a fast attack with a click that can be found again, then a low tone that dies away. */
static double kick_at(double t)
{
    if (t < 0 || t > 0.2) return 0;
    return 0.6 * exp(-t * 25) * sin(2 * M_PI * 55 * t) + 0.5 * exp(-t * 900) * sin(2 * M_PI * 3000 * t);
}

static void make(struct crate *crate, int i, enum sound sound, double duration_s, double bpm, double first_s)
{
    size_t samples = (size_t)llround(duration_s * RATE);
    int16_t *pcm = xcalloc(samples, sizeof *pcm);
    uint32_t random = 77u + (uint32_t)i;
    double period = 60 / bpm;
    for (size_t n = 0; n < samples; n++) {
        double t = (double)n / RATE, beat = floor((t - first_s) / period);
        double x = sound == NOISE ? 0.2 * noise(&random)
                   : sound == PAD ? pad_at(t)
                                  : kick_at(t - first_s - beat * period);
        pcm[n] = (int16_t)lrint(x * 32000);
    }
    crate->file[i] = wav_memory(pcm, samples, 1, RATE);
    free(pcm);
    struct track *t = &crate->track[i];
    track_init(t);
    t->id = i + 1;
    t->hash = xasprintf("hash%d", i);
    struct features *f = &t->features;
    f->duration_s = f->music_end_s = duration_s;
    f->music_start_s = 0;
    f->tempo_bpm = bpm;
    f->tempo_confidence = 1;
    f->metre = 4;
    f->loudness_lufs = -16;
    f->beats_s = xcalloc((size_t)(duration_s / period) + 2, sizeof(double));
    f->downbeats_s = xcalloc((size_t)(duration_s / period) + 2, sizeof(double));
    for (int k = 0; first_s + k * period < duration_s; k++) {
        f->beats_s[f->beat_count++] = first_s + k * period;
        if (k % 4 == 0) f->downbeats_s[f->downbeat_count++] = first_s + k * period;
    }
}

static struct crate *crate_new(void)
{
    struct crate *crate = xcalloc(1, sizeof *crate);
    for (int i = 0; i < TRACKS; i++) {
        crate->file[i] = -1;
        track_init(&crate->track[i]);
    }
    return crate;
}

static void crate_free(struct crate *crate)
{
    for (int i = 0; i < TRACKS; i++) {
        if (crate->file[i] >= 0) close(crate->file[i]);
        track_free(&crate->track[i]);
    }
    free(crate);
}

static int open_track(void *context, int64_t track, const char *hash, char **cause)
{
    struct crate *crate = context;
    assert_in_range(track, 1, TRACKS);
    if (crate->file[track - 1] < 0) return cause_set(cause, "track %d is gone", (int)track);
    assert_string_equal(hash, crate->track[track - 1].hash);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", crate->file[track - 1]);
    crate->opened++;
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* Track 0 into track 1 and to its end; segments[0..2]. */
static struct programme *two(struct crate *crate, json_t *segments[3])
{
    struct plan_cursor cursor = plan_open(&crate->track[0], 5000);
    plan_transition(&crate->track[0], &crate->track[1], &conf, &cursor, NULL, segments);
    segments[2] = plan_ending(&crate->track[1], &conf, &cursor);
    struct programme *p = programme_new(open_track, crate);
    char *cause = NULL;
    for (int i = 0; i < 3; i++)
        assert_int_equal(programme_add(p, segments[i], &cause), 0);
    return p;
}

static uint64_t start_of(const json_t *segment)
{
    return (uint64_t)json_integer_value(json_object_get(segment, "start_sample"));
}

static uint64_t end_of(const json_t *segment)
{
    return (uint64_t)json_integer_value(json_object_get(segment, "end_sample"));
}

static void drop(struct programme *p, json_t *segments[3])
{
    programme_free(p);
    for (int i = 0; i < 3; i++)
        json_decref(segments[i]);
}

static float *read_all(struct programme *p, uint64_t from, uint64_t to)
{
    char *cause = NULL;
    float *pcm = xmalloc((size_t)(to - from) * 2 * sizeof *pcm);
    /* in pieces of odd size, as a reader would */
    for (uint64_t at = from; at < to;) {
        size_t n = to - at < 4999 ? (size_t)(to - at) : 4999;
        if (programme_read(p, at, pcm + (at - from) * 2, n, NULL, &cause) < 0) fail_msg("%s", cause);
        at += n;
    }
    return pcm;
}

/* The transition with one of its voices only. */
static float *stem(struct crate *crate, const json_t *transition, size_t voice)
{
    json_t *alone = json_deep_copy(transition);
    json_t *voices = json_object_get(json_object_get(alone, "plan"), "voices");
    assert_int_equal(json_array_size(voices), 2);
    json_array_remove(voices, 1 - voice);
    json_object_del(json_array_get(voices, 0), "level");
    json_object_del(json_array_get(voices, 0), "bass");
    struct programme *p = programme_new(open_track, crate);
    char *cause = NULL;
    assert_int_equal(programme_add(p, alone, &cause), 0);
    float *pcm = read_all(p, start_of(alone), end_of(alone));
    programme_free(p);
    json_decref(alone);
    return pcm;
}

/* Where within [from, to) the click of a kick is: the centre of gravity of the squared second difference. */
static double click_at(const float *pcm, int64_t from, int64_t to)
{
    double sum = 0, moment = 0;
    for (int64_t i = from < 2 ? 2 : from; i < to; i++) {
        double d = pcm[2 * i] - 2.0 * pcm[2 * (i - 1)] + pcm[2 * (i - 2)];
        sum += d * d;
        moment += d * d * (double)i;
    }
    assert_true(sum > 1e-3);
    return moment / sum;
}

static void test_beats_coincide(void **state)
{
    (void)state;
    /* stretched; resampled (within half a per cent); double tempo */
    static const double tempi[][2] = {{124, 130}, {125, 125.3}, {84, 172}};
    for (size_t t = 0; t < sizeof tempi / sizeof *tempi; t++) {
        struct crate *crate = crate_new();
        double length_s = tempi[t][0] < 100 ? 44 : 24; /* four bars are a third of it at most */
        make(crate, 0, KICKS, length_s, tempi[t][0], 0.31);
        make(crate, 1, KICKS, length_s, tempi[t][1], 0.12);
        json_t *segments[3];
        struct programme *p = two(crate, segments);
        assert_string_equal(json_string_value(json_object_get(segments[1], "technique")), "blend");
        json_t *map = json_object_get(
            json_array_get(json_object_get(json_object_get(segments[1], "plan"), "voices"), 0), "map");
        float *a = stem(crate, segments[1], 0), *b = stem(crate, segments[1], 1);
        double worst = 0;
        /* the first and last beat lie on the edge of the segment */
        for (size_t k = 1; k + 1 < json_array_size(map); k++) {
            int64_t beat = json_integer_value(json_array_get(json_array_get(map, k), 1));
            double at_a = click_at(a, beat - 500, beat + 700), at_b = click_at(b, beat - 500, beat + 700);
            double error_ms = fabs(at_a - at_b) * 1000 / RATE;
            if (error_ms > worst) worst = error_ms;
        }
        print_message("%.0f -> %.1f BPM, %zu beats: worst beat error %.2f ms\n", tempi[t][0], tempi[t][1],
                      json_array_size(map) - 1, worst);
        assert_true(worst <= 5);
        free(a);
        free(b);
        drop(p, segments);
        crate_free(crate);
    }
}

/* Largest second difference: what a click stands out in. */
static double roughness(const float *pcm, int64_t from, int64_t to)
{
    double most = 0;
    for (int64_t i = from + 2; i < to; i++) {
        double d = fabs(pcm[2 * i] - 2.0 * pcm[2 * (i - 1)] + pcm[2 * (i - 2)]);
        if (d > most) most = d;
    }
    return most;
}

static double level_db(const float *pcm, int64_t from, int64_t to)
{
    double sum = 0;
    for (int64_t i = 2 * from; i < 2 * to; i++)
        sum += (double)pcm[i] * pcm[i];
    return 10 * log10(sum / (double)(2 * (to - from)) + 1e-12);
}

static void test_no_click_at_seams(void **state)
{
    (void)state;
    struct crate *crate = crate_new();
    make(crate, 0, PAD, 24, 124, 0.31);
    make(crate, 1, PAD, 24, 130, 0.12);
    json_t *segments[3];
    struct programme *p = two(crate, segments);
    uint64_t from = programme_start(p);
    float *pcm = read_all(p, from, programme_end(p));
    int64_t in = (int64_t)(start_of(segments[1]) - from), out = (int64_t)(end_of(segments[1]) - from);
    double solo = roughness(pcm, RATE, in - RATE);
    double at_in = roughness(pcm, in - RATE / 2, in + RATE / 2),
           at_out = roughness(pcm, out - RATE / 2, out + RATE / 2);
    print_message("roughness alone %.6f, at the seams %.6f and %.6f\n", solo, at_in, at_out);
    assert_true(at_in < 1.3 * solo && at_out < 1.3 * solo);
    /* nor a hole: 20 ms windows, the chord alone beats by this much itself */
    double least_solo = 0, least_in = 0, least_out = 0;
    for (int64_t i = 0; i < RATE; i += 200) {
        least_solo = fmin(least_solo, level_db(pcm, RATE + i, RATE + i + 882));
        least_in = fmin(least_in, level_db(pcm, in - RATE / 4 + i, in - RATE / 4 + i + 882));
        least_out = fmin(least_out, level_db(pcm, out - 3 * RATE / 4 + i, out - 3 * RATE / 4 + i + 882));
    }
    print_message("least level alone %.1f dB, at the seams %.1f and %.1f dB\n", least_solo, least_in,
                  least_out);
    assert_true(least_in > least_solo - 2 && least_out > least_solo - 2);
    free(pcm);
    drop(p, segments);
    crate_free(crate);
}

static void test_any_position_gives_the_same(void **state)
{
    (void)state;
    struct crate *crate = crate_new();
    make(crate, 0, KICKS, 24, 124, 0.31);
    make(crate, 1, NOISE, 24, 130, 0.12);
    json_t *segments[3];
    struct programme *p = two(crate, segments);
    uint64_t from = programme_start(p), to = programme_end(p);
    float *pcm = read_all(p, from, to);
    uint32_t seed = 4242, random = seed;
    print_message("seed %u\n", seed);
    for (int i = 0; i < 6; i++) {
        /* half of them near the transition's edges, half anew from nothing */
        uint64_t at = from + next_random(&random) % (uint32_t)(to - from - 3000);
        if (i % 4 == 0) at = start_of(segments[1]) - next_random(&random) % 3000;
        if (i % 4 == 1) at = end_of(segments[1]) - next_random(&random) % 3000;
        struct programme *fresh = p;
        char *cause = NULL;
        if (i % 2) {
            fresh = programme_new(open_track, crate);
            for (int k = 0; k < 3; k++) {
                /* a studio that starts again knows only what is still to be played */
                if (end_of(segments[k]) > at) assert_int_equal(programme_add(fresh, segments[k], &cause), 0);
            }
        }
        float piece[2 * 3000];
        assert_int_equal(programme_read(fresh, at, piece, 3000, NULL, &cause), 0);
        assert_memory_equal(piece, pcm + (at - from) * 2, sizeof piece);
        if (fresh != p) programme_free(fresh);
    }
    free(pcm);
    drop(p, segments);
    crate_free(crate);
}

static void test_each_file_is_decoded_once(void **state)
{
    (void)state;
    struct crate *crate = crate_new();
    make(crate, 0, KICKS, 24, 124, 0.31);
    make(crate, 1, KICKS, 24, 130, 0.12);
    crate->track[0].features.tempo_confidence = 0;
    json_t *segments[3];
    struct programme *p = two(crate, segments);
    free(read_all(p, programme_start(p), programme_end(p)));
    assert_int_equal(crate->opened, 2);
    programme_release(p, start_of(segments[2]));
    assert_int_equal(programme_count(p), 1);
    assert_int_equal(programme_start(p), start_of(segments[2]));
    drop(p, segments);
    crate_free(crate);
}

static void test_blend_of_equal_noise_has_no_hole(void **state)
{
    (void)state;
    struct crate *crate = crate_new();
    make(crate, 0, NOISE, 24, 124, 0.31);
    make(crate, 1, NOISE, 24, 130, 0.12);
    json_t *segments[3];
    struct programme *p = two(crate, segments);
    uint64_t from = programme_start(p);
    float *pcm = read_all(p, from, programme_end(p));
    int64_t in = (int64_t)(start_of(segments[1]) - from), out = (int64_t)(end_of(segments[1]) - from);
    double alone = level_db(pcm, RATE, in), least = 0, most = -100;
    for (int64_t i = in - RATE; i < out + RATE; i += RATE / 10) {
        double level = level_db(pcm, i, i + RATE * 4 / 10);
        least = fmin(least, level);
        most = fmax(most, level);
    }
    print_message("alone %.1f dB, in the transition %.1f to %.1f dB\n", alone, least, most);
    assert_true(least > alone - 3 && most < alone + 1.5);
    free(pcm);
    drop(p, segments);
    crate_free(crate);
}

static void test_skip(void **state)
{
    (void)state;
    struct crate *crate = crate_new();
    make(crate, 0, NOISE, 24, 124, 0.31);
    make(crate, 1, NOISE, 24, 130, 0.12);
    make(crate, 2, PAD, 30, 100, 0);
    crate->track[0].features.tempo_confidence = 0; /* a fade is quicker to render */
    json_t *segments[3];
    struct programme *p = two(crate, segments);
    uint64_t at = start_of(segments[1]) - 30000, length = plan_skip_samples(), again = at + length / 2;
    float *old = read_all(p, at, at + length);
    json_t *under = json_pack("[O, O]", segments[0], segments[1]);
    struct plan_cursor cursor;
    json_t *skip = plan_skip(under, at, &crate->track[2], &conf, &cursor, NULL);
    struct programme *branch = programme_new(open_track, crate);
    char *cause = NULL;
    assert_int_equal(programme_add(branch, skip, &cause), 0);
    json_t *rest = plan_ending(&crate->track[2], &conf, &cursor);
    assert_int_equal(programme_add(branch, rest, &cause), 0);
    float *pcm = read_all(branch, at, at + length + RATE);
    /* begins as the old one, ends as the new one */
    for (int i = 0; i < 20; i++)
        assert_true(fabsf(pcm[i] - old[i]) < 0.003f);
    double t = (double)(length + 100) / RATE;
    assert_true(fabs(pcm[2 * (length + 100)] - pad_at(t) * 32000 / 32768) < 1e-4);
    /* out of the skip itself, by a studio that knows nothing else */
    json_t *under_again = json_pack("[O]", skip);
    struct plan_cursor second;
    json_t *skip_again = plan_skip(under_again, again, &crate->track[1], &conf, &second, NULL);
    struct programme *other = programme_new(open_track, crate);
    assert_int_equal(programme_add(other, skip_again, &cause), 0);
    float *twice = read_all(other, again, again + 1000);
    for (int i = 0; i < 20; i++)
        assert_true(fabsf(twice[i] - pcm[2 * (length / 2) + (size_t)i]) < 0.003f);
    free(twice);
    free(pcm);
    free(old);
    programme_free(other);
    programme_free(branch);
    json_decref(under);
    json_decref(under_again);
    json_decref(skip);
    json_decref(skip_again);
    json_decref(rest);
    drop(p, segments);
    crate_free(crate);
}

static void test_failures_name_the_track(void **state)
{
    (void)state;
    struct crate *crate = crate_new();
    make(crate, 0, KICKS, 24, 124, 0.31);
    make(crate, 1, KICKS, 24, 130, 0.12);
    crate->track[0].features.tempo_confidence = 0;
    json_t *segments[3];
    struct programme *p = two(crate, segments);
    close(crate->file[1]);
    crate->file[1] = -1;
    float piece[200];
    int64_t bad = 0;
    char *cause = NULL;
    assert_int_equal(programme_read(p, start_of(segments[0]), piece, 100, &bad, &cause), 0);
    assert_int_equal(programme_read(p, start_of(segments[1]), piece, 100, &bad, &cause), -1);
    assert_int_equal(bad, 2);
    assert_string_equal(cause, "track 2 is gone");
    free(cause);
    cause = NULL;
    /* a file that is shorter than the plan says */
    crate->file[1] = wav_memory((const int16_t[RATE * 2]){0}, RATE * 2, 1, RATE);
    assert_int_equal(programme_read(p, start_of(segments[1]), piece, 100, &bad, &cause), -1);
    assert_int_equal(bad, 2);
    assert_non_null(strstr(cause, "before it should"));
    free(cause);
    cause = NULL;
    /* what plays before is not touched, and another plan may follow */
    assert_int_equal(programme_read(p, start_of(segments[0]) + 10, piece, 100, &bad, &cause), 0);
    programme_truncate(p, start_of(segments[1]));
    assert_int_equal(programme_count(p), 1);
    assert_int_equal(programme_end(p), start_of(segments[1]));
    assert_int_equal(programme_read(p, programme_end(p) - 1, piece, 2, &bad, &cause), -1);
    assert_int_equal(bad, 0);
    free(cause);
    drop(p, segments);
    crate_free(crate);
}

static void test_bad_segments_are_refused(void **state)
{
    (void)state;
    struct crate *crate = crate_new();
    make(crate, 0, KICKS, 24, 124, 0.31);
    make(crate, 1, KICKS, 24, 130, 0.12);
    json_t *segments[3];
    struct programme *p = two(crate, segments);
    char *cause = NULL;
    programme_truncate(p, (uint64_t)json_integer_value(json_object_get(segments[1], "start_sample")) - 1);
    assert_int_equal(programme_add(p, segments[1], &cause), -1); /* a gap */
    assert_non_null(strstr(cause, "starts at"));
    free(cause);
    programme_truncate(p, 0);
    /* each change makes the transition unreadable */
    static const struct {
        const char *key;
        int voice;
        json_int_t value;
    } changes[] = {{"samples", 0, 10}, {"from", 0, -1},    {"at", 1, 5},           {"to", 1, 1 << 28},
                   {"track", 0, -3},   {"version", -1, 2}, {"join_in", 0, 1 << 30}};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        json_t *broken = json_deep_copy(segments[1]), *plan = json_object_get(broken, "plan");
        json_t *where = changes[i].voice < 0
                            ? plan
                            : json_array_get(json_object_get(plan, "voices"), (size_t)changes[i].voice);
        json_object_set_new(where, changes[i].key, json_integer(changes[i].value));
        cause = NULL;
        assert_int_equal(programme_add(p, broken, &cause), -1);
        assert_non_null(cause);
        free(cause);
        json_decref(broken);
    }
    cause = NULL;
    assert_int_equal(programme_add(p, segments[1], &cause), 0);
    drop(p, segments);
    crate_free(crate);
}

/* The crossover against its definition: Linkwitz-Riley of fourth order, without phase. Each corner by itself,
 * and both at once. */
static void test_split(void **state)
{
    (void)state;
    enum { N = RATE + 77 };
    static float in[N], low[2][N];
    static const double octaves[] = {-3, -1, 0, 1, 2}, corners[] = {180, 700};
    for (size_t o = 0; o < 2 * sizeof octaves / sizeof *octaves; o++) {
        int count = o % 2 + 1;
        double hz = 180 * pow(2, octaves[o / 2]);
        for (int i = 0; i < N; i++)
            in[i] = (float)sin(2 * M_PI * hz * i / RATE);
        struct split *split = split_new(in, N, corners, count, RATE);
        for (size_t block = split_blocks(split); block-- > 0;) {
            float part[SPLIT_MAX][SPLIT_BLOCK];
            size_t n = split_block(split, block, part);
            assert_true(block * SPLIT_BLOCK + n <= N);
            for (int k = 0; k < count; k++)
                memcpy(low[k] + block * SPLIT_BLOCK, part[k], n * sizeof(float));
        }
        split_free(split);
        for (int k = 0; k < count; k++) {
            double wanted = 1 / (1 + pow(hz / corners[k], 4)), worst = 0;
            for (int i = N / 4; i < 3 * N / 4; i++)
                worst = fmax(worst, fabs(low[k][i] - wanted * in[i]));
            assert_true(worst < 0.002);
        }
    }
}

/* A ride is a power at each sample, wherever a read begins; fades likewise. */
static void test_gains(void **state)
{
    (void)state;
    enum { LENGTH = 5000 };
    const struct ride rides[] = {{.count = 0},
                                 {{{300, -1.5}}, 1},
                                 {{{0, 2}, {4000, 1.99}}, 2},
                                 {{{777, 0}, {1001, 12}, {1002, -12}, {4500, -11.99}}, 4}};
    const struct fades fades[] = {{.count = 0},
                                  {{{.in = 1, .from = 100, .to = 900, .correlation = 0.3}}, 1},
                                  {{{.curve = FADE_DROP, .from = 1000, .to = 1000},
                                    {.curve = FADE_LINEAR, .in = 1, .from = 10, .to = 3000}},
                                   2}};
    double whole[LENGTH], part[LENGTH];
    for (size_t r = 0; r < sizeof rides / sizeof *rides; r++) {
        ride_fill(&rides[r], 0, LENGTH, whole);
        for (int i = 0; i < LENGTH; i++)
            assert_true(fabs(whole[i] / ride_gain(&rides[r], i) - 1) < 1e-14);
        for (int64_t at = 0, n; at < LENGTH; at += n) {
            n = at % 113 + 1 < LENGTH - at ? at % 113 + 1 : LENGTH - at;
            ride_fill(&rides[r], at, (size_t)n, part + at);
        }
        assert_memory_equal(whole, part, sizeof whole);
    }
    for (size_t f = 0; f < sizeof fades / sizeof *fades; f++) {
        for (int64_t at = 0, n; at < LENGTH; at += n) {
            n = at % 113 + 1 < LENGTH - at ? at % 113 + 1 : LENGTH - at;
            fades_fill(&fades[f], at, (size_t)n, part + at);
        }
        for (int i = 0; i < LENGTH; i++)
            assert_true(part[i] == fades_gain(&fades[f], i));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_gains),
        cmocka_unit_test(test_beats_coincide),
        cmocka_unit_test(test_no_click_at_seams),
        cmocka_unit_test(test_any_position_gives_the_same),
        cmocka_unit_test(test_each_file_is_decoded_once),
        cmocka_unit_test(test_blend_of_equal_noise_has_no_hole),
        cmocka_unit_test(test_skip),
        cmocka_unit_test(test_failures_name_the_track),
        cmocka_unit_test(test_bad_segments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
