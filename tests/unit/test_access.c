/* The access log: what a line says, who can be known from it, and a file that is moved away, full or gone. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/access.h"
#include "common/log.h"
#include "tests/unit/netclient.h"
#include "tests/unit/remove_tree.h"

#define DEADLINE_MS 20000

static char folder[64], path[96];
static const uint64_t key[2] = {1, 2};

static int setup(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    strcpy(folder, "/tmp/forever-access-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/access.log", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return remove_tree(folder);
}

static struct access_line line_of(const char *peer)
{
    struct access_line line = {.method = "GET",
                               .target = "/stream.mp3",
                               .query = "from=7",
                               .minor = 1,
                               .status = 200,
                               .bytes = 480000,
                               .seconds = 30.0214,
                               .agent = "VLC/3.0",
                               .reason = "client",
                               .mount = "stream"};
    assert_int_equal(net_addr_parse(peer, strlen(peer), &line.peer), 0);
    return line;
}

static const char *format(const struct access_line *line, enum access_address how)
{
    static char text[ACCESS_LINE_MAX];
    size_t len = access_format(line, how, key, INT64_C(1795253227) * 1000000000, text, sizeof text);
    assert_int_equal(len, strlen(text));
    assert_int_equal(text[len - 1], '\n');
    return text;
}

static void test_lines(void **state)
{
    (void)state;
    struct access_line line = line_of("192.0.2.77");
    assert_string_equal(
        format(&line, ACCESS_NETWORK),
        "192.0.2.0 - - [21/Nov/2026:09:27:07 +0000] \"GET /stream.mp3?from=7 HTTP/1.1\" 200 480000 "
        "\"-\" \"VLC/3.0\" 30.021 client stream\n");
    line = line_of("2001:db8:aaaa:bbbb::1");
    assert_memory_equal(format(&line, ACCESS_NETWORK), "2001:db8:aaaa:: - - ", 20);
    assert_memory_equal(format(&line, ACCESS_WHOLE), "2001:db8:aaaa:bbbb::1 - - ", 26);
    char hashed[17];
    snprintf(hashed, sizeof hashed, "%.16s", format(&line, ACCESS_HASH));
    assert_int_equal(strspn(hashed, "0123456789abcdef"), 16);
    line = line_of("2001:db8:aaaa:bbbb::2");
    assert_memory_not_equal(format(&line, ACCESS_HASH), hashed, 16);
    /* nothing forges a line or a field of it */
    line.agent = "a\"b\\c\nd\x1b[31m\xff";
    line.referer = "";
    line.query = NULL;
    line.reason = line.mount = NULL;
    assert_non_null(
        strstr(format(&line, ACCESS_WHOLE),
               "/stream.mp3 HTTP/1.1\" 200 480000 \"-\" \"a\\x22b\\x5cc\\x0ad\\x1b[31m\\xff\" 30.021 - -\n"));
    const struct access_line none = {.status = 400, .bytes = 31};
    assert_string_equal(format(&none, ACCESS_WHOLE),
                        "unknown - - [21/Nov/2026:09:27:07 +0000] \"-\" 400 31 \"-\" \"-\" 0.000 - -\n");
    /* the longest of all still is one line */
    static char text[20000];
    memset(text, 1, sizeof text - 1);
    line.target = line.query = line.agent = line.referer = line.reason = line.mount = text;
    assert_in_range(strlen(format(&line, ACCESS_WHOLE)), 1300, ACCESS_LINE_MAX - 1);
}

static char *read_all(const char *name)
{
    FILE *file = fopen(name, "re");
    if (!file) return strdup("");
    char *text = calloc(1, 4 << 20);
    size_t n = fread(text, 1, (4 << 20) - 1, file);
    fclose(file);
    text[n] = '\0';
    return text;
}

static unsigned lines_in(const char *name)
{
    char *text = read_all(name);
    unsigned n = 0;
    for (const char *c = text; (c = strchr(c, '\n')); c++)
        n++;
    free(text);
    return n;
}

static void await_lines(const char *name, unsigned count)
{
    int64_t end = net_now_ms() + DEADLINE_MS;
    while (lines_in(name) != count && net_now_ms() < end)
        poll(NULL, 0, 5);
    assert_int_equal(lines_in(name), count);
}

static struct access_log *open_log(uint64_t max_bytes, unsigned keep)
{
    char *cause = NULL;
    struct access_log *log =
        access_log_new(&(struct access_conf){.path = path, .max_bytes = max_bytes, .keep = keep}, &cause);
    if (!log) fail_msg("%s", cause);
    return log;
}

static void test_reopen(void **state)
{
    (void)state;
    char moved[128];
    snprintf(moved, sizeof moved, "%s.moved", path);
    struct access_line line = line_of("192.0.2.1");
    struct access_log *log = open_log(0, 0);
    access_log_write(log, &line);
    await_lines(path, 1); /* without being asked, within a second or so */
    assert_int_equal(rename(path, moved), 0);
    access_log_write(log, &line);
    access_log_reopen(log); /* what came before it belongs to the old file */
    int64_t end = net_now_ms() + DEADLINE_MS;
    while (access(path, F_OK) && net_now_ms() < end)
        poll(NULL, 0, 5);
    access_log_write(log, &line);
    access_log_free(log); /* writes the rest */
    assert_int_equal(lines_in(moved), 2);
    assert_int_equal(lines_in(path), 1);
    log = open_log(0, 0); /* goes on behind what is there */
    access_log_write(log, &line);
    access_log_free(log);
    assert_int_equal(lines_in(path), 2);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0007, 0);
    unlink(path);
    unlink(moved);
}

static void test_rotation(void **state)
{
    (void)state;
    struct access_line line = line_of("192.0.2.1");
    uint64_t size = strlen(format(&line, ACCESS_NETWORK));
    for (int round = 0; round < 4; round++) {
        struct access_log *log = open_log(10 * size, 2);
        for (int i = 0; i < 8; i++)
            access_log_write(log, &line);
        access_log_free(log);
    }
    char name[128];
    assert_int_equal(lines_in(path), 8);
    for (int i = 1; i <= 2; i++) {
        snprintf(name, sizeof name, "%s.%d", path, i);
        assert_int_equal(lines_in(name), 8);
        unlink(name);
    }
    snprintf(name, sizeof name, "%s.3", path);
    assert_int_equal(access(name, F_OK), -1);
    unlink(path);
}

/* A flood, and a disk that takes nothing: lines are dropped and counted, nobody waits. */
static void test_dropped(void **state)
{
    (void)state;
    struct access_counts counts;
    struct access_line line = line_of("192.0.2.1");
    struct access_log *log = open_log(0, 0);
    for (int i = 0; i < 20000; i++)
        access_log_write(log, &line);
    access_log_counts(log, &counts);
    assert_int_equal(counts.lines, 20000);
    uint64_t dropped = counts.dropped;
    access_log_free(log);
    assert_int_equal(lines_in(path) + dropped, 20000);
    unlink(path);
    char *cause = NULL;
    assert_null(access_log_new(&(struct access_conf){.path = "/nonexistent/log"}, &cause));
    assert_string_equal(cause, "/nonexistent/log: No such file or directory");
    free(cause);
    log = access_log_new(&(struct access_conf){.path = "/dev/full"}, NULL);
    assert_non_null(log);
    access_log_write(log, &line);
    for (int64_t end = net_now_ms() + DEADLINE_MS; counts.dropped != 1 && net_now_ms() < end;) {
        poll(NULL, 0, 5);
        access_log_counts(log, &counts);
    }
    assert_int_equal(counts.dropped, 1);
    access_log_free(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_reopen),
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_dropped),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
