/* Which parent a relay pulls from, and by which way the programme may come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/clock.h"
#include "relay/lineage.h"
#include "relay/parents.h"

#define S CLOCK_NS_PER_S

static const char *chosen(const struct parents *p, int64_t now)
{
    const struct parent *parent = parents_choose(p, now);
    return parent ? parent->url : "none";
}

static int id_of(const struct parents *p, size_t index)
{
    return parents_at(p, index)->id;
}

static void the_first_that_fares_well_is_used(void **state)
{
    (void)state;
    struct parents *p = parents_new();
    assert_string_equal(chosen(p, 0), "none");
    assert_int_equal(parents_add(p, "http://a/", NULL, "t"), 0);
    assert_string_equal(chosen(p, 0), "http://a");
    parents_failed(p, id_of(p, 0), S);
    assert_string_equal(chosen(p, S), "http://a"); /* there is no other */
    assert_int_equal(parents_add(p, "https://b", "sha256//x", "t"), 0);
    int a = id_of(p, 0), b = id_of(p, 1);
    assert_string_equal(chosen(p, S), "https://b");
    assert_int_equal(parents_other(p, a, S)->id, b);
    assert_null(parents_other(p, b, S));
    assert_null(parents_better(p, b, S));
    parents_worked(p, b, 2 * S);
    /* the first one has rested: between half and all of ten seconds */
    assert_null(parents_better(p, b, 5 * S));
    assert_int_equal(parents_better(p, b, 12 * S)->id, a);
    assert_null(parents_better(p, a, 12 * S));
    /* both rest: the one that was not tried for longest */
    parents_failed(p, a, 12 * S);
    parents_failed(p, b, 13 * S);
    assert_string_equal(chosen(p, 13 * S), "http://a");
    parents_failed(p, a, 14 * S);
    assert_string_equal(chosen(p, 14 * S), "https://b");
    for (size_t i = parents_count(p); i < PARENTS_MAX; i++)
        assert_int_equal(parents_add(p, "http://more", NULL, NULL), 0);
    assert_int_equal(parents_add(p, "http://more", NULL, NULL), -1);
    parents_free(p);
}

static void who_comes_and_goes_is_left_alone_for_longer(void **state)
{
    (void)state;
    struct parents *p = parents_new();
    parents_add(p, "http://a", NULL, NULL);
    parents_add(p, "http://b", NULL, NULL);
    int a = id_of(p, 0), b = id_of(p, 1);
    int64_t now = S, rest = 0;
    for (int i = 0; i < 8; i++) {
        parents_failed(p, a, now);
        int64_t least = PARENTS_REST_MS * INT64_C(500000) << i, most = PARENTS_REST_CAP_S * S;
        rest = 0;
        while (!parents_better(p, b, now + rest))
            rest += S / 4;
        assert_true(rest >= (least < most / 2 ? least : most / 2) && rest <= most + S);
        now += rest;
        parents_worked(p, a, now);
        now += 5 * S; /* not for long */
    }
    assert_true(rest > PARENTS_REST_CAP_S * S / 3);
    now += PARENTS_WELL_S * S;
    parents_failed(p, a, now);
    assert_non_null(parents_better(p, b, now + PARENTS_REST_MS * INT64_C(1000000))); /* as the first time */
    parents_free(p);
}

static void what_the_root_proposes_comes_first(void **state)
{
    (void)state;
    struct parents *p = parents_new();
    parents_add(p, "http://root", NULL, "credential");
    int root = id_of(p, 0);
    assert_int_equal(parents_propose(p, NULL, NULL, NULL), 0);
    assert_int_equal(parents_propose(p, "https://b:1", "sha256//b", "grant 1"), 1);
    int first = id_of(p, 0);
    assert_true(parents_at(p, 0)->proposed && !parents_at(p, 1)->proposed);
    assert_int_equal(parents_better(p, root, 0)->id, first);
    parents_failed(p, first, S);
    assert_int_equal(parents_choose(p, S)->id, root);
    assert_int_equal(parents_propose(p, "https://b:1", "sha256//b", "grant 2"), 0); /* it still rests */
    assert_int_equal(id_of(p, 0), first);
    assert_string_equal(parents_at(p, 0)->token, "grant 2");
    assert_int_equal(parents_choose(p, S)->id, root);
    parents_set_token(p, "rotated");
    assert_string_equal(parents_at(p, 0)->token, "grant 2");
    assert_string_equal(parents_at(p, 1)->token, "rotated");
    assert_int_equal(parents_propose(p, "https://b:1", "sha256//other", "grant 3"), 1);
    assert_int_not_equal(id_of(p, 0), first);
    assert_null(parents_find(p, first));
    /* who pulls from one that is proposed no more is to go back */
    int second = id_of(p, 0);
    assert_int_equal(parents_propose(p, NULL, NULL, NULL), 1);
    assert_int_equal(parents_count(p), 1);
    assert_int_equal(parents_better(p, second, 2 * S)->id, root);
    parents_failed(p, second, 2 * S); /* nobody any more */
    parents_free(p);
}

static void no_way_leads_round(void **state)
{
    (void)state;
    char *cause = NULL;
    const char *why;
    json_t *path = NULL;
    assert_int_equal(lineage_check(NULL, "a", &cause), 0); /* from the root */
    static const char *const ids[] = {"a", "b", "c", "d"};
    for (int i = 0; i < LINEAGE_HOPS_MAX; i++) {
        assert_int_equal(lineage_check(path, ids[i], &cause), 0);
        assert_int_equal(lineage_may_feed(path, "e", &why), 0);
        json_t *own = lineage_extend(path, ids[i]);
        json_decref(path);
        path = own;
        assert_int_equal(json_array_size(path), i + 1);
    }
    assert_int_equal(lineage_check(path, "e", &cause), -1); /* too far */
    assert_non_null(strstr(cause, "4 hops"));
    free(cause);
    cause = NULL;
    assert_int_equal(lineage_may_feed(path, "e", &why), -1);
    assert_int_equal(lineage_check(path, "b", &cause), -1); /* it would feed itself */
    assert_non_null(strstr(cause, "from here"));
    free(cause);
    cause = NULL;
    json_array_remove(path, 3);
    assert_int_equal(lineage_may_feed(path, "b", &why), -1);
    assert_int_equal(lineage_may_feed(path, "", &why), 0);
    json_decref(path);
    static const char *const wrong[] = {"[1]", "{}", "[\"\"]", "[\"0123456789abcdef0\"]", "[[]]"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        json_t *bad = json_loads(wrong[i], 0, NULL);
        assert_int_equal(lineage_check(bad, "a", &cause), -1);
        free(cause);
        cause = NULL;
        json_decref(bad);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_that_fares_well_is_used),
        cmocka_unit_test(who_comes_and_goes_is_left_alone_for_longer),
        cmocka_unit_test(what_the_root_proposes_comes_first),
        cmocka_unit_test(no_way_leads_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
