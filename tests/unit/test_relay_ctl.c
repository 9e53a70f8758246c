/* The operator's words about relays, and where relays are told to find the root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/json.h"
#include "root/air/relay_ctl.h"

#define WORDS_MAX 16

/* Parses a line, whose words are separated by one space. */
static json_t *parse(const char *line, char **cause)
{
    static char copy[512];
    char *argv[WORDS_MAX];
    int argc = 0;
    strncpy(copy, line, sizeof copy - 1);
    for (char *word = strtok(copy, " "); word && argc < WORDS_MAX; word = strtok(NULL, " "))
        argv[argc++] = word;
    return relay_ctl_parse(argc, argv, cause);
}

static void words_become_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *line, *json;
    } rows[] = {
        {"list", "{\"verb\":\"relay\",\"do\":\"list\",\"terms\":{},\"link_urls\":[]}"},
        {"add fra --allotment 1TB --reset-day=5 --price 0.01/GB --uplink 1Gbit --region eu --max-listeners "
         "50",
         "{\"verb\":\"relay\",\"do\":\"add\",\"terms\":{\"allotment_bytes\":1000000000000,\"reset_day\":5,"
         "\"price_per_gb\":0.01,\"uplink_bps\":1000000000,\"region\":\"eu\",\"max_listeners\":50},\"link_"
         "urls\":[],"
         "\"name\":\"fra\"}"},
        {"invite --expires 1d fra --link-url https://a:1 --link-url=https://b",
         "{\"verb\":\"relay\",\"do\":\"invite\",\"terms\":{},\"link_urls\":[\"https://a:1\",\"https://b\"],"
         "\"expires_s\":86400,\"name\":\"fra\"}"},
        {"set fra --allotment none --region none", "{\"verb\":\"relay\",\"do\":\"set\",\"terms\":{"
                                                   "\"allotment_bytes\":0,\"region\":\"\"},\"link_urls\":[],"
                                                   "\"name\":\"fra\"}"},
        {"drain fra --deadline 90s", "{\"verb\":\"relay\",\"do\":\"drain\",\"terms\":{},\"link_urls\":[],"
                                     "\"deadline_s\":90,\"name\":\"fra\"}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *cause = NULL;
        json_t *got = parse(rows[i].line, &cause),
               *want = json_parse(rows[i].json, strlen(rows[i].json), 4096, NULL);
        if (!got || !json_equal(got, want)) fail_msg("%s: %s", rows[i].line, got ? json_text(got) : cause);
        json_decref(got);
        json_decref(want);
    }
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *line, *says;
    } rows[] = {
        {"", "relay has the verbs list, add"},
        {"ad fra", "relay has the verbs list, add"},
        {"add", "relay add needs the relay's name: 1 to 63 of a-z, 0-9 and -"},
        {"add Fra", "not \"Fra\""},
        {"add fra ams", "\"ams\" is too much"},
        {"list fra", "\"fra\" is too much"},
        {"add fra --allotment 1", "--allotment: \"1\" is no size: 1MB to 1000PB"},
        {"add fra --reset-day 29", "--reset-day: \"29\" is no whole number from 1 to 28"},
        {"add fra --uplink fast", "--uplink: \"fast\" is no rate"},
        {"add fra --expires 31d", "--expires: \"31d\" is no time from 1s to 30d"},
        {"add fra --deadline 1m", "--deadline is no option of relay add"},
        {"drain fra --deadline 2d", "from 1s to 1d"},
        {"drain fra --price 1/GB", "--price is no option of relay drain"},
        {"invite fra --icecast http://x", "--icecast is no option of relay invite"},
        {"invite fra --link-url http://x", "is not of the form https://HOST:PORT"},
        {"invite fra --public-url http://x';reboot;'", "is no address"},
        {"set fra", "relay set needs something to set"},
        {"set fra --price", "--price needs a value"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *cause = NULL;
        assert_null(parse(rows[i].line, &cause));
        if (!strstr(cause, rows[i].says)) fail_msg("%s: %s", rows[i].line, cause);
        free(cause);
    }
}

static void where_the_root_is(void **state)
{
    (void)state;
    static const struct {
        const char *host, *public_url, *url; /* url NULL: it can't be told */
    } rows[] = {
        {"127.0.0.1", "https://radio.example", "https://127.0.0.1:8001"},
        {"::1", NULL, "https://[::1]:8001"},
        {"", "https://radio.example", "https://radio.example:8001"},
        {"", "http://radio.example:8000/under", "https://radio.example:8001"},
        {"192.0.2.7", "http://[2001:db8::1]:8000", "https://[2001:db8::1]:8001"},
        {"0.0.0.0", "http://[2001:db8::1]", "https://[2001:db8::1]:8001"},
        {"", NULL, NULL},
        {"192.0.2.7", NULL, NULL},
        {"", "http://someone@radio.example", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char url[ENROL_URL_MAX + 1] = "", *cause = NULL;
        int result = relay_ctl_link_url(rows[i].host, 8001, rows[i].public_url, url, &cause);
        assert_int_equal(result, rows[i].url ? 0 : -1);
        if (rows[i].url) assert_string_equal(url, rows[i].url);
        if (!rows[i].url) assert_non_null(strstr(cause, "--link-url https://HOST:8001"));
        free(cause);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(words_become_numbers),
                                       cmocka_unit_test(what_is_wrong_is_said),
                                       cmocka_unit_test(where_the_root_is)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
