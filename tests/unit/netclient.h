/* A raw client within the test's own event loop: nothing is hidden, and no second thread is needed. */
#ifndef FOREVER_TESTS_NETCLIENT_H
#define FOREVER_TESTS_NETCLIENT_H
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NET_DEADLINE_MS 20000 /* what comes does at once, but where the machine has no time for it */

struct net_bytes {
    char *data;
    size_t len, size;
    int ended; /* 0 open, 1 end of stream, -1 reset */
};

static inline int64_t net_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* How long this process was kept waiting for a processor, ever; 0 where the system does not say. */
static inline int64_t net_kept_ms(void)
{
    unsigned long long ran, kept = 0;
    FILE *file = fopen("/proc/self/schedstat", "re");
    if (!file || fscanf(file, "%llu %llu", &ran, &kept) != 2) kept = 0;
    if (file) fclose(file);
    return (int64_t)(kept / 1000000);
}

/* rcvbuf 0: the system's. */
static inline int net_connect(int port, int rcvbuf)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (rcvbuf) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
    if (connect(fd, (struct sockaddr *)&a, sizeof a)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* A connected pair over loopback TCP; [0] is the accepted, non-blocking end. */
static inline int net_pair(int fds[2], int rcvbuf)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l < 0 || bind(l, (struct sockaddr *)&a, sizeof a) || listen(l, 1) ||
        getsockname(l, (struct sockaddr *)&a, &len))
        return -1;
    fds[1] = net_connect(ntohs(a.sin_port), rcvbuf);
    fds[0] = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    close(l);
    return fds[0] < 0 || fds[1] < 0 ? -1 : 0;
}

static inline void net_send(int fd, const char *text)
{
    for (size_t len = strlen(text); len;) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n <= 0) return;
        text += n;
        len -= (size_t)n;
    }
}

/* Takes what is there, at most max bytes. */
static inline void net_take(int fd, struct net_bytes *b, size_t max)
{
    while (!b->ended && max) {
        char piece[16384];
        ssize_t n = recv(fd, piece, max < sizeof piece ? max : sizeof piece, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n <= 0) {
            b->ended = n == 0 ? 1 : -1;
            return;
        }
        if (b->len + (size_t)n + 1 > b->size) {
            b->size = (b->len + (size_t)n + 1) * 2;
            b->data = realloc(b->data, b->size);
        }
        memcpy(b->data + b->len, piece, (size_t)n);
        b->len += (size_t)n;
        b->data[b->len] = '\0';
        max -= (size_t)n;
    }
}

/* One turn of the loop, with a pause of at most a millisecond. */
static inline void net_turn(struct event_base *base)
{
    event_base_loop(base, EVLOOP_NONBLOCK);
    poll(NULL, 0, 1);
}

/* Runs the loop until the text came (or, with NULL, the end) or ms went by; 1 when it came. */
static inline int net_until(struct event_base *base, int fd, struct net_bytes *b, const char *text, int ms)
{
    for (int64_t end = net_now_ms() + ms;;) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        net_take(fd, b, SIZE_MAX);
        if (text ? b->data && strstr(b->data, text) != NULL : b->ended) return 1;
        if (b->ended || net_now_ms() > end) return 0;
        poll(NULL, 0, 1);
    }
}

/* Runs the loop until len bytes or the end came, or the deadline passed. */
static inline void net_until_len(struct event_base *base, int fd, struct net_bytes *b, size_t len)
{
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; b->len < len && !b->ended && net_now_ms() < end;) {
        net_turn(base);
        net_take(fd, b, SIZE_MAX);
    }
}

/* The status of the answer that it begins with; 0 when it does not. */
static inline int net_status(const struct net_bytes *b)
{
    int status = 0;
    if (b->data) sscanf(b->data, "HTTP/1.%*d %d", &status);
    return status;
}

#endif
