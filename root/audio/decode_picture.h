/* decode_picture: a cover's pixels, as far as its colours are asked for. */
#ifndef FOREVER_ROOT_AUDIO_DECODE_PICTURE_H
#define FOREVER_ROOT_AUDIO_DECODE_PICTURE_H
#include <stddef.h>
#include <stdint.h>

#define PICTURE_SAMPLES_MAX (96 * 96)

/* Pixels of a JPEG or PNG picture, evenly spread over it: sRGB, three bytes each, transparent ones left out.
 * rgb has room for PICTURE_SAMPLES_MAX; how many were written, which may be none; -1 with an owned *cause
 * when it is no such picture, is broken, or is so large that decoding would take too much memory or time. */
long decode_picture(const uint8_t *bytes, size_t len, uint8_t (*rgb)[3], char **cause);

#endif
