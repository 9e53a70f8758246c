#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/mem.h"
#include "common/mp3.h"
#include "root/wire.h"

static void the_table_is_consistent(void **state)
{
    (void)state;
    unsigned count = 0, replies = 0, answered = 0;
    char seen_names[64][24];
    for (unsigned type = 0; type < 1000; type++) {
        const struct wire_row *row = wire_find(type);
        if (!row) continue;
        assert_int_equal(row->type, type);
        assert_true(row->from && row->from < 1u << ROLE_COUNT && (unsigned)row->to < ROLE_COUNT);
        assert_true(row->max_len > 0 && row->max_len <= MSG_BODY_MAX);
        assert_true(count < 64 && strlen(row->name) < sizeof seen_names[0]);
        for (unsigned i = 0; i < count; i++)
            assert_string_not_equal(row->name, seen_names[i]);
        strcpy(seen_names[count++], row->name);
        replies += row->kind == WIRE_REPLY;
        if (row->kind != WIRE_REQUEST) {
            assert_true(row->reply == 0 && row->deadline_ms == 0);
            continue;
        }
        assert_true(row->deadline_ms > 0 && !row->binary);
        const struct wire_row *reply = wire_find(row->reply);
        assert_non_null(reply);
        assert_int_equal(reply->kind, WIRE_REPLY);
        assert_true(reply->from & 1u << row->to); /* the one who is asked may answer */
        answered++;
    }
    assert_true(count >= 30);
    assert_int_equal(replies, answered + 1); /* each answers one request; WIRE_ERROR answers any */
    assert_non_null(wire_find(WIRE_ERROR));
    assert_int_equal(wire_find(WIRE_ERROR)->from, (1u << ROLE_COUNT) - 1);
    assert_null(wire_find(0));
    assert_true(wire_find(WIRE_FRAMES)->max_len >= WIRE_FRAMES_HEAD + WIRE_FRAMES_MAX * MP3_FRAME_MAX_BYTES);
}

static void types_are_unique(void **state)
{
    (void)state;
    /* wire_find gives the first row of a type: each must be the row of its own name */
    static const struct {
        enum wire_type type;
        const char *name;
    } some[] = {{WIRE_READY, "READY"},     {WIRE_FOUND, "FOUND"},       {WIRE_JOB, "JOB"},
                {WIRE_POOL_IS, "POOL_IS"}, {WIRE_NEXT, "NEXT"},         {WIRE_MARK, "MARK"},
                {WIRE_AIRED, "AIRED"},     {WIRE_PROGRESS, "PROGRESS"}, {WIRE_FRAMES, "FRAMES"},
                {WIRE_ART_IS, "ART_IS"}};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++)
        assert_string_equal(wire_find(some[i].type)->name, some[i].name);
    for (int role = 0; role < ROLE_COUNT; role++)
        assert_int_equal(role_parse(role_name((enum role)role)), role);
    assert_int_equal(role_parse("cook"), -1);
    assert_string_equal(role_name(ROLE_COUNT), "none");
}

static void frames_go_there_and_back(void **state)
{
    (void)state;
    uint8_t body[WIRE_FRAMES_HEAD + 5];
    memset(body, 9, sizeof body);
    uint64_t position;
    uint32_t branch, count;
    const uint8_t *bytes;
    size_t len;
    struct msg m = {.type = WIRE_FRAMES, .body = body, .len = sizeof body};
    wire_frames_encode(body, UINT64_C(0x123456789abcdef0), 0xfedcba98, WIRE_FRAMES_MAX);
    assert_int_equal(body[0], 0xf0);
    assert_int_equal(wire_frames_decode(&m, &position, &branch, &count, &bytes, &len), 0);
    assert_true(position == UINT64_C(0x123456789abcdef0) && branch == 0xfedcba98 && count == WIRE_FRAMES_MAX);
    assert_true(bytes == body + WIRE_FRAMES_HEAD && len == 5);
    m.len = WIRE_FRAMES_HEAD - 1;
    assert_int_equal(wire_frames_decode(&m, &position, &branch, &count, &bytes, &len), -1);
    m.len = sizeof body;
    wire_frames_encode(body, 1, 1, 0);
    assert_int_equal(wire_frames_decode(&m, &position, &branch, &count, &bytes, &len), -1);
    wire_frames_encode(body, 1, 1, WIRE_FRAMES_MAX + 1);
    assert_int_equal(wire_frames_decode(&m, &position, &branch, &count, &bytes, &len), -1);
}

static void bodies_go_there_and_back(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(msg_pair(fds), 0);
    struct msg_channel *a = msg_channel_new(fds[0]), *b = msg_channel_new(fds[1]);
    assert_int_equal(wire_send(a, WIRE_TRACK, 9, json_pack("{s:i}", "track", 12), -1), 0);
    struct msg m;
    char *cause = NULL;
    assert_int_equal(msg_wait(b, &m, 2000), 1);
    assert_true(m.type == WIRE_TRACK && m.seq == 9);
    json_t *body = wire_body(&m, &cause);
    assert_non_null(body);
    assert_int_equal(json_integer_value(json_object_get(body, "track")), 12);
    json_decref(body);
    static const struct {
        uint16_t type;
        const char *body;
    } refused[] = {{WIRE_TRACK, "[1]"}, {WIRE_TRACK, "{"}, {WIRE_FRAMES, "{}"}, {999, "{}"}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct msg bad = {.type = refused[i].type,
                          .body = (const uint8_t *)refused[i].body,
                          .len = strlen(refused[i].body)};
        cause = NULL;
        assert_null(wire_body(&bad, &cause));
        assert_non_null(cause);
        free(cause);
    }
    /* over the row's limit */
    size_t len = wire_find(WIRE_QUIT)->max_len + 1;
    uint8_t *text = xmalloc(len);
    memset(text, ' ', len);
    memcpy(text, "{}", 2);
    struct msg large = {.type = WIRE_QUIT, .body = text, .len = len};
    cause = NULL;
    assert_null(wire_body(&large, &cause));
    free(cause);
    free(text);
    msg_channel_free(a);
    msg_channel_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_consistent),
        cmocka_unit_test(types_are_unique),
        cmocka_unit_test(frames_go_there_and_back),
        cmocka_unit_test(bodies_go_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
