/* Files are made from a synthesised signal by the ffmpeg program (the tests that need it are skipped where it
 * is missing); what comes out is compared with the signal itself. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/mem.h"
#include "root/audio/decode.h"
#include "root/audio/pcm.h"
#include "tests/unit/noise.h"
#include "tests/unit/remove_tree.h"
#include "tests/unit/wav.h"

static char dir[] = "/tmp/forever-decode-XXXXXX";
static int have_ffmpeg;

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...)
{
    char command[4096];
    int n = snprintf(command, sizeof command, "cd %s && ", dir);
    va_list ap;
    va_start(ap, format);
    vsnprintf(command + n, sizeof command - (size_t)n, format, ap);
    va_end(ap);
    if (system(command) != 0) fail_msg("failed: %s", command);
}

static char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void file_write(const char *name, const void *bytes, size_t len)
{
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    fclose(f);
}

static uint8_t *file_read(const char *name, size_t *len)
{
    FILE *f = fopen(path_of(name), "rb");
    assert_non_null(f);
    uint8_t *bytes = xmalloc(4 << 20);
    *len = fread(bytes, 1, 4 << 20, f);
    fclose(f);
    return bytes;
}

static uint8_t random_byte(void)
{
    noise();
    return (uint8_t)(noise_state >> 24);
}

/* 16-bit WAV. Channel c carries noise with a click of full scale each half second (at 0.25 s first). */
static int16_t *wav_write(const char *name, unsigned rate, unsigned channels, double seconds, size_t *frames)
{
    size_t n = (size_t)(seconds * rate);
    int16_t *pcm = xcalloc(n * channels, sizeof *pcm);
    double smooth[8] = {0};
    noise_state = 7;
    for (size_t i = 0; i < n; i++) {
        int click = i % (rate / 2) == rate / 4;
        for (unsigned c = 0; c < channels; c++) {
            smooth[c] += 0.3 * (noise() - smooth[c]);
            pcm[i * channels + c] = (int16_t)lrint(click ? 30000 : 6000 * smooth[c]);
        }
    }
    wav_file(path_of(name), pcm, n, channels, rate);
    *frames = n;
    return pcm;
}

static struct decoder *open_by(int (*how)(struct decoder **out, int fd, char **cause), const char *name,
                               char **cause)
{
    struct decoder *decoder;
    int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    *cause = NULL;
    int rc = how(&decoder, fd, cause);
    assert_true((rc == 0) == (decoder != NULL));
    assert_true((rc == 0) == (*cause == NULL));
    return decoder;
}

static struct decoder *open_file(const char *name, char **cause)
{
    return open_by(decode_open, name, cause);
}

static struct decoder *open_good(const char *name)
{
    char *cause;
    struct decoder *decoder = open_file(name, &cause);
    if (!decoder) fail_msg("%s: %s", name, cause);
    return decoder;
}

/* All samples from here on, read in pieces of an odd size. */
static float *read_all(struct decoder *decoder, size_t *samples)
{
    size_t size = 1 << 20;
    float *pcm = xmalloc(size * PCM_CHANNELS * sizeof *pcm);
    char *cause = NULL;
    *samples = 0;
    for (;;) {
        assert_true(*samples + 777 <= size);
        long n = decode_read(decoder, pcm + *samples * 2, 777, &cause);
        if (n < 0) fail_msg("%s", cause);
        *samples += (size_t)n;
        if (n < 777) break;
    }
    assert_int_equal(decode_read(decoder, pcm, 1, &cause), 0);
    return pcm;
}

static float *read_file(const char *name, size_t *samples)
{
    struct decoder *decoder = open_good(name);
    float *pcm = read_all(decoder, samples);
    assert_int_equal(decode_position(decoder), *samples);
    decode_close(decoder);
    return pcm;
}

/* The lag at which the left channel fits the signal best, looked for within +-2000 samples. */
static int lag_of(const float *pcm, size_t samples, const int16_t *signal, unsigned channels)
{
    enum { FROM = 12000, LENGTH = 6000, REACH = 2000 };
    assert_true(samples > FROM + LENGTH + REACH);
    int best = 0;
    double best_sum = -1;
    for (int lag = -REACH; lag <= REACH; lag++) {
        double sum = 0;
        for (int i = FROM; i < FROM + LENGTH; i++)
            sum += (double)pcm[(i + lag) * 2] * signal[(size_t)i * channels];
        if (sum > best_sum) best_sum = sum, best = lag;
    }
    return best;
}

static void test_formats_are_aligned(void **state)
{
    (void)state;
    if (!have_ffmpeg) skip();
    static const struct {
        const char *name, *format;
        int lossless;
        int slack; /* allowed in the length */
    } files[] = {{"a.wav", "wav", 1, 0},    {"a.flac", "flac", 1, 0}, {"a.aiff", "aiff", 1, 0},
                 {"alac.m4a", "m4a", 1, 0}, {"a.mp3", "mp3", 0, 0},   {"v.mp3", "mp3", 0, 0},
                 {"a.ogg", "ogg", 0, 0},    {"a.opus", "ogg", 0, 2},  {"a.m4a", "m4a", 0, 1023}};
    size_t frames;
    int16_t *signal = wav_write("a.wav", 44100, 2, 2.0, &frames);
    run("ffmpeg -v error -y -i a.wav -b:a 192k a.flac a.aiff -b:a 192k a.mp3 -q:a 2 v.mp3 -c:a libvorbis "
        "-q:a 6 a.ogg "
        "-b:a 160k -c:a libopus a.opus -b:a 192k -c:a aac a.m4a -c:a alac alac.m4a");
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        struct decoder *decoder = open_good(files[f].name);
        assert_string_equal(decode_format(decoder), files[f].format);
        assert_true(fabs(decode_duration_s(decoder) - 2.0) < 0.06);
        size_t samples, again;
        float *pcm = read_all(decoder, &samples);
        print_message("%-9s %zu samples, lag %d\n", files[f].name, samples, lag_of(pcm, samples, signal, 2));
        assert_int_equal(lag_of(pcm, samples, signal, 2), 0);
        assert_in_range(samples, frames, frames + (size_t)files[f].slack);
        for (size_t i = 0; files[f].lossless && i < samples * 2; i++) {
            assert_true(pcm[i] == (float)signal[i] / 32768.0f);
        }
        /* a seek forward, one back and a second decoding give the same samples */
        char *cause = NULL;
        float *second = xmalloc(samples * 2 * sizeof *second);
        assert_int_equal(decode_seek(decoder, 30001, &cause), 0);
        assert_int_equal(decode_read(decoder, second, 2000, &cause), 2000);
        assert_memory_equal(second, pcm + 30001 * 2, 2000 * 2 * sizeof *second);
        assert_int_equal(decode_seek(decoder, 50000, &cause), 0);
        assert_int_equal(decode_read(decoder, second, 2000, &cause), 2000);
        assert_memory_equal(second, pcm + 50000 * 2, 2000 * 2 * sizeof *second);
        assert_int_equal(decode_seek(decoder, samples + 1, &cause), 1);
        free(second);
        decode_close(decoder);
        second = read_file(files[f].name, &again);
        assert_int_equal(again, samples);
        assert_memory_equal(second, pcm, samples * 2 * sizeof *pcm);
        free(second);
        free(pcm);
    }
    free(signal);
}

static void test_rates_and_channels(void **state)
{
    (void)state;
    static const struct {
        unsigned rate, channels;
    } forms[] = {{48000, 2}, {22050, 2}, {96000, 2}, {8000, 1},
                 {44100, 1}, {48000, 6}, {44100, 4}, {192000, 2}};
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        size_t frames, samples;
        free(wav_write("r.wav", forms[f].rate, forms[f].channels, 1.0, &frames));
        float *pcm = read_file("r.wav", &samples);
        assert_in_range(samples, 44099, 44101);
        /* each click is where it was, on both channels */
        for (size_t click = 11025; click < 44100; click += 22050) {
            for (int channel = 0; channel < 2; channel++) {
                size_t top = click - 200;
                for (size_t i = top; i < click + 200; i++) {
                    if (pcm[i * 2 + (size_t)channel] > pcm[top * 2 + (size_t)channel]) top = i;
                }
                assert_in_range(top, click - 1, click + 1);
            }
        }
        if (forms[f].channels == 1) {
            assert_true(forms[f].rate != 44100 || fabs(pcm[11025 * 2] - 30000 / 32768.0) < 1e-4);
            for (size_t i = 0; i < samples; i++)
                assert_true(pcm[i * 2] == pcm[i * 2 + 1]);
        }
        free(pcm);
    }
}

static void test_tags_and_art(void **state)
{
    (void)state;
    if (!have_ffmpeg) skip();
    size_t frames, len;
    free(wav_write("t.wav", 44100, 2, 0.5, &frames));
    run("ffmpeg -v error -y -f lavfi -i color=red:s=16x16 -frames:v 1 c.png");
    run("ffmpeg -v error -y -i t.wav -i c.png -map 0 -map 1 -c:v copy -disposition:v attached_pic "
        "-metadata title='  H\xc3\xb6hle ' -metadata artist='A \xe6\x97\xa5' -metadata album=B -metadata "
        "date=1999 "
        "-metadata genre=Techno t.mp3");
    run("ffmpeg -v error -y -i t.wav -metadata title='caf\xe9' -metadata artist='x\ty' t.ogg");
    char *cause;
    const char *mime;
    struct decoder *decoder = open_good("t.mp3"); /* nobody asked for the picture */
    assert_null(decode_art(decoder, &len, &mime));
    decode_close(decoder);
    decoder = open_by(decode_open_art, "t.mp3", &cause);
    assert_non_null(decoder);
    const struct tags *tags = decode_tags(decoder);
    assert_string_equal(tags->title, "H\xc3\xb6hle");
    assert_string_equal(tags->artist, "A \xe6\x97\xa5");
    assert_string_equal(tags->album, "B");
    assert_string_equal(tags->genre, "Techno");
    assert_string_equal(tags->date, "1999");
    const uint8_t *art = decode_art(decoder, &len, &mime);
    assert_non_null(art);
    assert_string_equal(mime, "image/png");
    size_t png_len;
    uint8_t *png = file_read("c.png", &png_len);
    assert_int_equal(len, png_len);
    assert_memory_equal(art, png, len);
    free(png);
    decode_close(decoder);

    decoder = open_by(decode_open_art, "t.ogg", &cause); /* Latin-1 where UTF-8 belongs */
    tags = decode_tags(decoder);
    assert_string_equal(tags->title, "caf\xc3\xa9");
    assert_string_equal(tags->artist, "x y");
    assert_null(tags->album);
    assert_null(decode_art(decoder, &len, &mime));
    decode_close(decoder);
}

static void count_call(void *context)
{
    ++*(int *)context;
}

/* A seek over hours takes long; who does it can tell that it goes on. */
static void test_seeks_are_told(void **state)
{
    (void)state;
    size_t frames;
    char *cause = NULL;
    int calls = 0;
    free(wav_write("told.wav", 44100, 1, 10, &frames));
    struct decoder *decoder = open_good("told.wav");
    decode_on_seek(count_call, &calls);
    assert_int_equal(decode_seek(decoder, 9 * 44100, &cause), 0);
    assert_in_range(calls, 8, 10);
    decode_on_seek(NULL, NULL);
    assert_int_equal(decode_seek(decoder, 0, &cause), 0);
    assert_int_equal(decode_seek(decoder, 9 * 44100, &cause), 0);
    assert_in_range(calls, 8, 10);
    decode_close(decoder);
}

/* A long file is read by a table of its own; what it has in common with a short one sounds the same. */
static void test_long_mp4(void **state)
{
    (void)state;
    if (!have_ffmpeg) skip();
    size_t frames;
    free(wav_write("five.wav", 44100, 1, 5, &frames));
    run("ffmpeg -v error -y -i five.wav -c:a aac -b:a 64k five.m4a");
    run("ffmpeg -v error -y -stream_loop 99 -i five.m4a -c copy long.m4a");
    run("ffmpeg -v error -y -stream_loop 3 -i five.m4a -c copy short.m4a");
    struct decoder *parts[] = {open_good("long.m4a"), open_good("short.m4a")};
    static float pcm[2][8192 * PCM_CHANNELS];
    char *cause = NULL;
    for (int again = 0; again < 2; again++) {
        for (int piece = 0; piece < 15 * 44100 / 8192; piece++) {
            for (int i = 0; i < 2; i++)
                assert_int_equal(decode_read(parts[i], pcm[i], 8192, &cause), 8192);
            assert_memory_equal(pcm[0], pcm[1], sizeof pcm[0]);
        }
        for (int i = 0; i < 2; i++) /* back to the beginning, by a demuxer opened anew */
            assert_int_equal(decode_seek(parts[i], 100, &cause), 0);
    }
    double length = decode_duration_s(parts[0]);
    assert_true(length > 480);
    assert_int_equal(decode_seek(parts[0], UINT32_MAX, &cause), 1);
    assert_true(fabs((double)decode_position(parts[0]) / 44100 - length) < 0.05);
    assert_int_equal(decode_errors(parts[0]), 0);
    for (int i = 0; i < 2; i++)
        decode_close(parts[i]);
}

static void assert_refused(const char *name, const char *reason)
{
    char *cause;
    struct decoder *decoder = open_file(name, &cause);
    if (decoder) {
        size_t samples = 0;
        float buffer[2000];
        long n;
        while ((n = decode_read(decoder, buffer, 1000, &cause)) > 0)
            samples += (size_t)n;
        if (n == 0) fail_msg("%s was accepted: %zu samples", name, samples);
        decode_close(decoder);
    }
    print_message("%-9s %s\n", name, cause);
    if (!strstr(cause, reason)) fail_msg("%s: \"%s\" lacks \"%s\"", name, cause, reason);
    free(cause);
}

static void test_what_is_no_music(void **state)
{
    (void)state;
    file_write("empty.mp3", "", 0);
    assert_refused("empty.mp3", "empty");
    static const char text[] = "dear reader, this is no music at all\n";
    file_write("text.mp3", text, sizeof text);
    assert_refused("text.mp3", "not a sound file");
    static const char list[] =
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n"
        "#EXT-X-ENDLIST\n";
    file_write("list.mp3", list, sizeof list - 1);
    assert_refused("list.mp3", "not a sound file");
    static const char concat[] = "ffconcat version 1.0\nfile /etc/passwd\n";
    file_write("cat.mp3", concat, sizeof concat - 1);
    assert_refused("cat.mp3", "not a sound file");
    uint8_t zip[600] = {'P', 'K', 3, 4, 20, 0, 0, 0, 8, 0};
    file_write("zip.mp3", zip, sizeof zip);
    assert_refused("zip.mp3", "not a sound file");
    char *cause = NULL;
    struct decoder *decoder;
    assert_int_equal(decode_open(&decoder, open(dir, O_RDONLY | O_CLOEXEC), &cause), -1);
    assert_string_equal(cause, "not a regular file");
    free(cause);
}

static void test_random_bytes(void **state)
{
    (void)state;
    noise_state = 99;
    uint8_t *bytes = xmalloc(100000);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 100000; i++)
            bytes[i] = random_byte();
        /* half of the rounds begin like something known */
        static const char *const heads[] = {"ID3\3\0\0\0\0\0\0", "fLaC", "OggS", "RIFF....WAVEfmt ",
                                            "FORM....AIFF"};
        if (round % 2) memcpy(bytes, heads[round / 2 % 5], strlen(heads[round / 2 % 5]));
        file_write("random.mp3", bytes, 100000);
        char *cause;
        struct decoder *decoder = open_file("random.mp3", &cause);
        float buffer[2048];
        while (decoder && decode_read(decoder, buffer, 1024, &cause) > 0) {
        }
        decode_close(decoder);
        free(cause);
    }
    free(bytes);
}

static void test_broken_files(void **state)
{
    (void)state;
    if (!have_ffmpeg) skip();
    size_t frames, len, samples;
    free(wav_write("b.wav", 44100, 2, 3.0, &frames));
    run("ffmpeg -v error -y -i b.wav b.flac b.mp3 -c:a libvorbis b.ogg -c:a aac b.m4a");
    run("ffmpeg -v error -y -i b.wav -encryption_scheme cenc-aes-ctr -encryption_key "
        "76a6c65c5ea762046bd749a2e632ccbb "
        "-encryption_kid a7e61c373e219033c21091fa607bf3b8 drm.mp4");
    assert_refused("drm.mp4", "encrypted (DRM)");
    static const char *const names[] = {"b.flac", "b.mp3", "b.ogg", "b.wav", "b.m4a"};
    for (int i = 0; i < 5; i++) {
        uint8_t *bytes = file_read(names[i], &len);
        file_write("cut", bytes, len / 2);
        if (i < 4) { /* cut in the middle: the first half plays */
            float *pcm = read_file("cut", &samples);
            assert_in_range(samples, frames / 3, frames * 2 / 3);
            free(pcm);
        } else {
            assert_refused("cut", "not a sound file");
        }
        /* a hole in the middle: the rest plays */
        memset(bytes + len / 2, 0x55, 2000);
        file_write("hole", bytes, len);
        float *pcm = read_file("hole", &samples);
        assert_in_range(samples, frames * 6 / 10, frames * 11 / 10); /* a page of Ogg is 1 s */
        free(pcm);
        free(bytes);
    }
    uint8_t *m4a = file_read("b.m4a", &len);
    uint8_t *kind = memmem(m4a, len, "mp4a", 4);
    assert_non_null(kind);
    while (memmem(kind + 4, len - (size_t)(kind + 4 - m4a), "mp4a", 4))
        kind = memmem(kind + 4, len - (size_t)(kind + 4 - m4a), "mp4a", 4);
    memcpy(kind, "drms", 4);
    file_write("drms", m4a, len);
    assert_refused("drms", "encrypted (DRM)");
    memcpy(kind, "mp4a", 4);
    uint8_t *data = memmem(m4a, len, "mdat", 4);
    assert_non_null(data);
    for (int i = 4; i < 40000; i++)
        data[i] = random_byte();
    file_write("ruin", m4a, len);
    assert_refused("ruin", "packets are broken");
    free(m4a);
    uint8_t *flac = file_read("b.flac", &len);
    flac[21] |= 0x0f; /* STREAMINFO: 36 bits of sample count */
    memset(flac + 22, 0xff, 4);
    file_write("long", flac, len);
    assert_refused("long", "24 h");
    free(flac);
}

static void test_broken_packets_are_counted(void **state)
{
    (void)state;
    if (!have_ffmpeg) skip();
    size_t frames, len, samples;
    free(wav_write("e.wav", 44100, 2, 3.0, &frames));
    run("ffmpeg -v error -y -i e.wav -b:a 128k -c:a aac e.m4a");
    uint8_t *bytes = file_read("e.m4a", &len);
    uint8_t *data = memmem(bytes, len, "mdat", 4);
    assert_non_null(data);
    memset(data + 20000, 0xff, 1500);
    file_write("errors", bytes, len);
    struct decoder *decoder = open_good("errors");
    free(read_all(decoder, &samples));
    assert_in_range(decode_errors(decoder), 1, 11);
    decode_close(decoder);
    free(bytes);
}

static void test_absurd_values(void **state)
{
    (void)state;
    size_t frames, len;
    free(wav_write("x.wav", 1000, 2, 0.5, &frames));
    assert_refused("x.wav", "1000 Hz");
    uint8_t *bytes = file_read("x.wav", &len);
    bytes[24] = 0, bytes[25] = 0, bytes[26] = 0x7f; /* 8.3 MHz */
    file_write("y.wav", bytes, len);
    assert_refused("y.wav", "Hz");
    free(bytes);
    /* floating point that is no number, or far out */
    float values[4] = {NAN, INFINITY, 1e30f, -0.5f};
    uint32_t head[11] = {0x46464952, 36 + 16,   0x45564157,    0x20746d66, 16, 3 | 2u << 16,
                         44100,      44100 * 8, 8 | 32u << 16, 0x61746164, 16};
    uint8_t wav[60];
    memcpy(wav, head, 44);
    memcpy(wav + 44, values, 16);
    file_write("nan.wav", wav, sizeof wav);
    float *pcm = read_file("nan.wav", &len);
    assert_int_equal(len, 2);
    assert_true(pcm[0] == 0 && pcm[1] == 0 && pcm[2] == 16 && pcm[3] == -0.5f);
    free(pcm);
}

static int setup(void **state)
{
    (void)state;
    have_ffmpeg = system("ffmpeg -version >/dev/null 2>&1") == 0;
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return remove_tree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeks_are_told),
        cmocka_unit_test(test_long_mp4),
        cmocka_unit_test(test_formats_are_aligned),
        cmocka_unit_test(test_rates_and_channels),
        cmocka_unit_test(test_tags_and_art),
        cmocka_unit_test(test_what_is_no_music),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_broken_files),
        cmocka_unit_test(test_broken_packets_are_counted),
        cmocka_unit_test(test_absurd_values),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
