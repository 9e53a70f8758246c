/* clock: the times the programs live by.
 *
 * Pacing uses CLOCK_BOOTTIME (monotonic, counts suspend, comparable between processes of one boot); a
 * moment kept on disk is stored with the boot id, and means nothing under another one. Wall time is for
 * people and for the history only. Tests replace the source with clock_fake(). */
#ifndef FOREVER_COMMON_CLOCK_H
#define FOREVER_COMMON_CLOCK_H
#include <stdint.h>

#define CLOCK_NS_PER_S INT64_C(1000000000)

int64_t clock_boot_ns(void); /* CLOCK_BOOTTIME */
int64_t clock_wall_ns(void); /* since 1970, UTC */
/* The kernel's boot id as text (36 characters); "unknown" where there is none. Static storage. */
const char *clock_boot_id(void);
/* From now on both clocks stand at these values (tests); NULL, NULL gives the real ones back. The values
 * are read at each call, so a test moves time by writing to them. */
void clock_fake(const int64_t *boot_ns, const int64_t *wall_ns);

#endif
