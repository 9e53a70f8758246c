#include "root/air/tree_talk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/enrol.h"
#include "common/link_grant.h"
#include "common/mem.h"
#include "root/air/air.h"
#include "root/air/roster.h"

#define NAME_MAX_BYTES (TREE_NAME_MAX - 1)
#define LISTENERS_MAX  1000000
#define CUT_MAX        32
#define BPS_MAX        INT64_C(1000000000000)

struct tree_talk {
    struct air *air;
    struct tree *tree;
    unsigned char master[LINK_GRANT_KEY_BYTES]; /* of this life: grants are made anew with each report */
    /* Nodes that were revoked, as long as a grant of theirs may live; the oldest goes when there are more. */
    struct {
        char id[TREE_ID_MAX];
        int64_t until_ns;
    } cut[CUT_MAX];
    unsigned cut_next;
};

struct tree_talk *tree_talk_new(struct air *air, unsigned fanout, char **cause)
{
    struct tree_talk *talk = xcalloc(1, sizeof *talk);
    talk->air = air;
    talk->tree = tree_new(&(struct tree_conf){.fanout = fanout});
    if (getrandom(talk->master, sizeof talk->master, 0) == (ssize_t)sizeof talk->master) return talk;
    cause_set(cause, "the system has no random numbers");
    tree_talk_free(talk);
    return NULL;
}

void tree_talk_free(struct tree_talk *talk)
{
    if (!talk) return;
    tree_free(talk->tree);
    free(talk);
}

/* What its listeners take, and what its links bring: of a mount each, the main one at least. */
static void add_rates(const struct tree_talk *talk, const struct json_flat *mounts, uint64_t *used_bps,
                      uint64_t *wants_bps)
{
    size_t count = json_flat_items(mounts);
    const struct json_flat *one = count ? mounts + 1 : NULL;
    for (size_t i = 0; i < count; i++, one += one->cells) {
        const struct mount *mount = mounts_find(talk->air->mounts, json_flat_str_or(one, "name", "", NULL));
        if (!mount) continue;
        uint64_t bps = mount->spec.kbps * UINT64_C(1000);
        *used_bps += bps * (uint64_t)json_flat_int_or(one, "listeners", 0, 0, LISTENERS_MAX, NULL);
        if (json_flat_bool_or(one, "pulling", 0, NULL)) *wants_bps += bps;
    }
    uint64_t least = (uint64_t)ring_kbps(talk->air->ring) * 1000;
    if (*wants_bps < least) *wants_bps = least;
}

/* 0, or -1 when it says too little to have a place. */
static int read_report(const struct tree_talk *talk, const struct roster_entry *entry,
                       const struct json_flat *report, struct tree_report *out)
{
    const struct json_flat *link = json_flat_get(report, "link");
    const char *url = json_flat_str_or(link, "url", NULL, NULL),
               *pin = json_flat_str_or(link, "pin", NULL, NULL);
    *out =
        (struct tree_report){.name = entry ? entry->terms.name : json_flat_str_or(report, "name", "", NULL),
                             .id = json_flat_str_or(report, "session", "", NULL),
                             .upstream = json_flat_str_or(report, "upstream", NULL, NULL),
                             .draining = json_flat_bool_or(report, "draining", 0, NULL)};
    out->uplink_bps = (uint64_t)json_flat_int_or(report, "uplink_bps", 0, 0, BPS_MAX, NULL);
    if (entry && entry->terms.uplink_bps) out->uplink_bps = entry->terms.uplink_bps;
    if (entry && entry->terms.drained) out->draining = 1;
    add_rates(talk, json_flat_get(report, "mounts"), &out->used_bps, &out->wants_bps);
    if (url && pin && enrol_link_url_is_sound(url) && enrol_pin_is_sound(pin)) {
        out->url = url;
        out->pin = pin;
    }
    return *out->name && strlen(out->name) <= NAME_MAX_BYTES && *out->id && strlen(out->id) < TREE_ID_MAX
               ? 0
               : -1;
}

static void tell_parent(const struct tree_talk *talk, const struct tree_parent *parent, const char *child,
                        int64_t now_s, struct json_write *answer)
{
    unsigned char key[LINK_GRANT_KEY_BYTES];
    char grant[LINK_GRANT_TEXT];
    if (!parent || link_grant_derive(talk->master, parent->id, key) ||
        link_grant_sign(key, child, now_s + LINK_GRANT_LIFE_S, grant)) {
        json_write_null(answer, "parent");
        return;
    }
    json_write_open(answer, "parent", '{');
    json_write_str(answer, "url", parent->url);
    json_write_str(answer, "pin", parent->pin);
    json_write_str(answer, "grant", grant);
    json_write_close(answer, '}');
}

static void tell_link_key(const struct tree_talk *talk, const char *id, int64_t now_ns, int64_t now_s,
                          struct json_write *answer)
{
    unsigned char key[LINK_GRANT_KEY_BYTES];
    char hex[LINK_GRANT_KEY_TEXT];
    if (link_grant_derive(talk->master, id, key)) return;
    enrol_hex(key, sizeof key, hex);
    json_write_open(answer, "link_key", '{');
    json_write_str(answer, "key", hex);
    json_write_int(answer, "now", now_s);
    json_write_open(answer, "cut", '[');
    for (unsigned i = 0; i < CUT_MAX; i++) {
        if (now_ns < talk->cut[i].until_ns) json_write_str(answer, NULL, talk->cut[i].id);
    }
    json_write_close(answer, ']');
    json_write_close(answer, '}');
}

void tree_talk_revoked(struct tree_talk *talk, const char *name)
{
    int64_t now_ns = clock_boot_ns();
    char id[TREE_ID_MAX];
    struct registry_view seen;
    if (!talk) return;
    tree_forget(talk->tree, name, now_ns, id);
    /* one that is silent may still be fed: the tree does not know it any more, but its grant lives */
    if (registry_find(talk->air->registry, name, now_ns, &seen) || !*seen.session ||
        strlen(seen.session) >= TREE_ID_MAX)
        return;
    unsigned at = talk->cut_next++ % CUT_MAX;
    snprintf(talk->cut[at].id, sizeof talk->cut[at].id, "%s", seen.session);
    talk->cut[at].until_ns = now_ns + LINK_GRANT_LIFE_S * CLOCK_NS_PER_S;
}

void tree_talk_heard(struct tree_talk *talk, const struct roster_entry *entry, const struct json_flat *report,
                     struct json_write *answer)
{
    int64_t now_ns = clock_boot_ns(), now_s = clock_wall_ns() / CLOCK_NS_PER_S;
    struct tree_report said;
    struct tree_parent parent;
    if (read_report(talk, entry, report, &said)) return;
    for (unsigned i = 0; i < CUT_MAX; i++) { /* it was let in again since */
        if (!strcmp(talk->cut[i].id, said.id)) talk->cut[i].until_ns = 0;
    }
    enum tree_place place = tree_reported(talk->tree, &said, now_ns, &parent);
    if (place != TREE_AS_IT_IS)
        tell_parent(talk, place == TREE_UNDER ? &parent : NULL, said.id, now_s, answer);
    if (said.url) tell_link_key(talk, said.id, now_ns, now_s, answer);
}

int tree_talk_view(const struct tree_talk *talk, const char *name, struct tree_view *out)
{
    return talk ? tree_view(talk->tree, name, clock_boot_ns(), out) : -1;
}

void tree_talk_counts(const struct tree_talk *talk, struct tree_counts *out)
{
    tree_counts(talk->tree, out);
}
