/* folder: every music file of a tree is named once, whatever the tree looks like, and changes are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "root/source/source.h"
#include "tests/unit/remove_tree.h"

#define WAIT_MS 20000

static char top[64];

static int enter(void **state)
{
    (void)state;
    strcpy(top, "/tmp/forever-folder-XXXXXX");
    return mkdtemp(top) && chdir(top) == 0 ? 0 : -1;
}

static int leave(void **state)
{
    (void)state;
    return chdir("/") || remove_tree(top) ? -1 : 0;
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

struct seen {
    int count, stop_at;
    char *paths[600];
    int64_t size, mtime_ns;
};

static int note(void *context, const char *path, int64_t size, int64_t mtime_ns)
{
    struct seen *s = context;
    assert_true(s->count < 600);
    s->paths[s->count++] = xstrdup(path);
    s->size = size;
    s->mtime_ns = mtime_ns;
    return s->stop_at && s->count == s->stop_at;
}

static int has(const struct seen *s, const char *below)
{
    char *path = xasprintf("%s/%s", top, below);
    int n = 0;
    for (int i = 0; i < s->count; i++)
        n += !strcmp(s->paths[i], path);
    free(path);
    return n;
}

static void forget(struct seen *s)
{
    for (int i = 0; i < s->count; i++)
        free(s->paths[i]);
    *s = (struct seen){0};
}

static void odd_trees(void **state)
{
    (void)state;
    put("a.mp3", "four");
    put("B.FLAC", "x");
    put("notes.txt", "x");
    put("mp3", "x");
    put(".hidden.mp3", "x");
    put("caf\xe9 \n\x01.ogg", "x"); /* no UTF-8, control characters */
    assert_int_equal(mkdir(".hidden", 0700), 0);
    put(".hidden/in.mp3", "x");
    assert_int_equal(mkdir("dir.mp3", 0700), 0);
    put("dir.mp3/in.mp3", "x");
    assert_int_equal(mkfifo("pipe.mp3", 0600), 0);
    assert_int_equal(symlink("a.mp3", "link.mp3"), 0);
    assert_int_equal(symlink("nowhere", "dead.mp3"), 0);
    assert_int_equal(symlink(".", "aloop"), 0); /* sorts before the real directories */
    assert_int_equal(symlink("..", "dir.mp3/up"), 0);
    assert_int_equal(symlink("dir.mp3", "aaa"), 0);
    struct source *s = source_open(top);
    struct source_report report;
    struct seen seen = {0};
    char *cause = NULL;
    assert_int_equal(source_walk(s, note, &seen, &report, &cause), 0);
    assert_int_equal(seen.count, 5);
    assert_int_equal(has(&seen, "a.mp3"), 1);
    assert_int_equal(has(&seen, "B.FLAC"), 1);
    assert_int_equal(has(&seen, "caf\xe9 \n\x01.ogg"), 1);
    assert_int_equal(has(&seen, "dir.mp3/in.mp3"), 1); /* by its own path, not the link's */
    assert_int_equal(has(&seen, "link.mp3"), 1);
    assert_int_equal(report.files, 5);
    assert_int_equal(report.directories, 2);
    assert_int_equal(report.unreadable, 0);
    forget(&seen);
    seen.stop_at = 2;
    assert_int_equal(source_walk(s, note, &seen, &report, &cause), -1);
    assert_int_equal(seen.count, 2);
    forget(&seen);
    free(cause);
    source_close(s);
}

static void deep_and_closed(void **state)
{
    (void)state;
    /* 500 deep; the path stays below the system's limit */
    char path[1100] = "d";
    for (int i = 0; i < 500; i++) {
        assert_int_equal(mkdir(path, 0700), 0);
        strcat(path, "/d");
    }
    path[strlen(path) - 2] = '\0';
    strcat(path, "/x.mp3");
    put(path, "x");
    assert_int_equal(mkdir("closed", 0000), 0);
    struct source *s = source_open(top);
    struct source_report report;
    struct seen seen = {0};
    char *cause = NULL;
    assert_int_equal(source_walk(s, note, &seen, &report, &cause), 0);
    assert_int_equal(seen.count, 1);
    assert_int_equal(has(&seen, path), 1);
    if (geteuid() != 0) {
        assert_int_equal(report.unreadable, 1);
        assert_non_null(strstr(report.first_unreadable, "closed"));
    }
    free(report.first_unreadable);
    forget(&seen);
    source_close(s);

    s = source_open("/nonexistent/place");
    assert_int_equal(source_walk(s, note, &seen, &report, &cause), -1);
    assert_non_null(cause);
    free(cause);
    free(report.first_unreadable);
    source_close(s);
}

/* Reads changes until `below` was told (or, when it is NULL, until a walk is due). */
static int await(struct source *s, const char *below, struct seen *seen)
{
    int64_t end = clock_boot_ns() + WAIT_MS * INT64_C(1000000);
    forget(seen);
    while (clock_boot_ns() < end) {
        struct pollfd p = {.fd = source_fd(s), .events = POLLIN};
        poll(&p, 1, 100);
        int due = source_changes(s, note, seen);
        if (below ? has(seen, below) : due > 0) return 1;
    }
    return 0;
}

static void changes(void **state)
{
    (void)state;
    struct source *s = source_open(top);
    struct source_report report;
    struct seen seen = {0};
    char *cause = NULL;
    assert_int_equal(source_walk(s, note, &seen, &report, &cause), 0);
    assert_int_equal(report.unwatched, 0);
    assert_int_equal(source_changes(s, note, &seen), 0);
    put("new.mp3", "12345");
    assert_true(await(s, "new.mp3", &seen));
    assert_int_equal(seen.count, 1); /* whole, and told once */
    assert_int_equal(seen.size, 5);
    put("ignored.txt", "1");
    put("new.mp3", "123456");
    assert_true(await(s, "new.mp3", &seen));
    assert_int_equal(seen.size, 6);
    assert_int_equal(link("new.mp3", "linked.mp3"), 0);
    assert_true(await(s, "linked.mp3", &seen));
    /* a directory that comes with files in it, and goes on growing */
    assert_int_equal(mkdir("sub", 0700), 0);
    assert_int_equal(mkdir("sub/sub", 0700), 0);
    put("sub/sub/one.mp3", "1");
    assert_true(await(s, "sub/sub/one.mp3", &seen));
    put("sub/sub/two.mp3", "2");
    assert_true(await(s, "sub/sub/two.mp3", &seen));
    assert_int_equal(rename("sub/sub/two.mp3", "moved.mp3"), 0);
    assert_true(await(s, "moved.mp3", &seen));
    assert_int_equal(unlink("moved.mp3"), 0);
    assert_true(await(s, NULL, &seen));
    forget(&seen);
    source_close(s);
}

static void null_source(void **state)
{
    (void)state;
    struct source *s = source_open("null:");
    struct source_report report;
    struct seen seen = {0};
    char *cause = NULL;
    assert_int_equal(source_walk(s, note, &seen, &report, &cause), 0);
    assert_int_equal(seen.count, 0);
    assert_int_equal(source_fd(s), -1);
    assert_int_equal(source_changes(s, note, &seen), 0);
    source_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(odd_trees, enter, leave),
        cmocka_unit_test_setup_teardown(deep_and_closed, enter, leave),
        cmocka_unit_test_setup_teardown(changes, enter, leave),
        cmocka_unit_test(null_source),
    };
    return cmocka_run_group_tests_name("folder", tests, NULL, NULL);
}
