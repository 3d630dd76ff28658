/* mem.h - the one allocation gate of the process.
 *
 * Everything weft allocates on the heap goes through here, tagged with the room that asked.
 * The gate counts calls and live bytes by room and can be told to fail the Nth request, so that
 * a test runs every constructor with every allocation failing in turn.
 *
 * Threads: any (counters are atomic). mem_fail_after is for single-threaded tests.
 */
#ifndef WEFT_BASE_MEM_H
#define WEFT_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define MEM_ROOM_LIST(X)  \
    X(BASE, "base")       \
    X(TEXT, "text")       \
    X(TENSOR, "tensor")   \
    X(DEVICE, "device")   \
    X(WEIGHTS, "weights") \
    X(VOCAB, "vocab")     \
    X(DIST, "dist")       \
    X(KV, "kv")           \
    X(PLAN, "plan")       \
    X(SAMPLE, "sample")   \
    X(MODEL, "model")     \
    X(SCHED, "sched")     \
    X(ENGINE, "engine")   \
    X(HTTP, "http")       \
    X(API, "api")         \
    X(CLI, "cli")         \
    X(TEST, "test")

typedef enum mem_room {
#define X(name, text) MEM_##name,
    MEM_ROOM_LIST(X)
#undef X
        MEM_ROOM_COUNT
} mem_room;

typedef struct mem_stats {
    uint64_t allocs;     /* requests served since start, reallocations included */
    uint64_t live_bytes; /* bytes handed out and not yet freed */
} mem_stats;

/* All return NULL when the system refuses, when n * size overflows, or on an injected failure.
 * A size of 0 is served as 1. Storage is aligned to 16 bytes. */
void *mem_alloc(mem_room room, size_t bytes) WEFT_NODISCARD;
void *mem_zalloc(mem_room room, size_t n, size_t size) WEFT_NODISCARD; /* zeroed, n * size */
void *mem_array(mem_room room, size_t n, size_t size) WEFT_NODISCARD;  /* not zeroed */
void *mem_realloc(mem_room room, void *p, size_t n, size_t size) WEFT_NODISCARD;
char *mem_strndup(mem_room room, const char *s, size_t n) WEFT_NODISCARD; /* adds the NUL */

/* Accepts NULL. */
void mem_free(void *p);

/* Totals over all rooms, and of one room. */
mem_stats mem_stats_total(void);
mem_stats mem_stats_room(mem_room room);
const char *mem_room_name(mem_room room);

/* The nth request from now (0 is the next one) and only that fails; -1 switches it off. */
void mem_fail_after(int64_t nth);

#endif /* WEFT_BASE_MEM_H */
