/* station: the listener's side of a mount of a node, the same at the root and at a relay: /NAME.mp3 and its
 * playlists over one ring, its pacer's air and the fan-out. The main mount, /stream.mp3, also brings
 * /api/listen, /api/sync and /status-json.xsl, which know all mounts, and /health.
 *
 * The program decides who is let in (admission) and what a node calls itself; everything a player sees is
 * here, so that no client can tell the nodes apart. */
#ifndef FOREVER_COMMON_STATION_H
#define FOREVER_COMMON_STATION_H
#include <stdint.h>
#include <jansson.h>

#include "common/fanout.h"
#include "common/gate.h"
#include "common/http.h"
#include "common/ring.h"

struct station;

enum station_verdict {
    STATION_SERVE,
    STATION_CARRY, /* a server that carries the mount on: as SERVE, but it takes no seat and is no listener */
    STATION_REDIRECT, /* 302 to `location` (the main mount's stream, absolute, with no query but perhaps
                         ?ticket=), query kept but for the ticket; not when station_hops says
                         STATION_HOPS_MAX, and to an address of the request's scheme */
    STATION_AWAY,     /* 302 to `location` as it stands: a server that is not ours; not for STATION_LISTEN */
    STATION_FULL,     /* 503 with Retry-After, or 429 when station_room says that it is the address's doing */
    STATION_WAIT, /* nothing to play yet: the answer is deferred (a relay waking up, a root that has no music
                     yet) and admission is asked again at station_wake, until wait_ms is over: then 503 */
};

enum station_asking {
    STATION_GET,   /* will listen: counts */
    STATION_HEAD,  /* wants the header only: counts nothing, and need not wait for music */
    STATION_LISTEN /* asks where it could listen: counts nothing, and has to know the air */
};

/* What the station calls itself: icy-name and so on, NULL and "" left out. One at all nodes. */
struct station_identity {
    const char *name, *description, *genre, *url;
};

struct station_conf {
    struct station_identity identity; /* strings borrowed, like the rest */
    const char *public_url;           /* absolute, without trailing slash; NULL: from the Host header */
    const char *mount;                /* NULL: "stream" */
    struct gate *gate;    /* seats and the access log; outlives the fan-out; NULL: whoever is admitted sits */
    struct station *main; /* outlives this one, which is a further mount; NULL: this is the main one */
    int wait_ms;
    /* Called for each GET and HEAD of the stream and for /api/listen. location: at least 1024 bytes. */
    enum station_verdict (*admit)(void *context, struct http_request *request, enum station_asking asking,
                                  char *location, size_t size);
    /* A GET is served from now on: called once, before the socket leaves the request. NULL: nobody asks. */
    void (*taken)(void *context, struct http_request *request);
    /* Addresses of the stream at other nodes that a player may turn to, of the same scheme: the i-th into
     * location; -1 past the last. NULL: none. */
    int (*elsewhere)(void *context, int secure, size_t i, char *location, size_t size);
    /* 1 when the node is well; else 0 with a reason in text */
    int (*healthy)(void *context, char *text, size_t size);
    /* frame on air */
    uint64_t (*air)(void *context);
    void *context;
};

/* Everything given is borrowed. station_free comes before those of the fan-out and the server; requests that
 * still wait get a 503. */
struct station *station_new(struct event_base *base, struct http_server *http, struct ring *ring,
                            struct fanout *fanout, const struct station_conf *conf);
void station_free(struct station *station);

struct station_waiter;

/* Those who wait, taken out of a station that is about to end, for the one that takes its place: they lose
 * neither their turn nor their time. They have to be given to one before the loop goes on. NULL: nobody
 * waits. */
struct station_waiter *station_part(struct station *station);
/* Takes them, where nobody waits yet; without a station they get a 503. */
void station_take_over(struct station *station, struct station_waiter *waiters);
/* The main station was made anew (freed before those that it was the main one of): this is now the one. */
void station_set_main(struct station *further, struct station *main);
/* For those who come from now on. The strings are borrowed. */
void station_set_identity(struct station *station, const struct station_identity *identity);
/* Deferred requests look again (music has come, or the answer has changed). */
void station_wake(struct station *station);
unsigned station_waiting(const struct station *station);
/* The burst that a request asks for, in seconds; 0 when it does not say. */
double station_burst_s(const struct http_request *request, enum station_asking asking);
/* The longest burst that one of those who wait asks for, in seconds; 0 when nobody does. */
double station_waiting_burst_s(const struct station *station);
/* Listeners counted by their peak. */
uint64_t station_peak(const struct station *station);
#define STATION_HOPS_MAX 2 /* one, and one more from a relay that is full or drains */
/* How often this request was sent on from node to node already. */
int station_hops(const struct http_request *request);
/* 1 when it goes on with what it had before (from= and a Range that is no beginning). */
int station_resumes(const struct http_request *request);
/* 1 when it is the second socket of a listener who is here (Safari opens two), which counts as none. */
int station_is_twin(const struct station *station, const struct http_request *request);
/* What the limits say to a listener with this request: the reason for a STATION_FULL, or LIMITS_OK. */
enum limits_verdict station_room(const struct station *station, const struct http_request *request);
/* True for agents known not to follow a 302. */
int station_agent_stays(const char *user_agent);
/* {"artist","title","text"} at a position, borrowed from the ring's mark; NULL when there is none. */
const json_t *station_title(const struct station *station, uint64_t position);

#endif
