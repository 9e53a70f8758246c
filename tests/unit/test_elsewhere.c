/* Where a relay sends listeners on to, and how many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "relay/elsewhere.h"

static int64_t now_ns = 1, wall_ns = 1;

static struct elsewhere *told(const char *answer)
{
    struct elsewhere *e = elsewhere_new();
    json_t *json = json_parse(answer, strlen(answer), 4096, NULL);
    assert_non_null(json);
    elsewhere_read(e, json_object_get(json, "elsewhere"), json_object_get(json, "elsewhere_room"));
    json_decref(json);
    return e;
}

static const char *sent(struct elsewhere *e, int secure, enum elsewhere_need need)
{
    static char location[64];
    return elsewhere_send(e, secure, need, 0, location, sizeof location) ? NULL : location;
}

static void as_many_as_there_is_room_for(void **state)
{
    (void)state;
    struct elsewhere *e =
        told("{\"elsewhere\":[\"http://a/s\",\"https://b/s\",\"http://c/s\",\"http://root/s\"],"
             "\"elsewhere_room\":[2,7,1,0]}");
    char location[64];
    assert_int_equal(elsewhere_room(e), 10);
    for (int i = 0; i < 5; i++)
        assert_int_equal(elsewhere_send(e, 0, ELSEWHERE_CAN_WAIT, 1, location, sizeof location), 0);
    assert_int_equal(elsewhere_room(e), 10); /* they only wanted to know */
    assert_string_equal(sent(e, 0, ELSEWHERE_CAN_WAIT), "http://a/s");
    assert_string_equal(sent(e, 0, ELSEWHERE_MUST_GO), "http://a/s");
    assert_string_equal(sent(e, 0, ELSEWHERE_CAN_WAIT), "http://c/s");
    assert_null(sent(e, 0, ELSEWHERE_CAN_WAIT));
    assert_int_equal(elsewhere_room(e), 7);
    assert_string_equal(sent(e, 1, ELSEWHERE_CAN_WAIT), "https://b/s");
    /* nowhere is room: new ones go to each in turn */
    assert_string_equal(sent(e, 0, ELSEWHERE_TRY), "http://a/s");
    assert_string_equal(sent(e, 0, ELSEWHERE_TRY), "http://c/s");
    assert_string_equal(sent(e, 0, ELSEWHERE_TRY), "http://a/s");
    assert_string_equal(sent(e, 0, ELSEWHERE_TRY), "http://c/s");
    /* the root takes whom must go; while nothing is heard of it, each in turn */
    for (int i = 0; i < 3; i++)
        assert_string_equal(sent(e, 0, ELSEWHERE_MUST_GO), "http://root/s");
    now_ns += ELSEWHERE_FRESH_S * CLOCK_NS_PER_S;
    assert_string_equal(sent(e, 0, ELSEWHERE_MUST_GO), "http://a/s");
    assert_string_equal(sent(e, 0, ELSEWHERE_MUST_GO), "http://c/s");
    assert_string_equal(sent(e, 0, ELSEWHERE_MUST_GO), "http://a/s");
    /* all are named, whatever their room */
    assert_int_equal(elsewhere_name(e, 0, 2, location, sizeof location), 0);
    assert_string_equal(location, "http://root/s");
    assert_int_equal(elsewhere_name(e, 0, 3, location, sizeof location), -1);
    assert_int_equal(elsewhere_name(e, 1, 0, location, sizeof location), 0);
    /* the next word goes for all */
    elsewhere_set(e, (const char *[]){"http://d/s"}, (unsigned[]){1}, 1);
    assert_int_equal(elsewhere_room(e), 1);
    assert_null(sent(e, 1, ELSEWHERE_MUST_GO));
    assert_string_equal(sent(e, 0, ELSEWHERE_CAN_WAIT), "http://d/s");
    assert_int_equal(elsewhere_send(e, 0, ELSEWHERE_MUST_GO, 0, location, 5), -1); /* it does not fit */
    elsewhere_free(e);
}

/* An older root says nothing of room; nothing at all; what no root would say. */
static void answers_of_other_kinds(void **state)
{
    (void)state;
    struct elsewhere *e = told("{\"elsewhere\":[\"http://a/s\",\"http://b/s\"]}");
    assert_int_equal(elsewhere_room(e), ELSEWHERE_UNLIMITED);
    for (int i = 0; i < 100; i++)
        assert_string_equal(sent(e, 0, ELSEWHERE_CAN_WAIT), "http://a/s");
    elsewhere_free(e);
    e = told("{}");
    assert_int_equal(elsewhere_room(e), 0);
    assert_null(sent(e, 0, ELSEWHERE_MUST_GO));
    elsewhere_free(e);
    e = told("{\"elsewhere\":[\"http://a\\r\\nx: y/s\",7,\"ftp://c/s\",\"http://d/s\",\"http://e/s\"],"
             "\"elsewhere_room\":[5,\"x\",2,-3,8]}");
    assert_int_equal(elsewhere_room(e), 0); /* one is left, without room; four at most are read */
    assert_string_equal(sent(e, 0, ELSEWHERE_MUST_GO), "http://d/s");
    now_ns += ELSEWHERE_FRESH_S * CLOCK_NS_PER_S;
    assert_string_equal(sent(e, 0, ELSEWHERE_MUST_GO), "http://d/s"); /* there is no other */
    elsewhere_free(e);
    e = told("{\"elsewhere\":[\"http://a/s\",\"http://b/s\"],\"elsewhere_room\":[99999999999999,1.5]}");
    assert_int_equal(elsewhere_room(e), ELSEWHERE_UNLIMITED);
    elsewhere_free(e);
    e = told("{\"elsewhere\":\"http://a/s\",\"elsewhere_room\":{}}");
    assert_null(sent(e, 0, ELSEWHERE_MUST_GO));
    elsewhere_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_as_there_is_room_for),
        cmocka_unit_test(answers_of_other_kinds),
    };
    clock_fake(&now_ns, &wall_ns);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
