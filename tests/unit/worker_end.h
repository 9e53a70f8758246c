/* worker_end: a role in a child process, and air's end of its channel, for tests. */
#ifndef FOREVER_TESTS_UNIT_WORKER_END_H
#define FOREVER_TESTS_UNIT_WORKER_END_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/track.h"
#include "root/work/work.h"
#include "tests/unit/remove_tree.h"

#define END_WAIT_MS 30000

struct worker_end {
    pid_t pid;
    struct msg_channel *channel;
    struct msg message; /* the last one taken; its body */
    json_t *body;
    uint32_t seq;
};

/* Starts the role and takes its READY. */
static inline void end_start(struct worker_end *e, enum role role, int (*entry)(struct work *),
                             json_t *config)
{
    int fds[2];
    assert_int_equal(msg_pair(fds), 0);
    e->pid = fork();
    assert_true(e->pid >= 0);
    if (!e->pid) {
        struct work work;
        char *cause = NULL;
        close(fds[0]);
        log_init(role_name(role), LOG_LEVEL_ERROR);
        int code = work_begin(&work, fds[1], role, &cause) ? 99 : entry(&work);
        work_end(&work);
        free(cause);
        _exit(code);
    }
    close(fds[1]);
    e->channel = msg_channel_new(fds[0]);
    e->body = NULL;
    e->seq = 100;
    assert_int_equal(wire_send(e->channel, WIRE_CONFIG, 0, config, -1), 0);
}

/* Takes messages until one of this type comes; others are dropped. Its body in e->body. 0 when it did not
 * come within the time. */
static inline int end_await(struct worker_end *e, enum wire_type type, int timeout_ms)
{
    int64_t end_ns = clock_boot_ns() + timeout_ms * INT64_C(1000000);
    json_decref(e->body);
    e->body = NULL;
    for (;;) {
        int64_t rest_ms = (end_ns - clock_boot_ns()) / 1000000;
        int got = msg_wait(e->channel, &e->message, rest_ms > 0 ? (int)rest_ms : 0);
        if (got <= 0) return 0;
        const struct wire_row *row = wire_find(e->message.type);
        assert_non_null(row);
        assert_true(e->message.len <= row->max_len);
        if (row->type == type) {
            char *cause = NULL;
            if (!row->binary) assert_non_null(e->body = wire_body(&e->message, &cause));
            return 1;
        }
        if (e->message.fd >= 0) close(e->message.fd);
        if (rest_ms <= 0) return 0;
    }
}

#define end_expect(e, type)                                                                                  \
    do {                                                                                                     \
        if (!end_await(e, type, END_WAIT_MS)) fail_msg(#type " did not come");                               \
    } while (0)

/* Asks and takes the reply (or what else is expected of it). */
#define end_ask(e, question, json, answer)                                                                   \
    do {                                                                                                     \
        assert_int_equal(wire_send((e)->channel, question, ++(e)->seq, json, -1), 0);                        \
        do {                                                                                                 \
            end_expect(e, answer);                                                                           \
        } while ((e)->message.seq != (e)->seq);                                                              \
    } while (0)

static inline void end_tell(struct worker_end *e, enum wire_type type, json_t *body)
{
    assert_int_equal(wire_send(e->channel, type, 0, body, -1), 0);
}

static inline int64_t end_int(const struct worker_end *e, const char *key)
{
    return json_int_or(e->body, key, -1, INT64_MIN, INT64_MAX, NULL);
}

/* QUIT; the exit code. */
static inline int end_quit(struct worker_end *e)
{
    end_tell(e, WIRE_QUIT, json_object());
    end_await(e, WIRE_QUIT, END_WAIT_MS); /* drains until it closes */
    int status = 0;
    assert_int_equal(waitpid(e->pid, &status, 0), e->pid);
    msg_channel_free(e->channel);
    json_decref(e->body);
    e->body = NULL;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline void end_put_file(const char *dir, const char *name, const char *text)
{
    char *path = xasprintf("%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    free(path);
}

static inline json_t *end_config(const char *state, const char *library)
{
    return json_pack("{s:s,s:[s],s:i,s:f,s:i,s:f,s:s,s:i}", "state", state, "libraries", library,
                     "bitrate_kbps", 192, "lead_s", 240.0, "seed", 1, "target_lufs", -16.0, "log_level",
                     "error", "generation", 1);
}

#endif
