/* vocab_decoder.c - tokens to text, as they come.
 *
 * A token is a run of bytes, and a character may be spread over several tokens: utf8_mender puts
 * them together. Hidden tokens (control, unknown, unused) do not interrupt a character. Where the
 * vocabulary puts a space before the text when it encodes, one space is taken away from the very
 * beginning of what is decoded. The decoder of a tokenizer.json may look further than one token:
 * then tokjson_stream does all of this.
 */
#include "vocab/tokjson.h"
#include "vocab/vocab_impl.h"

void vocab_decoder_init(vocab_decoder *d, const vocab *v, bool shows_special) {
    *d = (vocab_decoder){.vocab = v, .shows_special = shows_special};
    if (v->tokjson != NULL && tokjson_stream_is_needed(v->tokjson)) {
        d->stream = tokjson_stream_create(v);
        d->is_failed = d->stream == NULL;
    }
}

void vocab_decoder_deinit(vocab_decoder *d) { tokjson_stream_destroy(&d->stream); }

void vocab_decoder_push(vocab_decoder *d, int32_t id, buf *out) {
    const vocab_table *t = &d->vocab->table;
    if (id < 0 || (uint32_t)id >= t->count) {
        return;
    }
    const uint32_t hidden = VOCAB_ATTR_CONTROL | VOCAB_ATTR_UNKNOWN | VOCAB_ATTR_UNUSED;
    if (!d->shows_special && (t->attrs[id] & hidden) != 0) {
        return;
    }
    if (d->is_failed) {
        out->is_failed = true;
        return;
    }
    if (d->stream != NULL) {
        tokjson_stream_push(d->stream, id, out);
        return;
    }
    str piece = vocab_table_piece(t, id);
    if (piece.len == 0) {
        return;
    }
    if (!d->is_started && d->vocab->adds_space && piece.data[0] == ' ') {
        piece = str_from(piece.data + 1, piece.len - 1);
    }
    d->is_started = true;
    utf8_mender_push(&d->mender, piece, out);
}

str vocab_token_bytes(const vocab *v, int32_t id) {
    const vocab_table *t = &v->table;
    return id < 0 || (uint32_t)id >= t->count ? (str){"", 0} : vocab_table_piece(t, id);
}

void vocab_decoder_flush(vocab_decoder *d, buf *out) {
    if (d->stream != NULL) {
        tokjson_stream_flush(d->stream, out);
    }
    utf8_mender_flush(&d->mender, out);
}

weft_status vocab_decoder_status(const vocab_decoder *d, weft_error *err) {
    return d->stream != NULL ? tokjson_stream_status(d->stream, err) : WEFT_OK;
}
