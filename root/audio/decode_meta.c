#include "root/audio/decode_meta.h"

#include <libavformat/avformat.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define TEXT_MAX_BYTES 512
#define ART_MAX_BYTES  (4u << 20)

/* Length of the UTF-8 sequence at s (RFC 3629: no overlong forms, no surrogates); 0 when it is none. */
static size_t utf8_sequence(const unsigned char *s)
{
    if (s[0] < 0x80) return 1;
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4) return 0;
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
    }
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0;
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;
    return len;
}

static int utf8_valid(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    while (*s) {
        size_t len = utf8_sequence(s);
        if (len == 0) return 0;
        s += len;
    }
    return 1;
}

static char *from_latin1(const char *text)
{
    char *out = xmalloc(2 * strlen(text) + 1), *to = out;
    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        if (*s < 0x80) {
            *to++ = (char)*s;
        } else {
            *to++ = (char)(0xc0 | *s >> 6);
            *to++ = (char)(0x80 | (*s & 0x3f));
        }
    }
    *to = '\0';
    return out;
}

/* Owned clean text; NULL when nothing is left of it. */
static char *clean(const char *raw)
{
    char *text = utf8_valid(raw) ? xstrdup(raw) : from_latin1(raw);
    for (char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = ' ';
    }
    size_t from = strspn(text, " "), len = strlen(text + from);
    if (len > TEXT_MAX_BYTES) {
        len = TEXT_MAX_BYTES;
        while (((unsigned char)text[from + len] & 0xc0) == 0x80)
            len--;
    }
    while (len && text[from + len - 1] == ' ')
        len--;
    char *out = len ? xstrndup(text + from, len) : NULL;
    free(text);
    return out;
}

static char *first_of(const AVFormatContext *format, int stream, const char *const names[])
{
    for (; *names; names++) {
        const AVDictionary *const places[] = {format->metadata, format->streams[stream]->metadata};
        for (int i = 0; i < 2; i++) {
            const AVDictionaryEntry *entry = av_dict_get(places[i], *names, NULL, 0);
            char *text = entry ? clean(entry->value) : NULL;
            if (text) return text;
        }
    }
    return NULL;
}

void decode_meta_tags(const AVFormatContext *format, int stream, struct tags *out)
{
    static const char *const title[] = {"title", NULL}, *const album[] = {"album", NULL};
    static const char *const artist[] = {"artist", "album_artist", "composer", NULL};
    static const char *const genre[] = {"genre", NULL}, *const date[] = {"date", "year", NULL};
    out->title = first_of(format, stream, title);
    out->artist = first_of(format, stream, artist);
    out->album = first_of(format, stream, album);
    out->genre = first_of(format, stream, genre);
    out->date = first_of(format, stream, date);
}

static const char *picture_mime(enum AVCodecID codec)
{
    switch (codec) {
    case AV_CODEC_ID_MJPEG:
        return "image/jpeg";
    case AV_CODEC_ID_PNG:
        return "image/png";
    case AV_CODEC_ID_GIF:
        return "image/gif";
    case AV_CODEC_ID_WEBP:
        return "image/webp";
    default:
        return NULL; /* browsers show no other kind */
    }
}

uint8_t *decode_meta_art(const AVFormatContext *format, size_t *len, const char **mime)
{
    for (unsigned i = 0; i < format->nb_streams; i++) {
        const AVStream *stream = format->streams[i];
        if (!(stream->disposition & AV_DISPOSITION_ATTACHED_PIC)) continue;
        const AVPacket *picture = &stream->attached_pic;
        *mime = picture_mime(stream->codecpar->codec_id);
        if (!*mime || picture->size <= 0 || (unsigned)picture->size > ART_MAX_BYTES) continue;
        *len = (size_t)picture->size;
        return memcpy(xmalloc(*len), picture->data, *len);
    }
    *len = 0;
    *mime = NULL;
    return NULL;
}
