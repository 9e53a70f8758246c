/* relays.json.journal: what has changed since relays.json was written, where writing all of it takes long. A
 * line for each change, in order:
 *
 *   {"relays":[as in relays.json, ...],"gone":[name, ...]}
 *
 * A relay is there with all that is known of it, so reading a line twice, or one whose change is in the file
 * already, changes nothing: the file may be written anew at any time, and the journal be dropped afterwards.
 * Each line is synced before anybody is told of it. So a last one that is not whole was told to nobody, and
 * is left out; anything else that can't be read is an error. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/air/roster_internal.h"

#define JOURNAL_MAX (4u << 20) /* then all is written */
#define LINE_MAX    (1u << 20)
#define DIRTY_MAX   256 /* rows of a line */

/* Reading */

static void drop_name(struct roster *roster, const char *name)
{
    for (size_t i = 0; i < roster->count; i++) {
        struct roster_row *row = roster->rows[i];
        if (strcmp(row->entry.terms.name, name) != 0) continue;
        memmove(roster->rows + i, roster->rows + i + 1, (roster->count - i - 1) * sizeof *roster->rows);
        roster->count--;
        roster_row_free(roster, row);
        return;
    }
}

static int take_relay(struct roster *roster, const json_t *one, char **cause)
{
    struct roster_entry entry = {0};
    if (roster_entry_read(one, &entry, cause)) {
        free(entry.url);
        return -1;
    }
    struct roster_row *row = (struct roster_row *)(uintptr_t)roster_find(roster, entry.terms.name);
    if (!row) {
        row = xcalloc(1, sizeof *row);
        row->entry = entry;
        if (roster_row_add(roster, row)) {
            roster_row_free(roster, row);
            return cause_set(cause, "there may be %d relays", ROSTER_MAX);
        }
    } else {
        free(row->entry.url);
        row->entry = entry;
    }
    roster_row_link(roster, row);
    return 0;
}

static int take_line(struct roster *roster, const char *text, size_t len, char **cause)
{
    const json_t *one;
    size_t i;
    json_t *line = json_parse(text, len, LINE_MAX, cause);
    const json_t *relays = json_object_get(line, "relays"), *gone = json_object_get(line, "gone");
    int result = line ? 0 : -1;
    if (line && (!json_is_array(relays) || !json_is_array(gone) || json_object_size(line) != 2))
        result = cause_set(cause, "must be an object of relays and gone, and nothing else");
    json_array_foreach(gone, i, one)
    {
        if (!result) drop_name(roster, json_is_string(one) ? json_string_value(one) : "");
    }
    json_array_foreach(relays, i, one)
    {
        if (!result) result = take_relay(roster, one, cause);
    }
    json_decref(line);
    return result;
}

int roster_journal_read(struct roster *roster, char **cause)
{
    size_t len = 0, at = 0;
    unsigned number = 1;
    char *why = NULL, *text = roster_read_text(roster->journal, &len, &why);
    for (const char *end; text && at < len && !why; at = (size_t)(end - text) + 1, number++) {
        end = memchr(text + at, '\n', len - at);
        /* a line whose bytes did not all reach the disk has none of its own there, or zeros */
        int last = !end || (size_t)(end - text) + 1 == len;
        if (!end || (last && memchr(text + at, '\0', len - at))) {
            log_warn("roster", "%s: its last line is not whole: the change was not finished",
                     roster->journal);
            break;
        }
        if (!take_line(roster, text + at, (size_t)(end - text) - at, &why)) continue;
        cause_set(cause, "%s: line %u: %s", roster->journal, number, why);
    }
    if (why && !text) cause_set(cause, "%s", why);
    int result = why ? -1 : text != NULL;
    free(why);
    free(text);
    if (result > 0) roster->journal_len = len ? len : 1;
    return result;
}

/* Writing */

int roster_save_all(struct roster *roster, char **cause)
{
    if (roster_file_write(roster, cause)) return -1;
    /* what it says is older: it must not come back once this change was told to somebody */
    if (unlink(roster->journal) == 0)
        roster_sync_folder(roster->journal);
    else if (errno != ENOENT)
        return cause_set(cause, "%s: can't be removed: %s", roster->journal, strerror(errno));
    roster->journal_len = 0;
    roster->waiting = 0;
    for (size_t i = 0; i < roster->count; i++)
        roster->rows[i]->dirty = 0;
    return 0;
}

static int write_all(int fd, const char *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, bytes + at, len - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        at += (size_t)n;
    }
    return fdatasync(fd);
}

/* 0; 1 when the journal is not as this process left it; -1 with *cause, and it is as before. */
static int append(struct roster *roster, const char *bytes, size_t len, char **cause)
{
    struct stat st;
    int result = 0,
        fd = open(roster->journal,
                  O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | (roster->journal_len ? 0 : O_CREAT), 0600);
    if (fd < 0 || fstat(fd, &st)) {
        result = roster->journal_len && errno == ENOENT ? 1 : -1;
    } else if ((size_t)st.st_size != roster->journal_len) {
        result = 1;
    } else if (write_all(fd, bytes, len)) {
        result = -1;
        int error = errno;
        /* what is left there counts as not whole */
        if (ftruncate(fd, st.st_size)) log_warn("roster", "%s: %s", roster->journal, strerror(errno));
        errno = error;
    }
    if (result < 0) cause_set(cause, "%s: can't be written: %s", roster->journal, strerror(errno));
    if (fd >= 0) close(fd);
    if (result) return result;
    if (!roster->journal_len) roster_sync_folder(roster->journal);
    roster->journal_len += len;
    return 0;
}

/* Consumes both. */
static int save(struct roster *roster, json_t *relays, json_t *gone, char **cause)
{
    json_t *line = json_pack("{s:o,s:o}", "relays", relays, "gone", gone);
    char *text = json_text(line);
    size_t len = strlen(text);
    text[len] = '\n'; /* in place of the end */
    int result = append(roster, text, len + 1, cause);
    free(text);
    json_decref(line);
    return result > 0 ? roster_save_all(roster, cause) : result;
}

static int all_at_once(const struct roster *roster)
{
    return roster->count <= ROSTER_WHOLE || roster->journal_len > JOURNAL_MAX;
}

int roster_save(struct roster *roster, struct roster_row *row, const char *gone, char **cause)
{
    if (all_at_once(roster)) return roster_save_all(roster, cause);
    json_t *relays = json_array(), *names = json_array();
    if (row) json_array_append_new(relays, roster_entry_json(&row->entry));
    if (gone) json_array_append_new(names, json_string(gone));
    if (save(roster, relays, names, cause)) return -1;
    if (row) row->dirty = 0;
    return 0;
}

int roster_save_dirty(struct roster *roster, char **cause)
{
    if (all_at_once(roster)) return roster_save_all(roster, cause);
    json_t *relays = json_array();
    size_t i = 0;
    for (; i < roster->count && json_array_size(relays) < DIRTY_MAX; i++) {
        if (roster->rows[i]->dirty) json_array_append_new(relays, roster_entry_json(&roster->rows[i]->entry));
    }
    if (json_array_size(relays) == 0) {
        json_decref(relays);
        roster->waiting = 0;
        return 0;
    }
    if (save(roster, relays, json_array(), cause)) return -1;
    if (!roster->waiting) return 0; /* all was written */
    for (size_t k = 0; k < i; k++)
        roster->rows[k]->dirty = 0;
    roster->waiting = i < roster->count;
    return 0;
}
