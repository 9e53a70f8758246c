/* decode_meta: what a container says about its music (part of decode: libavformat's types stay behind it). */
#ifndef FOREVER_ROOT_AUDIO_DECODE_META_H
#define FOREVER_ROOT_AUDIO_DECODE_META_H
#include <stddef.h>
#include <stdint.h>

#include "root/track.h"

struct AVFormatContext;

/* Tags of the stream and of the container (the container's win), as clean UTF-8: text in another encoding is
 * read as Latin-1, control characters become spaces. out is empty before; free with tags_free. */
void decode_meta_tags(const struct AVFormatContext *format, int stream, struct tags *out);
/* The attached picture as fresh memory, NULL when there is none or it is too large. *mime is static. */
uint8_t *decode_meta_art(const struct AVFormatContext *format, size_t *len, const char **mime);

#endif
