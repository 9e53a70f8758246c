/* crowd_internal: what crowd.c (the loop), listener.c (one listener's life) and report.c share. */
#ifndef FOREVER_LOAD_CROWD_INTERNAL_H
#define FOREVER_LOAD_CROWD_INTERNAL_H
#include "tests/load/again.h"
#include "tests/load/crowd.h"
#include "tests/load/net.h"
#include "tests/load/response.h"
#include "tests/load/verify.h"

#define LOAD_RATES_MAX 8

enum load_kind { LOAD_NORMAL, LOAD_STALLED, LOAD_TRICKLE };
enum load_state { LOAD_WAITING, LOAD_CONNECTING, LOAD_HEAD, LOAD_BODY, LOAD_OVER };

struct load_listener {
    struct load_connection connection;
    enum load_kind kind;
    enum load_state state;
    int node, hops, tries;
    int asking;   /* for /api/listen, where to listen */
    int resuming; /* the request had a Range */
    int has_from; /* home can be resumed: its first byte is frame from's */
    uint64_t from;
    char *home, *url; /* to come back to; asked now */
    char *head;       /* of the answer, while it comes */
    size_t head_len;
    struct load_body body;
    struct load_walk walk;
    struct load_reference *reference; /* NULL: walks */
    unsigned kbps;
    uint64_t at;                   /* place of the next byte, where there is a reference */
    uint64_t resource_bytes;       /* audio since home's first byte, over all connections */
    int64_t cut_ns;                /* when what played broke; 0: it plays, or never did */
    int64_t asked_ns;              /* when the first request of a series of redirects began */
    int64_t begun_ns, audio_bytes; /* of what plays without interruption */
    int64_t last_ns;               /* something came; 0: never yet */
    int64_t gap_ns, silence_ns;    /* the longest */
    double first_byte_ms;          /* -1: not yet */
};

struct load_totals {
    int hearing;    /* have heard their first byte */
    uint64_t bytes; /* of audio */
    uint64_t connections, redirects, refused, reconnects, resumed, restarted, jumps, cut;
    uint64_t breaks; /* bytes that differ, frames missing, framing broken */
    uint64_t timeouts, connect_errors, ends, resets, bad_answers, forbidden;
    /* by node: answers with audio; refusals; listeners now, and at most at a time */
    uint64_t served[LOAD_NODES_MAX], refused_at[LOAD_NODES_MAX];
    int now[LOAD_NODES_MAX], most[LOAD_NODES_MAX];
    struct load_cuts cuts;
};

struct load_crowd {
    const struct load_options *options;
    struct load_url start;
    struct load_listener *listeners;
    int64_t *due_ns; /* by listener: when it has to be looked at; INT64_MAX */
    int count, epoll;
    unsigned seed, sources;
    struct load_reference *references[LOAD_RATES_MAX];
    struct load_totals totals;
    char *forbidden; /* the first address that was refused, and why */
    uint8_t *piece;
};

#define LOAD_PIECE (256u << 10)

/* listener.c */
void load_listener_due(struct load_crowd *crowd, int index, int64_t now_ns);
void load_listener_event(struct load_crowd *crowd, int index, uint32_t events);
/* At the end: what the last pause was counts, too. */
void load_listener_close(struct load_crowd *crowd, int index, int64_t now_ns);

/* report.c */
/* Sorts what it has. */
json_t *load_report(struct load_crowd *crowd, double seconds, double ready_s, int *well);

#endif
