#include "root/work/work.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/track.h"

#define CONFIG_WAIT_MS 30000
/* Air answers every request in time, if only with an error: this is for an air that hangs. */
#define REQUEST_GRACE_MS 2000
#define QUIT_GRACE_MS    500 /* for the reply under way when it is time to end */

struct work_pending {
    struct work_message message;
    struct work_pending *next;
};

void work_message_free(struct work_message *message)
{
    json_decref(message->body);
    free(message->bytes);
    if (message->row && message->fd >= 0) close(message->fd);
    *message = (struct work_message){.fd = -1};
}

/* One message off the channel: 1, 0 on timeout, -1 when it closed. What is malformed is dropped with a log
 * line: air speaks by the same table, so this is a bug worth seeing. */
static int take(struct work *work, struct work_message *out, int timeout_ms)
{
    struct msg raw;
    int64_t end_ns = clock_boot_ns() + (int64_t)timeout_ms * 1000000;
    for (;;) {
        int64_t rest_ms = timeout_ms < 0 ? -1 : (end_ns - clock_boot_ns()) / 1000000;
        if (timeout_ms >= 0 && rest_ms < 0) rest_ms = 0;
        int got = msg_wait(work->channel, &raw, (int)rest_ms);
        if (got < 0) work->quit = 1;
        if (got <= 0) return got;
        const struct wire_row *row = wire_find(raw.type);
        char *cause = NULL;
        *out = (struct work_message){.row = row, .seq = raw.seq, .fd = raw.fd};
        if (!row) {
            cause_set(&cause, "unknown type %u", raw.type);
        } else if (row->binary) {
            out->bytes = xmalloc(raw.len + 1);
            if (raw.len) memcpy(out->bytes, raw.body, raw.len);
            out->len = raw.len;
        } else {
            out->body = wire_body(&raw, &cause);
        }
        if (!cause) return 1;
        log_error("work", "message %s dropped: %s", row ? row->name : "?", cause);
        free(cause);
        if (raw.fd >= 0) close(raw.fd);
    }
}

static void put_pending(struct work *work, const struct work_message *message)
{
    struct work_pending *p = xcalloc(1, sizeof *p);
    p->message = *message;
    *work->pending_tail = p;
    work->pending_tail = &p->next;
}

static int take_pending(struct work *work, struct work_message *out)
{
    struct work_pending *p = work->pending;
    if (!p) return 0;
    *out = p->message;
    work->pending = p->next;
    if (!work->pending) work->pending_tail = &work->pending;
    free(p);
    return 1;
}

/* 1 when this reply was asked for; it is then crossed off. */
static int was_asked(struct work *work, uint32_t seq)
{
    for (int i = 0; seq && i < WORK_ASKED_MAX; i++) {
        if (work->asked[i] != seq) continue;
        work->asked[i] = 0;
        return 1;
    }
    return 0;
}

int work_next(struct work *work, struct work_message *out, int timeout_ms)
{
    *out = (struct work_message){.fd = -1};
    if (take_pending(work, out)) return 1;
    while (!work->quit) {
        int got = take(work, out, timeout_ms);
        if (got <= 0) return got;
        if (out->row->type == WIRE_QUIT) {
            work->quit = 1;
        } else if (out->row->kind != WIRE_REPLY || was_asked(work, out->seq)) {
            return 1;
        }
        work_message_free(out); /* QUIT, or a reply nobody waits for any more */
    }
    return -1;
}

/* What is over the table's limit would cost us our life: air replaces a worker that sends it. */
static int send_bytes(struct work *work, const struct wire_row *row, uint32_t seq, const void *bytes,
                      size_t len, int fd)
{
    if (len <= row->max_len) return msg_send(work->channel, (uint16_t)row->type, seq, bytes, len, fd);
    log_error("work", "%s of %zu bytes is too large to send", row->name, len);
    static const char sorry[] = "{\"error\":\"the answer is too large\"}";
    if (row->kind == WIRE_REPLY) return msg_send(work->channel, WIRE_ERROR, seq, sorry, strlen(sorry), -1);
    errno = EMSGSIZE;
    return -1;
}

int work_send(struct work *work, enum wire_type type, uint32_t seq, json_t *body, int fd)
{
    char *text = json_text(body);
    json_decref(body);
    int result = send_bytes(work, wire_find(type), seq, text, strlen(text), fd);
    free(text);
    return result;
}

int work_send_bytes(struct work *work, enum wire_type type, uint32_t seq, const void *bytes, size_t len)
{
    return send_bytes(work, wire_find(type), seq, bytes, len, -1);
}

int work_ready(struct work *work)
{
    return work_send(work, WIRE_READY, 0,
                     json_pack("{s:s,s:s,s:i}", "role", role_name(work->role), "version", FOREVER_VERSION,
                               "pid", (int)getpid()),
                     -1);
}

/* 1: this is the reply; 0: not this one; -1 with *cause. Takes the message over unless it is the reply. */
static int judge(struct work *work, const struct wire_row *row, uint32_t seq, struct work_message *out,
                 char **cause)
{
    if (out->row->type == WIRE_QUIT) {
        work->quit = 1; /* the item at hand is finished first: the reply may be part of it */
    } else if (out->row->kind != WIRE_REPLY || was_asked(work, out->seq)) {
        put_pending(work, out);
        *out = (struct work_message){.fd = -1};
        return 0;
    } else if (out->seq == seq) {
        if (out->row->type == row->reply) return 1;
        cause_set(cause, "%s: %s", row->name,
                  out->row->type == WIRE_ERROR ? json_str_or(out->body, "error", "no reason given", NULL)
                                               : "the reply is of another kind");
        work_message_free(out);
        return -1;
    }
    work_message_free(out);
    return 0;
}

static uint32_t next_seq(struct work *work)
{
    return ++work->seq ? work->seq : ++work->seq; /* 0 means no reply is wanted */
}

uint32_t work_ask(struct work *work, enum wire_type type, json_t *body)
{
    for (int i = 0; i < WORK_ASKED_MAX; i++) {
        if (work->asked[i]) continue;
        uint32_t seq = next_seq(work);
        if (work_send(work, type, seq, body, -1)) return 0;
        return work->asked[i] = seq;
    }
    json_decref(body);
    return 0;
}

int work_request(struct work *work, enum wire_type type, json_t *body, struct work_message *out, char **cause)
{
    const struct wire_row *row = wire_find(type);
    uint32_t seq = next_seq(work);
    int quitting = 0;
    *out = (struct work_message){.fd = -1};
    if (work_send(work, type, seq, body, -1)) return cause_set(cause, "%s: %s", row->name, strerror(errno));
    int64_t end_ns = clock_boot_ns() + (int64_t)(row->deadline_ms + REQUEST_GRACE_MS) * 1000000;
    for (;;) {
        int64_t now_ns = clock_boot_ns(), last_ns = now_ns + QUIT_GRACE_MS * INT64_C(1000000);
        /* who stops as well, with the station, answers no more */
        if (work->quit && !quitting) end_ns = last_ns < end_ns ? last_ns : end_ns;
        quitting = work->quit;
        int64_t rest_ms = (end_ns - now_ns) / 1000000;
        int got = rest_ms > 0 ? take(work, out, (int)rest_ms) : 0;
        if (got < 0) return cause_set(cause, "%s: the channel closed", row->name);
        if (got == 0) return cause_set(cause, "%s: no answer within %d ms", row->name, row->deadline_ms);
        int verdict = judge(work, row, seq, out, cause);
        if (verdict) return verdict > 0 ? 0 : -1;
    }
}

static int configure(struct work *work, const json_t *body, char **cause)
{
    int bad = 0;
    work->state = xstrdup(json_str_or(body, "state", "", &bad));
    const json_t *libraries = json_object_get(body, "libraries");
    work->library_count = json_array_size(libraries);
    work->libraries = xcalloc(work->library_count + 1, sizeof *work->libraries);
    for (size_t i = 0; i < work->library_count; i++) {
        const char *text = json_string_value(json_array_get(libraries, i));
        if (!text) bad++;
        work->libraries[i] = path_from_text(text ? text : "");
        for (size_t n = strlen(work->libraries[i]); n > 1 && work->libraries[i][n - 1] == '/'; n--)
            work->libraries[i][n - 1] = '\0';
    }
    work->bitrate_kbps = (unsigned)json_int_or(body, "bitrate_kbps", 192, 32, 320, &bad);
    work->lead_s = json_real_or(body, "lead_s", 240, &bad);
    work->target_lufs = json_real_or(body, "target_lufs", -16, &bad);
    work->max_tempo_change_pct = json_real_or(body, "max_tempo_change_pct", 6, NULL);
    const char *fallback = json_str_or(body, "fallback", NULL, NULL);
    if (fallback) work->fallback = path_from_text(fallback);
    work->min_play_pct = json_real_or(body, "min_play_pct", 0, NULL);
    work->history_days = (int)json_int_or(body, "history_days", HISTORY_DAYS, 1, HISTORY_DAYS_MAX, NULL);
    work->seed = (uint64_t)json_int_or(body, "seed", 0, INT64_MIN, INT64_MAX, &bad);
    work->generation = (unsigned)json_int_or(body, "generation", 0, 0, UINT32_MAX, &bad);
    const json_t *mounts = json_object_get(body, "mounts");
    int count = mounts ? mount_specs_read(mounts, work->mounts, cause) : 0;
    if (count < 0) return -1;
    work->mount_count = (size_t)count;
    enum log_level level = LOG_LEVEL_INFO;
    if (log_level_parse(json_str_or(body, "log_level", "info", &bad), &level)) bad++;
    log_set_level(level);
    return bad ? cause_set(cause, "%d members of the configuration are wrong", bad) : 0;
}

int work_begin(struct work *work, int fd, enum role role, char **cause)
{
    *work = (struct work){.role = role, .channel = msg_channel_new(fd)};
    work->pending_tail = &work->pending;
    struct work_message message;
    int got = work_next(work, &message, CONFIG_WAIT_MS);
    if (got <= 0) return cause_set(cause, got ? "the channel closed" : "no configuration came");
    int result = message.row->type == WIRE_CONFIG
                     ? configure(work, message.body, cause)
                     : cause_set(cause, "%s came before CONFIG", message.row->name);
    work_message_free(&message);
    return result;
}

void work_end(struct work *work)
{
    struct work_message message;
    while (take_pending(work, &message))
        work_message_free(&message);
    for (size_t i = 0; i < work->library_count; i++)
        free(work->libraries[i]);
    free(work->libraries);
    free(work->state);
    free(work->fallback);
    msg_channel_free(work->channel);
    *work = (struct work){0};
}
