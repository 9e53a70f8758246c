/* Any bytes as JSON: json_flat takes what jansson takes, and reads the same. */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/json_flat.h"
#include "common/mem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/json_same.h"

#define CELLS 512

static struct json_flat cells[CELLS];

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    char *copy = xmalloc(len + 1), *cause = NULL; /* to the byte, for the sanitizers */
    memcpy(copy, bytes, len);
    json_t *expected = json_parse(bytes, len, len, NULL);
    int result = json_flat_read(copy, len, cells, CELLS, &cause);
    if (!result && !(expected && json_same(cells, expected))) abort();
    if (result && !cause) abort();
    /* refused though jansson takes it: it is deep, or long, or has a NUL, where jansson stops reading */
    if (result && expected && !memchr(bytes, 0, len) && !strstr(cause, "too deep") &&
        !strstr(cause, "too many values"))
        abort();
    json_decref(expected);
    free(cause);
    free(copy);
    return 0;
}
