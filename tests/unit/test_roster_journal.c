/* Many relays: changes go to a journal, and no crash loses one that was told. */
#include "tests/unit/roster_stage.h"

#include <sys/wait.h>

#include "common/clock.h"

static int is_there(const char *name)
{
    struct stat st;
    return stat(name, &st) == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct roster_entry *const *)a)->terms.name,
                  (*(const struct roster_entry *const *)b)->terms.name);
}

/* All that is known, in order of names; fresh text. */
static char *told(const struct roster *r)
{
    size_t len, count = roster_count(r);
    char *text;
    FILE *out = open_memstream(&text, &len);
    const struct roster_entry **list = calloc(count, sizeof *list);
    for (size_t i = 0; i < count; i++)
        list[i] = roster_at(r, i);
    qsort(list, count, sizeof *list, by_name);
    for (size_t i = 0; i < count; i++) {
        const struct roster_entry *e = list[i];
        const struct roster_key *keys[] = {&e->credential, &e->next, &e->token};
        fprintf(out, "%s %g %d %lld %lld %lld %lld %lld %d %s", e->terms.name, e->terms.price_per_gb,
                e->terms.drained, (long long)e->drain_until_s, (long long)e->revoked_s,
                (long long)e->enrolled_s, (long long)e->token_until_s, (long long)e->token_used_s,
                e->uncalled, e->url ? e->url : "-");
        for (int k = 0; k < 3; k++) {
            char hex[2 * ENROL_HASH_BYTES + 1] = "";
            if (keys[k]->set) enrol_hex(keys[k]->hash, ENROL_HASH_BYTES, hex);
            fprintf(out, " %s", hex);
        }
        fprintf(out, "\n");
    }
    fclose(out);
    free(list);
    return text;
}

static uint64_t random_state;

static unsigned draw(unsigned below)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(random_state >> 33) % below;
}

/* Something that the operator or a relay might do. */
static void something(struct roster *r, int step)
{
    char name[16], url[40], secret[ENROL_SECRET_TEXT], credential[ENROL_SECRET_TEXT];
    const struct roster_entry *e = NULL;
    snprintf(name, sizeof name, "r%u", draw(160));
    snprintf(url, sizeof url, "http://%s.example:%u", name, 1 + draw(9));
    struct relay_terms t = terms(name);
    t.price_per_gb = draw(100) / 8.0;
    e = roster_find(r, name);
    const char *next;
    switch (e ? draw(9) : 99) {
    case 0:
        assert_int_equal(roster_set_terms(r, name, &t, NULL), 0);
        break;
    case 1:
        assert_int_equal(roster_drain(r, name, (int)draw(2), step, NULL), 0);
        break;
    case 2:
        assert_int_equal(roster_invite(r, name, 5000 + step, secret, NULL), 0);
        assert_int_equal(roster_exchange(r, secret, 1000 + step, credential, &e, NULL), ROSTER_ENROLLED);
        break;
    case 3:
        if (!e->credential.set || e->revoked_s || roster_rotate(r, name, NULL)) break;
        next = roster_handover(r, e);
        if (draw(2)) assert_ptr_equal(roster_authenticate(r, next, NULL), e); /* waits to be written */
        break;
    case 4:
        assert_int_equal(roster_revoke(r, name, step, NULL), 0);
        break;
    case 5:
        if (roster_count(r) > ROSTER_WHOLE + 1) assert_int_equal(roster_remove(r, name, NULL), 0);
        break;
    case 6:
        assert_int_equal(roster_set_uncalled(r, name, (int)draw(2), NULL), 0);
        break;
    case 99:
        add(r, name);
        break;
    default:
        roster_set_url(r, e, draw(4) ? url : NULL); /* waits */
    }
}

/* As a process that is killed: nothing is put in order at the end. What it knew; fresh text. */
static char *in_a_life_that_is_cut_short(uint64_t seed, int steps)
{
    size_t len;
    char aside[96];
    snprintf(aside, sizeof aside, "%s/told", folder);
    pid_t pid = fork();
    if (!pid) {
        struct roster *r = roster_open(&(struct roster_conf){.path = path}, NULL);
        random_state = seed;
        for (int step = 1; step <= steps; step++)
            something(r, step);
        for (int s = 0; s < 100; s++) /* what waited has been written */
            roster_tick(r, s);
        char *text = told(r);
        _exit(proc_write_file(aside, text, strlen(text), 0600, NULL) ? 1 : 0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    char *text = proc_read_file(aside, 1 << 20, &len, NULL);
    assert_non_null(text);
    unlink(aside);
    return text;
}

static void a_journal_loses_nothing(void **state)
{
    (void)state;
    uint64_t seed = (uint64_t)clock_boot_ns() % 1000000;
    print_message("seed %llu\n", (unsigned long long)seed);
    put_many(ROSTER_WHOLE + 5);
    for (int life = 0; life < 4; life++) {
        char *before = in_a_life_that_is_cut_short(seed + (uint64_t)life, 30);
        assert_true(is_there(journal));
        struct roster *r = open_roster();
        assert_false(is_there(journal)); /* it is in the file now */
        char *after = told(r);
        assert_string_equal(after, before);
        roster_free(r);
        free(before);
        free(after);
    }
}

static void put(const char *name, const char *bytes, size_t len)
{
    assert_int_equal(proc_write_file(name, bytes, len, 0600, NULL), 0);
}

/* A crash within a write: the last change was told to nobody, and all before it is there. */
static void a_torn_line_is_left_out(void **state)
{
    (void)state;
    size_t file_len, len, last;
    put_many(ROSTER_WHOLE + 5);
    free(in_a_life_that_is_cut_short(7, 10));
    char *file = proc_read_file(path, 1 << 20, &file_len, NULL),
         *text = proc_read_file(journal, 1 << 20, &len, NULL);
    assert_int_equal(text[len - 1], '\n');
    for (last = len - 1; last && text[last - 1] != '\n';)
        last--;
    put(journal, text, last);
    struct roster *r = open_roster();
    char *without = told(r);
    roster_free(r);
    for (size_t cut = last + 1; cut <= len; cut += cut + 1 == len ? 1 : 1 + (len - cut) / 3) {
        char *torn = malloc(len);
        memcpy(torn, text, len);
        /* cut off, or of its full length with zeros in place of what did not get there */
        if (cut == len) memset(torn + last + 4, 0, 8);
        put(path, file, file_len);
        put(journal, torn, cut);
        r = open_roster();
        char *now = told(r);
        assert_string_equal(now, without);
        roster_free(r);
        free(now);
        free(torn);
    }
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"{\"relays\":[],\"gone\":[]}\n{\"relays\":[\n", "line 2"},
        {"\n{\"relays\":[],\"gone\":[]}\n", "line 1"},
        {"{\"relays\":[],\"gone\":[],\"more\":1}\n", "line 1: must be an object of relays and gone"},
        {"{\"relays\":[{\"name\":\"x\"}],\"gone\":[]}\n", "line 1: region must be"},
        {"{\"rel", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *cause = NULL;
        put(path, file, file_len);
        put(journal, bad[i].text, strlen(bad[i].text));
        r = roster_open(&(struct roster_conf){.path = path}, &cause);
        assert_true((r == NULL) == (bad[i].says != NULL));
        if (!r && (!strstr(cause, bad[i].says) || !strstr(cause, journal))) fail_msg("%zu: %s", i, cause);
        assert_true(is_there(journal) == !r); /* what is not understood stays to be looked at */
        roster_free(r);
        free(cause);
    }
    char *cause = NULL;
    put(journal, "", 0);
    chmod(journal, 0644);
    assert_null(roster_open(&(struct roster_conf){.path = path}, &cause));
    assert_non_null(strstr(cause, "chmod 600"));
    free(cause);
    unlink(journal);
    free(file);
    free(text);
    free(without);
}

/* Somebody has put another journal there: all is written, and nothing is lost. */
static void a_journal_of_others_is_not_appended_to(void **state)
{
    (void)state;
    put_many(ROSTER_WHOLE + 4);
    struct roster *r = open_roster();
    add(r, "first");
    assert_true(is_there(journal));
    put(journal, "what is that?\n", 14);
    add(r, "one-more");
    assert_false(is_there(journal));
    add(r, "another");
    assert_true(is_there(journal));
    assert_int_equal(unlink(journal), 0);
    add(r, "a-third");
    assert_false(is_there(journal));
    roster_free(r);
    r = open_roster();
    assert_int_equal(roster_count(r), ROSTER_WHOLE + 8);
    roster_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_journal_loses_nothing, fresh),
        cmocka_unit_test_setup(a_torn_line_is_left_out, fresh),
        cmocka_unit_test_setup(a_journal_of_others_is_not_appended_to, fresh),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
