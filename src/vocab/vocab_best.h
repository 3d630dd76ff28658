/* vocab_best.h - the best-scored way to cut a text into tokens: the search of every unigram model.
 *
 * Scores are logarithms of probabilities; the tokens of a text are those whose scores have the
 * highest sum. A character that is no token by itself can be crossed as unknown, at a score below
 * every token's.
 *
 *   text:   a  b  c  d          ways[0].at = 2 ── ways[2]: "ab" ends here; ways[2].at = 4
 *   ways: 0  1  2  3  4                          ways[4]: "cd"
 *
 * Threads: a model is read-only; a vocab_best belongs to one encode.
 */
#ifndef WEFT_VOCAB_VOCAB_BEST_H
#define WEFT_VOCAB_VOCAB_BEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "vocab/vocab_trie.h"

#define VOCAB_BEST_UNKNOWN_PENALTY 10.0 /* below the worst token */

typedef struct vocab_best_model {
    double *scores; /* [count] by id */
    double unknown_score;
    int32_t unknown; /* counts as unknown even where its text is found; or VOCAB_NONE */
} vocab_best_model;

typedef struct vocab_best_way {
    double score;
    uint32_t at; /* where the token that begins here ends */
    int32_t id;  /* the token that ends here; VOCAB_NONE: an unknown character */
} vocab_best_way;

typedef struct vocab_best {
    vocab_best_way *ways; /* [capacity] */
    size_t capacity;
} vocab_best;

/* Fills b->ways from 0 on: the path is ways[0].at, ways[that].at, ... up to text.len. False when
 * memory is out. Bytes that are not UTF-8 are characters of one byte. */
bool vocab_best_find(vocab_best *b, const vocab_best_model *m, const vocab_trie *trie, str text);

/* Room for the ways of so many bytes. */
bool vocab_best_reserve(vocab_best *b, size_t len);

void vocab_best_deinit(vocab_best *b); /* accepts a zeroed one */

#endif /* WEFT_VOCAB_VOCAB_BEST_H */
