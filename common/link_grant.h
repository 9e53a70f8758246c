/* link_grant: what a root gives a relay so that another relay feeds it, and by which that one knows that the
 * root did: the asking node's id and when the grant ends, signed with HMAC-SHA256 under a key that root and
 * feeding relay share for one life of the latter's program. It is worth nothing at another relay, for another
 * node, or later. Time is the root's: relays are told what it is. Primitives are OpenSSL's. */
#ifndef FOREVER_COMMON_LINK_GRANT_H
#define FOREVER_COMMON_LINK_GRANT_H
#include <stdint.h>

#define LINK_GRANT_KEY_BYTES 32
#define LINK_GRANT_KEY_TEXT  65 /* hexadecimal, with NUL */
#define LINK_GRANT_TEXT      128
#define LINK_GRANT_LIFE_S    900

/* Keys and the secret have LINK_GRANT_KEY_BYTES.
 * The key of the feeding node of that id, from the root's secret. 0, or -1 when OpenSSL fails, as below. */
int link_grant_derive(const unsigned char *master, const char *parent, unsigned char *key);
/* For the node of id `child`, until that second of the root's clock. */
int link_grant_sign(const unsigned char *key, const char *child, int64_t until_s, char text[LINK_GRANT_TEXT]);
/* When it ends, where the key signed it for that node and it has not ended; else 0. Takes the same time
 * wherever it differs. */
int64_t link_grant_until(const unsigned char *key, const char *text, const char *child, int64_t now_s);

#endif
