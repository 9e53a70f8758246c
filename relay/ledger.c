#include "relay/ledger.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/billing.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"

#define FILE_MAX 16384
#define TICK_S   2

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
    struct billing_tally tally;
    int reset_day;
    uint64_t counted; /* of the program's counter, in the tally */
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

static char *file_text(const struct ledger *l, int ended)
{
    json_t *days = json_object();
    for (int i = 0; i < BILLING_DAYS; i++) {
        char day[24];
        if (!l->tally.bytes[i]) continue;
        snprintf(day, sizeof day, "%lld", (long long)l->tally.days[i]);
        json_object_set_new(days, day, json_integer((json_int_t)l->tally.bytes[i]));
    }
    json_t *o =
        json_pack("{s:i,s:i,s:b,s:o}", "format", 1, "reset_day", l->reset_day, "ended", ended, "days", days);
    char *text = json_text(o);
    json_decref(o);
    return text;
}

/* 0, or -1 when it is no ledger. */
static int read_text(struct ledger *l, const json_t *file, int *ended)
{
    int bad = 0;
    const char *day;
    json_t *value;
    const json_t *days = json_object_get(file, "days");
    int reset_day = (int)json_int_or(file, "reset_day", 1, BILLING_DAY_MIN, BILLING_DAY_MAX, &bad);
    *ended = json_bool_or(file, "ended", false, &bad);
    if (bad || json_int_or(file, "format", 0, 0, INT32_MAX, NULL) != 1 || !json_is_object(days)) return -1;
    json_object_foreach((json_t *)(uintptr_t)days, day, value)
    {
        char *end;
        long long number = strtoll(day, &end, 10);
        if (*end || end == day || llabs(number) > 100000000 || json_integer_value(value) <= 0) return -1;
        billing_add(&l->tally, number * 86400, (uint64_t)json_integer_value(value));
    }
    l->reset_day = reset_day;
    return 0;
}

static void read_file(struct ledger *l)
{
    size_t len = 0;
    int ended = 0;
    char *cause = NULL;
    if (access(l->writer.path, F_OK)) return; /* the first life */
    char *text = proc_read_file(l->writer.path, FILE_MAX, &len, &cause);
    json_t *file = text ? json_parse(text, len, FILE_MAX, &cause) : NULL;
    if (!file || read_text(l, file, &ended)) {
        memset(&l->tally, 0, sizeof l->tally);
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

static struct billing_month this_month(const struct ledger *l)
{
    return billing_month(wall_s(), l->reset_day);
}

void ledger_tick(struct ledger *l)
{
    uint64_t sent = l->conf.sent(l->conf.context), more = sent > l->counted ? sent - l->counted : 0;
    int64_t now_ns = clock_boot_ns();
    if (more) {
        billing_add(&l->tally, wall_s(), more);
        l->counted = sent;
        l->unsaved += more;
        l->dirty = 1;
    }
    int64_t rest_s = l->unsaved < LEDGER_IDLE_BYTES ? LEDGER_IDLE_WRITE_S : LEDGER_WRITE_S;
    if (!l->dirty || now_ns - l->written_ns < rest_s * CLOCK_NS_PER_S) return;
    if (l->writer.running) give(&l->writer, file_text(l, 0));
    l->written_ns = now_ns;
    l->unsaved = 0;
    l->dirty = 0;
}

uint64_t ledger_bytes(struct ledger *l, int64_t *since_s)
{
    ledger_tick(l);
    struct billing_month month = this_month(l);
    if (since_s) *since_s = month.start_s;
    return billing_sum(&l->tally, month.start_s, month.end_s);
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
    int reset_day = (int)json_int_or(told, "reset_day", l->reset_day, BILLING_DAY_MIN, BILLING_DAY_MAX, &bad);
    if (!json_is_object(told) || bad) return;
    if (reset_day != l->reset_day) {
        log_info("ledger", "the billing month begins on day %d", reset_day);
        l->reset_day = reset_day;
        l->dirty = 1;
    }
    ledger_tick(l);
    struct billing_month month = this_month(l);
    uint64_t had = billing_sum(&l->tally, month.start_s, month.end_s);
    /* of another month: one of the clocks is off, or one side has just crossed the edge */
    if (since_s != month.start_s || !billing_raise(&l->tally, &month, wall_s(), (uint64_t)bytes)) return;
    uint64_t lack = (uint64_t)bytes - had;
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
    l->reset_day = BILLING_DAY_MIN;
    w->path = xasprintf("%s/ledger.json", conf->state);
    w->beside = xasprintf("%s/ledger.json.new", conf->state);
    w->dir = xstrdup(conf->state);
    read_file(l);
    l->written_ns = clock_boot_ns();
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->news, NULL);
    w->running = !pthread_create(&w->thread, NULL, write_files, w);
    if (w->running)
        give(w, file_text(l, 0)); /* from now on it does not say that the last life ended in order */
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
    char *last = file_text(l, 1);
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
