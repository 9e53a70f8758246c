/* An address as a test writes it. */
#ifndef FOREVER_TESTS_UNIT_ADDR_H
#define FOREVER_TESTS_UNIT_ADDR_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "common/net.h"

static inline struct net_addr addr(const char *text)
{
    struct net_addr a;
    assert_int_equal(net_addr_parse(text, strlen(text), &a), 0);
    return a;
}

#endif
