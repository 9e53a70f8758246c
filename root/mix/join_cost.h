/* join_cost: what a way of joining two tracks costs; private to join.
 *
 * In seconds of music that one would give to avoid it: music left unplayed, too little of a track played,
 * phrases broken, an unusual length, holes, bumps and steps of loudness as the loudness curves foretell
 * them, harmonies that do not agree more than chance would have it, two voices at once, and passages that
 * sound unlike each other (the original forever.fm crossed where two tracks sound alike). */
#ifndef FOREVER_ROOT_MIX_JOIN_COST_H
#define FOREVER_ROOT_MIX_JOIN_COST_H
#include "root/mix/join.h"
#include "root/mix/side.h"

struct pair {
    struct side a, b;
    int64_t a_pos;
    double a_played_s;  /* before it */
    int step_a, step_b; /* beats of each per common beat */
    double limit;       /* tempo change, as a share */
};

/* a_bar, b_bar: indexes of the grids' bars where the transition begins in each; SIZE_MAX unknown. Fills the
 * join's cost and what is known beforehand. */
void join_cost(struct join *join, const struct pair *pair, size_t a_bar, size_t b_bar);

#endif
