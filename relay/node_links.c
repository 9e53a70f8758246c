/* The relays that a node's mount is sent on to. */
#include "common/mount.h"
#include "relay/node_internal.h"

#define LINK_FILL_RATE 2

static uint64_t on_air(void *context, uint32_t *ns)
{
    return pacer_on_air(((struct node *)context)->pacer, ns);
}

void node_open_links(struct node *n)
{
    const struct station_identity own = node_identity(n);
    const struct link_server_conf conf = {.name = own.name,
                                          .description = own.description,
                                          .genre = own.genre,
                                          .url = own.url,
                                          .mount = n->conf.mount ? n->conf.mount : MOUNT_MAIN,
                                          .burst_s = NODE_BURST_S,
                                          .fill_rate = LINK_FILL_RATE,
                                          .follows = 1,
                                          .air = on_air,
                                          .context = n};
    n->links = link_server_new(n->conf.base, n->ring, &conf);
    if (n->lineage) link_server_set_path(n->links, n->lineage);
}

struct link_server *node_links(struct node *n)
{
    return n->links;
}

void node_set_asking(struct node *n, unsigned count, double back_s)
{
    n->asking = count;
    n->asking_back_s = count ? back_s : 0;
}

int node_ask(struct node *n)
{
    if (node_rouse(n)) return -1;
    n->conf.wanted(n->conf.context);
    return 0;
}

void node_set_lineage(struct node *n, const json_t *path)
{
    json_decref(n->lineage);
    n->lineage = json_incref((json_t *)(uintptr_t)path);
    if (n->links) link_server_set_path(n->links, n->lineage);
}

const json_t *node_lineage(const struct node *n)
{
    return n->lineage;
}

unsigned node_needed_by(const struct node *n)
{
    return node_wanted_by(n) + n->asking + (n->links ? link_server_count(n->links) : 0);
}

int node_followed(const struct node *n)
{
    return node_listening(n) || (n->links && link_server_count(n->links));
}

uint64_t node_link_bytes(const struct node *n)
{
    return n->link_bytes_before + (n->links ? link_server_bytes(n->links) : 0);
}
