#include "relay/ledger.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"
#include "relay/ledger_sum.h"

#define TICK_S 2

/* The thread that waits for the disk in the loop's place. */
struct writer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t news;
    char *next; /* to be written, NULL: nothing; a newer one takes the place of one not yet begun */
    int running, stop;
    char *path, *beside, *dir;
};

struct ledger {
    struct ledger_conf conf;
    struct event *tick;
    struct ledger_sum sum;
    uint64_t unsaved;
    int dirty;
    int64_t written_ns; /* boot time */
    struct writer writer;
};

static int64_t wall_s(void)
{
    return clock_wall_ns() / CLOCK_NS_PER_S;
}

/* The file */

/* Beside, fsync, rename, fsync of the folder. The name beside is always the same: a life that was cut short
 * leaves nothing that adds up. */
static int put_file(const struct writer *w, const char *text)
{
    int fd = open(w->beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return -1;
    size_t len = strlen(text), at = 0;
    while (at < len) {
        ssize_t n = write(fd, text + at, len - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) break;
        at += (size_t)n;
    }
    int result = at == len && !fsync(fd) ? 0 : -1, error = errno;
    close(fd);
    errno = error;
    if (result || rename(w->beside, w->path)) return -1;
    int dir = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0) {
        fsync(dir);
        close(dir);
    }
    return 0;
}

static void *write_files(void *context)
{
    struct writer *w = context;
    int told = 0;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->next && !w->stop)
            pthread_cond_wait(&w->news, &w->lock);
        char *text = w->next;
        w->next = NULL;
        if (!text) break; /* stop, and nothing left */
        pthread_mutex_unlock(&w->lock);
        if (!put_file(w, text))
            told = 0;
        else if (!told++)
            log_error("ledger", "%s can't be written: %s; the root's ledger has to do", w->path,
                      strerror(errno));
        free(text);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void give(struct writer *w, char *text)
{
    pthread_mutex_lock(&w->lock);
    free(w->next);
    w->next = text;
    pthread_cond_signal(&w->news);
    pthread_mutex_unlock(&w->lock);
}

static void read_file(struct ledger *l)
{
    size_t len = 0;
    int ended = 0;
    char *cause = NULL;
    if (access(l->writer.path, F_OK)) return; /* the first life */
    char *text = proc_read_file(l->writer.path, LEDGER_FILE_MAX, &len, &cause);
    json_t *file = text ? json_parse(text, len, LEDGER_FILE_MAX, &cause) : NULL;
    if (!file || ledger_sum_read(&l->sum, file, &ended)) {
        log_warn("ledger", "%s is no ledger (%s): counting begins anew, the root's ledger has to do",
                 l->writer.path, cause ? cause : "not of this format");
    } else if (!ended) {
        log_info("ledger",
                 "the last life ended without a word: what it sent in its last %d s is in the root's ledger, "
                 "if anywhere",
                 LEDGER_WRITE_S);
    }
    free(cause);
    free(text);
    json_decref(file);
}

/* Counting */

void ledger_tick(struct ledger *l)
{
    uint64_t more = ledger_sum_sent(&l->sum, l->conf.sent(l->conf.context), wall_s());
    int64_t now_ns = clock_boot_ns();
    if (more) {
        l->unsaved += more;
        l->dirty = 1;
    }
    int64_t rest_s = l->unsaved < LEDGER_IDLE_BYTES ? LEDGER_IDLE_WRITE_S : LEDGER_WRITE_S;
    if (!l->dirty || now_ns - l->written_ns < rest_s * CLOCK_NS_PER_S) return;
    if (l->writer.running) give(&l->writer, ledger_sum_text(&l->sum, 0));
    l->written_ns = now_ns;
    l->unsaved = 0;
    l->dirty = 0;
}

uint64_t ledger_bytes(struct ledger *l, int64_t *since_s)
{
    ledger_tick(l);
    return ledger_sum_bytes(&l->sum, wall_s(), since_s);
}

json_t *ledger_json(struct ledger *l)
{
    int64_t since_s;
    uint64_t bytes = ledger_bytes(l, &since_s);
    if (bytes > INT64_MAX) bytes = INT64_MAX;
    return json_pack("{s:I,s:I}", "since", (json_int_t)since_s, "bytes", (json_int_t)bytes);
}

void ledger_told(struct ledger *l, const json_t *told)
{
    int bad = 0;
    int64_t since_s = json_int_or(told, "since", 0, 0, INT64_MAX, &bad);
    int64_t bytes = json_int_or(told, "bytes", 0, 0, INT64_MAX, &bad);
    int reset_day =
        (int)json_int_or(told, "reset_day", l->sum.reset_day, BILLING_DAY_MIN, BILLING_DAY_MAX, &bad);
    if (!json_is_object(told) || bad) return;
    if (reset_day != l->sum.reset_day) {
        log_info("ledger", "the billing month begins on day %d", reset_day);
        l->sum.reset_day = reset_day;
        l->dirty = 1;
    }
    ledger_tick(l);
    uint64_t lack = ledger_sum_told(&l->sum, since_s, (uint64_t)bytes, wall_s());
    if (!lack) return;
    if (lack >= LEDGER_IDLE_BYTES)
        log_info("ledger", "the root knows of %.3f GB more in this month: taken over", (double)lack * 1e-9);
    l->unsaved += lack;
    l->dirty = 1;
}

/* Life */

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    ledger_tick(context);
}

struct ledger *ledger_new(const struct ledger_conf *conf)
{
    struct ledger *l = xcalloc(1, sizeof *l);
    struct writer *w = &l->writer;
    l->conf = *conf;
    l->sum.reset_day = BILLING_DAY_MIN;
    w->path = xasprintf("%s/ledger.json", conf->state);
    w->beside = xasprintf("%s/ledger.json.new", conf->state);
    w->dir = xstrdup(conf->state);
    read_file(l);
    l->written_ns = clock_boot_ns();
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->news, NULL);
    w->running = !pthread_create(&w->thread, NULL, write_files, w);
    if (w->running)
        give(w,
             ledger_sum_text(&l->sum, 0)); /* from now on it does not say that the last life ended in order */
    else
        log_error("ledger", "no thread to write it with: it is written at the end only");
    if (conf->base) {
        l->tick = event_new(conf->base, -1, EV_PERSIST, on_tick, l);
        event_add(l->tick, &(struct timeval){TICK_S, 0});
    }
    return l;
}

void ledger_free(struct ledger *l)
{
    if (!l) return;
    struct writer *w = &l->writer;
    ledger_tick(l);
    char *last = ledger_sum_text(&l->sum, 1);
    if (w->running) {
        give(w, last);
        pthread_mutex_lock(&w->lock);
        w->stop = 1;
        pthread_cond_signal(&w->news);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->thread, NULL);
    } else {
        put_file(w, last);
        free(last);
    }
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->news);
    if (l->tick) event_free(l->tick);
    free(w->next);
    free(w->path);
    free(w->beside);
    free(w->dir);
    free(l);
}
