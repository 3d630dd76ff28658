/* regex.h - the pre-tokeniser's patterns, on PCRE2 with JIT where the system has it.
 *
 * Patterns are written as the tokenizers of Hugging Face write them, for Oniguruma (Unicode
 * classes, possessive and lazy quantifiers, look-ahead; ^ and $ are ends of lines). Matching works
 * on valid UTF-8.
 *
 * Threads: a compiled regex is read-only; each matching thread has its own regex_scratch.
 */
#ifndef WEFT_TEXT_REGEX_H
#define WEFT_TEXT_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "base/str.h"

typedef struct regex regex;
typedef struct regex_scratch regex_scratch;

weft_status regex_compile(regex **out, str pattern, weft_error *err) WEFT_NODISCARD;
void regex_destroy(regex **r);

weft_status regex_scratch_create(regex_scratch **out, weft_error *err) WEFT_NODISCARD;
void regex_scratch_destroy(regex_scratch **s);

/* Finds the first match at or after `from`. False when there is none, or when PCRE2 gave up: ask
 * regex_scratch_status once the searching is over. A match may be empty. */
bool regex_find(const regex *r, regex_scratch *scratch, str text, size_t from, size_t *match_from,
                size_t *match_to);

/* The same in a text that may go on: undecided where more text could change the answer, with
 * *match_from the place before which there is no match. A match that ends with the text is
 * undecided too when it is empty. */
typedef enum regex_found { REGEX_NONE, REGEX_MATCH, REGEX_UNDECIDED } regex_found;
regex_found regex_find_growing(const regex *r, regex_scratch *scratch, str text, size_t from,
                               size_t *match_from, size_t *match_to);

/* One match after the other, from a zeroed walk on, as Oniguruma's find_iter gives them: an empty
 * one directly behind another is none. */
typedef struct regex_walk {
    size_t from; /* the match */
    size_t to;
    size_t at;   /* where to look for the next */
    size_t sure; /* in a growing text: before it no other match begins */
    bool is_begun;
} regex_walk;
bool regex_walk_next(regex_walk *w, const regex *r, regex_scratch *scratch, str text);
/* The walk goes on when there is more text; the last part is regex_walk_next's. */
regex_found regex_walk_growing(regex_walk *w, const regex *r, regex_scratch *scratch, str text);
/* The same for a text; an empty one is not found. */
bool regex_walk_text(regex_walk *w, str what, str text);

/* An error that names the pattern when a search with this scratch was given up. */
weft_status regex_scratch_status(const regex_scratch *s, weft_error *err) WEFT_NODISCARD;

#endif /* WEFT_TEXT_REGEX_H */
