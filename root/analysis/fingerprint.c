#include "root/analysis/fingerprint.h"

#include <chromaprint.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/mem.h"
#include "root/audio/pcm.h"

#define LONGEST ((size_t)120 * PCM_RATE) /* samples */
#define CHUNK   1024

struct fingerprint {
    ChromaprintContext *context;
    size_t taken;
    int failed;
};

struct fingerprint *fingerprint_new(void)
{
    struct fingerprint *fingerprint = xcalloc(1, sizeof *fingerprint);
    fingerprint->context = chromaprint_new(CHROMAPRINT_ALGORITHM_DEFAULT);
    fingerprint->failed =
        !fingerprint->context || !chromaprint_start(fingerprint->context, PCM_RATE, PCM_CHANNELS);
    return fingerprint;
}

void fingerprint_free(struct fingerprint *fingerprint)
{
    if (!fingerprint) return;
    if (fingerprint->context) chromaprint_free(fingerprint->context);
    free(fingerprint);
}

void fingerprint_feed(struct fingerprint *fingerprint, const float *pcm, size_t samples)
{
    int16_t chunk[CHUNK * PCM_CHANNELS];
    if (samples > LONGEST - fingerprint->taken) samples = LONGEST - fingerprint->taken;
    fingerprint->taken += samples;
    while (samples && !fingerprint->failed) {
        size_t n = samples < CHUNK ? samples : CHUNK;
        for (size_t i = 0; i < n * PCM_CHANNELS; i++) {
            chunk[i] = (int16_t)lrintf(fmaxf(-1, fminf(1, pcm[i])) * 32767);
        }
        if (!chromaprint_feed(fingerprint->context, chunk, (int)(n * PCM_CHANNELS))) fingerprint->failed = 1;
        pcm += n * PCM_CHANNELS;
        samples -= n;
    }
}

char *fingerprint_finish(struct fingerprint *fingerprint)
{
    char *text = NULL;
    if (fingerprint->failed || !chromaprint_finish(fingerprint->context)) return NULL;
    if (!chromaprint_get_fingerprint(fingerprint->context, &text)) return NULL;
    char *copy = text && text[0] ? xstrdup(text) : NULL;
    if (text) chromaprint_dealloc(text);
    return copy;
}
