#include "root/mix/join.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/pcm.h"
#include "root/mix/grid.h"

#define FADE_S      6.0
#define FADE_MIN_S  0.05
#define SHARE_MAX   0.25 /* of either track's music that one transition may take */
#define PLAY_SHARE  0.6  /* of a track that plays at least */
#define PLAY_MIN_S  60.0 /* and this much of one that is longer than PLAY_LONG_S */
#define PLAY_LONG_S 90.0
#define MIN_BEATS   16 /* fewer beats are no grid */

/* Costs, in seconds of music */
#define COST_UNPLAYED   0.5  /* per second of music left out */
#define COST_PHRASE     10.0 /* off a phrase boundary, each side */
#define COST_DOWNBEAT   1.0  /* per beat where one track has a downbeat and the other not */
#define COST_TOO_LITTLE 10.0 /* per second a track plays short of its minimum */
#define GAIN_OUTRO      4.0  /* for leaving at the start of the outro */

struct side {
    const struct track *track;
    struct grid grid;
    struct span music;
    double duration_s, min_play_s;
    int64_t outro; /* source sample where the outro starts, -1 unknown */
};

struct pair {
    struct side a, b;
    int64_t a_pos;
    int step_a, step_b; /* beats of each per common beat */
    double limit;       /* tempo change, as a share */
};

static double seconds(int64_t samples)
{
    return (double)samples / PCM_RATE;
}

static void side_make(struct side *side, const struct track *track)
{
    const struct features *f = &track->features;
    *side = (struct side){.track = track, .music = span_of(track), .outro = -1};
    grid_make(&side->grid, track);
    side->duration_s = seconds(side->music.to);
    if (isfinite(f->duration_s) && f->duration_s > side->duration_s) side->duration_s = f->duration_s;
    side->min_play_s = PLAY_SHARE * side->duration_s;
    if (side->duration_s > PLAY_LONG_S) side->min_play_s = fmax(side->min_play_s, PLAY_MIN_S);
    for (size_t s = 0; s < f->section_count; s++) {
        if (!strcmp(f->sections[s].label, "outro")) side->outro = llround(f->sections[s].start_s * PCM_RATE);
    }
}

static int tempo_is_trusted(const struct side *side)
{
    return side->track->features.tempo_confidence >= TEMPO_TRUSTED && side->grid.count >= MIN_BEATS &&
           side->grid.period > 0;
}

/* 1 when a common beat exists within the limit; sets the steps. */
static int fold(struct pair *pair)
{
    static const int steps[3][2] = {{1, 1}, {1, 2}, {2, 1}};
    double best = DBL_MAX;
    for (int i = 0; i < 3; i++) {
        double ratio = pair->a.grid.period * steps[i][0] / (pair->b.grid.period * steps[i][1]);
        double change = fmax(ratio, 1 / ratio) - 1;
        if (change >= best) continue;
        best = change;
        pair->step_a = steps[i][0];
        pair->step_b = steps[i][1];
    }
    return best <= pair->limit;
}

/* Fills the beat positions and all that follows from them. 0 when the beats are too irregular. */
static int lay_beats(struct join *join, const struct pair *pair, size_t a_first, size_t b_first, int beats)
{
    const int64_t *a = pair->a.grid.beat, *b = pair->b.grid.beat;
    double at = 0;
    join->beats = beats;
    join->out_beat[0] = join->a_beat[0] = join->b_beat[0] = 0;
    for (int k = 0; k < beats; k++) {
        size_t ia = a_first + (size_t)(k * pair->step_a), ib = b_first + (size_t)(k * pair->step_b);
        double da = (double)(a[ia + (size_t)pair->step_a] - a[ia]);
        double db = (double)(b[ib + (size_t)pair->step_b] - b[ib]);
        double w = beats > 1 ? (double)k / (beats - 1) : 0.5;
        double length = (1 - w) * da + w * db;
        double change = fmax(fmax(length / da, da / length), fmax(length / db, db / length)) - 1;
        if (change > JOIN_CHANGE_MAX / 100) return 0;
        at += length;
        join->out_beat[k + 1] = llround(at);
        join->a_beat[k + 1] = a[ia + (size_t)pair->step_a] - a[a_first];
        join->b_beat[k + 1] = b[ib + (size_t)pair->step_b] - b[b_first];
    }
    /* to the sample, so that the last beat is b at its own speed */
    join->out_beat[beats] = join->out_beat[beats - 1] + join->b_beat[beats] - join->b_beat[beats - 1];
    join->length = join->out_beat[beats];
    join->a_from = a[a_first];
    join->a_to = join->a_from + join->a_beat[beats];
    join->b_from = b[b_first];
    join->b_to = join->b_from + join->b_beat[beats];
    return 1;
}

static double too_little(double played_s, double min_s)
{
    return played_s < min_s ? COST_TOO_LITTLE * (min_s - played_s) : 0;
}

/* What leaving a at [from, to) costs, and entering b there. A track counts as played to the middle of its
 * transition; a is known only from where it plays alone. */
static double cost_leave(const struct pair *pair, int64_t from, int64_t to, int on_phrase)
{
    const struct side *a = &pair->a;
    double cost = on_phrase ? 0 : COST_PHRASE;
    double left_out = fmax(0, seconds(a->music.to - to));
    /* a long mix lives on an outro; a short one has no use for it */
    if (to - from > GRID_PHRASE_BARS / 2 * (int64_t)a->grid.period * 4 && a->outro >= 0 &&
        fabs(seconds(from - a->outro)) < seconds((int64_t)a->grid.period)) {
        cost -= GAIN_OUTRO;
        left_out /= 2;
    }
    return cost + COST_UNPLAYED * left_out +
           too_little(seconds((from + to) / 2 - pair->a_pos), a->min_play_s);
}

static double cost_enter(const struct pair *pair, int64_t from, int64_t to, int on_phrase)
{
    const struct side *b = &pair->b;
    return (on_phrase ? 0 : COST_PHRASE) + COST_UNPLAYED * fmax(0, seconds(from - b->music.from)) +
           too_little(seconds(b->music.to - (from + to) / 2), b->min_play_s);
}

/* Eight bars are the rule; more where the tempo has far to go, at most what the tracks' size allows. */
static double cost_length(const struct pair *pair, const struct join *join)
{
    double length_s = seconds(join->length), cost = 0;
    double shorter_s =
        fmin(seconds(pair->a.music.to - pair->a.music.from), seconds(pair->b.music.to - pair->b.music.from));
    switch (join->bars) {
    case 4:
        cost = 5;
        break;
    case 8:
        cost = 0;
        break;
    case 16:
        cost = fabs(join->tempo_change_pct) > 3 ? -1 : 1;
        break;
    default:
        cost = 8;
        break;
    }
    if (length_s > 30) cost += length_s - 30;
    if (length_s > SHARE_MAX * shorter_s) cost += COST_TOO_LITTLE * (length_s - SHARE_MAX * shorter_s);
    return cost;
}

static double cost_downbeats(const struct pair *pair, size_t a_first, size_t b_first, int beats)
{
    const struct grid *a = &pair->a.grid, *b = &pair->b.grid;
    if (pair->step_a != pair->step_b || !a->bar_count || !b->bar_count) return 0;
    double cost = 0;
    for (int k = 0; k < beats; k++) {
        if (a->down[a_first + (size_t)k] != b->down[b_first + (size_t)k]) cost += COST_DOWNBEAT;
    }
    return cost;
}

/* Where a side may be joined: its bars, or any beat where bars are unknown. */
static size_t point_count(const struct grid *grid)
{
    return grid->bar_count ? grid->bar_count : grid->count;
}

static size_t point_beat(const struct grid *grid, size_t point)
{
    return grid->bar_count ? grid->bar[point] : point;
}

static int point_is_phrase(const struct grid *grid, size_t point)
{
    return !grid->bar_count || (int)(point % GRID_PHRASE_BARS) == grid->phrase;
}

struct candidate {
    size_t a_first, b_first;
    int bars;
    double cost;
};

/* The best way out of a for a length in beats, whatever b does. SIZE_MAX when there is none. */
static size_t best_leave(const struct pair *pair, int beats, double *cost)
{
    const struct grid *a = &pair->a.grid;
    size_t best = SIZE_MAX;
    for (size_t p = 0; p < point_count(a); p++) {
        size_t first = point_beat(a, p), last = first + (size_t)(beats * pair->step_a);
        if (a->beat[first] < pair->a_pos) continue;
        if (last >= a->count) break;
        double c = cost_leave(pair, a->beat[first], a->beat[last], point_is_phrase(a, p));
        if (best != SIZE_MAX && c > *cost) continue; /* of equals the later one */
        best = first;
        *cost = c;
    }
    return best;
}

static size_t best_enter(const struct pair *pair, int beats, double *cost)
{
    const struct grid *b = &pair->b.grid;
    size_t best = SIZE_MAX;
    for (size_t p = 0; p < point_count(b); p++) {
        size_t first = point_beat(b, p), last = first + (size_t)(beats * pair->step_b);
        if (last >= b->count) break;
        double c = cost_enter(pair, b->beat[first], b->beat[last], point_is_phrase(b, p));
        if (best != SIZE_MAX && c >= *cost) continue; /* of equals the earlier one */
        best = first;
        *cost = c;
    }
    return best;
}

/* 1 when the beats can be joined; leaves the best join. */
static int choose_blend(struct join *join, struct pair *pair)
{
    static const int lengths[] = {8, 16, 4, 32};
    const struct grid *a = &pair->a.grid, *b = &pair->b.grid;
    if (a->bar_count && b->bar_count && a->metre != b->metre) return 0;
    int metre = a->bar_count ? a->metre : b->metre;
    struct candidate best = {.cost = DBL_MAX};
    struct join *trial = xmalloc(sizeof *trial);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        int beats = lengths[i] * metre;
        double leave = 0, enter = 0;
        if (beats > JOIN_BEATS_MAX) continue;
        size_t a_first = best_leave(pair, beats, &leave), b_first = best_enter(pair, beats, &enter);
        if (a_first == SIZE_MAX || b_first == SIZE_MAX) continue;
        *trial = (struct join){.bars = lengths[i]};
        trial->tempo_change_pct = 100 * (a->period * pair->step_a / (b->period * pair->step_b) - 1);
        if (!lay_beats(trial, pair, a_first, b_first, beats)) continue;
        if (seconds(trial->length) > JOIN_S_MAX) continue;
        double cost =
            leave + enter + cost_length(pair, trial) + cost_downbeats(pair, a_first, b_first, beats);
        if (cost < best.cost) best = (struct candidate){a_first, b_first, lengths[i], cost};
    }
    if (best.cost < DBL_MAX) {
        *join = (struct join){.technique = JOIN_BLEND, .bars = best.bars};
        join->tempo_change_pct = 100 * (a->period * pair->step_a / (b->period * pair->step_b) - 1);
        lay_beats(join, pair, best.a_first, best.b_first, best.bars * metre);
        int middle = join->beats / 2;
        join->switch_to = join->out_beat[middle];
        join->switch_from = join->switch_to - (join->out_beat[middle] - join->out_beat[middle - 1]) / 2;
    }
    free(trial);
    return best.cost < DBL_MAX;
}

/* b's one on a's, both at their own speed. 1 when both have bars to do it with. */
static int choose_swap(struct join *join, struct pair *pair)
{
    const struct grid *a = &pair->a.grid, *b = &pair->b.grid;
    if (a->bar_count < GRID_PHRASE_BARS || b->bar_count < GRID_PHRASE_BARS) return 0;
    double leave = 0, enter = 0;
    pair->step_a = pair->step_b = 1;
    size_t a_first = best_leave(pair, a->metre, &leave), b_first = best_enter(pair, 1, &enter);
    if (a_first == SIZE_MAX || b_first == SIZE_MAX) return 0;
    int64_t one = a->beat[a_first], half_beat = (int64_t)(a->period / 2);
    int64_t lead = one - pair->a_pos < half_beat ? one - pair->a_pos : half_beat;
    *join = (struct join){.technique = JOIN_SWAP, .bars = 1};
    join->a_from = one - lead;
    join->a_to = a->beat[a_first + (size_t)a->metre];
    join->length = join->a_to - join->a_from;
    join->b_from = b->beat[b_first] > lead ? b->beat[b_first] - lead : 0;
    join->b_at = lead - (b->beat[b_first] - join->b_from);
    join->b_to = join->b_from + join->length - join->b_at;
    join->switch_from = 0;
    join->switch_to = lead;
    return join->b_to <= pair->b.music.to;
}

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Always possible: what is left of a under the beginning of b. */
static void make_fade(struct join *join, const struct pair *pair)
{
    struct span a = pair->a.music, b = pair->b.music;
    int64_t floor_samples = llround(FADE_MIN_S * PCM_RATE);
    int64_t length = llround(FADE_S * PCM_RATE);
    length = min_i64(length, (int64_t)(SHARE_MAX * (double)(a.to - a.from)));
    length = min_i64(length, (int64_t)(SHARE_MAX * (double)(b.to - b.from)));
    length = max_i64(length, floor_samples);
    int64_t left = max_i64(0, a.to - pair->a_pos);
    *join = (struct join){.technique = JOIN_FADE};
    join->a_from = left > length ? a.to - length : pair->a_pos;
    join->a_to = left > 0 ? a.to : pair->a_pos;
    join->length = max_i64(min_i64(length, left), floor_samples);
    join->b_from = b.from;
    join->b_to = min_i64(b.from + join->length, b.to);
}

void join_choose(struct join *join, const struct track *a, int64_t a_pos, const struct track *b,
                 double max_tempo_change_pct)
{
    struct pair pair = {.a_pos = a_pos, .limit = fmin(max_tempo_change_pct, JOIN_CHANGE_MAX) / 100};
    side_make(&pair.a, a);
    side_make(&pair.b, b);
    int trusted = tempo_is_trusted(&pair.a) && tempo_is_trusted(&pair.b);
    int done = 0;
    if (trusted && fold(&pair)) done = choose_blend(join, &pair);
    if (trusted && !done) done = choose_swap(join, &pair);
    if (!done) make_fade(join, &pair);
    grid_free(&pair.a.grid);
    grid_free(&pair.b.grid);
}
