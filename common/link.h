/* link: what nodes say to each other about one mount (docs/PROTOCOL.md).
 *
 * GET /link?mount=main&from=BRANCH,POSITION&station=ID with a bearer token is answered by an endless
 * sequence of records: u8 type, u8 zero, u16 zero, u32 length, then the body; integers are little endian.
 * The codec is strict: a record of an unknown type, a wrong length or over the limit ends the link.
 * The server side (link_server) sends from the ring to a detached socket: on wake at once what the relay
 * needs to start (from burst_s before the air), then the lead at up to fill_rate times real time, then in
 * step with the ring's head; marks and branches in their place. */
#ifndef FOREVER_COMMON_LINK_H
#define FOREVER_COMMON_LINK_H
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "common/fanout.h"
#include "common/link_pace.h"
#include "common/ring.h"

struct event_base;
struct evbuffer;

enum link_type {
    LINK_HELLO = 1, /* JSON {"version":1,"station","name","mount","kbps","branch","position","air_position",
                       "lead_s","link","path"?,"description"?,"genre"?,"url"?,"void_from"?}: first record and
                       only there. link: its id, for link_server_pace; path: see link_server_set_path.
                       position: of the first frame that follows; void_from: the relay must drop its frames
                       from here on before it goes on (0: its branch is not known here, so all that it has not
                       aired). A position other than what the relay then wants next: it skips what it has
                       aired, or begins its ring anew */
    LINK_FRAMES,    /* u64 position, u32 branch, u32 count, frames */
    LINK_MARK,      /* u64 position, u32 branch, u32 kind length, kind, JSON; before the frames it points at;
                       one may come again (after HELLO, after BRANCH) */
    LINK_BRANCH,    /* u64 position, u32 branch: a retraction; frames go on from position, and the marks that
                       hold there or lie after it come again */
    LINK_CLOCK,     /* u64 position on air, u32 ns: nanoseconds since that frame began (0..26122448), every
                       second; while the air stands still COMMAND "wait" comes instead */
    LINK_COMMAND,   /* JSON {"command": "path"|"wait", ...}; "wait" and unknown ones mean nothing */
};
#define LINK_HEAD_BYTES 8
#define LINK_BODY_MAX   (512u << 10)
#define LINK_JSON_MAX   (64u << 10) /* of HELLO and COMMAND */
#define LINK_FRAMES_MAX 512u        /* in one record */
#define LINK_FEED_MAX   (1u << 20)  /* in one call of link_decoder_feed */

/* Encoders append to out: a whole record (0), or nothing when memory is out (-1). */
int link_put_hello(struct evbuffer *out, json_t *body); /* borrows */
int link_put_frames(struct evbuffer *out, uint64_t position, uint32_t branch, uint32_t count,
                    const uint8_t *bytes, size_t len);
int link_put_mark(struct evbuffer *out, const struct ring_mark *mark);
int link_put_branch(struct evbuffer *out, uint64_t position, uint32_t branch);
int link_put_clock(struct evbuffer *out, uint64_t position, uint32_t ns);
int link_put_command(struct evbuffer *out, json_t *body); /* borrows */

struct link_record {
    enum link_type type;
    uint64_t position;
    uint32_t branch, count, ns;
    const uint8_t *bytes; /* frames */
    size_t len;
    char kind[32];
    json_t *body; /* owned by the decoder until the next call; NULL when the type has none */
};
struct link_decoder;
struct link_decoder *link_decoder_new(void);
void link_decoder_free(struct link_decoder *decoder);
/* Bytes as they come, in pieces of at most LINK_FEED_MAX; call next until it says 0 before the next piece. Of
 * an unfinished record at most LINK_BODY_MAX bytes are kept; a caller who breaks this gets -1 from next. */
void link_decoder_feed(struct link_decoder *decoder, const void *bytes, size_t len);
/* 1 with a record (valid until the next call or feed), 0 when more bytes are needed, -1 with *cause when the
 * peer broke the rules: the decoder is then of no more use. */
int link_decoder_next(struct link_decoder *decoder, struct link_record *out, char **cause);

/* Server side, the same at the root and at a relay that feeds others. */
struct link_server;
struct link_server_conf {
    const char *name, *description, *genre, *url; /* of the station, for HELLO; NULL: has none */
    const char *mount;
    double burst_s, fill_rate;
    struct link_budget *budget; /* shared by servers; outlives them; NULL: none */
    /* The ring's frames follow from what leads it, so those that are missing here will come as they were: a
     * relay that holds more waits for them with what it has. */
    int follows;
    /* exact air: frame on air and nanoseconds since it began (pacer_on_air); UINT64_MAX while it stands */
    uint64_t (*air)(void *context, uint32_t *ns);
    /* a link ended, by whichever side; from the loop, never from within another call; not at link_server_free
     */
    void (*closed)(void *context, void *peer);
    void *context;
};
struct link_server *link_server_new(struct event_base *base, struct ring *ring,
                                    const struct link_server_conf *conf);
void link_server_free(struct link_server *server);

#define LINK_ID_MAX 17

/* What a peer asks for. Strings are read during the call only. */
struct link_ask {
    const char *header; /* sent first */
    int has_from;       /* it holds (branch, position) of `station` and wants what follows */
    uint32_t branch;
    uint64_t position;
    const char *station;
    double back_s; /* else: it starts so long before the air, or burst_s when that is more */
    double less_s; /* of the start and LINK_START_S, which its beginning does not bring; to LINK_LESS_MAX_S */
    double ahead_s; /* it is sent nothing further ahead of the air (2 s at least); 0: all there is */
    /* What its bytes go through, as a listener's (common/fanout.h); NULL: plain */
    const struct fanout_transport *transport;
    void *transport_self;
    int64_t until_ns; /* boot time when it ends, whatever happens; 0: never */
    void *peer;       /* the caller's tag */
};
/* Takes over a detached socket and the transport, also on failure: 0 or -1. */
int link_server_add(struct link_server *server, int fd, const struct link_ask *ask);
/* After the ring changed, in any way (frames appended, marks added, a retraction): wakes the links that can
 * go on. */
void link_server_wake(struct link_server *server);
void link_server_close_peer(struct link_server *server, void *peer);
/* The link of that id (HELLO's) fills at so many times the mount's rate from now on, at most the server's
 * own: 0, or -1 when there is none. */
int link_server_pace(struct link_server *server, const char *id, double times);
/* What the station calls itself from now on, as in struct link_server_conf. */
void link_server_set_texts(struct link_server *server, const char *name, const char *description,
                           const char *genre, const char *url);
/* The nodes from the root to this one, the root itself left out: told in each HELLO, and to present links
 * when it has changed. Borrows an array of texts. */
void link_server_set_path(struct link_server *server, json_t *path);
unsigned link_server_count(const struct link_server *server);
uint64_t link_server_bytes(const struct link_server *server); /* without what a transport adds */

#endif
