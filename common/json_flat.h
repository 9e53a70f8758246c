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
const struct json_flat *json_flat_get(const struct json_flat *object, const char *key);
/* How many; 0 when it is no array. The first item is array + 1, the next of an item item + item->cells. */
size_t json_flat_items(const struct json_flat *array);

/* As json_int_or and its like (common/json.h). */
int64_t json_flat_int_or(const struct json_flat *object, const char *key, int64_t def, int64_t min,
                         int64_t max, int *bad);
double json_flat_real_or(const struct json_flat *object, const char *key, double def, int *bad);
bool json_flat_bool_or(const struct json_flat *object, const char *key, bool def, int *bad);
const char *json_flat_str_or(const struct json_flat *object, const char *key, const char *def, int *bad);

#endif
