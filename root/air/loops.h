/* loops: what listeners hear, here and at the relays, when there is no programme (common/filler): made by the
 * studio, kept in the state directory, fetched from here by whoever may link. */
#ifndef FOREVER_ROOT_AIR_LOOPS_H
#define FOREVER_ROOT_AIR_LOOPS_H
#include <jansson.h>

#include "root/air/mounts.h"

struct http_request;
struct json_write;

/* The mount's filler, with the loop that the state directory holds. */
void loops_open(struct mount *mount, const char *state, const char *station);
/* WIRE_LOOP: there is a new one. */
void loops_renew(struct mounts *mounts, const char *state, const json_t *body);
/* What a report is answered of the mounts, as the member "mounts": {"name","kbps","always"} and "loop", its
 * version, of each that has one. */
void loops_tell(struct mounts *mounts, struct json_write *answer);
/* GET /link/loop?mount=NAME, of somebody who may link. */
void loops_reply(struct mounts *mounts, struct http_request *request);

#endif
