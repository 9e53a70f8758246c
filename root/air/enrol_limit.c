#include "root/air/enrol_limit.h"

#include <math.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/mem.h"

struct bucket {
    double left;
    int64_t filled_ns;
};

struct row {
    struct net_addr from;
    struct bucket bucket;
    int64_t seen_ns, logged_ns;
    int used, logged;
};

struct enrol_limit {
    struct row rows[ENROL_LIMIT_ADDRESSES];
    struct bucket all, lines;
    int begun;
};

struct enrol_limit *enrol_limit_new(void)
{
    return xcalloc(1, sizeof(struct enrol_limit));
}

void enrol_limit_free(struct enrol_limit *limit)
{
    free(limit);
}

static void fill(struct bucket *b, double size, int64_t now_ns)
{
    b->left = fmin(size, b->left + (double)(now_ns - b->filled_ns) / 1e9 * size / 60);
    b->filled_ns = now_ns;
}

static struct row *row_of(struct enrol_limit *limit, const struct net_addr *from, int64_t now_ns)
{
    struct net_addr network = net_addr_mask(from, 32, 64);
    struct row *oldest = limit->rows;
    for (struct row *r = limit->rows; r < limit->rows + ENROL_LIMIT_ADDRESSES; r++) {
        if (r->used && net_addr_equal(&r->from, &network)) {
            r->seen_ns = now_ns;
            return r;
        }
        if (oldest->used && (!r->used || r->seen_ns < oldest->seen_ns)) oldest = r;
    }
    *oldest = (struct row){
        .from = network, .bucket = {ENROL_LIMIT_PER_ADDRESS, now_ns}, .seen_ns = now_ns, .used = 1};
    return oldest;
}

static void begin(struct enrol_limit *limit, int64_t now_ns)
{
    if (limit->begun) return;
    limit->all = (struct bucket){ENROL_LIMIT_IN_ALL, now_ns};
    limit->lines = (struct bucket){ENROL_LIMIT_LINES, now_ns};
    limit->begun = 1;
}

unsigned enrol_limit_take(struct enrol_limit *limit, const struct net_addr *from, int64_t now_ns)
{
    struct row *r = row_of(limit, from, now_ns);
    begin(limit, now_ns);
    fill(&r->bucket, ENROL_LIMIT_PER_ADDRESS, now_ns);
    fill(&limit->all, ENROL_LIMIT_IN_ALL, now_ns);
    if (r->bucket.left < 1) return (unsigned)ceil((1 - r->bucket.left) * 60 / ENROL_LIMIT_PER_ADDRESS);
    if (limit->all.left < 1) return (unsigned)ceil((1 - limit->all.left) * 60 / ENROL_LIMIT_IN_ALL);
    r->bucket.left--;
    limit->all.left--;
    return 0;
}

void enrol_limit_refund(struct enrol_limit *limit, const struct net_addr *from, int64_t now_ns)
{
    struct row *r = row_of(limit, from, now_ns);
    r->bucket.left = fmin(ENROL_LIMIT_PER_ADDRESS, r->bucket.left + 1);
    limit->all.left = fmin(ENROL_LIMIT_IN_ALL, limit->all.left + 1);
}

int enrol_limit_log(struct enrol_limit *limit, const struct net_addr *from, int64_t now_ns)
{
    struct row *r = row_of(limit, from, now_ns);
    if (r->logged && now_ns - r->logged_ns < ENROL_LIMIT_LOG_S * CLOCK_NS_PER_S) return 0;
    begin(limit, now_ns);
    fill(&limit->lines, ENROL_LIMIT_LINES, now_ns);
    if (limit->lines.left < 1) return 0;
    limit->lines.left--;
    r->logged = 1;
    r->logged_ns = now_ns;
    return 1;
}
