/* vocab_decoder.c - tokens to text, as they come.
 *
 * A token is a run of bytes, and a character may be spread over several tokens. Whatever is
 * certainly finished is written at once; an unfinished character (at most three bytes) is held
 * until the next token decides about it. The bytes of all tokens together are read as one text in
 * UTF-8: a malformed subpart becomes one U+FFFD, exactly as Python's bytes.decode("utf-8",
 * errors="replace") has it, and the sum of what was written never depends on how the bytes were
 * spread over tokens.
 *
 * Hidden tokens (control, unknown, unused) do not interrupt a character. Where the vocabulary puts
 * a space before the text when it encodes, one space is taken away from the very beginning of what
 * is decoded. Two habits of a tokenizer.json: the space behind each word waits for the next one
 * (BPEDecoder), and a token that comes again at once is dropped (CTC).
 */
#include "base/check.h"
#include "text/utf8.h"
#include "vocab/vocab_impl.h"

static void decode_bytes(vocab_decoder *d, str bytes, buf *out);
static size_t write_finished(str bytes, buf *out);

void vocab_decoder_init(vocab_decoder *d, const vocab *v, bool shows_special) {
    *d = (vocab_decoder){.vocab = v, .shows_special = shows_special, .last_id = VOCAB_NONE};
}

void vocab_decoder_push(vocab_decoder *d, int32_t id, buf *out) {
    const vocab_table *t = &d->vocab->table;
    if (id < 0 || (uint32_t)id >= t->count) {
        return;
    }
    const uint32_t hidden = VOCAB_ATTR_CONTROL | VOCAB_ATTR_UNKNOWN | VOCAB_ATTR_UNUSED;
    if (!d->shows_special && (t->attrs[id] & hidden) != 0) {
        return;
    }
    if (d->vocab->drops_repeated && id == d->last_id) {
        return;
    }
    d->last_id = id;
    str piece = vocab_table_piece(t, id);
    if (piece.len == 0) {
        return;
    }
    if (d->vocab->holds_last_space) {
        if (d->holds_space) {
            decode_bytes(d, STR_LIT(" "), out);
        }
        d->holds_space = piece.data[piece.len - 1] == ' ';
        piece.len -= d->holds_space;
    }
    if (!d->is_started && d->vocab->adds_space && piece.len > 0 && piece.data[0] == ' ') {
        piece = str_from(piece.data + 1, piece.len - 1);
    }
    d->is_started = true;
    decode_bytes(d, piece, out);
}

str vocab_token_bytes(const vocab *v, int32_t id) {
    const vocab_table *t = &v->table;
    return id < 0 || (uint32_t)id >= t->count ? (str){"", 0} : vocab_table_piece(t, id);
}

void vocab_decoder_flush(vocab_decoder *d, buf *out) {
    if (d->held_len > 0) {
        buf_append_cstr(out, "\xEF\xBF\xBD"); /* one: what is held is one maximal subpart */
        d->held_len = 0;
    }
}

static void decode_bytes(vocab_decoder *d, str bytes, buf *out) {
    /* Feed a held character byte by byte until it is decided. */
    while (d->held_len > 0 && bytes.len > 0) {
        WEFT_DEBUG_ASSERT(d->held_len < 4);
        d->held[d->held_len++] = (uint8_t)bytes.data[0];
        bytes = str_from(bytes.data + 1, bytes.len - 1);
        const str held = str_from((const char *)d->held, d->held_len);
        const size_t done = write_finished(held, out);
        d->held_len = (uint8_t)(held.len - done);
        memmove(d->held, d->held + done, d->held_len);
    }
    const size_t done = write_finished(bytes, out);
    WEFT_ASSERT(bytes.len - done <= 3);
    if (bytes.len > done) {
        memcpy(d->held, bytes.data + done, bytes.len - done);
        d->held_len = (uint8_t)(bytes.len - done);
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
