/* decode_table: a long MP4 file's packets by the table are those of libavformat, one by one. */
#include <libavformat/avformat.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "root/audio/decode_table.h"

static char dir[] = "/tmp/forever-table-XXXXXX";
static int have_ffmpeg;

static void run(const char *what)
{
    char command[1024];
    snprintf(command, sizeof command, "cd %s && %s", dir, what);
    if (system(command) != 0) fail_msg("failed: %s", command);
}

static AVFormatContext *open_format(const char *name)
{
    char path[256];
    AVFormatContext *format = NULL;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(avformat_open_input(&format, path, NULL, NULL), 0);
    assert_true(avformat_find_stream_info(format, NULL) >= 0);
    for (unsigned i = 0; i < format->nb_streams; i++) {
        if (format->streams[i]->codecpar->codec_type != AVMEDIA_TYPE_AUDIO)
            format->streams[i]->discard = AVDISCARD_ALL;
    }
    return format;
}

static int next_packet(AVFormatContext *format, int stream, AVPacket *out)
{
    int rc;
    while ((rc = av_read_frame(format, out)) >= 0 && out->stream_index != stream)
        av_packet_unref(out);
    return rc;
}

/* After `taken` packets the table goes on as the demuxer does; how many it had. */
static int compare(const char *name, unsigned taken)
{
    AVFormatContext *format = open_format(name), *other = open_format(name);
    AVPacket *packet = av_packet_alloc(), *same = av_packet_alloc();
    int stream = av_find_best_stream(format, AVMEDIA_TYPE_AUDIO, -1, -1, NULL, 0), count = 0, rc;
    int64_t last = -1;
    for (unsigned i = 0; i < taken; i++) {
        assert_int_equal(next_packet(format, stream, packet), 0);
        last = packet->pos;
        av_packet_unref(packet);
    }
    assert_null(decode_table_new(format, stream, taken + 1, last)); /* not where the index has it */
    struct decode_table *table = decode_table_new(format, stream, taken, last);
    assert_non_null(table);
    for (; (rc = next_packet(format, stream, packet)) == 0; count++) {
        assert_int_equal(decode_table_read(table, other->pb, same), 0);
        assert_int_equal(same->size, packet->size);
        assert_memory_equal(same->data, packet->data, (size_t)packet->size);
        assert_int_equal(same->flags, packet->flags);
        assert_int_equal(same->stream_index, stream);
        av_packet_unref(packet);
        av_packet_unref(same);
    }
    assert_int_equal(rc, AVERROR_EOF);
    assert_int_equal(decode_table_read(table, other->pb, same), AVERROR_EOF);
    decode_table_free(table);
    av_packet_free(&packet);
    av_packet_free(&same);
    avformat_close_input(&format);
    avformat_close_input(&other);
    return count;
}

static void test_same_packets(void **state)
{
    (void)state;
    if (!have_ffmpeg) skip();
    run("ffmpeg -v error -y -f lavfi -i sine=300:duration=5 -c:a aac five.m4a");
    run("ffmpeg -v error -y -stream_loop 99 -i five.m4a -c copy long.m4a");
    int all = compare("long.m4a", 1);
    assert_true(all > DECODE_TABLE_LEAST);
    assert_int_equal(compare("long.m4a", 40), all - 39);
    run("ffmpeg -v error -y -i long.m4a -c copy -movflags frag_keyframe+empty_moov -frag_duration 10000000 "
        "pieces.m4a");
    assert_true(compare("pieces.m4a", 3) > DECODE_TABLE_LEAST);
    /* with pictures between the sound */
    run("ffmpeg -v error -y -f lavfi -i color=red:s=16x16:r=2 -t 500 -c:v mjpeg film.mov");
    run("ffmpeg -v error -y -i long.m4a -i film.mov -map 0 -map 1 -c copy -ss 3.1 -t 480 both.mov");
    assert_true(compare("both.mov", 1) > DECODE_TABLE_LEAST);
}

/* Few packets and another container are the demuxer's. */
static void test_left_alone(void **state)
{
    (void)state;
    if (!have_ffmpeg) skip();
    run("ffmpeg -v error -y -i five.m4a -c copy few.m4a");
    run("ffmpeg -v error -y -stream_loop 99 -i five.m4a -c copy long.aac");
    static const char *const names[] = {"few.m4a", "long.aac"};
    for (int i = 0; i < 2; i++) {
        AVFormatContext *format = open_format(names[i]);
        AVPacket *packet = av_packet_alloc();
        assert_int_equal(next_packet(format, 0, packet), 0);
        assert_null(decode_table_new(format, 0, 1, packet->pos));
        av_packet_free(&packet);
        avformat_close_input(&format);
    }
}

/* A file that has become shorter than its index says. */
static void test_cut(void **state)
{
    (void)state;
    if (!have_ffmpeg) skip();
    AVFormatContext *format = open_format("long.m4a"), *cut;
    AVPacket *packet = av_packet_alloc();
    assert_int_equal(next_packet(format, 0, packet), 0);
    struct decode_table *table = decode_table_new(format, 0, 1, packet->pos);
    assert_non_null(table);
    run("head -c 1000000 long.m4a > cut.aac");
    avformat_close_input(&format);
    cut = avformat_alloc_context();
    assert_non_null(cut);
    char path[256];
    snprintf(path, sizeof path, "%s/cut.aac", dir);
    assert_int_equal(avio_open(&cut->pb, path, AVIO_FLAG_READ), 0);
    int rc, count = 0;
    do {
        av_packet_unref(packet);
        rc = decode_table_read(table, cut->pb, packet);
        count += rc == 0;
    } while (rc == 0);
    assert_true(rc < 0);
    assert_true(count > 100 && count < DECODE_TABLE_LEAST);
    decode_table_free(table);
    av_packet_free(&packet);
    avio_closep(&cut->pb);
    avformat_free_context(cut);
}

static int setup(void **state)
{
    (void)state;
    have_ffmpeg = system("ffmpeg -version > /dev/null 2>&1") == 0;
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    char command[64];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_packets),
        cmocka_unit_test(test_left_alone),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
