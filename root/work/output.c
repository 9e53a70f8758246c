#include "root/work/output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/mp3.h"
#include "root/audio/pcm.h"

#define BLOCK MP3_FRAME_SAMPLES

struct master {
    struct programme *programme;
    struct limiter *limiter;
    int ends;
    uint64_t fed;   /* programme sample that enters the limiter next */
    uint64_t first; /* first one wanted from it */
};

struct output {
    struct master *master;
    struct encoder *encoder;
    uint64_t next;
    /* frames that came out but were not asked for yet: encoder_feed gives two at most */
    uint8_t ready[2 * MP3_FRAME_MAX_BYTES];
    size_t ready_len, ready_count;
    unsigned kbps;
};

struct master *master_new(struct programme *programme, double ceiling_dbtp, uint64_t first_sample, int ends)
{
    struct master *m = xcalloc(1, sizeof *m);
    m->programme = programme;
    m->limiter = limiter_new(ceiling_dbtp);
    m->ends = ends;
    m->first = first_sample;
    m->fed = first_sample > LIMIT_MEMORY ? first_sample - LIMIT_MEMORY : 0;
    return m;
}

void master_free(struct master *m)
{
    if (!m) return;
    limiter_free(m->limiter);
    free(m);
}

uint64_t master_position(const struct master *m)
{
    uint64_t due = m->fed > LIMIT_AHEAD ? m->fed - LIMIT_AHEAD : 0;
    return due > m->first ? due : m->first;
}

/* The programme with silence before its start, and after its end when it has one. */
static int programme_part(struct master *m, uint64_t from, float *out, size_t samples, int64_t *bad_track,
                          char **cause)
{
    uint64_t to = from + samples, start = programme_start(m->programme), end = programme_end(m->programme);
    if (to > end && !m->ends)
        return cause_set(cause, "the programme ends at %" PRIu64 ", before %" PRIu64, end, to);
    memset(out, 0, samples * PCM_CHANNELS * sizeof *out);
    uint64_t low = from > start ? from : start, high = to < end ? to : end;
    if (low >= high) return 0;
    return programme_read(m->programme, low, out + (low - from) * PCM_CHANNELS, (size_t)(high - low),
                          bad_track, cause);
}

int master_read(struct master *m, float *out, size_t samples, int64_t *bad_track, char **cause)
{
    float lost[BLOCK * PCM_CHANNELS];
    int64_t ignored;
    if (!bad_track) bad_track = &ignored;
    *bad_track = 0;
    while (samples) {
        /* what comes out before the first sample wanted is priming, and goes */
        uint64_t due = m->first + LIMIT_AHEAD;
        int priming = m->fed < due;
        size_t n = priming ? (due - m->fed < BLOCK ? (size_t)(due - m->fed) : BLOCK) : samples;
        if (n > BLOCK) n = BLOCK;
        float *to = priming ? lost : out;
        if (programme_part(m, m->fed, to, n, bad_track, cause)) return -1;
        limiter_process(m->limiter, to, to, n);
        m->fed += n;
        if (priming) continue;
        out += n * PCM_CHANNELS;
        samples -= n;
    }
    return 0;
}

struct output *output_new(struct programme *programme, unsigned kbps, double ceiling_dbtp,
                          uint64_t first_frame, int ends, char **cause)
{
    struct encoder *encoder = encoder_new(kbps, first_frame, cause);
    if (!encoder) return NULL;
    struct output *o = xcalloc(1, sizeof *o);
    o->encoder = encoder;
    o->kbps = kbps;
    o->next = first_frame;
    o->master = master_new(programme, ceiling_dbtp, encoder_first_sample(encoder) + OUTPUT_DELAY, ends);
    return o;
}

void output_free(struct output *o)
{
    if (!o) return;
    master_free(o->master);
    encoder_free(o->encoder);
    free(o);
}

uint64_t output_next(const struct output *o)
{
    return o->next;
}

uint64_t output_needs(uint64_t frame)
{
    return (frame + 2) * BLOCK + OUTPUT_DELAY + LIMIT_AHEAD;
}

uint64_t output_reached(const struct output *o)
{
    return o->master->fed;
}

static void keep(void *context, uint64_t frame, const uint8_t *bytes, size_t len)
{
    struct output *o = context;
    if (frame != o->next + o->ready_count || o->ready_len + len > sizeof o->ready) abort();
    memcpy(o->ready + o->ready_len, bytes, len);
    o->ready_len += len;
    o->ready_count++;
}

int output_frames(struct output *o, unsigned count, uint8_t *bytes, size_t *len, int64_t *bad_track,
                  char **cause)
{
    float pcm[BLOCK * PCM_CHANNELS];
    *len = 0;
    if (bad_track) *bad_track = 0;
    while (count) {
        if (o->ready_count == 0) {
            if (master_read(o->master, pcm, BLOCK, bad_track, cause)) return -1;
            if (encoder_feed(o->encoder, pcm, keep, o, cause)) return -1;
            continue;
        }
        size_t n = mp3_frame_bytes(o->kbps, o->next);
        memcpy(bytes + *len, o->ready, n);
        *len += n;
        o->ready_len -= n;
        memmove(o->ready, o->ready + n, o->ready_len);
        o->ready_count--;
        o->next++;
        count--;
    }
    return 0;
}
