/* ticket: what a root gives a listener whom it sends to a relay, and by which the relay knows that it did.
 *
 * A ticket names the relay's epoch, a number of that epoch, and when it ends, signed with HMAC-SHA256 (cut to
 * 128 bits) under a key that root and relay share for that epoch alone. It is 44 characters of base64url. The
 * relay's name and the life of its program are in the key: a ticket is worth nothing at another relay, or at
 * one that has started anew. Time is the root's, in tenths of a second; relays are told what it is, so
 * nobody's wall clock matters.
 *
 * A window remembers which of the last TICKET_WINDOW numbers were used, so that each is used once, in bounded
 * memory; older ones count as used. */
#ifndef FOREVER_COMMON_TICKET_H
#define FOREVER_COMMON_TICKET_H
#include <stdint.h>

#define TICKET_KEY_BYTES 32
#define TICKET_KEY_TEXT  44 /* base64url, with NUL */
#define TICKET_TEXT      45
#define TICKET_LIFE_S    20
#define TICKET_WINDOW    65536 /* more than a relay can be sent in a ticket's life */

enum { TICKET_LISTEN = 1 }; /* flags: made for /api/listen, so that the listener comes when it likes */

struct ticket {
    uint32_t epoch, expires_ds; /* tenths of a second of the root's clock; wraps */
    uint64_t sequence;          /* from 1 */
    uint8_t flags;
};

/* The root's clock as tickets tell it. */
uint32_t ticket_clock(int64_t root_ns);
/* a is later than b; they lie within half of the clock's 13 years. */
int ticket_later(uint32_t a, uint32_t b);

/* Working memory for signatures; one for each thread. NULL when OpenSSL has no HMAC-SHA256 to offer. */
struct ticket_signer;
struct ticket_signer *ticket_signer_new(void);
void ticket_signer_free(struct ticket_signer *signer);

/* The key of one life (session) of a relay's program, and its epoch, from the root's secret of
 * TICKET_KEY_BYTES. 0, or -1 when OpenSSL fails, as below. */
int ticket_derive(struct ticket_signer *signer, const unsigned char *master, const char *relay,
                  const char *session, unsigned char *key, uint32_t *epoch);
int ticket_sign(struct ticket_signer *signer, const unsigned char *key, const struct ticket *ticket,
                char text[TICKET_TEXT]);
/* What a text says, before anything is known of its truth: its epoch tells the key. 0, or -1 when it is no
 * ticket. */
int ticket_read(const char *text, struct ticket *out);
/* 1 when the key signed it. Takes the same time wherever it differs. */
int ticket_is_true(struct ticket_signer *signer, const unsigned char *key, const char *text);

void ticket_key_write(const unsigned char *key, char text[TICKET_KEY_TEXT]);
/* 0, or -1 when it is no key. */
int ticket_key_read(const char *text, unsigned char *key);

struct ticket_window {
    uint64_t top; /* the highest number used; 0: none */
    uint64_t used[TICKET_WINDOW / 64];
};
/* 1: it was used, or is too old to tell. */
int ticket_window_used(const struct ticket_window *window, uint64_t sequence);
/* Uses it: 0, or -1 when it was. */
int ticket_window_use(struct ticket_window *window, uint64_t sequence);
/* How many of those from `first` on (and within the window) were used. */
uint64_t ticket_window_count(const struct ticket_window *window, uint64_t first);

#endif
