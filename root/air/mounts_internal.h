/* mounts, inside: what its files share. mounts.c is who wakes and sleeps and what the coder is ordered,
 * mounts_parts.c the rings, fan-outs, links and stations, mounts_view.c sums and what is told of them. */
#ifndef FOREVER_ROOT_AIR_MOUNTS_INTERNAL_H
#define FOREVER_ROOT_AIR_MOUNTS_INTERNAL_H
#include "root/air/mounts.h"

struct mounts {
    struct air *air;
    struct mount list[MOUNTS_MAX];
    size_t count;
    uint64_t peak; /* of listeners at all mounts, as far as the ticks saw */
};

#endif
