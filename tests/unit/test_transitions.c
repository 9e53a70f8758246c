/* What airs is counted by technique and by what its certificate says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "root/air/transitions.h"

static void note(struct transitions *t, const char *text)
{
    char *cause = NULL;
    json_t *segment = json_parse(text, strlen(text), 4096, &cause);
    assert_non_null(segment);
    transitions_note(t, segment);
    json_decref(segment);
}

static char *written(const struct transitions *t)
{
    struct evbuffer *out = evbuffer_new();
    transitions_write(t, out);
    size_t n = evbuffer_get_length(out);
    char *text = xcalloc(1, n + 1);
    evbuffer_remove(out, text, n);
    evbuffer_free(out);
    return text;
}

static void check(const struct transitions *t, const char *line)
{
    char *text = written(t);
    if (!strstr(text, line)) fail_msg("no %s in\n%s", line, text);
    free(text);
}

static void test_counts(void **state)
{
    (void)state;
    struct transitions t;
    transitions_init(&t);
    check(&t, "forever_transitions_total{technique=\"blend\"} 0\n");
    check(&t, "forever_certificates_total{result=\"failed\"} 0\n");
    note(&t, "{\"technique\":\"play\"}");
    note(&t, "{\"technique\":\"live\"}");
    note(&t, "{\"technique\":\"blend\",\"certificate\":{\"passed\":true,\"failed\":[],\"tries\":0}}");
    note(&t, "{\"technique\":\"blend\",\"certificate\":{\"passed\":false,\"failed\":[\"hole\",\"bump\"],"
             "\"tries\":4}}");
    note(&t, "{\"technique\":\"fade\",\"skip\":true}");
    check(&t, "forever_transitions_total{technique=\"blend\"} 2\n");
    check(&t, "forever_transitions_total{technique=\"fade\"} 1\n");
    check(&t, "forever_certificates_total{result=\"passed\"} 1\n");
    check(&t, "forever_certificates_total{result=\"failed\"} 1\n");
    check(&t, "forever_certificate_failures_total{rule=\"hole\"} 1\n");
    check(&t, "forever_certificate_failures_total{rule=\"bump\"} 1\n");
    check(&t, "forever_transition_tries_total 6\n");
    assert_int_equal(t.techniques.used, 5);
}

/* However many names a studio makes up, the page stays small and the sum right. */
static void test_bounded(void **state)
{
    (void)state;
    struct transitions t;
    transitions_init(&t);
    for (int i = 0; i < 100; i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"technique\":\"t%d\"}", i);
        note(&t, text);
    }
    note(&t, "{\"technique\":\"bad \\\"name\\\"\"}");
    check(&t, "{technique=\"t9\"} 1\n");
    check(&t, "{technique=\"other\"} 91\n");
    assert_int_equal(t.techniques.used, TRANSITIONS_NAMES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_counts), cmocka_unit_test(test_bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
