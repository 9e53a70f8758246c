/* pcm: the sample format inside the workers: float, stereo, interleaved, 44.1 kHz, full scale 1.0. A "frame"
 * of PCM is one sample of both channels; the word sample means that throughout root/. */
#ifndef FOREVER_ROOT_AUDIO_PCM_H
#define FOREVER_ROOT_AUDIO_PCM_H

#include <math.h>
#include <stdint.h>

#define PCM_RATE     44100
#define PCM_CHANNELS 2

/* 16 bits, where memory counts: full scale is PCM_SHORT, so that 6 dB above it are kept. */
#define PCM_SHORT 16384.0f
static inline int16_t pcm_short(float x)
{
    x *= PCM_SHORT;
    return (int16_t)(x >= INT16_MAX ? INT16_MAX : x <= INT16_MIN ? INT16_MIN : lrintf(x));
}

#endif
