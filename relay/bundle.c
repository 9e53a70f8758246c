#include "relay/bundle.h"

#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"

#define LIST_MAX_BYTES 8192

struct bundle {
    struct bundle_conf conf;
    struct bundle_mount *mounts[MOUNTS_MAX];
    size_t count;
    uint64_t peak;
    /* of the mounts that are gone */
    struct fanout_counts counts;
    struct pull_counts pulls;
};

static unsigned listening(const struct bundle *b)
{
    unsigned sum = 0;
    for (size_t i = 0; i < b->count; i++)
        sum += node_listening(b->mounts[i]->node);
    return sum;
}

/* What a node asks */

static void on_wanted(void *context)
{
    pull_want(((struct bundle_mount *)context)->pull);
}

static int on_hopeless(void *context)
{
    return pull_refused(((struct bundle_mount *)context)->pull);
}

static int on_troubled(void *context)
{
    return pull_trouble(((struct bundle_mount *)context)->pull) != NULL;
}

static int on_healthy(void *context, char *text, size_t size)
{
    const struct bundle_conf *conf = &((struct bundle_mount *)context)->bundle->conf;
    return conf->healthy(conf->context, text, size);
}

static void on_failed(void *context, const char *why)
{
    const struct bundle_conf *conf = &((struct bundle_mount *)context)->bundle->conf;
    conf->failed(conf->context, why);
}

static void on_lineage(void *context, const json_t *path)
{
    node_set_lineage(((struct bundle_mount *)context)->node, path);
}

/* Coming and going */

static int add(struct bundle *b, const struct mount_spec *spec, char **cause)
{
    const struct bundle_conf *conf = &b->conf;
    struct bundle_mount *m = xcalloc(1, sizeof *m);
    m->spec = *spec;
    m->bundle = b;
    const char *name = b->count ? m->spec.name : NULL;
    const struct node_conf node = {.mount = name,
                                   .main = b->count ? b->mounts[0]->node : NULL,
                                   .kbps = spec->kbps,
                                   .foreign = conf->icecast,
                                   .base = conf->base,
                                   .http = conf->http,
                                   .state = conf->state,
                                   .public_url = conf->public_url,
                                   .lead_s = conf->lead_s,
                                   .gate = conf->gate,
                                   .admission = conf->admission,
                                   .wanted = on_wanted,
                                   .hopeless = on_hopeless,
                                   .troubled = on_troubled,
                                   .elsewhere = conf->elsewhere,
                                   .healthy = on_healthy,
                                   .context = m};
    if (node_new(&m->node, &node, cause)) {
        free(m);
        return -1;
    }
    const struct pull_conf pull = {.base = conf->base,
                                   .client = conf->client,
                                   .node = m->node,
                                   .parents = conf->parents,
                                   .id = conf->id,
                                   .mount = name,
                                   .icecast = conf->icecast,
                                   .lead_s = conf->lead_s,
                                   .linger_s = conf->linger_s,
                                   .failed = on_failed,
                                   .lineage = on_lineage,
                                   .context = m};
    m->pull = pull_new(&pull);
    b->mounts[b->count++] = m;
    return 0;
}

static void mount_free(struct bundle_mount *m)
{
    pull_free(m->pull);
    node_free(m->node);
    free(m);
}

static void pulls_add(struct pull_counts *sum, const struct pull_counts *more)
{
    sum->attempts += more->attempts;
    sum->failures += more->failures;
    sum->links += more->links;
    sum->resets += more->resets;
    sum->switches += more->switches;
    sum->bytes += more->bytes;
}

static void drop(struct bundle *b, size_t index)
{
    struct bundle_mount *m = b->mounts[index];
    struct fanout_counts last;
    log_info("relay", "the root has no mount %s any more", m->spec.name);
    node_counts_cut(m->node, &last);
    fanout_counts_add(&b->counts, &last);
    pulls_add(&b->pulls, pull_counts(m->pull));
    mount_free(m);
    memmove(&b->mounts[index], &b->mounts[index + 1], (--b->count - index) * sizeof b->mounts[0]);
}

/* The list of the last life: what can't be read counts as none. */
static int recall(struct bundle *b, char **cause)
{
    char *path = xasprintf("%s/mounts", b->conf.state);
    size_t len = 0;
    char *text = proc_read_file(path, LIST_MAX_BYTES, &len, NULL);
    json_t *json = text ? json_parse(text, len, LIST_MAX_BYTES, NULL) : NULL;
    struct mount_spec list[MOUNTS_MAX];
    int count = json ? mount_specs_read(json, list, NULL) : 0, rc = 0;
    for (int i = 1; i < count && rc == 0; i++)
        rc = add(b, &list[i], cause);
    json_decref(json);
    free(text);
    free(path);
    return rc;
}

static void remember(const struct bundle *b, const struct mount_spec *list, size_t count)
{
    char *path = xasprintf("%s/mounts", b->conf.state), *cause = NULL;
    json_t *json = mount_specs_json(list, count);
    char *text = json_text(json);
    if (proc_write_file(path, text, strlen(text), 0600, &cause)) log_warn("relay", "%s", cause);
    free(cause);
    free(text);
    json_decref(json);
    free(path);
}

int bundle_new(struct bundle **out, const struct bundle_conf *conf, char **cause)
{
    static const struct mount_spec first = {.name = MOUNT_MAIN, .always = 1};
    struct bundle *b = xcalloc(1, sizeof *b);
    b->conf = *conf;
    if (add(b, &first, cause) || (!conf->icecast && recall(b, cause))) {
        bundle_free(b);
        return -1;
    }
    *out = b;
    return 0;
}

void bundle_free(struct bundle *b)
{
    if (!b) return;
    while (b->count) /* the main one last */
        mount_free(b->mounts[--b->count]);
    free(b);
}

/* A link in use tells by itself, at its next start; and who waits for it must not be sent away for nothing.
 */
static int set_kbps(struct bundle_mount *m, unsigned kbps, char **cause)
{
    int fits = kbps == ring_kbps(node_ring(m->node));
    m->spec.kbps = kbps;
    if (pull_following(m->pull) || (fits && node_waiting(m->node))) return 0;
    return node_set_kbps(m->node, kbps, cause);
}

static int find(const struct bundle *b, const char *name)
{
    for (size_t i = 0; i < b->count; i++) {
        if (!strcmp(b->mounts[i]->spec.name, name)) return (int)i;
    }
    return -1;
}

int bundle_set(struct bundle *b, const struct mount_spec *list, size_t count, char **cause)
{
    int news = 0;
    for (size_t i = b->count; i-- > 1;) {
        if (mount_spec_find(list, count, b->mounts[i]->spec.name) >= 0) continue;
        drop(b, i);
        news = 1;
    }
    for (size_t i = 0; i < count; i++) {
        int at = find(b, list[i].name);
        if (at < 0) {
            if (add(b, &list[i], cause)) return -1;
            news = 1;
            continue;
        }
        struct bundle_mount *m = b->mounts[at];
        news |= at && m->spec.kbps != list[i].kbps;
        m->spec.always = list[i].always;
        if (set_kbps(m, list[i].kbps, cause)) return -1;
    }
    if (news) {
        remember(b, list, count);
        mount_sweep_rings(b->conf.state, list, count);
    }
    return 0;
}

void bundle_tick(struct bundle *b)
{
    unsigned now = listening(b);
    if (now > b->peak) b->peak = now;
    for (size_t i = 1; i < b->count; i++) {
        if (pull_idle(b->mounts[i]->pull)) node_rest(b->mounts[i]->node);
    }
}

/* What they are together */

size_t bundle_count(const struct bundle *b)
{
    return b->count;
}

const struct bundle_mount *bundle_at(const struct bundle *b, size_t index)
{
    return index < b->count ? b->mounts[index] : NULL;
}

struct node *bundle_heard(const struct bundle *b)
{
    for (size_t i = 0; i < b->count; i++) {
        if (node_playable(b->mounts[i]->node)) return b->mounts[i]->node;
    }
    return NULL;
}

static const struct bundle_mount *followed(const struct bundle *b)
{
    for (size_t i = 0; i < b->count; i++) {
        if (pull_following(b->mounts[i]->pull)) return b->mounts[i];
    }
    return NULL;
}

const struct pull *bundle_following(const struct bundle *b)
{
    const struct bundle_mount *m = followed(b);
    return m ? m->pull : NULL;
}

double bundle_offset_s(const struct bundle *b)
{
    const struct bundle_mount *m = followed(b);
    return m ? pacer_offset_s(node_pacer(m->node)) : 0;
}

const char *bundle_upstream(const struct bundle *b)
{
    const struct bundle_mount *m = followed(b);
    if (!m) return NULL;
    const json_t *path = pull_lineage(m->pull);
    size_t hops = json_array_size(path);
    return hops > 1 ? json_string_value(json_array_get(path, hops - 2)) : "";
}

const char *bundle_trouble(const struct bundle *b)
{
    const char *trouble = NULL;
    for (size_t i = 0; i < b->count && !trouble; i++)
        trouble = pull_trouble(b->mounts[i]->pull);
    return trouble;
}

void bundle_counts(const struct bundle *b, struct fanout_counts *out)
{
    *out = b->counts;
    for (size_t i = 0; i < b->count; i++) {
        struct fanout_counts one;
        node_counts(b->mounts[i]->node, &one);
        fanout_counts_add(out, &one);
    }
}

void bundle_pulls(const struct bundle *b, struct pull_counts *out)
{
    *out = b->pulls;
    for (size_t i = 0; i < b->count; i++)
        pulls_add(out, pull_counts(b->mounts[i]->pull));
}

unsigned bundle_waiting(const struct bundle *b)
{
    unsigned sum = 0;
    for (size_t i = 0; i < b->count; i++)
        sum += node_waiting(b->mounts[i]->node);
    return sum;
}

/* Sampled over all mounts, exact within one. */
uint64_t bundle_peak(const struct bundle *b)
{
    uint64_t most = listening(b) > b->peak ? listening(b) : b->peak;
    for (size_t i = 0; i < b->count; i++) {
        uint64_t one = node_peak(b->mounts[i]->node);
        if (one > most) most = one;
    }
    return most;
}
