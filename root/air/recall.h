/* recall: what the root has learned of its relays, over its own restarts. Without it a root that starts in
 * mid-month would take every allotment for worth nothing and every hour for the average one, and choose
 * accordingly for hours.
 *
 * What an hour of the week is like is read from the statistics over time, which have every hour. What can't
 * be: what a GB of each allotment is worth (the sum of all that came before, step by step), the share of
 * tickets that listeners come with, and how long they stay. The store keeps these; they are told every
 * RECALL_SAVE_S and before the end, so a root that is killed goes on with what it thought that long ago.
 *
 * The store is asked when it is up, and again while it does not answer; until it has, nothing is told to it.
 * Air never waits. */
#ifndef FOREVER_ROOT_AIR_RECALL_H
#define FOREVER_ROOT_AIR_RECALL_H
#include <jansson.h>

#include "root/air/router.h"

#define RECALL_SAVE_S 600
#define RECALL_WEEKS  12 /* that are read: the share of older ones is below 2 % */

struct air;
struct recall;

struct recall *recall_new(struct air *air);
void recall_free(struct recall *recall);
/* Four times a second. */
void recall_tick(struct recall *recall);
/* Before the workers are told to end. */
void recall_flush(struct recall *recall);
/* A store serves. */
void recall_store_up(struct recall *recall);

/* The hours of the week, of columns by the hour (sample_columns) of the cluster and of the root, whose own
 * listeners are at no relay (NULL: there was none). An hour of which less than half is covered tells nothing.
 * Pure. */
void recall_week(const json_t *cluster, const json_t *root, double week[ROUTER_WEEK_HOURS]);

#endif
