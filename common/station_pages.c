#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "common/station_internal.h"

#define ADDRESSES_MAX 6
#define LOCATION_MAX  1024

char *station_url(const struct station *s, const struct http_request *r, const char *path)
{
    if (s->conf.public_url) return xasprintf("%s%s", s->conf.public_url, path);
    const char *host = http_header(r, "Host");
    if (!host || !*host) return xstrdup(path);
    return xasprintf("%s://%s%s", http_secure(r) ? "https" : "http", host, path);
}

char *station_stream_url(const struct station *s, const struct http_request *r)
{
    char path[64];
    snprintf(path, sizeof path, "/%s.mp3", s->mount);
    return station_url(s, r, path);
}

char *station_elsewhere_url(const struct station *s, const char *main_stream)
{
    return xasprintf("%.*s/%s.mp3", (int)(strrchr(main_stream, '/') - main_stream), main_stream, s->mount);
}

static const char *name_of(const struct station *s)
{
    const char *name = s->conf.identity.name;
    return name && *name ? name : "forever";
}

/* A name in a playlist stays on its line. */
static char *one_line(const char *text)
{
    char *line = xstrdup(text);
    for (char *c = line; *c; c++) {
        if ((unsigned char)*c < 0x20) *c = ' ';
    }
    return line;
}

/* The stream's addresses, this node's first: what a player falls back on when that one is gone. Fresh memory,
 * like the array's. */
static size_t addresses(const struct station *s, const struct http_request *r, char *urls[ADDRESSES_MAX])
{
    char location[LOCATION_MAX];
    size_t n = 0;
    urls[n++] = station_stream_url(s, r);
    while (s->conf.elsewhere && n < ADDRESSES_MAX &&
           !s->conf.elsewhere(s->conf.context, http_secure(r), n - 1, location, sizeof location))
        urls[n++] = station_elsewhere_url(s, location);
    return n;
}

static void reply_playlist(struct http_request *r, const char *type, struct evbuffer *text)
{
    http_add_header(r, "Cache-Control", "no-cache");
    http_reply_buffer(r, 200, type, text);
    evbuffer_free(text);
}

void station_on_m3u(void *context, struct http_request *r)
{
    const struct station *s = context;
    struct evbuffer *out = evbuffer_new();
    char *urls[ADDRESSES_MAX], *name = one_line(name_of(s));
    size_t n = addresses(s, r, urls);
    evbuffer_add_printf(out, "#EXTM3U\n");
    for (size_t i = 0; i < n; i++) {
        evbuffer_add_printf(out, "#EXTINF:-1,%s\n%s\n", name, urls[i]);
        free(urls[i]);
    }
    free(name);
    reply_playlist(r, "audio/x-mpegurl", out);
}

void station_on_pls(void *context, struct http_request *r)
{
    const struct station *s = context;
    struct evbuffer *out = evbuffer_new();
    char *urls[ADDRESSES_MAX], *name = one_line(name_of(s));
    size_t n = addresses(s, r, urls);
    evbuffer_add_printf(out, "[playlist]\nNumberOfEntries=%zu\n", n);
    for (size_t i = 0; i < n; i++) {
        evbuffer_add_printf(out, "File%zu=%s\nTitle%zu=%s\nLength%zu=-1\n", i + 1, urls[i], i + 1, name,
                            i + 1);
        free(urls[i]);
    }
    evbuffer_add_printf(out, "Version=2\n");
    free(name);
    reply_playlist(r, "audio/x-scpls", out);
}

static void put_xml(struct evbuffer *out, const char *element, const char *text)
{
    if (!text || !*text) return;
    evbuffer_add_printf(out, "<%s>", element);
    for (const char *c = text; *c; c++) {
        if (*c == '<' || *c == '>' || *c == '&' || *c == '"')
            evbuffer_add_printf(out, "&#%d;", *c);
        else if ((unsigned char)*c >= 0x20)
            evbuffer_add(out, c, 1);
    }
    evbuffer_add_printf(out, "</%s>\n", element);
}

/* One track with several locations: the first that works is the one to play. */
void station_on_xspf(void *context, struct http_request *r)
{
    const struct station *s = context;
    struct evbuffer *out = evbuffer_new();
    char *urls[ADDRESSES_MAX];
    size_t n = addresses(s, r, urls);
    evbuffer_add_printf(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                             "<playlist version=\"1\" xmlns=\"http://xspf.org/ns/0/\">\n");
    put_xml(out, "title", name_of(s));
    put_xml(out, "info", s->conf.identity.url);
    evbuffer_add_printf(out, "<trackList><track>\n");
    for (size_t i = 0; i < n; i++) {
        put_xml(out, "location", urls[i]);
        free(urls[i]);
    }
    put_xml(out, "title", name_of(s));
    put_xml(out, "annotation", s->conf.identity.description);
    evbuffer_add_printf(out, "</track></trackList></playlist>\n");
    reply_playlist(r, "application/xspf+xml", out);
}

void station_reply_json(struct http_request *r, int status, json_t *value)
{
    char *text = json_text(value);
    json_decref(value);
    http_add_header(r, "Cache-Control", "no-store");
    http_reply(r, status, "application/json", text, strlen(text));
    free(text);
}

static void set_text(json_t *object, const char *key, const char *value)
{
    if (value && *value) json_object_set_new(object, key, json_text_lossy(value));
}

/* Icecast writes a moment twice. */
static void set_moment(json_t *object, const char *key, int64_t wall_ns)
{
    time_t t = (time_t)(wall_ns / CLOCK_NS_PER_S);
    struct tm tm;
    gmtime_r(&t, &tm);
    char text[64], iso_key[40];
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S +0000", &tm);
    json_object_set_new(object, key, json_string(text));
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S+0000", &tm);
    snprintf(iso_key, sizeof iso_key, "%s_iso8601", key);
    json_object_set_new(object, iso_key, json_string(text));
}

static json_t *source_json(const struct station *s, const struct http_request *r)
{
    json_t *source = json_object();
    unsigned kbps = ring_kbps(s->ring);
    char info[80];
    snprintf(info, sizeof info, "ice-samplerate=%d;ice-bitrate=%u;ice-channels=2", MP3_RATE, kbps);
    set_text(source, "audio_info", info);
    json_object_set_new(source, "bitrate", json_integer(kbps));
    json_object_set_new(source, "channels", json_integer(2));
    const char *genre = s->conf.identity.genre;
    set_text(source, "genre", genre && *genre ? genre : "various");
    json_object_set_new(source, "listener_peak", json_integer((json_int_t)s->peak));
    json_object_set_new(source, "listeners", json_integer((json_int_t)fanout_counts(s->fanout)->listening));
    char *url = station_stream_url(s, r);
    set_text(source, "listenurl", url);
    free(url);
    json_object_set_new(source, "samplerate", json_integer(MP3_RATE));
    set_text(source, "server_description", s->conf.identity.description);
    set_text(source, "server_name", name_of(s));
    set_text(source, "server_type", "audio/mpeg");
    set_text(source, "server_url", s->conf.identity.url);
    set_moment(source, "stream_start", s->started_wall_ns);
    const json_t *title = station_title(s, station_air(s)), *loop = fanout_loop_title(s->fanout);
    if (loop) title = loop;
    set_text(source, "artist", json_str_or(title, "artist", NULL, NULL));
    set_text(source, "title", json_str_or(title, "title", json_str_or(title, "text", NULL, NULL), NULL));
    json_object_set_new(source, "dummy", json_null());
    return source;
}

void station_on_status(void *context, struct http_request *r)
{
    const struct station *s = context;
    json_t *icestats = json_object(), *root = json_object();
    char *url = station_url(s, r, ""), *host = strstr(url, "://");
    host = xstrdup(host ? host + 3 : "localhost");
    char *port = strrchr(host, ':');
    if (port && !strchr(port, ']')) *port = '\0';
    set_text(icestats, "admin", "root@localhost");
    set_text(icestats, "host", host);
    set_text(icestats, "location", "Earth");
    set_text(icestats, "server_id", "forever " FOREVER_VERSION);
    set_moment(icestats, "server_start", s->started_wall_ns);
    /* as Icecast does: an object while there is one mount, else a list */
    json_t *source = source_json(s, r);
    const struct station *further;
    if (!LIST_EMPTY(&s->further)) {
        json_t *list = json_array();
        json_array_append_new(list, source);
        LIST_FOREACH(further, &s->further, sibling)
        json_array_insert_new(list, 1, source_json(further, r));
        source = list;
    }
    json_object_set_new(icestats, "source", source);
    json_object_set_new(root, "icestats", icestats);
    free(host);
    free(url);
    station_reply_json(r, 200, root);
}

void station_on_health(void *context, struct http_request *r)
{
    const struct station *s = context;
    char reason[256] = "";
    int well = !s->conf.healthy || s->conf.healthy(s->conf.context, reason, sizeof reason);
    json_t *value = json_object();
    set_text(value, "status", well ? "ok" : "failing");
    if (!well) set_text(value, "reason", *reason ? reason : "unknown");
    json_object_set_new(value, "listeners", json_integer((json_int_t)fanout_counts(s->fanout)->listening));
    json_object_set_new(value, "position", json_integer((json_int_t)station_air(s)));
    station_reply_json(r, well ? 200 : 503, value);
}
