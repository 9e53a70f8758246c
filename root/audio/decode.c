/* Three stages, pulled from the end: demux packets, decode them to frames, convert these to the house format
 * into `ready`, from which reads are served. The file is read with pread through an own AVIOContext, so a
 * descriptor may be shared; nothing else can be opened from inside a container.
 *
 * libavcodec itself drops the encoder's delay and padding where the container states them (LAME tag, Opus
 * pre-skip, MP4 edit list), the resampler its own delay: both are held to that by tests. */
#include "root/audio/decode.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswresample/swresample.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/mem.h"
#include "root/audio/decode_chain.h"
#include "root/audio/decode_meta.h"
#include "root/audio/decode_table.h"
#include "root/audio/pcm.h"

#define IO_BUFFER_BYTES 65536
#define PROBE_BYTES     (5 << 20)
#define MAX_SAMPLES     ((uint64_t)24 * 3600 * PCM_RATE)
#define ERRORS_ALLOWED  12 /* before their share matters */
#define READ_RETRIES    64 /* of a demuxer that stumbles without getting on */

/* Only what is promised. */
static const char formats[] = "mp3,flac,ogg,mov,mp4,m4a,wav,w64,aiff,aac";
static const char codecs[] =
    "mp3float,mp3,mp2float,mp2,flac,vorbis,opus,aac,alac,pcm_u8,pcm_s8,pcm_s16le,"
    "pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,"
    "pcm_f64be,pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_ima_wav";

struct decoder {
    int fd;
    off_t size, offset; /* of the file; of the next byte the demuxer reads */
    struct decode_chain chain;
    struct decode_table *table; /* of a long file, read by it once the demuxer is closed; else NULL */
    int settled;                /* what only an opening needs is given up */
    int64_t last_pos;           /* of the last packet */

    float *ready; /* decoded, not read yet: [ready_from, ready_to) samples */
    size_t ready_from, ready_to, ready_size;
    uint64_t position; /* of the next sample read */
    uint64_t made;     /* samples decoded in all */
    int ended;         /* the file has no more */
    unsigned packets, errors;

    struct tags tags;
    uint8_t *art;
    size_t art_len;
    const char *art_mime;
    double duration_s;
    char name[16]; /* of the container */
};

static int io_read(void *context, uint8_t *buffer, int size)
{
    struct decoder *d = context;
    ssize_t n = pread(d->fd, buffer, (size_t)size, d->offset);
    if (n < 0) return AVERROR(errno);
    d->offset += n;
    return n == 0 ? AVERROR_EOF : (int)n;
}

static int64_t io_seek(void *context, int64_t offset, int whence)
{
    struct decoder *d = context;
    switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE:
        return d->size;
    case SEEK_SET:
        break;
    case SEEK_CUR:
        offset += d->offset;
        break;
    case SEEK_END:
        offset += d->size;
        break;
    default:
        return AVERROR(EINVAL);
    }
    if (offset < 0) return AVERROR(EINVAL);
    return d->offset = offset;
}

static int demuxer_open(struct decoder *d, char **cause)
{
    d->offset = 0;
    const struct decode_input input = {.read = io_read,
                                       .seek = io_seek,
                                       .context = d,
                                       .buffer_bytes = IO_BUFFER_BYTES,
                                       .probe_bytes = PROBE_BYTES,
                                       .analyse_s = 5,
                                       .formats = formats,
                                       .codecs = codecs};
    if (decode_chain_open(&d->chain, &input))
        return decode_chain_refused(cause, "not a sound file of a known kind");
    AVFormatContext *format = d->chain.format;
    for (unsigned i = 0; i < format->nb_streams; i++) {
        AVStream *stream = format->streams[i];
        if (stream->codecpar->codec_type != AVMEDIA_TYPE_AUDIO) stream->discard = AVDISCARD_ALL;
    }
    if (avformat_find_stream_info(format, NULL) < 0)
        return decode_chain_refused(cause, "its streams can't be read");
    return 0;
}

static int is_encrypted(const AVStream *stream)
{
    switch (stream->codecpar->codec_tag) {
    case MKTAG('d', 'r', 'm', 's'):
    case MKTAG('e', 'n', 'c', 'a'):
    case MKTAG('a', 'a', 'v', 'd'):
        return 1;
    default:
        return av_stream_get_side_data(stream, AV_PKT_DATA_ENCRYPTION_INIT_INFO, NULL) != NULL;
    }
}

static int codec_open(struct decoder *d, char **cause)
{
    if (decode_chain_pick(&d->chain, cause)) return -1;
    if (is_encrypted(d->chain.format->streams[d->chain.stream])) return cause_set(cause, "encrypted (DRM)");
    return decode_chain_codec(&d->chain, codecs, cause);
}

static void chain_close(struct decoder *d)
{
    decode_chain_close(&d->chain);
    decode_table_free(d->table);
    d->table = NULL;
}

static int chain_open(struct decoder *d, char **cause)
{
    decode_chain_listen();
    d->ended = 0;
    d->ready_from = d->ready_to = 0;
    d->position = d->made = 0;
    d->packets = d->errors = 0;
    d->settled = 0;
    return demuxer_open(d, cause) || codec_open(d, cause) ? -1 : 0;
}

/* Room for `samples` more behind what is ready. */
static float *ready_room(struct decoder *d, size_t samples)
{
    if (d->ready_from) {
        memmove(d->ready, d->ready + d->ready_from * PCM_CHANNELS,
                (d->ready_to - d->ready_from) * PCM_CHANNELS * sizeof *d->ready);
        d->ready_to -= d->ready_from;
        d->ready_from = 0;
    }
    if (d->ready_to + samples > d->ready_size) {
        d->ready_size = d->ready_to + samples;
        d->ready = xrealloc(d->ready, d->ready_size * PCM_CHANNELS * sizeof *d->ready);
    }
    return d->ready + d->ready_to * PCM_CHANNELS;
}

/* Puts a frame's samples (NULL: what the resampler still holds) behind what is ready. */
static int convert(struct decoder *d, const AVFrame *frame, char **cause)
{
    int room = decode_chain_room(&d->chain, frame);
    if (room == 0) return 0;
    int n = decode_chain_convert(&d->chain, frame, ready_room(d, (size_t)room), room, cause);
    if (n < 0) return -1;
    d->ready_to += (size_t)n;
    d->made += (uint64_t)n;
    if (d->made > MAX_SAMPLES) return cause_set(cause, "longer than 24 h");
    return 0;
}

static int frame_take(struct decoder *d, char **cause)
{
    int differs = decode_chain_differs(&d->chain, cause);
    if (differs < 0) return -1;
    if (differs) {
        /* the format may change within a stream: what the old resampler holds comes out first */
        if (d->chain.resampler && convert(d, NULL, cause)) return -1;
        if (decode_chain_adapt(&d->chain, cause)) return -1;
    }
    return convert(d, d->chain.frame, cause);
}

static int count_error(struct decoder *d, char **cause)
{
    d->errors++;
    if (d->errors >= ERRORS_ALLOWED && d->errors >= d->packets / 3)
        return cause_set(cause, "%u of %u packets are broken", d->errors, d->packets);
    return 0;
}

/* Pictures and a long index are given up as soon as something was decoded, and with it the packets that came
 * before the sound: the studio has several tracks open, and looks at no cover. */
static void settle(struct decoder *d)
{
    AVFormatContext *format = d->chain.format;
    d->settled = 1;
    for (unsigned i = 0; i < format->nb_streams; i++)
        av_packet_unref(&format->streams[i]->attached_pic);
    d->table = decode_table_new(format, d->chain.stream, d->packets, d->last_pos);
    if (d->table) avformat_close_input(&d->chain.format);
}

static int packet_read(struct decoder *d)
{
    if (!d->settled && d->made) settle(d);
    return d->table ? decode_table_read(d->table, d->chain.io, d->chain.packet)
                    : av_read_frame(d->chain.format, d->chain.packet);
}

/* The next packet into the codec; at the end of the file the codec is told so. */
static int packet_feed(struct decoder *d, char **cause)
{
    for (int retries = 0;;) {
        int rc = packet_read(d);
        if (rc < 0) {
            if (rc != AVERROR_EOF && ++retries <= READ_RETRIES && !avio_feof(d->chain.io)) {
                if (count_error(d, cause)) return -1;
                continue;
            }
            avcodec_send_packet(d->chain.codec, NULL);
            return 0;
        }
        int ours = d->chain.packet->stream_index == d->chain.stream;
        int encrypted = ours && av_packet_get_side_data(d->chain.packet, AV_PKT_DATA_ENCRYPTION_INFO, NULL);
        if (ours) d->last_pos = d->chain.packet->pos;
        rc = ours && !encrypted ? avcodec_send_packet(d->chain.codec, d->chain.packet) : 0;
        av_packet_unref(d->chain.packet);
        if (encrypted) return cause_set(cause, "encrypted (DRM)");
        if (!ours) continue;
        d->packets++;
        return rc < 0 ? count_error(d, cause) : 0;
    }
}

/* Makes something ready: 1; 0 when the file has no more; -1 with *cause. */
static int fill(struct decoder *d, char **cause)
{
    size_t before = d->ready_to - d->ready_from;
    while (!d->ended) {
        int rc = avcodec_receive_frame(d->chain.codec, d->chain.frame);
        if (rc == 0) {
            rc = frame_take(d, cause);
            av_frame_unref(d->chain.frame);
        } else if (rc == AVERROR(EAGAIN)) {
            rc = packet_feed(d, cause);
        } else if (rc == AVERROR_EOF) {
            d->ended = 1;
            rc = d->chain.resampler ? convert(d, NULL, cause) : 0;
        } else {
            rc = count_error(d, cause);
        }
        if (rc) return -1;
        if (d->ready_to - d->ready_from > before) return 1;
    }
    return 0;
}

/* libavformat's name, which may be a list; its MP4 family is known by what carries music. */
static void name_format(struct decoder *d)
{
    const char *name = d->chain.format->iformat->name;
    if (!strncmp(name, "mov,", 4)) name = "m4a";
    snprintf(d->name, sizeof d->name, "%.*s", (int)strcspn(name, ","), name);
}

static int open_file(struct decoder **out, int fd, int with_art, char **cause)
{
    *out = NULL;
    struct decoder *d = xcalloc(1, sizeof *d);
    d->fd = fd;
    struct stat st;
    int rc = -1;
    if (fstat(fd, &st))
        cause_set(cause, "can't be read: %s", strerror(errno));
    else if (!S_ISREG(st.st_mode))
        cause_set(cause, "not a regular file");
    else if (st.st_size == 0)
        cause_set(cause, "the file is empty");
    else
        rc = 0;
    if (rc == 0) {
        d->size = st.st_size;
        rc = chain_open(d, cause);
    }
    if (rc == 0) {
        int64_t duration = d->chain.format->duration;
        d->duration_s = duration > 0 ? (double)duration / AV_TIME_BASE : NAN;
        if (d->duration_s > 24 * 3600) rc = cause_set(cause, "longer than 24 h");
    }
    if (rc == 0) {
        rc = fill(d, cause);
        if (rc == 0) cause_set(cause, "no sound in it");
        rc = rc > 0 ? 0 : -1;
    }
    if (rc) {
        decode_close(d);
        return -1;
    }
    decode_meta_tags(d->chain.format, d->chain.stream, &d->tags);
    name_format(d);
    if (with_art) d->art = decode_meta_art(d->chain.format, &d->art_len, &d->art_mime);
    settle(d);
    *out = d;
    return 0;
}

int decode_open(struct decoder **out, int fd, char **cause)
{
    return open_file(out, fd, 0, cause);
}

int decode_open_art(struct decoder **out, int fd, char **cause)
{
    return open_file(out, fd, 1, cause);
}

void decode_close(struct decoder *d)
{
    if (!d) return;
    chain_close(d);
    close(d->fd);
    free(d->ready);
    free(d->art);
    tags_free(&d->tags);
    free(d);
}

/* Takes up to `samples` into out, or drops them when out is NULL. The number taken; 0 = end; -1. */
static long take(struct decoder *d, float *out, size_t samples, char **cause)
{
    size_t done = 0;
    while (done < samples) {
        if (d->ready_from == d->ready_to) {
            int rc = fill(d, cause);
            if (rc < 0) return -1;
            if (rc == 0) break;
        }
        size_t n = d->ready_to - d->ready_from;
        if (n > samples - done) n = samples - done;
        if (out)
            memcpy(out + done * PCM_CHANNELS, d->ready + d->ready_from * PCM_CHANNELS,
                   n * PCM_CHANNELS * sizeof *out);
        d->ready_from += n;
        d->position += n;
        done += n;
    }
    return (long)done;
}

long decode_read(struct decoder *d, float *out, size_t samples, char **cause)
{
    return take(d, out, samples, cause);
}

/* Of the process: whoever is asked for samples does not know who waits for them. */
static void (*seeking)(void *context);
static void *seeking_context;

void decode_on_seek(void (*call)(void *context), void *context)
{
    seeking = call;
    seeking_context = context;
}

int decode_seek(struct decoder *d, uint64_t sample, char **cause)
{
    if (sample < d->position) {
        chain_close(d);
        if (chain_open(d, cause)) {
            d->ended = 1;
            return -1;
        }
    }
    while (d->position < sample) {
        uint64_t left = sample - d->position;
        long n = take(d, NULL, left < PCM_RATE ? (size_t)left : PCM_RATE, cause);
        if (n <= 0) return n < 0 ? -1 : 1;
        if (seeking) seeking(seeking_context);
    }
    return 0;
}

uint64_t decode_position(const struct decoder *d)
{
    return d->position;
}

double decode_duration_s(const struct decoder *d)
{
    return d->duration_s;
}

const struct tags *decode_tags(const struct decoder *d)
{
    return &d->tags;
}

const uint8_t *decode_art(const struct decoder *d, size_t *len, const char **mime)
{
    *len = d->art_len;
    *mime = d->art_mime;
    return d->art;
}

unsigned decode_errors(const struct decoder *d)
{
    return d->errors;
}

const char *decode_format(const struct decoder *d)
{
    return d->name;
}

char *decode_library(void)
{
    unsigned codec = avcodec_version(), resampler = swresample_version();
    return xasprintf("libavcodec %u.%u.%u, libswresample %u.%u.%u", codec >> 16, codec >> 8 & 255,
                     codec & 255, resampler >> 16, resampler >> 8 & 255, resampler & 255);
}
