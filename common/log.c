#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *log_program = "forever";
static enum log_level log_threshold = LOG_LEVEL_INFO;
static int log_to_journal;

static const struct {
    const char *name, *label;
    int priority; /* syslog's */
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", "ERROR", 3},
    [LOG_LEVEL_WARN] = {"warn", "WARN", 4},
    [LOG_LEVEL_INFO] = {"info", "INFO", 6},
    [LOG_LEVEL_DEBUG] = {"debug", "DEBUG", 7},
};

void log_init(const char *program, enum log_level level)
{
    log_program = program;
    log_threshold = level;
    /* systemd's word for "standard error is the journal": its device and inode (systemd.exec(5)) */
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;
    log_to_journal = stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
                     !fstat(STDERR_FILENO, &st) && st.st_dev == device && st.st_ino == inode;
}

void log_set_level(enum log_level level)
{
    log_threshold = level;
}

int log_level_parse(const char *name, enum log_level *out)
{
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (!strcmp(name, levels[i].name)) {
            *out = (enum log_level)i;
            return 0;
        }
    }
    return -1;
}

const char *log_level_name(enum log_level level)
{
    return levels[level].name;
}

/* Escapes control characters; bytes from 0x80 up pass (UTF-8). */
static size_t escape(char *out, size_t size, const char *in)
{
    size_t n = 0;
    for (; *in && n + 5 < size; in++) {
        unsigned char c = (unsigned char)*in;
        if (c < 0x20 || c == 0x7f)
            n += (size_t)snprintf(out + n, size - n, "\\x%02x", c);
        else
            out[n++] = (char)c;
    }
    out[n] = '\0';
    return n;
}

__attribute__((format(printf, 3, 0))) static void log_line(enum log_level level, const char *subsystem,
                                                           const char *format, va_list ap)
{
    if (level > log_threshold) return;
    char text[1600], safe[2400], line[2700];
    vsnprintf(text, sizeof text, format, ap);
    escape(safe, sizeof safe, text);
    int n;
    if (log_to_journal) {
        n = snprintf(line, sizeof line, "<%d>%s %s: %s\n", levels[level].priority, log_program, subsystem,
                     safe);
    } else {
        struct timespec now;
        struct tm tm;
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &tm);
        n = snprintf(line, sizeof line, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s %s %s: %s\n",
                     tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                     now.tv_nsec / 1000000, levels[level].label, log_program, subsystem, safe);
    }
    /* one write per line: lines of several processes don't interleave */
    if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0) return;
}

#define LOG_FUNCTION(name, level)                                                                            \
    void name(const char *subsystem, const char *format, ...)                                                \
    {                                                                                                        \
        va_list ap;                                                                                          \
        va_start(ap, format);                                                                                \
        log_line(level, subsystem, format, ap);                                                              \
        va_end(ap);                                                                                          \
    }
LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
