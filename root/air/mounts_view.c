/* Mounts by name and number, all of them together, and as others are shown them. */
#include <string.h>

#include "common/mp3.h"
#include "root/air/air.h"
#include "root/air/mounts_internal.h"

size_t mounts_count(const struct mounts *mounts)
{
    return mounts->count;
}

struct mount *mounts_at(struct mounts *mounts, size_t index)
{
    return index < mounts->count ? &mounts->list[index] : NULL;
}

struct mount *mounts_find(struct mounts *mounts, const char *name)
{
    if (!strcmp(name, "main")) return &mounts->list[0];
    for (size_t i = 0; i < mounts->count; i++) {
        if (!strcmp(mounts->list[i].spec.name, name)) return &mounts->list[i];
    }
    return NULL;
}

void mounts_counts(const struct mounts *mounts, struct fanout_counts *out)
{
    *out = (struct fanout_counts){0};
    for (size_t i = 0; i < mounts->count; i++)
        fanout_counts_add(out, fanout_counts(mounts->list[i].fanout));
}

uint64_t mounts_listening(const struct mounts *mounts)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < mounts->count; i++)
        sum += fanout_counts(mounts->list[i].fanout)->listening;
    return sum;
}

uint64_t mounts_peak(const struct mounts *mounts)
{
    uint64_t now = mounts_listening(mounts), most = now > mounts->peak ? now : mounts->peak;
    for (size_t i = 0; i < mounts->count; i++) {
        uint64_t one = station_peak(mounts->list[i].station);
        if (one > most) most = one;
    }
    return most;
}

unsigned mounts_waiting(const struct mounts *mounts)
{
    unsigned sum = 0;
    for (size_t i = 0; i < mounts->count; i++)
        sum += station_waiting(mounts->list[i].station);
    return sum;
}

unsigned mounts_links(const struct mounts *mounts)
{
    unsigned sum = 0;
    for (size_t i = 0; i < mounts->count; i++)
        sum += link_server_count(mounts->list[i].link) +
               (unsigned)fanout_counts(mounts->list[i].fanout)->carriers;
    return sum;
}

uint64_t mounts_link_bytes(const struct mounts *mounts)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < mounts->count; i++)
        sum += link_server_bytes(mounts->list[i].link) + fanout_counts(mounts->list[i].fanout)->carrier_bytes;
    return sum;
}

json_t *mounts_specs(const struct mounts *mounts)
{
    return mount_specs_json(mounts->air->options->mounts, mounts->count);
}

json_t *mounts_json(const struct mounts *mounts)
{
    json_t *list = mounts_specs(mounts);
    for (size_t i = 0; i < mounts->count; i++) {
        const struct mount *m = &mounts->list[i];
        uint64_t air = air_position(mounts->air), head = ring_head(m->ring);
        json_t *o = json_array_get(list, i);
        json_object_set_new(o, "awake", json_boolean(m->awake));
        json_object_set_new(o, "listeners", json_integer((json_int_t)fanout_counts(m->fanout)->listening));
        json_object_set_new(o, "links", json_integer(link_server_count(m->link)));
        json_object_set_new(
            o, "lead_s", json_real(m->awake && head > air ? (double)mp3_frame_to_ns(head - air) / 1e9 : 0));
        json_object_set_new(o, "bytes_out", json_integer((json_int_t)fanout_counts(m->fanout)->bytes));
        if (i == 0) continue;
        json_object_set_new(o, "wakes", json_integer((json_int_t)m->wakes));
        json_object_set_new(o, "frames", json_integer((json_int_t)m->frames));
        json_object_set_new(o, "wake_s", m->wake_s > 0 ? json_real(m->wake_s) : json_null());
    }
    return list;
}
