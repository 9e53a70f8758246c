#include "common/link_door.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/proc.h"
#include "common/tls.h"

/* Relays keep one connection each for their reports; links have left the server. */
#define CONNECTIONS_MAX 12288
#define HEADER_MS       5000
#define SPARE_FDS       64
#define KEY_NAME        "forever" /* of the certificate; nobody judges it by its name */

struct link_door {
    struct http_server *server;
    struct tls *tls;
    char *pin;
    int port;
};

struct link_door *link_door_new(const struct link_door_conf *conf, char **cause)
{
    struct link_door *door = xcalloc(1, sizeof *door);
    char *cert = xasprintf("%s/link.crt", conf->state), *key = xasprintf("%s/link.key", conf->state);
    const char *certs[] = {cert}, *keys[] = {key};
    unsigned limit = proc_raise_fd_limit();
    if (tls_identity_make(cert, key, KEY_NAME, cause) || !(door->pin = tls_pin(cert, cause)) ||
        !(door->tls = tls_new(&(struct tls_conf){.certs = certs, .keys = keys, .count = 1}, cause))) {
        link_door_free(door);
        door = NULL;
    } else {
        const struct http_limits limits = {.connections = CONNECTIONS_MAX,
                                           .header_ms = HEADER_MS,
                                           .descriptors =
                                               limit > 2 * SPARE_FDS ? (int)(limit - SPARE_FDS) : 0};
        door->server = http_server_new(conf->base, &limits, conf->server_name);
    }
    free(cert);
    free(key);
    return door;
}

void link_door_free(struct link_door *door)
{
    if (!door) return;
    if (door->server) http_server_free(door->server);
    tls_free(door->tls);
    free(door->pin);
    free(door);
}

int link_door_listen(struct link_door *door, const struct conf_list *addresses, char **cause)
{
    for (size_t i = 0; i < addresses->count; i++) {
        char host[64];
        int port;
        if (conf_parse_listen(addresses->items[i], host, &port, cause) ||
            http_server_listen_tls(door->server, door->tls, host, port, &port, cause))
            return -1;
        if (!door->port) door->port = port;
    }
    return 0;
}

struct conf_list link_door_addresses(const struct conf_list *main)
{
    struct conf_list out = {.items = xcalloc(main->count + 1, sizeof *out.items)};
    for (size_t i = 0; i < main->count; i++) {
        char host[64];
        int port;
        if (conf_parse_listen(main->items[i], host, &port, NULL) || port >= 65535) continue;
        out.items[out.count++] =
            xasprintf(strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port ? port + 1 : 0);
    }
    return out;
}

void link_door_addresses_free(struct conf_list *addresses)
{
    for (size_t i = 0; i < addresses->count; i++)
        free(addresses->items[i]);
    free(addresses->items);
    *addresses = (struct conf_list){0};
}

struct http_server *link_door_server(struct link_door *door)
{
    return door->server;
}

int link_door_port(const struct link_door *door)
{
    return door->port;
}

const char *link_door_pin(const struct link_door *door)
{
    return door->pin;
}

int link_door_check_listen(const char *text, char **cause)
{
    char host[64];
    int port;
    return strcmp(text, LINK_DOOR_NONE) ? conf_parse_listen(text, host, &port, cause) : 0;
}

int link_door_give(struct link_server *server, struct http_request *request, struct link_ask *ask)
{
    static const struct fanout_transport over_tls = {
        .write = tls_conn_write, .drain = tls_conn_drain, .free = tls_conn_free};
    char *header = xasprintf("HTTP/1.1 200 OK\r\n%sContent-Type: application/x-forever-link\r\n"
                             "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
                             http_common_headers(http_request_server(request)));
    struct tls_conn *tls = http_take_tls(request);
    ask->header = header;
    ask->transport = tls ? &over_tls : NULL;
    ask->transport_self = tls;
    int rc = link_server_add(server, http_detach(request), ask);
    free(header);
    return rc;
}
