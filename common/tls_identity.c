/* A key of one's own, for peers that know it and need no name to trust. */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/proc.h"
#include "common/tls.h"
#include "common/tls_internal.h"

#define LIFE_DAYS     36500
#define FILE_MAX      (64u << 10)
#define SERIAL_BITS   127
#define PIN_HASH_SIZE 32

static int add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    int added = extension && X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    return added;
}

static X509 *sign_own(EVP_PKEY *key, const char *name)
{
    X509 *cert = X509_new();
    BIGNUM *serial = BN_new();
    char *alternative = xasprintf("DNS:%s", name);
    int made = cert && serial && BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) &&
               BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)) &&
               X509_set_version(cert, X509_VERSION_3) && X509_gmtime_adj(X509_getm_notBefore(cert), -86400) &&
               X509_time_adj_ex(X509_getm_notAfter(cert), LIFE_DAYS, 0, NULL) && X509_set_pubkey(cert, key) &&
               X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
                                          (const unsigned char *)name, -1, -1, 0) &&
               X509_set_issuer_name(cert, X509_get_subject_name(cert)) &&
               add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
               add_extension(cert, NID_subject_alt_name, alternative) && X509_sign(cert, key, EVP_sha256());
    free(alternative);
    BN_free(serial);
    if (made) return cert;
    X509_free(cert);
    return NULL;
}

static int write_pem(const char *path, BIO *pem, mode_t mode, char **cause)
{
    char *text;
    long len = BIO_get_mem_data(pem, &text);
    return proc_write_file(path, text, (size_t)len, mode, cause);
}

static EVP_PKEY *make_key(const char *path, char **cause)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    BIO *pem = BIO_new(BIO_s_secmem());
    int failed = -1;
    if (!key || !pem || !PEM_write_bio_PKCS8PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL))
        cause_set(cause, "%s: %s", path, tls_error());
    else
        failed = write_pem(path, pem, 0600, cause);
    BIO_free(pem);
    if (!failed) return key;
    EVP_PKEY_free(key);
    return NULL;
}

static EVP_PKEY *read_key(const char *path, char **cause)
{
    size_t len;
    char *text = proc_read_file(path, FILE_MAX, &len, cause), none[] = "";
    if (!text) return NULL;
    BIO *pem = BIO_new_mem_buf(text, (int)len);
    EVP_PKEY *key = pem ? PEM_read_bio_PrivateKey(pem, NULL, NULL, none) : NULL;
    if (!key) cause_set(cause, "%s: no key can be read from it: %s", path, tls_error());
    BIO_free(pem);
    OPENSSL_cleanse(text, len);
    free(text);
    return key;
}

static X509 *read_cert(const char *path, char **cause)
{
    size_t len;
    char *text = proc_read_file(path, FILE_MAX, &len, cause);
    if (!text) return NULL;
    BIO *pem = BIO_new_mem_buf(text, (int)len);
    X509 *cert = pem ? PEM_read_bio_X509(pem, NULL, NULL, NULL) : NULL;
    if (!cert) cause_set(cause, "%s: no certificate can be read from it: %s", path, tls_error());
    BIO_free(pem);
    free(text);
    return cert;
}

int tls_identity_make(const char *cert_file, const char *key_file, const char *name, char **cause)
{
    int has_key = !access(key_file, F_OK), has_cert = !access(cert_file, F_OK), failed = -1;
    tls_memory_init();
    if (has_key && has_cert) return 0;
    /* a certificate without its key is of no use; a key is kept: peers know it */
    EVP_PKEY *key = has_key ? read_key(key_file, cause) : make_key(key_file, cause);
    if (!key) return -1;
    X509 *cert = sign_own(key, name);
    BIO *pem = BIO_new(BIO_s_mem());
    if (!cert || !pem || !PEM_write_bio_X509(pem, cert))
        cause_set(cause, "%s: %s", cert_file, tls_error());
    else
        failed = write_pem(cert_file, pem, 0644, cause);
    BIO_free(pem);
    X509_free(cert);
    EVP_PKEY_free(key);
    return failed;
}

char *tls_pin(const char *cert_file, char **cause)
{
    X509 *cert = read_cert(cert_file, cause);
    if (!cert) return NULL;
    unsigned char *der = NULL, hash[PIN_HASH_SIZE], text[48] = {0};
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    int hashed = len > 0 && EVP_Digest(der, (size_t)len, hash, NULL, EVP_sha256(), NULL);
    OPENSSL_free(der);
    X509_free(cert);
    if (!hashed) {
        cause_set(cause, "%s: %s", cert_file, tls_error());
        return NULL;
    }
    EVP_EncodeBlock(text, hash, sizeof hash);
    return xasprintf("sha256//%s", (const char *)text);
}
