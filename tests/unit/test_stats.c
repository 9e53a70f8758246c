#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <event2/buffer.h>
#include <cmocka.h>

#include "common/mem.h"
#include "common/stats.h"

enum { LISTENERS, BYTES };
static const struct stats_row rows[] = {
    [LISTENERS] = {"forever_listeners", STATS_GAUGE, "Listeners now."},
    [BYTES] = {"forever_bytes_total", STATS_COUNTER, "With a \\ and a\nnew line."},
};

static char *take(struct evbuffer *out)
{
    size_t len = evbuffer_get_length(out);
    char *text = xmalloc(len + 1);
    evbuffer_remove(out, text, len);
    text[len] = '\0';
    evbuffer_free(out);
    return text;
}

static void the_table_is_written(void **state)
{
    (void)state;
    struct stats s;
    struct evbuffer *out = evbuffer_new();
    stats_init(&s, rows, 2);
    s.values[LISTENERS] = 2.5;
    s.values[BYTES] += 9007199254740991.0;
    stats_write(&s, out);
    char *text = take(out);
    assert_string_equal(text, "# HELP forever_listeners Listeners now.\n# TYPE forever_listeners gauge\n"
                              "forever_listeners 2.5\n"
                              "# HELP forever_bytes_total With a \\\\ and a\\nnew line.\n"
                              "# TYPE forever_bytes_total counter\nforever_bytes_total 9007199254740991\n");
    free(text);
    stats_free(&s);
}

static void values_that_are_no_numbers(void **state)
{
    (void)state;
    struct evbuffer *out = evbuffer_new();
    stats_write_sample(out, "a", NULL, NAN);
    stats_write_sample(out, "a", "", INFINITY);
    stats_write_sample(out, "a", "k=\"v\"", -INFINITY);
    stats_write_sample(out, "a", NULL, 0.1);
    char *text = take(out);
    assert_string_equal(text, "a NaN\na +Inf\na{k=\"v\"} -Inf\na 0.10000000000000001\n");
    free(text);
}

static void labels_are_escaped_and_bounded(void **state)
{
    (void)state;
    char labels[64] = "";
    stats_label(labels, sizeof labels, "a", "x\"y\\z\n");
    stats_label(labels, sizeof labels, "b", "é");
    assert_string_equal(labels, "a=\"x\\\"y\\\\z\\n\",b=\"é\"");
    /* every size: always closed, never over, UTF-8 whole */
    for (size_t size = 1; size < 40; size++) {
        char *small = xcalloc(1, size);
        stats_label(small, size, "key", "éé\"\\ééé€€");
        size_t n = strlen(small);
        assert_true(n < size);
        if (n == 0) {
            free(small);
            continue;
        }
        assert_memory_equal(small, "key=\"", 5);
        assert_true(small[n - 1] == '"' && n > 5);
        for (size_t i = 5; i < n - 1; i++) {
            unsigned char c = (unsigned char)small[i];
            if (c < 0xc0) continue;
            for (size_t k = 1; k < (c >= 0xe0 ? 3u : 2u); k++)
                assert_int_equal((unsigned char)small[i + k] & 0xc0, 0x80);
        }
        free(small);
    }
}

static void the_process_is_read(void **state)
{
    (void)state;
    struct stats_process p;
    stats_process_read(&p);
    assert_true(p.rss_bytes > 1u << 18 && p.fds >= 3 && p.fd_limit >= p.fds && p.cpu_s >= 0);
    assert_true(p.private_bytes <= p.rss_bytes && p.pss_bytes <= p.rss_bytes);
    struct evbuffer *out = evbuffer_new();
    stats_write_process(out, "relay", INT64_C(1700000000500000000));
    char *text = take(out);
    assert_non_null(strstr(text, "\nforever_build_info{role=\"relay\",version=\"" FOREVER_VERSION "\"} 1\n"));
    assert_non_null(strstr(text, "\nprocess_start_time_seconds 1700000000.5\n"));
    assert_non_null(strstr(text, "# TYPE process_cpu_seconds_total counter\n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_written),
        cmocka_unit_test(values_that_are_no_numbers),
        cmocka_unit_test(labels_are_escaped_and_bounded),
        cmocka_unit_test(the_process_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
