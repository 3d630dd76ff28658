/* nfc.c - utf8proc's normalisation, asked only where it can matter.
 *
 * Everything below U+0300 is in form C already, and its UTF-8 has no byte from CC on, so most text
 * of the West is done by one pass over bytes. Otherwise each character is looked up: nothing
 * changes unless there is a mark, a character with a canonical decomposition, or a Hangul jamo.
 *
 * utf8proc works on arrays of code points. They are allocated here, so that they pass the gate.
 */
#include "text/nfc.h"

#include <utf8proc.h>

#include "base/mem.h"
#include "text/utf8.h"

#define FIRST_CHANGING_LEAD 0xCCu /* of U+0300 */

static bool is_stable(uint32_t cp);

bool nfc_may_change(str s) {
    size_t n = 0;
    for (size_t at = 0; at < s.len; at += n) {
        n = 1;
        if ((uint8_t)s.data[at] < FIRST_CHANGING_LEAD) {
            continue;
        }
        if (!is_stable(utf8_decode(str_from(s.data + at, s.len - at), &n))) {
            return true;
        }
    }
    return false;
}

bool nfc_append(buf *out, str s) {
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)s.data;
    const utf8proc_ssize_t len = (utf8proc_ssize_t)s.len;
    utf8proc_ssize_t count = utf8proc_decompose(bytes, len, NULL, 0, options);
    if (count <= 0) {
        return count == 0 || buf_append_str(out, s);
    }
    utf8proc_int32_t *cps = mem_array(MEM_TEXT, (size_t)count, sizeof *cps);
    if (cps == NULL) {
        return false;
    }
    count = utf8proc_decompose(bytes, len, cps, count, options);
    if (count > 0) {
        count = utf8proc_normalize_utf32(cps, count, options);
    }
    bool is_done = count >= 0;
    for (utf8proc_ssize_t i = 0; i < count && is_done; i++) {
        char encoded[4];
        is_done = buf_append(out, encoded, utf8_encode(encoded, (uint32_t)cps[i]));
    }
    mem_free(cps);
    return is_done;
}

static bool is_stable(uint32_t cp) {
    if (cp < 0x300) {
        return true;
    }
    const utf8proc_property_t *p = utf8proc_get_property((utf8proc_int32_t)cp);
    const bool is_mark = p->category == UTF8PROC_CATEGORY_MN ||
                         p->category == UTF8PROC_CATEGORY_MC ||
                         p->category == UTF8PROC_CATEGORY_ME || p->combining_class != 0;
    const bool has_decomposition = p->decomp_seqindex != UINT16_MAX && p->decomp_type == 0;
    const bool is_jamo = cp >= 0x1100 && cp <= 0x11FF;
    return !is_mark && !has_decomposition && !is_jamo;
}
