#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/conf.h"
#include "common/mem.h"

struct config {
    int loud;
    long bitrate;
    double lead;
    char *name, *level, *listen;
    struct conf_list libraries;
};

static int check_listen(const char *text, char **cause)
{
    char host[64];
    int port;
    return conf_parse_listen(text, host, &port, cause);
}

#define AT(member) offsetof(struct config, member)
static const struct conf_option options[] = {
    {"loud", CONF_BOOL, AT(loud), NULL, 0, 0, NULL, NULL, "shouts", NULL},
    {"bitrate", CONF_INT, AT(bitrate), "192", 64, 320, NULL, "KBITS", "of the stream", NULL},
    {"lead", CONF_REAL, AT(lead), "240", 1.5, 3600, NULL, "SECONDS", "held ahead", NULL},
    {"name", CONF_STRING, AT(name), NULL, 0, 0, NULL, "TEXT", "of the station", NULL},
    {"log-level", CONF_CHOICE, AT(level), "info", 0, 0, "error|warn|info|debug", NULL, "how much to tell",
     NULL},
    {"listen", CONF_STRING, AT(listen), ":8000", 0, 0, NULL, "ADDR:PORT", "where to listen", check_listen},
    {"library", CONF_LIST, AT(libraries), NULL, 0, 0, NULL, "DIR", "a folder of music", NULL},
};
static const struct conf_table table = {
    "forever-test",
    "test",
    "FOREVER_TEST",
    "a table for a test",
    "forever-test VERB",
    options,
    sizeof options / sizeof *options,
    NULL,
};

static char dir[] = "/tmp/test_conf.XXXXXX", path[64];

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/t.conf", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static void write_file(const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* Loads with arguments up to NULL. */
static enum conf_result load(struct config *c, int *code, char **cause, ...)
{
    char *argv[16] = {(char *)(uintptr_t) "forever-test"};
    int argc = 1;
    va_list ap;
    va_start(ap, cause);
    while ((argv[argc] = va_arg(ap, char *)))
        argc++;
    va_end(ap);
    *cause = NULL;
    memset(c, 0, sizeof *c);
    return conf_load(&table, c, argc, argv, code, cause);
}

static void sources_have_an_order(void **state)
{
    (void)state;
    struct config c;
    int code;
    char *cause;
    assert_int_equal(load(&c, &code, &cause, NULL), CONF_RUN);
    assert_true(c.loud == 0 && c.bitrate == 192 && c.lead == 240 && !c.name && c.libraries.count == 0);
    assert_string_equal(c.level, "info");
    conf_free(&table, &c);

    write_file("# a comment\n[test]\nbitrate = 128\nlead = 60 ; seconds\nname = a station: with = signs\n"
               "library = /a:/b\nlibrary = /c\nloud = yes\n");
    assert_int_equal(load(&c, &code, &cause, "--config", path, NULL), CONF_RUN);
    assert_true(c.loud == 1 && c.bitrate == 128 && c.lead == 60 && c.libraries.count == 3);
    assert_string_equal(c.name, "a station: with = signs");
    assert_string_equal(c.libraries.items[2], "/c");
    conf_free(&table, &c);
    assert_null(c.name);

    setenv("FOREVER_TEST_CONFIG", path, 1);
    setenv("FOREVER_TEST_BITRATE", "160", 1);
    setenv("FOREVER_TEST_LIBRARY", "/e", 1);
    setenv("FOREVER_TEST_LOG_LEVEL", "debug", 1);
    setenv("FOREVER_TEST_NAME", "", 1); /* as unset */
    assert_int_equal(load(&c, &code, &cause, "--lead=30", "--no-loud", NULL), CONF_RUN);
    assert_true(c.loud == 0 && c.bitrate == 160 && c.lead == 30 && c.libraries.count == 1);
    assert_string_equal(c.level, "debug");
    assert_non_null(c.name);
    conf_free(&table, &c);
    assert_int_equal(
        load(&c, &code, &cause, "--library", "/x:y", "--library=/z", "--bitrate", "320", "--loud", NULL),
        CONF_RUN);
    assert_true(c.loud == 1 && c.bitrate == 320 && c.libraries.count == 2);
    assert_string_equal(c.libraries.items[0], "/x:y");
    conf_free(&table, &c);
    unsetenv("FOREVER_TEST_CONFIG");
    unsetenv("FOREVER_TEST_BITRATE");
    unsetenv("FOREVER_TEST_LIBRARY");
    unsetenv("FOREVER_TEST_LOG_LEVEL");
    unsetenv("FOREVER_TEST_NAME");
}

static void fails(int code, const char *text, int got_code, enum conf_result result, char *cause)
{
    assert_int_equal(result, CONF_FAIL);
    assert_non_null(cause);
    assert_string_equal(cause, text);
    assert_null(strchr(cause, '\n'));
    assert_int_equal(got_code, code);
    free(cause);
}

static void a_wrong_command_line_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *argument, *value, *text;
    } cases[] = {
        {"--bitrate", "999", "--bitrate: \"999\" is not a whole number from 64 to 320 kbit/s"},
        {"--bitrate=12a", NULL, "--bitrate: \"12a\" is not a whole number from 64 to 320 kbit/s"},
        {"--bitrate=", NULL, "--bitrate: \"\" is not a whole number from 64 to 320 kbit/s"},
        {"--bitrate", " 99", "--bitrate: \" 99\" is not a whole number from 64 to 320 kbit/s"},
        {"--bitrate", "99999999999999999999",
         "--bitrate: \"99999999999999999999\" is not a whole number from 64 to 320 kbit/s"},
        {"--lead", "nan", "--lead: \"nan\" is not a number from 1.5 to 3600 seconds"},
        {"--lead=1.4", NULL, "--lead: \"1.4\" is not a number from 1.5 to 3600 seconds"},
        {"--log-level", "loud", "--log-level: \"loud\" is none of error|warn|info|debug"},
        {"--log-level", "error|warn", "--log-level: \"error|warn\" is none of error|warn|info|debug"},
        {"--bitrat", "128", "--bitrat: unknown option, the nearest name is --bitrate"},
        {"--libary=x", NULL, "--libary: unknown option, the nearest name is --library"},
        {"--hlep", NULL, "--hlep: unknown option, the nearest name is --help"},
        {"--no-bitrate", NULL, "--no-bitrate: unknown option, the nearest name is --bitrate"},
        {"--name", NULL, "--name: needs a value: TEXT"},
        {"--name", "--loud", "--name: needs a value: TEXT"},
        {"--config", NULL, "--config: needs a value"},
        {"--loud=yes", NULL, "--loud: \"yes\" is too much, this option takes no value"},
        {"--help=me", NULL, "--help: \"me\" is too much, this option takes no value"},
        {"music", NULL, "\"music\" is no option (see --help)"},
        {"-b", "128", "\"-b\" is no option (see --help)"},
        {"--", NULL, "\"--\" is no option (see --help)"},
        {"--listen=a:b:c", NULL,
         "--listen: \"a:b:c\" must be ADDR:PORT, [ADDR]:PORT, :PORT or PORT, with a port from 0 to 65535"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config c;
        int code;
        char *cause;
        enum conf_result r = load(&c, &code, &cause, cases[i].argument, cases[i].value, NULL);
        fails(EX_USAGE, cases[i].text, code, r, cause);
    }
}

static void a_wrong_file_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *file, *text; /* after "PATH:" */
    } cases[] = {
        {"[test]\n\n# x\nbitrat = 128\n", "4: bitrat: unknown option, the nearest name is \"bitrate\""},
        {"bitrate = 12\n", "1: bitrate: \"12\" is not a whole number from 64 to 320 kbit/s"},
        {"\n[tset]\n", "2: [tset]: unknown section, the only one is [test]"},
        {"[test]\nloud = maybe\n", "2: loud: \"maybe\" is none of yes, no, true, false, on, off, 1, 0"},
        {"[test]\nlog-level=x\n", "2: log-level: \"x\" is none of error|warn|info|debug"},
        {"[test]\nbitrate\n", "2: neither \"name = value\" nor a section nor a comment"},
        {"[test\nbitrate=128\n", "1: neither \"name = value\" nor a section nor a comment"},
        {"bitrate=128\nname=x\nbitrate=192\n", "3: bitrate: set a second time, first in line 1"},
        {"listen = 70000\n",
         "1: listen: \"70000\" must be ADDR:PORT, [ADDR]:PORT, :PORT or PORT, with a port from 0 to 65535"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config c;
        int code;
        char *cause, *text = xasprintf("%s:%s", path, cases[i].text);
        write_file(cases[i].file);
        /* also when the command line would override it */
        enum conf_result r = load(&c, &code, &cause, "--bitrate=64", "--config", path, NULL);
        fails(EX_CONFIG, text, code, r, cause);
        free(text);
    }
    struct config c;
    int code;
    char *cause, *text = xasprintf("%s: can't be read: Is a directory", dir);
    enum conf_result r = load(&c, &code, &cause, "--config", dir, NULL);
    fails(EX_NOINPUT, text, code, r, cause);
    free(text);
    r = load(&c, &code, &cause, "--config=/nonexistent/x.conf", NULL);
    fails(EX_NOINPUT, "/nonexistent/x.conf: can't be read: No such file or directory", code, r, cause);
}

static void long_lines_are_whole_or_refused(void **state)
{
    (void)state;
    struct config c;
    int code;
    char *cause, *text = xmalloc(6000);
    memcpy(text, "name = ", 7);
    memset(text + 7, 'x', 3000);
    strcpy(text + 3007, "\nbitrate = 64\n");
    write_file(text);
    assert_int_equal(load(&c, &code, &cause, "--config", path, NULL), CONF_RUN);
    assert_int_equal(strlen(c.name), 3000);
    assert_int_equal(c.bitrate, 64);
    conf_free(&table, &c);
    memset(text + 7, 'x', 5900);
    strcpy(text + 5907, "\n");
    write_file(text);
    enum conf_result r = load(&c, &code, &cause, "--config", path, NULL);
    snprintf(text, 6000, "%s:1: the line is too long", path);
    fails(EX_CONFIG, text, code, r, cause);
    free(text);
}

static void a_wrong_environment_is_told(void **state)
{
    (void)state;
    struct config c;
    int code;
    char *cause;
    setenv("FOREVER_TEST_BITRATE", "lots", 1);
    enum conf_result r = load(&c, &code, &cause, NULL);
    fails(EX_CONFIG, "FOREVER_TEST_BITRATE: \"lots\" is not a whole number from 64 to 320 kbit/s", code, r,
          cause);
    unsetenv("FOREVER_TEST_BITRATE");
}

/* What writes prints. */
static char *printed(void (*write)(FILE *out))
{
    char *text;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    write(f);
    fclose(f);
    return text;
}

static void write_help(FILE *out)
{
    conf_write_help(&table, out);
}

static void write_manual(FILE *out)
{
    conf_write_manual(&table, out);
}

static void write_example(FILE *out)
{
    conf_write_example(&table, out);
}

static struct config kept;

static void write_values(FILE *out)
{
    conf_write_values(&table, &kept, out);
}

static void texts_name_every_option(void **state)
{
    (void)state;
    char *help = printed(write_help), *manual = printed(write_manual), *example = printed(write_example);
    for (size_t i = 0; i < table.count; i++) {
        char *in_example = xasprintf("\n#%s =", options[i].name);
        assert_non_null(strstr(help, options[i].name));
        assert_non_null(strstr(example, in_example));
        free(in_example);
    }
    assert_non_null(strstr(help, "(64 to 320 kbit/s, default 192)"));
    assert_non_null(strstr(help, "  --bitrate KBITS "));
    assert_non_null(strstr(help, "--[no-]loud"));
    assert_non_null(strstr(
        manual, ".It Fl \\-log\\-level Ar NAME\nHow much to tell (error|warn|info|debug, default info).\n"));
    for (char *line = strtok(help, "\n"); line; line = strtok(NULL, "\n"))
        assert_true(strlen(line) <= 100);
    /* the example is a valid file, also with every default uncommented */
    write_file(example);
    int code;
    char *cause;
    assert_int_equal(load(&kept, &code, &cause, "--config", path, NULL), CONF_RUN);
    conf_free(&table, &kept);
    for (size_t i = 0; example[i]; i++) {
        if (example[i] == '\n' && example[i + 1] == '#' && example[i + 2] != ' ') example[i + 1] = ' ';
    }
    write_file(example);
    assert_int_equal(load(&kept, &code, &cause, "--config", path, NULL), CONF_RUN);
    assert_int_equal(kept.bitrate, 192);
    conf_free(&table, &kept);
    free(help);
    free(manual);
    free(example);
}

static void values_can_be_read_back(void **state)
{
    (void)state;
    int code;
    char *cause;
    assert_int_equal(
        load(&kept, &code, &cause, "--name=n", "--library=/a", "--library=/b", "--loud", "--lead=2.25", NULL),
        CONF_RUN);
    char *text = printed(write_values);
    conf_free(&table, &kept);
    write_file(text);
    free(text);
    assert_int_equal(load(&kept, &code, &cause, "--config", path, NULL), CONF_RUN);
    assert_true(kept.loud == 1 && kept.lead == 2.25 && kept.libraries.count == 2);
    assert_string_equal(kept.name, "n");
    assert_string_equal(kept.libraries.items[1], "/b");
    conf_free(&table, &kept);
}

static void addresses_are_split(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        int port;
    } good[] = {{"127.0.0.1:8000", "127.0.0.1", 8000},
                {"[::1]:80", "::1", 80},
                {":0", "", 0},
                {"8000", "", 8000},
                {"host:65535", "host", 65535}};
    static const char *const bad[] = {
        "",        ":",     "host",   "1.2.3.4", "1.2.3.4:", "::1:80",   "[::1]",
        "[::1]80", "[]:80", ":65536", ":-1",     ":8000x",   "a:123456", "[::1:80"};
    char host[64];
    int port;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(conf_parse_listen(good[i].text, host, &port, NULL), 0);
        assert_string_equal(host, good[i].host);
        assert_int_equal(port, good[i].port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *cause = NULL;
        if (conf_parse_listen(bad[i], host, &port, &cause) != -1) fail_msg("\"%s\" passed", bad[i]);
        assert_non_null(cause);
        free(cause);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sources_have_an_order),       cmocka_unit_test(a_wrong_command_line_is_told),
        cmocka_unit_test(a_wrong_file_is_told),        cmocka_unit_test(long_lines_are_whole_or_refused),
        cmocka_unit_test(a_wrong_environment_is_told), cmocka_unit_test(texts_name_every_option),
        cmocka_unit_test(values_can_be_read_back),     cmocka_unit_test(addresses_are_split),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
