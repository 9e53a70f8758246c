/* Whom a relay takes first: tickets, their single use, the places kept for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/ticket.h"
#include "relay/admission.h"

#define S INT64_C(1000000000)

static const unsigned char master[TICKET_KEY_BYTES] = "root";
static struct ticket_signer *signer;
static int64_t now = 500 * S;         /* here */
static const int64_t root = 9000 * S; /* the root's clock is so far ahead */

static void answer(struct admission *a, const char *session, uint64_t floor)
{
    unsigned char key[TICKET_KEY_BYTES];
    uint32_t epoch;
    char text[TICKET_KEY_TEXT];
    ticket_derive(signer, master, "ams", session, key, &epoch);
    ticket_key_write(key, text);
    json_t *o = json_pack("{s:I,s:s,s:I,s:I}", "epoch", (json_int_t)epoch, "key", text, "clock",
                          (json_int_t)ticket_clock(now + root), "floor", (json_int_t)floor);
    admission_answered(a, o, now);
    json_decref(o);
}

static const char *ticket(const char *session, uint64_t sequence, int64_t made_ns)
{
    static char text[TICKET_TEXT];
    unsigned char key[TICKET_KEY_BYTES];
    struct ticket t = {.sequence = sequence, .expires_ds = ticket_clock(made_ns + root) + TICKET_LIFE_S * 10};
    ticket_derive(signer, master, "ams", session, key, &t.epoch);
    assert_int_equal(ticket_sign(signer, key, &t, text), 0);
    return text;
}

static int64_t told(const struct admission *a, const char *key)
{
    json_t *o = admission_json(a);
    int64_t n = json_integer_value(json_object_get(o, key));
    json_decref(o);
    return n;
}

static void a_ticket_is_used_once(void **state)
{
    (void)state;
    struct admission *a = admission_new(100);
    assert_null(admission_json(a));
    assert_int_equal(admission_judge(a, ticket("one", 1, now), 99, now), ADMISSION_ROOM); /* no key yet */
    answer(a, "one", 1);
    const char *t = ticket("one", 1, now);
    assert_int_equal(admission_judge(a, t, 99, now), ADMISSION_TICKET);
    assert_int_equal(admission_judge(a, t, 99, now), ADMISSION_TICKET); /* to ask uses nothing */
    admission_taken(a, t, 0, now);
    assert_int_equal(admission_judge(a, t, 99, now), ADMISSION_ELSEWHERE);
    admission_taken(a, t, 1, now); /* its listener resumes */
    assert_int_equal(told(a, "refused"), 0);
    admission_taken(a, t, 0, now);
    admission_taken(a, "nonsense", 0, now);
    admission_taken(a, NULL, 0, now);
    admission_taken(a, ticket("another", 1, now), 0, now);
    assert_int_equal(told(a, "redeemed"), 1);
    assert_int_equal(told(a, "refused"), 3);
    /* in any order; late ones are counted */
    admission_taken(a, ticket("one", 7, now), 0, now);
    admission_taken(a, ticket("one", 3, now), 0, now);
    answer(a, "one", 3);
    assert_int_equal(told(a, "from_floor"), 2);
    assert_int_equal(told(a, "redeemed"), 3);
    t = ticket("one", 8, now);
    now += (TICKET_LIFE_S + 1) * S;
    assert_int_equal(admission_judge(a, t, 99, now), ADMISSION_TICKET); /* a second's grace */
    now += 2 * S;
    assert_int_equal(admission_judge(a, t, 99, now), ADMISSION_ELSEWHERE);
    admission_taken(a, t, 0, now);
    assert_int_equal(told(a, "expired"), 1);
    admission_free(a);
}

static void a_new_epoch_leaves_the_old_ones_tickets_good(void **state)
{
    (void)state;
    struct admission *a = admission_new(100);
    answer(a, "one", 1);
    admission_taken(a, ticket("one", 1, now), 0, now);
    answer(a, "two", 1);
    assert_int_equal(told(a, "redeemed"), 0);
    assert_int_equal(admission_judge(a, ticket("one", 1, now), 99, now), ADMISSION_ELSEWHERE);
    assert_int_equal(admission_judge(a, ticket("one", 2, now), 99, now), ADMISSION_TICKET);
    assert_int_equal(admission_judge(a, ticket("two", 1, now), 99, now), ADMISSION_TICKET);
    admission_taken(a, ticket("one", 2, now), 0, now);
    assert_int_equal(told(a, "redeemed"), 0); /* it is not of the epoch that is told of */
    now += 31 * S;
    assert_int_equal(admission_judge(a, ticket("one", 3, now), 99, now), ADMISSION_ELSEWHERE);
    admission_free(a);
}

static void places_are_kept_for_tickets(void **state)
{
    (void)state;
    struct admission *a = admission_new(200);
    assert_int_equal(admission_judge(a, NULL, 199, now), ADMISSION_ROOM); /* nobody gives tickets out */
    answer(a, "one", 1);
    assert_int_equal(admission_judge(a, NULL, 189, now), ADMISSION_ROOM);
    assert_int_equal(admission_judge(a, NULL, 190, now), ADMISSION_ELSEWHERE);
    assert_int_equal(admission_judge(a, NULL, 186, now), ADMISSION_ELSEWHERE); /* not yet again */
    assert_int_equal(admission_judge(a, ticket("one", 1, now), 186, now), ADMISSION_TICKET);
    assert_int_equal(admission_judge(a, NULL, 184, now), ADMISSION_ROOM);
    assert_int_equal(admission_judge(a, NULL, 195, now), ADMISSION_ELSEWHERE);
    now += 61 * S; /* the root is gone */
    assert_int_equal(admission_judge(a, NULL, 195, now), ADMISSION_ROOM);
    admission_free(a);
    a = admission_new(10); /* too small to keep any */
    answer(a, "one", 1);
    assert_int_equal(admission_judge(a, NULL, 9, now), ADMISSION_ROOM);
    admission_free(a);
}

static void malformed_answers_change_nothing(void **state)
{
    (void)state;
    struct admission *a = admission_new(10);
    admission_answered(a, NULL, now);
    json_t *o = json_pack("{s:i,s:s,s:i,s:i}", "epoch", 1, "key", "short", "clock", 1, "floor", 1);
    admission_answered(a, o, now);
    assert_null(admission_json(a));
    json_decref(o);
    answer(a, "one", 1);
    o = json_pack("{s:s}", "epoch", "x");
    admission_answered(a, o, now);
    json_decref(o);
    assert_int_equal(admission_judge(a, ticket("one", 1, now), 9, now), ADMISSION_TICKET);
    admission_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ticket_is_used_once),
        cmocka_unit_test(a_new_epoch_leaves_the_old_ones_tickets_good),
        cmocka_unit_test(places_are_kept_for_tickets),
        cmocka_unit_test(malformed_answers_change_nothing),
    };
    signer = ticket_signer_new();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ticket_signer_free(signer);
    return failed;
}
