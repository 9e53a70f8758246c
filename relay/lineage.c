#include "relay/lineage.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"

void lineage_make_id(char id[LINEAGE_ID_MAX])
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = (uint64_t)clock_wall_ns() ^ (uint64_t)getpid();
    snprintf(id, LINEAGE_ID_MAX, "%016" PRIx64, random);
}

static int has(const json_t *path, const char *id)
{
    for (size_t i = 0; i < json_array_size(path); i++) {
        const char *node = json_string_value(json_array_get(path, i));
        if (node && !strcmp(node, id)) return 1;
    }
    return 0;
}

int lineage_check(const json_t *path, const char *id, char **cause)
{
    if (!path) return 0;
    size_t hops = json_array_size(path);
    for (size_t i = 0; i < hops; i++) {
        const char *node = json_string_value(json_array_get(path, i));
        if (!node || !*node || strlen(node) >= LINEAGE_ID_MAX)
            return cause_set(cause, "a path of no node ids");
    }
    if (!json_is_array(path)) return cause_set(cause, "a path that is no list");
    if (has(path, id)) return cause_set(cause, "it gets the programme from here");
    if (hops >= LINEAGE_HOPS_MAX)
        return cause_set(cause, "it is %zu hops from the root, and %d are the most", hops, LINEAGE_HOPS_MAX);
    return 0;
}

json_t *lineage_extend(const json_t *path, const char *id)
{
    json_t *own = path ? json_copy((json_t *)(uintptr_t)path) : json_array();
    json_array_append_new(own, json_string(id));
    return own;
}

int lineage_may_feed(const json_t *own, const char *child, const char **why)
{
    *why = NULL;
    if (*child && has(own, child))
        *why = "this relay gets the programme from there";
    else if (json_array_size(own) >= LINEAGE_HOPS_MAX)
        *why = "this relay is as far from the root as may be";
    return *why ? -1 : 0;
}
