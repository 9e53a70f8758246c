/* encode: PCM to MP3 frames with absolute numbers (the only file that knows LAME).
 *
 * CBR, 44.1 kHz joint stereo, no bit reservoir, no Xing frame. A session that starts at a frame number
 * divisible by MP3_PERIOD_FRAMES gives, after MP3_PERIOD_FRAMES frames of priming, the very bytes of one that
 * never stopped: encoder_new takes the first frame wanted and works that out; the caller feeds PCM from
 * encoder_first_sample() on. Frame n comes out once the samples up to n * 1152 + ENCODE_AHEAD are in. */
#ifndef FOREVER_ROOT_AUDIO_ENCODE_H
#define FOREVER_ROOT_AUDIO_ENCODE_H
#include <stddef.h>
#include <stdint.h>

#define ENCODE_AHEAD 1376 /* samples the psychoacoustic model looks beyond the frame's start */

struct encoder;
/* NULL with *cause when the bit rate is none. */
struct encoder *encoder_new(unsigned kbps, uint64_t first_frame, char **cause);
void encoder_free(struct encoder *encoder);
uint64_t encoder_first_sample(const struct encoder *encoder);
/* One frame's worth (1152 stereo samples, taken as they follow each other) in; frames that are due, priming
 * already dropped, are handed to emit (0..2 of them). -1 with *cause on an encoder failure. */
int encoder_feed(struct encoder *encoder, const float *pcm,
                 void (*emit)(void *context, uint64_t frame, const uint8_t *bytes, size_t len), void *context,
                 char **cause);
const char *encode_library(void); /* "3.100", of LAME */

#endif
