/* Any bytes as JSON: json_flat takes what jansson takes, and reads the same. */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/json_flat.h"
#include "common/mem.h"
#include "tests/fuzz/fuzz.h"

#define CELLS 512

static struct json_flat cells[CELLS];

static int is_same(const struct json_flat *v, const json_t *o)
{
    const struct json_flat *m = v + 1;
    switch ((enum json_flat_type)v->type) {
    case JSON_FLAT_NULL:
        return json_is_null(o);
    case JSON_FLAT_FALSE:
        return json_is_false(o);
    case JSON_FLAT_TRUE:
        return json_is_true(o);
    case JSON_FLAT_INT:
        return json_is_integer(o) && json_integer_value(o) == v->integer;
    case JSON_FLAT_REAL:
        return json_is_real(o) && json_real_value(o) == v->real;
    case JSON_FLAT_TEXT:
        return json_is_string(o) && !strcmp(json_string_value(o), v->text);
    case JSON_FLAT_ARRAY:
        if (json_array_size(o) != v->count) return 0;
        for (uint32_t i = 0; i < v->count; i++, m += m->cells) {
            if (!is_same(m, json_array_get(o, i))) return 0;
        }
        return json_is_array(o);
    case JSON_FLAT_OBJECT:
        if (json_object_size(o) != v->count) return 0;
        for (uint32_t i = 0; i < v->count; i++, m += m->cells) {
            if (!is_same(m, json_object_getn(o, m->key, m->key_len))) return 0;
        }
        return json_is_object(o);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    char *copy = xmalloc(len + 1), *cause = NULL; /* to the byte, for the sanitizers */
    memcpy(copy, bytes, len);
    json_t *expected = json_parse(bytes, len, len, NULL);
    int result = json_flat_read(copy, len, cells, CELLS, &cause);
    if (!result && !(expected && is_same(cells, expected))) abort();
    if (result && !cause) abort();
    /* refused though jansson takes it: it is deep, or long, or has a NUL, where jansson stops reading */
    if (result && expected && !memchr(bytes, 0, len) && !strstr(cause, "too deep") &&
        !strstr(cause, "too many values"))
        abort();
    json_decref(expected);
    free(cause);
    free(copy);
    return 0;
}
