#include "root/work/press.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/encode.h"

_Static_assert(ENCODE_AHEAD <= PRESS_AHEAD * PRESS_BLOCK, "the encoder looks no further");

struct press {
    struct encoder *encoder;
    unsigned kbps;
    uint64_t next, block;
    /* frames that came out and were not taken yet: encoder_feed gives two at most */
    uint8_t ready[2 * MP3_FRAME_MAX_BYTES];
    size_t ready_len, ready_count;
};

struct press *press_new(unsigned kbps, uint64_t first_frame, char **cause)
{
    struct encoder *encoder = encoder_new(kbps, first_frame, cause);
    if (!encoder) return NULL;
    struct press *p = xcalloc(1, sizeof *p);
    p->encoder = encoder;
    p->kbps = kbps;
    p->next = first_frame;
    p->block = encoder_first_sample(encoder) / PRESS_BLOCK;
    return p;
}

void press_free(struct press *p)
{
    if (!p) return;
    encoder_free(p->encoder);
    free(p);
}

uint64_t press_next(const struct press *p)
{
    return p->next;
}

uint64_t press_block(const struct press *p)
{
    return p->block;
}

unsigned press_take(struct press *p, unsigned most, uint8_t *bytes, size_t *len)
{
    unsigned count = 0;
    *len = 0;
    while (count < most && p->ready_count) {
        size_t n = mp3_frame_bytes(p->kbps, p->next);
        memcpy(bytes + *len, p->ready, n);
        *len += n;
        p->ready_len -= n;
        memmove(p->ready, p->ready + n, p->ready_len);
        p->ready_count--;
        p->next++;
        count++;
    }
    return count;
}

static void keep(void *context, uint64_t frame, const uint8_t *bytes, size_t len)
{
    struct press *p = context;
    if (frame != p->next + p->ready_count || p->ready_len + len > sizeof p->ready) abort();
    memcpy(p->ready + p->ready_len, bytes, len);
    p->ready_len += len;
    p->ready_count++;
}

int press_feed(struct press *p, const float *pcm, char **cause)
{
    assert(p->ready_count == 0);
    if (encoder_feed(p->encoder, pcm, keep, p, cause)) return -1;
    p->block++;
    return 0;
}
