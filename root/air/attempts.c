#include "root/air/attempts.h"

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

struct attempts {
    struct row rows[ATTEMPTS_NETWORKS];
    struct bucket all, lines;
    unsigned in_all;
    int begun;
};

struct attempts *attempts_new(unsigned in_all)
{
    struct attempts *attempts = xcalloc(1, sizeof *attempts);
    attempts->in_all = in_all;
    return attempts;
}

void attempts_free(struct attempts *attempts)
{
    free(attempts);
}

static void fill(struct bucket *b, double size, int64_t now_ns)
{
    b->left = fmin(size, b->left + (double)(now_ns - b->filled_ns) / 1e9 * size / 60);
    b->filled_ns = now_ns;
}

static struct row *row_of(struct attempts *attempts, const struct net_addr *from, int64_t now_ns)
{
    struct net_addr network = net_addr_mask(from, 32, 64);
    struct row *oldest = attempts->rows;
    for (struct row *r = attempts->rows; r < attempts->rows + ATTEMPTS_NETWORKS; r++) {
        if (r->used && net_addr_equal(&r->from, &network)) {
            r->seen_ns = now_ns;
            return r;
        }
        if (oldest->used && (!r->used || r->seen_ns < oldest->seen_ns)) oldest = r;
    }
    *oldest =
        (struct row){.from = network, .bucket = {ATTEMPTS_PER_NETWORK, now_ns}, .seen_ns = now_ns, .used = 1};
    return oldest;
}

static void begin(struct attempts *attempts, int64_t now_ns)
{
    if (attempts->begun) return;
    attempts->all = (struct bucket){attempts->in_all, now_ns};
    attempts->lines = (struct bucket){ATTEMPTS_LINES, now_ns};
    attempts->begun = 1;
}

unsigned attempts_take(struct attempts *attempts, const struct net_addr *from, int64_t now_ns)
{
    struct row *r = row_of(attempts, from, now_ns);
    begin(attempts, now_ns);
    fill(&r->bucket, ATTEMPTS_PER_NETWORK, now_ns);
    fill(&attempts->all, attempts->in_all, now_ns);
    if (r->bucket.left < 1) return (unsigned)ceil((1 - r->bucket.left) * 60 / ATTEMPTS_PER_NETWORK);
    if (attempts->in_all && attempts->all.left < 1)
        return (unsigned)ceil((1 - attempts->all.left) * 60 / attempts->in_all);
    r->bucket.left--;
    attempts->all.left--;
    return 0;
}

void attempts_refund(struct attempts *attempts, const struct net_addr *from, int64_t now_ns)
{
    struct row *r = row_of(attempts, from, now_ns);
    r->bucket.left = fmin(ATTEMPTS_PER_NETWORK, r->bucket.left + 1);
    attempts->all.left = fmin(attempts->in_all, attempts->all.left + 1);
}

int attempts_log(struct attempts *attempts, const struct net_addr *from, int64_t now_ns)
{
    struct row *r = row_of(attempts, from, now_ns);
    if (r->logged && now_ns - r->logged_ns < ATTEMPTS_LOG_S * CLOCK_NS_PER_S) return 0;
    begin(attempts, now_ns);
    fill(&attempts->lines, ATTEMPTS_LINES, now_ns);
    if (attempts->lines.left < 1) return 0;
    attempts->lines.left--;
    r->logged = 1;
    r->logged_ns = now_ns;
    return 1;
}
