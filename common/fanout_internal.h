/* fanout_internal: what fanout.c (listeners, cohorts, the loop) and fanout_send.c (bytes) share. */
#ifndef FOREVER_COMMON_FANOUT_INTERNAL_H
#define FOREVER_COMMON_FANOUT_INTERNAL_H
#include <stdint.h>

#include "common/fanout.h"
#include "common/fanout_icy.h"

#define FANOUT_FLIGHT_FRAMES 32
#define FANOUT_FLIGHT_BYTES                                                                                  \
    14000 /* one initial window of segments: more takes two flights, at twice the cost */
#define FANOUT_NONE    UINT32_MAX
#define FANOUT_NOWHERE UINT64_MAX

/* Invariants: cursor <= skip_at; a listener is in the list of its cohort exactly while fd >= 0; pending is
 * NULL exactly when pending_at == pending_len; blocked means that the kernel said EAGAIN and will raise
 * EPOLLOUT. Positions are bytes of the endless stream, a lag is in frames. */
struct listener {
    uint64_t cursor;       /* next byte of the stream to send */
    uint64_t target;       /* granted up to here by the last turn */
    uint64_t skip_at;      /* end of the frame under way, where a laggard leaves; FANOUT_NOWHERE */
    uint64_t title_serial; /* the mark last told */
    uint64_t bytes;
    int64_t opened_ns;
    uint8_t *pending; /* sent before anything else: the response header, or the rest of a metadata block */
    uint32_t pending_at, pending_len;
    int fd;
    uint32_t generation;         /* of the slot, so that a stale event finds nobody */
    uint32_t next, previous;     /* in the cohort; next also in the free list */
    uint32_t icy_left;           /* audio bytes to the next metadata block */
    uint32_t excused_lag_frames; /* on top of the limit: it asked to start back there, or was just skipped */
    uint8_t cohort, agent, icy, blocked, skipped, broken, pending_is_header;
};
_Static_assert(sizeof(struct listener) <= 256, "a listener has 256 bytes");

struct fanout {
    struct event_base *base;
    struct ring *ring;
    struct fanout_conf conf;
    struct fanout_counts counts;
    unsigned kbps;
    uint32_t burst_frames, limit_frames;
    struct listener **chunks;
    uint32_t chunk_count, free_slot;
    uint32_t cohort_count; /* frames of a flight: one cohort's turn per frame */
    uint32_t cohorts[FANOUT_FLIGHT_FRAMES];
    uint32_t cohort_sizes[FANOUT_FLIGHT_FRAMES];
    uint64_t aired; /* all turns up to this frame are done */
    int epoll;
    struct event *ready, *tick;
    struct fanout_icy icy;
};

/* The frame on air, never past what the ring holds. */
uint64_t fanout_air(const struct fanout *fanout);

enum fanout_sent {
    FANOUT_SENT,    /* up to the target */
    FANOUT_BLOCKED, /* the socket is full */
    FANOUT_FAILED
};
/* Sends up to listener->target. */
enum fanout_sent fanout_send(struct fanout *fanout, struct listener *listener);
/* To the burst position, wherever it was. */
void fanout_relocate(struct fanout *fanout, struct listener *listener);
void fanout_socket_setup(const struct fanout *fanout, int fd);

#endif
