/* Listeners that count bytes: where they begin, chunks, how they end, how they are found, other transports.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "tests/unit/fanout_stage.h"

static void advance(uint64_t frames)
{
    air += frames;
    fill(air + 100);
    ring_set_floor(ring, air);
    net_turn(base);
}

static void assert_bytes(const char *data, uint64_t from, size_t len)
{
    uint64_t first = mp3_frame_at(KBPS, from), last = mp3_frame_at(KBPS, from + len) + 1;
    size_t all;
    uint8_t *want = frames_make(KBPS, first, (unsigned)(last - first), SEED, &all);
    assert_memory_equal(data, want + (from - offset(first)), len);
    free(want);
}

static void test_any_byte(void **state)
{
    (void)state;
    start(2, 15, 1000, 2000);
    uint64_t ahead = offset(1060) + 17; /* this node's clock is 1.6 s late */
    assert_int_equal(fanout_start_byte(fanout, offset(400) + 5), offset(400) + 5);
    assert_int_equal(fanout_start_byte(fanout, ahead), ahead);
    assert_int_equal(fanout_start_byte(fanout, offset(1500)), offset(1000));
    assert_int_equal(fanout_start_byte(fanout, UINT64_MAX), offset(1000));
    struct net_bytes b = {0}, w = {0};
    int fd = add(&(struct fanout_listener_conf){.has_byte = 1, .byte = offset(400) + 5, .resumable = 1}, 0);
    int waits = add(&(struct fanout_listener_conf){.has_byte = 1, .byte = ahead, .resumable = 1}, 0);
    net_until_len(base, fd, &b, (size_t)(offset(1000) - offset(400) - 5));
    assert_int_equal(b.len, offset(1000) - offset(400) - 5);
    assert_bytes(b.data, offset(400) + 5, b.len);
    while (air < 1200) {
        air += 20;
        for (uint64_t t = fanout_counts(fanout)->turns; fanout_counts(fanout)->turns < t + 2;)
            net_turn(base);
        net_take(waits, &w, SIZE_MAX);
        if (air <= 1060) assert_int_equal(w.len, 0);
    }
    net_until_len(base, waits, &w, (size_t)(offset(1170) - ahead));
    assert_true(w.len > 0 && !w.ended);
    assert_bytes(w.data, ahead, w.len);
    assert_int_equal(fanout_counts(fanout)->skips, 0);
    /* long gone: the oldest there is, and the page is told so */
    while (ring_tail(ring) < 100)
        advance(400);
    int old = add(&(struct fanout_listener_conf){.has_byte = 1, .byte = 333, .resumable = 1, .client = 9}, 0);
    struct fanout_place p;
    assert_int_equal(fanout_find(fanout, 9, &p), 1);
    assert_int_equal(p.asked_byte, 333);
    assert_int_equal(p.first_byte, ring_byte_tail(ring));
    free(b.data);
    free(w.data);
    stop(0);
    close(fd);
    close(waits);
    close(old);
}

/* Takes the chunks off; returns how many whole ones there were. */
static unsigned unchunk(const struct net_bytes *b, size_t at, struct net_bytes *out)
{
    unsigned chunks = 0;
    while (at < b->len) {
        char *end, *head = b->data + at;
        unsigned long len = strtoul(head, &end, 16);
        if (!strstr(head, "\r\n")) break; /* the rest of the head is under way */
        assert_true(len > 0 && end > head && end - head < 8);
        assert_memory_equal(end, "\r\n", 2);
        at = (size_t)(end + 2 - b->data);
        size_t have = b->len - at < len ? b->len - at : len;
        out->data = realloc(out->data, out->len + have + 1);
        memcpy(out->data + out->len, b->data + at, have);
        out->len += have;
        at += have;
        if (b->len - at < 2) break;
        assert_memory_equal(b->data + at, "\r\n", 2);
        at += 2;
        chunks++;
    }
    return chunks;
}

static void test_chunks(void **state)
{
    (void)state;
    unsigned seed = (unsigned)net_now_ms();
    print_message("seed %u\n", seed);
    start(2, 100, 1000, 2000);
    static const struct fanout_listener_conf conf = {.has_byte = 1,
                                                     .byte = 100003,
                                                     .resumable = 1,
                                                     .chunked = 1,
                                                     .icy = 1, /* not with chunks */
                                                     .header = "head\r\n\r\n",
                                                     .header_len = 8};
    int quick = add(&conf, 0), slow = add(&conf, 2048);
    struct net_bytes q = {0}, s = {0}, plain = {0};
    uint64_t total = 0;
    for (int64_t end = net_now_ms() + 3 * NET_DEADLINE_MS; net_now_ms() < end;) {
        if (air < 1900) air += 1 + (uint64_t)rand_r(&seed) % 30;
        net_turn(base);
        net_take(quick, &q, SIZE_MAX);
        net_take(slow, &s, 1 + (size_t)rand_r(&seed) % 9000);
        if (air < 1900) continue;
        plain.len = 0;
        unchunk(&s, 8, &plain);
        total = offset(air - 22) - 100003; /* the last turn was within a flight */
        if (plain.len >= total) break;
    }
    assert_true(plain.len >= total);
    assert_memory_equal(s.data, "head\r\n\r\n", 8);
    assert_bytes(plain.data, 100003, plain.len);
    assert_true(fanout_counts(fanout)->short_writes > 3);
    plain.len = 0;
    unsigned chunks = unchunk(&q, 8, &plain);
    assert_true(plain.len >= total);
    assert_true(chunks > 10);
    assert_bytes(plain.data, 100003, plain.len);
    assert_int_equal(fanout_counts(fanout)->skips, 0);
    free(q.data);
    free(s.data);
    free(plain.data);
    stop(0);
    close(quick);
    close(slow);
}

/* Never moved on: cut once it is too slow, and when its place is gone. */
static void test_cut(void **state)
{
    (void)state;
    start(2, 10, 100, 200);
    struct net_bytes b = {0};
    int marker = 0;
    int fd = add(
        &(struct fanout_listener_conf){
            .has_from = 1, .from = 50, .resumable = 1, .client = 5, .tag = &marker},
        2048);
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; !ended[FANOUT_SLOW] && net_now_ms() < end;)
        advance(5);
    assert_int_equal(ended[FANOUT_SLOW], 1);
    assert_int_equal(ended_client, 5);
    assert_ptr_equal(ended_tag, &marker);
    assert_int_equal(fanout_counts(fanout)->skips, 0);
    assert_true(net_until(base, fd, &b, NULL, NET_DEADLINE_MS));
    assert_int_equal(b.ended, -1);
    close(fd);
    for (int back = 0; back < 2; back++) { /* a ring that begins anew, further on or earlier */
        fd = add(&(struct fanout_listener_conf){.has_from = 1, .from = air - 20, .resumable = 1}, 0);
        char id[33];
        memset(id, 'a' + back, 32);
        id[32] = '\0';
        air = back ? 300 : air + 90000;
        ring_reset(ring, id, 2 + (unsigned)back, air);
        for (int64_t end = net_now_ms() + NET_DEADLINE_MS; !ended[FANOUT_LOST] && net_now_ms() < end;)
            advance(3);
        assert_int_equal(ended[FANOUT_LOST], 1);
        ended[FANOUT_LOST] = 0;
        b = (struct net_bytes){.data = b.data, .size = b.size};
        assert_true(net_until(base, fd, &b, NULL, NET_DEADLINE_MS));
        assert_int_equal(b.ended, -1);
        close(fd);
    }
    ended[FANOUT_LOST] = 2;
    free(b.data);
    stop(0);
}

/* A clean stop ends plain listeners cleanly, but resets those that would take it for the end of the stream.
 */
static void test_stop(void **state)
{
    (void)state;
    start(1, 10, 1000, 1200);
    int plain = add(&(struct fanout_listener_conf){0}, 0);
    int resumes = add(&(struct fanout_listener_conf){.resumable = 1}, 0);
    stop(0);
    struct net_bytes p = {0}, r = {0};
    assert_true(net_until(base, plain, &p, NULL, NET_DEADLINE_MS));
    assert_int_equal(p.ended, 1);
    assert_true(net_until(base, resumes, &r, NULL, NET_DEADLINE_MS));
    assert_int_equal(r.ended, -1);
    free(p.data);
    free(r.data);
    close(plain);
    close(resumes);
}

static void test_killed(void **state)
{
    (void)state;
    for (int resumable = 0; resumable < 2; resumable++) {
        int fds[2];
        assert_int_equal(net_pair(fds, 0), 0);
        pid_t pid = fork();
        if (!pid) {
            base = event_base_new();
            start(1, 10, 1000, 1200);
            fanout_add(fanout, fds[0], &(struct fanout_listener_conf){.resumable = resumable});
            raise(SIGKILL);
        }
        close(fds[0]);
        waitpid(pid, NULL, 0);
        struct net_bytes b = {0};
        assert_true(net_until(base, fds[1], &b, NULL, NET_DEADLINE_MS));
        assert_int_equal(b.ended, resumable ? -1 : 1);
        free(b.data);
        close(fds[1]);
    }
}

static void test_find(void **state)
{
    (void)state;
    enum { N = 600 };
    static int fds[N];
    struct fanout_place p;
    start(2, 15, 1000, 2000);
    assert_int_equal(fanout_find(fanout, 1, &p), 0);
    for (unsigned i = 0; i < N; i++) /* i % 3 == 0 has no id, ids of i % 3 == 2 all are 7 */
        fds[i] = add(&(struct fanout_listener_conf){.client = i % 3 ? i % 3 == 1 ? 1000 + i : 7 : 0,
                                                    .has_from = 1,
                                                    .from = 300 + i,
                                                    .resumable = 1},
                     0);
    assert_int_equal(fanout_find(fanout, 0, &p), 0);
    assert_int_equal(fanout_find(fanout, 1000, &p), 0);
    for (unsigned i = 1; i < N; i += 3) {
        assert_int_equal(fanout_find(fanout, 1000 + i, &p), 1);
        assert_int_equal(p.first_byte, offset(300 + i));
    }
    assert_int_equal(fanout_find(fanout, 7, &p), 1);
    assert_int_equal(p.first_byte, offset(300 + N - 1)); /* the newest */
    assert_int_equal(p.asked_byte, p.first_byte);
    assert_true(p.sent_byte > p.first_byte && p.received_byte >= p.first_byte &&
                p.received_byte <= p.sent_byte);
    assert_true(p.heard_byte >= p.first_byte && p.heard_byte <= p.received_byte);
    for (unsigned i = N; i-- > N / 2;)
        close(fds[i]);
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS;
         fanout_counts(fanout)->listening != N / 2 && net_now_ms() < end;)
        net_turn(base);
    for (unsigned i = 1; i < N; i += 3)
        assert_int_equal(fanout_find(fanout, 1000 + i, &p), i < N / 2);
    assert_int_equal(fanout_find(fanout, 7, &p), 1);
    assert_int_equal(p.first_byte, offset(300 + N / 2 - 1));
    stop(0);
    for (unsigned i = 0; i < N / 2; i++)
        close(fds[i]);
}

/* A transport that turns every byte over and holds what the socket does not take. */
struct turned {
    uint8_t held[1 << 18];
    size_t at, len;
    unsigned writes, empty, drained, freed;
};

static ssize_t turned_write(void *self, int fd, const struct iovec *pieces, int count, int *full)
{
    struct turned *t = self;
    ssize_t taken = 0;
    t->writes++;
    t->empty += count == 0;
    if (t->at == t->len) {
        t->at = t->len = 0;
        for (int i = 0; i < count; i++) {
            for (size_t k = 0; k < pieces[i].iov_len && t->len < sizeof t->held; k++, taken++)
                t->held[t->len++] = ((uint8_t *)pieces[i].iov_base)[k] ^ 0x5a;
        }
    }
    ssize_t n = send(fd, t->held + t->at, t->len - t->at, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) t->at += (size_t)n;
    *full = t->at < t->len;
    if (taken || !count) return taken;
    errno = EAGAIN;
    return -1;
}

static int turned_drain(void *self, int fd)
{
    char piece[100];
    ((struct turned *)self)->drained++;
    return recv(fd, piece, sizeof piece, MSG_DONTWAIT) == 0;
}

static void turned_free(void *self, int reset)
{
    (void)reset;
    ((struct turned *)self)->freed++;
}

static void test_transport(void **state)
{
    (void)state;
    static const struct fanout_transport ops = {turned_write, turned_drain, turned_free};
    static struct turned turned;
    start(2, 100, 1000, 2000);
    const struct fanout_listener_conf conf = {.has_from = 1,
                                              .from = 100,
                                              .transport = &ops,
                                              .transport_self = &turned,
                                              .header = "head\r\n",
                                              .header_len = 6};
    int fd = add(&conf, 4096);
    net_send(fd, "something");
    struct net_bytes b = {0};
    size_t all = 6 + (size_t)(offset(1000) - offset(100));
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; b.len < all && net_now_ms() < end;) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        net_take(fd, &b, 5000);
    }
    assert_int_equal(b.len, all);
    for (size_t i = 0; i < b.len; i++)
        b.data[i] ^= 0x5a;
    assert_memory_equal(b.data, "head\r\n", 6);
    assert_bytes(b.data + 6, offset(100), b.len - 6);
    assert_int_equal(fanout_counts(fanout)->bytes, all - 6);
    assert_true(turned.empty > 0 && turned.drained > 0);
    assert_int_equal(turned.freed, 0);
    stop(0);
    assert_int_equal(turned.freed, 1);
    free(b.data);
    close(fd);
}

/* In how many different frames of a flight the wheel wants to wake up. */
static unsigned wakings(void)
{
    uint8_t wanted[22] = {0};
    unsigned count = 0;
    for (int i = 0; i < 22; i++) {
        air++;
        for (uint64_t t = fanout_counts(fanout)->turns; fanout_counts(fanout)->turns < t + 2;)
            net_turn(base);
        count += !wanted[until_asked % 22];
        wanted[until_asked % 22] = 1;
    }
    return count;
}

/* Few listeners share a cohort, and the wheel sleeps for a whole flight. */
static void test_sleep(void **state)
{
    (void)state;
    enum { SHARED = 16 };
    int fds[SHARED + 1];
    start(1, 10, 1000, 2000);
    fds[0] = add(&(struct fanout_listener_conf){0}, 0);
    assert_int_equal(wakings(), 1);
    for (int i = 1; i < SHARED; i++)
        fds[i] = add(&(struct fanout_listener_conf){0}, 0);
    assert_int_equal(wakings(), 1);
    fds[SHARED] = add(&(struct fanout_listener_conf){0}, 0);
    assert_int_equal(wakings(), 2);
    stop(0);
    for (int i = 0; i <= SHARED; i++)
        close(fds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_byte),  cmocka_unit_test(test_chunks), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_stop),      cmocka_unit_test(test_killed), cmocka_unit_test(test_find),
        cmocka_unit_test(test_transport), cmocka_unit_test(test_sleep),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
