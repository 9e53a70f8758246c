/* roster: the relays as the operator knows them: their terms, what kind they are, and the hashes of the
 * secrets by which they are known. What relays report of themselves is the registry's.
 *
 * Kept in one file, relays.json (mode 0600), which is written anew with each change, beside and then renamed,
 * with fsync of file and folder. Where there are more than ROSTER_WHOLE relays that would take a tenth of a
 * second: then changes are appended to relays.json.journal, a line each, with fsync, and come into the file
 * when that is long, at the start and at the end. A write that fails leaves files and memory as they were.
 * Both are read strictly: what is not understood is an error that names its place, and nothing is guessed.
 * Changes that must last before anybody is told of them (an operator's word, an enrolment) are written at
 * once, which blocks for as long as the disk takes for some hundred bytes; that a relay has taken up its new
 * credential is written by roster_tick, since losing it costs nothing.
 *
 * Finding an entry by name or by secret takes the same time however many there are. Of secrets only the
 * SHA-256 is kept: they are 256 random bits. The caller brings the time, in seconds since 1970. */
#ifndef FOREVER_ROOT_AIR_ROSTER_H
#define FOREVER_ROOT_AIR_ROSTER_H
#include <stddef.h>
#include <stdint.h>

#include "common/enrol.h"
#include "root/air/terms.h"

struct roster;

#define ROSTER_MAX     16384
#define ROSTER_WHOLE   100
#define ROSTER_URL_MAX 512
#define ROSTER_FILE    "relays.json"

enum roster_kind {
    ROSTER_FOREVER, /* forever-relay: it enrols, links and reports */
    ROSTER_ICECAST  /* an Icecast server that relays the stream: asked for its state at its URL */
};
extern const char *const roster_kinds[2];

struct roster_key {
    int set;
    unsigned char hash[ENROL_HASH_BYTES];
};

struct roster_entry { /* read only; valid until the next change of the roster */
    struct relay_terms terms;
    enum roster_kind kind;
    char *url; /* icecast: its base address; forever: where it answered the root last; NULL: none */
    int64_t added_s, enrolled_s, revoked_s; /* 0: not */
    int64_t drain_until_s;                  /* drained, and listeners are moved by then; 0: they may finish */
    int uncalled; /* its public address is not called: the root is where it can't reach it, though others can
                   */
    struct roster_key credential, next;  /* next: valid too, until it is used for the first time */
    struct roster_key token;             /* of the last enrolment */
    void *attached;                      /* by roster_attach; not kept */
    int64_t token_until_s, token_used_s; /* used 0: it is open until then */
};

struct roster_conf {
    const char *path; /* of the file; copied */
    /* An entry is new or not as it was; gone: it is about to be forgotten. NULL fine. */
    void (*changed)(void *context, const struct roster_entry *entry, int gone);
    void *context;
};

/* Reads the file, if there is one; `changed` is not called for what it holds. NULL with *cause. */
struct roster *roster_open(const struct roster_conf *conf, char **cause);
void roster_free(struct roster *roster); /* writes what waits */

size_t roster_count(const struct roster *roster);
const struct roster_entry *roster_at(const struct roster *roster, size_t index); /* in the order of arrival */
const struct roster_entry *roster_find(const struct roster *roster, const char *name); /* NULL: none */

/* All below return 0, or -1 with *cause and nothing changed. */

/* 0 when the terms are in range, else -1 with *cause, which names the member. */
int roster_check_terms(const struct relay_terms *terms, char **cause);
/* url: of an Icecast server, else NULL. */
int roster_add(struct roster *roster, const struct relay_terms *terms, enum roster_kind kind, const char *url,
               int64_t now_s, char **cause);
/* Its name stays. */
int roster_set_terms(struct roster *roster, const char *name, const struct relay_terms *terms, char **cause);
/* until_s 0: no deadline. */
int roster_drain(struct roster *roster, const char *name, int drained, int64_t until_s, char **cause);
int roster_set_uncalled(struct roster *roster, const char *name, int uncalled, char **cause);
/* Opens an enrolment: a fresh secret, which replaces one that was open. A relay that was revoked may so come
 * back. */
int roster_invite(struct roster *roster, const char *name, int64_t until_s, char secret[ENROL_SECRET_TEXT],
                  char **cause);
int roster_revoke(struct roster *roster, const char *name, int64_t now_s, char **cause);
int roster_remove(struct roster *roster, const char *name, char **cause);
/* Another credential is made, to be handed over with roster_handover, unless one is on its way already. */
int roster_rotate(struct roster *roster, const char *name, char **cause);

enum roster_exchange {
    ROSTER_ENROLLED,
    ROSTER_UNKNOWN_TOKEN, /* wrong, or replaced by a later one */
    ROSTER_USED_TOKEN,
    ROSTER_EXPIRED_TOKEN,
    ROSTER_NOT_WRITTEN /* with *cause; the token is as it was */
};
/* The secret of a token for a credential, once; what the relay had before ends. */
enum roster_exchange roster_exchange(struct roster *roster, const char *secret, int64_t now_s,
                                     char credential[ENROL_SECRET_TEXT], const struct roster_entry **entry,
                                     char **cause);

/* Whose credential it is; NULL when it is nobody's, or that of a relay that was revoked (then *revoked, NULL
 * fine, is 1). The first use of a new credential ends the old one. */
const struct roster_entry *roster_authenticate(struct roster *roster, const char *bearer, int *revoked);
/* The credential that this relay is to take up, to be told over a private way only; NULL when there is none.
 */
const char *roster_handover(struct roster *roster, const struct roster_entry *entry);
/* Where it was reached; written by and by. NULL: nowhere. */
void roster_set_url(struct roster *roster, const struct roster_entry *entry, const char *url);

/* Hangs something on the entry, which stays the caller's. */
void roster_attach(const struct roster_entry *entry, void *what);

#define ROSTER_WAIT_S 10
/* Now and then: writes what has waited for ROSTER_WAIT_S. */
void roster_tick(struct roster *roster, int64_t now_s);

#endif
