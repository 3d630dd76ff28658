/* vocab_load.c - from tokenizer.* metadata to a vocabulary.
 *
 * tokenizer.ggml.model says how the vocabulary encodes; models that weft does not know are refused
 * by name. Then the token table, the special numbers, which tokens end an answer, the flags, and
 * last the tables that encoding needs, which depend on all of these.
 *
 * Special numbers out of range are taken as absent: files in the wild write -1 for "none".
 *
 * Which tokens end an answer is only partly written in the files. Besides the eos, eot and eom
 * numbers, a token with one of the well-known texts ends the answer if the file marks it as
 * control or user-defined; a plain word of that spelling does not. Two exceptions: a user-defined
 * "</s>" is a tag of HTML (Gemma); and in the formats that have "<|return|>" and "<|call|>" (or
 * "<|calls|>" and "<|flush|>"), "<|end|>" ends a message, not the answer.
 */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "text/utf8.h"
#include "vocab/vocab_impl.h"

typedef struct model_form {
    const char *name; /* of tokenizer.ggml.model */
    const char
        *pre; /* the pre-tokenizer it always has; NULL: tokenizer.ggml.pre says; "" has none */
    vocab_encode_fn *encode; /* NULL: byte pair encoding, of the kind the pre-tokenizer says */
    vocab_piece_form pieces;
    bool adds_bos; /* when the file does not say */
    bool adds_eos;
    bool adds_separator;
    bool adds_space;
    int32_t bos; /* when the file does not say */
    int32_t eos;
    int32_t separator;
    int32_t unknown;
} model_form;

static const model_form model_forms[] = {
    {"gpt2", NULL, NULL, VOCAB_PIECES_BYTE_LEVEL, false, false, false, false, VOCAB_NONE,
     VOCAB_NONE, VOCAB_NONE, VOCAB_NONE},
    {"llama", "", vocab_spm_encode, VOCAB_PIECES_METASPACE, true, false, false, true, 1, 2,
     VOCAB_NONE, 0},
    {"gemma4", "gemma4", NULL, VOCAB_PIECES_METASPACE, true, false, false, false, VOCAB_NONE,
     VOCAB_NONE, VOCAB_NONE, VOCAB_NONE},
    {"whitespace", "whitespace", NULL, VOCAB_PIECES_PLAIN, false, false, false, false, VOCAB_NONE,
     VOCAB_NONE, VOCAB_NONE, VOCAB_NONE},
    {"t5", "", vocab_unigram_encode, VOCAB_PIECES_METASPACE, false, true, false, true, VOCAB_NONE,
     1, VOCAB_NONE, 2},
    /* Every word begins with U+2581, so the space before the first one goes when decoding. */
    {"bert", "", vocab_wordpiece_encode, VOCAB_PIECES_METASPACE, true, false, true, true, 101,
     VOCAB_NONE, 102, 100},
    {"plamo2", "", vocab_plamo2_encode, VOCAB_PIECES_PLAIN, false, false, false, false, 1, 2,
     VOCAB_NONE, 0},
    {"rwkv", "", vocab_rwkv_encode, VOCAB_PIECES_ESCAPED, false, false, false, false, VOCAB_NONE,
     VOCAB_NONE, VOCAB_NONE, VOCAB_NONE},
};

static const char *const end_texts[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<\uFF5Cend\u2581of\u2581sentence\uFF5C>",
    "[e~[",
};

static weft_status find_form(const model_form **out, const weights *w, weft_error *err);
static weft_status load_pretok(vocab *v, const model_form *form, const weights *w, weft_error *err);
static weft_status load_search(vocab *v, const model_form *form, const weights *w, weft_error *err);
static weft_status load_flags(vocab *v, const model_form *form, const weights *w, weft_error *err);
static int32_t read_id(const vocab *v, const weights *w, const char *key, int32_t absent);
static void mark_ends(vocab *v, const weights *w);
static void mark_end(vocab *v, int32_t id);
static void mark_stripping(vocab *v, const weights *w);
static void fill_byte_ids(vocab *v, bool is_byte_level);
static void fill_char_ids(vocab *v);

weft_status vocab_load(vocab *v, const weights *w, weft_error *err) {
    const model_form *form = NULL;
    weft_status status = find_form(&form, w, err);
    if (status != WEFT_OK) {
        return status;
    }
    (void)snprintf(v->model, sizeof v->model, "%s", form->name);
    status = load_pretok(v, form, w, err);
    if (status != WEFT_OK) {
        return status;
    }
    const uint32_t pre = v->pretok == NULL ? 0 : vocab_pretok_flags_of(v->pretok);
    const bool is_metaspace_bpe = (pre & VOCAB_PRETOK_METASPACE) != 0;
    const bool is_words = (pre & VOCAB_PRETOK_WHITE_SPACE) != 0;
    const bool is_byte_level = v->pretok != NULL && !is_metaspace_bpe && !is_words;
    status = vocab_table_init(&v->table, w,
                              is_metaspace_bpe ? VOCAB_PIECES_METASPACE
                              : is_words       ? VOCAB_PIECES_PLAIN
                                               : form->pieces,
                              err);
    if (status == WEFT_OK) {
        status = load_flags(v, form, w, err);
    }
    if (status != WEFT_OK) {
        return status;
    }
    mark_ends(v, w);
    mark_stripping(v, w);
    status = vocab_special_init(&v->special, &v->table,
                                VOCAB_ATTR_CONTROL | VOCAB_ATTR_USER | VOCAB_ATTR_UNKNOWN, err);
    if (status == WEFT_OK) {
        status = vocab_special_init(&v->user_defined, &v->table, VOCAB_ATTR_USER, err);
    }
    if (status == WEFT_OK && v->pretok != NULL) {
        status = vocab_merges_init(&v->merges, &v->table, w, err);
    }
    if (status == WEFT_OK) {
        status = load_search(v, form, w, err);
    }
    if (status != WEFT_OK) {
        return status;
    }
    fill_byte_ids(v, is_byte_level);
    if (form->encode == vocab_plamo2_encode && !v->has_all_bytes) {
        return weft_fail(err, WEFT_FORMAT, "tokenizer 'plamo2' without a token for every byte");
    }
    fill_char_ids(v);
    if (!is_byte_level) {
        vocab_cuts_init(&v->cuts, &v->table);
    }
    v->encode = form->encode != NULL ? form->encode
                : is_byte_level      ? vocab_bpe_encode
                : is_words           ? vocab_bpe_encode_words
                                     : vocab_bpe_encode_metaspace;
    return WEFT_OK;
}

/* What the encoders need that walk the tokens as a tree. */
static weft_status load_search(vocab *v, const model_form *form, const weights *w,
                               weft_error *err) {
    const bool is_plamo2 = form->encode == vocab_plamo2_encode;
    const uint32_t attrs = is_plamo2 ? UINT32_MAX : VOCAB_ATTR_NORMAL | VOCAB_ATTR_USER;
    const uint32_t without = is_plamo2 ? VOCAB_ATTR_BYTE : 0;
    weft_status status = WEFT_OK;
    if (form->encode == vocab_unigram_encode) {
        status = vocab_unigram_init(&v->unigram, &v->best, &v->table, w, err);
    } else if (form->encode == vocab_wordpiece_encode) {
        status = vocab_wordpiece_init(&v->wordpiece, w, err);
    } else if (is_plamo2) {
        status = vocab_plamo2_init(&v->best, &v->table, err);
    } else if (form->encode != vocab_rwkv_encode) {
        return WEFT_OK;
    }
    if (status != WEFT_OK) {
        return status;
    }
    const bool is_rwkv = form->encode == vocab_rwkv_encode;
    return vocab_trie_init(&v->trie, &v->table, is_rwkv ? VOCAB_TRIE_PIECES : VOCAB_TRIE_TEXTS,
                           attrs, without, err);
}

static weft_status find_form(const model_form **out, const weights *w, weft_error *err) {
    str name = {0};
    bool found = false;
    const weft_status status = weights_get_str(w, "tokenizer.ggml.model", &name, &found, err);
    if (status != WEFT_OK) {
        return status;
    }
    if (!found) {
        return weft_fail(err, WEFT_FORMAT,
                         "%s: metadata key 'tokenizer.ggml.model' is missing: no tokenizer",
                         weights_path(w));
    }
    for (size_t i = 0; i < WEFT_LEN(model_forms); i++) {
        if (str_eq_cstr(name, model_forms[i].name)) {
            *out = &model_forms[i];
            return WEFT_OK;
        }
    }
    if (str_eq_cstr(name, "none") || str_eq_cstr(name, "no_vocab")) {
        return weft_fail(err, WEFT_UNSUPPORTED,
                         "tokenizer '" STR_FMT "' (metadata key 'tokenizer.ggml.model'): the file "
                         "has no vocabulary, and weft needs one",
                         STR_ARG(name));
    }
    return weft_fail(
        err, WEFT_UNSUPPORTED,
        "tokenizer '" STR_FMT "' (metadata key 'tokenizer.ggml.model') is not "
        "supported; supported are gpt2, llama, gemma4, whitespace, t5, bert, plamo2 and rwkv",
        STR_ARG(name));
}

static weft_status load_pretok(vocab *v, const model_form *form, const weights *w,
                               weft_error *err) {
    if (form->pre != NULL && form->pre[0] == '\0') {
        return WEFT_OK;
    }
    str name = STR_LIT("default");
    if (form->pre != NULL) {
        name = str_from_cstr(form->pre);
    } else {
        bool found = false;
        const weft_status status = weights_get_str(w, "tokenizer.ggml.pre", &name, &found, err);
        if (status != WEFT_OK) {
            return status;
        }
    }
    return vocab_pretok_create(&v->pretok, name, err);
}

static weft_status load_flags(vocab *v, const model_form *form, const weights *w, weft_error *err) {
    const uint32_t pre = v->pretok == NULL ? 0 : vocab_pretok_flags_of(v->pretok);
    v->is_whole_words = (pre & VOCAB_PRETOK_WHOLE_WORDS) != 0;
    v->is_space_words = (pre & VOCAB_PRETOK_WORDS) != 0;
    v->adds_bos = form->adds_bos || (pre & VOCAB_PRETOK_ADDS_BOS) != 0;
    v->adds_space = form->adds_space;
    v->adds_eos = form->adds_eos;
    v->adds_separator = form->adds_separator;
    bool found = false;
    bool says_bos = true;
    weft_status status =
        weights_get_bool(w, "tokenizer.ggml.add_bos_token", &says_bos, &found, err);
    /* Gemma 4 was trained with one, whatever its early files say. */
    if (found && strcmp(form->name, "gemma4") != 0) {
        v->adds_bos = says_bos;
    }
    if (status == WEFT_OK && (pre & VOCAB_PRETOK_WHITE_SPACE) != 0) {
        status =
            weights_get_bool(w, "tokenizer.ggml.normalizer.lowercase", &v->is_lower, &found, err);
    }
    if (status == WEFT_OK) {
        status = weights_get_bool(w, "tokenizer.ggml.add_eos_token", &v->adds_eos, &found, err);
    }
    if (status == WEFT_OK && form->adds_separator) {
        status =
            weights_get_bool(w, "tokenizer.ggml.add_sep_token", &v->adds_separator, &found, err);
    } else if (status == WEFT_OK) {
        status =
            weights_get_bool(w, "tokenizer.ggml.add_space_prefix", &v->adds_space, &found, err);
    }
    /* BERT begins a text with [CLS] and ends it with [SEP]. */
    const int32_t bos =
        form->adds_separator ? read_id(v, w, "tokenizer.ggml.cls_token_id", form->bos) : form->bos;
    v->bos = read_id(v, w, "tokenizer.ggml.bos_token_id", bos);
    v->separator = read_id(v, w, "tokenizer.ggml.seperator_token_id", form->separator);
    v->eos = read_id(v, w, "tokenizer.ggml.eos_token_id", form->eos);
    v->unknown = read_id(v, w, "tokenizer.ggml.unknown_token_id", form->unknown);
    return status;
}

static int32_t read_id(const vocab *v, const weights *w, const char *key, int32_t absent) {
    const meta_value *m = weights_meta(w, key);
    int64_t id = absent;
    if (m != NULL && (m->type == META_ARRAY || !meta_as_i64(m, 0, &id))) {
        id = VOCAB_NONE;
    }
    return id >= 0 && id < (int64_t)v->table.count ? (int32_t)id : VOCAB_NONE;
}

static void mark_ends(vocab *v, const weights *w) {
    for (size_t i = 0; i < WEFT_LEN(end_texts); i++) {
        const int32_t id = vocab_table_find(&v->table, str_from_cstr(end_texts[i]));
        if (id != VOCAB_NONE &&
            (v->table.attrs[id] & (VOCAB_ATTR_CONTROL | VOCAB_ATTR_USER)) != 0) {
            mark_end(v, id);
        }
    }
    const int32_t end_of_sentence = vocab_find(v, STR_LIT("</s>"));
    if (vocab_is_control(v, end_of_sentence)) {
        mark_end(v, end_of_sentence);
    }
    const bool has_call = vocab_is_end(v, vocab_find(v, STR_LIT("<|call|>"))) ||
                          vocab_is_end(v, vocab_find(v, STR_LIT("<|calls|>")));
    const bool has_return = vocab_is_end(v, vocab_find(v, STR_LIT("<|return|>"))) ||
                            vocab_is_end(v, vocab_find(v, STR_LIT("<|flush|>")));
    const int32_t end = vocab_find(v, STR_LIT("<|end|>"));
    if (has_call && has_return && end != VOCAB_NONE) {
        v->table.attrs[end] &= (uint16_t)~VOCAB_ATTR_END;
    }
    mark_end(v, v->eos);
    mark_end(v, read_id(v, w, "tokenizer.ggml.eot_token_id", VOCAB_NONE));
    mark_end(v, read_id(v, w, "tokenizer.ggml.eom_token_id", VOCAB_NONE));
}

/* A token that ends answers is never shown, so a user-defined one becomes a control token. */
static void mark_end(vocab *v, int32_t id) {
    if (id == VOCAB_NONE) {
        return;
    }
    uint16_t *attrs = &v->table.attrs[id];
    *attrs |= VOCAB_ATTR_END;
    if ((*attrs & VOCAB_ATTR_USER) != 0) {
        *attrs = (uint16_t)((*attrs & ~VOCAB_ATTR_USER) | VOCAB_ATTR_CONTROL);
    }
}

/* Some tokens swallow the white space beside them. The files do not say so; which models have them
 * is known by name: Phi-3's special tokens, and the mask of some embedding models. */
static void mark_stripping(vocab *v, const weights *w) {
    str name = {0};
    str pre = {0};
    const meta_value *m = weights_meta(w, "general.name");
    const bool has_name = m != NULL && meta_as_str(m, &name);
    m = weights_meta(w, "tokenizer.ggml.pre");
    const bool has_pre = m != NULL && meta_as_str(m, &pre);
    if (has_pre && (str_starts_with(pre, STR_LIT("jina-v2-")) || str_eq_cstr(pre, "mmbert"))) {
        const int32_t mask = vocab_find(v, STR_LIT("<mask>"));
        if (mask != VOCAB_NONE) {
            v->table.attrs[mask] |= VOCAB_ATTR_LSTRIP;
        }
        return;
    }
    char lower[64];
    size_t len = 0;
    for (; has_name && len < name.len && len < sizeof lower; len++) {
        const char c = name.data[len];
        lower[len] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    const str lowered = str_from(lower, len);
    if (str_find(lowered, STR_LIT("phi-3"), 0) == SIZE_MAX &&
        str_find(lowered, STR_LIT("phi3"), 0) == SIZE_MAX) {
        return;
    }
    static const char *const keeping[] = {"<unk>", "<s>", "<|endoftext|>"};
    const uint32_t special = VOCAB_ATTR_CONTROL | VOCAB_ATTR_USER | VOCAB_ATTR_UNKNOWN;
    for (uint32_t id = 0; id < v->table.count; id++) {
        if ((v->table.attrs[id] & special) != 0) {
            v->table.attrs[id] |= VOCAB_ATTR_RSTRIP;
        }
    }
    for (size_t i = 0; i < WEFT_LEN(keeping); i++) {
        const int32_t id = vocab_find(v, str_from_cstr(keeping[i]));
        if (id != VOCAB_NONE) {
            v->table.attrs[id] &= (uint16_t)~VOCAB_ATTR_RSTRIP;
        }
    }
}

static void fill_byte_ids(vocab *v, bool is_byte_level) {
    v->has_all_bytes = true;
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[8];
        size_t len;
        if (is_byte_level) {
            len = utf8_encode(text, vocab_byte_to_cp((uint8_t)byte));
        } else {
            len = (size_t)snprintf(text, sizeof text, "<0x%02X>", byte);
        }
        int32_t id = vocab_table_find(&v->table, str_from(text, len));
        if (id != VOCAB_NONE && (v->table.attrs[id] & VOCAB_ATTR_CONTROL) != 0) {
            id = VOCAB_NONE;
        }
        v->byte_ids[byte] = id;
        v->has_all_bytes = v->has_all_bytes && id != VOCAB_NONE;
    }
}

static void fill_char_ids(vocab *v) {
    for (unsigned c = 0; c < 128; c++) {
        const char text = (char)c;
        const int32_t id = vocab_table_find(&v->table, str_from(&text, 1));
        const uint32_t wanted = VOCAB_ATTR_NORMAL | VOCAB_ATTR_USER;
        const bool is_text = id != VOCAB_NONE && (v->table.attrs[id] & wanted) != 0;
        v->char_ids[c] = is_text ? id : VOCAB_NONE;
    }
}
