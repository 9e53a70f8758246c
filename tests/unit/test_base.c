/* mem, log, json, clock */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"

static void mem_takes_zero_and_formats(void **state)
{
    (void)state;
    void *p = xmalloc(0), *q = xcalloc(0, 8);
    assert_non_null(p);
    assert_non_null(q);
    free(p);
    free(q);
    char *s = xasprintf("%d-%s", 7, "x"), *n = xstrndup("abcdef", 3);
    assert_string_equal(s, "7-x");
    assert_string_equal(n, "abc");
    free(s);
    free(n);
    char *cause = NULL;
    assert_int_equal(cause_set(&cause, "%s: %d", "file", 3), -1);
    assert_string_equal(cause, "file: 3");
    free(cause);
    assert_int_equal(cause_set(NULL, "nobody asks"), -1);
}

/* What f writes to standard error. */
static char *captured(void (*f)(void))
{
    static char text[16384];
    FILE *file = tmpfile();
    assert_non_null(file);
    int saved = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    f();
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void log_hostile(void)
{
    log_init("test", LOG_LEVEL_INFO);
    log_info("sub", "a\nb\x1b[31m\x7f é %s", "c\r");
    log_debug("sub", "below the level");
}

static void log_long(void)
{
    char *text = xmalloc(10001);
    memset(text, '\n', 10000);
    text[10000] = '\0';
    log_error("sub", "%s", text);
    free(text);
}

static void log_escapes_and_ends_lines(void **state)
{
    (void)state;
    unsetenv("JOURNAL_STREAM");
    char *line = captured(log_hostile);
    assert_non_null(strstr(line, "Z INFO test sub: a\\x0ab\\x1b[31m\\x7f é c\\x0d\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    assert_null(strstr(line, "below"));
    line = captured(log_long);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    assert_true(strlen(line) < 3000);
}

static void log_to_this_journal(void)
{
    struct stat st;
    char name[64];
    fstat(STDERR_FILENO, &st);
    snprintf(name, sizeof name, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", name, 1);
    log_init("test", LOG_LEVEL_INFO);
    log_warn("sub", "hello");
    unsetenv("JOURNAL_STREAM");
}

static void log_to_other_journal(void)
{
    setenv("JOURNAL_STREAM", "1:1", 1);
    log_init("test", LOG_LEVEL_INFO);
    log_warn("sub", "hello");
    unsetenv("JOURNAL_STREAM");
}

static void log_knows_the_journal(void **state)
{
    (void)state;
    assert_string_equal(captured(log_to_this_journal), "<4>test sub: hello\n");
    assert_non_null(strstr(captured(log_to_other_journal), "WARN test sub: hello\n"));
    enum log_level level;
    for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
        assert_int_equal(log_level_parse(log_level_name((enum log_level)i), &level), 0);
        assert_int_equal(level, i);
    }
    assert_int_equal(log_level_parse("loud", &level), -1);
}

static void json_members_are_checked(void **state)
{
    (void)state;
    char *cause = NULL;
    const char *text = "{\"i\":5,\"r\":1.5,\"b\":true,\"s\":\"x\",\"n\":null}";
    json_t *o = json_parse(text, strlen(text), 100, &cause);
    assert_non_null(o);
    int bad = 0;
    assert_int_equal(json_int_or(o, "i", 1, 0, 10, &bad), 5);
    assert_int_equal(json_int_or(o, "n", 1, 0, 10, &bad), 1);
    assert_int_equal(json_int_or(o, "absent", 2, 0, 1, &bad), 2);
    assert_true(json_real_or(o, "r", 0, &bad) == 1.5 && json_real_or(o, "i", 0, &bad) == 5);
    assert_true(json_bool_or(o, "b", false, &bad));
    assert_string_equal(json_str_or(o, "s", NULL, &bad), "x");
    assert_int_equal(bad, 0);
    assert_int_equal(json_int_or(o, "i", 1, 6, 10, &bad), 1);
    assert_int_equal(json_int_or(o, "r", 1, 0, 10, &bad), 1);
    assert_true(json_real_or(o, "s", 3, &bad) == 3);
    assert_false(json_bool_or(o, "i", false, &bad));
    assert_null(json_str_or(o, "i", NULL, &bad));
    assert_int_equal(bad, 5);
    assert_int_equal(json_int_or(o, "i", 1, 6, 10, NULL), 1);
    char out[2];
    assert_int_equal(json_copy_text(o, "s", out, 2, NULL), 0);
    assert_string_equal(out, "x");
    assert_int_equal(json_copy_text(o, "s", out, 1, &cause), -1); /* no room for its end */
    assert_string_equal(cause, "s must be a text of at most 0 bytes");
    free(cause);
    assert_int_equal(json_copy_text(o, "i", out, 2, NULL), -1);
    assert_int_equal(json_copy_text(o, "absent", out, 2, NULL), -1);
    json_decref(o);

    assert_null(json_parse(text, strlen(text), 10, &cause));
    assert_non_null(strstr(cause, "at most 10"));
    free(cause);
    static const char *const refused[] = {"{\"a\":1,\"a\":2}", "{} x", "", "[1,]", "\"\xff\""};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        cause = NULL;
        assert_null(json_parse(refused[i], strlen(refused[i]), 100, &cause));
        assert_non_null(cause);
        free(cause);
    }
}

static void json_text_keeps_values(void **state)
{
    (void)state;
    static const double values[] = {0.1, 1.0 / 3, 1e300, -2.5e-9, 123456789.123456789};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        json_t *v = json_finite(values[i]);
        char *text = json_text(v);
        assert_true(strtod(text, NULL) == values[i]);
        free(text);
        json_decref(v);
    }
    assert_true(json_is_null(json_finite(NAN)) && json_is_null(json_finite(INFINITY)));
    /* valid sequences pass, each bad byte becomes U+FFFD: cut short, overlong, surrogate, beyond U+10FFFF */
    static const char *const pairs[][2] = {
        {"a\xc3\xa9\xe2\x82\xac\xf0\x9f\x8e\xb5", "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x8e\xb5"},
        {"\xe9", "\xef\xbf\xbd"},
        {"x\xc3", "x\xef\xbf\xbd"},
        {"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        json_t *v = json_text_lossy(pairs[i][0]);
        assert_non_null(v);
        assert_string_equal(json_string_value(v), pairs[i][1]);
        json_decref(v);
    }
}

static void clock_can_be_replaced(void **state)
{
    (void)state;
    int64_t a = clock_boot_ns(), b = clock_boot_ns();
    assert_true(a > 0 && b >= a);
    assert_true(clock_wall_ns() > INT64_C(1600000000) * CLOCK_NS_PER_S);
    int64_t boot = 5, wall = 7;
    clock_fake(&boot, &wall);
    assert_int_equal(clock_boot_ns(), 5);
    wall = 8;
    assert_int_equal(clock_wall_ns(), 8);
    clock_fake(NULL, NULL);
    assert_true(clock_boot_ns() >= b);
    assert_true(strlen(clock_boot_id()) > 0);
    assert_string_equal(clock_boot_id(), clock_boot_id());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mem_takes_zero_and_formats), cmocka_unit_test(log_escapes_and_ends_lines),
        cmocka_unit_test(log_knows_the_journal),      cmocka_unit_test(json_members_are_checked),
        cmocka_unit_test(json_text_keeps_values),     cmocka_unit_test(clock_can_be_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
