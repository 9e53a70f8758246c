#include "relay/ledger_sum.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/json.h"

#define DAY_S INT64_C(86400)

uint64_t ledger_sum_sent(struct ledger_sum *s, uint64_t sent, int64_t now_s)
{
    uint64_t more = sent > s->counted ? sent - s->counted : 0;
    if (!more) return 0;
    billing_add(&s->tally, now_s, more);
    s->counted = sent;
    return more;
}

uint64_t ledger_sum_bytes(const struct ledger_sum *s, int64_t now_s, int64_t *since_s)
{
    struct billing_month month = billing_month(now_s, s->reset_day);
    if (since_s) *since_s = month.start_s;
    return billing_sum(&s->tally, month.start_s, month.end_s);
}

uint64_t ledger_sum_told(struct ledger_sum *s, int64_t since_s, uint64_t bytes, int64_t now_s)
{
    struct billing_month month = billing_month(now_s, s->reset_day);
    uint64_t had = billing_sum(&s->tally, month.start_s, month.end_s);
    /* of another month: one of the clocks is off, or one side has just crossed the edge */
    if (since_s != month.start_s || !billing_raise(&s->tally, &month, now_s, bytes)) return 0;
    return bytes - had;
}

char *ledger_sum_text(const struct ledger_sum *s, int ended)
{
    json_t *days = json_object();
    for (int i = 0; i < BILLING_DAYS; i++) {
        char day[24];
        if (!s->tally.bytes[i]) continue;
        snprintf(day, sizeof day, "%lld", (long long)s->tally.days[i]);
        json_object_set_new(days, day, json_integer((json_int_t)s->tally.bytes[i]));
    }
    json_t *o =
        json_pack("{s:i,s:i,s:b,s:o}", "format", 1, "reset_day", s->reset_day, "ended", ended, "days", days);
    char *text = json_text(o);
    json_decref(o);
    return text;
}

int ledger_sum_read(struct ledger_sum *s, const json_t *file, int *ended)
{
    int bad = 0;
    const char *day;
    json_t *value;
    const json_t *days = json_object_get(file, "days");
    struct ledger_sum read = {
        .reset_day = (int)json_int_or(file, "reset_day", 1, BILLING_DAY_MIN, BILLING_DAY_MAX, &bad)};
    int was_ended = json_bool_or(file, "ended", false, &bad);
    if (bad || json_int_or(file, "format", 0, 0, INT32_MAX, NULL) != 1 || !json_is_object(days)) return -1;
    json_object_foreach((json_t *)(uintptr_t)days, day, value)
    {
        char *end;
        long long number = strtoll(day, &end, 10);
        if (*end || end == day || llabs(number) > 100000000 || json_integer_value(value) <= 0) return -1;
        billing_add(&read.tally, number * DAY_S, (uint64_t)json_integer_value(value));
    }
    *s = read;
    *ended = was_ended;
    return 0;
}
