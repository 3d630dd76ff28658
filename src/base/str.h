/* str.h - a borrowed run of bytes, not NUL-terminated, usually UTF-8.
 *
 * A str owns nothing and lives as long as what it points into.
 */
#ifndef WEFT_BASE_STR_H
#define WEFT_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

typedef struct str {
    const char *data; /* may be NULL when len is 0 */
    size_t len;
} str;

#define STR_LIT(literal) ((str){(literal), sizeof(literal) - 1})
#define STR_FMT "%.*s" /* printf with STR_ARG(s) */
#define STR_ARG(s) (int)((s).len > 4096 ? 4096 : (s).len), ((s).data != NULL ? (s).data : "")

static inline str str_from(const char *data, size_t len) { return (str){data, len}; }
static inline str str_from_cstr(const char *s) { return (str){s, s != NULL ? strlen(s) : 0}; }

static inline bool str_eq(str a, str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
static inline bool str_eq_cstr(str a, const char *b) { return str_eq(a, str_from_cstr(b)); }

int str_cmp(str a, str b); /* bytewise, shorter first on a tie */
bool str_starts_with(str s, str prefix);
bool str_ends_with(str s, str suffix);
size_t str_find(str s, str needle, size_t from); /* SIZE_MAX when absent */
str str_slice(str s, size_t from, size_t to);    /* clamps both ends */
str str_trim(str s);                             /* ASCII white space on both sides */
uint64_t str_hash(str s);                        /* same in every run on every machine */

/* Whole string must be the number; false leaves *out alone. */
bool str_parse_u64(str s, uint64_t *out);
bool str_parse_i64(str s, int64_t *out);
bool str_parse_f64(str s, double *out);
/* "4096", "512K", "1.5G", "2GiB": powers of 1024, at most 2^63. */
bool str_parse_bytes(str s, uint64_t *out);

/* printf into out (at least 8 bytes) as one line for people: control characters become '?', and
 * what does not fit is cut with "...", never inside a UTF-8 character. Always terminated. */
void str_line_format(char *out, size_t out_bytes, const char *fmt, va_list args) WEFT_PRINTF(3, 0);

#endif /* WEFT_BASE_STR_H */
