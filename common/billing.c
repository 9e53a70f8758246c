#include "common/billing.h"

#include <math.h>

#define DAY_S INT64_C(86400)

static int64_t day_of(int64_t s)
{
    return s >= 0 ? s / DAY_S : -((-s + DAY_S - 1) / DAY_S);
}

/* Years begin in March, so that a leap day is a year's last: 400 years have 146097 days. (Howard Hinnant,
 * "chrono-compatible low-level date algorithms".) */
static int64_t day_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void civil_from_day(int64_t days, int64_t *year, int *month, int *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097, of_era = days - era * 146097;
    int64_t years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * years + years / 4 - years / 100), march = (5 * of_year + 2) / 153;
    *day = (int)(of_year - (153 * march + 2) / 5 + 1);
    *month = (int)(march < 10 ? march + 3 : march - 9);
    *year = years + era * 400 + (*month <= 2);
}

static int64_t start_of(int64_t year, int month, int day)
{
    return day_from_civil(year, month, day) * DAY_S;
}

static int sound_day(int reset_day)
{
    return reset_day < BILLING_DAY_MIN   ? BILLING_DAY_MIN
           : reset_day > BILLING_DAY_MAX ? BILLING_DAY_MAX
                                         : reset_day;
}

struct billing_month billing_month(int64_t now_s, int reset_day)
{
    int64_t year;
    int month, day, first = sound_day(reset_day);
    civil_from_day(day_of(now_s), &year, &month, &day);
    if (day < first && --month == 0) {
        month = 12;
        year--;
    }
    int last = month == 12;
    return (struct billing_month){start_of(year, month, first),
                                  start_of(year + last, last ? 1 : month + 1, first)};
}

struct billing_month billing_before(const struct billing_month *month, int reset_day)
{
    return billing_month(month->start_s - 1, reset_day);
}

struct billing_month billing_after(const struct billing_month *month, int reset_day)
{
    return billing_month(month->end_s, reset_day);
}

double billing_gone(const struct billing_month *month, int64_t now_s)
{
    if (now_s <= month->start_s) return 0;
    if (now_s >= month->end_s) return 1;
    return (double)(now_s - month->start_s) / (double)(month->end_s - month->start_s);
}

uint64_t billing_projected(const struct billing_month *month, int64_t now_s, uint64_t bytes)
{
    double gone = fmax(billing_gone(month, now_s), (double)DAY_S / (double)(month->end_s - month->start_s));
    double all = (double)bytes / gone;
    uint64_t whole = all >= 9e18 ? UINT64_C(9000000000000000000) : (uint64_t)all;
    return whole > bytes ? whole : bytes;
}

/* A slot that another day holds is taken over, also from one that is now in the future: where clocks disagree
 * by as much as that, none is believed more than the one that counts on. */
void billing_add(struct billing_tally *t, int64_t now_s, uint64_t bytes)
{
    int64_t day = day_of(now_s);
    int i = (int)((day % BILLING_DAYS + BILLING_DAYS) % BILLING_DAYS);
    if (t->days[i] != day) t->bytes[i] = 0;
    t->days[i] = (int32_t)day;
    t->bytes[i] = bytes > UINT64_MAX - t->bytes[i] ? UINT64_MAX : t->bytes[i] + bytes;
}

uint64_t billing_sum(const struct billing_tally *t, int64_t start_s, int64_t end_s)
{
    int64_t from = day_of(start_s), to = day_of(end_s);
    uint64_t sum = 0;
    for (int i = 0; i < BILLING_DAYS; i++) {
        if (t->days[i] < from || t->days[i] >= to) continue;
        sum = t->bytes[i] > UINT64_MAX - sum ? UINT64_MAX : sum + t->bytes[i];
    }
    return sum;
}

int billing_raise(struct billing_tally *t, const struct billing_month *month, int64_t now_s, uint64_t bytes)
{
    uint64_t have = billing_sum(t, month->start_s, month->end_s);
    if (bytes <= have || now_s < month->start_s || now_s >= month->end_s) return 0;
    billing_add(t, now_s, bytes - have);
    return 1;
}
