/* tokjson_model.c - the model of a tokenizer.json: tokens, merges, scores, and what is unknown.
 *
 * The vocabulary may leave numbers out and give them in any order; a number without a token has an
 * empty text and is never found. Added tokens that the model does not have come after it, in
 * order, as the tokenizers library numbers them, and are marked as outside: the model must not
 * find them.
 *
 * Merges name their parts; both and the result must be tokens. The result is the two texts joined,
 * less the continuing prefix of the second.
 *
 * Both lists are read event by event from the file and looked up in batches (vocab_merges.h), since
 * loading a large one is mostly waiting for memory.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/strmap.h"
#include "text/json_reader.h"
#include "text/utf8.h"
#include "vocab/tokjson.h"

/* A number may be this high, and higher by one for each byte of the lists: dense numbers always are
 * lower. */
#define HOLES_MAX 1024

/* The tokens by number, views of the file and of t->added. */
typedef struct token_list {
    str *texts;
    double *scores; /* Unigram only */
    uint32_t capacity;
    uint32_t count; /* highest number + 1 */
    uint32_t n_model;
    int64_t id_max; /* so that a short file does not ask for a long table */
} token_list;

typedef struct merge_list {
    vocab_merge *merges;
    size_t count;
    size_t capacity;
} merge_list;

static weft_status find_kind(tokjson_model *m, const tokjson_file *file, weft_error *err);
static weft_status read_tokens(token_list *list, tokjson_file *file, weft_error *err);
static weft_status read_scored(token_list *list, json_reader *r, weft_error *err);
static weft_status set_token(token_list *list, int64_t id, str text, double score, weft_error *err);
static weft_status number_added(tokjson *t, token_list *list, weft_error *err);
static weft_status fill_table(vocab *v, const token_list *list, weft_error *err);
static weft_status check_numbers(const vocab *v, weft_error *err);
static void mark_added(const tokjson *t, vocab *v);
static weft_status load_unknown(tokjson *t, vocab *v, const tokjson_file *file, weft_error *err);
static weft_status load_merges(tokjson *t, vocab *v, tokjson_file *file, weft_error *err);
static weft_status look_up(merge_list *list, vocab_merges_batch *batch, weft_error *err);
static bool read_merge(json_reader *r, str *left, str *right);
static weft_status load_scores(vocab *v, token_list *list, weft_error *err);
static void fill_known(tokjson *t, vocab *v);

weft_status tokjson_model_load(tokjson *t, vocab *v, tokjson_file *file, weft_error *err) {
    tokjson_model *m = &t->model;
    token_list list = {.id_max = HOLES_MAX + (int64_t)(file->vocab.len + file->added_tokens.len)};
    list.id_max = list.id_max < VOCAB_SIZE_MAX ? list.id_max : VOCAB_SIZE_MAX - 1;
    weft_status status = find_kind(m, file, err);
    if (status == WEFT_OK) {
        status = read_tokens(&list, file, err);
    }
    if (status == WEFT_OK) {
        status = number_added(t, &list, err);
    }
    if (status == WEFT_OK) {
        status = fill_table(v, &list, err);
    }
    if (status == WEFT_OK && m->kind != TOKJSON_UNIGRAM) {
        status = check_numbers(v, err);
    }
    if (status == WEFT_OK) {
        mark_added(t, v);
        status = load_unknown(t, v, file, err);
    }
    if (status == WEFT_OK && m->kind == TOKJSON_BPE) {
        status = load_merges(t, v, file, err);
    }
    if (status == WEFT_OK && m->kind == TOKJSON_UNIGRAM) {
        status = load_scores(v, &list, err);
    }
    if (status == WEFT_OK) {
        fill_known(t, v);
    }
    mem_free(list.texts);
    mem_free(list.scores);
    return status;
}

int32_t tokjson_find(const vocab *v, str text) {
    const int32_t id = vocab_table_find(&v->table, text);
    return id != VOCAB_NONE && (v->table.attrs[id] & TOKJSON_ATTR_OUTSIDE) == 0 ? id : VOCAB_NONE;
}

/* Older files do not name the type. */
static weft_status find_kind(tokjson_model *m, const tokjson_file *file, weft_error *err) {
    str type = file->type;
    if (type.len == 0) {
        const bool is_list = file->vocab.len > 0 && file->vocab.data[0] == '[';
        type = file->merges.len > 0                     ? STR_LIT("BPE")
               : is_list                                ? STR_LIT("Unigram")
               : file->word_chars_max != TOKJSON_UNSAID ? STR_LIT("WordPiece")
                                                        : STR_LIT("WordLevel");
    }
    static const char *const names[] = {"BPE", "WordPiece", "WordLevel", "Unigram"};
    static const tokjson_model_kind kinds[] = {TOKJSON_BPE, TOKJSON_WORDPIECE, TOKJSON_WORDLEVEL,
                                               TOKJSON_UNIGRAM};
    for (size_t i = 0; i < WEFT_LEN(names); i++) {
        if (str_eq_cstr(type, names[i])) {
            m->kind = kinds[i];
            return WEFT_OK;
        }
    }
    return weft_fail(err, WEFT_UNSUPPORTED, "tokenizer.json: model '" STR_FMT "' is not supported",
                     STR_ARG(type));
}

static weft_status read_tokens(token_list *list, tokjson_file *file, weft_error *err) {
    json_reader r;
    json_reader_init(&r, file->vocab, &file->strings);
    const json_event event = file->vocab.len > 0 ? json_reader_next(&r) : JSON_EVENT_NULL;
    if (event == JSON_EVENT_ARRAY) {
        return read_scored(list, &r, err);
    }
    if (event != JSON_EVENT_OBJECT) {
        return weft_fail(err, WEFT_FORMAT, "tokenizer.json: model has no vocab");
    }
    while (json_reader_next(&r) == JSON_EVENT_KEY) {
        const str text = r.text;
        if (json_reader_next(&r) != JSON_EVENT_INTEGER) {
            return weft_fail(err, WEFT_FORMAT, "tokenizer.json: token '" STR_FMT "' has no number",
                             STR_ARG(text));
        }
        const weft_status status = set_token(list, r.integer, text, 0, err);
        if (status != WEFT_OK) {
            return status;
        }
        list->n_model++;
    }
    return json_reader_status(&r, err);
}

static weft_status read_scored(token_list *list, json_reader *r, weft_error *err) {
    while (json_reader_next(r) == JSON_EVENT_ARRAY) {
        const bool has_text = json_reader_next(r) == JSON_EVENT_STRING;
        const str text = r->text;
        const json_event score = json_reader_next(r);
        if (!has_text || (score != JSON_EVENT_REAL && score != JSON_EVENT_INTEGER) ||
            json_reader_next(r) != JSON_EVENT_ARRAY_END) {
            return weft_fail(err, WEFT_FORMAT,
                             "tokenizer.json: vocab entry %u is no pair of text and score",
                             list->n_model);
        }
        const weft_status status = set_token(list, list->n_model, text, r->real, err);
        if (status != WEFT_OK) {
            return status;
        }
        list->n_model++;
    }
    return r->last == JSON_EVENT_ARRAY_END
               ? WEFT_OK
               : weft_fail(err, WEFT_FORMAT,
                           "tokenizer.json: vocab entry %u is no pair of text and score",
                           list->n_model);
}

static weft_status set_token(token_list *list, int64_t id, str text, double score,
                             weft_error *err) {
    if (id < 0 || id > list->id_max) {
        return weft_fail(err, WEFT_LIMIT,
                         "tokenizer.json: token '" STR_FMT "' has number %lld, wanted 0 to %lld",
                         STR_ARG(text), (long long)id, (long long)list->id_max);
    }
    if (text.len > VOCAB_TOKEN_BYTES_MAX) {
        return weft_fail(err, WEFT_LIMIT,
                         "tokenizer.json: token %lld has %zu bytes, at most %u are taken",
                         (long long)id, text.len, VOCAB_TOKEN_BYTES_MAX);
    }
    if (id >= (int64_t)list->capacity) {
        uint32_t capacity = list->capacity < 1024 ? 1024 : list->capacity;
        while ((int64_t)capacity <= id) {
            capacity *= 2;
        }
        str *texts = mem_realloc(MEM_VOCAB, list->texts, capacity, sizeof *texts);
        list->texts = texts == NULL ? list->texts : texts;
        double *scores = mem_realloc(MEM_VOCAB, list->scores, capacity, sizeof *scores);
        list->scores = scores == NULL ? list->scores : scores;
        if (texts == NULL || scores == NULL) {
            return tokjson_nomem(err);
        }
        memset(texts + list->capacity, 0, (capacity - list->capacity) * sizeof *texts);
        memset(scores + list->capacity, 0, (capacity - list->capacity) * sizeof *scores);
        list->capacity = capacity;
    }
    if (list->texts[id].data != NULL) {
        return weft_fail(err, WEFT_FORMAT, "tokenizer.json: two tokens have number %lld",
                         (long long)id);
    }
    list->texts[id] = text;
    list->scores[id] = score;
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
            status = set_token(list, next, a->text, 0, err);
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

/* A text with two numbers would be found under one and written for both. */
static weft_status check_numbers(const vocab *v, weft_error *err) {
    for (uint32_t id = 0; id < v->table.count && v->table.n_equal > 0; id++) {
        const str text = vocab_table_text(&v->table, (int32_t)id);
        const int32_t found = vocab_table_find(&v->table, text);
        if (text.len > 0 && found != (int32_t)id) {
            return weft_fail(err, WEFT_FORMAT,
                             "tokenizer.json: token '" STR_FMT "' has the numbers %d and %u",
                             STR_ARG(text), found, id);
        }
    }
    return WEFT_OK;
}

static void mark_added(const tokjson *t, vocab *v) {
    for (uint32_t i = 0; i < t->n_added; i++) {
        const tokjson_added_token *a = &t->added[i];
        uint16_t *attrs = &v->table.attrs[a->id];
        const uint16_t outside = a->is_outside ? TOKJSON_ATTR_OUTSIDE : 0;
        *attrs = (uint16_t)((a->is_special ? VOCAB_ATTR_CONTROL : VOCAB_ATTR_USER) | outside);
    }
}

static weft_status load_unknown(tokjson *t, vocab *v, const tokjson_file *file, weft_error *err) {
    tokjson_model *m = &t->model;
    m->is_unknown_fused = m->kind == TOKJSON_UNIGRAM || file->is_unknown_fused;
    m->has_byte_fallback = file->has_byte_fallback;
    m->is_whole_words = file->is_whole_words;
    m->prefix = tokjson_keep(t, file->prefix);
    m->suffix = tokjson_keep(t, file->suffix);
    if (m->prefix.data == NULL || m->suffix.data == NULL) {
        return tokjson_nomem(err);
    }
    if (m->prefix.len > TOKJSON_NAME_MAX || m->suffix.len > TOKJSON_NAME_MAX) {
        return weft_fail(err, WEFT_LIMIT, "tokenizer.json: prefix or suffix of more than %u bytes",
                         TOKJSON_NAME_MAX);
    }
    const int64_t chars_max = file->word_chars_max == TOKJSON_UNSAID ? 100 : file->word_chars_max;
    m->word_chars_max = (uint32_t)(chars_max < 0 ? 0 : chars_max > 65535 ? 65535 : chars_max);
    m->unknown = VOCAB_NONE;
    if (m->kind != TOKJSON_UNIGRAM) {
        m->unknown = file->unk_token.data == NULL ? VOCAB_NONE : tokjson_find(v, file->unk_token);
    } else if (file->unk_id != TOKJSON_UNSAID) {
        if (file->unk_id < 0 || file->unk_id >= (int64_t)v->table.count) {
            return weft_fail(err, WEFT_FORMAT, "tokenizer.json: unk_id %lld is no token",
                             (long long)file->unk_id);
        }
        m->unknown = (int32_t)file->unk_id;
    }
    v->unknown = m->unknown;
    return WEFT_OK;
}

/* All merges are looked up before any goes into the table, whose size depends on their number. */
static weft_status load_merges(tokjson *t, vocab *v, tokjson_file *file, weft_error *err) {
    merge_list list = {0};
    vocab_merges_batch batch = {
        .table = &v->table, .last_id = VOCAB_NONE, .prefix_bytes = t->model.prefix.len};
    weft_status status = WEFT_OK;
    json_reader r;
    json_reader_init(&r, file->merges, &file->strings);
    if (file->merges.len > 0 && json_reader_next(&r) == JSON_EVENT_ARRAY) {
        while (status == WEFT_OK && json_reader_next(&r) != JSON_EVENT_ARRAY_END) {
            str left;
            str right;
            if (!read_merge(&r, &left, &right)) {
                status =
                    weft_fail(err, WEFT_FORMAT, "tokenizer.json: merge %zu is no pair of tokens",
                              list.count + batch.n);
            } else if (vocab_merges_batch_push(&batch, left, right)) {
                status = look_up(&list, &batch, err);
            }
        }
    }
    if (status == WEFT_OK) {
        status = look_up(&list, &batch, err);
    }
    if (status == WEFT_OK) {
        status = vocab_merges_reserve(&v->merges, list.count, err);
    }
    if (status == WEFT_OK && !vocab_merges_add_all(&v->merges, list.merges, list.count)) {
        status = weft_fail(err, WEFT_LIMIT, "tokenizer.json: merges made to collide");
    }
    mem_free(list.merges);
    return status;
}

/* Appends what the batch holds. */
static weft_status look_up(merge_list *list, vocab_merges_batch *batch, weft_error *err) {
    if (list->count + batch->n > list->capacity) {
        const size_t capacity = list->capacity == 0 ? 1024 : list->capacity * 2;
        vocab_merge *grown = list->count > VOCAB_MERGES_MAX
                                 ? NULL
                                 : mem_realloc(MEM_VOCAB, list->merges, capacity, sizeof *grown);
        if (grown == NULL) {
            return weft_fail(err, WEFT_LIMIT,
                             "tokenizer.json: more than %zu merges, or no memory for them",
                             list->count);
        }
        list->merges = grown;
        list->capacity = capacity;
    }
    const uint16_t *attrs = batch->table->attrs;
    vocab_merges_batch_look_up(batch);
    for (size_t i = 0; i < batch->n; i++) {
        vocab_merge merge = batch->merges[i];
        const bool is_known = merge.id != VOCAB_NONE && /* which wants its parts */
                              ((attrs[merge.left] | attrs[merge.right] | attrs[merge.id]) &
                               TOKJSON_ATTR_OUTSIDE) == 0;
        if (!is_known) {
            const str left = batch->parts[i * 2];
            const str right = batch->parts[i * 2 + 1];
            return weft_fail(err, WEFT_FORMAT,
                             "tokenizer.json: merge %zu ('" STR_FMT "', '" STR_FMT
                             "'): a part or the result is no token",
                             list->count, STR_ARG(left), STR_ARG(right));
        }
        merge.rank = (uint32_t)list->count;
        list->merges[list->count++] = merge;
    }
    batch->n = 0;
    return WEFT_OK;
}

/* "left right" or ["left", "right"]; the reader stands at its first event. */
static bool read_merge(json_reader *r, str *left, str *right) {
    if (r->last == JSON_EVENT_STRING) {
        const str text = r->text;
        const size_t space = str_find(text, STR_LIT(" "), 0);
        *left = str_slice(text, 0, space);
        *right = space == SIZE_MAX ? (str){0} : str_slice(text, space + 1, text.len);
        return space != SIZE_MAX;
    }
    if (r->last != JSON_EVENT_ARRAY || json_reader_next(r) != JSON_EVENT_STRING) {
        return false;
    }
    *left = r->text;
    if (json_reader_next(r) != JSON_EVENT_STRING) {
        return false;
    }
    *right = r->text;
    return json_reader_next(r) == JSON_EVENT_ARRAY_END;
}

static weft_status load_scores(vocab *v, token_list *list, weft_error *err) {
    vocab_best_model *m = &v->best;
    m->scores = list->scores;
    list->scores = NULL;
    m->unknown = v->unknown;
    double lowest = INFINITY;
    for (uint32_t i = 0; i < list->n_model; i++) {
        v->table.scores[i] = (float)m->scores[i];
        lowest = m->scores[i] < lowest ? m->scores[i] : lowest;
    }
    m->unknown_score = lowest - VOCAB_BEST_UNKNOWN_PENALTY;
    const uint32_t attrs = VOCAB_ATTR_NORMAL | VOCAB_ATTR_CONTROL | VOCAB_ATTR_USER;
    return vocab_trie_init(&v->trie, &v->table, VOCAB_TRIE_TEXTS, attrs, TOKJSON_ATTR_OUTSIDE, err);
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
