#include "root/work/maker.h"

#include <stdlib.h>
#include <sys/utsname.h>

#include "common/mem.h"
#include "root/audio/decode.h"
#include "root/audio/encode.h"
#include "root/audio/stretch.h"

char *maker_text(void)
{
    struct utsname machine;
    char *decoder = decode_library();
    char *text = xasprintf("forever " FOREVER_VERSION ", lame %s, %s, %s, %s", encode_library(),
                           stretch_library(), decoder, uname(&machine) ? "?" : machine.machine);
    free(decoder);
    return text;
}
