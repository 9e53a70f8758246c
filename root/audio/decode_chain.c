#include "root/audio/decode_chain.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/channel_layout.h>
#include <libswresample/swresample.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/pcm.h"

#define RATE_MIN     4000
#define RATE_MAX     384000
#define CHANNELS_MAX 8
#define LOUDEST      16.0f /* full scales; more is damage, not music */

static char complaint[96];

__attribute__((format(printf, 3, 0))) static void keep_complaint(void *context, int level, const char *text,
                                                                 va_list ap)
{
    (void)context;
    if (level > AV_LOG_ERROR) return;
    vsnprintf(complaint, sizeof complaint, text, ap);
    if (strstr(complaint, "whitelist")) complaint[0] = '\0'; /* ours, and nothing to a listener */
    complaint[strcspn(complaint, "\n")] = '\0';
    for (char *c = complaint; *c; c++) {
        if (*c < 0x20 || *c > 0x7e) *c = '?';
    }
}

void decode_chain_listen(void)
{
    complaint[0] = '\0';
    av_log_set_callback(keep_complaint);
}

int decode_chain_refused(char **cause, const char *what)
{
    return complaint[0] ? cause_set(cause, "%s (%s)", what, complaint) : cause_set(cause, "%s", what);
}

static int refuse_open(AVFormatContext *format, AVIOContext **io, const char *url, int flags,
                       AVDictionary **options)
{
    (void)format, (void)io, (void)url, (void)flags, (void)options;
    return AVERROR(EACCES);
}

int decode_chain_open(struct decode_chain *chain, const struct decode_input *input)
{
    uint8_t *buffer = av_malloc((size_t)input->buffer_bytes);
    chain->io = buffer ? avio_alloc_context(buffer, input->buffer_bytes, 0, input->context, input->read, NULL,
                                            input->seek)
                       : NULL;
    chain->format = avformat_alloc_context();
    chain->packet = av_packet_alloc();
    chain->frame = av_frame_alloc();
    if (!chain->io || !chain->format || !chain->packet || !chain->frame) abort();
    chain->format->pb = chain->io;
    chain->format->io_open = refuse_open;
    chain->format->probesize = input->probe_bytes;
    chain->format->max_analyze_duration = (int64_t)(input->analyse_s * AV_TIME_BASE);
    AVDictionary *options = NULL;
    av_dict_set(&options, "format_whitelist", input->formats, 0);
    av_dict_set(&options, "codec_whitelist", input->codecs, 0);
    av_dict_set(&options, "protocol_whitelist", "", 0);
    int rc = avformat_open_input(&chain->format, NULL, input->format, &options);
    av_dict_free(&options);
    return rc < 0 ? -1 : 0;
}

int decode_chain_pick(struct decode_chain *chain, char **cause)
{
    chain->stream = av_find_best_stream(chain->format, AVMEDIA_TYPE_AUDIO, -1, -1, NULL, 0);
    if (chain->stream < 0) return cause_set(cause, "no sound in it");
    for (unsigned i = 0; i < chain->format->nb_streams; i++) {
        if ((int)i != chain->stream) chain->format->streams[i]->discard = AVDISCARD_ALL;
    }
    return 0;
}

int decode_chain_codec(struct decode_chain *chain, const char *codecs, char **cause)
{
    const AVStream *stream = chain->format->streams[chain->stream];
    const AVCodec *codec = avcodec_find_decoder(stream->codecpar->codec_id);
    if (!codec)
        return cause_set(cause, "its coding (%s) is not supported",
                         avcodec_get_name(stream->codecpar->codec_id));
    chain->codec = avcodec_alloc_context3(codec);
    if (!chain->codec || avcodec_parameters_to_context(chain->codec, stream->codecpar) < 0)
        return cause_set(cause, "its coding parameters make no sense");
    chain->codec->pkt_timebase = stream->time_base;
    chain->codec->thread_count = 1;
    chain->codec->codec_whitelist = av_strdup(codecs);
    if (avcodec_open2(chain->codec, codec, NULL) < 0)
        return decode_chain_refused(cause, "its decoder can't start");
    return 0;
}

void decode_chain_close(struct decode_chain *chain)
{
    swr_free(&chain->resampler);
    av_frame_free(&chain->frame);
    av_packet_free(&chain->packet);
    avcodec_free_context(&chain->codec);
    avformat_close_input(&chain->format);
    if (chain->io) av_freep(&chain->io->buffer);
    avio_context_free(&chain->io);
    *chain = (struct decode_chain){0};
}

int decode_chain_differs(const struct decode_chain *chain, char **cause)
{
    const AVFrame *frame = chain->frame;
    int channels = frame->ch_layout.nb_channels;
    if (chain->resampler && frame->sample_rate == chain->rate && channels == chain->channels &&
        frame->format == chain->sample_format)
        return 0;
    if (frame->sample_rate < RATE_MIN || frame->sample_rate > RATE_MAX)
        return cause_set(cause, "sample rate %d Hz is out of range (%d to %d)", frame->sample_rate, RATE_MIN,
                         RATE_MAX);
    if (channels < 1 || channels > CHANNELS_MAX)
        return cause_set(cause, "%d channels are out of range (1 to %d)", channels, CHANNELS_MAX);
    return 1;
}

int decode_chain_adapt(struct decode_chain *chain, char **cause)
{
    const AVFrame *frame = chain->frame;
    int channels = frame->ch_layout.nb_channels;
    swr_free(&chain->resampler);
    AVChannelLayout in = {0}, out = AV_CHANNEL_LAYOUT_STEREO;
    if (frame->ch_layout.order == AV_CHANNEL_ORDER_NATIVE)
        av_channel_layout_copy(&in, &frame->ch_layout);
    else
        av_channel_layout_default(&in, channels);
    int rc = swr_alloc_set_opts2(&chain->resampler, &out, AV_SAMPLE_FMT_FLT, PCM_RATE, &in, frame->format,
                                 frame->sample_rate, 0, NULL);
    av_channel_layout_uninit(&in);
    /* swresample would lower mono by 3 dB */
    static const double both[] = {1, 1};
    if (rc >= 0 && channels == 1) rc = swr_set_matrix(chain->resampler, both, 1);
    if (rc < 0 || swr_init(chain->resampler) < 0)
        return decode_chain_refused(cause, "its samples can't be converted");
    chain->rate = frame->sample_rate;
    chain->channels = channels;
    chain->sample_format = frame->format;
    return 0;
}

int decode_chain_room(const struct decode_chain *chain, const struct AVFrame *frame)
{
    int room = swr_get_out_samples(chain->resampler, frame ? frame->nb_samples : 0);
    return room > 0 ? room : 0;
}

int decode_chain_convert(struct decode_chain *chain, const struct AVFrame *frame, float *out, int room,
                         char **cause)
{
    int n = swr_convert(chain->resampler, (uint8_t *[]){(uint8_t *)out}, room,
                        frame ? (const uint8_t **)frame->extended_data : NULL, frame ? frame->nb_samples : 0);
    if (n < 0) return cause_set(cause, "resampling failed");
    for (int i = 0; i < n * PCM_CHANNELS; i++) {
        float x = isfinite(out[i]) ? out[i] : 0; /* fminf and fmaxf are calls */
        out[i] = x > LOUDEST ? LOUDEST : x < -LOUDEST ? -LOUDEST : x;
    }
    return n;
}
