/* side: one of the two tracks of a transition as the planner sees it: its grid, and what each of its bars and
 * seconds sounds like at the gain it is played with. Pure. */
#ifndef FOREVER_ROOT_MIX_SIDE_H
#define FOREVER_ROOT_MIX_SIDE_H
#include "root/mix/grid.h"
#include "root/track.h"

struct side_bar {
    int known;
    float chroma[12], bass[12];                   /* zero mean, unit norm; all zero when there is nothing */
    float low_db, mid_db, high_db, onsets, vocal; /* vocal 0..1 */
};

struct side {
    const struct track *track;
    struct grid grid;
    struct span music;
    double gain_db;
    double duration_s;
    double min_play_s; /* 60 %, and a minute of what is longer than a minute and a half; or side_set_play's */
    int trusted;       /* its beats may be mixed on, */
    struct span steady;    /* within this: outside the music has left the grid */
    int64_t outro;         /* source sample where the outro starts, -1 unknown */
    struct side_bar *bars; /* of grid.bar, grid.bar_count */
};

void side_make(struct side *side, const struct track *track, double gain_db);
/* At least this much of it plays, in per cent of its length, and no minute is owed. */
void side_set_play(struct side *side, double pct);
void side_free(struct side *side);
/* Whether the grid holds throughout source samples [from, to). */
int side_steady(const struct side *side, int64_t from, int64_t to);
/* Short-term loudness around that second, gain included; -70 in silence and outside, NAN when unknown. */
double side_lufs(const struct side *side, double at_s);
/* Mean power over [from_s, to_s) as LUFS; NAN when unknown or nothing. */
double side_mean_lufs(const struct side *side, double from_s, double to_s);

#endif
