/* vocab_charsmap.h - SentencePiece's compiled normaliser: which bytes become which others.
 *
 * The longest key at a place of the text is replaced by its string (NFKC, spaces made one kind and
 * the like); what no key begins with stays as it is.
 *
 * Threads: read-only once filled.
 */
#ifndef WEFT_VOCAB_VOCAB_CHARSMAP_H
#define WEFT_VOCAB_VOCAB_CHARSMAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"
#include "weights/weights.h"

#define VOCAB_CHARSMAP_BYTES_MAX (16u << 20)
#define VOCAB_CHARSMAP_KEY_MAX 255u         /* bytes; bounds the walk from any place of a text */
#define VOCAB_CHARSMAP_REPLACEMENT_MAX 255u /* bytes; bounds what a text can grow to */

typedef struct vocab_charsmap {
    uint32_t *units; /* [n_units] of the double array; NULL: nothing is replaced */
    uint32_t n_units;
    uint32_t n_strings;
    char *strings; /* [n_strings] bytes, each string with its NUL */
} vocab_charsmap;

/* Reads tokenizer.ggml.precompiled_charsmap; without one nothing is replaced. */
weft_status vocab_charsmap_init(vocab_charsmap *c, const weights *w,
                                weft_error *err) WEFT_NODISCARD;
/* The same from its bytes; `name` is what errors call it. */
weft_status vocab_charsmap_init_bytes(vocab_charsmap *c, const uint8_t *data, size_t len,
                                      const char *name, weft_error *err) WEFT_NODISCARD;
void vocab_charsmap_deinit(vocab_charsmap *c); /* accepts a zeroed one */

/* The bytes of the longest key at the beginning of text, and what replaces them; 0 when there is
 * none. */
size_t vocab_charsmap_find(const vocab_charsmap *c, str text, str *replacement);

/* The same for the shortest key. */
size_t vocab_charsmap_find_shortest(const vocab_charsmap *c, str text, str *replacement);

#endif /* WEFT_VOCAB_VOCAB_CHARSMAP_H */
