#include "common/json_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"

#define ROOM_LEAST 1024

static char *reserve(struct json_write *w, size_t more)
{
    if (w->len + more + 1 > w->room) {
        w->room = w->room ? w->room : ROOM_LEAST;
        while (w->len + more + 1 > w->room)
            w->room *= 2;
        w->text = xrealloc(w->text, w->room);
    }
    return w->text + w->len;
}

static void put(struct json_write *w, const char *bytes, size_t len)
{
    memcpy(reserve(w, len), bytes, len);
    w->len += len;
    w->text[w->len] = '\0';
}

static void put_text(struct json_write *w, const char *text)
{
    /* a byte takes six at most */
    char *start = reserve(w, strlen(text) * 6 + 2), *to = start;
    *to++ = '"';
    for (const unsigned char *c = (const unsigned char *)text; *c;) {
        if (*c >= ' ' && *c < 0x80 && *c != '"' && *c != '\\') {
            *to++ = (char)*c++;
            continue;
        }
        size_t n = utf8_len(c);
        if (*c == '"' || *c == '\\') {
            *to++ = '\\';
            *to++ = (char)*c++;
        } else if (*c < ' ') {
            to += sprintf(to, "\\u%04x", *c++);
        } else if (n) {
            memcpy(to, c, n);
            to += n;
            c += n;
        } else {
            memcpy(to, "\xef\xbf\xbd", 3);
            to += 3;
            c++;
        }
    }
    *to++ = '"';
    *to = '\0';
    w->len += (size_t)(to - start);
}

static void put_key(struct json_write *w, const char *key)
{
    char last = w->len ? w->text[w->len - 1] : '[';
    if (last != '[' && last != '{') put(w, ",", 1);
    if (!key) return;
    put_text(w, key);
    put(w, ":", 1);
}

void json_write_begin(struct json_write *w)
{
    w->len = 0;
    *reserve(w, 0) = '\0';
}

void json_write_free(struct json_write *w)
{
    free(w->text);
    *w = (struct json_write){0};
}

void json_write_open(struct json_write *w, const char *key, char bracket)
{
    put_key(w, key);
    put(w, &bracket, 1);
}

void json_write_close(struct json_write *w, char bracket)
{
    put(w, &bracket, 1);
}

void json_write_int(struct json_write *w, const char *key, int64_t value)
{
    char digits[24], *at = digits + sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    put_key(w, key);
    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0) *--at = '-';
    put(w, at, (size_t)(digits + sizeof digits - at));
}

void json_write_bool(struct json_write *w, const char *key, int value)
{
    put_key(w, key);
    put(w, value ? "true" : "false", value ? 4 : 5);
}

void json_write_null(struct json_write *w, const char *key)
{
    put_key(w, key);
    put(w, "null", 4);
}

void json_write_str(struct json_write *w, const char *key, const char *value)
{
    put_key(w, key);
    put_text(w, value);
}
