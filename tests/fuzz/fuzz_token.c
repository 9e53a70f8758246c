/* Any bytes as the token of an enrolment: as it is written, and as what is written, with the check sum made
 * right. What is taken is sound, and written again it is the same. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/enrol.h"
#include "tests/fuzz/fuzz.h"

static void read_text(const char *text, size_t len)
{
    struct enrol_token token;
    char *cause = NULL;
    int result = enrol_token_read(text, len, &token, &cause);
    if (!result != !cause) abort();
    free(cause);
    if (result) return;
    if (!enrol_name_is_sound(token.name) || !enrol_pin_is_sound(token.pin) ||
        !enrol_secret_is_sound(token.secret) || !token.url_count || token.url_count > ENROL_URLS_MAX)
        abort();
    for (size_t i = 0; i < token.url_count; i++) {
        if (!enrol_link_url_is_sound(token.urls[i])) abort();
    }
    char *again = enrol_token_write(&token);
    const char *found = memmem(text, len, again, strlen(again));
    if (!found) abort();
    free(again);
}

static void read_bytes(const uint8_t *bytes, size_t len)
{
    if (len > 4 * ENROL_TOKEN_MAX) return;
    unsigned char *whole = malloc(len + 4);
    char *text = malloc(2 * len + 16);
    if (!whole || !text) abort();
    memcpy(whole, bytes, len);
    uint32_t sum = crc32c(0, whole, len);
    for (int i = 0; i < 4; i++)
        whole[len + (size_t)i] = (unsigned char)(sum >> 8 * i);
    size_t n = (size_t)EVP_EncodeBlock((unsigned char *)text, whole, (int)len + 4);
    while (n && text[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++)
        text[i] = (char)(text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i]);
    read_text(text, n);
    free(whole);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    read_text((const char *)bytes, len);
    read_bytes(bytes, len);
    return 0;
}
