/* bench-fanout: what a listener costs, measured with real sockets on loopback.
 *
 *   bench-fanout load   --port P   N listeners of a running node; prints "ready" once all of them hear music
 *   bench-fanout floor             a bare loop: one send a second and socket, straight from shared memory
 *   bench-fanout fanout            the fan-out alone, over a ring of made-up frames
 *
 * floor and fanout serve listeners in a child process and count the CPU of their own process only. Each
 * prints one line of JSON. Listeners and seconds are bounded, and so is every wait. */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fanout.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "tests/unit/frames.h"

#define LISTENERS_MAX 5000
#define SECONDS_MAX   120
#define CONNECT_S     30  /* for all of them */
#define SETTLE_S      3   /* bursts are over and cohorts filled */
#define BATCH         50  /* connections begun before the loop looks again */
#define SLOTS         100 /* of a second, in the bare loop */

struct options {
    int port, listeners, seconds;
    unsigned kbps;
    const char *path;
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench-fanout: %s: %s\n", what, strerror(errno));
    exit(EX_OSERR);
}

static int64_t now_ns(void)
{
    return clock_boot_ns();
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void raise_fd_limit(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l)) die("getrlimit");
    l.rlim_cur = l.rlim_max;
    setrlimit(RLIMIT_NOFILE, &l);
}

/* Listeners */

struct load {
    const struct options *options;
    int epoll, *fds;
    int begun, hearing, refused, ended;
    uint64_t bytes;
};

static void begin_one(struct load *l)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)l->options->port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int i = l->begun++, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a)) die("connect");
    l->fds[i] = fd;
    char request[256];
    int len = snprintf(request, sizeof request,
                       "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: bench\r\n\r\n", l->options->path,
                       l->options->port);
    if (send(fd, request, (size_t)len, MSG_NOSIGNAL) != len) die("send");
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e)) die("epoll_ctl");
}

/* The first bytes are looked at, all others thrown away by the kernel. */
static void hear(struct load *l, int i, uint8_t *first)
{
    char head[16];
    ssize_t n;
    if (!first[i]) {
        n = recv(l->fds[i], head, sizeof head - 1, MSG_DONTWAIT);
        if (n > 0) {
            head[n] = '\0';
            first[i] = 1;
            if (!memcmp(head, "HTTP/1.", 7) && !strstr(head, " 200"))
                l->refused++;
            else
                l->hearing++;
        }
    } else {
        n = recv(l->fds[i], NULL, 1 << 20, MSG_TRUNC | MSG_DONTWAIT);
    }
    if (n > 0) {
        l->bytes += (uint64_t)n;
    } else if (n == 0 || errno != EAGAIN) {
        epoll_ctl(l->epoll, EPOLL_CTL_DEL, l->fds[i], NULL);
        l->ended++;
    }
}

static int run_load(const struct options *o)
{
    struct load l = {.options = o,
                     .epoll = epoll_create1(EPOLL_CLOEXEC),
                     .fds = xcalloc((size_t)o->listeners, sizeof(int))};
    uint8_t *first = xcalloc((size_t)o->listeners, 1);
    int64_t end = now_ns() + CONNECT_S * CLOCK_NS_PER_S, measured_from = 0;
    uint64_t bytes_before = 0;
    while (now_ns() < end) {
        for (int i = 0; i < BATCH && l.begun < o->listeners; i++)
            begin_one(&l);
        struct epoll_event events[256];
        int n = epoll_wait(l.epoll, events, 256, l.begun < o->listeners ? 1 : 100);
        for (int i = 0; i < n; i++)
            hear(&l, (int)events[i].data.u32, first);
        if (!measured_from && l.hearing + l.refused == o->listeners) {
            printf("ready\n");
            fflush(stdout);
            measured_from = now_ns();
            bytes_before = l.bytes;
            end = measured_from + o->seconds * CLOCK_NS_PER_S;
        }
    }
    double seconds = measured_from ? (double)(now_ns() - measured_from) / 1e9 : 0;
    printf("{\"listeners\": %d, \"refused\": %d, \"ended\": %d, \"seconds\": %.2f, \"bytes\": %llu}\n",
           l.hearing, l.refused, l.ended, seconds, (unsigned long long)(l.bytes - bytes_before));
    free(first);
    free(l.fds);
    return measured_from ? 0 : EX_TEMPFAIL;
}

/* Serving them from here */

static int listen_here(int *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096) ||
        getsockname(fd, (struct sockaddr *)&a, &len))
        die("listen");
    *port = ntohs(a.sin_port);
    return fd;
}

static pid_t start_load(const struct options *o, int port)
{
    pid_t pid = fork();
    if (pid < 0) die("fork");
    if (pid) return pid;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    struct options child = *o;
    child.port = port;
    child.seconds = o->seconds + SETTLE_S + 30; /* ended by its parent */
    if (!freopen("/dev/null", "w", stdout)) _exit(EX_OSERR);
    _exit(run_load(&child));
}

static void stop_load(pid_t pid)
{
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

static int accept_one(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), on = 1;
    if (fd < 0) die("accept");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void report(const char *mode, const struct options *o, double cpu, double seconds, uint64_t bytes,
                   uint64_t writes, double memory)
{
    double listener_s = seconds * o->listeners;
    printf("{\"mode\": \"%s\", \"listeners\": %d, \"kbps\": %u, \"seconds\": %.2f, "
           "\"cpu_us_per_listener_s\": %.2f, "
           "\"writes_per_listener_s\": %.3f, \"bytes_per_listener_s\": %.0f, \"bytes_per_listener\": %.0f}\n",
           mode, o->listeners, o->kbps, seconds, cpu * 1e6 / listener_s, (double)writes / listener_s,
           (double)bytes / listener_s, memory);
}

static int run_floor(const struct options *o)
{
    int port, listener = listen_here(&port), *fds = xcalloc((size_t)o->listeners, sizeof *fds);
    size_t each = (size_t)o->kbps * 125, size = each * 4;
    char *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) die("mmap");
    memset(shared, 'x', size);
    pid_t child = start_load(o, port);
    for (int i = 0; i < o->listeners; i++)
        fds[i] = accept_one(listener);
    uint64_t bytes = 0, writes = 0;
    double cpu = 0;
    int64_t start = now_ns(), from = start;
    for (int64_t tick = 0; tick < (int64_t)(SETTLE_S + o->seconds) * SLOTS; tick++) {
        if (tick == SETTLE_S * SLOTS) {
            cpu = cpu_s();
            from = now_ns();
            bytes = writes = 0;
        }
        int64_t wait = start + tick * (CLOCK_NS_PER_S / SLOTS) - now_ns();
        struct timespec t = {0, wait > 0 ? (long)wait : 0};
        if (wait > 0) nanosleep(&t, NULL);
        for (int i = (int)(tick % SLOTS); i < o->listeners; i += SLOTS) {
            ssize_t n = send(fds[i], shared + (tick & 3) * each, each, MSG_NOSIGNAL | MSG_DONTWAIT);
            bytes += n > 0 ? (uint64_t)n : 0;
            writes++;
        }
    }
    cpu = cpu_s() - cpu;
    report("floor", o, cpu, (double)(now_ns() - from) / 1e9, bytes, writes, 0);
    stop_load(child);
    return 0;
}

static int64_t air_from_ns;
static uint64_t air_from;

static uint64_t air(void *context)
{
    (void)context;
    return air_from + mp3_ns_to_frame(now_ns() - air_from_ns);
}

static void ring_fill(struct ring *ring, uint64_t frames)
{
    while (ring_head(ring) < frames) {
        uint64_t at = ring_head(ring);
        unsigned count = frames - at < 490 ? (unsigned)(frames - at) : 490;
        size_t len;
        char *cause = NULL;
        uint8_t *bytes = frames_make(ring_kbps(ring), at, count, 1, &len);
        if (ring_append(ring, ring_branch(ring), at, count, bytes, len, &cause)) {
            fprintf(stderr, "bench-fanout: %s\n", cause);
            exit(EX_SOFTWARE);
        }
        free(bytes);
    }
}

static void run_loop(struct event_base *base, int seconds)
{
    struct timeval t = {seconds, 0};
    event_base_loopexit(base, &t);
    event_base_dispatch(base);
}

static int run_fanout(const struct options *o)
{
    int port, listener = listen_here(&port);
    double length_s = o->seconds + SETTLE_S + CONNECT_S + 10;
    struct ring_conf rc = {.kbps = o->kbps, .past_s = length_s, .lead_s = 10};
    struct ring *ring;
    char *cause = NULL;
    if (ring_open(&ring, &rc, &cause)) {
        fprintf(stderr, "bench-fanout: %s\n", cause);
        return EX_OSERR;
    }
    ring_fill(ring, (uint64_t)(length_s * MP3_RATE / MP3_FRAME_SAMPLES));
    pid_t child = start_load(o, port);
    struct event_base *base = event_base_new();
    struct fanout_conf fc = {.burst_s = 4, .lag_limit_s = 15, .air = air};
    struct fanout *fanout = fanout_new(base, ring, &fc);
    air_from = 200;
    air_from_ns = now_ns();
    size_t heap = mallinfo2().uordblks;
    for (int i = 0; i < o->listeners; i++) {
        if (fanout_add(fanout, accept_one(listener), &(struct fanout_listener_conf){.user_agent = "bench"}))
            die("add");
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    double memory = (double)(mallinfo2().uordblks - heap) / o->listeners;
    run_loop(base, SETTLE_S);
    struct fanout_counts before = *fanout_counts(fanout);
    double cpu = cpu_s();
    int64_t from = now_ns();
    run_loop(base, o->seconds);
    cpu = cpu_s() - cpu;
    const struct fanout_counts *after = fanout_counts(fanout);
    report("fanout", o, cpu, (double)(now_ns() - from) / 1e9, after->bytes - before.bytes,
           after->writes - before.writes, memory);
    if (after->listening != (uint64_t)o->listeners || after->skips)
        fprintf(stderr, "bench-fanout: %llu of %d still listen, %llu skips\n",
                (unsigned long long)after->listening, o->listeners, (unsigned long long)after->skips);
    fanout_free(fanout, 1);
    stop_load(child);
    event_base_free(base);
    ring_close(ring);
    return 0;
}

static int number(const char *name, const char *text, int min, int max)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || end == text || value < min || value > max) {
        fprintf(stderr, "bench-fanout: --%s %s: must be %d to %d\n", name, text, min, max);
        exit(EX_USAGE);
    }
    return (int)value;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"port", 1, NULL, 'p'},    {"listeners", 1, NULL, 'n'},
                                          {"seconds", 1, NULL, 's'}, {"kbps", 1, NULL, 'k'},
                                          {"path", 1, NULL, 'u'},    {NULL, 0, NULL, 0}};
    struct options o = {.port = 0, .listeners = 500, .seconds = 10, .kbps = 192, .path = "/stream.mp3"};
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c == 'p') o.port = number("port", optarg, 1, 65535);
        if (c == 'n') o.listeners = number("listeners", optarg, 1, LISTENERS_MAX);
        if (c == 's') o.seconds = number("seconds", optarg, 1, SECONDS_MAX);
        if (c == 'k') o.kbps = (unsigned)number("kbps", optarg, MP3_KBPS_MIN, MP3_KBPS_MAX);
        if (c == 'u') o.path = optarg;
        if (c == '?') return EX_USAGE;
    }
    const char *mode = optind == argc - 1 ? argv[optind] : "";
    if (!mp3_kbps_valid(o.kbps)) return fprintf(stderr, "bench-fanout: not a bit rate of MP3\n"), EX_USAGE;
    raise_fd_limit();
    if (!strcmp(mode, "load") && o.port) return run_load(&o);
    if (!strcmp(mode, "floor")) return run_floor(&o);
    if (!strcmp(mode, "fanout")) return run_fanout(&o);
    fprintf(stderr,
            "usage: bench-fanout load|floor|fanout [--port P] [--listeners N] [--seconds S] [--kbps K]\n");
    return EX_USAGE;
}
