/* tokjson_added.c - added tokens: recognised in the text before the model sees it.
 *
 * Two searches: tokens that are not "normalized" are sought in the text as it comes, the others,
 * themselves normalised, in what the normaliser leaves. The leftmost match wins, of several there
 * the longest. A match may then be refused (a part of a longer word, or special where those are
 * not wanted), which leaves its text to the model, or widened by the white space beside it.
 *
 * The numbers of tokens that the model does not have are given in order, as the tokenizers
 * library does, whatever the file says: tokjson_model.c.
 */
#include "base/mem.h"
#include "text/json_reader.h"
#include "text/utf8.h"
#include "vocab/tokjson.h"

static weft_status read_token(tokjson *t, json_reader *r, tokjson_added_token *a, weft_error *err);
static weft_status build(tokjson *t, tokjson_matcher *m, bool is_normalized, weft_error *err);
static bool is_word_before(str text, size_t at);
static bool is_word_after(str text, size_t at);
static size_t spaces_before(str text, size_t from, size_t at);
static size_t spaces_after(str text, size_t at);
static uint32_t character_before(str text, size_t at, size_t *n);

weft_status tokjson_added_load(tokjson *t, tokjson_file *file, weft_error *err) {
    json_reader r;
    json_reader_init(&r, file->added_tokens, &file->strings);
    size_t capacity = 0;
    if (file->added_tokens.len == 0 || json_reader_next(&r) != JSON_EVENT_ARRAY) {
        return WEFT_OK;
    }
    while (json_reader_next(&r) == JSON_EVENT_OBJECT) {
        if (t->n_added == capacity) {
            capacity = capacity == 0 ? 64 : capacity * 2;
            tokjson_added_token *grown =
                capacity > VOCAB_SIZE_MAX
                    ? NULL
                    : mem_realloc(MEM_VOCAB, t->added, capacity, sizeof *grown);
            if (grown == NULL) {
                return weft_fail(err, WEFT_LIMIT,
                                 "tokenizer.json: more than %u added tokens, or no memory for them",
                                 t->n_added);
            }
            t->added = grown;
        }
        const weft_status status = read_token(t, &r, &t->added[t->n_added], err);
        if (status != WEFT_OK) {
            return status;
        }
        t->n_added += t->added[t->n_added].text.len > 0; /* one without a text is none */
    }
    return r.last == JSON_EVENT_ARRAY_END
               ? WEFT_OK
               : weft_fail(err, WEFT_FORMAT,
                           "tokenizer.json: added token %u is %s, wanted an object", t->n_added,
                           json_event_name(r.last));
}

static weft_status read_token(tokjson *t, json_reader *r, tokjson_added_token *a, weft_error *err) {
    *a = (tokjson_added_token){.id = VOCAB_NONE};
    bool says_normalized = false;
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {
        {"special", &a->is_special},         {"normalized", &a->is_normalized},
        {"single_word", &a->is_single_word}, {"lstrip", &a->strips_left},
        {"rstrip", &a->strips_right},
    };
    str text = {0};
    while (json_reader_next(r) == JSON_EVENT_KEY) {
        const str key = r->text;
        const json_event event = json_reader_next(r);
        if (event == JSON_EVENT_STRING && str_eq_cstr(key, "content")) {
            text = r->text;
        } else if (event == JSON_EVENT_TRUE || event == JSON_EVENT_FALSE) {
            for (size_t i = 0; i < WEFT_LEN(flags); i++) {
                if (str_eq_cstr(key, flags[i].name)) {
                    *flags[i].flag = event == JSON_EVENT_TRUE;
                    says_normalized = says_normalized || flags[i].flag == &a->is_normalized;
                }
            }
        } else {
            (void)json_reader_skip(r);
        }
    }
    a->is_normalized = says_normalized ? a->is_normalized : !a->is_special;
    if (text.len > VOCAB_TOKEN_BYTES_MAX) {
        return weft_fail(err, WEFT_LIMIT,
                         "tokenizer.json: added token %u has %zu bytes, at most %u are taken",
                         t->n_added, text.len, VOCAB_TOKEN_BYTES_MAX);
    }
    a->text = tokjson_keep(t, text);
    return a->text.data == NULL ? tokjson_nomem(err) : WEFT_OK;
}

weft_status tokjson_added_index(tokjson *t, weft_error *err) {
    const weft_status status = build(t, &t->raw, false, err);
    return status == WEFT_OK ? build(t, &t->normalized, true, err) : status;
}

void tokjson_matcher_deinit(tokjson_matcher *m) {
    vocab_special_deinit(&m->find);
    vocab_table_deinit(&m->texts);
    mem_free(m->which);
    m->which = NULL;
}

bool tokjson_added_find(const tokjson_run *run, const tokjson_matcher *m, str text, size_t from,
                        size_t done, tokjson_match *match) {
    size_t at;
    int32_t entry;
    while (from < text.len && vocab_special_find(&m->find, text, from, &at, &entry)) {
        const tokjson_added_token *a = &run->tok->added[m->which[entry]];
        const size_t end = at + vocab_table_text(&m->texts, entry).len;
        from = end;
        const bool is_refused =
            (a->is_special && !run->parses_special) ||
            (a->is_single_word && (is_word_before(text, at) || is_word_after(text, end)));
        if (is_refused) {
            continue;
        }
        match->id = a->id;
        match->next = end;
        match->from = a->strips_left ? spaces_before(text, done, at) : at;
        /* Within the space that the match before it took there is only space. */
        const bool is_taken = end < match->spaces_to;
        match->to = !a->strips_right ? end : is_taken ? match->spaces_to : spaces_after(text, end);
        match->spaces_to = a->strips_right ? match->to : match->spaces_to;
        return true;
    }
    return false;
}

/* A table of texts just for the search: where and how long each is. */
static weft_status build(tokjson *t, tokjson_matcher *m, bool is_normalized, weft_error *err) {
    buf all;
    buf_init(&all, MEM_VOCAB, TOKJSON_TEXT_BYTES_MAX);
    tokjson_scratch scratch = {0};
    buf_init(&scratch.bufs[0], MEM_VOCAB, TOKJSON_TEXT_BYTES_MAX);
    buf_init(&scratch.bufs[1], MEM_VOCAB, TOKJSON_TEXT_BYTES_MAX);
    weft_status status = regex_scratch_create(&scratch.regex, err);
    m->texts.at = mem_array(MEM_VOCAB, (size_t)t->n_added + 1, sizeof *m->texts.at);
    m->texts.attrs = mem_array(MEM_VOCAB, t->n_added, sizeof *m->texts.attrs);
    m->which = mem_array(MEM_VOCAB, t->n_added, sizeof *m->which);
    bool is_whole = m->texts.at != NULL && m->texts.attrs != NULL && m->which != NULL;
    for (uint32_t i = 0; i < t->n_added && is_whole && status == WEFT_OK; i++) {
        const tokjson_added_token *a = &t->added[i];
        if (a->is_normalized != is_normalized) {
            continue;
        }
        str text = a->text;
        bool is_first = true;
        is_whole = !is_normalized || tokjson_normalise(t, &scratch, a->text, &text, &is_first);
        m->which[m->texts.count] = i;
        m->texts.attrs[m->texts.count] = VOCAB_ATTR_USER;
        m->texts.at[m->texts.count++] = (uint32_t)all.len;
        is_whole = is_whole && buf_append_str(&all, text);
    }
    if (is_whole) {
        m->texts.at[m->texts.count] = (uint32_t)all.len;
        m->texts.texts = buf_take(&all);
        is_whole = m->texts.texts != NULL;
        for (uint32_t i = 0; i < m->texts.count && is_whole; i++) {
            t->added[m->which[i]].text = vocab_table_text(&m->texts, (int32_t)i);
        }
    }
    if (status == WEFT_OK) {
        status = regex_scratch_status(scratch.regex, err);
    }
    if (status == WEFT_OK) {
        status = is_whole ? vocab_special_init(&m->find, &m->texts, VOCAB_ATTR_USER, err)
                          : tokjson_nomem(err);
    }
    regex_scratch_destroy(&scratch.regex);
    buf_deinit(&scratch.bufs[0]);
    buf_deinit(&scratch.bufs[1]);
    buf_deinit(&all);
    return status;
}

static bool is_word_before(str text, size_t at) {
    size_t n;
    return at > 0 && tokjson_is_word(character_before(text, at, &n));
}

static bool is_word_after(str text, size_t at) {
    size_t n;
    return at < text.len && tokjson_is_word(utf8_decode(str_slice(text, at, text.len), &n));
}

static size_t spaces_before(str text, size_t from, size_t at) {
    size_t n;
    while (at > from && tokjson_is_space(character_before(text, at, &n))) {
        at -= n;
    }
    return at;
}

static size_t spaces_after(str text, size_t at) {
    size_t n;
    while (at < text.len && tokjson_is_space(utf8_decode(str_slice(text, at, text.len), &n))) {
        at += n;
    }
    return at;
}

static uint32_t character_before(str text, size_t at, size_t *n) {
    size_t start = at - 1;
    while (start > 0 && at - start < 4 && ((uint8_t)text.data[start] & 0xC0) == 0x80) {
        start--;
    }
    *n = at - start;
    size_t ignored;
    return utf8_decode(str_slice(text, start, at), &ignored);
}
