/* strmap.h - string to 32-bit number, open addressing, keys borrowed.
 *
 *   slots: [hash|key|value] power-of-two, linear probing, at most 3/4 full, no removal
 *
 * Keys are not copied: they must outlive the map. Threads: readers may share a map that no
 * longer changes.
 */
#ifndef WEFT_BASE_STRMAP_H
#define WEFT_BASE_STRMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"

typedef struct strmap_slot {
    str key;
    uint32_t hash;
    uint32_t value;
} strmap_slot;

typedef struct strmap {
    strmap_slot *slots;
    uint32_t count;
    uint32_t capacity; /* power of two or 0 */
    mem_room room;
} strmap;

void strmap_init(strmap *m, mem_room room);
void strmap_deinit(strmap *m); /* accepts a zeroed map */
bool strmap_reserve(strmap *m, uint32_t count) WEFT_NODISCARD;

/* Sets or replaces; false when memory is out. */
bool strmap_put(strmap *m, str key, uint32_t value) WEFT_NODISCARD;
bool strmap_get(const strmap *m, str key, uint32_t *value);

#endif /* WEFT_BASE_STRMAP_H */
