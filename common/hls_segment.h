/* hls_segment: a segment's bytes, tag and frames, shared by all answers that carry it. */
#ifndef FOREVER_COMMON_HLS_SEGMENT_H
#define FOREVER_COMMON_HLS_SEGMENT_H
#include <stddef.h>
#include <stdint.h>

#include "common/ring.h"

struct evbuffer;
struct hls_segment;

/* `frames` frames from position on; NULL when the ring no longer (or not yet) has them, or memory is out. The
 * caller has the first reference. */
struct hls_segment *hls_segment_new(const struct ring *ring, uint32_t branch, uint64_t position,
                                    unsigned frames);
void hls_segment_release(struct hls_segment *segment);
/* Appends the bytes without copying them; the buffer takes a reference of its own. 0; -1: memory is out. */
int hls_segment_append(struct hls_segment *segment, struct evbuffer *out);
size_t hls_segment_bytes(const struct hls_segment *segment);
/* True when it is that one. */
int hls_segment_is(const struct hls_segment *segment, const struct ring *ring, uint32_t branch,
                   uint64_t position);

#endif
