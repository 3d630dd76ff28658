/* utf8_mender.h - bytes that come in parts become a text in UTF-8.
 *
 * Whatever is certainly finished is written at once; an unfinished character (at most three bytes)
 * is held until the next bytes decide about it. All bytes together are read as one text: a
 * malformed subpart becomes one U+FFFD, exactly as Python's bytes.decode("utf-8",
 * errors="replace") has it, and the sum of what was written never depends on how the bytes came.
 *
 *     utf8_mender m = {0};
 *     utf8_mender_push(&m, bytes, &out);      as often as there are some
 *     utf8_mender_flush(&m, &out);            at the end
 */
#ifndef WEFT_TEXT_UTF8_MENDER_H
#define WEFT_TEXT_UTF8_MENDER_H

#include <stdint.h>

#include "base/buf.h"

typedef struct utf8_mender {
    uint8_t held[4]; /* of an unfinished character */
    uint8_t held_len;
} utf8_mender;

void utf8_mender_push(utf8_mender *m, str bytes, buf *out);
void utf8_mender_flush(utf8_mender *m, buf *out);

#endif /* WEFT_TEXT_UTF8_MENDER_H */
