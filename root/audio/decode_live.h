/* decode_live: a stream that somebody sends, to PCM as it comes (part of decode: libav stays behind it).
 *
 * Unlike a file it has no length, can't be sought in, may begin in the middle of a frame (MP3, ADTS) and may
 * change its title, its rate or its channels as it goes (chained Ogg). What is broken is skipped; a stream of
 * which nothing can be decoded for GARBAGE_BYTES is an error. */
#ifndef FOREVER_ROOT_AUDIO_DECODE_LIVE_H
#define FOREVER_ROOT_AUDIO_DECODE_LIVE_H
#include <stddef.h>
#include <stdint.h>

struct live_decoder;

/* Up to `size` bytes: how many, 0 at the end, -1 when it is time to stop. May block. */
typedef long (*live_decoder_read)(void *context, uint8_t *bytes, size_t size);

/* type: the HTTP content type, which names the container; NULL or one that is not known: found out from the
 * bytes. 0, or -1 with *cause (also when the stream ends before there is anything to hear). */
int live_decoder_open(struct live_decoder **out, const char *type, live_decoder_read read, void *context,
                      char **cause);
void live_decoder_close(struct live_decoder *decoder); /* NULL is fine */
/* The next samples, in the house format, valid until the next call: how many; 0 at the end; -1 with *cause.
 */
long live_decoder_pcm(struct live_decoder *decoder, const float **pcm, char **cause);
/* A title the stream has announced since the last call, fresh memory; NULL: none. */
char *live_decoder_title(struct live_decoder *decoder);

#endif
