/* mounts: found by what they are called. What they do together tests/system/test_mounts.py shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "root/air/mounts_internal.h"

static void found_by_name_and_place(void **state)
{
    (void)state;
    static struct mounts mounts = {
        .list = {{.spec = {.name = "stream"}}, {.spec = {.name = "low"}}, {.spec = {.name = "gone"}}},
        .count = 2};
    assert_int_equal(mounts_count(&mounts), 2);
    assert_ptr_equal(mounts_at(&mounts, 0), &mounts.list[0]);
    assert_ptr_equal(mounts_at(&mounts, 1), &mounts.list[1]);
    assert_null(mounts_at(&mounts, 2));
    assert_ptr_equal(mounts_find(&mounts, "stream"), &mounts.list[0]);
    assert_ptr_equal(mounts_find(&mounts, "main"), &mounts.list[0]); /* whatever it is called */
    assert_ptr_equal(mounts_find(&mounts, "low"), &mounts.list[1]);
    assert_null(mounts_find(&mounts, "gone"));
    assert_null(mounts_find(&mounts, ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_by_name_and_place),
    };
    return cmocka_run_group_tests_name("mounts", tests, NULL, NULL);
}
