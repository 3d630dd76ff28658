/* page_store.c - a table of names in memory, files behind it, one writer.
 *
 * The table is the truth for this process: it is filled from the folder once, and a name enters it
 * when its page is handed to the writer. Entries are linked by last use. A write that failed takes
 * its entry out again, when the caller next asks for a buffer.
 *
 *   buffers   free ──begin──► filling ──commit──► queued ──writer──► written ──reap──► free
 */
#include "engine/page_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/os.h"

#define MAGIC 0x3145474150544657u /* "WFTPAGE1": with the version of the format */
#define PATH_BYTES_MAX 4096u
#define SUFFIX ".page"
#define PART_SUFFIX ".part" /* while it is written */
#define NAME_CHARS 32u
#define NONE UINT32_MAX
#define VICTIMS_MAX 8u

typedef struct header {
    uint64_t magic;
    uint64_t fingerprint;
    page_name name;
    uint64_t units[PAGE_TOKENS];
    uint64_t payload_bytes;
    siphash_sum payload_sum;
    siphash_sum header_sum; /* of what stands above */
} header;

typedef struct entry {
    page_name name;
    uint64_t bytes;
    bool is_ours;
    uint32_t next; /* in its bucket, or among the free */
    uint32_t older, newer;
} entry;

typedef enum buffer_state { FREE, FILLING, QUEUED, WRITTEN, FAILED } buffer_state;

typedef struct buffer {
    buffer_state state; /* guarded by lock */
    uint64_t order;     /* of commit */
    header head;
    void *payload;
    page_name victims[VICTIMS_MAX]; /* files that make room for this one */
    uint32_t n_victims;
} buffer;

struct page_store {
    page_store_config config;
    char *dir;
    int lock_fd;
    siphash_key key;
    entry *entries; /* [PAGE_STORE_FILES_MAX] */
    uint32_t *buckets;
    uint32_t free, oldest, newest, n_ours;
    uint64_t bytes;
    pthread_t writer;
    bool has_writer;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_closing;     /* guarded by lock */
    uint64_t order_next; /* guarded by lock */
    buffer *buffers;     /* [n_buffers] */
};

/* ---- names and paths ---- */

static bool is_same(page_name a, page_name b) { return a.w[0] == b.w[0] && a.w[1] == b.w[1]; }

page_name page_store_root(const page_store *s) {
    const uint64_t root[] = {MAGIC, s->config.fingerprint, s->config.payload_bytes};
    return siphash(s->key, root, sizeof root);
}

page_name page_store_child(const page_store *s, page_name parent, const uint64_t *units) {
    uint64_t text[2 + PAGE_TOKENS];
    memcpy(text, parent.w, sizeof parent.w);
    memcpy(text + 2, units, PAGE_TOKENS * sizeof *units);
    return siphash(s->key, text, sizeof text);
}

static void path_of(const page_store *s, page_name name, const char *suffix, char *out) {
    snprintf(out, PATH_BYTES_MAX, "%s/%016" PRIx64 "%016" PRIx64 "%s", s->dir, name.w[0], name.w[1],
             suffix);
}

static bool is_named(const char *file, const char *suffix) {
    return strspn(file, "0123456789abcdef") == NAME_CHARS && strcmp(file + NAME_CHARS, suffix) == 0;
}

static bool parse_name(const char *file, page_name *out) {
    char digits[17] = {0};
    if (!is_named(file, SUFFIX)) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        memcpy(digits, file + 16 * i, 16);
        out->w[i] = strtoull(digits, NULL, 16);
    }
    return true;
}

static siphash_sum header_sum(const page_store *s, const header *h) {
    return siphash(s->key, h, offsetof(header, header_sum));
}

/* ---- the table ---- */

static uint32_t *bucket_of(const page_store *s, page_name name) {
    return &s->buckets[name.w[0] % PAGE_STORE_FILES_MAX];
}

static uint32_t find(const page_store *s, page_name name) {
    uint32_t i = *bucket_of(s, name);
    while (i != NONE && !is_same(s->entries[i].name, name)) {
        i = s->entries[i].next;
    }
    return i;
}

static void unlink_use(page_store *s, uint32_t i) {
    const entry *e = &s->entries[i];
    *(e->older == NONE ? &s->oldest : &s->entries[e->older].newer) = e->newer;
    *(e->newer == NONE ? &s->newest : &s->entries[e->newer].older) = e->older;
}

static void link_newest(page_store *s, uint32_t i) {
    s->entries[i].older = s->newest;
    s->entries[i].newer = NONE;
    *(s->newest == NONE ? &s->oldest : &s->entries[s->newest].newer) = i;
    s->newest = i;
}

static void add(page_store *s, page_name name, uint64_t bytes, bool is_ours) {
    const uint32_t i = s->free;
    WEFT_ASSERT(i != NONE);
    WEFT_ASSERT(find(s, name) == NONE);
    s->free = s->entries[i].next;
    s->entries[i] =
        (entry){.name = name, .bytes = bytes, .is_ours = is_ours, .next = *bucket_of(s, name)};
    *bucket_of(s, name) = i;
    link_newest(s, i);
    s->bytes += bytes;
    s->n_ours += is_ours;
}

static void drop(page_store *s, uint32_t i) {
    uint32_t *at = bucket_of(s, s->entries[i].name);
    while (*at != i) {
        at = &s->entries[*at].next;
    }
    *at = s->entries[i].next;
    unlink_use(s, i);
    s->bytes -= s->entries[i].bytes;
    s->n_ours -= s->entries[i].is_ours;
    s->entries[i].next = s->free;
    s->free = i;
}

/* ---- open ---- */

typedef struct found {
    page_name name;
    uint64_t bytes;
    int64_t used_ns;
    bool is_ours;
} found;

static int by_use(const void *a, const void *b) {
    const found *x = a, *y = b;
    return (x->used_ns > y->used_ns) - (x->used_ns < y->used_ns);
}

static bool is_ours(const page_store *s, int dir_fd, const char *file, page_name name) {
    header h;
    const int fd = openat(dir_fd, file, O_RDONLY | O_CLOEXEC);
    const bool is_read = fd >= 0 && pread(fd, &h, sizeof h, 0) == (ssize_t)sizeof h;
    if (fd >= 0) {
        (void)close(fd);
    }
    return is_read && h.magic == MAGIC && h.fingerprint == s->config.fingerprint &&
           is_same(h.name, name) && h.payload_bytes == s->config.payload_bytes;
}

/* What the folder holds, the least used first; our temporary files of a process that died go, other
 * people's stay. */
static void scan(page_store *s, found *files, uint32_t *n) {
    DIR *d = opendir(s->dir);
    for (const struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
        struct stat st;
        page_name name;
        if (is_named(e->d_name, PART_SUFFIX)) {
            (void)unlinkat(dirfd(d), e->d_name, 0);
        }
        if (!parse_name(e->d_name, &name) || fstatat(dirfd(d), e->d_name, &st, 0) != 0 ||
            !S_ISREG(st.st_mode)) {
            continue;
        }
        if (*n == PAGE_STORE_FILES_MAX) {
            (void)unlinkat(dirfd(d), e->d_name, 0); /* more than will ever be looked at */
            continue;
        }
        files[(*n)++] = (found){.name = name,
                                .bytes = (uint64_t)st.st_size,
                                .used_ns = (int64_t)st.st_mtime,
                                .is_ours = is_ours(s, dirfd(d), e->d_name, name)};
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    qsort(files, *n, sizeof *files, by_use);
}

static weft_status fill_table(page_store *s, weft_error *err) {
    uint32_t n = 0;
    found *files = mem_array(MEM_ENGINE, PAGE_STORE_FILES_MAX, sizeof *files);
    if (files == NULL) {
        return weft_fail(err, WEFT_NOMEM, "%s: out of memory for a list of its files", s->dir);
    }
    scan(s, files, &n);
    for (uint32_t i = 0; i < n; i++) {
        add(s, files[i].name, files[i].bytes, files[i].is_ours);
    }
    mem_free(files);
    if (s->n_ours < n) {
        LOG_INFO("%s: %u pages of another model, KV or activation type, instruction set or format "
                 "are not used",
                 s->dir, n - s->n_ours);
    }
    LOG_INFO("%s: %u pages of this model, %.2f GiB of %.2f GiB in use", s->dir, s->n_ours,
             (double)s->bytes / (1u << 30), (double)s->config.bytes_max / (1u << 30));
    return WEFT_OK;
}

/* The folder, made when there is none, and the lock that keeps others out. */
static weft_status lock_folder(page_store *s, weft_error *err) {
    char path[PATH_BYTES_MAX];
    if (mkdir(s->dir, 0777) != 0 && errno != EEXIST) {
        return weft_fail(err, WEFT_IO, "%s: cannot make this folder: %s", s->dir, strerror(errno));
    }
    snprintf(path, sizeof path, "%s/lock", s->dir);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (s->lock_fd < 0) {
        return weft_fail(err, WEFT_IO, "%s: cannot open it: %s", path, strerror(errno));
    }
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return weft_fail(err, WEFT_AGAIN, "%s: another process keeps its pages here", s->dir);
    }
    return WEFT_OK;
}

/* The folder's key, made when there is none. It is there whole or not at all: with another one no
 * page would be found again. */
static weft_status take_key(page_store *s, weft_error *err) {
    char path[PATH_BYTES_MAX];
    char *text = NULL;
    size_t len = 0;
    weft_status status = WEFT_OK;
    snprintf(path, sizeof path, "%s/key", s->dir);
    if (os_is_file(path)) {
        status = os_read_file(&text, &len, path, sizeof s->key, err);
    }
    if (status == WEFT_OK && len == 0) {
        s->key = (siphash_key){{os_random_u64(), os_random_u64()}};
        status = os_write_file(path, &s->key, sizeof s->key, err);
    } else if (status == WEFT_OK && len == sizeof s->key) {
        memcpy(&s->key, text, sizeof s->key);
    } else if (status == WEFT_OK) {
        status = weft_fail(err, WEFT_FORMAT,
                           "%s: has %zu bytes, the key of a folder of pages has %zu: remove it or "
                           "choose another folder",
                           path, len, sizeof s->key);
    }
    mem_free(text);
    return status;
}

static weft_status alloc_store(page_store *s, const char *dir, weft_error *err) {
    bool is_whole = true;
    s->dir = mem_strndup(MEM_ENGINE, dir, strlen(dir));
    s->entries = mem_array(MEM_ENGINE, PAGE_STORE_FILES_MAX, sizeof *s->entries);
    s->buckets = mem_array(MEM_ENGINE, PAGE_STORE_FILES_MAX, sizeof *s->buckets);
    s->buffers = mem_zalloc(MEM_ENGINE, s->config.n_buffers, sizeof *s->buffers);
    for (uint32_t i = 0; i < s->config.n_buffers && s->buffers != NULL; i++) {
        s->buffers[i].payload = mem_alloc(MEM_ENGINE, s->config.payload_bytes);
        is_whole &= s->buffers[i].payload != NULL;
    }
    if (!is_whole || s->buffers == NULL || s->dir == NULL || s->entries == NULL ||
        s->buckets == NULL) {
        return weft_fail(err, WEFT_NOMEM, "%s: out of memory for %u pages of %u bytes", dir,
                         s->config.n_buffers, s->config.payload_bytes);
    }
    memset(s->buckets, 0xff, PAGE_STORE_FILES_MAX * sizeof *s->buckets); /* NONE */
    s->free = s->oldest = s->newest = NONE;
    for (uint32_t i = PAGE_STORE_FILES_MAX; i-- > 0;) {
        s->entries[i].next = s->free;
        s->free = i;
    }
    return WEFT_OK;
}

static void *writer_main(void *arg);

weft_status page_store_open(page_store **out, const page_store_config *config, weft_error *err) {
    const uint64_t file_bytes = sizeof(header) + (uint64_t)config->payload_bytes;
    if (strlen(config->dir) == 0 || strlen(config->dir) > PATH_BYTES_MAX - 64) {
        return weft_fail(err, WEFT_INVALID, "a folder name of %zu bytes, wanted 1 to %u",
                         strlen(config->dir), PATH_BYTES_MAX - 64);
    }
    if (config->bytes_max < file_bytes) {
        return weft_fail(err, WEFT_LIMIT, "%s: %" PRIu64 " bytes do not hold one page of %" PRIu64,
                         config->dir, config->bytes_max, file_bytes);
    }
    page_store *s = mem_zalloc(MEM_ENGINE, 1, sizeof *s);
    if (s == NULL) {
        return weft_fail(err, WEFT_NOMEM, "%s: out of memory", config->dir);
    }
    s->config = *config;
    s->lock_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    weft_status status = alloc_store(s, config->dir, err);
    if (status == WEFT_OK) {
        status = lock_folder(s, err);
    }
    if (status == WEFT_OK) {
        status = take_key(s, err);
    }
    if (status == WEFT_OK) {
        status = fill_table(s, err);
    }
    if (status == WEFT_OK) {
        s->has_writer = os_thread_start(&s->writer, writer_main, s) == 0;
        if (!s->has_writer) {
            status = weft_fail(err, WEFT_NOMEM, "%s: cannot start a thread", config->dir);
        }
    }
    if (status != WEFT_OK) {
        page_store_close(&s);
        return status;
    }
    *out = s;
    return WEFT_OK;
}

void page_store_close(page_store **store) {
    page_store *s = *store;
    if (s == NULL) {
        return;
    }
    if (s->has_writer) {
        pthread_mutex_lock(&s->lock);
        s->is_closing = true;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->writer, NULL);
    }
    for (uint32_t i = 0; i < s->config.n_buffers && s->buffers != NULL; i++) {
        mem_free(s->buffers[i].payload);
    }
    mem_free(s->buffers);
    if (s->lock_fd >= 0) {
        (void)close(s->lock_fd); /* and with it the lock */
    }
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    mem_free(s->entries);
    mem_free(s->buckets);
    mem_free(s->dir);
    mem_free(s);
    *store = NULL;
}

/* ---- writing ---- */

static bool write_file(const page_store *s, buffer *b) {
    char part[PATH_BYTES_MAX], path[PATH_BYTES_MAX];
    path_of(s, b->head.name, PART_SUFFIX, part);
    path_of(s, b->head.name, SUFFIX, path);
    b->head.payload_sum = siphash(s->key, b->payload, s->config.payload_bytes);
    b->head.header_sum = header_sum(s, &b->head);
    const int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        return false;
    }
    const bool is_written = os_write_all(fd, &b->head, sizeof b->head) &&
                            os_write_all(fd, b->payload, s->config.payload_bytes);
    if (close(fd) != 0 || !is_written || rename(part, path) != 0) {
        (void)unlink(part);
        return false;
    }
    return true;
}

static void remove_victims(const page_store *s, const buffer *b) {
    char path[PATH_BYTES_MAX];
    for (uint32_t i = 0; i < b->n_victims; i++) {
        path_of(s, b->victims[i], SUFFIX, path);
        (void)unlink(path);
    }
}

/* The buffer in this state that was committed first: a page that makes room for another is written
 * before that one removes it. */
static buffer *buffer_in(page_store *s, buffer_state state) {
    buffer *first = NULL;
    for (uint32_t i = 0; i < s->config.n_buffers; i++) {
        buffer *b = &s->buffers[i];
        if (b->state == state && (first == NULL || b->order < first->order)) {
            first = b;
        }
    }
    return first;
}

static void *writer_main(void *arg) {
    page_store *s = arg;
    os_thread_name("weft-pages");
    pthread_mutex_lock(&s->lock);
    for (;;) {
        buffer *b = buffer_in(s, QUEUED);
        if (b == NULL && s->is_closing) {
            break;
        }
        if (b == NULL) {
            pthread_cond_wait(&s->changed, &s->lock);
            continue;
        }
        pthread_mutex_unlock(&s->lock);
        remove_victims(s, b);
        const bool is_written = write_file(s, b);
        if (!is_written) {
            LOG_WARN("%s: cannot write a page: %s", s->dir, strerror(errno));
        }
        pthread_mutex_lock(&s->lock);
        b->state = is_written ? WRITTEN : FAILED;
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Buffers the writer is done with become free; the lock is held. */
static void reap(page_store *s) {
    for (uint32_t i = 0; i < s->config.n_buffers; i++) {
        buffer *b = &s->buffers[i];
        const uint32_t at = b->state == FAILED ? find(s, b->head.name) : NONE;
        if (at != NONE) {
            drop(s, at);
        }
        if (b->state == FAILED || b->state == WRITTEN) {
            b->state = FREE;
        }
    }
}

void *page_store_try_begin(page_store *s) {
    pthread_mutex_lock(&s->lock);
    reap(s);
    buffer *b = buffer_in(s, FREE);
    if (b != NULL) {
        b->state = FILLING;
    }
    pthread_mutex_unlock(&s->lock);
    return b != NULL ? b->payload : NULL;
}

/* Takes the least used files out of the table until the new one fits. False when it takes more than
 * one file may push out: the others follow with the next. */
static bool make_room(page_store *s, buffer *b, uint64_t file_bytes) {
    b->n_victims = 0;
    while (s->oldest != NONE && (s->bytes + file_bytes > s->config.bytes_max || s->free == NONE)) {
        if (b->n_victims == VICTIMS_MAX) {
            return false;
        }
        b->victims[b->n_victims++] = s->entries[s->oldest].name;
        drop(s, s->oldest);
    }
    return true;
}

void page_store_commit(page_store *s, page_name name, const uint64_t *units) {
    const uint64_t file_bytes = sizeof(header) + (uint64_t)s->config.payload_bytes;
    pthread_mutex_lock(&s->lock);
    buffer *b = buffer_in(s, FILLING);
    WEFT_ASSERT(b != NULL);
    memset(&b->head, 0, sizeof b->head);
    b->head.magic = MAGIC;
    b->head.fingerprint = s->config.fingerprint;
    b->head.name = name;
    b->head.payload_bytes = s->config.payload_bytes;
    memcpy(b->head.units, units, sizeof b->head.units);
    const bool is_new = find(s, name) == NONE;
    if (is_new && make_room(s, b, file_bytes)) {
        add(s, name, file_bytes, true);
        b->state = QUEUED;
        b->order = s->order_next++;
        pthread_cond_signal(&s->changed);
    } else {
        b->state = FREE;
        remove_victims(s, b);
    }
    pthread_mutex_unlock(&s->lock);
}

/* ---- reading ---- */

bool page_store_has(page_store *s, page_name name) {
    const uint32_t i = find(s, name);
    if (i == NONE) {
        return false;
    }
    unlink_use(s, i);
    link_newest(s, i);
    return true;
}

/* Waits while the page is still in a buffer of the writer. */
static void wait_written(page_store *s, page_name name) {
    for (bool is_queued = true; is_queued;) {
        is_queued = false;
        pthread_mutex_lock(&s->lock);
        for (uint32_t i = 0; i < s->config.n_buffers; i++) {
            is_queued |= s->buffers[i].state == QUEUED && is_same(s->buffers[i].head.name, name);
        }
        pthread_mutex_unlock(&s->lock);
        if (is_queued) {
            (void)usleep(100);
        }
    }
}

static bool read_all(int fd, void *out, size_t len) {
    char *p = out;
    while (len > 0) {
        const ssize_t n = read(fd, p, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        p += n;
        len -= (size_t)n;
    }
    return true;
}

/* What is wrong with a file, NULL when it is whole and the one that was meant. */
static const char *fault_of(const page_store *s, int fd, page_name name, const uint64_t *units,
                            void *out) {
    header h;
    if (fd < 0 || !read_all(fd, &h, sizeof h)) {
        return "it cannot be read";
    }
    if (h.magic != MAGIC || h.fingerprint != s->config.fingerprint ||
        h.payload_bytes != s->config.payload_bytes || !is_same(h.header_sum, header_sum(s, &h))) {
        return "its header is wrong";
    }
    if (!is_same(h.name, name) || memcmp(h.units, units, sizeof h.units) != 0) {
        return "it holds another text";
    }
    if (!read_all(fd, out, s->config.payload_bytes) ||
        !is_same(h.payload_sum, siphash(s->key, out, s->config.payload_bytes))) {
        return "its bytes are not those that were written";
    }
    return NULL;
}

bool page_store_try_read(page_store *s, page_name name, const uint64_t *units, void *out) {
    char path[PATH_BYTES_MAX];
    const uint32_t i = find(s, name);
    if (i == NONE) {
        return false;
    }
    wait_written(s, name);
    path_of(s, name, SUFFIX, path);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const char *fault = fault_of(s, fd, name, units, out);
    if (fault != NULL) {
        LOG_WARN("%s: not used and removed, because %s", path, fault);
        (void)unlink(path);
        drop(s, i);
    } else {
        (void)futimens(fd, NULL); /* used now, also for the next process */
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return fault == NULL;
}

uint32_t page_store_count(const page_store *s) { return s->n_ours; }

uint64_t page_store_bytes(const page_store *s) { return s->bytes; }
