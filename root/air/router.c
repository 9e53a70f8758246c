#include "root/air/router.h"

static uint64_t load_of(const struct router_relay *r)
{
    return r->listeners + r->sent;
}

static double use_of(const struct router_relay *r)
{
    return (double)load_of(r) / (double)r->max_listeners;
}

static int has_room(const struct router_relay *r)
{
    return r->able && load_of(r) < r->max_listeners;
}

/* The n-th relay with room. */
static int nth(const struct router_relay *relays, size_t count, uint64_t n)
{
    for (size_t i = 0; i < count; i++) {
        if (has_room(&relays[i]) && n-- == 0) return (int)i;
    }
    return -1;
}

int router_choose(const struct router_relay *relays, size_t count, uint64_t random)
{
    uint64_t room = 0;
    for (size_t i = 0; i < count; i++)
        room += (uint64_t)has_room(&relays[i]);
    if (!room) return -1;
    uint64_t first = (random & 0xffffffff) % room;
    if (room == 1) return nth(relays, count, first);
    /* a second one that is not the first */
    uint64_t second = (random >> 32) % (room - 1);
    if (second >= first) second++;
    int a = nth(relays, count, first), b = nth(relays, count, second);
    return use_of(&relays[b]) < use_of(&relays[a]) ? b : a;
}

int router_least_used(const struct router_relay *relays, size_t count)
{
    int best = -1;
    double least = 0;
    for (size_t i = 0; i < count; i++) {
        if (!has_room(&relays[i])) continue;
        double use = use_of(&relays[i]);
        if (best >= 0 && use >= least) continue;
        best = (int)i;
        least = use;
    }
    return best;
}

enum router_verdict router_admit(uint64_t listening, uint64_t relay_limit, uint64_t max_listeners, int stays,
                                 int any_relay)
{
    int here = listening < max_listeners;
    if (listening < relay_limit && here) return ROUTER_SERVE;
    if (stays && here) return ROUTER_SERVE;
    if (any_relay && !stays) return ROUTER_REDIRECT;
    return here ? ROUTER_SERVE : ROUTER_FULL;
}
