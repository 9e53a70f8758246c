/* reach: which relays can be reached at their public address, by calling them (dial): when one enrols, at
 * each new session or address that it reports, and every few minutes. One that was reached is given a second
 * chance before it counts as gone, since a dial can fail for our own sake. Only relays that report are
 * called; at most REACH_AT_ONCE are at a time, so that ten thousand after a restart are no storm.
 *
 * What is known hangs on the roster's entries (roster_attach). */
#ifndef FOREVER_ROOT_AIR_REACH_H
#define FOREVER_ROOT_AIR_REACH_H
#include <stdint.h>

#include "root/air/dial.h"
#include "root/air/roster.h"

struct event_base;
struct reach;

#define REACH_AT_ONCE 16
#define REACH_EVERY_S 300
#define REACH_RETRY_S 5  /* after the first failure of one that was reached */
#define REACH_GONE_S  30 /* while it is not reached */

struct reach_conf {
    struct event_base *base;
    struct roster *roster;
    /* Whether listeners may be sent there has changed, or may have. */
    void (*told)(void *context, const struct roster_entry *entry, int reached);
    void *context;
};

struct reach *reach_new(const struct reach_conf *conf);
void reach_free(struct reach *reach); /* before the roster */

/* A report came, from that session of the program. */
void reach_reported(struct reach *reach, const struct roster_entry *entry, const char *url,
                    const char *session, int64_t now_ns);
/* Calls at once, whoever asks is told (once, from the loop, unless the entry goes first): 0, or -1 with
 * *cause. A later call for the same entry takes the place of one that has not ended. */
int reach_ask(struct reach *reach, const struct roster_entry *entry, const char *url,
              void (*done)(void *context, const struct dial_result *result), void *context, char **cause);
/* Whoever asked has gone. */
void reach_unask(struct reach *reach, const struct roster_entry *entry, const void *context);
/* The entry goes, or its credential has ended. */
void reach_forget(struct reach *reach, const struct roster_entry *entry);
void reach_tick(struct reach *reach, int64_t now_ns);

struct reach_view {
    int known;         /* it has been called since the root started */
    int reached;       /* listeners may be sent there */
    const char *words; /* of the last call; borrowed */
    const char *url;
    int64_t asked_ns; /* boot time of that call's end */
    double ahead_s;   /* its clock less ours; NAN */
};
/* 0, or -1 when nothing is known. */
int reach_view(const struct roster_entry *entry, struct reach_view *out);

#endif
