#include "root/air/router_index.h"

#include <stdlib.h>

#include "common/mem.h"

uint32_t index_put(struct router_index *index, unsigned bucket, uint32_t slot)
{
    struct index_bucket *b = &index->buckets[bucket];
    if (b->count == b->capacity) {
        b->capacity = b->capacity ? b->capacity * 2 : 4;
        b->items = xrealloc(b->items, b->capacity * sizeof *b->items);
    }
    b->items[b->count] = slot;
    index->filled[bucket / 64] |= UINT64_C(1) << bucket % 64;
    return b->count++;
}

uint32_t index_take(struct router_index *index, unsigned bucket, uint32_t place)
{
    struct index_bucket *b = &index->buckets[bucket];
    uint32_t last = b->items[--b->count];
    if (!b->count) {
        index->filled[bucket / 64] &= ~(UINT64_C(1) << bucket % 64);
        /* relays wander through the buckets: what none lies in keeps no memory */
        free(b->items);
        *b = (struct index_bucket){0};
        return INDEX_NONE;
    }
    if (place == b->count) return INDEX_NONE;
    b->items[place] = last;
    return last;
}

unsigned index_first(const struct router_index *index, unsigned from)
{
    for (unsigned word = from / 64; word < INDEX_BUCKETS / 64; word++) {
        uint64_t bits = index->filled[word];
        if (word == from / 64) bits &= UINT64_MAX << from % 64;
        if (bits) return word * 64 + (unsigned)__builtin_ctzll(bits);
    }
    return INDEX_BUCKETS;
}

void index_clear(struct router_index *index)
{
    for (unsigned i = 0; i < INDEX_BUCKETS; i++)
        free(index->buckets[i].items);
    *index = (struct router_index){0};
}
