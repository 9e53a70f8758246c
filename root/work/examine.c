#include "root/work/examine.h"

#include <errno.h>
#include <malloc.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "root/analysis/analysis.h"
#include "root/analysis/colours.h"
#include "root/audio/decode.h"
#include "root/audio/decode_picture.h"
#include "root/audio/pcm.h"

#define READ_BYTES   (256u << 10)
#define READ_SAMPLES 8192
#define MMAP_BYTES                                                                                           \
    (128 << 10)      /* larger blocks are the system's own: they grow without being copied, and go back */
#define SHORTEST_S 2 /* the studio can't plan as fast as shorter ones play */

char *examine_hash(int fd, char **cause)
{
    unsigned char digest[EVP_MAX_MD_SIZE], *buffer = xmalloc(READ_BYTES);
    unsigned len = 0;
    off_t at = 0;
    ssize_t got;
    char *hex = NULL;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int good = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL);
    while (good && (got = pread(fd, buffer, READ_BYTES, at)) != 0) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            cause_set(cause, "it can't be read: %s", strerror(errno));
            goto out;
        }
        good = EVP_DigestUpdate(context, buffer, (size_t)got);
        at += got;
    }
    if (!good || !EVP_DigestFinal_ex(context, digest, &len)) {
        cause_set(cause, "its hash can't be computed");
        goto out;
    }
    hex = xmalloc(2 * len + 1);
    for (unsigned i = 0; i < len; i++)
        sprintf(hex + 2 * i, "%02x", digest[i]);
out:
    EVP_MD_CTX_free(context);
    free(buffer);
    return hex;
}

static int set(const char *text)
{
    return text && text[0];
}

static char *copy(const char *text)
{
    return set(text) ? xstrdup(text) : NULL;
}

/* "dir/Artist - Title.mp3" gives what the tags leave out; a leading track number is dropped. */
static void name_tags(struct tags *tags, const char *path)
{
    if (set(tags->title)) return;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    char *stem = xstrndup(name, dot && dot > name ? (size_t)(dot - name) : strlen(name));
    char *rest = stem + strspn(stem, "0123456789");
    if (rest > stem && rest - stem <= 3) {
        rest += strspn(rest, " .-_");
    } else {
        rest = stem;
    }
    if (!*rest) rest = stem;
    char *dash = strstr(rest, " - ");
    free(tags->title);
    if (dash && dash > rest && dash[3]) {
        if (!set(tags->artist)) {
            free(tags->artist);
            tags->artist = xstrndup(rest, (size_t)(dash - rest));
        }
        tags->title = xstrdup(dash + 3);
    } else {
        tags->title = xstrdup(rest);
    }
    free(stem);
}

static void take_tags(struct tags *out, const struct tags *in, const char *path)
{
    *out = (struct tags){copy(in->title), copy(in->artist), copy(in->album), copy(in->genre), copy(in->date)};
    name_tags(out, path);
}

static void take_art(struct examine_pictures *out, const struct decoder *decoder)
{
    const char *mime = NULL;
    size_t len = 0;
    const uint8_t *bytes = decode_art(decoder, &len, &mime);
    if (!bytes || !len) return;
    out->art = xmalloc(len);
    memcpy(out->art, bytes, len);
    out->art_len = len;
    out->art_mime = xstrdup(mime ? mime : "application/octet-stream");
}

/* A cover that can't be looked at costs its colours, not the track. */
static void take_colours(struct features *out, const struct decoder *decoder)
{
    const char *mime = NULL;
    size_t len = 0;
    const uint8_t *bytes = decode_art(decoder, &len, &mime);
    if (!bytes || !len) return;
    uint8_t(*rgb)[3] = xmalloc(PICTURE_SAMPLES_MAX * sizeof *rgb);
    char *cause = NULL;
    long count = decode_picture(bytes, len, rgb, &cause);
    if (count > 0) out->colour_count = colours_find((const uint8_t(*)[3])rgb, (size_t)count, out->colours);
    if (count < 0) log_debug("analyse", "a cover without colours: %s", cause);
    free(cause);
    free(rgb);
}

/* Takes over the decoder, whose memory is not needed any more once all is read. */
static int take_features(struct features *out, struct examine_pictures *pictures, struct decoder *decoder,
                         char **cause)
{
    struct analysis *analysis = analysis_new();
    float *pcm = xmalloc(READ_SAMPLES * PCM_CHANNELS * sizeof *pcm);
    long got;
    while ((got = decode_read(decoder, pcm, READ_SAMPLES, cause)) > 0)
        analysis_feed(analysis, pcm, (size_t)got);
    decode_close(decoder);
    int result = got < 0 ? -1 : analysis_finish(analysis, out, cause);
    if (!result && pictures) pictures->wave = analysis_wave(analysis, &pictures->wave_len);
    free(pcm);
    analysis_free(analysis);
    return result;
}

int examine_file(int fd, const char *path, struct track *out, struct examine_pictures *pictures, char **cause)
{
    struct decoder *decoder = NULL;
    mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
    track_init(out);
    if (pictures) *pictures = (struct examine_pictures){0};
    out->hash = examine_hash(fd, cause);
    if (!out->hash) {
        close(fd);
        return -1;
    }
    if (decode_open_art(&decoder, fd, cause)) goto failed;
    take_tags(&out->tags, decode_tags(decoder), path);
    if (pictures) take_art(pictures, decoder);
    take_colours(&out->features, decoder);
    if (take_features(&out->features, pictures, decoder, cause)) goto failed;
    return 0;
failed:
    if (pictures) examine_pictures_free(pictures);
    track_free(out);
    return -1;
}

int examine_judge(const struct track *track, char **cause)
{
    const struct features *f = &track->features;
    if (f->music_end_s - f->music_start_s >= SHORTEST_S) return 0;
    return cause_set(cause, "it holds less than %d s of music", SHORTEST_S);
}

void examine_pictures_free(struct examine_pictures *pictures)
{
    free(pictures->art);
    free(pictures->art_mime);
    free(pictures->wave);
    *pictures = (struct examine_pictures){0};
}
