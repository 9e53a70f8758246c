/* tree: which relay gets the programme from which. Pure: no I/O, the caller brings the clock, which never
 * goes back.
 *
 * Relays are fed by the root until there are `fanout` of them; further ones under relays that have said where
 * others link and whose uplink is known to carry one more at twice its rate, the nearest to the root first,
 * then the one with most to spare. No relay ends up below itself, none further than TREE_HOPS_MAX from the
 * root, and when there is no room anywhere it is the root that feeds.
 *
 * A relay stays where it is as long as that works: it is moved when the root feeds more than that (first one
 * that feeds nobody, after a minute one with all that are below it), when the one above it is gone, drains,
 * has less uplink than it feeds, or could not be pulled from (and then not back there for some minutes); and
 * it comes back to the root when a tenth of the root's places are free, one every ten seconds. A root that
 * has started anew leaves all where they say they are. A relay that is silent for TREE_ALIVE_S is gone. */
#ifndef FOREVER_ROOT_AIR_TREE_H
#define FOREVER_ROOT_AIR_TREE_H
#include <stddef.h>
#include <stdint.h>

struct tree;

#define TREE_MAX      16384
#define TREE_HOPS_MAX 4 /* as relay/lineage's */
#define TREE_ALIVE_S  10
#define TREE_NAME_MAX 65
#define TREE_ID_MAX   17

struct tree_conf {
    unsigned fanout; /* relays that the root feeds itself; 0: all */
};

struct tree *tree_new(const struct tree_conf *conf);
void tree_free(struct tree *tree);

struct tree_report {       /* texts are copied */
    const char *name, *id; /* id: of this life of its program */
    const char *upstream;  /* id of the relay it pulls from now, "" for the root; NULL: it does not pull */
    const char *url, *pin; /* where others link; NULL: nowhere */
    uint64_t uplink_bps;   /* 0: not known */
    uint64_t used_bps;     /* by its listeners */
    uint64_t wants_bps;    /* of its own link */
    int draining;
};

enum tree_place {
    TREE_AS_IT_IS, /* not known yet: nothing is to change */
    TREE_ROOT,
    TREE_UNDER
};
struct tree_parent { /* borrowed until the next report */
    const char *name, *id, *url, *pin;
};
/* A relay has reported: where it is to get the programme from; *parent with TREE_UNDER. */
enum tree_place tree_reported(struct tree *tree, const struct tree_report *report, int64_t now_ns,
                              struct tree_parent *parent);

/* The relay is none any more; its id, 0 or -1 when it is not known. */
int tree_forget(struct tree *tree, const char *name, int64_t now_ns, char id[TREE_ID_MAX]);

#define TREE_OF_ROOT "root" /* in place of a relay's name */
struct tree_view {          /* texts are borrowed until the next report */
    const char *upstream; /* by its last report: name of the relay it pulls from, TREE_OF_ROOT, the id of one
                             that is not known here; NULL: it does not pull */
    const char *parent;   /* from which it is to pull: a relay's name, TREE_OF_ROOT */
    unsigned feeds;       /* relays that are to pull from it */
};
/* 0, or -1 when it is not known, or has been silent for TREE_ALIVE_S. */
int tree_view(const struct tree *tree, const char *name, int64_t now_ns, struct tree_view *out);

struct tree_counts {
    unsigned known, direct, deepest; /* deepest: hops of the furthest one */
    uint64_t moves, looks;           /* looks: through all of them, for a place */
};
void tree_counts(const struct tree *tree, struct tree_counts *out);

#endif
