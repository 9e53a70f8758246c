/* feed: other relays that get the programme from this one (docs/PROTOCOL.md, "The tree"): who is let in, and
 * when their links begin. One that asks for a mount that is not at hand wakes the pull and waits for it, as a
 * listener does.
 *
 * Let in is who brings a grant that the root signed with the key it told this relay last (or the time
 * before), over TLS; or, from this machine, this relay's own token. */
#ifndef FOREVER_RELAY_FEED_H
#define FOREVER_RELAY_FEED_H
#include <stdint.h>
#include <jansson.h>

#include "common/link_grant.h"
#include "relay/bundle.h"

struct feed;

struct feed_conf {
    struct event_base *base;
    struct bundle *bundle;
    const char *token; /* outlives the feed; NULL: none */
};

struct feed *feed_new(const struct feed_conf *conf);
/* Those who wait are told to ask again. Before the bundle, when nothing is asked any more. */
void feed_free(struct feed *feed);
/* Serves links at that server too. */
void feed_routes(struct feed *feed, struct http_server *server);
/* The key that grants are signed with from now on, and the root's clock. */
void feed_set_key(struct feed *feed, const unsigned char *key, int64_t root_s);
/* The nodes of these ids are fed no longer: their links end, and they get no other. Replaces what the root
 * said before in its present life, that is with the present key. Borrows an array of texts. */
void feed_cut(struct feed *feed, const json_t *ids);
int feed_is_cut(const struct feed *feed, const char *node);
unsigned feed_links(const struct feed *feed);
uint64_t feed_bps(const struct feed *feed);   /* of their mounts' rates */
uint64_t feed_bytes(const struct feed *feed); /* to relays, since the start */
uint64_t feed_refused(const struct feed *feed);

#endif
