/* geo: roughly where a listener is, by a database that the operator has (MaxMind's format, City or Country;
 * DB-IP's and others' free ones have it, too). Nothing about an address is kept: it is looked up, and its
 * continent is counted.
 *
 * The file is copied into memory that has no name, so that nobody can change or cut short what is mapped
 * here. */
#ifndef FOREVER_ROOT_AIR_GEO_H
#define FOREVER_ROOT_AIR_GEO_H
#include <stdint.h>
#include <jansson.h>

struct net_addr;
struct geo;

#define GEO_REGION_MAX 8            /* "eu-de" and the NUL */
#define GEO_BYTES_MAX  (512L << 20) /* of a database */

/* Opens the database; blocks as long as reading it takes. NULL with *cause, which names the file. path is
 * kept. */
struct geo *geo_open(const char *path, char **cause);
void geo_close(struct geo *geo);
/* Opens the file anew. 0, or -1 with *cause: the old database stays in use. */
int geo_reload(struct geo *geo, char **cause);

/* The address's continent, with its country where that is known: "eu-de", "eu"; "" when neither is. Without a
 * database (geo NULL) always "". Returns out. */
const char *geo_region(const struct geo *geo, const struct net_addr *addr, char out[GEO_REGION_MAX]);

/* Counts a listener from that region, as geo_region gave it. */
void geo_count(struct geo *geo, const char *region);
/* {"database", "built_at", "joins":{"eu":N,...,"unknown":N}}: joins since the start. A new reference; null
 * without a database. */
json_t *geo_json(const struct geo *geo);

#endif
