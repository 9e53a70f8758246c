/* Two buffers: lines go into one, the thread writes the other out and takes the first when it comes back. The
 * loop holds the lock for as long as copying a line takes. */
#include "common/access.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define BUFFER_BYTES (256u << 10)
#define FIELD_MAX    440 /* of a line's texts as written: three of them and the rest fit ACCESS_LINE_MAX */
#define FLUSH_NS     (CLOCK_NS_PER_S / 2)
#define FULL_ENOUGH  (BUFFER_BYTES / 4)
#define LOG_EVERY_NS (60 * CLOCK_NS_PER_S)
#define CLOSE_S      1

struct access_log {
    struct access_conf conf;
    char *path;
    uint64_t key[2];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    /* under the lock */
    char *buffer;
    size_t len;
    uint64_t buffered; /* lines in it */
    int reopen, stop, ended;
    struct access_counts counts;
    /* the thread's */
    char *writing;
    int fd;
    uint64_t size;
    int64_t told_ns;
};

/* What a line looks like */

static size_t put_text(char *out, const char *text, size_t max)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        int plain = *c >= ' ' && *c < 127 && *c != '"' && *c != '\\';
        if (n + (plain ? 1 : 4) > max) break;
        if (plain) {
            out[n++] = (char)*c;
        } else {
            out[n++] = '\\';
            out[n++] = 'x';
            out[n++] = hex[*c >> 4];
            out[n++] = hex[*c & 15];
        }
    }
    return n;
}

static size_t put_address(char *out, size_t size, const struct net_addr *peer, enum access_address how,
                          const uint64_t key[2])
{
    char text[NET_TEXT_MAX];
    if (how == ACCESS_HASH) return (size_t)snprintf(out, size, "%016" PRIx64, net_addr_hash(peer, key));
    struct net_addr shown = how == ACCESS_WHOLE ? *peer : net_addr_mask(peer, 24, 48);
    return (size_t)snprintf(out, size, "%s", net_addr_text(&shown, text));
}

static size_t put_quoted(char *out, const char *text)
{
    size_t n = 0;
    out[n++] = '"';
    n += text && *text ? put_text(out + n, text, FIELD_MAX) : put_text(out + n, "-", 1);
    out[n++] = '"';
    out[n++] = ' ';
    return n;
}

static const char *or_dash(const char *text)
{
    return text && *text ? text : "-";
}

size_t access_format(const struct access_line *line, enum access_address address, const uint64_t key[2],
                     int64_t wall_ns, char *out, size_t size)
{
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t t = (time_t)(wall_ns / CLOCK_NS_PER_S);
    struct tm tm;
    if (size < ACCESS_LINE_MAX) return 0;
    gmtime_r(&t, &tm);
    size_t n = put_address(out, size, &line->peer, address, key);
    n += (size_t)snprintf(out + n, size - n, " - - [%02d/%s/%d:%02d:%02d:%02d +0000] \"", tm.tm_mday,
                          months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    if (line->method) {
        n += (size_t)snprintf(out + n, size - n, "%s ", line->method);
        size_t most = FIELD_MAX, had = put_text(out + n, or_dash(line->target), most);
        n += had;
        most -= had;
        if (line->query && *line->query && most > 1) {
            out[n++] = '?';
            n += put_text(out + n, line->query, most - 1);
        }
        n += (size_t)snprintf(out + n, size - n, " HTTP/1.%d", line->minor);
    } else {
        out[n++] = '-';
    }
    n += (size_t)snprintf(out + n, size - n, "\" %d %" PRIu64 " ", line->status, line->bytes);
    n += put_quoted(out + n, line->referer);
    n += put_quoted(out + n, line->agent);
    n += (size_t)snprintf(out + n, size - n, "%.3f %.40s %.40s\n", line->seconds, or_dash(line->reason),
                          or_dash(line->mount));
    return n;
}

/* The thread: everything that may wait for a disk */

static void complain(struct access_log *log, const char *what, int error)
{
    int64_t now = clock_boot_ns();
    if (log->told_ns && now - log->told_ns < LOG_EVERY_NS) return;
    log->told_ns = now;
    log_error("access", "%s: %s: %s", log->path, what, strerror(error));
}

static int file_open(struct access_log *log)
{
    struct stat st;
    log->fd = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
    if (log->fd < 0) return -1;
    log->size = fstat(log->fd, &st) ? 0 : (uint64_t)st.st_size;
    return 0;
}

static void file_close(struct access_log *log)
{
    if (log->fd >= 0) close(log->fd);
    log->fd = -1;
}

/* FILE.1 is the newest of those moved away. */
static void rotate(struct access_log *log)
{
    for (unsigned i = log->conf.keep; i > 0; i--) {
        char *to = xasprintf("%s.%u", log->path, i);
        char *from = i > 1 ? xasprintf("%s.%u", log->path, i - 1) : xstrdup(log->path);
        if (rename(from, to) && errno != ENOENT) complain(log, "can't be moved away", errno);
        free(from);
        free(to);
    }
    if (!log->conf.keep) unlink(log->path);
    file_close(log);
}

/* 0, or -1 when it was not written whole. */
static int file_write(struct access_log *log, const char *bytes, size_t len)
{
    if (log->conf.max_bytes && log->size && log->size + len > log->conf.max_bytes) rotate(log);
    if (log->fd < 0 && file_open(log)) {
        complain(log, "can't be opened", errno);
        return -1;
    }
    while (len) {
        ssize_t n = write(log->fd, bytes, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            complain(log, "can't be written", n ? errno : ENOSPC);
            return -1;
        }
        bytes += n;
        len -= (size_t)n;
        log->size += (uint64_t)n;
    }
    return 0;
}

static void wait_for_more(struct access_log *log)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + FLUSH_NS;
    until.tv_sec += ns / CLOCK_NS_PER_S;
    until.tv_nsec = ns % CLOCK_NS_PER_S;
    int late = 0;
    /* without lines it sleeps until one comes; with some it lets others join them */
    while (!log->stop && !log->reopen && log->len < FULL_ENOUGH && !(late && log->len)) {
        if (log->len)
            late = pthread_cond_timedwait(&log->more, &log->lock, &until) == ETIMEDOUT;
        else
            pthread_cond_wait(&log->more, &log->lock);
    }
}

static void *run(void *context)
{
    struct access_log *log = context;
    pthread_mutex_lock(&log->lock);
    for (int stop = 0; !stop;) {
        wait_for_more(log);
        char *bytes = log->buffer;
        size_t len = log->len;
        uint64_t lines = log->buffered;
        int reopen = log->reopen;
        stop = log->stop;
        log->buffer = log->writing;
        log->writing = bytes;
        log->len = log->buffered = 0;
        log->reopen = 0;
        pthread_mutex_unlock(&log->lock);
        int failed = len ? file_write(log, bytes, len) : 0;
        if (reopen) {
            file_close(log);
            if (file_open(log)) complain(log, "can't be opened", errno);
        }
        pthread_mutex_lock(&log->lock);
        if (failed) log->counts.dropped += lines;
    }
    log->ended = 1;
    pthread_cond_signal(&log->more);
    pthread_mutex_unlock(&log->lock);
    return NULL;
}

/* The loop's side */

static int start_thread(struct access_log *log)
{
    pthread_condattr_t attributes;
    sigset_t all, before;
    pthread_mutex_init(&log->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&log->more, &attributes);
    pthread_condattr_destroy(&attributes);
    sigfillset(&all); /* signals are the loop's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&log->thread, NULL, run, log);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static void drop(struct access_log *log)
{
    pthread_cond_destroy(&log->more);
    pthread_mutex_destroy(&log->lock);
    file_close(log);
    free(log->buffer);
    free(log->writing);
    free(log->path);
    free(log);
}

struct access_log *access_log_new(const struct access_conf *conf, char **cause)
{
    struct access_log *log = xcalloc(1, sizeof *log);
    log->conf = *conf;
    log->path = xstrdup(conf->path);
    log->buffer = xmalloc(BUFFER_BYTES);
    log->writing = xmalloc(BUFFER_BYTES);
    net_hash_key(log->key);
    int error = file_open(log) ? errno : 0;
    if (!error) error = start_thread(log);
    if (!error) return log;
    cause_set(cause, "%s: %s", log->path, strerror(error));
    file_close(log);
    free(log->buffer);
    free(log->writing);
    free(log->path);
    free(log);
    return NULL;
}

void access_log_free(struct access_log *log)
{
    if (!log) return;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += CLOSE_S;
    pthread_mutex_lock(&log->lock);
    log->stop = 1;
    pthread_cond_signal(&log->more);
    while (!log->ended && pthread_cond_timedwait(&log->more, &log->lock, &until) != ETIMEDOUT) {
    }
    int ended = log->ended;
    pthread_mutex_unlock(&log->lock);
    if (!ended) { /* a disk that does not answer is not waited for: the thread keeps what it holds */
        pthread_detach(log->thread);
        return;
    }
    pthread_join(log->thread, NULL);
    drop(log);
}

void access_log_write(struct access_log *log, const struct access_line *line)
{
    char text[ACCESS_LINE_MAX];
    size_t len = access_format(line, log->conf.address, log->key, clock_wall_ns(), text, sizeof text);
    pthread_mutex_lock(&log->lock);
    log->counts.lines++;
    if (len > BUFFER_BYTES - log->len) {
        log->counts.dropped++;
    } else {
        int wake = log->len == 0 || (log->len < FULL_ENOUGH && log->len + len >= FULL_ENOUGH);
        memcpy(log->buffer + log->len, text, len);
        log->len += len;
        log->buffered++;
        if (wake) pthread_cond_signal(&log->more);
    }
    pthread_mutex_unlock(&log->lock);
}

void access_log_reopen(struct access_log *log)
{
    pthread_mutex_lock(&log->lock);
    log->reopen = 1;
    pthread_cond_signal(&log->more);
    pthread_mutex_unlock(&log->lock);
}

void access_log_counts(struct access_log *log, struct access_counts *out)
{
    pthread_mutex_lock(&log->lock);
    *out = log->counts;
    pthread_mutex_unlock(&log->lock);
}
