/* tls_internal: what tls.c (a connection), tls_store.c (certificates), tls_memory.c and tls_identity.c share.
 */
#ifndef FOREVER_COMMON_TLS_INTERNAL_H
#define FOREVER_COMMON_TLS_INTERNAL_H
#include <openssl/ssl.h>

#include "common/tls.h"

/* What OpenSSL said first, for people; its queue is empty after this. Static storage. */
const char *tls_error(void);

/* Before OpenSSL's first use, if that is to be of use. */
void tls_memory_init(void);
/* The context that new connections begin with. */
SSL_CTX *tls_first(struct tls *tls);

#endif
