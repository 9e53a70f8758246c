#include "tests/load/verify.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/mp3.h"

struct load_reference {
    unsigned kbps;
    size_t size;
    uint64_t from, to;   /* held */
    uint64_t next_frame; /* whose header is checked next */
    uint64_t compared;
    uint8_t *bytes; /* byte n of the stream at n % size */
};

struct load_reference *load_reference_new(unsigned kbps, size_t size)
{
    struct load_reference *r = xcalloc(1, sizeof *r);
    r->kbps = kbps;
    r->size = size;
    r->bytes = xmalloc(size);
    return r;
}

void load_reference_free(struct load_reference *r)
{
    if (!r) return;
    free(r->bytes);
    free(r);
}

unsigned load_reference_kbps(const struct load_reference *r)
{
    return r->kbps;
}

uint64_t load_reference_compared(const struct load_reference *r)
{
    return r->compared;
}

static int differs(const struct load_reference *r, uint64_t at, const uint8_t *bytes, size_t len)
{
    size_t place = (size_t)(at % r->size), straight = r->size - place < len ? r->size - place : len;
    return memcmp(r->bytes + place, bytes, straight) || memcmp(r->bytes, bytes + straight, len - straight);
}

static void set_down(struct load_reference *r, const uint8_t *bytes, size_t len)
{
    size_t place = (size_t)(r->to % r->size), straight = r->size - place < len ? r->size - place : len;
    memcpy(r->bytes + place, bytes, straight);
    memcpy(r->bytes, bytes + straight, len - straight);
    r->to += len;
    if (r->to - r->from > r->size) r->from = r->to - r->size;
}

/* The headers that are whole by now. */
static int headers_right(struct load_reference *r)
{
    for (uint64_t at; (at = mp3_frame_offset(r->kbps, r->next_frame)) + 4 <= r->to; r->next_frame++) {
        uint8_t head[4];
        struct mp3_header h;
        for (size_t i = 0; i < sizeof head; i++)
            head[i] = r->bytes[(at + i) % r->size];
        if (mp3_header_parse(head, &h) || h.kbps != r->kbps || h.rate != MP3_RATE ||
            h.bytes != mp3_frame_bytes(r->kbps, r->next_frame)) {
            r->next_frame++;
            return 0;
        }
    }
    return 1;
}

int load_reference_check(struct load_reference *r, uint64_t at, const uint8_t *bytes, size_t len)
{
    if (at > r->to || r->from == r->to) { /* the first, or after a hole that nobody filled */
        r->from = r->to = at;
        r->next_frame = at ? mp3_frame_at(r->kbps, at - 1) + 1 : 0;
    }
    if (at < r->from) {
        uint64_t skip = r->from - at;
        if (skip >= len) return 0;
        at += skip;
        bytes += skip;
        len -= (size_t)skip;
    }
    size_t known = r->to - at < len ? (size_t)(r->to - at) : len;
    if (differs(r, at, bytes, known)) return -1;
    r->compared += known;
    for (size_t n = known; n < len;) { /* by pieces that leave room for the headers yet to be checked */
        size_t piece = len - n < r->size / 2 ? len - n : r->size / 2;
        set_down(r, bytes + n, piece);
        n += piece;
        if (!headers_right(r)) return -1;
    }
    return 0;
}

int load_walk(struct load_walk *w, const uint8_t *bytes, size_t len)
{
    int result = 0;
    while (len) {
        size_t n = w->left < len ? w->left : len;
        bytes += n;
        len -= n;
        w->left -= (uint32_t)n;
        if (w->left || !len) continue;
        w->head[w->have++] = *bytes++;
        len--;
        if (w->have < 4) continue;
        struct mp3_header h;
        if (!mp3_header_parse(w->head, &h)) {
            w->left = (uint32_t)h.bytes - 4;
            w->have = 0;
            w->synced += w->synced < 2;
            w->frames++;
            continue;
        }
        if (w->synced > 1) result = -1; /* one alone may have been chance */
        w->synced = 0;
        memmove(w->head, w->head + 1, 3);
        w->have = 3;
    }
    return result;
}
