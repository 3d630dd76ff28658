/* tokjson_decode.c - the decoder of a tokenizer.json: its steps, and what they make of one token.
 *
 * The parts of a decoder are taken to pieces, so that few kinds of steps are left: the cleaning of
 * WordPiece and CTC is a row of replacements. A Fuse is no step: it makes the steps behind it
 * growing ones, which get one token part by part. So does a ByteLevel. In one token that is first
 * and last at once, a Metaspace, a BPEDecoder or a CTC are replacements as well.
 *
 * When a file is loaded every token gets the bytes it stands for in the middle of a text. They are
 * the text itself where a ByteLevel is all there is; otherwise tokjson_stream.c runs the steps over
 * all tokens. An added token that is sought as normalised is also shown so.
 */
#include <jansson.h>

#include "base/mem.h"
#include "text/utf8.h"
#include "vocab/tokjson.h"

static weft_status add(tokjson *t, tokjson_decode d, weft_error *err);
static weft_status add_step(tokjson *t, const json_t *step, const char *type, weft_error *err);
static weft_status add_replace(tokjson *t, str what, str with, weft_error *err);
static weft_status add_pattern(tokjson *t, const json_t *step, weft_error *err);
static weft_status add_strip(tokjson *t, const json_t *step, weft_error *err);
static weft_status add_metaspace(tokjson *t, const json_t *step, weft_error *err);
static weft_status add_wordpiece(tokjson *t, const json_t *step, weft_error *err);
static weft_status add_ctc(tokjson *t, const json_t *step, weft_error *err);
static weft_status add_cleaning(tokjson *t, weft_error *err);
static str get_str(const json_t *step, const char *key, const char *absent);
static bool run_steps(const tokjson *t, regex_scratch *matching, str text, buf bufs[2], str *out);
static bool run_alone(const tokjson_decode *d, regex_scratch *matching, str text, buf *out);
static bool run_pattern(const tokjson_decode *d, regex_scratch *matching, str text, buf *out);
static bool run_strip(const tokjson_decode *d, str text, buf *out);

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

weft_status tokjson_decode_fill(tokjson *t, vocab *v, weft_error *err) {
    vocab_table *table = &v->table;
    buf all;
    buf bufs[2];
    regex_scratch *matching = NULL;
    weft_status status = regex_scratch_create(&matching, err);
    buf_init(&all, MEM_VOCAB, UINT32_MAX);
    buf_init(&bufs[0], MEM_VOCAB, TOKJSON_TEXT_BYTES_MAX);
    buf_init(&bufs[1], MEM_VOCAB, TOKJSON_TEXT_BYTES_MAX);
    table->pieces_at = mem_array(MEM_VOCAB, (size_t)table->count + 1, sizeof *table->pieces_at);
    t->added_at = mem_zalloc(MEM_VOCAB, table->count, sizeof *t->added_at);
    bool is_whole = table->pieces_at != NULL && t->added_at != NULL && status == WEFT_OK;
    for (uint32_t i = 0; i < t->n_added && is_whole; i++) {
        t->added_at[t->added[i].id] = i + 1;
    }
    if (is_whole && !t->has_decoder) { /* tokens are words then */
        status = add(t, (tokjson_decode){.kind = TOKJSON_DECODE_WORDS}, err);
        is_whole = status == WEFT_OK;
    }
    for (uint32_t id = 0; id < table->count && is_whole; id++) {
        table->pieces_at[id] = (uint32_t)all.len;
        str piece = tokjson_decode_text(v, (int32_t)id);
        is_whole = run_steps(t, matching, piece, bufs, &piece) && buf_append_str(&all, piece);
    }
    if (is_whole) {
        table->pieces_at[table->count] = (uint32_t)all.len;
        buf_reserve(&all, 1);
        table->pieces = buf_take(&all);
        status = regex_scratch_status(matching, err);
    }
    regex_scratch_destroy(&matching);
    buf_deinit(&all);
    buf_deinit(&bufs[0]);
    buf_deinit(&bufs[1]);
    return status == WEFT_OK && table->pieces == NULL ? tokjson_nomem(err) : status;
}

str tokjson_decode_text(const vocab *v, int32_t id) {
    const uint32_t added = v->tokjson->added_at[id];
    return added > 0 ? v->tokjson->added[added - 1].text : vocab_table_text(&v->table, id);
}

static weft_status add(tokjson *t, tokjson_decode d, weft_error *err) {
    if (t->n_decodes == TOKJSON_DECODES_MAX) {
        regex_destroy(&d.regex);
        return weft_fail(err, WEFT_LIMIT, "tokenizer.json: decoder of more than %u steps",
                         TOKJSON_DECODES_MAX);
    }
    d.is_growing = t->is_fused;
    d.what = tokjson_keep(t, d.what);
    d.with = tokjson_keep(t, d.with);
    t->decodes[t->n_decodes++] = d;
    return d.what.data == NULL || d.with.data == NULL ? tokjson_nomem(err) : WEFT_OK;
}

static weft_status add_step(tokjson *t, const json_t *step, const char *type, weft_error *err) {
    if (strcmp(type, "Fuse") == 0) {
        t->is_fused = true;
        return WEFT_OK;
    }
    if (strcmp(type, "ByteLevel") == 0) {
        const weft_status status = add(t, (tokjson_decode){.kind = TOKJSON_DECODE_BYTE_LEVEL}, err);
        t->is_fused = true;
        return status;
    }
    if (strcmp(type, "ByteFallback") == 0) {
        return add(t, (tokjson_decode){.kind = TOKJSON_DECODE_BYTE_FALLBACK}, err);
    }
    if (strcmp(type, "Metaspace") == 0) {
        return add_metaspace(t, step, err);
    }
    if (strcmp(type, "Replace") == 0) {
        return add_pattern(t, step, err);
    }
    if (strcmp(type, "Strip") == 0) {
        return add_strip(t, step, err);
    }
    if (strcmp(type, "WordPiece") == 0) {
        return add_wordpiece(t, step, err);
    }
    if (strcmp(type, "BPEDecoder") == 0) {
        const str suffix = get_str(step, "suffix", "</w>");
        return t->is_fused
                   ? add_replace(t, suffix, STR_LIT(""), err)
                   : add(t, (tokjson_decode){.kind = TOKJSON_DECODE_SUFFIX, .what = suffix}, err);
    }
    if (strcmp(type, "CTC") == 0) {
        return add_ctc(t, step, err);
    }
    return weft_fail(err, WEFT_UNSUPPORTED, "tokenizer.json: decoder '%s' is not supported", type);
}

static weft_status add_replace(tokjson *t, str what, str with, weft_error *err) {
    return add(t, (tokjson_decode){.kind = TOKJSON_DECODE_REPLACE, .what = what, .with = with},
               err);
}

static weft_status add_pattern(tokjson *t, const json_t *step, weft_error *err) {
    tokjson_decode d = {.kind = TOKJSON_DECODE_REPLACE};
    const weft_status status = tokjson_get_pattern(t, step, &d.what, &d.regex, err);
    if (status != WEFT_OK) {
        return status;
    }
    d.kind = d.regex != NULL ? TOKJSON_DECODE_PATTERN : TOKJSON_DECODE_REPLACE;
    d.with = tokjson_get_str(step, "content");
    return add(t, d, err);
}

static weft_status add_strip(tokjson *t, const json_t *step, weft_error *err) {
    tokjson_decode d = {.kind = TOKJSON_DECODE_STRIP};
    const json_int_t left = json_integer_value(json_object_get(step, "start"));
    const json_int_t right = json_integer_value(json_object_get(step, "stop"));
    d.what = tokjson_get_str(step, "content");
    d.n_left = (uint32_t)(left < 0 ? 0 : left > UINT32_MAX ? UINT32_MAX : left);
    d.n_right = (uint32_t)(right < 0 ? 0 : right > UINT32_MAX ? UINT32_MAX : right);
    return add(t, d, err);
}

static weft_status add_metaspace(tokjson *t, const json_t *step, weft_error *err) {
    const str scheme = tokjson_get_str(step, "prepend_scheme");
    const str given = tokjson_get_str(step, "replacement");
    const str replacement = given.len > 0 ? given : STR_LIT("\xE2\x96\x81");
    const bool is_never = scheme.data == NULL ? !tokjson_get_bool(step, "add_prefix_space", true)
                                              : str_eq_cstr(scheme, "never");
    if (is_never || t->is_fused) {
        return add_replace(t, replacement, is_never ? STR_LIT(" ") : STR_LIT(""), err);
    }
    return add(t, (tokjson_decode){.kind = TOKJSON_DECODE_METASPACE, .what = replacement}, err);
}

static weft_status add_wordpiece(tokjson *t, const json_t *step, weft_error *err) {
    weft_status status = WEFT_OK;
    const str prefix = get_str(step, "prefix", "##");
    if (!t->is_fused && prefix.len > 0) { /* every token begins with an empty one */
        status = add(t, (tokjson_decode){.kind = TOKJSON_DECODE_WORDS, .what = prefix}, err);
    }
    const bool is_cleaned = tokjson_get_bool(step, "cleanup", true);
    return status == WEFT_OK && is_cleaned ? add_cleaning(t, err) : status;
}

/* Without repeated tokens and padding; cleaned, the delimiter of words is a space. */
static weft_status add_ctc(tokjson *t, const json_t *step, weft_error *err) {
    weft_status status = WEFT_OK;
    if (!t->is_fused) {
        status = add(t, (tokjson_decode){.kind = TOKJSON_DECODE_UNIQUE}, err);
    }
    if (status == WEFT_OK) {
        status = add_replace(t, get_str(step, "pad_token", "<pad>"), STR_LIT(""), err);
    }
    if (status == WEFT_OK && tokjson_get_bool(step, "cleanup", true)) {
        status = add_cleaning(t, err);
        if (status == WEFT_OK) {
            status = add_replace(t, get_str(step, "word_delimiter_token", "|"), STR_LIT(" "), err);
        }
    }
    return status == WEFT_OK && !t->is_fused
               ? add(t, (tokjson_decode){.kind = TOKJSON_DECODE_DROP_EMPTY}, err)
               : status;
}

/* Away with the spaces that English typography does not have. */
static weft_status add_cleaning(tokjson *t, weft_error *err) {
    static const char *const pairs[][2] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < WEFT_LEN(pairs) && status == WEFT_OK; i++) {
        status = add_replace(t, str_from_cstr(pairs[i][0]), str_from_cstr(pairs[i][1]), err);
    }
    return status;
}

static str get_str(const json_t *step, const char *key, const char *absent) {
    const str given = tokjson_get_str(step, key);
    return given.data == NULL ? str_from_cstr(absent) : given;
}

static bool run_steps(const tokjson *t, regex_scratch *matching, str text, buf bufs[2], str *out) {
    for (uint32_t i = 0; i < t->n_decodes && text.len > 0; i++) {
        buf *to = &bufs[i % 2];
        buf_clear(to);
        if (!run_alone(&t->decodes[i], matching, text, to)) {
            return false;
        }
        text = buf_view(to);
    }
    *out = text;
    return true;
}

/* In the middle of a text. Bytes of half a character stay what they are to a pattern. */
static bool run_alone(const tokjson_decode *d, regex_scratch *matching, str text, buf *out) {
    const int byte = d->kind == TOKJSON_DECODE_BYTE_FALLBACK ? vocab_byte_token_value(text) : -1;
    const bool is_end = d->is_growing && d->kind == TOKJSON_DECODE_STRIP;
    const bool is_broken = d->kind == TOKJSON_DECODE_PATTERN && !utf8_is_valid(text);
    if (byte >= 0) {
        return buf_append_char(out, (char)byte);
    }
    if (d->kind == TOKJSON_DECODE_BYTE_LEVEL) {
        return tokjson_decode_bytes(text, out) || buf_append_str(out, text);
    }
    return is_end || is_broken ? buf_append_str(out, text)
                               : tokjson_decode_token(d, matching, text, false, out);
}

bool tokjson_decode_token(const tokjson_decode *d, regex_scratch *matching, str token,
                          bool is_first, buf *out) {
    switch (d->kind) {
    case TOKJSON_DECODE_REPLACE: return tokjson_decode_replace(token, d->what, d->with, out);
    case TOKJSON_DECODE_PATTERN: return run_pattern(d, matching, token, out);
    case TOKJSON_DECODE_STRIP: return run_strip(d, token, out);
    case TOKJSON_DECODE_METASPACE:
        return tokjson_decode_replace(token, d->what, is_first ? STR_LIT("") : STR_LIT(" "), out);
    case TOKJSON_DECODE_SUFFIX: return tokjson_decode_replace(token, d->what, STR_LIT(" "), out);
    case TOKJSON_DECODE_WORDS:
        if (!is_first && d->what.len > 0 && str_starts_with(token, d->what)) {
            token = str_slice(token, d->what.len, token.len);
        } else if (!is_first) {
            buf_append_char(out, ' ');
        }
        return buf_append_str(out, token);
    case TOKJSON_DECODE_BYTE_LEVEL:
    case TOKJSON_DECODE_BYTE_FALLBACK:
    case TOKJSON_DECODE_UNIQUE:
    case TOKJSON_DECODE_DROP_EMPTY: break; /* of one token alone they change nothing */
    }
    return buf_append_str(out, token);
}

bool tokjson_decode_bytes(str text, buf *out) {
    const size_t before = out->len;
    size_t n = 0;
    for (size_t at = 0; at < text.len; at += n) {
        const int byte = vocab_cp_to_byte(utf8_decode(str_slice(text, at, text.len), &n));
        if (byte < 0) {
            out->len = before;
            return false;
        }
        buf_append_char(out, (char)byte);
    }
    return !out->is_failed;
}

bool tokjson_decode_replace(str text, str what, str with, buf *out) {
    size_t done = 0;
    if (what.len == 0) {
        for (size_t at = 0, n = 0; at < text.len; at += n) {
            (void)utf8_decode(str_slice(text, at, text.len), &n);
            buf_append_str(out, with);
            buf_append(out, text.data + at, n);
        }
        return buf_append_str(out, with);
    }
    size_t at;
    while ((at = str_find(text, what, done)) != SIZE_MAX) {
        buf_append(out, text.data + done, at - done);
        buf_append_str(out, with);
        done = at + what.len;
    }
    return buf_append(out, text.data + done, text.len - done);
}

/* The library finds nothing in an empty text. */
static bool run_pattern(const tokjson_decode *d, regex_scratch *matching, str text, buf *out) {
    regex_walk walk = {0};
    size_t done = 0;
    while (text.len > 0 && regex_walk_next(&walk, d->regex, matching, text)) {
        buf_append(out, text.data + done, walk.from - done);
        buf_append_str(out, d->with);
        done = walk.to;
    }
    return buf_append(out, text.data + done, text.len - done);
}

static bool run_strip(const tokjson_decode *d, str text, buf *out) {
    const str what = d->what;
    uint32_t n_left = d->n_left;
    uint32_t n_right = d->n_right;
    for (; n_left > 0 && what.len > 0 && str_starts_with(text, what); n_left--) {
        text = str_slice(text, what.len, text.len);
    }
    for (; n_right > 0 && what.len > 0 && str_ends_with(text, what); n_right--) {
        text = str_slice(text, 0, text.len - what.len);
    }
    return buf_append_str(out, text);
}
