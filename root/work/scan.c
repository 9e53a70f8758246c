/* scan: walks the libraries and watches them.
 *
 * One walk after the other, each with a number of its own; what inotify tells in between is sent as found at
 * once. A walk is made anew when something went away, when events were missed, and now and then in any case:
 * often where the system can't watch (too many folders, a file system of the network), seldom where it can.
 * No walk begins before a hundred times the last one's duration has passed, so that scanning never takes more
 * than a hundredth of the machine. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/source/source.h"
#include "root/track.h"
#include "root/work/work.h"

#define BATCH           200
#define BATCH_BYTES_MAX (512 << 10) /* of paths: below the message's limit, however they are escaped */
#define REWALK_NS       (600 * CLOCK_NS_PER_S)
#define REWALK_BLIND_NS (60 * CLOCK_NS_PER_S) /* where not everything is watched */
#define REWALK_SHARE    100
#define SETTLE_NS       CLOCK_NS_PER_S /* a walk that is due waits for the changes to end */
#define LIBRARIES_MAX   64

struct library_scan {
    struct source *source;
    int64_t generation;  /* of its last walk */
    int64_t earliest_ns; /* of the next walk, CLOCK_BOOTTIME */
    int64_t due_ns;
    uint64_t unreadable; /* as logged last */
};

struct scan {
    struct work *work;
    struct library_scan libraries[LIBRARIES_MAX];
    int count;
    json_t *batch;
    size_t batch_bytes;
    struct library_scan *current; /* whose files the batch holds */
    int64_t generation;
};

/* Waits until air has taken what was sent: the store's pace is ours. -1 when it is time to end. */
static int wait_sent(struct scan *s)
{
    int left;
    while ((left = msg_flush(s->work->channel)) > 0) {
        struct pollfd p = {.fd = msg_channel_fd(s->work->channel), .events = POLLOUT};
        poll(&p, 1, 1000);
    }
    struct work_message message;
    int got = work_next(s->work, &message, 0);
    if (got > 0) work_message_free(&message); /* nothing is meant for scan but the end */
    return left < 0 || got < 0 ? -1 : 0;
}

static json_t *head(const struct library_scan *l)
{
    char *root = path_to_text(source_location(l->source));
    json_t *body = json_pack("{s:s,s:I}", "root", root, "generation", (json_int_t)l->generation);
    free(root);
    return body;
}

static int send_batch(struct scan *s)
{
    if (!json_array_size(s->batch)) return 0;
    json_t *body = head(s->current);
    json_object_set_new(body, "files", s->batch);
    s->batch = json_array();
    s->batch_bytes = 0;
    return work_send(s->work, WIRE_FOUND, 0, body, -1) ? -1 : wait_sent(s);
}

static int found(void *context, const char *path, int64_t size, int64_t mtime_ns)
{
    struct scan *s = context;
    char *text = path_to_text(path);
    json_array_append_new(s->batch, json_pack("{s:s,s:I,s:I}", "path", text, "size", (json_int_t)size,
                                              "mtime_ns", (json_int_t)mtime_ns));
    s->batch_bytes += strlen(text);
    free(text);
    int full = json_array_size(s->batch) == BATCH || s->batch_bytes > BATCH_BYTES_MAX;
    return full && send_batch(s);
}

static void report_unreadable(struct library_scan *l, const struct source_report *report)
{
    if (report->unreadable && report->unreadable != l->unreadable)
        log_warn("scan", "%s: %llu folders can't be read, the first is %s", source_location(l->source),
                 (unsigned long long)report->unreadable, report->first_unreadable);
    l->unreadable = report->unreadable;
}

/* -1 when it is time to end. */
static int walk(struct scan *s, struct library_scan *l)
{
    struct source_report report;
    char *cause = NULL;
    int64_t start_ns = clock_boot_ns();
    s->current = l;
    l->generation = ++s->generation;
    int failed = source_walk(l->source, found, s, &report, &cause);
    if (s->work->quit || send_batch(s)) {
        free(cause);
        free(report.first_unreadable);
        return -1;
    }
    json_t *body = head(l);
    json_object_set_new(body, "files", json_integer((json_int_t)report.files));
    if (failed) {
        json_object_set_new(body, "error", json_text_lossy(cause));
        log_warn("scan", "%s", cause);
    } else {
        report_unreadable(l, &report);
    }
    int64_t now_ns = clock_boot_ns(), took_ns = now_ns - start_ns;
    log_debug("scan", "%s: %llu files in %llu folders, %.3f s", source_location(l->source),
              (unsigned long long)report.files, (unsigned long long)report.directories,
              (double)took_ns / 1e9);
    l->earliest_ns = now_ns + took_ns * REWALK_SHARE;
    l->due_ns = now_ns + (failed || report.unwatched ? REWALK_BLIND_NS : REWALK_NS);
    free(cause);
    free(report.first_unreadable);
    return work_send(s->work, WIRE_SCANNED, 0, body, -1) ? -1 : wait_sent(s);
}

static int64_t when(const struct library_scan *l)
{
    return l->due_ns > l->earliest_ns ? l->due_ns : l->earliest_ns;
}

/* Sends what the sources tell, and makes the walks that are due. -1 when it is time to end. */
static int look(struct scan *s)
{
    for (int i = 0; i < s->count; i++) {
        struct library_scan *l = &s->libraries[i];
        s->current = l;
        int changes = source_changes(l->source, found, s);
        if (changes < 0 || send_batch(s)) return -1;
        int64_t now_ns = clock_boot_ns();
        if (changes > 0 && l->due_ns > now_ns + SETTLE_NS) l->due_ns = now_ns + SETTLE_NS;
        if (now_ns >= when(l) && walk(s, l)) return -1;
    }
    return 0;
}

/* Sleeps until a message, a change or the next walk. */
static void rest(struct scan *s)
{
    struct pollfd p[LIBRARIES_MAX + 1];
    int64_t next_ns = INT64_MAX;
    p[0] = (struct pollfd){.fd = msg_channel_fd(s->work->channel), .events = POLLIN};
    for (int i = 0; i < s->count; i++) {
        p[i + 1] = (struct pollfd){.fd = source_fd(s->libraries[i].source), .events = POLLIN};
        if (when(&s->libraries[i]) < next_ns) next_ns = when(&s->libraries[i]);
    }
    int64_t rest_ms = (next_ns - clock_boot_ns()) / 1000000 + 1;
    poll(p, (nfds_t)s->count + 1, s->count ? (int)(rest_ms > 0 ? rest_ms : 0) : -1);
}

static int inside(const char *path, const char *other)
{
    size_t n = strlen(other);
    return !strncmp(path, other, n) && (path[n] == '/' || path[n] == '\0');
}

/* A library inside of another one is walked with it. */
static int is_nested(const struct work *work, size_t index)
{
    for (size_t i = 0; i < work->library_count; i++) {
        if (i == index || !inside(work->libraries[index], work->libraries[i])) continue;
        if (strcmp(work->libraries[index], work->libraries[i]) || i < index) return 1;
    }
    return 0;
}

int work_scan(struct work *work)
{
    struct scan s = {.work = work, .batch = json_array()};
    /* numbers no former scan has given */
    s.generation = clock_wall_ns() / 1000;
    for (size_t i = 0; i < work->library_count && s.count < LIBRARIES_MAX; i++) {
        if (!is_nested(work, i)) s.libraries[s.count++].source = source_open(work->libraries[i]);
    }
    int code = work_ready(work) ? EX_IOERR : 0;
    while (!code && !look(&s) && !wait_sent(&s))
        rest(&s);
    for (int i = 0; i < s.count; i++)
        source_close(s.libraries[i].source);
    json_decref(s.batch);
    return code;
}
