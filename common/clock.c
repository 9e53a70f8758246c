#include "common/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const int64_t *fake_boot, *fake_wall;

static int64_t read_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * CLOCK_NS_PER_S + t.tv_nsec;
}

int64_t clock_boot_ns(void)
{
    return fake_boot ? *fake_boot : read_ns(CLOCK_BOOTTIME);
}

int64_t clock_wall_ns(void)
{
    return fake_wall ? *fake_wall : read_ns(CLOCK_REALTIME);
}

const char *clock_boot_id(void)
{
    static char id[40];
    if (id[0]) return id;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, id, 36);
    if (fd >= 0) close(fd);
    if (n != 36) snprintf(id, sizeof id, "unknown");
    return id;
}

void clock_fake(const int64_t *boot_ns, const int64_t *wall_ns)
{
    fake_boot = boot_ns;
    fake_wall = wall_ns;
}
