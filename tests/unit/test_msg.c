#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/mem.h"
#include "common/msg.h"

struct pair {
    struct msg_channel *a, *b;
};

static struct pair open_pair(void)
{
    int fds[2];
    assert_int_equal(msg_pair(fds), 0);
    return (struct pair){msg_channel_new(fds[0]), msg_channel_new(fds[1])};
}

static void close_pair(struct pair p)
{
    msg_channel_free(p.a);
    msg_channel_free(p.b);
}

static uint8_t *pattern(size_t len)
{
    uint8_t *bytes = xmalloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    return bytes;
}

static unsigned open_fds(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void bodies_of_all_sizes_arrive(void **state)
{
    (void)state;
    unsigned before = open_fds();
    struct pair p = open_pair();
    struct msg m;
    assert_int_equal(msg_read(p.b, &m), 0);
    static const size_t sizes[] = {0, 1, 1000, MSG_INLINE_MAX, MSG_INLINE_MAX + 1, 1u << 20, MSG_BODY_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *bytes = pattern(sizes[i]);
        assert_int_equal(msg_send(p.a, (uint16_t)(10 + i), 77, bytes, sizes[i], -1), 0);
        assert_int_equal(msg_wait(p.b, &m, 2000), 1);
        assert_true(m.type == 10 + i && m.seq == 77 && m.len == sizes[i] && m.fd == -1);
        assert_memory_equal(m.body, bytes, sizes[i]);
        free(bytes);
    }
    assert_int_equal(msg_send(p.a, 1, 0, "", MSG_BODY_MAX + 1, -1), -1);
    assert_int_equal(errno, EMSGSIZE);
    close_pair(p);
    assert_int_equal(open_fds(), before);
}

static void descriptors_travel(void **state)
{
    (void)state;
    unsigned before = open_fds();
    struct pair p = open_pair();
    struct msg m;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct stat mine, theirs;
    assert_int_equal(fstat(fd, &mine), 0);
    uint8_t *large = pattern(MSG_INLINE_MAX * 2);
    for (int round = 0; round < 2; round++) {
        size_t len = round ? MSG_INLINE_MAX * 2 : 3;
        assert_int_equal(msg_send(p.a, 5, 1, large, len, fd), 0);
        assert_int_equal(msg_wait(p.b, &m, 2000), 1);
        assert_true(m.fd >= 0 && m.fd != fd && m.len == len);
        assert_memory_equal(m.body, large, len);
        assert_int_equal(fstat(m.fd, &theirs), 0);
        assert_true(mine.st_rdev == theirs.st_rdev && (fcntl(m.fd, F_GETFD) & FD_CLOEXEC));
        close(m.fd);
    }
    free(large);
    close(fd);
    close_pair(p);
    assert_int_equal(open_fds(), before);
}

static void the_queue_is_bounded_and_in_order(void **state)
{
    (void)state;
    unsigned before = open_fds();
    struct pair p = open_pair();
    size_t len = 60000;
    uint8_t *bytes = pattern(len);
    unsigned sent = 0;
    while (!msg_send(p.a, 1, sent + 1, bytes, len, -1)) {
        sent++;
        assert_true(sent < 2000);
    }
    assert_int_equal(errno, ENOBUFS);
    assert_true((uint64_t)sent * len > MSG_QUEUE_MAX - 2 * len);
    assert_int_equal(msg_flush(p.a), 1);
    struct msg m;
    for (unsigned i = 1; i <= sent; i++) {
        assert_true(msg_flush(p.a) >= 0);
        assert_int_equal(msg_wait(p.b, &m, 2000), 1);
        assert_true(m.seq == i && m.len == len);
    }
    assert_memory_equal(m.body, bytes, len);
    assert_int_equal(msg_flush(p.a), 0);
    /* there is room again; what is queued with a descriptor is let go with the channel */
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(msg_send(p.a, 1, 1, bytes, len, STDIN_FILENO), 0);
    free(bytes);
    close_pair(p);
    assert_int_equal(open_fds(), before);
}

static void a_peer_that_went_is_seen(void **state)
{
    (void)state;
    struct pair p = open_pair();
    struct msg m;
    assert_int_equal(msg_wait(p.a, &m, 1), 0);
    assert_int_equal(msg_send(p.b, 3, 0, "last", 4, -1), 0);
    msg_channel_free(p.b);
    assert_int_equal(msg_send(p.a, 1, 0, "x", 1, -1), -1);
    assert_int_equal(errno, EPIPE);
    assert_int_equal(msg_flush(p.a), -1);
    /* its last words can still be read */
    assert_int_equal(msg_read(p.a, &m), 1);
    assert_true(m.type == 3 && m.len == 4);
    assert_int_equal(msg_read(p.a, &m), -1);
    assert_int_equal(msg_wait(p.a, &m, -1), -1);
    msg_channel_free(p.a);
}

struct raw { /* the header as it travels */
    uint32_t magic, len, seq;
    uint16_t type, flags;
};

static void send_raw(int fd, const struct raw *h, size_t body, const int *fds, int count)
{
    uint8_t packet[1024] = {0};
    size_t n = h ? sizeof *h : 0;
    if (h) memcpy(packet, h, n);
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(4 * sizeof(int))];
    } control = {0};
    struct iovec iov = {packet, n + body};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (count) {
        m.msg_control = control.space;
        m.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, (size_t)count * sizeof(int));
    }
    assert_int_equal(sendmsg(fd, &m, 0), (ssize_t)(n + body));
}

static void malformed_packets_end_the_channel(void **state)
{
    (void)state;
    enum { MAGIC = 0x52564631, MEMFD = 1, CARRIES = 2 };
    int sealed = memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING), loose = memfd_create("t", MFD_CLOEXEC);
    assert_int_equal(ftruncate(sealed, 70000), 0);
    assert_int_equal(ftruncate(loose, 70000), 0);
    assert_int_equal(fcntl(sealed, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL), 0);
    const int fds[3] = {sealed, sealed, sealed}, loose_fds[1] = {loose};
    const struct {
        struct raw head;
        size_t body;
        const int *fds;
        int count;
        int good;
    } cases[] = {
        {{MAGIC, 5, 0, 1, 0}, 5, NULL, 0, 1},
        {{MAGIC, 70000, 0, 1, MEMFD}, 0, fds, 1, 1},
        {{MAGIC + 1, 5, 0, 1, 0}, 5, NULL, 0, 0},
        {{MAGIC, 6, 0, 1, 0}, 5, NULL, 0, 0},
        {{MAGIC, 4, 0, 1, 0}, 5, NULL, 0, 0},
        {{MAGIC, MSG_BODY_MAX + 1, 0, 1, MEMFD}, 0, fds, 1, 0},
        {{MAGIC, 70001, 0, 1, MEMFD}, 0, fds, 1, 0},       /* the memfd is smaller */
        {{MAGIC, 70000, 0, 1, MEMFD}, 3, fds, 1, 0},       /* and a body beside it */
        {{MAGIC, 70000, 0, 1, MEMFD}, 0, loose_fds, 1, 0}, /* its sender could change it */
        {{MAGIC, 0, 0, 1, MEMFD}, 0, NULL, 0, 0},
        {{MAGIC, 5, 0, 1, 0}, 5, fds, 1, 0}, /* a descriptor nobody asked for */
        {{MAGIC, 5, 0, 1, CARRIES}, 5, NULL, 0, 0},
        {{MAGIC, 5, 0, 1, CARRIES}, 5, fds, 3, 0},
    };
    unsigned before = open_fds();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int ends[2];
        assert_int_equal(msg_pair(ends), 0);
        struct msg_channel *c = msg_channel_new(ends[0]);
        struct msg m;
        send_raw(ends[1], &cases[i].head, cases[i].body, cases[i].fds, cases[i].count);
        int r = msg_read(c, &m);
        if (r != (cases[i].good ? 1 : -1)) fail_msg("case %zu: %d", i, r);
        if (r < 0) assert_int_equal(msg_read(c, &m), -1);
        msg_channel_free(c);
        close(ends[1]);
    }
    int ends[2];
    assert_int_equal(msg_pair(ends), 0);
    struct msg_channel *c = msg_channel_new(ends[0]);
    struct msg m;
    send_raw(ends[1], NULL, 7, NULL, 0); /* shorter than a header */
    assert_int_equal(msg_read(c, &m), -1);
    msg_channel_free(c);
    close(ends[1]);
    assert_int_equal(open_fds(), before);
    close(sealed);
    close(loose);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_of_all_sizes_arrive),        cmocka_unit_test(descriptors_travel),
        cmocka_unit_test(the_queue_is_bounded_and_in_order), cmocka_unit_test(a_peer_that_went_is_seen),
        cmocka_unit_test(malformed_packets_end_the_channel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
