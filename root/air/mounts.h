/* mounts: the one mix at several bit rates.
 *
 * The main mount is what the station lives by: its ring leads, its pacer is the clock. A further mount has a
 * ring, a fan-out and links of its own at the same positions and branches; its marks are the main one's. Its
 * frames come from the coder, which encodes what the studio has rendered, up to the main mount's head.
 *
 * A mount that nobody hears sleeps: nothing is encoded, its ring gives its room back. The first listener or
 * relay wakes it: it begins a burst (as long as was asked for) before the air, gets what a listener needs at
 * once and the rest of the lead at FILL_RATE times real time. It goes to sleep when nobody has heard it for
 * --mount-linger, unless it is on always. */
#ifndef FOREVER_ROOT_AIR_MOUNTS_H
#define FOREVER_ROOT_AIR_MOUNTS_H
#include <stdint.h>
#include <jansson.h>

#include "common/fanout.h"
#include "common/filler.h"
#include "common/link.h"
#include "common/mount.h"
#include "common/ring.h"
#include "common/station.h"
#include "root/wire.h"

struct air;
struct mounts;

struct mount {
    struct mount_spec spec;
    /* the main one's are air's own */
    struct ring *ring;
    struct filler *filler; /* of each mount, the main one among them */
    struct fanout *fanout;
    struct link_server *link;
    struct station *station;
    int awake;
    uint64_t frames, wakes; /* from the coder; times it woke */
    double wake_s;          /* from the last waking to its first sound; 0: it has not come yet */
    /* private */
    struct mounts *mounts;
    unsigned index;
    uint32_t wake;       /* counts up with each new start; what the coder answers to an older one is void */
    int catching_up;     /* it began, and has not reached the air yet */
    int lacked;          /* that the spool lacks something was logged */
    int told;            /* the coder has the present order's start */
    uint64_t until;      /* credit given to the coder */
    uint64_t paced_from; /* frame and time from which the fill's pace counts */
    int64_t paced_ns, wanted_ns, woken_ns, ordered_ns;
};

/* Opens the rings of the mounts beside the main one, whose ring air has. 0, or -1 with *cause. */
int mounts_open(struct mounts **out, struct air *air, char **cause);
/* Fan-outs, links and stations, after those of the main mount. */
void mounts_parts(struct mounts *mounts);
void mounts_stop(struct mounts *mounts); /* stations, fan-outs and links; before air's own */
void mounts_free(struct mounts *mounts);

size_t mounts_count(const struct mounts *mounts);
/* The i-th, the main one first; NULL past the end. */
struct mount *mounts_at(struct mounts *mounts, size_t index);
/* By its name, or "main"; NULL when there is none. */
struct mount *mounts_find(struct mounts *mounts, const char *name);

/* Somebody hears it or wants to, from back_s before the air: wakes it. 0, or -1 when it can't be woken
 * (logged). */
int mount_want(struct mount *mount, double back_s);
/* 1 when a listener can start. */
int mount_playable(const struct mount *mount);

/* The main ring has changed: branches follow, the coder may go on. */
void mounts_follow(struct mounts *mounts);
/* Four times a second. */
void mounts_tick(struct mounts *mounts);
void mounts_coder_up(struct mounts *mounts);
void mounts_coder_down(struct mounts *mounts);
/* WIRE_LACKS: logged once for each waking. */
void mounts_lacks(struct mounts *mounts, const json_t *body);
/* WIRE_ENCODED. -1 with *cause when the coder broke the rules. */
int mounts_encoded(struct mounts *mounts, const struct msg *message, char **cause);

/* Of all mounts together. */
void mounts_counts(const struct mounts *mounts, struct fanout_counts *out);
uint64_t mounts_listening(const struct mounts *mounts);
uint64_t mounts_peak(const struct mounts *mounts);
unsigned mounts_waiting(const struct mounts *mounts);
unsigned mounts_links(const struct mounts *mounts);
uint64_t mounts_link_bytes(const struct mounts *mounts);
/* The list as nodes tell it, and with what it does now (docs/API.md): new references. */
json_t *mounts_specs(const struct mounts *mounts);
json_t *mounts_json(const struct mounts *mounts);

#endif
