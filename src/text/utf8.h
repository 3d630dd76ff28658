/* utf8.h - UTF-8 in and out, without surprises.
 */
#ifndef WEFT_TEXT_UTF8_H
#define WEFT_TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define UTF8_INVALID 0xFFFFFFFFu

/* Decodes one code point at s.data (len >= 1). Returns it and its length in *n; for a malformed
 * sequence returns UTF8_INVALID with *n the length of the maximal subpart (at least 1), as Unicode
 * recommends for replacement. Overlong forms, surrogates and > U+10FFFF are malformed. */
uint32_t utf8_decode(str s, size_t *n);

/* Writes 1..4 bytes, returns how many. cp must be a scalar value. */
size_t utf8_encode(char out[4], uint32_t cp);

bool utf8_is_valid(str s);

/* Length of the longest well-formed prefix. */
size_t utf8_valid_prefix(str s);

/* Length of the longest prefix of s that does not end inside a character that later bytes could
 * complete. What follows it (0..3 bytes) is to be held back. */
size_t utf8_complete_prefix(str s);

#endif /* WEFT_TEXT_UTF8_H */
