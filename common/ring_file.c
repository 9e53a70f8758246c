#include "common/ring_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "common/ring.h"

#define MAGIC      "4everRNG"
#define VERSION    1u
#define STATE_AT   512
#define STATE_STEP 512
#define FORKS_AT   2048
#define CRCS_AT    8192
#define BLOCKS_MAX (UINT64_C(1) << 20) /* 16 days; a sane file has fewer */
#define CRC_OF(s)  crc32c(0, s, sizeof *(s) - sizeof(s)->crc)

struct constant {
    char magic[8];
    uint32_t version, kbps;
    uint64_t blocks, data_at;
    uint32_t spare, crc;
};

_Static_assert(sizeof(struct ring_state) <= STATE_STEP, "two copies fit before the forks");
_Static_assert(STATE_AT + 2 * STATE_STEP <= FORKS_AT, "the states fit");
_Static_assert(FORKS_AT + RING_FORKS * sizeof(struct ring_fork) <= CRCS_AT, "the forks fit");
_Static_assert(offsetof(struct ring_state, crc) + 4 == sizeof(struct ring_state), "the CRC is last");

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static uint64_t round_up(uint64_t value, uint64_t step)
{
    return (value + step - 1) / step * step;
}

static size_t block_bytes(unsigned kbps)
{
    return (size_t)mp3_frame_offset(kbps, MP3_PERIOD_FRAMES);
}

uint64_t ring_file_blocks(unsigned kbps, uint64_t frames)
{
    /* a page is a power of two: blocks go in steps of what block_bytes lacks of its factors */
    uint64_t step = 1, bytes = block_bytes(kbps);
    while (step * bytes % page_bytes())
        step *= 2;
    return round_up(round_up(frames, MP3_PERIOD_FRAMES) / MP3_PERIOD_FRAMES, step);
}

static void layout(struct ring_file *file, unsigned kbps, uint64_t blocks)
{
    file->kbps = kbps;
    file->blocks = blocks;
    file->block_bytes = block_bytes(kbps);
    file->data_bytes = (size_t)blocks * file->block_bytes;
    file->head_bytes = (size_t)round_up(CRCS_AT + blocks * sizeof(uint32_t), page_bytes());
}

static int map(struct ring_file *file, char **cause)
{
    file->head = mmap(NULL, file->head_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
    if (file->head == MAP_FAILED) {
        file->head = NULL;
        goto fail;
    }
    /* one reservation, so that nothing else can get between the two views */
    uint8_t *data =
        mmap(NULL, 2 * file->data_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) goto fail;
    file->data = data;
    for (int i = 0; i < 2; i++) {
        void *view = mmap(data + (size_t)i * file->data_bytes, file->data_bytes, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_FIXED, file->fd, (off_t)file->head_bytes);
        if (view == MAP_FAILED) goto fail;
    }
    file->block_crc = (uint32_t *)(void *)(file->head + CRCS_AT);
    file->forks = (struct ring_fork *)(void *)(file->head + FORKS_AT);
    return 0;
fail:
    cause_set(cause, "can't map the ring: %s", strerror(errno));
    return -1;
}

void ring_file_close(struct ring_file *file)
{
    if (file->data) munmap(file->data, 2 * file->data_bytes);
    if (file->head) munmap(file->head, file->head_bytes);
    if (file->fd >= 0) close(file->fd);
    file->data = file->head = NULL;
    file->fd = -1;
}

int ring_file_create(struct ring_file *file, const char *path, unsigned kbps, uint64_t blocks,
                     const struct ring_state *state, char **cause)
{
    memset(file, 0, sizeof *file);
    file->fd = -1;
    if (blocks == 0 || blocks > BLOCKS_MAX) return cause_set(cause, "a ring of that length is not possible");
    layout(file, kbps, blocks);
    file->fd = path ? open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)
                    : memfd_create("ring", MFD_CLOEXEC);
    if (file->fd < 0) return cause_set(cause, "can't make %s: %s", path ? path : "a ring", strerror(errno));
    /* all of it now: a full disk must be an error here, not a SIGBUS on the air */
    size_t whole = file->head_bytes + file->data_bytes;
    int rests = (state->flags & RING_RESTS) != 0;
    int error = posix_fallocate(file->fd, 0, (off_t)(rests ? file->head_bytes : whole));
    if (!error && rests && ftruncate(file->fd, (off_t)whole)) error = errno;
    if (error) {
        cause_set(cause, "no room for %s: %s", path ? path : "a ring", strerror(error));
        goto fail;
    }
    if (map(file, cause)) goto fail;
    struct constant constant = {
        .version = VERSION, .kbps = kbps, .blocks = blocks, .data_at = file->head_bytes};
    memcpy(constant.magic, MAGIC, sizeof constant.magic);
    constant.crc = CRC_OF(&constant);
    memcpy(file->head, &constant, sizeof constant);
    file->state = *state;
    ring_file_commit(file);
    return 0;
fail:
    ring_file_close(file);
    return -1;
}

static int state_read(const struct ring_file *file, int slot, struct ring_state *out)
{
    memcpy(out, file->head + STATE_AT + slot * STATE_STEP, sizeof *out);
    if (out->crc != CRC_OF(out)) return -1;
    if (out->tail > out->floor || out->floor > out->head || out->head > RING_POSITION_MAX) return -1;
    if (out->head - out->tail > file->blocks * MP3_PERIOD_FRAMES) return -1;
    if (out->fork_end - out->fork_first > RING_FORKS || out->branch_oldest > out->branch) return -1;
    if (out->serial_next == 0 || out->serial_first > out->serial_next) return -1;
    if (out->station[RING_BOOT_BYTES - 1] || out->boot[RING_BOOT_BYTES - 1]) return -1;
    return out->anchor_boot[RING_BOOT_BYTES - 1] ? -1 : 0;
}

static int state_load(struct ring_file *file)
{
    struct ring_state slot[2];
    int good[2];
    for (int i = 0; i < 2; i++)
        good[i] = state_read(file, i, &slot[i]) == 0;
    if (!good[0] && !good[1]) return -1;
    int newest = !good[0] || (good[1] && slot[1].sequence > slot[0].sequence);
    file->state = slot[newest];
    return 0;
}

/* A fork that a crash of the machine has damaged: then no branch but the present one is known. */
static void forks_check(struct ring_file *file)
{
    struct ring_state *state = &file->state;
    uint32_t before = state->branch_oldest;
    for (uint32_t i = state->fork_first; i != state->fork_end; i++) {
        const struct ring_fork *fork = &file->forks[i % RING_FORKS];
        if (fork->crc != CRC_OF(fork) || fork->branch <= before || fork->branch > state->branch) {
            state->fork_first = state->fork_end;
            state->branch_oldest = state->branch;
            return;
        }
        before = fork->branch;
    }
}

int ring_file_open(struct ring_file *file, const char *path, unsigned kbps, char **cause)
{
    struct constant constant;
    struct stat st;
    int rc = -1;
    memset(file, 0, sizeof *file);
    file->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (file->fd < 0 && errno == ENOENT) return 1;
    if (file->fd < 0 || fstat(file->fd, &st)) {
        cause_set(cause, "can't open %s: %s", path, strerror(errno));
        goto fail;
    }
    rc = 2;
    if (!S_ISREG(st.st_mode) || pread(file->fd, &constant, sizeof constant, 0) != (ssize_t)sizeof constant ||
        memcmp(constant.magic, MAGIC, sizeof constant.magic) || constant.crc != CRC_OF(&constant)) {
        cause_set(cause, "%s is not a ring", path);
        goto fail;
    }
    if (constant.version != VERSION || constant.kbps != kbps || constant.blocks == 0 ||
        constant.blocks > BLOCKS_MAX) {
        cause_set(cause, "%s is of version %u and %u kbit/s", path, constant.version, constant.kbps);
        goto fail;
    }
    layout(file, kbps, constant.blocks);
    if (constant.data_at != file->head_bytes || file->data_bytes % page_bytes() ||
        (uint64_t)st.st_size < (uint64_t)file->head_bytes + file->data_bytes) {
        cause_set(cause, "%s has a wrong size", path);
        goto fail;
    }
    if (map(file, cause)) {
        rc = -1;
        goto fail;
    }
    if (state_load(file)) {
        cause_set(cause, "%s is damaged", path);
        goto fail;
    }
    forks_check(file);
    return 0;
fail:
    ring_file_close(file);
    return rc;
}

void ring_file_commit(struct ring_file *file)
{
    struct ring_state *state = &file->state;
    assert(state->tail <= state->floor && state->floor <= state->head);
    assert(state->head - state->tail <= file->blocks * MP3_PERIOD_FRAMES);
    state->sequence++;
    state->crc = CRC_OF(state);
    atomic_thread_fence(memory_order_seq_cst); /* the data first */
    memcpy(file->head + STATE_AT + (state->sequence & 1) * STATE_STEP, state, sizeof *state);
    atomic_thread_fence(memory_order_seq_cst); /* what follows may overwrite what no longer counts */
}

void ring_file_punch(struct ring_file *file)
{
    /* where the file system can't, the file keeps its size: no more than that is lost */
    fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)file->head_bytes,
              (off_t)file->data_bytes);
    madvise(file->data, 2 * file->data_bytes, MADV_DONTNEED);
}

int ring_file_fill(struct ring_file *file, char **cause)
{
    int error = posix_fallocate(file->fd, (off_t)file->head_bytes, (off_t)file->data_bytes);
    return error ? cause_set(cause, "no room for a ring: %s", strerror(error)) : 0;
}

int ring_file_sync(struct ring_file *file, char **cause)
{
    if (fsync(file->fd)) return cause_set(cause, "can't write the ring: %s", strerror(errno));
    return 0;
}

uint32_t ring_file_crc(const struct ring_file *file, uint64_t from, uint64_t to)
{
    uint64_t start = mp3_frame_offset(file->kbps, from), end = mp3_frame_offset(file->kbps, to);
    return crc32c(0, file->data + ring_file_at(file, start), (size_t)(end - start));
}

uint32_t ring_file_partial_crc(const struct ring_file *file)
{
    uint64_t start = ring_block_start(file->state.head);
    if (start < file->state.tail) start = file->state.tail;
    return ring_file_crc(file, start, file->state.head);
}

void ring_file_put_fork(struct ring_file *file, uint64_t position, uint32_t branch)
{
    struct ring_fork fork = {.position = position, .branch = branch};
    fork.crc = CRC_OF(&fork);
    file->forks[file->state.fork_end % RING_FORKS] = fork;
}
