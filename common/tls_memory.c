/* The memory of OpenSSL's larger blocks, kept out of the heap.
 *
 * A connection needs some 14 KB for as long as it lives, more than half of it in one block, and buffers of
 * 16 KiB for a moment: in its handshake, and while a record is sealed. In one heap what lasts settles between
 * what passes: a listener cost 19 KB of memory; so it costs 15. Blocks of the two sizes come from slots of
 * their own, of which the few used last are kept and used again first, warm in the cache; the others give
 * their pages back. Beyond the slots, and for all other sizes, the heap serves. */
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/tls_internal.h"

#define SLOTS_MAX 32768u
#define WARM_MAX  64u

/* Invariant: a slot is in warm, in cold, not yet used (from `fresh` on), or with OpenSSL. */
struct pool {
    size_t least, slot_bytes; /* whole pages; blocks of least..slot_bytes */
    uint32_t count;
    uint8_t *slots; /* NULL: none, all is the heap's */
    uint32_t fresh, warm_count, cold_count;
    uint16_t warm[WARM_MAX], cold[SLOTS_MAX];
};

static struct pool pools[] = {
    {.least = 6000, .slot_bytes = 8192, .count = SLOTS_MAX}, /* a connection */
    {.least = 8193, .slot_bytes = 20480, .count = 4096},     /* a record, its head and tag, what is aligned */
};
#define POOLS (sizeof pools / sizeof *pools)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* libcurl may resolve names in a thread */

static struct pool *pool_of(const void *p)
{
    for (size_t i = 0; i < POOLS; i++) {
        uintptr_t at = (uintptr_t)p, from = (uintptr_t)pools[i].slots;
        if (from && at >= from && at < from + pools[i].count * pools[i].slot_bytes) return &pools[i];
    }
    return NULL;
}

static void *slot_take(struct pool *pool)
{
    uint32_t i = pool->count;
    pthread_mutex_lock(&lock);
    if (pool->warm_count)
        i = pool->warm[--pool->warm_count];
    else if (pool->cold_count)
        i = pool->cold[--pool->cold_count];
    else if (pool->fresh < pool->count)
        i = pool->fresh++;
    pthread_mutex_unlock(&lock);
    return i < pool->count ? pool->slots + i * pool->slot_bytes : NULL;
}

static void slot_give(struct pool *pool, void *p)
{
    uint16_t i = (uint16_t)((size_t)((uint8_t *)p - pool->slots) / pool->slot_bytes);
    pthread_mutex_lock(&lock);
    if (pool->warm_count < WARM_MAX) {
        pool->warm[pool->warm_count++] = i;
    } else {
        madvise(p, pool->slot_bytes, MADV_DONTNEED);
        pool->cold[pool->cold_count++] = i;
    }
    pthread_mutex_unlock(&lock);
}

static void *take(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    void *p = NULL;
    for (size_t i = 0; i < POOLS && !p; i++) {
        if (pools[i].slots && size >= pools[i].least && size <= pools[i].slot_bytes) p = slot_take(&pools[i]);
    }
    return p ? p : malloc(size);
}

static void give(void *p, const char *file, int line)
{
    (void)file, (void)line;
    struct pool *pool = pool_of(p);
    if (pool)
        slot_give(pool, p);
    else
        free(p);
}

static void *change(void *p, size_t size, const char *file, int line)
{
    struct pool *pool = pool_of(p);
    if (!pool) return realloc(p, size);
    if (size && size <= pool->slot_bytes) return p;
    void *to = size ? malloc(size) : NULL;
    if (to) memcpy(to, p, pool->slot_bytes);
    if (to || !size) give(p, file, line);
    return to;
}

void tls_memory_init(void)
{
    static int done;
    if (done++) return;
    for (size_t i = 0; i < POOLS; i++) {
        void *slots = mmap(NULL, pools[i].count * pools[i].slot_bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (slots != MAP_FAILED) pools[i].slots = slots;
    }
    /* refused when OpenSSL was in use before: then the heap serves, as it always would */
    if (CRYPTO_set_mem_functions(take, change, give)) return;
    for (size_t i = 0; i < POOLS; i++) {
        if (pools[i].slots) munmap(pools[i].slots, pools[i].count * pools[i].slot_bytes);
        pools[i].slots = NULL;
    }
}
