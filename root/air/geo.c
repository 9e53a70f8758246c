#include "root/air/geo.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <maxminddb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/net.h"

/* Whose listeners are counted; Antarctica's are nobody's neighbours. */
static const char *const continents[] = {"af", "as", "eu", "na", "oc", "sa", "unknown"};
#define CONTINENTS (sizeof continents / sizeof *continents)
#define UNKNOWN    (CONTINENTS - 1)

struct geo {
    char *path;
    MMDB_s database;
    uint64_t joins[CONTINENTS];
};

static int copy(int from, int to, const char *path, char **cause)
{
    char piece[1 << 16];
    for (off_t all = 0;;) {
        ssize_t n = read(from, piece, sizeof piece);
        if (n < 0) return cause_set(cause, "%s: %s", path, strerror(errno));
        if (n == 0) return 0;
        if ((all += n) > GEO_BYTES_MAX)
            return cause_set(cause, "%s: a database has at most %ld MB", path, GEO_BYTES_MAX >> 20);
        if (write(to, piece, (size_t)n) != n) return cause_set(cause, "%s: no memory for it", path);
    }
}

static int check(const MMDB_s *database, const char *path, char **cause)
{
    const char *type = database->metadata.database_type;
    if (!type || (!strstr(type, "City") && !strstr(type, "Country") && !strstr(type, "Enterprise")))
        return cause_set(cause, "%s: a database of type \"%.40s\"; one of type City or Country is needed",
                         path, type ? type : "");
    return 0;
}

static int load(const char *path, MMDB_s *database, char **cause)
{
    char name[32];
    struct stat st;
    int result = -1, from = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), to = -1;
    if (from < 0) return cause_set(cause, "%s: %s", path, strerror(errno));
    if (fstat(from, &st) || !S_ISREG(st.st_mode)) {
        cause_set(cause, "%s: not a file", path);
    } else if ((to = memfd_create("geo", MFD_CLOEXEC)) < 0) {
        cause_set(cause, "%s: %s", path, strerror(errno));
    } else if (!copy(from, to, path, cause)) {
        snprintf(name, sizeof name, "/proc/self/fd/%d", to);
        int status = MMDB_open(name, MMDB_MODE_MMAP, database);
        if (status != MMDB_SUCCESS) {
            cause_set(cause, "%s: not a database in MaxMind's format: %s", path, MMDB_strerror(status));
        } else {
            result = check(database, path, cause);
            if (result) MMDB_close(database);
        }
    }
    if (to >= 0) close(to);
    close(from);
    return result;
}

struct geo *geo_open(const char *path, char **cause)
{
    MMDB_s database;
    if (load(path, &database, cause)) return NULL;
    struct geo *geo = xcalloc(1, sizeof *geo);
    geo->path = xstrdup(path);
    geo->database = database;
    return geo;
}

int geo_reload(struct geo *geo, char **cause)
{
    MMDB_s database;
    if (load(geo->path, &database, cause)) return -1;
    MMDB_close(&geo->database);
    geo->database = database;
    return 0;
}

void geo_close(struct geo *geo)
{
    if (!geo) return;
    MMDB_close(&geo->database);
    free(geo->path);
    free(geo);
}

/* Two letters, in lower case. 0, or -1 when the database does not say. */
static int two_letters(MMDB_lookup_result_s *found, const char *object, const char *member, char out[3])
{
    const char *const way[] = {object, member, NULL};
    MMDB_entry_data_s data;
    if (MMDB_aget_value(&found->entry, &data, way) != MMDB_SUCCESS || !data.has_data ||
        data.type != MMDB_DATA_TYPE_UTF8_STRING || data.data_size != 2)
        return -1;
    for (int i = 0; i < 2; i++) {
        out[i] = (char)tolower((unsigned char)data.utf8_string[i]);
        if (out[i] < 'a' || out[i] > 'z') return -1;
    }
    out[2] = '\0';
    return 0;
}

static size_t continent_of(const char *region)
{
    for (size_t i = 0; i < UNKNOWN; i++) {
        if (!strncmp(region, continents[i], 2)) return i;
    }
    return UNKNOWN;
}

const char *geo_region(const struct geo *geo, const struct net_addr *addr, char out[GEO_REGION_MAX])
{
    char continent[3], country[3];
    int error = 0;
    MMDB_lookup_result_s found;
    *out = '\0';
    if (!geo) return out;
    if (net_addr_is_v4(addr)) {
        struct sockaddr_in four = {.sin_family = AF_INET};
        memcpy(&four.sin_addr, addr->bytes + 12, 4);
        found = MMDB_lookup_sockaddr(&geo->database, (const struct sockaddr *)&four, &error);
    } else {
        struct sockaddr_in6 six = {.sin6_family = AF_INET6};
        memcpy(&six.sin6_addr, addr->bytes, 16);
        found = MMDB_lookup_sockaddr(&geo->database, (const struct sockaddr *)&six, &error);
    }
    /* an IPv4 database has no answer for IPv6, a damaged one for some: nobody waits for that */
    if (error || !found.found_entry || two_letters(&found, "continent", "code", continent)) return out;
    if (continent_of(continent) == UNKNOWN) return out;
    int known = !two_letters(&found, "country", "iso_code", country) ||
                !two_letters(&found, "registered_country", "iso_code", country);
    snprintf(out, GEO_REGION_MAX, "%s%s%s", continent, known ? "-" : "", known ? country : "");
    return out;
}

void geo_count(struct geo *geo, const char *region)
{
    if (geo) geo->joins[continent_of(region)]++;
}

json_t *geo_json(const struct geo *geo)
{
    if (!geo) return json_null();
    json_t *joins = json_object();
    for (size_t i = 0; i < CONTINENTS; i++)
        json_object_set_new(joins, continents[i], json_integer((json_int_t)geo->joins[i]));
    return json_pack("{s:o,s:I,s:o}", "database", json_text_lossy(geo->database.metadata.database_type),
                     "built_at", (json_int_t)geo->database.metadata.build_epoch, "joins", joins);
}
