/* verify: is what a listener was sent the programme, byte for byte?
 *
 * A node of ours says at which position its answer begins, so every byte has a place in the endless stream.
 * The first listener to get a byte sets it down in a reference (the last few minutes, shared by all listeners
 * of a bit rate, whatever node serves them), where the frames' headers are checked at the places the formula
 * demands; everybody else's bytes are compared with it. So equality across nodes and continuity within each
 * connection are one check. Other servers' streams are walked from frame header to frame header instead. */
#ifndef FOREVER_LOAD_VERIFY_H
#define FOREVER_LOAD_VERIFY_H
#include <stddef.h>
#include <stdint.h>

struct load_reference;

/* size: bytes kept, a power of two. */
struct load_reference *load_reference_new(unsigned kbps, size_t size);
void load_reference_free(struct load_reference *reference);
unsigned load_reference_kbps(const struct load_reference *reference);
/* Bytes [at, at + len) as a listener got them. 0 when they are right or too old or too new to be compared,
 * -1 when they differ or are no frames. */
int load_reference_check(struct load_reference *reference, uint64_t at, const uint8_t *bytes, size_t len);
/* Bytes that were compared with what somebody else got. */
uint64_t load_reference_compared(const struct load_reference *reference);

/* A walk along frames of any MPEG-1 Layer III stream, which may begin in mid-frame. */
struct load_walk {
    uint32_t left;   /* bytes to the next header */
    uint8_t head[4]; /* of the next header, so far */
    uint8_t have, synced;
    uint64_t frames;
};
/* 0, or -1 when no header stood where one was due (it then looks for the next). */
int load_walk(struct load_walk *walk, const uint8_t *bytes, size_t len);

#endif
