/* access: the access log, one line for each finished request and each listener that has gone.
 *
 * The combined format, which every tool reads, and behind it what a stream needs: seconds, bytes of the body,
 * why it ended, the mount:
 *
 *   192.0.2.0 - - [21/Nov/2026:09:27:07 +0000] "GET /stream.mp3 HTTP/1.1" 200 480000 "-" "VLC/3.0" 30.021
 * client stream
 *
 * An address is cut to its network (/24, /48) unless told otherwise. Lines go into a buffer of fixed size,
 * which a thread writes out, so that a slow disk is never waited for: when the buffer is full, lines are
 * dropped and counted. The file is opened again when it was moved away (access_log_reopen), and moved to
 * FILE.1 and so on by itself when it grows over its size. Everything is called from one thread. */
#ifndef FOREVER_COMMON_ACCESS_H
#define FOREVER_COMMON_ACCESS_H
#include <stddef.h>
#include <stdint.h>

#include "common/net.h"

struct access_line {
    struct net_addr peer;
    /* NULL and "" are "-"; a line without method was no request that could be read */
    const char *method, *target, *query, *referer, *agent, *reason, *mount;
    int minor, status;
    uint64_t bytes;
    double seconds;
};

enum access_address { ACCESS_NETWORK, ACCESS_HASH, ACCESS_WHOLE };

struct access_conf {
    const char *path; /* copied */
    enum access_address address;
    uint64_t max_bytes; /* 0: it grows until somebody moves it away */
    unsigned keep;      /* moved files at most */
};

#define ACCESS_LINE_MAX 2048

struct access_log;

/* NULL with *cause when the file can't be opened. */
struct access_log *access_log_new(const struct access_conf *conf, char **cause);
/* Writes what it holds, for at most a second. */
void access_log_free(struct access_log *log);
void access_log_write(struct access_log *log, const struct access_line *line);
void access_log_reopen(struct access_log *log);

struct access_counts {
    uint64_t lines, dropped; /* dropped: for want of room, or because the disk would not have them */
};
void access_log_counts(struct access_log *log, struct access_counts *out);

/* What a line looks like, with its end; what is too long in it is cut, so that ACCESS_LINE_MAX bytes hold
 * any. key: of the hash. Returns its length. */
size_t access_format(const struct access_line *line, enum access_address address, const uint64_t key[2],
                     int64_t wall_ns, char *out, size_t size);

#endif
