/* What makes a session's bytes independent of where it started:
 *   - no bit reservoir, so no bits are carried from frame to frame;
 *   - the start on a period of the padding pattern, which is LAME's only endless memory then;
 *   - no adaptive threshold of hearing: it would follow the loudness with a decay that can outlast the
 * priming (a quiet passage after a loud one). All other memories (filterbank, masking of the last granules,
 * the 19 granules of smoothed perceptual entropy, the step the quantiser's search begins with) end sooner.
 * Quality preset 3: 190 times real time at 192 kbit/s on one core. 2 costs half as much again and its noise
 * lay no lower beneath the masking threshold (0.2 to 1.3 dB higher on the music it was tried with), 5 and up
 * no longer shape the noise of each band. */
#include "root/audio/encode.h"

#include <lame/lame.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/mp3.h"
#include "root/audio/pcm.h"

#define QUALITY 3
/* LAME's own bound for one call, 1.25 * samples + 7200 */
#define OUT_BYTES (MP3_FRAME_SAMPLES * 5 / 4 + 7200)

struct encoder {
    lame_global_flags *lame;
    unsigned kbps;
    uint64_t first; /* frame that emit sees first */
    uint64_t start; /* frame the session began with */
    uint64_t next;  /* frame that comes out of LAME next */
    size_t held;    /* bytes in out: what LAME gave of frames not complete yet */
    uint8_t out[OUT_BYTES];
};

struct encoder *encoder_new(unsigned kbps, uint64_t first_frame, char **cause)
{
    if (!mp3_kbps_valid(kbps)) {
        cause_set(cause, "%u kbit/s is no bit rate of MPEG-1 Layer III from %d to %d", kbps, MP3_KBPS_MIN,
                  MP3_KBPS_MAX);
        return NULL;
    }
    struct encoder *encoder = xcalloc(1, sizeof *encoder);
    uint64_t period = first_frame / MP3_PERIOD_FRAMES;
    encoder->kbps = kbps;
    encoder->first = first_frame;
    encoder->start = encoder->next = (period ? period - 1 : 0) * MP3_PERIOD_FRAMES;
    lame_global_flags *lame = encoder->lame = lame_init();
    if (!lame) abort();
    lame_set_in_samplerate(lame, PCM_RATE);
    lame_set_out_samplerate(lame, PCM_RATE);
    lame_set_num_channels(lame, PCM_CHANNELS);
    lame_set_mode(lame, JOINT_STEREO);
    lame_set_VBR(lame, vbr_off);
    lame_set_brate(lame, (int)kbps);
    lame_set_quality(lame, QUALITY);
    lame_set_disable_reservoir(lame, 1);
    lame_set_athaa_type(lame, 0);
    lame_set_bWriteVbrTag(lame, 0);
    lame_set_write_id3tag_automatic(lame, 0);
    if (lame_init_params(lame) < 0) {
        encoder_free(encoder);
        cause_set(cause, "LAME refuses %u kbit/s", kbps);
        return NULL;
    }
    return encoder;
}

void encoder_free(struct encoder *encoder)
{
    if (!encoder) return;
    lame_close(encoder->lame);
    free(encoder);
}

uint64_t encoder_first_sample(const struct encoder *encoder)
{
    return encoder->start * MP3_FRAME_SAMPLES;
}

int encoder_feed(struct encoder *encoder, const float *pcm,
                 void (*emit)(void *context, uint64_t frame, const uint8_t *bytes, size_t len), void *context,
                 char **cause)
{
    int n = lame_encode_buffer_interleaved_ieee_float(encoder->lame, pcm, MP3_FRAME_SAMPLES,
                                                      encoder->out + encoder->held,
                                                      (int)(sizeof encoder->out - encoder->held));
    if (n < 0) return cause_set(cause, "LAME failed (%d)", n);
    encoder->held += (size_t)n;
    size_t at = 0, len;
    while ((len = mp3_frame_bytes(encoder->kbps, encoder->next)) <= encoder->held - at) {
        const uint8_t *frame = encoder->out + at;
        if (mp3_frames_check(encoder->kbps, encoder->next, 1, frame, len, cause)) return -1;
        if (encoder->next >= encoder->first) emit(context, encoder->next, frame, len);
        encoder->next++;
        at += len;
    }
    encoder->held -= at;
    memmove(encoder->out, encoder->out + at, encoder->held);
    return 0;
}

const char *encode_library(void)
{
    return get_lame_version();
}
