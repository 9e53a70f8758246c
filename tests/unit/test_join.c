/* How two tracks are joined, from features alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "root/mix/join.h"
#include "tests/unit/mix_tracks.h"

#define RATE 44100.0

static const struct join_conf conf = {.max_change_pct = 6};
static struct join join;

static int choose(const struct track *a, const struct track *b, int rank)
{
    int got;
    join_choose(&join, a, 0, b, &conf, rank, &got);
    return got;
}

/* What must hold of any join. */
static void check(const struct track *a, const struct track *b, int64_t a_pos)
{
    assert_true(join.length > 0 && join.length <= JOIN_S_MAX * (int64_t)RATE);
    assert_true(join.a_from >= a_pos && join.a_to >= join.a_from);
    assert_true(join.a_to <= (int64_t)(a->features.duration_s * RATE) + 1);
    assert_true(join.b_from >= 0 && join.b_to > join.b_from);
    assert_true(join.b_to <= (int64_t)(b->features.duration_s * RATE) + 1);
    assert_true(join.b_at >= 0 && join.b_at < join.length);
    assert_true(join.switch_to >= 0 && join.switch_to <= join.length);
    if (join.technique != JOIN_BLEND) return;
    assert_true(fabs(join.tempo_change_pct) <= conf.max_change_pct + 1e-6);
    for (int k = 0; k < join.beats; k++) {
        assert_true(join.out_beat[k + 1] > join.out_beat[k]);
        assert_true(join.a_beat[k + 1] > join.a_beat[k] && join.b_beat[k + 1] > join.b_beat[k]);
    }
    assert_int_equal(join.out_beat[join.beats], join.length);
    /* at both ends each plays at its own speed */
    assert_true(llabs(join.out_beat[1] - join.a_beat[1]) <= 1);
    int64_t last = join.b_beat[join.beats] - join.b_beat[join.beats - 1];
    assert_true(llabs(join.length - join.out_beat[join.beats - 1] - last) <= 1);
}

static void a_blend_on_phrases_is_the_best(void **state)
{
    (void)state;
    struct track a, b;
    make_track(&a, 1, 192, 120, 0);
    make_track(&b, 2, 192, 123, 0);
    choose(&a, &b, 0);
    check(&a, &b, 0);
    assert_int_equal(join.technique, JOIN_BLEND);
    assert_true(join.on_phrase && (join.bars == 8 || join.bars == 16));
    double bar_a = 2.0, bar_b = 240.0 / 123, first_a = (double)join.a_from / RATE / bar_a,
           first_b = (double)join.b_from / RATE / bar_b;
    assert_true(fabs(first_a - round(first_a)) < 1e-3 && fabs(first_b - round(first_b)) < 1e-3);
    /* the way it is switched, both begin eight bars */
    int beats = 0;
    while (join.out_beat[beats] < join.switch_to)
        beats++;
    assert_int_equal(((int)round(first_a) + beats / 4) % 8, 0);
    assert_int_equal(((int)round(first_b) + beats / 4) % 8, 0);
    assert_true(fabs(join.tempo_change_pct - 2.5) < 0.01);
    track_free(&a);
    track_free(&b);
}

static void ranks_go_from_best_to_the_safe_fade(void **state)
{
    (void)state;
    struct track a, b;
    make_track(&a, 1, 192, 120, 0);
    make_track(&b, 2, 192, 123, 0);
    double cost = -INFINITY;
    int64_t a_from = -1, b_from = -1;
    for (int rank = 0; rank < JOIN_TRIES; rank++) {
        assert_int_equal(choose(&a, &b, rank), rank);
        check(&a, &b, 0);
        assert_true(join.cost >= cost);
        assert_true(join.a_from != a_from || join.b_from != b_from);
        cost = join.cost, a_from = join.a_from, b_from = join.b_from;
    }
    assert_int_equal(choose(&a, &b, JOIN_TRIES), JOIN_TRIES);
    assert_int_equal(join.technique, JOIN_FADE);
    assert_int_equal(choose(&a, &b, 1000), JOIN_TRIES);
    track_free(&a);
    track_free(&b);
}

/* What three blends have in common may be what fails. */
static void the_last_try_is_another_technique(void **state)
{
    (void)state;
    struct track a, b;
    make_track(&a, 1, 192, 120, 0);
    make_track(&b, 2, 192, 123, 0);
    for (int rank = 0; rank < JOIN_TRIES; rank++) {
        choose(&a, &b, rank);
        check(&a, &b, 0);
        assert_int_equal(join.technique, rank < JOIN_TRIES - 1 ? JOIN_BLEND : JOIN_SWAP);
    }
    track_free(&a);
    track_free(&b);
}

static void technique_by_what_is_known(void **state)
{
    (void)state;
    static const struct {
        double a, b;
        enum join_technique best;
    } rows[] = {{120, 124, JOIN_BLEND}, {120, 131, JOIN_SWAP}, {70, 140, JOIN_BLEND}, {172, 87, JOIN_BLEND},
                {120, 0, JOIN_ECHO},    {0, 120, JOIN_FADE},   {0, 0, JOIN_FADE}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct track a, b;
        make_track(&a, 1, 180, rows[i].a, 0);
        make_track(&b, 2, 180, rows[i].b, 0);
        choose(&a, &b, 0);
        check(&a, &b, 0);
        if (join.technique != rows[i].best)
            fail_msg("%g to %g BPM: technique %d", rows[i].a, rows[i].b, (int)join.technique);
        /* beats that are not trusted are not used */
        a.features.tempo_confidence = b.features.tempo_confidence = TEMPO_TRUSTED - 0.1;
        choose(&a, &b, 0);
        assert_int_equal(join.technique, JOIN_FADE);
        track_free(&a);
        track_free(&b);
    }
}

static void a_quiet_beginning_is_entered_later(void **state)
{
    (void)state;
    struct track a, b;
    make_track(&a, 1, 192, 120, 0);
    make_track(&b, 2, 192, 120, 0);
    choose(&a, &b, 0);
    int64_t plain = join.b_to;
    /* 48 s of it are 9 LU softer */
    memset(b.features.loudness_curve, (int)(25 / BAR_LU), 48);
    choose(&a, &b, 0);
    check(&a, &b, 0);
    assert_true(join.b_to > plain);
    assert_true((double)join.b_to / RATE >= 40);
    track_free(&a);
    track_free(&b);
}

static void most_of_a_track_plays(void **state)
{
    (void)state;
    struct track a, b;
    make_track(&a, 1, 200, 126, 0.3);
    make_track(&b, 2, 240, 124, 0.1);
    for (int rank = 0; rank < JOIN_TRIES; rank++) {
        choose(&a, &b, rank);
        assert_true((double)(join.a_from + join.a_to) / 2 >= 0.6 * 200 * RATE);
        assert_true(240 * RATE - (double)(join.b_from + join.b_to) / 2 >= 0.6 * 240 * RATE);
    }
    track_free(&a);
    track_free(&b);
}

/* It counts from the middle of the transition that brought it in. */
static void what_played_before_counts(void **state)
{
    (void)state;
    struct track a, b;
    make_track(&a, 1, 200, 126, 0);
    make_track(&b, 2, 240, 126, 0);
    struct join_conf played = conf;
    int64_t pos = (int64_t)(60 * RATE);
    join_choose(&join, &a, pos, &b, &played, 0, NULL);
    int64_t without = (join.a_from + join.a_to) / 2;
    assert_true((double)(without - pos) >= 0.6 * 200 * RATE);
    /* the music grows loud towards its end, so that all would like to leave early */
    memset(a.features.loudness_curve + 160, (int)(4 / BAR_LU), a.features.loudness_count - 160);
    played.a_played_s = 40;
    join_choose(&join, &a, pos, &b, &played, 0, NULL);
    int64_t with = (join.a_from + join.a_to) / 2;
    assert_true(with < without && (double)(with - pos) >= (0.6 * 200 - 40) * RATE);
    track_free(&a);
    track_free(&b);
}

/* Chroma of every bar: a triad on that root. */
static void give_bars(struct track *t, int key, int root)
{
    struct features *f = &t->features;
    f->key = key;
    f->bar_count = f->downbeat_count;
    f->bars = xcalloc(f->bar_count, sizeof *f->bars);
    for (size_t i = 0; i < f->bar_count; i++) {
        static const int triad[] = {0, 4, 7};
        for (int k = 0; k < 3; k++)
            f->bars[i].chroma[(root + triad[k]) % 12] = f->bars[i].bass_chroma[(root + triad[k]) % 12] = 255;
        f->bars[i].loudness = f->bars[i].low = f->bars[i].mid = f->bars[i].high = (uint8_t)(16 / BAR_LU);
    }
}

static enum join_technique technique_by_keys(double b_bpm, int b_key, int b_root)
{
    struct track a, b;
    make_track(&a, 1, 192, 120, 0);
    make_track(&b, 2, 192, b_bpm, 0);
    give_bars(&a, 0, 0);
    give_bars(&b, b_key, b_root);
    choose(&a, &b, 0);
    check(&a, &b, 0);
    track_free(&a);
    track_free(&b);
    return join.technique;
}

/* C, and what lies beside and opposite to it: what clashes is not heard at once, unless these passages agree.
 */
static void keys_that_clash_are_cut(void **state)
{
    (void)state;
    assert_int_equal(technique_by_keys(122, 0, 0), JOIN_BLEND);
    assert_int_equal(technique_by_keys(122, 7, 7), JOIN_BLEND);
    assert_int_equal(technique_by_keys(122, 6, 6), JOIN_CUT);
    assert_int_equal(technique_by_keys(122, 6, 0), JOIN_BLEND);
    assert_true(join.cost < 20);
    assert_int_equal(technique_by_keys(122, -1, 6), JOIN_BLEND);
    assert_int_equal(technique_by_keys(131, 0, 0), JOIN_SWAP);
    assert_int_equal(technique_by_keys(131, 6, 6), JOIN_CUT);
}

/* Where the music leaves the grid, no beats are laid on it. */
static void what_leaves_the_grid_is_not_mixed_on_it(void **state)
{
    (void)state;
    struct track a, b;
    make_track(&a, 1, 192, 120, 0);
    make_track(&b, 2, 192, 123, 0);
    double steady_to_s = 167.5, steady_from_s = 17;
    for (int limited = 0; limited < 2; limited++) {
        int beyond = 0;
        if (limited) {
            a.features.steady_to_s = steady_to_s;
            b.features.steady_from_s = steady_from_s;
        }
        for (int rank = 0; rank < JOIN_TRIES; rank++) {
            choose(&a, &b, rank);
            check(&a, &b, 0);
            if (join.technique == JOIN_FADE) continue;
            if (!rank) assert_int_equal(join.technique, JOIN_BLEND);
            double one_s = (double)(join.b_from + (join.technique == JOIN_BLEND ? 0 : join.switch_to)) / RATE;
            beyond += (double)join.a_to / RATE > steady_to_s + 0.03;
            beyond += join.technique != JOIN_ECHO && one_s < steady_from_s - 0.03;
        }
        if (limited ? beyond > 0 : beyond == 0) fail_msg("limited %d: %d", limited, beyond);
    }
    /* hardly anything is left: a fade */
    a.features.steady_to_s = 1;
    choose(&a, &b, 0);
    assert_int_equal(join.technique, JOIN_FADE);
    track_free(&a);
    track_free(&b);
}

static void any_two_tracks(void **state)
{
    (void)state;
    uint32_t random = 20240501;
    printf("seed %u\n", random);
    for (int i = 0; i < 60; i++) {
        double values[6];
        for (int k = 0; k < 6; k++) {
            random = random * 1664525u + 1013904223u;
            values[k] = random / 4294967296.0;
        }
        struct track a, b;
        make_track(&a, 1, 3 + 150 * values[0], 60 + 130 * values[1], values[4]);
        make_track(&b, 2, 3 + 150 * values[2], 60 + 130 * values[3], values[5]);
        int64_t pos = (int64_t)(values[4] * a.features.duration_s * RATE);
        int got;
        join_choose(&join, &a, pos, &b, &conf, i % (JOIN_TRIES + 1), &got);
        check(&a, &b, pos);
        track_free(&a);
        track_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_blend_on_phrases_is_the_best),
        cmocka_unit_test(ranks_go_from_best_to_the_safe_fade),
        cmocka_unit_test(the_last_try_is_another_technique),
        cmocka_unit_test(technique_by_what_is_known),
        cmocka_unit_test(a_quiet_beginning_is_entered_later),
        cmocka_unit_test(most_of_a_track_plays),
        cmocka_unit_test(what_played_before_counts),
        cmocka_unit_test(keys_that_clash_are_cut),
        cmocka_unit_test(what_leaves_the_grid_is_not_mixed_on_it),
        cmocka_unit_test(any_two_tracks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
