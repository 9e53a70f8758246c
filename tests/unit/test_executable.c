/* executable: a replaced program is noticed once, when it is whole and can be run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "root/air/executable.h"
#include "tests/unit/remove_tree.h"

static char dir[64], path[128], beside[128];
static struct executable e;

static void put(const char *name, const char *text, mode_t mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/forever-executable-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/work", dir);
    snprintf(beside, sizeof beside, "%s/work.new", dir);
    put(path, "first", 0700);
    executable_init(&e, path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return remove_tree(dir);
}

static void one_that_stays_is_no_news(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(executable_look(&e), 0);
    /* gone for a moment, as while it is installed: the same one comes back */
    assert_int_equal(rename(path, beside), 0);
    assert_int_equal(executable_look(&e), 0);
    assert_int_equal(rename(beside, path), 0);
    assert_int_equal(executable_look(&e), 0);
    assert_int_equal(executable_look(&e), 0);
}

static void another_one_is_told_once(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) { /* another file of the same size is another one, too */
        put(beside, "other", 0700);
        assert_int_equal(rename(beside, path), 0);
        assert_int_equal(executable_look(&e), 0); /* it may change yet */
        assert_int_equal(executable_look(&e), 1);
        assert_int_equal(executable_look(&e), 0);
    }
}

static void one_that_is_being_written_is_waited_for(void **state)
{
    (void)state;
    static const char *const parts[] = {"a", "ab", "abc"};
    for (int i = 0; i < 3; i++) {
        put(path, parts[i], 0700);
        assert_int_equal(executable_look(&e), 0);
    }
    assert_int_equal(executable_look(&e), 1);
}

static void what_cant_be_run_is_left_alone(void **state)
{
    (void)state;
    put(beside, "not to be run", 0600);
    assert_int_equal(rename(beside, path), 0);
    assert_int_equal(executable_look(&e), 0);
    assert_int_equal(executable_look(&e), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(executable_look(&e), 0);
    assert_int_equal(executable_look(&e), 0);
    assert_int_equal(rmdir(path), 0);
    put(path, "again", 0700);
    assert_int_equal(executable_look(&e), 0);
    assert_int_equal(executable_look(&e), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_that_stays_is_no_news),
        TEST(another_one_is_told_once),
        TEST(one_that_is_being_written_is_waited_for),
        TEST(what_cant_be_run_is_left_alone),
    };
    return cmocka_run_group_tests_name("executable", tests, NULL, NULL);
}
