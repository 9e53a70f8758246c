/* loops: what listeners hear, here and at the relays, when there is no programme (common/filler): made by the
 * studio, kept in the state directory, fetched from here by whoever may link. */
#ifndef FOREVER_ROOT_AIR_LOOPS_H
#define FOREVER_ROOT_AIR_LOOPS_H
#include <jansson.h>

#include "root/air/mounts.h"

struct http_request;

/* The mount's filler, with the loop that the state directory holds. */
void loops_open(struct mount *mount, const char *state, const char *station);
/* WIRE_LOOP: there is a new one. */
void loops_renew(struct mounts *mounts, const char *state, const json_t *body);
/* Adds "loop", its version, to each row of mounts_specs that has one. */
void loops_tell(struct mounts *mounts, json_t *specs);
/* GET /link/loop?mount=NAME, of somebody who may link. */
void loops_reply(struct mounts *mounts, struct http_request *request);

#endif
