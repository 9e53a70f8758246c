#include "root/audio/decode_live.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/channel_layout.h>
#include <libswresample/swresample.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/mem.h"
#include "root/audio/decode_meta.h"
#include "root/audio/pcm.h"

#define IO_BYTES      4096 /* small: what has come is decoded, not waited with */
#define PROBE_BYTES   (32 << 10)
#define GARBAGE_BYTES (512u << 10)
#define RATE_MIN      4000
#define RATE_MAX      384000
#define CHANNELS_MAX  8
#define LOUDEST       16.0f
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
    AVIOContext *io;
    AVFormatContext *format;
    AVCodecContext *codec;
    SwrContext *resampler;
    AVPacket *packet;
    AVFrame *frame;
    int stream, ended;
    int rate, channels; /* what the resampler is set up for */
    enum AVSampleFormat sample_format;
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

static int refuse_open(AVFormatContext *format, AVIOContext **io, const char *url, int flags,
                       AVDictionary **options)
{
    (void)format, (void)io, (void)url, (void)flags, (void)options;
    return AVERROR(EACCES);
}

static void be_quiet(void *context, int level, const char *text, va_list ap)
{
    (void)context, (void)level, (void)text, (void)ap;
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

static int demuxer_open(struct live_decoder *d, const char *type, char **cause)
{
    uint8_t *buffer = av_malloc(IO_BYTES);
    d->io = buffer ? avio_alloc_context(buffer, IO_BYTES, 0, d, io_read, NULL, NULL) : NULL;
    d->format = avformat_alloc_context();
    if (!d->io || !d->format) abort();
    d->format->pb = d->io;
    d->format->io_open = refuse_open;
    d->format->probesize = PROBE_BYTES;
    d->format->max_analyze_duration = AV_TIME_BASE;
    AVDictionary *options = NULL;
    av_dict_set(&options, "format_whitelist", formats, 0);
    av_dict_set(&options, "codec_whitelist", codecs, 0);
    av_dict_set(&options, "protocol_whitelist", "", 0);
    int rc = avformat_open_input(&d->format, NULL, format_of(type), &options);
    av_dict_free(&options);
    if (rc < 0) return cause_set(cause, "not a stream of a known kind");
    if (avformat_find_stream_info(d->format, NULL) < 0) return cause_set(cause, "the stream can't be read");
    return 0;
}

static int codec_open(struct live_decoder *d, char **cause)
{
    d->stream = av_find_best_stream(d->format, AVMEDIA_TYPE_AUDIO, -1, -1, NULL, 0);
    if (d->stream < 0) return cause_set(cause, "no sound in it");
    AVStream *stream = d->format->streams[d->stream];
    for (unsigned i = 0; i < d->format->nb_streams; i++) {
        if ((int)i != d->stream) d->format->streams[i]->discard = AVDISCARD_ALL;
    }
    const AVCodec *codec = avcodec_find_decoder(stream->codecpar->codec_id);
    if (!codec) return cause_set(cause, "its coding is not supported");
    d->codec = avcodec_alloc_context3(codec);
    if (!d->codec || avcodec_parameters_to_context(d->codec, stream->codecpar) < 0)
        return cause_set(cause, "its coding parameters make no sense");
    d->codec->pkt_timebase = stream->time_base;
    d->codec->thread_count = 1;
    d->codec->codec_whitelist = av_strdup(codecs);
    if (avcodec_open2(d->codec, codec, NULL) < 0) return cause_set(cause, "its decoder can't start");
    return 0;
}

/* Notes a title that differs from the one noted last. */
static void note_title(struct live_decoder *d)
{
    struct tags tags = {0};
    decode_meta_tags(d->format, d->stream, &tags);
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
    av_log_set_callback(be_quiet);
    struct live_decoder *d = xcalloc(1, sizeof *d);
    d->read = read;
    d->context = context;
    d->packet = av_packet_alloc();
    d->frame = av_frame_alloc();
    if (!d->packet || !d->frame) abort();
    *out = NULL;
    if (demuxer_open(d, type, cause) || codec_open(d, cause)) {
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
    swr_free(&d->resampler);
    av_frame_free(&d->frame);
    av_packet_free(&d->packet);
    avcodec_free_context(&d->codec);
    avformat_close_input(&d->format);
    if (d->io) av_freep(&d->io->buffer);
    avio_context_free(&d->io);
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

static int resampler_open(struct live_decoder *d, char **cause)
{
    const AVFrame *frame = d->frame;
    int channels = frame->ch_layout.nb_channels;
    if (frame->sample_rate < RATE_MIN || frame->sample_rate > RATE_MAX)
        return cause_set(cause, "sample rate %d Hz is out of range", frame->sample_rate);
    if (channels < 1 || channels > CHANNELS_MAX)
        return cause_set(cause, "%d channels are out of range", channels);
    swr_free(&d->resampler); /* the few samples an old one holds are lost: the stream changed its format */
    AVChannelLayout in = {0}, out = AV_CHANNEL_LAYOUT_STEREO;
    if (frame->ch_layout.order == AV_CHANNEL_ORDER_NATIVE)
        av_channel_layout_copy(&in, &frame->ch_layout);
    else
        av_channel_layout_default(&in, channels);
    int rc = swr_alloc_set_opts2(&d->resampler, &out, AV_SAMPLE_FMT_FLT, PCM_RATE, &in, frame->format,
                                 frame->sample_rate, 0, NULL);
    av_channel_layout_uninit(&in);
    static const double both[] = {1, 1}; /* swresample would lower mono by 3 dB */
    if (rc >= 0 && channels == 1) rc = swr_set_matrix(d->resampler, both, 1);
    if (rc < 0 || swr_init(d->resampler) < 0) return cause_set(cause, "its samples can't be converted");
    d->rate = frame->sample_rate;
    d->channels = channels;
    d->sample_format = frame->format;
    return 0;
}

/* The decoded frame, or with none what the resampler still holds, into d->pcm: samples, or -1. */
static long convert(struct live_decoder *d, const AVFrame *frame, char **cause)
{
    int count = frame ? frame->nb_samples : 0, room = swr_get_out_samples(d->resampler, count);
    if (room <= 0) return 0;
    if (room > d->room) {
        d->room = room;
        d->pcm = xrealloc(d->pcm, (size_t)room * PCM_CHANNELS * sizeof *d->pcm);
    }
    int n = swr_convert(d->resampler, (uint8_t *[]){(uint8_t *)d->pcm}, room,
                        frame ? (const uint8_t **)frame->extended_data : NULL, count);
    if (n < 0) return cause_set(cause, "resampling failed");
    for (int i = 0; i < n * PCM_CHANNELS; i++) {
        float x = isfinite(d->pcm[i]) ? d->pcm[i] : 0;
        d->pcm[i] = x > LOUDEST ? LOUDEST : x < -LOUDEST ? -LOUDEST : x;
    }
    return n;
}

static long take_frame(struct live_decoder *d, char **cause)
{
    const AVFrame *frame = d->frame;
    d->fed = 0;
    if (!d->resampler || frame->sample_rate != d->rate || frame->ch_layout.nb_channels != d->channels ||
        frame->format != d->sample_format) {
        if (resampler_open(d, cause)) return -1;
    }
    return convert(d, frame, cause);
}

static void feed_packet(struct live_decoder *d)
{
    for (int retries = 0;;) {
        int rc = av_read_frame(d->format, d->packet);
        if (rc < 0) {
            if (rc != AVERROR_EOF && ++retries <= READ_RETRIES && !avio_feof(d->io)) continue;
            avcodec_send_packet(d->codec, NULL);
            return;
        }
        AVStream *stream = d->format->streams[d->stream];
        if ((d->format->event_flags & AVFMT_EVENT_FLAG_METADATA_UPDATED) ||
            (stream->event_flags & AVSTREAM_EVENT_FLAG_METADATA_UPDATED)) {
            d->format->event_flags &= ~AVFMT_EVENT_FLAG_METADATA_UPDATED;
            stream->event_flags &= ~AVSTREAM_EVENT_FLAG_METADATA_UPDATED;
            note_title(d);
        }
        int ours = d->packet->stream_index == d->stream;
        if (ours) avcodec_send_packet(d->codec, d->packet); /* what is broken in it is skipped */
        av_packet_unref(d->packet);
        if (ours) return;
    }
}

long live_decoder_pcm(struct live_decoder *d, const float **pcm, char **cause)
{
    while (!d->ended) {
        long n = 0;
        int rc = avcodec_receive_frame(d->codec, d->frame);
        if (rc == 0) {
            n = take_frame(d, cause);
            av_frame_unref(d->frame);
        } else if (rc == AVERROR_EOF) {
            d->ended = 1;
            if (d->fed > GARBAGE_BYTES) return cause_set(cause, "nothing in it can be decoded");
            n = d->resampler ? convert(d, NULL, cause) : 0;
        } else {
            feed_packet(d);
        }
        if (n < 0) return -1;
        *pcm = d->pcm;
        if (n) return n;
    }
    return 0;
}
