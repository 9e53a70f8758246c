/* crowd_internal: what crowd.c (what goes wrong, and the sums), crowd_listeners.c and crowd_reports.c share.
 */
#ifndef FOREVER_TESTS_SIM_CROWD_INTERNAL_H
#define FOREVER_TESTS_SIM_CROWD_INTERNAL_H
#include "relay/admission.h"
#include "root/air/registry.h"
#include "tests/sim/sim.h"

#define RATE_BPS 128000.0
#define NOBODY   UINT32_MAX
#define MS       INT64_C(1000000)
#define WAIT_NS  (20 * SIM_S) /* a root keeps a listener waiting so long */
#define STAY_S   3600.0
#define JOINS    1.2 /* of its places, a relay takes so many in a minute */

enum {
    ARRIVES,  /* a listener comes for the first time */
    ASKS,     /* asks the root (again) */
    REACHES,  /* is at the relay; what: the ticket */
    LEAVES,   /* who: the listener, what: its visit's number */
    REPORTS,  /* a relay makes its report */
    REPORTED, /* it has come to the root; what: the report */
    ANSWERED, /* what: the answer's ticket member */
    PHASE,
    SECOND
};

struct person {
    int64_t came_ns, asked_ns;
    uint32_t relay, after, before, visit;
    uint8_t place, tries, bot, playing;
};

struct edge {
    struct relay_terms terms;
    struct admission *admission;
    uint32_t max, listeners, first;
    uint64_t accepted, closed, bytes, seq;
    unsigned life;
    double joins, joins_per_s;
    int64_t joins_ns;
    int dead, cut; /* it does not run; what it sends to the root is lost */
};

struct crowd {
    const struct sim_conf *conf;
    struct sim_random random;
    struct sim_queue queue;
    struct registry *root; /* NULL: it is down */
    unsigned roots;
    struct edge *edges;
    struct person *people;
    uint32_t people_count, people_capacity, *spare, spare_count;
    uint32_t *latencies;
    size_t latency_count, latency_capacity;
    int64_t now_ns, end_ns;
    double arrivals_per_s;
    uint64_t joins, playing, peak, bots, redirects, held, refused, misplaced_full, misplaced_dead,
        misplaced_joins, over_cap, over_line, lost, back, reports, reports_lost, reports_twice, reports_late,
        gave_up, untrue;
    double error_sum, listening_sum;
    uint64_t worst_error;
};

void crowd_later(struct crowd *crowd, double seconds, uint32_t kind, uint32_t who, void *what);
double crowd_way_s(struct crowd *crowd);

/* crowd_listeners.c */
void crowd_arrive(struct crowd *crowd, double after_s);
void crowd_ask(struct crowd *crowd, uint32_t who);
void crowd_reach(struct crowd *crowd, uint32_t who, char *ticket); /* ticket: taken over */
void crowd_leave(struct crowd *crowd, uint32_t who);
/* Their relay has died: they try again. */
void crowd_lose(struct crowd *crowd, uint32_t relay);

/* crowd_reports.c */
void crowd_report(struct crowd *crowd, uint32_t relay);
void crowd_reported(struct crowd *crowd, uint32_t relay, json_t *report); /* taken over */

#endif
