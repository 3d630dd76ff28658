/* jinja_unicode.h - characters and strings as Python's str sees them.
 *
 * Positions and lengths are in code points. Texts are valid UTF-8 throughout.
 *
 * Threads: any; pure functions.
 */
#ifndef WEFT_TEXT_JINJA_UNICODE_H
#define WEFT_TEXT_JINJA_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* str.isspace, str.isalpha, ... of one character. */
bool jinja_cp_is_space(uint32_t cp);
bool jinja_cp_is_alpha(uint32_t cp);
bool jinja_cp_is_decimal(uint32_t cp);
bool jinja_cp_is_digit(uint32_t cp);
bool jinja_cp_is_numeric(uint32_t cp);
bool jinja_cp_is_lower(uint32_t cp);
bool jinja_cp_is_upper(uint32_t cp);
bool jinja_cp_is_title(uint32_t cp);
bool jinja_cp_is_printable(uint32_t cp); /* repr shows it as it is */
bool jinja_cp_is_word(uint32_t cp);      /* \w */

/* The code point at byte offset at, whose length goes to *n. */
uint32_t jinja_cp_at(str s, size_t at, size_t *n);
/* The code point that ends at byte offset end (> 0). */
uint32_t jinja_cp_before(str s, size_t end, size_t *n);

size_t jinja_str_chars(str s);
/* Byte offset of the code point with this index; s.len when index is past the end. */
size_t jinja_str_offset(str s, size_t index);

/* str_find in linear time whatever the needle: templates choose both texts. */
size_t jinja_str_find(str s, str needle, size_t from);

/* Python's strip family without arguments: white space is Unicode's. */
str jinja_str_lstrip(str s);
str jinja_str_rstrip(str s);
bool jinja_str_is_blank(str s); /* empty or white space only */

/* End of the line that begins at from; *next gets the start of the following one. The line ends
 * of str.splitlines: \n, \r\n, \r, \v, \f, FS, GS, RS, NEL, LS, PS. */
size_t jinja_str_line_end(str s, size_t from, size_t *next);

typedef enum jinja_case {
    JINJA_CASE_LOWER,
    JINJA_CASE_UPPER,
    JINJA_CASE_TITLE,
    JINJA_CASE_FOLD
} jinja_case;

#define JINJA_CASE_CHARS_MAX 3

/* The full case mapping of the character at byte offset at of s (its surroundings decide about
 * the final sigma). Writes 1..JINJA_CASE_CHARS_MAX code points, returns how many. */
size_t jinja_cp_map(str s, size_t at, jinja_case to, uint32_t out[JINJA_CASE_CHARS_MAX]);

#endif /* WEFT_TEXT_JINJA_UNICODE_H */
