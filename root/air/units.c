#include "root/air/units.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/mem.h"

#define FRACTION_DIGITS 6
#define FRACTION_ONE    UINT64_C(1000000)
#define WHOLE_MAX       UINT64_C(1000000000000)

#define MEGA UINT64_C(1000000)
#define GIGA UINT64_C(1000000000)
#define TERA UINT64_C(1000000000000)
#define PETA UINT64_C(1000000000000000)

struct unit {
    const char *name;
    uint64_t factor;
};

/* The number in millionths, and where its unit begins; -1 when there is none. */
static int read_number(const char *text, uint64_t *millionths, const char **unit)
{
    uint64_t whole = 0, fraction = 0, place = FRACTION_ONE;
    const char *c = text;
    for (; *c >= '0' && *c <= '9'; c++) {
        whole = whole * 10 + (uint64_t)(*c - '0');
        if (whole > WHOLE_MAX) return -1;
    }
    if (c == text) return -1;
    if (*c == '.') {
        const char *from = ++c;
        for (; *c >= '0' && *c <= '9'; c++) {
            place /= 10;
            fraction += place * (uint64_t)(*c - '0');
        }
        if (c == from || c - from > FRACTION_DIGITS) return -1;
    }
    *millionths = whole * FRACTION_ONE + fraction;
    *unit = c + (*c == ' ');
    return 0;
}

/* Number and unit as a whole number of the unit with factor 1, rounded; -1 when it is none, or has a unit
 * that is not in the list, or is none of from min to max. */
static int read_amount(const char *text, const struct unit *units, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t millionths;
    const char *name;
    if (read_number(text, &millionths, &name)) return -1;
    for (; units->name; units++) {
        if (strcasecmp(name, units->name) != 0) continue;
        unsigned __int128 product = (unsigned __int128)millionths * units->factor + FRACTION_ONE / 2;
        product /= FRACTION_ONE;
        if (product < min || product > max) return -1;
        *out = (uint64_t)product;
        return 0;
    }
    return -1;
}

static int is_none(const char *text)
{
    return !strcasecmp(text, "none") || !strcmp(text, "0");
}

int units_parse_bytes(const char *text, uint64_t *bytes, char **cause)
{
    static const struct unit units[] = {{"MB", MEGA},
                                        {"GB", GIGA},
                                        {"TB", TERA},
                                        {"PB", PETA},
                                        {"MiB", UINT64_C(1) << 20},
                                        {"GiB", UINT64_C(1) << 30},
                                        {"TiB", UINT64_C(1) << 40},
                                        {NULL, 0}};
    *bytes = 0;
    if (is_none(text) || !read_amount(text, units, MEGA, 1000 * PETA, bytes)) return 0;
    return cause_set(cause, "\"%s\" is no size: 1MB to 1000PB, as in 500GB, 1.5TB or 900GiB, or none", text);
}

int units_parse_rate(const char *text, uint64_t *bps, char **cause)
{
    static const struct unit units[] = {{"Mbit", MEGA}, {"Gbit", GIGA}, {"Mbit/s", MEGA}, {"Gbit/s", GIGA},
                                        {"Mbps", MEGA}, {"Gbps", GIGA}, {NULL, 0}};
    *bps = 0;
    if (is_none(text) || !read_amount(text, units, MEGA, 1000 * GIGA, bps)) return 0;
    return cause_set(cause, "\"%s\" is no rate: 1Mbit to 1000Gbit, as in 200Mbit or 1Gbit, or none", text);
}

int units_parse_price(const char *text, double *per_gb, char **cause)
{
    /* in millionths of the currency for a TB */
    static const struct unit units[] = {{"/GB", 1000 * MEGA}, {"/TB", MEGA}, {NULL, 0}};
    uint64_t amount = 0;
    *per_gb = 0;
    if (!is_none(text) && read_amount(text, units, 0, 1000 * 1000 * MEGA, &amount))
        return cause_set(
            cause, "\"%s\" is no price: 0/GB to 1000/GB without a currency, as in 0.01/GB or 5/TB, or none",
            text);
    *per_gb = (double)amount / 1e9;
    return 0;
}

int units_parse_time(const char *text, int64_t min_s, int64_t max_s, int64_t *s, char **cause)
{
    static const struct unit units[] = {{"s", 1},    {"m", 60},    {"min", 60},
                                        {"h", 3600}, {"d", 86400}, {NULL, 0}};
    uint64_t amount;
    char least[UNITS_TEXT_MAX], most[UNITS_TEXT_MAX];
    if (!read_amount(text, units, (uint64_t)min_s, (uint64_t)max_s, &amount)) {
        *s = (int64_t)amount;
        return 0;
    }
    return cause_set(cause, "\"%s\" is no time from %s to %s, as in 90s, 10m, 1h or 2d", text,
                     units_time_text(min_s, least), units_time_text(max_s, most));
}

int units_parse_whole(const char *text, int64_t min, int64_t max, int64_t *out, char **cause)
{
    int64_t n = 0;
    const char *c = text;
    for (; *c >= '0' && *c <= '9' && n <= max; c++)
        n = n * 10 + (*c - '0');
    if (c == text || *c || n < min || n > max)
        return cause_set(cause, "\"%s\" is no whole number from %lld to %lld", text, (long long)min,
                         (long long)max);
    *out = n;
    return 0;
}

/* Writing. The largest unit of the row that divides the value, else three digits of the largest that fits. */
static const char *write_amount(uint64_t value, const struct unit *units, char out[UNITS_TEXT_MAX])
{
    const struct unit *best = NULL;
    for (const struct unit *u = units; u->name; u++) {
        if (value < u->factor) continue;
        if (value % (u->factor / 1000 ? u->factor / 1000 : 1) == 0) {
            snprintf(out, UNITS_TEXT_MAX, "%.10g%s", (double)value / (double)u->factor, u->name);
            return out;
        }
        if (!best) best = u;
    }
    if (best)
        snprintf(out, UNITS_TEXT_MAX, "%.3g%s", (double)value / (double)best->factor, best->name);
    else
        snprintf(out, UNITS_TEXT_MAX, "%llu", (unsigned long long)value);
    return out;
}

const char *units_bytes_text(uint64_t bytes, char out[UNITS_TEXT_MAX])
{
    static const struct unit units[] = {{"PB", PETA}, {"TB", TERA}, {"GB", GIGA}, {"MB", MEGA}, {NULL, 0}};
    return write_amount(bytes, units, out);
}

const char *units_rate_text(uint64_t bps, char out[UNITS_TEXT_MAX])
{
    static const struct unit units[] = {{"Gbit", GIGA}, {"Mbit", MEGA}, {NULL, 0}};
    return write_amount(bps, units, out);
}

const char *units_price_text(double per_gb, char out[UNITS_TEXT_MAX])
{
    snprintf(out, UNITS_TEXT_MAX, "%.6g/GB", per_gb);
    return out;
}

const char *units_time_text(int64_t s, char out[UNITS_TEXT_MAX])
{
    static const struct unit units[] = {{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}, {NULL, 0}};
    const struct unit *u = units;
    while (u[1].name && (s < (int64_t)u->factor || s % (int64_t)u->factor))
        u++;
    snprintf(out, UNITS_TEXT_MAX, "%lld%s", (long long)s / (long long)u->factor, u->name);
    return out;
}
