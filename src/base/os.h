/* os.h - the calls that differ between systems: one file per system implements this.
 *
 * os_posix.c what Linux and macOS share, os_linux.c and os_macos.c the rest.
 */
#ifndef WEFT_BASE_OS_H
#define WEFT_BASE_OS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* A read-only file in memory. len may be 0, then data is NULL. The last three tell whether a path
 * still names the same file with the same content. */
typedef struct os_mapping {
    const uint8_t *data;
    size_t len;
    uint64_t device, inode;
    int64_t modified_ns;
} os_mapping;

/* The whole file, private and read-only. Errors name the path. */
weft_status os_map_file(os_mapping *out, const char *path, weft_error *err) WEFT_NODISCARD;
void os_unmap_file(os_mapping *m); /* accepts an empty mapping, empties it */

/* Tells the system that a byte range of a mapping is no longer wanted in memory (its content
 * stays readable and comes back from disk), or will be wanted soon. Hints only. */
void os_mapping_drop(const os_mapping *m, size_t offset, size_t len);
void os_mapping_want(const os_mapping *m, size_t offset, size_t len);

/* Zeroed memory straight from the system, page-aligned, huge pages where that is possible.
 * The bytes count as resident when touched. */
weft_status os_region_alloc(void **out, size_t bytes, weft_error *err) WEFT_NODISCARD;
void os_region_free(void *p, size_t bytes);

/* Gives a part of a region its memory now instead of at the first use, where the system can. What
 * it holds stays as it is. */
void os_region_touch(void *p, size_t bytes);

/* Whole small file into a NUL-terminated buffer freed with mem_free. max_bytes bounds it. */
weft_status os_read_file(char **out, size_t *out_len, const char *path, size_t max_bytes,
                         weft_error *err) WEFT_NODISCARD;
/* Written beside the target and renamed over it: either the old content or the new. */
weft_status os_write_file(const char *path, const void *data, size_t len,
                          weft_error *err) WEFT_NODISCARD;
/* All of it, however many calls that takes; false when the system refuses the rest. */
bool os_write_all(int fd, const void *data, size_t len);
/* At most out_bytes - 1 bytes of a small text file, terminated; the length, 0 when it cannot be
 * read. For what the system tells through files: no allocation, no message. */
size_t os_read_text(const char *path, char *out, size_t out_bytes);
bool os_is_directory(const char *path);
bool os_is_file(const char *path);

uint64_t os_rss_bytes(void);           /* resident now */
uint64_t os_rss_peak_bytes(void);      /* highest so far */
void os_rss_peak_forget(void);         /* highest from now on, where the system can (Linux) */
uint64_t os_anon_bytes(void);          /* resident and not backed by a file */
uint64_t os_mem_total_bytes(void);     /* of the machine or the cgroup, the smaller */
uint64_t os_mem_available_bytes(void); /* that could be had without swapping */
uint32_t os_cores(void);               /* physical cores this process may use, at least 1 */
uint64_t os_random_u64(void);          /* from the system's entropy source */

/* Raises the soft limit of open files to the hard one; returns how many may be open. */
uint64_t os_files_raise(void);

/* Logical processors this process may use, at least 1: more threads than that take turns. */
uint32_t os_cpus(void);

/* Size of the data cache of level 1, 2 or 3 that the calling thread's processor uses; 0 = not
 * known. */
uint64_t os_cache_bytes(uint32_t level);

/* Keeps the calling thread on the nth physical core this process may use, n < count. Refused
 * (false) when count is not the number of such cores: a process that uses only some of them
 * has no say in which, and would fight over them with its neighbours. */
bool os_thread_pin(uint32_t nth, uint32_t count);

/* Starts a thread with a stack of OS_STACK_BYTES, whatever the system's default is: the attention
 * kernels keep a tile of 1.1 MB on it, most of it untouched. Returns pthread_create's code. */
#define OS_STACK_BYTES ((size_t)2 << 20)
int os_thread_start(pthread_t *out, void *(*fn)(void *arg), void *arg);

/* The calling thread gets a processor only when nobody else wants it. */
void os_thread_yield_to_others(void);

/* Asks the system to save the registers of AMX tiles for this process's threads, which it does only
 * for those who ask. False where there is no such thing. */
bool os_allow_amx(void);

/* Names the calling thread for debuggers; at most 15 characters are kept. */
void os_thread_name(const char *name);

#endif /* WEFT_BASE_OS_H */
