/* proc: the program starts itself as a worker: with "worker-..." as its argument it plays that part. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/mem.h"
#include "common/msg.h"
#include "common/proc.h"

static char self[4096], dir[] = "/tmp/test_proc.XXXXXX";

/* Tells what it finds, then ends when the channel does. */
static int worker(void)
{
    struct msg_channel *c = msg_channel_new(PROC_CHANNEL_FD);
    struct {
        int fds, group, nice, pipe_ignored, blocked;
    } seen = {0};
    for (int fd = 0; fd < 1024; fd++)
        seen.fds += fcntl(fd, F_GETFD) >= 0;
    seen.group = getpgrp() == getpid();
    seen.nice = getpriority(PRIO_PROCESS, 0);
    struct sigaction action;
    sigaction(SIGPIPE, NULL, &action);
    seen.pipe_ignored = action.sa_handler == SIG_IGN;
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    seen.blocked = sigismember(&mask, SIGUSR1);
    msg_send(c, 1, 0, &seen, sizeof seen, -1);
    struct msg m;
    while (msg_wait(c, &m, 10000) > 0)
        continue;
    msg_channel_free(c);
    return 7;
}

static void a_worker_is_clean(void **state)
{
    (void)state;
    int extra = open("/dev/null", O_RDONLY), channel; /* not close-on-exec */
    char *cause = NULL;
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    pid_t pid = proc_spawn(self, "worker", 3, &channel, &cause);
    assert_true(pid > 0);
    struct msg_channel *c = msg_channel_new(channel);
    struct msg m;
    assert_int_equal(msg_wait(c, &m, 30000), 1);
    int seen[5];
    assert_int_equal(m.len, sizeof seen);
    memcpy(seen, m.body, sizeof seen);
    assert_int_equal(seen[0], 4); /* 0, 1, 2 and the channel */
    assert_int_equal(seen[1], 1);
    assert_int_equal(seen[2], 3);
    assert_int_equal(seen[3], 0);
    assert_int_equal(seen[4], 0);
    msg_channel_free(c);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    close(extra);
    sigprocmask(SIG_UNBLOCK, &mask, NULL);
}

static void what_cannot_start_is_told(void **state)
{
    (void)state;
    char *cause = NULL;
    int channel = -5, before = dup(0);
    close(before);
    assert_int_equal(proc_spawn("/nonexistent/program", "studio", 0, &channel, &cause), -1);
    assert_string_equal(cause, "studio can't be started: /nonexistent/program: No such file or directory");
    assert_int_equal(channel, -5);
    free(cause);
    int after = dup(0);
    close(after);
    assert_int_equal(before, after); /* nothing stays open */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void delays_grow_and_are_spread(void **state)
{
    (void)state;
    struct proc_backoff b = {0};
    int64_t now = INT64_C(1000000000000);
    int cap = 100;
    for (int i = 0; i < 12; i++) {
        b.started_ns = now;
        int ms = proc_backoff_next(&b, now + 1000);
        assert_true(ms >= cap / 2 && ms <= cap);
        cap = cap * 2 > 30000 ? 30000 : cap * 2;
    }
    b.started_ns = now;
    assert_true(proc_backoff_next(&b, now + INT64_C(60000000000)) <= 100);
    b.failures = 1000000;
    b.started_ns = now;
    assert_true(proc_backoff_next(&b, now) <= 30000);
    int low = 30000, high = 0;
    for (int i = 0; i < 200; i++) {
        int ms = proc_jitter_ms(1000, 10000, 3);
        assert_true(ms >= 4000 && ms <= 8000);
        low = ms < low ? ms : low;
        high = ms > high ? ms : high;
    }
    assert_true(high - low > 1000); /* 200 draws within a quarter of the range: 1 in 10^100 */
}

static void small_files_are_read_and_written(void **state)
{
    (void)state;
    char path[64], *cause = NULL;
    snprintf(path, sizeof path, "%s/file", dir);
    size_t len, sizes[] = {0, 1, 4095, 4096, 4097, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *bytes = xmalloc(sizes[i] + 1);
        memset(bytes, (int)('a' + i), sizes[i]);
        assert_int_equal(proc_write_file(path, bytes, sizes[i], 0640, &cause), 0);
        char *back = proc_read_file(path, sizes[i], &len, &cause);
        assert_non_null(back);
        assert_int_equal(len, sizes[i]);
        assert_memory_equal(back, bytes, len);
        assert_int_equal(back[len], '\0');
        free(back);
        if (sizes[i]) {
            assert_null(proc_read_file(path, sizes[i] - 1, &len, &cause));
            assert_non_null(strstr(cause, "is larger than"));
            free(cause);
            cause = NULL;
        }
        free(bytes);
    }
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    unlink(path);
    assert_null(proc_read_file(path, 10, &len, &cause));
    assert_non_null(strstr(cause, "No such file"));
    free(cause);
    cause = NULL;
    assert_int_equal(proc_write_file("/nonexistent/file", "x", 1, 0600, &cause), -1);
    assert_non_null(strstr(cause, "/nonexistent/file: can't be written"));
    free(cause);
}

static void directories_are_made(void **state)
{
    (void)state;
    char deep[64], middle[64], *cause = NULL;
    snprintf(middle, sizeof middle, "%s/a", dir);
    snprintf(deep, sizeof deep, "%s/a/b/", dir);
    assert_int_equal(proc_make_dir(deep, &cause), 0);
    assert_int_equal(proc_make_dir(deep, &cause), 0);
    struct stat st;
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    rmdir(deep);
    rmdir(middle);
    assert_int_equal(proc_make_dir("/dev/null/x", &cause), -1);
    assert_non_null(strstr(cause, "/dev/null"));
    free(cause);
    cause = NULL;
    assert_int_equal(proc_make_dir("/dev/null", &cause), -1);
    free(cause);
    assert_true(strlen(proc_self_dir()) > 0 && !strncmp(self, proc_self_dir(), strlen(proc_self_dir())));
    assert_true(proc_raise_fd_limit() >= 256);
}

static void a_state_has_one_owner(void **state)
{
    (void)state;
    char *cause = NULL, want[128], path[64];
    assert_int_equal(proc_lock_state(dir, &cause), 0);
    assert_int_equal(proc_lock_state(dir, &cause), -1);
    assert_int_equal(errno, EWOULDBLOCK);
    snprintf(want, sizeof want, "the state directory %s is in use by process %ld", dir, (long)getpid());
    assert_string_equal(cause, want);
    free(cause);
    snprintf(path, sizeof path, "%s/lock", dir);
    unlink(path);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) return worker();
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_is_clean),          cmocka_unit_test(what_cannot_start_is_told),
        cmocka_unit_test(delays_grow_and_are_spread), cmocka_unit_test(small_files_are_read_and_written),
        cmocka_unit_test(directories_are_made),       cmocka_unit_test(a_state_has_one_owner),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
