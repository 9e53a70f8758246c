/* Listeners by the id their page or app gave itself: chained in a table that grows with the slots. The key is
 * random, so that nobody can choose ids that all fall into one chain; several connections of one id (a resume
 * whose broken predecessor is not yet known to be dead) stand newest first. */
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/fanout_internal.h"
#include "common/mp3.h"

static uint32_t *chain(const struct fanout *f, uint64_t client)
{
    uint64_t mixed = (client ^ f->clients_key) * UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 32) * (f->clients_key | 1);
    return &f->clients[(mixed >> 32) & (f->clients_size - 1)];
}

int fanout_clients_room(struct fanout *f)
{
    uint32_t slots = f->chunk_count * FANOUT_CHUNK_SLOTS, size = f->clients_size ? f->clients_size : 1;
    if (slots <= f->clients_size) return 0;
    while (size < slots)
        size *= 2;
    uint32_t *larger = malloc(size * sizeof *larger);
    if (!larger) return -1;
    if (!f->clients_key && getrandom(&f->clients_key, sizeof f->clients_key, GRND_NONBLOCK) < 0)
        f->clients_key = (uint64_t)clock_boot_ns();
    /* oldest first, so that the newest of an id comes to stand first again: the old chains from their ends */
    uint32_t *old = f->clients, old_size = f->clients_size;
    f->clients = larger;
    f->clients_size = size;
    for (uint32_t i = 0; i < size; i++)
        larger[i] = FANOUT_NONE;
    for (uint32_t c = 0; c < old_size; c++) {
        uint32_t last = FANOUT_NONE;
        for (uint32_t i = old[c]; i != FANOUT_NONE; i = fanout_slot(f, i)->client_next)
            last = i;
        for (uint32_t i = last, before; i != FANOUT_NONE; i = before) {
            before = fanout_slot(f, i)->client_previous;
            fanout_clients_add(f, i);
        }
    }
    free(old);
    return 0;
}

void fanout_clients_add(struct fanout *f, uint32_t index)
{
    struct listener *l = fanout_slot(f, index);
    uint32_t *head = chain(f, l->client);
    l->client_previous = FANOUT_NONE;
    l->client_next = *head;
    if (*head != FANOUT_NONE) fanout_slot(f, *head)->client_previous = index;
    *head = index;
}

void fanout_clients_remove(struct fanout *f, uint32_t index)
{
    struct listener *l = fanout_slot(f, index);
    if (l->client_next != FANOUT_NONE) fanout_slot(f, l->client_next)->client_previous = l->client_previous;
    if (l->client_previous != FANOUT_NONE)
        fanout_slot(f, l->client_previous)->client_next = l->client_next;
    else
        *chain(f, l->client) = l->client_next;
}

uint32_t fanout_clients_newest(const struct fanout *f, uint64_t client)
{
    if (!client || !f->clients_size) return FANOUT_NONE;
    uint32_t index = *chain(f, client);
    while (index != FANOUT_NONE && fanout_slot(f, index)->client != client)
        index = fanout_slot(f, index)->client_next;
    return index;
}

int fanout_find(const struct fanout *f, uint64_t client, struct fanout_place *out)
{
    uint32_t index = fanout_clients_newest(f, client);
    if (index == FANOUT_NONE) return 0;
    const struct listener *l = fanout_slot(f, index);
    int64_t since_ns = clock_boot_ns() - l->opened_ns;
    uint64_t cursor =
        l->aside ? mp3_frame_offset(f->kbps, fanout_air(f)) : l->cursor; /* the loop has no place */
    uint64_t first = l->first < cursor ? l->first : cursor;
    int queued = 0;
    if (ioctl(l->fd, SIOCOUTQ, &queued) || queued < 0) queued = 0;
    *out = (struct fanout_place){
        .asked_byte = l->asked,
        .first_byte = first,
        .sent_byte = cursor,
        .received_byte = cursor > first + (uint64_t)queued ? cursor - (uint64_t)queued : first,
        .seconds = (double)since_ns / CLOCK_NS_PER_S,
        .twin = l->twin != 0,
    };
    uint64_t frame = mp3_frame_at(f->kbps, first) + mp3_ns_to_frame(since_ns > 0 ? since_ns : 0);
    uint64_t heard = mp3_frame_offset(f->kbps, frame);
    if (heard < first) heard = first;
    out->heard_byte = heard < out->received_byte ? heard : out->received_byte;
    return 1;
}
