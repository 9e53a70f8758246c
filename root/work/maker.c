#include "root/work/maker.h"

#include <sys/utsname.h>

#include <lame/lame.h>
#include <libavcodec/avcodec.h>
#include <libswresample/swresample.h>
#include <rubberband/rubberband-c.h>

#include "common/mem.h"

char *maker_text(void)
{
    struct utsname machine;
    unsigned codec = avcodec_version(), resampler = swresample_version();
    return xasprintf("forever " FOREVER_VERSION ", lame %s, rubberband " RUBBERBAND_VERSION
                     ", libavcodec %u.%u.%u, libswresample %u.%u.%u, %s",
                     get_lame_version(), codec >> 16, codec >> 8 & 255, codec & 255, resampler >> 16,
                     resampler >> 8 & 255, resampler & 255, uname(&machine) ? "?" : machine.machine);
}
