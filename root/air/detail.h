/* detail: what reports tell beside what choosing a relay needs: stays of listeners, mounts with their
 * families, descriptors, versions. Counters are of a session; those of earlier ones are kept and added. Pure.
 */
#ifndef FOREVER_ROOT_AIR_DETAIL_H
#define FOREVER_ROOT_AIR_DETAIL_H
#include <stdint.h>
#include <jansson.h>

#include "common/fanout.h"
#include "common/json_flat.h"
#include "common/mount.h"

#define DETAIL_VERSION_BYTES 32

struct detail_mount {
    char name[MOUNT_NAME_BYTES];
    uint64_t listeners, accepted, closed, bytes_in, bytes_out; /* counters: of the session */
    uint32_t agents[AGENT_COUNT];
    int pulling;
};

struct detail {
    char session[32];
    uint64_t lengths[FANOUT_LENGTHS], lengths_before[FANOUT_LENGTHS]; /* cumulative over their slots */
    uint64_t fds, fd_limit, sent_bps, uplink_bps;
    char libevent[DETAIL_VERSION_BYTES], openssl[DETAIL_VERSION_BYTES], libcurl[DETAIL_VERSION_BYTES],
        kernel[2 * DETAIL_VERSION_BYTES];
    struct detail_mount *mounts; /* mount_count of them */
    unsigned mount_count;
};

/* Of a report that the registry has taken as news; what is of the wrong type is left out. */
void detail_take(struct detail *detail, const struct json_flat *report);
void detail_free(struct detail *detail);
/* Its members into an object. */
void detail_json(const struct detail *detail, json_t *object);
/* Stays of all sessions, cumulative over the slots, added to sums. */
void detail_lengths(const struct detail *detail, uint64_t sums[FANOUT_LENGTHS]);

#endif
