/* sim: the relay network in virtual time. The choice (root/air/router), the registry, tickets, relays'
 * admission and their drain are the programs' own; listeners, relays' counters, the network and the clock are
 * made up here, from one seed. */
#ifndef FOREVER_TESTS_SIM_H
#define FOREVER_TESTS_SIM_H
#include <stddef.h>
#include <stdint.h>

#include "root/air/terms.h"

#define SIM_S INT64_C(1000000000)

/* Randomness */
struct sim_random {
    uint64_t state;
};
uint64_t sim_bits(struct sim_random *random);
double sim_unit(struct sim_random *random); /* [0, 1) */
double sim_exponential(struct sim_random *random, double mean);
unsigned sim_poisson(struct sim_random *random, double mean);
/* A listener's stay: most are short, some last for hours; mean as given, and who is there stays 2.3 times as
 * long on average. */
double sim_stay(struct sim_random *random, double mean);

/* Events in order of time: equal times in no order. */
struct sim_event {
    int64_t at_ns;
    uint32_t kind, who;
    void *what;
};
struct sim_queue {
    struct sim_event *heap;
    size_t count, capacity;
};
void sim_push(struct sim_queue *queue, struct sim_event event);
int sim_pop(struct sim_queue *queue, struct sim_event *out); /* 0: it is empty */

/* Timers of the programs' own state machines (what libevent does for them). The scenario keeps each one that
 * is armed, and fires it when its time has come; `base` is what the state machine was given for its event
 * base. */
struct sim_timer;
typedef void sim_timer_keep(const void *base, double seconds, uint32_t turn, struct sim_timer *timer);
void sim_timers_start(sim_timer_keep *keep);
void sim_timer_fire(struct sim_timer *timer, uint32_t turn);
void sim_timers_end(void); /* those that are left go, too */

/* The fleet: kinds of machines as they are rented, in turn. */
#define SIM_CLASSES 12
struct sim_class {
    const char *region;
    double share; /* of all relays */
    double price_per_gb, allotment_tb;
    double uplink_mbps;
};
extern const struct sim_class sim_classes[SIM_CLASSES];
/* Where one relay is larger than most others together. */
#define SIM_LARGE_CLASSES 3
extern const struct sim_class sim_large_classes[SIM_LARGE_CLASSES];
/* The class of each of `count` relays, its terms with a name. */
unsigned sim_terms(const struct sim_class *classes, unsigned class_count, unsigned relay, unsigned count,
                   double scale, struct relay_terms *out);
/* Where listeners are, their share, and how many hours their evening is before UTC's. */
#define SIM_PLACES 5
struct sim_place {
    const char *region;
    double share;
    int hours;
};
extern const struct sim_place sim_places[SIM_PLACES];
/* Listeners there now for each one on average: evenings are long, nights short, weekends fuller. */
double sim_diurnal(unsigned place, int64_t wall_s);

struct sim_conf {
    uint64_t seed;
    unsigned relays, listeners;
    int interval_s;       /* months: of reports; 0: a minute */
    int stay_s;           /* months: of listeners, on average; 0: two hours */
    unsigned restart_h;   /* months: the root starts anew every so many hours, too; 0: not */
    int forget;           /* and always without what it had learned */
    int one_large;        /* months: of sim_large_classes, from 11 relays to 29 */
    unsigned root_places; /* months: so many listeners the root serves when no relay takes them */
    int no_reserve;       /* months: nothing is kept for the loss of the largest relay */
    const char *dump;     /* months: where the instance for the optimum goes; NULL: nowhere */
};
/* Flash crowd, partitions, deaths, a restart of the root: minutes. Prints one JSON object; 0 when it kept
 * every bound. */
int sim_crowd(const struct sim_conf *conf);
/* Billing months of allotments and prices. Likewise. */
int sim_months(const struct sim_conf *conf);
/* Relays below relays. Likewise. */
int sim_tree(const struct sim_conf *conf);

#endif
