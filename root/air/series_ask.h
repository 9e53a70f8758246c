/* series_ask: /api/series: what the store has of the statistics over time. The question is a message with a
 * deadline; who asks while the store is away, or while too many ask, is told 503. */
#ifndef FOREVER_ROOT_AIR_SERIES_ASK_H
#define FOREVER_ROOT_AIR_SERIES_ASK_H
#include <stdint.h>

struct air;
struct series_ask;

struct series_question {
    int64_t from_s, to_s, step_s;
};
/* Reads from, to and step, each NULL or as it stands in the query: seconds since 1970, or, when negative,
 * before now_s; without step one that gives some hundreds of points. names: how many nodes are asked about.
 * Times are brought to whole steps: from down, to up. 0, or -1 with *cause. Pure. */
int series_question_read(struct series_question *out, const char *from, const char *to, const char *step,
                         unsigned names, int64_t now_s, char **cause);

struct series_ask *series_ask_new(struct air *air, uint64_t *refused);
void series_ask_free(struct series_ask *ask);
void series_ask_routes(struct series_ask *ask);

#endif
