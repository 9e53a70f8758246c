/* series: what nodes were like over time, and what they have sent, in a SQLite file of its own (stats.db): a
 * damaged library does not take it along, and every commit of it is fsynced.
 *
 * A row is one node's sample of one stretch: 10 s, kept for a day; 5 min, for three months; an hour, for
 * ever. The longer ones are made from the next shorter ones once their stretch is over, from what is stored:
 * so they come out the same after a restart in the middle, and a stretch that nobody measured has no row. The
 * work is done in slices of some milliseconds (series_work).
 *
 * Rows lie in the order (level, time, node): batches are appended, old ones are cut off in one piece; a
 * reader looks up each stretch of a node. Bytes a relay: a day of 10 s 300 kB, three months of 5 min 1.5 MB,
 * each year of hours 0.7 MB (bench-series measures them), and 12 kB of ledger.
 *
 * The ledger is bytes by node and UTC day, kept for LEDGER_DAYS; a smaller number than the one stored changes
 * nothing.
 *
 * Functions return -1 when the database fails, which is logged; library_broken and library_close serve for it
 * too. */
#ifndef FOREVER_ROOT_LIBRARY_SERIES_H
#define FOREVER_ROOT_LIBRARY_SERIES_H
#include <stdint.h>
#include <jansson.h>

#include "root/sample.h"

struct series;

#define SERIES_NODES_MAX 100000 /* names ever; further ones are not recorded */
#define LEDGER_DAYS      400

/* dir: the state directory; NULL keeps all in memory. 0, or -1 with *cause. */
int series_open(struct series **out, const char *dir, char **cause);
void series_close(struct series *series); /* NULL is fine. A damaged file is set aside */
/* The file is damaged: close, and open again. */
int series_broken(const struct series *series);
/* As library_begin and library_commit. */
int series_begin(struct series *series);
int series_commit(struct series *series);
void series_undo(struct series *series); /* of what was begun nothing is written */

/* A batch's nodes between series_begin and series_commit. t: start of the stretch, a multiple of
 * SAMPLE_STEP_S. 0, or -1. */
int series_put(struct series *series, int64_t t, const struct sample_node *node);
/* Sums up and forgets, a slice: 1 when there is more to do, 0 when there is nothing now, -1. */
int series_work(struct series *series, int64_t now_s);

/* [from_s, to_s) in steps of step_s, a multiple of the step of the coarsest level that is not coarser than
 * it; from_s is a multiple of step_s. Appends to columns (sample_columns) a value for each step of which
 * anything is known. 0 (also when there is no such node), or -1. */
int series_read(struct series *series, const char *name, int64_t from_s, int64_t to_s, int64_t step_s,
                json_t *columns);

/* That node's ledger goes. 0, or -1. */
int series_ledger_drop(struct series *series, const char *name, int64_t now_s);
/* The ledger of nodes with an id above *after for the days [from_day, to_day), at most `most` nodes, as
 * {"name","days":[day, bytes, ...]} into array; *after is then the last one's. How many were looked at, or
 * -1. */
int series_ledger(struct series *series, int64_t *after, int64_t from_day, int64_t to_day, int most,
                  json_t *array);

/* What is known of a node and not of its past (root/air/recall.h): any JSON object of at most
 * SERIES_LEARNED_MAX bytes, another of the node is replaced; forgotten with the ledger. Between series_begin
 * and series_commit, as series_put. 0, or -1. */
#define SERIES_LEARNED_MAX 1024
int series_learn(struct series *series, const char *name, const json_t *values);
/* Of nodes with an id above *after, at most `most`, {"name","values"} each into array; *after is then the
 * last one's. How many, or -1. */
int series_learned(struct series *series, int64_t *after, int most, json_t *array);

#endif
