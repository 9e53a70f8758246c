/* fanout_internal: what fanout.c (coming, going, sockets), fanout_wheel.c (turns), fanout_send.c (bytes) and
 * fanout_clients.c (who is where) share. */
#ifndef FOREVER_COMMON_FANOUT_INTERNAL_H
#define FOREVER_COMMON_FANOUT_INTERNAL_H
#include <stdint.h>

#include "common/fanout.h"
#include "common/fanout_icy.h"

#define FANOUT_FLIGHT_FRAMES 32
#define FANOUT_FLIGHT_BYTES                                                                                  \
    14000 /* one initial window of segments: more takes two flights, at twice the cost */
#define FANOUT_NONE        UINT32_MAX
#define FANOUT_NOWHERE     UINT64_MAX
#define FANOUT_CHUNK_SLOTS 256u
#define FANOUT_AHEAD_NS    INT64_C(2500000000) /* what two nodes' clocks may differ by, and a bit */
#define FANOUT_BURSTS_MAX  1024u               /* more than these wait for their first turn */

/* Invariants: cursor <= skip_at; a listener is in the list of its cohort exactly while fd >= 0, and in the
 * table of clients exactly while client != 0; pending is NULL exactly when pending_at == pending_len; blocked
 * means that the kernel said EAGAIN and will raise EPOLLOUT; bursting, that the target is not the air yet;
 * chunk_left > 0 only while chunk_open; a resumable listener is never aside. Positions are bytes of the
 * endless stream, a lag is in frames. */
struct listener {
    uint64_t cursor;       /* next byte of the stream to send */
    uint64_t target;       /* granted up to here by the last turn */
    uint64_t skip_at;      /* end of the frame under way, where a laggard leaves; FANOUT_NOWHERE */
    uint64_t title_serial; /* the mark last told */
    uint64_t bytes;
    uint64_t first, asked; /* byte it began at, and the one it had asked for */
    int64_t opened_ns;
    uint64_t client;
    void *tag;
    const struct fanout_transport *transport;
    void *transport_self;
    uint8_t *pending; /* sent before anything else: the response header, the rest of a block or chunk frame */
    uint32_t pending_at, pending_len;
    int fd;
    uint32_t generation;     /* of the slot, so that a stale event finds nobody */
    uint32_t next, previous; /* in the cohort; next also in the free list */
    uint32_t client_next, client_previous;
    uint32_t twin;               /* slot + 1 of the other socket of the same listener; 0: none */
    uint32_t icy_left;           /* audio bytes to the next metadata block */
    uint32_t chunk_left;         /* bytes of the open chunk not yet sent; 0: its end is due */
    uint32_t excused_lag_frames; /* on top of the limit: it asked to start back there, or was just skipped */
    uint8_t cohort, agent, icy, blocked, skipped, broken, pending_uncounted, resumable, chunked, chunk_open,
        held, bursting, uncounted, carrier;
    uint8_t aside; /* number of the filler's tape that the cursor is of; 0: of the ring */
};
_Static_assert(sizeof(struct listener) <= 224, "with its share of the tables a listener has 256 bytes");

struct fanout {
    struct event_base *base;
    struct ring *ring;
    struct fanout_conf conf;
    struct fanout_counts counts;
    void (*ended)(void *context, const struct fanout_ended *ended);
    void *ended_context;
    unsigned kbps;
    uint32_t burst_frames, limit_frames, ahead_frames;
    struct listener **chunks;
    uint32_t chunk_count, free_slot;
    uint32_t cohort_count; /* frames of a flight: one cohort's turn per frame */
    uint32_t cohorts[FANOUT_FLIGHT_FRAMES];
    uint32_t cohort_sizes[FANOUT_FLIGHT_FRAMES];
    uint64_t air;   /* the ring's, of the present turn */
    uint64_t aired; /* all turns up to this frame are done; while the filler is on, of its tape */
    int epoll;
    struct event *ready, *tick, *burst;
    uint64_t *bursts; /* a queue of handles: listeners whose burst is not yet out */
    uint32_t bursts_at, bursts_count;
    uint32_t *clients; /* heads of the chains; clients_size of them, a power of two */
    uint32_t clients_size;
    uint64_t clients_key;
    uint32_t part_at; /* the slot that fanout_part looks at next */
    struct fanout_icy icy;
};

/* fanout.c */

static inline uint64_t fanout_served(const struct fanout *f)
{
    return f->counts.listening + f->counts.carriers;
}

static inline struct listener *fanout_slot(const struct fanout *f, uint32_t index)
{
    return &f->chunks[index / FANOUT_CHUNK_SLOTS][index % FANOUT_CHUNK_SLOTS];
}

/* A listener's name for what may come after its end. */
static inline uint64_t fanout_handle(const struct fanout *f, uint32_t index)
{
    return (uint64_t)fanout_slot(f, index)->generation << 32 | index;
}

/* The slot it names, FANOUT_NONE when that listener is no more. */
uint32_t fanout_of_handle(const struct fanout *fanout, uint64_t handle);
/* The frame on air, never past what the ring holds. */
uint64_t fanout_air(const struct fanout *fanout);
/* The frame of the present turn: that, or the filler's. */
uint64_t fanout_now(struct fanout *fanout);
void fanout_end_listener(struct fanout *fanout, uint32_t index, enum fanout_end why, int reset);
void fanout_send_or_end(struct fanout *fanout, uint32_t index);

/* fanout_aside.c */

/* 1 while those who do not count bytes are led aside. */
static inline int fanout_is_aside(const struct fanout *f)
{
    return f->conf.filler && filler_on(f->conf.filler);
}
/* What the listener's cursor is of; NULL when that is no more. */
struct ring *fanout_ring_of(const struct fanout *fanout, const struct listener *listener);
/* Takes it from the ring to the tape, or back, when its cursor stands where they part. */
void fanout_cross(struct fanout *fanout, struct listener *listener);
/* It is not to be sent to beyond this byte, in its cursor's numbers, before it has crossed. */
uint64_t fanout_crossing(const struct fanout *fanout, const struct listener *listener);
/* The byte that a listener may be sent up to in the turn of `frame`. */
uint64_t fanout_due(const struct fanout *fanout, const struct listener *listener, uint64_t frame);
/* Its burst position on the tape, when it belongs there. 1 when it was put there. */
int fanout_place_aside(struct fanout *fanout, struct listener *listener);

/* fanout_twin.c */

/* 1 when it is another socket of a listener that came within so many seconds, and is not counted. Before
 * fanout_clients_add. */
int fanout_twin_join(struct fanout *fanout, uint32_t index, double within_s);
/* 1 when the other one stays, and is counted: this one then is not. */
int fanout_twin_leave(struct fanout *fanout, uint32_t index);
/* fanout_clients.c: the newest listener of that id, FANOUT_NONE when there is none */
uint32_t fanout_clients_newest(const struct fanout *fanout, uint64_t client);

/* fanout_wheel.c */

/* 0, or -1 when the events could not be made. */
int fanout_wheel_init(struct fanout *fanout);
void fanout_wheel_free(struct fanout *fanout);
void fanout_wheel_join(struct fanout *fanout, uint32_t index);
void fanout_wheel_leave(struct fanout *fanout, uint32_t index);
/* The rest of a bursting listener's way to the air is sent soon. */
void fanout_wheel_burst(struct fanout *fanout, uint32_t index);

/* fanout_clients.c */

/* Room for as many clients as there are slots. 0, or -1 without memory. */
int fanout_clients_room(struct fanout *fanout);
void fanout_clients_add(struct fanout *fanout, uint32_t index);
void fanout_clients_remove(struct fanout *fanout, uint32_t index);

/* fanout_send.c */

enum fanout_sent {
    FANOUT_SENT,    /* up to the target */
    FANOUT_BLOCKED, /* the socket is full */
    FANOUT_FAILED,  /* with errno */
    FANOUT_GONE,    /* resumable, and the ring does not hold what comes next */
};
/* Sends up to listener->target. */
enum fanout_sent fanout_send(struct fanout *fanout, struct listener *listener);
/* To the burst position, wherever it was. */
void fanout_relocate(struct fanout *fanout, struct listener *listener);
void fanout_socket_setup(const struct fanout *fanout, int fd, int resumable);

#endif
