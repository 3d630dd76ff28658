/* tokjson_precompiled.c - the normaliser Precompiled of a tokenizer.json.
 *
 * The map is SentencePiece's (vocab_charsmap.h), which takes the longest key at each place of the
 * text. The tokenizers library looks at one grapheme cluster at a time instead: one of less than
 * six bytes that begins with a key is replaced as a whole, by what the shortest such key stands
 * for; of any other cluster each character is looked up by itself, in the same way. Models were
 * published with that, so it is what must be done.
 *
 * Clusters are utf8proc's. Where later versions of Unicode join what it parts, the clusters have
 * six bytes and more, and nothing changes.
 */
#include <utf8proc.h>

#include "base/mem.h"
#include "text/utf8.h"
#include "vocab/tokjson.h"

#define GRAPHEME_BYTES_MAX 5u /* of one that is replaced as a whole */

static bool decode_base64(str text, buf *out);
static size_t grapheme_bytes(str text);

weft_status tokjson_precompiled_load(vocab_charsmap *c, str base64, weft_error *err) {
    buf bytes;
    buf_init(&bytes, MEM_VOCAB, VOCAB_CHARSMAP_BYTES_MAX);
    weft_status status = WEFT_OK;
    if (!decode_base64(base64, &bytes)) {
        status =
            weft_fail(err, WEFT_FORMAT,
                      "tokenizer.json: precompiled_charsmap of %zu characters is no base64, or "
                      "of more than %u bytes",
                      base64.len, VOCAB_CHARSMAP_BYTES_MAX);
    } else {
        status = vocab_charsmap_init_bytes(c, (const uint8_t *)buf_cstr(&bytes), bytes.len,
                                           "precompiled_charsmap", err);
    }
    buf_deinit(&bytes);
    return status;
}

bool tokjson_precompiled_run(const vocab_charsmap *c, str text, buf *out) {
    size_t n;
    for (size_t at = 0; at < text.len; at += n) {
        const str rest = str_from(text.data + at, text.len - at);
        n = grapheme_bytes(rest);
        str with;
        if (n <= GRAPHEME_BYTES_MAX &&
            vocab_charsmap_find_shortest(c, str_from(rest.data, n), &with) > 0) {
            buf_append_str(out, with);
            continue;
        }
        size_t taken;
        for (size_t i = 0; i < n; i += taken) {
            (void)utf8_decode(str_from(rest.data + i, n - i), &taken);
            const str character = str_from(rest.data + i, taken);
            const bool is_mapped = vocab_charsmap_find_shortest(c, character, &with) > 0;
            buf_append_str(out, is_mapped ? with : character);
        }
    }
    return !out->is_failed;
}

/* Of the cluster that a text in UTF-8 begins with. */
static size_t grapheme_bytes(str text) {
    if (text.len == 1 || ((uint8_t)text.data[0] < 0x80 && (uint8_t)text.data[1] < 0x80)) {
        const bool is_line_end = text.len > 1 && text.data[0] == '\r' && text.data[1] == '\n';
        return is_line_end ? 2 : 1;
    }
    size_t n;
    uint32_t before = utf8_decode(text, &n);
    utf8proc_int32_t state = 0;
    size_t len = n;
    while (len < text.len) {
        const uint32_t cp = utf8_decode(str_from(text.data + len, text.len - len), &n);
        if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)before, (utf8proc_int32_t)cp,
                                             &state)) {
            break;
        }
        before = cp;
        len += n;
    }
    return len;
}

static bool decode_base64(str text, buf *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    while (text.len > 0 && text.data[text.len - 1] == '=') {
        text.len--;
    }
    uint32_t bits = 0;
    unsigned n_bits = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *digit = text.data[i] != '\0' ? strchr(digits, text.data[i]) : NULL;
        if (digit == NULL) {
            return false;
        }
        bits = bits << 6 | (uint32_t)(digit - digits);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            buf_append_char(out, (char)(bits >> n_bits & 0xFF));
        }
    }
    return !out->is_failed;
}
