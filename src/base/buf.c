/* buf.c - the growing byte buffer.
 *
 *   data ─► [ content ............ | 0 | spare ........ ]
 *            └────── len ────────┘
 *            └───────────── capacity ──────────────────┘
 *
 * Invariants: data is NULL exactly when capacity is 0; otherwise len < capacity and data[len]
 * is NUL; len <= max_bytes. Storage doubles, but never beyond max_bytes + 1, so that the
 * limit bounds memory and not only content. A failed append leaves the content as it was.
 */
#include "base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

#define CAPACITY_FIRST 64u

static bool fail(buf *b);

void buf_init(buf *b, mem_room room, size_t max_bytes) {
    *b = (buf){.room = room, .max_bytes = max_bytes};
}

void buf_deinit(buf *b) {
    mem_free(b->data);
    *b = (buf){.room = b->room};
}

void buf_clear(buf *b) {
    b->len = 0;
    b->is_failed = false;
    if (b->data != NULL) {
        b->data[0] = '\0';
    }
}

bool buf_append(buf *b, const void *data, size_t n) {
    if (!buf_reserve(b, n)) {
        return false;
    }
    if (n > 0) {
        memcpy(b->data + b->len, data, n);
        b->len += n;
    }
    b->data[b->len] = '\0';
    return true;
}

bool buf_append_str(buf *b, str s) { return buf_append(b, s.data, s.len); }

bool buf_append_cstr(buf *b, const char *s) { return buf_append(b, s, strlen(s)); }

bool buf_append_char(buf *b, char c) { return buf_append(b, &c, 1); }

bool buf_printf(buf *b, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    const bool ok = buf_vprintf(b, fmt, args);
    va_end(args);
    return ok;
}

/* Prints into the spare room; only what does not fit there is printed a second time. */
bool buf_vprintf(buf *b, const char *fmt, va_list args) {
    if (!buf_reserve(b, 0)) {
        return false;
    }
    va_list again;
    va_copy(again, args);
    const int wanted = vsnprintf(b->data + b->len, b->capacity - b->len, fmt, args);
    bool ok = wanted >= 0;
    if (ok && (size_t)wanted >= b->capacity - b->len) {
        b->data[b->len] = '\0';
        ok = buf_reserve(b, (size_t)wanted);
        if (ok) {
            (void)vsnprintf(b->data + b->len, b->capacity - b->len, fmt, again);
        }
    }
    va_end(again);
    if (!ok || (size_t)wanted > b->max_bytes - b->len) {
        b->data[b->len] = '\0';
        return fail(b);
    }
    b->len += (size_t)wanted;
    return true;
}

bool buf_reserve(buf *b, size_t extra) {
    if (b->is_failed) {
        return false;
    }
    WEFT_ASSERT(b->len <= b->max_bytes);
    if (extra > b->max_bytes - b->len || b->len + extra == SIZE_MAX) {
        return fail(b);
    }
    const size_t needed = b->len + extra + 1;
    if (needed <= b->capacity) {
        return true;
    }
    const size_t limit = b->max_bytes == SIZE_MAX ? SIZE_MAX : b->max_bytes + 1;
    size_t capacity = b->capacity > limit / 2 ? limit : b->capacity * 2;
    capacity = capacity < CAPACITY_FIRST ? CAPACITY_FIRST : capacity;
    capacity = capacity > limit ? limit : capacity;
    capacity = capacity < needed ? needed : capacity;
    char *data = mem_realloc(b->room, b->data, capacity, 1);
    if (data == NULL) {
        return fail(b);
    }
    data[b->len] = '\0';
    b->data = data;
    b->capacity = capacity;
    return true;
}

const char *buf_cstr(const buf *b) { return b->data != NULL ? b->data : ""; }

str buf_view(const buf *b) { return str_from(buf_cstr(b), b->len); }

char *buf_take(buf *b) {
    if (!buf_reserve(b, 0)) {
        return NULL;
    }
    char *data = b->data;
    *b = (buf){.room = b->room, .max_bytes = b->max_bytes};
    return data;
}

static bool fail(buf *b) {
    b->is_failed = true;
    return false;
}
