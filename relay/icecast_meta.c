#include "relay/icecast_meta.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define BLOCK_MAX (255 * 16)

struct icecast_meta {
    size_t interval, left; /* audio bytes to the next block */
    size_t want, have;     /* of the block under way; want 0: none */
    char block[BLOCK_MAX + 1], last[BLOCK_MAX + 1];
};

struct icecast_meta *icecast_meta_new(void)
{
    return xcalloc(1, sizeof(struct icecast_meta));
}

void icecast_meta_free(struct icecast_meta *m)
{
    free(m);
}

void icecast_meta_interval(struct icecast_meta *m, size_t bytes)
{
    m->interval = m->left = bytes;
}

char *icecast_meta_text(const char *bytes, size_t len)
{
    json_t *valid = json_stringn(bytes, len); /* only of UTF-8 */
    json_decref(valid);
    char *out = xmalloc(len * 2 + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c < 0x20 || c == 0x7f) continue;
        if (valid || c < 0x80) {
            out[n++] = (char)c;
        } else {
            out[n++] = (char)(0xc0 | c >> 6);
            out[n++] = (char)(0x80 | (c & 0x3f));
        }
    }
    out[n] = '\0';
    return out;
}

json_t *icecast_meta_title(const char *text)
{
    const char *dash = strstr(text, " - ");
    char *artist = xstrndup(text, dash ? (size_t)(dash - text) : 0);
    json_t *body =
        json_pack("{s:s,s:s,s:s}", "title", dash ? dash + 3 : text, "artist", artist, "text", text);
    free(artist);
    return body ? body : json_object();
}

/* What stands between StreamTitle=' and the '; that ends it: quotes within are not escaped. */
static char *title_of(const char *block)
{
    const char *begin = strstr(block, "StreamTitle='");
    if (!begin) return NULL;
    begin += strlen("StreamTitle='");
    const char *end = strstr(begin, "';Stream");
    for (const char *c = begin; !end && (c = strstr(c, "';")); c++) {
        if (!strstr(c + 1, "';")) end = c;
    }
    if (!end) end = begin + strlen(begin);
    return icecast_meta_text(begin, (size_t)(end - begin));
}

/* The block is whole: told when it says something new. */
static void block_done(struct icecast_meta *m, size_t audio, void (*title)(void *, size_t, char *),
                       void *context)
{
    m->block[m->have] = '\0';
    m->want = m->have = 0;
    m->left = m->interval;
    if (!*m->block || !strcmp(m->block, m->last)) return;
    memcpy(m->last, m->block, strlen(m->block) + 1);
    char *text = title_of(m->block);
    if (text) title(context, audio, text);
}

size_t icecast_meta_split(struct icecast_meta *m, const uint8_t *bytes, size_t len, uint8_t *out, size_t room,
                          size_t *audio, void (*title)(void *context, size_t audio, char *text),
                          void *context)
{
    size_t used = 0;
    *audio = 0;
    while (used < len && *audio < room) {
        size_t n = len - used;
        if (m->want) {
            if (n > m->want - m->have) n = m->want - m->have;
            memcpy(m->block + m->have, bytes + used, n);
            m->have += n;
            used += n;
            if (m->have == m->want) block_done(m, *audio, title, context);
        } else if (m->interval && m->left == 0) {
            m->want = (size_t)bytes[used++] * 16;
            if (!m->want) m->left = m->interval;
        } else {
            if (m->interval && n > m->left) n = m->left;
            if (n > room - *audio) n = room - *audio;
            memcpy(out + *audio, bytes + used, n);
            *audio += n;
            used += n;
            m->left -= m->interval ? n : 0;
        }
    }
    return used;
}
