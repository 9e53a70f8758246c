/* forever-work: every worker role, and the offline tools, in one executable.
 *
 * A role lives on its message channel alone: it ends when air says so, when the channel closes, or with air.
 * Ctrl-C reaches the whole foreground group; workers leave it to air, which ends them in order. */
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

/* Roles that are not built in are NULL. */
#pragma weak work_store
#pragma weak work_scan
#pragma weak work_analyse
#pragma weak work_brain
#pragma weak work_studio
#pragma weak tool_analyse
#pragma weak tool_render

static int (*role_entry(enum role role))(struct work *)
{
    switch (role) {
    case ROLE_STORE:
        return work_store;
    case ROLE_SCAN:
        return work_scan;
    case ROLE_ANALYSE:
        return work_analyse;
    case ROLE_BRAIN:
        return work_brain;
    case ROLE_STUDIO:
        return work_studio;
    default:
        return NULL;
    }
}

static int unavailable(const char *what)
{
    fprintf(stderr, "forever-work: %s is not built in\n", what);
    return EX_UNAVAILABLE;
}

static int run_role(enum role role)
{
    int (*entry)(struct work *) = role_entry(role);
    if (!entry) return unavailable(role_name(role));
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
        code = entry(&work);
    }
    free(cause);
    work_end(&work);
    return code;
}

static int run_tool(int argc, char **argv)
{
    int (*entry)(int, char **) = NULL;
    if (!strcmp(argv[0], "analyse"))
        entry = tool_analyse;
    else if (!strcmp(argv[0], "render"))
        entry = tool_render;
    else
        fprintf(stderr, "forever-work: no tool is called %s (analyse, render)\n", argv[0]);
    if (!entry) return unavailable(argv[0]);
    signal(SIGPIPE, SIG_IGN);
    log_init(argv[0], LOG_LEVEL_INFO);
    return entry(argc, argv);
}

int main(int argc, char **argv)
{
    int role = argc == 2 ? role_parse(argv[1]) : -1;
    if (role > ROLE_AIR) return run_role((enum role)role);
    if (argc >= 3 && !strcmp(argv[1], "tool")) return run_tool(argc - 2, argv + 2);
    fprintf(stderr, "usage: forever-work ROLE (started by forever-root)\n"
                    "       forever-work tool analyse|render ARGS (see forever-root)\n");
    return EX_USAGE;
}
