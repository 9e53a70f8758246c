#include "common/proxy.h"

#include <string.h>

#define V1_MAX  107 /* with CR LF, says the specification */
#define V2_HEAD 16

static const uint8_t v2_mark[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
static const uint8_t v1_mark[6] = {'P', 'R', 'O', 'X', 'Y', ' '};

/* As many bytes of the mark as there are. */
static int begins(const uint8_t *bytes, size_t len, const uint8_t *mark, size_t mark_len)
{
    return !memcmp(bytes, mark, len < mark_len ? len : mark_len);
}

/* 1..5 digits, 0..65535, no leading zero. */
static int is_port(const char *text, size_t len)
{
    unsigned n = 0;
    if (len == 0 || len > 5 || (len > 1 && *text == '0')) return 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') return 0;
        n = n * 10 + (unsigned)(text[i] - '0');
    }
    return n <= 65535;
}

/* The words between single spaces; their number, -1 for more than max or an empty one. */
static int words(const char *text, size_t len, const char **at, size_t *lens, int max)
{
    int n = 0;
    for (size_t from = 0; from <= len;) {
        const char *space = memchr(text + from, ' ', len - from);
        size_t end = space ? (size_t)(space - text) : len;
        if (end == from || n == max) return -1;
        at[n] = text + from;
        lens[n++] = end - from;
        from = end + 1;
    }
    return n;
}

static int parse_v1(const uint8_t *bytes, size_t len, struct proxy_header *out)
{
    size_t most = len < V1_MAX ? len : V1_MAX;
    const uint8_t *feed = memchr(bytes, '\n', most);
    if (!feed) return len < V1_MAX ? PROXY_MORE : PROXY_BROKEN;
    size_t line = (size_t)(feed - bytes);
    if (line < sizeof v1_mark + 1 || bytes[line - 1] != '\r') return PROXY_BROKEN;
    const char *text = (const char *)bytes + sizeof v1_mark, *at[5];
    size_t rest = line - 1 - sizeof v1_mark, lens[5];
    if (rest >= 7 && !memcmp(text, "UNKNOWN", 7) && (rest == 7 || text[7] == ' ')) return (int)line + 1;
    if (words(text, rest, at, lens, 5) != 5 || lens[0] != 4) return PROXY_BROKEN;
    int four = !memcmp(at[0], "TCP4", 4), six = !memcmp(at[0], "TCP6", 4);
    struct net_addr destination;
    if (!four && !six) return PROXY_BROKEN;
    if ((memchr(at[1], ':', lens[1]) != NULL) != six || (memchr(at[2], ':', lens[2]) != NULL) != six ||
        net_addr_parse(at[1], lens[1], &out->source) || net_addr_parse(at[2], lens[2], &destination) ||
        !is_port(at[3], lens[3]) || !is_port(at[4], lens[4]))
        return PROXY_BROKEN;
    out->has_source = 1;
    return (int)line + 1;
}

/* The extensions behind the addresses: type, length (2), value. */
static int extensions_fit(const uint8_t *bytes, size_t len)
{
    while (len >= 3) {
        size_t n = 3 + ((size_t)bytes[1] << 8 | bytes[2]);
        if (n > len) return 0;
        bytes += n;
        len -= n;
    }
    return len == 0;
}

static int parse_v2(const uint8_t *bytes, size_t len, struct proxy_header *out)
{
    static const size_t address_bytes[] = {0, 12, 36, 216};
    if (len < V2_HEAD) return PROXY_MORE;
    unsigned command = bytes[12], family = bytes[13] >> 4, transport = bytes[13] & 15;
    size_t body = (size_t)bytes[14] << 8 | bytes[15];
    if ((command != 0x20 && command != 0x21) || family > 3 || transport > 2 ||
        body > PROXY_HEADER_MAX - V2_HEAD)
        return PROXY_BROKEN;
    if (len < V2_HEAD + body) return PROXY_MORE;
    const uint8_t *at = bytes + V2_HEAD;
    int length = (int)(V2_HEAD + body);
    if (command == 0x20) return length; /* LOCAL: whatever follows is to be skipped */
    if (body < address_bytes[family] ||
        !extensions_fit(at + address_bytes[family], body - address_bytes[family]))
        return PROXY_BROKEN;
    if ((family != 1 && family != 2) || transport != 1) return length;
    out->has_source = 1;
    if (family == 2) {
        memcpy(out->source.bytes, at, 16);
    } else {
        memset(out->source.bytes, 0, 10);
        out->source.bytes[10] = out->source.bytes[11] = 0xff;
        memcpy(out->source.bytes + 12, at, 4);
    }
    return length;
}

int proxy_header_parse(const uint8_t *bytes, size_t len, struct proxy_header *out)
{
    *out = (struct proxy_header){0};
    if (len == 0) return PROXY_MORE;
    if (begins(bytes, len, v2_mark, sizeof v2_mark)) return parse_v2(bytes, len, out);
    if (!begins(bytes, len, v1_mark, sizeof v1_mark)) return PROXY_NONE;
    int result = len < sizeof v1_mark ? PROXY_MORE : parse_v1(bytes, len, out);
    if (result < 0) *out = (struct proxy_header){0};
    return result;
}

/* X-Forwarded-For */

/* An address, in brackets if need be, with or without a port. */
static int read_node(const char *text, size_t len, struct net_addr *out)
{
    const char *end = text + len, *colon;
    if (len && *text == '[') {
        const char *shut = memchr(text, ']', len);
        if (!shut || !memchr(text, ':', (size_t)(shut - text))) return -1;
        if (shut + 1 != end && (shut[1] != ':' || !is_port(shut + 2, (size_t)(end - shut) - 2))) return -1;
        return net_addr_parse(text + 1, (size_t)(shut - text) - 1, out);
    }
    colon = memchr(text, ':', len);
    if (colon && !memchr(colon + 1, ':', (size_t)(end - colon) - 1)) { /* an IPv4 address with its port */
        if (!is_port(colon + 1, (size_t)(end - colon) - 1)) return -1;
        len = (size_t)(colon - text);
    }
    return net_addr_parse(text, len, out);
}

int proxy_forwarded_for(const char *field, const struct net_list *trusted, struct net_addr *client)
{
    size_t end = strlen(field);
    for (;;) {
        size_t from = end;
        while (from && field[from - 1] != ',')
            from--;
        size_t a = from, b = end;
        while (a < b && (field[a] == ' ' || field[a] == '\t'))
            a++;
        while (b > a && (field[b - 1] == ' ' || field[b - 1] == '\t'))
            b--;
        struct net_addr node;
        if (read_node(field + a, b - a, &node)) return -1;
        *client = node;
        if (!net_list_has(trusted, &node)) return 1;
        if (!from) return 0;
        end = from - 1;
    }
}
