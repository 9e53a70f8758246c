/* roster_stage: a roster in a folder of its own. */
#ifndef FOREVER_TESTS_UNIT_ROSTER_STAGE_H
#define FOREVER_TESTS_UNIT_ROSTER_STAGE_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/proc.h"
#include "root/air/roster.h"

static char folder[80], path[96], journal[112];
static int changes, gone;

static inline void on_changed(void *context, const struct roster_entry *entry, int is_gone)
{
    (void)context;
    assert_true(*entry->terms.name);
    changes++;
    gone += is_gone;
}

static inline struct roster *open_roster(void)
{
    char *cause = NULL;
    struct roster *r = roster_open(&(struct roster_conf){.path = path, .changed = on_changed}, &cause);
    if (!r) fail_msg("%s", cause);
    return r;
}

static inline struct relay_terms terms(const char *name)
{
    struct relay_terms t = {.region = "eu-de",
                            .allotment_bytes = 1000000000000,
                            .reset_day = 5,
                            .price_per_gb = 0.01,
                            .uplink_bps = 1000000000,
                            .max_listeners = 200};
    snprintf(t.name, sizeof t.name, "%s", name);
    return t;
}

static inline void add(struct roster *r, const char *name)
{
    struct relay_terms t = terms(name);
    char *cause = NULL;
    if (roster_add(r, &t, ROSTER_FOREVER, NULL, 1000, &cause)) fail_msg("%s", cause);
}

static inline void enrol(struct roster *r, const char *name, char credential[ENROL_SECRET_TEXT])
{
    char secret[ENROL_SECRET_TEXT];
    const struct roster_entry *e = NULL;
    assert_int_equal(roster_invite(r, name, 2000, secret, NULL), 0);
    assert_int_equal(roster_exchange(r, secret, 1500, credential, &e, NULL), ROSTER_ENROLLED);
    assert_string_equal(e->terms.name, name);
}

static inline void spoil(const char *text, mode_t mode)
{
    assert_int_equal(proc_write_file(path, text, strlen(text), mode, NULL), 0);
}

/* A file of r0, r1 and so on, each with a credential made of its number. */
static inline void put_many(int count)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fchmod(fileno(f), 0600);
    fprintf(f, "{\"version\":1,\"relays\":[");
    for (int i = 0; i < count; i++) {
        char secret[ENROL_SECRET_TEXT], hex[2 * ENROL_HASH_BYTES + 1];
        unsigned char hash[ENROL_HASH_BYTES];
        snprintf(secret, sizeof secret, "%042dA", i); /* base64url's last letter holds four bits */
        enrol_secret_hash(secret, hash);
        enrol_hex(hash, sizeof hash, hex);
        fprintf(
            f,
            "%s{\"name\":\"r%d\",\"kind\":\"forever\",\"region\":\"\",\"allotment_bytes\":0,\"reset_day\":1,"
            "\"price_per_gb\":0,\"uplink_bps\":0,\"drained\":false,\"added_s\":5,\"credential\":\"%s\"}",
            i ? "," : "", i, hex);
    }
    fprintf(f, "]}");
    fclose(f);
}

static inline int fresh(void **state)
{
    (void)state;
    unlink(path);
    unlink(journal);
    changes = gone = 0;
    return 0;
}

static inline int set_up(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    /* in memory unless said otherwise: some hundred syncs of a disk take seconds */
    const char *place = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.40s/forever-roster-XXXXXX", place ? place : "/dev/shm");
    if (!mkdtemp(folder)) {
        snprintf(folder, sizeof folder, "/tmp/forever-roster-XXXXXX");
        if (!mkdtemp(folder)) return -1;
    }
    snprintf(path, sizeof path, "%s/relays.json", folder);
    snprintf(journal, sizeof journal, "%s.journal", path);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder); /* nothing else was left there */
}

#endif
