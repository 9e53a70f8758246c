#include "root/mix/join.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/pcm.h"
#include "root/mix/join_cost.h"

#define FADE_MIN_S 0.05
#define FADE_SHARE 0.25 /* of either track's music that a fade may take */
#define KEPT       24   /* of the ways found, the cheapest */
#define APART_BARS 4    /* ways that differ by less are the same */
#define ALL_POINTS 4096 /* pairs of bars that are all looked at */
#define CUT_S      0.01 /* what is left of a after its last one */
#define ECHO_BEATS 8
#define TAIL_S     2.0 /* of a fade: steps in which its beginning is sought */

/* A way of joining, before it is laid out. */
struct way {
    enum join_technique technique;
    size_t a_first,
        b_first;         /* beats where the transition begins; fade: seconds skipped at a's end, b's start */
    size_t a_bar, b_bar; /* bars, SIZE_MAX where unknown */
    int bars;            /* blend; fade: seconds */
    int at_end;          /* the switch: at the end, or in the middle */
    int on_phrase;
    double cost;
};

struct ways {
    struct way items[KEPT];
    size_t count;
    struct way best[JOIN_BLEND + 1]; /* the cheapest of each technique; of fades, there always is one */
};

static double seconds(int64_t samples)
{
    return (double)samples / PCM_RATE;
}

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
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

/* Laying out: each fills the join from a way, 0 when it can't be done. */

static int lay_blend(struct join *join, const struct pair *pair, const struct way *way)
{
    const struct grid *a = &pair->a.grid, *b = &pair->b.grid;
    int metre = a->bar_count ? a->metre : b->metre, beats = way->bars * metre;
    if (beats > JOIN_BEATS_MAX || way->a_first + (size_t)(beats * pair->step_a) >= a->count ||
        way->b_first + (size_t)(beats * pair->step_b) >= b->count)
        return 0;
    if (!lay_beats(join, pair, way->a_first, way->b_first, beats)) return 0;
    if (seconds(join->length) > JOIN_S_MAX) return 0;
    join->bars = way->bars;
    join->metre = metre;
    join->tempo_change_pct = 100 * (a->period * pair->step_a / (b->period * pair->step_b) - 1);
    int at = way->at_end ? beats : beats / 2;
    join->switch_to = join->out_beat[at];
    join->switch_from = join->switch_to - (join->out_beat[at] - join->out_beat[at - 1]) / 2;
    return 1;
}

/* b's one on a's, both at their own speed. */
static int lay_swap(struct join *join, const struct pair *pair, const struct way *way)
{
    const struct grid *a = &pair->a.grid, *b = &pair->b.grid;
    if (way->a_first + (size_t)a->metre >= a->count) return 0;
    int64_t one = a->beat[way->a_first], half_beat = (int64_t)(a->period / 2);
    int64_t lead = min_i64(one - pair->a_pos, half_beat);
    join->bars = 1;
    join->metre = a->metre;
    join->a_from = one - lead;
    join->a_to = a->beat[way->a_first + (size_t)a->metre];
    join->length = join->a_to - join->a_from;
    join->b_from = max_i64(0, b->beat[way->b_first] - lead);
    join->b_at = lead - (b->beat[way->b_first] - join->b_from);
    join->b_to = join->b_from + join->length - join->b_at;
    join->switch_from = 0;
    join->switch_to = lead;
    return join->b_to <= pair->b.music.to;
}

/* a's one is b's one, and nothing of a is heard after it. */
static int lay_cut(struct join *join, const struct pair *pair, const struct way *way)
{
    int64_t one = pair->a.grid.beat[way->a_first], tail = llround(CUT_S * PCM_RATE);
    int64_t from = pair->b.grid.beat[way->b_first];
    join->a_from = max_i64(pair->a_pos, one - tail);
    join->a_to = one;
    join->length = one - join->a_from;
    if (join->length < 1 || from < join->length) return 0;
    join->metre = pair->a.grid.metre;
    join->b_from = from - join->length;
    join->b_to = from;
    join->switch_to = join->length;
    return 1;
}

/* a's last beat echoes for two bars under the beginning of b. */
static int lay_echo(struct join *join, const struct pair *pair, const struct way *way)
{
    const struct grid *a = &pair->a.grid;
    if (way->a_first < 1) return 0;
    int64_t one = a->beat[way->a_first], beat = one - a->beat[way->a_first - 1];
    int64_t lead = min_i64(one - pair->a_pos, beat);
    if (lead < beat) return 0;
    join->metre = a->metre;
    join->echo_delay = beat;
    join->a_from = one - lead;
    join->a_to = one;
    join->length = lead + ECHO_BEATS * beat;
    join->b_at = lead;
    join->b_from = way->b_first == SIZE_MAX ? pair->b.music.from : pair->b.grid.beat[way->b_first];
    join->b_to = join->b_from + join->length - join->b_at;
    join->switch_from = join->switch_to = lead;
    return join->b_to <= pair->b.music.to && seconds(join->length) <= JOIN_S_MAX;
}

/* Always possible: what is left of a under the beginning of b. */
static int lay_fade(struct join *join, const struct pair *pair, const struct way *way)
{
    struct span a = pair->a.music, b = pair->b.music;
    int64_t floor_samples = llround(FADE_MIN_S * PCM_RATE);
    int64_t length = (int64_t)way->bars * PCM_RATE;
    a.to = max_i64(a.from, a.to - (int64_t)way->a_first * PCM_RATE);
    b.from = min_i64(b.to, b.from + (int64_t)way->b_first * PCM_RATE);
    length = min_i64(length, (int64_t)(FADE_SHARE * (double)(a.to - a.from)));
    length = min_i64(length, (int64_t)(FADE_SHARE * (double)(b.to - b.from)));
    length = max_i64(length, floor_samples);
    int64_t left = max_i64(0, a.to - pair->a_pos);
    join->a_from = left > length ? a.to - length : pair->a_pos;
    join->a_to = left > 0 ? a.to : pair->a_pos;
    join->length = max_i64(min_i64(length, left), floor_samples);
    join->b_from = b.from;
    join->b_to = min_i64(b.from + join->length, b.to);
    join->switch_to = join->length / 2;
    return 1;
}

/* Whether both grids hold where the technique rests on them: throughout, as long as both are heard; of a cut
 * or an echo, at the ones. */
static int on_steady(const struct join *join, const struct pair *pair, const struct way *way)
{
    if (join->technique == JOIN_FADE) return 1;
    int64_t a_one = pair->a.grid.beat[way->a_first], b_one = 0;
    if (join->technique == JOIN_ECHO) return side_steady(&pair->a, a_one, a_one);
    b_one = pair->b.grid.beat[way->b_first];
    if (join->technique == JOIN_CUT)
        return side_steady(&pair->a, a_one, a_one) && side_steady(&pair->b, b_one, b_one);
    return side_steady(&pair->a, a_one, join->a_to) && side_steady(&pair->b, b_one, join->b_to);
}

static int lay(struct join *join, const struct pair *pair, const struct way *way)
{
    static int (*const with[])(struct join *, const struct pair *, const struct way *) = {
        [JOIN_FADE] = lay_fade, [JOIN_ECHO] = lay_echo,   [JOIN_CUT] = lay_cut,
        [JOIN_SWAP] = lay_swap, [JOIN_BLEND] = lay_blend,
    };
    /* all but the beats, which only a blend has and fills */
    memset(join, 0, offsetof(struct join, a_beat));
    memset(&join->beats, 0, sizeof *join - offsetof(struct join, beats));
    join->technique = way->technique;
    join->on_phrase = way->on_phrase;
    if (!with[way->technique](join, pair, way)) return 0;
    if (!on_steady(join, pair, way)) return 0;
    if (join->a_from < pair->a_pos && join->a_to > join->a_from) return 0;
    join_cost(join, pair, way->a_bar, way->b_bar);
    return 1;
}

/* Finding */

/* Nearer than this two ways are one. */
static int alike(const struct way *x, const struct way *y)
{
    if (x->technique != y->technique) return 0;
    if (x->technique == JOIN_FADE) return x->bars == y->bars && x->b_first == y->b_first;
    return llabs((int64_t)x->a_first - (int64_t)y->a_first) < APART_BARS * 4 &&
           llabs((int64_t)x->b_first - (int64_t)y->b_first) < APART_BARS * 4;
}

/* Keeps the cheapest, of those that are alike only the cheapest; in order of cost. */
static void offer(struct ways *ways, const struct way *way)
{
    size_t i = 0;
    while (i < ways->count && !alike(&ways->items[i], way))
        i++;
    if (i < ways->count) {
        if (ways->items[i].cost <= way->cost) return;
        memmove(&ways->items[i], &ways->items[i + 1], (--ways->count - i) * sizeof *way);
    }
    if (ways->count == KEPT && ways->items[--ways->count].cost <= way->cost) {
        ways->count++;
        return;
    }
    size_t at = ways->count++;
    for (; at && ways->items[at - 1].cost > way->cost; at--)
        ways->items[at] = ways->items[at - 1];
    ways->items[at] = *way;
}

static void try_way(struct ways *ways, struct join *trial, const struct pair *pair, struct way *way)
{
    if (!lay(trial, pair, way)) return;
    way->cost = trial->cost;
    if (way->cost < ways->best[way->technique].cost) ways->best[way->technique] = *way;
    offer(ways, way);
}

/* Where a side may be joined: its bars, or every fourth beat where bars are unknown. */
static size_t point_count(const struct grid *grid)
{
    return grid->bar_count ? grid->bar_count : grid->count / 4;
}

static size_t point_beat(const struct grid *grid, size_t point)
{
    return grid->bar_count ? grid->bar[point] : 4 * point;
}

static int is_phrase(const struct grid *grid, size_t point)
{
    return !grid->bar_count || (int)(point % GRID_PHRASE_BARS) == grid->phrase;
}

/* All ways whose switch is at these two points; phrases: only where both begin one. */
static void try_blends(struct ways *ways, struct join *trial, const struct pair *pair, int phrases)
{
    static const int lengths[] = {8, 16, 4, 32};
    const struct grid *a = &pair->a.grid, *b = &pair->b.grid;
    for (size_t p = 0; p < point_count(a); p++) {
        if ((phrases && !is_phrase(a, p)) || a->beat[point_beat(a, p)] < pair->a_pos) continue;
        for (size_t q = 0; q < point_count(b); q++) {
            if (phrases && !is_phrase(b, q)) continue;
            for (size_t i = 0; i < 2 * sizeof lengths / sizeof *lengths; i++) {
                int bars = lengths[i / 2], at_end = i % 2;
                size_t before = (size_t)(at_end ? bars : bars / 2);
                size_t a_back = before * (size_t)pair->step_a, b_back = before * (size_t)pair->step_b;
                if (p < a_back || q < b_back) continue;
                struct way way = {.technique = JOIN_BLEND,
                                  .a_first = point_beat(a, p - a_back),
                                  .b_first = point_beat(b, q - b_back),
                                  .a_bar = a->bar_count ? p - a_back : SIZE_MAX,
                                  .b_bar = b->bar_count ? q - b_back : SIZE_MAX,
                                  .bars = bars,
                                  .at_end = at_end,
                                  .on_phrase = is_phrase(a, p) && is_phrase(b, q)};
                if (a->beat[way.a_first] >= pair->a_pos) try_way(ways, trial, pair, &way);
            }
        }
    }
}

/* Swaps and cuts, one on one. */
static void try_ones(struct ways *ways, struct join *trial, const struct pair *pair)
{
    const struct grid *a = &pair->a.grid, *b = &pair->b.grid;
    if (a->bar_count < GRID_PHRASE_BARS || b->bar_count < GRID_PHRASE_BARS) return;
    for (size_t p = 0; p < a->bar_count; p++) {
        if (a->beat[a->bar[p]] < pair->a_pos) continue;
        for (size_t q = 0; q < b->bar_count && q < 8 * GRID_PHRASE_BARS; q++) {
            struct way way = {.a_first = a->bar[p],
                              .b_first = b->bar[q],
                              .a_bar = p,
                              .b_bar = q,
                              .on_phrase = is_phrase(a, p) && is_phrase(b, q)};
            if (!way.on_phrase && q) continue;
            way.technique = JOIN_SWAP;
            try_way(ways, trial, pair, &way);
            way.technique = JOIN_CUT;
            try_way(ways, trial, pair, &way);
        }
    }
}

static void try_echoes(struct ways *ways, struct join *trial, const struct pair *pair)
{
    const struct grid *a = &pair->a.grid;
    for (size_t p = 0; p < a->bar_count; p++) {
        if (a->beat[a->bar[p]] < pair->a_pos) continue;
        struct way way = {.technique = JOIN_ECHO,
                          .a_first = a->bar[p],
                          .b_first = SIZE_MAX,
                          .a_bar = p,
                          .b_bar = SIZE_MAX,
                          .on_phrase = is_phrase(a, p)};
        try_way(ways, trial, pair, &way);
    }
}

/* Fades that begin where a still sounds and end where b does. */
static void try_fades(struct ways *ways, struct join *trial, const struct pair *pair)
{
    static const int lengths[] = {6, 3, 10, 1};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        for (size_t early = 0; early <= 30; early += (size_t)TAIL_S) {
            for (size_t skip = 0; skip <= 20; skip += (size_t)TAIL_S) {
                struct way way = {.technique = JOIN_FADE,
                                  .a_first = early,
                                  .b_first = skip,
                                  .a_bar = SIZE_MAX,
                                  .b_bar = SIZE_MAX,
                                  .bars = lengths[i]};
                try_way(ways, trial, pair, &way);
            }
        }
    }
}

static void find(struct ways *ways, struct join *trial, struct pair *pair)
{
    const struct grid *a = &pair->a.grid, *b = &pair->b.grid;
    int same_metre = !a->bar_count || !b->bar_count || a->metre == b->metre;
    if (pair->a.trusted && pair->b.trusted) {
        if (same_metre && fold(pair)) {
            /* short pieces have few phrases */
            int all = point_count(a) * point_count(b) <= ALL_POINTS;
            try_blends(ways, trial, pair, !all);
            if (ways->count == 0 && !all) try_blends(ways, trial, pair, 0);
        }
        pair->step_a = pair->step_b = 1;
        try_ones(ways, trial, pair);
    }
    if (pair->a.trusted) try_echoes(ways, trial, pair);
    try_fades(ways, trial, pair);
}

/* In order of cost; but what the first ways have in common may be what fails, so the last one is of a
 * technique that none of them is, if there is one. Fades come anyway. */
static struct way way_of_rank(const struct ways *ways, int rank)
{
    struct way way = ways->items[rank];
    if (rank < JOIN_TRIES - 1) return way;
    double least = DBL_MAX;
    for (int technique = JOIN_FADE + 1; technique <= JOIN_BLEND; technique++) {
        int tried = 0;
        for (int k = 0; k < rank; k++)
            tried |= (int)ways->items[k].technique == technique;
        if (tried || ways->best[technique].cost >= least) continue;
        way = ways->best[technique];
        least = way.cost;
    }
    return way;
}

void join_choose(struct join *join, const struct track *a, int64_t a_pos, const struct track *b,
                 const struct join_conf *conf, int rank, int *rank_out)
{
    struct pair pair = {.a_pos = a_pos,
                        .a_played_s = conf->a_played_s,
                        .step_a = 1,
                        .step_b = 1,
                        .limit = fmin(conf->max_change_pct, JOIN_CHANGE_MAX) / 100};
    struct ways ways = {.count = 0};
    for (int i = JOIN_FADE; i <= JOIN_BLEND; i++)
        ways.best[i] = (struct way){
            .technique = JOIN_FADE, .bars = 6, .a_bar = SIZE_MAX, .b_bar = SIZE_MAX, .cost = DBL_MAX};
    side_make(&pair.a, a, conf->a_gain_db);
    side_make(&pair.b, b, conf->b_gain_db);
    if (conf->min_play_pct > 0) {
        side_set_play(&pair.a, conf->min_play_pct);
        side_set_play(&pair.b, conf->min_play_pct);
    }
    find(&ways, join, &pair);
    int safe = rank >= JOIN_TRIES || (size_t)rank >= ways.count;
    struct way way = safe ? ways.best[JOIN_FADE] : way_of_rank(&ways, rank);
    if (way.technique == JOIN_BLEND)
        fold(&pair);
    else
        pair.step_a = pair.step_b = 1;
    lay(join, &pair, &way);
    if (rank_out) *rank_out = safe ? JOIN_TRIES : rank;
    side_free(&pair.a);
    side_free(&pair.b);
}
