/* Live input: a body without its framing, the sound a studio holds, and the worker that decodes a source. */
#include "tests/unit/worker_end.h"

#include <math.h>
#include <sys/socket.h>

#include "common/mp3.h"
#include "root/audio/encode.h"
#include "root/audio/pcm.h"
#include "root/work/live_body.h"
#include "root/work/live_feed.h"

/* A body */

/* The content of `text`, handed over `step` bytes at a time; its last state in *body. */
static const char *content(struct live_body *body, int chunked, int64_t length, const char *text, size_t step)
{
    static char out[256];
    size_t have = 0, len = strlen(text);
    live_body_init(body, chunked, length);
    for (size_t at = 0; at < len; at += step) {
        uint8_t piece[256];
        size_t n = len - at < step ? len - at : step;
        memcpy(piece, text + at, n);
        n = live_body_take(body, piece, n);
        memcpy(out + have, piece, n);
        have += n;
    }
    out[have] = '\0';
    return out;
}

static void a_body_loses_its_framing(void **state)
{
    (void)state;
    struct live_body b;
    for (size_t step = 1; step < 40; step += 3) {
        assert_string_equal(content(&b, 0, -1, "all of it\r\n", step), "all of it\r\n");
        assert_int_equal(b.state, LIVE_BODY_DATA);
        assert_string_equal(content(&b, 0, 5, "whole and more", step), "whole");
        assert_int_equal(b.state, LIVE_BODY_ENDED);
        assert_string_equal(content(&b, 1, -1, "5\r\nhello\r\n0B;x=y\r\n, 11 bytes \r\n0\r\n\r\nmore", step),
                            "hello, 11 bytes ");
        assert_int_equal(b.state, LIVE_BODY_ENDED);
        assert_string_equal(content(&b, 1, -1, "3\nabc\n2\nde\n", step), "abcde");
        assert_int_equal(b.state, LIVE_BODY_SIZE);
    }
    assert_string_equal(content(&b, 0, 0, "none", 4), "");
    const char *const broken[] = {"x\r\n", "\r\nabc", "-1\r\n", "123456789\r\n", "2\r\nabc\r\n"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        content(&b, 1, -1, broken[i], 2);
        assert_int_equal(b.state, LIVE_BODY_BROKEN);
    }
}

/* The sound held */

static void put(int fd, uint64_t from, uint64_t to)
{
    for (uint64_t s = from; s < to; s++) {
        float both[2] = {(float)(s % 10007), -(float)(s % 10007)};
        assert_int_equal(write(fd, both, sizeof both), sizeof both);
    }
}

static void a_feed_holds_some_seconds(void **state)
{
    (void)state;
    int fds[2];
    float out[4 * PCM_CHANNELS];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    struct live_feed *feed = live_feed_new(fds[0]);
    assert_int_equal(live_feed_fill(feed), 0);
    uint64_t sent = 0;
    /* nothing is given up while it may be needed, and with no room the pipe fills */
    for (; sent < LIVE_FEED_ROOM + 1000; sent += 1000) {
        put(fds[1], sent, sent + 1000);
        assert_int_equal(live_feed_fill(feed), 1);
    }
    assert_int_equal(live_feed_held(feed), LIVE_FEED_ROOM);
    live_feed_read(feed, 0, out, 4);
    for (int i = 0; i < 4; i++)
        assert_true(out[i * 2] == (float)i && out[i * 2 + 1] == -(float)i);
    live_feed_keep(feed, LIVE_FEED_PAST + 600);
    assert_int_equal(live_feed_fill(feed), 1);
    assert_int_equal(live_feed_held(feed), LIVE_FEED_ROOM + 600);
    live_feed_read(feed, 599, out, 4); /* one too early */
    assert_true(out[0] == 0 && out[2] == 600.0f && out[3] == -600.0f && out[6] == 602.0f);
    live_feed_keep(feed, LIVE_FEED_PAST + LIVE_FEED_ROOM);
    /* half a sample waits for the rest of it */
    float one = 7;
    assert_int_equal(write(fds[1], &one, sizeof one), sizeof one);
    assert_int_equal(live_feed_fill(feed), 1);
    assert_int_equal(live_feed_held(feed), sent);
    assert_int_equal(write(fds[1], &one, sizeof one), sizeof one);
    live_feed_fill(feed);
    assert_int_equal(live_feed_held(feed), sent + 1);
    live_feed_read(feed, sent - 1, out, 4);
    assert_true(out[2] == 7 && out[3] == 7 && out[4] == 0);
    close(fds[1]);
    assert_int_equal(live_feed_fill(feed), -1);
    assert_int_equal(live_feed_fill(feed), -1);
    live_feed_read(feed, sent, out, 1); /* faded out */
    assert_true(out[0] == 0);
    live_feed_free(feed);
}

/* The worker */

struct booth {
    struct worker_end end;
    int source, pcm;
};

static void booth_open(struct booth *b, const char *type, int chunked, const void *early, size_t len)
{
    int socks[2], pipes[2];
    end_start(&b->end, ROLE_LIVE, work_live, end_config("/nonexistent", "/nonexistent"));
    end_expect(&b->end, WIRE_READY);
    /* only now: the child must not hold our ends as well */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), 0);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    char *head = xasprintf("{\"session\":3,\"type\":\"%s\",\"chunked\":%s,\"length\":-1,\"answer\":true}",
                           type, chunked ? "true" : "false");
    size_t head_len = strlen(head) + 1;
    char *body = xmalloc(head_len + len);
    memcpy(body, head, head_len);
    memcpy(body + head_len, early, len);
    assert_int_equal(msg_send(b->end.channel, WIRE_LIVE_SOURCE, 0, body, head_len + len, socks[1]), 0);
    assert_int_equal(wire_send(b->end.channel, WIRE_LIVE_PCM, 0, json_pack("{s:i}", "session", 3), pipes[1]),
                     0);
    free(body);
    free(head);
    close(socks[1]);
    close(pipes[1]);
    b->source = socks[0];
    b->pcm = pipes[0];
}

static void booth_close(struct booth *b)
{
    int status;
    assert_int_equal(waitpid(b->end.pid, &status, 0), b->end.pid);
    assert_int_equal(status, 0);
    msg_channel_free(b->end.channel);
    json_decref(b->end.body);
    close(b->source);
    close(b->pcm);
}

struct tape {
    uint8_t *bytes;
    size_t len;
};

static void on_frame(void *context, uint64_t frame, const uint8_t *bytes, size_t len)
{
    (void)frame;
    struct tape *tape = context;
    tape->bytes = xrealloc(tape->bytes, tape->len + len);
    memcpy(tape->bytes + tape->len, bytes, len);
    tape->len += len;
}

/* A tone as MP3. */
static struct tape tone(unsigned blocks)
{
    struct tape tape = {0};
    char *cause = NULL;
    float pcm[MP3_FRAME_SAMPLES * PCM_CHANNELS];
    struct encoder *encoder = encoder_new(128, 0, &cause);
    assert_non_null(encoder);
    for (unsigned b = 0; b < blocks; b++) {
        for (unsigned i = 0; i < MP3_FRAME_SAMPLES; i++)
            pcm[i * 2] = pcm[i * 2 + 1] = 0.5f * sinf(0.1f * (float)(b * MP3_FRAME_SAMPLES + i));
        assert_int_equal(encoder_feed(encoder, pcm, on_frame, &tape, &cause), 0);
    }
    encoder_free(encoder);
    return tape;
}

static void an_mp3_source_is_decoded(void **state)
{
    (void)state;
    struct tape tape = tone(60);
    struct booth b;
    char answer[64] = "";
    size_t early = 700; /* came with the header */
    char *first = xasprintf("%zx\r\n", early);
    char *opening = xmalloc(strlen(first) + early + 2);
    memcpy(opening, first, strlen(first));
    memcpy(opening + strlen(first), tape.bytes, early);
    memcpy(opening + strlen(first) + early, "\r\n", 2);
    booth_open(&b, "audio/mpeg; q=1", 1, opening, strlen(first) + early + 2);
    free(opening);
    free(first);
    char *size = xasprintf("%zx\r\n", tape.len - early);
    assert_int_equal(send(b.source, size, strlen(size), 0), strlen(size));
    free(size);
    assert_int_equal(send(b.source, tape.bytes + early, tape.len - early, 0), tape.len - early);
    assert_int_equal(send(b.source, "\r\n0\r\n\r\n", 7, 0), 7);
    size_t have = 0, loud = 0, bytes = 0;
    float pcm[1024];
    for (ssize_t n; (n = read(b.pcm, pcm, sizeof pcm)) > 0; bytes += (size_t)n) {
        for (size_t i = 0; i < (size_t)n / sizeof *pcm; i++, have++)
            loud += fabsf(pcm[i]) > 0.45f;
    }
    assert_int_equal(bytes % (PCM_CHANNELS * sizeof(float)), 0);
    assert_in_range(have / PCM_CHANNELS, 54 * MP3_FRAME_SAMPLES, 61 * MP3_FRAME_SAMPLES);
    assert_in_range(loud, have / 5, have / 2); /* a sine is over 0.9 of its peak for 29 % of the time */
    end_expect(&b.end, WIRE_LIVE_ENDED);
    assert_string_equal(json_string_value(json_object_get(b.end.body, "reason")), "closed");
    assert_true(recv(b.source, answer, sizeof answer - 1, 0) > 0);
    assert_memory_equal(answer, "HTTP/1.1 200", 12);
    booth_close(&b);
    free(tape.bytes);
}

static void what_is_no_sound_ends_at_once(void **state)
{
    (void)state;
    static const char *const types[] = {"audio/mpeg", "application/ogg", "audio/aac", ""};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        struct booth b;
        uint8_t noise[20000];
        uint32_t seed = 77;
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24) & 0x7f;
        booth_open(&b, types[t], 0, noise, sizeof noise);
        shutdown(b.source, SHUT_WR);
        end_expect(&b.end, WIRE_LIVE_ENDED);
        assert_string_equal(json_string_value(json_object_get(b.end.body, "reason")), "garbage");
        booth_close(&b);
    }
}

static void it_ends_when_nobody_listens_or_air_says_so(void **state)
{
    (void)state;
    struct tape tape = tone(200);
    for (int told = 0; told < 2; told++) {
        struct booth b;
        booth_open(&b, "audio/mpeg", 0, tape.bytes, 5000);
        assert_int_equal(send(b.source, tape.bytes + 5000, tape.len - 5000, 0), tape.len - 5000);
        if (told) {
            end_tell(&b.end, WIRE_QUIT,
                     json_object()); /* it waits for room in the pipe, or for more to come */
        } else {
            close(b.pcm);
            b.pcm = -1;
        }
        end_expect(&b.end, WIRE_LIVE_ENDED);
        assert_string_equal(json_string_value(json_object_get(b.end.body, "reason")), "stopped");
        booth_close(&b);
    }
    free(tape.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_loses_its_framing),
        cmocka_unit_test(a_feed_holds_some_seconds),
        cmocka_unit_test(an_mp3_source_is_decoded),
        cmocka_unit_test(what_is_no_sound_ends_at_once),
        cmocka_unit_test(it_ends_when_nobody_listens_or_air_says_so),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
