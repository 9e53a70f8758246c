/* json: checked access to jansson values.
 *
 * Getters of optional members return the default when the member is absent or null and, with `bad` set,
 * count a member of the wrong type or range there, so that a decoder reads everything and checks once. */
#ifndef FOREVER_COMMON_JSON_H
#define FOREVER_COMMON_JSON_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

/* Parses exactly one value of at most max bytes; NULL with an owned *cause otherwise. Depth is limited by
 * jansson (2048); duplicate keys are refused. The caller owns the reference. */
json_t *json_parse(const void *text, size_t len, size_t max, char **cause);
/* Compact text, owned by the caller; never NULL. Reals are written with 17 significant digits at most, so
 * that a value read back is the same double. */
char *json_text(const json_t *value);

int64_t json_int_or(const json_t *object, const char *key, int64_t def, int64_t min, int64_t max, int *bad);
double json_real_or(const json_t *object, const char *key, double def, int *bad);
bool json_bool_or(const json_t *object, const char *key, bool def, int *bad);
/* The string stays owned by the object. */
const char *json_str_or(const json_t *object, const char *key, const char *def, int *bad);
/* A member that must be a text, into out. 0, or -1 with *cause: it is none, or has no room with its NUL. */
int json_copy_text(const json_t *object, const char *key, char *out, size_t size, char **cause);
/* A real when finite, else JSON null (JSON has no NaN). */
json_t *json_finite(double value);
/* A string from bytes that may not be UTF-8: what is invalid becomes U+FFFD. */
json_t *json_text_lossy(const char *text);
/* Length of the well-formed UTF-8 sequence at s (1..4), 0 when there is none. */
size_t utf8_len(const unsigned char *s);

#endif
