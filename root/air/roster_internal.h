/* What the roster's files share: roster.c changes, roster_file.c reads and writes all of it, roster_journal.c
 * what changes, roster_index.c finds. */
#ifndef FOREVER_ROOT_AIR_ROSTER_INTERNAL_H
#define FOREVER_ROOT_AIR_ROSTER_INTERNAL_H
#include <jansson.h>

#include "root/air/roster.h"

enum { ROSTER_BY_CREDENTIAL, ROSTER_BY_NEXT, ROSTER_BY_TOKEN, ROSTER_BY_NAME, ROSTER_LINKS };

struct roster_link { /* in a chain of an index, while row is not NULL */
    struct roster_link *following;
    struct roster_row *row;
    uint64_t hash;
};

struct roster_row {
    struct roster_entry entry; /* first: an entry's address is its row's */
    struct roster_link links[ROSTER_LINKS];
    char *handover; /* the plain text of entry.next, while it is to be told; not after a restart */
    int dirty;      /* it is not on disk as it is; that waits */
};

struct roster_index {
    struct roster_link **chains;
    size_t size, count; /* size: a power of two */
};

struct roster {
    struct roster_conf conf;
    char *path, *journal;
    size_t journal_len; /* bytes of it that count; 0: there is none */
    struct roster_row **rows;
    size_t count, room;
    struct roster_index names, secrets;
    int waiting, complained; /* a row is dirty; that writing failed was said */
    int64_t waiting_s;       /* since when, by roster_tick */
};

/* A chain's hash of a name, and of a secret's hash, which is as random as can be. */
uint64_t roster_name_hash(const char *name);
uint64_t roster_key_hash(const struct roster_key *key);
void roster_index_add(struct roster_index *index, struct roster_link *link, struct roster_row *row,
                      uint64_t hash);
void roster_index_drop(struct roster_index *index, struct roster_link *link);
/* Links with that hash: the first after `link` (NULL: of all); NULL: no more. */
struct roster_link *roster_index_next(const struct roster_index *index, uint64_t hash,
                                      const struct roster_link *link);
void roster_index_free(struct roster_index *index);

/* The row's links as its entry now says. */
void roster_row_link(struct roster *roster, struct roster_row *row);
void roster_row_free(struct roster *roster, struct roster_row *row);
/* Behind the others; -1 when there are ROSTER_MAX. */
int roster_row_add(struct roster *roster, struct roster_row *row);

/* 0, or -1 with *cause. */
int roster_file_read(struct roster *roster, char **cause);
int roster_file_write(const struct roster *roster, char **cause);
/* A file that only its owner may read; fresh text. NULL with *cause, or without when there is none. */
char *roster_read_text(const char *path, size_t *len, char **cause);
json_t *roster_entry_json(const struct roster_entry *entry);
int roster_entry_read(const json_t *one, struct roster_entry *out, char **cause);
void roster_sync_folder(const char *path); /* of that file */

/* Brings what was read from the file up to date. 1 when there was something; 0, -1 with *cause. */
int roster_journal_read(struct roster *roster, char **cause);
/* The row as it is, and that those of the name gone are none any more (each NULL: nothing), are on disk when
 * this returns 0. Else -1 with *cause, and what is on disk is as before. */
int roster_save(struct roster *roster, struct roster_row *row, const char *gone, char **cause);
/* Dirty rows, some of them; roster->waiting tells whether there are more. Likewise. */
int roster_save_dirty(struct roster *roster, char **cause);
/* All in the one file, the journal ends. Likewise. */
int roster_save_all(struct roster *roster, char **cause);

#endif
