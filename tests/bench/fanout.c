/* bench-fanout: servers to measure against, driven by tests/bench/fanout.
 *
 *   bench-fanout floor  --port P   a bare loop: one send a second and socket, straight from shared memory
 *   bench-fanout fanout --port P   the fan-out alone, over a ring of made-up frames
 *
 * Both send a header to whoever connects and then go on until they are ended. Loopback only. */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fanout.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "tests/unit/frames.h"

#define LISTENERS_MAX 20000
#define SLOTS         100 /* of a second, in the bare loop */
#define LEAD_FRAMES   200
#define PAST_S        20

static unsigned kbps = 128;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench-fanout: %s: %s\n", what, strerror(errno));
    exit(EX_OSERR);
}

static int listen_here(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096)) die("listen");
    return fd;
}

static int accept_one(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), on = 1;
    if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED && errno != EMFILE) die("accept");
    if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* The bare loop */

struct slot {
    int fds[LISTENERS_MAX / SLOTS + 1];
    size_t count;
};

static void floor_accept(int listener, struct slot *slots)
{
    static const char header[] = "HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n";
    static size_t next;
    for (int fd; (fd = accept_one(listener)) >= 0; next++) {
        struct slot *s = &slots[next % SLOTS];
        if (s->count == sizeof s->fds / sizeof *s->fds ||
            send(fd, header, sizeof header - 1, MSG_NOSIGNAL) != (ssize_t)sizeof header - 1)
            close(fd);
        else
            s->fds[s->count++] = fd;
    }
}

static void run_floor(int listener)
{
    static struct slot slots[SLOTS];
    size_t each = (size_t)kbps * 125, size = each * 4;
    char *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) die("mmap");
    memset(shared, 'x', size);
    for (int64_t tick = 0, start = clock_boot_ns();; tick++) {
        int64_t wait = start + tick * (CLOCK_NS_PER_S / SLOTS) - clock_boot_ns();
        struct timespec t = {0, wait > 0 ? (long)wait : 0};
        if (wait > 0) nanosleep(&t, NULL);
        floor_accept(listener, slots);
        struct slot *s = &slots[tick % SLOTS];
        for (size_t i = 0; i < s->count;) {
            ssize_t n = send(s->fds[i], shared + (tick & 3) * each, each, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n < 0 && errno != EAGAIN) {
                close(s->fds[i]);
                s->fds[i] = s->fds[--s->count];
            } else {
                i++;
            }
        }
    }
}

/* The fan-out alone */

static struct ring *ring;
static struct fanout *fanout;
static int64_t began_ns;
static uint64_t air_from;

static uint64_t air(void *context)
{
    (void)context;
    return air_from + mp3_ns_to_frame(clock_boot_ns() - began_ns);
}

static int64_t until(void *context, uint64_t frame)
{
    (void)context;
    return frame <= air_from ? 0 : began_ns + mp3_frame_to_ns(frame - air_from) - clock_boot_ns();
}

static void ring_fill(uint64_t frames)
{
    while (ring_head(ring) < frames) {
        uint64_t at = ring_head(ring);
        unsigned count = frames - at < 490 ? (unsigned)(frames - at) : 490;
        size_t len;
        char *cause = NULL;
        uint8_t *bytes = frames_make(kbps, at, count, 1, &len);
        if (ring_append(ring, ring_branch(ring), at, count, bytes, len, &cause)) {
            fprintf(stderr, "bench-fanout: %s\n", cause);
            exit(EX_SOFTWARE);
        }
        free(bytes);
    }
}

static void on_second(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what, (void)context;
    ring_set_floor(ring, air(NULL));
    ring_fill(air(NULL) + LEAD_FRAMES);
}

static void on_connection(evutil_socket_t listener, short what, void *context)
{
    (void)what, (void)context;
    for (int fd, n = 0; n < 32 && (fd = accept_one(listener)) >= 0; n++) {
        char header[256];
        uint64_t from = fanout_start_position(fanout, 0, 0);
        int len =
            snprintf(header, sizeof header,
                     "HTTP/1.0 200 OK\r\nicy-br: %u\r\nX-Forever-Position: %" PRIu64 "\r\n\r\n", kbps, from);
        const struct fanout_listener_conf conf = {
            .has_from = 1, .from = from, .header = header, .header_len = (size_t)len};
        if (fanout_add(fanout, fd, &conf)) die("add");
    }
}

static void run_fanout(int listener)
{
    struct ring_conf rc = {.kbps = kbps, .past_s = PAST_S, .lead_s = 10};
    char *cause = NULL;
    if (ring_open(&ring, &rc, &cause)) {
        fprintf(stderr, "bench-fanout: %s\n", cause);
        exit(EX_OSERR);
    }
    ring_fill(2 * LEAD_FRAMES);
    air_from = LEAD_FRAMES;
    began_ns = clock_boot_ns();
    struct event_base *base = event_base_new();
    fanout = fanout_new(base, ring,
                        &(struct fanout_conf){.burst_s = 4, .lag_limit_s = 15, .air = air, .until = until});
    struct event *second = event_new(base, -1, EV_PERSIST, on_second, NULL);
    struct event *connection = event_new(base, listener, EV_READ | EV_PERSIST, on_connection, NULL);
    event_add(second, &(struct timeval){1, 0});
    event_add(connection, NULL);
    event_base_dispatch(base);
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
    static const struct option longs[] = {{"port", 1, NULL, 'p'}, {"kbps", 1, NULL, 'k'}, {NULL, 0, NULL, 0}};
    int port = 0;
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c == 'p') port = number("port", optarg, 1, 65535);
        if (c == 'k') kbps = (unsigned)number("kbps", optarg, MP3_KBPS_MIN, MP3_KBPS_MAX);
        if (c == '?') return EX_USAGE;
    }
    const char *mode = optind == argc - 1 ? argv[optind] : "";
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    if (mp3_kbps_valid(kbps) && port && !strcmp(mode, "floor")) run_floor(listen_here(port));
    if (mp3_kbps_valid(kbps) && port && !strcmp(mode, "fanout")) run_fanout(listen_here(port));
    fprintf(stderr, "usage: bench-fanout floor|fanout --port P [--kbps K]\n");
    return EX_USAGE;
}
