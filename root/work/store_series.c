/* Statistics over time and the traffic ledger: what air tells every 10 s is written in one transaction, and
 * summed up when nothing else is to be done. When their file can't be had, the store does without: the music
 * goes on. */
#include "root/work/store.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/library/series.h"
#include "root/sample.h"

#define NAMES_MAX    50
#define LEDGER_PAGE  200 /* nodes of one answer */
#define LEARNED_PAGE 1000

void store_series_open(struct store *s)
{
    char *cause = NULL;
    s->batch_open = 0;
    s->series_due = 1;
    if (!series_open(&s->series, s->work->state, &cause)) return;
    log_error("store", "no statistics over time, no ledger: %s", cause);
    free(cause);
    s->series_due = 0;
}

void store_series_close(struct store *s)
{
    if (s->batch_open) series_undo(s->series);
    series_close(s->series);
    s->series = NULL;
    s->series_due = 0;
}

/* After a failure: a damaged file is set aside and a new one begun; the relays' ledgers come back by their
 * reports. */
static void look_after(struct store *s)
{
    if (s->batch_open) series_undo(s->series);
    s->batch_open = 0;
    if (!series_broken(s->series)) return;
    store_series_close(s);
    store_series_open(s);
}

void store_on_series(struct store *s, const uint8_t *bytes, size_t len)
{
    struct sample_reader reader;
    struct sample_node node;
    if (!s->series) return;
    if (sample_reader_begin(&reader, bytes, len)) {
        log_error("store", "a batch of statistics is malformed");
        return;
    }
    int got = 0;
    if (s->batch_open && s->batch_t != reader.t) { /* its end got lost */
        s->batch_open = 0;
        got = series_commit(s->series);
    }
    if (!got && !s->batch_open) {
        got = series_begin(s->series);
        s->batch_open = !got;
        s->batch_t = reader.t;
    }
    while (!got && (got = sample_reader_next(&reader, &node)) > 0)
        got = series_put(s->series, reader.t, &node);
    if (!got && reader.last) {
        s->batch_open = 0;
        s->series_due = 1;
        got = series_commit(s->series);
    }
    if (got) look_after(s);
}

void store_series_work(struct store *s)
{
    if (!s->series || s->batch_open) {
        s->series_due = 0; /* until the batch's end */
        return;
    }
    int more = series_work(s->series, clock_wall_ns() / CLOCK_NS_PER_S);
    s->series_due = more > 0;
    if (more < 0) look_after(s);
}

void store_on_series_get(struct store *s, uint32_t seq, const json_t *body)
{
    int bad = 0;
    int64_t from_s = json_int_or(body, "from", 0, 0, INT64_MAX / 2, &bad);
    int64_t to_s = json_int_or(body, "to", 0, from_s, INT64_MAX / 2, &bad);
    int64_t step_s = json_int_or(body, "step", 0, SAMPLE_STEP_S, INT32_MAX, &bad);
    const json_t *names = json_object_get(body, "names"), *name;
    size_t i, count = json_array_size(names);
    if (!s->series) {
        store_reply_error(s, seq, "there are no statistics over time: their file can't be opened");
        return;
    }
    if (bad || !count || count > NAMES_MAX || step_s % SAMPLE_STEP_S || from_s % step_s ||
        (to_s - from_s) / sample_levels[sample_level_of(step_s)].step_s > SAMPLE_ROWS_MAX / (int64_t)count) {
        store_reply_error(s, seq, "the question is malformed");
        return;
    }
    json_t *series = json_object();
    int failed = 0;
    json_array_foreach(names, i, name)
    {
        json_t *columns = sample_columns();
        const char *text = json_string_value(name);
        failed |= !text || series_read(s->series, text, from_s, to_s, step_s, columns);
        json_object_set_new(series, text ? text : "", columns);
    }
    if (failed) {
        json_decref(series);
        store_reply_error(s, seq, "the statistics can't be read");
        look_after(s);
        return;
    }
    work_send(s->work, WIRE_SERIES_IS, seq,
              json_pack("{s:I,s:I,s:I,s:o}", "from", (json_int_t)from_s, "to", (json_int_t)to_s, "step",
                        (json_int_t)step_s, "series", series),
              -1);
}

void store_on_ledger_drop(struct store *s, const json_t *body)
{
    if (s->series &&
        series_ledger_drop(s->series, json_str_or(body, "name", "", NULL), clock_wall_ns() / CLOCK_NS_PER_S))
        look_after(s);
}

void store_on_ledger_get(struct store *s, uint32_t seq, const json_t *body)
{
    int bad = 0;
    int64_t after = json_int_or(body, "after", 0, 0, INT64_MAX, &bad);
    int64_t from_day = json_int_or(body, "from_day", 0, 0, INT32_MAX, &bad);
    int64_t to_day = json_int_or(body, "to_day", 0, from_day, from_day + LEDGER_DAYS, &bad);
    json_t *relays = json_array();
    int count =
        s->series && !bad ? series_ledger(s->series, &after, from_day, to_day, LEDGER_PAGE, relays) : -1;
    if (count < 0) {
        json_decref(relays);
        store_reply_error(s, seq, "the ledger can't be read");
        return;
    }
    work_send(
        s->work, WIRE_LEDGER_IS, seq,
        json_pack("{s:o,s:I,s:b}", "relays", relays, "after", (json_int_t)after, "last", count < LEDGER_PAGE),
        -1);
}

/* Within the batch that is open, or in a transaction of its own. */
void store_on_learned(struct store *s, const json_t *body)
{
    const json_t *one;
    size_t i;
    if (!s->series) return;
    int own = !s->batch_open, failed = own && series_begin(s->series);
    json_array_foreach(json_object_get(body, "nodes"), i, one)
    {
        if (!failed)
            failed =
                series_learn(s->series, json_str_or(one, "name", "", NULL), json_object_get(one, "values"));
    }
    if (own && !failed) failed = series_commit(s->series);
    if (failed && own) series_undo(s->series);
    if (failed) look_after(s);
}

void store_on_learned_get(struct store *s, uint32_t seq, const json_t *body)
{
    int64_t after = json_int_or(body, "after", 0, 0, INT64_MAX, NULL);
    json_t *nodes = json_array();
    int count = s->series ? series_learned(s->series, &after, LEARNED_PAGE, nodes) : -1;
    if (count < 0) {
        json_decref(nodes);
        store_reply_error(s, seq, "what was learned can't be read");
        return;
    }
    work_send(
        s->work, WIRE_LEARNED_IS, seq,
        json_pack("{s:o,s:I,s:b}", "nodes", nodes, "after", (json_int_t)after, "last", count < LEARNED_PAGE),
        -1);
}
