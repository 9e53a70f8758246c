/* A picture comes from anywhere. What decoding will cost is read from its head beforehand, by a parser that
 * looks at nothing else, and refused beyond the limits: memory by the size of what libavcodec holds (for a
 * progressive JPEG every coefficient of the whole picture), time by the number of scans over it. */
#include "root/audio/decode_picture.h"

#include <libavcodec/avcodec.h>
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define SIDE        96 /* samples along each side, at most */
#define MEMORY_MAX  ((uint64_t)28 << 20)
#define SCANS_MAX   100
#define LARGE       512 /* shorter side from which a JPEG is decoded at an eighth */
#define EIGHTH      3
#define SIDE_MAX    16384
#define ALIGN_MAX   128 /* libavcodec's buffers are so much larger, at most */
#define JPEG_SAMPLE 3   /* bytes a pixel, of a baseline picture without subsampling */
#define PROGRESSIVE 9   /* likewise, with the coefficients of three components */

struct head {
    enum AVCodecID codec;
    unsigned width, height;
    uint64_t memory;
    unsigned scans;
};

static unsigned be(const uint8_t *in, int bytes)
{
    unsigned value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | in[i];
    return value;
}

static int png_head(const uint8_t *b, size_t len, struct head *out)
{
    static const unsigned channels[7] = {1, 0, 3, 1, 2, 0, 4}; /* by colour type */
    if (len < 33 || memcmp(b, "\x89PNG\r\n\x1a\n", 8) || memcmp(b + 12, "IHDR", 4) || b[25] > 6) return -1;
    *out = (struct head){AV_CODEC_ID_PNG, be(b + 16, 4), be(b + 20, 4), 0, 1};
    out->memory = (uint64_t)out->width * out->height * channels[b[25]] * (b[24] > 8 ? 2 : 1);
    return 0;
}

/* Walks the segments to the frame's head, then counts the scans in what follows. */
static int jpeg_head(const uint8_t *b, size_t len, struct head *out)
{
    size_t at = 2;
    if (len < 4 || b[0] != 0xff || b[1] != 0xd8) return -1;
    *out = (struct head){.codec = AV_CODEC_ID_MJPEG};
    while (at + 4 <= len && b[at] == 0xff) {
        uint8_t marker = b[at + 1];
        size_t size = be(b + at + 2, 2);
        if (marker == 0xda) break;
        if (marker == 0xff) { /* fill */
            at++;
            continue;
        }
        int frame = marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
        if (frame && at + 9 <= len) {
            out->height = be(b + at + 5, 2);
            out->width = be(b + at + 7, 2);
            out->memory = (uint64_t)out->width * out->height * (marker == 0xc2 ? PROGRESSIVE : JPEG_SAMPLE);
            if (marker != 0xc2 && out->width >= LARGE && out->height >= LARGE) out->memory >>= 2 * EIGHTH;
        }
        at += 2 + size;
    }
    if (!out->width) return -1;
    for (; at + 1 < len; at++) {
        const uint8_t *next = memchr(b + at, 0xff, len - 1 - at);
        if (!next) break;
        at = (size_t)(next - b);
        out->scans += next[1] == 0xda;
    }
    return 0;
}

static AVFrame *decode(const struct head *head, const uint8_t *bytes, size_t len)
{
    const AVCodec *codec = avcodec_find_decoder(head->codec);
    AVCodecContext *context = codec ? avcodec_alloc_context3(codec) : NULL;
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    int good = 0;
    if (!packet || !frame) abort();
    if (context && av_new_packet(packet, (int)len) == 0) {
        memcpy(packet->data, bytes, len);
        context->thread_count = 1;
        context->max_pixels = (int64_t)(head->width + ALIGN_MAX) * (head->height + ALIGN_MAX);
        if (head->codec == AV_CODEC_ID_MJPEG && head->width >= LARGE && head->height >= LARGE)
            context->lowres = EIGHTH;
        good = avcodec_open2(context, codec, NULL) == 0 && avcodec_send_packet(context, packet) == 0 &&
               avcodec_send_packet(context, NULL) == 0 && avcodec_receive_frame(context, frame) == 0;
    }
    av_packet_free(&packet);
    avcodec_free_context(&context);
    if (!good) av_frame_free(&frame);
    return frame;
}

/* A component at x, y in 0..1. */
static double component(const AVFrame *frame, const AVPixFmtDescriptor *desc, int c, int x, int y)
{
    uint16_t value = 0;
    int depth = desc->flags & AV_PIX_FMT_FLAG_PAL ? 8 : desc->comp[c].depth;
    int chroma = !(desc->flags & AV_PIX_FMT_FLAG_RGB) && (c == 1 || c == 2) && desc->nb_components > 2;
    if (chroma) {
        x >>= desc->log2_chroma_w;
        y >>= desc->log2_chroma_h;
    }
    av_read_image_line2(&value, (const uint8_t **)frame->data, frame->linesize, desc, x, y, c, 1,
                        (desc->flags & AV_PIX_FMT_FLAG_PAL) != 0, sizeof value);
    return value / (double)((1 << depth) - 1);
}

static uint8_t byte_of(double value)
{
    return (uint8_t)lround(255 * fmin(1, fmax(0, value)));
}

/* 0 when the pixel is transparent. JPEG's colours are those of JFIF: BT.601 at full range. */
static int pixel(const AVFrame *frame, const AVPixFmtDescriptor *desc, int x, int y, uint8_t rgb[3])
{
    int count = desc->flags & AV_PIX_FMT_FLAG_PAL ? 4 : desc->nb_components;
    double v[4] = {0};
    for (int c = 0; c < count; c++)
        v[c] = component(frame, desc, c, x, y);
    if ((count == 2 || count == 4) && v[count - 1] < 0.5) return 0;
    if (count <= 2) {
        v[1] = v[2] = v[0];
    } else if (!(desc->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL))) {
        double luma = v[0], cb = v[1] - 128 / 255.0, cr = v[2] - 128 / 255.0;
        v[0] = luma + 1.402 * cr;
        v[1] = luma - 0.344136 * cb - 0.714136 * cr;
        v[2] = luma + 1.772 * cb;
    }
    for (int c = 0; c < 3; c++)
        rgb[c] = byte_of(v[c]);
    return 1;
}

long decode_picture(const uint8_t *bytes, size_t len, uint8_t (*rgb)[3], char **cause)
{
    struct head head;
    if (png_head(bytes, len, &head) && jpeg_head(bytes, len, &head))
        return cause_set(cause, "no JPEG or PNG picture");
    if (!head.width || !head.height || head.width > SIDE_MAX || head.height > SIDE_MAX ||
        head.memory > MEMORY_MAX || head.scans > SCANS_MAX)
        return cause_set(cause, "a picture of %u by %u in %u scans is too large", head.width, head.height,
                         head.scans);
    AVFrame *frame = decode(&head, bytes, len);
    const AVPixFmtDescriptor *desc = frame ? av_pix_fmt_desc_get(frame->format) : NULL;
    if (!desc) {
        av_frame_free(&frame);
        return cause_set(cause, "the picture can't be decoded");
    }
    int columns = frame->width < SIDE ? frame->width : SIDE,
        rows = frame->height < SIDE ? frame->height : SIDE;
    long count = 0;
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < columns; c++) /* from the middle of each cell */
            count += pixel(frame, desc, (2 * c + 1) * frame->width / (2 * columns),
                           (2 * r + 1) * frame->height / (2 * rows), rgb[count]);
    }
    av_frame_free(&frame);
    return count;
}
