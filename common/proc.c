#include "common/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/msg.h"

#define REPORT_FD (PROC_CHANNEL_FD + 1) /* in the child, until exec: tells why it failed */

/* The child between fork and exec: async-signal-safe calls only. */
static void become_worker(const char *path, const char *role, int nice_level, int channel, int report,
                          pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1); /* it died before the line above */
    setpgid(0, 0);
    if (nice_level > 0) setpriority(PRIO_PROCESS, 0, nice_level);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    /* both well above the numbers they are about to get */
    channel = fcntl(channel, F_DUPFD, 16);
    report = fcntl(report, F_DUPFD, 16);
    int null = open("/dev/null", O_RDWR);
    if (channel >= 0 && report >= 0 && null >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
        dup2(null, STDOUT_FILENO) >= 0 && dup2(channel, PROC_CHANNEL_FD) >= 0 &&
        dup3(report, REPORT_FD, O_CLOEXEC) >= 0) {
        if (close_range(REPORT_FD + 1, ~0u, 0)) {
            for (int fd = (int)sysconf(_SC_OPEN_MAX) - 1; fd > REPORT_FD; fd--)
                close(fd);
        }
        execl(path, path, role, (char *)NULL);
        report = REPORT_FD;
    }
    int why = errno;
    if (write(report, &why, sizeof why) < 0) _exit(126);
    _exit(127);
}

pid_t proc_spawn(const char *path, const char *role, int nice_level, int *channel_fd, char **cause)
{
    int channel[2], report[2], why = 0;
    if (msg_pair(channel)) return cause_set(cause, "no channel for %s: %s", role, strerror(errno));
    if (pipe2(report, O_CLOEXEC)) {
        cause_set(cause, "no pipe for %s: %s", role, strerror(errno));
        goto no_pipe;
    }
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) become_worker(path, role, nice_level, channel[1], report[1], parent);
    close(report[1]);
    if (pid < 0) {
        cause_set(cause, "%s can't be started: %s", role, strerror(errno));
        goto no_child;
    }
    /* ends with exec, which closes the pipe: a matter of a few ms */
    ssize_t n;
    do {
        n = read(report[0], &why, sizeof why);
    } while (n < 0 && errno == EINTR);
    if (n != 0) {
        waitpid(pid, NULL, 0);
        cause_set(cause, "%s can't be started: %s: %s", role, path, strerror(n == sizeof why ? why : EIO));
        goto no_child;
    }
    close(report[0]);
    close(channel[1]);
    *channel_fd = channel[0];
    return pid;
no_child:
    close(report[0]);
no_pipe:
    close(channel[0]);
    close(channel[1]);
    return -1;
}

int proc_jitter_ms(int base_ms, int cap_ms, int failures)
{
    int64_t delay = base_ms;
    for (int i = 0; i < failures && delay < cap_ms; i++)
        delay *= 2;
    if (delay > cap_ms) delay = cap_ms;
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = (uint32_t)getpid() * 2654435761u;
    return (int)(delay / 2 + (delay - delay / 2) * (int64_t)(random >> 1) / INT64_C(0x7fffffff));
}

int proc_backoff_next(struct proc_backoff *b, int64_t now_ns)
{
    if (now_ns - b->started_ns >= INT64_C(60000000000)) b->failures = 0;
    return proc_jitter_ms(100, 30000, b->failures++);
}

unsigned proc_raise_fd_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) return 0;
    struct rlimit wanted = {limit.rlim_max, limit.rlim_max};
    if (!setrlimit(RLIMIT_NOFILE, &wanted)) limit = wanted;
    return limit.rlim_cur > 0x7fffffff ? 0x7fffffff : (unsigned)limit.rlim_cur;
}

const char *proc_self_dir(void)
{
    static char dir[4096];
    if (dir[0]) return dir;
    ssize_t n = readlink("/proc/self/exe", dir, sizeof dir - 1);
    dir[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(dir, '/');
    if (!slash)
        snprintf(dir, sizeof dir, ".");
    else
        slash[slash == dir] = '\0';
    return dir;
}

int proc_make_dir(const char *path, char **cause)
{
    char *part = xstrdup(path);
    int result = 0;
    for (char *c = part + 1; !result; c++) {
        if (*c != '/' && *c != '\0') continue;
        char kept = *c;
        *c = '\0';
        if (mkdir(part, 0700) && errno != EEXIST)
            result = cause_set(cause, "%s: can't be made: %s", part, strerror(errno));
        *c = kept;
        if (kept == '\0') break;
    }
    struct stat st;
    if (!result && (stat(path, &st) || !S_ISDIR(st.st_mode)))
        result = cause_set(cause, "%s: is no directory", path);
    free(part);
    return result;
}

int proc_lock_state(const char *dir, char **cause)
{
    char *path = xasprintf("%s/lock", dir), holder[32] = "";
    int result = 0, held = 0, fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        result = cause_set(cause, "%s: can't be opened: %s", path, strerror(errno));
    } else if (flock(fd, LOCK_EX | LOCK_NB)) {
        ssize_t n = read(fd, holder, sizeof holder - 1);
        holder[n > 0 ? strcspn(holder, "\n") : 0] = '\0';
        result = cause_set(cause, "the state directory %s is in use by process %s", dir,
                           *holder ? holder : "unknown");
        held = 1;
        close(fd);
    } else {
        /* the descriptor stays open, and with it the lock, until the process ends */
        int n = snprintf(holder, sizeof holder, "%ld\n", (long)getpid());
        if (ftruncate(fd, 0) || pwrite(fd, holder, (size_t)n, 0) != n) {
            result = cause_set(cause, "%s: can't be written: %s", path, strerror(errno));
            close(fd);
        }
    }
    free(path);
    errno = held ? EWOULDBLOCK : EIO;
    return result;
}

char *proc_read_file(const char *path, size_t max, size_t *len, char **cause)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        cause_set(cause, "%s: can't be read: %s", path, strerror(errno));
        return NULL;
    }
    size_t n = 0, room = max < 4096 ? max + 1 : 4096;
    char *text = xmalloc(room + 1);
    for (;;) {
        ssize_t got = read(fd, text + n, room - n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            cause_set(cause, "%s: can't be read: %s", path, strerror(errno));
            goto failed;
        }
        n += (size_t)got;
        if (n > max) {
            cause_set(cause, "%s: is larger than %zu bytes", path, max);
            goto failed;
        }
        if (got == 0) break;
        if (n == room) {
            room = room * 2 > max + 1 ? max + 1 : room * 2;
            text = xrealloc(text, room + 1);
        }
    }
    close(fd);
    text[n] = '\0';
    if (len) *len = n;
    return text;
failed:
    close(fd);
    free(text);
    return NULL;
}

int proc_write_file(const char *path, const void *bytes, size_t len, mode_t mode, char **cause)
{
    char *beside = xasprintf("%s.XXXXXX", path);
    int result = -1, fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0) {
        cause_set(cause, "%s: can't be written: %s", path, strerror(errno));
        free(beside);
        return -1;
    }
    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, (const char *)bytes + at, len - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) goto done;
        at += (size_t)n;
    }
    if (!fchmod(fd, mode) && !fsync(fd) && !rename(beside, path)) result = 0;
done:
    if (result) {
        cause_set(cause, "%s: can't be written: %s", path, strerror(errno));
        unlink(beside);
    }
    close(fd);
    free(beside);
    return result;
}
