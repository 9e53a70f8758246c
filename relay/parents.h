/* parents: the nodes this relay can pull from, in order: the one that the root proposes, then those it was
 * told of. Which of them to use is by how they fare; no I/O, the caller brings the clock.
 *
 * One that fails rests, longer each time it fails again soon after it worked, so that one that comes and goes
 * is not gone back to each time. The first in order that does not rest is the one to use; while all rest, the
 * one that was not tried for longest. */
#ifndef FOREVER_RELAY_PARENTS_H
#define FOREVER_RELAY_PARENTS_H
#include <stddef.h>
#include <stdint.h>

#define PARENTS_MAX        8
#define PARENTS_REST_MS    10000 /* after the first failure */
#define PARENTS_REST_CAP_S 300
#define PARENTS_WELL_S     60 /* it works for so long: what was before is forgotten */

struct parents;

struct parent {
    int id;            /* stays while it is known; never used for another */
    const char *url;   /* without slash at its end */
    const char *pin;   /* of its key; NULL: none, and then its certificate's name counts */
    const char *token; /* NULL: none */
    int proposed;      /* by the root: it takes no reports */
};

struct parents *parents_new(void);
void parents_free(struct parents *parents);
/* At the end; the texts are copied. 0, or -1 when there are PARENTS_MAX. */
int parents_add(struct parents *parents, const char *url, const char *pin, const char *token);
/* The one to use before all others, while the root says so; url NULL: none any more. The same one again
 * changes only its token. 1 when there is another than before. */
int parents_propose(struct parents *parents, const char *url, const char *pin, const char *token);

/* All that it was told of are asked with this token from now on; a proposed one is not. */
void parents_set_token(struct parents *parents, const char *token);

size_t parents_count(const struct parents *parents);
/* In order; NULL past the end. Valid until the next call that changes them. */
const struct parent *parents_at(const struct parents *parents, size_t index);
const struct parent *parents_find(const struct parents *parents, int id); /* NULL: not known any more */

/* The one to ask now. NULL when there is none at all. */
const struct parent *parents_choose(const struct parents *parents, int64_t now_ns);
/* One that comes before `id` in order and does not rest: NULL when there is none. */
const struct parent *parents_better(const struct parents *parents, int id, int64_t now_ns);
/* The first of the others that does not rest; NULL: none. */
const struct parent *parents_other(const struct parents *parents, int id, int64_t now_ns);

/* It failed, was refused or was silent; it brings the programme. */
void parents_failed(struct parents *parents, int id, int64_t now_ns);
void parents_worked(struct parents *parents, int id, int64_t now_ns);

#endif
