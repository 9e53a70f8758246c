/* Certificates and keys: read from files, chosen by name, replaced as a whole.
 *
 * Each certificate has a context of its own. A connection begins with the first one's and changes to that
 * which fits the name it asks for; a connection holds on to its contexts, so that a replaced set lives as
 * long as its last handshake or listener. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/tls.h"
#include "common/tls_internal.h"

#define PAIRS_MAX       256
#define TICKET_KEY_SIZE 80 /* name, HMAC key, AES key: as SSL_CTX_set_tlsext_ticket_keys has them */
#define TICKET_LIFE_S   7200

struct pair {
    char *cert, *key; /* key NULL: in the certificate's file */
    SSL_CTX *ctx;
    X509 *x509; /* the context's */
};

struct set {
    struct pair *pairs;
    size_t count;
    uint64_t look; /* how the files looked before they were read */
};

struct tls {
    struct set set;
    char **certs, **keys, *dir;
    size_t count;
    uint64_t seen; /* the look tls_changed has told of last */
    unsigned char ticket_key[TICKET_KEY_SIZE];
    int64_t ticket_key_ns;
};

SSL_CTX *tls_first(struct tls *tls)
{
    if (clock_boot_ns() - tls->ticket_key_ns > TLS_TICKET_KEY_S * CLOCK_NS_PER_S &&
        RAND_bytes(tls->ticket_key, TICKET_KEY_SIZE) == 1) {
        tls->ticket_key_ns = clock_boot_ns();
        SSL_CTX_set_tlsext_ticket_keys(tls->set.pairs[0].ctx, tls->ticket_key, TICKET_KEY_SIZE);
    }
    return tls->set.pairs[0].ctx;
}

/* Which certificate */

static int on_name(SSL *ssl, int *alert, void *context)
{
    const struct set *set = &((struct tls *)context)->set;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    if (!name) return SSL_TLSEXT_ERR_OK;
    for (size_t i = 0; i < set->count; i++) {
        if (X509_check_host(set->pairs[i].x509, name, 0, 0, NULL) != 1) continue;
        if (SSL_get_SSL_CTX(ssl) != set->pairs[i].ctx) SSL_set_SSL_CTX(ssl, set->pairs[i].ctx);
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_OK; /* whoever asks by another name judges the first certificate */
}

static int on_protocols(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                        unsigned int in_len, void *context)
{
    static const unsigned char known[] = "\x08http/1.1\x08http/1.0";
    unsigned char *chosen;
    (void)ssl, (void)context;
    if (SSL_select_next_proto(&chosen, out_len, known, sizeof known - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* Reading */

static int no_passphrase(char *buffer, int size, int writing, void *context)
{
    (void)buffer, (void)size, (void)writing;
    *(int *)context = 1;
    return -1;
}

static SSL_CTX *context_new(struct tls *tls)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx) return NULL;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* what costs least first: a stream is all bulk */
    SSL_CTX_set_ciphersuites(ctx,
                             "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256");
    SSL_CTX_set_cipher_list(ctx, "ECDHE+AES128+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20");
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ctx, TICKET_LIFE_S);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_tlsext_ticket_keys(ctx, tls->ticket_key, TICKET_KEY_SIZE);
    SSL_CTX_set_alpn_select_cb(ctx, on_protocols, NULL);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_name);
    SSL_CTX_set_tlsext_servername_arg(ctx, tls);
    return ctx;
}

static int readable(const char *path, char **cause)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0) return cause_set(cause, "%s: %s", path, strerror(errno));
    int folder = !fstat(fd, &st) && S_ISDIR(st.st_mode);
    close(fd);
    return folder ? cause_set(cause, "%s: is a folder", path) : 0;
}

/* 0, or -1 with *cause; what was read so far stays in the pair. */
static int pair_load(struct tls *tls, struct pair *p, char **cause)
{
    const char *key = p->key ? p->key : p->cert;
    int encrypted = 0;
    if (readable(p->cert, cause) || readable(key, cause)) return -1;
    ERR_clear_error();
    p->ctx = context_new(tls);
    if (!p->ctx) return cause_set(cause, "%s: %s", p->cert, tls_error());
    SSL_CTX_set_default_passwd_cb(p->ctx, no_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(p->ctx, &encrypted);
    if (SSL_CTX_use_certificate_chain_file(p->ctx, p->cert) != 1)
        return cause_set(cause, "%s: no certificate can be read from it: %s", p->cert, tls_error());
    p->x509 = SSL_CTX_get0_certificate(p->ctx);
    if (SSL_CTX_use_PrivateKey_file(p->ctx, key, SSL_FILETYPE_PEM) != 1) {
        unsigned long code = ERR_peek_error();
        if (encrypted) {
            ERR_clear_error();
            return cause_set(cause, "%s: the key is encrypted; the station can't ask for its password", key);
        }
        if (ERR_GET_LIB(code) == ERR_LIB_X509) {
            ERR_clear_error();
            return cause_set(cause, "%s: the key does not belong to %s", key, p->cert);
        }
        return cause_set(cause, "%s: no key can be read from it: %s", key, tls_error());
    }
    SSL_CTX_set_default_passwd_cb_userdata(p->ctx, NULL);
    SSL_CTX_set_default_passwd_cb(p->ctx, NULL);
    return 0;
}

static void set_free(struct set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        SSL_CTX_free(set->pairs[i].ctx);
        free(set->pairs[i].cert);
        free(set->pairs[i].key);
    }
    free(set->pairs);
    *set = (struct set){0};
}

static void set_add(struct set *set, char *cert, char *key)
{
    set->pairs = xrealloc(set->pairs, (set->count + 1) * sizeof *set->pairs);
    set->pairs[set->count++] = (struct pair){.cert = cert, .key = key};
}

static int exists(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISREG(st.st_mode);
}

/* What an entry of the folder brings. */
static void set_add_entry(struct set *set, const char *dir, const char *name)
{
    size_t len = strlen(name);
    char *cert = xasprintf("%s/%s", dir, name), *key = NULL;
    struct stat st;
    if (!stat(cert, &st) && S_ISDIR(st.st_mode)) {
        key = xasprintf("%s/privkey.pem", cert);
        char *chain = xasprintf("%s/fullchain.pem", cert);
        free(cert);
        cert = chain;
        if (exists(cert) && exists(key)) {
            set_add(set, cert, key);
            return;
        }
    } else if (len > 4 && (!strcmp(name + len - 4, ".crt") || !strcmp(name + len - 4, ".pem")) &&
               exists(cert)) {
        key = xasprintf("%s/%.*s.key", dir, (int)len - 4, name);
        if (!exists(key)) {
            free(key);
            key = NULL;
        }
        set_add(set, cert, key);
        return;
    }
    free(cert);
    free(key);
}

static int set_add_dir(struct set *set, const char *dir, char **cause)
{
    struct dirent **entries;
    int n = scandir(dir, &entries, NULL, alphasort);
    if (n < 0) return cause_set(cause, "%s: %s", dir, strerror(errno));
    for (int i = 0; i < n; i++) {
        if (entries[i]->d_name[0] != '.' && set->count < PAIRS_MAX)
            set_add_entry(set, dir, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return 0;
}

static int set_list(const struct tls *tls, struct set *set, char **cause)
{
    for (size_t i = 0; i < tls->count; i++)
        set_add(set, xstrdup(tls->certs[i]), tls->keys[i] ? xstrdup(tls->keys[i]) : NULL);
    if (tls->dir && set_add_dir(set, tls->dir, cause)) return -1;
    if (!set->count)
        return cause_set(cause, "%s: there is no certificate in it", tls->dir ? tls->dir : "(none given)");
    return 0;
}

static void look_at(uint64_t *sum, const char *path)
{
    struct stat st = {0};
    if (stat(path, &st)) st.st_size = -1;
    const uint64_t parts[] = {(uint64_t)st.st_ino, (uint64_t)st.st_size, (uint64_t)st.st_mtim.tv_sec,
                              (uint64_t)st.st_mtim.tv_nsec};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        *sum = (*sum ^ parts[i]) * UINT64_C(0x100000001b3) + 1;
}

static uint64_t set_look(const struct set *set)
{
    uint64_t sum = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < set->count; i++) {
        look_at(&sum, set->pairs[i].cert);
        if (set->pairs[i].key) look_at(&sum, set->pairs[i].key);
    }
    return sum;
}

int tls_reload(struct tls *tls, char **cause)
{
    struct set set = {0};
    int failed = set_list(tls, &set, cause);
    set.look = set_look(&set);
    for (size_t i = 0; i < set.count && !failed; i++)
        failed = pair_load(tls, &set.pairs[i], cause);
    if (failed) {
        set_free(&set);
        return -1;
    }
    set_free(&tls->set);
    tls->set = set;
    tls->seen = set.look;
    return 0;
}

int tls_changed(struct tls *tls)
{
    struct set set = {0};
    int failed = set_list(tls, &set, NULL);
    uint64_t look = set_look(&set);
    set_free(&set);
    if (failed || look == tls->seen) return 0;
    tls->seen = look;
    return 1;
}

/* Life */

struct tls *tls_new(const struct tls_conf *conf, char **cause)
{
    struct tls *tls = xcalloc(1, sizeof *tls);
    tls_memory_init();
    tls->certs = xcalloc(conf->count + 1, sizeof *tls->certs);
    tls->keys = xcalloc(conf->count + 1, sizeof *tls->keys);
    tls->count = conf->count;
    for (size_t i = 0; i < conf->count; i++) {
        tls->certs[i] = xstrdup(conf->certs[i]);
        if (conf->keys && conf->keys[i]) tls->keys[i] = xstrdup(conf->keys[i]);
    }
    if (conf->dir) tls->dir = xstrdup(conf->dir);
    tls->ticket_key_ns = clock_boot_ns();
    if (RAND_bytes(tls->ticket_key, TICKET_KEY_SIZE) != 1) {
        cause_set(cause, "no random numbers: %s", tls_error());
    } else if (!tls_reload(tls, cause)) {
        return tls;
    }
    tls_free(tls);
    return NULL;
}

void tls_free(struct tls *tls)
{
    if (!tls) return;
    set_free(&tls->set);
    for (size_t i = 0; i < tls->count; i++) {
        free(tls->certs[i]);
        free(tls->keys[i]);
    }
    free(tls->certs);
    free(tls->keys);
    free(tls->dir);
    OPENSSL_cleanse(tls->ticket_key, sizeof tls->ticket_key);
    free(tls);
}

size_t tls_count(const struct tls *tls)
{
    return tls->set.count;
}

int64_t tls_not_after(const struct tls *tls)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < tls->set.count; i++) {
        struct tm tm;
        if (ASN1_TIME_to_tm(X509_get0_notAfter(tls->set.pairs[i].x509), &tm) != 1) continue;
        int64_t end = (int64_t)timegm(&tm);
        if (end < first) first = end;
    }
    return first;
}
