/* What one root can carry of a relay network, on one core: redirects with their tickets, relays' reports, and
 * what it remembers of each (tests/bench/router runs this and prints it beside the targets). */
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/air/books.h"
#include "root/air/registry.h"
#include "root/air/tree.h"

#define RELAYS    10000
#define ROUTES    1000000
#define REPORTS   100000
#define PIPELINED 32

static double cpu_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t seed = 88172645463325252ULL;

static uint64_t bits(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static const char *const regions[] = {"eu-de", "eu-fr", "eu-nl", "eu-pl", "na-us",
                                      "na-ca", "as-jp", "sa-br", ""};
#define REGIONS (sizeof regions / sizeof *regions)

/* As long as a relay with three mounts makes it. */
static char *report_text(unsigned relay, unsigned seq)
{
    return xasprintf(
        "{\"name\":\"relay-%05u\",\"public_url\":\"https://"
        "relay-%05u.radio.example:8443\",\"version\":\"0.1.0\","
        "\"session\":\"%016x\",\"seq\":%u,\"uptime_s\":86400.123456,\"listeners\":%u,\"max_listeners\":"
        "1000000,"
        "\"accepted\":123456,\"closed\":123000,\"bytes_in\":123456789012,\"bytes_out\":12345678901234,"
        "\"agents\":{\"browser\":10,\"app\":20,\"player\":30,\"radio\":5,\"tool\":1,\"other\":2},"
        "\"position\":123456789,\"lag_s\":0.000123,\"lead_s\":239.5,"
        "\"mounts\":[{\"name\":\"stream\",\"pulling\":true,\"listeners\":50,\"accepted\":100000,\"closed\":"
        "99950,"
        "\"bytes_in\":123456789,\"bytes_out\":12345678901,\"agents\":{\"browser\":10,\"app\":20}},"
        "{\"name\":\"low\",\"pulling\":true,\"listeners\":10,\"accepted\":20000,\"closed\":19990,\"bytes_"
        "in\":12345678,"
        "\"bytes_out\":1234567890,\"agents\":{\"player\":30}},"
        "{\"name\":\"high\",\"pulling\":false,\"listeners\":0,\"accepted\":456,\"closed\":456,\"bytes_in\":"
        "123456,"
        "\"bytes_out\":12345678}],"
        "\"pulling\":true,\"draining\":false,\"cpu_s\":123.456789,\"rss_bytes\":12345678,\"fds\":100,\"fd_"
        "limit\":524288,"
        "\"sent_bps\":9600000,\"uplink_bps\":1000000000,\"joins_per_s\":100.0,"
        "\"tickets\":{\"epoch\":%u,\"floor\":1,\"from_floor\":0,\"redeemed\":0,\"expired\":0,\"refused\":0},"
        "\"lengths\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18]}",
        relay, relay, relay, seq, (unsigned)(bits() % 200), relay);
}

/* As root/air/relays.c does it, but for the mounts. */
static int take(struct registry *registry, const char *text, int64_t now_ns, struct json_write *answer)
{
    static char body[4096];
    static struct json_flat report[256];
    char *cause = NULL;
    size_t len = strlen(text);
    memcpy(body, text, len);
    int news = json_flat_read(body, len, report, 256, &cause)
                   ? -1
                   : registry_report(registry, NULL, report, now_ns, &cause);
    if (news < 0) {
        fprintf(stderr, "a report was not taken: %s\n", cause);
        exit(1);
    }
    if (!answer) return news;
    const char *name = json_flat_str_or(report, "name", "", NULL), *urls[3];
    unsigned rooms[3];
    size_t n = registry_others(registry, name, 1, (uint64_t)now_ns, now_ns, urls, rooms, 3);
    json_write_begin(answer);
    json_write_open(answer, NULL, '{');
    json_write_bool(answer, "ok", 1);
    json_write_int(answer, "interval_s", 2);
    json_write_int(answer, "kbps", 192);
    json_write_open(answer, "elsewhere", '[');
    for (size_t i = 0; i < n; i++)
        json_write_str(answer, NULL, urls[i]);
    json_write_close(answer, ']');
    json_write_open(answer, "elsewhere_room", '[');
    for (size_t i = 0; i < n; i++)
        json_write_int(answer, NULL, rooms[i]);
    json_write_close(answer, ']');
    registry_ticket_write(registry, name, now_ns, answer);
    json_write_close(answer, '}');
    return news;
}

static struct registry *fill(int64_t now_ns)
{
    struct registry *registry = registry_new(&(struct registry_conf){.router = {.rate_bps = 192000}});
    for (unsigned i = 0; i < RELAYS; i++) {
        struct relay_terms terms = {.allotment_bytes = i % 3 ? UINT64_C(20000000000000) : 0,
                                    .reset_day = 1,
                                    .price_per_gb = (double)(i % 20) / 1000};
        snprintf(terms.name, sizeof terms.name, "relay-%05u", i);
        snprintf(terms.region, sizeof terms.region, "%s", regions[i % REGIONS]);
        registry_enrol(registry, &terms, NULL, REGISTRY_FOREVER, now_ns, NULL);
        char *text = report_text(i, 1);
        take(registry, text, now_ns, NULL);
        free(text);
    }
    registry_tick(registry, now_ns, 1767225600);
    return registry;
}

/* What is kept of each relay beside: its ledger, what it is shown with, its place in the tree. */
static void keep(const struct registry *registry, int64_t now_ns, struct books *books, struct tree *tree)
{
    static char text[4096];
    static struct json_flat report[256];
    for (unsigned i = 0; i < RELAYS; i++) {
        struct registry_view view;
        struct tree_parent parent;
        char *made = report_text(i, 1), id[TREE_ID_MAX], url[64];
        snprintf(text, sizeof text, "%s", made);
        free(made);
        if (json_flat_read(text, strlen(text), report, 256, NULL) ||
            registry_view(registry, i, now_ns, &view))
            exit(1);
        struct book *book = books_get(books, view.name);
        book_count(book, &view, 1767225600);
        detail_take(&book->detail, report);
        snprintf(id, sizeof id, "%016x", i + 1);
        snprintf(url, sizeof url, "https://%s.radio.example:8002", view.name);
        tree_reported(tree,
                      &(struct tree_report){.name = view.name,
                                            .id = id,
                                            .upstream = "",
                                            .url = url,
                                            .pin = "sha256//L/x92mAWYsQilmT++eqaCWrIh8DG9E2FCCkVIr3Mv3c=",
                                            .uplink_bps = 1000000000,
                                            .wants_bps = 128000},
                      now_ns, &parent);
    }
}

/* Of the heap, what was mapped for large blocks too. */
static size_t in_use(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static int pure(void)
{
    int64_t now_ns = 1000 * CLOCK_NS_PER_S;
    size_t before = in_use();
    struct registry *registry = fill(now_ns);
    struct books *books = books_new();
    struct tree *tree = tree_new(&(struct tree_conf){0});
    double for_routing = (double)(in_use() - before) / RELAYS;
    keep(registry, now_ns, books, tree);
    double per_relay = (double)(in_use() - before) / RELAYS;
    char location[1024];
    struct registry_choice choice;
    unsigned sent = 0;
    double begin = cpu_s(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned i = 0; i < ROUTES; i++) {
        struct registry_ask ask = {
            .region = regions[bits() % REGIONS], .secure = 1, .random = bits(), .mount = "stream"};
        sent += registry_route(registry, &ask, now_ns, location, sizeof location, &choice) == ROUTER_TO;
        now_ns += 1000; /* a million a second: no relay's joins come to an end by the clock alone */
    }
    double routes = ROUTES / (cpu_s(CLOCK_THREAD_CPUTIME_ID) - begin);
    struct json_write answer = {0};
    char **texts = xcalloc(REPORTS, sizeof *texts);
    for (unsigned i = 0; i < REPORTS; i++)
        texts[i] = report_text(i % RELAYS, 2 + i / RELAYS);
    begin = cpu_s(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned i = 0; i < REPORTS; i++) {
        now_ns += 200000; /* 5,000 a second */
        take(registry, texts[i], now_ns, &answer);
        if (i % 1250 == 0) registry_tick(registry, now_ns, 1767225600 + i / 5000);
    }
    double reports = REPORTS / (cpu_s(CLOCK_THREAD_CPUTIME_ID) - begin);
    printf("{\"relays\":%d,\"bytes_per_relay\":%.0f,\"bytes_for_routing\":%.0f,\"redirects\":%d,\"redirects_"
           "sent\":%u,"
           "\"redirects_per_core_s\":%.0f,\"report_bytes\":%zu,\"reports_per_core_s\":%.0f,"
           "\"core_share_of_reports\":%.4f}\n",
           RELAYS, per_relay, for_routing, ROUTES, sent, routes, strlen(texts[0]), reports,
           RELAYS / 2.0 / reports);
    for (unsigned i = 0; i < REPORTS; i++)
        free(texts[i]);
    free(texts);
    json_write_free(&answer);
    tree_free(tree);
    books_free(books);
    registry_free(registry);
    return 0;
}

static int dial(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to)) {
        perror("connect");
        exit(1);
    }
    return fd;
}

/* Redirects of a root that runs: asks as fast as it answers. */
static int redirects(int port, unsigned count)
{
    static char ask[PIPELINED * 64], answers[65536];
    int fd = dial(port);
    unsigned got = 0;
    for (unsigned i = 0; i < PIPELINED; i++)
        strcat(ask, "GET /stream.mp3 HTTP/1.1\r\nHost: a\r\n\r\n");
    for (unsigned sent = 0; sent < count; sent += PIPELINED) {
        if (write(fd, ask, strlen(ask)) < 0) return 1;
        unsigned heads = 0;
        size_t have = 0;
        while (heads < PIPELINED) {
            ssize_t n = read(fd, answers + have, sizeof answers - 1 - have);
            if (n <= 0) return 1;
            answers[have += (size_t)n] = '\0';
            heads = 0;
            for (const char *c = answers; (c = strstr(c, "\r\n\r\n")); c += 4)
                heads++;
        }
        for (const char *c = answers; (c = strstr(c, "HTTP/1.1 302")); c += 12)
            got++;
    }
    printf("{\"redirects\":%u}\n", got);
    return 0;
}

int main(int argc, char **argv)
{
    log_set_level(LOG_LEVEL_ERROR);
    if (argc == 2 && !strcmp(argv[1], "pure")) return pure();
    if (argc == 4 && !strcmp(argv[1], "redirects")) return redirects(atoi(argv[2]), (unsigned)atoi(argv[3]));
    fprintf(stderr, "bench-router pure | redirects PORT COUNT\n");
    return 64;
}
