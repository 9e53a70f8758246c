#include "common/fanout_icy.h"

#include <string.h>

#include "common/json.h"
#include "common/mem.h"

size_t fanout_icy_block(uint8_t *out, const char *title)
{
    static const char head[] = "StreamTitle='", tail[] = "';", quote[] = "\xe2\x80\x99";
    char *text = (char *)out + 1, *at = text + sizeof head - 1;
    const char *end = text + 255 * 16 - (sizeof tail - 1);
    memcpy(text, head, sizeof head - 1);
    for (const char *s = title; *s;) {
        size_t len = 1;
        while (((unsigned char)s[len] & 0xc0) == 0x80)
            len++;
        const char *from = *s == '\'' ? quote : s;
        size_t add = *s == '\'' ? sizeof quote - 1 : len;
        if (at + add > end) break;
        if ((unsigned char)*s >= 0x20) { /* no control characters */
            memcpy(at, from, add);
            at += add;
        }
        s += len;
    }
    memcpy(at, tail, sizeof tail - 1);
    at += sizeof tail - 1;
    size_t units = ((size_t)(at - text) + 15) / 16;
    memset(at, 0, units * 16 - (size_t)(at - text));
    out[0] = (uint8_t)units;
    return 1 + units * 16;
}

char *fanout_icy_text(const json_t *title)
{
    const char *text = json_str_or(title, "text", NULL, NULL);
    if (text) return xstrdup(text);
    const char *artist = json_str_or(title, "artist", "", NULL),
               *name = json_str_or(title, "title", "", NULL);
    return xasprintf("%s%s%s", artist, *artist && *name ? " - " : "", name);
}
