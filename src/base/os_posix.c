/* os_posix.c - files, mappings and regions: what Linux and macOS share.
 *
 * Every error names the path and carries the system's own words. A missing file is
 * WEFT_NOTFOUND, a wrong kind of file WEFT_INVALID, a file above its limit WEFT_LIMIT, and all
 * else the system refuses WEFT_IO.
 *
 * Mappings are private and read-only, and the descriptor is closed at once: the mapping keeps
 * the file alive. A file that is cut short while it is mapped raises SIGBUS on access; files of
 * models are replaced by rename (os_write_file does so too), which leaves old mappings whole.
 *
 * Regions above HUGE_REGION_MIN start on a multiple of the huge page size, because the system
 * only backs aligned ranges with huge pages; the surplus at both ends is given back.
 */
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"

#define HUGE_PAGE_BYTES ((size_t)2 << 20)
#define HUGE_REGION_MIN ((size_t)4 << 20)
#define READ_STEP_BYTES ((size_t)64 << 10)
#define PATH_BYTES_MAX 4096

static weft_status fail_errno(weft_error *err, const char *doing, const char *path);
static weft_status open_for_reading(int *out, const char *path, int flags, weft_error *err);
static weft_status write_and_rename(const char *path, const char *temporary, const void *data,
                                    size_t len, weft_error *err);
static void sync_directory_of(const char *path);
static void advise(const os_mapping *m, size_t from, size_t to, int advice);
static size_t page_bytes(void);
static void *map_anonymous(size_t bytes);

static int64_t modified_ns(const struct stat *st) {
#if defined(__APPLE__)
    const struct timespec t = st->st_mtimespec;
#else
    const struct timespec t = st->st_mtim;
#endif
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

weft_status os_map_file(os_mapping *out, const char *path, weft_error *err) {
    int fd = -1;
    /* Without O_NONBLOCK, opening a pipe by mistake would wait for a writer. */
    weft_status status = open_for_reading(&fd, path, O_NONBLOCK, err);
    if (status != WEFT_OK) {
        return status;
    }
    struct stat st;
    os_mapping m = {0};
    if (fstat(fd, &st) != 0) {
        status = fail_errno(err, "look at", path);
        goto done;
    }
    if (!S_ISREG(st.st_mode)) {
        status = weft_fail(err, WEFT_INVALID, "%s: is %s, a regular file is needed", path,
                           S_ISDIR(st.st_mode) ? "a directory" : "a device or pipe");
        goto done;
    }
    if ((uintmax_t)st.st_size > SIZE_MAX) {
        status = weft_fail(err, WEFT_LIMIT, "%s: has %jd bytes, more than can be mapped", path,
                           (intmax_t)st.st_size);
        goto done;
    }
    m.len = (size_t)st.st_size;
    m.device = (uint64_t)st.st_dev;
    m.inode = (uint64_t)st.st_ino;
    m.modified_ns = modified_ns(&st);
    if (m.len > 0) {
        void *data = mmap(NULL, m.len, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            status = fail_errno(err, "map", path);
            goto done;
        }
        m.data = data;
    }
    *out = m;
done:
    (void)close(fd);
    return status;
}

void os_unmap_file(os_mapping *m) {
    if (m->data != NULL) {
        const int rc = munmap((void *)(uintptr_t)m->data, m->len);
        WEFT_ASSERT(rc == 0);
    }
    *m = (os_mapping){0};
}

/* Only pages that lie wholly inside: the neighbours' bytes may be in use. */
void os_mapping_drop(const os_mapping *m, size_t offset, size_t len) {
    WEFT_ASSERT(offset <= m->len);
    WEFT_ASSERT(len <= m->len - offset);
    const size_t page = page_bytes();
    const size_t end = offset + len;
    /* The last page of the file has no neighbour behind it. */
    advise(m, (offset + page - 1) / page * page, end == m->len ? end : end / page * page,
           MADV_DONTNEED);
}

void os_mapping_want(const os_mapping *m, size_t offset, size_t len) {
    WEFT_ASSERT(offset <= m->len);
    WEFT_ASSERT(len <= m->len - offset);
    advise(m, offset / page_bytes() * page_bytes(), offset + len, MADV_WILLNEED);
}

weft_status os_region_alloc(void **out, size_t bytes, weft_error *err) {
    const size_t page = page_bytes();
    if (bytes > PTRDIFF_MAX - HUGE_PAGE_BYTES - page) {
        return weft_fail(err, WEFT_NOMEM, "a region of %zu bytes is beyond the address space",
                         bytes);
    }
    const size_t size = bytes > 0 ? (bytes + page - 1) / page * page : page;
    const size_t surplus = size >= HUGE_REGION_MIN ? HUGE_PAGE_BYTES : 0;
    unsigned char *base = map_anonymous(size + surplus);
    if (base == NULL) {
        return weft_fail(err, WEFT_NOMEM, "the system refused a region of %zu bytes: %s", bytes,
                         strerror(errno));
    }
    if (surplus > 0) {
        const size_t past = (uintptr_t)base % HUGE_PAGE_BYTES;
        const size_t front = past > 0 ? HUGE_PAGE_BYTES - past : 0;
        if (front > 0) {
            (void)munmap(base, front);
        }
        if (surplus > front) {
            (void)munmap(base + front + size, surplus - front);
        }
        base += front;
#ifdef MADV_HUGEPAGE
        (void)madvise(base, size, MADV_HUGEPAGE);
#endif
    }
    *out = base;
    return WEFT_OK;
}

void os_region_free(void *p, size_t bytes) {
    if (p == NULL) {
        return;
    }
    const size_t page = page_bytes();
    const int rc = munmap(p, bytes > 0 ? (bytes + page - 1) / page * page : page);
    WEFT_ASSERT(rc == 0);
}

void os_region_touch(void *p, size_t bytes) {
#ifdef MADV_POPULATE_WRITE
    const size_t past = (uintptr_t)p % page_bytes();
    (void)madvise((char *)p - past, bytes + past, MADV_POPULATE_WRITE);
#else
    (void)p;
    (void)bytes;
#endif
}

weft_status os_read_file(char **out, size_t *out_len, const char *path, size_t max_bytes,
                         weft_error *err) {
    int fd = -1;
    weft_status status = open_for_reading(&fd, path, 0, err);
    if (status != WEFT_OK) {
        return status;
    }
    /* One byte more than allowed tells a file that is too long from one that just fits. */
    buf content;
    buf_init(&content, MEM_BASE, max_bytes < SIZE_MAX - 1 ? max_bytes + 1 : SIZE_MAX - 1);
    char *data = NULL;
    size_t len = 0;
    for (;;) {
        const size_t left = content.max_bytes - content.len;
        if (left == 0) {
            break;
        }
        const size_t step = left < READ_STEP_BYTES ? left : READ_STEP_BYTES;
        if (!buf_reserve(&content, step)) {
            status =
                weft_fail(err, WEFT_NOMEM, "%s: out of memory after %zu bytes", path, content.len);
            goto done;
        }
        const ssize_t n = read(fd, content.data + content.len, step);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            status = fail_errno(err, "read", path);
            goto done;
        }
        if (n == 0) {
            break;
        }
        content.len += (size_t)n;
    }
    if (content.len > max_bytes) {
        status =
            weft_fail(err, WEFT_LIMIT, "%s: is longer than the %zu bytes allowed", path, max_bytes);
        goto done;
    }
    len = content.len;
    if (content.data != NULL) {
        content.data[len] = '\0';
    }
    data = buf_take(&content);
    if (data == NULL) {
        status = weft_fail(err, WEFT_NOMEM, "%s: out of memory for %zu bytes", path, len);
        goto done;
    }
    *out = data;
    *out_len = len;
done:
    buf_deinit(&content);
    (void)close(fd);
    return status;
}

weft_status os_write_file(const char *path, const void *data, size_t len, weft_error *err) {
    char temporary[PATH_BYTES_MAX];
    const int n = snprintf(temporary, sizeof temporary, "%s.%08x.part", path,
                           (unsigned)(os_random_u64() & 0xffffffffu));
    if (n < 0 || (size_t)n >= sizeof temporary) {
        return weft_fail(err, WEFT_LIMIT, "%s: the path has %zu bytes, %zu are allowed", path,
                         strlen(path), sizeof temporary - 15);
    }
    return write_and_rename(path, temporary, data, len, err);
}

size_t os_read_text(const char *path, char *out, size_t out_bytes) {
    WEFT_ASSERT(out_bytes > 0);
    out[0] = '\0';
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return 0;
    }
    size_t len = 0;
    while (len < out_bytes - 1) {
        const ssize_t n = read(fd, out + len, out_bytes - 1 - len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            break;
        }
        len += (size_t)n;
    }
    (void)close(fd);
    out[len] = '\0';
    return len;
}

bool os_is_directory(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool os_is_file(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

uint64_t os_random_u64(void) {
    uint64_t value = 0;
    const int rc = getentropy(&value, sizeof value);
    /* Fails only where the system call is forbidden; a predictable number would be worse. */
    WEFT_ASSERT(rc == 0);
    return value;
}

static weft_status fail_errno(weft_error *err, const char *doing, const char *path) {
    /* strerror keeps its own buffer per thread in glibc and answers known codes from constants
     * elsewhere, so it is safe here. */
    const int code = errno;
    const weft_status status = code == ENOENT   ? WEFT_NOTFOUND
                               : code == ENOMEM ? WEFT_NOMEM
                                                : WEFT_IO;
    return weft_fail(err, status, "%s: cannot %s it: %s", path, doing, strerror(code));
}

static weft_status open_for_reading(int *out, const char *path, int flags, weft_error *err) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
    if (fd < 0) {
        return fail_errno(err, "open", path);
    }
    *out = fd;
    return WEFT_OK;
}

static weft_status write_and_rename(const char *path, const char *temporary, const void *data,
                                    size_t len, weft_error *err) {
    const int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        return fail_errno(err, "create", temporary);
    }
    weft_status status = WEFT_OK;
    if (!os_write_all(fd, data, len) || fsync(fd) != 0) {
        status = fail_errno(err, "write", temporary);
    }
    if (close(fd) != 0 && status == WEFT_OK) {
        status = fail_errno(err, "write", temporary);
    }
    if (status == WEFT_OK && rename(temporary, path) != 0) {
        status = fail_errno(err, "replace", path);
    }
    if (status != WEFT_OK) {
        (void)unlink(temporary);
        return status;
    }
    sync_directory_of(path);
    return WEFT_OK;
}

bool os_write_all(int fd, const void *data, size_t len) {
    const unsigned char *p = data;
    size_t done = 0;
    while (done < len) {
        const size_t left = len - done;
        const ssize_t n = write(fd, p + done, left < (1u << 30) ? left : 1u << 30);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        done += (size_t)n;
    }
    return true;
}

/* Makes the rename itself last. Best effort: the content is whole either way. */
static void sync_directory_of(const char *path) {
    char directory[PATH_BYTES_MAX] = ".";
    const char *slash = strrchr(path, '/');
    if (slash != NULL) {
        const size_t len = slash == path ? 1 : (size_t)(slash - path);
        memcpy(directory, path, len);
        directory[len] = '\0';
    }
    const int fd = open(directory, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
}

static void advise(const os_mapping *m, size_t from, size_t to, int advice) {
    if (from < to) {
        (void)madvise((void *)(uintptr_t)(m->data + from), to - from, advice);
    }
}

static size_t page_bytes(void) {
    const long page = sysconf(_SC_PAGESIZE);
    WEFT_ASSERT(page > 0);
    return (size_t)page;
}

static void *map_anonymous(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p != MAP_FAILED ? p : NULL;
}

int os_thread_start(pthread_t *out, void *(*fn)(void *arg), void *arg) {
    pthread_attr_t attr;
    int rc = pthread_attr_init(&attr);
    if (rc != 0) {
        return rc;
    }
    rc = pthread_attr_setstacksize(&attr, OS_STACK_BYTES);
    if (rc == 0) {
        rc = pthread_create(out, &attr, fn, arg);
    }
    pthread_attr_destroy(&attr);
    return rc;
}

/* Soft to hard: the usual soft limit is 1,024. */
uint64_t os_files_raise(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0;
    }
    struct rlimit raised = limit;
    raised.rlim_cur = limit.rlim_max;
    if (limit.rlim_cur < limit.rlim_max && setrlimit(RLIMIT_NOFILE, &raised) == 0) {
        limit = raised;
    }
    return limit.rlim_cur;
}
