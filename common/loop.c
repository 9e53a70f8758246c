#include "common/loop.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/mp3.h"
#include "common/proc.h"

#define PERIOD MP3_PERIOD_FRAMES

struct loop {
    unsigned kbps;
    uint64_t frames;
    size_t len;
    char version[LOOP_NAME_BYTES];
    uint8_t bytes[];
};

static void name(struct loop *loop)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    if (EVP_Digest(loop->bytes, loop->len, digest, NULL, EVP_sha256(), NULL) != 1) abort();
    for (size_t i = 0; i < sizeof loop->version / 2; i++)
        snprintf(loop->version + 2 * i, 3, "%02x", digest[i]);
}

struct loop *loop_new(unsigned kbps, const uint8_t *bytes, size_t len, char **cause)
{
    size_t period = mp3_kbps_valid(kbps) ? (size_t)mp3_frame_offset(kbps, PERIOD) : 0;
    if (!period || !len || len % period || len > LOOP_BYTES_MAX) {
        cause_set(cause, "%zu bytes are no loop of %u kbit/s: it has whole periods of %d frames, up to %d s",
                  len, kbps, PERIOD, LOOP_SECONDS_MAX);
        return NULL;
    }
    uint64_t frames = len / period * PERIOD;
    if (mp3_frames_check(kbps, 0, (unsigned)frames, bytes, len, cause)) return NULL;
    struct loop *loop = xmalloc(sizeof *loop + len);
    loop->kbps = kbps;
    loop->frames = frames;
    loop->len = len;
    memcpy(loop->bytes, bytes, len);
    name(loop);
    return loop;
}

void loop_free(struct loop *loop)
{
    free(loop);
}

unsigned loop_kbps(const struct loop *loop)
{
    return loop->kbps;
}

const char *loop_version(const struct loop *loop)
{
    return loop->version;
}

uint64_t loop_frames(const struct loop *loop)
{
    return loop->frames;
}

const uint8_t *loop_bytes(const struct loop *loop, size_t *len)
{
    *len = loop->len;
    return loop->bytes;
}

const uint8_t *loop_frame(const struct loop *loop, uint64_t n)
{
    return loop->bytes + mp3_frame_offset(loop->kbps, n % loop->frames);
}

char *loop_path(const char *state, const char *mount)
{
    return xasprintf("%s/loop-%s.mp3", state, mount);
}

struct loop *loop_load(const char *state, const char *mount, unsigned kbps, char **cause)
{
    char *path = loop_path(state, mount);
    size_t len;
    char *bytes = proc_read_file(path, LOOP_BYTES_MAX, &len, cause);
    free(path);
    if (!bytes) return NULL;
    struct loop *loop = loop_new(kbps, (const uint8_t *)bytes, len, cause);
    free(bytes);
    return loop;
}

int loop_save(const struct loop *loop, const char *state, const char *mount, char **cause)
{
    char *path = loop_path(state, mount);
    int rc = proc_write_file(path, loop->bytes, loop->len, 0600, cause);
    free(path);
    return rc;
}
