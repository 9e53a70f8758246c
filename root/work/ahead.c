/* A line of JSON for each segment, then one for how it ended: {"bad_track": N, "cause": TEXT}, both null when
 * all is well. */
#include "root/work/ahead.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"

#define LINE_MAX_BYTES (8u << 20) /* a skip's segment holds others */

struct ahead_teller {
    FILE *out;
};

struct ahead {
    pid_t pid;
    FILE *in;
    char *line;
    size_t room;
};

static int write_line(FILE *out, const json_t *value)
{
    char *text = json_text(value);
    int result = fputs(text, out) < 0 || fputc('\n', out) < 0 || fflush(out) ? -1 : 0;
    free(text);
    return result;
}

int ahead_tell(struct ahead_teller *teller, const json_t *segment, char **cause)
{
    json_t *line = json_pack("{s:O}", "segment", segment);
    int result = write_line(teller->out, line);
    json_decref(line);
    return result ? cause_set(cause, "nobody reads what is planned: %s", strerror(errno)) : 0;
}

/* The planner's whole life. */
static int work(ahead_plan plan, void *context, int fd)
{
    struct ahead_teller teller = {.out = fdopen(fd, "w")};
    int64_t bad_track = 0;
    char *cause = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!teller.out) return -1;
    int result = plan(context, &teller, &bad_track, &cause);
    json_t *end = json_pack("{s:I, s:s?}", "bad_track", (json_int_t)bad_track, "cause",
                            result ? cause ? cause : "it failed" : NULL);
    return write_line(teller.out, end);
}

struct ahead *ahead_begin(ahead_plan plan, void *context, char **cause)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0) {
        cause_set(cause, "no pipe: %s", strerror(errno));
        return NULL;
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        _exit(work(plan, context, fds[1]) ? EXIT_FAILURE : EXIT_SUCCESS);
    }
    close(fds[1]);
    FILE *in = pid < 0 ? NULL : fdopen(fds[0], "r");
    if (!in) {
        cause_set(cause, "no process: %s", strerror(errno));
        close(fds[0]);
        return NULL;
    }
    struct ahead *ahead = xcalloc(1, sizeof *ahead);
    ahead->pid = pid;
    ahead->in = in;
    return ahead;
}

void ahead_end(struct ahead *ahead)
{
    if (!ahead) return;
    kill(ahead->pid, SIGKILL);
    while (waitpid(ahead->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    fclose(ahead->in);
    free(ahead->line);
    free(ahead);
}

int ahead_next(struct ahead *ahead, json_t **segment, int64_t *bad_track, char **cause)
{
    ssize_t len = getline(&ahead->line, &ahead->room, ahead->in);
    *bad_track = 0;
    if (len <= 0 || ahead->line[len - 1] != '\n') return cause_set(cause, "the planning broke off");
    json_t *line = json_parse(ahead->line, (size_t)len, LINE_MAX_BYTES, cause);
    if (!line) return -1;
    *segment = json_incref(json_object_get(line, "segment"));
    int result = *segment ? 1 : 0;
    const char *said = json_str_or(line, "cause", NULL, NULL);
    if (said) {
        *bad_track = json_int_or(line, "bad_track", 0, 0, INT64_MAX, NULL);
        result = cause_set(cause, "%s", said);
    }
    json_decref(line);
    return result;
}
