/* The operator's relays: what is kept, how it is read, who is known by which secret, what a failed write
 * leaves. */
#include "tests/unit/roster_stage.h"

#include "common/clock.h"

static void it_is_kept(void **state)
{
    (void)state;
    struct roster *r = open_roster();
    struct relay_terms t = terms("ice"), more = terms("ignored");
    char credential[ENROL_SECRET_TEXT], secret[ENROL_SECRET_TEXT], *cause = NULL;
    struct stat st;
    add(r, "fra");
    add(r, "ams");
    assert_int_equal(roster_add(r, &t, ROSTER_ICECAST, "http://ice.example:8000/stream", 1001, &cause), 0);
    assert_int_equal(roster_add(r, &t, ROSTER_FOREVER, NULL, 1001, &cause), -1);
    assert_string_equal(cause, "there is a relay \"ice\" already");
    free(cause);
    cause = NULL;
    enrol(r, "ams", credential);
    assert_int_equal(roster_invite(r, "fra", 3000, secret, NULL), 0);
    more.price_per_gb = 0.25;
    assert_int_equal(roster_set_terms(r, "fra", &more, NULL), 0);
    assert_int_equal(roster_drain(r, "ice", 1, 4000, NULL), 0);
    assert_int_equal(roster_set_uncalled(r, "ams", 1, NULL), 0);
    assert_int_equal(changes, 9);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    roster_free(r);

    r = open_roster();
    assert_int_equal(roster_count(r), 3);
    const struct roster_entry *e = roster_at(r, 0);
    assert_string_equal(e->terms.name, "fra");
    assert_string_equal(e->terms.region, "eu-de");
    assert_int_equal(e->terms.allotment_bytes, 1000000000000);
    assert_int_equal(e->terms.reset_day, 5);
    assert_true(e->terms.price_per_gb == 0.25);
    assert_int_equal(e->terms.uplink_bps, 1000000000);
    assert_int_equal(e->terms.max_listeners, 200);
    assert_int_equal(e->token_until_s, 3000);
    assert_int_equal(e->added_s, 1000);
    assert_int_equal(e->uncalled, 0);
    assert_int_equal(roster_find(r, "ams")->uncalled, 1);
    e = roster_find(r, "ice");
    assert_int_equal(e->kind, ROSTER_ICECAST);
    assert_string_equal(e->url, "http://ice.example:8000/stream");
    assert_int_equal(e->terms.drained, 1);
    assert_int_equal(e->drain_until_s, 4000);
    assert_ptr_equal(roster_authenticate(r, credential, NULL), roster_find(r, "ams"));
    assert_null(roster_find(r, "nobody"));
    assert_null(roster_at(r, 3));
    /* the file holds no secret */
    char *text = proc_read_file(path, 1 << 20, NULL, NULL);
    assert_null(strstr(text, credential));
    assert_null(strstr(text, secret));
    free(text);
    assert_int_equal(roster_remove(r, "ice", NULL), 0);
    assert_int_equal(gone, 1);
    assert_int_equal(roster_remove(r, "ice", &cause), -1);
    assert_string_equal(cause, "there is no relay \"ice\"");
    free(cause);
    assert_int_equal(roster_count(r), 2);
    roster_free(r);
}

static void a_token_counts_once_and_for_a_while(void **state)
{
    (void)state;
    struct roster *r = open_roster();
    char first[ENROL_SECRET_TEXT], second[ENROL_SECRET_TEXT], credential[ENROL_SECRET_TEXT],
        again[ENROL_SECRET_TEXT];
    const struct roster_entry *e = NULL;
    add(r, "fra");
    assert_int_equal(roster_invite(r, "fra", 2000, first, NULL), 0);
    assert_int_equal(roster_invite(r, "fra", 2000, second, NULL), 0);
    assert_int_equal(roster_exchange(r, first, 1500, credential, &e, NULL), ROSTER_UNKNOWN_TOKEN);
    assert_int_equal(roster_exchange(r, "short", 1500, credential, &e, NULL), ROSTER_UNKNOWN_TOKEN);
    assert_int_equal(roster_exchange(r, second, 2000, credential, &e, NULL), ROSTER_EXPIRED_TOKEN);
    roster_free(r);
    r = open_roster(); /* a restart forgets none of it */
    assert_int_equal(roster_exchange(r, second, 1999, credential, &e, NULL), ROSTER_ENROLLED);
    assert_int_equal(e->enrolled_s, 1999);
    assert_int_equal(roster_exchange(r, second, 1999, again, &e, NULL), ROSTER_USED_TOKEN);
    roster_free(r);
    r = open_roster();
    assert_int_equal(roster_exchange(r, second, 1999, again, &e, NULL), ROSTER_USED_TOKEN);
    /* a token is no credential, nor the other way round */
    assert_null(roster_authenticate(r, second, NULL));
    assert_int_equal(roster_exchange(r, credential, 1500, again, &e, NULL), ROSTER_UNKNOWN_TOKEN);
    assert_non_null(roster_authenticate(r, credential, NULL));
    /* another enrolment ends what was before */
    enrol(r, "fra", again);
    assert_null(roster_authenticate(r, credential, NULL));
    assert_non_null(roster_authenticate(r, again, NULL));
    roster_free(r);
}

static void rotation_ends_the_old_one_when_the_new_one_is_used(void **state)
{
    (void)state;
    struct roster *r = open_roster();
    char old[ENROL_SECRET_TEXT], first[ENROL_SECRET_TEXT], *cause = NULL;
    add(r, "fra");
    assert_int_equal(roster_rotate(r, "fra", &cause), -1);
    assert_string_equal(cause, "\"fra\" has no credential that counts: invite it");
    free(cause);
    enrol(r, "fra", old);
    const struct roster_entry *e = roster_authenticate(r, old, NULL);
    assert_null(roster_handover(r, e));
    assert_int_equal(roster_rotate(r, "fra", NULL), 0);
    snprintf(first, sizeof first, "%s", roster_handover(r, e));
    assert_string_equal(roster_handover(r, e), first); /* until it is used: an answer may be lost */
    assert_int_equal(roster_rotate(r, "fra", NULL), 0);
    assert_string_equal(roster_handover(r, e), first);
    assert_non_null(roster_authenticate(r, old, NULL));
    roster_free(r);
    r = open_roster(); /* both count after a restart */
    assert_ptr_equal(roster_authenticate(r, old, NULL), roster_find(r, "fra"));
    assert_non_null(roster_authenticate(r, first, NULL));
    assert_null(roster_authenticate(r, old, NULL));
    assert_null(roster_handover(r, roster_find(r, "fra")));
    roster_free(r);
    r = open_roster(); /* and that it was used has been written */
    assert_null(roster_authenticate(r, old, NULL));
    assert_non_null(roster_authenticate(r, first, NULL));

    /* what was to be told is forgotten by a restart: another one is made for who still uses the old one */
    assert_int_equal(roster_rotate(r, "fra", NULL), 0);
    roster_free(r);
    r = open_roster();
    e = roster_authenticate(r, first, NULL);
    const char *next = roster_handover(r, e);
    assert_non_null(next);
    snprintf(old, sizeof old, "%s", next);
    assert_non_null(roster_authenticate(r, old, NULL));
    assert_null(roster_authenticate(r, first, NULL));
    roster_free(r);
}

static void revoked_and_back(void **state)
{
    (void)state;
    struct roster *r = open_roster();
    char credential[ENROL_SECRET_TEXT], secret[ENROL_SECRET_TEXT], again[ENROL_SECRET_TEXT];
    const struct roster_entry *e;
    int revoked;
    add(r, "fra");
    enrol(r, "fra", credential);
    assert_int_equal(roster_invite(r, "fra", 2000, secret, NULL), 0);
    assert_int_equal(roster_revoke(r, "fra", 1600, NULL), 0);
    for (int i = 0; i < 2; i++) {
        assert_null(roster_authenticate(r, credential, &revoked));
        assert_int_equal(revoked, 1);
        assert_int_equal(roster_exchange(r, secret, 1600, again, &e, NULL), ROSTER_UNKNOWN_TOKEN);
        roster_free(r);
        r = open_roster();
    }
    assert_null(roster_authenticate(r, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", &revoked));
    assert_int_equal(revoked, 0);
    enrol(r, "fra", again);
    assert_non_null(roster_authenticate(r, again, NULL));
    assert_int_equal(roster_find(r, "fra")->revoked_s, 0);
    roster_free(r);
}

/* The folder takes no file: a tmpfs has no room, here a folder that has gone. */
static void a_failed_write_changes_nothing(void **state)
{
    unsigned others = state && *state ? *(unsigned *)*state : 0;
    put_many((int)others);
    struct roster *r = open_roster();
    char credential[ENROL_SECRET_TEXT], secret[ENROL_SECRET_TEXT], other[ENROL_SECRET_TEXT], away[96],
        *cause = NULL;
    const struct roster_entry *e = NULL;
    struct relay_terms t = terms("ams"), more = terms("fra");
    add(r, "fra");
    enrol(r, "fra", credential);
    assert_int_equal(roster_invite(r, "fra", 2000, secret, NULL), 0);
    snprintf(away, sizeof away, "%s-away", folder);
    assert_int_equal(rename(folder, away), 0);
    changes = 0;
    assert_int_equal(roster_add(r, &t, ROSTER_FOREVER, NULL, 1, &cause), -1);
    assert_non_null(strstr(cause, "relays.json"));
    free(cause);
    more.price_per_gb = 7;
    assert_int_equal(roster_set_terms(r, "fra", &more, NULL), -1);
    assert_int_equal(roster_drain(r, "fra", 1, 0, NULL), -1);
    assert_int_equal(roster_rotate(r, "fra", NULL), -1);
    assert_int_equal(roster_revoke(r, "fra", 1, NULL), -1);
    assert_int_equal(roster_remove(r, "fra", NULL), -1);
    assert_int_equal(roster_invite(r, "fra", 9000, other, NULL), -1);
    assert_int_equal(roster_exchange(r, secret, 1500, other, &e, NULL), ROSTER_NOT_WRITTEN);
    assert_int_equal(changes, 0);
    assert_int_equal(roster_count(r), 1 + others);
    assert_non_null(roster_authenticate(r, credential, NULL));
    assert_true(roster_find(r, "fra")->terms.price_per_gb == 0.01);
    assert_int_equal(rename(away, folder), 0);
    assert_int_equal(roster_exchange(r, secret, 1500, other, &e, NULL), ROSTER_ENROLLED);
    roster_free(r);
    r = open_roster();
    assert_non_null(roster_authenticate(r, other, NULL));
    roster_free(r);
}

static void a_failed_write_of_many_changes_nothing(void **state)
{
    (void)state;
    unsigned others = ROSTER_WHOLE;
    void *many = &others;
    a_failed_write_changes_nothing(&many);
}

static void a_file_that_is_not_understood_is_an_error(void **state)
{
    (void)state;
#define FRA                                                                                                  \
    "\"name\":\"fra\",\"kind\":\"forever\",\"region\":\"\",\"allotment_bytes\":0,\"reset_day\":1,\"price_"   \
    "per_gb\":0,"                                                                                            \
    "\"uplink_bps\":0,\"drained\":false,\"added_s\":5"
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "JSON line"},
        {"{\"version\":1,\"relays\":[{" FRA, "JSON line"}, /* cut off */
        {"{\"version\":2,\"relays\":[]}", "is of version 2"},
        {"{\"version\":1,\"relays\":[],\"more\":1}", "nothing else"},
        {"{\"version\":1,\"relays\":[{" FRA ",\"colour\":1}]}", "relays[0]: \"colour\" is no member"},
        {"{\"version\":1,\"relays\":[{" FRA "},{" FRA "}]}", "relays[1]: there are two relays \"fra\""},
        {"{\"version\":1,\"relays\":[{" FRA ",\"credential\":\"00\"}]}", "relays[0]: credential must be 64"},
        {"{\"version\":1,\"relays\":[{" FRA ",\"token\":7}]}", "relays[0]: token must be 64"},
        {"{\"version\":1,\"relays\":[{" FRA ",\"enrolled_s\":-1}]}", "relays[0]: enrolled_s must be"},
        {"{\"version\":1,\"relays\":[{" FRA ",\"url\":3}]}", "relays[0]: url must be"},
        {"{\"version\":1,\"relays\":[{\"name\":\"fra\"}]}", "relays[0]: region must be"},
        {"{\"version\":1,\"relays\":[7]}", "relays[0]: must be an object"},
        {"{\"version\":1,\"relays\":[{\"name\":\"fra\",\"region\":\"xx\",\"reset_day\":1,\"price_per_gb\":0}]"
         "}",
         "relays[0]: region must be eu"},
        {"{\"version\":1,\"relays\":[{\"name\":\"fra\",\"region\":\"\",\"reset_day\":29,\"price_per_gb\":0}]"
         "}",
         "relays[0]: allotment_bytes, reset_day"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *cause = NULL;
        spoil(bad[i].text, 0600);
        assert_null(roster_open(&(struct roster_conf){.path = path}, &cause));
        if (!strstr(cause, bad[i].says) || !strstr(cause, path)) fail_msg("%zu: %s", i, cause);
        free(cause);
    }
    static const mode_t modes[] = {0640, 0604, 0620, 0602};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        char *cause = NULL;
        spoil("{\"version\":1,\"relays\":[{" FRA "}]}", modes[i]);
        assert_null(roster_open(&(struct roster_conf){.path = path}, &cause));
        assert_non_null(strstr(cause, "chmod 600"));
        free(cause);
    }
    spoil("{\"version\":1,\"relays\":[{" FRA "}]}", 0600);
    roster_free(open_roster());
}

static void ten_thousand_are_no_matter(void **state)
{
    (void)state;
    enum { MANY = 10000 };
    put_many(MANY);
    struct roster *r = open_roster();
    assert_int_equal(roster_count(r), MANY);
    int64_t begin = clock_boot_ns();
    for (int i = 0; i < MANY; i++) {
        char secret[ENROL_SECRET_TEXT], name[16];
        snprintf(secret, sizeof secret, "%042dA", i);
        snprintf(name, sizeof name, "r%d", i);
        const struct roster_entry *e = roster_authenticate(r, secret, NULL);
        assert_non_null(e);
        assert_string_equal(e->terms.name, name);
        assert_ptr_equal(roster_find(r, name), e);
    }
    int64_t found = clock_boot_ns() - begin;
    begin = clock_boot_ns();
    add(r, "one-more");
    int64_t first = clock_boot_ns() - begin;
    begin = clock_boot_ns();
    for (int i = 0; i < 10; i++)
        assert_int_equal(roster_drain(r, "one-more", i % 2, 0, NULL), 0);
    print_message(
        "%d relays: %.2f us to find one by secret and by name, %.1f ms to write one more, then %.1f\n", MANY,
        (double)found / MANY / 1e3, (double)first / 1e6, (double)(clock_boot_ns() - begin) / 1e7);
    roster_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_is_kept, fresh),
        cmocka_unit_test_setup(a_token_counts_once_and_for_a_while, fresh),
        cmocka_unit_test_setup(rotation_ends_the_old_one_when_the_new_one_is_used, fresh),
        cmocka_unit_test_setup(revoked_and_back, fresh),
        cmocka_unit_test_setup(a_failed_write_changes_nothing, fresh),
        cmocka_unit_test_setup(a_failed_write_of_many_changes_nothing, fresh),
        cmocka_unit_test_setup(a_file_that_is_not_understood_is_an_error, fresh),
        cmocka_unit_test_setup(ten_thousand_are_no_matter, fresh),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
