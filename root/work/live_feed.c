#include "root/work/live_feed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"

#define SAMPLE_BYTES (PCM_CHANNELS * sizeof(float))
#define SLOTS        (LIVE_FEED_ROOM + 1) /* one for the sample of which only a part has come */
#define FADE_SAMPLES 441                  /* 10 ms */

/* Sample s lies at s modulo SLOTS; held are [first, held), never more than LIVE_FEED_ROOM. `part` bytes of
 * sample `held` have come as well. */
struct live_feed {
    int fd; /* -1: at the end */
    uint64_t first, held;
    size_t part;
    uint64_t kept; /* told by live_feed_keep */
    uint8_t *room;
};

struct live_feed *live_feed_new(int fd)
{
    struct live_feed *f = xcalloc(1, sizeof *f);
    f->fd = fd;
    f->room = xmalloc(SLOTS * SAMPLE_BYTES);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return f;
}

void live_feed_free(struct live_feed *f)
{
    if (!f) return;
    if (f->fd >= 0) close(f->fd);
    free(f->room);
    free(f);
}

static float *at(const struct live_feed *f, uint64_t sample)
{
    return (float *)(void *)(f->room + sample % SLOTS * SAMPLE_BYTES);
}

void live_feed_close(struct live_feed *f)
{
    if (f->fd < 0) return;
    close(f->fd);
    f->fd = -1;
    uint64_t n = f->held - f->first < FADE_SAMPLES ? f->held - f->first : FADE_SAMPLES;
    for (uint64_t i = 0; i < n; i++) {
        for (int c = 0; c < PCM_CHANNELS; c++)
            at(f, f->held - 1 - i)[c] *= (float)i / FADE_SAMPLES;
    }
}

int live_feed_fill(struct live_feed *f)
{
    int got = 0;
    if (f->fd < 0) return -1;
    for (;;) {
        uint64_t needed = f->kept > LIVE_FEED_PAST ? f->kept - LIVE_FEED_PAST : 0;
        uint64_t room = needed + LIVE_FEED_ROOM - f->held, to_wrap = SLOTS - f->held % SLOTS;
        if (room > to_wrap) room = to_wrap;
        if (!room) return 1;
        uint8_t *to = (uint8_t *)at(f, f->held) + f->part;
        ssize_t n = read(f->fd, to, room * SAMPLE_BYTES - f->part);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return got;
        if (n <= 0) {
            live_feed_close(f);
            return -1;
        }
        f->held += (f->part + (size_t)n) / SAMPLE_BYTES;
        f->part = (f->part + (size_t)n) % SAMPLE_BYTES;
        if (f->first + LIVE_FEED_ROOM < f->held) f->first = f->held - LIVE_FEED_ROOM;
        got = 1;
    }
}

uint64_t live_feed_held(const struct live_feed *f)
{
    return f->held;
}

void live_feed_read(const struct live_feed *f, uint64_t from, float *out, size_t samples)
{
    for (size_t i = 0; i < samples; i++) {
        uint64_t s = from + i;
        if (s >= f->first && s < f->held)
            memcpy(out + i * PCM_CHANNELS, at(f, s), SAMPLE_BYTES);
        else
            memset(out + i * PCM_CHANNELS, 0, SAMPLE_BYTES);
    }
}

void live_feed_keep(struct live_feed *f, uint64_t sample)
{
    if (sample > f->kept) f->kept = sample;
}
