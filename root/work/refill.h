/* refill: what the spool lacks between the air and the programme's head, rendered again.
 *
 * Normally it lacks nothing, whoever wrote it. It does after the first start with more than one mount, when
 * the file was lost, or when the machine went down before it reached the disk. */
#ifndef FOREVER_ROOT_WORK_REFILL_H
#define FOREVER_ROOT_WORK_REFILL_H
#include <stdint.h>

#include "root/mix/render.h"
#include "root/work/spool.h"

struct refill;

/* Looks at blocks [from, to); NULL when all are there, or none can be rendered. Both are borrowed. */
struct refill *refill_new(struct spool *spool, struct programme *programme, uint64_t from, uint64_t to);
void refill_free(struct refill *refill);
/* The programme was cut: blocks from this one on are not wanted. */
void refill_cut(struct refill *refill, uint64_t block);
/* Renders some blocks: 1 when there are more, 0 when it is done (or can't go on, which is logged). */
int refill_step(struct refill *refill, unsigned blocks);

#endif
