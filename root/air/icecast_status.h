/* icecast_status: what an Icecast server says of itself in status-json.xsl, as Icecast 2.4 and icecast-kh
 * write it. Pure. */
#ifndef FOREVER_ROOT_AIR_ICECAST_STATUS_H
#define FOREVER_ROOT_AIR_ICECAST_STATUS_H
#include <stddef.h>
#include <stdint.h>

#define ICECAST_STATUS_MAX (256u << 10) /* bytes of an answer */

struct icecast_status {
    uint64_t listeners;
    uint64_t max_listeners; /* 0: it does not say */
    unsigned kbps;          /* 0: it does not say */
};

/* Of the mount at that path ("/stream.mp3"). 0, or -1 with *cause: no such JSON, no such mount. */
int icecast_status_read(const void *text, size_t len, const char *mount, struct icecast_status *out,
                        char **cause);

/* Of a stream's address, http or https: the server's status page, in fresh memory, and in *mount the path
 * (fresh, too). 0, or -1 with *cause. */
int icecast_status_address(const char *stream, char **status, char **mount, char **cause);

#endif
