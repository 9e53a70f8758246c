/* link_door: where relays come in: a listener of its own that speaks TLS with the node's own long-lived key,
 * never with the site's certificate, which renewals and proxies change. Whoever links knows the key by its
 * pin. The same at the root and at a relay that feeds others. */
#ifndef FOREVER_COMMON_LINK_DOOR_H
#define FOREVER_COMMON_LINK_DOOR_H
#include "common/conf.h"
#include "common/http.h"
#include "common/link.h"

#define LINK_DOOR_NONE "none" /* as the only address: no listener */

struct event_base;
struct link_door;

struct link_door_conf {
    struct event_base *base;
    /* Where the key is kept (link.key, mode 0600, and link.crt); made there when it is not. */
    const char *state;
    const char *server_name; /* of its answers */
};

/* Reads or makes the key; listens nowhere yet. NULL with *cause. */
struct link_door *link_door_new(const struct link_door_conf *conf, char **cause);
void link_door_free(struct link_door *door);
/* 0, or -1 with *cause when one of the addresses can't be had. */
int link_door_listen(struct link_door *door, const struct conf_list *addresses, char **cause);
/* Where it listens when nothing says so: `main`, the addresses of the node's other listener, each with the
 * next port (a free one for 0). Fresh memory, for link_door_addresses_free. */
struct conf_list link_door_addresses(const struct conf_list *main);
void link_door_addresses_free(struct conf_list *addresses);

/* Its routes are the caller's to add. It believes no proxy. */
struct http_server *link_door_server(struct link_door *door);
int link_door_port(const struct link_door *door);        /* of the first address; 0 before it listens */
const char *link_door_pin(const struct link_door *door); /* "sha256//..." */

/* A check for an option's address: ADDR:PORT, or none. */
int link_door_check_listen(const char *text, char **cause);

/* Makes a link of a request, from whichever listener: its socket and, over TLS, what its bytes go through;
 * `ask` without header and transport. 0 or -1; the request is gone in any case. */
int link_door_give(struct link_server *server, struct http_request *request, struct link_ask *ask);

#endif
