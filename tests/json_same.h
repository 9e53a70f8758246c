/* Whether json_flat has read what jansson did. */
#ifndef FOREVER_TESTS_JSON_SAME_H
#define FOREVER_TESTS_JSON_SAME_H
#include <string.h>

#include "common/json.h"
#include "common/json_flat.h"

/* 1: the same value, all below it too. */
static inline int json_same(const struct json_flat *v, const json_t *o)
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
        if (!json_is_array(o) || json_array_size(o) != v->count) return 0;
        for (uint32_t i = 0; i < v->count; i++, m += m->cells) {
            if (!json_same(m, json_array_get(o, i))) return 0;
        }
        return 1;
    case JSON_FLAT_OBJECT:
        if (!json_is_object(o) || json_object_size(o) != v->count) return 0;
        for (uint32_t i = 0; i < v->count; i++, m += m->cells) {
            if (!json_same(m, json_object_getn(o, m->key, m->key_len))) return 0;
        }
        return 1;
    }
    return 0;
}

#endif
