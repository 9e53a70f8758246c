/* enrol: the secrets by which a root and its relays know each other, and how they are written.
 *
 * A secret is 256 random bits as 43 characters of base64url. Whoever checks it keeps its SHA-256 only: that
 * is enough for a secret nobody can guess, and of no use to who reads the file. The *token* of an enrolment
 * is one word of base64url that carries all a new relay has to know: where the root is, by which key it is to
 * be known, the relay's name, and a secret that counts once. The *proof* shows that a node holds the
 * credential of a relay without telling it. Primitives are OpenSSL's. No I/O but the system's random numbers.
 */
#ifndef FOREVER_COMMON_ENROL_H
#define FOREVER_COMMON_ENROL_H
#include <stddef.h>

#define ENROL_SECRET_TEXT 44 /* with its NUL */
#define ENROL_HASH_BYTES  32
#define ENROL_NAME_MAX    63
#define ENROL_NAME_RULE   "1 to 63 of a-z, 0-9 and -, the first one no -"
#define ENROL_URL_MAX     255
#define ENROL_URLS_MAX    4
#define ENROL_PIN_TEXT    64 /* room for "sha256//" and 44 characters */
#define ENROL_TOKEN_MAX   2048
#define ENROL_NONCE_MIN   16 /* hexadecimal digits */
#define ENROL_NONCE_MAX   64
#define ENROL_PROOF_TEXT  65

struct enrol_token {
    char name[ENROL_NAME_MAX + 1];
    char urls[ENROL_URLS_MAX][ENROL_URL_MAX + 1]; /* https://HOST:PORT of the root's link listeners */
    size_t url_count;
    char pin[ENROL_PIN_TEXT]; /* "sha256//BASE64", as tls_pin tells it */
    char secret[ENROL_SECRET_TEXT];
};

int enrol_name_is_sound(const char *name);
/* https://HOST:PORT or https://HOST, nothing behind it. */
int enrol_link_url_is_sound(const char *url);
int enrol_pin_is_sound(const char *pin);
/* 1 when it has the form of a secret. */
int enrol_secret_is_sound(const char *secret);
/* A fresh one; dies when the system has no random numbers. */
void enrol_secret_make(char secret[ENROL_SECRET_TEXT]);
void enrol_secret_hash(const char *secret, unsigned char hash[ENROL_HASH_BYTES]);
/* In a time that does not tell where they differ. */
int enrol_same(const void *a, const void *b, size_t len);

/* Fresh memory; every member must be sound. */
char *enrol_token_write(const struct enrol_token *token);
/* White space at both ends does not count. 0, or -1 with *cause, which repeats nothing of the token. */
int enrol_token_read(const char *text, size_t len, struct enrol_token *out, char **cause);

/* 16 to 64 digits of 0-9a-f, an even number. */
int enrol_nonce_is_sound(const char *nonce);
void enrol_nonce_make(char nonce[33]);
/* HMAC-SHA256 by the credential's hash over who proves what to whom, in hexadecimal. */
void enrol_proof(const unsigned char hash[ENROL_HASH_BYTES], const char *name, const char *nonce,
                 char proof[ENROL_PROOF_TEXT]);

void enrol_hex(const unsigned char *bytes, size_t len, char *out); /* 2 len + 1 characters */
/* Exactly len bytes of small hexadecimal digits; 0 or -1. */
int enrol_unhex(const char *text, unsigned char *out, size_t len);

#endif
