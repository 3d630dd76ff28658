/* vocab.c - a vocabulary as the engine sees it: create, ask, encode.
 *
 * Encoding goes from special token to special token. What lies between two of them is handed to
 * the vocabulary's own way of encoding (vocab->encode), together with whether a word starts there.
 * Everything that an encode needs lives in a vocab_run on the stack and the heap behind it, so that
 * any number of threads may encode with one vocabulary.
 *
 * Read next: vocab_impl.h for the parts, vocab_bpe.c, vocab_spm.c, vocab_unigram.c,
 * vocab_wordpiece.c and vocab_rwkv.c for the ways to encode.
 */
#include "vocab/vocab.h"

#include "base/check.h"
#include "base/mem.h"
#include "text/utf8.h"
#include "vocab/tokjson.h"
#include "vocab/vocab_impl.h"

#define METASPACE "\xE2\x96\x81"
#define REPLACEMENT "\xEF\xBF\xBD"
#define CHARACTER_BYTES_MAX 4u

static bool encode_text(vocab_run *run, str text, uint32_t flags);
static size_t strip_right(str text, size_t from, size_t to);
static size_t strip_left(str text, size_t from);
static bool push_character(vocab_run *run, const char *bytes, size_t n, size_t *len);
static void emit_bytes(vocab_run *run, const vocab_symbol *symbol);

weft_status vocab_create(vocab **out, const weights *w, weft_error *err) {
    vocab *v = mem_zalloc(MEM_VOCAB, 1, sizeof *v);
    if (v == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for a vocabulary");
    }
    const weft_status status = vocab_load(v, w, err);
    if (status != WEFT_OK) {
        vocab_destroy(&v);
        return status;
    }
    *out = v;
    return WEFT_OK;
}

void vocab_destroy(vocab **v) {
    if (v == NULL || *v == NULL) {
        return;
    }
    tokjson_destroy(&(*v)->tokjson);
    vocab_special_deinit(&(*v)->special);
    vocab_special_deinit(&(*v)->user_defined);
    vocab_merges_deinit(&(*v)->merges);
    vocab_pretok_destroy(&(*v)->pretok);
    vocab_unigram_deinit(&(*v)->unigram);
    mem_free((*v)->best.scores);
    vocab_trie_deinit(&(*v)->trie);
    vocab_table_deinit(&(*v)->table);
    mem_free(*v);
    *v = NULL;
}

uint32_t vocab_size(const vocab *v) { return v->table.count; }

const char *vocab_model(const vocab *v) { return v->model; }

int32_t vocab_bos(const vocab *v) { return v->bos; }

int32_t vocab_eos(const vocab *v) { return v->eos; }

bool vocab_is_end(const vocab *v, int32_t id) {
    return id >= 0 && (uint32_t)id < v->table.count && (v->table.attrs[id] & VOCAB_ATTR_END) != 0;
}

bool vocab_is_control(const vocab *v, int32_t id) {
    return id >= 0 && (uint32_t)id < v->table.count &&
           (v->table.attrs[id] & (VOCAB_ATTR_CONTROL | VOCAB_ATTR_UNKNOWN)) != 0;
}

str vocab_token_text(const vocab *v, int32_t id) {
    if (id < 0 || (uint32_t)id >= v->table.count) {
        return STR_LIT("");
    }
    return vocab_table_text(&v->table, id);
}

int32_t vocab_find(const vocab *v, str text) { return vocab_table_find(&v->table, text); }

void vocab_ids_deinit(vocab_ids *ids) {
    mem_free(ids->ids);
    *ids = (vocab_ids){0};
}

bool vocab_ids_push(vocab_ids *ids, int32_t id) {
    if (ids->count == ids->capacity) {
        const size_t capacity = ids->capacity == 0 ? 64 : ids->capacity * 2;
        int32_t *grown = mem_realloc(MEM_VOCAB, ids->ids, capacity, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        ids->ids = grown;
        ids->capacity = capacity;
    }
    ids->ids[ids->count++] = id;
    return true;
}

weft_status vocab_encode(const vocab *v, str text, uint32_t flags, vocab_ids *out,
                         weft_error *err) {
    if (text.len > VOCAB_TEXT_BYTES_MAX) {
        return weft_fail(err, WEFT_LIMIT, "text of %zu bytes: at most %u are encoded at once",
                         text.len, VOCAB_TEXT_BYTES_MAX);
    }
    if (v->tokjson != NULL) {
        return tokjson_encode(v, text, flags, out, err);
    }
    const size_t count_before = out->count;
    vocab_run run = {.vocab = v, .out = out};
    weft_status status = WEFT_OK;
    if (v->pretok != NULL) {
        status = regex_scratch_create(&run.regex, err);
    }
    if (status == WEFT_OK &&
        (!vocab_cache_init(&run.cache, text.len) || !encode_text(&run, text, flags))) {
        status = weft_fail(err, WEFT_NOMEM, "no memory to encode a text of %zu bytes", text.len);
    }
    if (status == WEFT_OK && run.regex != NULL) {
        status = regex_scratch_status(run.regex, err);
    }
    if (status != WEFT_OK) {
        out->count = count_before;
    }
    regex_scratch_destroy(&run.regex);
    vocab_cache_deinit(&run.cache);
    vocab_word_deinit(&run.word);
    mem_free(run.text);
    vocab_best_deinit(&run.best);
    return status;
}

bool vocab_run_reserve(vocab_run *run, size_t n) {
    vocab_ids *ids = run->out;
    if (ids->capacity - ids->count >= n) {
        return true;
    }
    size_t capacity = ids->capacity < 64 ? 64 : ids->capacity * 2;
    while (capacity - ids->count < n) {
        capacity *= 2;
    }
    int32_t *grown = mem_realloc(MEM_VOCAB, ids->ids, capacity, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    ids->ids = grown;
    ids->capacity = capacity;
    return true;
}

bool vocab_run_text(vocab_run *run, size_t n) {
    if (n <= run->text_capacity) {
        return true;
    }
    size_t capacity = run->text_capacity < 256 ? 256 : run->text_capacity;
    while (capacity < n) {
        capacity *= 2;
    }
    char *grown = mem_realloc(MEM_VOCAB, run->text, capacity, 1);
    if (grown == NULL) {
        return false;
    }
    run->text = grown;
    run->text_capacity = capacity;
    return true;
}

bool vocab_run_spell(vocab_run *run, str text, bool has_space_before) {
    /* A space and a broken byte grow from one byte to three. */
    if (!vocab_run_text(run, (text.len + 1) * 3)) {
        return false;
    }
    vocab_word_clear(&run->word);
    size_t len = 0;
    if (has_space_before && !push_character(run, METASPACE, 3, &len)) {
        return false;
    }
    for (size_t at = 0; at < text.len;) {
        const char *bytes = text.data + at;
        size_t n = 1;
        size_t taken = 1;
        if (*bytes == ' ') {
            bytes = METASPACE;
            n = 3;
        } else if ((uint8_t)*bytes >= 0x80) {
            if (utf8_decode(str_from(bytes, text.len - at), &n) == UTF8_INVALID) {
                bytes = REPLACEMENT;
                n = 3;
            } else {
                taken = n;
            }
        }
        if (!push_character(run, bytes, n, &len)) {
            return false;
        }
        at += taken;
    }
    return true;
}

bool vocab_run_emit(vocab_run *run) {
    for (size_t i = 0; i < run->word.count; i++) {
        const vocab_symbol *symbol = &run->word.symbols[i];
        if (!vocab_run_reserve(run, CHARACTER_BYTES_MAX)) {
            return false;
        }
        if (symbol->id != VOCAB_NONE) {
            run->out->ids[run->out->count++] = symbol->id;
            run->is_after_unknown = false;
        } else {
            emit_bytes(run, symbol);
        }
    }
    return true;
}

static bool encode_text(vocab_run *run, str text, uint32_t flags) {
    const vocab *v = run->vocab;
    const bool adds = (flags & VOCAB_ADD_SPECIAL) != 0;
    const vocab_special *special =
        (flags & VOCAB_PARSE_SPECIAL) != 0 ? &v->special : &v->user_defined;
    if (adds && v->adds_bos && v->bos != VOCAB_NONE && !vocab_ids_push(run->out, v->bos)) {
        return false;
    }
    size_t at = 0;
    size_t found;
    int32_t id;
    while (vocab_special_find(special, text, at, &found, &id)) {
        const uint16_t attrs = v->table.attrs[id];
        const size_t to = (attrs & VOCAB_ATTR_LSTRIP) != 0 ? strip_right(text, at, found) : found;
        if (to > at && !v->encode(run, str_from(text.data + at, to - at))) {
            return false;
        }
        if (!vocab_ids_push(run->out, id)) {
            return false;
        }
        at = found + vocab_table_text(&v->table, id).len;
        if ((attrs & VOCAB_ATTR_RSTRIP) != 0) {
            at = strip_left(text, at);
        }
    }
    if (at < text.len && !v->encode(run, str_from(text.data + at, text.len - at))) {
        return false;
    }
    if (adds && v->adds_separator && v->separator != VOCAB_NONE &&
        !vocab_ids_push(run->out, v->separator)) {
        return false;
    }
    return !adds || !v->adds_eos || v->eos == VOCAB_NONE || vocab_ids_push(run->out, v->eos);
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static size_t strip_right(str text, size_t from, size_t to) {
    while (to > from && is_space(text.data[to - 1])) {
        to--;
    }
    return to;
}

static size_t strip_left(str text, size_t from) {
    while (from < text.len && is_space(text.data[from])) {
        from++;
    }
    return from;
}

static bool push_character(vocab_run *run, const char *bytes, size_t n, size_t *len) {
    const vocab *v = run->vocab;
    memcpy(run->text + *len, bytes, n);
    int32_t id;
    if (n == 1) {
        id = v->char_ids[(uint8_t)*bytes];
    } else {
        id = vocab_table_find(&v->table, str_from(bytes, n));
        const uint32_t wanted = VOCAB_ATTR_NORMAL | VOCAB_ATTR_USER;
        id = id != VOCAB_NONE && (v->table.attrs[id] & wanted) != 0 ? id : VOCAB_NONE;
    }
    const size_t from = *len;
    *len += n;
    return vocab_word_push(&run->word, id, (uint32_t)from, (uint32_t)*len);
}

/* A symbol without a token is a single character: nothing merges into no token. */
static void emit_bytes(vocab_run *run, const vocab_symbol *symbol) {
    const vocab *v = run->vocab;
    vocab_ids *out = run->out;
    WEFT_DEBUG_ASSERT(symbol->to - symbol->from <= CHARACTER_BYTES_MAX);
    const size_t before = out->count;
    for (uint32_t i = symbol->from; i < symbol->to; i++) {
        const int32_t id = v->byte_ids[(uint8_t)run->text[i]];
        if (id == VOCAB_NONE) {
            out->count = before;
            if (v->unknown != VOCAB_NONE && !run->is_after_unknown) {
                out->ids[out->count++] = v->unknown;
            }
            run->is_after_unknown = true;
            return;
        }
        out->ids[out->count++] = id;
    }
    run->is_after_unknown = false;
}
