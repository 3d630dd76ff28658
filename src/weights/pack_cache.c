/* pack_cache.c - a folder of checked, bounded, replaceable files.
 *
 * Reading: the footer is compared field by field, then every megabyte of the image is summed on all
 * threads and the sum of sums compared with the footer's. That reads the whole image once, at the
 * speed of memory, and brings its pages in, which the first token would have to wait for anyway. A
 * file that was used gets a new time, which is what the order of eviction goes by.
 *
 * Writing: a thread of low priority sums the image, makes room, writes a file of its own name,
 * forces it to disk and renames it. Two processes may write the same key at once: each has its own
 * temporary file, both are whole, the later rename wins. Temporary files that a killed process left
 * are removed when they are an hour old. The image comes first and is written in large aligned
 * steps: the system then caches it in huge pages and maps them as such. With small pages decoding
 * a model of 800 MB took 1.2 times as long.
 *
 * A file is never changed in place, so a mapping of a file that was evicted or replaced stays
 * valid.
 */
#include "weights/pack_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/checksum.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/os.h"

#define MAGIC 0x314b434150544657u /* "WFTPACK1" */
#define CHUNK_BYTES ((uint64_t)1 << 20)
#define FILES_MAX 4096u /* looked at in the folder */
#define PATH_BYTES_MAX 4096u
#define NAME_BYTES 39u        /* two numbers, a dash, the suffix, a zero */
#define PART_SECONDS_MAX 3600 /* a temporary file as old as this has no writer any more */

/* The last bytes of a file, behind the image. */
typedef struct footer {
    uint64_t magic;
    uint64_t key_model, key_layout;
    uint64_t order;
    uint64_t image_bytes;
    uint64_t image_sum;
    uint64_t footer_sum; /* of what stands above */
} footer;

struct pack_cache_writer {
    pthread_t thread;
    char *dir, *path;
    uint64_t bytes_max;
    footer foot;
    const uint8_t *data;
};

static uint64_t footer_sum(const footer *f) {
    return checksum(f, offsetof(footer, footer_sum), MAGIC);
}

char *pack_cache_path(const pack_cache *c, pack_cache_key key) {
    const size_t len = strlen(c->dir) + 64;
    char *path = mem_array(MEM_WEIGHTS, len, 1);
    if (path != NULL) {
        snprintf(path, len, "%s/%016" PRIx64 "-%016" PRIx64 ".pack", c->dir, key.model, key.layout);
    }
    return path;
}

/* ---- sums ---- */

typedef struct sum_job {
    const uint8_t *data;
    uint64_t bytes;
    uint64_t *sums; /* [chunks] */
} sum_job;

static uint64_t chunk_count(uint64_t bytes) {
    return bytes / CHUNK_BYTES + (bytes % CHUNK_BYTES != 0);
}

static void sum_task(void *arg, uint32_t task, uint32_t thread) {
    const sum_job *job = arg;
    (void)thread;
    const uint64_t from = task * CHUNK_BYTES;
    const uint64_t left = job->bytes - from;
    job->sums[task] = checksum(job->data + from, left < CHUNK_BYTES ? left : CHUNK_BYTES, task);
}

/* The sum of the chunks' sums: the same whoever computes which. p NULL: on this thread. */
static bool sum_image(uint64_t *out, const uint8_t *data, uint64_t bytes, pool *p) {
    const uint64_t n = chunk_count(bytes);
    uint64_t *sums = n <= UINT32_MAX ? mem_array(MEM_WEIGHTS, n, sizeof *sums) : NULL;
    if (sums == NULL) {
        return false;
    }
    sum_job job = {data, bytes, sums};
    if (p != NULL) {
        pool_run(p, sum_task, &job, (uint32_t)n);
    } else {
        for (uint32_t i = 0; i < n; i++) {
            sum_task(&job, i, 0);
        }
    }
    *out = checksum(sums, n * sizeof *sums, n);
    mem_free(sums);
    return true;
}

/* ---- reading ---- */

/* What is wrong with a mapped file, or NULL. */
static const char *fault_of(const os_mapping *map, pack_cache_key key, uint64_t bytes, pool *p,
                            footer *out) {
    if (map->len < sizeof *out) {
        return "it is too short";
    }
    memcpy(out, map->data + map->len - sizeof *out, sizeof *out);
    if (out->magic != MAGIC || out->footer_sum != footer_sum(out)) {
        return "it does not end as such a file does";
    }
    if (out->key_model != key.model || out->key_layout != key.layout) {
        return "it belongs to another model";
    }
    if (out->image_bytes != bytes || map->len - sizeof *out != bytes) {
        return "its size is wrong";
    }
    uint64_t sum = 0;
    if (!sum_image(&sum, map->data, bytes, p)) {
        return "there is no memory to check it";
    }
    return sum == out->image_sum ? NULL : "its checksum is wrong";
}

bool pack_cache_try_map(pack_cache_image *out, const pack_cache *c, pack_cache_key key,
                        uint64_t bytes) {
    *out = (pack_cache_image){0};
    char *path = pack_cache_path(c, key);
    os_mapping map = {0};
    if (path == NULL || os_map_file(&map, path, NULL) != WEFT_OK) {
        mem_free(path);
        return false;
    }
    footer f = {0};
    os_mapping_want(&map, 0, map.len);
    const char *fault = fault_of(&map, key, bytes, c->pool, &f);
    if (fault != NULL) {
        LOG_WARN("%s: not used and written anew, because %s", path, fault);
        os_unmap_file(&map);
    } else {
        (void)utimensat(AT_FDCWD, path, NULL, 0);
        *out = (pack_cache_image){map, map.data, bytes, f.order};
    }
    mem_free(path);
    return fault == NULL;
}

void pack_cache_unmap(pack_cache_image *image) {
    os_unmap_file(&image->map);
    *image = (pack_cache_image){0};
}

/* ---- room ---- */

static bool make_dirs(const char *dir) {
    char path[PATH_BYTES_MAX];
    const size_t len = strlen(dir);
    if (len == 0 || len >= sizeof path) {
        return false;
    }
    memcpy(path, dir, len + 1);
    for (size_t i = 1; i < len; i++) {
        if (path[i] == '/') {
            path[i] = '\0';
            (void)mkdir(path, 0777);
            path[i] = '/';
        }
    }
    return mkdir(path, 0777) == 0 || errno == EEXIST;
}

typedef struct cached_file {
    char name[NAME_BYTES];
    uint64_t bytes;
    int64_t used_s;
} cached_file;

static size_t hex_len(const char *s) { return strspn(s, "0123456789abcdef"); }

/* Only names as they are given here: whatever else lies in the folder is somebody else's. */
static bool is_pack_name(const char *file) {
    return hex_len(file) == 16 && file[16] == '-' && hex_len(file + 17) == 16 &&
           strcmp(file + 33, ".pack") == 0;
}

static bool is_part_name(const char *file) {
    return hex_len(file) == 8 && strcmp(file + 8, ".part") == 0;
}

/* The cache's files in a folder; removes temporary files that nobody writes any more. */
static size_t list_files(const char *dir, cached_file *files) {
    size_t n = 0;
    DIR *d = opendir(dir);
    if (d == NULL) {
        return 0;
    }
    for (const struct dirent *e = readdir(d); e != NULL && n < FILES_MAX; e = readdir(d)) {
        struct stat st;
        const bool is_part = is_part_name(e->d_name);
        if ((!is_part && !is_pack_name(e->d_name)) ||
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) {
            continue;
        }
        if (is_part) {
            if (time(NULL) - st.st_mtime > PART_SECONDS_MAX) {
                (void)unlinkat(dirfd(d), e->d_name, 0);
            }
            continue;
        }
        memcpy(files[n].name, e->d_name, sizeof files[n].name);
        files[n].bytes = (uint64_t)st.st_size;
        files[n].used_s = (int64_t)st.st_mtime;
        n++;
    }
    (void)closedir(d);
    return n;
}

static void remove_oldest(const char *dir, cached_file *files, size_t *n) {
    size_t oldest = 0;
    for (size_t i = 1; i < *n; i++) {
        oldest = files[i].used_s < files[oldest].used_s ? i : oldest;
    }
    char path[PATH_BYTES_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, files[oldest].name);
    if (unlink(path) == 0) {
        LOG_INFO("%s: removed, the cache of packed weights is full", path);
    }
    files[oldest] = files[--*n];
}

/* Evicts until `bytes` more fit. False when they never will, or the disk is nearly full. */
static bool make_room(const char *dir, uint64_t bytes, uint64_t bytes_max) {
    cached_file *files =
        bytes <= bytes_max ? mem_array(MEM_WEIGHTS, FILES_MAX, sizeof *files) : NULL;
    if (files == NULL) {
        return false;
    }
    size_t n = list_files(dir, files);
    uint64_t used = 0;
    for (size_t i = 0; i < n; i++) {
        used += files[i].bytes;
    }
    while (n > 0 && used > bytes_max - bytes) {
        remove_oldest(dir, files, &n);
        used = 0;
        for (size_t i = 0; i < n; i++) {
            used += files[i].bytes;
        }
    }
    mem_free(files);
    struct statvfs fs;
    return statvfs(dir, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize / 2 >= bytes;
}

/* ---- writing ---- */

static bool write_file(const char *part, const footer *f, const uint8_t *data) {
    const int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        return false;
    }
    const bool is_written =
        os_write_all(fd, data, f->image_bytes) && os_write_all(fd, f, sizeof *f) && fsync(fd) == 0;
    return close(fd) == 0 && is_written;
}

static void write_whole(pack_cache_writer *w) {
    char part[PATH_BYTES_MAX];
    const uint64_t file_bytes = w->foot.image_bytes + sizeof w->foot;
    snprintf(part, sizeof part, "%s/%08x.part", w->dir, (unsigned)(os_random_u64() & UINT32_MAX));
    if (!make_dirs(w->dir)) {
        LOG_WARN("%s: cannot make this folder: %s; packed weights are not kept", w->dir,
                 strerror(errno));
        return;
    }
    if (!make_room(w->dir, file_bytes, w->bytes_max)) {
        LOG_INFO("%s: no room for %" PRIu64 " bytes of packed weights", w->dir, file_bytes);
        return;
    }
    if (!sum_image(&w->foot.image_sum, w->data, w->foot.image_bytes, NULL)) {
        return;
    }
    w->foot.footer_sum = footer_sum(&w->foot);
    if (!write_file(part, &w->foot, w->data) || rename(part, w->path) != 0) {
        LOG_WARN("%s: cannot write it: %s; packed weights are not kept", w->path, strerror(errno));
        (void)unlink(part);
    }
}

static void *write_main(void *arg) {
    os_thread_name("weft-pack");
    os_thread_yield_to_others();
    write_whole(arg);
    return NULL;
}

static void writer_free(pack_cache_writer *w) {
    mem_free(w->dir);
    mem_free(w->path);
    mem_free(w);
}

void pack_cache_write_start(pack_cache_writer **out, const pack_cache *c, pack_cache_key key,
                            uint64_t order, const void *data, uint64_t bytes) {
    *out = NULL;
    if (bytes < c->bytes_min || bytes > c->bytes_max || strlen(c->dir) > PATH_BYTES_MAX - 128) {
        return;
    }
    pack_cache_writer *w = mem_zalloc(MEM_WEIGHTS, 1, sizeof *w);
    if (w == NULL) {
        return;
    }
    w->dir = mem_strndup(MEM_WEIGHTS, c->dir, strlen(c->dir));
    w->path = pack_cache_path(c, key);
    w->bytes_max = c->bytes_max;
    w->data = data;
    w->foot = (footer){.magic = MAGIC,
                       .key_model = key.model,
                       .key_layout = key.layout,
                       .order = order,
                       .image_bytes = bytes};
    if (w->dir == NULL || w->path == NULL || os_thread_start(&w->thread, write_main, w) != 0) {
        writer_free(w);
        return;
    }
    *out = w;
}

void pack_cache_write_end(pack_cache_writer **w) {
    if (*w != NULL) {
        const int rc = pthread_join((*w)->thread, NULL);
        WEFT_ASSERT(rc == 0);
        writer_free(*w);
        *w = NULL;
    }
}
