/* cgroup.c - reading the limits of control groups.
 *
 *   /proc/self/cgroup   "0::/a/b"            version 2: one tree under /sys/fs/cgroup
 *                       "4:memory:/a/b"      version 1: one tree for each controller
 *
 *   /sys/fs/cgroup/a/b/memory.max      each level is asked, from the leaf to the root, since a
 *   /sys/fs/cgroup/a/memory.max        parent may be tighter than its child; inside a container
 *   /sys/fs/cgroup/memory.max          the leaf often is not visible and only the root answers
 *
 * What the group uses includes the cache of files it has read. The inactive part of that is
 * given back on demand, so it counts as available.
 */
#include "base/cgroup.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/os.h"
#include "base/str.h"

#define PATH_BYTES_MAX 4096
#define LINES_MAX 64 /* of CGROUP_SELF */

/* One version of the interface to the memory controller. */
typedef struct memory_files {
    const char *controller; /* folder below the root, "" in version 2 */
    const char *limit;
    const char *usage;
    const char *inactive; /* key in memory.stat */
} memory_files;

static const memory_files memory_v2 = {"", "memory.max", "memory.current", "\ninactive_file "};
static const memory_files memory_v1 = {"memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                       "\ntotal_inactive_file "};

/* Where to look: the folder of this process, on its way to the root. */
typedef struct folder {
    char path[PATH_BYTES_MAX];
    size_t root_len; /* where the walk ends */
} folder;

static void memory_read(cgroup_grant *grant, const memory_files *files, folder *f);
static void quota_read_v2(cgroup_grant *grant, folder *f);
static void quota_read_v1(cgroup_grant *grant, folder *f);
static void quota_apply(cgroup_grant *grant, uint64_t quota, uint64_t period);
static bool folder_open(folder *f, const char *self, const char *root, const char *controller);
static bool folder_parent(folder *f);
static bool own_path(const char *self, const char *controller, char *out, size_t out_bytes);
static bool line_parse(str line, str controller, str *path);
static size_t file_read(const folder *f, const char *name, char *out, size_t out_bytes);
static bool number_read(const folder *f, const char *name, uint64_t *out);
static uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }

cgroup_grant cgroup_read(const char *self, const char *root) {
    cgroup_grant grant = {UINT64_MAX, UINT64_MAX, UINT32_MAX};
    folder f;
    if (folder_open(&f, self, root, memory_v2.controller)) {
        memory_read(&grant, &memory_v2, &f);
    }
    if (folder_open(&f, self, root, memory_v1.controller)) {
        memory_read(&grant, &memory_v1, &f);
    }
    if (folder_open(&f, self, root, "")) {
        quota_read_v2(&grant, &f);
    }
    if (folder_open(&f, self, root, "cpu")) {
        quota_read_v1(&grant, &f);
    }
    return grant;
}

static void memory_read(cgroup_grant *grant, const memory_files *files, folder *f) {
    do {
        uint64_t limit = 0;
        uint64_t used = 0;
        /* Version 1 spells "no limit" as a number near 2^63; "max" is no number at all. */
        if (!number_read(f, files->limit, &limit) || limit >= (uint64_t)1 << 62) {
            continue;
        }
        grant->mem_limit_bytes = min_u64(grant->mem_limit_bytes, limit);
        if (!number_read(f, files->usage, &used)) {
            continue;
        }
        char stat[8192];
        const str text = str_from(stat, file_read(f, "memory.stat", stat, sizeof stat));
        const str key = str_from_cstr(files->inactive);
        const size_t at = str_find(text, key, 0);
        uint64_t inactive = 0;
        if (at != SIZE_MAX) {
            const size_t end = str_find(text, STR_LIT("\n"), at + key.len);
            (void)str_parse_u64(str_slice(text, at + key.len, end), &inactive);
        }
        used = used > inactive ? used - inactive : 0;
        grant->mem_available_bytes =
            min_u64(grant->mem_available_bytes, limit > used ? limit - used : 0);
    } while (folder_parent(f));
}

/* One file: "150000 100000", or "max 100000" for no limit. */
static void quota_read_v2(cgroup_grant *grant, folder *f) {
    do {
        char text[64];
        const str all = str_trim(str_from(text, file_read(f, "cpu.max", text, sizeof text)));
        const size_t space = str_find(all, STR_LIT(" "), 0);
        uint64_t quota = 0;
        uint64_t period = 0;
        if (space != SIZE_MAX && str_parse_u64(str_slice(all, 0, space), &quota) &&
            str_parse_u64(str_slice(all, space + 1, all.len), &period)) {
            quota_apply(grant, quota, period);
        }
    } while (folder_parent(f));
}

/* Two files; a quota of -1, which is no unsigned number, is no limit. */
static void quota_read_v1(cgroup_grant *grant, folder *f) {
    do {
        uint64_t quota = 0;
        uint64_t period = 0;
        if (number_read(f, "cpu.cfs_quota_us", &quota) &&
            number_read(f, "cpu.cfs_period_us", &period)) {
            quota_apply(grant, quota, period);
        }
    } while (folder_parent(f));
}

/* Rounded down: a thread more than the quota feeds makes the whole group wait for its period. */
static void quota_apply(cgroup_grant *grant, uint64_t quota, uint64_t period) {
    if (period > 0) {
        const uint64_t cores = quota >= period ? quota / period : 1;
        grant->cores = (uint32_t)min_u64(grant->cores, cores);
    }
}

/* The folder of this process in the tree of a controller; "" is the one tree of version 2. */
static bool folder_open(folder *f, const char *self, const char *root, const char *controller) {
    char own[PATH_BYTES_MAX / 2];
    if (!own_path(self, controller, own, sizeof own)) {
        return false;
    }
    const char *slash = controller[0] != '\0' ? "/" : "";
    const int root_len = snprintf(f->path, sizeof f->path, "%s%s%s", root, slash, controller);
    if (root_len < 0 || (size_t)root_len >= sizeof f->path) {
        return false;
    }
    f->root_len = (size_t)root_len;
    const size_t left = sizeof f->path - f->root_len;
    const int own_len = snprintf(f->path + f->root_len, left, "%s", own);
    return own_len >= 0 && (size_t)own_len < left;
}

/* Cuts the last name off the path; false when it was the root already. */
static bool folder_parent(folder *f) {
    size_t len = strlen(f->path);
    if (len <= f->root_len) {
        return false;
    }
    do {
        len--;
    } while (len > f->root_len && f->path[len] != '/');
    f->path[len] = '\0';
    return true;
}

static bool own_path(const char *self, const char *controller, char *out, size_t out_bytes) {
    char text[PATH_BYTES_MAX];
    str rest = str_from(text, os_read_text(self, text, sizeof text));
    for (int i = 0; i < LINES_MAX && rest.len > 0; i++) {
        const str line = str_slice(rest, 0, str_find(rest, STR_LIT("\n"), 0));
        rest = str_slice(rest, line.len + 1, rest.len);
        str path = {0};
        if (line_parse(line, str_from_cstr(controller), &path) && path.len < out_bytes) {
            /* "/" is the root itself, so that the walk does not ask it twice. */
            const size_t len = path.len > 1 ? path.len : 0;
            memcpy(out, path.data, len);
            out[len] = '\0';
            return true;
        }
    }
    return false;
}

/* "id:controllers:path", if the controller is in the list. */
static bool line_parse(str line, str controller, str *path) {
    const size_t first = str_find(line, STR_LIT(":"), 0);
    if (first == SIZE_MAX) {
        return false;
    }
    const size_t second = str_find(line, STR_LIT(":"), first + 1);
    if (second == SIZE_MAX || second + 1 == line.len) {
        return false;
    }
    *path = str_slice(line, second + 1, line.len);
    str list = str_slice(line, first + 1, second);
    if (controller.len == 0) {
        return list.len == 0;
    }
    while (list.len > 0) {
        const str name = str_slice(list, 0, str_find(list, STR_LIT(","), 0));
        if (str_eq(name, controller)) {
            return true;
        }
        list = str_slice(list, name.len + 1, list.len);
    }
    return false;
}

static size_t file_read(const folder *f, const char *name, char *out, size_t out_bytes) {
    char path[PATH_BYTES_MAX + 64];
    out[0] = '\0';
    const int n = snprintf(path, sizeof path, "%s/%s", f->path, name);
    if (n < 0 || (size_t)n >= sizeof path) {
        return 0;
    }
    return os_read_text(path, out, out_bytes);
}

static bool number_read(const folder *f, const char *name, uint64_t *out) {
    char text[64];
    const size_t len = file_read(f, name, text, sizeof text);
    return str_parse_u64(str_trim(str_from(text, len)), out);
}
