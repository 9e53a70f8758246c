/* mount: the operator's list and the list that nodes tell each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/mount.h"

static void expect(const char *text, const char *name, unsigned kbps, int always)
{
    struct mount_spec spec;
    char *cause = NULL;
    if (mount_spec_parse(text, &spec, &cause)) fail_msg("%s: %s", text, cause);
    assert_string_equal(spec.name, name);
    assert_int_equal(spec.kbps, kbps);
    assert_int_equal(spec.always, always);
}

static void refuse(const char *text, const char *why)
{
    struct mount_spec spec;
    char *cause = NULL;
    assert_int_equal(mount_spec_parse(text, &spec, &cause), -1);
    if (!strstr(cause, why)) fail_msg("%s: %s", text, cause);
    free(cause);
}

static void test_parse(void **state)
{
    (void)state;
    expect("low:64", "low", 64, 0);
    expect("high-q_1:320:always", "high-q_1", 320, 1);
    expect("abcdefghijklmnopqrstuvwxyz01234:128", "abcdefghijklmnopqrstuvwxyz01234", 128, 0);
    refuse("abcdefghijklmnopqrstuvwxyz012345:128", "1 to 31 letters");
    refuse("low", "NAME:KBITS");
    refuse(":64", "1 to 31 letters");
    refuse("Low:64", "no name of a mount");
    refuse("a/b:64", "no name of a mount");
    refuse("low:65", "64, 80, 96");
    refuse("low:32", "64, 80, 96");
    refuse("low:", "64, 80, 96");
    refuse("low:-64", "64, 80, 96");
    refuse("low:99999999999999999999", "64, 80, 96");
    refuse("low:64:now", ":always");
    refuse("low:64k", ":always");
}

static void test_parse_list(void **state)
{
    (void)state;
    struct mount_spec list[MOUNTS_MAX] = {{"stream", 192, 1}};
    char *cause = NULL, many[200] = "";
    assert_int_equal(mount_specs_parse(" low:64, mid:128,high:320:always ", list, 1, &cause), 4);
    assert_string_equal(list[2].name, "mid");
    assert_int_equal(list[3].always, 1);
    assert_int_equal(mount_specs_parse("", list, 1, &cause), 1);
    static const char *const bad[] = {"low:64,low:128", "stream:64", "main:64", "low:64 x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (mount_specs_parse(bad[i], list, 1, &cause) != -1 || !cause) fail_msg("taken: %s", bad[i]);
        free(cause);
        cause = NULL;
    }
    for (int i = 1; i < MOUNTS_MAX; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "m%d:64 ", i);
    assert_int_equal(mount_specs_parse(many, list, 1, &cause), MOUNTS_MAX);
    strcat(many, "one:64");
    assert_int_equal(mount_specs_parse(many, list, 1, NULL), -1);
}

static void test_lists(void **state)
{
    (void)state;
    struct mount_spec list[MOUNTS_MAX] = {{"stream", 192, 1}, {"low", 64, 0}}, back[MOUNTS_MAX];
    char *cause = NULL;
    json_t *json = mount_specs_json(list, 2);
    assert_int_equal(mount_specs_read(json, back, &cause), 2);
    assert_string_equal(back[1].name, "low");
    assert_int_equal(back[1].kbps, 64);
    assert_int_equal(back[0].always, 1);
    assert_int_equal(back[1].always, 0);
    assert_int_equal(mount_spec_find(back, 2, "low"), 1);
    assert_int_equal(mount_spec_find(back, 2, "none"), -1);
    json_decref(json);
    static const char *const bad[] = {
        "[]",
        "{}",
        "[{\"name\":\"low\",\"kbps\":64}]",
        "[{\"name\":\"stream\",\"kbps\":63}]",
        "[{\"name\":\"stream\",\"kbps\":64},{\"name\":\"stream\",\"kbps\":64}]",
        "[{\"name\":\"stream\",\"kbps\":64},{\"name\":\"../x\",\"kbps\":64}]",
        "[{\"name\":\"stream\",\"kbps\":\"64\"}]",
        "[7]",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json = json_loads(bad[i], 0, NULL);
        cause = NULL;
        if (mount_specs_read(json, back, &cause) != -1 || !cause) fail_msg("taken: %s", bad[i]);
        free(cause);
        json_decref(json);
    }
    json = json_array();
    for (int i = 0; i <= MOUNTS_MAX; i++) {
        char name[16] = "stream";
        if (i) snprintf(name, sizeof name, "m%d", i);
        json_array_append_new(json, json_pack("{s:s,s:i}", "name", name, "kbps", 64));
    }
    assert_int_equal(mount_specs_read(json, back, NULL), -1);
    json_array_remove(json, MOUNTS_MAX);
    assert_int_equal(mount_specs_read(json, back, NULL), MOUNTS_MAX);
    json_decref(json);
}

static void touch(const char *folder, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
}

static int is_there(const char *folder, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static void test_sweep(void **state)
{
    (void)state;
    static const struct mount_spec list[] = {{"stream", 192, 1}, {"low", 64, 0}};
    static const char *const kept[] = {"main.ring", "mount-low.ring", "mount-low.ring.old", "mount-x",
                                       "mount-A.ring"};
    static const char *const gone[] = {"mount-high.ring", "mount-high.ring.old", "mount-lo.ring"};
    char folder[] = "/tmp/test_mount.XXXXXX";
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        touch(folder, kept[i]);
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        touch(folder, gone[i]);
    mount_sweep_rings(folder, list, 2);
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        assert_false(is_there(folder, gone[i]));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        char path[128];
        assert_true(is_there(folder, kept[i]));
        snprintf(path, sizeof path, "%s/%s", folder, kept[i]);
        unlink(path);
    }
    char *path = mount_ring_path(folder, "low");
    assert_string_equal(strrchr(path, '/'), "/mount-low.ring");
    free(path);
    assert_int_equal(rmdir(folder), 0);
    mount_sweep_rings("/nonexistent", list, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_parse_list),
                                       cmocka_unit_test(test_lists), cmocka_unit_test(test_sweep)};
    return cmocka_run_group_tests_name("mount", tests, NULL, NULL);
}
