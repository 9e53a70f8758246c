#include "common/hls_segment.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mp3.h"

#define TAG_MAX   2048
#define TEXT_MAX  400 /* bytes of a title or an artist */
#define TAG_HEAD  10
#define ID3_UTF8  3
#define CLOCK_33  ((UINT64_C(1) << 33) - 1)
#define TIMESTAMP "com.apple.streaming.transportStreamTimestamp" /* RFC 8216, 3.4 */

struct hls_segment {
    const struct ring *ring; /* for its name only */
    uint64_t position;
    uint32_t branch;
    unsigned references;
    size_t len;
    uint8_t bytes[];
};

/* The tag: ID3v2.4.0, sizes in 7 bits a byte ("syncsafe"). */

struct tag {
    uint8_t bytes[TAG_MAX];
    size_t len;
};

static void put_syncsafe(uint8_t *out, size_t value)
{
    for (int i = 3; i >= 0; i--, value >>= 7)
        out[i] = value & 0x7f;
}

/* One frame of up to three pieces; one that does not fit is left out whole. */
static void put_frame(struct tag *tag, const char *id, const void *a, size_t a_len, const void *b,
                      size_t b_len)
{
    size_t len = a_len + b_len;
    if (tag->len + TAG_HEAD + len > sizeof tag->bytes) return;
    uint8_t *out = tag->bytes + tag->len;
    memcpy(out, id, 4);
    put_syncsafe(out + 4, len);
    out[8] = out[9] = 0;
    memcpy(out + TAG_HEAD, a, a_len);
    memcpy(out + TAG_HEAD + a_len, b, b_len);
    tag->len += TAG_HEAD + len;
}

static void put_text(struct tag *tag, const char *id, const char *text)
{
    static const uint8_t encoding = ID3_UTF8;
    if (!text || !*text) return;
    size_t len = strlen(text);
    if (len > TEXT_MAX) {
        for (len = TEXT_MAX; len && ((unsigned char)text[len] & 0xc0) == 0x80;)
            len--; /* not within a character */
    }
    put_frame(tag, id, &encoding, 1, text, len);
}

/* The position on a 90 kHz clock that wraps at 33 bits: 1152 samples are 115200/49 ticks. */
static uint64_t timestamp_of(uint64_t position)
{
    uint64_t whole = position / 49, rest = position % 49;
    return (whole * 115200 + rest * 115200 / 49) & CLOCK_33;
}

static void tag_make(struct tag *tag, const struct ring *ring, uint64_t position)
{
    memcpy(tag->bytes, "ID3\4\0\0", 6);
    tag->len = TAG_HEAD;
    uint64_t ticks = timestamp_of(position);
    uint8_t stamp[8];
    for (int i = 7; i >= 0; i--, ticks >>= 8)
        stamp[i] = (uint8_t)ticks;
    put_frame(tag, "PRIV", TIMESTAMP, sizeof TIMESTAMP, stamp, sizeof stamp);
    char number[48];
    number[0] = ID3_UTF8;
    int n = snprintf(number + 1, sizeof number - 1, "position%c%" PRIu64, '\0', position);
    put_frame(tag, "TXXX", number, (size_t)n + 1, "", 0);
    const struct ring_mark *mark = ring_mark_at(ring, "title", position);
    if (mark) {
        put_text(tag, "TIT2", json_string_value(json_object_get(mark->body, "title")));
        put_text(tag, "TPE1", json_string_value(json_object_get(mark->body, "artist")));
    }
    put_syncsafe(tag->bytes + 6, tag->len - TAG_HEAD);
}

struct hls_segment *hls_segment_new(const struct ring *ring, uint32_t branch, uint64_t position,
                                    unsigned frames)
{
    uint64_t from = mp3_frame_offset(ring_kbps(ring), position);
    uint64_t to = mp3_frame_offset(ring_kbps(ring), position + frames);
    const uint8_t *bytes = ring_bytes(ring, from, to);
    if (!bytes) return NULL;
    struct tag tag;
    tag_make(&tag, ring, position);
    size_t len = (size_t)(to - from);
    struct hls_segment *segment = malloc(sizeof *segment + tag.len + len);
    if (!segment) return NULL;
    *segment = (struct hls_segment){
        .ring = ring, .position = position, .branch = branch, .references = 1, .len = tag.len + len};
    memcpy(segment->bytes, tag.bytes, tag.len);
    memcpy(segment->bytes + tag.len, bytes, len);
    return segment;
}

void hls_segment_release(struct hls_segment *segment)
{
    if (segment && --segment->references == 0) free(segment);
}

static void on_sent(const void *bytes, size_t len, void *context)
{
    (void)bytes, (void)len;
    hls_segment_release(context);
}

int hls_segment_append(struct hls_segment *segment, struct evbuffer *out)
{
    segment->references++;
    if (!evbuffer_add_reference(out, segment->bytes, segment->len, on_sent, segment)) return 0;
    segment->references--;
    return -1;
}

size_t hls_segment_bytes(const struct hls_segment *segment)
{
    return segment->len;
}

int hls_segment_is(const struct hls_segment *segment, const struct ring *ring, uint32_t branch,
                   uint64_t position)
{
    return segment->ring == ring && segment->branch == branch && segment->position == position;
}
