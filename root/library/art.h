/* art: cover pictures, by track. */
#ifndef FOREVER_ROOT_LIBRARY_ART_H
#define FOREVER_ROOT_LIBRARY_ART_H
#include <stddef.h>
#include <stdint.h>

struct library;

/* Replaces. -1 also when the type is no picture a browser may be given (JPEG, PNG, WebP, GIF, AVIF, BMP). */
int art_store(struct library *library, int64_t track, const char *mime, const void *bytes, size_t len);
/* 1 with owned *mime and *bytes; 0: none; -1. */
int art_load(struct library *library, int64_t track, char **mime, uint8_t **bytes, size_t *len);

#endif
