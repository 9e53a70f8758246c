/* Relays that report to a root, as many as a large network has: bench-reports PORT CREDENTIALS MONTH_S FIRST
 * COUNT.
 *
 * Each relay has a connection of its own over TLS, kept open, and its own credential (line FIRST + i of the
 * file), and reports 2 s after the last answer, as relay/join does, from a moment of its own on. Reports are
 * those of a busy relay with three mounts and listeners of all families; counters go on, tickets are counted
 * by the epoch and floor that the root told. Says "ready" when each has been answered once, then its counts
 * for each line that comes in, and ends with its input. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"

#define EVERY_NS    (2 * CLOCK_NS_PER_S)
#define OPENING_MAX 32 /* handshakes at a time */
#define REPORT_MAX  8192
#define ANSWER_MAX  16384
#define SECRET_TEXT 44

enum state { CLOSED, OPENS, WAITS, ASKS };

struct relay {
    SSL *ssl;
    int fd;
    enum state state;
    unsigned number, seq, answered, epoch, floor;
    int64_t due_ns, asked_ns, began_ns;
    char secret[SECRET_TEXT], upstream[17]; /* "": the root */
    char *answer;                           /* while one comes */
    size_t have;
};

static struct {
    struct relay *relays;
    unsigned count, opening, answered_once;
    uint64_t lost; /* connections */
    int port, epoll;
    SSL_CTX *context;
    uint64_t answers, bytes;
    int64_t waited_ns, waited_most_ns;
    int64_t month_s;
} b;

static uint64_t seed = 88172645463325252ULL;

static uint64_t draw(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return (seed ^= seed << 17) % below;
}

static void fail(const struct relay *r, const char *what)
{
    fprintf(stderr, "relay-%05u: %s\n", r->number, what);
    exit(1);
}

/* Of this run: another for each. */
static void session_text(unsigned number, char out[17])
{
    snprintf(out, 17, "%08x%08x", number, (unsigned)getppid());
}

static size_t mount_text(char *out, size_t size, const struct relay *r, const char *name, unsigned listeners,
                         unsigned kbps)
{
    uint64_t s = r->seq * 2, sent = (uint64_t)listeners * kbps * 125 * s;
    return (size_t)snprintf(
        out, size,
        "%s{\"name\":\"%s\",\"pulling\":true,\"listeners\":%u,\"accepted\":%llu,\"closed\":%llu,\"bytes_in\":"
        "%llu,"
        "\"bytes_out\":%llu,\"agents\":{\"browser\":%u,\"app\":%u,\"player\":%u,\"radio\":%u,\"tool\":1}}",
        strcmp(name, "stream") ? "," : "", name, listeners, (unsigned long long)(listeners + s),
        (unsigned long long)s, (unsigned long long)(kbps * 127 * s), (unsigned long long)sent, listeners / 2,
        listeners / 8, listeners / 4, listeners / 16);
}

/* What relay/report makes of a relay on which much goes on. */
static size_t report_text(const struct relay *r, char *out, size_t size)
{
    unsigned listeners = 150 + r->number % 50 + (unsigned)draw(10);
    char session[17];
    session_text(r->number, session);
    double up_s = (double)(clock_boot_ns() - r->began_ns) * 1e-9;
    uint64_t s = r->seq * 2, sent = (uint64_t)listeners * 16000 * s;
    size_t n = (size_t)snprintf(
        out, size,
        "{\"name\":\"relay-%05u\",\"public_url\":\"https://"
        "relay-%05u.radio.example:8443\",\"version\":\"0.1.0\","
        "\"session\":\"%s\",\"seq\":%u,\"uptime_s\":%.17g,\"listeners\":%u,\"max_listeners\":1000,"
        "\"accepted\":%llu,\"closed\":%llu,\"bytes_in\":%llu,\"bytes_out\":%llu,\"agents\":{\"browser\":%u,"
        "\"app\":%u,\"player\":%u,\"radio\":%u,\"tool\":%u,\"other\":0},\"position\":%llu,\"lag_s\":%.17g,"
        "\"lead_s\":%.17g,\"mounts\":[",
        r->number, r->number, session, r->seq, up_s, listeners, (unsigned long long)(listeners + 3 * s),
        (unsigned long long)(3 * s), (unsigned long long)(48000 * s), (unsigned long long)sent, listeners / 2,
        listeners / 8, listeners / 4, listeners / 16, 3u, (unsigned long long)(1000000 + 38 * s),
        (double)draw(1000) * 1e-6, 239 + (double)draw(1000) * 1e-3);
    n += mount_text(out + n, size - n, r, "stream", listeners - 60, 128);
    n += mount_text(out + n, size - n, r, "low", 40, 64);
    n += mount_text(out + n, size - n, r, "high", 20, 192);
    n += (size_t)snprintf(
        out + n, size - n,
        "],\"pulling\":true,\"draining\":false,\"cpu_s\":%.17g,\"rss_bytes\":%llu,\"fds\":%u,\"fd_limit\":"
        "524288,"
        "\"sent_bps\":%llu,\"joins_per_s\":100.0,\"uplink_bps\":1000000000,\"upstream\":\"%s\","
        "\"link\":{\"url\":\"https://relay-%05u.radio.example:8002\",\"pin\":\"sha256//"
        "L/x92mAWYsQilmT++eqaCWrIh8DG9E2FCCkVIr3Mv3c=\"},\"links\":0,\"links_bps\":0,\"link_bytes_out\":0",
        up_s * 0.01, (unsigned long long)(14000000 + draw(100000)), 200 + listeners,
        (unsigned long long)listeners * 128000, r->upstream, r->number);
    if (r->epoch)
        n += (size_t)snprintf(out + n, size - n,
                              ",\"tickets\":{\"epoch\":%u,\"floor\":%u,\"from_floor\":0,\"redeemed\":0,"
                              "\"expired\":0,\"refused\":0}",
                              r->epoch, r->floor);
    if (r->seq % 8 == 1) {
        n += (size_t)snprintf(out + n, size - n, ",\"lengths\":[");
        for (unsigned i = 0; i < 18; i++)
            n += (size_t)snprintf(out + n, size - n, "%s%llu", i ? "," : "",
                                  (unsigned long long)(3 * s * (i + 1) / 18));
        n += (size_t)snprintf(out + n, size - n, "]");
    }
    if (r->seq % 32 == 1)
        n += (size_t)snprintf(out + n, size - n,
                              ",\"versions\":{\"libevent\":\"2.1.12-stable\",\"openssl\":\"3.0.22\","
                              "\"libcurl\":\"7.88.1\",\"kernel\":\"6.1.0-32-amd64\"}");
    return n + (size_t)snprintf(out + n, size - n, ",\"ledger\":{\"since\":%lld,\"bytes\":%llu}}",
                                (long long)b.month_s, (unsigned long long)(sent / 20 * 21));
}

static void watch(struct relay *r, uint32_t events, int how)
{
    struct epoll_event event = {.events = events, .data.ptr = r};
    if (epoll_ctl(b.epoll, how, r->fd, &event)) fail(r, strerror(errno));
}

/* As a relay would, it comes again. */
static void close_one(struct relay *r)
{
    b.opening -= r->state == OPENS;
    b.lost++;
    SSL_free(r->ssl);
    close(r->fd);
    free(r->answer);
    r->answer = NULL;
    r->have = 0;
    r->state = CLOSED;
}

static void ask(struct relay *r, int64_t now_ns)
{
    static char text[REPORT_MAX + 512], body[REPORT_MAX];
    r->seq++;
    size_t len = report_text(r, body, sizeof body);
    int head =
        snprintf(text, sizeof text,
                 "POST /api/relay/report HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: forever/0.1.0\r\n"
                 "Accept: */*\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
                 "Content-Length: %zu\r\n\r\n",
                 b.port, r->secret, len);
    memcpy(text + head, body, len + 1);
    if (SSL_write(r->ssl, text, head + (int)len) != head + (int)len) {
        close_one(r);
        return;
    }
    b.bytes += len;
    r->state = ASKS;
    r->asked_ns = now_ns;
}

/* 1 when the answer is whole. */
static int is_whole(const struct relay *r)
{
    const char *body = strstr(r->answer, "\r\n\r\n"), *len = strcasestr(r->answer, "Content-Length: ");
    return body && len && r->have >= (size_t)(body + 4 - r->answer) + strtoul(len + 16, NULL, 10);
}

static unsigned number_after(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    return at ? (unsigned)strtoul(at + strlen(key), NULL, 10) : 0;
}

/* Pulls from where the root says. */
static void follow(struct relay *r)
{
    static const char under[] = "\"parent\":{\"url\":\"https://relay-";
    const char *at = strstr(r->answer, under);
    if (strstr(r->answer, "\"parent\":null")) r->upstream[0] = '\0';
    if (at) session_text((unsigned)atoi(at + strlen(under)), r->upstream);
}

static void take_answer(struct relay *r, int64_t now_ns)
{
    if (strncmp(r->answer, "HTTP/1.1 200", 12)) fail(r, r->answer);
    r->epoch = number_after(r->answer, "\"epoch\":");
    r->floor = number_after(r->answer, "\"floor\":");
    follow(r);
    free(r->answer);
    r->answer = NULL;
    r->have = 0;
    r->state = WAITS;
    b.answered_once += !r->answered++;
    int64_t waited_ns = now_ns - r->asked_ns;
    b.waited_ns += waited_ns;
    if (waited_ns > b.waited_most_ns) b.waited_most_ns = waited_ns;
    b.answers++;
    /* the first ones come as the connections do, later ones when they like */
    r->due_ns = now_ns + (r->answered == 1 ? (int64_t)draw((uint64_t)EVERY_NS) : EVERY_NS);
}

static void hear(struct relay *r)
{
    for (;;) {
        if (!r->answer) r->answer = xmalloc(ANSWER_MAX);
        int n = SSL_read(r->ssl, r->answer + r->have, (int)(ANSWER_MAX - 1 - r->have));
        if (n <= 0) {
            if (SSL_get_error(r->ssl, n) != SSL_ERROR_WANT_READ) {
                close_one(r);
                return;
            }
            if (!r->have) {
                free(r->answer);
                r->answer = NULL;
            }
            return;
        }
        r->answer[r->have += (size_t)n] = '\0';
        if (is_whole(r)) take_answer(r, clock_boot_ns());
    }
}

static void open_one(struct relay *r)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)b.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    r->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (r->fd < 0) fail(r, strerror(errno));
    setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(r->fd, (const struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
        fail(r, strerror(errno));
    r->ssl = SSL_new(b.context);
    SSL_set_fd(r->ssl, r->fd);
    r->state = OPENS;
    b.opening++;
    watch(r, EPOLLIN | EPOLLOUT | EPOLLET, EPOLL_CTL_ADD);
}

static void shake(struct relay *r)
{
    int n = SSL_connect(r->ssl);
    int why = n == 1 ? 0 : SSL_get_error(r->ssl, n);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return;
    if (why) {
        close_one(r);
        return;
    }
    b.opening--;
    watch(r, EPOLLIN, EPOLL_CTL_MOD);
    int64_t now_ns = clock_boot_ns();
    if (!r->began_ns) r->began_ns = now_ns;
    ask(r, now_ns);
}

static void read_credentials(const char *path, unsigned first)
{
    char line[128];
    FILE *f = fopen(path, "r");
    for (unsigned i = 0; f && i < first + b.count; i++) {
        if (!fgets(line, sizeof line, f)) break;
        if (i < first) continue;
        struct relay *r = &b.relays[i - first];
        snprintf(r->secret, sizeof r->secret, "%.43s", line);
        r->number = i;
    }
    if (!f || !b.relays[b.count - 1].secret[0]) {
        fprintf(stderr, "%s: has fewer than %u lines\n", path, first + b.count);
        exit(1);
    }
    fclose(f);
}

/* 0 at the end of the input. */
static int answer_input(void)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    char line[64];
    if (poll(&in, 1, 0) <= 0) return 1;
    if (read(STDIN_FILENO, line, sizeof line) <= 0) return 0;
    printf("{\"answers\":%llu,\"bytes\":%llu,\"waited_s\":%.6f,\"waited_most_s\":%.6f,\"lost\":%llu}\n",
           (unsigned long long)b.answers, (unsigned long long)b.bytes, (double)b.waited_ns * 1e-9,
           (double)b.waited_most_ns * 1e-9, (unsigned long long)b.lost);
    fflush(stdout);
    b.waited_most_ns = 0;
    return 1;
}

static void run(void)
{
    struct epoll_event events[256];
    int said = 0;
    while (answer_input()) {
        int n = epoll_wait(b.epoll, events, 256, 2);
        for (int i = 0; i < n; i++) {
            struct relay *r = events[i].data.ptr;
            if (r->state == OPENS)
                shake(r);
            else
                hear(r);
        }
        int64_t now_ns = clock_boot_ns();
        for (unsigned i = 0; i < b.count; i++) {
            struct relay *r = &b.relays[i];
            if (r->state == CLOSED && b.opening < OPENING_MAX) open_one(r);
            if (r->state == WAITS && now_ns >= r->due_ns) ask(r, now_ns);
        }
        if (b.answered_once == b.count && !said++) {
            printf("ready\n");
            fflush(stdout);
        }
    }
}

int main(int argc, char **argv)
{
    struct rlimit files;
    if (argc != 6) {
        fprintf(stderr, "bench-reports PORT CREDENTIALS MONTH_S FIRST COUNT\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN); /* a connection that is lost is counted */
    b.port = atoi(argv[1]);
    b.month_s = atoll(argv[3]);
    b.count = (unsigned)atoi(argv[5]);
    b.relays = xcalloc(b.count, sizeof *b.relays);
    seed ^= (uint64_t)atoi(argv[4]) << 32;
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    read_credentials(argv[2], (unsigned)atoi(argv[4]));
    b.epoll = epoll_create1(0);
    b.context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(b.context, SSL_MODE_RELEASE_BUFFERS);
    run();
    return 0;
}
