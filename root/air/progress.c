#include "root/air/progress.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"

#define LOG_S 10

static long long count_of(const json_t *body, const char *key)
{
    return (long long)json_int_or(body, key, 0, 0, INT64_MAX, NULL);
}

int progress_take(struct progress *progress, json_t *body, int64_t now_ns)
{
    int changed = !progress->last || !json_equal(progress->last, body);
    progress_clear(progress);
    progress->last = json_incref(body);
    long long pending = count_of(body, "pending"), outdated = count_of(body, "outdated");
    long long total = count_of(body, "total");
    if (!changed || !total) return 0;
    if ((pending || outdated) && now_ns - progress->logged_ns < LOG_S * CLOCK_NS_PER_S) return 0;
    progress->logged_ns = now_ns;
    log_info("air", "analysed %lld of %lld tracks, %lld failed, %lld to go, %lld to be heard again",
             count_of(body, "analysed"), total, count_of(body, "failed"), pending, outdated);
    return 1;
}

void progress_clear(struct progress *progress)
{
    json_decref(progress->last);
    progress->last = NULL;
}
