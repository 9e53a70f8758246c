/* again: those whose connection broke, and how they came back. Who asks /api/listen again gets another
 * address, of another node perhaps; the place in the stream stays one's own. */
#ifndef FOREVER_LOAD_AGAIN_H
#define FOREVER_LOAD_AGAIN_H
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#define LOAD_BACK_S    30        /* who is back by then lost nothing but patience */
#define LOAD_CUTS_KEPT (1 << 20) /* for the percentiles; more are counted only */

struct load_cuts {
    uint64_t count;         /* connections that broke while they played */
    uint64_t back, in_time; /* played again; within LOAD_BACK_S */
    uint64_t late, open;    /* at the end still out: for longer than that; not yet for so long */
    float *back_ms;
    size_t kept, room;
};
void load_cuts_back(struct load_cuts *cuts, int64_t out_ns);
/* Of one who never came back, out_ns before the end. */
void load_cuts_out(struct load_cuts *cuts, int64_t out_ns);
/* {"count", "back", "back_ms", "in_time", "late", "open", "in_time_share"}; the share is null when nothing
 * broke long enough ago to tell. */
json_t *load_cuts_report(struct load_cuts *cuts);
void load_cuts_free(struct load_cuts *cuts);

/* `url` with `from` in its query set to that; owned. NULL when it has none: it can't be resumed. */
char *load_url_from(const char *url, uint64_t from);

/* {"p50", "p99", "max"} of n values, which it sorts; null without any. */
json_t *load_spread(float *values, size_t n);

#endif
