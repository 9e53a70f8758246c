/* tree_internal: what tree.c (the scenario and its sums), tree_net.c (links) and tree_stage.c (what a relay's
 * pull stands on) share. The pull itself, its parents and lineage, the root's tree and the grants are the
 * programs' own; the linker puts what stands here in the place of sockets and rings (--wrap). */
#ifndef FOREVER_TESTS_SIM_TREE_INTERNAL_H
#define FOREVER_TESTS_SIM_TREE_INTERNAL_H
#include "common/link_grant.h"
#include "relay/lineage.h"
#include "relay/parents.h"
#include "relay/pull.h"
#include "relay/uplink.h"
#include "root/air/tree.h"
#include "tests/sim/sim.h"

#define TREE_KBPS     128
#define TREE_BPS      (TREE_KBPS * UINT64_C(1000))
#define TREE_FRAMES_S (44100.0 / 1152) /* frames in a second */
#define TREE_LEAD_S   240
#define TREE_BACK_S   30   /* kept of what has aired */
#define TREE_STATION  (-1) /* the root, as one that feeds */
#define TREE_NOBODY   (-2)

struct machine_relay {
    char name[16], id[LINEAGE_ID_MAX], url[48], pin[48];
    uint64_t uplink_bps;
    unsigned listeners, links, asking, life;
    struct parents *parents;
    struct pull *pull;          /* NULL: it does not run */
    json_t *path;               /* its own lineage, as last known */
    uint64_t head, tail, heard; /* frames held; up to where its listeners have heard */
    struct uplink *fed_by;
    int64_t lost_ns; /* its link has gone, and there is no other yet; 0: not */
    unsigned far_s;  /* further from the root than may be, for so long */
    int has_lead, feeds, gone, side, draining, misled; /* gone: nothing answers; side: of a partition */
    unsigned char keys[2][LINK_GRANT_KEY_BYTES];
    int key_count;
};

enum { TREE_TIMER, TREE_ARRIVES, TREE_FAILS, TREE_PATH, TREE_SWEEP, TREE_REPORT, TREE_START, TREE_PHASE };

struct tree_sim {
    const struct sim_conf *conf;
    struct sim_random random;
    struct sim_queue queue;
    int64_t now_ns, wall_ns, end_ns;
    struct machine_relay *relays;
    struct tree *root; /* NULL: it is down */
    unsigned fanout, root_links;
    unsigned char master[LINK_GRANT_KEY_BYTES];
    struct uplink **live; /* links that are asked for or up, and some that are over */
    size_t live_count, live_capacity;
    struct uplink *all;
    /* sums */
    uint64_t links_begun, refused_loops, ungranted, refused, gap_frames, dry_frames, late_dry_frames,
        first_dry_frames, dry_relays;
    uint64_t loops, too_far, over_uplink, over_root_s, twice_root_s;
    unsigned root_peak, root_before, deepest, longest_far_s;
    double root_peak_s;
    uint32_t *waits_ms;
    size_t wait_count, wait_capacity;
};
extern struct tree_sim *tree_world;

void tree_later(double seconds, uint32_t kind, uint32_t who, void *what);
uint64_t tree_air(void); /* the frame on air now */

/* tree_net.c */
void tree_arrives(struct uplink *u);
void tree_fails(struct uplink *u);
void tree_path(struct uplink *u);
void tree_push(void); /* what links bring in a second */
void tree_path_changed(struct machine_relay *relay);
/* It is gone: at once for those it feeds when `heard`, else they have to find out. */
void tree_cut_links(int from, int heard);
int tree_link_from(
    const struct uplink *u); /* of whom it comes: a relay, TREE_STATION; TREE_NOBODY: it is not up */
void tree_net_free(void);

#endif
