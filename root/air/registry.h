/* registry: the relays as they report themselves (docs/PROTOCOL.md).
 *
 * A report holds cumulative counters of one session (one life of the relay program), so a lost one is made
 * good by the next, and one that comes twice or late is seen by its number and changes nothing. What earlier
 * sessions counted is kept and added. A relay is known by its name and public address, healthy while its last
 * report is younger than REGISTRY_HEALTHY_S, and forgotten after a day of silence or when more than
 * REGISTRY_MAX are known (the longest silent one goes). */
#ifndef FOREVER_ROOT_AIR_REGISTRY_H
#define FOREVER_ROOT_AIR_REGISTRY_H
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

struct registry;

#define REGISTRY_MAX        256
#define REGISTRY_HEALTHY_S  6
#define REGISTRY_INTERVAL_S 2

struct registry *registry_new(void);
void registry_free(struct registry *registry);

/* 1 when it was news, 0 when it was old; -1 with *cause when it is malformed. */
int registry_report(struct registry *registry, const json_t *report, char **cause);

/* A relay with room for a listener, of the scheme it listens by (secure: https): writes its stream's address
 * and counts the listener as sent there unless probe. 0, or -1 when there is none (or the address does not
 * fit). */
int registry_route(struct registry *registry, uint64_t random, int probe, int secure, char *location,
                   size_t size);
/* 1 when some relay of that scheme has room. */
int registry_has_room(const struct registry *registry, int secure);
/* The i-th relay of that scheme with room, the least used first, leaving out the one of that public address
 * (NULL: none): writes its stream's address. 0, or -1 when there are no more. */
int registry_elsewhere(const struct registry *registry, const char *but_url, int secure, size_t i,
                       char *location, size_t size);

/* One object per relay; a new reference (docs/API.md, "relays"). */
json_t *registry_json(const struct registry *registry);

struct registry_totals {
    unsigned known, healthy;
    uint64_t listeners;                     /* at healthy relays */
    uint64_t bytes_in, bytes_out, accepted; /* of all sessions */
    uint64_t agents[6];                     /* in order of enum fanout_agent */
};
void registry_totals(const struct registry *registry, struct registry_totals *out);

struct registry_view { /* for metrics */
    const char *name, *url;
    int healthy;
    uint64_t listeners, max_listeners, bytes_in, bytes_out, sessions, redirects;
    double lag_s, age_s; /* lag NAN when unknown */
};
/* The i-th relay; -1 past the end. */
int registry_view(const struct registry *registry, size_t index, struct registry_view *out);

#endif
