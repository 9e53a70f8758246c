/* waves: waveforms, by track, as analysis serialised them. */
#ifndef FOREVER_ROOT_LIBRARY_WAVES_H
#define FOREVER_ROOT_LIBRARY_WAVES_H
#include <stddef.h>
#include <stdint.h>

struct library;

int waves_store(struct library *library, int64_t track, const void *bytes, size_t len); /* replaces */
/* 1 with owned *bytes; 0: none; -1. */
int waves_load(struct library *library, int64_t track, uint8_t **bytes, size_t *len);

#endif
