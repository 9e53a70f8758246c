/* drums: synthesised strokes, and the analysis of what they make, for the tests of the beats. */
#ifndef FOREVER_TESTS_UNIT_DRUMS_H
#define FOREVER_TESTS_UNIT_DRUMS_H
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "root/analysis/beat.h"
#include "root/analysis/downbeat.h"
#include "root/analysis/key.h"
#include "root/analysis/novelty.h"
#include "root/analysis/timbre.h"
#include "root/audio/pcm.h"

static uint32_t state; /* of the noise: set it first */

static inline double noise(void)
{
    state = state * 1664525u + 1013904223u;
    return (double)(int32_t)state / 2147483648.0;
}

/* ---- drums ---- */

struct sound {
    float *pcm;
    size_t samples;
};

static inline struct sound sound_new(double seconds)
{
    struct sound s = {.samples = (size_t)(seconds * PCM_RATE)};
    s.pcm = calloc(s.samples, sizeof *s.pcm);
    return s;
}

static inline void kick(struct sound *s, double at_s, double gain)
{
    size_t from = (size_t)lround(at_s * PCM_RATE);
    double phase = 0;
    for (size_t i = 0; i < PCM_RATE / 5 && from + i < s->samples; i++) {
        double t = (double)i / PCM_RATE;
        phase += 2 * M_PI * (50 + 150 * exp(-t / 0.02)) / PCM_RATE;
        s->pcm[from + i] += (float)(gain * (sin(phase) * exp(-t / 0.06) + 0.2 * noise() * exp(-t / 0.003)));
    }
}

static inline void burst(struct sound *s, double at_s, double gain, double decay_s)
{
    size_t from = (size_t)lround(at_s * PCM_RATE);
    double last = 0;
    for (size_t i = 0; i < PCM_RATE / 4 && from + i < s->samples; i++) {
        double x = noise();
        s->pcm[from + i] += (float)(gain * (x - 0.7 * last) * exp(-(double)i / PCM_RATE / decay_s));
        last = x;
    }
}

/* A note with overtones that die away, the higher the sooner. */
static inline void pluck(struct sound *s, double at_s, double hz, double gain)
{
    size_t from = (size_t)lround(at_s * PCM_RATE);
    for (size_t i = 0; i < PCM_RATE && from + i < s->samples; i++) {
        double t = (double)i / PCM_RATE, attack = fmin(1, t / 0.004);
        for (int h = 1; h <= 4; h++)
            s->pcm[from + i] +=
                (float)(gain / h * attack * sin(2 * M_PI * h * hz * t) * exp(-t * (1 + h) / 0.5));
    }
}

/* A rock beat: kick on 1 (and 3), snare on 2 and 4 (or on 3 of 3), hats on every half beat; from 170 BPM a
 * kick on every beat and no snare, for a fast rock beat is as well a slow one. */
static inline struct sound drums(double bpm, double offset_s, int metre, double seconds)
{
    struct sound s = sound_new(seconds);
    double beat = 60 / bpm;
    for (int k = 0; offset_s + k * beat < seconds; k++) {
        double t = offset_s + k * beat;
        int place = k % metre;
        if (place == 0) kick(&s, t, 0.8);
        if (metre == 4 && (place == 2 || bpm >= 170)) kick(&s, t, bpm >= 170 ? 0.8 : 0.6);
        if (metre == 4 ? place % 2 == 1 && bpm < 170 : place == 2) burst(&s, t, 0.4, 0.05);
        burst(&s, t, 0.1, 0.015);
        burst(&s, t + beat / 2, 0.1, 0.015);
    }
    return s;
}

/* A bass note and a chord that change at every bar. */
static inline void harmony(struct sound *s, double bar_s, double offset_s)
{
    static const double root_hz[4] = {110.0, 87.31, 130.81, 98.0};
    for (size_t i = 0; i < s->samples; i++) {
        double t = (double)i / PCM_RATE;
        int bar = (int)floor((t - offset_s) / bar_s + 1e-9);
        double hz = root_hz[((bar % 4) + 4) % 4];
        s->pcm[i] +=
            (float)(0.05 * (sin(2 * M_PI * hz * t) + sin(4 * M_PI * hz * t) + sin(3 * M_PI * hz * t)));
    }
}

/* ---- what is heard ---- */

struct heard {
    struct beats beats;
    struct downbeats downbeats;
};

/* All that the beat is looked for in; the clues borrow of the rest. */
struct ear {
    struct onset *onset;
    struct chroma *chroma;
    struct timbre *timbre;
    struct net *net;
    struct mel *mel;
    struct clues clues;
};

static inline void ear_listen(struct ear *ear, const struct sound *s)
{
    *ear =
        (struct ear){.onset = onset_new(), .chroma = chroma_new(), .timbre = timbre_new(), .net = net_new()};
    ear->mel = mel_new(net_feed, ear->net);
    onset_feed(ear->onset, s->pcm, s->samples);
    chroma_feed(ear->chroma, s->pcm, s->samples);
    timbre_feed(ear->timbre, s->pcm, s->samples);
    mel_feed(ear->mel, s->pcm, s->samples);
    onset_finish(ear->onset);
    chroma_finish(ear->chroma);
    timbre_finish(ear->timbre);
    mel_finish(ear->mel);
    net_finish(ear->net);
    struct onset_curves *curves = onset_curves(ear->onset);
    novelty_normalise(curves);
    struct rows rows = {chroma_rows(ear->chroma), chroma_bass_rows(ear->chroma), timbre_rows(ear->timbre)};
    clues_init(&ear->clues, curves, &rows, net_odds(ear->net));
}

static inline void ear_free(struct ear *ear)
{
    clues_free(&ear->clues);
    onset_free(ear->onset);
    chroma_free(ear->chroma);
    timbre_free(ear->timbre);
    mel_free(ear->mel);
    net_free(ear->net);
}

static inline struct heard hear(const struct sound *s)
{
    struct ear ear;
    ear_listen(&ear, s);
    struct heard heard = {.beats = beats_find(&ear.clues, 0, (double)s->samples / PCM_RATE)};
    heard.downbeats = downbeats_find(&heard.beats, &ear.clues);
    ear_free(&ear);
    return heard;
}

/* Regions follow each other, of 16 beats at least, and say where each beat is, none before 0. */
static inline void check_regions(const struct beats *beats)
{
    size_t next = 0;
    for (size_t r = 0; r < beats->region_count; r++) {
        const struct region *region = &beats->regions[r];
        assert_int_equal(region->first_beat, next);
        assert_true(region->beats >= REGION_BEATS);
        for (size_t i = 0; i < region->beats; i++)
            assert_true(fabs(fmax(0, region->start_s + (double)i * region->period_s) -
                             beats->time_s[next + i]) < 1e-6);
        next += region->beats;
    }
    assert_int_equal(next, beats->count);
}

#endif
