/* mem.c - the allocation gate.
 *
 *   block ─► [bytes | room | mark]  storage ...      the header is 16 bytes, so the storage
 *            └──── header ──────┘ ▲                  keeps the 16-byte alignment of malloc
 *                                 └ what callers see
 *
 * The header remembers how much was asked for and by whom, so that mem_free needs only the
 * pointer. The mark tells a live block from a freed or foreign one: freeing twice breaks an
 * assertion here and not a heap structure somewhere else.
 *
 * Counters are relaxed atomics, one pair a room. They are exact at rest; a reader beside
 * running allocations sees values of slightly different moments.
 *
 * Failure injection counts requests down in one atomic; the request that takes it from 0 to
 * -1 fails, and below 0 the switch is off.
 */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define MARK_LIVE 0x57e7a11cu
#define MARK_DEAD 0xdeadb10cu

typedef struct header {
    uint64_t bytes; /* asked for, without this header */
    uint32_t room;
    uint32_t mark;
} header;

_Static_assert(sizeof(header) == 16, "storage behind the header must stay aligned to 16");

static struct {
    atomic_uint_fast64_t allocs;
    atomic_uint_fast64_t live_bytes;
} room_counters[MEM_ROOM_COUNT];

static atomic_int_fast64_t fail_countdown = -1;

static bool try_total(size_t n, size_t size, size_t *bytes);
static bool request_must_fail(void);
static void *block_open(header *h, mem_room room, size_t bytes);
static header *block_header(void *p);
static void count_freed(const header *h);

void *mem_array(mem_room room, size_t n, size_t size) {
    size_t bytes = 0;
    if (!try_total(n, size, &bytes) || request_must_fail()) {
        return NULL;
    }
    return block_open(malloc(sizeof(header) + bytes), room, bytes);
}

void *mem_alloc(mem_room room, size_t bytes) { return mem_array(room, bytes, 1); }

/* calloc and not memset: large blocks come from the system zeroed and stay untouched. */
void *mem_zalloc(mem_room room, size_t n, size_t size) {
    size_t bytes = 0;
    if (!try_total(n, size, &bytes) || request_must_fail()) {
        return NULL;
    }
    return block_open(calloc(1, sizeof(header) + bytes), room, bytes);
}

void *mem_realloc(mem_room room, void *p, size_t n, size_t size) {
    if (p == NULL) {
        return mem_array(room, n, size);
    }
    size_t bytes = 0;
    if (!try_total(n, size, &bytes) || request_must_fail()) {
        return NULL;
    }
    header *old = block_header(p);
    const header before = *old;
    header *h = realloc(old, sizeof(header) + bytes);
    if (h == NULL) {
        return NULL; /* the old block is untouched and still the caller's */
    }
    count_freed(&before);
    return block_open(h, room, bytes);
}

char *mem_strndup(mem_room room, const char *s, size_t n) {
    if (n == SIZE_MAX) {
        return NULL;
    }
    char *copy = mem_alloc(room, n + 1);
    if (copy != NULL) {
        if (n > 0) {
            memcpy(copy, s, n);
        }
        copy[n] = '\0';
    }
    return copy;
}

void mem_free(void *p) {
    if (p == NULL) {
        return;
    }
    header *h = block_header(p);
    count_freed(h);
    h->mark = MARK_DEAD;
    free(h);
}

mem_stats mem_stats_room(mem_room room) {
    WEFT_ASSERT((unsigned)room < MEM_ROOM_COUNT);
    return (mem_stats){
        .allocs = atomic_load_explicit(&room_counters[room].allocs, memory_order_relaxed),
        .live_bytes = atomic_load_explicit(&room_counters[room].live_bytes, memory_order_relaxed),
    };
}

mem_stats mem_stats_total(void) {
    mem_stats total = {0};
    for (int room = 0; room < MEM_ROOM_COUNT; room++) {
        const mem_stats s = mem_stats_room((mem_room)room);
        total.allocs += s.allocs;
        total.live_bytes += s.live_bytes;
    }
    return total;
}

const char *mem_room_name(mem_room room) {
    static const char *const names[MEM_ROOM_COUNT] = {
#define X(name, text) [MEM_##name] = (text),
        MEM_ROOM_LIST(X)
#undef X
    };
    WEFT_ASSERT((unsigned)room < MEM_ROOM_COUNT);
    return names[room];
}

void mem_fail_after(int64_t nth) { atomic_store(&fail_countdown, nth < 0 ? -1 : nth); }

/* n * size, at least 1, such that the header still fits. */
static bool try_total(size_t n, size_t size, size_t *bytes) {
    if (size != 0 && n > (PTRDIFF_MAX - sizeof(header)) / size) {
        return false;
    }
    *bytes = n * size > 0 ? n * size : 1;
    return true;
}

static bool request_must_fail(void) {
    if (WEFT_LIKELY(atomic_load_explicit(&fail_countdown, memory_order_relaxed) < 0)) {
        return false;
    }
    return atomic_fetch_sub(&fail_countdown, 1) == 0;
}

/* Fills the header and counts the request; passes the system's refusal through. */
static void *block_open(header *h, mem_room room, size_t bytes) {
    WEFT_ASSERT((unsigned)room < MEM_ROOM_COUNT);
    if (h == NULL) {
        return NULL;
    }
    *h = (header){.bytes = bytes, .room = (uint32_t)room, .mark = MARK_LIVE};
    atomic_fetch_add_explicit(&room_counters[room].allocs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&room_counters[room].live_bytes, bytes, memory_order_relaxed);
    return h + 1;
}

static header *block_header(void *p) {
    header *h = (header *)p - 1;
    WEFT_ASSERT(h->mark == MARK_LIVE);
    WEFT_ASSERT(h->room < MEM_ROOM_COUNT);
    return h;
}

static void count_freed(const header *h) {
    atomic_fetch_sub_explicit(&room_counters[h->room].live_bytes, h->bytes, memory_order_relaxed);
}
