/* A grant opens one relay to one node for a while, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/link_grant.h"

#define CHILD "00112233445566aa"

static void a_grant_opens_one_relay_to_one_node(void **state)
{
    (void)state;
    unsigned char master[LINK_GRANT_KEY_BYTES] = "the root's secret", a[LINK_GRANT_KEY_BYTES],
                  b[LINK_GRANT_KEY_BYTES], again[LINK_GRANT_KEY_BYTES];
    char text[LINK_GRANT_TEXT];
    assert_int_equal(link_grant_derive(master, "aaaaaaaaaaaaaaaa", a), 0);
    assert_int_equal(link_grant_derive(master, "bbbbbbbbbbbbbbbb", b), 0);
    assert_int_equal(link_grant_derive(master, "aaaaaaaaaaaaaaaa", again), 0);
    assert_memory_equal(a, again, sizeof a);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_equal(link_grant_sign(a, CHILD, 1000, text), 0);
    assert_int_equal(link_grant_until(a, text, CHILD, 999), 1000);
    assert_false(link_grant_until(a, text, CHILD, 1000)); /* over */
    assert_false(link_grant_until(b, text, CHILD, 999));  /* another relay */
    assert_false(link_grant_until(a, text, "00112233445566ab", 999));
    assert_false(link_grant_until(a, text, "0011", 999));
    assert_false(link_grant_until(a, text, "", 999));
    /* no byte of it can be another */
    for (size_t i = 0; text[i]; i++) {
        char kept = text[i];
        for (int bit = 0; bit < 7; bit++) {
            text[i] = (char)(kept ^ 1 << bit);
            if (text[i]) assert_false(link_grant_until(a, text, CHILD, 999));
        }
        text[i] = kept;
    }
    for (size_t cut = strlen(text); cut-- > 0;) {
        char part[LINK_GRANT_TEXT];
        snprintf(part, sizeof part, "%.*s", (int)cut, text);
        assert_false(link_grant_until(a, part, CHILD, 999));
    }
    static const char *const wrong[] = {"",
                                        "g1",
                                        "g1..",
                                        "g1." CHILD ".",
                                        "g1." CHILD ".99999999999999999999.x",
                                        "g1." CHILD ".-5.0",
                                        "g1." CHILD ". 1000.0"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(link_grant_until(a, wrong[i], CHILD, 0));
    assert_int_equal(link_grant_sign(a, "01234567890123456", 1000, text), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_grant_opens_one_relay_to_one_node)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
