/* jinja_source.h - the text of a template and the place an error points at.
 *
 * Every token and node carries the byte offset where it begins; line and column are worked out
 * only when an error is written, so that positions cost four bytes.
 *
 * Threads: read-only once made.
 */
#ifndef WEFT_TEXT_JINJA_SOURCE_H
#define WEFT_TEXT_JINJA_SOURCE_H

#include <stdarg.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"

/* Leaves the function with the status of call unless that is WEFT_OK: the interpreter's calls fail
 * all the way up and own nothing outside their arena. */
#define JINJA_TRY(call)                             \
    do {                                            \
        const weft_status try_status = (call);      \
        if (WEFT_UNLIKELY(try_status != WEFT_OK)) { \
            return try_status;                      \
        }                                           \
    } while (0)

typedef struct jinja_source {
    const char *name; /* what the template is called in messages */
    str text;         /* newlines are \n, one trailing newline removed */
} jinja_source;

/* Copies name and text into memory, normalised as jinja2 does it. The text must be UTF-8. */
weft_status jinja_source_init(jinja_source *s, arena *memory, str text, const char *name,
                              weft_error *err) WEFT_NODISCARD;

/* Writes "NAME: line L, column C: ..." and returns code. Columns count characters from 1. */
weft_status jinja_source_fail(const jinja_source *s, uint32_t at, weft_error *err, weft_status code,
                              const char *fmt, ...) WEFT_PRINTF(5, 6);
weft_status jinja_source_vfail(const jinja_source *s, uint32_t at, weft_error *err,
                               weft_status code, const char *fmt, va_list args) WEFT_PRINTF(5, 0);

#endif /* WEFT_TEXT_JINJA_SOURCE_H */
