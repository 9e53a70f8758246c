#include "root/work/refill.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/mem.h"
#include "root/audio/pcm.h"
#include "root/work/output.h"
#include "root/work/press.h"

struct refill {
    struct spool *spool;
    struct master *master;
    uint64_t next, end;
    float pcm[PRESS_BLOCK * PCM_CHANNELS];
};

/* The first block whose samples, and what the limiter remembers before them, lie in the programme. */
static uint64_t first_whole(const struct programme *programme)
{
    uint64_t start = programme_start(programme);
    if (start <= OUTPUT_DELAY) return 0; /* the station's first music */
    return (start + LIMIT_MEMORY - OUTPUT_DELAY + PRESS_BLOCK - 1) / PRESS_BLOCK;
}

struct refill *refill_new(struct spool *spool, struct programme *programme, uint64_t from, uint64_t to)
{
    if (programme_count(programme) == 0) return NULL;
    if (from < first_whole(programme)) from = first_whole(programme);
    struct refill *r = xcalloc(1, sizeof *r);
    while (from < to && spool_get(spool, from, r->pcm) == 0)
        from++;
    if (from >= to) {
        free(r);
        return NULL;
    }
    log_info("studio", "the spool lacks blocks from %" PRIu64 " on: renders up to %" PRIu64 " again", from,
             to);
    r->spool = spool;
    r->next = from;
    r->end = to;
    r->master = master_new(programme, OUTPUT_CEILING_DBTP, from * PRESS_BLOCK + OUTPUT_DELAY, 0);
    return r;
}

void refill_free(struct refill *r)
{
    if (!r) return;
    master_free(r->master);
    free(r);
}

void refill_cut(struct refill *r, uint64_t block)
{
    if (block < r->end) r->end = block;
}

int refill_step(struct refill *r, unsigned blocks)
{
    char *cause = NULL;
    for (; blocks && r->next < r->end; blocks--, r->next++) {
        if (master_read(r->master, r->pcm, PRESS_BLOCK, NULL, &cause) ||
            spool_put(r->spool, r->next, r->pcm, &cause)) {
            log_warn("studio", "the spool stays without blocks %" PRIu64 " to %" PRIu64 ": %s", r->next,
                     r->end, cause);
            free(cause);
            return 0;
        }
    }
    return r->next < r->end;
}
