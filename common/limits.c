#include "common/limits.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"

#define MOUNTS_MAX      64
#define MOUNT_NAME_MAX  40
#define ADDRESSES_SPARE 4096
#define ADDRESSES_FIRST 256
#define NONE            UINT32_MAX
#define PACKET_OVERHEAD 1.04 /* TCP and IP headers on packets of 1448 bytes, and a bit of metadata */
#define LOG_EVERY_NS    (10 * CLOCK_NS_PER_S)
#define RETRY_S         10
#define RETRY_ADDRESS_S 30
#define ADDRESS_BITS4   32
#define ADDRESS_BITS6   64

const char *const limits_names[LIMITS_VERDICTS] = {"ok",      "node",          "mount",  "uplink", "joins",
                                                   "address", "address_joins", "memory", "other"};

struct bucket {
    double tokens;
    int64_t ns; /* when they were counted */
};

struct mount {
    char name[MOUNT_NAME_MAX];
    unsigned most, seats;
};

/* In the list of the idle, oldest first, exactly while it has no seat; in a chain of the table while used. */
struct address {
    struct net_addr network;
    struct bucket joins;
    unsigned seats;
    uint32_t next; /* in the chain, or in the free list */
    uint32_t idle_next, idle_previous;
    int used;
};

struct limits {
    struct limits_conf conf;
    struct limits_counts counts;
    struct mount mounts[MOUNTS_MAX];
    unsigned mount_count;
    struct bucket joins;
    uint64_t key[2];
    struct address *addresses;
    uint32_t size, most, *heads, free, idle_first, idle_last; /* heads: size of them, a power of two */
    int64_t told_ns[LIMITS_VERDICTS];
    uint64_t untold[LIMITS_VERDICTS];
};

/* Token buckets */

static double filled(const struct bucket *b, double rate_per_s, double most, int64_t now_ns)
{
    if (!b->ns) return most;
    double tokens = b->tokens + rate_per_s * (double)(now_ns - b->ns) / CLOCK_NS_PER_S;
    return tokens > most ? most : tokens;
}

static void take(struct bucket *b, double rate_per_s, double most, int64_t now_ns)
{
    b->tokens = filled(b, rate_per_s, most, now_ns) - 1;
    b->ns = now_ns;
}

static double joins_most(const struct limits *l)
{
    double most = l->conf.joins_per_s * LIMITS_JOIN_BUCKET_S;
    return most < 1 ? 1 : most;
}

static double address_rate(const struct limits *l)
{
    return l->conf.address_joins_per_min / 60;
}

static double address_most(const struct limits *l)
{
    return l->conf.address_joins_per_min < 1 ? 1 : l->conf.address_joins_per_min;
}

/* Mounts */

static struct mount *mount_find(struct limits *l, const char *name)
{
    for (unsigned i = 0; i < l->mount_count; i++) {
        if (!strncmp(l->mounts[i].name, name, MOUNT_NAME_MAX - 1)) return &l->mounts[i];
    }
    return NULL;
}

/* The last one stands for all beyond the table's end. */
static struct mount *mount_get(struct limits *l, const char *name)
{
    struct mount *m = mount_find(l, name);
    if (m || l->mount_count == MOUNTS_MAX) return m ? m : &l->mounts[MOUNTS_MAX - 1];
    m = &l->mounts[l->mount_count++];
    memcpy(m->name, name, strnlen(name, MOUNT_NAME_MAX - 1));
    return m;
}

void limits_mount(struct limits *l, const char *mount, unsigned listeners)
{
    mount_get(l, mount)->most = listeners;
}

/* Networks */

static int per_address(const struct limits *l)
{
    return l->conf.address_listeners || l->conf.address_joins_per_min > 0;
}

static struct net_addr network_of(const struct limits *l, const struct net_addr *peer)
{
    return net_addr_mask(peer, l->conf.address_bits4, l->conf.address_bits6);
}

static uint32_t *head_of(const struct limits *l, const struct net_addr *network)
{
    return &l->heads[net_addr_hash(network, l->key) & (l->size - 1)];
}

static uint32_t address_find(const struct limits *l, const struct net_addr *network)
{
    if (!l->size) return NONE;
    uint32_t i = *head_of(l, network);
    while (i != NONE && !net_addr_equal(&l->addresses[i].network, network))
        i = l->addresses[i].next;
    return i;
}

static void idle_remove(struct limits *l, uint32_t i)
{
    struct address *a = &l->addresses[i];
    *(a->idle_previous == NONE ? &l->idle_first : &l->addresses[a->idle_previous].idle_next) = a->idle_next;
    *(a->idle_next == NONE ? &l->idle_last : &l->addresses[a->idle_next].idle_previous) = a->idle_previous;
}

static void idle_append(struct limits *l, uint32_t i)
{
    struct address *a = &l->addresses[i];
    a->idle_previous = l->idle_last;
    a->idle_next = NONE;
    *(l->idle_last == NONE ? &l->idle_first : &l->addresses[l->idle_last].idle_next) = i;
    l->idle_last = i;
}

static void address_forget(struct limits *l, uint32_t i)
{
    struct address *a = &l->addresses[i];
    idle_remove(l, i);
    for (uint32_t *at = head_of(l, &a->network);; at = &l->addresses[*at].next) {
        if (*at != i) continue;
        *at = a->next;
        break;
    }
    *a = (struct address){.next = l->free};
    l->free = i;
    l->counts.addresses--;
}

/* Twice as many. 0, or -1 without memory. */
static int addresses_grow(struct limits *l)
{
    uint32_t size = l->size ? 2 * l->size : ADDRESSES_FIRST;
    struct address *more = realloc(l->addresses, size * sizeof *more);
    if (!more) return -1;
    l->addresses = more;
    uint32_t *heads = malloc(size * sizeof *heads);
    if (!heads) return -1; /* the room for more addresses stays unused */
    free(l->heads);
    l->heads = heads;
    memset(heads, 0xff, size * sizeof *heads);
    for (uint32_t i = l->size; i < size; i++) {
        l->addresses[i] = (struct address){.next = l->free};
        l->free = i;
    }
    l->size = size;
    for (uint32_t i = 0; i < size; i++) {
        if (!l->addresses[i].used) continue;
        uint32_t *head = head_of(l, &l->addresses[i].network);
        l->addresses[i].next = *head;
        *head = i;
    }
    return 0;
}

static uint32_t address_add(struct limits *l, const struct net_addr *network)
{
    if (l->free == NONE && l->size < l->most) addresses_grow(l);
    if (l->free == NONE && l->idle_first != NONE) address_forget(l, l->idle_first);
    if (l->free == NONE) return NONE;
    uint32_t i = l->free, *head = head_of(l, network);
    l->free = l->addresses[i].next;
    l->addresses[i] = (struct address){.network = *network, .next = *head, .used = 1};
    *head = i;
    idle_append(l, i);
    l->counts.addresses++;
    return i;
}

/* Judging */

static uint64_t cost_bps(unsigned kbps)
{
    return (uint64_t)(kbps * 1000 * PACKET_OVERHEAD);
}

static enum limits_verdict judge(struct limits *l, const char *mount, unsigned kbps,
                                 const struct net_addr *peer, unsigned spare, int64_t now)
{
    const struct limits_conf *c = &l->conf;
    if (per_address(l)) {
        struct net_addr network = network_of(l, peer);
        uint32_t i = address_find(l, &network);
        if (i != NONE && c->address_listeners && l->addresses[i].seats >= c->address_listeners + spare)
            return LIMITS_ADDRESS;
        if (i != NONE && c->address_joins_per_min > 0 &&
            filled(&l->addresses[i].joins, address_rate(l), address_most(l), now) < 1)
            return LIMITS_ADDRESS_JOINS;
        if (i == NONE && l->free == NONE && l->size >= l->most && l->idle_first == NONE) return LIMITS_MEMORY;
    }
    if (c->listeners && l->counts.seats >= c->listeners + spare) return LIMITS_NODE;
    const struct mount *m = mount_find(l, mount);
    if (m && m->most && m->seats >= m->most + spare) return LIMITS_MOUNT;
    if (c->uplink_bps && l->counts.used_bps + cost_bps(kbps) > c->uplink_bps) return LIMITS_UPLINK;
    if (c->joins_per_s > 0 && filled(&l->joins, c->joins_per_s, joins_most(l), now) < 1) return LIMITS_JOINS;
    return LIMITS_OK;
}

enum limits_verdict limits_judge(struct limits *l, const char *mount, unsigned kbps,
                                 const struct net_addr *peer, unsigned spare, int64_t now_ns)
{
    return judge(l, mount, kbps, peer, spare, now_ns);
}

enum limits_verdict limits_enter(struct limits *l, const char *mount, unsigned kbps,
                                 const struct net_addr *peer, unsigned spare, int64_t now_ns,
                                 struct limits_seat *seat)
{
    enum limits_verdict verdict = judge(l, mount, kbps, peer, spare, now_ns);
    *seat = (struct limits_seat){0};
    if (verdict != LIMITS_OK) return verdict;
    if (per_address(l)) {
        struct net_addr network = network_of(l, peer);
        uint32_t i = address_find(l, &network);
        if (i == NONE) i = address_add(l, &network);
        if (i == NONE) return LIMITS_MEMORY;
        struct address *a = &l->addresses[i];
        if (!a->seats++) idle_remove(l, i);
        take(&a->joins, address_rate(l), address_most(l), now_ns);
        seat->address = i + 1;
    }
    struct mount *m = mount_get(l, mount);
    m->seats++;
    seat->mount = (uint16_t)(m - l->mounts + 1);
    seat->kbps = (uint16_t)kbps;
    l->counts.seats++;
    l->counts.used_bps += cost_bps(kbps);
    if (l->conf.joins_per_s > 0) take(&l->joins, l->conf.joins_per_s, joins_most(l), now_ns);
    return LIMITS_OK;
}

void limits_leave(struct limits *l, struct limits_seat seat)
{
    if (!seat.mount) return;
    assert(l->counts.seats > 0 && l->mounts[seat.mount - 1].seats > 0);
    l->mounts[seat.mount - 1].seats--;
    l->counts.seats--;
    l->counts.used_bps -= cost_bps(seat.kbps);
    if (!seat.address) return;
    struct address *a = &l->addresses[seat.address - 1];
    assert(a->used && a->seats > 0);
    if (--a->seats == 0) idle_append(l, seat.address - 1);
}

const char *limits_seat_mount(const struct limits *l, struct limits_seat seat)
{
    return seat.mount ? l->mounts[seat.mount - 1].name : "";
}

/* Refusals */

int limits_is_personal(enum limits_verdict verdict)
{
    return verdict == LIMITS_ADDRESS || verdict == LIMITS_ADDRESS_JOINS;
}

unsigned limits_retry_s(const struct limits *l, enum limits_verdict verdict)
{
    double rate = verdict == LIMITS_ADDRESS_JOINS ? address_rate(l) : l->conf.joins_per_s;
    if (verdict == LIMITS_ADDRESS) return RETRY_ADDRESS_S;
    if (verdict != LIMITS_ADDRESS_JOINS && verdict != LIMITS_JOINS) return RETRY_S;
    return rate >= 1 ? 1 : rate > 1.0 / RETRY_ADDRESS_S ? (unsigned)(1 / rate) + 1 : RETRY_ADDRESS_S;
}

int limits_refused(struct limits *l, enum limits_verdict verdict, int64_t now_ns, uint64_t *since)
{
    l->counts.refused[verdict]++;
    l->untold[verdict]++;
    if (l->told_ns[verdict] && now_ns - l->told_ns[verdict] < LOG_EVERY_NS) return 0;
    *since = l->untold[verdict];
    l->told_ns[verdict] = now_ns;
    l->untold[verdict] = 0;
    return 1;
}

const struct limits_counts *limits_counts(const struct limits *l)
{
    return &l->counts;
}

/* Life */

struct limits *limits_new(const struct limits_conf *conf)
{
    struct limits *l = xcalloc(1, sizeof *l);
    l->conf = *conf;
    if (!l->conf.address_bits4) l->conf.address_bits4 = ADDRESS_BITS4;
    if (!l->conf.address_bits6) l->conf.address_bits6 = ADDRESS_BITS6;
    l->free = l->idle_first = l->idle_last = NONE;
    l->most = ADDRESSES_SPARE;
    while (l->most < conf->listeners + ADDRESSES_SPARE && l->most < UINT32_MAX / 4)
        l->most *= 2;
    net_hash_key(l->key);
    return l;
}

void limits_free(struct limits *l)
{
    if (!l) return;
    assert(l->counts.seats == 0);
    free(l->addresses);
    free(l->heads);
    free(l);
}
