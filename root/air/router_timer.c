/* A binary heap of relays by the moment when something changes by itself. A report only moves that moment
 * on, so it is left alone then, and looked at again when it comes up. */
#include "root/air/router_internal.h"

static int64_t due(const struct router *r, uint32_t place)
{
    return r->relays[r->heap[place]].due_ns;
}

static void set(struct router *r, uint32_t place, uint32_t slot)
{
    r->heap[place] = slot;
    r->relays[slot].heap_place = place;
}

static void rise(struct router *r, uint32_t place)
{
    uint32_t slot = r->heap[place];
    while (place && due(r, (place - 1) / 2) > r->relays[slot].due_ns) {
        set(r, place, r->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    set(r, place, slot);
}

static void sink(struct router *r, uint32_t place)
{
    uint32_t slot = r->heap[place];
    for (;;) {
        uint32_t child = 2 * place + 1;
        if (child >= r->heap_count) break;
        if (child + 1 < r->heap_count && due(r, child + 1) < due(r, child)) child++;
        if (due(r, child) >= r->relays[slot].due_ns) break;
        set(r, place, r->heap[child]);
        place = child;
    }
    set(r, place, slot);
}

void timer_add(struct router *r, uint32_t slot, int64_t due_ns)
{
    r->relays[slot].due_ns = due_ns;
    set(r, r->heap_count++, slot);
    rise(r, r->relays[slot].heap_place);
}

void timer_set(struct router *r, uint32_t slot, int64_t due_ns)
{
    if (r->relays[slot].due_ns == due_ns) return;
    r->relays[slot].due_ns = due_ns;
    rise(r, r->relays[slot].heap_place);
    sink(r, r->relays[slot].heap_place);
}

void timer_remove(struct router *r, uint32_t slot)
{
    uint32_t place = r->relays[slot].heap_place;
    if (place == --r->heap_count) return;
    uint32_t moved = r->heap[r->heap_count];
    set(r, place, moved);
    rise(r, place);
    sink(r, r->relays[moved].heap_place);
}
