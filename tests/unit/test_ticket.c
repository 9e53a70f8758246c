/* Tickets: signed, for one relay and one life of it, used once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/ticket.h"

static const unsigned char master[TICKET_KEY_BYTES] = "a master's thirty-two bytes ....";

static void a_ticket_says_what_was_signed(void **state)
{
    (void)state;
    struct ticket_signer *s = ticket_signer_new();
    unsigned char key[TICKET_KEY_BYTES], other[TICKET_KEY_BYTES], back[TICKET_KEY_BYTES];
    uint32_t epoch, next;
    assert_int_equal(ticket_derive(s, master, "ams", "one", key, &epoch), 0);
    struct ticket t = {.epoch = epoch, .expires_ds = 4000000000u, .sequence = UINT64_C(0x123456789abcdef0)},
                  got;
    char text[TICKET_TEXT];
    assert_int_equal(ticket_sign(s, key, &t, text), 0);
    assert_int_equal(strlen(text), TICKET_TEXT - 1);
    assert_int_equal(ticket_read(text, &got), 0);
    assert_true(got.epoch == t.epoch && got.expires_ds == t.expires_ds && got.sequence == t.sequence);
    assert_true(ticket_is_true(s, key, text));
    /* another relay's key, another life's */
    assert_int_equal(ticket_derive(s, master, "fra", "one", other, &next), 0);
    assert_false(ticket_is_true(s, other, text));
    assert_int_equal(ticket_derive(s, master, "ams", "two", other, &next), 0);
    assert_false(ticket_is_true(s, other, text));
    /* the boundary between name and session is part of it */
    assert_int_equal(ticket_derive(s, master, "amso", "ne", other, &next), 0);
    assert_memory_not_equal(other, key, sizeof key);
    char shown[TICKET_KEY_TEXT];
    ticket_key_write(key, shown);
    assert_int_equal(strlen(shown), TICKET_KEY_TEXT - 1);
    assert_int_equal(ticket_key_read(shown, back), 0);
    assert_memory_equal(back, key, sizeof key);
    shown[42] = 'B'; /* bits that no byte holds */
    assert_int_equal(ticket_key_read(shown, back), -1);
    ticket_signer_free(s);
}

/* Whichever character it is. */
static void any_other_character_makes_it_false(void **state)
{
    (void)state;
    struct ticket_signer *s = ticket_signer_new();
    struct ticket t = {.epoch = 7, .expires_ds = 90, .sequence = 1}, got;
    char text[TICKET_TEXT], bad[TICKET_TEXT + 8];
    assert_int_equal(ticket_sign(s, master, &t, text), 0);
    for (size_t i = 0; i < TICKET_TEXT - 1; i++) {
        memcpy(bad, text, sizeof text);
        bad[i] = text[i] == 'A' ? 'Q' : 'A';
        assert_false(ticket_is_true(s, master, bad));
        bad[i] = '+';
        assert_int_equal(ticket_read(bad, &got), -1);
        assert_false(ticket_is_true(s, master, bad));
    }
    snprintf(bad, sizeof bad, "%sA", text);
    assert_int_equal(ticket_read(bad, &got), -1);
    assert_int_equal(ticket_read("", &got), -1);
    text[TICKET_TEXT - 2] = '\0';
    assert_int_equal(ticket_read(text, &got), -1);
    ticket_signer_free(s);
}

static void each_number_is_used_once(void **state)
{
    (void)state;
    struct ticket_window *w = calloc(1, sizeof *w);
    assert_int_equal(ticket_window_use(w, 5), 0);
    assert_int_equal(ticket_window_use(w, 5), -1);
    assert_int_equal(ticket_window_use(w, 3), 0);
    assert_true(ticket_window_used(w, 3));
    assert_false(ticket_window_used(w, 4));
    assert_int_equal(ticket_window_count(w, 1), 2);
    assert_int_equal(ticket_window_count(w, 4), 1);
    assert_int_equal(ticket_window_count(w, 6), 0);
    assert_int_equal(ticket_window_use(w, 5 + TICKET_WINDOW - 1), 0);
    assert_false(ticket_window_used(w, 6));
    assert_true(ticket_window_used(w, 5));
    assert_int_equal(ticket_window_use(w, 5 + TICKET_WINDOW), 0);
    assert_true(ticket_window_used(w, 5)); /* too old to tell */
    assert_int_equal(ticket_window_count(w, 0), 2);
    assert_int_equal(ticket_window_use(w, UINT64_C(1) << 40), 0);
    assert_int_equal(ticket_window_count(w, 0), 1);
    free(w);
}

/* Against a plain list, in random order. */
static void the_window_counts_as_a_list_does(void **state)
{
    (void)state;
    static unsigned char used[200000];
    struct ticket_window *w = calloc(1, sizeof *w);
    uint64_t seed = 88172645463325252ULL, top = 0;
    for (int n = 0; n < 60000; n++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        uint64_t at = 1 + top + 3 > 1000 ? 1 + top + 3 - seed % 1000 : 1 + seed % (top + 3);
        int was = used[at];
        assert_int_equal(ticket_window_use(w, at), was ? -1 : 0);
        used[at] = 1;
        if (at > top) top = at;
        if (n % 500) continue;
        uint64_t first = seed % (top + 1), sum = 0;
        uint64_t bottom = top >= TICKET_WINDOW ? top - TICKET_WINDOW + 1 : 1;
        for (uint64_t i = first > bottom ? first : bottom; i <= top; i++)
            sum += used[i];
        assert_int_equal(ticket_window_count(w, first), sum);
    }
    free(w);
}

static void the_clock_wraps(void **state)
{
    (void)state;
    assert_int_equal(ticket_clock(1234567890), 12);
    assert_true(ticket_later(5, 4294967290u));
    assert_false(ticket_later(4294967290u, 5));
    assert_false(ticket_later(5, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ticket_says_what_was_signed),
        cmocka_unit_test(any_other_character_makes_it_false),
        cmocka_unit_test(each_number_is_used_once),
        cmocka_unit_test(the_window_counts_as_a_list_does),
        cmocka_unit_test(the_clock_wraps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
