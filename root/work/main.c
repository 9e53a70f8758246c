/* forever-work: every worker role, and the offline tools, in one executable.
 *
 * A role lives on its message channel alone: it ends when air says so, when the channel closes, or with air.
 * Ctrl-C reaches the whole foreground group; workers leave it to air, which ends them in order. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/log.h"
#include "common/proc.h"
#include "root/work/work.h"

static int (*const entries[ROLE_COUNT])(struct work *) = {
    [ROLE_STORE] = work_store, [ROLE_SCAN] = work_scan,     [ROLE_ANALYSE] = work_analyse,
    [ROLE_BRAIN] = work_brain, [ROLE_STUDIO] = work_studio, [ROLE_CODER] = work_coder,
    [ROLE_LIVE] = work_live,
};

static int run_role(enum role role)
{
    char name[16];
    snprintf(name, sizeof name, "fw-%s", role_name(role));
    prctl(PR_SET_NAME, name);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    log_init(role_name(role), LOG_LEVEL_INFO);
    struct work work;
    char *cause = NULL;
    int code;
    if (work_begin(&work, PROC_CHANNEL_FD, role, &cause)) {
        log_error("work", "can't begin: %s", cause);
        code = EX_PROTOCOL;
    } else {
        code = entries[role](&work);
    }
    free(cause);
    work_end(&work);
    return code;
}

static int run_tool(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    log_init(argv[0], LOG_LEVEL_INFO);
    if (!strcmp(argv[0], "analyse")) return tool_analyse(argc, argv);
    if (!strcmp(argv[0], "render")) return tool_render(argc, argv);
    if (!strcmp(argv[0], "audition")) return tool_audition(argc, argv);
    fprintf(stderr, "forever-work: no tool is called %s (analyse, render, audition)\n", argv[0]);
    return EX_USAGE;
}

/* Passages of music have memory of their own, which goes back with them: left to itself, malloc takes them
 * from the heap once it has seen some, and the heap stays as large as its last block lies high. */
static void keep_heap_small(void)
{
    mallopt(M_MMAP_THRESHOLD, 256 << 10);
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

int main(int argc, char **argv)
{
    keep_heap_small();
    int role = argc == 2 ? role_parse(argv[1]) : -1;
    if (role > ROLE_AIR) return run_role((enum role)role);
    if (argc >= 3 && !strcmp(argv[1], "tool")) return run_tool(argc - 2, argv + 2);
    fprintf(stderr, "usage: forever-work ROLE (started by forever-root)\n"
                    "       forever-work tool analyse|render|audition ARGS (see forever-root)\n");
    return EX_USAGE;
}
