/* identity: what the station calls itself outlives a relay's life. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/proc.h"
#include "relay/identity.h"

static void it_is_kept_and_found_again(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_identity.XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *path = xasprintf("%s/identity", folder), *cause = NULL;
    struct identity first, second;
    identity_load(&first, folder);
    assert_null(first.name);
    const struct station_identity told = {.name = "Night \"naïve\"", .url = "http://radio.example"};
    identity_set(&first, &told, folder);
    identity_load(&second, folder);
    assert_string_equal(identity_of(&second).name, told.name);
    assert_string_equal(identity_of(&second).url, told.url);
    assert_null(identity_of(&second).genre);
    identity_free(&second);
    /* the same again is not written again */
    assert_int_equal(unlink(path), 0);
    identity_set(&first, &told, folder);
    assert_int_equal(access(path, F_OK), -1);
    /* what can't be read is nothing */
    assert_int_equal(proc_write_file(path, "{\"name\":7", 9, 0600, &cause), 0);
    identity_load(&second, folder);
    assert_null(second.name);
    identity_free(&second);
    identity_free(&first);
    unlink(path);
    rmdir(folder);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_kept_and_found_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
