/* units: sizes, rates, prices and times as an operator writes them: "1TB", "1Gbit", "0.01/GB", "10m". Pure.
 *
 * A number has digits, and at most six after a point; a unit follows without a space, or with one, in any
 * case but for the difference between GB (1e9 bytes) and GiB (2^30). All return 0, or -1 with *cause, which
 * says what was given and what would do. */
#ifndef FOREVER_ROOT_AIR_UNITS_H
#define FOREVER_ROOT_AIR_UNITS_H
#include <stddef.h>
#include <stdint.h>

/* Bytes: MB, GB, TB, PB, MiB, GiB, TiB; 1 MB to 1000 PB. "none" and "0": 0. */
int units_parse_bytes(const char *text, uint64_t *bytes, char **cause);
/* Bits in a second: Mbit, Gbit (also as Mbit/s, Mbps); 1 Mbit to 1000 Gbit. "none" and "0": 0. */
int units_parse_rate(const char *text, uint64_t *bps, char **cause);
/* Money for a GB of 1e9 bytes, whatever the currency: "0.01/GB", "5/TB", "none" and "0"; 0 to 1000/GB. */
int units_parse_price(const char *text, double *per_gb, char **cause);
/* Seconds: s, m (or min), h, d; from min_s to max_s. */
int units_parse_time(const char *text, int64_t min_s, int64_t max_s, int64_t *s, char **cause);
/* A whole number from min to max. */
int units_parse_whole(const char *text, int64_t min, int64_t max, int64_t *out, char **cause);

#define UNITS_TEXT_MAX 32
/* The other way, as short as it goes: what they write is read back as the same value, or to three digits
 * where the value is not round. All return out. */
const char *units_bytes_text(uint64_t bytes, char out[UNITS_TEXT_MAX]);
const char *units_rate_text(uint64_t bps, char out[UNITS_TEXT_MAX]);
const char *units_price_text(double per_gb, char out[UNITS_TEXT_MAX]);
const char *units_time_text(int64_t s, char out[UNITS_TEXT_MAX]);

#endif
