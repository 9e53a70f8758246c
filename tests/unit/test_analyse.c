/* analyse: the role as air and store see it, and the tool as a user does, each in a child of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/json.h"
#include "root/audio/pcm.h"
#include "root/track.h"
#include "root/work/work.h"
#include "tests/unit/wav.h"

#define DEADLINE_MS 30000
#define SECONDS     12

static char dir[] = "/tmp/forever-analyse-XXXXXX";
static char good[128], bad[128];

/* 16-bit stereo: clicks at 120 BPM with a decaying tone. */
static void write_wav(const char *path)
{
    size_t samples = SECONDS * PCM_RATE;
    int16_t *pcm = malloc(samples * 2 * sizeof *pcm);
    assert_non_null(pcm);
    for (size_t i = 0; i < samples; i++) {
        double t = fmod((double)i / PCM_RATE, 0.5);
        pcm[2 * i] = pcm[2 * i + 1] = (int16_t)(20000 * exp(-t / 0.05) * sin(2 * M_PI * 220 * t));
    }
    wav_file(path, pcm, samples, 2, PCM_RATE);
    free(pcm);
}

static int set_up(void **unused)
{
    (void)unused;
    if (!mkdtemp(dir)) return -1;
    snprintf(good, sizeof good, "%s/03 - Some One - A Title.wav", dir);
    snprintf(bad, sizeof bad, "%s/broken.mp3", dir);
    write_wav(good);
    FILE *file = fopen(bad, "wb");
    if (!file) return -1;
    fputs("this is no music at all", file);
    return fclose(file);
}

static int tear_down(void **unused)
{
    (void)unused;
    unlink(good);
    unlink(bad);
    return rmdir(dir);
}

/* ---- the role ---- */

/* The next message of that type within the deadline, as JSON; earlier ones of other types are dropped. */
static json_t *expect(struct msg_channel *channel, enum wire_type type, uint32_t *seq)
{
    struct msg message;
    while (msg_wait(channel, &message, DEADLINE_MS) > 0) {
        if (message.type != type) continue;
        char *cause = NULL;
        json_t *body = wire_body(&message, &cause);
        assert_non_null(body);
        if (seq) *seq = message.seq;
        return body;
    }
    fail_msg("no %s came", wire_find(type)->name);
    return NULL;
}

static void give(struct msg_channel *channel, const char *path, int track)
{
    uint32_t seq;
    json_decref(expect(channel, WIRE_JOB, &seq));
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    json_t *job = json_pack("{s:i,s:s,s:i,s:i}", "track", track, "path", path, "size", 1, "deadline_s", 60);
    assert_int_equal(wire_send(channel, WIRE_JOB_IS, seq, job, fd), 0);
    close(fd);
}

static void test_role(void **unused)
{
    (void)unused;
    int fds[2];
    assert_int_equal(msg_pair(fds), 0);
    pid_t pid = fork();
    if (!pid) {
        struct work work;
        char *cause = NULL;
        close(fds[0]);
        int code = work_begin(&work, fds[1], ROLE_ANALYSE, &cause) ? 99 : work_analyse(&work);
        work_end(&work);
        _exit(code);
    }
    close(fds[1]);
    struct msg_channel *channel = msg_channel_new(fds[0]);
    json_t *config = json_pack("{s:s,s:[],s:s}", "state", dir, "libraries", "log_level", "error");
    assert_int_equal(wire_send(channel, WIRE_CONFIG, 0, config, -1), 0);
    json_decref(expect(channel, WIRE_READY, NULL));

    give(channel, good, 7);
    json_t *body = expect(channel, WIRE_FEATURES, NULL);
    assert_int_equal(json_integer_value(json_object_get(body, "track")), 7);
    assert_int_equal(strlen(json_string_value(json_object_get(body, "hash"))), 64);
    struct tags tags;
    struct features features;
    char *cause = NULL;
    memset(&tags, 0, sizeof tags);
    features_init(&features);
    assert_int_equal(tags_from_json(&tags, json_object_get(body, "tags"), &cause), 0);
    assert_int_equal(features_from_json(&features, json_object_get(body, "features"), &cause), 0);
    assert_string_equal(tags.artist, "Some One");
    assert_string_equal(tags.title, "A Title");
    assert_true(fabs(features.duration_s - SECONDS) < 0.001);
    assert_true(fabs(features.tempo_bpm - 120) < 0.1);
    assert_int_equal(features.version, ANALYSIS_VERSION);
    tags_free(&tags);
    features_free(&features);
    json_decref(body);

    give(channel, bad, 8);
    body = expect(channel, WIRE_FAILED, NULL);
    assert_int_equal(json_integer_value(json_object_get(body, "track")), 8);
    assert_true(strlen(json_string_value(json_object_get(body, "reason"))) > 0);
    json_decref(body);

    /* nothing to do: it waits, and quits when told */
    uint32_t seq;
    json_decref(expect(channel, WIRE_JOB, &seq));
    wire_send(channel, WIRE_JOB_IS, seq, json_pack("{s:b}", "none", 1), -1);
    wire_send(channel, WIRE_QUIT, 0, json_object(), -1);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    msg_channel_free(channel);
}

/* ---- the tool ---- */

/* Runs the tool with those arguments; its exit status, and what it wrote to standard output. */
static int run_tool(char *out, size_t size, int argc, char **argv)
{
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        int null = open("/dev/null", O_WRONLY);
        if (null >= 0) dup2(null, 2);
        int code = tool_analyse(argc, argv);
        fflush(stdout);
        _exit(code);
    }
    close(ends[1]);
    size_t len = 0;
    ssize_t got;
    while ((got = read(ends[0], out + len, size - 1 - len)) > 0)
        len += (size_t)got;
    out[len] = 0;
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_tool(void **unused)
{
    (void)unused;
    static char out[1 << 16];
    char *both[] = {"analyse", "--json", bad, good, NULL};
    assert_int_equal(run_tool(out, sizeof out, 4, both), 65);
    char *line = strchr(out, '\n'), *cause = NULL;
    assert_non_null(line);
    json_t *object = json_parse(out, (size_t)(line - out), sizeof out, &cause);
    assert_string_equal(json_string_value(json_object_get(object, "file")), bad);
    assert_non_null(json_object_get(object, "error"));
    json_decref(object);
    object = json_parse(line + 1, strlen(line + 1) - 1, sizeof out, &cause);
    assert_non_null(object);
    assert_string_equal(json_string_value(json_object_get(object, "file")), good);
    assert_true(json_array_size(json_object_get(object, "beats_s")) >= 2 * SECONDS - 1);
    assert_true(fabs(json_number_value(json_object_get(object, "duration_s")) - SECONDS) < 0.001);
    assert_string_equal(json_string_value(json_object_get(json_object_get(object, "tags"), "title")),
                        "A Title");
    json_decref(object);

    char *plain[] = {"analyse", good, NULL};
    assert_int_equal(run_tool(out, sizeof out, 2, plain), 0);
    assert_non_null(strstr(out, "BPM"));
    char *help[] = {"analyse", "--help", NULL};
    assert_int_equal(run_tool(out, sizeof out, 2, help), 0);
    assert_non_null(strstr(out, "usage:"));
    char *wrong[] = {"analyse", "--jason", good, NULL};
    assert_int_equal(run_tool(out, sizeof out, 3, wrong), 64);
    char *none[] = {"analyse", "--json", NULL};
    assert_int_equal(run_tool(out, sizeof out, 2, none), 64);
    char *folder[] = {"analyse", "--json", dir, NULL};
    assert_int_equal(run_tool(out, sizeof out, 3, folder), 65);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_role),
        cmocka_unit_test(test_tool),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
