/* tokjson_normalise.c - the normaliser of a tokenizer.json: loading its steps and running them.
 *
 * A step reads one buffer and writes the other. BertNormalizer is opened into four steps and a
 * sequence into its members, so that the list is flat. Where a text begins in the original is
 * remembered as one bit, because Metaspace asks for it: it is lost when a step takes the first
 * character away.
 *
 * Categories and decompositions are utf8proc's; characters younger than its tables are left as
 * they are.
 */
#include <jansson.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "text/utf8.h"
#include "vocab/tokjson.h"

static weft_status add_bert(tokjson *t, const json_t *step, weft_error *err);
static weft_status add(tokjson *t, tokjson_norm norm, weft_error *err);
static weft_status add_step(tokjson *t, const json_t *step, const char *type, weft_error *err);
static bool run_step(const tokjson_norm *norm, regex_scratch *matching, str text, buf *out,
                     bool *is_first);
static bool run_form(int options, str text, buf *out);
static bool run_replace(const tokjson_norm *norm, regex_scratch *matching, str text, buf *out,
                        bool *is_first);
static bool run_strip(const tokjson_norm *norm, str text, buf *out, bool *is_first);
static bool run_characters(const tokjson_norm *norm, str text, buf *out, bool *is_first);
static size_t map_character(tokjson_norm_kind kind, uint32_t cp, uint32_t to[3]);
static bool is_chinese(uint32_t cp);
static bool is_nmt_dropped(uint32_t cp);
static bool is_nmt_space(uint32_t cp);

weft_status tokjson_norm_load(tokjson *t, const json_t *step, uint32_t depth, weft_error *err) {
    if (step == NULL || json_is_null(step)) {
        return WEFT_OK;
    }
    const char *type = tokjson_type(step);
    if (strcmp(type, "Sequence") != 0) {
        return strcmp(type, "BertNormalizer") == 0 ? add_bert(t, step, err)
                                                   : add_step(t, step, type, err);
    }
    if (depth >= TOKJSON_DEPTH_MAX) {
        return weft_fail(err, WEFT_LIMIT, "tokenizer.json: normalizer nested more than %u deep",
                         TOKJSON_DEPTH_MAX);
    }
    const json_t *list = json_object_get(step, "normalizers");
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < json_array_size(list) && status == WEFT_OK; i++) {
        status = tokjson_norm_load(t, json_array_get(list, i), depth + 1, err);
    }
    return status;
}

bool tokjson_normalise(const tokjson *t, tokjson_scratch *scratch, str text, str *out,
                       bool *is_first) {
    for (uint32_t i = 0; i < t->n_norms && text.len > 0; i++) {
        buf *to = &scratch->bufs[i % 2];
        buf_clear(to);
        if (!buf_reserve(to, text.len) ||
            !run_step(&t->norms[i], scratch->regex, text, to, is_first)) {
            return false;
        }
        text = buf_view(to);
    }
    *out = text;
    return true;
}

bool tokjson_append_stand_ins(buf *out, str bytes) {
    for (size_t i = 0; i < bytes.len; i++) {
        char encoded[4];
        buf_append(out, encoded, utf8_encode(encoded, vocab_byte_to_cp((uint8_t)bytes.data[i])));
    }
    return !out->is_failed;
}

bool tokjson_is_space(uint32_t cp) {
    return cp == ' ' || (cp >= 9 && cp <= 13) || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F ||
           cp == 0x205F || cp == 0x3000;
}

size_t tokjson_lower(uint32_t to[2], uint32_t cp) {
    if (cp == 0x130) { /* the one capital whose small form is two characters */
        to[0] = 'i';
        to[1] = 0x307;
        return 2;
    }
    to[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
    return 1;
}

bool tokjson_is_punctuation(uint32_t cp) {
    if (cp < 0x80) {
        return (cp >= '!' && cp <= '/') || (cp >= ':' && cp <= '@') || (cp >= '[' && cp <= '`') ||
               (cp >= '{' && cp <= '~');
    }
    const utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

bool tokjson_is_numeric(uint32_t cp) {
    const utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO;
}

bool tokjson_is_word(uint32_t cp) {
    const utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    const bool is_circled = (cp >= 0x24B6 && cp <= 0x24E9) || (cp >= 0x1F130 && cp <= 0x1F149) ||
                            (cp >= 0x1F150 && cp <= 0x1F169) || (cp >= 0x1F170 && cp <= 0x1F189);
    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NL) || c == UTF8PROC_CATEGORY_PC ||
           cp == 0x200C || cp == 0x200D || is_circled;
}

static weft_status add_bert(tokjson *t, const json_t *step, weft_error *err) {
    const bool is_lower = tokjson_get_bool(step, "lowercase", true);
    weft_status status = WEFT_OK;
    if (tokjson_get_bool(step, "clean_text", true)) {
        status = add(t, (tokjson_norm){.kind = TOKJSON_NORM_CLEAN}, err);
    }
    if (status == WEFT_OK && tokjson_get_bool(step, "handle_chinese_chars", true)) {
        status = add(t, (tokjson_norm){.kind = TOKJSON_NORM_CHINESE}, err);
    }
    if (status == WEFT_OK && tokjson_get_bool(step, "strip_accents", is_lower)) {
        status = add(t, (tokjson_norm){.kind = TOKJSON_NORM_FORM, .form = UTF8PROC_DECOMPOSE}, err);
        if (status == WEFT_OK) {
            status = add(t, (tokjson_norm){.kind = TOKJSON_NORM_NONSPACING}, err);
        }
    }
    if (status == WEFT_OK && is_lower) {
        status = add(t, (tokjson_norm){.kind = TOKJSON_NORM_LOWERCASE}, err);
    }
    return status;
}

static weft_status add(tokjson *t, tokjson_norm norm, weft_error *err) {
    if (t->n_norms == TOKJSON_STEPS_MAX) {
        regex_destroy(&norm.regex);
        vocab_charsmap_deinit(&norm.charsmap);
        return weft_fail(err, WEFT_LIMIT, "tokenizer.json: normalizer of more than %u steps",
                         TOKJSON_STEPS_MAX);
    }
    t->norms[t->n_norms++] = norm;
    return WEFT_OK;
}

static weft_status add_step(tokjson *t, const json_t *step, const char *type, weft_error *err) {
    static const struct {
        const char *type;
        tokjson_norm_kind kind;
        int form;
    } kinds[] = {
        {"NFC", TOKJSON_NORM_FORM, UTF8PROC_COMPOSE},
        {"NFD", TOKJSON_NORM_FORM, UTF8PROC_DECOMPOSE},
        {"NFKC", TOKJSON_NORM_FORM, UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
        {"NFKD", TOKJSON_NORM_FORM, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
        {"Lowercase", TOKJSON_NORM_LOWERCASE, 0},
        {"Replace", TOKJSON_NORM_REPLACE, 0},
        {"Prepend", TOKJSON_NORM_PREPEND, 0},
        {"Append", TOKJSON_NORM_APPEND, 0},
        {"Strip", TOKJSON_NORM_STRIP, 0},
        {"StripAccents", TOKJSON_NORM_STRIP_ACCENTS, 0},
        {"Nmt", TOKJSON_NORM_NMT, 0},
        {"ByteLevel", TOKJSON_NORM_BYTE_LEVEL, 0},
        {"Precompiled", TOKJSON_NORM_PRECOMPILED, 0},
    };
    size_t i = 0;
    while (i < WEFT_LEN(kinds) && strcmp(kinds[i].type, type) != 0) {
        i++;
    }
    if (i == WEFT_LEN(kinds)) {
        return weft_fail(err, WEFT_UNSUPPORTED, "tokenizer.json: normalizer '%s' is not supported",
                         type);
    }
    tokjson_norm norm = {.kind = kinds[i].kind, .form = kinds[i].form};
    norm.is_left = tokjson_get_bool(step, "strip_left", true);
    norm.is_right = tokjson_get_bool(step, "strip_right", true);
    str with = {0};
    if (norm.kind == TOKJSON_NORM_REPLACE) {
        const weft_status status = tokjson_get_pattern(t, step, &norm.what, &norm.regex, err);
        if (status != WEFT_OK) {
            return status;
        }
        with = tokjson_get_str(step, "content");
    } else if (norm.kind == TOKJSON_NORM_PREPEND) {
        with = tokjson_get_str(step, "prepend");
    } else if (norm.kind == TOKJSON_NORM_APPEND) {
        with = tokjson_get_str(step, "append");
    } else if (norm.kind == TOKJSON_NORM_BYTE_LEVEL) {
        t->is_byte_level = true;
    } else if (norm.kind == TOKJSON_NORM_PRECOMPILED) {
        const str map = tokjson_get_str(step, "precompiled_charsmap");
        const weft_status status = tokjson_precompiled_load(&norm.charsmap, map, err);
        if (status != WEFT_OK) {
            return status;
        }
    }
    norm.with = tokjson_keep(t, with);
    if (norm.with.data == NULL) {
        regex_destroy(&norm.regex);
        vocab_charsmap_deinit(&norm.charsmap);
        return tokjson_nomem(err);
    }
    return add(t, norm, err);
}

static bool run_step(const tokjson_norm *norm, regex_scratch *matching, str text, buf *out,
                     bool *is_first) {
    switch (norm->kind) {
    case TOKJSON_NORM_FORM: return run_form(norm->form, text, out);
    case TOKJSON_NORM_REPLACE: return run_replace(norm, matching, text, out, is_first);
    case TOKJSON_NORM_PREPEND: return buf_append_str(out, norm->with) && buf_append_str(out, text);
    case TOKJSON_NORM_APPEND: return buf_append_str(out, text) && buf_append_str(out, norm->with);
    case TOKJSON_NORM_STRIP: return run_strip(norm, text, out, is_first);
    case TOKJSON_NORM_BYTE_LEVEL: return tokjson_append_stand_ins(out, text);
    case TOKJSON_NORM_LOWERCASE:
    case TOKJSON_NORM_STRIP_ACCENTS:
    case TOKJSON_NORM_CLEAN:
    case TOKJSON_NORM_CHINESE:
    case TOKJSON_NORM_NONSPACING:
    case TOKJSON_NORM_NMT: return run_characters(norm, text, out, is_first);
    case TOKJSON_NORM_PRECOMPILED: return tokjson_precompiled_run(&norm->charsmap, text, out);
    }
    return false;
}

static bool run_form(int form, str text, buf *out) {
    const utf8proc_option_t options = (utf8proc_option_t)((int)UTF8PROC_STABLE | form);
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text.data;
    const utf8proc_ssize_t len = (utf8proc_ssize_t)text.len;
    bool is_ascii = true;
    for (size_t i = 0; i < text.len && is_ascii; i++) {
        is_ascii = bytes[i] < 0x80;
    }
    utf8proc_ssize_t count = is_ascii ? 0 : utf8proc_decompose(bytes, len, NULL, 0, options);
    if (count <= 0) {
        return buf_append_str(out, text);
    }
    utf8proc_int32_t *cps = mem_array(MEM_VOCAB, (size_t)count, sizeof *cps);
    if (cps == NULL) {
        return false;
    }
    count = utf8proc_decompose(bytes, len, cps, count, options);
    if (count > 0) {
        count = utf8proc_normalize_utf32(cps, count, options);
    }
    for (utf8proc_ssize_t i = 0; i < count; i++) {
        char encoded[4];
        buf_append(out, encoded, utf8_encode(encoded, (uint32_t)cps[i]));
    }
    mem_free(cps);
    return !out->is_failed;
}

static bool run_replace(const tokjson_norm *norm, regex_scratch *matching, str text, buf *out,
                        bool *is_first) {
    regex_walk walk = {0};
    size_t done = 0;
    while (norm->regex != NULL ? regex_walk_next(&walk, norm->regex, matching, text)
                               : regex_walk_text(&walk, norm->what, text)) {
        if (walk.from == 0 && walk.to > 0 && norm->with.len == 0) {
            *is_first = false;
        }
        buf_append(out, text.data + done, walk.from - done);
        buf_append_str(out, norm->with);
        done = walk.to;
    }
    buf_append(out, text.data + done, text.len - done);
    return !out->is_failed;
}

static bool run_strip(const tokjson_norm *norm, str text, buf *out, bool *is_first) {
    size_t from = 0;
    size_t last = 0; /* behind the last character that is no space */
    size_t n = 0;
    bool is_leading = norm->is_left;
    for (size_t at = 0; at < text.len; at += n) {
        const bool is_space = tokjson_is_space(utf8_decode(str_slice(text, at, text.len), &n));
        if (is_leading && is_space) {
            from = at + n;
            *is_first = false;
        }
        is_leading = is_leading && is_space;
        last = is_space ? last : at + n;
    }
    const size_t to = norm->is_right ? last : text.len;
    return to <= from || buf_append(out, text.data + from, to - from);
}

static bool run_characters(const tokjson_norm *norm, str text, buf *out, bool *is_first) {
    size_t n = 0;
    for (size_t at = 0; at < text.len; at += n) {
        uint32_t to[3];
        const uint32_t cp = utf8_decode(str_slice(text, at, text.len), &n);
        const size_t count = map_character(norm->kind, cp, to);
        if (count == 0 && at == 0) {
            *is_first = false;
        }
        for (size_t i = 0; i < count; i++) {
            char encoded[4];
            buf_append(out, encoded, utf8_encode(encoded, to[i]));
        }
    }
    return !out->is_failed;
}

static size_t map_character(tokjson_norm_kind kind, uint32_t cp, uint32_t to[3]) {
    const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)cp);
    to[0] = cp;
    if (kind == TOKJSON_NORM_LOWERCASE) {
        return tokjson_lower(to, cp);
    }
    if (kind == TOKJSON_NORM_STRIP_ACCENTS) {
        return category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME ? 0 : 1;
    }
    if (kind == TOKJSON_NORM_NONSPACING) {
        return category == UTF8PROC_CATEGORY_MN ? 0 : 1;
    }
    if (kind == TOKJSON_NORM_CLEAN) {
        const bool is_blank = cp == '\t' || cp == '\n' || cp == '\r';
        const bool is_control =
            category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
            category == UTF8PROC_CATEGORY_CO || category == UTF8PROC_CATEGORY_CS;
        if (cp == 0 || cp == 0xFFFD || (is_control && !is_blank)) {
            return 0;
        }
        to[0] = tokjson_is_space(cp) ? ' ' : cp;
        return 1;
    }
    if (kind == TOKJSON_NORM_CHINESE && is_chinese(cp)) {
        to[0] = ' ';
        to[1] = cp;
        to[2] = ' ';
        return 3;
    }
    if (kind == TOKJSON_NORM_NMT) {
        if (is_nmt_dropped(cp)) {
            return 0;
        }
        to[0] = is_nmt_space(cp) ? ' ' : cp;
    }
    return 1;
}

static bool is_chinese(uint32_t cp) {
    return (cp >= 0x4E00 && cp <= 0x9FFF) || (cp >= 0x3400 && cp <= 0x4DBF) ||
           (cp >= 0x20000 && cp <= 0x2A6DF) || (cp >= 0x2A700 && cp <= 0x2B73F) ||
           (cp >= 0x2B740 && cp <= 0x2B81F) || (cp >= 0x2B920 && cp <= 0x2CEAF) ||
           (cp >= 0xF900 && cp <= 0xFAFF) || (cp >= 0x2F800 && cp <= 0x2FA1F);
}

static bool is_nmt_dropped(uint32_t cp) {
    return (cp >= 1 && cp <= 8) || cp == 0xB || (cp >= 0xE && cp <= 0x1F) || cp == 0x7F ||
           cp == 0x8F || cp == 0x9F;
}

static bool is_nmt_space(uint32_t cp) {
    return cp == 9 || cp == 0xA || cp == 0xC || cp == 0xD || cp == 0x1680 ||
           (cp >= 0x200B && cp <= 0x200F) || cp == 0x2028 || cp == 0x2029 || cp == 0x2581 ||
           cp == 0xFEFF || cp == 0xFFFD;
}
