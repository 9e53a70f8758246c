/* drums: synthesised strokes, and the analysis of what they make, for the tests of the beats. */
#ifndef FOREVER_TESTS_UNIT_DRUMS_H
#define FOREVER_TESTS_UNIT_DRUMS_H
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

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

#endif
