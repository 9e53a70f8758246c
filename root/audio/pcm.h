/* pcm: the sample format inside the workers: float, stereo, interleaved, 44.1 kHz, full scale 1.0. A "frame"
 * of PCM is one sample of both channels; the word sample means that throughout root/. */
#ifndef FOREVER_ROOT_AUDIO_PCM_H
#define FOREVER_ROOT_AUDIO_PCM_H

#define PCM_RATE     44100
#define PCM_CHANNELS 2

#endif
