/* A listener whose address names its position: what it is answered, at first and when it resumes; where to
 * listen, and where a listener is. */
#include "tests/unit/station_end.h"

/* Takes the chunk framing out of the body, in place: how many bytes of it came whole; *last says whether the
 * closing chunk did. */
static size_t dechunk(char *body, size_t len, int *last)
{
    size_t out = 0, at = 0;
    *last = 0;
    while (at < len) {
        char *end, *line = memchr(body + at, '\n', len - at);
        if (!line) break;
        size_t size = strtoul(body + at, &end, 16), data = (size_t)(line - body) + 1;
        assert_true(*end == '\r');
        if (size == 0) *last = 1;
        if (size == 0 || data + size + 2 > len) break;
        memmove(body + out, body + data, size);
        assert_memory_equal(body + data + size, "\r\n", 2);
        out += size;
        at = data + size + 2;
    }
    return out;
}

/* Bytes [from, from + len) of the endless stream, in fresh memory. */
static uint8_t *programme(uint64_t from, size_t len)
{
    size_t all;
    uint64_t first = mp3_frame_at(KBPS, from), skip = from - mp3_frame_offset(KBPS, first);
    uint8_t *frames = frames_make(KBPS, first, (unsigned)(len / 600 + 2), SEED, &all);
    assert_true(all >= skip + len);
    memmove(frames, frames + skip, len);
    return frames;
}

static void expect_body(char *body, size_t len, uint64_t from, size_t least)
{
    if (len < least) fail_msg("%zu bytes of %zu", len, least);
    uint8_t *want = programme(from, least);
    assert_memory_equal(body, want, least);
    free(want);
}

struct resume {
    const char *query, *range;
    int minor;
};

/* Asks and reads the header and at least `least` bytes of the body, whose framing is taken out. */
static int resume(const struct resume *ask_for, size_t least, struct net_bytes *b, char **body, size_t *len)
{
    char request[512];
    int n = snprintf(request, sizeof request, "GET /stream.mp3?%s HTTP/1.%d\r\nHost: x\r\n", ask_for->query,
                     ask_for->minor);
    if (ask_for->range)
        n += snprintf(request + n, sizeof request - (size_t)n, "Range: %s\r\n", ask_for->range);
    snprintf(request + n, sizeof request - (size_t)n, "\r\n");
    int fd = ask(request, "\r\n\r\n", b), last;
    await_len(fd, b, body_at(b) + least + least / 100 + 200);
    *body = b->data + body_at(b);
    *len = b->len - body_at(b);
    (*body)[-1] = '\0';
    if (strstr(b->data, "Transfer-Encoding: chunked\r\n")) {
        *len = dechunk(*body, *len, &last);
        assert_false(last);
    }
    return fd;
}

static void first_requests_begin(void **state)
{
    (void)state;
    static const char *const ranges[] = {NULL, "bytes=0-", "bytes=0-1", "nonsense", "bytes=5-2"};
    start();
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        for (int minor = 0; minor < 2; minor++) {
            struct net_bytes b;
            char *body, line[32];
            size_t len;
            int fd = resume(&(struct resume){"from=900", ranges[i], minor}, 20000, &b, &body, &len);
            snprintf(line, sizeof line, "HTTP/1.%d 200 OK\r\n", minor);
            assert_memory_equal(b.data, line, strlen(line));
            assert_non_null(strstr(b.data, "Accept-Ranges: bytes\r\n"));
            assert_non_null(strstr(b.data, "X-Forever-Position: 900\r\n"));
            assert_null(strstr(b.data, "\r\nContent-Range"));
            assert_null(strstr(b.data, "Content-Length"));
            assert_int_equal(strstr(b.data, "Transfer-Encoding: chunked\r\n") != NULL, minor);
            expect_body(body, len, mp3_frame_offset(KBPS, 900), 20000);
            close(fd);
            free(b.data);
        }
    }
    /* without a position there is nothing to go on with: no ranges, no chunks, a range changes nothing */
    struct net_bytes b;
    int fd = ask("GET /stream.mp3 HTTP/1.1\r\nHost: x\r\nRange: bytes=5000-\r\n\r\n", "\r\n\r\n", &b);
    assert_int_equal(net_status(&b), 200);
    assert_non_null(strstr(b.data, "Accept-Ranges: none\r\n"));
    assert_null(strstr(b.data, "Transfer-Encoding"));
    close(fd);
    free(b.data);
    stop();
}

static void resumes_are_exact(void **state)
{
    (void)state;
    start();
    for (int minor = 0; minor < 2; minor++) {
        for (uint64_t n = 1; n < 60000; n = n * 7 + 3) {
            struct net_bytes b;
            char *body, range[64], line[96];
            size_t len;
            snprintf(range, sizeof range, "bytes=%llu-", (unsigned long long)n);
            int fd = resume(&(struct resume){"from=850&x=1", range, minor}, 5000, &b, &body, &len);
            snprintf(line, sizeof line, "HTTP/1.%d 206 Partial Content\r\n", minor);
            assert_memory_equal(b.data, line, strlen(line));
            snprintf(line, sizeof line, "Content-Range: bytes %llu-1099511627775/*\r\n",
                     (unsigned long long)n);
            assert_non_null(strstr(b.data, line));
            assert_non_null(strstr(b.data, "Accept-Ranges: bytes\r\n"));
            assert_non_null(strstr(b.data, "Access-Control-Allow-Origin: *\r\n"));
            assert_non_null(strstr(b.data, "Content-Range, "));
            uint64_t byte = mp3_frame_offset(KBPS, 850) + n;
            snprintf(line, sizeof line, "X-Forever-Position: %llu\r\n",
                     (unsigned long long)mp3_frame_at(KBPS, byte));
            assert_non_null(strstr(b.data, line));
            expect_body(body, len, byte, 5000);
            close(fd);
            free(b.data);
        }
    }
    stop();
}

/* Whatever ends it from this side is a reset, and the closing chunk never comes. */
static void a_cut_is_no_end(void **state)
{
    (void)state;
    for (int minor = 0; minor < 2; minor++) {
        start();
        struct net_bytes b;
        char request[128];
        snprintf(request, sizeof request, "GET /stream.mp3?from=990 HTTP/1.%d\r\nHost: x\r\n\r\n", minor);
        int fd = ask(request, "\r\n\r\n", &b);
        size_t all = (size_t)(mp3_frame_offset(KBPS, 1000) - mp3_frame_offset(KBPS, 990));
        await_len(fd, &b, body_at(&b) + all);
        stop();
        assert_false(net_until(base, fd, &b, NULL, NET_DEADLINE_MS) && b.ended == 1);
        assert_int_equal(b.ended, -1);
        if (minor) {
            int last;
            dechunk(b.data + body_at(&b), b.len - body_at(&b), &last);
            assert_false(last);
        }
        close(fd);
        free(b.data);
    }
}

/* 206 and the byte asked for all the same, with the nearest that is held: anything else ends the playing. */
static void what_left_the_ring_is_answered_by_the_nearest(void **state)
{
    (void)state;
    char *cause = NULL;
    static const struct {
        const char *query, *range;
        uint64_t position;
    } cases[] = {
        {"from=10", "bytes=4000-", 100},       /* too old */
        {"from=900", "bytes=90000000-", 1000}, /* hours ahead */
        {"from=274877906944", "bytes=1-", 1000},
    };
    start();
    ring_set_floor(ring, 1000);
    ring_reset(ring, ring_station(ring), ring_branch(ring), 100);
    size_t size;
    uint8_t *bytes = frames_make(KBPS, 100, 1100, SEED, &size);
    if (ring_append(ring, ring_branch(ring), 100, 1100, bytes, size, &cause)) fail_msg("%s", cause);
    free(bytes);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_bytes b;
        char line[96], request[256];
        snprintf(request, sizeof request,
                 "GET /stream.mp3?%s&client=me%zu HTTP/1.1\r\nHost: x\r\nRange: %s\r\n\r\n", cases[i].query,
                 i, cases[i].range);
        int fd = ask(request, "\r\n\r\n", &b);
        assert_int_equal(net_status(&b), 206);
        snprintf(line, sizeof line, "Content-Range: bytes %s1099511627775/*\r\n", cases[i].range + 6);
        assert_non_null(strstr(b.data, line));
        snprintf(line, sizeof line, "X-Forever-Position: %d\r\n", (int)cases[i].position);
        if (!strstr(b.data, line)) fail_msg("%s: %s", cases[i].query, b.data);
        free(b.data);
        /* where that byte lies now is told */
        snprintf(line, sizeof line, "/api/sync?client=me%zu&%s", i, cases[i].query);
        json_t *sync = get_json(line, 200);
        assert_true(json_is_false(json_object_get(sync, "exact")));
        assert_true(json_real_or(sync, "first", 0, NULL) == (double)cases[i].position);
        assert_int_equal(json_int_or(sync, "offset", 0, 0, INT64_MAX, NULL), atoll(cases[i].range + 6));
        json_decref(sync);
        close(fd);
    }
    stop();
}

/* A first request for what is not held is told, by a redirect to itself, what is: the address a player keeps
 * names the bytes it gets. */
static void a_wrong_first_position_is_corrected(void **state)
{
    (void)state;
    struct net_bytes b;
    start();
    close(ask("GET /stream.mp3?from=5000&client=a&burst=3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
              NULL, &b));
    assert_int_equal(net_status(&b), 302);
    assert_non_null(strstr(b.data, "Location: /stream.mp3?client=a&burst=3&from=1000&nearest=1\r\n"));
    assert_non_null(strstr(b.data, "Access-Control-Allow-Origin: *\r\n"));
    free(b.data);
    /* once */
    int fd = ask("GET /stream.mp3?from=5000&nearest=1 HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n\r\n", &b);
    assert_int_equal(net_status(&b), 200);
    assert_non_null(strstr(b.data, "X-Forever-Position: 1000\r\n"));
    close(fd);
    free(b.data);
    /* what airs in a moment is waited for */
    fd = ask("GET /stream.mp3?from=1020 HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n\r\n", &b);
    assert_int_equal(net_status(&b), 200);
    assert_non_null(strstr(b.data, "X-Forever-Position: 1020\r\n"));
    size_t at = body_at(&b);
    assert_int_equal(b.len, at);
    air = 1060;
    await_len(fd, &b, at + 10000);
    int last;
    size_t len = dechunk(b.data + at, b.len - at, &last);
    expect_body(b.data + at, len, mp3_frame_offset(KBPS, 1020), 9000);
    close(fd);
    free(b.data);
    stop();
}

static void the_burst_is_as_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        uint64_t position;
    } cases[] = {{"burst=5", 1000 - 192},
                 {"burst=0", 1000},
                 {"burst=26", 4},
                 {"burst=x", 923},
                 {"burst=5&from=700", 700}};
    start();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_bytes b;
        char request[128], line[64];
        snprintf(request, sizeof request, "GET /stream.mp3?%s HTTP/1.1\r\nHost: x\r\n\r\n", cases[i].query);
        snprintf(line, sizeof line, "X-Forever-Position: %d\r\n", (int)cases[i].position);
        int fd = ask(request, "\r\n\r\n", &b);
        if (!strstr(b.data, line)) fail_msg("%s: %s", cases[i].query, b.data);
        close(fd);
        free(b.data);
    }
    stop();
}

/* A 503 would end the playing of one who resumes; a cut makes it try again. */
static void who_resumes_is_not_sent_away_while_waiting(void **state)
{
    (void)state;
    start();
    verdict = STATION_WAIT;
    struct net_bytes b = {0};
    int fd = net_connect(port, 0);
    net_send(fd, "GET /stream.mp3?from=900 HTTP/1.1\r\nHost: x\r\nRange: bytes=700-\r\n\r\n");
    for (int i = 0; i < 400 && !b.ended; i++)
        net_until(base, fd, &b, NULL, 50);
    assert_int_equal(b.ended, -1);
    assert_int_equal(b.len, 0);
    close(fd);
    free(b.data);
    /* one who begins is told */
    close(ask("GET /stream.mp3?from=900 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL, &b));
    assert_int_equal(net_status(&b), 503);
    free(b.data);
    stop();
}

static void listen_and_sync(void **state)
{
    (void)state;
    start();
    json_t *listen = get_json("/api/listen?mount=stream&burst=5", 200);
    const char *url = json_str_or(listen, "url", "", NULL), *client = json_str_or(listen, "client", "", NULL);
    char want[256];
    assert_int_equal(strlen(client), 16);
    assert_int_equal(json_int_or(listen, "from", 0, 0, INT64_MAX, NULL), 808);
    assert_int_equal(json_int_or(listen, "position", 0, 0, INT64_MAX, NULL), 1000);
    assert_int_equal(json_int_or(listen, "kbps", 0, 0, 999, NULL), KBPS);
    assert_string_equal(json_str_or(listen, "node", "", NULL), "http://radio.example:8000");
    snprintf(want, sizeof want, "http://radio.example:8000/stream.mp3?from=808&burst=5&client=%s", client);
    assert_string_equal(url, want);
    snprintf(want, sizeof want, "http://radio.example:8000/api/sync?from=808&burst=5&client=%s", client);
    assert_string_equal(json_str_or(listen, "sync", "", NULL), want);
    assert_int_equal(fanout_counts(fanout)->opened, 0);
    const char *sync_path = strstr(json_str_or(listen, "sync", "", NULL), "/api/sync");
    json_decref(get_json(sync_path, 404)); /* not there yet */
    json_decref(get_json("/api/sync", 400));
    json_decref(get_json("/api/listen?mount=other", 404));

    struct net_bytes b;
    char request[512];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", strstr(url, "/stream"));
    int fd = ask(request, "\r\n\r\n", &b);
    await_len(fd, &b, body_at(&b) + 100000);
    json_t *sync = get_json(sync_path, 200);
    assert_true(json_real_or(sync, "first", 0, NULL) == 808);
    assert_int_equal(json_int_or(sync, "offset", -1, 0, INT64_MAX, NULL), 0);
    assert_true(json_is_true(json_object_get(sync, "exact")));
    assert_true(json_real_or(sync, "sent", 0, NULL) == 1000);
    double heard = json_real_or(sync, "heard", 0, NULL);
    assert_true(heard >= 808 && heard < 1000);
    json_decref(sync);
    close(fd);
    free(b.data);
    for (int i = 0; i < 500 && fanout_counts(fanout)->listening; i++)
        net_turn(base);
    json_decref(get_json(sync_path, 404));

    /* resumed: it hears what it has kept, as far behind the air as it began */
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\nRange: bytes=100000-\r\n\r\n",
             strstr(url, "/stream"));
    fd = ask(request, "\r\n\r\n", &b);
    assert_int_equal(net_status(&b), 206);
    sync = get_json(sync_path, 200);
    assert_int_equal(json_int_or(sync, "offset", -1, 0, INT64_MAX, NULL), 100000);
    double first = json_real_or(sync, "first", 0, NULL);
    assert_true(first > 808 + 100000 / 627.0 - 1 && first < 808 + 100000 / 626.0 + 1);
    assert_true(json_real_or(sync, "heard", 0, NULL) == 808);
    json_decref(sync);
    close(fd);
    free(b.data);

    verdict = STATION_REDIRECT;
    json_decref(listen);
    listen = get_json("/api/listen", 200);
    assert_string_equal(json_str_or(listen, "node", "", NULL), "http://other.example:8000");
    client = json_str_or(listen, "client", "", NULL);
    snprintf(want, sizeof want, "http://other.example:8000/stream.mp3?from=425&burst=15&client=%s&hop=1",
             client);
    assert_string_equal(json_str_or(listen, "url", "", NULL), want);
    json_decref(listen);
    verdict = STATION_FULL;
    json_decref(get_json("/api/listen", 503));
    stop();
}

static void until_listening(uint64_t n, uint64_t closed)
{
    for (int i = 0;
         i < 1000 && (fanout_counts(fanout)->listening != n || fanout_counts(fanout)->closed != closed); i++)
        net_turn(base);
    assert_int_equal(fanout_counts(fanout)->listening, n);
    assert_int_equal(fanout_counts(fanout)->closed, closed);
}

/* Two sockets alike, either of which may be the one that stays. */
static void safari_counts_once(void **state)
{
    (void)state;
    static const char iphone[] =
        "GET /stream.mp3?%s HTTP/1.1\r\nHost: x\r\nUser-Agent: AppleCoreMedia/1.0.0 (iPhone)\r\n%s\r\n";
    for (int first_goes = 0; first_goes < 2; first_goes++) {
        start();
        struct net_bytes a, b, c;
        char probe[256], real[256];
        snprintf(probe, sizeof probe, iphone, "x=1", "Range: bytes=0-1\r\n");
        snprintf(real, sizeof real, iphone, "x=1", "Icy-MetaData: 1\r\n");
        int one = ask(probe, "\r\n\r\n", &a), two = ask(real, "\r\n\r\n", &b);
        assert_int_equal(fanout_counts(fanout)->opened, 1);
        assert_int_equal(fanout_counts(fanout)->listening, 1);
        assert_int_equal(fanout_counts(fanout)->agents[AGENT_APP], 1);
        /* another listener there, and the same device at another address, are others */
        snprintf(real, sizeof real, iphone, "x=2", "");
        int other = ask(real, "\r\n\r\n", &c);
        assert_int_equal(fanout_counts(fanout)->listening, 2);
        close(other);
        until_listening(1, 1);
        close(first_goes ? one : two);
        for (int i = 0; i < 50; i++)
            net_turn(base);
        until_listening(1, 1);
        air += 40; /* the one that is left is served on */
        struct net_bytes *left = first_goes ? &b : &a;
        size_t had = left->len;
        await_len(first_goes ? two : one, left, had + 10000);
        close(first_goes ? two : one);
        until_listening(0, 2);
        assert_int_equal(fanout_counts(fanout)->opened, 2);
        assert_int_equal(fanout_counts(fanout)->agents[AGENT_APP], 0);
        free(a.data);
        free(b.data);
        free(c.data);
        stop();
    }
}

static void hops_are_counted(void **state)
{
    (void)state;
    start();
    verdict = STATION_REDIRECT;
    struct net_bytes b;
    close(ask(
        "GET /stream.mp3?hop=1&from=3 HTTP/1.1\r\nHost: x\r\nRange: bytes=5-\r\nConnection: close\r\n\r\n",
        NULL, &b));
    assert_int_equal(net_status(&b), 302);
    assert_non_null(strstr(b.data, "Location: http://other.example:8000/stream.mp3?from=3&hop=2\r\n"));
    free(b.data);
    stop();
}

static void playlists_name_other_nodes(void **state)
{
    (void)state;
    struct net_bytes b;
    start();
    others[0] = "http://a.example/stream.mp3";
    others[1] = "http://b.example/x&y/stream.mp3";
    close(ask("GET /stream.m3u HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n", NULL, &b));
    assert_string_equal(b.data + body_at(&b),
                        "#EXTM3U\n#EXTINF:-1,Night  X-Evil: 1\nhttp://r/stream.mp3\n"
                        "#EXTINF:-1,Night  X-Evil: 1\nhttp://a.example/stream.mp3\n"
                        "#EXTINF:-1,Night  X-Evil: 1\nhttp://b.example/x&y/stream.mp3\n");
    free(b.data);
    close(ask("GET /stream.pls HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n", NULL, &b));
    assert_non_null(strstr(b.data, "[playlist]\nNumberOfEntries=3\nFile1=http://r/stream.mp3\n"));
    assert_non_null(strstr(b.data, "File3=http://b.example/x&y/stream.mp3\nTitle3="));
    free(b.data);
    close(ask("GET /stream.xspf HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n", NULL, &b));
    assert_non_null(strstr(b.data, "Content-Type: application/xspf+xml\r\n"));
    assert_non_null(strstr(b.data, "<trackList><track>\n<location>http://r/stream.mp3</location>\n"
                                   "<location>http://a.example/stream.mp3</location>\n"
                                   "<location>http://b.example/x&#38;y/stream.mp3</location>\n"));
    free(b.data);
    /* an https player is not given http addresses */
    close(ask("GET /stream.m3u HTTP/1.1\r\nHost: r\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n",
              NULL, &b));
    assert_null(strstr(b.data, "http://"));
    free(b.data);
    others[0] = others[1] = NULL;
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_requests_begin),
        cmocka_unit_test(resumes_are_exact),
        cmocka_unit_test(a_cut_is_no_end),
        cmocka_unit_test(what_left_the_ring_is_answered_by_the_nearest),
        cmocka_unit_test(a_wrong_first_position_is_corrected),
        cmocka_unit_test(the_burst_is_as_asked_for),
        cmocka_unit_test(who_resumes_is_not_sent_away_while_waiting),
        cmocka_unit_test(listen_and_sync),
        cmocka_unit_test(safari_counts_once),
        cmocka_unit_test(hops_are_counted),
        cmocka_unit_test(playlists_name_other_nodes),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
