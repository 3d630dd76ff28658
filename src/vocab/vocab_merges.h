/* vocab_merges.h - which two tokens may become one, and how early.
 *
 * Threads: read-only once filled.
 */
#ifndef WEFT_VOCAB_VOCAB_MERGES_H
#define WEFT_VOCAB_VOCAB_MERGES_H

#include <stdint.h>

#include "base/status.h"
#include "vocab/vocab_table.h"
#include "weights/weights.h"

#define VOCAB_MERGES_MAX 8000000u
#define VOCAB_RANK_NONE UINT32_MAX

/* The merge of left and right makes `id`; the lowest rank in a word goes first. */
typedef struct vocab_merge {
    int32_t left; /* VOCAB_NONE in a free slot */
    int32_t right;
    uint32_t rank;
    int32_t id;
} vocab_merge;

typedef struct vocab_merges {
    vocab_merge *slots; /* open addressing, power of two */
    uint32_t slot_mask;
    uint32_t count;
} vocab_merges;

/* Reads tokenizer.ggml.merges: "left right", best first. Merges whose parts or result are no tokens
 * can never take place and are left out. */
weft_status vocab_merges_init(vocab_merges *m, const vocab_table *t, const weights *w,
                              weft_error *err) WEFT_NODISCARD;
void vocab_merges_deinit(vocab_merges *m); /* accepts a zeroed one */

static inline uint32_t vocab_merges_start(const vocab_merges *m, int32_t left, int32_t right)
{
    const uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(h >> 32) & m->slot_mask;
}

/* The merge of two neighbours; NULL when there is none. */
static inline const vocab_merge *vocab_merges_find(const vocab_merges *m, int32_t left,
                                                   int32_t right)
{
    uint32_t at = vocab_merges_start(m, left, right);
    for (;; at = (at + 1) & m->slot_mask) {
        const vocab_merge *slot = &m->slots[at];
        if (slot->left == left && slot->right == right) {
            return slot;
        }
        if (slot->left < 0) {
            return NULL;
        }
    }
}

#endif /* WEFT_VOCAB_VOCAB_MERGES_H */
