#include "root/air/reach.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fetch.h"
#include "common/log.h"
#include "common/mem.h"

#define CONNECT_MS 5000
#define TOTAL_MS   8000
#define SILENT_S   10 /* one that has not reported for so long is not called */

struct row {
    struct reach *reach;
    const struct roster_entry *entry;
    char *url, *words, session[65];
    struct dial *dial; /* under way */
    int known, reached;
    unsigned failures; /* in a row */
    int64_t due_ns, reported_ns, asked_ns;
    double ahead_s;
    void (*done)(void *context, const struct dial_result *result); /* somebody waits */
    void *context;
};

struct reach {
    struct reach_conf conf;
    struct fetch_client *client; /* made for the first call */
    unsigned dialling;
    size_t next; /* of the roster, to be looked at */
};

struct reach *reach_new(const struct reach_conf *conf)
{
    struct reach *reach = xcalloc(1, sizeof *reach);
    reach->conf = *conf;
    return reach;
}

static struct row *row_of(const struct roster_entry *entry)
{
    return entry->attached;
}

static void row_free(struct row *row)
{
    if (row->dial) row->reach->dialling--;
    dial_cancel(row->dial);
    roster_attach(row->entry, NULL);
    free(row->url);
    free(row->words);
    free(row);
}

void reach_free(struct reach *reach)
{
    if (!reach) return;
    for (size_t i = 0; i < roster_count(reach->conf.roster); i++) {
        struct row *row = row_of(roster_at(reach->conf.roster, i));
        if (row) row_free(row);
    }
    fetch_client_free(reach->client);
    free(reach);
}

static struct row *make_row(struct reach *reach, const struct roster_entry *entry)
{
    struct row *row = row_of(entry);
    if (row) return row;
    row = xcalloc(1, sizeof *row);
    row->reach = reach;
    row->entry = entry;
    row->ahead_s = NAN;
    roster_attach(entry, row);
    return row;
}

static void set_text(char **old, const char *text)
{
    if (*old && text && !strcmp(*old, text)) return;
    free(*old);
    *old = text ? xstrdup(text) : NULL;
}

static void on_dialled(void *context, const struct dial_result *result)
{
    struct row *row = context;
    struct reach *reach = row->reach;
    int64_t now_ns = clock_boot_ns();
    int before = row->reached, told = !row->words || strcmp(row->words, result->words);
    row->dial = NULL;
    reach->dialling--;
    row->failures = result->reached ? 0 : row->failures + 1;
    row->reached = result->reached || (row->reached && row->failures < 2);
    row->known = 1;
    row->asked_ns = now_ns;
    row->ahead_s = result->ahead_s;
    row->due_ns = now_ns + (result->reached ? REACH_EVERY_S
                            : row->reached  ? REACH_RETRY_S
                                            : REACH_GONE_S) *
                               CLOCK_NS_PER_S;
    set_text(&row->words, result->words);
    if (told && !result->reached)
        log_warn("relays", "%s at %s: %s", row->entry->terms.name, row->url, result->words);
    else if (told || !before)
        log_info("relays", "%s at %s: %s", row->entry->terms.name, row->url, result->words);
    if (result->reached) roster_set_url(reach->conf.roster, row->entry, row->url);
    reach->conf.told(reach->conf.context, row->entry, row->reached);
    void (*done)(void *, const struct dial_result *) = row->done;
    row->done = NULL;
    if (done) done(row->context, result);
}

static int begin(struct row *row, char **cause)
{
    struct reach *reach = row->reach;
    const struct roster_entry *e = row->entry;
    unsigned char keys[2][ENROL_HASH_BYTES];
    if (!reach->client) reach->client = fetch_client_new(reach->conf.base);
    memcpy(keys[0], e->credential.hash, sizeof keys[0]);
    memcpy(keys[1], e->next.hash, sizeof keys[1]);
    row->dial = dial_start(reach->client,
                           &(struct dial_conf){.url = row->url,
                                               .name = e->terms.name,
                                               .keys = (const unsigned char(*)[ENROL_HASH_BYTES])keys,
                                               .key_count = e->next.set ? 2 : 1,
                                               .connect_ms = CONNECT_MS,
                                               .total_ms = TOTAL_MS,
                                               .done = on_dialled,
                                               .context = row},
                           cause);
    if (!row->dial) return -1;
    reach->dialling++;
    return 0;
}

static void hang_up(struct row *row)
{
    if (row->dial) row->reach->dialling--;
    dial_cancel(row->dial);
    row->dial = NULL;
}

/* Another address: what was known of the old one does not count. */
static void set_url(struct row *row, const char *url)
{
    if (row->url && !strcmp(row->url, url)) return;
    set_text(&row->url, url);
    set_text(&row->words, NULL);
    hang_up(row);
    row->known = 0;
    row->failures = 0;
    row->due_ns = 0;
    /* where it was reached before the root started again, it is until the contrary is known */
    row->reached = row->entry->url && !strcmp(row->entry->url, url);
    row->reach->conf.told(row->reach->conf.context, row->entry, row->reached);
}

void reach_reported(struct reach *reach, const struct roster_entry *entry, const char *url,
                    const char *session, int64_t now_ns)
{
    if (!dial_url_is_sound(url) || entry->uncalled) return;
    struct row *row = make_row(reach, entry);
    set_url(row, url);
    row->reported_ns = now_ns;
    if (!strcmp(row->session, session)) return;
    strncpy(row->session, session, sizeof row->session - 1);
    row->due_ns = now_ns;
}

int reach_ask(struct reach *reach, const struct roster_entry *entry, const char *url,
              void (*done)(void *context, const struct dial_result *result), void *context, char **cause)
{
    if (!dial_url_is_sound(url))
        return cause_set(cause, "the public address must begin with http:// or https://, and have no query");
    struct row *row = make_row(reach, entry);
    struct dial_result instead = {.ahead_s = NAN, .words = "another call has begun"};
    if (row->done) row->done(row->context, &instead);
    set_url(row, url);
    row->done = NULL;
    hang_up(row); /* it may have begun before the present credential */
    if (begin(row, cause)) return -1;
    row->done = done;
    row->context = context;
    return 0;
}

void reach_unask(struct reach *reach, const struct roster_entry *entry, const void *context)
{
    (void)reach;
    struct row *row = row_of(entry);
    if (row && row->context == context) row->done = NULL;
}

void reach_forget(struct reach *reach, const struct roster_entry *entry)
{
    (void)reach;
    struct row *row = row_of(entry);
    if (!row) return;
    struct dial_result gone = {.ahead_s = NAN, .words = "the relay is not on the list any more"};
    if (row->done) row->done(row->context, &gone);
    row_free(row);
}

void reach_tick(struct reach *reach, int64_t now_ns)
{
    size_t count = roster_count(reach->conf.roster);
    for (size_t looked = 0; looked < count && reach->dialling < REACH_AT_ONCE; looked++) {
        if (reach->next >= count) reach->next = 0;
        struct row *row = row_of(roster_at(reach->conf.roster, reach->next++));
        char *cause = NULL;
        if (!row || row->dial || !row->url || row->due_ns > now_ns ||
            now_ns - row->reported_ns > SILENT_S * CLOCK_NS_PER_S || !row->reported_ns)
            continue;
        if (begin(row, &cause)) {
            log_warn("relays", "%s at %s: %s", row->entry->terms.name, row->url, cause);
            row->due_ns = now_ns + REACH_EVERY_S * CLOCK_NS_PER_S;
        }
        free(cause);
    }
}

int reach_view(const struct roster_entry *entry, struct reach_view *out)
{
    const struct row *row = row_of(entry);
    if (!row) return -1;
    *out = (struct reach_view){.known = row->known,
                               .reached = row->reached,
                               .words = row->words ? row->words : "not called yet",
                               .url = row->url,
                               .asked_ns = row->asked_ns,
                               .ahead_s = row->ahead_s};
    return 0;
}
