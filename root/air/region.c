#include "root/air/region.h"

#include <string.h>

#define NEAR    0.001 /* within a continent */
#define UNKNOWN 0.002 /* one of the two is not known */

static const char *const names[REGION_CONTINENTS] = {"", "eu", "na", "sa", "as", "af", "oc"};

/* By the usual way of cables: Africa and South America are near Europe and North America, not each other. */
static const double table[REGION_CONTINENTS][REGION_CONTINENTS] = {
    {0, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN},
    {UNKNOWN, NEAR, 0.004, 0.008, 0.006, 0.004, 0.010},
    {UNKNOWN, 0.004, NEAR, 0.005, 0.006, 0.008, 0.007},
    {UNKNOWN, 0.008, 0.005, NEAR, 0.012, 0.010, 0.010},
    {UNKNOWN, 0.006, 0.006, 0.012, NEAR, 0.008, 0.005},
    {UNKNOWN, 0.004, 0.008, 0.010, 0.008, NEAR, 0.011},
    {UNKNOWN, 0.010, 0.007, 0.010, 0.005, 0.011, NEAR},
};

static int is_letter(char c)
{
    return c >= 'a' && c <= 'z';
}

int region_parse(const char *text, struct relay_region *out)
{
    *out = (struct relay_region){0};
    if (!*text) return 0;
    for (unsigned i = 1; i < REGION_CONTINENTS; i++) {
        if (!strncmp(text, names[i], 2)) out->continent = (uint8_t)i;
    }
    if (!out->continent) return -1;
    if (!text[2]) return 0;
    if (text[2] == '-' && is_letter(text[3]) && is_letter(text[4]) && !text[5]) {
        out->country = (uint16_t)(1 + (text[3] - 'a') * 26 + (text[4] - 'a'));
        return 0;
    }
    out->continent = 0;
    return -1;
}

double region_between(unsigned continent, unsigned other)
{
    return table[continent][other];
}

double region_distance(struct relay_region a, struct relay_region b)
{
    return a.country && a.country == b.country ? 0 : table[a.continent][b.continent];
}
