/* net: addresses and prefixes of the Internet as values: IPv4 and IPv6 in one form.
 *
 * An IPv4 address is kept as ::ffff:a.b.c.d, so that a listener on a dual-stack socket and one on an IPv4
 * socket are the same. Pure, no I/O. */
#ifndef FOREVER_COMMON_NET_H
#define FOREVER_COMMON_NET_H
#include <stddef.h>
#include <stdint.h>

struct sockaddr;

struct net_addr {
    uint8_t bytes[16]; /* all 0: unknown */
};
#define NET_TEXT_MAX 64

/* 0, or -1 for another family (out is then unknown). */
int net_addr_of(const struct sockaddr *address, struct net_addr *out);
/* "192.0.2.1" or "2001:db8::1", nothing else (no port, no brackets, no zone). 0 or -1. */
int net_addr_parse(const char *text, size_t len, struct net_addr *out);
/* As people write it; "unknown" for the unknown one. Returns out. */
const char *net_addr_text(const struct net_addr *addr, char out[NET_TEXT_MAX]);
int net_addr_is_v4(const struct net_addr *addr);
int net_addr_is_loopback(const struct net_addr *addr);
int net_addr_equal(const struct net_addr *a, const struct net_addr *b);
/* Keeps the first bits4 bits of an IPv4 address, or bits6 of an IPv6 one. */
struct net_addr net_addr_mask(const struct net_addr *addr, unsigned bits4, unsigned bits6);

/* SipHash-2-4 of the address: without the key nobody tells which addresses hash alike, or to what. */
uint64_t net_addr_hash(const struct net_addr *addr, const uint64_t key[2]);
/* A key that nobody can guess; dies when the system has no random numbers. */
void net_hash_key(uint64_t key[2]);

struct net_prefix {
    struct net_addr addr;
    unsigned bits; /* of the common form: an IPv4 /24 is 120 */
};
struct net_list {
    struct net_prefix *items;
    size_t count;
};

/* "10.0.0.0/8", "2001:db8::/32", or an address alone. 0, or -1 with *cause ("must ..."). */
int net_prefix_parse(const char *text, struct net_prefix *out, char **cause);
int net_list_has(const struct net_list *list, const struct net_addr *addr);

#endif
