/* icecast_poll: Icecast servers that relay a mount of ours (rented hosting, say). They know nothing of the
 * network: the root asks each of them every two seconds for its status page, which is its report. One that
 * does not answer, or has lost the mount, is silent, and what holds for silent relays holds for it.
 *
 * Nobody tells what such a server sends. It is estimated: listeners * bit rate * time, by the greater count
 * of two successive answers, over the gap between them when some were missed (up to ICECAST_GAP_S). */
#ifndef FOREVER_ROOT_AIR_ICECAST_POLL_H
#define FOREVER_ROOT_AIR_ICECAST_POLL_H
#include <stdint.h>

#include "root/air/icecast_status.h"

struct event_base;
struct net_addr;
struct icecast_poll;

#define ICECAST_POLL_MAX   1000
#define ICECAST_INTERVAL_S 2
#define ICECAST_GAP_S      60

struct icecast_poll_conf {
    struct event_base *base;
    int interval_ms; /* 0: ICECAST_INTERVAL_S */
    unsigned kbps;   /* of the stream, where a server does not say it */
    /* A server has answered. sent_bytes: since its last answer, estimated. */
    void (*polled)(void *context, const char *name, const struct icecast_status *status, uint64_t sent_bytes);
    void *context;
};

struct icecast_poll *icecast_poll_new(const struct icecast_poll_conf *conf);
void icecast_poll_free(struct icecast_poll *poll);

/* Asks that stream's server from now on; the same name again: at another address, perhaps. 0, or -1 with
 * *cause. */
int icecast_poll_set(struct icecast_poll *poll, const char *name, const char *stream, char **cause);
/* Forgets it; nothing is told of it any more. */
void icecast_poll_drop(struct icecast_poll *poll, const char *name);

/* Is this one of them, that fetches the stream to carry it on? It is when it calls itself Icecast and comes
 * from an address at which one of them is asked. */
int icecast_poll_pulls(const struct icecast_poll *poll, const struct net_addr *peer, const char *user_agent);

#endif
