#include "common/ticket.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define HASH_BYTES  32
#define MAC_BYTES   16
#define BODY_BYTES  17 /* flags, epoch, expiry, sequence */
#define TOTAL_BYTES (BODY_BYTES + MAC_BYTES)

_Static_assert(TOTAL_BYTES % 3 == 0 && TOTAL_BYTES / 3 * 4 + 1 == TICKET_TEXT, "whole groups");

uint32_t ticket_clock(int64_t root_ns)
{
    return (uint32_t)(uint64_t)(root_ns / 100000000);
}

int ticket_later(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}

/* base64url without padding */

static void encode(const unsigned char *from, size_t len, char *to)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | from[i];
        for (have += 8; have >= 6; have -= 6)
            *to++ = digits[bits >> (have - 6) & 63];
    }
    if (have) *to++ = digits[bits << (6 - have) & 63];
    *to = '\0';
}

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* Exactly len bytes, written in the one way there is; else -1. */
static int decode(const char *from, size_t len, unsigned char *to)
{
    uint32_t bits = 0;
    unsigned have = 0;
    if (strlen(from) != (len * 4 + 2) / 3) return -1;
    for (; *from; from++) {
        int d = digit(*from);
        if (d < 0) return -1;
        bits = bits << 6 | (uint32_t)d;
        have += 6;
        if (have < 8) continue;
        have -= 8;
        *to++ = (unsigned char)(bits >> have);
    }
    return bits & ((1U << have) - 1) ? -1 : 0;
}

void ticket_key_write(const unsigned char *key, char text[TICKET_KEY_TEXT])
{
    encode(key, TICKET_KEY_BYTES, text);
}

int ticket_key_read(const char *text, unsigned char *key)
{
    return decode(text, TICKET_KEY_BYTES, key);
}

/* Signatures */

struct ticket_signer {
    EVP_MAC *mac;
    EVP_MAC_CTX *context;
};

struct ticket_signer *ticket_signer_new(void)
{
    struct ticket_signer *s = xcalloc(1, sizeof *s);
    s->mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    s->context = s->mac ? EVP_MAC_CTX_new(s->mac) : NULL;
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};
    if (s->context && EVP_MAC_CTX_set_params(s->context, params)) return s;
    ticket_signer_free(s);
    return NULL;
}

void ticket_signer_free(struct ticket_signer *s)
{
    if (!s) return;
    EVP_MAC_CTX_free(s->context);
    EVP_MAC_free(s->mac);
    free(s);
}

struct piece {
    const void *bytes;
    size_t len;
};

static int sign(struct ticket_signer *s, const unsigned char *key, const struct piece *pieces, size_t count,
                unsigned char hash[HASH_BYTES])
{
    size_t len = 0;
    if (!EVP_MAC_init(s->context, key, TICKET_KEY_BYTES, NULL)) return -1;
    for (size_t i = 0; i < count; i++) {
        if (!EVP_MAC_update(s->context, pieces[i].bytes, pieces[i].len)) return -1;
    }
    return EVP_MAC_final(s->context, hash, &len, HASH_BYTES) && len == HASH_BYTES ? 0 : -1;
}

int ticket_derive(struct ticket_signer *s, const unsigned char *master, const char *relay,
                  const char *session, unsigned char *key, uint32_t *epoch)
{
    unsigned char hash[HASH_BYTES];
    const struct piece ends = {"", 1};
    struct piece pieces[] = {
        {"forever ticket key", 19}, {relay, strlen(relay)}, ends, {session, strlen(session)}};
    if (sign(s, master, pieces, 4, key)) return -1;
    pieces[0] = (struct piece){"forever ticket epoch", 21};
    if (sign(s, master, pieces, 4, hash)) return -1;
    memcpy(epoch, hash, sizeof *epoch);
    return 0;
}

static void put(unsigned char **at, uint64_t value, int bytes)
{
    while (bytes--)
        *(*at)++ = (unsigned char)(value >> 8 * bytes);
}

static uint64_t take(const unsigned char **at, int bytes)
{
    uint64_t value = 0;
    while (bytes--)
        value = value << 8 | *(*at)++;
    return value;
}

int ticket_sign(struct ticket_signer *s, const unsigned char *key, const struct ticket *t,
                char text[TICKET_TEXT])
{
    unsigned char bytes[BODY_BYTES + HASH_BYTES], *at = bytes;
    put(&at, t->flags, 1);
    put(&at, t->epoch, 4);
    put(&at, t->expires_ds, 4);
    put(&at, t->sequence, 8);
    const struct piece body = {bytes, BODY_BYTES};
    if (sign(s, key, &body, 1, bytes + BODY_BYTES)) return -1;
    encode(bytes, TOTAL_BYTES, text);
    return 0;
}

int ticket_read(const char *text, struct ticket *out)
{
    unsigned char bytes[TOTAL_BYTES];
    const unsigned char *at = bytes;
    if (decode(text, sizeof bytes, bytes)) return -1;
    out->flags = (uint8_t)take(&at, 1);
    out->epoch = (uint32_t)take(&at, 4);
    out->expires_ds = (uint32_t)take(&at, 4);
    out->sequence = take(&at, 8);
    return out->sequence ? 0 : -1;
}

int ticket_is_true(struct ticket_signer *s, const unsigned char *key, const char *text)
{
    unsigned char bytes[TOTAL_BYTES], hash[HASH_BYTES];
    const struct piece body = {bytes, BODY_BYTES};
    if (decode(text, sizeof bytes, bytes) || sign(s, key, &body, 1, hash)) return 0;
    return CRYPTO_memcmp(hash, bytes + BODY_BYTES, MAC_BYTES) == 0;
}
