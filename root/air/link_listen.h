/* link_listen: the root's listener for relays (common/link_door), at --link-listen. */
#ifndef FOREVER_ROOT_AIR_LINK_LISTEN_H
#define FOREVER_ROOT_AIR_LINK_LISTEN_H
#include <jansson.h>

struct air;
struct http_server;

/* Makes the key and listens; air->door stays NULL with --link-listen none, and when the port that it takes by
 * itself is not free, which is logged. 0, or -1 with *cause. Routes: link_listen_server's, before air runs.
 */
int link_listen_open(struct air *air, char **cause);
void link_listen_close(struct air *air);

struct http_server *link_listen_server(const struct air *air); /* NULL: none */
int link_listen_port(const struct air *air);                   /* 0: none */
const char *link_listen_pin(const struct air *air);            /* "sha256//..."; NULL: none */
/* {"port","pin"}, or null: a new reference. */
json_t *link_listen_json(const struct air *air);

#endif
