/* ledger: what this relay has sent in its billing month, kept over restarts.
 *
 * Providers bill packets, so what counts is bytes of bodies times BILLING_OVERHEAD; the relay's own counters
 * are the source, not the interface's, which would count what else the machine sends and leave out nothing of
 * loopback.
 *
 * It is a small file in the state directory (ledger.json), bytes by the day, written anew and fsynced by a
 * thread of its own: 5 s after bytes were sent at the soonest, with less than 1 MB to tell once a minute, and
 * at the end. A relay that is killed loses at most what it has sent since; the file says whether the last
 * life ended in order, and the start says so when it did not. The root keeps the same sum: of two for one
 * month the larger one counts, so that what either side has lost comes back with the next report or its
 * answer. */
#ifndef FOREVER_RELAY_LEDGER_H
#define FOREVER_RELAY_LEDGER_H
#include <stdint.h>
#include <jansson.h>

struct event_base;
struct ledger;

#define LEDGER_WRITE_S      5
#define LEDGER_IDLE_WRITE_S 60
#define LEDGER_IDLE_BYTES   1000000

struct ledger_conf {
    struct event_base *base;         /* NULL: nothing happens by itself; the caller ticks */
    const char *state;               /* directory; outlives the ledger */
    uint64_t (*sent)(void *context); /* since the start of the program, as billed; never less than before */
    void *context;
};

/* Reads the file; one that can't be read is told in the log and counts as none. */
struct ledger *ledger_new(const struct ledger_conf *conf);
void ledger_free(struct ledger *ledger); /* writes the file; blocks until it is there. NULL is fine */
/* Books what was sent since the last time; every 2 s by itself. */
void ledger_tick(struct ledger *ledger);

/* {"since","bytes"}: start of the billing month in seconds since 1970, and what was sent in it. A new
 * reference. */
json_t *ledger_json(struct ledger *ledger);
/* What the root answers: {"since","bytes","reset_day"}. Anything else in its place is ignored. */
void ledger_told(struct ledger *ledger, const json_t *told);
/* Sent in the month that is on. */
uint64_t ledger_bytes(struct ledger *ledger, int64_t *since_s);

#endif
