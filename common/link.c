#include "common/link.h"

#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/mp3.h"

#define CLOCK_NS_LAST 26122448 /* of a frame */
#define FRAME_MIN     208      /* bytes, 64 kbit/s */
#define MARK_DIGITS   9        /* of reals in marks: they are for people */

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const uint8_t *p)
{
    return get32(p) | (uint64_t)get32(p + 4) << 32;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        *p++ = (uint8_t)(v >> (8 * i));
    return p;
}

static uint8_t *put64(uint8_t *p, uint64_t v)
{
    return put32(put32(p, (uint32_t)v), (uint32_t)(v >> 32));
}

/* --- encoding --- */

/* Record head and the fixed fields of its body; `rest` bytes of body follow, for which there is then room. */
static int put_head(struct evbuffer *out, enum link_type type, const uint8_t *fixed, size_t len, size_t rest)
{
    uint8_t head[LINK_HEAD_BYTES] = {(uint8_t)type};
    put32(head + 4, (uint32_t)(len + rest));
    if (evbuffer_expand(out, sizeof head + len + rest)) return -1;
    evbuffer_add(out, head, sizeof head);
    evbuffer_add(out, fixed, len);
    return 0;
}

static int put_json(struct evbuffer *out, enum link_type type, const json_t *body)
{
    char *text = json_text(body);
    int rc = put_head(out, type, (const uint8_t *)text, strlen(text), 0);
    free(text);
    return rc;
}

int link_put_hello(struct evbuffer *out, json_t *body)
{
    return put_json(out, LINK_HELLO, body);
}

int link_put_command(struct evbuffer *out, json_t *body)
{
    return put_json(out, LINK_COMMAND, body);
}

int link_put_frames(struct evbuffer *out, uint64_t position, uint32_t branch, uint32_t count,
                    const uint8_t *bytes, size_t len)
{
    uint8_t fixed[16];
    put32(put32(put64(fixed, position), branch), count);
    if (put_head(out, LINK_FRAMES, fixed, sizeof fixed, len)) return -1;
    return evbuffer_add(out, bytes, len);
}

int link_put_mark(struct evbuffer *out, const struct ring_mark *mark)
{
    uint8_t fixed[16];
    size_t kind = strlen(mark->kind);
    char *text = json_dumps(mark->body, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(MARK_DIGITS));
    if (!text) return -1;
    put32(put32(put64(fixed, mark->position), mark->branch), (uint32_t)kind);
    int rc = put_head(out, LINK_MARK, fixed, sizeof fixed, kind + strlen(text));
    if (rc == 0) evbuffer_add(out, mark->kind, kind);
    if (rc == 0) evbuffer_add(out, text, strlen(text));
    free(text);
    return rc;
}

static int put_position(struct evbuffer *out, enum link_type type, uint64_t position, uint32_t value)
{
    uint8_t fixed[12];
    put32(put64(fixed, position), value);
    return put_head(out, type, fixed, sizeof fixed, 0);
}

int link_put_branch(struct evbuffer *out, uint64_t position, uint32_t branch)
{
    return put_position(out, LINK_BRANCH, position, branch);
}

int link_put_clock(struct evbuffer *out, uint64_t position, uint32_t ns)
{
    return put_position(out, LINK_CLOCK, position, ns);
}

/* --- decoding --- */

struct link_decoder {
    uint8_t *bytes;
    size_t start, end, room; /* bytes[start, end) are not yet decoded */
    json_t *body;
    int greeted, broken;
};

struct link_decoder *link_decoder_new(void)
{
    return xcalloc(1, sizeof(struct link_decoder));
}

void link_decoder_free(struct link_decoder *d)
{
    if (!d) return;
    json_decref(d->body);
    free(d->bytes);
    free(d);
}

void link_decoder_feed(struct link_decoder *d, const void *bytes, size_t len)
{
    size_t kept = d->end - d->start;
    if (d->broken || len == 0) return;
    if (len > LINK_FEED_MAX || kept > LINK_HEAD_BYTES + LINK_BODY_MAX) {
        d->broken = 1;
        return;
    }
    if (d->start) memmove(d->bytes, d->bytes + d->start, kept);
    d->start = 0;
    d->end = kept;
    if (kept + len > d->room) {
        d->room = kept + len + 4096;
        d->bytes = xrealloc(d->bytes, d->room);
    }
    memcpy(d->bytes + kept, bytes, len);
    d->end += len;
}

static int json_object_of(struct link_decoder *d, const uint8_t *text, size_t len, size_t max, char **cause)
{
    d->body = json_parse(text, len, max, cause);
    if (!d->body) return -1;
    return json_is_object(d->body) ? 0 : cause_set(cause, "not a JSON object");
}

static int kind_of(const uint8_t *text, size_t len, char kind[32])
{
    if (len == 0 || len > RING_KIND_MAX) return -1;
    memcpy(kind, text, len);
    kind[len] = 0;
    return strspn(kind, "abcdefghijklmnopqrstuvwxyz0123456789-_") == len ? 0 : -1;
}

static int decode_mark(struct link_decoder *d, const uint8_t *body, size_t len, struct link_record *out,
                       char **cause)
{
    uint32_t kind = get32(body + 12);
    if (kind > len - 16 || kind_of(body + 16, kind, out->kind))
        return cause_set(cause, "a mark without a kind");
    return json_object_of(d, body + 16 + kind, len - 16 - kind, RING_MARK_MAX_BYTES, cause);
}

static int decode_frames(const uint8_t *body, size_t len, struct link_record *out, char **cause)
{
    out->count = get32(body + 12);
    out->bytes = body + 16;
    out->len = len - 16;
    if (out->count == 0 || out->count > LINK_FRAMES_MAX || out->len < (size_t)out->count * FRAME_MIN ||
        out->len > (size_t)out->count * MP3_FRAME_MAX_BYTES)
        return cause_set(cause, "%zu bytes can't be %u frames", out->len, out->count);
    return 0;
}

/* Least and greatest length of each type's body. */
static const struct {
    const char *name;
    size_t min, max;
} types[] = {
    [LINK_HELLO] = {"hello", 2, LINK_JSON_MAX},
    [LINK_FRAMES] = {"frames", 16, 16 + LINK_FRAMES_MAX *MP3_FRAME_MAX_BYTES},
    [LINK_MARK] = {"mark", 16, LINK_BODY_MAX},
    [LINK_BRANCH] = {"branch", 12, 12},
    [LINK_CLOCK] = {"clock", 12, 12},
    [LINK_COMMAND] = {"command", 2, LINK_JSON_MAX},
};

/* Length of the body, or -1: judged as soon as the head is there, before anything is kept for it. */
static int64_t decode_head(const struct link_decoder *d, const uint8_t *head, char **cause)
{
    uint32_t len = get32(head + 4);
    if (head[0] == 0 || head[0] >= sizeof types / sizeof *types || head[1] || head[2] || head[3])
        return cause_set(cause, "a record of an unknown type (%u)", head[0]);
    if (len < types[head[0]].min || len > types[head[0]].max || len > LINK_BODY_MAX)
        return cause_set(cause, "a %s record of %u bytes", types[head[0]].name, len);
    if ((head[0] == LINK_HELLO) == d->greeted)
        return cause_set(cause, d->greeted ? "a second hello" : "a %s record before hello",
                         types[head[0]].name);
    return len;
}

static int decode_body(struct link_decoder *d, const uint8_t *body, size_t len, struct link_record *out,
                       char **cause)
{
    if (out->type == LINK_HELLO || out->type == LINK_COMMAND)
        return json_object_of(d, body, len, LINK_JSON_MAX, cause);
    out->position = get64(body);
    if (out->position > RING_POSITION_MAX) return cause_set(cause, "a position out of range");
    if (out->type == LINK_CLOCK) {
        out->ns = get32(body + 8);
        return out->ns <= CLOCK_NS_LAST ? 0 : cause_set(cause, "a clock of %u ns", out->ns);
    }
    out->branch = get32(body + 8);
    if (out->type == LINK_MARK) return decode_mark(d, body, len, out, cause);
    return out->type == LINK_FRAMES ? decode_frames(body, len, out, cause) : 0;
}

int link_decoder_next(struct link_decoder *d, struct link_record *out, char **cause)
{
    json_decref(d->body);
    d->body = NULL;
    if (d->broken) return cause_set(cause, "the link is broken");
    memset(out, 0, sizeof *out);
    if (d->end - d->start < LINK_HEAD_BYTES) return 0;
    const uint8_t *head = d->bytes + d->start;
    int64_t len = decode_head(d, head, cause);
    if (len >= 0 && d->end - d->start - LINK_HEAD_BYTES < (size_t)len) return 0;
    out->type = head[0];
    if (len < 0 || decode_body(d, head + LINK_HEAD_BYTES, (size_t)len, out, cause)) {
        d->broken = 1;
        return -1;
    }
    out->body = d->body;
    d->greeted = 1;
    d->start += LINK_HEAD_BYTES + (size_t)len;
    return 1;
}
