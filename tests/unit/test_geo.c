/* geo: a database of a few networks, written here as the MaxMind DB format 2.0 says, and what is wrong with
 * others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/net.h"
#include "root/air/geo.h"

#define NODES_MAX 2000
#define DATA_MAX  4000
#define NOTHING   UINT32_MAX

/* The search tree: two ways out of each node, to a node, to data (DATA + its offset), or to nothing. */
#define DATA 0x40000000u
struct book {
    uint32_t nodes[NODES_MAX][2];
    uint32_t count;
    uint8_t data[DATA_MAX];
    size_t len;
};

static void put(struct book *b, unsigned type, size_t size)
{
    if (type > 7) {
        b->data[b->len++] = (uint8_t)size;
        b->data[b->len++] = (uint8_t)(type - 7);
    } else {
        b->data[b->len++] = (uint8_t)(type << 5 | size);
    }
}

static void put_text(struct book *b, const char *text)
{
    size_t n = strlen(text);
    assert_true(n < 29);
    put(b, 2, n);
    memcpy(b->data + b->len, text, n);
    b->len += n;
}

static void put_number(struct book *b, unsigned type, unsigned bytes, uint64_t value)
{
    put(b, type, bytes);
    while (bytes--)
        b->data[b->len++] = (uint8_t)(value >> 8 * bytes);
}

static void put_code(struct book *b, const char *object, const char *member, const char *code)
{
    put_text(b, object);
    put(b, 7, 1);
    put_text(b, member);
    put_text(b, code);
}

static uint32_t fresh(struct book *b)
{
    assert_true(b->count < NODES_MAX);
    b->nodes[b->count][0] = b->nodes[b->count][1] = NOTHING;
    return b->count++;
}

/* In an IPv6 tree, where IPv4 lies at ::/96. */
static void add(struct book *b, const char *network, const char *continent, const char *country,
                int registered)
{
    struct net_prefix p;
    assert_int_equal(net_prefix_parse(network, &p, NULL), 0);
    if (net_addr_is_v4(&p.addr)) memset(p.addr.bytes, 0, 12);
    uint32_t at = 0, value = DATA + (uint32_t)b->len;
    for (unsigned i = 0; i < p.bits; i++) {
        uint32_t *way = &b->nodes[at][p.addr.bytes[i / 8] >> (7 - i % 8) & 1];
        if (i + 1 == p.bits)
            *way = value;
        else if (*way == NOTHING)
            *way = fresh(b);
        at = *way;
    }
    put(b, 7, 1u + (country != NULL));
    put_code(b, "continent", "code", continent);
    if (country) put_code(b, registered ? "registered_country" : "country", "iso_code", country);
}

static char *write_book(const struct book *b, const char *type)
{
    char *path = strdup("/tmp/forever-geo-XXXXXX");
    FILE *f = fdopen(mkstemp(path), "wb");
    for (uint32_t i = 0; i < b->count; i++) {
        for (int side = 0; side < 2; side++) {
            uint32_t to = b->nodes[i][side];
            uint32_t v = to == NOTHING ? b->count : to < DATA ? to : b->count + 16 + to - DATA;
            fputc((int)(v >> 16), f), fputc((int)(v >> 8 & 255), f), fputc((int)(v & 255), f);
        }
    }
    for (int i = 0; i < 16; i++)
        fputc(0, f);
    fwrite(b->data, 1, b->len, f);
    struct book meta = {0};
    put(&meta, 7, 9);
    put_text(&meta, "node_count"), put_number(&meta, 6, 4, b->count);
    put_text(&meta, "record_size"), put_number(&meta, 5, 2, 24);
    put_text(&meta, "ip_version"), put_number(&meta, 5, 2, 6);
    put_text(&meta, "database_type"), put_text(&meta, type);
    put_text(&meta, "languages"), put(&meta, 11, 0);
    put_text(&meta, "binary_format_major_version"), put_number(&meta, 5, 2, 2);
    put_text(&meta, "binary_format_minor_version"), put_number(&meta, 5, 2, 0);
    put_text(&meta, "build_epoch"), put_number(&meta, 9, 8, 1767225600);
    put_text(&meta, "description"), put(&meta, 7, 0);
    fputs("\xab\xcd\xefMaxMind.com", f);
    fwrite(meta.data, 1, meta.len, f);
    fclose(f);
    return path;
}

static void fill(struct book *b)
{
    memset(b, 0, sizeof *b);
    fresh(b);
    add(b, "192.0.2.0/24", "EU", "DE", 0);
    add(b, "198.51.100.0/25", "NA", "US", 1);
    add(b, "203.0.113.7", "AS", NULL, 0);
    add(b, "2001:db8:1::/48", "SA", "BR", 0);
    add(b, "2001:db8:2::/48", "AN", "AQ", 0);
    add(b, "2001:db8:3::/48", "OC", "x!", 0);
    add(b, "2001:db8:4::/48", "EUROPE", "FR", 0);
}

static const char *region(const struct geo *geo, const char *text)
{
    static char out[GEO_REGION_MAX];
    struct net_addr addr;
    assert_int_equal(net_addr_parse(text, strlen(text), &addr), 0);
    return geo_region(geo, &addr, out);
}

static void test_regions(void **state)
{
    (void)state;
    struct book b;
    char *cause = NULL;
    fill(&b);
    char *path = write_book(&b, "Test-City");
    struct geo *geo = geo_open(path, &cause);
    assert_non_null(geo);
    static const char *const known[][2] = {
        {"192.0.2.1", "eu-de"},
        {"::ffff:192.0.2.200", "eu-de"},
        {"192.0.3.1", ""},
        {"198.51.100.127", "na-us"},
        {"198.51.100.128", ""},
        {"203.0.113.7", "as"},
        {"203.0.113.8", ""},
        {"127.0.0.1", ""},
        {"2001:db8:1::1", "sa-br"},
        {"2001:db8:2::1", ""},
        {"2001:db8:3::1", "oc"},
        {"2001:db8:4::1", ""},
        {"::1", ""},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_string_equal(region(geo, known[i][0]), known[i][1]);
    struct net_addr nobody = {0};
    char out[GEO_REGION_MAX] = "x";
    assert_string_equal(geo_region(geo, &nobody, out), "");
    assert_string_equal(region(NULL, "192.0.2.1"), "");
    geo_count(geo, "eu-de");
    geo_count(geo, "eu");
    geo_count(geo, "");
    geo_count(NULL, "eu");
    json_t *said = geo_json(geo), *joins = json_object_get(said, "joins");
    assert_int_equal(json_integer_value(json_object_get(joins, "eu")), 2);
    assert_int_equal(json_integer_value(json_object_get(joins, "unknown")), 1);
    assert_int_equal(json_integer_value(json_object_get(joins, "na")), 0);
    assert_int_equal(json_integer_value(json_object_get(said, "built_at")), 1767225600);
    json_decref(said);

    /* another edition, then one that is cut short under its name: what is in use stays whole */
    add(&b, "203.0.114.0/24", "AF", "KE", 0);
    char *next = write_book(&b, "Test-Country");
    assert_int_equal(rename(next, path), 0);
    assert_string_equal(region(geo, "203.0.114.1"), "");
    assert_int_equal(geo_reload(geo, &cause), 0);
    assert_string_equal(region(geo, "203.0.114.1"), "af-ke");
    assert_int_equal(truncate(path, 100), 0);
    assert_string_equal(region(geo, "192.0.2.1"), "eu-de");
    assert_int_equal(geo_reload(geo, &cause), -1);
    assert_non_null(strstr(cause, path));
    free(cause);
    assert_string_equal(region(geo, "192.0.2.1"), "eu-de");
    geo_close(geo);
    unlink(path);
    free(next);
    free(path);
}

static void assert_refused(const char *path, const char *why)
{
    char *cause = NULL;
    assert_null(geo_open(path, &cause));
    if (!strstr(cause, path) || !strstr(cause, why)) fail_msg("%s", cause);
    free(cause);
}

static void test_refused(void **state)
{
    (void)state;
    struct book b;
    assert_refused("/nowhere/geo.mmdb", "No such file");
    assert_refused("/tmp", "not a file");
    assert_refused("/dev/zero", "not a file");
    assert_refused("/proc/self/exe", "not a database");
    fill(&b);
    char *path = write_book(&b, "Test-ASN");
    assert_refused(path, "\"Test-ASN\"");
    unlink(path);
    free(path);
}

/* Whatever stands in the file, nobody is told more than a region's name. */
static void test_damaged(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    struct book b;
    for (int round = 0; round < 200; round++) {
        fill(&b);
        for (int i = 0; i < 8; i++) {
            if (rand_r(&seed) % 2)
                b.data[(size_t)rand_r(&seed) % b.len] = (uint8_t)rand_r(&seed);
            else
                b.nodes[(uint32_t)rand_r(&seed) % b.count][rand_r(&seed) % 2] =
                    (uint32_t)rand_r(&seed) % 4000;
        }
        char *path = write_book(&b, "Test-City"), *cause = NULL;
        struct geo *geo = geo_open(path, &cause);
        static const char *const asked[] = {"192.0.2.1", "198.51.100.1", "203.0.113.7", "2001:db8:1::1"};
        for (size_t i = 0; geo && i < sizeof asked / sizeof *asked; i++) {
            size_t n = strlen(region(geo, asked[i]));
            assert_true(n == 0 || n == 2 || n == 5);
        }
        geo_close(geo);
        free(cause);
        unlink(path);
        free(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regions),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
