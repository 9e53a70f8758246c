/* A child writes one answer to a pipe and ends: three blocks, each a length (8 bytes, native order) and as
 * many bytes: the track's JSON (empty: it failed), the failure's reason or the picture's type, the picture.
 */
#include "root/work/crate_jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "root/library/art.h"
#include "root/library/features.h"
#include "root/library/tracks.h"
#include "root/library/waves.h"
#include "root/work/examine.h"

#define AT_ONCE_MAX  8
#define ANSWER_MAX   (32u << 20)
#define CHILD_MEMORY (2ull << 30)
#define DEADLINE_S   60
#define BYTES_A_S    (1 << 20) /* slowest analysis that is still waited for */
#define LOST_MAX     2         /* runs in which a file may take its analysis down */
#define POLL_MS      500

/* The address sanitizer's own map is larger than any limit. */
#ifdef __SANITIZE_ADDRESS__
#define WITH_SANITIZER 1
#elif defined(__has_feature)
#define WITH_SANITIZER __has_feature(address_sanitizer)
#else
#define WITH_SANITIZER 0
#endif

struct child {
    const struct crate_job *job; /* NULL: free */
    pid_t pid;
    int fd;
    int64_t deadline_ns;
    uint8_t *answer;
    size_t len, room;
};

struct block {
    const uint8_t *bytes;
    size_t len;
};

/* The child's answer: the track, or nothing and then the reason why not; cover and waveform may be empty. */
enum { BLOCK_TRACK, BLOCK_MIME, BLOCK_ART, BLOCK_WAVE, BLOCKS, BLOCK_REASON = BLOCK_MIME };

static int write_all(int fd, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -1;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_block(int fd, const void *bytes, size_t len)
{
    uint64_t head = len;
    return write_all(fd, &head, sizeof head) < 0 || write_all(fd, bytes, len) < 0 ? -1 : 0;
}

static int write_text(int fd, const char *text)
{
    return write_block(fd, text ? text : "", text ? strlen(text) : 0);
}

static int write_bytes(int fd, const uint8_t *bytes, size_t len)
{
    return bytes ? write_block(fd, bytes, len) : write_block(fd, "", 0);
}

/* The child's whole life. */
static int examine(const struct crate_job *job, int out)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const struct rlimit memory = {CHILD_MEMORY, CHILD_MEMORY};
    if (!WITH_SANITIZER) setrlimit(RLIMIT_AS, &memory);
    struct track track;
    struct examine_pictures pictures = {0};
    char *cause = NULL;
    int fd = open(job->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) cause_set(&cause, "it can't be opened: %s", strerror(errno));
    if (fd < 0 || examine_file(fd, job->path, &track, &pictures, &cause) < 0 ||
        examine_judge(&track, &cause) < 0)
        return write_text(out, NULL) < 0 || write_text(out, cause) < 0 || write_text(out, NULL) < 0 ||
               write_text(out, NULL) < 0;
    track.id = job->id;
    json_t *object = track_to_json(&track);
    return write_text(out, json_text(object)) < 0 || write_text(out, pictures.art_mime) < 0 ||
           write_bytes(out, pictures.art, pictures.art_len) < 0 ||
           write_bytes(out, pictures.wave, pictures.wave_len) < 0;
}

static int start(struct child *child, const struct crate_job *job, char **cause)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0) return cause_set(cause, "no pipe: %s", strerror(errno));
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        _exit(examine(job, fds[1]));
    }
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        return cause_set(cause, "no process: %s", strerror(errno));
    }
    int64_t deadline_s = DEADLINE_S + job->size / BYTES_A_S;
    *child = (struct child){.job = job, .pid = pid, .fd = fds[0]};
    child->deadline_ns = clock_boot_ns() + deadline_s * CLOCK_NS_PER_S;
    return 0;
}

/* 0 while more may come; 1 at the end, however it came. */
static int read_some(struct child *child)
{
    if (child->room - child->len < 65536) {
        child->room = child->room ? 2 * child->room : 1 << 18;
        child->answer = xrealloc(child->answer, child->room);
    }
    ssize_t n = read(child->fd, child->answer + child->len, child->room - child->len);
    if (n < 0 && errno == EINTR) return 0;
    if (n <= 0) return 1;
    child->len += (size_t)n;
    return child->len > ANSWER_MAX;
}

static int take_blocks(const struct child *child, struct block out[BLOCKS])
{
    size_t at = 0;
    for (int i = 0; i < BLOCKS; i++) {
        uint64_t len;
        if (child->len - at < sizeof len) return -1;
        memcpy(&len, child->answer + at, sizeof len);
        at += sizeof len;
        if (len > child->len - at) return -1;
        out[i] = (struct block){child->answer + at, (size_t)len};
        at += (size_t)len;
    }
    return at == child->len ? 0 : -1;
}

/* -1 with *cause when the file can't be played; 0 otherwise, with *cause when that could not be kept. */
static int keep(struct library *library, const struct child *child, const struct block blocks[BLOCKS],
                char **cause)
{
    if (blocks[BLOCK_TRACK].len == 0) {
        char *reason = xstrndup((const char *)blocks[BLOCK_REASON].bytes, blocks[BLOCK_REASON].len);
        cause_set(cause, "%s", reason);
        free(reason);
        return -1;
    }
    json_t *object = json_parse(blocks[BLOCK_TRACK].bytes, blocks[BLOCK_TRACK].len, ANSWER_MAX, cause);
    if (!object) return -1;
    struct track track;
    track_init(&track);
    int bad = track_from_json(&track, object, cause);
    json_decref(object);
    if (bad) return -1;
    track.id = child->job->id;
    int kept = features_store(library, &track);
    track_free(&track);
    if (kept < 0) {
        /* no fault of the file */
        cause_set(cause, "the database can't be written");
        return 0;
    }
    if (blocks[BLOCK_ART].len) {
        char *mime = xstrndup((const char *)blocks[BLOCK_MIME].bytes, blocks[BLOCK_MIME].len);
        art_store(library, child->job->id, mime, blocks[BLOCK_ART].bytes, blocks[BLOCK_ART].len);
        free(mime);
    }
    if (blocks[BLOCK_WAVE].len)
        waves_store(library, child->job->id, blocks[BLOCK_WAVE].bytes, blocks[BLOCK_WAVE].len);
    return 0;
}

/* Collects a child that is done, or kills one that is late. */
static int finish(struct library *library, struct child *child, int late)
{
    int status = 0;
    char *cause = NULL;
    struct block blocks[BLOCKS];
    int lost = 1; /* the analysis, rather than the file, may be to blame */
    if (late) kill(child->pid, SIGKILL);
    close(child->fd);
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (late) {
        cause_set(&cause, "its analysis took too long");
    } else if (WIFSIGNALED(status)) {
        cause_set(&cause, "its analysis crashed (signal %d)", WTERMSIG(status));
    } else if (WEXITSTATUS(status) || take_blocks(child, blocks) < 0) {
        cause_set(&cause, "its analysis broke off");
    } else {
        lost = keep(library, child, blocks, &cause) == 0;
    }
    if (cause) fprintf(stderr, "\rskipped %s: %s\n", child->job->path, cause);
    if (cause && lost) tracks_set_lost(library, child->job->id, cause, LOST_MAX);
    if (cause && !lost) tracks_set_failed(library, child->job->id, cause);
    int result = cause ? -1 : 0;
    free(cause);
    free(child->answer);
    *child = (struct child){0};
    return result;
}

/* Waits until one of them has something, and reads it; finishes what is done. */
static void serve(struct library *library, struct child *children, int count, size_t *analysed,
                  size_t *failed)
{
    struct pollfd polls[AT_ONCE_MAX];
    for (int i = 0; i < count; i++)
        polls[i] = (struct pollfd){children[i].job ? children[i].fd : -1, POLLIN, 0};
    if (poll(polls, (nfds_t)count, POLL_MS) < 0) return;
    int64_t now = clock_boot_ns();
    for (int i = 0; i < count; i++) {
        if (!children[i].job) continue;
        int done = polls[i].revents && read_some(&children[i]), late = now > children[i].deadline_ns;
        if (!done && !late) continue;
        ++*(finish(library, &children[i], !done) < 0 ? failed : analysed);
    }
}

void crate_jobs_run(struct library *library, const struct crate_job *jobs, size_t count, size_t *analysed,
                    size_t *failed)
{
    struct child children[AT_ONCE_MAX] = {0};
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    int at_once = cpus < 1 ? 1 : cpus > AT_ONCE_MAX ? AT_ONCE_MAX : (int)cpus, tty = isatty(STDERR_FILENO);
    size_t next = 0, shown = SIZE_MAX;
    *analysed = *failed = 0;
    while (*analysed + *failed < count) {
        for (int i = 0; i < at_once && next < count; i++) {
            if (children[i].job) continue;
            char *cause = NULL;
            if (start(&children[i], &jobs[next++], &cause) < 0) {
                fprintf(stderr, "\rskipped %s: %s\n", jobs[next - 1].path, cause);
                ++*failed;
                free(cause);
            }
        }
        serve(library, children, at_once, analysed, failed);
        size_t done = *analysed + *failed;
        if (done != shown && (tty || done == count || done % 50 == 0)) {
            fprintf(stderr, "%sanalysed %zu of %zu files%s", tty ? "\r" : "", done, count,
                    tty && done < count ? "" : "\n");
        }
        shown = done;
    }
}
