/* frames: programme frames for tests, without an encoder.
 *
 * Each is a correct frame of a constant bit rate stream without reservoir: header and padding as the
 * station's encoder sets them, empty side information (a decoder hears silence), then a payload that is a
 * pure function of (seed, frame number), free of bytes that look like a header. So two sources with one seed
 * give the same bytes, as a restarted studio does, and another seed gives others. */
#ifndef FOREVER_TESTS_UNIT_FRAMES_H
#define FOREVER_TESTS_UNIT_FRAMES_H
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mp3.h"
#include "tests/draw.h"

#define FRAMES_HEAD_BYTES 36 /* header and side information of two channels */

/* A pure function that spreads well. */
static inline uint64_t frames_hash(uint64_t x)
{
    return draw_bits(&x);
}

/* The environment's, or the one given, which is printed. */
static inline uint64_t frames_seed(const char *name, uint64_t otherwise)
{
    const char *given = getenv(name);
    uint64_t seed = given ? strtoull(given, NULL, 0) : otherwise;
    fprintf(stderr, "%s=%" PRIu64 "\n", name, seed);
    return seed;
}

/* Bytes of the frames [frame, frame + count). */
static inline size_t frames_bytes(unsigned kbps, uint64_t frame, unsigned count)
{
    return (size_t)(mp3_frame_offset(kbps, frame + count) - mp3_frame_offset(kbps, frame));
}

/* Writes one frame to out (room for MP3_FRAME_MAX_BYTES); its length. */
static inline size_t frames_one(uint8_t *out, unsigned kbps, uint64_t frame, uint64_t seed)
{
    static const unsigned table[15] = {0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320};
    unsigned index = 0;
    while (index < 15 && table[index] != kbps)
        index++;
    if (index == 15) abort();
    size_t bytes = mp3_frame_bytes(kbps, frame);
    unsigned padding = bytes > (size_t)144000 * kbps / MP3_RATE;
    memset(out, 0, FRAMES_HEAD_BYTES);
    out[0] = 0xff;
    out[1] = 0xfb;
    out[2] = (uint8_t)(index << 4 | padding << 1);
    out[3] = 0x40; /* joint stereo */
    uint64_t x = 0;
    for (size_t i = FRAMES_HEAD_BYTES; i < bytes; i++) {
        if (i % 8 == 4) x = frames_hash(seed ^ frames_hash(frame) ^ i); /* 36 % 8 == 4: set at the first */
        out[i] = x >> (i % 8 * 8) & 0x7f;
    }
    return bytes;
}

/* Fresh memory with the frames [frame, frame + count); *len is set. The caller frees. */
static inline uint8_t *frames_make(unsigned kbps, uint64_t frame, unsigned count, uint64_t seed, size_t *len)
{
    uint8_t *out = malloc(frames_bytes(kbps, frame, count) + 1);
    if (!out) abort();
    *len = 0;
    for (unsigned i = 0; i < count; i++)
        *len += frames_one(out + *len, kbps, frame + i, seed);
    return out;
}

#endif
