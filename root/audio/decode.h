/* decode: any supported file to PCM (the only file that knows libavformat, libavcodec, libswresample).
 *
 * Works on a descriptor, never on a path, so that a worker needs no right to open files. Sample 0 is the
 * first one the container says is music (encoder delay skipped where it is stated); positions are exact,
 * because decoding always runs from the start: seeking forward decodes and drops, seeking back starts anew.
 * The same file gives the same samples every time. Mono is put on both channels; more than two are mixed down
 * (ITU-R BS.775). A broken packet in the middle is skipped and counted; a file that gives no sound, claims
 * more than 24 h, is encrypted, or fails a third of its packets is an error with a reason in plain words. */
#ifndef FOREVER_ROOT_AUDIO_DECODE_H
#define FOREVER_ROOT_AUDIO_DECODE_H
#include <stddef.h>
#include <stdint.h>

#include "root/track.h"

struct decoder;

/* Takes over fd, also on failure. 0, or -1 with an owned *cause. */
int decode_open(struct decoder **out, int fd, char **cause);
/* The same, for one who wants the attached picture too, which is up to 4 MB. */
int decode_open_art(struct decoder **out, int fd, char **cause);
void decode_close(struct decoder *decoder);
/* Up to `samples` stereo samples into out; fewer only at the end; 0 = end; -1 with *cause. */
long decode_read(struct decoder *decoder, float *out, size_t samples, char **cause);
/* The next read starts at this sample. 0; 1 when the music ends before it; -1 with *cause. */
int decode_seek(struct decoder *decoder, uint64_t sample, char **cause);
/* From now on call(context) is called with each second that a seek drops: hours of music take a minute. NULL:
 * no more. */
void decode_on_seek(void (*call)(void *context), void *context);
uint64_t decode_position(const struct decoder *decoder);
double decode_duration_s(const struct decoder *decoder); /* as the container says; NAN unknown */
const struct tags *decode_tags(const struct decoder *decoder);
/* Attached picture; NULL when there is none (or over 4 MB), or with decode_open. Owned by the decoder. */
const uint8_t *decode_art(const struct decoder *decoder, size_t *len, const char **mime);
unsigned decode_errors(const struct decoder *decoder);    /* packets dropped so far */
const char *decode_format(const struct decoder *decoder); /* "mp3", "flac", ... */
char *decode_library(void); /* "libavcodec 59.37.100, libswresample 4.7.100"; owned by the caller */

#endif
