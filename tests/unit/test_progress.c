/* progress: what the store told last is there, and the log has few lines of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/log.h"
#include "root/air/progress.h"

#define S CLOCK_NS_PER_S

static int told(struct progress *p, int analysed, int pending, int outdated, int64_t now_ns)
{
    json_t *body = json_pack("{s:i,s:i,s:i,s:i,s:i}", "total", analysed + pending, "analysed", analysed,
                             "failed", 0, "pending", pending, "outdated", outdated);
    int logged = progress_take(p, body, now_ns);
    assert_int_equal(json_integer_value(json_object_get(p->last, "analysed")), analysed);
    json_decref(body);
    return logged;
}

static void a_line_at_both_ends_and_now_and_then(void **state)
{
    (void)state;
    struct progress p = {0};
    assert_int_equal(told(&p, 0, 0, 0, 100 * S), 0); /* no track yet */
    assert_int_equal(told(&p, 0, 50, 0, 101 * S), 1);
    assert_int_equal(told(&p, 1, 49, 0, 102 * S), 0);
    assert_int_equal(told(&p, 9, 41, 0, 111 * S - 1), 0);
    assert_int_equal(told(&p, 10, 40, 0, 111 * S), 1);
    assert_int_equal(told(&p, 50, 0, 3, 112 * S), 0); /* some are to be heard again */
    assert_int_equal(told(&p, 50, 0, 0, 113 * S), 1); /* the end */
    progress_clear(&p);
    assert_null(p.last);
}

static void what_is_known_is_not_said_again(void **state)
{
    (void)state;
    struct progress p = {0};
    assert_int_equal(told(&p, 7, 0, 0, 100 * S), 1);
    assert_int_equal(told(&p, 7, 0, 0, 200 * S), 0);
    assert_int_equal(told(&p, 7, 1, 0, 201 * S), 1);
    progress_clear(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_at_both_ends_and_now_and_then),
        cmocka_unit_test(what_is_known_is_not_said_again),
    };
    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests_name("progress", tests, NULL, NULL);
}
