/* ledger_sum: what the ledger (relay/ledger) counts: bytes by the day, and the larger of what two sides know.
 * Pure: the caller brings the clock, in seconds since 1970, and keeps the text. */
#ifndef FOREVER_RELAY_LEDGER_SUM_H
#define FOREVER_RELAY_LEDGER_SUM_H
#include <stdint.h>
#include <jansson.h>

#include "common/billing.h"

#define LEDGER_FILE_MAX 16384

struct ledger_sum { /* zeroed but for the day before its first use */
    struct billing_tally tally;
    int reset_day;    /* BILLING_DAY_MIN to BILLING_DAY_MAX */
    uint64_t counted; /* of the program's counter, in the tally */
};

/* The program's counter, since its start and as billed, is this now: how many bytes are new. */
uint64_t ledger_sum_sent(struct ledger_sum *sum, uint64_t sent, int64_t now_s);
/* The root's word for the month that began at since_s, of which it has so many bytes: how many were lacking
 * here and are booked now. */
uint64_t ledger_sum_told(struct ledger_sum *sum, int64_t since_s, uint64_t bytes, int64_t now_s);
/* Sent in the month that is on, and when that began. */
uint64_t ledger_sum_bytes(const struct ledger_sum *sum, int64_t now_s, int64_t *since_s);

/* The file's text, fresh memory; ended: the life ends in order. */
char *ledger_sum_text(const struct ledger_sum *sum, int ended);
/* The other way: 0, or -1 when it is no ledger, and then nothing has changed. */
int ledger_sum_read(struct ledger_sum *sum, const json_t *file, int *ended);

#endif
