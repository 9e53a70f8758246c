/* Secrets, tokens and proofs. Tokens are damaged at random; the seed is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "common/enrol.h"

static struct enrol_token sample(void)
{
    struct enrol_token t = {.name = "fra-1",
                            .urls = {"https://radio.example:8001", "https://[2001:db8::1]:8001"},
                            .url_count = 2,
                            .pin = "sha256//AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="};
    enrol_secret_make(t.secret);
    return t;
}

static void a_token_carries_all_there_is_to_know(void **state)
{
    (void)state;
    struct enrol_token in = sample(), out;
    char *text = enrol_token_write(&in), *cause = NULL, padded[ENROL_TOKEN_MAX];
    assert_true(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") ==
                strlen(text));
    snprintf(padded, sizeof padded, " \n%s\r\n", text);
    assert_int_equal(enrol_token_read(padded, strlen(padded), &out, &cause), 0);
    assert_memory_equal(&in, &out, sizeof in);
    free(text);
    /* the longest */
    memset(in.name, 'a', ENROL_NAME_MAX);
    for (int i = 0; i < ENROL_URLS_MAX; i++) {
        memset(in.urls[i], 'a', ENROL_URL_MAX);
        memcpy(in.urls[i], "https://", 8);
    }
    in.url_count = ENROL_URLS_MAX;
    text = enrol_token_write(&in);
    assert_true(strlen(text) <= ENROL_TOKEN_MAX);
    assert_int_equal(enrol_token_read(text, strlen(text), &out, &cause), 0);
    assert_memory_equal(&in, &out, sizeof in);
    free(text);
}

static void a_damaged_token_is_refused(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL);
    const char *set = getenv("FOREVER_SEED");
    if (set) seed = (unsigned)strtoul(set, NULL, 10);
    print_message("seed %u\n", seed);
    srand(seed);
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= ";
    struct enrol_token in = sample(), out;
    char *text = enrol_token_write(&in), copy[ENROL_TOKEN_MAX];
    size_t len = strlen(text);
    for (int i = 0; i < 20000; i++) {
        size_t n = len;
        memcpy(copy, text, len + 1);
        switch (rand() % 4) {
        case 0: /* a piece is missing at the end, or in the middle */
            n = (size_t)rand() % len;
            break;
        case 1: {
            size_t from = (size_t)rand() % (len - 1), gone = 1 + (size_t)rand() % (len - from - 1);
            memmove(copy + from, copy + from + gone, len - from - gone);
            n = len - gone;
            break;
        }
        case 2:
            for (int k = 1 + rand() % 3; k; k--)
                copy[(size_t)rand() % len] = letters[(size_t)rand() % (sizeof letters - 1)];
            break;
        default:
            n = (size_t)rand() % sizeof copy;
            for (size_t k = 0; k < n; k++)
                copy[k] = (char)(rand() % 8 ? letters[(size_t)rand() % (sizeof letters - 1)] : rand());
        }
        if (n == len && !memcmp(copy, text, len)) continue;
        char *cause = NULL;
        int result = enrol_token_read(copy, n, &out, &cause);
        /* white space at the ends does not count */
        if (!result && strncmp(copy, text, len) != 0) fail_msg("taken: %.*s", (int)n, copy);
        assert_true(!result == !cause);
        free(cause);
    }
    char *cause = NULL, zero[3] = {0};
    assert_int_equal(enrol_token_read("", 0, &out, &cause), -1);
    assert_string_equal(cause, "there is no token");
    free(cause);
    cause = NULL;
    assert_int_equal(enrol_token_read(zero, sizeof zero, &out, &cause), -1);
    free(cause);
    free(text);
}

static void what_is_sound(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "fra-1", "0", "a--b-"},
                             *const no_names[] = {
                                 "",    "-a",
                                 "A",   "a.b",
                                 "a b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    static const char *const urls[] = {"https://a", "https://a:1", "https://127.0.0.2:8001",
                                       "https://[::1]:65535"};
    static const char *const no_urls[] = {"http://a",        "https://",   "https://a/",  "https://a:0",
                                          "https://a:65536", "https://a:", "https://a b", "https://u@a",
                                          "https://[::1",    "https://[x]"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_true(enrol_name_is_sound(names[i]));
    for (size_t i = 0; i < sizeof no_names / sizeof *no_names; i++)
        assert_false(enrol_name_is_sound(no_names[i]));
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++)
        assert_true(enrol_link_url_is_sound(urls[i]));
    for (size_t i = 0; i < sizeof no_urls / sizeof *no_urls; i++)
        assert_false(enrol_link_url_is_sound(no_urls[i]));
    assert_true(enrol_pin_is_sound("sha256//AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="));
    assert_false(enrol_pin_is_sound("sha256//AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9="));
    assert_false(enrol_pin_is_sound("sha256//AAEC"));
    assert_false(enrol_pin_is_sound("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="));
    assert_true(enrol_nonce_is_sound("0123456789abcdef"));
    assert_false(enrol_nonce_is_sound("0123456789abcde"));
    assert_false(enrol_nonce_is_sound("0123456789ABCDEF"));
}

/* RFC 4231 has no message of our form: the value is Python's hmac's. */
static void a_proof_is_hmac(void **state)
{
    (void)state;
    char secret[ENROL_SECRET_TEXT], other[ENROL_SECRET_TEXT], proof[ENROL_PROOF_TEXT],
        again[ENROL_PROOF_TEXT];
    unsigned char hash[ENROL_HASH_BYTES], back[4];
    char hex[65];
    enrol_secret_make(secret);
    enrol_secret_make(other);
    assert_true(enrol_secret_is_sound(secret));
    assert_string_not_equal(secret, other);
    enrol_secret_hash("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", hash);
    enrol_hex(hash, sizeof hash, hex);
    assert_string_equal(hex, "ea866a757e4c38babfa8127cbe9a409d3e1f93a00ff1488ff735fcf917afffd0");
    enrol_proof(hash, "fra", "00112233445566778899aabbccddeeff", proof);
    assert_string_equal(proof, "32c218cba6bddfa8f4ba27ae239287d0755d61833b7cf4b53f5a133a4235c1de");
    enrol_proof(hash, "frb", "00112233445566778899aabbccddeeff", again);
    assert_string_not_equal(proof, again);
    assert_int_equal(enrol_unhex("00ff10a0", back, 4), 0);
    assert_memory_equal(back, "\x00\xff\x10\xa0", 4);
    assert_int_equal(enrol_unhex("00FF10a0", back, 4), -1);
    assert_int_equal(enrol_unhex("00ff10a", back, 4), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_carries_all_there_is_to_know),
        cmocka_unit_test(a_damaged_token_is_refused),
        cmocka_unit_test(what_is_sound),
        cmocka_unit_test(a_proof_is_hmac),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
