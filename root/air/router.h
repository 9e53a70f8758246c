/* router: which relay a listener is sent to. Pure. */
#ifndef FOREVER_ROOT_AIR_ROUTER_H
#define FOREVER_ROOT_AIR_ROUTER_H
#include <stddef.h>
#include <stdint.h>

struct router_relay {
    uint64_t listeners, max_listeners; /* as last reported */
    uint64_t sent;                     /* listeners sent there since that report */
    int able;                          /* healthy and not draining */
};

/* The less used of two drawn at random among the able ones with room (so that a report's age does not make
 * everybody go to the same one); the only one when there is one; -1 when there is none. random: 64 fresh
 * bits. */
int router_choose(const struct router_relay *relays, size_t count, uint64_t random);

/* The least used able one with room, the first of equals; -1 when there is none. */
int router_least_used(const struct router_relay *relays, size_t count);

enum router_verdict { ROUTER_SERVE, ROUTER_REDIRECT, ROUTER_FULL };
/* A listener more, when `listening` are served here. stays: its agent does not follow redirects. any_relay:
 * some relay has room. */
enum router_verdict router_admit(uint64_t listening, uint64_t relay_limit, uint64_t max_listeners, int stays,
                                 int any_relay);

#endif
