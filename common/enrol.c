/* A token's bytes before they become base64url:
 *
 *   u8 version (1)   u8 length, name   u8 count, then for each u8 length, URL   32 bytes SHA-256 of the
 * root's key 32 bytes secret   u32 CRC-32C of all that, little endian
 *
 * The check sum is there for people: a token that was not copied whole is told from one that is wrong. */
#include "common/enrol.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/mem.h"

#define VERSION      1
#define SECRET_BYTES 32
#define PIN_PREFIX   "sha256//"
#define PIN_CHARS    44
#define SUM_BYTES    4
#define BYTES_MAX    (ENROL_TOKEN_MAX / 4 * 3)

static const char proof_label[] = "forever relay challenge 1";

/* base64, the one way round that decodes: of 4n characters with padding */

static size_t base64url(const unsigned char *bytes, size_t len, char *out)
{
    size_t n = (size_t)EVP_EncodeBlock((unsigned char *)out, bytes, (int)len);
    while (n && out[n - 1] == '=')
        n--;
    out[n] = '\0';
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i]);
    return n;
}

/* Bytes, or -1: characters that are none of it, or bits that no encoder leaves. */
static int unbase64url(const char *text, size_t len, unsigned char *out, size_t room)
{
    char padded[ENROL_TOKEN_MAX + 8], again[ENROL_TOKEN_MAX + 8];
    size_t tail = len % 4 ? 4 - len % 4 : 0, n = (len + tail) / 4 * 3;
    if (!len || len > ENROL_TOKEN_MAX || tail == 3 || n > room) return -1;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '+' || c == '/' || c == '=') return -1;
        padded[i] = (char)(c == '-' ? '+' : c == '_' ? '/' : c);
    }
    memset(padded + len, '=', tail);
    if (EVP_DecodeBlock(out, (const unsigned char *)padded, (int)(len + tail)) != (int)n) return -1;
    n -= tail;
    if (base64url(out, n, again) != len || memcmp(again, text, len) != 0) return -1;
    return (int)n;
}

int enrol_name_is_sound(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return n && n <= ENROL_NAME_MAX && !name[n] && *name != '-';
}

static int port_is_sound(const char *text)
{
    size_t n = strspn(text, "0123456789");
    long port = n && n <= 5 ? strtol(text, NULL, 10) : 0;
    return !text[n] && port >= 1 && port <= 65535;
}

int enrol_link_url_is_sound(const char *url)
{
    size_t len = strlen(url);
    if (len > ENROL_URL_MAX || strncmp(url, "https://", 8)) return 0;
    const char *host = url + 8, *end;
    if (*host == '[') {
        size_t n = strspn(host + 1, "0123456789abcdefABCDEF:.");
        if (!n || host[n + 1] != ']') return 0;
        end = host + n + 2;
    } else {
        size_t n = strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
        if (!n) return 0;
        end = host + n;
    }
    return !*end || (*end == ':' && port_is_sound(end + 1));
}

static int pin_bytes(const char *pin, unsigned char out[ENROL_HASH_BYTES])
{
    unsigned char bytes[36];
    char again[PIN_CHARS + 4];
    size_t head = sizeof PIN_PREFIX - 1;
    if (strncmp(pin, PIN_PREFIX, head) || strlen(pin + head) != PIN_CHARS) return -1;
    if (EVP_DecodeBlock(bytes, (const unsigned char *)pin + head, PIN_CHARS) != 33 || bytes[32]) return -1;
    EVP_EncodeBlock((unsigned char *)again, bytes, ENROL_HASH_BYTES);
    if (memcmp(again, pin + head, PIN_CHARS) != 0) return -1;
    if (out) memcpy(out, bytes, ENROL_HASH_BYTES);
    return 0;
}

int enrol_pin_is_sound(const char *pin)
{
    return !pin_bytes(pin, NULL);
}

int enrol_secret_is_sound(const char *secret)
{
    unsigned char bytes[36];
    return strlen(secret) == ENROL_SECRET_TEXT - 1 &&
           unbase64url(secret, ENROL_SECRET_TEXT - 1, bytes, sizeof bytes) == SECRET_BYTES;
}

static void random_bytes(unsigned char *out, size_t len)
{
    if (RAND_bytes(out, (int)len) == 1) return;
    fprintf(stderr, "no random numbers\n");
    abort();
}

void enrol_secret_make(char secret[ENROL_SECRET_TEXT])
{
    unsigned char bytes[SECRET_BYTES];
    char text[48];
    random_bytes(bytes, sizeof bytes);
    base64url(bytes, sizeof bytes, text);
    memcpy(secret, text, ENROL_SECRET_TEXT);
    OPENSSL_cleanse(bytes, sizeof bytes);
    OPENSSL_cleanse(text, sizeof text);
}

void enrol_secret_hash(const char *secret, unsigned char hash[ENROL_HASH_BYTES])
{
    /* kept for the program's life: to look it up costs more than what it does */
    static EVP_MD *sha256;
    if (!sha256) sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!sha256 || !EVP_Digest(secret, strlen(secret), hash, NULL, sha256, NULL))
        abort(); /* want of memory */
}

int enrol_same(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

static size_t put_text(unsigned char *out, const char *text)
{
    size_t n = strlen(text);
    out[0] = (unsigned char)n;
    memcpy(out + 1, text, n + 1); /* what follows takes the place of the NUL */
    return n + 1;
}

char *enrol_token_write(const struct enrol_token *token)
{
    unsigned char bytes[BYTES_MAX], secret[36];
    size_t n = 0;
    bytes[n++] = VERSION;
    n += put_text(bytes + n, token->name);
    bytes[n++] = (unsigned char)token->url_count;
    for (size_t i = 0; i < token->url_count; i++)
        n += put_text(bytes + n, token->urls[i]);
    if (pin_bytes(token->pin, bytes + n)) abort(); /* the caller's promise */
    n += ENROL_HASH_BYTES;
    if (unbase64url(token->secret, strlen(token->secret), secret, sizeof secret) != SECRET_BYTES) abort();
    memcpy(bytes + n, secret, SECRET_BYTES);
    n += SECRET_BYTES;
    uint32_t sum = crc32c(0, bytes, n);
    for (int i = 0; i < SUM_BYTES; i++)
        bytes[n++] = (unsigned char)(sum >> 8 * i);
    char *text = xmalloc(n * 2);
    base64url(bytes, n, text);
    OPENSSL_cleanse(bytes, sizeof bytes);
    OPENSSL_cleanse(secret, sizeof secret);
    return text;
}

/* A text of 1 to max bytes at *at; -1 when there is none. */
static int take_text(const unsigned char *bytes, size_t len, size_t *at, char *out, size_t max)
{
    if (*at >= len) return -1;
    size_t n = bytes[(*at)++];
    if (!n || n > max || n > len - *at) return -1;
    memcpy(out, bytes + *at, n);
    out[n] = '\0';
    *at += n;
    return strlen(out) == n ? 0 : -1;
}

static int read_bytes(const unsigned char *bytes, size_t len, struct enrol_token *out)
{
    size_t at = 1;
    char text[48];
    if (take_text(bytes, len, &at, out->name, ENROL_NAME_MAX) || !enrol_name_is_sound(out->name)) return -1;
    if (at >= len) return -1;
    out->url_count = bytes[at++];
    if (!out->url_count || out->url_count > ENROL_URLS_MAX) return -1;
    for (size_t i = 0; i < out->url_count; i++) {
        if (take_text(bytes, len, &at, out->urls[i], ENROL_URL_MAX) || !enrol_link_url_is_sound(out->urls[i]))
            return -1;
    }
    if (len - at != ENROL_HASH_BYTES + SECRET_BYTES) return -1;
    EVP_EncodeBlock((unsigned char *)text, bytes + at, ENROL_HASH_BYTES);
    snprintf(out->pin, sizeof out->pin, PIN_PREFIX "%s", text);
    base64url(bytes + at + ENROL_HASH_BYTES, SECRET_BYTES, text);
    memcpy(out->secret, text, ENROL_SECRET_TEXT);
    OPENSSL_cleanse(text, sizeof text);
    return 0;
}

int enrol_token_read(const char *text, size_t len, struct enrol_token *out, char **cause)
{
    unsigned char bytes[BYTES_MAX + 8];
    *out = (struct enrol_token){0};
    while (len && (unsigned char)text[len - 1] <= ' ')
        len--;
    while (len && (unsigned char)*text <= ' ')
        text++, len--;
    if (!len) return cause_set(cause, "there is no token");
    int n = len > ENROL_TOKEN_MAX ? -1 : unbase64url(text, len, bytes, sizeof bytes);
    int result = -1;
    uint32_t sum = 0;
    for (int i = 0; n > SUM_BYTES && i < SUM_BYTES; i++)
        sum |= (uint32_t)bytes[n - SUM_BYTES + i] << 8 * i;
    if (n <= SUM_BYTES || crc32c(0, bytes, (size_t)n - SUM_BYTES) != sum)
        cause_set(cause,
                  "the token is damaged: it is one word of up to %d letters, digits, - and _, as "
                  "\"forever-root ctl relay add\" printed it",
                  ENROL_TOKEN_MAX);
    else if (bytes[0] != VERSION)
        cause_set(cause, "the token is of version %d and this program knows version %d: update it", bytes[0],
                  VERSION);
    else if (read_bytes(bytes, (size_t)n - SUM_BYTES, out))
        cause_set(cause, "the token is whole, but what it says makes no sense");
    else
        result = 0;
    OPENSSL_cleanse(bytes, sizeof bytes);
    if (result) OPENSSL_cleanse(out, sizeof *out);
    return result;
}

int enrol_nonce_is_sound(const char *nonce)
{
    size_t n = strspn(nonce, "0123456789abcdef");
    return n >= ENROL_NONCE_MIN && n <= ENROL_NONCE_MAX && n % 2 == 0 && !nonce[n];
}

void enrol_nonce_make(char nonce[33])
{
    unsigned char bytes[16];
    random_bytes(bytes, sizeof bytes);
    enrol_hex(bytes, sizeof bytes, nonce);
}

void enrol_proof(const unsigned char hash[ENROL_HASH_BYTES], const char *name, const char *nonce,
                 char proof[ENROL_PROOF_TEXT])
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    char *text = xasprintf("%s\n%s\n%s", proof_label, name, nonce);
    if (!HMAC(EVP_sha256(), hash, ENROL_HASH_BYTES, (const unsigned char *)text, strlen(text), mac, &len))
        abort();
    enrol_hex(mac, ENROL_HASH_BYTES, proof);
    free(text);
}

void enrol_hex(const unsigned char *bytes, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * len] = '\0';
}

int enrol_unhex(const char *text, unsigned char *out, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    if (strlen(text) != 2 * len) return -1;
    for (size_t i = 0; i < len; i++) {
        const char *high = strchr(digits, text[2 * i]), *low = strchr(digits, text[2 * i + 1]);
        if (!high || !low) return -1;
        out[i] = (unsigned char)((high - digits) << 4 | (low - digits));
    }
    return 0;
}
