#include "root/air/books.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"

#define DAY_S INT64_C(86400)
#define FIRST 64

_Static_assert(BILLING_DAYS == 64 && SAMPLE_DAYS_MAX >= BILLING_DAYS, "a bit for each slot");

/* Invariant: slots is a power of two, more than twice count; a slot holds the place of a book in list and 1.
 */
struct books {
    struct book **list;
    size_t count, room;
    uint32_t *slots;
    size_t slot_count;
    uint32_t sweeps;
    int loaded;
};

/* FNV-1a: names come from relays that hold a credential. */
static size_t hash_of(const char *name)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(1099511628211);
    return (size_t)(hash ^ hash >> 32);
}

static void enter(struct books *b, uint32_t place)
{
    size_t at = hash_of(b->list[place]->name) & (b->slot_count - 1);
    while (b->slots[at])
        at = (at + 1) & (b->slot_count - 1);
    b->slots[at] = place + 1;
}

static void hash_anew(struct books *b)
{
    size_t want = FIRST;
    while (want <= b->room * 2)
        want *= 2;
    free(b->slots);
    b->slots = xcalloc(want, sizeof *b->slots);
    b->slot_count = want;
    for (size_t i = 0; i < b->count; i++)
        enter(b, (uint32_t)i);
}

struct books *books_new(void)
{
    struct books *b = xcalloc(1, sizeof *b);
    b->room = FIRST;
    b->list = xcalloc(b->room, sizeof *b->list);
    hash_anew(b);
    return b;
}

static void book_free(struct book *book)
{
    detail_free(&book->detail);
    free(book);
}

void books_free(struct books *b)
{
    if (!b) return;
    for (size_t i = 0; i < b->count; i++)
        book_free(b->list[i]);
    free(b->list);
    free(b->slots);
    free(b);
}

struct book *books_find(const struct books *b, const char *name)
{
    for (size_t at = hash_of(name) & (b->slot_count - 1); b->slots[at]; at = (at + 1) & (b->slot_count - 1)) {
        struct book *book = b->list[b->slots[at] - 1];
        if (!strcmp(book->name, name)) return book;
    }
    return NULL;
}

struct book *books_get(struct books *b, const char *name)
{
    struct book *book = books_find(b, name);
    if (!book && (b->count == BOOKS_MAX || strlen(name) > TERMS_NAME_MAX)) return NULL;
    if (!book) {
        book = xcalloc(1, sizeof *book);
        snprintf(book->name, sizeof book->name, "%s", name);
        book->loaded = b->loaded != 0;
        if (b->count == b->room) {
            b->room *= 2;
            b->list = xrealloc(b->list, b->room * sizeof(struct book *));
            hash_anew(b);
        }
        b->list[b->count++] = book;
        enter(b, (uint32_t)(b->count - 1));
    }
    book->sweep = b->sweeps;
    return book;
}

size_t books_count(const struct books *b)
{
    return b->count;
}

struct book *books_at(const struct books *b, size_t index)
{
    return index < b->count ? b->list[index] : NULL;
}

void books_sweep(struct books *b)
{
    size_t kept = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct book *book = b->list[i];
        if (b->sweeps - book->sweep > 1 && (!book->unsaved || !b->loaded))
            book_free(book);
        else
            b->list[kept++] = book;
    }
    b->sweeps++;
    if (kept == b->count) return;
    b->count = kept;
    hash_anew(b);
}

/* The ledger */

static int reset_day(const struct relay_terms *terms)
{
    return terms->reset_day ? terms->reset_day : 1;
}

static struct billing_month month_of(const struct relay_terms *terms, int64_t now_s)
{
    return billing_month(now_s, reset_day(terms));
}

static void mark(struct book *book, int64_t now_s)
{
    book->unsaved |= UINT64_C(1) << (now_s / DAY_S % BILLING_DAYS);
}

static void add(struct book *book, int64_t now_s, uint64_t bytes)
{
    if (!bytes) return;
    billing_add(&book->tally, now_s, bytes);
    mark(book, now_s);
}

void book_count(struct book *book, const struct registry_view *view, int64_t now_s)
{
    /* at first sight nobody knows when it was sent: the relay's own ledger does */
    if (book->counting && view->bytes_out > book->bytes_out) {
        uint64_t more = (uint64_t)((double)(view->bytes_out - book->bytes_out) * BILLING_OVERHEAD);
        if (!book->loaded) book->fresh += more;
        add(book, now_s, more);
    }
    book->bytes_out = view->bytes_out;
    book->counting = 1;
}

void book_forget(struct book *book)
{
    memset(&book->tally, 0, sizeof book->tally);
    book->fresh = book->unsaved = 0;
    book->counting = 0;
    book->tick = 0;
}

void book_raise(struct book *book, const struct relay_terms *terms, int64_t since_s, uint64_t bytes,
                int64_t now_s)
{
    struct billing_month month = month_of(terms, now_s);
    if (since_s == month.start_s && billing_raise(&book->tally, &month, now_s, bytes)) mark(book, now_s);
}

void book_told(struct book *book, const struct relay_terms *terms, const struct json_flat *ledger,
               int64_t now_s)
{
    int bad = 0;
    int64_t since_s = json_flat_int_or(ledger, "since", -1, 0, INT64_MAX, &bad);
    int64_t bytes = json_flat_int_or(ledger, "bytes", 0, 0, INT64_MAX, &bad);
    if (ledger && !bad) book_raise(book, terms, since_s, (uint64_t)bytes, now_s);
}

void book_month(const struct book *book, const struct relay_terms *terms, int64_t now_s,
                struct registry_month *out)
{
    struct billing_month month = month_of(terms, now_s);
    *out = (struct registry_month){.sent_bytes = billing_sum(&book->tally, month.start_s, month.end_s),
                                   .begins_s = month.start_s,
                                   .ends_s = month.end_s};
}

void book_month_before(const struct book *book, const struct relay_terms *terms, int64_t now_s,
                       struct registry_month *out)
{
    struct billing_month month = month_of(terms, now_s);
    book_month(book, terms, month.start_s - 1, out);
}

void book_answer(const struct registry_month *month, const struct relay_terms *terms,
                 struct json_write *answer)
{
    uint64_t bytes = month->sent_bytes > INT64_MAX ? INT64_MAX : month->sent_bytes;
    json_write_open(answer, "ledger", '{');
    json_write_int(answer, "since", month->begins_s);
    json_write_int(answer, "bytes", (int64_t)bytes);
    json_write_int(answer, "reset_day", reset_day(terms));
    json_write_close(answer, '}');
}

int book_look(struct book *book, const struct registry_view *v, int64_t tick, int whole, struct sample *out)
{
    const uint64_t now[SAMPLE_COUNTERS] = {[SAMPLE_BYTES_IN] = v->bytes_in,
                                           [SAMPLE_BYTES_OUT] = v->bytes_out,
                                           [SAMPLE_ACCEPTED] = v->accepted,
                                           [SAMPLE_CLOSED] = v->closed,
                                           [SAMPLE_REDIRECTS] = v->redirects};
    if (!v->healthy) return 0;
    int known = whole && book->tick && book->tick == tick - 1;
    *out = (struct sample){.n = 1};
    book->tick = tick;
    sample_count(out, now, book->seen);
    sample_cpu(out, v->cpu_s, &book->seen_cpu_s, known ? (double)SAMPLE_STEP_S : 0);
    sample_measure(out, SAMPLE_LISTENERS, (int64_t)v->listeners);
    if (!isnan(v->lag_s) && fabs(v->lag_s) < 1e6)
        sample_measure(out, SAMPLE_LAG, (int64_t)lround(v->lag_s * 1e6));
    if (v->rss_bytes) sample_measure(out, SAMPLE_RSS, v->rss_bytes >> 10);
    return known;
}

/* The store */

/* What was counted since the start belongs on top of what is stored; what the relay told meanwhile is in its
 * next report again. */
void books_load(struct books *b, const char *name, const json_t *days, int64_t now_s)
{
    struct book *book = books_get(b, name);
    if (!book || book->loaded) return;
    int64_t today = now_s / DAY_S;
    memset(&book->tally, 0, sizeof book->tally);
    book->unsaved = 0;
    for (size_t i = 0; i + 1 < json_array_size(days); i += 2) {
        json_int_t day = json_integer_value(json_array_get(days, i)),
                   bytes = json_integer_value(json_array_get(days, i + 1));
        if (day > today - BILLING_DAYS && day <= today + 1 && bytes > 0)
            billing_add(&book->tally, day * DAY_S, (uint64_t)bytes);
    }
    add(book, now_s, book->fresh);
    book->fresh = 0;
    book->loaded = 1;
}

void books_loaded(struct books *b)
{
    for (size_t i = 0; i < b->count; i++)
        b->list[i]->loaded = 1;
    b->loaded = 1;
}

int books_are_loaded(const struct books *b)
{
    return b->loaded;
}

size_t book_unsaved(struct book *book, struct sample_day *out)
{
    size_t n = 0;
    for (int i = 0; i < BILLING_DAYS; i++) {
        if (!(book->unsaved >> i & 1) || !book->tally.bytes[i]) continue;
        out[n++] = (struct sample_day){book->tally.days[i], book->tally.bytes[i]};
    }
    book->unsaved = 0;
    return n;
}

void books_all_unsaved(struct books *b)
{
    for (size_t i = 0; i < b->count; i++) {
        struct book *book = b->list[i];
        for (int k = 0; k < BILLING_DAYS; k++)
            book->unsaved |= (uint64_t)(book->tally.bytes[k] != 0) << k;
    }
}
