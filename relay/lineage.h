/* lineage: the way the programme comes to a node: the ids of the relays between the root and it, the node
 * itself last. A relay hands on its own with each link it serves, so that no relay feeds itself by way of
 * others and no way gets too long. */
#ifndef FOREVER_RELAY_LINEAGE_H
#define FOREVER_RELAY_LINEAGE_H
#include <jansson.h>

#define LINEAGE_HOPS_MAX 4 /* relays on a way */
#define LINEAGE_ID_MAX   17

/* A fresh id for this life of the program. */
void lineage_make_id(char id[LINEAGE_ID_MAX]);
/* Whether a node may get the programme from one that has it by `path` (borrowed; NULL: from the root itself):
 * 0, or -1 with *cause. */
int lineage_check(const json_t *path, const char *id, char **cause);
/* The path of a node that gets it so: a new reference. */
json_t *lineage_extend(const json_t *path, const char *id);
/* Whether a node of that own path (itself last; NULL: not known yet) may feed the one of id `child` ("": it
 * does not say): 0, or -1 with *why. */
int lineage_may_feed(const json_t *own, const char *child, const char **why);

#endif
