/* json_flat takes and refuses what jansson does and reads the same values; json_write writes what jansson
 * reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/json.h"
#include "common/json_flat.h"
#include "common/json_write.h"
#include "common/mem.h"
#include "tests/json_same.h"

#define CELLS 512

static struct json_flat cells[CELLS];

/* Both take it and read the same, or both refuse it. */
static void check(const char *text, size_t len)
{
    char *copy = xmalloc(len + 1); /* to the byte, for the sanitizers */
    char *cause = NULL;
    memcpy(copy, text, len);
    json_t *expected = json_parse(text, len, 1 << 20, NULL);
    int result = json_flat_read(copy, len, cells, CELLS, &cause);
    if (!result != (expected != NULL)) {
        print_error("%.*s: %s\n", (int)len, text, cause ? cause : "is taken");
        fail();
    }
    if (expected && !json_same(cells, expected)) {
        print_error("%.*s: is not read as %s\n", (int)len, text, json_text(expected));
        fail();
    }
    if (!expected) assert_non_null(cause);
    json_decref(expected);
    free(cause);
    free(copy);
}

/* Every one of a list of texts. */
#define CHECK_ALL(texts) check_all(texts, sizeof(texts) / sizeof *(texts))
static void check_all(const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check(texts[i], strlen(texts[i]));
}

static void test_structure_as_jansson(void **state)
{
    (void)state;
    static const char *const structures[] = {
        "{}",
        "[]",
        " [ 1 , 2 ]\n",
        "null",
        "true",
        "false",
        "nul",
        "truex",
        "",
        " ",
        "{",
        "[",
        "[1",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1}{",
        "1 2",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}",
        "{\"a\":{\"a\":1},\"b\":[{\"a\":1},{\"a\":2}]}",
        "{\"\":0}",
        "[[],{},[{}]]",
        "[1]x",
        "\xef\xbb\xbf[]",
    };
    CHECK_ALL(structures);
    check("[1]\0", 4);
}

static void test_texts_as_jansson(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "\"",
        "\"a",
        "\"\\",
        "\"\\q\"",
        "\"\\u12\"",
        "\"\\u0000\"",
        "\"\\u0041\\u00e9\\u20ac\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\ude00\"",
        "\"\\ud83dx\"",
        "\"\\ud83d\\u0041\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\t\"",
        "\"\xc3\xa9\"",
        "\"\xc3\"",
        "\"\xff\"",
        "\"\xed\xa0\x80\"",
        "\"\xf0\x9f\x98\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "[\"\\u007f\",\"\x7f\"]",
    };
    CHECK_ALL(texts);
    check("\"a\0b\"", 5);
}

static void test_numbers_as_jansson(void **state)
{
    (void)state;
    static const char *const numbers[] = {
        "0",
        "-0",
        "00",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1.e1",
        "1e",
        "1e+",
        "1E5",
        "1e-5",
        "-1.5e+3",
        "0.1",
        "-0.0",
        "123456789012345",
        "0.000123",
        "0.00012300000000000001",
        "1.0621042940000001",
        "1e400",
        "-1e400",
        "1e-400",
        "5e-324",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999999",
        "123456789012345.6",
        "0.3",
        "2.5e22",
        "179769313486231570000.5",
    };
    CHECK_ALL(numbers);
}

static uint64_t seed = 20261121;

static uint64_t draw(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return (seed ^= seed << 17) % below;
}

static void test_broken_anywhere(void **state)
{
    (void)state;
    static const char whole[] =
        "{\"name\":\"relay "
        "\\u00e9\\\"\",\"seq\":12,\"up_s\":1.0621042940000001,\"lag\":-0.000123,\"none\":null,"
        "\"mounts\":[{\"name\":\"stream\",\"on\":true,\"n\":[1,2.5,-3e2]},{\"name\":\"l\xc3\xa9v\",\"on\":"
        "false}],"
        "\"bytes\":9223372036854775807,\"deep\":[[[{\"a\":[]}]]]}";
    static const char bits[] = "{}[]\",:\\u0d8e-+.0123456789tfn \t\x01\x80\xff";
    char text[2 * sizeof whole];
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int i = 0; i < 60000; i++) {
        size_t len = sizeof whole - 1;
        memcpy(text, whole, len);
        for (uint64_t times = 1 + draw(3); times; times--) {
            size_t at = (size_t)draw(len), n = (size_t)draw(12);
            switch (draw(3)) {
            case 0: /* another byte */
                text[at] = bits[draw(sizeof bits - 1)];
                break;
            case 1: /* some are gone */
                if (n > len - at) n = len - at;
                memmove(text + at, text + at + n, len - at - n);
                len -= n;
                break;
            default: /* one more */
                memmove(text + at + 1, text + at, len - at);
                text[at] = bits[draw(sizeof bits - 1)];
                len++;
            }
            if (!len) break;
        }
        check(text, len);
    }
}

static void test_reals(void **state)
{
    (void)state;
    char text[64];
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int i = 0; i < 20000; i++) {
        double value = ((double)draw(1000000000) - 5e8) / (double)(1 + draw(1000000));
        snprintf(text, sizeof text, "%.*f", (int)draw(20), value);
        check(text, strlen(text));
        snprintf(text, sizeof text, "%.*g", 1 + (int)draw(18), value);
        check(text, strlen(text));
    }
}

static void test_limits(void **state)
{
    (void)state;
    char text[64] = "[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]", many[] = "[1,2,3]", *cause = NULL;
    assert_int_equal(json_flat_read(text, strlen(text), cells, CELLS, &cause), -1);
    assert_string_equal(cause, "JSON byte 17: too deep");
    free(cause);
    strcpy(text, "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]");
    assert_int_equal(json_flat_read(text, strlen(text), cells, CELLS, NULL), 0);
    cause = NULL;
    assert_int_equal(json_flat_read(many, strlen(many), cells, 3, &cause), -1);
    assert_string_equal(cause, "JSON byte 5: too many values");
    free(cause);
}

static void test_members(void **state)
{
    (void)state;
    char text[] = "{\"i\":5,\"r\":2.5,\"t\":\"x\",\"b\":true,\"n\":null,\"a\":[1,[2],3],\"o\":{\"i\":7}}";
    int bad = 0;
    assert_int_equal(json_flat_read(text, strlen(text), cells, CELLS, NULL), 0);
    const struct json_flat *o = &cells[0], *a = json_flat_get(o, "a");
    assert_int_equal(json_flat_int_or(o, "i", 1, 0, 9, &bad), 5);
    assert_int_equal(json_flat_int_or(json_flat_get(o, "o"), "i", 1, 0, 9, &bad), 7);
    assert_true(json_flat_real_or(o, "r", 0, &bad) == 2.5 && json_flat_real_or(o, "i", 0, &bad) == 5);
    assert_string_equal(json_flat_str_or(o, "t", "", &bad), "x");
    assert_true(json_flat_bool_or(o, "b", false, &bad));
    assert_int_equal(json_flat_int_or(o, "n", 3, 0, 9, &bad), 3);
    assert_int_equal(json_flat_int_or(o, "none", 4, 0, 9, &bad), 4);
    assert_int_equal(json_flat_items(a), 3);
    assert_int_equal((a + 1)->integer, 1);
    const struct json_flat *second = a + 1 + (a + 1)->cells, *third = second + second->cells;
    assert_int_equal(json_flat_items(second), 1);
    assert_int_equal(third->integer, 3);
    assert_int_equal(bad, 0);
    /* of another type, out of range, of what is no object */
    assert_int_equal(json_flat_int_or(o, "r", 1, 0, 9, &bad), 1);
    assert_int_equal(json_flat_int_or(o, "i", 1, 6, 9, &bad), 1);
    assert_true(json_flat_real_or(o, "t", 8, &bad) == 8);
    assert_string_equal(json_flat_str_or(o, "i", "def", &bad), "def");
    assert_true(json_flat_bool_or(o, "i", true, &bad));
    assert_int_equal(bad, 5);
    assert_null(json_flat_get(a, "i"));
    assert_null(json_flat_get(NULL, "i"));
    assert_int_equal(json_flat_items(o), 0);
}

static void test_write(void **state)
{
    (void)state;
    struct json_write w = {0};
    for (int i = 0; i < 2; i++) { /* the second one takes the first one's place */
        json_write_begin(&w);
        json_write_open(&w, NULL, '{');
        json_write_bool(&w, "ok", 1);
        json_write_int(&w, "least", INT64_MIN);
        json_write_int(&w, "most", INT64_MAX);
        json_write_int(&w, "zero", 0);
        json_write_null(&w, "none");
        json_write_open(&w, "list", '[');
        json_write_str(&w, NULL, "[");
        json_write_str(&w, NULL, "a\"\\\n\x01\xc3\xa9\xff");
        json_write_open(&w, NULL, '{');
        json_write_close(&w, '}');
        json_write_open(&w, NULL, '[');
        json_write_close(&w, ']');
        json_write_close(&w, ']');
        json_write_bool(&w, "last", 0);
        json_write_close(&w, '}');
        assert_string_equal(w.text,
                            "{\"ok\":true,\"least\":-9223372036854775808,\"most\":9223372036854775807,"
                            "\"zero\":0,\"none\":null,\"list\":[\"[\",\"a\\\"\\\\\\u000a\\u0001\xc3\xa9"
                            "\xef\xbf\xbd\",{},[]],\"last\":false}");
        assert_int_equal(w.len, strlen(w.text));
    }
    json_t *read = json_parse(w.text, w.len, 4096, NULL);
    assert_non_null(read);
    json_decref(read);
    json_write_begin(&w);
    json_write_open(&w, NULL, '[');
    for (int i = 0; i < 5000; i++)
        json_write_int(&w, NULL, i);
    json_write_close(&w, ']');
    read = json_parse(w.text, w.len, 1 << 20, NULL);
    assert_int_equal(json_array_size(read), 5000);
    json_decref(read);
    json_write_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_structure_as_jansson),
        cmocka_unit_test(test_texts_as_jansson),
        cmocka_unit_test(test_numbers_as_jansson),
        cmocka_unit_test(test_broken_anywhere),
        cmocka_unit_test(test_reals),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
