/* Seen from its silent end, a fade is a run that rises, with dips no deeper than music has, until the level
 * has not risen for a while. It is a fade when the rise is large and slow: an abrupt end, the tail of a room,
 * or parts that drop out one by one fall too fast or in steps. (What dies away by itself as slowly, such as a
 * last chord that is held, is a fade to a mix, too.) */
#include "root/analysis/fade.h"

#include <math.h>

#define DIP_LU     4.0 /* below the highest so far: the run ends */
#define PATIENCE_S 4.0 /* without having risen by RISE_LU: likewise */
#define RISE_LU    1.0
#define NEAR_LU    1.5 /* so far below the highest it counts as reached */
#define FALL_LU    12.0
#define WHOLE_S    3.0 /* at least; shorter ones are the tails of sounds */
#define FALL_S     1.5 /* at least, from NEAR_LU to FALL_LU below the highest */
#define STEP_LU    2.5 /* so much more than twice the mean slope it may rise within a second of that stretch */

struct run {
    const float *level;
    size_t count, first; /* of the steps with music */
    int backwards;
};

/* Steps counted from the silent end inwards. */
static double at(const struct run *r, size_t i)
{
    return (double)r->level[r->first + (r->backwards ? r->count - 1 - i : i)];
}

/* Steps from the silent end to where the full level is reached; 0 when it is no fade. */
static size_t fade_steps(const struct run *r, double step_s)
{
    size_t top = 0, risen = 0, patience = (size_t)(PATIENCE_S / step_s), reached, low;
    for (size_t i = 1; i < r->count && i - risen <= patience && at(r, i) > at(r, top) - DIP_LU; i++) {
        if (at(r, i) > at(r, risen) + RISE_LU) risen = i;
        if (at(r, i) > at(r, top)) top = i;
    }
    for (reached = 0; reached < top && at(r, reached) < at(r, top) - NEAR_LU;)
        reached++;
    for (low = reached; low > 0 && at(r, low) > at(r, top) - FALL_LU;)
        low--;
    if (at(r, low) > at(r, top) - FALL_LU) return 0;
    if ((double)reached * step_s < WHOLE_S || (double)(reached - low) * step_s < FALL_S) return 0;
    size_t second = (size_t)fmax(1, round(1 / step_s));
    double slope = (at(r, reached) - at(r, low)) / ((double)(reached - low) * step_s);
    for (size_t i = low; i + second <= reached; i++) {
        if (at(r, i + second) - at(r, i) > 2 * slope + STEP_LU) return 0;
    }
    return reached;
}

void fade_find(const float *level, size_t count, double step_s, double start_s, double end_s, double *in_s,
               double *out_s)
{
    *in_s = *out_s = NAN;
    if (!(end_s > start_s)) return;
    size_t first = (size_t)(start_s / step_s), last = (size_t)ceil(end_s / step_s);
    if (last > count) last = count;
    if (first >= last) return;
    struct run run = {level, last - first, first, 0};
    size_t steps = fade_steps(&run, step_s);
    if (steps) *in_s = (double)(first + steps) * step_s;
    run.backwards = 1;
    steps = fade_steps(&run, step_s);
    if (steps) *out_s = (double)(last - steps) * step_s;
}
