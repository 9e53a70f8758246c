/* overview: the relays as an operator looks at them: how each fares in a word or two, what it has sent in its
 * billing month, what that costs. One place says it, for the dashboard and for programs. Pure. */
#ifndef FOREVER_ROOT_AIR_OVERVIEW_H
#define FOREVER_ROOT_AIR_OVERVIEW_H
#include <stdint.h>
#include <jansson.h>

#include "root/air/books.h"
#include "root/air/registry.h"
#include "root/air/tree.h"

enum overview_level {
    OVERVIEW_GOOD,
    OVERVIEW_NOTE, /* something to know of */
    OVERVIEW_BAD   /* something to see to */
};
extern const char *const overview_levels[3];

struct overview {
    /* given */
    struct registry_view view;
    const struct book *book; /* NULL: nothing is kept of it yet */
    const char *reach_words; /* why it can't be reached; NULL: nothing is known */
    struct tree_view tree;   /* whom it gets the programme from; all 0: nothing is known */
    int awaited;             /* on the operator's list, and has not enrolled yet */
    double root_up_s;        /* since the root started */
    int64_t now_s;           /* since 1970 */
    /* made by overview_judge */
    struct registry_month month, before;
    uint64_t projected_bytes;
    double gone; /* of the month: 0 to 1 */
    enum overview_level level;
    char words[160];
};

void overview_judge(struct overview *overview);
/* A line of the list, and a line of the ledger; new references. */
json_t *overview_json(const struct overview *overview);
json_t *overview_ledger_json(const struct overview *overview);
/* Of so many bytes under those terms. */
double overview_cost(const struct relay_terms *terms, uint64_t bytes);

#endif
