#include "root/air/link_listen.h"

#include <stdlib.h>
#include <string.h>

#include "common/link_door.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/air/air.h"

static int wants_none(const struct conf_list *asked)
{
    return asked->count == 1 && !strcmp(asked->items[0], LINK_DOOR_NONE);
}

/* A port that nobody asked for is no reason not to be on air: the station goes on without. */
static int listen_by_itself(struct air *air)
{
    struct conf_list own = link_door_addresses(&air->options->front.listen);
    char *why = NULL;
    int failed = own.count ? link_door_listen(air->door, &own, &why)
                           : cause_set(&why, "there is no port after the main one's");
    if (failed)
        log_error(
            "air",
            "no relay but those on this machine can link: %s (the port after the main one's is for relays; "
            "--link-listen ADDR:PORT takes another, --link-listen none does without)",
            why);
    free(why);
    link_door_addresses_free(&own);
    if (failed) link_listen_close(air);
    return 0;
}

int link_listen_open(struct air *air, char **cause)
{
    const struct conf_list *asked = &air->options->link_listen;
    char *why = NULL;
    if (wants_none(asked)) return 0;
    const struct link_door_conf conf = {
        .base = air->base, .state = air->options->state, .server_name = "forever-root/" FOREVER_VERSION};
    air->door = link_door_new(&conf, cause);
    if (!air->door) return -1;
    if (!asked->count) return listen_by_itself(air);
    if (!link_door_listen(air->door, asked, &why)) return 0;
    cause_set(cause, "--link-listen: %s", why);
    free(why);
    return -1;
}

void link_listen_close(struct air *air)
{
    link_door_free(air->door);
    air->door = NULL;
}

struct http_server *link_listen_server(const struct air *air)
{
    return air->door ? link_door_server(air->door) : NULL;
}

int link_listen_port(const struct air *air)
{
    return air->door ? link_door_port(air->door) : 0;
}

const char *link_listen_pin(const struct air *air)
{
    return air->door ? link_door_pin(air->door) : NULL;
}

json_t *link_listen_json(const struct air *air)
{
    if (!air->door) return json_null();
    return json_pack("{s:i,s:s}", "port", link_listen_port(air), "pin", link_listen_pin(air));
}
