/* A link over TLS: the same bytes whatever the socket takes, its end seen, and what it costs: the fill at
 * twice the rate, the linger at once the rate, the shared budget, the steady state with all that is put
 * around the frames. Time is the test's. */
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/link.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/tls.h"
#include "tests/unit/frames.h"
#include "tests/unit/tls_pair.h"

#define S      CLOCK_NS_PER_S
#define FPS    ((double)MP3_RATE / MP3_FRAME_SAMPLES)
#define LEAD_S 100
#define BURST  5.0

static int64_t boot_ns, wall_ns;
static struct event_base *base;
static struct ring *ring;
static struct link_server *server;
static struct tls *tls;
static struct link_budget budget;
static unsigned kbps;
static int64_t began_ns;
static int closed_count;

static const struct fanout_transport over_tls = {
    .write = tls_conn_write, .drain = tls_conn_drain, .free = tls_conn_free};

/* The air goes on with the clock from frame 2000 on. */
static uint64_t air(void *context, uint32_t *ns)
{
    (void)context;
    *ns = 5;
    return 2000 + (uint64_t)((double)(boot_ns - began_ns) * 1e-9 * FPS);
}

static void closed(void *context, void *peer)
{
    (void)context, (void)peer;
    closed_count++;
}

#define TRACK_S 60.0

/* What a station marks: a title, a segment of the track alone and one of the blend into the next, each with
 * all that rendering it again takes. */
static int marks_on;
static double marked_s;

static void mark(double at_s, const char *kind, char *body)
{
    json_t *o = json_parse(body, strlen(body), 65536, NULL);
    uint64_t position = 2000 + (uint64_t)(at_s * FPS);
    assert_non_null(o);
    assert_int_equal(ring_mark_add(ring, 0, position, kind, o, NULL), 0);
    json_decref(o);
    free(body);
}

static void mark_track(double at_s)
{
    static const char hash[] = "65393b447cf4282803a0104b4d15e072a6acbd181d0b491660489b3f3bd5f3f5";
    char map[512] = "", *voice, *track;
    for (int i = 0; i < 17; i++)
        sprintf(map + strlen(map), "%s[%d,%d]", i ? "," : "", i * 21105, i * 20973);
    track =
        xasprintf("{\"track\":3,\"hash\":\"%s\",\"title\":\"Northern Meridian %.0f\",\"artist\":\"Cy Crate\","
                  "\"album\":\"Crate\",\"duration_s\":61.823628117913835,\"tempo_bpm\":125.36994648046091,"
                  "\"camelot\":\"5B\",\"gain_db\":0.70999999999999996,\"from_s\":20.164943310657595,"
                  "\"to_s\":53.762993197278909}",
                  hash, at_s);
    voice = xasprintf(
        "{\"track\":3,\"hash\":\"%s\",\"gain_db\":0.70999999999999996,\"from\":2370948,\"to\":2708637,"
        "\"at\":0,\"samples\":335038,\"map\":[%s],\"join_in\":21105,\"level\":[{\"curve\":\"power\","
        "\"way\":\"out\",\"from\":0,\"to\":335038}],\"bass\":[{\"curve\":\"power\",\"way\":\"out\","
        "\"from\":324651,\"to\":335038}],\"treble\":[{\"curve\":\"power\",\"way\":\"out\",\"from\":83759,"
        "\"to\":251279}]}",
        hash, map);
    mark(at_s, "title",
         xasprintf(
             "{\"title\":\"Northern Meridian %.0f\",\"artist\":\"Cy Crate\",\"text\":\"Cy Crate - Northern "
             "Meridian %.0f\"}",
             at_s, at_s));
    mark(at_s + 3, "segment",
         xasprintf("{\"id\":\"play-883105-%.0f\",\"technique\":\"play\",\"start_sample\":883105,\"end_"
                   "sample\":2364779,"
                   "\"tracks\":[%s],\"plan\":{\"version\":1,\"bass_hz\":180,\"treble_hz\":2500,\"voices\":[{"
                   "\"track\":3,"
                   "\"hash\":\"%s\",\"gain_db\":0.70999999999999996,\"from\":889274,\"to\":2370948,\"at\":0,"
                   "\"samples\":1481674}]}}",
                   at_s, track, hash));
    mark(
        at_s + TRACK_S - 8, "segment",
        xasprintf(
            "{\"id\":\"blend-2364779-%.0f\",\"technique\":\"blend\",\"start_sample\":2364779,"
            "\"end_sample\":2699817,\"tracks\":[%s,%s],\"plan\":{\"version\":1,\"bass_hz\":180,\"treble_hz\":"
            "2500,"
            "\"voices\":[%s,%s]},\"tempo_change_pct\":1.5980000000000001,\"bars\":4,\"why\":{\"distance\":"
            "0.093101864570890008,\"terms\":{\"tempo\":0.11415469236179229,\"key\":0.02,\"energy\":"
            "0.26965951919555664,\"loudness\":0.006059010823567708,\"timbre\":0.80000000000000004},"
            "\"candidates\":1,"
            "\"pool\":2,\"spacing_tracks\":1,\"relaxed\":[],\"runners_up\":[]},\"certificate\":{\"passed\":"
            "true,"
            "\"failed\":[],\"tries\":0,\"technique\":\"blend\",\"bars\":4,\"beat_error_ms\":{\"bars\":4,"
            "\"median\":"
            "0.41299999999999998,\"p95\":0.51800000000000002},\"low_band_correlation\":0.97099999999999997,"
            "\"loudness_before_lufs\":-17.664999999999999,\"loudness_after_lufs\":-13.898999999999999,"
            "\"loudness_step_lu\":3.766,\"true_peak_dbtp\":-0.876}}",
            at_s, track, track, voice, voice));
    free(voice);
    free(track);
}

/* As a studio with credits: blocks of 49 frames, up to the lead. */
static void studio(void)
{
    uint32_t ns;
    uint64_t on_air = air(NULL, &ns), until = on_air + (uint64_t)(LEAD_S * FPS);
    ring_set_floor(ring, on_air + 1);
    for (; marks_on && 2000 + (marked_s + TRACK_S) * FPS < (double)until; marked_s += TRACK_S)
        mark_track(marked_s);
    while (ring_head(ring) + 49 <= until) {
        size_t len;
        uint8_t *bytes = frames_make(kbps, ring_head(ring), 49, 1, &len);
        assert_int_equal(ring_append(ring, 0, ring_head(ring), 49, bytes, len, NULL), 0);
        free(bytes);
    }
}

static void open_server(unsigned rate, double fill_budget)
{
    kbps = rate;
    const struct ring_conf conf = {.kbps = rate, .past_s = 60, .lead_s = LEAD_S + 5};
    assert_int_equal(ring_open(&ring, &conf, NULL), 0);
    budget = (struct link_budget){.bytes_per_s = fill_budget};
    const struct link_server_conf server_conf = {.name = "Forever",
                                                 .mount = "stream",
                                                 .burst_s = BURST,
                                                 .fill_rate = 2,
                                                 .budget = &budget,
                                                 .air = air,
                                                 .closed = closed};
    server = link_server_new(base, ring, &server_conf);
    began_ns = boot_ns;
    closed_count = 0;
    marked_s = TRACK_S;
    studio();
}

static void close_server(void)
{
    link_server_free(server);
    ring_close(ring);
}

/* The other end: takes bytes off the wire, counts them, and follows the records. */
struct peer {
    int fd, header_left, ended;
    SSL_CTX *ctx;
    SSL *ssl;
    struct link_decoder *decoder;
    uint64_t wire, frames, first, next;
    unsigned marks;
    char id[LINK_ID_MAX];
};

static void take_record(struct peer *p, const struct link_record *r)
{
    if (r->type == LINK_HELLO) {
        snprintf(p->id, sizeof p->id, "%s", json_str_or(r->body, "link", "", NULL));
        p->first = p->next = (uint64_t)json_int_or(r->body, "position", 0, 0, INT64_MAX, NULL);
    }
    p->marks += r->type == LINK_MARK;
    if (r->type == LINK_MARK) assert_null(json_object_get(r->body, "plan")); /* for who renders */
    if (r->type != LINK_FRAMES) return;
    assert_int_equal(r->position, p->next);
    p->next += r->count;
    p->frames += r->count;
    uint64_t from = mp3_frame_offset(kbps, r->position);
    const uint8_t *bytes = ring_bytes(ring, from, from + r->len);
    if (bytes) assert_memory_equal(bytes, r->bytes, r->len); /* NULL: no longer held */
}

static void take_text(struct peer *p, const uint8_t *bytes, size_t len)
{
    struct link_record record;
    char *cause = NULL;
    size_t skip = len < (size_t)p->header_left ? len : (size_t)p->header_left;
    p->header_left -= (int)skip;
    link_decoder_feed(p->decoder, bytes + skip, len - skip);
    int rc;
    while ((rc = link_decoder_next(p->decoder, &record, &cause)) == 1)
        take_record(p, &record);
    if (rc < 0) fail_msg("%s", cause);
}

/* Takes at most so many bytes of the wire; 1 when there were any. */
static int take(struct peer *p, size_t most)
{
    uint8_t raw[4096], text[16384];
    size_t got;
    ssize_t n = recv(p->fd, raw, most < sizeof raw ? most : sizeof raw, MSG_DONTWAIT);
    if (n == 0) p->ended = 1;
    if (n <= 0) return 0;
    p->wire += (uint64_t)n;
    if (!p->ssl) {
        take_text(p, raw, (size_t)n);
        return 1;
    }
    BIO_write(SSL_get_rbio(p->ssl), raw, (int)n);
    while (SSL_read_ex(p->ssl, text, sizeof text, &got))
        take_text(p, text, got);
    ERR_clear_error();
    return 1;
}

static void exchange(struct peer *p)
{
    for (int quiet = 0; quiet < 2;) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        quiet = take(p, SIZE_MAX) ? 0 : quiet + 1;
    }
}

/* What the peer has to say goes out. */
static void say(struct peer *p)
{
    char out[4096];
    int n;
    while ((n = BIO_read(SSL_get_wbio(p->ssl), out, sizeof out)) > 0)
        assert_int_equal(send(p->fd, out, (size_t)n, MSG_NOSIGNAL), n);
}

static struct tls_conn *shake_hands(struct peer *p, int fd)
{
    struct tls_conn *conn = tls_conn_new(tls, fd);
    char in[8192];
    ssize_t n;
    p->ctx = SSL_CTX_new(TLS_client_method());
    p->ssl = SSL_new(p->ctx);
    SSL_set_bio(p->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(p->ssl);
    for (int i = 0; i < 20 && !(SSL_is_init_finished(p->ssl) && tls_conn_established(conn)); i++) {
        SSL_do_handshake(p->ssl);
        say(p);
        SSL_do_handshake(tls_conn_ssl(conn));
        while ((n = recv(p->fd, in, sizeof in, MSG_DONTWAIT)) > 0)
            BIO_write(SSL_get_rbio(p->ssl), in, (int)n);
        ERR_clear_error();
    }
    assert_true(tls_conn_established(conn));
    tls_conn_settle(conn);
    return conn;
}

static struct peer join_less(int with_tls, int small, double ahead_s, double less_s)
{
    int pair[2], size = 4096;
    struct peer p = {.header_left = 4, .decoder = link_decoder_new()};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    p.fd = pair[0];
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    fcntl(pair[1], F_SETFL, O_NONBLOCK);
    if (small) setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    struct link_ask ask = {.header = "HEAD", .ahead_s = ahead_s, .less_s = less_s, .peer = p.decoder};
    if (with_tls) {
        ask.transport = &over_tls;
        ask.transport_self = shake_hands(&p, pair[1]);
    }
    assert_int_equal(link_server_add(server, pair[1], &ask), 0);
    return p;
}

static struct peer join(int with_tls, int small, double ahead_s)
{
    return join_less(with_tls, small, ahead_s, 0);
}

static void leave(struct peer *p)
{
    close(p->fd);
    SSL_free(p->ssl);
    SSL_CTX_free(p->ctx);
    link_decoder_free(p->decoder);
    p->ssl = NULL;
    p->ctx = NULL;
    p->fd = -1;
}

/* Lets so many seconds pass. */
static void pass(struct peer *peers, size_t count, double seconds)
{
    for (int64_t end = boot_ns + (int64_t)(seconds * 1e9); boot_ns < end;) {
        boot_ns += S / 10;
        studio();
        link_server_wake(server);
        for (size_t i = 0; i < count; i++)
            exchange(&peers[i]);
    }
}

static int setup(void **state)
{
    (void)state;
    char *cause = NULL;
    tls_folder_make();
    tls_make("link", "forever");
    const char *certs[] = {tls_path("link.crt")}, *keys[] = {tls_path("link.key")};
    tls = tls_new(&(struct tls_conf){.certs = certs, .keys = keys, .count = 1}, &cause);
    if (!tls) fail_msg("%s", cause);
    boot_ns = 1000 * S;
    wall_ns = INT64_C(1700000000) * S;
    clock_fake(&boot_ns, &wall_ns);
    base = event_base_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tls_free(tls);
    event_base_free(base);
    clock_fake(NULL, NULL);
    tls_folder_remove();
    return 0;
}

static void a_socket_that_takes_little_changes_no_byte(void **state)
{
    (void)state;
    open_server(128, 0);
    struct peer p = join(1, 1, 0);
    for (unsigned i = 0; i < 6000 && p.next < ring_head(ring); i++) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        take(&p, 1 + frames_hash(i) % 3000);
        if (i % 8 == 0) {
            boot_ns += S / 10;
            link_server_wake(server);
        }
    }
    assert_int_equal(p.next, ring_head(ring)); /* every record was compared with the ring as it came */
    assert_int_equal(closed_count, 0);
    leave(&p);
    close_server();
}

static void the_peers_end_is_seen(void **state)
{
    (void)state;
    open_server(64, 0);
    struct peer a = join(1, 0, 0), b = join(1, 0, 0), c = join(1, 0, 0);
    exchange(&a);
    assert_int_equal(link_server_count(server), 3);
    SSL_shutdown(a.ssl); /* it says so, and its socket stays */
    say(&a);
    exchange(&a);
    assert_int_equal(closed_count, 1);
    assert_true(a.ended);
    assert_true(SSL_get_shutdown(a.ssl) & SSL_RECEIVED_SHUTDOWN); /* it was told in turn */
    leave(&b);
    exchange(&a);
    assert_int_equal(closed_count, 2);
    send(c.fd, "this is no TLS record at all", 28, 0);
    exchange(&c);
    assert_int_equal(closed_count, 3);
    leave(&a);
    leave(&c);
    close_server();
}

static void a_peer_that_takes_nothing_is_dropped(void **state)
{
    (void)state;
    open_server(320, 0);
    struct peer p = join(1, 1, 0);
    int64_t since = boot_ns;
    while (!closed_count && boot_ns < since + 30 * S) {
        boot_ns += S / 10;
        studio();
        link_server_wake(server);
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    assert_int_equal(closed_count, 1);
    assert_true(boot_ns - since >= 10 * S && boot_ns - since < 12 * S);
    leave(&p);
    close_server();
}

static void steady_state_costs_two_percent_at_most(void **state)
{
    (void)state;
    static const unsigned rates[] = {64, 128, 320};
    marks_on = 1;
    for (size_t i = 0; i < 3; i++) {
        for (int full = 0; full < 2; full++) { /* all there is, or as much as the relay can hold */
            open_server(rates[i], 0);
            struct peer p = join(1, 0, full ? 0 : 20);
            pass(&p, 1, full ? LEAD_S + 5 : 25);
            uint64_t wire = p.wire, frames = p.next;
            pass(&p, 1, 2 * TRACK_S); /* tracks of a minute: there is hardly more to tell */
            uint64_t sound = mp3_frame_offset(kbps, p.next) - mp3_frame_offset(kbps, frames);
            double ratio = (double)(p.wire - wire) / (double)sound;
            print_message("%3u kbit/s, lead %3d s: %.4f of the rate, TLS and marks included\n", rates[i],
                          full ? LEAD_S : 20, ratio);
            assert_true(ratio <= 1.015 && ratio > 1);
            assert_true(fabs((double)(p.next - frames) - 2 * TRACK_S * FPS) < 50);
            assert_true(p.marks >= 6 && p.marks <= 12);
            leave(&p);
            close_server();
        }
    }
    marks_on = 0;
}

static void the_lead_fills_at_twice_the_rate(void **state)
{
    (void)state;
    open_server(192, 0);
    struct peer p = join(1, 0, 0);
    exchange(&p);
    /* at once: the burst, and what a start needs; which is made up for in the first seconds */
    assert_true(fabs((double)p.frames - (BURST + 1.5) * FPS) < 2);
    pass(&p, 1, 1.5);
    uint64_t begin = p.frames;
    assert_true((double)begin / FPS < BURST + 3.1);
    for (int s = 5; s <= 80; s += 5) { /* of 95 */
        uint64_t before = p.frames;
        pass(&p, 1, 5);
        double rate = (double)(p.frames - before) / FPS / 5, mean = (double)(p.frames - begin) / FPS / s;
        assert_true(rate > 1.9 && rate < 2.1 && mean <= 2.0 + 1e-3);
    }
    leave(&p);
    close_server();
}

/* However little it brings, a relay's air can start with it, and goes on. */
static void a_small_beginning_is_enough_to_start(void **state)
{
    (void)state;
    uint32_t ns;
    static const unsigned rates[] = {64, 320};
    marks_on = 1;
    for (size_t i = 0; i < 2; i++) {
        open_server(rates[i], 0);
        struct peer p = join_less(1, 0, 0, 2);
        exchange(&p);
        /* half a second less than the burst, all told, and yet it reaches beyond the air */
        double all_s = (double)p.wire / (rates[i] * 125);
        assert_true(all_s <= BURST - 0.5 && all_s > BURST - 0.6);
        assert_true((double)p.next >= (double)air(NULL, &ns) + 0.7 * FPS);
        assert_true(p.first > air(NULL, &ns) - BURST * FPS && p.first < air(NULL, &ns) - 2 * FPS);
        for (int t = 0; t < 50; t++) {
            pass(&p, 1, 0.1);
            assert_true((double)p.next >= (double)air(NULL, &ns) + 0.5 * FPS);
        }
        assert_true((double)p.next >= (double)air(NULL, &ns) + (0.7 + 0.9 * 5) * FPS); /* twice the rate */
        leave(&p);
        close_server();
    }
    marks_on = 0;
}

static void a_visit_costs_no_more_than_it_may(void **state)
{
    (void)state;
    static const double visits[] = {0.3, 2, 7, 20};
    for (size_t i = 0; i < 4; i++) {
        open_server(128, 0);
        struct peer p = join(1, 0, 0);
        pass(&p, 1, visits[i]);
        /* the relay says that nobody listens any more */
        assert_int_equal(link_server_pace(server, "0000", 1), -1);
        assert_int_equal(link_server_pace(server, p.id, 1), 0);
        uint64_t before = p.frames;
        pass(&p, 1, 15);
        double linger = (double)(p.frames - before) / FPS, all = (double)p.frames / FPS;
        assert_true(linger <= 15 + 0.1);
        assert_true(all <= BURST + fmax(2 * visits[i], 1.5 + visits[i]) + 15 + 0.1);
        /* somebody came again */
        before = p.frames;
        assert_int_equal(link_server_pace(server, p.id, 9), 0);
        pass(&p, 1, 20);
        double rate = (double)(p.frames - before) / FPS / 20;
        assert_true(rate > 1.9 && rate <= 2.06);
        leave(&p);
        close_server();
    }
}

static void all_links_share_the_fills_budget(void **state)
{
    (void)state;
    /* less than one link alone would take above its rate */
    open_server(128, 8000);
    struct peer peers[3];
    for (int i = 0; i < 3; i++)
        peers[i] = join(0, 0, 0);
    pass(peers, 3, 50); /* which the beginnings have had in advance */
    uint64_t before = peers[0].frames + peers[1].frames + peers[2].frames;
    pass(peers, 3, 60);
    double sum = 0;
    for (int i = 0; i < 3; i++) {
        sum += (double)peers[i].frames;
        assert_true(peers[i].next + 200 > peers[(i + 1) % 3].next);
    }
    double above = (sum - (double)before) / FPS * 16000 - 3 * 60 * 16000.0;
    print_message("above the rate: %.0f of %d bytes\n", above, 60 * 8000);
    assert_true(above <= 60 * 8000 * 1.06 && above > 60 * 8000 * 0.8); /* a record waits now and then */
    /* and over the whole time, beginnings too */
    double all = sum / FPS * 16000 - 3 * 110 * 16000.0;
    assert_true(all <= 110 * 8000 * 1.02);
    for (int i = 0; i < 3; i++)
        leave(&peers[i]);
    close_server();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    log_init("test", LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(a_socket_that_takes_little_changes_no_byte), TEST(the_peers_end_is_seen),
        TEST(a_peer_that_takes_nothing_is_dropped),       TEST(steady_state_costs_two_percent_at_most),
        TEST(the_lead_fills_at_twice_the_rate),           TEST(a_small_beginning_is_enough_to_start),
        TEST(a_visit_costs_no_more_than_it_may),          TEST(all_links_share_the_fills_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
