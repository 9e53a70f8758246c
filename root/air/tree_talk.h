/* tree_talk: what reports tell the tree, and what the answers tell of it: where to pull from, with a grant
 * that the one above knows to be ours; and to those that feed others the key by which they know. */
#ifndef FOREVER_ROOT_AIR_TREE_TALK_H
#define FOREVER_ROOT_AIR_TREE_TALK_H
#include <jansson.h>

#include "root/air/tree.h"

struct air;
struct json_flat;
struct json_write;
struct roster_entry;
struct tree_talk;

/* fanout: as struct tree_conf's. NULL with *cause. */
struct tree_talk *tree_talk_new(struct air *air, unsigned fanout, char **cause);
void tree_talk_free(struct tree_talk *talk);
/* A report of that relay (NULL: of one with the shared token) was taken: puts its members into the answer. */
void tree_talk_heard(struct tree_talk *talk, const struct roster_entry *entry, const struct json_flat *report,
                     struct json_write *answer);
/* The relay was revoked or removed: those that feed it are told to end its links. talk NULL is fine. */
void tree_talk_revoked(struct tree_talk *talk, const char *name);
/* As tree_view; of a talk that is NULL nothing is known. */
int tree_talk_view(const struct tree_talk *talk, const char *name, struct tree_view *out);
void tree_talk_counts(const struct tree_talk *talk, struct tree_counts *out);

#endif
