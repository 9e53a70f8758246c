/* What a planner tells arrives as it was told; how it ends is known; it does not outlive whoever reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"
#include "root/work/ahead.h"

#define SEGMENTS 1000
#define FAILING  7 /* a track */

static json_t *segment_new(int i)
{
    return json_pack("{s:i, s:f, s:I, s:s}", "number", i, "third", i / 3.0, "sample", (json_int_t)i << 40,
                     "title", "a\nb \xe2\x82\xac");
}

/* context: how many to tell before it ends as asked. */
struct order {
    int count;
    enum { ENDS, FAILS, FAILS_FOR_A_TRACK, DIES, GOES_ON } then;
};

static int plan(void *context, struct ahead_teller *teller, int64_t *bad_track, char **cause)
{
    const struct order *order = context;
    for (int i = 0; i < order->count || order->then == GOES_ON; i++) {
        json_t *segment = segment_new(i);
        if (ahead_tell(teller, segment, cause)) return -1;
        json_decref(segment);
    }
    if (order->then == DIES) raise(SIGKILL);
    if (order->then == FAILS_FOR_A_TRACK) *bad_track = FAILING;
    return order->then == ENDS ? 0 : cause_set(cause, "as ordered");
}

static struct ahead *begin(struct order *order)
{
    char *cause = NULL;
    struct ahead *ahead = ahead_begin(plan, order, &cause);
    if (!ahead) fail_msg("%s", cause);
    return ahead;
}

/* Takes the segments of the order; then one more answer: what ahead_next said, *cause the caller's. */
static int take(struct ahead *ahead, int count, int64_t *bad_track, char **cause)
{
    json_t *segment;
    for (int i = 0; i < count; i++) {
        json_t *wanted = segment_new(i);
        assert_int_equal(ahead_next(ahead, &segment, bad_track, cause), 1);
        assert_true(json_equal(segment, wanted));
        json_decref(segment);
        json_decref(wanted);
    }
    return ahead_next(ahead, &segment, bad_track, cause);
}

static void check_end(struct order order, int answer, int64_t track, const char *words)
{
    int64_t bad_track = -1;
    char *cause = NULL;
    struct ahead *ahead = begin(&order);
    assert_int_equal(take(ahead, order.count, &bad_track, &cause), answer);
    assert_int_equal(bad_track, track);
    if (words) assert_string_equal(cause, words);
    if (!words) assert_null(cause);
    free(cause);
    ahead_end(ahead);
}

static void test_all_is_told_in_order(void **state)
{
    (void)state;
    check_end((struct order){SEGMENTS, ENDS}, 0, 0, NULL);
    check_end((struct order){0, ENDS}, 0, 0, NULL);
}

static void test_how_it_ended(void **state)
{
    (void)state;
    check_end((struct order){3, FAILS}, -1, 0, "as ordered");
    check_end((struct order){3, FAILS_FOR_A_TRACK}, -1, FAILING, "as ordered");
    check_end((struct order){3, DIES}, -1, 0, "the planning broke off");
}

static void test_it_ends_with_its_reader(void **state)
{
    (void)state;
    struct order order = {0, GOES_ON};
    struct ahead *ahead = begin(&order);
    int64_t bad_track;
    char *cause = NULL;
    json_t *segment;
    assert_int_equal(ahead_next(ahead, &segment, &bad_track, &cause), 1);
    json_decref(segment);
    ahead_end(ahead);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    ahead_end(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_is_told_in_order),
        cmocka_unit_test(test_how_it_ended),
        cmocka_unit_test(test_it_ends_with_its_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
