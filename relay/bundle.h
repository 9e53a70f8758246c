/* bundle: the mounts a relay carries, each with a node of its own and a link that is up only while somebody
 * listens there. The main one is always known; the root tells the others with its answers to the reports, and
 * the list is kept for the next start. One that the root no longer has goes, with its listeners. */
#ifndef FOREVER_RELAY_BUNDLE_H
#define FOREVER_RELAY_BUNDLE_H
#include <stddef.h>

#include "common/fetch.h"
#include "common/http.h"
#include "common/mount.h"
#include "relay/node.h"
#include "relay/pull.h"

struct bundle;

struct bundle_conf {
    struct event_base *base;
    struct http_server *http;
    struct fetch_client *client;
    const char *state, *public_url, *id; /* outlive the bundle; id: this node's (relay/lineage) */
    struct parents *parents;             /* outlive it too */
    int icecast; /* the one parent is the address of an Icecast server's stream, which is the only mount */
    double lead_s, linger_s;
    struct admission *admission; /* tickets; NULL: nobody gives any out */
    struct gate *gate;           /* who may sit, at all mounts together; NULL: whoever comes */
    struct elsewhere *elsewhere; /* where listeners go that find no place here; outlives the bundle */
    int (*healthy)(void *context, char *text, size_t size);
    void (*failed)(void *context, const char *why); /* as pull_conf's */
    void *context;
};

struct bundle_mount {
    struct mount_spec spec;
    struct node *node;
    struct pull *pull;
    struct bundle *bundle;
};

/* Opens what the state directory holds. 0, or -1 with *cause. */
int bundle_new(struct bundle **out, const struct bundle_conf *conf, char **cause);
void bundle_free(struct bundle *bundle);
/* The root's list, the main mount first. 0, or -1 with *cause when a ring can't be opened. */
int bundle_set(struct bundle *bundle, const struct mount_spec *list, size_t count, char **cause);
/* Every few seconds: what nobody needs any more gives its room back. */
void bundle_tick(struct bundle *bundle);

size_t bundle_count(const struct bundle *bundle);
/* The i-th, the main one first; valid until bundle_set. NULL past the end. */
const struct bundle_mount *bundle_at(const struct bundle *bundle, size_t index);
/* A mount that can be heard now, the main one if it can; NULL when there is none. */
struct node *bundle_heard(const struct bundle *bundle);
/* A link that is up; NULL when there is none. */
const struct pull *bundle_following(const struct bundle *bundle);
/* How far ahead of the root's clock the node of such a link is; 0 without one. */
double bundle_offset_s(const struct bundle *bundle);
/* The id of the node that such a link comes from; "" for the root (or one that does not say), NULL without
 * one. Borrowed. */
const char *bundle_upstream(const struct bundle *bundle);
/* What is wrong with a link; NULL when nothing is. */
const char *bundle_trouble(const struct bundle *bundle);
/* Of all mounts, those that are gone among them. */
void bundle_counts(const struct bundle *bundle, struct fanout_counts *out);
void bundle_pulls(const struct bundle *bundle, struct pull_counts *out);
unsigned bundle_waiting(const struct bundle *bundle);
uint64_t bundle_peak(const struct bundle *bundle);

#endif
