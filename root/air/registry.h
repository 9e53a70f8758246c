/* registry: the relays as they report themselves (docs/PROTOCOL.md).
 *
 * A report holds cumulative counters of one session (one life of the relay program), so a lost one is made
 * good by the next, and one that comes twice or late is seen by its number and changes nothing. What earlier
 * sessions counted is kept and added. A relay is known by its name, healthy while its last report is younger
 * than REGISTRY_HEALTHY_S (the router's suspect_ns, where that was set). One that is enrolled stays until it
 * is unenrolled; any other is forgotten after a day of silence or when more than REGISTRY_MAX are known (the
 * longest silent one goes).
 *
 * Pure: the caller brings the clock, now_ns, which never goes back. */
#ifndef FOREVER_ROOT_AIR_REGISTRY_H
#define FOREVER_ROOT_AIR_REGISTRY_H
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "common/json_flat.h"
#include "common/json_write.h"
#include "common/mount.h"
#include "common/ticket.h"
#include "root/air/router.h"
#include "root/air/terms.h"

struct registry;

#define REGISTRY_MAX           ROUTER_RELAYS_MAX
#define REGISTRY_HEALTHY_S     5
#define REGISTRY_INTERVAL_S    2
#define REGISTRY_ICECAST_SLOTS 100 /* what Icecast takes when nobody has set its limit */
#define REGISTRY_SHOWN         256 /* relays that /api/stats shows */
#define REGISTRY_AGENTS        6   /* as many as enum fanout_agent has */

struct registry_conf {
    struct router_conf router;
    unsigned char master[TICKET_KEY_BYTES]; /* tickets' keys come of it: random, new at each start */
};
struct registry *registry_new(const struct registry_conf *conf);
void registry_free(struct registry *registry);
/* The choice's own view (router_view) goes by the slot of a registry_view. */
struct router *registry_router(struct registry *registry);
/* The mounts and their rates: what a relay's listeners take is summed up by them. */
void registry_set_mounts(struct registry *registry, const struct mount_spec *list, size_t count);
/* At least once a second: wall time, for the billing months. */
void registry_tick(struct registry *registry, int64_t now_ns, int64_t wall_s);

/* What the operator says */

enum registry_kind {
    REGISTRY_FOREVER, /* a forever-relay: it reports, knows tickets and hops; the address is its node's */
    REGISTRY_ICECAST  /* a server that carries a mount of ours and is asked by us: the address is its stream's
                       */
};
/* The relay is known from now on, before its first report, under these terms; a second call changes them.
 * url: where its listeners reach it; NULL: as it reports. 0, or -1 with *cause (no such name, no such
 * address, no room for more). */
int registry_enrol(struct registry *registry, const struct relay_terms *terms, const char *url,
                   enum registry_kind kind, int64_t now_ns, char **cause);
/* It is forgotten, counters and all. 0, or -1 when it is not known. */
int registry_unenrol(struct registry *registry, const char *name);
/* Whether the address is found to lead there: no listener is sent to one that is not (1 until said). 0, or -1
 * when it is not known. */
int registry_set_reachable(struct registry *registry, const char *name, int reachable, int64_t now_ns);

struct registry_month { /* the billing month that is on, by the ledger */
    uint64_t sent_bytes;
    int64_t begins_s, ends_s; /* since 1970 */
};
/* Told at least once a minute for each relay with an allotment, and when a month begins. 0, or -1 when the
 * relay is not known. */
int registry_set_ledger(struct registry *registry, const char *name, const struct registry_month *month,
                        int64_t now_ns);

/* What was learned of relays, to be kept for the next life of the root (root/air/recall.h). */
struct registry_learned {
    double pacing, redemption; /* as struct router_view's */
};
struct registry_stays { /* listeners who have gone, and seconds listened, lately */
    double gone, listened_s;
};
/* 0, or -1 when it is not known. What is out of range is left as it is. */
int registry_recall(struct registry *registry, const char *name, const struct registry_learned *learned,
                    int64_t now_ns);
void registry_stays(const struct registry *registry, struct registry_stays *out);
void registry_recall_stays(struct registry *registry, const struct registry_stays *stays);

/* What relays say */

struct registry_counters {
    uint64_t bytes_in, bytes_out, accepted, closed;
};
struct registry_mount {
    char name[MOUNT_NAME_BYTES];
    uint32_t listeners;
    int pulling;
};
/* What changes with each report. */
struct registry_values {
    struct registry_counters now; /* of this session */
    uint64_t listeners, max_listeners, redeemed, expired, unwanted;
    uint32_t agents[REGISTRY_AGENTS];
    double uptime_s, lag_s, lead_s, cpu_s;
    int64_t position, rss_bytes;
    uint8_t pulling, draining;
};
/* A report, read: texts are borrowed, numbers in the members' units (docs/PROTOCOL.md). */
struct registry_said {
    const char *name, *url, *version, *session;
    int64_t seq;
    struct registry_values values;
    double joins_per_s;
    uint64_t uplink_bps, links_bps;
    int64_t epoch; /* of its tickets; negative: it tells of none */
    uint64_t floor, from_floor;
    struct registry_mount mounts[MOUNTS_MAX];
    unsigned mount_count;
};
/* The second half of registry_report. unproven: nobody but the report itself says that this is its name. */
int registry_heard(struct registry *registry, const struct registry_said *said, int unproven, int64_t now_ns,
                   char **cause);
/* name: whose credential came with the report, and then the report's own is not looked at; NULL: as it says.
 * 1 when it was news, 0 when it was old; -1 with *cause when it is malformed. */
int registry_report(struct registry *registry, const char *name, const struct json_flat *report,
                    int64_t now_ns, char **cause);
/* A REGISTRY_ICECAST was asked: so many listen there, of so many at most (0: it does not say; then as its
 * terms have it, and without those REGISTRY_ICECAST_SLOTS), and so many bytes it has sent since it was asked
 * last. 0, or -1 when it is not known. */
int registry_polled(struct registry *registry, const char *name, uint64_t listeners, uint64_t max_listeners,
                    uint64_t sent_bytes, int64_t now_ns);

/* What a report is answered with for tickets: 0, or -1 for a relay that is not known, or that has never
 * reported. */
struct registry_ticket {
    uint32_t epoch, clock; /* clock: common/ticket's */
    uint64_t floor;
    const unsigned char *key; /* TICKET_KEY_BYTES; borrowed */
};
int registry_ticket(struct registry *registry, const char *name, int64_t now_ns, struct registry_ticket *out);
/* The same, written as the member "ticket": {"epoch","key","clock","floor"}; nothing where there is none. */
void registry_ticket_write(struct registry *registry, const char *name, int64_t now_ns,
                           struct json_write *answer);

/* 1 when its allotment ends with those who listen there: they have to be moved. Says so in the log when that
 * begins and ends. */
int registry_is_spent(struct registry *registry, const char *name, int64_t now_ns);

/* How many listeners are to go to other nodes, since fewer may be there (the operator said so, or the line
 * has to feed relays), and within how many seconds; 0: none. Says so in the log when that begins and ends. */
unsigned registry_too_many(struct registry *registry, const char *name, int64_t now_ns, int *deadline_s);

/* Routing */

struct registry_ask {
    const char *region; /* as geo_region gives it; NULL: unknown */
    int secure;         /* it listens by https */
    const char *mount;  /* NULL: the main one */
    uint64_t random;    /* 64 fresh bits */
    int probe;          /* only asks: gets no ticket and is not counted */
    int later;          /* it comes when it likes, within the ticket's life */
    int resumes; /* it will ask for the rest when its connection breaks: not of a server that is not ours */
};
struct registry_choice {
    int as_is;        /* the location is a stream that is not ours: to be sent there as it stands */
    int64_t hold_ns;  /* of ROUTER_HOLD */
    int reserved;     /* of ROUTER_NOBODY, as struct router_choice's */
    const char *name; /* of the relay; borrowed */
};
/* Writes where the listener is sent: the main mount's stream there, with ?ticket=, and counts it as sent. */
enum router_answer registry_route(struct registry *registry, const struct registry_ask *ask, int64_t now_ns,
                                  char *location, size_t size, struct registry_choice *out);
/* Public addresses of up to `max` relays that have room, of the cheapest for somebody who is where the relay
 * `but` is, which is left out (NULL: none, and nowhere). Borrowed; how many. rooms (NULL: nobody asks): how
 * many listeners `but` may send to each before its next report is answered: a share of what is free, since
 * others send listeners there as well, and it takes some reports until that is known; 1 or more. */
#define REGISTRY_ROOM_SHARE 8
size_t registry_others(struct registry *registry, const char *but, int secure, uint64_t random,
                       int64_t now_ns, const char **urls, unsigned *rooms, size_t max);

/* Views */

/* One object for each of `count` relays from the first-th on; a new reference (docs/API.md, "relays"). */
json_t *registry_json(struct registry *registry, size_t first, size_t count, int64_t now_ns);

struct registry_totals {
    unsigned known, healthy;
    uint64_t listeners;                             /* at healthy relays */
    uint64_t bytes_in, bytes_out, accepted, closed; /* of all sessions; accepted - closed = listeners */
    uint64_t agents[REGISTRY_AGENTS];               /* in order of enum fanout_agent */
    /* Of these counters, what relays had counted when they were first heard of in earlier lives of the root:
     * nobody knows when it came to pass. */
    struct registry_counters earlier;
};
void registry_totals(const struct registry *registry, int64_t now_ns, struct registry_totals *out);

struct registry_view { /* for metrics, the ledger and the tables; strings are borrowed until the next call
                          that changes something */
    const char *name, *url, *version, *session;
    uint32_t slot; /* the router's */
    const struct relay_terms *terms;
    enum registry_kind kind;
    int healthy, enrolled, reachable, draining;
    uint64_t listeners, max_listeners;                                   /* listeners: 0 while not healthy */
    uint64_t accepted, closed, bytes_in, bytes_out, sessions, redirects; /* of all sessions */
    uint64_t redeemed, expired, unwanted; /* tickets of this session: used, too late, of no use */
    uint64_t session_accepted, session_closed, session_bytes_in, session_bytes_out;
    double lag_s, age_s;  /* lag NAN when unknown; age INFINITY before the first report */
    double cpu_s, lead_s; /* of the session; held ahead of the air */
    int64_t rss_bytes;
    int pulling; /* 0 while not healthy */
};
/* The i-th relay; -1 past the end. */
int registry_view(const struct registry *registry, size_t index, int64_t now_ns, struct registry_view *out);
/* The one of that name; -1 when it is not known. */
int registry_find(const struct registry *registry, const char *name, int64_t now_ns,
                  struct registry_view *out);

#endif
