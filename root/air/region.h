/* region: where a relay or a listener is, as coarsely as routing needs it, and what it is worth to be near.
 *
 * Distance is said in the unit of prices, money for a GB: what an operator would pay more at most to keep a
 * listener near. A stream with seconds in the buffer does not mind the way's length much, so the figures are
 * small beside what traffic costs at dear places. */
#ifndef FOREVER_ROOT_AIR_REGION_H
#define FOREVER_ROOT_AIR_REGION_H
#include <stdint.h>

#define REGION_CONTINENTS 7             /* the unknown one is 0 */
#define REGION_COUNTRIES  (1 + 26 * 26) /* likewise */

struct relay_region {
    uint8_t continent;
    uint16_t country; /* 0: unknown */
};

/* "", "eu", "eu-de" in small letters. 0, or -1 (and unknown) when it is something else. */
int region_parse(const char *text, struct relay_region *out);
/* Between two countries of these continents, at least; two of one country are at 0. */
double region_between(unsigned continent, unsigned other);
double region_distance(struct relay_region a, struct relay_region b);

#endif
