#include "root/air/roster.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "root/air/roster_internal.h"

const char *const roster_kinds[2] = {"forever", "icecast"};

/* Rows */

static struct roster_row *row_of(const struct roster_entry *entry)
{
    return (struct roster_row *)(uintptr_t)entry;
}

static void link_key(struct roster *roster, struct roster_row *row, int which, const struct roster_key *key)
{
    roster_index_drop(&roster->secrets, &row->links[which]);
    if (key->set) roster_index_add(&roster->secrets, &row->links[which], row, roster_key_hash(key));
}

void roster_row_link(struct roster *roster, struct roster_row *row)
{
    if (!row->links[ROSTER_BY_NAME].row)
        roster_index_add(&roster->names, &row->links[ROSTER_BY_NAME], row,
                         roster_name_hash(row->entry.terms.name));
    link_key(roster, row, ROSTER_BY_CREDENTIAL, &row->entry.credential);
    link_key(roster, row, ROSTER_BY_NEXT, &row->entry.next);
    link_key(roster, row, ROSTER_BY_TOKEN, &row->entry.token);
}

static void unlink_row(struct roster *roster, struct roster_row *row)
{
    roster_index_drop(&roster->names, &row->links[ROSTER_BY_NAME]);
    for (int i = 0; i < ROSTER_BY_NAME; i++)
        roster_index_drop(&roster->secrets, &row->links[i]);
}

static void forget_handover(struct roster_row *row)
{
    if (row->handover) OPENSSL_cleanse(row->handover, strlen(row->handover));
    free(row->handover);
    row->handover = NULL;
}

void roster_row_free(struct roster *roster, struct roster_row *row)
{
    unlink_row(roster, row);
    forget_handover(row);
    free(row->entry.url);
    free(row);
}

int roster_row_add(struct roster *roster, struct roster_row *row)
{
    if (roster->count >= ROSTER_MAX) return -1;
    if (roster->count == roster->room) {
        roster->room = roster->room ? roster->room * 2 : 16;
        roster->rows = xrealloc(roster->rows, roster->room * sizeof *roster->rows);
    }
    roster->rows[roster->count++] = row;
    return 0;
}

static struct roster_row *find(const struct roster *roster, const char *name, char **cause)
{
    struct roster_row *row = row_of(roster_find(roster, name));
    if (!row) cause_set(cause, "there is no relay \"%.70s\"", name);
    return row;
}

static void tell(const struct roster *roster, const struct roster_row *row, int gone)
{
    if (roster->conf.changed) roster->conf.changed(roster->conf.context, &row->entry, gone);
}

/* The row is as it is to be, and was `before` (whose url it shares): written, or as before. */
static int commit(struct roster *roster, struct roster_row *row, const struct roster_entry *before,
                  char **cause)
{
    roster_row_link(roster, row);
    if (roster_save(roster, row, NULL, cause)) {
        row->entry = *before;
        roster_row_link(roster, row);
        return -1;
    }
    tell(roster, row, 0);
    return 0;
}

/* Life */

struct roster *roster_open(const struct roster_conf *conf, char **cause)
{
    struct roster *roster = xcalloc(1, sizeof *roster);
    roster->conf = *conf;
    roster->path = xstrdup(conf->path);
    roster->conf.path = roster->path;
    roster->journal = xasprintf("%s.journal", roster->path);
    int changed = roster_file_read(roster, cause) ? -1 : roster_journal_read(roster, cause);
    if (!changed || (changed > 0 && !roster_save_all(roster, cause))) return roster;
    roster->journal_len = 0; /* what could not be read stays as it is */
    roster_free(roster);
    return NULL;
}

static void write_waiting(struct roster *roster)
{
    char *cause = NULL;
    if (!roster->waiting) return;
    if (!roster_save_dirty(roster, &cause)) {
        roster->complained = 0;
        return;
    }
    if (!roster->complained++) log_error("roster", "%s", cause);
    free(cause);
}

void roster_free(struct roster *roster)
{
    char *cause = NULL;
    if (!roster) return;
    /* one file is left behind, which is easily taken elsewhere */
    if (roster->waiting || roster->journal_len) roster_save_all(roster, &cause);
    if (cause) log_error("roster", "%s", cause);
    free(cause);
    for (size_t i = 0; i < roster->count; i++)
        roster_row_free(roster, roster->rows[i]);
    free(roster->rows);
    roster_index_free(&roster->names);
    roster_index_free(&roster->secrets);
    free(roster->path);
    free(roster->journal);
    free(roster);
}

void roster_tick(struct roster *roster, int64_t now_s)
{
    if (!roster->waiting) {
        roster->waiting_s = now_s;
    } else if (now_s - roster->waiting_s >= ROSTER_WAIT_S) {
        write_waiting(roster);
        if (!roster->waiting || roster->complained) roster->waiting_s = now_s;
    }
}

size_t roster_count(const struct roster *roster)
{
    return roster->count;
}

const struct roster_entry *roster_at(const struct roster *roster, size_t index)
{
    return index < roster->count ? &roster->rows[index]->entry : NULL;
}

const struct roster_entry *roster_find(const struct roster *roster, const char *name)
{
    struct roster_link *link = NULL;
    uint64_t hash = roster_name_hash(name);
    while ((link = roster_index_next(&roster->names, hash, link))) {
        if (!strcmp(link->row->entry.terms.name, name)) return &link->row->entry;
    }
    return NULL;
}

/* The operator's words */

int roster_add(struct roster *roster, const struct relay_terms *terms, enum roster_kind kind, const char *url,
               int64_t now_s, char **cause)
{
    if (roster_check_terms(terms, cause)) return -1;
    if (!strcmp(terms->name, "cluster") || !strcmp(terms->name, "root"))
        return cause_set(cause, "no relay can be called \"%s\": in the statistics that is another thing",
                         terms->name);
    if (roster_find(roster, terms->name))
        return cause_set(cause, "there is a relay \"%s\" already", terms->name);
    struct roster_row *row = xcalloc(1, sizeof *row);
    row->entry.terms = *terms;
    row->entry.kind = kind;
    row->entry.url = url ? xstrdup(url) : NULL;
    row->entry.added_s = now_s;
    if (roster_row_add(roster, row)) {
        roster_row_free(roster, row);
        return cause_set(cause, "there are %d relays, which is as many as there may be", ROSTER_MAX);
    }
    roster_row_link(roster, row);
    if (roster_save(roster, row, NULL, cause)) {
        roster->count--;
        roster_row_free(roster, row);
        return -1;
    }
    tell(roster, row, 0);
    return 0;
}

int roster_set_terms(struct roster *roster, const char *name, const struct relay_terms *terms, char **cause)
{
    struct roster_row *row = find(roster, name, cause);
    if (!row || roster_check_terms(terms, cause)) return -1;
    struct roster_entry before = row->entry;
    row->entry.terms = *terms;
    memcpy(row->entry.terms.name, before.terms.name, sizeof before.terms.name);
    return commit(roster, row, &before, cause);
}

int roster_drain(struct roster *roster, const char *name, int drained, int64_t until_s, char **cause)
{
    struct roster_row *row = find(roster, name, cause);
    if (!row) return -1;
    struct roster_entry before = row->entry;
    row->entry.terms.drained = drained;
    row->entry.drain_until_s = drained ? until_s : 0;
    return commit(roster, row, &before, cause);
}

int roster_set_uncalled(struct roster *roster, const char *name, int uncalled, char **cause)
{
    struct roster_row *row = find(roster, name, cause);
    if (!row) return -1;
    struct roster_entry before = row->entry;
    row->entry.uncalled = uncalled;
    return commit(roster, row, &before, cause);
}

static int is_ours(const struct roster_row *row, char **cause)
{
    if (row->entry.kind == ROSTER_FOREVER) return 1;
    cause_set(cause, "\"%s\" is an Icecast server, which has no credential", row->entry.terms.name);
    return 0;
}

int roster_invite(struct roster *roster, const char *name, int64_t until_s, char secret[ENROL_SECRET_TEXT],
                  char **cause)
{
    struct roster_row *row = find(roster, name, cause);
    if (!row || !is_ours(row, cause)) return -1;
    struct roster_entry before = row->entry;
    enrol_secret_make(secret);
    row->entry.token.set = 1;
    enrol_secret_hash(secret, row->entry.token.hash);
    row->entry.token_until_s = until_s;
    row->entry.token_used_s = 0;
    return commit(roster, row, &before, cause);
}

int roster_revoke(struct roster *roster, const char *name, int64_t now_s, char **cause)
{
    struct roster_row *row = find(roster, name, cause);
    if (!row || !is_ours(row, cause)) return -1;
    struct roster_entry before = row->entry;
    row->entry.revoked_s = now_s;
    row->entry.token = (struct roster_key){0}; /* neither does an open invitation bring it back */
    row->entry.token_until_s = row->entry.token_used_s = 0;
    if (commit(roster, row, &before, cause)) return -1;
    forget_handover(row);
    return 0;
}

int roster_remove(struct roster *roster, const char *name, char **cause)
{
    struct roster_row *row = find(roster, name, cause);
    if (!row) return -1;
    size_t at = 0;
    while (roster->rows[at] != row)
        at++;
    size_t after = roster->count - at - 1;
    memmove(roster->rows + at, roster->rows + at + 1, after * sizeof *roster->rows);
    roster->count--;
    if (roster_save(roster, NULL, name, cause)) {
        memmove(roster->rows + at + 1, roster->rows + at, after * sizeof *roster->rows);
        roster->rows[at] = row;
        roster->count++;
        return -1;
    }
    tell(roster, row, 1);
    roster_row_free(roster, row);
    return 0;
}

static int make_next(struct roster *roster, struct roster_row *row, char **cause)
{
    struct roster_entry before = row->entry;
    char secret[ENROL_SECRET_TEXT];
    enrol_secret_make(secret);
    row->entry.next.set = 1;
    enrol_secret_hash(secret, row->entry.next.hash);
    int result = commit(roster, row, &before, cause);
    if (!result) {
        forget_handover(row);
        row->handover = xstrdup(secret);
    }
    OPENSSL_cleanse(secret, sizeof secret);
    return result;
}

int roster_rotate(struct roster *roster, const char *name, char **cause)
{
    struct roster_row *row = find(roster, name, cause);
    if (!row || !is_ours(row, cause)) return -1;
    if (!row->entry.credential.set || row->entry.revoked_s)
        return cause_set(cause, "\"%s\" has no credential that counts: invite it", name);
    if (row->entry.next.set) return 0; /* it may have taken up that one already, and know no other */
    return make_next(roster, row, cause);
}

/* Secrets */

static struct roster_key *key_of(struct roster_row *row, int which)
{
    return which == ROSTER_BY_CREDENTIAL ? &row->entry.credential
           : which == ROSTER_BY_NEXT     ? &row->entry.next
                                         : &row->entry.token;
}

/* Whose it is, as one of the keys first to last (then *which); NULL: nobody's. */
static struct roster_row *find_secret(const struct roster *roster, const char *secret, int first, int last,
                                      int *which)
{
    struct roster_key key;
    struct roster_link *link = NULL;
    if (!enrol_secret_is_sound(secret)) return NULL;
    enrol_secret_hash(secret, key.hash);
    while ((link = roster_index_next(&roster->secrets, roster_key_hash(&key), link))) {
        *which = (int)(link - link->row->links);
        if (*which >= first && *which <= last &&
            enrol_same(key_of(link->row, *which)->hash, key.hash, sizeof key.hash))
            return link->row;
    }
    return NULL;
}

enum roster_exchange roster_exchange(struct roster *roster, const char *secret, int64_t now_s,
                                     char credential[ENROL_SECRET_TEXT], const struct roster_entry **entry,
                                     char **cause)
{
    int which;
    struct roster_row *row = find_secret(roster, secret, ROSTER_BY_TOKEN, ROSTER_BY_TOKEN, &which);
    if (!row) return ROSTER_UNKNOWN_TOKEN;
    *entry = &row->entry;
    if (row->entry.token_used_s) return ROSTER_USED_TOKEN;
    if (now_s >= row->entry.token_until_s) return ROSTER_EXPIRED_TOKEN;
    struct roster_entry before = row->entry;
    enrol_secret_make(credential);
    row->entry.credential.set = 1;
    enrol_secret_hash(credential, row->entry.credential.hash);
    row->entry.next = (struct roster_key){0};
    row->entry.token_used_s = row->entry.enrolled_s = now_s;
    row->entry.revoked_s = 0;
    if (commit(roster, row, &before, cause)) {
        OPENSSL_cleanse(credential, ENROL_SECRET_TEXT);
        return ROSTER_NOT_WRITTEN;
    }
    forget_handover(row);
    return ROSTER_ENROLLED;
}

const struct roster_entry *roster_authenticate(struct roster *roster, const char *bearer, int *revoked)
{
    int which;
    if (revoked) *revoked = 0;
    struct roster_row *row = find_secret(roster, bearer, ROSTER_BY_CREDENTIAL, ROSTER_BY_NEXT, &which);
    if (!row) return NULL;
    if (row->entry.revoked_s) {
        if (revoked) *revoked = 1;
        return NULL;
    }
    if (which == ROSTER_BY_NEXT) {
        /* not written at once: until it is, the old one counts again after a restart, which does no harm */
        row->entry.credential = row->entry.next;
        row->entry.next = (struct roster_key){0};
        forget_handover(row);
        roster_row_link(roster, row);
        roster->waiting = row->dirty = 1;
        log_info("roster", "%s uses its new credential, the old one has ended", row->entry.terms.name);
        tell(roster, row, 0);
    }
    return &row->entry;
}

const char *roster_handover(struct roster *roster, const struct roster_entry *entry)
{
    struct roster_row *row = row_of(entry);
    char *cause = NULL;
    if (!row->entry.next.set) return NULL;
    /* a restart has forgotten it, and whoever still uses the old one was not told: reports come one by one */
    if (!row->handover && make_next(roster, row, &cause)) {
        log_error("roster", "%s", cause);
        free(cause);
    }
    return row->handover;
}

void roster_set_url(struct roster *roster, const struct roster_entry *entry, const char *url)
{
    struct roster_row *row = row_of(entry);
    if (url == row->entry.url || (url && row->entry.url && !strcmp(url, row->entry.url))) return;
    free(row->entry.url);
    row->entry.url = url ? xstrdup(url) : NULL;
    roster->waiting = row->dirty = 1;
}

void roster_attach(const struct roster_entry *entry, void *what)
{
    row_of(entry)->entry.attached = what;
}
