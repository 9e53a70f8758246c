/* Two sockets of one listener: Safari opens two alike for one <audio> element, reads from both for a moment
 * and closes either. They count as one: while both live, one of them is not counted; when the other goes, it
 * takes its place. So opened - closed is the number of listeners at every moment, and a pair is one opening
 * and one closing. */
#include "common/clock.h"
#include "common/fanout_internal.h"

int fanout_twin_join(struct fanout *f, uint32_t index, double within_s)
{
    struct listener *l = fanout_slot(f, index);
    uint32_t other = within_s > 0 && l->client ? fanout_clients_newest(f, l->client) : FANOUT_NONE;
    if (other == FANOUT_NONE) return 0;
    struct listener *elder = fanout_slot(f, other);
    if (elder->twin || (double)(l->opened_ns - elder->opened_ns) > within_s * CLOCK_NS_PER_S) return 0;
    elder->twin = index + 1;
    l->twin = other + 1;
    l->uncounted = 1;
    return 1;
}

int fanout_twin_leave(struct fanout *f, uint32_t index)
{
    struct listener *l = fanout_slot(f, index);
    if (!l->twin) return 0;
    struct listener *other = fanout_slot(f, l->twin - 1);
    other->twin = 0;
    other->uncounted = 0;
    return 1;
}
