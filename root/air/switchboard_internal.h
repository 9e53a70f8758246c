/* switchboard, inside: what its files share. switchboard.c is the ends, the table's rules and events,
 * switchboard_request.c requests under way: numbered, waiting, asked again, answered or given up. */
#ifndef FOREVER_ROOT_AIR_SWITCHBOARD_INTERNAL_H
#define FOREVER_ROOT_AIR_SWITCHBOARD_INTERNAL_H
#include <sys/queue.h>

#include "root/air/switchboard.h"

struct switch_end {
    TAILQ_ENTRY(switch_end) next;
    struct switchboard *board;
    enum role role;
    void *tag;
    struct msg_channel *channel; /* NULL once removed */
    struct event *readable, *writable;
    struct switch_end *waits_for; /* is not read until that one's queue is empty */
    unsigned asking, misses;
    int lost, reported; /* nothing is read or sent any more; the owner was told */
    char *cause;
    int64_t heard_ns;
};

/* Invariant: from is NULL for air's own (replied set) and for requesters that are gone (replied NULL); to is
 * the end that has it, NULL while it waits for its role to be served. */
struct pending {
    TAILQ_ENTRY(pending) next;
    struct switchboard *board;
    uint32_t seq, from_seq;
    struct switch_end *from, *to;
    const struct wire_row *row;
    uint8_t *body;
    size_t len;
    unsigned tries;
    struct event *deadline;
    switchboard_replied replied;
    void *context;
};

struct switchboard {
    struct event_base *base;
    struct switchboard_conf conf;
    struct switchboard_counts counts;
    TAILQ_HEAD(, switch_end) ends, removed; /* removed: memory kept until no callback is under way */
    TAILQ_HEAD(, pending) pending;
    struct switch_end *serving[ROLE_COUNT];
    struct event *report; /* tells the owner about lost ends, from the loop and from nowhere else */
    uint32_t seq;
    unsigned depth;
};

/* Frees removed ends when no callback is under way (board->depth). */
void switch_bury(struct switchboard *board);
/* The end can't go on: its owner is told, from the loop. cause is borrowed; NULL: it was closed. */
void switch_lose(struct switch_end *end, const char *cause);
/* Queues a message. 0, or -1 when the end is lost, by this too. */
int switch_put(struct switch_end *end, uint16_t type, uint32_t seq, const void *body, size_t len, int fd);

/* What an end says, being allowed by the table. */
void switch_take_request(struct switch_end *end, const struct wire_row *row, const struct msg *message);
void switch_take_reply(struct switch_end *end, const struct wire_row *row, const struct msg *message);
/* An end serves the role now: it is asked what waited. */
void switch_requests_served(struct switchboard *board, enum role role);
/* The end is being removed: its own requests are dropped, those it had are asked of whoever serves now. */
void switch_requests_lost(struct switch_end *end);
/* Air's own, the last ones, end with an error. */
void switch_requests_end(struct switchboard *board);

#endif
