/* A report that a test has as a tree of jansson's, given to the registry as the text that it is. */
#ifndef FOREVER_TESTS_REPORT_JSON_H
#define FOREVER_TESTS_REPORT_JSON_H
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "root/air/registry.h"

static inline int report_json(struct registry *registry, const char *name, const json_t *report,
                              int64_t now_ns, char **cause)
{
    struct json_flat cells[256];
    char *text = json_text(report);
    int result = json_flat_read(text, strlen(text), cells, 256, cause);
    if (!result) result = registry_report(registry, name, cells, now_ns, cause);
    free(text);
    return result;
}

/* What it is told of tickets; a new reference, NULL when that is nothing. */
static inline json_t *ticket_json(struct registry *registry, const char *name, int64_t now_ns)
{
    struct json_write w = {0};
    json_write_begin(&w);
    json_write_open(&w, NULL, '{');
    registry_ticket_write(registry, name, now_ns, &w);
    json_write_close(&w, '}');
    json_t *answer = json_parse(w.text, w.len, 4096, NULL),
           *ticket = json_incref(json_object_get(answer, "ticket"));
    json_decref(answer);
    json_write_free(&w);
    return ticket;
}

#endif
