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

/* An error that names the pattern when a search with this scratch was given up. */
weft_status regex_scratch_status(const regex_scratch *s, weft_error *err) WEFT_NODISCARD;

#endif /* WEFT_TEXT_REGEX_H */
