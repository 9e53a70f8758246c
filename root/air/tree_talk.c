#include "root/air/tree_talk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/enrol.h"
#include "common/json.h"
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
static void add_rates(const struct tree_talk *talk, const json_t *mounts, uint64_t *used_bps,
                      uint64_t *wants_bps)
{
    const json_t *one;
    size_t i;
    json_array_foreach(mounts, i, one)
    {
        const struct mount *mount = mounts_find(talk->air->mounts, json_str_or(one, "name", "", NULL));
        if (!mount) continue;
        uint64_t bps = mount->spec.kbps * UINT64_C(1000);
        *used_bps += bps * (uint64_t)json_int_or(one, "listeners", 0, 0, LISTENERS_MAX, NULL);
        if (json_is_true(json_object_get(one, "pulling"))) *wants_bps += bps;
    }
    uint64_t least = (uint64_t)ring_kbps(talk->air->ring) * 1000;
    if (*wants_bps < least) *wants_bps = least;
}

/* 0, or -1 when it says too little to have a place. */
static int read_report(const struct tree_talk *talk, const struct roster_entry *entry, const json_t *report,
                       struct tree_report *out)
{
    const json_t *link = json_object_get(report, "link");
    const char *url = json_str_or(link, "url", NULL, NULL), *pin = json_str_or(link, "pin", NULL, NULL);
    *out = (struct tree_report){.name = entry ? entry->terms.name : json_str_or(report, "name", "", NULL),
                                .id = json_str_or(report, "session", "", NULL),
                                .upstream = json_str_or(report, "upstream", NULL, NULL),
                                .draining = json_is_true(json_object_get(report, "draining"))};
    out->uplink_bps = (uint64_t)json_int_or(report, "uplink_bps", 0, 0, BPS_MAX, NULL);
    if (entry && entry->terms.uplink_bps) out->uplink_bps = entry->terms.uplink_bps;
    if (entry && entry->terms.drained) out->draining = 1;
    add_rates(talk, json_object_get(report, "mounts"), &out->used_bps, &out->wants_bps);
    if (url && pin && enrol_link_url_is_sound(url) && enrol_pin_is_sound(pin)) {
        out->url = url;
        out->pin = pin;
    }
    return *out->name && strlen(out->name) <= NAME_MAX_BYTES && *out->id && strlen(out->id) < TREE_ID_MAX
               ? 0
               : -1;
}

static json_t *parent_json(const struct tree_talk *talk, const struct tree_parent *parent, const char *child,
                           int64_t now_s)
{
    unsigned char key[LINK_GRANT_KEY_BYTES];
    char grant[LINK_GRANT_TEXT];
    if (link_grant_derive(talk->master, parent->id, key) ||
        link_grant_sign(key, child, now_s + LINK_GRANT_LIFE_S, grant))
        return json_null();
    return json_pack("{s:s,s:s,s:s}", "url", parent->url, "pin", parent->pin, "grant", grant);
}

static json_t *cut_list(const struct tree_talk *talk, int64_t now_ns)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < CUT_MAX; i++) {
        if (now_ns < talk->cut[i].until_ns) json_array_append_new(list, json_string(talk->cut[i].id));
    }
    return list;
}

void tree_talk_revoked(struct tree_talk *talk, const char *name)
{
    int64_t now_ns = clock_boot_ns();
    char id[TREE_ID_MAX];
    if (!talk || tree_forget(talk->tree, name, now_ns, id)) return;
    unsigned at = talk->cut_next++ % CUT_MAX;
    memcpy(talk->cut[at].id, id, sizeof id);
    talk->cut[at].until_ns = now_ns + LINK_GRANT_LIFE_S * CLOCK_NS_PER_S;
}

json_t *tree_talk_heard(struct tree_talk *talk, const struct roster_entry *entry, const json_t *report)
{
    int64_t now_ns = clock_boot_ns(), now_s = clock_wall_ns() / CLOCK_NS_PER_S;
    struct tree_report said;
    struct tree_parent parent;
    json_t *members = json_object();
    if (read_report(talk, entry, report, &said)) return members;
    enum tree_place place = tree_reported(talk->tree, &said, now_ns, &parent);
    if (place != TREE_AS_IT_IS)
        json_object_set_new(members, "parent",
                            place == TREE_UNDER ? parent_json(talk, &parent, said.id, now_s) : json_null());
    unsigned char key[LINK_GRANT_KEY_BYTES];
    char hex[LINK_GRANT_KEY_TEXT];
    if (said.url && !link_grant_derive(talk->master, said.id, key)) {
        enrol_hex(key, sizeof key, hex);
        json_object_set_new(
            members, "link_key",
            json_pack("{s:s,s:I,s:o}", "key", hex, "now", (json_int_t)now_s, "cut", cut_list(talk, now_ns)));
    }
    return members;
}

void tree_talk_counts(const struct tree_talk *talk, struct tree_counts *out)
{
    tree_counts(talk->tree, out);
}
