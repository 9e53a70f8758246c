/* loop: one event loop for all tests of a program, with the log held to errors. */
#ifndef FOREVER_TESTS_UNIT_LOOP_H
#define FOREVER_TESTS_UNIT_LOOP_H
#include <event2/event.h>

#include "common/log.h"
#include "tests/unit/netclient.h"

static struct event_base *base; /* after netclient.h, whose functions take one of that name */

/* for cmocka_run_group_tests */
static inline int loop_setup(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    base = event_base_new();
    return base ? 0 : -1;
}

static inline int loop_teardown(void **state)
{
    (void)state;
    event_base_free(base);
    return 0;
}

#endif
