/* loops: a relay's copies of what is played when there is no programme: fetched once for each version that
 * the root tells of, kept on disk. */
#ifndef FOREVER_RELAY_LOOPS_H
#define FOREVER_RELAY_LOOPS_H
#include <jansson.h>

#include "common/fetch.h"
#include "relay/bundle.h"

struct loops;

struct loops_conf {
    struct event_base *base;
    struct fetch_client *client;
    struct bundle *bundle;
};

struct loops *loops_new(const struct loops_conf *conf);
void loops_free(struct loops *loops);
/* The root's mounts as it told them; and where its loops are got from (borrowed for the call; pin and token
 * may be NULL). */
void loops_told(struct loops *loops, const json_t *mounts, const char *root, const char *pin,
                const char *token);

#endif
