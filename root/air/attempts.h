/* attempts: how often one network, and all together, may try a secret in vain (a relay's token, the password
 * of live sources), and how often one that fails is worth a line of the log. A guess has no chance against
 * 256 random bits, and next to none against a password that is no word; this keeps those who try from costing
 * time and filling the log. Pure: the caller brings the clock. Memory is fixed: ATTEMPTS_NETWORKS (an IPv6
 * one is a /64), the longest unseen is forgotten for a new one. */
#ifndef FOREVER_ROOT_AIR_ATTEMPTS_H
#define FOREVER_ROOT_AIR_ATTEMPTS_H
#include <stdint.h>

#include "common/net.h"

#define ATTEMPTS_NETWORKS    256
#define ATTEMPTS_PER_NETWORK 10  /* at once, and then in a minute */
#define ATTEMPTS_IN_ALL      60  /* of 256 random bits: nobody need try so often */
#define ATTEMPTS_LOG_S       600 /* for an address */
#define ATTEMPTS_LINES       20  /* of the log, at once, and then in a minute */

struct attempts;

/* in_all: 0 when no number of attempts by others is to keep anybody out. */
struct attempts *attempts_new(unsigned in_all);
void attempts_free(struct attempts *attempts);
/* 0 when it may try now; else in so many seconds. */
unsigned attempts_take(struct attempts *attempts, const struct net_addr *from, int64_t now_ns);
/* The attempt was a good one: it does not count. */
void attempts_refund(struct attempts *attempts, const struct net_addr *from, int64_t now_ns);
/* 1 when a line about this address is due. */
int attempts_log(struct attempts *attempts, const struct net_addr *from, int64_t now_ns);

#endif
