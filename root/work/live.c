/* live: decodes what one source sends, in a process of its own, and ends with it.
 *
 * Bytes from the network meet a demuxer and a decoder here and nowhere else: when these hang, crash or eat
 * memory, a show ends, and that is all. Air hands over the source's socket and one end of a pipe; the studio
 * has the other. Both sides may stop us: a full pipe makes us wait, and the source with us (a file that is
 * sent faster than it plays); the channel's QUIT, or a studio that is gone, ends the show. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/audio/decode_live.h"
#include "root/audio/pcm.h"
#include "root/work/live_body.h"
#include "root/work/work.h"

#define SILENT_MS    10000 /* a source that sends nothing for so long is gone */
#define MEMORY_BYTES ((rlim_t)1 << 30)

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED /* its shadow memory counts as data */
#endif
#endif

static const char well[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
static const char unfit[] =
    "HTTP/1.1 415 Unsupported Media Type\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

struct live_source {
    struct work *work;
    int64_t session;
    int fd, out; /* the source; the pipe to the studio */
    char *type;
    int answer_due;
    struct live_body body;
    uint8_t *early; /* bytes that came with the header */
    size_t early_len, early_at;
    const char *reason; /* why it ended; NULL: not yet */
};

static void end_for(struct live_source *s, const char *reason)
{
    if (!s->reason) s->reason = reason;
}

/* Until `fd` is ready: 1; 0 after SILENT_MS; -1 when air wants us to stop. */
static int await(struct live_source *s, int fd, short events, int limit_ms)
{
    while (!s->work->quit) {
        struct pollfd p[2] = {{.fd = fd, .events = events},
                              {.fd = msg_channel_fd(s->work->channel), .events = POLLIN}};
        int n = poll(p, 2, limit_ms);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return 0;
        if (p[1].revents) {
            struct work_message message;
            int got = work_next(s->work, &message, 0);
            if (got > 0) work_message_free(&message);
            if (got < 0) break;
        }
        if (p[0].revents) return 1;
    }
    return -1;
}

static long source_bytes(struct live_source *s, uint8_t *bytes, size_t size)
{
    if (s->early_at < s->early_len) {
        size_t n = s->early_len - s->early_at < size ? s->early_len - s->early_at : size;
        memcpy(bytes, s->early + s->early_at, n);
        s->early_at += n;
        return (long)n;
    }
    for (;;) {
        int ready = await(s, s->fd, POLLIN, SILENT_MS);
        if (ready <= 0) {
            end_for(s, ready ? "stopped" : "stalled");
            return -1;
        }
        ssize_t n = recv(s->fd, bytes, size, 0);
        if (n >= 0) return n;
        if (errno == EAGAIN || errno == EINTR) continue;
        end_for(s, "closed");
        return -1;
    }
}

static long on_read(void *context, uint8_t *bytes, size_t size)
{
    struct live_source *s = context;
    while (s->body.state < LIVE_BODY_ENDED) {
        long n = source_bytes(s, bytes, size);
        if (n < 0) return -1;
        if (n == 0) {
            end_for(s, "closed");
            return 0;
        }
        size_t kept = live_body_take(&s->body, bytes, (size_t)n);
        if (s->body.state == LIVE_BODY_BROKEN) end_for(s, "garbage");
        if (kept) return (long)kept;
    }
    end_for(s, "closed");
    return 0;
}

/* 0; -1 when nobody wants it any more. */
static int put_pcm(struct live_source *s, const float *pcm, size_t samples)
{
    const uint8_t *at = (const uint8_t *)pcm;
    for (size_t left = samples * PCM_CHANNELS * sizeof *pcm; left;) {
        ssize_t n = write(s->out, at, left);
        if (n >= 0) {
            at += n;
            left -= (size_t)n;
        } else if (errno == EAGAIN) {
            if (await(s, s->out, POLLOUT, -1) < 0) {
                end_for(s, "stopped");
                return -1;
            }
        } else if (errno != EINTR) {
            end_for(s, "stopped"); /* the studio has closed it */
            return -1;
        }
    }
    return 0;
}

static void tell_title(struct live_source *s, struct live_decoder *decoder)
{
    char *title = live_decoder_title(decoder);
    if (!title) return;
    json_t *body = json_pack("{s:I,s:o}", "session", (json_int_t)s->session, "title", json_text_lossy(title));
    work_send(s->work, WIRE_LIVE_TITLE, 0, body, -1);
    free(title);
}

static void decode(struct live_source *s)
{
    struct live_decoder *decoder;
    char *cause = NULL;
    const float *pcm;
    uint64_t made = 0;
    long n = live_decoder_open(&decoder, s->type, on_read, s, &cause);
    while (n == 0 && (n = live_decoder_pcm(decoder, &pcm, &cause)) > 0) {
        tell_title(s, decoder);
        made += (uint64_t)n;
        n = put_pcm(s, pcm, (size_t)n);
    }
    if (n == 0 && !made) n = cause_set(&cause, "there is no sound in it");
    if (n < 0 && cause) {
        /* that the bytes ended is no excuse: there was nothing to hear */
        s->reason = s->reason && strcmp(s->reason, "closed") != 0 ? s->reason : "garbage";
        log_warn("live", "what the source sends can't be played: %s", cause);
    }
    end_for(s, "closed");
    live_decoder_close(decoder);
    free(cause);
}

/* {...} NUL bytes */
static int take_source(struct live_source *s, struct work_message *m)
{
    int bad = 0;
    size_t head = strnlen((char *)m->bytes, m->len);
    char *cause = NULL;
    json_t *body = head < m->len ? json_parse((char *)m->bytes, head, head + 1, &cause) : NULL;
    s->session = json_int_or(body, "session", 0, 1, INT64_MAX, &bad);
    int64_t length = json_int_or(body, "length", -1, -1, INT64_MAX, &bad);
    s->answer_due = json_is_true(json_object_get(body, "answer"));
    s->type = xstrdup(json_str_or(body, "type", "", &bad));
    live_body_init(&s->body, json_is_true(json_object_get(body, "chunked")), length);
    if (!body || bad || !s->session || m->fd < 0) log_error("live", "LIVE_SOURCE is malformed");
    json_decref(body);
    free(cause);
    if (head + 1 < m->len) {
        s->early_len = m->len - head - 1;
        s->early = xmalloc(s->early_len);
        memcpy(s->early, m->bytes + head + 1, s->early_len);
    }
    s->fd = m->fd;
    m->fd = -1;
    return bad;
}

static void take_pipe(struct live_source *s, struct work_message *m)
{
    s->out = m->fd;
    m->fd = -1;
    fcntl(s->out, F_SETFL, O_NONBLOCK);
}

static void say_end(struct live_source *s)
{
    log_info("live", "the source has ended: %s", s->reason);
    work_send(s->work, WIRE_LIVE_ENDED, 0,
              json_pack("{s:I,s:s}", "session", (json_int_t)s->session, "reason", s->reason), -1);
    int closed = !strcmp(s->reason, "closed"), garbage = !strcmp(s->reason, "garbage");
    if (!s->answer_due || !(closed || garbage)) return;
    const char *answer = closed ? well : unfit;
    if (send(s->fd, answer, strlen(answer), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_debug("live", "the source did not wait for its answer");
}

int work_live(struct work *work)
{
    struct live_source s = {.work = work, .fd = -1, .out = -1};
    struct work_message message;
    /* a stream that makes a decoder grow without end ends here, not in the machine's last memory */
#ifndef SANITIZED
    setrlimit(RLIMIT_DATA, &(struct rlimit){MEMORY_BYTES, MEMORY_BYTES});
#endif
    work_ready(work);
    while ((s.fd < 0 || s.out < 0) && work_next(work, &message, -1) > 0) {
        if (message.row->type == WIRE_LIVE_SOURCE && s.fd < 0)
            take_source(&s, &message);
        else if (message.row->type == WIRE_LIVE_PCM && s.out < 0)
            take_pipe(&s, &message);
        work_message_free(&message);
    }
    if (s.fd >= 0 && s.out >= 0) {
        decode(&s);
        say_end(&s);
    }
    if (s.fd >= 0) close(s.fd);
    if (s.out >= 0) close(s.out);
    free(s.early);
    free(s.type);
    return EX_OK;
}
