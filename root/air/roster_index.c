/* Chains of links that lie in the rows themselves, twice as many as there are links, so that one is found in
 * a step or two. */
#include <stdlib.h>

#include "common/mem.h"
#include "root/air/roster_internal.h"

#define SIZE_MIN 64

/* FNV-1a, 64 bits: names are the operator's own */
uint64_t roster_name_hash(const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        hash = (hash ^ *c) * UINT64_C(0x100000001b3);
    return hash;
}

uint64_t roster_key_hash(const struct roster_key *key)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < sizeof hash; i++)
        hash = hash << 8 | key->hash[i];
    return hash;
}

static void put(struct roster_index *index, struct roster_link *link)
{
    struct roster_link **chain = &index->chains[link->hash & (index->size - 1)];
    link->following = *chain;
    *chain = link;
}

static void grow(struct roster_index *index)
{
    struct roster_index old = *index;
    index->size = old.size ? old.size * 2 : SIZE_MIN;
    index->chains = xcalloc(index->size, sizeof *index->chains);
    for (size_t i = 0; i < old.size; i++) {
        for (struct roster_link *link = old.chains[i], *following; link; link = following) {
            following = link->following;
            put(index, link);
        }
    }
    free(old.chains);
}

void roster_index_add(struct roster_index *index, struct roster_link *link, struct roster_row *row,
                      uint64_t hash)
{
    if (index->count * 2 >= index->size) grow(index);
    link->hash = hash;
    link->row = row;
    put(index, link);
    index->count++;
}

void roster_index_drop(struct roster_index *index, struct roster_link *link)
{
    if (!link->row) return;
    struct roster_link **at = &index->chains[link->hash & (index->size - 1)];
    while (*at != link)
        at = &(*at)->following;
    *at = link->following;
    link->row = NULL;
    index->count--;
}

struct roster_link *roster_index_next(const struct roster_index *index, uint64_t hash,
                                      const struct roster_link *link)
{
    struct roster_link *at = link          ? link->following
                             : index->size ? index->chains[hash & (index->size - 1)]
                                           : NULL;
    while (at && at->hash != hash)
        at = at->following;
    return at;
}

void roster_index_free(struct roster_index *index)
{
    free(index->chains);
    *index = (struct roster_index){0};
}
