/* utf8_mender.c - whole characters at once, the beginning of one when the rest has come.
 */
#include "text/utf8_mender.h"

#include <string.h>

#include "base/check.h"
#include "text/utf8.h"

static size_t write_finished(str bytes, buf *out);

void utf8_mender_push(utf8_mender *m, str bytes, buf *out) {
    /* Feed a held character byte by byte until it is decided. */
    while (m->held_len > 0 && bytes.len > 0) {
        WEFT_DEBUG_ASSERT(m->held_len < sizeof m->held);
        m->held[m->held_len++] = (uint8_t)bytes.data[0];
        bytes = str_from(bytes.data + 1, bytes.len - 1);
        const str held = str_from((const char *)m->held, m->held_len);
        const size_t done = write_finished(held, out);
        m->held_len = (uint8_t)(held.len - done);
        memmove(m->held, m->held + done, m->held_len);
    }
    const size_t done = write_finished(bytes, out);
    WEFT_ASSERT(bytes.len - done <= 3);
    if (bytes.len > done) {
        memcpy(m->held, bytes.data + done, bytes.len - done);
        m->held_len = (uint8_t)(bytes.len - done);
    }
}

void utf8_mender_flush(utf8_mender *m, buf *out) {
    if (m->held_len > 0) {
        buf_append_cstr(out, "\xEF\xBF\xBD"); /* one: what is held is one maximal subpart */
        m->held_len = 0;
    }
}

/* Writes everything but an unfinished character at the end; returns how many bytes that was. */
static size_t write_finished(str bytes, buf *out) {
    const size_t end = utf8_complete_prefix(bytes);
    for (size_t at = 0; at < end;) {
        const str rest = str_from(bytes.data + at, end - at);
        const size_t valid = utf8_valid_prefix(rest);
        if (valid > 0) {
            buf_append(out, rest.data, valid);
            at += valid;
            continue;
        }
        size_t n;
        (void)utf8_decode(rest, &n);
        buf_append_cstr(out, "\xEF\xBF\xBD");
        at += n;
    }
    return end;
}
