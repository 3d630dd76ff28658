/* vocab_cuts.h - places in a text where no token can reach across.
 *
 * A SentencePiece vocabulary merges over the whole text. But if no token has an `s` directly before
 * a space, no merge ever joins `s` and the space, and what stands left of that border never
 * influences what stands right of it. Cutting there first changes no result and turns a text of a
 * megabyte into short words.
 *
 *     how▁do▁you      tokens: ▁do, ow, ▁you, ...      no token holds "w▁" or "o▁"
 *        |   |        -> how | ▁do | ▁you
 *
 * The table says for (last byte of a character, first byte of the next) whether some token holds
 * such a border. U+2581, which stands for the space, counts as a byte of its own.
 *
 * Threads: read-only once filled.
 */
#ifndef WEFT_VOCAB_VOCAB_CUTS_H
#define WEFT_VOCAB_VOCAB_CUTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "vocab/vocab_table.h"

typedef struct vocab_cuts {
    uint64_t joins[65536 / 64];
} vocab_cuts;

void vocab_cuts_init(vocab_cuts *c, const vocab_table *t);

/* The end of the part that begins at `from` < text.len. Spaces in text count as U+2581, and each
 * byte that is not UTF-8 as U+FFFD. */
size_t vocab_cuts_next(const vocab_cuts *c, str text, size_t from);

#endif /* WEFT_VOCAB_VOCAB_CUTS_H */
