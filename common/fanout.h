/* fanout: many listeners on one ring, at about one write a second each.
 *
 * A listener is a socket and a cursor into the endless byte stream. Listeners are spread over cohorts on a
 * timer wheel; a cohort's turn sends each of its listeners what has aired since their last turn (at most one
 * flight: 32 frames or 14,000 bytes, whichever is less), straight from the ring. Writability is watched only
 * after a short write. ICY metadata is spliced in with writev at every metaint bytes; the title is the one at
 * the position it is sent with. A listener more than lag_limit_s behind the air is moved to a clean frame
 * boundary at the burst position once, and dropped the second time.
 *
 * All sockets sit in one epoll of the fan-out's own (edge-triggered, EPOLLRDHUP), which is one event of the
 * loop. User memory per listener <= 256 bytes. */
#ifndef FOREVER_COMMON_FANOUT_H
#define FOREVER_COMMON_FANOUT_H
#include <stddef.h>
#include <stdint.h>

#include "common/ring.h"

struct event_base;
struct fanout;

#define FANOUT_ICY_METAINT 16000

enum fanout_end {                /* why a listener ended */
                  FANOUT_CLIENT, /* it went */
                  FANOUT_SLOW,   /* too far behind, twice */
                  FANOUT_ERROR,  /* the socket failed */
                  FANOUT_SHUTDOWN,
                  FANOUT_END_COUNT
};
extern const char *const fanout_end_names[FANOUT_END_COUNT];

enum fanout_agent { /* families for statistics */
                    AGENT_BROWSER,
                    AGENT_APP,
                    AGENT_PLAYER,
                    AGENT_RADIO,
                    AGENT_TOOL,
                    AGENT_OTHER,
                    AGENT_COUNT
};
extern const char *const fanout_agent_names[AGENT_COUNT];
enum fanout_agent fanout_agent_classify(const char *user_agent);

struct fanout_conf {
    double burst_s;     /* sent at once on connect */
    double lag_limit_s; /* behind the air */
    /* the frame on air now (the first one not yet to be sent) */
    uint64_t (*air)(void *context);
    /* called when a listener ended, from the loop, never from within fanout_add */
    void (*ended)(void *context, enum fanout_end why, uint64_t bytes, double seconds);
    void *context;
};

/* Counters since the start: opened - closed = listening, to the unit. */
struct fanout_counts {
    uint64_t opened, closed, ended[FANOUT_END_COUNT];
    uint64_t bytes; /* accepted by the kernel, metadata included, response headers not */
    uint64_t writes, short_writes, skips;
    uint64_t listening, agents[AGENT_COUNT]; /* now */
    double seconds;                          /* listened, of ended listeners */
};

struct fanout *fanout_new(struct event_base *base, struct ring *ring, const struct fanout_conf *conf);
/* Ends every listener. abort_sockets: with a reset (SO_LINGER 0), so that players resume elsewhere instead of
 * believing in the end of the stream. */
void fanout_free(struct fanout *fanout, int abort_sockets);

struct fanout_listener_conf {
    int icy;                /* splice metadata */
    const char *user_agent; /* read during the call only; NULL fine */
    int has_from;           /* start at `from` (clamped to what is held and aired) instead of the burst */
    uint64_t from;
    const char *header; /* response header, sent first */
    size_t header_len;
};
/* Takes over the socket (closes it on failure). 0, or -1 with errno (ENOMEM, socket errors). */
int fanout_add(struct fanout *fanout, int fd, const struct fanout_listener_conf *conf);
/* The position a listener added now would start at. */
uint64_t fanout_start_position(const struct fanout *fanout, int has_from, uint64_t from);
const struct fanout_counts *fanout_counts(const struct fanout *fanout);
size_t fanout_bytes_per_listener(void);

#endif
