#include "common/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/mem.h"

#define V4_BITS 96 /* in front of an IPv4 address */

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void set_v4(struct net_addr *out, const void *four)
{
    memcpy(out->bytes, mapped, sizeof mapped);
    memcpy(out->bytes + sizeof mapped, four, 4);
}

int net_addr_of(const struct sockaddr *address, struct net_addr *out)
{
    *out = (struct net_addr){{0}};
    if (address->sa_family == AF_INET) {
        set_v4(out, &((const struct sockaddr_in *)(const void *)address)->sin_addr);
    } else if (address->sa_family == AF_INET6) {
        memcpy(out->bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
    } else {
        return -1;
    }
    return 0;
}

int net_addr_parse(const char *text, size_t len, struct net_addr *out)
{
    char copy[NET_TEXT_MAX];
    struct in_addr four;
    *out = (struct net_addr){{0}};
    if (len == 0 || len >= sizeof copy) return -1;
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (strlen(copy) != len) return -1;
    if (inet_pton(AF_INET, copy, &four) == 1) {
        set_v4(out, &four);
        return 0;
    }
    return inet_pton(AF_INET6, copy, out->bytes) == 1 ? 0 : -1;
}

int net_addr_is_v4(const struct net_addr *addr)
{
    return !memcmp(addr->bytes, mapped, sizeof mapped);
}

static int is_unknown(const struct net_addr *addr)
{
    static const struct net_addr none;
    return net_addr_equal(addr, &none);
}

const char *net_addr_text(const struct net_addr *addr, char out[NET_TEXT_MAX])
{
    const char *text;
    if (net_addr_is_v4(addr))
        text = inet_ntop(AF_INET, addr->bytes + sizeof mapped, out, NET_TEXT_MAX);
    else
        text = is_unknown(addr) ? NULL : inet_ntop(AF_INET6, addr->bytes, out, NET_TEXT_MAX);
    if (!text) memcpy(out, "unknown", sizeof "unknown");
    return out;
}

int net_addr_is_loopback(const struct net_addr *addr)
{
    static const uint8_t one[16] = {[15] = 1};
    return net_addr_is_v4(addr) ? addr->bytes[12] == 127 : !memcmp(addr->bytes, one, sizeof one);
}

int net_addr_equal(const struct net_addr *a, const struct net_addr *b)
{
    return !memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

static struct net_addr cut(const struct net_addr *addr, unsigned bits)
{
    struct net_addr out = *addr;
    for (unsigned i = 0; i < sizeof out.bytes; i++) {
        unsigned kept = bits > 8 * i ? bits - 8 * i : 0;
        if (kept < 8) out.bytes[i] &= (uint8_t)(0xff00u >> kept);
    }
    return out;
}

struct net_addr net_addr_mask(const struct net_addr *addr, unsigned bits4, unsigned bits6)
{
    return cut(addr, net_addr_is_v4(addr) ? V4_BITS + bits4 : bits6);
}

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

/* Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012). */
static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static void sip_take(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

uint64_t net_addr_hash(const struct net_addr *addr, const uint64_t key[2])
{
    uint64_t v[4] = {key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
                     key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573)};
    for (unsigned i = 0; i < sizeof addr->bytes; i += 8) {
        uint64_t word = 0;
        for (unsigned k = 0; k < 8; k++)
            word |= (uint64_t)addr->bytes[i + k] << 8 * k;
        sip_take(v, word);
    }
    sip_take(v, (uint64_t)sizeof addr->bytes << 56);
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void net_hash_key(uint64_t key[2])
{
    if (getrandom(key, 2 * sizeof *key, 0) != 2 * sizeof *key) abort();
}

int net_prefix_parse(const char *text, struct net_prefix *out, char **cause)
{
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (net_addr_parse(text, len, &out->addr))
        return cause_set(cause, "must be an address or a prefix, as 192.0.2.0/24 or 2001:db8::/32");
    unsigned most = strchr(text, ':') ? 128 : 32;
    out->bits = most;
    if (slash) {
        char *end;
        unsigned long bits = strtoul(slash + 1, &end, 10);
        if (slash[1] < '0' || slash[1] > '9' || *end || bits > most)
            return cause_set(cause, "must have a length of 0 to %u after the slash", most);
        out->bits = (unsigned)bits;
    }
    if (most == 32) out->bits += V4_BITS;
    struct net_addr clean = cut(&out->addr, out->bits);
    if (!net_addr_equal(&clean, &out->addr))
        return cause_set(cause, "must have no bits set behind its length");
    return 0;
}

int net_list_has(const struct net_list *list, const struct net_addr *addr)
{
    for (size_t i = 0; i < list->count; i++) {
        struct net_addr front = cut(addr, list->items[i].bits);
        if (net_addr_equal(&front, &list->items[i].addr)) return 1;
    }
    return 0;
}
