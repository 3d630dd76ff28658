/* tokjson_load.c - a tokenizer.json becomes a vocabulary.
 *
 * The file is parsed as a whole, its parts are loaded in the order in which they need each other
 * (steps, added tokens, model, template, decoder), and the JSON is dropped. Truncation and padding
 * belong to batches for training and are ignored.
 *
 * The post-processor is reduced to the tokens it puts before and behind one text: that is all that
 * its kinds do.
 */
#include <jansson.h>
#include <stdio.h>

#include "base/mem.h"
#include "vocab/tokjson.h"

#define MEMORY_BYTES_MAX (256u << 20)

static weft_status read_file(buf *out, const char *path, weft_error *err);
static weft_status load(vocab *v, tokjson *t, const json_t *root, weft_error *err);
static weft_status load_post(tokjson *t, vocab *v, const json_t *step, uint32_t depth,
                             weft_error *err);
static weft_status load_pair(tokjson *t, vocab *v, const json_t *step, weft_error *err);
static weft_status load_template(tokjson *t, const json_t *step, weft_error *err);
static weft_status push_template(tokjson *t, bool is_before, json_int_t id, weft_error *err);

weft_status vocab_create_from_json(vocab **out, const char *path, weft_error *err) {
    buf text;
    buf_init(&text, MEM_VOCAB, TOKJSON_FILE_BYTES_MAX);
    weft_status status = read_file(&text, path, err);
    if (status == WEFT_OK) {
        status = vocab_create_from_json_text(out, buf_view(&text), path, err);
    }
    buf_deinit(&text);
    return status;
}

weft_status vocab_create_from_json_text(vocab **out, str text, const char *name, weft_error *err) {
    vocab *v = NULL;
    json_error_t error;
    weft_status status = WEFT_OK;
    json_t *root = json_loadb(text.len > 0 ? text.data : "", text.len, JSON_ALLOW_NUL, &error);
    if (root == NULL) {
        return weft_fail(err, WEFT_FORMAT, "%s: line %d, column %d: %s", name, error.line,
                         error.column, error.text);
    }
    v = mem_zalloc(MEM_VOCAB, 1, sizeof *v);
    tokjson *t = mem_zalloc(MEM_VOCAB, 1, sizeof *t);
    if (v == NULL || t == NULL) {
        mem_free(t);
        status = tokjson_nomem(err);
        goto done;
    }
    arena_init(&t->memory, MEM_VOCAB, MEMORY_BYTES_MAX);
    v->tokjson = t;
    status = load(v, t, root, err);
    if (status == WEFT_OK) {
        *out = v;
        v = NULL;
    }
done:
    vocab_destroy(&v);
    json_decref(root);
    return status;
}

void tokjson_destroy(tokjson **t) {
    if (t == NULL || *t == NULL) {
        return;
    }
    for (uint32_t i = 0; i < (*t)->n_norms; i++) {
        regex_destroy(&(*t)->norms[i].regex);
    }
    for (uint32_t i = 0; i < (*t)->n_pretoks; i++) {
        regex_destroy(&(*t)->pretoks[i].regex);
    }
    tokjson_matcher_deinit(&(*t)->raw);
    tokjson_matcher_deinit(&(*t)->normalized);
    mem_free((*t)->added);
    mem_free((*t)->model.sorted);
    mem_free((*t)->model.scores);
    arena_deinit(&(*t)->memory);
    mem_free(*t);
    *t = NULL;
}

str tokjson_keep(tokjson *t, str s) {
    return str_from(arena_strndup(&t->memory, s.data != NULL ? s.data : "", s.len), s.len);
}

const char *tokjson_type(const json_t *step) {
    const char *type = json_string_value(json_object_get(step, "type"));
    return type != NULL ? type : "";
}

str tokjson_get_str(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_string(value) ? str_from(json_string_value(value), json_string_length(value))
                                 : (str){0};
}

bool tokjson_get_bool(const json_t *object, const char *key, bool absent) {
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : absent;
}

weft_status tokjson_nomem(weft_error *err) {
    return weft_fail(err, WEFT_NOMEM, "out of memory for a tokenizer.json");
}

weft_status tokjson_get_pattern(tokjson *t, const json_t *step, str *text, regex **pattern,
                                weft_error *err) {
    const json_t *given = json_object_get(step, "pattern");
    const str plain = json_is_string(given)
                          ? str_from(json_string_value(given), json_string_length(given))
                          : tokjson_get_str(given, "String");
    if (plain.data != NULL) {
        *text = tokjson_keep(t, plain);
        return text->data == NULL ? tokjson_nomem(err) : WEFT_OK;
    }
    const str source = tokjson_get_str(given, "Regex");
    if (source.data == NULL) {
        return weft_fail(err, WEFT_FORMAT, "tokenizer.json: '%s' without a pattern",
                         tokjson_type(step));
    }
    buf lines; /* ^ and $ are ends of lines there */
    buf_init(&lines, MEM_VOCAB, TOKJSON_FILE_BYTES_MAX);
    *text = STR_LIT("");
    weft_status status = WEFT_OK;
    if (!buf_append_cstr(&lines, "(?m)") || !buf_append_str(&lines, source)) {
        status = tokjson_nomem(err);
    } else {
        status = regex_compile(pattern, buf_view(&lines), err);
    }
    buf_deinit(&lines);
    return status;
}

static weft_status read_file(buf *out, const char *path, weft_error *err) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return weft_fail(err, WEFT_IO, "%s: cannot be opened", path);
    }
    weft_status status = WEFT_OK;
    size_t n = 1;
    while (n > 0 && buf_reserve(out, 1u << 20)) {
        n = fread(out->data + out->len, 1, out->capacity - out->len - 1, file);
        out->len += n;
    }
    if (out->is_failed) {
        status = weft_fail(err, WEFT_LIMIT, "%s: more than %u bytes, or no memory for them", path,
                           TOKJSON_FILE_BYTES_MAX);
    } else if (ferror(file)) {
        status = weft_fail(err, WEFT_IO, "%s: cannot be read", path);
    }
    (void)fclose(file);
    return status;
}

static weft_status load(vocab *v, tokjson *t, const json_t *root, weft_error *err) {
    (void)snprintf(v->model, sizeof v->model, "%s", "tokenizer.json");
    v->bos = v->eos = v->unknown = VOCAB_NONE;
    if (!json_is_object(root) || json_object_get(root, "model") == NULL) {
        return weft_fail(err, WEFT_FORMAT, "tokenizer.json: no object with a model");
    }
    weft_status status = tokjson_norm_load(t, json_object_get(root, "normalizer"), 0, err);
    if (status == WEFT_OK) {
        status = tokjson_pretok_load(t, json_object_get(root, "pre_tokenizer"), 0, err);
    }
    if (status == WEFT_OK) {
        status = tokjson_decode_load(t, json_object_get(root, "decoder"), 0, err);
    }
    if (status == WEFT_OK) {
        status = tokjson_added_load(t, json_object_get(root, "added_tokens"), err);
    }
    if (status == WEFT_OK) {
        status = tokjson_model_load(t, v, json_object_get(root, "model"), err);
    }
    if (status == WEFT_OK) {
        status = load_post(t, v, json_object_get(root, "post_processor"), 0, err);
    }
    if (status == WEFT_OK) {
        status = tokjson_added_index(t, err);
    }
    if (status == WEFT_OK) {
        status = tokjson_decode_fill(t, v, err);
    }
    for (uint32_t i = 0; i < t->n_before && status == WEFT_OK; i++) {
        if ((uint32_t)t->before[i] >= v->table.count) {
            status = weft_fail(err, WEFT_FORMAT, "tokenizer.json: template token %d is no token",
                               t->before[i]);
        }
    }
    for (uint32_t i = 0; i < t->n_after && status == WEFT_OK; i++) {
        if ((uint32_t)t->after[i] >= v->table.count) {
            status = weft_fail(err, WEFT_FORMAT, "tokenizer.json: template token %d is no token",
                               t->after[i]);
        }
    }
    v->adds_bos = t->n_before > 0;
    v->adds_eos = t->n_after > 0;
    v->bos = t->n_before > 0 ? t->before[0] : VOCAB_NONE;
    v->eos = t->n_after > 0 ? t->after[t->n_after - 1] : VOCAB_NONE;
    if (status == WEFT_OK && v->eos != VOCAB_NONE) {
        v->table.attrs[v->eos] |= VOCAB_ATTR_END;
    }
    return status;
}

static weft_status load_post(tokjson *t, vocab *v, const json_t *step, uint32_t depth,
                             weft_error *err) {
    if (step == NULL || json_is_null(step)) {
        return WEFT_OK;
    }
    const char *type = tokjson_type(step);
    if (strcmp(type, "ByteLevel") == 0) {
        return WEFT_OK; /* offsets only */
    }
    if (strcmp(type, "TemplateProcessing") == 0) {
        return load_template(t, step, err);
    }
    if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0) {
        return load_pair(t, v, step, err);
    }
    if (strcmp(type, "Sequence") != 0) {
        return weft_fail(err, WEFT_UNSUPPORTED,
                         "tokenizer.json: post_processor '%s' is not supported", type);
    }
    if (depth >= TOKJSON_DEPTH_MAX) {
        return weft_fail(err, WEFT_LIMIT, "tokenizer.json: post_processor nested more than %u deep",
                         TOKJSON_DEPTH_MAX);
    }
    const json_t *list = json_object_get(step, "processors");
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < json_array_size(list) && status == WEFT_OK; i++) {
        status = load_post(t, v, json_array_get(list, i), depth + 1, err);
    }
    return status;
}

/* [CLS] before and [SEP] behind, each given as ["[SEP]", 102]. */
static weft_status load_pair(tokjson *t, vocab *v, const json_t *step, weft_error *err) {
    const json_t *cls = json_array_get(json_object_get(step, "cls"), 1);
    const json_t *sep = json_array_get(json_object_get(step, "sep"), 1);
    if (!json_is_integer(cls) || !json_is_integer(sep)) {
        return weft_fail(err, WEFT_FORMAT, "tokenizer.json: post_processor '%s' without cls or sep",
                         tokjson_type(step));
    }
    const weft_status status = push_template(t, true, json_integer_value(cls), err);
    return status == WEFT_OK ? push_template(t, false, json_integer_value(sep), err) : status;
}

static weft_status load_template(tokjson *t, const json_t *step, weft_error *err) {
    const json_t *single = json_object_get(step, "single");
    const json_t *special = json_object_get(step, "special_tokens");
    int32_t before[TOKJSON_TEMPLATE_MAX];
    uint32_t n_before = 0;
    bool is_before = true;
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < json_array_size(single) && status == WEFT_OK; i++) {
        const json_t *item = json_array_get(single, i);
        if (json_object_get(item, "Sequence") != NULL && is_before) {
            is_before = false;
            continue;
        }
        const char *name =
            json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id"));
        const json_t *ids =
            name == NULL ? NULL : json_object_get(json_object_get(special, name), "ids");
        if (json_array_size(ids) == 0) {
            return weft_fail(err, WEFT_UNSUPPORTED,
                             "tokenizer.json: TemplateProcessing: item %zu is no special token", i);
        }
        for (size_t k = 0; k < json_array_size(ids) && status == WEFT_OK; k++) {
            const json_int_t id = json_integer_value(json_array_get(ids, k));
            if (!is_before) {
                status = push_template(t, false, id, err);
            } else if (n_before == TOKJSON_TEMPLATE_MAX || id < 0 || id > INT32_MAX) {
                status = push_template(t, true, -1, err);
            } else {
                before[n_before++] = (int32_t)id;
            }
        }
    }
    if (status == WEFT_OK && is_before) {
        status = weft_fail(err, WEFT_UNSUPPORTED,
                           "tokenizer.json: TemplateProcessing without the sequence A");
    }
    while (status == WEFT_OK && n_before > 0) { /* outermost last: each goes to the front */
        status = push_template(t, true, before[--n_before], err);
    }
    return status;
}

static weft_status push_template(tokjson *t, bool is_before, json_int_t id, weft_error *err) {
    uint32_t *count = is_before ? &t->n_before : &t->n_after;
    if (id < 0 || id > INT32_MAX || *count == TOKJSON_TEMPLATE_MAX) {
        return weft_fail(err, WEFT_LIMIT,
                         "tokenizer.json: post_processor with token %lld, or more than %u tokens",
                         (long long)id, TOKJSON_TEMPLATE_MAX);
    }
    if (is_before) {
        memmove(t->before + 1, t->before, *count * sizeof *t->before);
        t->before[0] = (int32_t)id;
    } else {
        t->after[*count] = (int32_t)id;
    }
    ++*count;
    return WEFT_OK;
}
