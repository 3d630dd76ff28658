/* tokjson_load.c - a tokenizer.json becomes a vocabulary.
 *
 * The file is read twice. The first pass checks every byte and notes where the parts stand; the
 * second reads them in the order in which they need each other: steps, added tokens, model,
 * template, decoder. The steps are small and come through jansson's tree. Vocabulary and merges are
 * most of the file and are read event by event, texts as views of it, so that a file of 30 MB costs
 * no allocation a token. Truncation and padding belong to batches for training and are ignored.
 */
#include <jansson.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/os.h"
#include "text/json_reader.h"
#include "vocab/tokjson.h"

#define MEMORY_BYTES_MAX (256u << 20)
#define FILE_STRINGS_BYTES_MAX (512u << 20)

static weft_status scan_file(tokjson_file *file, str text, weft_error *err);
static weft_status scan_model(tokjson_file *file, json_reader *r, weft_error *err);
static weft_status load(vocab *v, tokjson *t, tokjson_file *file, weft_error *err);
typedef weft_status load_fn(tokjson *t, const json_t *step, uint32_t depth, weft_error *err);
static weft_status load_step(tokjson *t, load_fn *fn, str part, weft_error *err);
static weft_status check_template(const vocab *v, const tokjson_template *template,
                                  weft_error *err);

weft_status vocab_create_from_json(vocab **out, const char *path, weft_error *err) {
    os_mapping file = {0};
    weft_status status = os_map_file(&file, path, err);
    if (status == WEFT_OK && file.len > TOKJSON_FILE_BYTES_MAX) {
        status = weft_fail(err, WEFT_LIMIT, "%s: %zu bytes, at most %u are taken", path, file.len,
                           TOKJSON_FILE_BYTES_MAX);
    }
    if (status == WEFT_OK) {
        const str text = str_from((const char *)file.data, file.len);
        status = vocab_create_from_json_text(out, text, path, err);
    }
    os_unmap_file(&file);
    return status;
}

weft_status vocab_create_from_json_text(vocab **out, str text, const char *name, weft_error *err) {
    tokjson_file file = {.unk_id = TOKJSON_UNSAID, .word_chars_max = TOKJSON_UNSAID};
    arena_init(&file.strings, MEM_VOCAB, FILE_STRINGS_BYTES_MAX);
    vocab *v = NULL;
    weft_status status = scan_file(&file, text, err);
    if (status != WEFT_OK) {
        weft_error_prefix(err, "%s: ", name);
        goto done;
    }
    v = mem_zalloc(MEM_VOCAB, 1, sizeof *v);
    tokjson *t = mem_zalloc(MEM_VOCAB, 1, sizeof *t);
    if (v == NULL || t == NULL) {
        mem_free(t);
        status = tokjson_nomem(err);
        goto done;
    }
    arena_init(&t->memory, MEM_VOCAB, MEMORY_BYTES_MAX);
    t->template = (tokjson_template){.ids = {VOCAB_NONE}, .count = 1};
    v->tokjson = t;
    status = load(v, t, &file, err);
    if (status == WEFT_OK) {
        *out = v;
        v = NULL;
    }
done:
    vocab_destroy(&v);
    arena_deinit(&file.strings);
    return status;
}

void tokjson_destroy(tokjson **t) {
    if (t == NULL || *t == NULL) {
        return;
    }
    for (uint32_t i = 0; i < (*t)->n_norms; i++) {
        regex_destroy(&(*t)->norms[i].regex);
        vocab_charsmap_deinit(&(*t)->norms[i].charsmap);
    }
    for (uint32_t i = 0; i < (*t)->n_pretoks; i++) {
        regex_destroy(&(*t)->pretoks[i].regex);
    }
    for (uint32_t i = 0; i < (*t)->n_decodes; i++) {
        regex_destroy(&(*t)->decodes[i].regex);
    }
    tokjson_matcher_deinit(&(*t)->raw);
    tokjson_matcher_deinit(&(*t)->normalized);
    mem_free((*t)->added);
    mem_free((*t)->added_at);
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
    if (plain.len > 0) {
        *text = tokjson_keep(t, plain);
        return text->data == NULL ? tokjson_nomem(err) : WEFT_OK;
    }
    const str source = plain.data != NULL ? plain : tokjson_get_str(given, "Regex");
    if (source.data == NULL) {
        return weft_fail(err, WEFT_FORMAT, "tokenizer.json: '%s' without a pattern",
                         tokjson_type(step));
    }
    *text = STR_LIT("");
    return regex_compile(pattern, source, err);
}

/* Of two members of one name the last counts. */
static weft_status scan_file(tokjson_file *file, str text, weft_error *err) {
    json_reader r;
    json_reader_init(&r, text, &file->strings);
    if (json_reader_next(&r) != JSON_EVENT_OBJECT) {
        return json_reader_fail(&r, err, WEFT_FORMAT, "wanted an object with a model, found %s",
                                json_event_name(r.last));
    }
    const struct {
        const char *name;
        str *part;
    } parts[] = {
        {"normalizer", &file->normalizer},         {"pre_tokenizer", &file->pre_tokenizer},
        {"post_processor", &file->post_processor}, {"decoder", &file->decoder},
        {"added_tokens", &file->added_tokens},
    };
    while (json_reader_next(&r) == JSON_EVENT_KEY) {
        if (str_eq_cstr(r.text, "model")) {
            const weft_status status = scan_model(file, &r, err);
            if (status != WEFT_OK) {
                return status;
            }
            continue;
        }
        str *part = NULL;
        for (size_t i = 0; i < WEFT_LEN(parts); i++) {
            part = str_eq_cstr(r.text, parts[i].name) ? parts[i].part : part;
        }
        const str value = json_reader_skip(&r);
        if (part != NULL) {
            *part = value;
        }
    }
    if (json_reader_next(&r) != JSON_EVENT_END) { /* an error stays one */
        return json_reader_status(&r, err);
    }
    return file->has_model ? WEFT_OK : weft_fail(err, WEFT_FORMAT, "no object with a model");
}

static weft_status scan_model(tokjson_file *file, json_reader *r, weft_error *err) {
    if (json_reader_next(r) != JSON_EVENT_OBJECT) {
        return json_reader_fail(r, err, WEFT_FORMAT, "model: wanted an object, found %s",
                                json_event_name(r->last));
    }
    const struct {
        const char *name;
        str *text; /* one of these four takes the value */
        bool *flag;
        int64_t *number;
        str *part;
    } members[] = {
        {"type", .text = &file->type},
        {"unk_token", .text = &file->unk_token},
        {"continuing_subword_prefix", .text = &file->prefix},
        {"end_of_word_suffix", .text = &file->suffix},
        {"fuse_unk", .flag = &file->is_unknown_fused},
        {"byte_fallback", .flag = &file->has_byte_fallback},
        {"ignore_merges", .flag = &file->is_whole_words},
        {"unk_id", .number = &file->unk_id},
        {"max_input_chars_per_word", .number = &file->word_chars_max},
        {"vocab", .part = &file->vocab},
        {"merges", .part = &file->merges},
    };
    file->has_model = true;
    while (json_reader_next(r) == JSON_EVENT_KEY) {
        size_t i = 0;
        while (i < WEFT_LEN(members) && !str_eq_cstr(r->text, members[i].name)) {
            i++;
        }
        if (i == WEFT_LEN(members) || members[i].part != NULL) {
            const str value = json_reader_skip(r);
            if (i < WEFT_LEN(members)) {
                *members[i].part = value;
            }
            continue;
        }
        const json_event event = json_reader_next(r);
        if (members[i].text != NULL && event == JSON_EVENT_STRING) {
            *members[i].text = r->text;
        } else if (members[i].flag != NULL && event == JSON_EVENT_TRUE) {
            *members[i].flag = true;
        } else if (members[i].number != NULL && event == JSON_EVENT_INTEGER) {
            *members[i].number = r->integer;
        } else {
            (void)json_reader_skip(r); /* null, or not of its kind */
        }
    }
    return json_reader_status(r, err);
}

static weft_status load(vocab *v, tokjson *t, tokjson_file *file, weft_error *err) {
    (void)snprintf(v->model, sizeof v->model, "%s", "tokenizer.json");
    v->bos = v->eos = v->unknown = VOCAB_NONE;
    weft_status status = load_step(t, tokjson_norm_load, file->normalizer, err);
    if (status == WEFT_OK) {
        status = load_step(t, tokjson_pretok_load, file->pre_tokenizer, err);
    }
    if (status == WEFT_OK) {
        status = load_step(t, tokjson_decode_load, file->decoder, err);
    }
    if (status == WEFT_OK) {
        status = tokjson_added_load(t, file, err);
    }
    if (status == WEFT_OK) {
        status = tokjson_model_load(t, v, file, err);
    }
    if (status == WEFT_OK) {
        status = load_step(t, tokjson_post_load, file->post_processor, err);
    }
    if (status == WEFT_OK) {
        status = tokjson_added_index(t, err);
    }
    if (status == WEFT_OK) {
        status = tokjson_decode_fill(t, v, err);
    }
    if (status == WEFT_OK) {
        status = check_template(v, &t->template, err);
    }
    if (status == WEFT_OK && t->template.count > 0) {
        v->bos = t->template.ids[0];
        v->eos = t->template.ids[t->template.count - 1];
    }
    v->adds_bos = v->bos != VOCAB_NONE;
    v->adds_eos = v->eos != VOCAB_NONE;
    if (status == WEFT_OK && v->eos != VOCAB_NONE) {
        v->table.attrs[v->eos] |= VOCAB_ATTR_END;
    }
    return status;
}

static weft_status load_step(tokjson *t, load_fn *fn, str part, weft_error *err) {
    if (part.len == 0) {
        return WEFT_OK;
    }
    json_error_t error;
    json_t *step = json_loadb(part.data, part.len, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (step == NULL) { /* the reader had no objection: memory, or a limit of jansson's */
        return weft_fail(err, WEFT_FORMAT, "tokenizer.json: %s", error.text);
    }
    const weft_status status = fn(t, step, 0, err);
    json_decref(step);
    return status;
}

static weft_status check_template(const vocab *v, const tokjson_template *template,
                                  weft_error *err) {
    for (uint32_t i = 0; i < template->count; i++) {
        const int32_t id = template->ids[i];
        if (id != VOCAB_NONE && (uint32_t)id >= v->table.count) {
            return weft_fail(err, WEFT_FORMAT, "tokenizer.json: template token %d is no token", id);
        }
    }
    return WEFT_OK;
}
