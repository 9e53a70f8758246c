/* hold: synthesised pieces that leave their tempo at an end, and such as do not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "root/analysis/hold.h"
#include "tests/unit/drums.h"

#define LENGTH_S 40.0
#define LATE_S   0.020 /* heard apart */

/* A rock beat at bpm whose last `beats` beats grow, one after the other, up to `slower` times as long, or
 * whose first ones shrink from that; a chord of plucks on every one. */
struct piece {
    double bpm, slower;
    int beats, at_start;
};

static double beat_length(const struct piece *piece, int k, int count)
{
    double beat = 60 / piece->bpm;
    int into = piece->at_start ? piece->beats - k : k - (count - piece->beats) + 1;
    return into <= 0 || !piece->beats ? beat : beat * (1 + (piece->slower - 1) * into / piece->beats);
}

/* *first_s, *last_s: the first beat on the grid, and where the first one lies that comes late. */
static struct sound play(const struct piece *piece, double *first_s, double *last_s)
{
    struct sound s = sound_new(LENGTH_S + 6);
    int count = (int)(LENGTH_S * piece->bpm / 60);
    double t = 0.3, grid = 0;
    *first_s = -1;
    for (int k = 0; k <= count; k++) {
        double length = beat_length(piece, k, count), plain = 60 / piece->bpm;
        if (k == (piece->at_start ? piece->beats : 0)) {
            grid = t;
            if (piece->at_start) *first_s = t;
        }
        if (piece->at_start || t - grid < LATE_S) *last_s = grid + plain;
        kick(&s, t, k % 2 ? 0.3 : 0.8);
        if (k % 2) burst(&s, t, 0.4, 0.05);
        if (k % 4 == 0) pluck(&s, t, k % 8 ? 196 : 220, 0.2);
        if (k < count) burst(&s, t + length / 2, 0.15, 0.015);
        t += length;
        grid += plain;
    }
    s.samples = (size_t)fmin((double)s.samples, t * PCM_RATE);
    return s;
}

static struct hold hold_of(const struct sound *s, double *bpm)
{
    struct ear ear;
    ear_listen(&ear, s);
    struct beats beats = beats_find(&ear.clues, 0, (double)s->samples / PCM_RATE);
    struct accents accents = accents_find(&ear.clues.novelty);
    struct hold hold = hold_find(&beats, &ear.clues, &accents);
    *bpm = beats.region_count == 1 ? beats.bpm : NAN;
    free(accents.time_s);
    beats_free(&beats);
    ear_free(&ear);
    return hold;
}

static void check(const struct piece *piece)
{
    double first_s, last_s, bpm, plain = 60 / piece->bpm;
    state = 7;
    struct sound s = play(piece, &first_s, &last_s);
    struct hold hold = hold_of(&s, &bpm);
    free(s.pcm);
    if (!(bpm > 0)) fail_msg("%.0f BPM, %.2f: no one grid", piece->bpm, piece->slower);
    if (piece->beats && piece->at_start) {
        if (!isnan(hold.to_s) || !(fabs(hold.from_s - first_s) < 1.5 * plain))
            fail_msg("%.0f BPM, %.2f: from %.2f to %.2f, not from %.2f", piece->bpm, piece->slower,
                     hold.from_s, hold.to_s, first_s);
    } else if (piece->beats) {
        if (!isnan(hold.from_s) || !(hold.to_s < last_s + LATE_S && hold.to_s > last_s - 2.1 * plain))
            fail_msg("%.0f BPM, %.2f: from %.2f to %.2f, not to %.2f", piece->bpm, piece->slower, hold.from_s,
                     hold.to_s, last_s);
    } else if (!isnan(hold.from_s) || !isnan(hold.to_s)) {
        fail_msg("%.0f BPM: from %.2f to %.2f, not all of it", piece->bpm, hold.from_s, hold.to_s);
    }
}

static void an_end_that_slows_is_heard(void **unused)
{
    (void)unused;
    static const struct piece pieces[] = {{120, 1.5, 4, 0}, {100, 2.2, 4, 0}, {140, 1.3, 8, 0}};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        check(&pieces[i]);
}

static void a_free_beginning_is_heard(void **unused)
{
    (void)unused;
    check(&(struct piece){120, 1.5, 6, 1});
}

static void what_keeps_its_tempo_holds(void **unused)
{
    (void)unused;
    check(&(struct piece){.bpm = 120});
    check(&(struct piece){.bpm = 93});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_that_slows_is_heard),
        cmocka_unit_test(a_free_beginning_is_heard),
        cmocka_unit_test(what_keeps_its_tempo_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
