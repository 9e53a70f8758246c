/* report: what a relay says of itself every 2 s (docs/PROTOCOL.md, "The report"). Counters are cumulative
 * since the start of the program, each start is a session of its own, and reports are numbered in it: so
 * whichever of them get lost, come twice or late, nothing is counted wrongly. */
#ifndef FOREVER_RELAY_REPORT_H
#define FOREVER_RELAY_REPORT_H
#include <stdint.h>
#include <jansson.h>

#include "common/fetch.h"
#include "relay/bundle.h"
#include "relay/feed.h"
#include "relay/ledger.h"

struct report;

struct report_conf {
    struct fetch_client *client;
    struct bundle *bundle;
    uint64_t uplink_bps;             /* that listeners may take together; 0: no limit */
    struct ledger *ledger;           /* NULL: none is told of */
    struct feed *feed;               /* NULL: this relay feeds no others */
    const char *link_url, *link_pin; /* where others link; NULL: nowhere */
    const char *id;                  /* of this life of the program: the session */
    const char *name, *public_url;   /* outlive the report */
    unsigned max_listeners;
    double joins_per_s;          /* that are taken at most; 0: no limit */
    struct admission *admission; /* NULL: no tickets */
    int64_t started_ns;          /* boot time */
};

struct report *report_new(const struct report_conf *conf);
void report_free(struct report *report); /* NULL is fine */
/* The next one; a new reference. */
json_t *report_make(struct report *report);

#endif
