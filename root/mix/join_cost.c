#include "root/mix/join_cost.h"

#include <math.h>

#include "root/audio/pcm.h"

/* Costs, in seconds of music */
#define COST_UNPLAYED   0.35 /* per second of music left out */
#define COST_OFF_PHRASE 10.0
#define COST_TOO_LITTLE 10.0 /* per second a track plays short of its minimum */
#define COST_DOWNBEAT   1.0  /* per beat where one track has a downbeat and the other not */
#define COST_TEMPO      1.0  /* per percent of tempo change above TEMPO_FREE_PCT */
#define TEMPO_FREE_PCT  3.0
#define COST_HOLE       6.0 /* per LU beyond HOLE_FREE_LU */
#define HOLE_FREE_LU    1.0
#define COST_BUMP       6.0 /* per LU beyond BUMP_FREE_LU */
#define BUMP_FREE_LU    0.3
#define COST_STEP       4.0 /* per LU beyond STEP_FREE_LU */
#define STEP_FREE_LU    1.0
#define COST_STEP_BAD   14.0 /* more, per LU beyond what a ride makes good */
#define STEP_BAD_LU     4.0
#define COST_HARMONY    10.0 /* for a consonance of -1 against chance, half of it for 0 */
#define COST_BASS       4.0  /* likewise for the basses on both sides of the switch */
#define COST_KEY        26.0 /* of keys that clash, in a blend, */
#define COST_KEY_SIGMA  8.0  /* less so much for each deviation by which the passages do not */
#define COST_KEY_SWAP   9.0  /* in a swap, where both are heard for a bar */
#define COST_VOICES     2.0  /* per beat with two voices */
#define COST_UNLIKE     6.0  /* for passages that have nothing in common */
#define GAIN_OUTRO      4.0  /* for leaving at the start of the outro */
#define SHARE_MAX       0.33 /* of either track's music that one transition may take */
#define AROUND_S        15.0
#define VOICE_LIKELY    0.5
#define HEARD           0.25 /* of its power, for a voice to count */
#define BASS_BARS       2    /* compared on each side of the switch */
/* What each technique costs to begin with: a blend is what we are here for. */
static const double base[] = {
    [JOIN_FADE] = 45, [JOIN_ECHO] = 34, [JOIN_CUT] = 26, [JOIN_SWAP] = 20, [JOIN_BLEND] = 0};

static double seconds(int64_t samples)
{
    return (double)samples / PCM_RATE;
}

static double over(double value, double free_of_charge)
{
    return isfinite(value) && value > free_of_charge ? value - free_of_charge : 0;
}

static double cost_played(const struct join *join, const struct pair *pair)
{
    const struct side *a = &pair->a, *b = &pair->b;
    /* a track counts as played from the middle of one transition to that of the next */
    double a_s = pair->a_played_s + seconds((join->a_from + join->a_to) / 2 - pair->a_pos);
    double b_s = seconds(b->music.to - (join->b_from + join->b_to) / 2);
    double left_out = fmax(0, seconds(a->music.to - join->a_to));
    double cost = 0;
    if (a->outro >= 0 && fabs(seconds(join->a_from - a->outro)) < seconds((int64_t)a->grid.period)) {
        cost -= GAIN_OUTRO;
        left_out /= 2;
    }
    cost += COST_UNPLAYED * (left_out + fmax(0, seconds(join->b_from - b->music.from)));
    cost += COST_TOO_LITTLE * (fmax(0, a->min_play_s - a_s) + fmax(0, b->min_play_s - b_s));
    return cost;
}

/* Eight and sixteen bars are the rule, at most what the tracks' size allows. */
static double cost_length(const struct join *join, const struct pair *pair)
{
    double length_s = seconds(join->length), cost = 0;
    double shorter_s =
        fmin(seconds(pair->a.music.to - pair->a.music.from), seconds(pair->b.music.to - pair->b.music.from));
    if (join->technique == JOIN_BLEND) {
        cost = join->bars == 16 ? 0 : join->bars == 8 ? 0.3 : join->bars == 4 ? 4 : 6;
        if (join->switch_to < join->length && join->bars == 8) cost += 0.5; /* begins within a phrase */
        if (length_s > 34) cost += length_s - 34;
    }
    if (length_s > SHARE_MAX * shorter_s) cost += COST_TOO_LITTLE * (length_s - SHARE_MAX * shorter_s);
    return cost;
}

static double cost_downbeats(const struct join *join, const struct pair *pair, size_t a_bar, size_t b_bar)
{
    const struct grid *a = &pair->a.grid, *b = &pair->b.grid;
    if (pair->step_a != pair->step_b || a_bar == SIZE_MAX || b_bar == SIZE_MAX) return 0;
    double cost = 0;
    for (size_t k = 0; k < (size_t)join->beats; k++) {
        size_t i = a->bar[a_bar] + k, j = b->bar[b_bar] + k;
        if (i < a->count && j < b->count && a->down[i] != b->down[j]) cost += COST_DOWNBEAT;
    }
    return cost;
}

/* Share of each track's power at u (0..1) of the transition. */
static void powers(const struct join *join, double u, double *a, double *b)
{
    double t = u * (double)join->length, at = (double)join->b_at;
    double level;
    switch (join->technique) {
    case JOIN_BLEND:
        *a = cos(M_PI_2 * u) * cos(M_PI_2 * u);
        *b = 1 - *a;
        break;
    case JOIN_FADE:
        level = fmin(1, t / fmax(1, (double)(join->a_to - join->a_from)));
        *a = cos(M_PI_2 * level) * cos(M_PI_2 * level);
        level = fmax(0, fmin(1, (t - at) / fmax(1, (double)join->length - at)));
        *b = sin(M_PI_2 * level) * sin(M_PI_2 * level);
        break;
    default: /* one takes over from the other at once */
        *a = t < (double)join->switch_to;
        *b = 1 - *a;
    }
}

static double power_of(double lufs)
{
    return pow(10, lufs / 10);
}

/* What the loudness curves say about it. */
static double cost_loudness(const struct join *join, const struct pair *pair)
{
    double before = side_mean_lufs(&pair->a, fmax(seconds(pair->a_pos), seconds(join->a_from) - AROUND_S),
                                   seconds(join->a_from));
    double after = side_mean_lufs(&pair->b, seconds(join->b_to), seconds(join->b_to) + AROUND_S);
    if (isnan(before) || isnan(after)) return 0;
    double least = INFINITY, most = -INFINITY, length_s = seconds(join->length);
    int steps = (int)fmax(2, ceil(length_s));
    for (int i = 0; i <= steps; i++) {
        double u = (double)i / steps, a, b;
        powers(join, u, &a, &b);
        double t = u * (double)join->length;
        double a_s = seconds(join->a_from) + u * seconds(join->a_to - join->a_from);
        if (join->technique != JOIN_BLEND) a_s = seconds(join->a_from) + seconds((int64_t)t);
        double b_s = seconds(join->b_from) + (t - (double)join->b_at) /
                                                 ((double)join->length - (double)join->b_at) *
                                                 seconds(join->b_to - join->b_from);
        double sum = a * power_of(side_lufs(&pair->a, a_s)) + b * power_of(side_lufs(&pair->b, b_s));
        least = fmin(least, sum);
        most = fmax(most, sum);
    }
    double hole = fmin(before, after) - 10 * log10(fmax(least, 1e-7));
    double bump = 10 * log10(fmax(most, 1e-7)) - fmax(before, after);
    double step = fabs(after - before);
    return COST_HOLE * over(hole, HOLE_FREE_LU) + COST_BUMP * over(bump, BUMP_FREE_LU) +
           COST_STEP * over(step, STEP_FREE_LU) + COST_STEP_BAD * over(step, STEP_BAD_LU);
}

static double dot(const float *a, const float *b, int turn)
{
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += a[i] * b[(i + turn) % 12];
    return sum;
}

/* Bars of b per bar of a are the other way round than beats per common beat. */
static const struct side_bar *bar_at(const struct side *side, size_t first, int k, int step)
{
    size_t at = first + (size_t)(k * step);
    return at < side->grid.bar_count && side->bars[at].known ? &side->bars[at] : NULL;
}

/* Harmony, voices and likeness of the overlapped bars. */
static double cost_overlap(struct join *join, const struct pair *pair, size_t a_bar, size_t b_bar)
{
    double at_turn[12] = {0}, weights = 0, alike = 0;
    if (a_bar == SIZE_MAX || b_bar == SIZE_MAX) return 0;
    for (int k = 0; k < join->bars; k++) {
        const struct side_bar *a = bar_at(&pair->a, a_bar, k, pair->step_a);
        const struct side_bar *b = bar_at(&pair->b, b_bar, k, pair->step_b);
        if (!a || !b) continue;
        double pa, pb;
        powers(join, (k + 0.5) / join->bars, &pa, &pb);
        double weight = sqrt(pa * pb);
        weights += weight;
        for (int turn = 0; turn < 12; turn++)
            at_turn[turn] += weight * dot(a->chroma, b->chroma, turn);
        double unlike = fabsf((a->mid_db - a->low_db) - (b->mid_db - b->low_db)) +
                        fabsf((a->high_db - a->mid_db) - (b->high_db - b->mid_db)) +
                        fabsf(a->onsets - b->onsets);
        alike += weight * exp(-unlike / 12);
        if (a->vocal > VOICE_LIKELY && b->vocal > VOICE_LIKELY && pa > HEARD && pb > HEARD)
            join->vocal_overlap_beats += join->metre;
    }
    double cost = COST_VOICES * join->vocal_overlap_beats;
    if (weights <= 0) return cost;
    double mean = 0, square = 0;
    for (int turn = 0; turn < 12; turn++) {
        at_turn[turn] /= weights;
        mean += at_turn[turn] / 12;
        square += at_turn[turn] * at_turn[turn] / 12;
    }
    join->consonance = at_turn[0];
    join->consonance_mean = mean;
    join->consonance_sigma = sqrt(fmax(0, square - mean * mean));
    return cost + COST_HARMONY * (1 - at_turn[0]) / 2 + COST_UNLIKE * (1 - alike / weights);
}

/* The bass line that stops and the one that begins. */
static double cost_bass(const struct join *join, const struct pair *pair, size_t a_bar, size_t b_bar)
{
    double sum = 0;
    int count = 0;
    if (a_bar == SIZE_MAX || b_bar == SIZE_MAX || join->length <= 0 || join->bars == 0) return 0;
    int middle = (int)llround((double)join->bars * (double)join->switch_to / (double)join->length);
    for (int i = 1; i <= BASS_BARS; i++) {
        if (middle - i < 0) continue;
        const struct side_bar *a = bar_at(&pair->a, a_bar, middle - i, pair->step_a);
        const struct side_bar *b = bar_at(&pair->b, b_bar, middle + i - 1, pair->step_b);
        if (!a || !b) continue;
        sum += dot(a->bass, b->bass, 0);
        count++;
    }
    return count ? COST_BASS * (1 - sum / count) / 2 : 0;
}

/* Keys that clash: unless these very passages go together better than most transpositions of them. */
static double cost_key(const struct join *join)
{
    if (!(join->consonance_sigma > 0)) return COST_KEY;
    double sigmas = (join->consonance - join->consonance_mean) / join->consonance_sigma;
    return fmax(0, COST_KEY - COST_KEY_SIGMA * sigmas);
}

void join_cost(struct join *join, const struct pair *pair, size_t a_bar, size_t b_bar)
{
    join->consonance = join->consonance_mean = join->consonance_sigma = NAN;
    join->vocal_overlap_beats = 0;
    join->cost =
        base[join->technique] + cost_played(join, pair) + cost_length(join, pair) + cost_loudness(join, pair);
    if (!join->on_phrase && join->technique != JOIN_FADE) join->cost += COST_OFF_PHRASE;
    int clash = key_steps(pair->a.track->features.key, pair->b.track->features.key) >= 2;
    if (clash && join->technique == JOIN_SWAP) join->cost += COST_KEY_SWAP;
    if (join->technique != JOIN_BLEND) return;
    join->cost += COST_TEMPO * over(fabs(join->tempo_change_pct), TEMPO_FREE_PCT) +
                  cost_downbeats(join, pair, a_bar, b_bar) + cost_overlap(join, pair, a_bar, b_bar) +
                  cost_bass(join, pair, a_bar, b_bar);
    if (clash) join->cost += cost_key(join);
}
