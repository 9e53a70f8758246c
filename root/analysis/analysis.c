/* analysis: the extractors side by side over one stream, then what follows from them together.
 *
 * Each extractor keeps its own window and what it must remember, about 20 MB an hour altogether; nothing of
 * the samples themselves is kept. Beyond four hours only the loudness goes on, which keeps next to nothing:
 * so long a recording is no piece with one tempo, and its beats and parts stay unknown. */
#include "root/analysis/analysis.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/beat.h"
#include "root/analysis/downbeat.h"
#include "root/analysis/fingerprint.h"
#include "root/analysis/key.h"
#include "root/analysis/loudness.h"
#include "root/analysis/novelty.h"
#include "root/analysis/onset.h"
#include "root/analysis/pulse.h"
#include "root/analysis/structure.h"
#include "root/analysis/timbre.h"
#include "root/audio/pcm.h"

#define CHUNK   1024 /* samples turned to mono at a time */
#define LONGEST ((size_t)4 * 3600 * PCM_RATE)

struct analysis {
    size_t samples;
    struct onset *onset;
    struct chroma *chroma;
    struct timbre *timbre;
    struct loudness *loudness;
    struct fingerprint *fingerprint;
};

struct analysis *analysis_new(void)
{
    struct analysis *analysis = xcalloc(1, sizeof *analysis);
    analysis->onset = onset_new();
    analysis->chroma = chroma_new();
    analysis->timbre = timbre_new();
    analysis->loudness = loudness_new();
    analysis->fingerprint = fingerprint_new();
    return analysis;
}

void analysis_free(struct analysis *analysis)
{
    if (!analysis) return;
    onset_free(analysis->onset);
    chroma_free(analysis->chroma);
    timbre_free(analysis->timbre);
    loudness_free(analysis->loudness);
    fingerprint_free(analysis->fingerprint);
    free(analysis);
}

void analysis_feed(struct analysis *analysis, const float *pcm, size_t samples)
{
    float mono[CHUNK];
    analysis->samples += samples;
    loudness_feed(analysis->loudness, pcm, samples);
    fingerprint_feed(analysis->fingerprint, pcm, samples);
    while (samples && analysis->samples <= LONGEST) {
        size_t n = samples < CHUNK ? samples : CHUNK;
        for (size_t i = 0; i < n; i++) {
            mono[i] = 0.5f * (pcm[2 * i] + pcm[2 * i + 1]);
            /* a float file may hold anything; nothing here may become infinite */
            if (!(fabsf(mono[i]) < 1e3f)) mono[i] = 0;
        }
        onset_feed(analysis->onset, mono, n);
        chroma_feed(analysis->chroma, mono, n);
        timbre_feed(analysis->timbre, mono, n);
        pcm += n * PCM_CHANNELS;
        samples -= n;
    }
}

static double clamp(double x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

/* Onsets a second: peaks of the novelty well above its mean. */
static double onset_density(const struct series *novelty)
{
    double mean = 0;
    size_t peaks = 0;
    for (size_t i = 0; i < novelty->count; i++)
        mean += novelty->value[i] / (double)novelty->count;
    for (size_t i = 1; i + 1 < novelty->count; i++) {
        float v = novelty->value[i];
        if (v > 2 * mean && v > novelty->value[i - 1] && v >= novelty->value[i + 1]) peaks++;
    }
    return novelty->count ? (double)peaks * ONSET_RATE / (double)novelty->count : 0;
}

/* Share of the kick band's novelty that falls on the beats, between beats alike being 0.5. */
static double kick_on_beat(const struct onset_curves *curves, const struct beats *beats)
{
    const struct series *kick = &curves->flux[0];
    double on = 0, off = 0;
    for (size_t k = 0; k + 1 < beats->count; k++) {
        for (int half = 0; half < 2; half++) {
            double t = beats->time_s[k] + 0.5 * half * (beats->time_s[k + 1] - beats->time_s[k]);
            *(half ? &off : &on) += pulse_accent(kick, t);
        }
    }
    return on + off > 0 ? on / (on + off) : 0;
}

/* Energy: half loudness (-30 to -6 LUFS), three tenths onset density (to 8 a second), two tenths brightness
 * (spectral centroid 500 to 4,000 Hz). */
static double energy_of(const struct analysis *analysis, const struct features *f,
                        const struct series *novelty)
{
    double loud = isnan(f->loud_part_lufs) ? 0 : clamp((f->loud_part_lufs + 30) / 24);
    double centroid = timbre_centroid_hz(analysis->timbre);
    double bright = isnan(centroid) ? 0 : clamp((centroid - 500) / 3500);
    return 0.5 * loud + 0.3 * clamp(onset_density(novelty) / 8) + 0.2 * bright;
}

/* Danceability: a steady pulse and a kick on it, at a tempo people dance to (118 BPM, half an octave). */
static double danceability_of(const struct features *f, const struct onset_curves *curves,
                              const struct beats *beats)
{
    double z = log2(beats->bpm / 118) / 0.5;
    return exp(-0.5 * z * z) * (0.6 * f->tempo_confidence + 0.4 * kick_on_beat(curves, beats));
}

static void take_beats(const struct analysis *analysis, struct features *f)
{
    struct onset_curves *curves = onset_curves(analysis->onset);
    const struct series *rows = chroma_rows(analysis->chroma), *bass = chroma_bass_rows(analysis->chroma);
    novelty_normalise(curves);
    struct series novelty = novelty_sum(curves), harmony = novelty_harmony(rows);
    struct beats beats = beats_find(curves, &novelty, &harmony, f->music_start_s, f->music_end_s);
    struct downbeats downbeats = downbeats_find(&beats, curves, rows, bass, timbre_rows(analysis->timbre));
    f->tempo_confidence = beats.confidence;
    f->tempo_bpm = beats.bpm;
    f->metre = downbeats.metre;
    f->energy = energy_of(analysis, f, &novelty);
    if (!isnan(beats.bpm)) f->danceability = danceability_of(f, curves, &beats);
    if (downbeats.metre) {
        f->downbeats_s = xmalloc((beats.count / (size_t)downbeats.metre + 1) * sizeof *f->downbeats_s);
        for (size_t k = downbeats.first; k < beats.count; k += (size_t)downbeats.metre) {
            f->downbeats_s[f->downbeat_count++] = beats.time_s[k];
        }
    }
    f->beats_s = beats.time_s;
    f->beat_count = beats.count;
    f->regions = beats.regions;
    f->region_count = beats.region_count;
    series_free(&novelty);
    series_free(&harmony);
}

static void take_key(const struct analysis *analysis, struct features *f)
{
    struct key_result key = key_find(analysis->chroma);
    f->key = key.key;
    f->key_confidence = key.key >= 0 ? key.confidence : NAN;
    for (int k = 0; key.key >= 0 && k < 24; k++)
        f->key_scores[k] = (float)fmax(0, key.score[k] / key.score[key.key]);
}

static void take_sections(const struct analysis *analysis, struct features *f)
{
    f->sections = structure_find(timbre_rows(analysis->timbre), chroma_rows(analysis->chroma), f->downbeats_s,
                                 f->downbeat_count, f->music_start_s, f->music_end_s, &f->section_count);
}

int analysis_finish(struct analysis *analysis, struct features *out, char **cause)
{
    struct loudness_result loudness;
    loudness_finish(analysis->loudness, &loudness);
    if (!analysis->samples) return cause_set(cause, "it holds no sound");
    if (loudness.end_s <= loudness.start_s) return cause_set(cause, "it is silent throughout");
    onset_finish(analysis->onset);
    chroma_finish(analysis->chroma);
    timbre_finish(analysis->timbre);
    out->version = ANALYSIS_VERSION;
    out->duration_s = (double)analysis->samples / PCM_RATE;
    out->music_start_s = loudness.start_s;
    out->music_end_s = loudness.end_s;
    out->loudness_lufs = loudness.integrated_lufs;
    out->loudness_range_lu = loudness.range_lu;
    out->loud_part_lufs = loudness.loud_lufs;
    out->true_peak_dbtp = loudness.true_peak_dbtp;
    int whole = analysis->samples <= LONGEST;
    if (whole) take_beats(analysis, out);
    take_key(analysis, out);
    timbre_summary(analysis->timbre, out->timbre);
    if (whole) take_sections(analysis, out);
    out->fingerprint = fingerprint_finish(analysis->fingerprint);
    return 0;
}
