/* identity: what the station calls itself, kept by a relay for its next start: its listeners are told before
 * the first link of a life is up. */
#ifndef FOREVER_RELAY_IDENTITY_H
#define FOREVER_RELAY_IDENTITY_H
#include "common/station.h"

struct identity {
    char *name, *description, *genre, *url; /* NULL: none */
};

/* As kept; all NULL when nothing is, or nothing that can be read. */
void identity_load(struct identity *out, const char *state);
/* Takes copies, and keeps them when they are news. */
void identity_set(struct identity *identity, const struct station_identity *to, const char *state);
void identity_free(struct identity *identity);                        /* the members */
struct station_identity identity_of(const struct identity *identity); /* borrowed */

#endif
