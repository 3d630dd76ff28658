/* vocab_merges.h - which two tokens may become one, and how early.
 *
 * Threads: read-only once filled.
 */
#ifndef WEFT_VOCAB_VOCAB_MERGES_H
#define WEFT_VOCAB_VOCAB_MERGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "vocab/vocab_table.h"
#include "weights/weights.h"

#define VOCAB_MERGES_MAX 8000000u
#define VOCAB_RANK_NONE UINT32_MAX

/* The merge of left and right makes `id`; the lowest rank in a word goes first. */
typedef struct vocab_merge {
    int32_t left;
    int32_t right;
    uint32_t rank;
    int32_t id;
} vocab_merge;

typedef struct vocab_merges {
    vocab_merge *slots; /* open addressing, power of two */
    uint8_t *tags; /* a byte of hash for each slot, 0 when it is free: small enough to stay in the
                           cache, and most pairs that are asked for do not merge */
    uint32_t slot_mask;
    uint32_t count;
} vocab_merges;

/* Reads tokenizer.ggml.merges: "left right", best first. Merges whose parts or result are no tokens
 * can never take place and are left out. */
weft_status vocab_merges_init(vocab_merges *m, const vocab_table *t, const weights *w,
                              weft_error *err) WEFT_NODISCARD;
/* The same in steps. Texts are looked up in batches, which waits for memory once a batch: push is
 * true when the batch is full. Afterwards a merge whose parts or result are no tokens has the id
 * VOCAB_NONE. */
#define VOCAB_MERGES_BATCH (VOCAB_FIND_MANY_MAX / 2)
typedef struct vocab_merges_batch {
    const vocab_table *table;
    size_t prefix_bytes; /* of the right part, which the result does not have */
    int32_t last_id;     /* the result before; VOCAB_NONE at first */
    size_t n;            /* set to 0 to begin another batch */
    str parts[VOCAB_MERGES_BATCH * 2];
    vocab_merge merges[VOCAB_MERGES_BATCH];
} vocab_merges_batch;

static inline bool vocab_merges_batch_push(vocab_merges_batch *b, str left, str right) {
    b->parts[b->n * 2] = left;
    b->parts[b->n * 2 + 1] = right;
    return ++b->n == VOCAB_MERGES_BATCH;
}
void vocab_merges_batch_look_up(vocab_merges_batch *b);

/* An empty table for so many merges, then these, best first; of two equal ones the first stays.
 * Those without an id are left out. False when the merges were made to collide. */
weft_status vocab_merges_reserve(vocab_merges *m, size_t count, weft_error *err) WEFT_NODISCARD;
bool vocab_merges_add_all(vocab_merges *m, const vocab_merge *merges, size_t count);
void vocab_merges_deinit(vocab_merges *m); /* accepts a zeroed one */

static inline uint64_t vocab_merges_hash(int32_t left, int32_t right) {
    const uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 32;
}

static inline uint8_t vocab_merges_tag(uint64_t hash) { return (uint8_t)(hash >> 56 | 1); }

/* The merge of two neighbours; NULL when there is none. */
static inline const vocab_merge *vocab_merges_find(const vocab_merges *m, int32_t left,
                                                   int32_t right) {
    const uint64_t hash = vocab_merges_hash(left, right);
    const uint8_t tag = vocab_merges_tag(hash);
    for (uint32_t at = (uint32_t)hash & m->slot_mask; m->tags[at] != 0;
         at = (at + 1) & m->slot_mask) {
        const vocab_merge *slot = &m->slots[at];
        if (m->tags[at] == tag && slot->left == left && slot->right == right) {
            return slot;
        }
    }
    return NULL;
}

#endif /* WEFT_VOCAB_VOCAB_MERGES_H */
