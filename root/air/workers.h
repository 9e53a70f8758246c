/* workers: the lives of the worker processes: start, READY, restart with backoff, replacement, end.
 *
 * Each role has its places (one; analyse as many as configured). A place holds the worker that serves, and,
 * while it is being replaced, the next generation as well. The next one starts beside the present one and
 * says READY; then it takes over and the old one is told to quit, finishes the item at hand and is killed if
 * it has not drained in time. The studio's frames come from one hand only: there the old one drains first,
 * the new one begins when it is gone. A next generation that dies or is late with READY changes nothing.
 *
 * Replacement is asked for by workers_swap, and happens by itself when the worker executable changes on disk
 * (and has then been left alone for a second). A live worker lives as long as its source: it is started by
 * workers_begin, never by itself, and not replaced. scan starts anew whenever the store does: what it had
 * told the old one may be lost. */
#ifndef FOREVER_ROOT_AIR_WORKERS_H
#define FOREVER_ROOT_AIR_WORKERS_H
#include <jansson.h>

#include "root/air/switchboard.h"

struct event_base;
struct workers;

struct workers_conf {
    const char *path; /* of the worker executable */
    unsigned analysers;
    int coder;        /* 1: there are mounts beside the main one */
    int job_grace_ms; /* beyond the deadline the store gave; 0: 5 s */
    int drain_ms;     /* a replaced worker is killed after this; 0: 3 s for the studio, 10 s for others */
    /* WIRE_CONFIG's body; a new reference */
    json_t *(*configure)(void *context, enum role role, unsigned generation);
    /* A worker of this role took over: `end` serves. */
    void (*up)(void *context, enum role role, struct switch_end *end);
    /* Nobody serves the role for now. */
    void (*down)(void *context, enum role role);
    /* An event for air other than READY; as in switchboard.h. */
    int (*event)(void *context, struct switch_end *end, const struct wire_row *row, const struct msg *message,
                 json_t *body, char **cause);
    /* All workers have ended after workers_stop. */
    void (*stopped)(void *context);
    void *context;
};

/* Starts all roles. */
struct workers *workers_new(struct event_base *base, const struct workers_conf *conf);
/* Asks all to quit; those that have not ended after 3 s are killed; then conf.stopped. */
void workers_stop(struct workers *workers);
/* Kills what is left, without waiting. */
void workers_free(struct workers *workers);
struct switchboard *workers_switchboard(struct workers *workers);
/* Starts the replacement of a role's workers. 0, or -1 with *cause when one is under way. */
int workers_swap(struct workers *workers, enum role role, char **cause);
/* Starts the one life of a worker that is there on demand (live): `up` follows unless it fails, `down`
 * always. */
void workers_begin(struct workers *workers, enum role role);
/* Tells it to quit; it is killed when it does not within a second. */
void workers_dismiss(struct workers *workers, enum role role);
/* Ends the worker that serves the role because it fails; another one follows. */
void workers_fail(struct workers *workers, enum role role, const char *why);

/* [{"role","index","pid","state","generation","restarts","uptime_s","job"?}]: a new reference */
json_t *workers_json(const struct workers *workers);
unsigned workers_restarts(const struct workers *workers, enum role role);
/* 1 when a worker of the role serves. */
int workers_serving(const struct workers *workers, enum role role);

#endif
