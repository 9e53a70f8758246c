/* crowd: many listeners of one station, each as a player would be: it asks, follows redirects, reads, and
 * when its connection breaks it comes back, after a pause that grows and is never the same twice. All of them
 * live in one thread over one epoll; listeners, time and attempts are bounded. */
#ifndef FOREVER_LOAD_CROWD_H
#define FOREVER_LOAD_CROWD_H
#include <signal.h>
#include <stdint.h>
#include <jansson.h>

#define LOAD_LISTENERS_MAX 20000
#define LOAD_SECONDS_MAX   3600
#define LOAD_RAMP_MAX      600

struct load_options {
    const char *url;
    int listeners;        /* that read what comes */
    int stalled, trickle; /* beside them: that read nothing; one byte a second */
    double ramp_s;        /* they begin spread over this */
    double seconds;       /* from when all of them hear */
    double patience_s;    /* or this long after the ramp, whoever hears by then */
    double jitter_s;      /* the first pause before coming back, at most */
    double pause_s;       /* any of them, at most */
    double timeout_s;     /* without a word */
    int listen_api;       /* ask /api/listen first, and resume */
    int again;            /* ask it each time that a connection broke */
    int icy, http10, verify, reconnect, announce, progress;
    unsigned sources; /* own addresses to come from: 127.1.0.1 and so on; 0 the system's choice */
    unsigned seed;
    const volatile sig_atomic_t *over; /* the run ends when it becomes true; NULL: when its time is over */
};

/* Runs to the end. The report, owned by the caller; *well: all heard without break, mismatch or silence over
 * 2 s. NULL with an owned *cause when it could not begin. */
json_t *load_run(const struct load_options *options, int *well, char **cause);

#endif
