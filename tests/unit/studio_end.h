/* studio_end: a studio in a child process, with the test as air, store and brain. */
#ifndef FOREVER_TESTS_UNIT_STUDIO_END_H
#define FOREVER_TESTS_UNIT_STUDIO_END_H
#include "tests/unit/worker_end.h"

#include <math.h>

#include "common/mp3.h"
#include "root/audio/decode.h"
#include "root/audio/pcm.h"
#include "tests/unit/noise.h"
#include "tests/unit/wav.h"

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

static inline int wav_new(int index, double seconds)
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

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < TRACKS; i++) {
        track_free(&tracks[i]);
        close(files[i]);
    }
    return 0;
}

static inline void studio_start(struct studio_end *s, json_t *start)
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

static inline void studio_free(struct studio_end *s)
{
    json_decref(s->marks);
    free(s->tape);
}

static inline void studio_kill(struct studio_end *s)
{
    kill(s->end.pid, SIGKILL);
    waitpid(s->end.pid, NULL, 0);
    msg_channel_free(s->end.channel);
    json_decref(s->end.body);
    s->end.body = NULL;
}

static inline json_t *start_at(uint64_t next, json_t *segments)
{
    return json_pack("{s:i,s:I,s:o}", "branch", 1, "next", (json_int_t)next, "segments", segments);
}

static inline void answer_next(struct studio_end *s, const json_t *body)
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

static inline void take_frames(struct studio_end *s)
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

static inline void take_mark(struct studio_end *s, const json_t *body)
{
    if ((uint32_t)json_integer_value(json_object_get(body, "branch")) < s->branch) return;
    uint64_t position = (uint64_t)json_integer_value(json_object_get(body, "position"));
    assert_true(position >= s->next); /* never after the frames it belongs to */
    json_array_append_new(s->marks, json_copy((json_t *)(uintptr_t)body));
}

/* Serves the studio until its frames reach `until`, or it asks for a fork: 0 when neither came in time. */
static inline int studio_serve(struct studio_end *s, uint64_t until)
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
static inline json_t *segments_of(const struct studio_end *s, uint64_t next)
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

static inline void drop_marks(struct studio_end *s, uint64_t position)
{
    for (size_t i = json_array_size(s->marks); i-- > 0;) {
        if (json_integer_value(json_object_get(json_array_get(s->marks, i), "position")) >=
            (json_int_t)position)
            json_array_remove(s->marks, i);
    }
}

static inline void retract(struct studio_end *s, uint64_t position)
{
    s->branch++;
    s->next = position;
    drop_marks(s, position);
    end_tell(&s->end, WIRE_RETRACT,
             json_pack("{s:I,s:I,s:b}", "branch", (json_int_t)s->branch, "position", (json_int_t)position,
                       "skip", 1));
}

static inline void assert_same(const struct studio_end *a, const struct studio_end *b, uint64_t from,
                               uint64_t to)
{
    for (uint64_t f = from; f < to; f++) {
        uint64_t at = mp3_frame_offset(KBPS, f);
        if (memcmp(a->tape + at, b->tape + at, mp3_frame_bytes(KBPS, f)))
            fail_msg("frame %u differs", (unsigned)f);
    }
}

/* No stretch of 0.3 s below -60 dB in what was sent. */
static inline void assert_no_silence(const struct studio_end *s, uint64_t from, uint64_t to)
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

static inline const json_t *mark_at(const struct studio_end *s, const char *kind, size_t index)
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

#endif
