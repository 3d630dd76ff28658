/* engine_text.c - the public face of a loaded model's tokeniser and chat template.
 */
#include <string.h>

#include "base/mem.h"
#include "engine/engine_impl.h"

#define TEXT_BYTES_MAX (256u << 20)

void weft_free(void *p) { mem_free(p); }

void weft_tokens_deinit(weft_tokens *t) {
    mem_free(t->ids);
    *t = (weft_tokens){0};
}

weft_status weft_tokenize(const weft_engine *en, const char *text, size_t len, uint32_t flags,
                          weft_tokens *out, weft_error *err) {
    vocab_ids ids = {.ids = out->ids, .count = out->count, .capacity = out->capacity};
    const uint32_t vocab_flags = ((flags & WEFT_TOKENIZE_SPECIAL) != 0 ? VOCAB_ADD_SPECIAL : 0u) |
                                 ((flags & WEFT_TOKENIZE_PARSE) != 0 ? VOCAB_PARSE_SPECIAL : 0u);
    const weft_status status =
        vocab_encode(engine_vocab(en), str_from(text, len), vocab_flags, &ids, err);
    *out = (weft_tokens){.ids = ids.ids, .count = ids.count, .capacity = ids.capacity};
    return status;
}

/* Hands a finished buffer to the caller, or says why not. */
static weft_status take_text(buf *b, char **out, size_t *out_len, weft_error *err) {
    const size_t len = b->len;
    char *text = buf_take(b);
    buf_deinit(b);
    if (text == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for %zu bytes of text", len);
    }
    *out = text;
    *out_len = len;
    return WEFT_OK;
}

weft_status weft_detokenize(const weft_engine *en, const int32_t *ids, size_t n, bool shows_special,
                            char **out, size_t *out_len, weft_error *err) {
    buf text;
    vocab_decoder decoder;
    buf_init(&text, MEM_ENGINE, TEXT_BYTES_MAX);
    vocab_decoder_init(&decoder, engine_vocab(en), shows_special);
    for (size_t i = 0; i < n; i++) {
        vocab_decoder_push(&decoder, ids[i], &text);
    }
    vocab_decoder_flush(&decoder, &text);
    const weft_status status = vocab_decoder_status(&decoder, err);
    vocab_decoder_deinit(&decoder);
    if (status != WEFT_OK) {
        buf_deinit(&text);
        return status;
    }
    return take_text(&text, out, out_len, err);
}

size_t weft_token_bytes(const weft_engine *en, int32_t id, char *out, size_t out_bytes) {
    const str bytes = vocab_token_bytes(engine_vocab(en), id);
    const size_t len = bytes.len < out_bytes ? bytes.len : out_bytes;
    if (len > 0) {
        memcpy(out, bytes.data, len);
    }
    return len;
}

weft_status weft_chat_apply(const weft_engine *en, const char *request_json, size_t len, char **out,
                            size_t *out_len, weft_error *err) {
    if (engine_chat(en) == NULL) {
        return weft_fail(err, WEFT_UNSUPPORTED,
                         "the model has no chat template; use plain completions");
    }
    buf text;
    buf_init(&text, MEM_ENGINE, TEXT_BYTES_MAX);
    const weft_status status = chat_apply(engine_chat(en), str_from(request_json, len), &text, err);
    if (status != WEFT_OK) {
        buf_deinit(&text);
        return status;
    }
    return take_text(&text, out, out_len, err);
}
