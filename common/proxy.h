/* proxy: what a proxy in front says about who it speaks for. Pure, no I/O.
 *
 * Both forms are believed from trusted peers only; who is trusted the caller decides. The PROXY protocol
 * (HAProxy's specification, versions 1 and 2) stands before everything else on a connection, TLS included;
 * X-Forwarded-For in each request. Strict: what breaks the form is no address. */
#ifndef FOREVER_COMMON_PROXY_H
#define FOREVER_COMMON_PROXY_H
#include <stddef.h>
#include <stdint.h>

#include "common/net.h"

#define PROXY_HEADER_MAX 2064 /* version 2 with 2 KiB of addresses and extensions */

enum { PROXY_MORE = 0, PROXY_NONE = -1, PROXY_BROKEN = -2 };

struct proxy_header {
    int has_source; /* 0: the proxy speaks for itself (a health check), or does not know */
    struct net_addr source;
};

/* The header at the front of a connection: its length, PROXY_MORE when bytes are missing, PROXY_NONE when it
 * begins with none, PROXY_BROKEN. Never asks for more than PROXY_HEADER_MAX. */
int proxy_header_parse(const uint8_t *bytes, size_t len, struct proxy_header *out);

/* One X-Forwarded-For field, the last of several first, from its end on: *client is who asked the node that
 * wrote it and becomes who asked through it. 1 when *client is found (the next is not trusted), 0 to go on
 * with the field before this one, -1 when it is broken: then nothing of it or before it counts. */
int proxy_forwarded_for(const char *field, const struct net_list *trusted, struct net_addr *client);

#endif
