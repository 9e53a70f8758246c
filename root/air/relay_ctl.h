/* relay_ctl: what the operator says of relays, `forever-root ctl relay ...`: the verbs at the running root,
 * and their words on the command line. Between them goes {"verb":"relay","do":DO,"name":NAME, ...} as ctl.h
 * says. */
#ifndef FOREVER_ROOT_AIR_RELAY_CTL_H
#define FOREVER_ROOT_AIR_RELAY_CTL_H
#include <jansson.h>

#include "common/enrol.h"

struct air;

/* At the root: {"ok":true, ...} or {"ok":false,"error"}; a new reference. */
json_t *relay_ctl_answer(struct air *air, const json_t *ask);

/* Where relays find a link listener at that host ("" for all addresses) and port when nothing says so: on
 * this machine when it listens nowhere else, else at the host of the root's public address (NULL: it has
 * none). 0, or -1 with *cause. */
int relay_ctl_link_url(const char *host, int port, const char *public_url, char url[ENROL_URL_MAX + 1],
                       char **cause);

/* At the command line (relay_ctl_client.c): the words behind "relay" as what is asked, a new reference; NULL
 * with *cause. */
json_t *relay_ctl_parse(int argc, char **argv, char **cause);
/* What was answered with ok, for people. */
void relay_ctl_show(const json_t *ask, const json_t *answer);
extern const char relay_ctl_usage[];

#endif
