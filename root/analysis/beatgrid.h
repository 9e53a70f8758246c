/* beatgrid: one constant beat grid for the whole piece, where the music keeps one.
 *
 * Three steps, each an order of magnitude finer: (1) the novelty is demodulated at the coarse tempo and its
 * first harmonics in blocks, and the frequency whose rotation lines the blocks up best is taken; all blocks
 * together resolve a cycle over the whole piece, so 0.01 BPM on a few minutes. (2) The phase comes from the
 * novelty folded to one beat; which of the fold's peaks is the beat and which the offbeat is decided by all
 * bands and the harmony together. (3) The attacks near each beat are timed on the finer level curve and a
 * line is fitted through them by iteratively reweighted least squares (Tukey's biweight), which gives period
 * and phase. */
#ifndef FOREVER_ROOT_ANALYSIS_BEATGRID_H
#define FOREVER_ROOT_ANALYSIS_BEATGRID_H
#include "root/analysis/clues.h"
#include "root/analysis/level.h"

struct beatgrid {
    double period_s, first_s; /* a beat, the earliest at or after 0 */
    double support;  /* 0..1: the share of the piece, weighed by its activity, whose own phase agrees */
    double contrast; /* novelty on the beats to novelty overall; 1 = none */
    double margin;   /* 0..1: how much better the beat is than the offbeat */
    double spread_s; /* of the attacks about the fitted grid; NAN when too few to tell */
    size_t attacks;  /* how many lie on it; 0 when too few to fit a line */
    double end_s;
};

#define BEATGRID_STEADY 0.93 /* support from which the grid describes the piece */

/* period: coarse, in frames. */
struct beatgrid beatgrid_fit(const struct clues *clues, double period);

#define BEATGRID_LEVELS 32
/* What the beat could be when that period, in frames, is it or its double or half; returns how many. The
 * first has that period. */
size_t beatgrid_levels(const struct clues *clues, double period, struct level levels[BEATGRID_LEVELS]);

/* The time of the attack nearest to at_s, within reach_s, and its height in dB; NAN when nothing rises. */
double beatgrid_attack(const struct onset_curves *curves, double at_s, double reach_s, double *height_db);

#endif
