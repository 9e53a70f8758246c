/* join: the relay's reports to its root (docs/PROTOCOL.md, "The report"): every 2 s over a kept connection,
 * with cumulative counters, so that a lost one does no harm. The answer tells the mounts and their bit rates,
 * so that the rings fit before the first listener comes. */
#ifndef FOREVER_RELAY_JOIN_H
#define FOREVER_RELAY_JOIN_H
#include <stdint.h>
#include <jansson.h>

#include "common/fetch.h"
#include "relay/bundle.h"
#include "relay/elsewhere.h"
#include "relay/feed.h"
#include "relay/ledger.h"

struct join;

struct join_conf {
    struct event_base *base;
    struct fetch_client *client;
    struct bundle *bundle;
    uint64_t uplink_bps;                /* as struct report_conf's */
    struct ledger *ledger;              /* told of in the reports, and what the root knows of it */
    struct parents *parents;            /* those it was told of: the first that takes reports gets them */
    struct feed *feed;                  /* NULL: feeds no others */
    const char *link_url, *link_pin;    /* as struct report_conf's */
    const char *id, *name, *public_url; /* outlive the join, as parents do; id: this node's */
    unsigned max_listeners;
    double joins_per_s;          /* as struct report_conf's */
    struct admission *admission; /* NULL: none */
    struct elsewhere *elsewhere; /* told where listeners may be sent; NULL: nobody minds */
    int64_t started_ns;          /* boot time */
    /* the root's mounts, when it tells: the main one first */
    void (*mounts)(void *context, const struct mount_spec *list, size_t count);
    /* as it told them, with what each says beside its name and rate, and who told */
    void (*told)(void *context, const json_t *mounts, const struct parent *by);
    /* the root's word on draining with each answer: within so many seconds; negative: no */
    void (*drain)(void *context, double deadline_s);
    /* with each answer: so many listeners too many are here, and are to be elsewhere within so many seconds;
     * 0: none. NULL: nobody minds */
    void (*move)(void *context, unsigned listeners, double deadline_s);
    /* the root has another credential for this relay, told over a pinned way; NULL: nobody minds */
    void (*credential)(void *context, const char *credential);
    /* the present one was refused; NULL: nobody minds */
    void (*refused)(void *context);
    void *context;
};

struct join *join_new(const struct join_conf *conf); /* reports at once */
void join_free(struct join *join);
/* Something has changed that the root should know: reports now, or as soon as the present report is answered.
 */
void join_hurry(struct join *join);
/* Of no join (NULL: there is no root) nothing is wrong and nothing is counted.
 * What is wrong with the reports; NULL when the last one was taken. "no report has been taken yet" at first.
 */
const char *join_trouble(const struct join *join);
struct join_counts {
    uint64_t sent, taken, failed;
};
const struct join_counts *join_counts(const struct join *join);

#endif
