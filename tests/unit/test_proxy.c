/* Addresses, prefixes, and what proxies say: taken to the letter, or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <cmocka.h>

#include "common/net.h"
#include "common/proxy.h"

static struct net_addr addr(const char *text)
{
    struct net_addr a;
    if (net_addr_parse(text, strlen(text), &a)) fail_msg("%s", text);
    return a;
}

static const char *text_of(const struct net_addr *a)
{
    static char text[NET_TEXT_MAX];
    return net_addr_text(a, text);
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const bad[] = {"",      "1.2.3",    "1.2.3.4.5", "1.2.3.256", "01.2.3.4x", "::1%eth0",
                                      "[::1]", "1.2.3.4 ", ":::",       "g::1",      "1.2.3.4:80"};
    struct net_addr a;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!net_addr_parse(bad[i], strlen(bad[i]), &a)) fail_msg("\"%s\" was taken", bad[i]);
    assert_int_equal(net_addr_parse("1.2.3.4\0x", 9, &a), -1);
    a = addr("::ffff:192.0.2.7");
    assert_string_equal(text_of(&a), "192.0.2.7");
    assert_true(net_addr_is_v4(&a));
    a = net_addr_mask(&a, 24, 48);
    assert_string_equal(text_of(&a), "192.0.2.0");
    a = addr("2001:db8:1234:5678:9abc::1");
    a = net_addr_mask(&a, 24, 48);
    assert_string_equal(text_of(&a), "2001:db8:1234::");
    a = addr("192.0.2.255");
    a = net_addr_mask(&a, 27, 0);
    assert_string_equal(text_of(&a), "192.0.2.224");
    a = addr("127.9.9.9");
    assert_true(net_addr_is_loopback(&a));
    a = addr("::1");
    assert_true(net_addr_is_loopback(&a) && !net_addr_is_v4(&a));
    a = addr("128.0.0.1");
    assert_false(net_addr_is_loopback(&a));
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr = {htonl(0xc0000207)}};
    assert_int_equal(net_addr_of((struct sockaddr *)&four, &a), 0);
    assert_string_equal(text_of(&a), "192.0.2.7");
    struct sockaddr other = {.sa_family = AF_UNIX};
    assert_int_equal(net_addr_of(&other, &a), -1);
    assert_string_equal(text_of(&a), "unknown");
}

/* The reference vector of SipHash-2-4 for a message of 16 bytes, 00 to 0f, key 00 to 0f. */
static void test_hash(void **state)
{
    (void)state;
    const uint64_t key[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    struct net_addr a;
    for (unsigned i = 0; i < 16; i++)
        a.bytes[i] = (uint8_t)i;
    assert_true(net_addr_hash(&a, key) == UINT64_C(0x3f2acc7f57c29bdb));
}

static void test_prefixes(void **state)
{
    (void)state;
    static const char *const bad[] = {"10.0.0.0/33",    "10.0.0.1/8", "::1/129",
                                      "2001:db8::1/32", "10.0.0.0/",  "10.0.0.0/-1",
                                      "10.0.0.0/8x",    "/8",         "x"};
    struct net_prefix list[4];
    char *cause = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (!net_prefix_parse(bad[i], &list[0], &cause)) fail_msg("\"%s\" was taken", bad[i]);
        assert_memory_equal(cause, "must ", 5);
        free(cause);
        cause = NULL;
    }
    assert_int_equal(net_prefix_parse("10.0.0.0/8", &list[0], NULL), 0);
    assert_int_equal(net_prefix_parse("192.0.2.7", &list[1], NULL), 0);
    assert_int_equal(net_prefix_parse("2001:db8::/33", &list[2], NULL), 0);
    const struct net_list all = {list, 3};
    static const struct {
        const char *text;
        int in;
    } cases[] = {{"10.255.1.2", 1},       {"11.0.0.0", 0},        {"192.0.2.7", 1},
                 {"192.0.2.6", 0},        {"2001:db8::1", 1},     {"2001:db8:7fff::1", 1},
                 {"2001:db8:8000::1", 0}, {"::ffff:10.1.1.1", 1}, {"::a00:1", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_addr a = addr(cases[i].text);
        if (net_list_has(&all, &a) != cases[i].in) fail_msg("%s", cases[i].text);
    }
    assert_int_equal(net_prefix_parse("0.0.0.0/0", &list[3], NULL), 0);
    const struct net_list four = {&list[3], 1};
    struct net_addr a = addr("203.0.113.1"), six = addr("2001:db8::1");
    assert_int_equal(net_list_has(&four, &a), 1);
    assert_int_equal(net_list_has(&four, &six), 0); /* all of IPv4 is not all of IPv6 */
}

/* Each beginning of a header asks for more or is refused; the whole gives its length, whatever follows. */
static int parse(const void *bytes, size_t len, struct proxy_header *out)
{
    const uint8_t *b = bytes;
    int result = proxy_header_parse(b, len, out);
    for (size_t n = 0; result > 0 && n < (size_t)result; n++) {
        struct proxy_header part;
        if (proxy_header_parse(b, n, &part) != PROXY_MORE) fail_msg("%zu of %d bytes were enough", n, result);
        assert_int_equal(part.has_source, 0);
    }
    return result;
}

static void test_version_1(void **state)
{
    (void)state;
    struct proxy_header h;
    static const char good[] = "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET / HTTP/1.1\r\n";
    assert_int_equal(parse(good, strlen(good), &h), 45);
    assert_int_equal(h.has_source, 1);
    assert_string_equal(text_of(&h.source), "192.0.2.1");
    static const char six[] = "PROXY TCP6 2001:db8::1 ::1 65535 0\r\n";
    assert_int_equal(parse(six, strlen(six), &h), (int)strlen(six));
    assert_string_equal(text_of(&h.source), "2001:db8::1");
    static const char unknown[] = "PROXY UNKNOWN ffff:f...f:ffff whatever\r\n";
    assert_int_equal(parse(unknown, strlen(unknown), &h), (int)strlen(unknown));
    assert_int_equal(h.has_source, 0);
    assert_int_equal(parse("PROXY UNKNOWN\r\n", 15, &h), 15);
    static const char *const bad[] = {
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 65536\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 056 443\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY TCP4 ::1 ::2 1 2\r\n",
        "PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.256 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 -1 2\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (parse(bad[i], strlen(bad[i]), &h) != PROXY_BROKEN) fail_msg("%s was taken", bad[i]);
        assert_int_equal(h.has_source, 0);
    }
    char endless[200];
    memset(endless, 'x', sizeof endless);
    memcpy(endless, "PROXY UNKNOWN ", 14);
    assert_int_equal(parse(endless, sizeof endless, &h), PROXY_BROKEN);
    assert_int_equal(parse("GET / HTTP/1.1\r\n", 16, &h), PROXY_NONE);
    assert_int_equal(parse("\x16\x03\x01", 3, &h), PROXY_NONE);
    assert_int_equal(parse("PUT /", 5, &h), PROXY_NONE);
    assert_int_equal(parse("P", 1, &h), PROXY_MORE);
}

static void test_version_2(void **state)
{
    (void)state;
    struct proxy_header h;
    uint8_t b[PROXY_HEADER_MAX + 1] =
        "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\2\xdc\4\1\xbb";
    assert_int_equal(parse(b, 64, &h), 28);
    assert_int_equal(h.has_source, 1);
    assert_string_equal(text_of(&h.source), "192.0.2.1");
    b[15] = 12 + 5; /* an extension of two bytes behind it */
    memcpy(b + 28, "\x04\0\2ab", 5);
    assert_int_equal(parse(b, 64, &h), 33);
    b[30] = 3; /* longer than there is */
    assert_int_equal(parse(b, 64, &h), PROXY_BROKEN);
    b[15] = 11; /* the addresses do not fit */
    assert_int_equal(parse(b, 64, &h), PROXY_BROKEN);
    b[12] = 0x20; /* LOCAL: a health check, whatever it holds */
    assert_int_equal(parse(b, 64, &h), 27);
    assert_int_equal(h.has_source, 0);
    b[12] = 0x21;
    b[13] = 0x21;
    b[15] = 36;
    memset(b + 16, 0, 36);
    memcpy(b + 16, "\x20\x01\x0d\xb8", 4);
    b[31] = 9;
    assert_int_equal(parse(b, 64, &h), 52);
    assert_string_equal(text_of(&h.source), "2001:db8::9");
    b[13] = 0x12; /* UDP: not what this connection is */
    assert_int_equal(parse(b, 64, &h), 52);
    assert_int_equal(h.has_source, 0);
    static const uint8_t bad[][2] = {{12, 0x11}, {12, 0x22}, {13, 0x41}, {13, 0x13}, {14, 0xff}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t was = b[bad[i][0]];
        b[bad[i][0]] = bad[i][1];
        assert_int_equal(parse(b, 64, &h), PROXY_BROKEN);
        b[bad[i][0]] = was;
    }
}

static void test_forwarded(void **state)
{
    (void)state;
    struct net_prefix near;
    net_prefix_parse("10.0.0.0/8", &near, NULL);
    const struct net_list trusted = {&near, 1};
    static const struct {
        const char *field, *client;
        int result;
    } cases[] = {
        {"203.0.113.7", "203.0.113.7", 1},
        {"1.2.3.4, 203.0.113.7", "203.0.113.7", 1}, /* what the client made up stands before */
        {"203.0.113.7, 10.1.1.1", "203.0.113.7", 1},
        {"203.0.113.7 ,\t10.1.1.1,10.2.2.2", "203.0.113.7", 1},
        {"10.1.1.1,10.2.2.2", "10.1.1.1", 0},
        {"[2001:db8::1]:4711", "2001:db8::1", 1},
        {"[2001:db8::1]", "2001:db8::1", 1},
        {"2001:db8::1", "2001:db8::1", 1},
        {"203.0.113.7:80", "203.0.113.7", 1},
        {"x, 203.0.113.7", "203.0.113.7", 1},
        {"", NULL, -1},
        {"unknown", NULL, -1},
        {"203.0.113.7,", NULL, -1},
        {"203.0.113.7, , 10.1.1.1", NULL, -1},
        {"203.0.113.7:99999", NULL, -1},
        {"[203.0.113.7]", NULL, -1},
        {"[2001:db8::1", NULL, -1},
        {"[2001:db8::1]x", NULL, -1},
        {"203.0.113.7 10.1.1.1", NULL, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_addr client;
        int result = proxy_forwarded_for(cases[i].field, &trusted, &client);
        if (result != cases[i].result) fail_msg("\"%s\": %d", cases[i].field, result);
        if (cases[i].client) assert_string_equal(text_of(&client), cases[i].client);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_hash),      cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_version_1), cmocka_unit_test(test_version_2), cmocka_unit_test(test_forwarded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
