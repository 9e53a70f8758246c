/* months_internal: what months.c (time, what goes wrong, the sums), months_listeners.c, months_relays.c,
 * months_drain.c and months_root.c share. */
#ifndef FOREVER_TESTS_SIM_MONTHS_INTERNAL_H
#define FOREVER_TESTS_SIM_MONTHS_INTERNAL_H
#include "common/billing.h"
#include "relay/admission.h"
#include "relay/bundle.h"
#include "relay/drain.h"
#include "relay/elsewhere.h"
#include "relay/ledger_sum.h"
#include "root/air/books.h"
#include "root/air/registry.h"
#include "tests/sim/sim.h"

#define RATE_BPS        128000.0
#define LINE_BPS        (RATE_BPS * 1.062) /* with what a line carries beside */
#define NOBODY          UINT32_MAX
#define MONTHS_ROOT_URL "http://root.example"
#define WHEEL           (1 << 17) /* seconds; nobody stays longer */
#define MAX_PLACES      20000     /* what relays say they take; lines are the limit */
#define DRAIN_S         60  /* as root/air/relays tells one whose allotment is used up; after SIGTERM, too */
#define DOWN_S          60  /* a relay that starts anew */
#define STORED_S        600 /* the root's and the relays' ledgers are on disk so often */

struct session {
    uint32_t next, relay;   /* the next that ends in the same second; where it is, NOBODY: it wants to */
    uint32_t after, before; /* at the relay */
    uint32_t visit;         /* of this place in the table */
    uint8_t place, resumes; /* resumes: reset, it goes on elsewhere at its byte */
};

/* A report as it was made: what the registry and the books are told. */
struct told {
    int64_t seq, since_s;
    uint64_t listeners, accepted, closed, bytes, month_bytes;
    struct admission_counts tickets;
    uint32_t life;
    uint8_t draining, counts;
};

struct machine {
    struct relay_terms terms;
    char session[24], url[40];
    struct ledger_sum ledger, disk;
    struct admission *admission;
    struct told late;        /* on its way */
    double late_s;           /* when it comes; 0: there is none */
    double changed_s, bytes; /* counted up to; of this life */
    double month_bytes,
        before_bytes; /* as the provider counts it: of its billing month, and the one before */
    int64_t month_ends_s;
    uint64_t accepted, closed, seq;
    uint32_t listeners, class, life;
    uint32_t kinds[2], first[2]; /* of those who can't resume, and who can: how many, the first one */
    double back_s, cut_s;        /* it is down, or cut off, until then; 0: not */
    double hurry_s;              /* it reports at each step until then */
    double stops_s;              /* when it was terminated */
    struct bundle_mount mount;   /* what its drain sees of it */
    struct drain *drain;         /* NULL: it is down */
    enum node_draining draining;
    struct elsewhere *elsewhere;  /* where it sends whom it moves */
    uint8_t moving, stops, ended; /* stops: by SIGTERM; ended: its drain says that all have left */
    uint8_t busy;                 /* one of the list */
    uint8_t emptied, settled;     /* settled: the month before is to be compared */
};

struct months {
    const struct sim_conf *conf;
    struct sim_random random;
    struct registry *root; /* NULL: it is down */
    struct books *books;
    struct stored { /* what the root has on disk, for each relay */
        struct billing_tally tally;
        struct registry_learned learned;
    } * store;
    struct registry_stays stays;
    double week[ROUTER_WEEK_HOURS], seen; /* listeners by the hour, of the statistics; those of this hour */
    unsigned seen_count;
    int remembers; /* something was learned and stored */
    double root_back_s;
    struct machine *machines;   /* the last one is the root, as one that serves listeners */
    uint32_t *busy, busy_count; /* that are down, drain, or have a report on its way */
    const struct sim_class *classes;
    unsigned class_count; /* and the root's own */
    struct sim_queue timers;
    int64_t boot_ns, wall_ns; /* now_s, for those who ask the clock */
    struct session *sessions;
    uint32_t free_session, session_count, session_capacity;
    struct waiting {
        uint32_t at, visit;
        int kept; /* away from relays by the reserve, when it asked last */
        double until_s;
    } * waiting;
    size_t waiting_count, waiting_capacity;
    uint32_t wheel[WHEEL];
    int64_t wall0_s, interval_s, step_s;
    double stay_s, now_s, measured_from_s, ends_s, stored_s;
    uint64_t listening, peak, joins, refused, misplaced, lost_listeners, redirects;
    uint64_t drains, moved[2], let_go, terminated, stranded,
        cut;                                   /* moved, for: an allotment's end; a restart */
    uint64_t kept_away, kept_refused, at_root; /* by the reserve: sent back to the root, then turned away */
    uint64_t over_line, over_allotment;
    uint64_t reports, lost, twice, delayed, answers_lost, roots, restarts, wiped;
    double longest_drain_s;
    double worst_ledger, worst_used; /* shares of an allotment: off at the end of a month; used of one */
    double *hours;                   /* [hour][place]: GB billed */
    double money, distance_money, total_gb, class_gb[SIM_CLASSES + 1];
    unsigned hour_count;
};

void months_set_now(struct months *m, double now_s);
int64_t months_ns(const struct months *m);
int64_t months_wall_s(const struct months *m);

/* months_listeners.c */
void months_join(struct months *m, unsigned place);
void months_end_sessions(struct months *m, int64_t second);
void months_try_again(struct months *m);
void months_lose(struct months *m, uint32_t relay); /* its listeners, who come again */
/* Of those who resume, or who don't, so many leave; how many. Who resumes is sent where the relay was told.
 */
uint32_t months_part(struct months *m, uint32_t relay, uint32_t most, int resume);

/* months_relays.c */
void months_settle(struct months *m, struct machine *r); /* its counters up to now */
void months_machine(struct months *m, uint32_t relay);   /* the first time */
void months_stop(struct months *m, uint32_t relay, double seconds, int wiped);
/* In order: its listeners are moved before. Not while it is cut off: what it was told of other nodes is old
 * by then. */
void months_terminate(struct months *m, uint32_t relay);
void months_hurry(struct months *m, uint32_t relay); /* it reports soon */
void months_step(struct months *m);                  /* what drains do, what comes late, who is back */
void months_report(struct months *m, uint32_t relay, int calm);
void months_midnight(struct months *m);

/* months_drain.c: relay/drain, and what stands around it. */
void months_drains_start(struct months *m);
struct drain *months_drain_new(struct months *m, struct machine *r);
void months_timers(struct months *m, double until_s); /* those that are due, each in its time */
void months_drains_end(struct months *m);

/* months_root.c */
void months_root_start(struct months *m);
void months_root_stop(struct months *m, double seconds, int store_too);
void months_store(struct months *m); /* each STORED_S */
/* The report has come: 1 with what it is answered, 0 when there is no root. */
struct answer {
    struct registry_month month;
    struct registry_ticket ticket;
    int tickets, drain, move_s;
    unsigned move;
    const char *elsewhere[ELSEWHERE_MAX]; /* borrowed until the next is answered */
    unsigned room[ELSEWHERE_MAX];
    size_t elsewhere_count;
};
int months_heard(struct months *m, uint32_t relay, const struct told *told, struct answer *out);
/* After a billing month: how far the root's ledger is off, as a share of the allotment. */
double months_off(struct months *m, uint32_t relay);

#endif
