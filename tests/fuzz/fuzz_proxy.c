/* Any bytes in front of a connection, and as X-Forwarded-For: a PROXY header never is longer than what is
 * there, depends on what follows it, or names an address when it is not whole. */
#include <stdlib.h>
#include <string.h>

#include "common/proxy.h"
#include "tests/fuzz/fuzz.h"

static void header(const uint8_t *bytes, size_t len)
{
    struct proxy_header whole, part;
    int result = proxy_header_parse(bytes, len, &whole);
    if (result > 0 && (size_t)result > len) abort();
    if (result <= 0 && whole.has_source) abort();
    if (result == PROXY_MORE && len >= PROXY_HEADER_MAX) abort();
    if (result <= 0) return;
    if (proxy_header_parse(bytes, (size_t)result, &part) != result || part.has_source != whole.has_source ||
        !net_addr_equal(&part.source, &whole.source))
        abort();
    if (proxy_header_parse(bytes, (size_t)result - 1, &part) != PROXY_MORE) abort();
}

static void forwarded(const uint8_t *bytes, size_t len)
{
    struct net_prefix near;
    char *text = malloc(len + 1);
    if (!text || net_prefix_parse("10.0.0.0/8", &near, NULL)) abort();
    memcpy(text, bytes, len);
    text[len] = '\0';
    const struct net_list trusted = {&near, 1};
    struct net_addr client;
    int result = proxy_forwarded_for(text, &trusted, &client);
    if (result == 1 && net_list_has(&trusted, &client)) abort();
    if (result == 0 && !net_list_has(&trusted, &client)) abort();
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    header(bytes, len);
    forwarded(bytes, len);
    return 0;
}
