#include "root/work/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/mem.h"
#include "root/audio/pcm.h"
#include "root/work/press.h"

#define SLACK_BLOCKS 256 /* an item under way, the credit's second, a period */

struct slot {
    uint64_t block;
    uint32_t crc; /* of the number and the samples */
    uint32_t spare;
    float pcm[PRESS_BLOCK * PCM_CHANNELS];
};

struct spool {
    int fd;
    uint64_t slots;
    struct slot slot; /* under way */
};

static uint32_t crc_of(const struct slot *slot)
{
    return crc32c(crc32c(0, &slot->block, sizeof slot->block), slot->pcm, sizeof slot->pcm);
}

static char *path_of(const char *state)
{
    return xasprintf("%s/lead.pcm", state);
}

/* 0, or -1 with *cause: the file has the size it must have, and as the writer's all its room. */
static int check_size(int fd, off_t size, int writer, const char *path, char **cause)
{
    struct stat st;
    if (fstat(fd, &st)) return cause_set(cause, "%s: %s", path, strerror(errno));
    if (st.st_size == size) return 0;
    if (!writer) return cause_set(cause, "%s has another size", path);
    if (ftruncate(fd, 0)) return cause_set(cause, "%s: %s", path, strerror(errno));
    int error = posix_fallocate(fd, 0, size);
    if (!error) return 0;
    if (ftruncate(fd, 0)) { /* the room goes back; there is nothing to do where it does not */
    }
    return cause_set(cause, "no room for %s (%lld MB): %s", path, (long long)(size >> 20), strerror(error));
}

int spool_open(struct spool **out, const char *state, double lead_s, int writer, char **cause)
{
    char *path = path_of(state);
    uint64_t slots = (uint64_t)((lead_s + SPOOL_PAST_S) * PCM_RATE / PRESS_BLOCK) + SLACK_BLOCKS;
    int fd = open(path, (writer ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = fd < 0 ? cause_set(cause, "can't open %s: %s", path, strerror(errno))
                    : check_size(fd, (off_t)(slots * sizeof(struct slot)), writer, path, cause);
    free(path);
    if (rc) {
        if (fd >= 0) close(fd);
        return -1;
    }
    struct spool *spool = xcalloc(1, sizeof *spool);
    spool->fd = fd;
    spool->slots = slots;
    *out = spool;
    return 0;
}

void spool_close(struct spool *spool)
{
    if (!spool) return;
    close(spool->fd);
    free(spool);
}

void spool_remove(const char *state)
{
    char *path = path_of(state);
    unlink(path);
    free(path);
}

static off_t place_of(const struct spool *spool, uint64_t block)
{
    return (off_t)(block % spool->slots * sizeof(struct slot));
}

int spool_put(struct spool *spool, uint64_t block, const float *pcm, char **cause)
{
    struct slot *slot = &spool->slot;
    slot->block = block;
    memcpy(slot->pcm, pcm, sizeof slot->pcm);
    slot->crc = crc_of(slot);
    ssize_t n = pwrite(spool->fd, slot, sizeof *slot, place_of(spool, block));
    if (n == (ssize_t)sizeof *slot) return 0;
    return cause_set(cause, "can't write the spool: %s", n < 0 ? strerror(errno) : "short write");
}

int spool_get(struct spool *spool, uint64_t block, float *pcm)
{
    struct slot *slot = &spool->slot;
    if (pread(spool->fd, slot, sizeof *slot, place_of(spool, block)) != (ssize_t)sizeof *slot) return -1;
    /* a slot of zeros has a valid checksum for nothing: crc32c of zeros is not zero */
    if (slot->block != block || slot->crc != crc_of(slot)) return -1;
    memcpy(pcm, slot->pcm, sizeof slot->pcm);
    return 0;
}
