/* proc: starting workers and living as a daemon. */
#ifndef FOREVER_COMMON_PROC_H
#define FOREVER_COMMON_PROC_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROC_CHANNEL_FD 3 /* where a worker finds its end of the message channel */

/* Starts `path ROLE` with one end of a fresh message channel as descriptor 3, standard error inherited,
 * every other descriptor closed, its own process group, death of the parent = SIGTERM. nice_level 0..19.
 * Sets *channel_fd to our end. The pid, or -1 with an owned *cause. */
pid_t proc_spawn(const char *path, const char *role, int nice_level, int *channel_fd, char **cause);

/* Restart delays: 0.1 s doubling to 30 s with full jitter, back to the first after a life of 60 s. */
struct proc_backoff {
    int failures;
    int64_t started_ns;
};
/* Called when a life ended: how long to wait before the next, in ms. */
int proc_backoff_next(struct proc_backoff *backoff, int64_t now_ns);
/* min(cap, base * 2^n) times a random share of 0.5..1. */
int proc_jitter_ms(int base_ms, int cap_ms, int failures);

/* Raises the soft descriptor limit to the hard one; returns it. */
unsigned proc_raise_fd_limit(void);
/* Directory of the running executable; static storage. */
const char *proc_self_dir(void);
/* mkdir -p with mode 0700 for what is missing; 0, or -1 with *cause. */
int proc_make_dir(const char *path, char **cause);
/* Takes the lock file of a state directory for as long as the process lives: two programs on one state would
 * ruin it. 0, or -1 with *cause; errno is EWOULDBLOCK when another one holds it, which *cause names. */
int proc_lock_state(const char *dir, char **cause);
/* Whole small file into fresh memory, NUL-terminated; NULL with *cause when unreadable or over max bytes. */
char *proc_read_file(const char *path, size_t max, size_t *len, char **cause);
/* Writes beside and renames; mode as given; 0, or -1 with *cause. */
int proc_write_file(const char *path, const void *bytes, size_t len, mode_t mode, char **cause);

#endif
