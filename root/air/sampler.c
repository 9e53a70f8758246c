#include "root/air/sampler.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/stats.h"
#include "root/air/air.h"
#include "root/air/series_ask.h"

#define SLICE       512 /* relays looked at in one turn */
#define LATE_NS     (15 * CLOCK_NS_PER_S)
#define RETRY_NS    (5 * CLOCK_NS_PER_S)
#define SWEEP_TICKS 360 /* an hour */

struct sampler {
    struct air *air;
    struct books *books;
    struct series_ask *ask;
    struct sampler_counts counts;
    /* the look that is under way */
    int looking, whole; /* whole: the last look was 10 s ago, what has come to pass since is a sample */
    int64_t t, tick;
    size_t next;
    int64_t slot, looked_ns; /* the last one: wall time / 10 s, boot time */
    /* the root and the cluster at the last look */
    uint64_t root[SAMPLE_COUNTERS], cluster[SAMPLE_COUNTERS];
    double cpu_s;
    int swept;
    /* asking the store for the ledger */
    uint32_t loading;
    int64_t after, asked_ns;
};

static int64_t wall_s(void)
{
    return clock_wall_ns() / CLOCK_NS_PER_S;
}

/* Samples */

static double elapsed_s(const struct sampler *f, int64_t now_ns)
{
    return (double)(now_ns - f->looked_ns) * 1e-9;
}

static void look_at_root(struct sampler *f, struct sample_batch *batch, int64_t now_ns)
{
    struct air *air = f->air;
    struct fanout_counts c;
    struct registry_totals relays;
    struct stats_process process;
    struct sample root = {.n = 1}, cluster = {.n = 1};
    mounts_counts(air->mounts, &c);
    registry_totals(air->registry, now_ns, &relays);
    stats_process_read(&process);
    const uint64_t here[SAMPLE_COUNTERS] = {[SAMPLE_BYTES_OUT] = c.bytes + mounts_link_bytes(air->mounts),
                                            [SAMPLE_ACCEPTED] = c.opened,
                                            [SAMPLE_CLOSED] = c.closed,
                                            [SAMPLE_REDIRECTS] = air->redirects};
    /* relays that go on counting over a restart of the root did not send all of that just now */
    const struct registry_counters *old = &relays.earlier;
    const uint64_t all[SAMPLE_COUNTERS] = {[SAMPLE_BYTES_IN] = relays.bytes_in - old->bytes_in,
                                           [SAMPLE_BYTES_OUT] = c.bytes + relays.bytes_out - old->bytes_out,
                                           [SAMPLE_ACCEPTED] = c.opened + relays.accepted - old->accepted,
                                           [SAMPLE_CLOSED] = c.closed + relays.closed - old->closed,
                                           [SAMPLE_REDIRECTS] = air->redirects};
    sample_count(&root, here, f->root);
    sample_count(&cluster, all, f->cluster);
    sample_measure(&root, SAMPLE_LISTENERS, (int64_t)c.listening);
    sample_measure(&root, SAMPLE_RSS, (int64_t)(process.rss_bytes >> 10));
    sample_cpu(&root, process.cpu_s, &f->cpu_s, f->whole ? elapsed_s(f, now_ns) : 0);
    sample_measure(&cluster, SAMPLE_LISTENERS, (int64_t)(c.listening + relays.listeners));
    sample_measure(&cluster, SAMPLE_RELAYS, relays.healthy);
    if (!f->whole) return;
    sample_batch_node(batch, SAMPLER_ROOT, &root, NULL, 0);
    sample_batch_node(batch, SAMPLER_CLUSTER, &cluster, NULL, 0);
}

/* Somebody who holds the token may call itself anything. */
static int is_reserved(const char *name)
{
    return !strcmp(name, SAMPLER_CLUSTER) || !strcmp(name, SAMPLER_ROOT);
}

/* Looking */

static void begin_look(struct sampler *f, int64_t slot, int64_t now_ns)
{
    f->whole = f->looked_ns && slot == f->slot + 1 && now_ns - f->looked_ns < LATE_NS;
    f->t = (slot - 1) * SAMPLE_STEP_S;
    f->tick++;
    f->next = 0;
    f->looking = 1;
    f->slot = slot;
}

static void send_batch(struct sampler *f, struct sample_batch *batch, int last)
{
    struct switch_end *store = switchboard_serving(workers_switchboard(f->air->workers), ROLE_STORE);
    sample_batch_end(batch, last);
    if (!store || switchboard_hand(store, WIRE_SERIES, batch->bytes, batch->len, -1)) f->counts.missed++;
}

static void look(struct sampler *f, int64_t now_ns)
{
    struct sample_batch batch;
    struct registry_view v;
    struct sample sample;
    struct sample_day days[SAMPLE_DAYS_MAX];
    struct registry_month month;
    int64_t now_s = wall_s();
    /* what the ledger has is not marked as saved while nobody is there to save it */
    int serving = switchboard_serving(workers_switchboard(f->air->workers), ROLE_STORE) != NULL;
    sample_batch_begin(&batch, f->t);
    if (!f->next) {
        look_at_root(f, &batch, now_ns);
        f->looked_ns = now_ns;
    }
    int more = 0;
    for (int i = 0; i < SLICE && (more = !registry_view(f->air->registry, f->next, now_ns, &v));
         i++, f->next++) {
        struct book *book = is_reserved(v.name) ? NULL : books_get(f->books, v.name);
        if (!book) continue;
        book_count(book, &v, now_s);
        book_month(book, v.terms, now_s, &month);
        registry_set_ledger(f->air->registry, v.name, &month, now_ns);
        int known = book_look(book, &v, f->tick, f->whole, &sample);
        size_t day_count = serving && books_are_loaded(f->books) ? book_unsaved(book, days) : 0;
        if (known || day_count) sample_batch_node(&batch, v.name, known ? &sample : NULL, days, day_count);
    }
    f->looking = more;
    send_batch(f, &batch, !more);
    sample_batch_free(&batch);
    if (more) return;
    f->counts.batches++;
    if (++f->swept < SWEEP_TICKS) return;
    f->swept = 0;
    books_sweep(f->books);
}

void sampler_flush(struct sampler *f)
{
    struct sample_day days[SAMPLE_DAYS_MAX];
    size_t count = books_count(f->books);
    if (!books_are_loaded(f->books)) return;
    for (size_t i = 0; i < count;) {
        struct sample_batch batch;
        sample_batch_begin(&batch, f->t);
        for (size_t end = i + SLICE; i < count && i < end; i++) {
            struct book *book = books_at(f->books, i);
            size_t day_count = book_unsaved(book, days);
            if (day_count) sample_batch_node(&batch, book->name, NULL, days, day_count);
        }
        send_batch(f, &batch, 1);
        sample_batch_free(&batch);
    }
}

/* The ledger of earlier lives */

static void ask_ledger(struct sampler *f);

static void on_ledger(void *context, const struct msg *message, const char *error)
{
    struct sampler *f = context;
    f->loading = 0;
    json_t *body = message ? wire_body(message, NULL) : NULL;
    if (!body) {
        if (error) log_debug("sampler", "the ledger can't be had from the store: %s", error);
        return; /* asked again by and by */
    }
    const json_t *row;
    size_t i;
    json_array_foreach(json_object_get(body, "relays"), i, row)
        books_load(f->books, json_str_or(row, "name", "", NULL), json_object_get(row, "days"), wall_s());
    f->after = json_int_or(body, "after", 0, 0, INT64_MAX, NULL);
    if (json_bool_or(body, "last", true, NULL))
        books_loaded(f->books);
    else
        ask_ledger(f);
    json_decref(body);
}

static void ask_ledger(struct sampler *f)
{
    int64_t today = wall_s() / 86400;
    f->asked_ns = clock_boot_ns();
    f->loading =
        switchboard_request(workers_switchboard(f->air->workers), WIRE_LEDGER_GET,
                            json_pack("{s:I,s:I,s:I}", "after", (json_int_t)f->after, "from_day",
                                      (json_int_t)today - BILLING_DAYS + 1, "to_day", (json_int_t)today + 2),
                            on_ledger, f);
}

void sampler_store_up(struct sampler *f)
{
    books_all_unsaved(f->books);
    if (!books_are_loaded(f->books) && !f->loading) ask_ledger(f);
}

void sampler_report(struct sampler *f, const char *name, const struct json_flat *report,
                    struct json_write *answer)
{
    struct registry_view v;
    int64_t now_s = wall_s();
    struct book *book =
        registry_find(f->air->registry, name, clock_boot_ns(), &v) ? NULL : books_get(f->books, v.name);
    if (!book) return;
    struct registry_month month;
    book_count(book, &v, now_s);
    if (report) {
        book_told(book, v.terms, json_flat_get(report, "ledger"), now_s);
        detail_take(&book->detail, report);
    }
    book_month(book, v.terms, now_s, &month);
    book_answer(&month, v.terms, answer);
    registry_set_ledger(f->air->registry, name, &month, clock_boot_ns());
}

void sampler_forget(struct sampler *f, const char *name)
{
    struct book *book = f ? books_find(f->books, name) : NULL;
    if (book) book_forget(book);
    if (f && f->air->workers)
        switchboard_send(workers_switchboard(f->air->workers), ROLE_STORE, WIRE_LEDGER_DROP,
                         json_pack("{s:s}", "name", name));
}

/* Life */

void sampler_tick(struct sampler *f)
{
    int64_t now_ns = clock_boot_ns(), slot = wall_s() / SAMPLE_STEP_S;
    if (!books_are_loaded(f->books) && !f->loading && now_ns - f->asked_ns > RETRY_NS &&
        switchboard_serving(workers_switchboard(f->air->workers), ROLE_STORE))
        ask_ledger(f);
    if (!f->looking && slot != f->slot) begin_look(f, slot, now_ns);
    if (f->looking) look(f, now_ns);
}

struct sampler *sampler_new(struct air *air)
{
    struct sampler *f = xcalloc(1, sizeof *f);
    f->air = air;
    f->books = books_new();
    f->ask = series_ask_new(air, &f->counts.refused);
    f->slot = wall_s() / SAMPLE_STEP_S;
    return f;
}

void sampler_free(struct sampler *f)
{
    if (!f) return;
    series_ask_free(f->ask);
    books_free(f->books);
    free(f);
}

struct books *sampler_books(struct sampler *f)
{
    return f->books;
}

const struct sampler_counts *sampler_counts(const struct sampler *f)
{
    return &f->counts;
}

void sampler_routes(struct sampler *f)
{
    series_ask_routes(f->ask);
}
