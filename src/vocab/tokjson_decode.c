/* tokjson_decode.c - the decoder of a tokenizer.json, run once for every token when it is loaded.
 *
 * What a decoder does to a token depends on the token, and on whether it is the first. So every
 * token gets its bytes as it stands within a text, and vocab_decoder takes one space from the very
 * beginning where the first is treated otherwise. An added token that is sought as normalised is
 * also shown so. vocab_decoder also does what depends on the token beside: CTC drops a token that
 * comes again, and BPEDecoder writes no space behind the last one. Strip or Replace that reach over
 * several tokens are refused.
 */
#include <jansson.h>

#include "base/mem.h"
#include "text/utf8.h"
#include "vocab/tokjson.h"

static weft_status add(tokjson *t, tokjson_decode d, weft_error *err);
static weft_status add_step(tokjson *t, const json_t *step, const char *type, weft_error *err);
static weft_status add_replace(tokjson *t, const json_t *step, weft_error *err);
static weft_status add_strip(tokjson *t, const json_t *step, weft_error *err);
static weft_status add_metaspace(tokjson *t, const json_t *step, weft_error *err);
static bool run_steps(const tokjson *t, str text, buf bufs[2], str *out);
static bool run_step(const tokjson_decode *d, str text, buf *out);
static bool run_byte_level(str text, buf *out);
static bool run_replace(str text, str what, str with, buf *out);
static bool run_strip(const tokjson_decode *d, str text, buf *out);
static bool run_wordpiece(const tokjson_decode *d, str text, buf *out);
static bool run_ctc(const tokjson_decode *d, str text, buf *out);
static bool clean_up(buf *text);

weft_status tokjson_decode_load(tokjson *t, const json_t *step, uint32_t depth, weft_error *err) {
    if (step == NULL || json_is_null(step)) {
        return WEFT_OK;
    }
    t->has_decoder = true;
    const char *type = tokjson_type(step);
    if (strcmp(type, "Sequence") != 0) {
        return add_step(t, step, type, err);
    }
    if (depth >= TOKJSON_DEPTH_MAX) {
        return weft_fail(err, WEFT_LIMIT, "tokenizer.json: decoder nested more than %u deep",
                         TOKJSON_DEPTH_MAX);
    }
    const json_t *list = json_object_get(step, "decoders");
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < json_array_size(list) && status == WEFT_OK; i++) {
        status = tokjson_decode_load(t, json_array_get(list, i), depth + 1, err);
    }
    return status;
}

weft_status tokjson_decode_fill(const tokjson *t, vocab *v, weft_error *err) {
    vocab_table *table = &v->table;
    buf all;
    buf bufs[2];
    buf_init(&all, MEM_VOCAB, UINT32_MAX);
    buf_init(&bufs[0], MEM_VOCAB, TOKJSON_TEXT_BYTES_MAX);
    buf_init(&bufs[1], MEM_VOCAB, TOKJSON_TEXT_BYTES_MAX);
    table->pieces_at = mem_array(MEM_VOCAB, (size_t)table->count + 1, sizeof *table->pieces_at);
    uint32_t *added = mem_zalloc(MEM_VOCAB, table->count, sizeof *added); /* by id, from 1 */
    bool is_whole = table->pieces_at != NULL && added != NULL;
    for (uint32_t i = 0; i < t->n_added && is_whole; i++) {
        added[t->added[i].id] = i + 1;
    }
    for (uint32_t id = 0; id < table->count && is_whole; id++) {
        table->pieces_at[id] = (uint32_t)all.len;
        str piece =
            added[id] == 0 ? vocab_table_text(table, (int32_t)id) : t->added[added[id] - 1].text;
        if (!t->has_decoder && piece.len > 0) {
            buf_append_char(&all, ' '); /* tokens are words then */
        }
        is_whole = run_steps(t, piece, bufs, &piece) && buf_append_str(&all, piece);
    }
    if (is_whole) {
        table->pieces_at[table->count] = (uint32_t)all.len;
        buf_reserve(&all, 1);
        table->pieces = buf_take(&all);
    }
    v->adds_space = t->strips_first_space || !t->has_decoder;
    v->holds_last_space = t->holds_last_space;
    v->drops_repeated = t->drops_repeated;
    mem_free(added);
    buf_deinit(&all);
    buf_deinit(&bufs[0]);
    buf_deinit(&bufs[1]);
    return table->pieces == NULL ? tokjson_nomem(err) : WEFT_OK;
}

static weft_status add(tokjson *t, tokjson_decode d, weft_error *err) {
    if (d.what.data == NULL || d.with.data == NULL) {
        return tokjson_nomem(err);
    }
    if (t->n_decodes == TOKJSON_STEPS_MAX) {
        return weft_fail(err, WEFT_LIMIT, "tokenizer.json: decoder of more than %u steps",
                         TOKJSON_STEPS_MAX);
    }
    t->decodes[t->n_decodes++] = d;
    return WEFT_OK;
}

static weft_status add_step(tokjson *t, const json_t *step, const char *type, weft_error *err) {
    tokjson_decode d = {.what = STR_LIT(""), .with = STR_LIT("")};
    if (strcmp(type, "ByteLevel") == 0) {
        d.kind = TOKJSON_DECODE_BYTE_LEVEL;
        return add(t, d, err);
    }
    if (strcmp(type, "ByteFallback") == 0) {
        d.kind = TOKJSON_DECODE_BYTE_FALLBACK;
        return add(t, d, err);
    }
    if (strcmp(type, "Metaspace") == 0) {
        return add_metaspace(t, step, err);
    }
    if (strcmp(type, "Replace") == 0) {
        return add_replace(t, step, err);
    }
    if (strcmp(type, "Strip") == 0) {
        return add_strip(t, step, err);
    }
    if (strcmp(type, "Fuse") == 0) {
        t->is_fused = true;
        return WEFT_OK;
    }
    if (strcmp(type, "WordPiece") == 0) {
        d.kind = TOKJSON_DECODE_WORDPIECE;
        const str prefix = tokjson_get_str(step, "prefix");
        d.what = tokjson_keep(t, prefix.data == NULL ? STR_LIT("##") : prefix);
        d.is_cleaned = tokjson_get_bool(step, "cleanup", true);
        t->strips_first_space = true;
        return add(t, d, err);
    }
    if (strcmp(type, "BPEDecoder") == 0) {
        const str suffix = tokjson_get_str(step, "suffix");
        d.kind = TOKJSON_DECODE_REPLACE;
        d.what = tokjson_keep(t, suffix.data == NULL ? STR_LIT("</w>") : suffix);
        d.with = STR_LIT(" ");
        t->holds_last_space = true;
        return add(t, d, err);
    }
    if (strcmp(type, "CTC") == 0) {
        const str pad = tokjson_get_str(step, "pad_token");
        const str delimiter = tokjson_get_str(step, "word_delimiter_token");
        d.kind = TOKJSON_DECODE_CTC;
        d.what = tokjson_keep(t, pad.data == NULL ? STR_LIT("<pad>") : pad);
        d.with = tokjson_keep(t, delimiter.data == NULL ? STR_LIT("|") : delimiter);
        d.is_cleaned = tokjson_get_bool(step, "cleanup", true);
        t->drops_repeated = true;
        return add(t, d, err);
    }
    return weft_fail(err, WEFT_UNSUPPORTED, "tokenizer.json: decoder '%s' is not supported", type);
}

static weft_status add_replace(tokjson *t, const json_t *step, weft_error *err) {
    tokjson_decode d = {.kind = TOKJSON_DECODE_REPLACE};
    regex *pattern = NULL;
    const weft_status status = tokjson_get_pattern(t, step, &d.what, &pattern, err);
    if (status != WEFT_OK) {
        return status;
    }
    if (pattern != NULL || (t->is_fused && d.what.len > 4)) {
        regex_destroy(&pattern);
        return weft_fail(err, WEFT_UNSUPPORTED,
                         "tokenizer.json: decoder 'Replace' of a pattern, or across tokens, is "
                         "not supported");
    }
    d.with = tokjson_keep(t, tokjson_get_str(step, "content"));
    return add(t, d, err);
}

static weft_status add_strip(tokjson *t, const json_t *step, weft_error *err) {
    tokjson_decode d = {.kind = TOKJSON_DECODE_STRIP, .with = STR_LIT("")};
    const str content = tokjson_get_str(step, "content");
    const json_int_t left = json_integer_value(json_object_get(step, "start"));
    const json_int_t right = json_integer_value(json_object_get(step, "stop"));
    if (!t->is_fused) {
        d.what = tokjson_keep(t, content);
        d.n_left = (uint32_t)(left < 0 ? 0 : left > 65535 ? 65535 : left);
        d.n_right = (uint32_t)(right < 0 ? 0 : right > 65535 ? 65535 : right);
        return add(t, d, err);
    }
    if (right != 0 || left > 1 || left < 0 || (left == 1 && !str_eq_cstr(content, " "))) {
        return weft_fail(err, WEFT_UNSUPPORTED,
                         "tokenizer.json: decoder 'Strip' of '" STR_FMT "' from %lld to %lld of "
                         "the fused text is not supported; one space at the beginning is",
                         STR_ARG(content), (long long)left, (long long)right);
    }
    t->strips_first_space = t->strips_first_space || left == 1;
    return WEFT_OK;
}

static weft_status add_metaspace(tokjson *t, const json_t *step, weft_error *err) {
    tokjson_decode d = {.kind = TOKJSON_DECODE_REPLACE, .with = STR_LIT(" ")};
    const str replacement = tokjson_get_str(step, "replacement");
    d.what = tokjson_keep(t, replacement.len > 0 ? replacement : STR_LIT("\xE2\x96\x81"));
    const str scheme = tokjson_get_str(step, "prepend_scheme");
    const bool is_never = scheme.data == NULL ? !tokjson_get_bool(step, "add_prefix_space", true)
                                              : str_eq_cstr(scheme, "never");
    t->strips_first_space = t->strips_first_space || !is_never;
    return add(t, d, err);
}

static bool run_steps(const tokjson *t, str text, buf bufs[2], str *out) {
    for (uint32_t i = 0; i < t->n_decodes && text.len > 0; i++) {
        buf *to = &bufs[i % 2];
        buf_clear(to);
        if (!run_step(&t->decodes[i], text, to)) {
            return false;
        }
        text = buf_view(to);
    }
    *out = text;
    return true;
}

static bool run_step(const tokjson_decode *d, str text, buf *out) {
    switch (d->kind) {
    case TOKJSON_DECODE_BYTE_LEVEL: return run_byte_level(text, out);
    case TOKJSON_DECODE_REPLACE: return run_replace(text, d->what, d->with, out);
    case TOKJSON_DECODE_BYTE_FALLBACK: {
        const int byte = vocab_byte_token_value(text);
        return byte < 0 ? buf_append_str(out, text) : buf_append_char(out, (char)byte);
    }
    case TOKJSON_DECODE_STRIP: return run_strip(d, text, out);
    case TOKJSON_DECODE_WORDPIECE: return run_wordpiece(d, text, out);
    case TOKJSON_DECODE_CTC: return run_ctc(d, text, out);
    }
    return false;
}

/* A token with a character that stands for no byte is written as it is. */
static bool run_byte_level(str text, buf *out) {
    size_t n = 0;
    for (size_t at = 0; at < text.len; at += n) {
        const int byte = vocab_cp_to_byte(utf8_decode(str_slice(text, at, text.len), &n));
        if (byte < 0) {
            buf_clear(out);
            return buf_append_str(out, text);
        }
        buf_append_char(out, (char)byte);
    }
    return !out->is_failed;
}

static bool run_replace(str text, str what, str with, buf *out) {
    size_t done = 0;
    size_t at;
    while (what.len > 0 && (at = str_find(text, what, done)) != SIZE_MAX) {
        buf_append(out, text.data + done, at - done);
        buf_append_str(out, with);
        done = at + what.len;
    }
    return buf_append(out, text.data + done, text.len - done);
}

static bool run_strip(const tokjson_decode *d, str text, buf *out) {
    for (uint32_t i = 0; i < d->n_left && d->what.len > 0 && str_starts_with(text, d->what); i++) {
        text = str_slice(text, d->what.len, text.len);
    }
    for (uint32_t i = 0; i < d->n_right && d->what.len > 0 && str_ends_with(text, d->what); i++) {
        text = str_slice(text, 0, text.len - d->what.len);
    }
    return buf_append_str(out, text);
}

static bool run_wordpiece(const tokjson_decode *d, str text, buf *out) {
    if (d->what.len > 0 && str_starts_with(text, d->what)) {
        text = str_slice(text, d->what.len, text.len);
    } else {
        buf_append_char(out, ' ');
    }
    return buf_append_str(out, text) && (!d->is_cleaned || clean_up(out));
}

/* Without padding; cleaned, the delimiter of words is a space. */
static bool run_ctc(const tokjson_decode *d, str text, buf *out) {
    if (!d->is_cleaned) {
        return run_replace(text, d->what, STR_LIT(""), out);
    }
    buf other;
    buf_init(&other, MEM_VOCAB, out->max_bytes);
    const bool is_done = run_replace(text, d->what, STR_LIT(""), &other) && clean_up(&other) &&
                         run_replace(buf_view(&other), d->with, STR_LIT(" "), out);
    buf_deinit(&other);
    return is_done;
}

/* Spaces that English typography does not have. */
static bool clean_up(buf *text) {
    static const char *const pairs[][2] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    buf other;
    buf_init(&other, MEM_VOCAB, text->max_bytes);
    bool is_done = true;
    for (size_t i = 0; i < WEFT_LEN(pairs) && is_done; i++) {
        buf_clear(&other);
        is_done = run_replace(buf_view(text), str_from_cstr(pairs[i][0]),
                              str_from_cstr(pairs[i][1]), &other);
        buf_clear(text);
        is_done = is_done && buf_append_str(text, buf_view(&other));
    }
    buf_deinit(&other);
    return is_done;
}
