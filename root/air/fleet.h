/* fleet: the relays on the operator's list at work: the roster, who of them can be reached, their links, and
 * what the registry is told of all that. */
#ifndef FOREVER_ROOT_AIR_FLEET_H
#define FOREVER_ROOT_AIR_FLEET_H
#include <stdint.h>
#include <jansson.h>

#include "root/air/reach.h"
#include "root/air/roster.h"

struct air;
struct fleet;
struct http_request;
struct http_server;
struct json_flat;
struct json_write;
struct link_server;

/* Reads STATE/relays.json. NULL with *cause. */
struct fleet *fleet_open(struct air *air, char **cause);
void fleet_free(struct fleet *fleet);
void fleet_tick(struct fleet *fleet);
/* How relays enrol (enrolment.c): only at the listener whose key the tokens carry. */
void fleet_routes(struct fleet *fleet, struct http_server *door);
struct roster *fleet_roster(struct fleet *fleet);
struct reach *fleet_reach(struct fleet *fleet);

/* Somebody was not let in: logged once for an address now and then. */
void fleet_warn(struct fleet *fleet, const struct http_request *request, const char *why);

/* A report was taken. */
void fleet_reported(struct fleet *fleet, const struct roster_entry *entry, const struct json_flat *report);
/* Puts into the answer to a report what the operator has said of that relay; credential: the way is private.
 */
void fleet_answer(struct fleet *fleet, const struct roster_entry *entry, int credential,
                  struct json_write *answer);

/* A tag for a link of that relay (NULL: of nobody on the list), by which it ends when the relay is revoked.
 */
void *fleet_link(struct fleet *fleet, const struct roster_entry *entry, struct link_server *server);
void fleet_link_ended(struct fleet *fleet, void *tag);
/* What links that relay has end; it may ask for others. */
void fleet_close_links(struct fleet *fleet, const char *name);

/* One of the list as it is shown, without anything secret; a new reference. */
json_t *fleet_json(struct fleet *fleet, const struct roster_entry *entry);

#endif
