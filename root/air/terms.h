/* terms: what the operator said of a relay. A plain value: the roster keeps it, registry and router go by
 * it. All zero (but the name) means that nothing was said: no allotment, no price, no region. */
#ifndef FOREVER_ROOT_AIR_TERMS_H
#define FOREVER_ROOT_AIR_TERMS_H
#include <stdint.h>

#define TERMS_NAME_MAX      64
#define TERMS_RESET_DAY_MAX 28
#define TERMS_GB            1e9 /* bytes; what a price is for */

struct relay_terms {
    char name[TERMS_NAME_MAX + 1]; /* [a-z0-9][a-z0-9-]{0,62}, unique: the key everywhere */
    char region[8];                /* "", a continent (eu na sa as af oc), or one with a country: "eu-de" */
    uint64_t allotment_bytes;      /* that may be sent in a billing month, a hard cap; 0: no cap */
    int reset_day;                 /* 1 to 28: the billing month begins at midnight UTC; 0 counts as 1 */
    double price_per_gb;           /* of every byte sent */
    uint64_t uplink_bps;           /* 0: unknown */
    uint32_t max_listeners;        /* it takes at most, beside what it says itself; 0: nothing was said */
    int drained;                   /* no new listener goes there */
};

#endif
