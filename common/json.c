#include "common/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

json_t *json_parse(const void *text, size_t len, size_t max, char **cause)
{
    if (len > max) {
        cause_set(cause, "JSON of %zu bytes, at most %zu are taken", len, max);
        return NULL;
    }
    json_error_t error;
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!value) cause_set(cause, "JSON line %d column %d: %s", error.line, error.column, error.text);
    return value;
}

char *json_text(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    return text ? text : xstrdup("null");
}

static const json_t *member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static void count(int *bad)
{
    if (bad) ++*bad;
}

int64_t json_int_or(const json_t *object, const char *key, int64_t def, int64_t min, int64_t max, int *bad)
{
    const json_t *value = member(object, key);
    if (!value) return def;
    if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max) {
        count(bad);
        return def;
    }
    return json_integer_value(value);
}

double json_real_or(const json_t *object, const char *key, double def, int *bad)
{
    const json_t *value = member(object, key);
    if (!value) return def;
    if (!json_is_number(value)) {
        count(bad);
        return def;
    }
    return json_number_value(value);
}

bool json_bool_or(const json_t *object, const char *key, bool def, int *bad)
{
    const json_t *value = member(object, key);
    if (!value) return def;
    if (!json_is_boolean(value)) {
        count(bad);
        return def;
    }
    return json_is_true(value);
}

const char *json_str_or(const json_t *object, const char *key, const char *def, int *bad)
{
    const json_t *value = member(object, key);
    if (!value) return def;
    if (!json_is_string(value)) {
        count(bad);
        return def;
    }
    return json_string_value(value);
}

int json_copy_text(const json_t *object, const char *key, char *out, size_t size, char **cause)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (!text || strlen(text) >= size)
        return cause_set(cause, "%s must be a text of at most %zu bytes", key, size - 1);
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

json_t *json_finite(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* Unicode 15, table 3-7 */
size_t utf8_len(const unsigned char *s)
{
    if (s[0] < 0x80) return 1;
    size_t n = s[0] >= 0xc2 && s[0] <= 0xdf   ? 2
               : (s[0] & 0xf0) == 0xe0        ? 3
               : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                              : 0;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
    }
    if (n == 3 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))) return 0;
    if (n == 4 && ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))) return 0;
    return n;
}

json_t *json_text_lossy(const char *text)
{
    char *out = xmalloc(strlen(text) * 3 + 1);
    size_t n = 0;
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        size_t k = utf8_len(s);
        if (k) {
            memcpy(out + n, s, k);
            n += k;
            s += k;
        } else {
            out[n++] = (char)0xef;
            out[n++] = (char)0xbf;
            out[n++] = (char)0xbd;
            s++;
        }
    }
    json_t *value = json_stringn(out, n);
    free(out);
    return value;
}
