/* vocab_special.h - finds tokens that are recognised in the text before anything else.
 *
 * Threads: read-only once created.
 */
#ifndef WEFT_VOCAB_VOCAB_SPECIAL_H
#define WEFT_VOCAB_VOCAB_SPECIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "vocab/vocab_table.h"

typedef struct vocab_special {
    const vocab_table *table; /* borrowed: lives as long as this */
    int32_t *ids;             /* [count], by text, bytewise */
    uint32_t count;
    uint64_t starts[65536 / 64]; /* bit b0 * 256 + b1: some text starts with these two bytes */
    uint64_t singles[256 / 64];  /* bit b0: some text is that one byte */
} vocab_special;

/* Takes every token with one of the attributes in `attrs` (bits of vocab_attr). */
weft_status vocab_special_init(vocab_special *s, const vocab_table *t, uint32_t attrs,
                               weft_error *err) WEFT_NODISCARD;
void vocab_special_deinit(vocab_special *s); /* accepts a zeroed one */

/* The first place at or after `from` where one of them stands, the longest one there. False when
 * there is none. */
bool vocab_special_find(const vocab_special *s, str text, size_t from, size_t *match_from,
                        int32_t *id);

#endif /* WEFT_VOCAB_VOCAB_SPECIAL_H */
