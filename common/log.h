/* log: one line per event to standard error.
 *
 * A line reads `LEVEL subsystem: text`, with `<n>` in front (sd-daemon priorities) when standard error is
 * the journal, and with a UTC time in front otherwise. Control characters in the text are escaped, so that
 * a tag or a request can't forge a line. Nothing here rotates: the supervisor of the program keeps logs. */
#ifndef FOREVER_COMMON_LOG_H
#define FOREVER_COMMON_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* program: static string put into each line (`root`, `relay`, `studio`, ...). */
void log_init(const char *program, enum log_level level);
void log_set_level(enum log_level level);
/* -1 when the name is none of error, warn, info, debug. */
int log_level_parse(const char *name, enum log_level *out);
const char *log_level_name(enum log_level level);

#define LOG_PRINTF __attribute__((format(printf, 2, 3)))
void log_error(const char *subsystem, const char *format, ...) LOG_PRINTF;
void log_warn(const char *subsystem, const char *format, ...) LOG_PRINTF;
void log_info(const char *subsystem, const char *format, ...) LOG_PRINTF;
void log_debug(const char *subsystem, const char *format, ...) LOG_PRINTF;

#endif
