/* studio: a worker in a child process, with this test as air, store and brain. */
#include "tests/unit/noise.h"
#include "tests/unit/wav.h"
#include "tests/unit/worker_end.h"

#include <math.h>

#include "common/mp3.h"
#include "root/audio/decode.h"
#include "root/audio/pcm.h"
#include "root/work/press.h"
#include "root/work/spool.h"

#define KBPS    192
#define TRACKS  5
#define TRACK_S 9
#define FRAMES  1100 /* of tape */
#define LEAD_S  20.0 /* with further mounts */

static struct track tracks[TRACKS];
static int files[TRACKS];

/* What a studio sent, frames by position. */
struct studio_end {
    struct worker_end end;
    uint32_t branch;
    uint64_t next, until;
    uint8_t *tape; /* bytes from frame 0 on */
    json_t *marks; /* bodies of WIRE_MARK */
    int order;     /* number of the choice: the brain plays 1 2 3 4 5 1 ... */
    int none;      /* answers NEXT with none so many times */
    int64_t choice, avoided, unplayable;
    uint64_t fork;    /* position of the last WIRE_FORK; 0 none */
    int ready;        /* LIVE_READY came */
    const char *over; /* reason of the last LIVE_OVER; NULL none */
    int nexts;
    const char *state; /* a folder: there are further mounts */
};

static int wav_new(int index, double seconds)
{
    size_t samples = (size_t)(seconds * MP3_RATE);
    int16_t *pcm = xmalloc(samples * 4);
    noise_state = (uint32_t)index;
    for (size_t i = 0; i < samples; i++) {
        double x = 0.2 * noise() + 0.5 * sin(0.01 * (index + 2) * (double)i);
        pcm[i * 2] = pcm[i * 2 + 1] = (int16_t)lrint(20000 * x);
    }
    int fd = wav_memory(pcm, samples, 2, MP3_RATE);
    free(pcm);
    return fd;
}

static int setup(void **state)
{
    (void)state;
    for (int i = 0; i < TRACKS; i++) {
        struct track *t = &tracks[i];
        track_init(t);
        t->id = i + 1;
        t->path = xasprintf("/music/%d.wav", i);
        t->hash = xasprintf("%d", i);
        t->tags.title = xasprintf("Title %d", i + 1);
        t->tags.artist = xstrdup("Artist");
        t->features.version = ANALYSIS_VERSION;
        t->features.duration_s = t->features.music_end_s = TRACK_S;
        t->features.music_start_s = 0;
        t->features.loudness_lufs = -14;
        files[i] = wav_new(i, TRACK_S);
    }
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

static void studio_start(struct studio_end *s, json_t *start)
{
    json_t *config = end_config(s->state ? s->state : "/nonexistent", "/nonexistent");
    if (s->state) {
        json_object_set_new(config, "lead_s", json_real(LEAD_S));
        json_object_set_new(
            config, "mounts",
            json_pack("[{s:s,s:i},{s:s,s:i}]", "name", "stream", "kbps", KBPS, "name", "low", "kbps", 64));
    }
    end_start(&s->end, ROLE_STUDIO, work_studio, config);
    s->branch = (uint32_t)json_integer_value(json_object_get(start, "branch"));
    s->next = s->until = (uint64_t)json_integer_value(json_object_get(start, "next"));
    if (!s->tape) s->tape = xcalloc(1, mp3_frame_offset(KBPS, FRAMES));
    if (!s->marks) s->marks = json_array();
    end_tell(&s->end, WIRE_START, start);
}

static void studio_free(struct studio_end *s)
{
    json_decref(s->marks);
    free(s->tape);
}

static void studio_kill(struct studio_end *s)
{
    kill(s->end.pid, SIGKILL);
    waitpid(s->end.pid, NULL, 0);
    msg_channel_free(s->end.channel);
    json_decref(s->end.body);
    s->end.body = NULL;
}

static json_t *start_at(uint64_t next, json_t *segments)
{
    return json_pack("{s:i,s:I,s:o}", "branch", 1, "next", (json_int_t)next, "segments", segments);
}

static void answer_next(struct studio_end *s, const json_t *body)
{
    const json_t *avoid = json_object_get(body, "avoid");
    s->nexts++;
    json_t *answer;
    if (s->none-- > 0) {
        answer = json_pack("{s:b}", "none", 1);
    } else {
        s->choice = s->order++ % TRACKS + 1;
        for (size_t i = 0; i < json_array_size(avoid); i++) {
            s->avoided = json_integer_value(json_array_get(avoid, i));
            if (s->avoided == s->choice) s->choice = s->order++ % TRACKS + 1;
        }
        answer = json_pack("{s:I,s:{s:s}}", "track", (json_int_t)s->choice, "why", "test", "yes");
    }
    wire_send(s->end.channel, WIRE_NEXT_IS, s->end.message.seq, answer, -1);
}

static void take_frames(struct studio_end *s)
{
    uint64_t position;
    uint32_t branch, count;
    const uint8_t *bytes;
    size_t len;
    char *cause = NULL;
    assert_int_equal(wire_frames_decode(&s->end.message, &position, &branch, &count, &bytes, &len), 0);
    if (branch < s->branch) return;
    assert_int_equal(branch, s->branch);
    assert_int_equal(position, s->next);
    assert_true(position + count <= s->until && s->until <= FRAMES);
    if (mp3_frames_check(KBPS, position, count, bytes, len, &cause)) fail_msg("%s", cause);
    memcpy(s->tape + mp3_frame_offset(KBPS, position), bytes, len);
    s->next += count;
}

static void take_mark(struct studio_end *s, const json_t *body)
{
    if ((uint32_t)json_integer_value(json_object_get(body, "branch")) < s->branch) return;
    uint64_t position = (uint64_t)json_integer_value(json_object_get(body, "position"));
    assert_true(position >= s->next); /* never after the frames it belongs to */
    json_array_append_new(s->marks, json_copy((json_t *)(uintptr_t)body));
}

/* Serves the studio until its frames reach `until`, or it asks for a fork: 0 when neither came in time. */
static int studio_serve(struct studio_end *s, uint64_t until)
{
    int64_t end_ns = clock_boot_ns() + 50 * CLOCK_NS_PER_S;
    s->until = until;
    s->fork = 0;
    end_tell(&s->end, WIRE_CREDIT,
             json_pack("{s:I,s:I}", "branch", (json_int_t)s->branch, "until", (json_int_t)until));
    while (s->next < until && !s->fork && clock_boot_ns() < end_ns) {
        struct msg *m = &s->end.message;
        if (msg_wait(s->end.channel, m, 1000) < 0) return 0;
        if (!m->type) continue;
        const struct wire_row *row = wire_find(m->type);
        char *cause = NULL;
        json_t *body = row->binary ? NULL : wire_body(m, &cause);
        int64_t track = json_int_or(body, "track", 0, 0, INT64_MAX, NULL);
        switch (row->type) {
        case WIRE_NEXT:
            answer_next(s, body);
            break;
        case WIRE_TRACK:
            wire_send(s->end.channel, WIRE_TRACK_IS, m->seq, track_to_json(&tracks[track - 1]),
                      files[track - 1]);
            break;
        case WIRE_FRAMES:
            take_frames(s);
            break;
        case WIRE_MARK:
            take_mark(s, body);
            break;
        case WIRE_UNPLAYABLE:
            s->unplayable = track;
            break;
        case WIRE_LIVE_READY:
            s->ready = 1;
            break;
        case WIRE_LIVE_OVER:
            s->over = !strcmp(json_str_or(body, "reason", "", NULL), "closed") ? "closed" : "other";
            break;
        case WIRE_FORK:
            s->fork = (uint64_t)json_int_or(body, "position", 0, 1, INT64_MAX, NULL);
            break;
        default:
            break;
        }
        m->type = 0;
        json_decref(body);
    }
    return 1;
}

/* Bodies of the segment marks up to `position`, as air would tell them to a successor. */
static json_t *segments_of(const struct studio_end *s, uint64_t next)
{
    json_t *list = json_array(), *mark;
    size_t i;
    json_array_foreach(s->marks, i, mark)
    {
        json_t *body = json_object_get(mark, "body");
        if (strcmp(json_string_value(json_object_get(mark, "kind")), "segment") != 0) continue;
        if (json_integer_value(json_object_get(body, "end_sample")) + 10 * MP3_RATE >
            (json_int_t)next * MP3_FRAME_SAMPLES)
            json_array_append(list, body);
    }
    return list;
}

static void drop_marks(struct studio_end *s, uint64_t position)
{
    for (size_t i = json_array_size(s->marks); i-- > 0;) {
        if (json_integer_value(json_object_get(json_array_get(s->marks, i), "position")) >=
            (json_int_t)position)
            json_array_remove(s->marks, i);
    }
}

static void retract(struct studio_end *s, uint64_t position)
{
    s->branch++;
    s->next = position;
    drop_marks(s, position);
    end_tell(&s->end, WIRE_RETRACT,
             json_pack("{s:I,s:I,s:b}", "branch", (json_int_t)s->branch, "position", (json_int_t)position,
                       "skip", 1));
}

static void assert_same(const struct studio_end *a, const struct studio_end *b, uint64_t from, uint64_t to)
{
    for (uint64_t f = from; f < to; f++) {
        uint64_t at = mp3_frame_offset(KBPS, f);
        if (memcmp(a->tape + at, b->tape + at, mp3_frame_bytes(KBPS, f)))
            fail_msg("frame %u differs", (unsigned)f);
    }
}

/* No stretch of 0.3 s below -60 dB in what was sent. */
static void assert_no_silence(const struct studio_end *s, uint64_t from, uint64_t to)
{
    int fd = memfd_create("tape", MFD_CLOEXEC);
    uint64_t at = mp3_frame_offset(KBPS, from);
    size_t len = (size_t)(mp3_frame_offset(KBPS, to) - at), samples = 0, quiet = 0;
    assert_int_equal(write(fd, s->tape + at, len), len);
    struct decoder *decoder;
    char *cause = NULL;
    float pcm[2000];
    if (decode_open(&decoder, fd, &cause)) fail_msg("%s", cause);
    for (long n; (n = decode_read(decoder, pcm, 1000, &cause)) > 0; samples += (size_t)n) {
        for (long i = 0; i < n; i++) {
            quiet = fabsf(pcm[i * 2]) < 0.001f ? quiet + 1 : 0;
            if (quiet > 0.3 * MP3_RATE) fail_msg("silence at %.2f s", (double)samples / MP3_RATE);
        }
    }
    assert_int_equal(decode_errors(decoder), 0);
    assert_int_equal(samples, (to - from) * MP3_FRAME_SAMPLES);
    decode_close(decoder);
}

static const json_t *mark_at(const struct studio_end *s, const char *kind, size_t index)
{
    json_t *mark;
    size_t i;
    json_array_foreach(s->marks, i, mark)
    {
        if (!strcmp(json_string_value(json_object_get(mark, "kind")), kind) && index-- == 0) return mark;
    }
    fail_msg("no %s mark", kind);
    return NULL;
}

/* How many segments were announced there that came of a skip. */
static int skips_at(const struct studio_end *s, uint64_t position)
{
    int count = 0;
    json_t *mark;
    size_t i;
    json_array_foreach(s->marks, i, mark)
    {
        if (json_is_true(json_object_get(json_object_get(mark, "body"), "skip")) &&
            json_integer_value(json_object_get(mark, "position")) == (json_int_t)position)
            count++;
    }
    return count;
}

static void test_a_station_begins(void **state)
{
    (void)state;
    struct studio_end s = {.none = 2};
    studio_start(&s, start_at(0, json_array()));
    assert_int_equal(studio_serve(&s, 600), 1);
    assert_int_equal(s.next, 600);
    assert_true(s.nexts >= 4);
    assert_no_silence(&s, 5, 600);
    const json_t *first = mark_at(&s, "segment", 0), *title = mark_at(&s, "title", 0),
                 *turn = mark_at(&s, "title", 1);
    assert_int_equal(json_integer_value(json_object_get(first, "position")), 0);
    assert_int_equal(json_integer_value(json_object_get(title, "position")), 0);
    assert_string_equal(json_string_value(json_object_get(json_object_get(title, "body"), "text")),
                        "Artist - Title 1");
    /* the title turns in the middle of the first transition */
    int index = 1;
    const json_t *second = json_object_get(mark_at(&s, "segment", index), "body");
    while (json_array_size(json_object_get(second, "tracks")) < 2)
        second = json_object_get(mark_at(&s, "segment", ++index), "body");
    int64_t middle = (json_integer_value(json_object_get(second, "start_sample")) +
                      json_integer_value(json_object_get(second, "end_sample"))) /
                     2;
    assert_int_equal(json_integer_value(json_object_get(turn, "position")), middle / MP3_FRAME_SAMPLES);
    assert_string_equal(json_string_value(json_object_get(json_object_get(turn, "body"), "title")),
                        "Title 2");
    assert_int_equal(end_quit(&s.end), 0);
    studio_free(&s);
}

static void test_a_killed_studio_goes_on_with_the_same_bytes(void **state)
{
    (void)state;
    struct studio_end whole = {0}, other = {0};
    studio_start(&whole, start_at(0, json_array()));
    assert_int_equal(studio_serve(&whole, 850), 1);
    assert_int_equal(end_quit(&whole.end), 0);
    studio_start(&other, start_at(0, json_array()));
    const uint64_t kills[] = {7, 330, 603};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(studio_serve(&other, kills[i]), 1);
        studio_kill(&other);
        json_t *segments = segments_of(&other, other.next);
        /* the brain's choices follow the plan, as they would after a restart */
        other.order = (int)json_integer_value(json_object_get(
            json_array_get(json_object_get(json_array_get(segments, json_array_size(segments) - 1), "tracks"),
                           1),
            "track"));
        studio_start(&other, start_at(other.next, segments));
    }
    assert_int_equal(studio_serve(&other, 850), 1);
    assert_same(&whole, &other, 0, 850);
    assert_int_equal(end_quit(&other.end), 0);
    studio_free(&whole);
    studio_free(&other);
}

static void test_skip(void **state)
{
    (void)state;
    struct studio_end s = {0}, twin = {0};
    studio_start(&s, start_at(0, json_array()));
    assert_int_equal(studio_serve(&s, 700), 1);
    uint8_t *before = xmalloc(mp3_frame_offset(KBPS, 300));
    memcpy(before, s.tape, mp3_frame_offset(KBPS, 300));
    retract(&s, 300);
    assert_int_equal(studio_serve(&s, 700), 1);
    assert_memory_equal(before, s.tape, mp3_frame_offset(KBPS, 300));
    assert_no_silence(&s, 200, 700);
    assert_int_equal(skips_at(&s, 301), 1);
    size_t count = json_array_size(s.marks);
    for (size_t i = 1; i < count; i++) {
        /* one after the other, also over the fork */
        const json_t *mark = json_array_get(s.marks, i), *former = json_array_get(s.marks, i - 1);
        assert_true(json_integer_value(json_object_get(mark, "position")) >=
                    json_integer_value(json_object_get(former, "position")));
    }
    /* a skip of the skip, within it, and at once another */
    retract(&s, 320);
    retract(&s, 310);
    assert_int_equal(studio_serve(&s, 850), 1);
    assert_no_silence(&s, 200, 850);
    assert_int_equal(skips_at(&s, 301), 1);
    assert_int_equal(skips_at(&s, 311), 1);
    /* a successor, told of the segments with the cut ones whole, makes the same frames */
    studio_start(&twin, json_pack("{s:I,s:i,s:o}", "branch", (json_int_t)s.branch, "next", 340, "segments",
                                  segments_of(&s, 340)));
    assert_int_equal(studio_serve(&twin, 700), 1);
    assert_same(&s, &twin, 340, 700);
    assert_int_equal(end_quit(&twin.end), 0);
    assert_int_equal(end_quit(&s.end), 0);
    studio_free(&twin);
    studio_free(&s);
    free(before);
}

/* A file that has become shorter since its transition was rehearsed: the studio asks for a fork before the
 * place. */
static void test_a_file_that_fails(void **state)
{
    (void)state;
    int kept = wav_new(1, TRACK_S);
    struct studio_end s = {0};
    studio_start(&s, start_at(0, json_array()));
    assert_int_equal(studio_serve(&s, 49), 1);
    assert_int_equal(s.fork, 0);
    assert_int_equal(ftruncate(files[1], 4 * MP3_RATE * 4), 0);
    assert_int_equal(studio_serve(&s, 850), 1);
    assert_true(s.fork > 0 && s.fork <= s.next);
    assert_int_equal(s.unplayable, 2);
    retract(&s, s.fork);
    assert_int_equal(studio_serve(&s, 850), 1);
    assert_int_equal(s.next, 850);
    assert_int_equal(s.avoided, 2);
    assert_no_silence(&s, 5, 850);
    assert_int_equal(end_quit(&s.end), 0);
    studio_free(&s);

    /* one that is too short before that is found out by the rehearsal */
    s = (struct studio_end){0};
    studio_start(&s, start_at(0, json_array()));
    assert_int_equal(studio_serve(&s, 850), 1);
    assert_int_equal(s.fork, 0);
    assert_int_equal(s.unplayable, 2);
    assert_no_silence(&s, 5, 850);
    assert_int_equal(end_quit(&s.end), 0);
    studio_free(&s);

    /* one that is no music at all is not even announced */
    close(files[1]);
    files[1] = memfd_create("text", MFD_CLOEXEC);
    assert_int_equal(write(files[1], "no music", 8), 8);
    s = (struct studio_end){0};
    studio_start(&s, start_at(0, json_array()));
    assert_int_equal(studio_serve(&s, 400), 1);
    assert_int_equal(s.next, 400);
    assert_int_equal(s.unplayable, 2);
    assert_int_equal(end_quit(&s.end), 0);
    studio_free(&s);
    close(files[1]);
    files[1] = kept;
}

/* Frames [from, to) made of the spool are those that were sent. */
static void assert_spooled(const struct studio_end *s, uint64_t from, uint64_t to)
{
    struct spool *spool;
    char *cause = NULL;
    uint8_t bytes[MP3_FRAME_MAX_BYTES];
    float pcm[PRESS_BLOCK * PCM_CHANNELS];
    size_t len;
    if (spool_open(&spool, s->state, LEAD_S, 0, &cause)) fail_msg("%s", cause);
    struct press *press = press_new(KBPS, from, &cause);
    while (press_next(press) < to) {
        uint64_t frame = press_next(press);
        if (press_take(press, 1, bytes, &len)) {
            assert_int_equal(len, mp3_frame_bytes(KBPS, frame));
            if (memcmp(bytes, s->tape + mp3_frame_offset(KBPS, frame), len))
                fail_msg("frame %u of the spool differs", (unsigned)frame);
            continue;
        }
        if (spool_get(spool, press_block(press), pcm)) fail_msg("no block %u", (unsigned)press_block(press));
        assert_int_equal(press_feed(press, pcm, &cause), 0);
    }
    press_free(press);
    spool_close(spool);
}

/* What further mounts are encoded from is what the main one was: also over a fork, and after the file was
 * lost. */
/* A tone into the pipe, by a process that ends when all of it is taken. */
static pid_t put_tone(int fd, double seconds)
{
    pid_t pid = fork();
    float pcm[PCM_RATE / 10 * PCM_CHANNELS];
    for (int tenth = 0; !pid && tenth < (int)(seconds * 10); tenth++) {
        for (int i = 0; i < PCM_RATE / 10; i++)
            pcm[i * 2] = pcm[i * 2 + 1] = 0.5f * sinf(0.05f * (float)i);
        if (write(fd, pcm, sizeof pcm) != sizeof pcm) _exit(1);
    }
    if (!pid) _exit(0);
    return pid;
}

static void await_child(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static size_t marks_of(const struct studio_end *s, const char *technique)
{
    size_t count = 0, i;
    json_t *mark;
    json_array_foreach(s->marks, i, mark)
    {
        count += !strcmp(json_str_or(json_object_get(mark, "body"), "technique", "", NULL), technique);
    }
    return count;
}

static void test_a_live_source_comes_and_goes(void **state)
{
    (void)state;
    struct studio_end s = {0};
    int fds[2];
    studio_start(&s, start_at(0, json_array()));
    assert_int_equal(studio_serve(&s, 300), 1);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    json_t *body = json_pack("{s:i,s:s}", "session", 1, "title", "Someone - A Show");
    assert_int_equal(wire_send(s.end.channel, WIRE_LIVE_PCM, 0, body, fds[0]), 0);
    close(fds[0]);
    await_child(put_tone(fds[1], 2.5));
    assert_int_equal(studio_serve(&s, 310), 1);
    assert_false(s.ready); /* too little yet */
    await_child(put_tone(fds[1], 4.5));
    end_expect(&s.end, WIRE_LIVE_READY);
    s.branch++;
    s.next = 200;
    drop_marks(&s, 200);
    end_tell(&s.end, WIRE_RETRACT,
             json_pack("{s:I,s:I,s:b,s:i}", "branch", (json_int_t)s.branch, "position", (json_int_t)200,
                       "skip", 1, "live", 1));
    /* 7 s are held, two of which stay to be faded out: 191 frames, and nothing of the mix beyond */
    assert_int_equal(studio_serve(&s, 380), 1);
    assert_int_equal(s.next, 380);
    assert_null(s.over);
    close(fds[1]);
    assert_int_equal(studio_serve(&s, 700), 1);
    assert_in_range(s.fork, 385, 395);
    assert_int_equal(s.next, s.fork);
    retract(&s, s.fork);
    assert_int_equal(studio_serve(&s, 700), 1);
    assert_string_equal(s.over, "closed");
    assert_int_equal(marks_of(&s, "live"), 2); /* the fade into it, and it alone */
    assert_no_silence(&s, 5, 700);
    const json_t *first = NULL;
    for (size_t i = 0; !first; i++) {
        const json_t *mark = mark_at(&s, "segment", i);
        if (!strcmp(json_str_or(json_object_get(mark, "body"), "technique", "", NULL), "live")) first = mark;
    }
    const json_t *entry = json_array_get(json_object_get(json_object_get(first, "body"), "tracks"), 0);
    assert_string_equal(json_string_value(json_object_get(entry, "title")), "A Show");
    assert_string_equal(json_string_value(json_object_get(entry, "artist")), "Someone");
    /* a studio that begins within it has nothing of it: another track begins at once */
    studio_kill(&s);
    json_t *start = start_at(270, json_pack("[O]", json_object_get(first, "body")));
    json_object_set_new(start, "branch", json_integer(s.branch));
    studio_start(&s, start);
    assert_int_equal(studio_serve(&s, 500), 1);
    assert_no_silence(&s, 270, 500);
    assert_int_equal(end_quit(&s.end), 0);
    studio_free(&s);
}

static void test_the_spool_has_what_was_sent(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_studio.XXXXXX";
    assert_non_null(mkdtemp(folder));
    struct studio_end s = {.state = folder};
    studio_start(&s, start_at(0, json_array()));
    assert_int_equal(studio_serve(&s, 600), 1);
    assert_spooled(&s, 0, 600);
    retract(&s, 300);
    assert_int_equal(studio_serve(&s, 600), 1);
    assert_spooled(&s, 150, 600);
    studio_kill(&s);
    char *path = xasprintf("%s/lead.pcm", folder);
    assert_int_equal(truncate(path, 0), 0);
    json_t *start = start_at(600, segments_of(&s, 600));
    json_object_set_new(start, "branch", json_integer(s.branch));
    json_object_set_new(start, "air", json_integer(550));
    studio_start(&s, start);
    assert_int_equal(studio_serve(&s, 700), 1);
    assert_spooled(&s, 420, 700);
    assert_int_equal(end_quit(&s.end), 0);
    /* with one mount there is none */
    studio_free(&s);
    s = (struct studio_end){0};
    json_t *config = end_config(folder, "/nonexistent");
    end_start(&s.end, ROLE_STUDIO, work_studio, config);
    end_expect(&s.end, WIRE_READY);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(end_quit(&s.end), 0);
    free(path);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_station_begins),
        cmocka_unit_test(test_a_killed_studio_goes_on_with_the_same_bytes),
        cmocka_unit_test(test_skip),
        cmocka_unit_test(test_a_file_that_fails),
        cmocka_unit_test(test_a_live_source_comes_and_goes),
        cmocka_unit_test(test_the_spool_has_what_was_sent),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
