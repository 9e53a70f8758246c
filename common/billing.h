/* billing: months as providers of traffic count them: from a day of the month at 00:00 UTC to the same day of
 * the next month. Pure arithmetic on the calendar of the Gregorian year: UTC knows no summer time, and a day
 * from 1 to 28 exists in every month.
 *
 * A tally keeps bytes by the day, which is what any billing month is made of: whoever changes the billing day
 * gets the right sum for the month as it now is. Its room is BILLING_DAYS days, two months at least. Clocks
 * may jump: bytes are booked on the day the clock shows, days that lie further back than the room are
 * forgotten, and days that lie in what is now the future are kept, and count when their month comes. */
#ifndef FOREVER_COMMON_BILLING_H
#define FOREVER_COMMON_BILLING_H
#include <stdint.h>

#define BILLING_DAY_MIN 1
#define BILLING_DAY_MAX 28
#define BILLING_DAYS    64

/* Bytes of packets for each byte of a body sent over TCP: 52 bytes of IPv4 and TCP headers (with time stamps)
 * on packets of at most 1500, response headers and metadata a listener gets beside the sound, and what is
 * sent again. Providers count packets; see docs/API.md, "The ledger", for what was measured. */
#define BILLING_OVERHEAD 1.05

struct billing_month {
    int64_t start_s, end_s; /* seconds since 1970: the first instant in it, the first one after it */
};

/* The month that holds now_s, from day reset_day on (BILLING_DAY_MIN to BILLING_DAY_MAX; others are taken as
 * the nearest of these). Times before 1970 are as good as others. */
struct billing_month billing_month(int64_t now_s, int reset_day);
/* The one before, and the one after. */
struct billing_month billing_before(const struct billing_month *month, int reset_day);
struct billing_month billing_after(const struct billing_month *month, int reset_day);
/* How much of it has gone: 0 at its start or before, 1 at its end or after. */
double billing_gone(const struct billing_month *month, int64_t now_s);
/* What the whole month will come to if it goes on as it went: bytes by the share that has gone, at least the
 * first day's, so that a minute of sending is no prediction for a month. Never less than bytes. */
uint64_t billing_projected(const struct billing_month *month, int64_t now_s, uint64_t bytes);

struct billing_tally {
    int32_t days[BILLING_DAYS];   /* days since 1970; slot d % BILLING_DAYS holds day d, or an older one */
    uint64_t bytes[BILLING_DAYS]; /* of that day; 0 where there is none */
};

void billing_add(struct billing_tally *tally, int64_t now_s, uint64_t bytes);
/* Of the days [start_s, end_s), which begin and end at midnight. */
uint64_t billing_sum(const struct billing_tally *tally, int64_t start_s, int64_t end_s);
/* Somebody else counted so many bytes for the month that holds now_s: when that is more, the lack is booked
 * on the day of now_s. 1 when it was more. */
int billing_raise(struct billing_tally *tally, const struct billing_month *month, int64_t now_s,
                  uint64_t bytes);

#endif
