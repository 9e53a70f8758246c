/* mix_options: what an operator may set about the mix, for the offline tools' option tables; the station's
 * own (root/air/options.c) has the same. */
#ifndef FOREVER_ROOT_WORK_MIX_OPTIONS_H
#define FOREVER_ROOT_WORK_MIX_OPTIONS_H
#include "common/conf.h"
#include "root/mix/plan.h"

/* Rows for a struct with a struct plan_conf called `member`. */
#define MIX_OPTIONS(type, member)                                                                            \
    {"target-lufs", CONF_REAL, offsetof(type, member.target_lufs), "-16", -30, -8,                           \
     NULL,          "LUFS",    "loudness of the programme",        NULL},                                    \
        {"max-tempo-change",                                                                                 \
         CONF_REAL,                                                                                          \
         offsetof(type, member.max_tempo_change_pct),                                                        \
         "6",                                                                                                \
         0,                                                                                                  \
         8,                                                                                                  \
         NULL,                                                                                               \
         "PERCENT",                                                                                          \
         "tracks whose tempi differ by more are joined without matching their beats",                        \
         NULL},                                                                                              \
    {                                                                                                        \
        "min-play", CONF_REAL, offsetof(type, member.min_play_pct), NULL, 0, 95, NULL, "PERCENT",            \
            "how much of a track plays at least; 0 stands for 60, and a minute of what is longer than 90 s", \
            NULL                                                                                             \
    }

#endif
