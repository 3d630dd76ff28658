/* buf.h - a growing byte buffer with a maximum stated at birth.
 *
 * The content is always followed by a NUL that is not counted, so that data can be printed.
 * The first append that fails (limit or memory) sets is_failed and later appends do nothing:
 * a caller may append many times and look once.
 *
 * Threads: none; one owner.
 */
#ifndef WEFT_BASE_BUF_H
#define WEFT_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"
#include "base/str.h"

typedef struct buf {
    char *data; /* NULL until the first append */
    size_t len;
    size_t capacity;
    size_t max_bytes; /* limit on len */
    mem_room room;
    bool is_failed;
} buf;

void buf_init(buf *b, mem_room room, size_t max_bytes);
void buf_deinit(buf *b); /* accepts a zeroed buf */
void buf_clear(buf *b);  /* keeps the storage, clears is_failed */

/* Each returns false when the buffer is or becomes failed. */
bool buf_append(buf *b, const void *data, size_t n);
bool buf_append_str(buf *b, str s);
bool buf_append_cstr(buf *b, const char *s);
bool buf_append_char(buf *b, char c);
bool buf_printf(buf *b, const char *fmt, ...) WEFT_PRINTF(2, 3);
bool buf_vprintf(buf *b, const char *fmt, va_list args) WEFT_PRINTF(2, 0);

/* Grows capacity to hold `extra` more bytes, so that the next appends cannot fail. */
bool buf_reserve(buf *b, size_t extra);

/* The content until the next change; never NULL. */
const char *buf_cstr(const buf *b);
str buf_view(const buf *b);

/* Gives the NUL-terminated storage to the caller (free with mem_free) and empties the buffer.
 * NULL if the buffer is failed or memory is out. */
char *buf_take(buf *b);

#endif /* WEFT_BASE_BUF_H */
