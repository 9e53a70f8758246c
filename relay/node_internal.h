/* node_internal: what node.c (a mount's parts and who is let in) and node_links.c (the relays it is sent on
 * to) share. */
#ifndef FOREVER_RELAY_NODE_INTERNAL_H
#define FOREVER_RELAY_NODE_INTERNAL_H
#include <sys/queue.h>

#include "relay/identity.h"
#include "relay/node.h"

#define NODE_BURST_S 4

struct node {
    struct node_conf conf;
    LIST_HEAD(, node) further; /* the main one's: the others */
    LIST_ENTRY(node) sibling;
    unsigned kbps;
    int told; /* kbps is the root's word, not our guess */
    struct ring *ring;
    struct pacer *pacer;
    struct fanout *fanout;
    struct station *station;
    struct link_server *links; /* NULL: of foreign frames */
    unsigned asking;
    double asking_back_s;
    json_t *lineage;
    uint64_t link_bytes_before;
    struct filler *filler;    /* NULL: its frames do not stand for themselves */
    struct identity identity; /* of the station, as the root told last; the main one's */
    enum node_draining draining;
    int linked, moving;
    struct fanout_counts before; /* of the parts that were closed */
    uint64_t peak, turned_away, sent_on;
    double asking_s; /* the burst that who is let in just now asks for */
};

/* node.c */
/* Takes the ring's room back; a full disk is told as such: -1. */
int node_rouse(struct node *node);
struct station_identity node_identity(const struct node *node);
/* node_links.c */
void node_open_links(struct node *node);

#endif
