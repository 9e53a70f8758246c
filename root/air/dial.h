/* dial: calls a relay back at its public address, as a listener would, and says what is wrong in words an
 * operator can act on. One question, GET /api/relay/challenge?nonce=..., over a connection of its own; the
 * answer proves that it is this relay and no other (common/enrol, enrol_proof). */
#ifndef FOREVER_ROOT_AIR_DIAL_H
#define FOREVER_ROOT_AIR_DIAL_H
#include <stddef.h>

#include "common/enrol.h"

struct fetch_client;
struct dial;

#define DIAL_URL_MAX   512
#define DIAL_WORDS_MAX 800

struct dial_result {
    int reached;
    double ahead_s; /* the relay's clock less ours; NAN: not told */
    char words[DIAL_WORDS_MAX];
};

struct dial_conf { /* read during the call only, but for done and context */
    const char *url, *name;
    const unsigned char (*keys)[ENROL_HASH_BYTES]; /* hashes of the credentials that count, 1 or 2 */
    size_t key_count;
    const char *ca_file; /* NULL: the system's */
    int connect_ms, total_ms;
    void (*done)(void *context, const struct dial_result *result); /* from the loop, once, unless cancelled */
    void *context;
};

/* http:// or https://, a host, nothing that could end it in a header or a page, no query. */
int dial_url_is_sound(const char *url);
/* NULL with *cause when the address can't be used. */
struct dial *dial_start(struct fetch_client *client, const struct dial_conf *conf, char **cause);
void dial_cancel(struct dial *dial); /* NULL is fine */

#endif
