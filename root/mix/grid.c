#include "root/mix/grid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/pcm.h"

#define SNAP_S      0.03 /* a downbeat or a section boundary this near a beat means that beat */
#define MIN_BEATS   8    /* to continue a grid from */
#define EXTRA_BEATS 32   /* a bar before and one after */
#define TAIL_S      0.5  /* of what comes after the music, may hold its last beat */

static double finite_or(double value, double def)
{
    return isfinite(value) ? value : def;
}

struct span span_of(const struct track *track)
{
    const struct features *f = &track->features;
    double end = fmax(0, finite_or(f->duration_s, 0));
    double from = fmin(fmax(0, finite_or(f->music_start_s, 0)), end);
    double to = fmin(fmax(from, finite_or(f->music_end_s, end)), end);
    /* silence where music was expected: better all of it than nothing */
    if (to - from < 0.1) from = 0, to = end;
    return (struct span){llround(from * PCM_RATE), llround(to * PCM_RATE)};
}

static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double median_period(const int64_t *beat, size_t count)
{
    if (count < 2) return 0;
    int64_t *distance = xmalloc((count - 1) * sizeof *distance);
    for (size_t i = 0; i + 1 < count; i++)
        distance[i] = beat[i + 1] - beat[i];
    qsort(distance, count - 1, sizeof *distance, compare_i64);
    size_t middle = (count - 1) / 2;
    double period = (double)distance[middle];
    free(distance);
    return period;
}

/* Index of the beat nearest to `sample`; the grid has some. */
static size_t nearest_beat(const struct grid *grid, int64_t sample)
{
    size_t low = 0, high = grid->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (grid->beat[middle] < sample) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == grid->count) return low - 1;
    if (low > 0 && sample - grid->beat[low - 1] < grid->beat[low] - sample) return low - 1;
    return low;
}

/* Last sample where a beat may lie: the tail that counts as silence may hold the one beat that ends the last
 * bar, and rounding may put it just behind the file's end. */
static int64_t beat_limit(const struct features *f, struct span music)
{
    int64_t end = llround((finite_or(f->duration_s, 0) + SNAP_S) * PCM_RATE);
    int64_t tail = music.to + llround(TAIL_S * PCM_RATE);
    return tail < end ? tail : end;
}

static void take_beats(struct grid *grid, const struct features *f, struct span music)
{
    int64_t slack = llround(SNAP_S * PCM_RATE), limit = beat_limit(f, music), last = INT64_MIN;
    grid->beat = xmalloc((f->beat_count + EXTRA_BEATS) * sizeof *grid->beat);
    for (size_t i = 0; i < f->beat_count; i++) {
        int64_t at = llround(f->beats_s[i] * PCM_RATE);
        if (at < 0 || at < music.from - slack || at > limit || at <= last) continue;
        grid->beat[grid->count++] = last = at;
    }
    grid->period = median_period(grid->beat, grid->count);
}

static void take_downbeats(struct grid *grid, const struct features *f)
{
    grid->down = xcalloc(grid->count + EXTRA_BEATS, 1);
    for (size_t i = 0; i < f->downbeat_count && grid->count; i++) {
        int64_t at = llround(f->downbeats_s[i] * PCM_RATE);
        size_t beat = nearest_beat(grid, at);
        if (fabs((double)(grid->beat[beat] - at)) <= SNAP_S * PCM_RATE) grid->down[beat] = 1;
    }
}

/* The distance in beats most bars have. */
static int common_metre(const struct grid *grid)
{
    int votes[13] = {0}, best = 4;
    size_t last = SIZE_MAX;
    for (size_t i = 0; i < grid->count; i++) {
        if (!grid->down[i]) continue;
        if (last != SIZE_MAX && i - last <= 12) votes[i - last]++;
        last = i;
    }
    for (int m = 2; m <= 12; m++) {
        if (votes[m] > votes[best]) best = m;
    }
    return best;
}

/* Beats before the first listed one, over a bar at most: a loop's first beat is its first sample, and an
 * onset detector has nothing to compare that with. */
static void extend_back(struct grid *grid, struct span music)
{
    size_t first_down = 0;
    int64_t slack = llround(SNAP_S * PCM_RATE), before[16];
    int count = 0;
    while (first_down < grid->count && !grid->down[first_down])
        first_down++;
    for (int k = 1; k <= grid->metre; k++) {
        int64_t at = grid->beat[0] - llround(k * grid->period);
        if (at < music.from - slack || at < -slack) break;
        before[count++] = at > 0 ? at : 0;
    }
    if (count == 0 || before[count - 1] >= grid->beat[0]) return;
    memmove(grid->beat + count, grid->beat, grid->count * sizeof *grid->beat);
    memmove(grid->down + count, grid->down, grid->count);
    for (int k = 0; k < count; k++) {
        grid->beat[k] = before[count - 1 - k];
        grid->down[k] =
            first_down < grid->count && (first_down + (size_t)(count - k)) % (size_t)grid->metre == 0;
    }
    grid->count += (size_t)count;
}

/* And after the last: the end of the music is a fine place for a switch, too. */
static void extend(struct grid *grid, const struct features *f, struct span music)
{
    size_t last_down = SIZE_MAX, original = grid->count;
    int64_t limit = beat_limit(f, music);
    for (size_t i = 0; i < grid->count; i++) {
        if (grid->down[i]) last_down = i;
    }
    for (int k = 1; k <= grid->metre; k++) {
        int64_t at = grid->beat[original - 1] + llround(k * grid->period);
        if (at > limit) break;
        if (last_down != SIZE_MAX && (grid->count - last_down) % (size_t)grid->metre == 0) {
            grid->down[grid->count] = 1;
        }
        grid->beat[grid->count++] = at;
    }
}

/* What the analysis found, moved by the bars that were added in front. */
static int known_phrase(const struct grid *grid, const struct features *f)
{
    if (f->phrase_bar < 0 || f->downbeat_count == 0) return -1;
    for (size_t b = 0; b < grid->bar_count; b++) {
        double at = (double)grid->beat[grid->bar[b]] / PCM_RATE;
        if (fabs(at - f->downbeats_s[0]) <= 2 * SNAP_S)
            return (int)((size_t)f->phrase_bar + b) % GRID_PHRASE_BARS;
    }
    return -1;
}

static void vote_phrase(struct grid *grid, const struct features *f)
{
    grid->phrase = known_phrase(grid, f);
    if (grid->phrase >= 0) return;
    grid->phrase = 0;
    int votes[GRID_PHRASE_BARS] = {0};
    for (size_t s = 0; s < f->section_count && grid->bar_count; s++) {
        int64_t at = llround(f->sections[s].start_s * PCM_RATE);
        size_t best = 0;
        for (size_t b = 1; b < grid->bar_count; b++) {
            if (llabs(grid->beat[grid->bar[b]] - at) < llabs(grid->beat[grid->bar[best]] - at)) best = b;
        }
        if ((double)llabs(grid->beat[grid->bar[best]] - at) < grid->period) votes[best % GRID_PHRASE_BARS]++;
    }
    for (int p = 1; p < GRID_PHRASE_BARS; p++) {
        if (votes[p] > votes[grid->phrase]) grid->phrase = p;
    }
}

void grid_make(struct grid *grid, const struct track *track)
{
    const struct features *f = &track->features;
    struct span music = span_of(track);
    *grid = (struct grid){.metre = 4};
    take_beats(grid, f, music);
    take_downbeats(grid, f);
    grid->metre = f->metre >= 2 && f->metre <= 12 ? f->metre : common_metre(grid);
    if (grid->count >= MIN_BEATS) {
        extend_back(grid, music);
        extend(grid, f, music);
    }
    grid->bar = xmalloc((grid->count + 1) * sizeof *grid->bar);
    for (size_t i = 0; i < grid->count; i++) {
        if (grid->down[i]) grid->bar[grid->bar_count++] = i;
    }
    vote_phrase(grid, f);
}

void grid_free(struct grid *grid)
{
    free(grid->beat);
    free(grid->down);
    free(grid->bar);
    *grid = (struct grid){0};
}
