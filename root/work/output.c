#include "root/work/output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "root/audio/pcm.h"
#include "root/work/press.h"

#define BLOCK PRESS_BLOCK

struct master {
    struct programme *programme;
    struct limiter *limiter;
    int ends;
    uint64_t fed;   /* programme sample that enters the limiter next */
    uint64_t first; /* first one wanted from it */
};

struct output {
    struct master *master;
    struct press *press;
    struct spool *spool; /* NULL: none */
    uint64_t spool_from; /* blocks before this stay as they are there */
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
    struct press *press = press_new(kbps, first_frame, cause);
    if (!press) return NULL;
    struct output *o = xcalloc(1, sizeof *o);
    o->press = press;
    o->master = master_new(programme, ceiling_dbtp, press_block(press) * PRESS_BLOCK + OUTPUT_DELAY, ends);
    return o;
}

void output_free(struct output *o)
{
    if (!o) return;
    master_free(o->master);
    press_free(o->press);
    free(o);
}

void output_spool(struct output *o, struct spool *spool, uint64_t from)
{
    o->spool = spool;
    o->spool_from = from;
}

uint64_t output_next(const struct output *o)
{
    return press_next(o->press);
}

uint64_t output_needs(uint64_t frame)
{
    return (frame + 2) * BLOCK + OUTPUT_DELAY + LIMIT_AHEAD;
}

uint64_t output_reached(const struct output *o)
{
    return o->master->fed;
}

/* Block `block` goes to the spool as well; what other frames were made of already is left as it is. */
static void keep(struct output *o, uint64_t block, const float *pcm)
{
    float held[BLOCK * PCM_CHANNELS];
    char *cause = NULL;
    if (!o->spool || (block < o->spool_from && spool_get(o->spool, block, held) == 0)) return;
    if (spool_put(o->spool, block, pcm, &cause) == 0) return;
    log_error("studio", "further mounts have no sound from frame %" PRIu64 " on: %s", block, cause);
    free(cause);
    o->spool = NULL;
}

int output_frames(struct output *o, unsigned count, uint8_t *bytes, size_t *len, int64_t *bad_track,
                  char **cause)
{
    float pcm[BLOCK * PCM_CHANNELS];
    *len = 0;
    if (bad_track) *bad_track = 0;
    while (count) {
        size_t n;
        unsigned got = press_take(o->press, count, bytes + *len, &n);
        *len += n;
        count -= got;
        if (got) continue;
        uint64_t block = press_block(o->press);
        if (master_read(o->master, pcm, BLOCK, bad_track, cause)) return -1;
        keep(o, block, pcm);
        if (press_feed(o->press, pcm, cause)) return -1;
    }
    return 0;
}
