/* analyse tool: `forever-root analyse [--json] [--draw PICTURE] FILE...`: the station's own ears, on any
 * files. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"
#include "root/work/draw.h"
#include "root/work/examine.h"
#include "root/work/work.h"

static const char help[] =
    "usage: forever-root analyse [--json] [--draw PICTURE.svg] FILE...\n"
    "\n"
    "Hears each file as the station would and prints what it found.\n"
    "\n"
    "  --json   one JSON object a line: file, duration_s, tempo_bpm, tempo_confidence,\n"
    "           beats_s, downbeats_s, metre, regions, bars, key, camelot,\n"
    "           loudness_lufs, true_peak_dbtp, energy, danceability, sections,\n"
    "           tags and more (docs/API.md); what is not known is absent;\n"
    "           {\"file\",\"error\"} for a file that can't be heard\n"
    "  --draw PICTURE.svg\n"
    "           a picture of it as well (docs/ANALYSIS.md), of one FILE\n"
    "  --help   this text\n"
    "  --       what follows are files, even when it begins with -\n"
    "\n"
    "Exit status: 0; 64 on wrong usage; 65 when a file could not be analysed (the others\n"
    "were); 74 when the result could not be written.\n";

static int open_file(const char *path, char **cause)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return cause_set(cause, "it can't be opened: %s", strerror(errno));
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        close(fd);
        return cause_set(cause, "it is no regular file");
    }
    return fd;
}

static void print_line(json_t *object)
{
    char *text = json_text(object);
    json_decref(object);
    puts(text);
    free(text);
    fflush(stdout);
}

/* A path need not be UTF-8; JSON must be. */
static json_t *path_json(const char *path)
{
    json_t *text = json_string(path);
    if (text) return text;
    char *plain = xstrdup(path);
    for (char *p = plain; *p; p++) {
        if ((unsigned char)*p >= 0x80) *p = '?';
    }
    text = json_string(plain);
    free(plain);
    return text;
}

static void print_json(const char *path, const struct track *track)
{
    json_t *object = json_object(), *features = features_to_json(&track->features);
    json_object_set_new(object, "file", path_json(path));
    json_object_update(object, features);
    json_object_set_new(object, "tags", tags_to_json(&track->tags));
    json_object_set_new(object, "hash", json_string(track->hash));
    json_decref(features);
    print_line(object);
}

static void print_number(const char *name, double value, const char *unit, int digits)
{
    if (!isnan(value)) printf("  %-12s %.*f%s%s\n", name, digits, value, *unit ? " " : "", unit);
}

static void print_text(const char *path, const struct track *track)
{
    const struct features *f = &track->features;
    printf("%s\n", path);
    if (track->tags.artist) printf("  %-12s %s\n", "artist", track->tags.artist);
    if (track->tags.title) printf("  %-12s %s\n", "title", track->tags.title);
    print_number("duration", f->duration_s, "s", 2);
    print_number("tempo", f->tempo_bpm, "BPM", 3);
    print_number("confidence", f->tempo_confidence, "", 2);
    if (f->metre)
        printf("  %-12s %zu, %d to a bar, %zu bars\n", "beats", f->beat_count, f->metre, f->downbeat_count);
    if (f->region_count > 1) printf("  %-12s %zu regions of one tempo each\n", "", f->region_count);
    if (f->phrase_bar >= 0)
        printf("  %-12s of 8 bars from bar %d on, confidence %.2f\n", "phrases", f->phrase_bar + 1,
               f->phrase_confidence);
    if (f->key >= 0) printf("  %-12s %s (%s)\n", "key", key_name(f->key), key_camelot(f->key));
    print_number("loudness", f->loudness_lufs, "LUFS", 1);
    print_number("range", f->loudness_range_lu, "LU", 1);
    print_number("loud part", f->loud_part_lufs, "LUFS", 1);
    print_number("true peak", f->true_peak_dbtp, "dBTP", 1);
    if (!isnan(f->music_start_s))
        printf("  %-12s %.2f to %.2f s\n", "music", f->music_start_s, f->music_end_s);
    print_number("fades in to", f->fade_in_s, "s", 1);
    print_number("fades out at", f->fade_out_s, "s", 1);
    print_number("energy", f->energy, "", 2);
    print_number("danceability", f->danceability, "", 2);
    print_number("onsets", f->onset_density, "a second", 1);
    print_number("vocal", f->vocal, "", 2);
    if (f->colour_count) printf("  %-12s", "cover");
    for (size_t i = 0; i < f->colour_count; i++)
        printf(" #%06x", (unsigned)f->colours[i]);
    if (f->colour_count) printf("\n");
    for (size_t i = 0; i < f->section_count; i++) {
        const struct section *s = &f->sections[i];
        printf("  %-12s %8.2f to %8.2f s  %s\n", i ? "" : "sections", s->start_s, s->end_s, s->label);
    }
    fflush(stdout);
}

static void complain(const char *path, int as_json, const char *cause)
{
    if (as_json) {
        print_line(json_pack("{s:o,s:s}", "file", path_json(path), "error", cause));
    } else {
        fprintf(stderr, "forever-root analyse: %s: %s\n", path, cause);
    }
}

/* picture: NULL for none. An exit status. */
static int analyse_one(const char *path, int as_json, const char *picture)
{
    struct track track;
    struct examine_pictures pictures;
    char *cause = NULL;
    int fd = open_file(path, &cause), code = 0;
    if (fd < 0 || examine_file(fd, path, &track, picture ? &pictures : NULL, &cause)) {
        complain(path, as_json, cause);
        free(cause);
        return EX_DATAERR;
    }
    if (as_json) {
        print_json(path, &track);
    } else {
        print_text(path, &track);
    }
    if (picture) {
        if (draw_track(picture, path, &track, &pictures, &cause)) {
            fprintf(stderr, "forever-root analyse: %s\n", cause);
            free(cause);
            code = EX_IOERR;
        }
        examine_pictures_free(&pictures);
    }
    track_free(&track);
    return code;
}

/* Moves *at past the options. -1 to go on, else an exit status. */
static int take_options(int argc, char **argv, int *at, int *as_json, const char **picture)
{
    for (; *at < argc && argv[*at][0] == '-' && argv[*at][1]; ++*at) {
        if (!strcmp(argv[*at], "--")) {
            ++*at;
            break;
        } else if (!strcmp(argv[*at], "--json")) {
            *as_json = 1;
        } else if (!strcmp(argv[*at], "--draw") && *at + 1 < argc) {
            *picture = argv[++*at];
        } else if (!strcmp(argv[*at], "--help")) {
            fputs(help, stdout);
            return 0;
        } else {
            fprintf(stderr, "forever-root analyse: unknown option %s (--json, --draw PICTURE.svg, --help)\n",
                    argv[*at]);
            return EX_USAGE;
        }
    }
    if (*at >= argc) {
        fprintf(stderr, "forever-root analyse: no file given\n%s", help);
        return EX_USAGE;
    }
    if (*picture && argc - *at > 1) {
        fputs("forever-root analyse: --draw takes one file\n", stderr);
        return EX_USAGE;
    }
    return -1;
}

int tool_analyse(int argc, char **argv)
{
    const char *picture = NULL;
    int as_json = 0, at = 1, failed = 0, code = take_options(argc, argv, &at, &as_json, &picture);
    if (code >= 0) return code;
    for (; at < argc; at++) {
        code = analyse_one(argv[at], as_json, picture);
        if (code == EX_IOERR || ferror(stdout)) return EX_IOERR;
        if (code) failed = code;
    }
    return failed;
}
