#include "common/msg.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"

struct header {
    uint32_t magic, len, seq;
    uint16_t type, flags;
};
#define MAGIC        0x52564631u /* "1FVR" */
#define FLAG_MEMFD   1u          /* the body is in the last descriptor */
#define FLAG_CARRIES 2u          /* the first descriptor is the message's own */

struct queued {
    STAILQ_ENTRY(queued) next;
    struct header header;
    int fds[2], fd_count;
    size_t len; /* inline bytes */
    uint8_t body[];
};

/* Invariant: waiting_bytes is the sum of what the queue holds, inline or in memfds. */
struct msg_channel {
    int fd;
    int dead;   /* closed, or it broke the rules */
    int silent; /* nothing can be sent any more, but what came before may still be read */
    STAILQ_HEAD(, queued) queue;
    size_t waiting_bytes;
    uint8_t *mapped; /* body of the last message read, when it came in a memfd */
    size_t mapped_len;
    uint8_t buffer[sizeof(struct header) + MSG_INLINE_MAX];
};

int msg_pair(int fds[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds)) return -1;
    for (int i = 0; i < 2; i++) {
        int size = 1 << 20; /* as far as the system lets us */
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
    }
    return 0;
}

struct msg_channel *msg_channel_new(int fd)
{
    struct msg_channel *c = xcalloc(1, sizeof *c);
    c->fd = fd;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    STAILQ_INIT(&c->queue);
    return c;
}

static void queued_free(struct queued *q)
{
    for (int i = 0; i < q->fd_count; i++)
        close(q->fds[i]);
    free(q);
}

static void unmap(struct msg_channel *c)
{
    if (c->mapped) munmap(c->mapped, c->mapped_len);
    c->mapped = NULL;
}

void msg_channel_free(struct msg_channel *c)
{
    if (!c) return;
    unmap(c);
    while (!STAILQ_EMPTY(&c->queue)) {
        struct queued *q = STAILQ_FIRST(&c->queue);
        STAILQ_REMOVE_HEAD(&c->queue, next);
        queued_free(q);
    }
    close(c->fd);
    free(c);
}

int msg_channel_fd(const struct msg_channel *c)
{
    return c->fd;
}

static int put(int fd, const struct header *h, const void *body, size_t len, const int *fds, int fd_count)
{
    struct iovec iov[2] = {{(void *)(uintptr_t)h, sizeof *h}, {(void *)(uintptr_t)body, len}};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } control;
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = len ? 2 : 1};
    if (fd_count) {
        memset(&control, 0, sizeof control);
        m.msg_control = control.space;
        m.msg_controllen = CMSG_SPACE((size_t)fd_count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)fd_count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, (size_t)fd_count * sizeof(int));
    }
    ssize_t n;
    do {
        n = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -1 : 0;
}

static int body_memfd(const void *body, size_t len)
{
    int fd = memfd_create("forever-msg", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return -1;
    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, (const char *)body + at, len - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            int saved = errno;
            close(fd);
            errno = saved;
            return -1;
        }
        at += (size_t)n;
    }
    /* sealed: the receiver maps it, and a sender can't shrink it under the receiver's feet */
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)) {
        close(fd);
        return -1;
    }
    return fd;
}

int msg_send(struct msg_channel *c, uint16_t type, uint32_t seq, const void *body, size_t len, int fd)
{
    if (c->dead || c->silent) {
        errno = EPIPE;
        return -1;
    }
    if (len > MSG_BODY_MAX) {
        errno = EMSGSIZE;
        return -1;
    }
    int fds[2], count = 0, memfd = -1;
    struct header h = {.magic = MAGIC, .len = (uint32_t)len, .seq = seq, .type = type};
    if (fd >= 0) {
        fds[count++] = fd;
        h.flags |= FLAG_CARRIES;
    }
    if (len > MSG_INLINE_MAX) {
        memfd = body_memfd(body, len);
        if (memfd < 0) return -1;
        fds[count++] = memfd;
        h.flags |= FLAG_MEMFD;
    }
    size_t inline_len = memfd < 0 ? len : 0;
    int result = 0;
    if (STAILQ_EMPTY(&c->queue) && put(c->fd, &h, body, inline_len, fds, count) == 0) goto done;
    if (STAILQ_EMPTY(&c->queue) && errno != EAGAIN && errno != ENOBUFS) {
        c->silent = 1;
        result = -1;
        goto done;
    }
    if (c->waiting_bytes + len + sizeof h > MSG_QUEUE_MAX) {
        errno = ENOBUFS;
        result = -1;
        goto done;
    }
    struct queued *q = xmalloc(sizeof *q + inline_len);
    q->header = h;
    q->len = inline_len;
    q->fd_count = 0;
    if (inline_len) memcpy(q->body, body, inline_len);
    for (int i = 0; i < count; i++) {
        int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
        if (copy < 0) {
            int saved = errno;
            queued_free(q);
            errno = saved;
            result = -1;
            goto done;
        }
        q->fds[q->fd_count++] = copy;
    }
    c->waiting_bytes += len + sizeof h;
    STAILQ_INSERT_TAIL(&c->queue, q, next);
done:
    if (memfd >= 0) {
        int saved = errno;
        close(memfd);
        errno = saved;
    }
    return result;
}

int msg_flush(struct msg_channel *c)
{
    while (!STAILQ_EMPTY(&c->queue) && !c->dead && !c->silent) {
        struct queued *q = STAILQ_FIRST(&c->queue);
        if (put(c->fd, &q->header, q->body, q->len, q->fds, q->fd_count)) {
            if (errno == EAGAIN || errno == ENOBUFS) return 1;
            c->silent = 1;
            break;
        }
        c->waiting_bytes -= q->header.len + sizeof q->header;
        STAILQ_REMOVE_HEAD(&c->queue, next);
        queued_free(q);
    }
    return c->dead || c->silent ? -1 : 0;
}

/* Maps a memfd of exactly len bytes whose sender can neither shrink nor change it any more. */
static int map_body(struct msg_channel *c, int fd, size_t len)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    int need = F_SEAL_SHRINK | F_SEAL_WRITE;
    if (seals < 0 || (seals & need) != need || fstat(fd, &st) || st.st_size != (off_t)len || len == 0)
        return -1;
    void *p = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) return -1;
    c->mapped = p;
    c->mapped_len = len;
    return 0;
}

int msg_read(struct msg_channel *c, struct msg *out)
{
    unmap(c);
    if (c->dead) return -1;
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } control;
    struct iovec iov = {c->buffer, sizeof c->buffer};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.space,
                       .msg_controllen = sizeof control.space};
    ssize_t n;
    do {
        n = recvmsg(c->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) return 0;
    int fds[2] = {-1, -1}, count = 0;
    for (struct cmsghdr *cm = n > 0 ? CMSG_FIRSTHDR(&m) : NULL; cm; cm = CMSG_NXTHDR(&m, cm)) {
        if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS) continue;
        size_t got = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < got; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(cm) + i * sizeof fd, sizeof fd);
            if (count < 2)
                fds[count++] = fd;
            else
                close(fd);
        }
    }
    struct header h;
    if (n < (ssize_t)sizeof h || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) goto broken;
    memcpy(&h, c->buffer, sizeof h);
    int want = !!(h.flags & FLAG_CARRIES) + !!(h.flags & FLAG_MEMFD);
    if (h.magic != MAGIC || h.len > MSG_BODY_MAX || count != want) goto broken;
    *out = (struct msg){.type = h.type, .seq = h.seq, .len = h.len, .fd = -1};
    if (h.flags & FLAG_MEMFD) {
        if (n != (ssize_t)sizeof h || map_body(c, fds[count - 1], h.len)) goto broken;
        close(fds[count - 1]);
        out->body = c->mapped;
    } else {
        if ((size_t)n - sizeof h != h.len) goto broken;
        out->body = c->buffer + sizeof h;
    }
    if (h.flags & FLAG_CARRIES) out->fd = fds[0];
    return 1;
broken:
    for (int i = 0; i < count; i++)
        close(fds[i]);
    c->dead = 1;
    return -1;
}

int msg_wait(struct msg_channel *c, struct msg *out, int timeout_ms)
{
    int64_t end = clock_boot_ns() + (int64_t)timeout_ms * 1000000;
    for (;;) {
        int left = msg_flush(c), r = msg_read(c, out);
        if (r) return r;
        struct pollfd p = {.fd = c->fd, .events = (short)(POLLIN | (left > 0 ? POLLOUT : 0))};
        int wait = -1;
        if (timeout_ms >= 0) {
            int64_t rest = (end - clock_boot_ns() + 999999) / 1000000;
            if (rest <= 0) return 0;
            wait = (int)rest;
        }
        poll(&p, 1, wait);
    }
}
