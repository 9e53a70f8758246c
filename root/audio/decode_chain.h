/* decode_chain: what decoding a file and decoding a live stream have in common (part of decode: libav's types
 * stay behind it): a demuxer that can open nothing else, the one decoder, samples in the house format.
 *
 * The owner reads packets and receives frames itself, since what is to be done about a broken one differs. */
#ifndef FOREVER_ROOT_AUDIO_DECODE_CHAIN_H
#define FOREVER_ROOT_AUDIO_DECODE_CHAIN_H
#include <stddef.h>
#include <stdint.h>

struct AVFormatContext;
struct AVFrame;
struct AVInputFormat;

/* Zeroed before decode_chain_open. */
struct decode_chain {
    struct AVIOContext *io;
    struct AVFormatContext *format;
    struct AVCodecContext *codec;
    struct AVPacket *packet;
    struct AVFrame *frame;
    int stream; /* the one that is heard */
    /* what the resampler is set up for */
    struct SwrContext *resampler;
    int rate, channels, sample_format;
};

/* read and seek: as avio_alloc_context wants them; seek may be NULL. */
struct decode_input {
    int (*read)(void *context, uint8_t *bytes, int size);
    int64_t (*seek)(void *context, int64_t offset, int whence);
    void *context;
    int buffer_bytes, probe_bytes;
    double analyse_s; /* of sound looked at to find out what it is, at most */
    /* what may be parsed, separated by commas: the fewer parsers hostile bytes can reach the better */
    const char *formats, *codecs;
    const struct AVInputFormat *format; /* NULL: found out */
};

/* The container's header. 0, or -1: it is of no known kind. */
int decode_chain_open(struct decode_chain *chain, const struct decode_input *input);
/* The best of its sounds, of which alone packets come from now on. 0, or -1 with *cause: there is none. */
int decode_chain_pick(struct decode_chain *chain, char **cause);
/* The decoder of what was picked. 0, or -1 with *cause. */
int decode_chain_codec(struct decode_chain *chain, const char *codecs, char **cause);
void decode_chain_close(struct decode_chain *chain); /* zeroed is fine; zeroed again after it */

/* 1 when the decoded frame's format is not the one the resampler is set up for; 0; -1 with *cause when it is
 * none that there is music in. */
int decode_chain_differs(const struct decode_chain *chain, char **cause);
/* Sets the resampler up for the decoded frame's format; samples the old one holds are lost. 0, or -1 with
 * *cause. */
int decode_chain_adapt(struct decode_chain *chain, char **cause);
/* At most so many samples come of a frame, or with NULL of what the resampler still holds; may be 0. */
int decode_chain_room(const struct decode_chain *chain, const struct AVFrame *frame);
/* Writes them (room of them at most, interleaved): finite, none louder than damage is. How many, or -1 with
 * *cause. */
int decode_chain_convert(struct decode_chain *chain, const struct AVFrame *frame, float *out, int room,
                         char **cause);

/* libav's complaints are kept from now on rather than printed, the last one for decode_chain_refused; one
 * that was kept before is forgotten. A worker decodes on one thread. */
void decode_chain_listen(void);
/* *cause is `what`, with libav's last complaint: -1. */
int decode_chain_refused(char **cause, const char *what);

#endif
