#include "root/air/detail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"

static uint64_t count_of(const struct json_flat *object, const char *key)
{
    return (uint64_t)json_flat_int_or(object, key, 0, 0, INT64_MAX, NULL);
}

/* Printable and short, for people; as it is when the report does not tell. */
static void take_text(char *out, size_t size, const struct json_flat *object, const char *key)
{
    const char *text = json_flat_str_or(object, key, "", NULL);
    size_t n = 0;
    if (!*text) return;
    for (; text[n] > ' ' && text[n] <= '~' && n < size - 1; n++)
        out[n] = text[n];
    out[n] = '\0';
}

/* Not in every report. */
static void take_lengths(struct detail *d, const struct json_flat *report, int anew)
{
    const struct json_flat *list = json_flat_get(report, "lengths");
    if (anew) {
        for (int i = 0; i < FANOUT_LENGTHS; i++) {
            d->lengths_before[i] += d->lengths[i];
            d->lengths[i] = 0;
        }
    }
    if (json_flat_items(list) != FANOUT_LENGTHS) return;
    uint64_t least = 0; /* each slot holds those before it */
    const struct json_flat *n = list + 1;
    for (size_t i = 0; i < FANOUT_LENGTHS; i++, n += n->cells) {
        if (n->type == JSON_FLAT_INT && n->integer > 0 && (uint64_t)n->integer > least)
            least = (uint64_t)n->integer;
        d->lengths[i] = least;
    }
}

static void take_mounts(struct detail *d, const struct json_flat *report)
{
    const struct json_flat *list = json_flat_get(report, "mounts"), *row = list + 1;
    size_t count = json_flat_items(list);
    if (count > MOUNTS_MAX) count = MOUNTS_MAX;
    if (count != d->mount_count) {
        free(d->mounts);
        d->mounts = count ? xcalloc(count, sizeof *d->mounts) : NULL;
        d->mount_count = (unsigned)count;
    }
    for (size_t i = 0; i < count; i++, row += row->cells) {
        struct detail_mount *m = &d->mounts[i];
        struct mount_spec spec;
        *m = (struct detail_mount){.listeners = count_of(row, "listeners"),
                                   .accepted = count_of(row, "accepted"),
                                   .closed = count_of(row, "closed"),
                                   .bytes_in = count_of(row, "bytes_in"),
                                   .bytes_out = count_of(row, "bytes_out"),
                                   .pulling = json_flat_bool_or(row, "pulling", false, NULL)};
        if (!mount_spec_name(&spec, json_flat_str_or(row, "name", "", NULL), NULL))
            memcpy(m->name, spec.name, sizeof m->name);
        const struct json_flat *agents = json_flat_get(row, "agents");
        for (int k = 0; k < AGENT_COUNT; k++)
            m->agents[k] = (uint32_t)count_of(agents, fanout_agent_names[k]);
    }
}

void detail_take(struct detail *d, const struct json_flat *report)
{
    const char *session = json_flat_str_or(report, "session", "", NULL);
    int anew = strncmp(session, d->session, sizeof d->session - 1) != 0;
    if (anew) snprintf(d->session, sizeof d->session, "%s", session);
    take_lengths(d, report, anew);
    take_mounts(d, report);
    d->fds = count_of(report, "fds");
    d->fd_limit = count_of(report, "fd_limit");
    d->sent_bps = count_of(report, "sent_bps");
    d->uplink_bps = count_of(report, "uplink_bps");
    const struct json_flat *versions = json_flat_get(report, "versions");
    take_text(d->libevent, sizeof d->libevent, versions, "libevent");
    take_text(d->openssl, sizeof d->openssl, versions, "openssl");
    take_text(d->libcurl, sizeof d->libcurl, versions, "libcurl");
    take_text(d->kernel, sizeof d->kernel, versions, "kernel");
}

void detail_free(struct detail *d)
{
    free(d->mounts);
    d->mounts = NULL;
    d->mount_count = 0;
}

void detail_lengths(const struct detail *d, uint64_t sums[FANOUT_LENGTHS])
{
    for (int i = 0; i < FANOUT_LENGTHS; i++)
        sums[i] += d->lengths_before[i] + d->lengths[i];
}

static void put(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static json_t *mount_json(const struct detail_mount *m)
{
    json_t *o = json_pack("{s:s,s:b}", "name", m->name, "pulling", m->pulling), *agents = json_object();
    put(o, "listeners", m->listeners);
    put(o, "accepted", m->accepted);
    put(o, "closed", m->closed);
    put(o, "bytes_in", m->bytes_in);
    put(o, "bytes_out", m->bytes_out);
    for (int i = 0; i < AGENT_COUNT; i++)
        put(agents, fanout_agent_names[i], m->agents[i]);
    json_object_set_new(o, "agents", agents);
    return o;
}

void detail_json(const struct detail *d, json_t *object)
{
    json_t *mounts = json_array(), *lengths = json_array();
    uint64_t sums[FANOUT_LENGTHS] = {0};
    detail_lengths(d, sums);
    for (int i = 0; i < FANOUT_LENGTHS; i++)
        json_array_append_new(lengths, json_integer((json_int_t)sums[i]));
    for (unsigned i = 0; i < d->mount_count; i++)
        json_array_append_new(mounts, mount_json(&d->mounts[i]));
    json_object_set_new(object, "mounts", mounts);
    json_object_set_new(object, "lengths", lengths);
    put(object, "fds", d->fds);
    put(object, "fd_limit", d->fd_limit);
    put(object, "sent_bps", d->sent_bps);
    put(object, "uplink_bps", d->uplink_bps);
    json_object_set_new(object, "versions",
                        json_pack("{s:s,s:s,s:s,s:s}", "libevent", d->libevent, "openssl", d->openssl,
                                  "libcurl", d->libcurl, "kernel", d->kernel));
}
