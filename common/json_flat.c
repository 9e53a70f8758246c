#include "common/json_flat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"

#define CELLS_MAX    ((1u << 28) - 1)
#define EXACT_DIGITS 15 /* so many are a double exactly, and so is a power of ten up to 10^22 */
#define EXACT_POWER  22

struct reader {
    char *at, *end;
    struct json_flat *cells;
    size_t count, room;
    const char *why;
};

static int fail(struct reader *r, const char *why)
{
    if (!r->why) r->why = why;
    return -1;
}

static void skip_space(struct reader *r)
{
    while (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')
        r->at++;
}

/* Texts */

static int hex4(const char *s)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        int c = (unsigned char)s[i], low = c | 0x20;
        int digit = c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

static char *put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
        return to;
    }
    if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
    }
    *to++ = (char)(0x80 | (c & 0x3f));
    return to;
}

/* Behind a backslash; what it means takes no more room than how it is written. */
static char *read_escape(struct reader *r, char *to)
{
    static const char from[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    char c = *r->at++;
    const char *known = c ? strchr(from, c) : NULL;
    if (known) {
        *to++ = meant[known - from];
        return to;
    }
    int unit = c == 'u' ? hex4(r->at) : -1;
    if (unit <= 0) return NULL;
    r->at += 4;
    uint32_t point = (uint32_t)unit;
    if (point >= 0xd800 && point <= 0xdbff) {
        int low = r->at[0] == '\\' && r->at[1] == 'u' ? hex4(r->at + 2) : -1;
        if (low < 0xdc00 || low > 0xdfff) return NULL;
        r->at += 6;
        point = 0x10000 + ((point - 0xd800) << 10 | ((uint32_t)low - 0xdc00));
    } else if (point >= 0xdc00 && point <= 0xdfff) {
        return NULL;
    }
    return put_utf8(to, point);
}

/* At its opening quote: the text, ended by NUL. NULL when it is none. */
static const char *read_text(struct reader *r, uint32_t *len)
{
    char *start = ++r->at, *to = start;
    for (;;) {
        unsigned char c = (unsigned char)*r->at;
        if (c == '"') break;
        if (c < 0x20) return NULL; /* the end too */
        if (c == '\\') {
            r->at++;
            to = read_escape(r, to);
            if (!to) return NULL;
        } else if (c < 0x80) {
            *to++ = *r->at++;
        } else {
            size_t n = utf8_len((const unsigned char *)r->at);
            if (!n) return NULL;
            memmove(to, r->at, n);
            to += n;
            r->at += n;
        }
    }
    r->at++;
    *to = '\0';
    *len = (uint32_t)(to - start);
    return start;
}

/* Numbers */

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* 0, or -1 when it is more than 64 bits hold. */
static int read_integer(const char *text, const char *end, int64_t *out)
{
    uint64_t sum = 0, most = INT64_MAX;
    int negative = *text == '-';
    most += (uint64_t)negative;
    for (const char *c = text + negative; c < end; c++) {
        uint64_t digit = (uint64_t)(*c - '0');
        if (sum > (most - digit) / 10) return -1;
        sum = sum * 10 + digit;
    }
    *out = negative ? (int64_t)(0 - sum) : (int64_t)sum;
    return 0;
}

/* Few digits and a small exponent: two exact doubles, and so one rounding, as strtod's (Clinger 1990). */
static int read_real_exactly(const char *text, const char *end, double *out)
{
    static const double powers[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    int64_t digits = 0;
    int count = 0, behind = 0, point = 0, negative = *text == '-';
    for (const char *c = text + negative; c < end; c++) {
        if (*c == '.') {
            point = 1;
        } else if (is_digit(*c)) {
            digits = digits * 10 + (*c - '0');
            behind += point;
            if (digits && ++count > EXACT_DIGITS) return -1;
        } else {
            return -1;
        }
    }
    if (behind > EXACT_POWER) return -1;
    double value = (double)digits / powers[behind];
    *out = negative ? -value : value;
    return 0;
}

static int read_number(struct reader *r, struct json_flat *cell)
{
    char *start = r->at, *c = start + (*start == '-');
    int real = 0;
    if (!is_digit(*c)) return fail(r, "no value");
    if (*c == '0')
        c++;
    else
        while (is_digit(*c))
            c++;
    if (*c == '.') {
        real = 1;
        if (!is_digit(*++c)) return fail(r, "a broken number");
        while (is_digit(*c))
            c++;
    }
    if (*c == 'e' || *c == 'E') {
        real = 1;
        c++;
        if (*c == '+' || *c == '-') c++;
        if (!is_digit(*c)) return fail(r, "a broken number");
        while (is_digit(*c))
            c++;
    }
    r->at = c;
    cell->type = real ? JSON_FLAT_REAL : JSON_FLAT_INT;
    if (!real) return read_integer(start, c, &cell->integer) ? fail(r, "an integer of more than 64 bits") : 0;
    if (!read_real_exactly(start, c, &cell->real)) return 0;
    cell->real = strtod(start, NULL);
    return isfinite(cell->real) ? 0 : fail(r, "a number out of range");
}

/* Values */

static int read_value(struct reader *r, unsigned depth);

static int is_twice(const struct json_flat *object, uint32_t members, const char *key, uint32_t len)
{
    const struct json_flat *m = object + 1;
    for (uint32_t i = 0; i < members; i++, m += m->cells) {
        if (m->key_len == len && !memcmp(m->key, key, len)) return 1;
    }
    return 0;
}

static int read_member(struct reader *r, size_t object, unsigned depth)
{
    uint32_t len;
    skip_space(r);
    const char *key = *r->at == '"' ? read_text(r, &len) : NULL;
    if (!key) return fail(r, "no key");
    if (is_twice(&r->cells[object], r->cells[object].count, key, len)) return fail(r, "a key twice");
    skip_space(r);
    if (*r->at++ != ':') return fail(r, "no colon");
    size_t at = r->count;
    if (read_value(r, depth)) return -1;
    r->cells[at].key = key;
    r->cells[at].key_len = len;
    return 0;
}

/* At the opening bracket. */
static int read_several(struct reader *r, size_t at, unsigned depth)
{
    char end = *r->at++ == '{' ? '}' : ']';
    r->cells[at].type = end == '}' ? JSON_FLAT_OBJECT : JSON_FLAT_ARRAY;
    r->cells[at].count = 0;
    if (depth == JSON_FLAT_DEPTH) return fail(r, "too deep");
    skip_space(r);
    if (*r->at == end) {
        r->at++;
        return 0;
    }
    for (;;) {
        if (end == '}' ? read_member(r, at, depth + 1) : read_value(r, depth + 1)) return -1;
        r->cells[at].count++;
        skip_space(r);
        char c = *r->at++;
        if (c == end) return 0;
        if (c != ',') return fail(r, "no comma");
    }
}

static int read_word(struct reader *r, struct json_flat *cell, const char *word, enum json_flat_type type)
{
    size_t len = strlen(word);
    if (strncmp(r->at, word, len)) return fail(r, "no value");
    r->at += len;
    cell->type = type;
    return 0;
}

static int read_value(struct reader *r, unsigned depth)
{
    int result;
    uint32_t len;
    size_t at = r->count;
    if (at == r->room) return fail(r, "too many values");
    struct json_flat *cell = &r->cells[r->count++];
    *cell = (struct json_flat){.cells = 1};
    skip_space(r);
    switch (*r->at) {
    case '{':
    case '[':
        result = read_several(r, at, depth);
        break;
    case '"':
        cell->type = JSON_FLAT_TEXT;
        cell->text = read_text(r, &len);
        result = cell->text ? 0 : fail(r, "a broken text");
        break;
    case 't':
        result = read_word(r, cell, "true", JSON_FLAT_TRUE);
        break;
    case 'f':
        result = read_word(r, cell, "false", JSON_FLAT_FALSE);
        break;
    case 'n':
        result = read_word(r, cell, "null", JSON_FLAT_NULL);
        break;
    default:
        result = read_number(r, cell);
    }
    cell->cells = (uint32_t)(r->count - at) & CELLS_MAX;
    return result;
}

int json_flat_read(char *text, size_t len, struct json_flat *cells, size_t room, char **cause)
{
    struct reader r = {
        .at = text, .end = text + len, .cells = cells, .room = room < CELLS_MAX ? room : CELLS_MAX};
    text[len] = '\0'; /* no rule above steps over one */
    int result = read_value(&r, 0);
    if (!result) {
        skip_space(&r);
        if (r.at == r.end) return 0;
        fail(&r, "more than one value");
    }
    size_t at = (size_t)(r.at - text);
    return cause_set(cause, "JSON byte %zu: %s", at < len ? at : len, r.why);
}

const struct json_flat *json_flat_find(const struct json_flat *object, const char *key, size_t len)
{
    if (!object || object->type != JSON_FLAT_OBJECT) return NULL;
    const struct json_flat *m = object + 1;
    for (uint32_t i = 0; i < object->count; i++, m += m->cells) {
        if (m->key_len == len && !memcmp(m->key, key, len)) return m;
    }
    return NULL;
}
