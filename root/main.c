/* forever-root: the station, its control client, and the door to the offline tools. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/mem.h"
#include "root/air/air.h"
#include "root/air/ctl.h"

/* The tools are the worker executable's: it has the decoder and the encoder. Returns only on failure. */
static int run_tool(int argc, char **argv)
{
    const char *set = getenv("FOREVER_WORKER");
    char *worker = set && *set ? xstrdup(set) : options_default_worker();
    char **arguments = xcalloc((size_t)argc + 3, sizeof *arguments);
    arguments[0] = worker;
    arguments[1] = xstrdup("tool");
    for (int i = 1; i < argc; i++)
        arguments[i + 1] = argv[i];
    execv(worker, arguments);
    fprintf(stderr, "forever-root: %s: %s\n", worker, strerror(errno));
    return EX_UNAVAILABLE;
}

static int is_tool(const char *name)
{
    return !strcmp(name, "analyse") || !strcmp(name, "render") || !strcmp(name, "audition");
}

int main(int argc, char **argv)
{
    log_init("root", LOG_LEVEL_INFO);
    if (argc > 1 && !strcmp(argv[1], "ctl")) return ctl_main(argc - 1, argv + 1);
    if (argc > 1 && is_tool(argv[1])) return run_tool(argc, argv);
    struct options options;
    char *cause = NULL;
    int code = 0;
    enum conf_result loaded = options_load(&options, argc, argv, &code, &cause);
    if (loaded == CONF_RUN) {
        log_set_level(options.level);
        code = air_run(&options);
    } else if (loaded == CONF_FAIL) {
        fprintf(stderr, "forever-root: %s\n", cause);
    } else {
        code = 0;
    }
    free(cause);
    options_free(&options);
    return code;
}
