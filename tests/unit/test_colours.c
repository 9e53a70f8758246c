/* colours, decode_picture: covers of known colours, through real files; what is broken or too large is
 * refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <libavcodec/avcodec.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/colours.h"
#include "root/audio/decode_picture.h"

static uint8_t rgb[PICTURE_SAMPLES_MAX][3];

/* The file of a picture; paint gives the colour (alpha on top, 0 transparent) at x, y in 0..1. Owned. */
static uint8_t *encode(enum AVCodecID id, enum AVPixelFormat format, int width, int height,
                       uint32_t (*paint)(double x, double y), size_t *len)
{
    const AVCodec *codec = avcodec_find_encoder(id);
    AVCodecContext *context = avcodec_alloc_context3(codec);
    AVFrame *frame = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    assert_non_null(codec);
    context->width = frame->width = width;
    context->height = frame->height = height;
    context->pix_fmt = format;
    context->time_base = (AVRational){1, 25};
    context->color_range = AVCOL_RANGE_JPEG;
    context->flags |= AV_CODEC_FLAG_QSCALE;
    frame->format = format;
    frame->quality = context->global_quality = 2 * FF_QP2LAMBDA;
    assert_int_equal(avcodec_open2(context, codec, NULL), 0);
    assert_int_equal(av_frame_get_buffer(frame, 0), 0);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            uint32_t c = paint((x + 0.5) / width, (y + 0.5) / height);
            double r = c >> 16 & 255, g = c >> 8 & 255, b = c & 255;
            uint8_t *row = frame->data[0] + y * frame->linesize[0];
            double yuv[3] = {0.299 * r + 0.587 * g + 0.114 * b, 128 - 0.168736 * r - 0.331264 * g + 0.5 * b,
                             128 + 0.5 * r - 0.418688 * g - 0.081312 * b};
            if (format == AV_PIX_FMT_RGBA) {
                row[4 * x] = (uint8_t)r;
                row[4 * x + 1] = (uint8_t)g;
                row[4 * x + 2] = (uint8_t)b;
                row[4 * x + 3] = (uint8_t)(c >> 24);
            } else if (format == AV_PIX_FMT_GRAY8) {
                row[x] = (uint8_t)yuv[0];
            } else {
                for (int p = 0; p < 3; p++)
                    frame->data[p][y * frame->linesize[p] + x] = (uint8_t)lround(fmin(255, fmax(0, yuv[p])));
            }
        }
    }
    assert_int_equal(avcodec_send_frame(context, frame), 0);
    avcodec_send_frame(context, NULL);
    assert_int_equal(avcodec_receive_packet(context, packet), 0);
    uint8_t *bytes = xmalloc((size_t)packet->size);
    *len = (size_t)packet->size;
    memcpy(bytes, packet->data, *len);
    av_packet_free(&packet);
    av_frame_free(&frame);
    avcodec_free_context(&context);
    return bytes;
}

static size_t colours_of(const uint8_t *bytes, size_t len, uint32_t out[COLOURS_MAX])
{
    char *cause = NULL;
    long count = decode_picture(bytes, len, rgb, &cause);
    if (count < 0) fail_msg("%s", cause);
    assert_true(count <= PICTURE_SAMPLES_MAX);
    return colours_find((const uint8_t(*)[3])rgb, (size_t)count, out);
}

static int near(uint32_t a, uint32_t b, int within)
{
    for (int shift = 0; shift < 24; shift += 8) {
        if (abs((int)(a >> shift & 255) - (int)(b >> shift & 255)) > within) return 0;
    }
    return 1;
}

/* Half dark blue, a third orange, the rest white. */
static uint32_t flag(double x, double y)
{
    (void)y;
    return x < 0.5 ? 0xff102060 : x < 0.84 ? 0xfff08010 : 0xffffffff;
}

static void assert_flag(const uint32_t *colours, size_t count, int within)
{
    assert_int_equal(count, 3);
    /* orange, strong, comes before blue, dark; white is the least */
    int blue = near(colours[0], 0x102060, within) ? 0 : 1;
    if (!near(colours[blue], 0x102060, within) || !near(colours[1 - blue], 0xf08010, within) ||
        !near(colours[2], 0xffffff, within))
        fail_msg("%06x %06x %06x", colours[0], colours[1], colours[2]);
}

static void test_files(void **unused)
{
    (void)unused;
    static const int sides[] = {40, 300, 1400}; /* the last one is decoded at an eighth */
    uint32_t colours[COLOURS_MAX];
    size_t len;
    for (int i = 0; i < 3; i++) {
        uint8_t *png = encode(AV_CODEC_ID_PNG, AV_PIX_FMT_RGBA, sides[i], sides[i], flag, &len);
        assert_flag(colours, colours_of(png, len, colours), 1);
        free(png);
        uint8_t *jpeg = encode(AV_CODEC_ID_MJPEG, AV_PIX_FMT_YUVJ444P, sides[i], sides[i], flag, &len);
        assert_flag(colours, colours_of(jpeg, len, colours), 8);
        free(jpeg);
    }
}

static uint32_t clear_but_red(double x, double y)
{
    return x < 0.2 && y < 0.5 ? 0xffc00000 : 0x0000ff00;
}

static uint32_t grey_ramp(double x, double y)
{
    (void)y;
    return 0xff000000 | (uint32_t)(x * 255) * 0x10101;
}

static uint32_t nothing(double x, double y)
{
    return x + y > 9;
}

static void test_kinds(void **unused)
{
    (void)unused;
    uint32_t colours[COLOURS_MAX], again[COLOURS_MAX];
    size_t len;
    uint8_t *png = encode(AV_CODEC_ID_PNG, AV_PIX_FMT_RGBA, 100, 60, clear_but_red, &len);
    assert_int_equal(colours_of(png, len, colours), 1);
    assert_true(near(colours[0], 0xc00000, 1));
    free(png);
    png = encode(AV_CODEC_ID_PNG, AV_PIX_FMT_GRAY8, 256, 10, grey_ramp, &len);
    size_t count = colours_of(png, len, colours);
    assert_int_equal(count, COLOURS_MAX);
    for (size_t i = 0; i < count; i++) {
        assert_true(near(colours[i], (colours[i] & 255) * 0x10101, 1)); /* greys stay grey */
        for (size_t k = 0; k < i; k++)
            assert_false(near(colours[i], colours[k], 10)); /* and differ */
    }
    assert_int_equal(colours_of(png, len, again), count);
    assert_memory_equal(colours, again, sizeof colours);
    free(png);
    png = encode(AV_CODEC_ID_PNG, AV_PIX_FMT_RGBA, 20, 20, nothing, &len);
    assert_int_equal(colours_of(png, len, colours), 0);
    free(png);
    png = encode(AV_CODEC_ID_PNG, AV_PIX_FMT_RGBA, 1, 1, flag, &len);
    assert_int_equal(colours_of(png, len, colours), 1);
    free(png);
}

static void refused(const uint8_t *bytes, size_t len, const char *reason)
{
    char *cause = NULL;
    assert_int_equal(decode_picture(bytes, len, rgb, &cause), -1);
    if (!strstr(cause, reason)) fail_msg("%s", cause);
    free(cause);
}

static void test_refused(void **unused)
{
    (void)unused;
    size_t len;
    uint8_t *png = encode(AV_CODEC_ID_PNG, AV_PIX_FMT_RGBA, 50, 50, flag, &len);
    refused(png, 0, "no JPEG or PNG");
    refused(png, 20, "no JPEG or PNG");
    refused((const uint8_t *)"GIF89a, perhaps, and long enough for a head", 40, "no JPEG or PNG");
    uint8_t *copy = xmalloc(len);
    memcpy(copy, png, len);
    memcpy(copy + 16, "\0\0\x30\0\0\0\x30\0", 8); /* 12288 by 12288 */
    refused(copy, len, "too large");
    memcpy(copy + 16, "\0\0\0\0\0\0\0\x30", 8);
    refused(copy, len, "too large");
    memcpy(copy, png, len);
    memset(copy + 33, 0x55, len - 33);
    refused(copy, len, "can't be decoded");
    free(copy);
    free(png);

    uint8_t *jpeg = encode(AV_CODEC_ID_MJPEG, AV_PIX_FMT_YUVJ444P, 600, 600, flag, &len);
    refused(jpeg, 30, "no JPEG or PNG");
    size_t frame = 2;
    while (jpeg[frame + 1] != 0xc0)
        frame += 2 + (size_t)(jpeg[frame + 2] << 8 | jpeg[frame + 3]);
    jpeg[frame + 1] = 0xc2; /* progressive, and as such 3000 by 3000 are too many coefficients */
    memcpy(jpeg + frame + 5, "\x0b\xb8\x0b\xb8", 4);
    refused(jpeg, len, "too large");
    memcpy(jpeg + frame + 5, "\x00\x40\x00\x40", 4);
    jpeg = xrealloc(jpeg, len + 2000);
    for (size_t i = 0; i < 2000; i += 2) /* each scan passes over the whole picture */
        memcpy(jpeg + len + i, "\xff\xda", 2);
    refused(jpeg, len + 2000, "scans is too large");
    free(jpeg);
}

/* Bytes changed anywhere (seeded) lead to colours or a reason, never to a crash or a long wait. */
static void test_damaged(void **unused)
{
    (void)unused;
    size_t len[2];
    uint8_t *files[2] = {encode(AV_CODEC_ID_PNG, AV_PIX_FMT_RGBA, 64, 64, flag, &len[0]),
                         encode(AV_CODEC_ID_MJPEG, AV_PIX_FMT_YUVJ444P, 64, 64, flag, &len[1])};
    uint32_t seed = 4711;
    for (int i = 0; i < 400; i++) {
        size_t n = len[i % 2];
        uint8_t *copy = xmalloc(n);
        memcpy(copy, files[i % 2], n);
        for (int k = 0; k < 4; k++) {
            seed = seed * 1664525 + 1013904223;
            copy[(seed >> 8) % n] = (uint8_t)(seed >> 24);
        }
        char *cause = NULL;
        long count = decode_picture(copy, n, rgb, &cause);
        assert_true(count >= 0 ? !cause && count <= PICTURE_SAMPLES_MAX : cause != NULL);
        free(cause);
        free(copy);
    }
    free(files[0]);
    free(files[1]);
}

int main(void)
{
    av_log_set_level(AV_LOG_QUIET);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests_name("colours", tests, NULL, NULL);
}
