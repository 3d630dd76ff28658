/* arena.c - objects carved from chunks.
 *
 *   chunk: [next|capacity|used]  object object object ....free....
 *                                └───────── used ─────────┘
 *
 * Every object starts on a multiple of 16, because chunk headers and rounded sizes are
 * multiples of 16 and mem.h aligns chunks to 16. An object that does not fit the newest chunk
 * gets a new one in front of it; what was left in the old chunk stays unused until reset.
 * Chunks double from 4 KiB to 1 MiB, so that a small arena is small and a large one makes few
 * requests; an object larger than that gets a chunk of exactly its size.
 *
 * Objects are zeroed when they are handed out, not when the chunk is made: after a reset the
 * same bytes are handed out again.
 */
#include "base/arena.h"

#include <stdint.h>
#include <string.h>

#include "base/check.h"

#define ALIGNMENT 16u
#define CHUNK_MIN_BYTES ((size_t)4096)
#define CHUNK_MAX_BYTES ((size_t)1 << 20)

struct arena_chunk {
    arena_chunk *next; /* older */
    size_t capacity;   /* bytes behind the header */
    size_t used;
    size_t padding; /* keeps the header a multiple of 16 */
};

_Static_assert(sizeof(arena_chunk) % ALIGNMENT == 0, "objects start right behind the header");

static arena_chunk *chunk_add(arena *a, size_t bytes);

void arena_init(arena *a, mem_room room, size_t max_bytes) {
    *a = (arena){.room = room, .max_bytes = max_bytes};
}

void arena_deinit(arena *a) {
    arena_chunk *c = a->chunks;
    while (c != NULL) {
        arena_chunk *older = c->next;
        mem_free(c);
        c = older;
    }
    *a = (arena){.room = a->room};
}

void arena_reset(arena *a) {
    arena_chunk *largest = a->chunks;
    for (arena_chunk *c = a->chunks; c != NULL; c = c->next) {
        if (c->capacity > largest->capacity) {
            largest = c;
        }
    }
    arena_chunk *c = a->chunks;
    while (c != NULL) {
        arena_chunk *older = c->next;
        if (c != largest) {
            mem_free(c);
        }
        c = older;
    }
    if (largest != NULL) {
        largest->next = NULL;
        largest->used = 0;
    }
    a->chunks = largest;
    a->used_bytes = 0;
}

void *arena_alloc(arena *a, size_t n, size_t size) {
    WEFT_ASSERT(a->used_bytes <= a->max_bytes);
    if (size != 0 && n > (SIZE_MAX - ALIGNMENT) / size) {
        return NULL;
    }
    const size_t asked = n * size > 0 ? n * size : 1;
    const size_t bytes = (asked + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (bytes > a->max_bytes - a->used_bytes) {
        return NULL;
    }
    arena_chunk *c = a->chunks;
    if (c == NULL || bytes > c->capacity - c->used) {
        c = chunk_add(a, bytes);
        if (c == NULL) {
            return NULL;
        }
    }
    unsigned char *object = (unsigned char *)(c + 1) + c->used;
    c->used += bytes;
    a->used_bytes += bytes;
    WEFT_DEBUG_ASSERT(c->used <= c->capacity);
    memset(object, 0, bytes);
    return object;
}

char *arena_strndup(arena *a, const char *s, size_t n) {
    if (n == SIZE_MAX) {
        return NULL;
    }
    char *copy = arena_alloc(a, n + 1, 1); /* zeroed, so the NUL is there */
    if (copy != NULL && n > 0) {
        memcpy(copy, s, n);
    }
    return copy;
}

static arena_chunk *chunk_add(arena *a, size_t bytes) {
    size_t capacity = CHUNK_MIN_BYTES;
    if (a->chunks != NULL && a->chunks->capacity >= CHUNK_MIN_BYTES) {
        const size_t newest = a->chunks->capacity;
        capacity = newest >= CHUNK_MAX_BYTES / 2 ? CHUNK_MAX_BYTES : newest * 2;
    }
    if (capacity < bytes) {
        capacity = bytes;
    }
    /* No more than the limit could still hand out. Both sides are at least `bytes`. */
    const size_t left = a->max_bytes - a->used_bytes;
    if (capacity > left) {
        capacity = left / ALIGNMENT * ALIGNMENT;
    }
    WEFT_ASSERT(capacity >= bytes);
    if (capacity > SIZE_MAX - sizeof(arena_chunk)) {
        return NULL;
    }
    arena_chunk *c = mem_alloc(a->room, sizeof(arena_chunk) + capacity);
    if (c == NULL) {
        return NULL;
    }
    *c = (arena_chunk){.next = a->chunks, .capacity = capacity};
    a->chunks = c;
    return c;
}
