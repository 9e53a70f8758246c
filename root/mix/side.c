#include "root/mix/side.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/pcm.h"

#define PLAY_SHARE     0.6  /* of a track that plays at least */
#define PLAY_MIN_S     60.0 /* and this much of one that is longer than PLAY_LONG_S */
#define PLAY_LONG_S    90.0
#define MIN_BEATS      16 /* fewer beats are no grid */
#define SAME_S         0.05
#define STEADY_SLACK_S 0.02 /* the beats it is bounded by are themselves within */
#define SILENCE_LUFS   (-70.0)
#define CURVE_SILENT   255

/* A direction: what two passages have in common is the cosine between theirs. */
static void direction(const uint8_t *in, float *out)
{
    float mean = 0, norm = 0;
    for (int i = 0; i < 12; i++)
        mean += (float)in[i] / 12;
    for (int i = 0; i < 12; i++) {
        out[i] = (float)in[i] - mean;
        norm += out[i] * out[i];
    }
    norm = sqrtf(norm);
    for (int i = 0; i < 12; i++)
        out[i] = norm > 0 ? out[i] / norm : 0;
}

static void take_bar(struct side_bar *out, const struct bar *bar, double gain_db)
{
    float gain = (float)gain_db;
    out->known = 1;
    direction(bar->chroma, out->chroma);
    direction(bar->bass_chroma, out->bass);
    out->low_db = gain - (float)BAR_LU * bar->low;
    out->mid_db = gain - (float)BAR_LU * bar->mid;
    out->high_db = gain - (float)BAR_LU * bar->high;
    out->onsets = bar->onsets;
    out->vocal = (float)bar->vocal / 255;
}

/* The features' bars, in step with the grid's, which may have one more at each end. */
static void take_bars(struct side *side)
{
    const struct features *f = &side->track->features;
    side->bars = xcalloc(side->grid.bar_count + 1, sizeof *side->bars);
    size_t k = 0;
    for (size_t b = 0; b < side->grid.bar_count && f->bar_count == f->downbeat_count; b++) {
        double at = (double)side->grid.beat[side->grid.bar[b]] / PCM_RATE;
        while (k < f->bar_count && f->downbeats_s[k] < at - SAME_S)
            k++;
        if (k < f->bar_count && f->downbeats_s[k] < at + SAME_S)
            take_bar(&side->bars[b], &f->bars[k], side->gain_db);
    }
}

static struct span steady_of(const struct features *f)
{
    struct span steady = {INT64_MIN, INT64_MAX};
    if (isfinite(f->steady_from_s)) steady.from = llround((f->steady_from_s - STEADY_SLACK_S) * PCM_RATE);
    if (isfinite(f->steady_to_s)) steady.to = llround((f->steady_to_s + STEADY_SLACK_S) * PCM_RATE);
    return steady;
}

void side_make(struct side *side, const struct track *track, double gain_db)
{
    const struct features *f = &track->features;
    *side = (struct side){.track = track, .music = span_of(track), .gain_db = gain_db, .outro = -1};
    grid_make(&side->grid, track);
    take_bars(side);
    side->steady = steady_of(f);
    side->trusted =
        f->tempo_confidence >= TEMPO_TRUSTED && side->grid.count >= MIN_BEATS && side->grid.period > 0;
    side->duration_s = (double)side->music.to / PCM_RATE;
    if (isfinite(f->duration_s) && f->duration_s > side->duration_s) side->duration_s = f->duration_s;
    side->min_play_s = PLAY_SHARE * side->duration_s;
    if (side->duration_s > PLAY_LONG_S) side->min_play_s = fmax(side->min_play_s, PLAY_MIN_S);
    for (size_t s = 0; s < f->section_count; s++) {
        if (!strcmp(f->sections[s].label, "outro")) side->outro = llround(f->sections[s].start_s * PCM_RATE);
    }
}

void side_set_play(struct side *side, double pct)
{
    side->min_play_s = pct / 100 * side->duration_s;
}

void side_free(struct side *side)
{
    grid_free(&side->grid);
    free(side->bars);
    side->bars = NULL;
}

int side_steady(const struct side *side, int64_t from, int64_t to)
{
    return from >= side->steady.from && to <= side->steady.to;
}

double side_lufs(const struct side *side, double at_s)
{
    const struct features *f = &side->track->features;
    if (f->loudness_count == 0) return NAN;
    double at = at_s / LOUDNESS_STEP_S;
    if (at < -0.5 || at > (double)f->loudness_count - 0.5) return SILENCE_LUFS;
    size_t i = (size_t)fmax(0, round(at));
    uint8_t value = f->loudness_curve[i < f->loudness_count ? i : f->loudness_count - 1];
    return value == CURVE_SILENT ? SILENCE_LUFS : side->gain_db - BAR_LU * value;
}

double side_mean_lufs(const struct side *side, double from_s, double to_s)
{
    double power = 0;
    int count = 0;
    for (double t = from_s + LOUDNESS_STEP_S / 2; t < to_s; t += LOUDNESS_STEP_S) {
        double lufs = side_lufs(side, t);
        if (isnan(lufs)) return NAN;
        power += pow(10, lufs / 10);
        count++;
    }
    return count ? 10 * log10(power / count) : NAN;
}
