/* vocab_word.h - merging the symbols of one word, by rank or by score.
 *
 *     l o w e r     the best pair of neighbours becomes one symbol, the leftmost of equals;
 *     lo w e r      again, until no pair of neighbours can merge
 *     low er
 *
 * What a pair merges to and how good that is comes from the caller as a function, because byte pair
 * encoding knows pairs of tokens while SentencePiece knows only texts.
 *
 * Threads: none; each encode has its own scratch.
 */
#ifndef WEFT_VOCAB_VOCAB_WORD_H
#define WEFT_VOCAB_VOCAB_WORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VOCAB_WORD_SHORT_MAX 32u /* symbols that are merged without a heap */

/* from and to are places in the word's text, for pairs that are known by text. */
typedef struct vocab_symbol {
    int32_t id; /* VOCAB_NONE for what is no token yet */
    uint32_t from;
    uint32_t to;
    uint32_t prev; /* links of long words; SYMBOL_END outside */
    uint32_t next;
} vocab_symbol;

/* Lower is better. */
typedef struct vocab_pair {
    uint32_t rank; /* VOCAB_RANK_NONE: they do not merge */
    int32_t id;
} vocab_pair;

typedef vocab_pair vocab_pair_fn(const void *context, const vocab_symbol *left,
                                 const vocab_symbol *right);

typedef struct vocab_word_heap_item {
    uint32_t rank;
    uint32_t left; /* of the pair: number of a symbol */
    uint32_t to; /* where the pair's text ended when it was entered: tells whether it still does */
    int32_t id;  /* what the pair becomes */
} vocab_word_heap_item;

typedef struct vocab_word {
    vocab_symbol *symbols;
    size_t count;
    size_t capacity;
    vocab_word_heap_item *heap;
    size_t heap_count;
    size_t heap_capacity;
} vocab_word;

void vocab_word_deinit(vocab_word *w); /* accepts a zeroed one */

/* Forgets the symbols, keeps the storage. */
static inline void vocab_word_clear(vocab_word *w) { w->count = 0; }

/* Appends a symbol; false when memory is out. */
bool vocab_word_push(vocab_word *w, int32_t id, uint32_t from, uint32_t to);

/* Merges until nothing merges; the symbols left are symbols[0..count). False when memory is out. */
bool vocab_word_merge(vocab_word *w, vocab_pair_fn *pair, const void *context);

#endif /* WEFT_VOCAB_VOCAB_WORD_H */
