#include "root/audio/decode_live.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/mem.h"
#include "root/audio/decode_chain.h"
#include "root/audio/decode_meta.h"
#include "root/audio/pcm.h"

#define IO_BYTES      4096 /* small: what has come is decoded, not waited with */
#define PROBE_BYTES   (32 << 10)
#define GARBAGE_BYTES (512u << 10)
#define READ_RETRIES  64

static const char formats[] = "mp3,ogg,flac,aac";
static const char codecs[] = "mp3float,mp3,mp2float,mp2,flac,vorbis,opus,aac";

static const struct {
    const char *type, *format;
} types[] = {
    {"audio/mpeg", "mp3"},  {"audio/mp3", "mp3"},     {"audio/ogg", "ogg"}, {"application/ogg", "ogg"},
    {"audio/opus", "ogg"},  {"audio/vorbis", "ogg"},  {"audio/aac", "aac"}, {"audio/aacp", "aac"},
    {"audio/flac", "flac"}, {"audio/x-flac", "flac"},
};

struct live_decoder {
    live_decoder_read read;
    void *context;
    int stopped;  /* the source said so */
    uint64_t fed; /* bytes read since something was decoded */
    struct decode_chain chain;
    int ended;
    float *pcm;
    int room; /* samples */
    char *title, *title_told;
};

static int io_read(void *context, uint8_t *bytes, int size)
{
    struct live_decoder *d = context;
    long n = d->stopped || d->fed > GARBAGE_BYTES ? 0 : d->read(d->context, bytes, (size_t)size);
    if (n < 0) d->stopped = 1;
    if (n <= 0) return AVERROR_EOF;
    d->fed += (uint64_t)n;
    return (int)n;
}

static const AVInputFormat *format_of(const char *type)
{
    if (!type) return NULL;
    size_t len = strcspn(type, "; \t");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strlen(types[i].type) == len && !strncasecmp(types[i].type, type, len))
            return av_find_input_format(types[i].format);
    }
    return NULL;
}

static int chain_open(struct live_decoder *d, const char *type, char **cause)
{
    const struct decode_input input = {.read = io_read,
                                       .context = d,
                                       .buffer_bytes = IO_BYTES,
                                       .probe_bytes = PROBE_BYTES,
                                       .analyse_s = 1,
                                       .formats = formats,
                                       .codecs = codecs,
                                       .format = format_of(type)};
    decode_chain_listen();
    if (decode_chain_open(&d->chain, &input))
        return decode_chain_refused(cause, "not a stream of a known kind");
    if (avformat_find_stream_info(d->chain.format, NULL) < 0)
        return decode_chain_refused(cause, "the stream can't be read");
    if (decode_chain_pick(&d->chain, cause)) return -1;
    return decode_chain_codec(&d->chain, codecs, cause);
}

/* Notes a title that differs from the one noted last. */
static void note_title(struct live_decoder *d)
{
    struct tags tags = {0};
    decode_meta_tags(d->chain.format, d->chain.stream, &tags);
    if (tags.title && *tags.title) {
        int both = tags.artist && *tags.artist;
        char *text = both ? xasprintf("%s - %s", tags.artist, tags.title) : xstrdup(tags.title);
        if (d->title_told && !strcmp(text, d->title_told)) {
            free(text);
        } else {
            free(d->title);
            free(d->title_told);
            d->title = text;
            d->title_told = xstrdup(text);
        }
    }
    tags_free(&tags);
}

int live_decoder_open(struct live_decoder **out, const char *type, live_decoder_read read, void *context,
                      char **cause)
{
    struct live_decoder *d = xcalloc(1, sizeof *d);
    d->read = read;
    d->context = context;
    *out = NULL;
    if (chain_open(d, type, cause)) {
        live_decoder_close(d);
        return -1;
    }
    note_title(d);
    *out = d;
    return 0;
}

void live_decoder_close(struct live_decoder *d)
{
    if (!d) return;
    decode_chain_close(&d->chain);
    free(d->pcm);
    free(d->title);
    free(d->title_told);
    free(d);
}

char *live_decoder_title(struct live_decoder *d)
{
    char *title = d->title;
    d->title = NULL;
    return title;
}

/* The decoded frame, or with none what the resampler still holds, into d->pcm: samples, or -1. */
static long convert(struct live_decoder *d, const AVFrame *frame, char **cause)
{
    int room = decode_chain_room(&d->chain, frame);
    if (room == 0) return 0;
    if (room > d->room) {
        d->room = room;
        d->pcm = xrealloc(d->pcm, (size_t)room * PCM_CHANNELS * sizeof *d->pcm);
    }
    return decode_chain_convert(&d->chain, frame, d->pcm, room, cause);
}

static long take_frame(struct live_decoder *d, char **cause)
{
    d->fed = 0;
    int differs = decode_chain_differs(&d->chain, cause);
    /* the few samples an old resampler holds are lost: the stream changed its format */
    if (differs < 0 || (differs && decode_chain_adapt(&d->chain, cause))) return -1;
    return convert(d, d->chain.frame, cause);
}

static void feed_packet(struct live_decoder *d)
{
    for (int retries = 0;;) {
        int rc = av_read_frame(d->chain.format, d->chain.packet);
        if (rc < 0) {
            if (rc != AVERROR_EOF && ++retries <= READ_RETRIES && !avio_feof(d->chain.io)) continue;
            avcodec_send_packet(d->chain.codec, NULL);
            return;
        }
        AVStream *stream = d->chain.format->streams[d->chain.stream];
        if ((d->chain.format->event_flags & AVFMT_EVENT_FLAG_METADATA_UPDATED) ||
            (stream->event_flags & AVSTREAM_EVENT_FLAG_METADATA_UPDATED)) {
            d->chain.format->event_flags &= ~AVFMT_EVENT_FLAG_METADATA_UPDATED;
            stream->event_flags &= ~AVSTREAM_EVENT_FLAG_METADATA_UPDATED;
            note_title(d);
        }
        int ours = d->chain.packet->stream_index == d->chain.stream;
        if (ours) avcodec_send_packet(d->chain.codec, d->chain.packet); /* what is broken in it is skipped */
        av_packet_unref(d->chain.packet);
        if (ours) return;
    }
}

long live_decoder_pcm(struct live_decoder *d, const float **pcm, char **cause)
{
    while (!d->ended) {
        long n = 0;
        int rc = avcodec_receive_frame(d->chain.codec, d->chain.frame);
        if (rc == 0) {
            n = take_frame(d, cause);
            av_frame_unref(d->chain.frame);
        } else if (rc == AVERROR_EOF) {
            d->ended = 1;
            if (d->fed > GARBAGE_BYTES) return cause_set(cause, "nothing in it can be decoded");
            n = d->chain.resampler ? convert(d, NULL, cause) : 0;
        } else {
            feed_packet(d);
        }
        if (n < 0) return -1;
        *pcm = d->pcm;
        if (n) return n;
    }
    return 0;
}
