/* arena.h - many small objects with one lifetime.
 *
 *  arena ─► chunk ─► chunk ─► chunk      objects are carved from the newest chunk and are
 *           [####]   [####]   [##..]     never freed one by one; reset or deinit frees all
 *
 * Threads: none; one owner. Errors: NULL when the limit or the system refuses.
 */
#ifndef WEFT_BASE_ARENA_H
#define WEFT_BASE_ARENA_H

#include <stddef.h>

#include "base/mem.h"

typedef struct arena_chunk arena_chunk;

typedef struct arena {
    arena_chunk *chunks; /* newest first */
    mem_room room;
    size_t used_bytes; /* handed out, alignment included */
    size_t max_bytes;  /* limit on used_bytes */
} arena;

void arena_init(arena *a, mem_room room, size_t max_bytes);

/* Frees everything; the arena may be used again after arena_init. Accepts a zeroed arena. */
void arena_deinit(arena *a);

/* Forgets every object but keeps the largest chunk for reuse. */
void arena_reset(arena *a);

/* Aligned to 16 bytes, zeroed. NULL when max_bytes would be exceeded or memory is out. */
void *arena_alloc(arena *a, size_t n, size_t size) WEFT_NODISCARD;

/* A NUL-terminated copy of s[0..n). */
char *arena_strndup(arena *a, const char *s, size_t n) WEFT_NODISCARD;

#endif /* WEFT_BASE_ARENA_H */
