/* router_index: relays in order of a coarse cost, for router_choose alone: buckets with a bitmap of those
 * that hold any. Putting in, taking out, the cheapest bucket and a random relay of it take a few operations
 * each, however many relays there are. */
#ifndef FOREVER_ROOT_AIR_ROUTER_INDEX_H
#define FOREVER_ROOT_AIR_ROUTER_INDEX_H
#include <stdint.h>

#define INDEX_BUCKETS 512
#define INDEX_NONE    UINT32_MAX

struct index_bucket {
    uint32_t *items; /* relays' slots */
    uint32_t count, capacity;
};

struct router_index {
    uint64_t filled[INDEX_BUCKETS / 64];
    struct index_bucket buckets[INDEX_BUCKETS];
};

/* The place where it now lies. */
uint32_t index_put(struct router_index *index, unsigned bucket, uint32_t slot);
/* The slot of the one that was moved into its place; INDEX_NONE when none was. */
uint32_t index_take(struct router_index *index, unsigned bucket, uint32_t place);
/* The first bucket from `from` on that holds any; INDEX_BUCKETS when there is none. */
unsigned index_first(const struct router_index *index, unsigned from);
void index_clear(struct router_index *index);

#endif
