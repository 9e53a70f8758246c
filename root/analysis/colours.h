/* colours: the prominent ones of a picture. */
#ifndef FOREVER_ROOT_ANALYSIS_COLOURS_H
#define FOREVER_ROOT_ANALYSIS_COLOURS_H
#include <stddef.h>
#include <stdint.h>

#include "root/track.h"

/* From count pixels, sRGB: how many colours were found (0xRRGGBB), at most COLOURS_MAX, the most prominent
 * first, all of them different to the eye. The same pixels give the same colours. */
size_t colours_find(const uint8_t (*rgb)[3], size_t count, uint32_t out[COLOURS_MAX]);

#endif
