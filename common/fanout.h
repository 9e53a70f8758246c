/* fanout: many listeners on one ring, at about one write a second each.
 *
 * A listener is a socket and a cursor into the endless byte stream. Listeners are spread over cohorts on a
 * timer wheel; a cohort's turn sends each of its listeners what has aired since their last turn (at most one
 * flight: 32 frames or 14,000 bytes, whichever is less), straight from the ring. Writability is watched only
 * after a short write. ICY metadata is spliced in with writev at every metaint bytes; the title is the one at
 * the position it is sent with. A listener more than lag_limit_s behind the air is moved to a clean frame
 * boundary at the burst position once, and dropped the second time.
 *
 * A resumable listener counts bytes: when its connection breaks it asks for the rest, at this node or another
 * (`from=`, then Range). So it gets exactly the stream, without metadata, is never skipped, and whatever ends
 * it from our side is a reset, never a clean end: too slow, no longer in the ring, the node stops, even a
 * process that dies (SO_LINGER 0 is set from the start).
 *
 * When the programme is missing for longer than what is held, those who do not count bytes hear the loop
 * (common/filler) until it is back. A resumable listener waits: what it is sent has to be the stream's bytes,
 * at this place and no other; a player that wants the loop meanwhile asks for an address without from=.
 *
 * All sockets sit in one epoll of the fan-out's own (edge-triggered, EPOLLRDHUP), which is one event of the
 * loop. User memory per listener <= 256 bytes. */
#ifndef FOREVER_COMMON_FANOUT_H
#define FOREVER_COMMON_FANOUT_H
#include <stddef.h>
#include <stdint.h>

#include "common/filler.h"
#include "common/ring.h"

struct event_base;
struct iovec;
struct fanout;

#define FANOUT_ICY_METAINT 16000

enum fanout_end {                /* why a listener ended */
                  FANOUT_CLIENT, /* it went */
                  FANOUT_SLOW,   /* too far behind: twice, or once when resumable */
                  FANOUT_ERROR,  /* the socket failed */
                  FANOUT_SHUTDOWN,
                  FANOUT_LOST,   /* resumable, and its place is no longer in the ring */
                  FANOUT_PARTED, /* by fanout_part: the node wants to be rid of it */
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
    /* ns until air is `frame` (0 or less: it is); INT64_MAX while the air stands. NULL: guessed from the
     * length of frames, at more wake-ups. */
    int64_t (*until)(void *context, uint64_t frame);
    /* What is sent to those who do not count bytes when the ring runs dry (borrowed); NULL: nothing. Then
     * `runs` says whether the air moves. */
    struct filler *filler;
    int (*runs)(void *context);
    void *context;
};

/* How long listeners stayed: slot i counts those of at most 2^i seconds (and more than 2^(i-1)), the last one
 * all that stayed longer. */
#define FANOUT_LENGTHS 18

/* What is told of a listener that ended, for an access log. */
struct fanout_ended {
    enum fanout_end why;
    uint64_t bytes; /* of the body: audio and metadata, without response header and chunk framing */
    double seconds;
    uint64_t client;
    void *tag; /* as given to fanout_add; the callee's again */
};

/* Counters since the start: opened - closed = listening, to the unit. */
struct fanout_counts {
    uint64_t opened, closed, ended[FANOUT_END_COUNT];
    uint64_t lengths[FANOUT_LENGTHS]; /* of those that closed: their sum is closed */
    uint64_t bytes;                   /* accepted by the kernel, metadata included, response headers not */
    uint64_t writes, short_writes, skips, turns;
    uint64_t listening, agents[AGENT_COUNT]; /* now */
    uint64_t carriers, carrier_bytes; /* now; of all that were: in no other count here but the writes' */
    double seconds;                   /* listened, of ended listeners */
};

struct fanout *fanout_new(struct event_base *base, struct ring *ring, const struct fanout_conf *conf);
/* Called for each listener that ended: from the loop or from fanout_free, never from within fanout_add. The
 * context must live until fanout_free is over. */
void fanout_on_ended(struct fanout *fanout, void (*ended)(void *context, const struct fanout_ended *ended),
                     void *context);
/* Ends every listener. abort_sockets: with a reset (SO_LINGER 0), so that players resume elsewhere instead of
 * believing in the end of the stream. Resumable ones are reset in any case. */
void fanout_free(struct fanout *fanout, int abort_sockets);

/* The way to the network of a listener whose bytes do not go out plain (TLS). The fan-out watches the socket;
 * self is asked to write and to read. */
struct fanout_transport {
    /* As sendmsg without blocking: how many bytes of the pieces it has taken over, or -1 with errno (EAGAIN:
     * none). What it takes it has sent or keeps: the next call brings what follows, whatever that is then.
     * Sets *full when the socket said EAGAIN: it is called again when that is writable, with count 0 when
     * nothing else is to be sent. */
    ssize_t (*write)(void *self, int fd, const struct iovec *pieces, int count, int *full);
    /* The peer sent something: reads and forgets it. 1 when the peer has ended. */
    int (*drain)(void *self, int fd);
    /* The listener ended; its socket is closed (or, with reset, cut) after this. */
    void (*free)(void *self, int reset);
};

struct fanout_listener_conf {
    int icy;                /* splice metadata; not for resumable ones */
    const char *user_agent; /* read during the call only; NULL fine */
    int has_from;           /* start at `from` (clamped to what is held and aired) instead of the burst */
    uint64_t from;
    int has_byte; /* instead: start at fanout_start_byte of this byte, in mid-frame if need be */
    uint64_t byte;
    int resumable;
    int carrier;     /* carries the stream on to others, who are listeners: is none itself */
    int chunked;     /* HTTP/1.1 chunks, one a write; not with icy. The header says so, it is the caller's. */
    uint64_t client; /* 0: none; fanout_find knows it by this */
    double twin_s;   /* one of the same client that came within so many seconds is the same listener: counted
                        once, as long as one of the two is there; 0: no */
    void *tag;       /* handed back when it ended; on failure of fanout_add the caller keeps it */
    const struct fanout_transport *transport; /* NULL: plain */
    void *transport_self;
    const char *header; /* response header, sent first */
    size_t header_len;
};
/* Takes over the socket and the transport (ends both on failure). 0, or -1 with errno (ENOMEM, socket
 * errors). */
int fanout_add(struct fanout *fanout, int fd, const struct fanout_listener_conf *conf);
/* The position a listener added now would start at. */
uint64_t fanout_start_position(const struct fanout *fanout, int has_from, uint64_t from);
/* The byte a listener that asks for `byte` would start at: that one when it is held and aired, or is ahead of
 * the air by at most what two nodes' clocks differ (it then waits for it), else the nearest frame's first. */
uint64_t fanout_start_byte(const struct fanout *fanout, uint64_t byte);

/* Where a listener is, in bytes of the endless stream (mp3_frame_at makes frames of them). */
struct fanout_place {
    uint64_t asked_byte;    /* what it asked for: conf.byte, or first_byte */
    uint64_t first_byte;    /* what it got first */
    uint64_t sent_byte;     /* the next one it will be sent */
    uint64_t received_byte; /* what its system has acknowledged, to a few bytes */
    uint64_t heard_byte;    /* played without a pause since the first byte, at most received_byte */
    double seconds;         /* since it came */
    int twin;               /* it has a second socket already */
};
/* The newest listener of that client id: 1, or 0 when there is none. */
int fanout_find(const struct fanout *fanout, uint64_t client, struct fanout_place *out);
const struct fanout_counts *fanout_counts(const struct fanout *fanout);
/* 1 while the loop is heard instead of the programme, or will be in a moment. */
int fanout_loops(struct fanout *fanout);
/* What is told to those who hear it, as a title mark's body (borrowed); NULL while nobody does. */
const json_t *fanout_loop_title(const struct fanout *fanout);
/* Somebody comes who should hear the loop now rather than nothing. 1 when there is one. */
int fanout_loop_now(struct fanout *fanout);
/* Listeners that count bytes, or those that do not: all of this moment, whatever their state. */
unsigned fanout_kind_count(const struct fanout *fanout, int resumable);
/* Ends up to `most` listeners of a kind, so that they go on elsewhere: resumable ones with a reset, the
 * others with an end of the stream at the end of a frame; of these, those whose socket is full are left
 * alone. How many were ended. Each call goes on where the last one stopped. */
unsigned fanout_part(struct fanout *fanout, unsigned most, int resumable);
/* Ends every listener, wherever it is: with a reset. */
void fanout_cut(struct fanout *fanout);
/* The counts as they will be when everybody who listens now has been ended (FANOUT_SHUTDOWN). */
void fanout_counts_cut(const struct fanout *fanout, struct fanout_counts *out);
/* The slot of lengths for a stay. */
int fanout_length(double seconds);
void fanout_counts_add(struct fanout_counts *sum, const struct fanout_counts *more);
size_t fanout_bytes_per_listener(void);

#endif
