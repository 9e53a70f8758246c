#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "common/station_internal.h"

char *station_url(const struct station *s, const struct http_request *r, const char *path)
{
    if (s->conf.public_url) return xasprintf("%s%s", s->conf.public_url, path);
    const char *host = http_header(r, "Host");
    if (!host || !*host) return xstrdup(path);
    /* a proxy on this machine may say that it was asked over TLS */
    const char *scheme = http_peer_is_loopback(r) ? http_header(r, "X-Forwarded-Proto") : NULL;
    return xasprintf("%s://%s%s", scheme && !strcasecmp(scheme, "https") ? "https" : "http", host, path);
}

char *station_stream_url(const struct station *s, const struct http_request *r)
{
    char path[64];
    snprintf(path, sizeof path, "/%s.mp3", s->mount);
    return station_url(s, r, path);
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

void station_on_m3u(void *context, struct http_request *r)
{
    const struct station *s = context;
    char *url = station_stream_url(s, r), *name = one_line(name_of(s));
    char *text = xasprintf("#EXTM3U\n#EXTINF:-1,%s\n%s\n", name, url);
    http_add_header(r, "Cache-Control", "no-cache");
    http_reply(r, 200, "audio/x-mpegurl", text, strlen(text));
    free(text);
    free(name);
    free(url);
}

void station_on_pls(void *context, struct http_request *r)
{
    const struct station *s = context;
    char *url = station_stream_url(s, r), *name = one_line(name_of(s));
    char *text =
        xasprintf("[playlist]\nNumberOfEntries=1\nFile1=%s\nTitle1=%s\nLength1=-1\nVersion=2\n", url, name);
    http_add_header(r, "Cache-Control", "no-cache");
    http_reply(r, 200, "audio/x-scpls", text, strlen(text));
    free(text);
    free(name);
    free(url);
}

static void reply_json(struct http_request *r, int status, json_t *value)
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
    const json_t *title = station_title(s, station_air(s));
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
    reply_json(r, 200, root);
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
    reply_json(r, well ? 200 : 503, value);
}
