/* vocab_threes.h - digits of a number in groups of three, counted from the right.
 *
 * Some pre-tokenizers cut 1234567 into 1, 234 and 567. Their files say so with a look-ahead over
 * the rest of the number at every group, which costs the square of its length: minutes for a
 * megabyte of digits. Here a pattern finds the whole number once, and the groups are counted.
 *
 *     vocab_threes t = vocab_threes_of(number);
 *     str group;
 *     while (vocab_threes_next(&t, &group)) { ... }
 */
#ifndef WEFT_VOCAB_VOCAB_THREES_H
#define WEFT_VOCAB_VOCAB_THREES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

typedef struct vocab_threes {
    str rest;
    size_t n_left; /* characters of rest */
} vocab_threes;

/* A pattern of a tokenizer.json that groups digits with a look-ahead, and how to do without. */
typedef struct vocab_threes_pattern {
    const char *written; /* in the file */
    const char *number;  /* what finds the whole number */
    bool is_border;      /* matches are empty, before each whole group, and not the groups */
} vocab_threes_pattern;

/* number is well-formed UTF-8; a character is a digit. */
vocab_threes vocab_threes_of(str number);

/* The next group: the first has one to three digits, all others three. False behind the last. */
bool vocab_threes_next(vocab_threes *t, str *group);

/* NULL when the pattern is not known to be one of these. */
const vocab_threes_pattern *vocab_threes_find(str pattern);

#endif /* WEFT_VOCAB_VOCAB_THREES_H */
