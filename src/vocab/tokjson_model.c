/* tokjson_model.c - the model of a tokenizer.json: tokens, merges, scores, and what is unknown.
 *
 * The vocabulary may leave numbers out and give them in any order; a number without a token has an
 * empty text and is never found. Added tokens that the model does not have come after it, in
 * order, as the tokenizers library numbers them, and are marked as outside: the model must not
 * find them.
 *
 * Merges name their parts; both and the result must be tokens. The result is the two texts joined,
 * less the continuing prefix of the second.
 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/strmap.h"
#include "text/utf8.h"
#include "vocab/tokjson.h"

#define UNKNOWN_PENALTY 10.0

/* The tokens by number, borrowed from the JSON and from t->added. */
typedef struct token_list {
    str *texts;
    uint32_t capacity;
    uint32_t count; /* highest number + 1 */
    uint32_t n_model;
} token_list;

static weft_status find_kind(tokjson_model *m, const json_t *model, weft_error *err);
static weft_status read_tokens(token_list *list, const json_t *vocabulary, weft_error *err);
static weft_status set_token(token_list *list, json_int_t id, str text, weft_error *err);
static weft_status number_added(tokjson *t, token_list *list, weft_error *err);
static weft_status fill_table(vocab *v, const token_list *list, weft_error *err);
static void mark_added(const tokjson *t, vocab *v);
static weft_status load_unknown(tokjson *t, vocab *v, const json_t *model, weft_error *err);
static weft_status load_merges(tokjson *t, vocab *v, const json_t *merges, weft_error *err);
static bool merge_parts(const json_t *merge, str *left, str *right);
static weft_status load_scores(tokjson *t, vocab *v, const json_t *vocabulary, weft_error *err);
static void fill_known(tokjson *t, vocab *v);

weft_status tokjson_model_load(tokjson *t, vocab *v, const json_t *model, weft_error *err) {
    tokjson_model *m = &t->model;
    const json_t *vocabulary = json_object_get(model, "vocab");
    token_list list = {0};
    weft_status status = find_kind(m, model, err);
    if (status == WEFT_OK) {
        status = read_tokens(&list, vocabulary, err);
    }
    if (status == WEFT_OK) {
        status = number_added(t, &list, err);
    }
    if (status == WEFT_OK) {
        status = fill_table(v, &list, err);
    }
    mem_free(list.texts);
    if (status == WEFT_OK) {
        mark_added(t, v);
        status = load_unknown(t, v, model, err);
    }
    if (status == WEFT_OK && m->kind == TOKJSON_BPE) {
        status = load_merges(t, v, json_object_get(model, "merges"), err);
    }
    if (status == WEFT_OK && m->kind == TOKJSON_UNIGRAM) {
        status = load_scores(t, v, vocabulary, err);
    }
    if (status == WEFT_OK) {
        fill_known(t, v);
    }
    return status;
}

int32_t tokjson_find(const vocab *v, str text) {
    const int32_t id = vocab_table_find(&v->table, text);
    return id != VOCAB_NONE && (v->table.attrs[id] & TOKJSON_ATTR_OUTSIDE) == 0 ? id : VOCAB_NONE;
}

/* Older files do not name the type. */
static weft_status find_kind(tokjson_model *m, const json_t *model, weft_error *err) {
    const char *type = tokjson_type(model);
    if (type[0] == '\0' && json_is_object(model)) {
        type = json_object_get(model, "merges") != NULL                     ? "BPE"
               : json_is_array(json_object_get(model, "vocab"))             ? "Unigram"
               : json_object_get(model, "max_input_chars_per_word") != NULL ? "WordPiece"
                                                                            : "WordLevel";
    }
    static const char *const names[] = {"BPE", "WordPiece", "WordLevel", "Unigram"};
    static const tokjson_model_kind kinds[] = {TOKJSON_BPE, TOKJSON_WORDPIECE, TOKJSON_WORDLEVEL,
                                               TOKJSON_UNIGRAM};
    for (size_t i = 0; i < WEFT_LEN(names); i++) {
        if (strcmp(type, names[i]) == 0) {
            m->kind = kinds[i];
            return WEFT_OK;
        }
    }
    return weft_fail(err, WEFT_UNSUPPORTED, "tokenizer.json: model '%s' is not supported", type);
}

static weft_status read_tokens(token_list *list, const json_t *vocabulary, weft_error *err) {
    if (!json_is_object(vocabulary) && !json_is_array(vocabulary)) {
        return weft_fail(err, WEFT_FORMAT, "tokenizer.json: model has no vocab");
    }
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < json_array_size(vocabulary) && status == WEFT_OK; i++) {
        const json_t *text = json_array_get(json_array_get(vocabulary, i), 0);
        if (!json_is_string(text)) {
            return weft_fail(err, WEFT_FORMAT,
                             "tokenizer.json: vocab entry %zu is no pair of text and score", i);
        }
        status = set_token(list, (json_int_t)i,
                           str_from(json_string_value(text), json_string_length(text)), err);
    }
    const char *key;
    size_t key_len;
    json_t *value;
    json_object_keylen_foreach((json_t *)vocabulary, key, key_len, value) {
        if (!json_is_integer(value)) {
            return weft_fail(err, WEFT_FORMAT, "tokenizer.json: token '" STR_FMT "' has no number",
                             STR_ARG(str_from(key, key_len)));
        }
        status = set_token(list, json_integer_value(value), str_from(key, key_len), err);
        if (status != WEFT_OK) {
            break;
        }
    }
    list->n_model = (uint32_t)(json_is_array(vocabulary) ? json_array_size(vocabulary)
                                                         : json_object_size(vocabulary));
    return status;
}

static weft_status set_token(token_list *list, json_int_t id, str text, weft_error *err) {
    if (id < 0 || id >= (json_int_t)VOCAB_SIZE_MAX) {
        return weft_fail(err, WEFT_LIMIT,
                         "tokenizer.json: token '" STR_FMT "' has number %lld, wanted 0 to %u",
                         STR_ARG(text), (long long)id, VOCAB_SIZE_MAX - 1);
    }
    if (text.len > VOCAB_TOKEN_BYTES_MAX) {
        return weft_fail(err, WEFT_LIMIT,
                         "tokenizer.json: token %lld has %zu bytes, at most %u are taken",
                         (long long)id, text.len, VOCAB_TOKEN_BYTES_MAX);
    }
    if (id >= (json_int_t)list->capacity) {
        uint32_t capacity = list->capacity < 1024 ? 1024 : list->capacity;
        while ((json_int_t)capacity <= id) {
            capacity *= 2;
        }
        str *grown = mem_realloc(MEM_VOCAB, list->texts, capacity, sizeof *grown);
        if (grown == NULL) {
            return tokjson_nomem(err);
        }
        memset(grown + list->capacity, 0, (capacity - list->capacity) * sizeof *grown);
        list->texts = grown;
        list->capacity = capacity;
    }
    if (list->texts[id].data != NULL) {
        return weft_fail(err, WEFT_FORMAT, "tokenizer.json: two tokens have number %lld",
                         (long long)id);
    }
    list->texts[id] = text;
    list->count = (uint32_t)id + 1 > list->count ? (uint32_t)id + 1 : list->count;
    return WEFT_OK;
}

static weft_status number_added(tokjson *t, token_list *list, weft_error *err) {
    strmap firsts; /* text to the first added token that has it */
    strmap_init(&firsts, MEM_VOCAB);
    bool is_whole = strmap_reserve(&firsts, t->n_added);
    uint32_t first;
    for (uint32_t i = 0; i < t->n_added && is_whole; i++) {
        if (!strmap_get(&firsts, t->added[i].text, &first)) {
            is_whole = strmap_put(&firsts, t->added[i].text, i);
        }
    }
    weft_status status = is_whole ? WEFT_OK : tokjson_nomem(err);
    for (uint32_t id = 0; id < list->count && is_whole && t->n_added > 0; id++) {
        if (list->texts[id].data != NULL && strmap_get(&firsts, list->texts[id], &first)) {
            t->added[first].id = (int32_t)id;
        }
    }
    uint32_t next = list->n_model;
    for (uint32_t i = 0; i < t->n_added && status == WEFT_OK; i++) {
        tokjson_added_token *a = &t->added[i];
        if (strmap_get(&firsts, a->text, &first) && t->added[first].id != VOCAB_NONE) {
            a->id = t->added[first].id;
            a->is_outside = t->added[first].is_outside;
        } else {
            a->id = (int32_t)next;
            a->is_outside = true;
            status = set_token(list, next, a->text, err);
        }
        next = (uint32_t)a->id >= next ? (uint32_t)a->id + 1 : next;
    }
    strmap_deinit(&firsts);
    return status;
}

static weft_status fill_table(vocab *v, const token_list *list, weft_error *err) {
    vocab_table *t = &v->table;
    size_t bytes = 0;
    for (uint32_t id = 0; id < list->count; id++) {
        bytes += list->texts[id].len;
    }
    if (list->count == 0 || bytes > TOKJSON_FILE_BYTES_MAX) {
        return weft_fail(err, WEFT_LIMIT, "tokenizer.json: %u tokens of %zu bytes", list->count,
                         bytes);
    }
    t->texts = mem_alloc(MEM_VOCAB, bytes);
    t->at = mem_array(MEM_VOCAB, (size_t)list->count + 1, sizeof *t->at);
    t->attrs = mem_array(MEM_VOCAB, list->count, sizeof *t->attrs);
    t->scores = mem_zalloc(MEM_VOCAB, list->count, sizeof *t->scores);
    if (t->texts == NULL || t->at == NULL || t->attrs == NULL || t->scores == NULL) {
        return tokjson_nomem(err);
    }
    t->count = list->count;
    uint32_t used = 0;
    for (uint32_t id = 0; id < t->count; id++) {
        const str text = list->texts[id];
        t->at[id] = used;
        t->attrs[id] = text.len == 0 ? VOCAB_ATTR_UNUSED : VOCAB_ATTR_NORMAL;
        if (text.len > 0) {
            memcpy(t->texts + used, text.data, text.len);
        }
        used += (uint32_t)text.len;
        t->token_bytes_max =
            text.len > t->token_bytes_max ? (uint32_t)text.len : t->token_bytes_max;
    }
    t->at[t->count] = used;
    return vocab_table_index(t, err);
}

static void mark_added(const tokjson *t, vocab *v) {
    for (uint32_t i = 0; i < t->n_added; i++) {
        const tokjson_added_token *a = &t->added[i];
        uint16_t *attrs = &v->table.attrs[a->id];
        const uint16_t outside = a->is_outside ? TOKJSON_ATTR_OUTSIDE : 0;
        *attrs = (uint16_t)((a->is_special ? VOCAB_ATTR_CONTROL : VOCAB_ATTR_USER) | outside);
    }
}

static weft_status load_unknown(tokjson *t, vocab *v, const json_t *model, weft_error *err) {
    tokjson_model *m = &t->model;
    m->is_unknown_fused = m->kind == TOKJSON_UNIGRAM || tokjson_get_bool(model, "fuse_unk", false);
    m->has_byte_fallback = tokjson_get_bool(model, "byte_fallback", false);
    m->is_whole_words = tokjson_get_bool(model, "ignore_merges", false);
    m->prefix = tokjson_keep(t, tokjson_get_str(model, "continuing_subword_prefix"));
    m->suffix = tokjson_keep(t, tokjson_get_str(model, "end_of_word_suffix"));
    if (m->prefix.data == NULL || m->suffix.data == NULL) {
        return tokjson_nomem(err);
    }
    if (m->prefix.len > TOKJSON_NAME_MAX || m->suffix.len > TOKJSON_NAME_MAX) {
        return weft_fail(err, WEFT_LIMIT, "tokenizer.json: prefix or suffix of more than %u bytes",
                         TOKJSON_NAME_MAX);
    }
    const json_t *chars = json_object_get(model, "max_input_chars_per_word");
    const json_int_t chars_max = json_is_integer(chars) ? json_integer_value(chars) : 100;
    m->word_chars_max = (uint32_t)(chars_max < 0 ? 0 : chars_max > 65535 ? 65535 : chars_max);
    m->unknown = VOCAB_NONE;
    const json_t *id = json_object_get(model, "unk_id");
    if (m->kind == TOKJSON_UNIGRAM) {
        if (json_is_integer(id)) {
            if (json_integer_value(id) < 0 || json_integer_value(id) >= v->table.count) {
                return weft_fail(err, WEFT_FORMAT, "tokenizer.json: unk_id %lld is no token",
                                 (long long)json_integer_value(id));
            }
            m->unknown = (int32_t)json_integer_value(id);
        }
    } else {
        const str text = tokjson_get_str(model, "unk_token");
        m->unknown = text.data == NULL ? VOCAB_NONE : tokjson_find(v, text);
    }
    v->unknown = m->unknown;
    return WEFT_OK;
}

static weft_status load_merges(tokjson *t, vocab *v, const json_t *merges, weft_error *err) {
    const size_t count = json_array_size(merges);
    weft_status status = vocab_merges_reserve(&v->merges, count, err);
    buf joined;
    buf_init(&joined, MEM_VOCAB, 2 * VOCAB_TOKEN_BYTES_MAX);
    for (size_t i = 0; i < count && status == WEFT_OK; i++) {
        str left;
        str right;
        if (!merge_parts(json_array_get(merges, i), &left, &right)) {
            status =
                weft_fail(err, WEFT_FORMAT, "tokenizer.json: merge %zu is no pair of tokens", i);
            break;
        }
        vocab_merge merge = {tokjson_find(v, left), tokjson_find(v, right), (uint32_t)i,
                             VOCAB_NONE};
        const size_t skipped = right.len < t->model.prefix.len ? right.len : t->model.prefix.len;
        buf_clear(&joined);
        buf_append_str(&joined, left);
        buf_append(&joined, right.data + skipped, right.len - skipped);
        merge.id = tokjson_find(v, buf_view(&joined));
        if (merge.left == VOCAB_NONE || merge.right == VOCAB_NONE || merge.id == VOCAB_NONE) {
            status = weft_fail(err, WEFT_FORMAT,
                               "tokenizer.json: merge %zu ('" STR_FMT "', '" STR_FMT
                               "'): a part or the result is no token",
                               i, STR_ARG(left), STR_ARG(right));
        } else if (!vocab_merges_add(&v->merges, merge)) {
            status = weft_fail(err, WEFT_LIMIT, "tokenizer.json: merges made to collide");
        }
    }
    buf_deinit(&joined);
    return status;
}

static bool merge_parts(const json_t *merge, str *left, str *right) {
    if (json_is_string(merge)) {
        const str text = str_from(json_string_value(merge), json_string_length(merge));
        const size_t space = str_find(text, STR_LIT(" "), 0);
        *left = str_slice(text, 0, space);
        *right = space == SIZE_MAX ? (str){0} : str_slice(text, space + 1, text.len);
        return space != SIZE_MAX;
    }
    const json_t *a = json_array_get(merge, 0);
    const json_t *b = json_array_get(merge, 1);
    if (!json_is_string(a) || !json_is_string(b)) {
        return false;
    }
    *left = str_from(json_string_value(a), json_string_length(a));
    *right = str_from(json_string_value(b), json_string_length(b));
    return true;
}

static _Thread_local const vocab_table *sorted_table; /* of the sort in progress */

static int compare_texts(const void *a, const void *b) {
    return str_cmp(vocab_table_text(sorted_table, (int32_t) * (const uint32_t *)a),
                   vocab_table_text(sorted_table, (int32_t) * (const uint32_t *)b));
}

static weft_status load_scores(tokjson *t, vocab *v, const json_t *vocabulary, weft_error *err) {
    tokjson_model *m = &t->model;
    const size_t count = json_array_size(vocabulary);
    m->scores = mem_zalloc(MEM_VOCAB, v->table.count, sizeof *m->scores);
    m->sorted = mem_array(MEM_VOCAB, v->table.count, sizeof *m->sorted);
    if (m->scores == NULL || m->sorted == NULL) {
        return tokjson_nomem(err);
    }
    double lowest = INFINITY;
    for (size_t i = 0; i < count; i++) {
        const json_t *score = json_array_get(json_array_get(vocabulary, i), 1);
        if (!json_is_number(score)) {
            return weft_fail(err, WEFT_FORMAT, "tokenizer.json: token %zu has no score", i);
        }
        m->scores[i] = json_number_value(score);
        v->table.scores[i] = (float)m->scores[i];
        lowest = m->scores[i] < lowest ? m->scores[i] : lowest;
        if (tokjson_find(v, vocab_table_text(&v->table, (int32_t)i)) == (int32_t)i) {
            m->sorted[m->n_sorted++] = (uint32_t)i;
        }
    }
    m->unknown_score = lowest - UNKNOWN_PENALTY;
    sorted_table = &v->table;
    qsort(m->sorted, m->n_sorted, sizeof *m->sorted, compare_texts);
    sorted_table = NULL;
    return WEFT_OK;
}

static void fill_known(tokjson *t, vocab *v) {
    for (uint32_t cp = 0; cp < TOKJSON_CHARS; cp++) {
        char text[4];
        t->model.char_ids[cp] = tokjson_find(v, str_from(text, utf8_encode(text, cp)));
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[8];
        const size_t len = (size_t)snprintf(text, sizeof text, "<0x%02X>", byte);
        v->byte_ids[byte] = tokjson_find(v, str_from(text, len));
    }
}
