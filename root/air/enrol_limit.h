/* enrol_limit: how often one address, and all together, may try to enrol in vain, and how often one that
 * fails is worth a line of the log. A guess has no chance against 256 random bits; this keeps those who try
 * from costing time and filling the log. Pure: the caller brings the clock. Memory is fixed:
 * ENROL_LIMIT_ADDRESSES networks (an IPv6 one is a /64), the longest unseen is forgotten for a new one. */
#ifndef FOREVER_ROOT_AIR_ENROL_LIMIT_H
#define FOREVER_ROOT_AIR_ENROL_LIMIT_H
#include <stdint.h>

#include "common/net.h"

#define ENROL_LIMIT_ADDRESSES   256
#define ENROL_LIMIT_PER_ADDRESS 10 /* at once, and then in a minute */
#define ENROL_LIMIT_IN_ALL      60
#define ENROL_LIMIT_LOG_S       600 /* for an address */
#define ENROL_LIMIT_LINES       20  /* of the log, at once, and then in a minute */

struct enrol_limit;

struct enrol_limit *enrol_limit_new(void);
void enrol_limit_free(struct enrol_limit *limit);
/* 0 when it may try now; else in so many seconds. */
unsigned enrol_limit_take(struct enrol_limit *limit, const struct net_addr *from, int64_t now_ns);
/* The attempt was a good one: it does not count. */
void enrol_limit_refund(struct enrol_limit *limit, const struct net_addr *from, int64_t now_ns);
/* 1 when a line about this address is due. */
int enrol_limit_log(struct enrol_limit *limit, const struct net_addr *from, int64_t now_ns);

#endif
