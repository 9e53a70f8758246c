/* json_flat: a JSON text read in place into cells that the caller brings: nothing is allocated. For what
 * comes by the thousand each second, where jansson's tree of objects costs more than all that is done with
 * it.
 *
 * As strict as json_parse (RFC 8259, UTF-8, no key twice in an object, no U+0000, integers of 64 bits), but
 * for depth: JSON_FLAT_DEPTH. A value's cell is followed by those of its members or items, each with its own
 * behind it, so that the whole is one array in the order of the text. */
#ifndef FOREVER_COMMON_JSON_FLAT_H
#define FOREVER_COMMON_JSON_FLAT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define JSON_FLAT_DEPTH 16

enum json_flat_type {
    JSON_FLAT_NULL,
    JSON_FLAT_FALSE,
    JSON_FLAT_TRUE,
    JSON_FLAT_INT,
    JSON_FLAT_REAL,
    JSON_FLAT_TEXT,
    JSON_FLAT_ARRAY,
    JSON_FLAT_OBJECT
};

struct json_flat {
    const char *key; /* of a member, ended by NUL; NULL */
    union {
        int64_t integer;
        double real;
        const char *text; /* ended by NUL */
        uint32_t count;   /* members or items */
    };
    uint32_t key_len;
    uint32_t cells : 28; /* itself and all below it: so far it is to the next sibling */
    uint32_t type : 4;
};

/* Exactly one value. text is written to (texts are unescaped where they stand), text[len] too, and has to
 * outlive the cells. 0, or -1 with *cause: no JSON, or more than room values. */
int json_flat_read(char *text, size_t len, struct json_flat *cells, size_t room, char **cause);

/* NULL when it is none of an object's members. */
const struct json_flat *json_flat_find(const struct json_flat *object, const char *key, size_t len);

/* Here, so that the length of a key that is known is known. */
static inline const struct json_flat *json_flat_get(const struct json_flat *object, const char *key)
{
    return json_flat_find(object, key, strlen(key));
}

/* How many; 0 when it is no array. The first item is array + 1, the next of an item item + item->cells. */
static inline size_t json_flat_items(const struct json_flat *array)
{
    return array && array->type == JSON_FLAT_ARRAY ? array->count : 0;
}

/* What the four below ask for: NULL when it is not there, or null. */
static inline const struct json_flat *json_flat_member(const struct json_flat *object, const char *key)
{
    const struct json_flat *value = json_flat_get(object, key);
    return value && value->type == JSON_FLAT_NULL ? NULL : value;
}

/* As json_int_or and its like (common/json.h). */

static inline int64_t json_flat_int_or(const struct json_flat *object, const char *key, int64_t def,
                                       int64_t min, int64_t max, int *bad)
{
    const struct json_flat *value = json_flat_member(object, key);
    if (!value) return def;
    if (value->type == JSON_FLAT_INT && value->integer >= min && value->integer <= max) return value->integer;
    if (bad) ++*bad;
    return def;
}

static inline double json_flat_real_or(const struct json_flat *object, const char *key, double def, int *bad)
{
    const struct json_flat *value = json_flat_member(object, key);
    if (!value) return def;
    if (value->type == JSON_FLAT_REAL) return value->real;
    if (value->type == JSON_FLAT_INT) return (double)value->integer;
    if (bad) ++*bad;
    return def;
}

static inline bool json_flat_bool_or(const struct json_flat *object, const char *key, bool def, int *bad)
{
    const struct json_flat *value = json_flat_member(object, key);
    if (!value) return def;
    if (value->type == JSON_FLAT_TRUE || value->type == JSON_FLAT_FALSE) return value->type == JSON_FLAT_TRUE;
    if (bad) ++*bad;
    return def;
}

static inline const char *json_flat_str_or(const struct json_flat *object, const char *key, const char *def,
                                           int *bad)
{
    const struct json_flat *value = json_flat_member(object, key);
    if (!value) return def;
    if (value->type == JSON_FLAT_TEXT) return value->text;
    if (bad) ++*bad;
    return def;
}

#endif
