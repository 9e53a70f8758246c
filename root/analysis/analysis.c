/* analysis: the extractors side by side over one stream, then what follows from them together.
 *
 * Each extractor keeps its own window and what it must remember, about 18 MB an hour altogether; nothing of
 * the samples themselves is kept. Beyond two hours that is given up, and only loudness and waveform go on,
 * which keep next to nothing: so long a recording is no piece with one tempo, its beats and parts stay
 * unknown; its key and timbre are those of the first two hours. So the memory is bounded whatever the length.
 */
#include "root/analysis/analysis.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/accents.h"
#include "root/analysis/bars.h"
#include "root/analysis/barrows.h"
#include "root/analysis/beat.h"
#include "root/analysis/character.h"
#include "root/analysis/clues.h"
#include "root/analysis/course.h"
#include "root/analysis/dance.h"
#include "root/analysis/downbeat.h"
#include "root/analysis/fingerprint.h"
#include "root/analysis/hold.h"
#include "root/analysis/key.h"
#include "root/analysis/loudness.h"
#include "root/analysis/mel.h"
#include "root/analysis/net.h"
#include "root/analysis/novelty.h"
#include "root/analysis/onset.h"
#include "root/analysis/phrase.h"
#include "root/analysis/structure.h"
#include "root/analysis/timbre.h"
#include "root/analysis/vocal.h"
#include "root/analysis/wave.h"
#include "root/audio/pcm.h"

#define CHUNK   1024 /* samples turned to mono at a time */
#define LONGEST ((size_t)2 * 3600 * PCM_RATE)

/* Invariant: the extractors of beats and parts are there while samples <= longest, then all NULL; early then
 * has what they knew of the whole. */
struct analysis {
    size_t samples, longest;
    struct features early;
    struct onset *onset;
    struct chroma *chroma;
    struct timbre *timbre;
    struct net *net;
    struct mel *mel;
    struct loudness *loudness;
    struct course *course;
    struct dance *dance;
    struct vocal *vocal;
    struct fingerprint *fingerprint;
    struct wave *wave;
};

struct analysis *analysis_new(void)
{
    struct analysis *analysis = xcalloc(1, sizeof *analysis);
    analysis->longest = LONGEST;
    features_init(&analysis->early);
    analysis->onset = onset_new();
    analysis->chroma = chroma_new();
    analysis->timbre = timbre_new();
    analysis->net = net_new();
    analysis->mel = mel_new(net_feed, analysis->net);
    analysis->loudness = loudness_new();
    analysis->course = course_new();
    analysis->dance = dance_new();
    analysis->vocal = vocal_new();
    timbre_listen(analysis->timbre, vocal_spectrum, analysis->vocal);
    analysis->fingerprint = fingerprint_new();
    analysis->wave = wave_new();
    return analysis;
}

void analysis_limit(struct analysis *analysis, size_t longest)
{
    analysis->longest = longest;
}

static void free_detail(struct analysis *analysis)
{
    onset_free(analysis->onset);
    chroma_free(analysis->chroma);
    timbre_free(analysis->timbre);
    mel_free(analysis->mel);
    net_free(analysis->net);
    course_free(analysis->course);
    dance_free(analysis->dance);
    vocal_free(analysis->vocal);
    analysis->onset = NULL;
    analysis->chroma = NULL;
    analysis->timbre = NULL;
    analysis->mel = NULL;
    analysis->net = NULL;
    analysis->course = NULL;
    analysis->dance = NULL;
    analysis->vocal = NULL;
}

void analysis_free(struct analysis *analysis)
{
    if (!analysis) return;
    free_detail(analysis);
    loudness_free(analysis->loudness);
    fingerprint_free(analysis->fingerprint);
    wave_free(analysis->wave);
    free(analysis);
}

static void take_key(const struct analysis *analysis, struct features *f)
{
    struct key_result key = key_find(analysis->chroma);
    f->key = key.key;
    f->key_confidence = key.key >= 0 ? key.confidence : NAN;
    for (int k = 0; key.key >= 0 && k < 24; k++)
        f->key_scores[k] = (float)fmax(0, key.score[k] / key.score[key.key]);
}

/* What is one value for the whole recording, kept as its length goes beyond the limit. */
static void give_up_detail(struct analysis *analysis)
{
    chroma_finish(analysis->chroma);
    timbre_finish(analysis->timbre);
    take_key(analysis, &analysis->early);
    timbre_summary(analysis->timbre, analysis->early.timbre);
    free_detail(analysis);
}

void analysis_feed(struct analysis *analysis, const float *pcm, size_t samples)
{
    float mono[CHUNK];
    analysis->samples += samples;
    if (analysis->onset && analysis->samples > analysis->longest) give_up_detail(analysis);
    loudness_feed(analysis->loudness, pcm, samples);
    fingerprint_feed(analysis->fingerprint, pcm, samples);
    while (samples) {
        size_t n = samples < CHUNK ? samples : CHUNK;
        for (size_t i = 0; i < n; i++) {
            mono[i] = 0.5f * (pcm[2 * i] + pcm[2 * i + 1]);
            /* a float file may hold anything; nothing here may become infinite */
            if (!(fabsf(mono[i]) < 1e3f)) mono[i] = 0;
        }
        wave_feed(analysis->wave, mono, n);
        if (analysis->onset) {
            course_feed(analysis->course, pcm, n);
            dance_feed(analysis->dance, mono, n);
            onset_feed(analysis->onset, mono, n);
            chroma_feed(analysis->chroma, mono, n);
            timbre_feed(analysis->timbre, mono, n);
            mel_feed(analysis->mel, mono, n);
        }
        pcm += n * PCM_CHANNELS;
        samples -= n;
    }
}

static void take_accents(const struct analysis *analysis, struct features *f, const struct series *novelty,
                         struct accents *accents)
{
    *accents = accents_find(novelty);
    f->onset_density = (double)accents->count / (f->music_end_s - f->music_start_s);
    f->energy = character_energy(f->loud_part_lufs, f->onset_density, timbre_centroid_hz(analysis->timbre));
}

static void take_beats(const struct analysis *analysis, struct features *f, struct accents *accents)
{
    struct onset_curves *curves = onset_curves(analysis->onset);
    struct rows rows = {chroma_rows(analysis->chroma), chroma_bass_rows(analysis->chroma),
                        timbre_rows(analysis->timbre)};
    novelty_normalise(curves);
    struct clues clues;
    clues_init(&clues, curves, &rows, net_odds(analysis->net));
    struct beats beats = beats_find(&clues, f->music_start_s, f->music_end_s);
    struct downbeats downbeats = downbeats_find(&beats, &clues);
    f->tempo_confidence = beats.confidence;
    f->tempo_bpm = beats.bpm;
    f->metre = downbeats.metre;
    f->danceability = character_danceability(dance_exponent(analysis->dance), character_pulse(curves, &beats),
                                             beats.bpm, beats.confidence);
    take_accents(analysis, f, &clues.novelty, accents);
    struct hold hold = hold_find(&beats, &clues, accents);
    f->steady_from_s = hold.from_s;
    f->steady_to_s = hold.to_s;
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
    clues_free(&clues);
}

/* Bars, the phrases they make, and the parts these make. */
static void take_parts(const struct analysis *analysis, struct features *f, const struct accents *accents)
{
    const struct series *texture = timbre_rows(analysis->timbre);
    const struct bar_sources sources = {
        .chroma = chroma_rows(analysis->chroma),
        .bass = chroma_bass_rows(analysis->chroma),
        .tonality = chroma_tonality(analysis->chroma),
        .loudness = course_loudness(analysis->course),
        .levels = timbre_levels(analysis->timbre),
        .vocal = vocal_rows(analysis->vocal),
        .accents = accents,
    };
    struct phrases phrases = {-1, -1, 0};
    f->bars = bars_measure(&sources, f->downbeats_s, f->downbeat_count, f->music_end_s);
    f->bar_count = f->downbeat_count;
    if (f->bar_count) {
        double end_s = bars_end_s(f->downbeats_s, f->bar_count, f->bar_count - 1, f->music_end_s);
        struct barrows rows = barrows_make(f->bars, f->bar_count, texture, f->downbeats_s, end_s);
        phrases = phrases_find(&rows);
        barrows_free(&rows);
        f->phrase_bar = phrases.first8;
        f->phrase16_bar = phrases.first16;
        if (phrases.first8 >= 0) f->phrase_confidence = phrases.confidence;
    }
    struct course_bars where =
        structure_bars(f->downbeats_s, f->downbeat_count, f->music_start_s, f->music_end_s);
    struct bar *bars = bars_measure(&sources, where.start_s, where.count, f->music_end_s);
    struct barrows rows = barrows_make(bars, where.count, texture, where.start_s, f->music_end_s);
    f->sections = structure_find(&where, bars, &rows, &phrases, &f->section_count);
    barrows_free(&rows);
    free(bars);
    free(where.start_s);
}

static void take_detail(struct analysis *analysis, struct features *f)
{
    struct accents accents = {0};
    onset_finish(analysis->onset);
    chroma_finish(analysis->chroma);
    timbre_finish(analysis->timbre);
    course_finish(analysis->course);
    vocal_finish(analysis->vocal);
    mel_finish(analysis->mel);
    net_finish(analysis->net);
    take_key(analysis, f);
    timbre_summary(analysis->timbre, f->timbre);
    take_beats(analysis, f, &accents);
    take_parts(analysis, f, &accents);
    f->vocal = vocal_share(analysis->vocal, f->music_start_s, f->music_end_s);
    free(accents.time_s);
}

int analysis_finish(struct analysis *analysis, struct features *out, char **cause)
{
    struct loudness_result loudness;
    loudness_finish(analysis->loudness, &loudness);
    if (!analysis->samples) return cause_set(cause, "it holds no sound");
    if (loudness.end_s <= loudness.start_s) return cause_set(cause, "it is silent throughout");
    out->version = ANALYSIS_VERSION;
    out->duration_s = (double)analysis->samples / PCM_RATE;
    out->music_start_s = loudness.start_s;
    out->music_end_s = loudness.end_s;
    out->loudness_lufs = loudness.integrated_lufs;
    out->loudness_range_lu = loudness.range_lu;
    out->loud_part_lufs = loudness.loud_lufs;
    out->true_peak_dbtp = loudness.true_peak_dbtp;
    out->loudness_curve = loudness_curve(analysis->loudness, &out->loudness_count);
    out->fade_in_s = loudness.fade_in_s;
    out->fade_out_s = loudness.fade_out_s;
    if (analysis->onset) {
        take_detail(analysis, out);
    } else {
        out->key = analysis->early.key;
        out->key_confidence = analysis->early.key_confidence;
        memcpy(out->key_scores, analysis->early.key_scores, sizeof out->key_scores);
        memcpy(out->timbre, analysis->early.timbre, sizeof out->timbre);
    }
    out->fingerprint = fingerprint_finish(analysis->fingerprint);
    return 0;
}

uint8_t *analysis_wave(struct analysis *analysis, size_t *len)
{
    return wave_finish(analysis->wave, len);
}
