/* Rehearsals of transitions between synthesised files whose features tell a little less than the truth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "root/mix/join.h"
#include "common/json.h"
#include "root/audio/pcm.h"
#include "root/mix/rehearse.h"
#include "tests/unit/mix_tracks.h"
#include "tests/unit/wav.h"

#define RATE 44100
#define BPM  225.0
#define S    13 /* of each track: little work, room for a few ways to join */

static const struct plan_conf conf = {.target_lufs = -16, .max_tempo_change_pct = 6};

struct pair {
    struct track track[2];
    int file[2];
};

/* Kicks and clicks on every beat from late_s on, over a chord; each of the last `slowing` ones comes 12 ms
 * later than the one before it should have. */
static int file_new(int length_s, double late_s, double level, int slowing)
{
    size_t samples = (size_t)length_s * RATE;
    int16_t *pcm = xcalloc(samples, sizeof *pcm);
    /* the chord's tones, too, come again with each beat */
    size_t beat = (size_t)(RATE * 60 / BPM), late = (size_t)llround(late_s * RATE);
    for (size_t n = 0; n < beat; n++) {
        double t = (double)((n + beat - late) % beat) / RATE;
        double x = 0.6 * exp(-t * 25) * sin(2 * M_PI * 55 * t) +
                   0.3 * exp(-t * 400) * sin(2 * M_PI * 3000 * t) + 0.15 * sin(2 * M_PI * 330 * t) +
                   0.15 * sin(2 * M_PI * 416 * t);
        pcm[n] = (int16_t)lrint(level * x * 32000);
    }
    for (size_t n = beat; n < samples; n++)
        pcm[n] = pcm[n - beat];
    for (size_t k = samples / beat - (size_t)slowing, d = 1; k < samples / beat; k++, d++) {
        size_t by = d * (size_t)(0.012 * RATE);
        for (size_t n = 0; n < beat; n++)
            pcm[k * beat + n] = pcm[(n + beat - by) % beat];
    }
    int fd = wav_memory(pcm, samples, 1, RATE);
    free(pcm);
    return fd;
}

/* Both features say that the beats begin at 0; b's kicks come late_s later, and b is `level` times as loud as
 * its features say. */
static void set_up_of(struct pair *p, int length_s, double late_s, double level, int slowing)
{
    for (int i = 0; i < 2; i++) {
        make_track(&p->track[i], i + 1, length_s, BPM, 0);
        p->file[i] = file_new(length_s, i ? late_s : 0, 0.5 * (i ? level : 1), i ? 0 : slowing);
    }
}

static void set_up(struct pair *p, double late_s, double level)
{
    set_up_of(p, S, late_s, level, 0);
}

static void tear_down(struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        track_free(&p->track[i]);
        if (p->file[i] >= 0) close(p->file[i]);
    }
}

static int open_track(void *context, int64_t track, const char *hash, char **cause)
{
    const struct pair *p = context;
    char path[64];
    (void)hash;
    if (p->file[track - 1] < 0) return cause_set(cause, "it is gone");
    snprintf(path, sizeof path, "/proc/self/fd/%d", p->file[track - 1]);
    return open(path, O_RDONLY | O_CLOEXEC);
}

struct result {
    json_t *segments[2];
    struct certificate certificate;
    struct plan_cursor cursor;
};

static void rehearse(struct pair *p, struct result *r)
{
    char *cause = NULL;
    int64_t bad = 0;
    /* from shortly before its end on: less to read */
    r->cursor = (struct plan_cursor){.sample = 1000, .track_s = 2.5};
    if (rehearse_transition(&p->track[0], &p->track[1], &conf, open_track, p, &r->cursor, NULL, r->segments,
                            &r->certificate, &bad, &cause))
        fail_msg("track %d: %s", (int)bad, cause);
}

static void result_free(struct result *r)
{
    json_decref(r->segments[0]);
    json_decref(r->segments[1]);
}

static const char *technique(const struct result *r)
{
    return json_string_value(json_object_get(r->segments[1], "technique"));
}

static const json_t *given_up(const struct result *r)
{
    return json_object_get(json_object_get(r->segments[1], "certificate"), "given_up");
}

static int has_failed(const json_t *way, const char *rule)
{
    const json_t *failed = json_object_get(way, "failed");
    int found = 0;
    for (size_t i = 0; i < json_array_size(failed); i++)
        found |= !strcmp(json_string_value(json_array_get(failed, i)), rule);
    return found;
}

static void a_good_pair_passes(void **state)
{
    (void)state;
    struct pair p;
    struct result r, again;
    set_up(&p, 0, 1);
    rehearse(&p, &r);
    assert_string_equal(technique(&r), "blend");
    assert_int_equal(r.certificate.violations, 0);
    assert_true(r.certificate.beats.bars >= CERTIFICATE_BEAT_BARS_MIN && r.certificate.beats.p95_ms < 1);
    assert_true(r.certificate.loudness.step_lu < 0.5);
    rehearse(&p, &again);
    for (int i = 0; i < 2; i++)
        assert_true(json_equal(r.segments[i], again.segments[i]));
    result_free(&r);
    result_free(&again);
    tear_down(&p);
}

static void four_milliseconds_are_nudged_away(void **state)
{
    (void)state;
    struct pair p;
    struct result r;
    set_up(&p, 0.004, 1);
    rehearse(&p, &r);
    assert_string_equal(technique(&r), "blend");
    assert_true(fabs(r.certificate.beats.lag_ms) < 1);
    const json_t *voices = json_object_get(json_object_get(r.segments[1], "plan"), "voices");
    int64_t from = json_integer_value(json_object_get(json_array_get(voices, 1), "from"));
    int64_t off = from % (int64_t)(RATE * 60 / BPM);
    assert_in_range(off, 150, 200); /* 4 ms are 176 samples */
    result_free(&r);
    tear_down(&p);
}

/* More than a nudge makes good: no blend passes, another technique airs. */
static void beats_that_miss_give_way(void **state)
{
    (void)state;
    struct pair p;
    struct result r;
    set_up(&p, 0.030, 1);
    rehearse(&p, &r);
    assert_string_not_equal(technique(&r), "blend");
    assert_int_equal(r.certificate.violations, 0);
    assert_true(r.certificate.tries >= 1);
    const json_t *first = json_array_get(given_up(&r), 0);
    assert_string_equal(json_string_value(json_object_get(first, "technique")), "blend");
    assert_string_equal(json_string_value(json_array_get(json_object_get(first, "failed"), 0)), "beat_error");
    result_free(&r);
    tear_down(&p);
}

/* a slows down at its end, and the analysis has not heard it. */
static void an_end_that_slows_gives_way(void **state)
{
    (void)state;
    struct pair p;
    struct result r;
    set_up_of(&p, S, 0, 1, 4);
    rehearse(&p, &r);
    assert_true(r.certificate.tries >= 1 && r.certificate.violations == 0);
    const json_t *first = json_array_get(given_up(&r), 0);
    assert_string_equal(json_string_value(json_object_get(first, "technique")), "blend");
    assert_true(has_failed(first, "apart"));
    result_free(&r);
    tear_down(&p);
}

/* The grid of b lies on its offbeats: nothing near the beats says so. */
static void half_a_beat_gives_way(void **state)
{
    (void)state;
    struct pair p;
    struct result r;
    set_up(&p, 30 / BPM, 1);
    rehearse(&p, &r);
    assert_string_not_equal(technique(&r), "blend");
    const json_t *first = json_array_get(given_up(&r), 0);
    assert_string_equal(json_string_value(json_object_get(first, "technique")), "blend");
    assert_true(has_failed(first, "offbeat"));
    result_free(&r);
    tear_down(&p);
}

/* b is far louder than its features say: every way fails, the safe fade too, and one of them airs all the
 * same. */
static void when_all_fails_the_least_evil_airs(void **state)
{
    (void)state;
    struct pair p;
    struct result r;
    set_up_of(&p, 8, 0, 0.2, 0);
    rehearse(&p, &r);
    assert_true(r.certificate.violations != 0);
    assert_true(json_is_false(json_object_get(json_object_get(r.segments[1], "certificate"), "passed")));
    assert_int_equal(json_array_size(given_up(&r)), JOIN_TRIES);
    int fades = !strcmp(technique(&r), "fade");
    for (size_t i = 0; i < JOIN_TRIES; i++)
        fades +=
            !strcmp(json_string_value(json_object_get(json_array_get(given_up(&r), i), "technique")), "fade");
    assert_true(fades >= 1);
    result_free(&r);
    tear_down(&p);
}

static int count_signs(void *context)
{
    ++*(int *)context;
    return 1; /* time for one take */
}

/* Of one take: before and after the stems are made, before they are measured, and while it is heard. */
static void it_says_that_it_is_alive(void **state)
{
    (void)state;
    struct pair p;
    json_t *segments[2];
    int signs = 0;
    struct plan_conf counted = conf;
    struct plan_cursor cursor = {.sample = 1000, .track_s = 2.5};
    counted.busy = count_signs;
    counted.context = &signs;
    set_up(&p, 0, 1);
    assert_int_equal(rehearse_transition(&p.track[0], &p.track[1], &counted, open_track, &p, &cursor, NULL,
                                         segments, NULL, NULL, NULL),
                     0);
    int64_t heard = json_int_or(segments[1], "end_sample", 0, 0, INT64_MAX, NULL) -
                    json_int_or(segments[1], "start_sample", 0, 0, INT64_MAX, NULL);
    assert_true(signs >= 3 + heard / PCM_RATE / 5);
    json_decref(segments[0]);
    json_decref(segments[1]);
    tear_down(&p);
}

static void a_file_that_is_gone_is_named(void **state)
{
    (void)state;
    struct pair p;
    char *cause = NULL;
    int64_t bad = 0;
    json_t *segments[2];
    set_up(&p, 0, 1);
    close(p.file[1]);
    p.file[1] = -1;
    struct plan_cursor cursor = {.sample = 1000, .track_s = 2.5}, before = cursor;
    assert_int_equal(rehearse_transition(&p.track[0], &p.track[1], &conf, open_track, &p, &cursor, NULL,
                                         segments, NULL, &bad, &cause),
                     -1);
    assert_int_equal(bad, 2);
    assert_non_null(cause);
    assert_memory_equal(&cursor, &before, sizeof cursor);
    free(cause);
    tear_down(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_pair_passes),       cmocka_unit_test(four_milliseconds_are_nudged_away),
        cmocka_unit_test(beats_that_miss_give_way), cmocka_unit_test(when_all_fails_the_least_evil_airs),
        cmocka_unit_test(half_a_beat_gives_way),    cmocka_unit_test(an_end_that_slows_gives_way),
        cmocka_unit_test(it_says_that_it_is_alive), cmocka_unit_test(a_file_that_is_gone_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
