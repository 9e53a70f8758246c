/* books: what the root keeps of each relay beside its last report: the traffic ledger (bytes by the day,
 * common/billing.h), what the counters were when they were looked at last, and what reports tell in passing
 * (root/air/detail.h).
 *
 * The ledger is kept at both sides. Here it grows by what a relay's counters grow, and is raised to what the
 * relay's own ledger says for the same month when that is more: the relay counts what it sends beside
 * listeners' bodies, and what nobody heard of while the root was gone. What the store has kept from earlier
 * lives comes in late (books_load): it takes the place of what was counted before it came, which is then put
 * on top, or kept when it is more.
 *
 * Pure: the caller brings the clock, in seconds since 1970. About 2 KB a relay. A book is kept as long as
 * somebody asks for it now and then (books_sweep). */
#ifndef FOREVER_ROOT_AIR_BOOKS_H
#define FOREVER_ROOT_AIR_BOOKS_H
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "common/billing.h"
#include "root/air/detail.h"
#include "root/air/registry.h"
#include "root/air/terms.h"
#include "root/sample.h"

#define BOOKS_MAX 20000 /* the registry's relays, and those that have just left it */

struct books;

struct book {
    char name[TERMS_NAME_MAX + 1];
    struct billing_tally tally;
    uint64_t fresh;     /* counted since the start, until the store has told */
    uint64_t unsaved;   /* a bit for each day's slot that the store does not have yet */
    uint64_t bytes_out; /* of the registry, as booked */
    int counting;       /* bytes_out is known */
    int8_t loaded;      /* the store has told, or has nothing */
    struct detail detail;
    /* the series: what was seen at the last tick */
    int64_t tick;
    uint64_t seen[SAMPLE_COUNTERS];
    double seen_cpu_s;
    uint32_t sweep;
};

struct books *books_new(void);
void books_free(struct books *books);
/* That relay's; made when there is none. NULL when there are BOOKS_MAX. */
struct book *books_get(struct books *books, const char *name);
struct book *books_find(const struct books *books, const char *name); /* NULL */
size_t books_count(const struct books *books);
struct book *books_at(const struct books *books, size_t index); /* in no order; NULL past the end */
/* Forgets those that nobody got since the last but one call and that the store has all of. */
void books_sweep(struct books *books);

/* The relay's counters are these now. */
void book_count(struct book *book, const struct registry_view *view, int64_t now_s);
/* The relay's own ledger has so many bytes in the month that began then; nothing when it is another month
 * than the one that is on. */
void book_raise(struct book *book, const struct relay_terms *terms, int64_t since_s, uint64_t bytes,
                int64_t now_s);
/* The same as its report's {"since","bytes"}; anything else is ignored. */
void book_told(struct book *book, const struct relay_terms *terms, const struct json_flat *ledger,
               int64_t now_s);
/* The relay is no more: nothing it has sent is known any longer. */
void book_forget(struct book *book);
/* The billing month that is on, and what was sent in it. */
void book_month(const struct book *book, const struct relay_terms *terms, int64_t now_s,
                struct registry_month *out);
/* The same for the month before. */
void book_month_before(const struct book *book, const struct relay_terms *terms, int64_t now_s,
                       struct registry_month *out);
/* What the report is answered, as the member "ledger": {"since","bytes","reset_day"}. */
void book_answer(const struct registry_month *month, const struct relay_terms *terms,
                 struct json_write *answer);

/* A look at the relay for the series: what came to pass since the look before (tick counts looks at all
 * relays, 10 s apart; whole: this one and the one before are). 1 with a sample; 0: it does not report, or did
 * not at the look before, so that nobody knows what came to pass in these 10 s. */
int book_look(struct book *book, const struct registry_view *view, int64_t tick, int whole,
              struct sample *out);

/* What the store has kept: days in any number, before books_loaded. */
void books_load(struct books *books, const char *name, const json_t *days, int64_t now_s);
/* The store has told all it has: from now on days may be written. */
void books_loaded(struct books *books);
int books_are_loaded(const struct books *books);
/* Days the store lacks, at most SAMPLE_DAYS_MAX: how many; they count as saved. */
size_t book_unsaved(struct book *book, struct sample_day *out);
/* A new store, that may have lost what the last one was told. */
void books_all_unsaved(struct books *books);

#endif
