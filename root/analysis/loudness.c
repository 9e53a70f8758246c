#include "root/analysis/loudness.h"

#include <ebur128.h>
#include <math.h>
#include <stdlib.h>

#include "common/mem.h"
#include "root/analysis/series.h"
#include "root/analysis/true_peak.h"
#include "root/audio/pcm.h"

#define SHORT_STEP         (PCM_RATE / 2) /* samples between readings of the short-term loudness */
#define ABSOLUTE_GATE_LUFS (-70.0)

struct loudness {
    ebur128_state *state;
    struct true_peak *true_peak; /* libebur128's own takes most of its time */
    struct series short_term;
    size_t until_reading, position, first, last;
    int heard;
    float threshold;
};

struct loudness *loudness_new(void)
{
    struct loudness *loudness = xcalloc(1, sizeof *loudness);
    loudness->state =
        ebur128_init(PCM_CHANNELS, PCM_RATE, EBUR128_MODE_I | EBUR128_MODE_LRA | EBUR128_MODE_S);
    if (!loudness->state) abort(); /* out of memory: there is no other cause for these arguments */
    loudness->true_peak = true_peak_new();
    loudness->until_reading = SHORT_STEP;
    loudness->threshold = (float)pow(10, LOUDNESS_SILENCE_DB / 20);
    return loudness;
}

void loudness_free(struct loudness *loudness)
{
    if (!loudness) return;
    ebur128_destroy(&loudness->state);
    true_peak_free(loudness->true_peak);
    series_free(&loudness->short_term);
    free(loudness);
}

static void note_ends(struct loudness *loudness, const float *pcm, size_t samples)
{
    for (size_t i = 0; i < samples; i++) {
        if (fabsf(pcm[2 * i]) <= loudness->threshold && fabsf(pcm[2 * i + 1]) <= loudness->threshold)
            continue;
        if (!loudness->heard) loudness->first = loudness->position + i;
        loudness->heard = 1;
        loudness->last = loudness->position + i + 1;
    }
    loudness->position += samples;
}

void loudness_feed(struct loudness *loudness, const float *pcm, size_t samples)
{
    true_peak_feed(loudness->true_peak, pcm, samples);
    while (samples) {
        size_t n = samples < loudness->until_reading ? samples : loudness->until_reading;
        if (ebur128_add_frames_float(loudness->state, pcm, n) != EBUR128_SUCCESS) abort(); /* memory again */
        note_ends(loudness, pcm, n);
        pcm += n * PCM_CHANNELS;
        samples -= n;
        loudness->until_reading -= n;
        if (loudness->until_reading) continue;
        loudness->until_reading = SHORT_STEP;
        double lufs;
        if (ebur128_loudness_shortterm(loudness->state, &lufs) == EBUR128_SUCCESS &&
            lufs > ABSOLUTE_GATE_LUFS) {
            series_push(&loudness->short_term, (float)lufs);
        }
    }
}

void loudness_finish(struct loudness *loudness, struct loudness_result *out)
{
    double value;
    *out = (struct loudness_result){NAN, NAN, NAN, NAN, 0, 0};
    if (ebur128_loudness_global(loudness->state, &value) == EBUR128_SUCCESS && isfinite(value)) {
        out->integrated_lufs = value;
        if (ebur128_loudness_range(loudness->state, &value) == EBUR128_SUCCESS) out->range_lu = value;
    }
    double peak = true_peak_finish(loudness->true_peak);
    if (peak > 0 && isfinite(peak)) out->true_peak_dbtp = 20 * log10(peak);
    size_t n = loudness->short_term.count;
    if (n) {
        double *sorted = xmalloc(n * sizeof *sorted);
        for (size_t i = 0; i < n; i++)
            sorted[i] = loudness->short_term.value[i];
        out->loud_lufs = values_quantile(sorted, n, 0.95);
        free(sorted);
    }
    out->start_s = (double)loudness->first / PCM_RATE;
    out->end_s = (double)loudness->last / PCM_RATE;
}
