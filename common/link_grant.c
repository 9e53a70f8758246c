#include "common/link_grant.h"

#include <inttypes.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/enrol.h"

#define CHILD_MAX 16
#define HASH_TEXT (2 * LINK_GRANT_KEY_BYTES + 1)

/* Kept for the program's life: to look it up costs more than what it does. NULL: there is none. */
static EVP_MAC_CTX *context(void)
{
    static EVP_MAC_CTX *kept;
    if (kept) return kept;
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    kept = mac ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac);
    if (kept && EVP_MAC_CTX_set_params(kept, params)) return kept;
    EVP_MAC_CTX_free(kept);
    return kept = NULL;
}

static int hmac(const unsigned char *key, const char *what, const char *text, unsigned char *out)
{
    char all[160];
    size_t len = 0;
    EVP_MAC_CTX *c = context();
    int n = snprintf(all, sizeof all, "%s\n%s", what, text);
    if (!c || n < 0 || n >= (int)sizeof all) return -1;
    return EVP_MAC_init(c, key, LINK_GRANT_KEY_BYTES, NULL) &&
                   EVP_MAC_update(c, (const unsigned char *)all, (size_t)n) &&
                   EVP_MAC_final(c, out, &len, LINK_GRANT_KEY_BYTES) && len == LINK_GRANT_KEY_BYTES
               ? 0
               : -1;
}

int link_grant_derive(const unsigned char *master, const char *parent, unsigned char *key)
{
    return hmac(master, "forever link parent", parent, key);
}

int link_grant_sign(const unsigned char *key, const char *child, int64_t until_s, char text[LINK_GRANT_TEXT])
{
    unsigned char hash[LINK_GRANT_KEY_BYTES];
    char hex[HASH_TEXT];
    if (strlen(child) > CHILD_MAX || until_s < 0) return -1;
    int n = snprintf(text, LINK_GRANT_TEXT, "g1.%s.%" PRId64, child, until_s);
    if (hmac(key, "forever link grant", text, hash)) return -1;
    enrol_hex(hash, sizeof hash, hex);
    snprintf(text + n, (size_t)(LINK_GRANT_TEXT - n), ".%s", hex);
    return 0;
}

int64_t link_grant_until(const unsigned char *key, const char *text, const char *child, int64_t now_s)
{
    char expected[LINK_GRANT_TEXT], *end;
    size_t len = strlen(child);
    if (!len || len > CHILD_MAX || strlen(text) >= LINK_GRANT_TEXT || strncmp(text, "g1.", 3) ||
        strncmp(text + 3, child, len) || text[3 + len] != '.')
        return 0;
    const char *digits = text + 4 + len;
    if (*digits < '0' || *digits > '9') return 0;
    long long until_s = strtoll(digits, &end, 10);
    if (*end != '.' || link_grant_sign(key, child, until_s, expected)) return 0;
    len = strlen(expected);
    return strlen(text) == len && enrol_same(text, expected, len) && now_s < until_s ? until_s : 0;
}
