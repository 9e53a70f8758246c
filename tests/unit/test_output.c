/* output: a chain that starts at any frame gives the bytes of one that never stopped, over transitions and
 * skips; and what is heard lies where the programme says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "root/audio/decode.h"
#include "root/mix/plan.h"
#include "root/work/output.h"
#include "tests/unit/noise.h"
#include "tests/unit/wav.h"

#define TRACK_S 14
#define TRACKS  4
#define KBPS    128

static struct track tracks[TRACKS];
static int files[TRACKS];

/* A loud beat of its own tempo, as a WAV file in memory and as features. */
static void track_make(int index)
{
    struct track *t = &tracks[index];
    struct features *f = &t->features;
    track_init(t);
    t->id = index + 1;
    t->hash = xasprintf("%d", index);
    t->tags.title = xasprintf("Title %d", index);
    f->version = 1;
    f->duration_s = f->music_end_s = TRACK_S;
    f->music_start_s = 0;
    f->loudness_lufs = -14;
    f->true_peak_dbtp = 0;
    double tempo = 120 + 2 * index, beat = 0;
    size_t samples = TRACK_S * MP3_RATE;
    int16_t *pcm = xmalloc(samples * 4);
    for (size_t i = 0; i < samples; i++, beat += tempo / 60 / MP3_RATE) {
        double hit = exp(-8 * (beat - floor(beat)));
        pcm[i * 2] =
            (int16_t)lrint(26000 * (0.7 * hit * noise() + 0.3 * sin(0.01 * (index + 2) * (double)i)));
        pcm[i * 2 + 1] = (int16_t)lrint(20000 * hit * noise());
    }
    files[index] = wav_memory(pcm, samples, 2, MP3_RATE);
    free(pcm);
}

static int open_track(void *context, int64_t track, const char *hash, char **cause)
{
    (void)context, (void)hash;
    if (track < 1 || track > TRACKS || files[track - 1] < 0)
        return cause_set(cause, "track %d is gone", (int)track);
    return dup(files[track - 1]);
}

static const struct plan_conf conf = {.target_lufs = -12, .max_tempo_change_pct = 6};

static void add(struct programme *p, json_t *segment)
{
    char *cause = NULL;
    /* through text, as it goes to air and comes back */
    char *text = json_text(segment);
    json_t *copy = json_parse(text, strlen(text), 1 << 20, &cause);
    if (programme_add(p, copy, &cause)) fail_msg("%s", cause);
    json_decref(copy);
    free(text);
}

static struct programme *programme_of(json_t *segments)
{
    struct programme *p = programme_new(open_track, NULL);
    for (size_t i = 0; i < json_array_size(segments); i++)
        add(p, json_array_get(segments, i));
    return p;
}

/* Three tracks, joined: segment bodies. */
static json_t *show_new(void)
{
    json_t *segments = json_array();
    struct plan_cursor cursor = plan_open(&tracks[0], OUTPUT_DELAY);
    for (int i = 0; i < 2; i++) {
        json_t *two[2];
        plan_transition(&tracks[i], &tracks[i + 1], &conf, &cursor, NULL, two);
        for (int k = 0; k < 2; k++) {
            if (two[k]) json_array_append_new(segments, two[k]);
        }
    }
    return segments;
}

struct tape {
    uint8_t *bytes;
    size_t len;
};

static struct tape frames_of(struct programme *p, uint64_t first, uint64_t count)
{
    char *cause = NULL;
    struct output *output = output_new(p, KBPS, OUTPUT_CEILING_DBTP, first, 0, &cause);
    assert_non_null(output);
    assert_int_equal(output_next(output), first);
    struct tape tape = {.bytes = xmalloc(count * MP3_FRAME_MAX_BYTES)};
    for (uint64_t done = 0; done < count;) {
        unsigned n = (unsigned)(1 + noise_state % 49);
        size_t len;
        if (n > count - done) n = (unsigned)(count - done);
        if (output_frames(output, n, tape.bytes + tape.len, &len, NULL, &cause)) fail_msg("%s", cause);
        tape.len += len;
        done += n;
        noise();
    }
    if (mp3_frames_check(KBPS, first, (unsigned)count, tape.bytes, tape.len, &cause)) fail_msg("%s", cause);
    output_free(output);
    return tape;
}

/* Frames that can be made of a programme. */
static uint64_t frames_in(const struct programme *p)
{
    uint64_t frame = 0;
    while (output_needs(frame) <= programme_end(p))
        frame++;
    return frame;
}

static void assert_same(const struct tape *whole, uint64_t whole_first, struct programme *p, uint64_t first,
                        uint64_t count)
{
    struct tape part = frames_of(p, first, count);
    uint64_t from = mp3_frame_offset(KBPS, first) - mp3_frame_offset(KBPS, whole_first);
    if (memcmp(part.bytes, whole->bytes + from, part.len))
        fail_msg("frames from %u on differ", (unsigned)first);
    free(part.bytes);
}

static void test_any_start_gives_the_same_bytes(void **state)
{
    (void)state;
    json_t *segments = show_new();
    struct programme *p = programme_of(segments);
    uint64_t count = frames_in(p);
    struct tape whole = frames_of(p, 0, count);
    /* a studio that starts anew is told only of segments whose end lies less than 10 s before its first frame
     */
    for (int round = 0; round < 3; round++) {
        noise();
        uint64_t first = noise_state % (count - 20);
        json_t *told = json_array();
        for (size_t i = 0; i < json_array_size(segments); i++) {
            json_t *segment = json_array_get(segments, i);
            uint64_t end = (uint64_t)json_integer_value(json_object_get(segment, "end_sample"));
            if (end + 10 * MP3_RATE >= first * MP3_FRAME_SAMPLES) json_array_append(told, segment);
        }
        struct programme *fresh = programme_of(told);
        assert_same(&whole, 0, fresh, first, 20);
        programme_free(fresh);
        json_decref(told);
    }
    programme_free(p);
    free(whole.bytes);
    json_decref(segments);
}

static void test_a_fork_keeps_what_was_sent(void **state)
{
    (void)state;
    json_t *segments = show_new();
    struct programme *p = programme_of(segments);
    uint64_t count = frames_in(p);
    struct tape whole = frames_of(p, 0, count);
    for (int round = 0; round < 3; round++) {
        noise();
        uint64_t fork = round == 0 ? 5 : 100 + noise_state % (count - 200),
                 at = fork * MP3_FRAME_SAMPLES + OUTPUT_FORK;
        struct plan_cursor cursor;
        json_t *skip = plan_skip(segments, at, &tracks[3], &conf, &cursor, NULL), *told = json_array(),
               *two[2];
        for (size_t i = 0; i < json_array_size(segments); i++) {
            json_t *segment = json_array_get(segments, i);
            if ((uint64_t)json_integer_value(json_object_get(segment, "start_sample")) < at)
                json_array_append(told, segment);
        }
        json_array_append_new(told, skip);
        plan_transition(&tracks[3], &tracks[0], &conf, &cursor, NULL, two);
        for (int k = 0; k < 2; k++) {
            if (two[k]) json_array_append_new(told, two[k]);
        }
        struct programme *branch = programme_of(told);
        /* frames before the fork are as they were; those after it do not depend on where one starts */
        if (fork >= 30) assert_same(&whole, 0, branch, fork - 30, 30);
        struct tape after = frames_of(branch, fork, 200);
        uint64_t offset = mp3_frame_offset(KBPS, fork);
        assert_memory_not_equal(after.bytes, whole.bytes + offset,
                                after.len < whole.len - offset ? after.len : 1);
        assert_same(&after, fork, branch, fork + 1 + noise_state % 150, 30);
        free(after.bytes);
        programme_free(branch);
        json_decref(told);
    }
    programme_free(p);
    free(whole.bytes);
    json_decref(segments);
}

/* Decoded, frame n holds the samples from n * 1152 on; before the programme there is silence. */
static void test_position(void **state)
{
    (void)state;
    json_t *segments = show_new();
    struct programme *p = programme_of(segments);
    enum { SAMPLES = 60 * MP3_FRAME_SAMPLES, AT = 30000, SPAN = 8000 };
    static float pcm[SAMPLES * 2], heard[SAMPLES * 2];
    char *cause = NULL;
    struct master *master = master_new(p, OUTPUT_CEILING_DBTP, 0, 0);
    assert_int_equal(master_position(master), 0);
    if (master_read(master, pcm, SAMPLES, NULL, &cause)) fail_msg("%s", cause);
    assert_int_equal(master_position(master), SAMPLES);
    for (size_t i = 0; i < OUTPUT_DELAY * 2; i++)
        assert_true(pcm[i] == 0);
    master_free(master);
    /* from elsewhere: the same samples */
    master = master_new(p, OUTPUT_CEILING_DBTP, 40001, 0);
    if (master_read(master, heard, 5000, NULL, &cause)) fail_msg("%s", cause);
    assert_memory_equal(heard, pcm + 40001 * 2, 5000 * 2 * sizeof *pcm);
    master_free(master);

    struct tape tape = frames_of(p, 0, 60);
    int fd = memfd_create("tape", MFD_CLOEXEC);
    assert_int_equal(write(fd, tape.bytes, tape.len), tape.len);
    struct decoder *decoder;
    assert_int_equal(decode_open(&decoder, fd, &cause), 0);
    assert_int_equal(decode_read(decoder, heard, SAMPLES, &cause), SAMPLES);
    decode_close(decoder);
    double best = -1;
    int best_lag = 0;
    for (int lag = -1500; lag <= 1500; lag++) {
        double sum = 0;
        for (int i = AT; i < AT + SPAN; i++)
            sum += (double)pcm[i * 2 + 1] * heard[(i + lag) * 2 + 1];
        if (sum > best) best = sum, best_lag = lag;
    }
    assert_int_equal(best_lag, 0);
    free(tape.bytes);
    programme_free(p);
    json_decref(segments);
}

static void test_ends_and_failures(void **state)
{
    (void)state;
    json_t *segments = show_new();
    struct programme *p = programme_of(segments);
    static float pcm[4000 * 2];
    char *cause = NULL;
    int64_t bad = 0;
    uint64_t end = programme_end(p);
    struct master *master = master_new(p, OUTPUT_CEILING_DBTP, end - 2000, 0);
    assert_int_equal(master_read(master, pcm, 4000, &bad, &cause), -1); /* never past the end */
    assert_int_equal(bad, 0);
    free(cause);
    master_free(master);
    master = master_new(p, OUTPUT_CEILING_DBTP, end - 2000, 1);
    assert_int_equal(master_read(master, pcm, 4000, &bad, &cause), 0);
    for (size_t i = 2000 * 2; i < 4000 * 2; i++)
        assert_true(pcm[i] == 0);
    master_free(master);
    programme_free(p);

    /* the third track is gone: all before its transition comes, then the failure names it */
    p = programme_of(segments);
    uint64_t start = 0;
    for (size_t i = 0; i < json_array_size(segments); i++) {
        const json_t *segment = json_array_get(segments, i), *both = json_object_get(segment, "tracks");
        if (json_integer_value(json_object_get(json_array_get(both, 1), "track")) == 3)
            start = (uint64_t)json_integer_value(json_object_get(segment, "start_sample"));
    }
    assert_true(start > 0);
    int kept = files[2];
    files[2] = -1;
    struct output *output =
        output_new(p, KBPS, OUTPUT_CEILING_DBTP, start / MP3_FRAME_SAMPLES - 50, 0, &cause);
    uint8_t bytes[MP3_FRAME_MAX_BYTES];
    size_t len;
    int n = 0;
    cause = NULL;
    while (output_frames(output, 1, bytes, &len, &bad, &cause) == 0)
        n++;
    assert_in_range(n, 40, 50);
    assert_int_equal(bad, 3);
    assert_in_range(output_reached(output), start - MP3_FRAME_SAMPLES, start);
    free(cause);
    output_free(output);
    files[2] = kept;
    programme_free(p);
    json_decref(segments);
}

static int setup(void **state)
{
    (void)state;
    noise_state = 11;
    for (int i = 0; i < TRACKS; i++)
        track_make(i);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < TRACKS; i++) {
        track_free(&tracks[i]);
        close(files[i]);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_start_gives_the_same_bytes),
        cmocka_unit_test(test_a_fork_keeps_what_was_sent),
        cmocka_unit_test(test_position),
        cmocka_unit_test(test_ends_and_failures),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
