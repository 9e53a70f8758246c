/* json_write: JSON as text, member by member: what json_text makes of a tree, without the tree. Commas come
 * by themselves; that brackets and keys come in pairs is the caller's. */
#ifndef FOREVER_COMMON_JSON_WRITE_H
#define FOREVER_COMMON_JSON_WRITE_H
#include <stddef.h>
#include <stdint.h>

struct json_write { /* zeroed before its first use */
    char *text; /* len bytes and a NUL, once something was written; kept for the next text by json_write_begin
                 */
    size_t len, room;
};

void json_write_begin(struct json_write *w); /* an empty text */
void json_write_free(struct json_write *w);

/* key NULL: an item of an array, or the whole. */
void json_write_open(struct json_write *w, const char *key, char bracket); /* '{' or '[' */
void json_write_close(struct json_write *w, char bracket);                 /* '}' or ']' */
void json_write_int(struct json_write *w, const char *key, int64_t value);
void json_write_bool(struct json_write *w, const char *key, int value);
void json_write_null(struct json_write *w, const char *key);
/* What is no UTF-8 becomes U+FFFD. */
void json_write_str(struct json_write *w, const char *key, const char *value);

#endif
