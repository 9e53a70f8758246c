/* node: what a relay's listeners hear of one mount: ring, pacer, fan-out and station, and who is let in.
 *
 * The bit rate is the root's and known only when the root has told it; a change of it ends every listener and
 * starts the parts afresh (they all count in its bytes), while the node and its counters live on.
 *
 * The node of the main mount stands for the relay: it drains for all, counts who was turned away, and what
 * the station calls itself is told through it to the others. The ring of a further mount rests (ring_rest)
 * until somebody wants it. */
#ifndef FOREVER_RELAY_NODE_H
#define FOREVER_RELAY_NODE_H
#include <stdint.h>

#include "common/fanout.h"
#include "common/gate.h"
#include "common/http.h"
#include "common/link.h"
#include "common/pacer.h"
#include "common/ring.h"
#include "common/station.h"

struct node;

struct node_conf {
    const char *mount; /* NULL: the main one */
    struct node *main; /* its node, when this is another; outlives this one */
    unsigned kbps;     /* of another one */
    int foreign;       /* as struct ring_conf's */
    struct event_base *base;
    struct http_server *http;
    const char *state; /* directory; outlives the node */
    const char *public_url;
    double lead_s;
    struct gate *gate;              /* who may sit; NULL: whoever comes */
    struct admission *admission;    /* tickets; NULL: nobody gives any out */
    void (*wanted)(void *context);  /* somebody listens or waits to: music is needed */
    int (*hopeless)(void *context); /* 1: none will come soon, so that nobody need wait for it */
    int (*troubled)(void *context); /* 1: none comes just now */
    struct elsewhere *elsewhere;    /* where listeners go that find no place here; outlives the node */
    int (*healthy)(void *context, char *text, size_t size);
    void *context;
};

/* Opens what the state directory holds. 0, or -1 with *cause. */
int node_new(struct node **out, const struct node_conf *conf, char **cause);
void node_free(struct node *node); /* listeners are cut with a reset */
/* Goes over to another bit rate (and remembers it); nothing when it is the present one. */
int node_set_kbps(struct node *node, unsigned kbps, char **cause);
/* Takes over what is played when there is no programme, and keeps it on disk. */
void node_set_loop(struct node *node, struct loop *loop);
const struct loop *node_loop(const struct node *node);                              /* NULL: none */
void node_set_identity(struct node *node, const struct station_identity *identity); /* copied */
enum node_draining {
    NODE_OPEN,
    NODE_DRAINING, /* no new listener is taken; one that resumes is, where no other node is known */
    NODE_CLOSED    /* nor that one */
};
void node_set_draining(struct node *node, enum node_draining draining);
enum node_draining node_draining(const struct node *node);
/* Those who resume are sent on, though there is room here. */
void node_set_moving(struct node *node, int moving);
/* How many listeners other nodes are known to have room for (relay/elsewhere). */
unsigned node_room_elsewhere(const struct node *node);

/* Nobody wants a further mount, and what is held has aired: gives its room back. */
void node_rest(struct node *node);

/* Other relays that get the mount from here. Valid until node_set_kbps. NULL: not of foreign frames. */
struct link_server *node_links(struct node *node);
/* So many of them ask for a link and wait, the one that wants most for back_s before the air. */
void node_set_asking(struct node *node, unsigned count, double back_s);
/* One asks: music is needed. 0, or -1 when there can't be any (logged). */
int node_ask(struct node *node);
/* The way of the programme to here (relay/lineage); borrowed. */
void node_set_lineage(struct node *node, const json_t *path);
const json_t *node_lineage(const struct node *node); /* NULL: not known yet */

/* Valid until node_set_kbps. */
struct ring *node_ring(struct node *node);
struct pacer *node_pacer(struct node *node);
struct fanout *node_fanout(struct node *node);
struct station *node_station(struct node *node);

/* The ring has changed: those who wait for music look again. */
void node_music(struct node *node);
/* Listeners, and those who wait to become one. */
unsigned node_wanted_by(const struct node *node);
/* These, and the relays that are fed or ask to be. */
unsigned node_needed_by(const struct node *node);
unsigned node_waiting(const struct node *node);
/* The longest burst that somebody asks for who waits, a relay too. */
double node_waiting_burst_s(const struct node *node);
unsigned node_listening(const struct node *node);
/* 1 while somebody gets what comes: a listener or a relay. */
int node_followed(const struct node *node);
/* Counters since the start of the program. */
void node_counts(const struct node *node, struct fanout_counts *out);
/* As they will be when the node has been freed. */
void node_counts_cut(const struct node *node, struct fanout_counts *out);
/* To relays, since the start of the program. */
uint64_t node_link_bytes(const struct node *node);
uint64_t node_turned_away(const struct node *node);
uint64_t node_sent_on(const struct node *node); /* to other nodes, for want of room */
uint64_t node_peak(const struct node *node);
/* A link brings frames: set once they reach the root's air, cleared when it ends. */
void node_set_linked(struct node *node, int linked);
/* How long before the present that which is held ends; negative when it reaches beyond it; INFINITY when
 * nothing is held. */
double node_behind_s(const struct node *node);
/* 1 when there is something to hear now. */
int node_playable(struct node *node);

#endif
