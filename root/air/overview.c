#include "root/air/overview.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/json.h"

#define STARTING_S 30 /* relays have so long to report after the root's start */
#define LAG_NOTE_S 0.5
#define FDS_NOTE   0.9

const char *const overview_levels[3] = {"good", "note", "bad"};

static void __attribute__((format(printf, 3, 4)))
say(struct overview *o, enum overview_level level, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(o->words, sizeof o->words, format, ap);
    va_end(ap);
    o->level = level;
}

static const char *bytes_text(uint64_t bytes, char out[24])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double n = (double)bytes;
    size_t i = 0;
    for (; n >= 999.5 && i < sizeof units / sizeof *units - 1; i++)
        n /= 1000;
    snprintf(out, 24, i && n < 99.95 ? "%.1f %s" : "%.0f %s", n, units[i]);
    return out;
}

static const char *span_text(double s, char out[24])
{
    if (s >= 2 * 86400)
        snprintf(out, 24, "%.0f days", s / 86400);
    else if (s >= 2 * 3600)
        snprintf(out, 24, "%.0f h", s / 3600);
    else if (s >= 120)
        snprintf(out, 24, "%.0f min", s / 60);
    else
        snprintf(out, 24, "%.0f s", s);
    return out;
}

static const char *day_text(int64_t s, char out[24])
{
    time_t t = (time_t)s;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(out, 24, "%-d %b", &tm);
    return out;
}

/* The worst comes first. */
static void choose_words(struct overview *o)
{
    const struct registry_view *v = &o->view;
    const struct relay_terms *t = v->terms;
    char a[24], b[24];
    if (o->awaited && !v->healthy) {
        say(o, OVERVIEW_NOTE, "not enrolled yet");
    } else if (isinf(v->age_s)) {
        say(o, o->root_up_s < STARTING_S ? OVERVIEW_NOTE : OVERVIEW_BAD, "silent since the root started");
    } else if (!v->healthy) {
        say(o, OVERVIEW_BAD, "silent for %s", span_text(v->age_s, a));
    } else if (!v->reachable && o->reach_words) {
        say(o, OVERVIEW_BAD, "can't be reached: %.120s", o->reach_words);
    } else if (t->allotment_bytes && o->month.sent_bytes >= t->allotment_bytes) {
        say(o, OVERVIEW_BAD, "allotment used up: no new listeners until %s", day_text(o->month.ends_s, a));
    } else if (o->book && o->book->detail.fd_limit &&
               (double)o->book->detail.fds > FDS_NOTE * (double)o->book->detail.fd_limit) {
        say(o, OVERVIEW_BAD, "runs out of descriptors: %llu of %llu", (unsigned long long)o->book->detail.fds,
            (unsigned long long)o->book->detail.fd_limit);
    } else if (!v->reachable) {
        say(o, OVERVIEW_NOTE, "not called back yet: no listeners so far");
    } else if (v->draining || t->drained) {
        say(o, OVERVIEW_NOTE, "drains: no new listeners");
    } else if (t->allotment_bytes && o->projected_bytes > t->allotment_bytes) {
        say(o, OVERVIEW_NOTE, "on course for %s of %s", bytes_text(o->projected_bytes, a),
            bytes_text(t->allotment_bytes, b));
    } else if (v->max_listeners && v->listeners >= v->max_listeners) {
        say(o, OVERVIEW_NOTE, "full");
    } else if (!isnan(v->lag_s) && fabs(v->lag_s) > LAG_NOTE_S) {
        say(o, OVERVIEW_NOTE, "%.1f s %s", fabs(v->lag_s), v->lag_s > 0 ? "behind" : "ahead");
    } else if (v->listeners || v->pulling) {
        say(o, OVERVIEW_GOOD, "plays");
    } else {
        say(o, OVERVIEW_GOOD, v->kind == REGISTRY_ICECAST ? "plays" : "asleep: nobody listens");
    }
}

void overview_judge(struct overview *o)
{
    static const struct book nothing;
    const struct book *book = o->book ? o->book : &nothing;
    const struct relay_terms *t = o->view.terms;
    book_month(book, t, o->now_s, &o->month);
    book_month_before(book, t, o->now_s, &o->before);
    const struct billing_month month = {o->month.begins_s, o->month.ends_s};
    o->gone = billing_gone(&month, o->now_s);
    o->projected_bytes = billing_projected(&month, o->now_s, o->month.sent_bytes);
    choose_words(o);
}

double overview_cost(const struct relay_terms *terms, uint64_t bytes)
{
    return (double)bytes / TERMS_GB * terms->price_per_gb;
}

/* JSON */

static void put(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value));
}

static void put_allotment(json_t *object, const struct relay_terms *t)
{
    json_object_set_new(object, "allotment_bytes",
                        t->allotment_bytes ? json_integer((json_int_t)t->allotment_bytes) : json_null());
}

json_t *overview_json(const struct overview *o)
{
    const struct registry_view *v = &o->view;
    json_t *row = json_pack("{s:s,s:s,s:s,s:s,s:s,s:{s:s,s:s},s:b,s:b,s:b,s:b,s:b}", "name", v->name,
                            "public_url", v->url ? v->url : "", "version", v->version ? v->version : "",
                            "kind", v->kind == REGISTRY_ICECAST ? "icecast" : "forever", "region",
                            v->terms->region, "health", "level", overview_levels[o->level], "words", o->words,
                            "healthy", v->healthy, "enrolled", v->enrolled, "reachable", v->reachable,
                            "draining", v->draining || v->terms->drained, "pulling", v->pulling);
    if (!row) return json_object(); /* a text that is no UTF-8; those are not taken in */
    json_object_set_new(row, "upstream", o->tree.upstream ? json_string(o->tree.upstream) : json_null());
    json_object_set_new(row, "parent", o->tree.parent ? json_string(o->tree.parent) : json_null());
    put(row, "feeds", o->tree.feeds);
    put(row, "listeners", v->listeners);
    put(row, "max_listeners", v->max_listeners);
    put(row, "accepted", v->accepted);
    put(row, "closed", v->closed);
    put(row, "bytes_in", v->bytes_in);
    put(row, "bytes_out", v->bytes_out);
    put(row, "redirects", v->redirects);
    put(row, "sessions", v->sessions);
    json_object_set_new(row, "tickets",
                        json_pack("{s:I,s:I,s:I}", "redeemed", (json_int_t)v->redeemed, "expired",
                                  (json_int_t)v->expired, "refused", (json_int_t)v->unwanted));
    json_object_set_new(row, "lag_s", json_finite(v->lag_s));
    json_object_set_new(row, "lead_s", json_finite(v->lead_s));
    json_object_set_new(row, "report_age_s", json_finite(v->age_s));
    json_t *month = json_pack("{s:I,s:I,s:f}", "since", (json_int_t)o->month.begins_s, "until",
                              (json_int_t)o->month.ends_s, "gone", o->gone);
    put(month, "used_bytes", o->month.sent_bytes);
    put(month, "projected_bytes", o->projected_bytes);
    put_allotment(month, v->terms);
    json_object_set_new(row, "month", month);
    return row;
}

json_t *overview_ledger_json(const struct overview *o)
{
    const struct relay_terms *t = o->view.terms;
    json_t *row = json_pack("{s:s,s:i,s:I,s:I,s:f,s:f}", "name", o->view.name, "reset_day",
                            t->reset_day ? t->reset_day : 1, "since", (json_int_t)o->month.begins_s, "until",
                            (json_int_t)o->month.ends_s, "gone", o->gone, "price_per_gb", t->price_per_gb);
    if (!row) return json_object();
    put(row, "used_bytes", o->month.sent_bytes);
    put(row, "projected_bytes", o->projected_bytes);
    put_allotment(row, t);
    json_object_set_new(row, "cost", json_real(overview_cost(t, o->month.sent_bytes)));
    json_object_set_new(row, "projected_cost", json_real(overview_cost(t, o->projected_bytes)));
    json_t *before = json_pack("{s:I,s:I,s:f}", "since", (json_int_t)o->before.begins_s, "until",
                               (json_int_t)o->before.ends_s, "cost", overview_cost(t, o->before.sent_bytes));
    put(before, "used_bytes", o->before.sent_bytes);
    json_object_set_new(row, "before", before);
    return row;
}
