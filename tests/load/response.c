#include "tests/load/response.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *value_of(const char *line, const char *name)
{
    size_t n = strlen(name);
    if (strncasecmp(line, name, n) || line[n] != ':') return NULL;
    line += n + 1;
    return line + strspn(line, " \t");
}

static void read_line(const char *line, struct load_head *out)
{
    const char *v;
    if ((v = value_of(line, "icy-br")) || (v = value_of(line, "ice-bitrate"))) {
        out->kbps = (unsigned)strtoul(v, NULL, 10);
    } else if ((v = value_of(line, "X-Forever-Position"))) {
        out->has_position = *v >= '0' && *v <= '9';
        out->position = strtoull(v, NULL, 10);
    } else if ((v = value_of(line, "Content-Range"))) {
        out->has_range = !strncasecmp(v, "bytes ", 6);
        if (out->has_range) out->range = strtoull(v + 6, NULL, 10);
    } else if ((v = value_of(line, "Transfer-Encoding"))) {
        out->chunked = !strcasecmp(v, "chunked");
    } else if ((v = value_of(line, "icy-metaint"))) {
        out->metaint = (uint32_t)strtoul(v, NULL, 10);
    } else if ((v = value_of(line, "Content-Length"))) {
        out->length = strtoll(v, NULL, 10);
    } else if ((v = value_of(line, "Retry-After"))) {
        out->retry_after_s = strtod(v, NULL);
    } else if ((v = value_of(line, "Location"))) {
        snprintf(out->location, sizeof out->location, "%s", v);
    }
}

int load_head_parse(const char *text, size_t len, struct load_head *out)
{
    const char *end = memmem(text, len, "\r\n\r\n", 4);
    if (!end) return len >= LOAD_HEADER_MAX ? -1 : 0;
    memset(out, 0, sizeof *out);
    out->length = -1;
    out->retry_after_s = -1;
    int minor;
    if (sscanf(text, "HTTP/1.%d %d", &minor, &out->status) != 2 && sscanf(text, "ICY %d", &out->status) != 1)
        return -1;
    for (const char *at = text; at < end;) {
        const char *stop = memmem(at, (size_t)(end + 2 - at), "\r\n", 2);
        char line[1200];
        size_t n = (size_t)(stop - at);
        if (n < sizeof line) {
            memcpy(line, at, n);
            line[n] = '\0';
            read_line(line, out);
        }
        at = stop + 2;
    }
    return (int)(end + 4 - text);
}

enum { SIZE, SIZE_LINE, DATA, DATA_END, TRAILER }; /* of chunked; SIZE_LINE: extensions and the line's end */

void load_body_start(struct load_body *b, const struct load_head *h)
{
    memset(b, 0, sizeof *b);
    b->chunked = h->chunked;
    b->metaint = b->audio_left = h->metaint;
}

/* One byte of chunk framing. 0, or -1. */
static int frame_byte(struct load_body *b, uint8_t c)
{
    switch (b->state) {
    case SIZE: {
        const char *digits = "0123456789abcdef", *d = c ? strchr(digits, c | (c >= 'A' ? 0x20 : 0)) : NULL;
        if (d && b->size_digits < 7) {
            b->chunk_left = b->chunk_left * 16 + (uint32_t)(d - digits);
            b->size_digits++;
            return 0;
        }
        if (!b->size_digits || (c != '\r' && c != ';')) return -1;
        b->state = SIZE_LINE;
        return 0;
    }
    case SIZE_LINE:
        if (c == '\n') {
            b->state = b->chunk_left ? DATA : TRAILER;
            b->ended = b->chunk_left == 0;
        }
        return 0;
    case DATA_END:
        if (c == '\n') {
            b->state = SIZE;
            b->size_digits = 0;
            b->chunk_left = 0;
        }
        return c == '\n' || c == '\r' ? 0 : -1;
    }
    return 0; /* what comes after the last chunk */
}

/* Of n bytes of the body: how many are audio, at their beginning; else metadata is taken: *taken bytes. */
static size_t audio_at(struct load_body *b, const uint8_t *bytes, size_t n, size_t *taken)
{
    *taken = n;
    if (!b->metaint) return n;
    if (b->meta_left) {
        if (*taken > b->meta_left) *taken = b->meta_left;
        b->meta_left -= (uint32_t)*taken;
        return 0;
    }
    if (b->audio_left == 0) {
        b->meta_left = bytes[0] * 16u;
        b->audio_left = b->metaint;
        *taken = 1;
        return 0;
    }
    if (*taken > b->audio_left) *taken = b->audio_left;
    b->audio_left -= (uint32_t)*taken;
    return *taken;
}

long load_body_next(struct load_body *b, const uint8_t **bytes, size_t *len, const uint8_t **audio)
{
    while (*len) {
        if (b->chunked && b->state != DATA) {
            if (frame_byte(b, *(*bytes)++)) return -1;
            --*len;
            continue;
        }
        size_t n = b->chunked && b->chunk_left < *len ? b->chunk_left : *len, taken;
        size_t found = audio_at(b, *bytes, n, &taken);
        *audio = *bytes;
        *bytes += taken;
        *len -= taken;
        if (b->chunked && (b->chunk_left -= (uint32_t)taken) == 0) b->state = DATA_END;
        if (found) return (long)found;
    }
    return 0;
}
