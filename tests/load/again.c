#include "tests/load/again.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"

#define BACK_NS (LOAD_BACK_S * CLOCK_NS_PER_S)

void load_cuts_back(struct load_cuts *cuts, int64_t out_ns)
{
    cuts->back++;
    cuts->in_time += out_ns <= BACK_NS;
    if (cuts->kept == LOAD_CUTS_KEPT) return;
    if (cuts->kept == cuts->room) {
        cuts->room = cuts->room ? 2 * cuts->room : 1024;
        cuts->back_ms = xrealloc(cuts->back_ms, cuts->room * sizeof *cuts->back_ms);
    }
    cuts->back_ms[cuts->kept++] = (float)((double)out_ns / 1e6);
}

void load_cuts_out(struct load_cuts *cuts, int64_t out_ns)
{
    if (out_ns > BACK_NS)
        cuts->late++;
    else
        cuts->open++;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

json_t *load_spread(float *values, size_t n)
{
    if (!n) return json_null();
    qsort(values, n, sizeof *values, by_value);
    return json_pack("{s:f, s:f, s:f}", "p50", (double)values[n / 2], "p99",
                     (double)values[(n - 1) * 99 / 100], "max", (double)values[n - 1]);
}

json_t *load_cuts_report(struct load_cuts *cuts)
{
    uint64_t judged = cuts->count - cuts->open;
    json_t *share = judged ? json_real((double)cuts->in_time / (double)judged) : json_null();
    return json_pack("{s:I, s:I, s:o, s:I, s:I, s:I, s:o}", "count", (json_int_t)cuts->count, "back",
                     (json_int_t)cuts->back, "back_ms", load_spread(cuts->back_ms, cuts->kept), "in_time",
                     (json_int_t)cuts->in_time, "late", (json_int_t)cuts->late, "open",
                     (json_int_t)cuts->open, "in_time_share", share);
}

void load_cuts_free(struct load_cuts *cuts)
{
    free(cuts->back_ms);
}

char *load_url_from(const char *url, uint64_t from)
{
    static const char name[] = "from=";
    for (const char *at = strchr(url, '?'); at; at = strchr(at, '&')) {
        at++;
        if (strncmp(at, name, sizeof name - 1)) continue;
        return xasprintf("%.*s%s%" PRIu64 "%s", (int)(at - url), url, name, from, at + strcspn(at, "&"));
    }
    return NULL;
}
