/* tokjson_encode.c - a text through the whole pipeline of a tokenizer.json.
 *
 * The text is cut at the added tokens sought as spelled; what lies between is normalised and cut at
 * those sought as normalised; what is left is pre-tokenised, and each word goes through the model.
 * Words are remembered in the cache of the run: what a word becomes depends on the word alone.
 *
 * BPE follows the tokenizers library in what it does with characters that are no token: bytes if
 * there are byte tokens for all of them, else the unknown token, which waits until the next known
 * character (so that a run can be one) and is written behind bytes that come in between. Unigram's
 * neighbouring unknowns are one, which is looked up once more, and spelled in bytes where there are
 * byte tokens.
 */
#include "base/check.h"
#include "base/mem.h"
#include "text/utf8.h"
#include "vocab/tokjson.h"

static bool encode_template(tokjson_run *run, str text);
static bool encode_text(tokjson_run *run, str text);
static bool encode_valid(tokjson_run *run, str text, bool is_first);
static bool encode_normalised(tokjson_run *run, str text, bool is_first);
static bool encode_broken(tokjson_run *run, str bytes);
static size_t broken_bytes(str text);
static bool encode_fresh(tokjson_run *run, str word);
static bool encode_bpe(tokjson_run *run, str word);
static bool push_symbols(tokjson_run *run, str word);
static int32_t find_character(tokjson_run *run, str character, bool is_first, bool is_last,
                              str *spelled);
static bool push_bytes(tokjson_run *run, str spelled, uint32_t *place);
static vocab_pair pair_by_rank(const void *context, const vocab_symbol *left,
                               const vocab_symbol *right);
static bool encode_wordpiece(tokjson_run *run, str word);
static bool encode_wordlevel(tokjson_run *run, str word);
static bool encode_unigram(tokjson_run *run, str word);
static bool spell_unknown(tokjson_run *run, str text);
static bool push_unknown(tokjson_run *run);

weft_status tokjson_encode(const vocab *v, str text, uint32_t flags, vocab_ids *out,
                           weft_error *err) {
    const size_t count_before = out->count;
    tokjson_run run = {.run = {.vocab = v, .out = out},
                       .tok = v->tokjson,
                       .parses_special = (flags & VOCAB_PARSE_SPECIAL) != 0};
    for (size_t i = 0; i < TOKJSON_STEPS_MAX; i++) {
        buf_init(&run.stages[i], MEM_VOCAB, TOKJSON_TEXT_BYTES_MAX);
    }
    buf_init(&run.spelling, MEM_VOCAB, TOKJSON_TEXT_BYTES_MAX);
    buf_init(&run.scratch.bufs[0], MEM_VOCAB, TOKJSON_TEXT_BYTES_MAX);
    buf_init(&run.scratch.bufs[1], MEM_VOCAB, TOKJSON_TEXT_BYTES_MAX);
    bool is_done = true;
    weft_status status = regex_scratch_create(&run.scratch.regex, err);
    if (status == WEFT_OK) {
        is_done = vocab_cache_init(&run.run.cache, text.len) &&
                  ((flags & VOCAB_ADD_SPECIAL) != 0 ? encode_template(&run, text)
                                                    : encode_text(&run, text));
    }
    if (!is_done) {
        status = weft_fail(err, WEFT_NOMEM, "no memory to encode a text of %zu bytes", text.len);
    } else if (status == WEFT_OK) {
        status = regex_scratch_status(run.scratch.regex, err);
    }
    if (status != WEFT_OK) {
        out->count = count_before;
    }
    for (size_t i = 0; i < TOKJSON_STEPS_MAX; i++) {
        buf_deinit(&run.stages[i]);
    }
    buf_deinit(&run.spelling);
    buf_deinit(&run.scratch.bufs[0]);
    buf_deinit(&run.scratch.bufs[1]);
    regex_scratch_destroy(&run.scratch.regex);
    vocab_cache_deinit(&run.run.cache);
    vocab_word_deinit(&run.run.word);
    vocab_best_deinit(&run.run.best);
    return status;
}

/* A text that the template has twice is encoded once. */
static bool encode_template(tokjson_run *run, str text) {
    const tokjson_template *template = &run->tok->template;
    vocab_ids *out = run->run.out;
    size_t from = SIZE_MAX;
    size_t count = 0;
    bool is_done = true;
    for (uint32_t i = 0; i < template->count && is_done; i++) {
        if (template->ids[i] != VOCAB_NONE) {
            is_done = vocab_ids_push(out, template->ids[i]);
        } else if (from == SIZE_MAX) {
            from = out->count;
            is_done = encode_text(run, text);
            count = out->count - from;
        } else {
            for (size_t k = 0; k < count && is_done; k++) {
                is_done = vocab_ids_push(out, out->ids[from + k]);
            }
        }
    }
    return is_done;
}

static bool encode_text(tokjson_run *run, str text) {
    bool is_done = true;
    for (size_t at = 0; at < text.len && is_done;) {
        const str rest = str_slice(text, at, text.len);
        const str valid = str_from(rest.data, utf8_valid_prefix(rest));
        const str broken =
            str_from(rest.data + valid.len, broken_bytes(str_slice(rest, valid.len, rest.len)));
        is_done =
            encode_valid(run, valid, at == 0) && (broken.len == 0 || encode_broken(run, broken));
        at += valid.len + broken.len;
    }
    return is_done;
}

bool tokjson_encode_word(tokjson_run *run, str word) {
    vocab_ids *out = run->run.out;
    if (word.len == 0 || word.len > VOCAB_CACHE_WORD_MAX) {
        return word.len == 0 || encode_fresh(run, word);
    }
    if (!vocab_run_reserve(&run->run, VOCAB_CACHE_IDS_MAX)) {
        return false;
    }
    const vocab_cache_key key = vocab_cache_key_of(word);
    vocab_cache_entry *entry = vocab_cache_place(&run->run.cache, &key);
    if (vocab_cache_is(entry, &key)) {
        memcpy(out->ids + out->count, entry->ids, sizeof entry->ids);
        out->count += entry->n_ids;
        return true;
    }
    const size_t before = out->count;
    if (!encode_fresh(run, word)) {
        return false;
    }
    vocab_cache_store(entry, &key, out->ids + before, out->count - before);
    return true;
}

static bool encode_valid(tokjson_run *run, str text, bool is_first) {
    const tokjson_matcher *m = &run->tok->raw;
    size_t done = 0;
    tokjson_match match = {0};
    while (tokjson_added_find(run, m, text, match.next, done, &match)) {
        if (match.from > done &&
            !encode_normalised(run, str_slice(text, done, match.from), is_first && done == 0)) {
            return false;
        }
        if (!vocab_ids_push(run->run.out, match.id)) {
            return false;
        }
        done = match.to;
    }
    return done >= text.len ||
           encode_normalised(run, str_slice(text, done, text.len), is_first && done == 0);
}

static bool encode_normalised(tokjson_run *run, str text, bool is_first) {
    const tokjson_matcher *m = &run->tok->normalized;
    if (!tokjson_normalise(run->tok, &run->scratch, text, &text, &is_first)) {
        return false;
    }
    size_t done = 0;
    tokjson_match match = {0};
    while (tokjson_added_find(run, m, text, match.next, done, &match)) {
        if (match.from > done &&
            !tokjson_pretok_run(run, str_slice(text, done, match.from), is_first && done == 0)) {
            return false;
        }
        if (!vocab_ids_push(run->run.out, match.id)) {
            return false;
        }
        done = match.to;
    }
    return done >= text.len ||
           tokjson_pretok_run(run, str_slice(text, done, text.len), is_first && done == 0);
}

/* Bytes that are not UTF-8: as they are where the model knows bytes, else U+FFFD each. */
static bool encode_broken(tokjson_run *run, str bytes) {
    buf text;
    buf_init(&text, MEM_VOCAB, TOKJSON_TEXT_BYTES_MAX);
    bool is_done = true;
    if (run->tok->is_byte_level) {
        is_done =
            tokjson_append_stand_ins(&text, bytes) && tokjson_encode_word(run, buf_view(&text));
    } else {
        for (size_t i = 0; i < bytes.len; i++) {
            buf_append_cstr(&text, "\xEF\xBF\xBD");
        }
        is_done = !text.is_failed && encode_normalised(run, buf_view(&text), false);
    }
    buf_deinit(&text);
    return is_done;
}

/* Length of the run of malformed sequences at the beginning. */
static size_t broken_bytes(str text) {
    size_t at = 0;
    size_t n = 0;
    while (at < text.len && utf8_decode(str_slice(text, at, text.len), &n) == UTF8_INVALID) {
        at += n;
    }
    return at;
}

static bool encode_fresh(tokjson_run *run, str word) {
    switch (run->tok->model.kind) {
    case TOKJSON_BPE: return encode_bpe(run, word);
    case TOKJSON_WORDPIECE: return encode_wordpiece(run, word);
    case TOKJSON_WORDLEVEL: return encode_wordlevel(run, word);
    case TOKJSON_UNIGRAM: return encode_unigram(run, word);
    }
    return false;
}

static bool encode_bpe(tokjson_run *run, str word) {
    const vocab *v = run->run.vocab;
    if (run->tok->model.is_whole_words) {
        const int32_t id = tokjson_find(v, word);
        if (id != VOCAB_NONE) {
            return vocab_ids_push(run->run.out, id);
        }
    }
    vocab_word *w = &run->run.word;
    vocab_word_clear(w);
    if (!push_symbols(run, word) || !vocab_word_merge(w, pair_by_rank, &v->merges) ||
        !vocab_run_reserve(&run->run, w->count)) {
        return false;
    }
    for (size_t i = 0; i < w->count; i++) {
        run->run.out->ids[run->run.out->count++] = w->symbols[i].id;
    }
    return true;
}

static bool push_symbols(tokjson_run *run, str word) {
    const tokjson_model *m = &run->tok->model;
    vocab_word *w = &run->run.word;
    uint32_t place = 0; /* of the symbol: any numbers that rise */
    bool is_waiting = false;
    size_t n = 0;
    for (size_t at = 0; at < word.len; at += n) {
        const uint32_t cp = utf8_decode(str_slice(word, at, word.len), &n);
        const bool is_plain =
            (at == 0 || m->prefix.len == 0) && (at + n < word.len || m->suffix.len == 0);
        str spelled = str_slice(word, at, at + n);
        const int32_t id =
            is_plain && cp < TOKJSON_CHARS
                ? m->char_ids[cp]
                : find_character(run, spelled, at == 0, at + n == word.len, &spelled);
        if (id != VOCAB_NONE) {
            if (is_waiting && !vocab_word_push(w, m->unknown, place, place + 1)) {
                return false;
            }
            place += is_waiting;
            is_waiting = false;
            if (!vocab_word_push(w, id, place, place + 1)) {
                return false;
            }
            place++;
            continue;
        }
        const size_t before = w->count;
        if (m->has_byte_fallback && !push_bytes(run, spelled, &place)) {
            return false;
        }
        if (w->count > before || m->unknown == VOCAB_NONE) {
            continue;
        }
        if (is_waiting && !m->is_unknown_fused) {
            if (!vocab_word_push(w, m->unknown, place, place + 1)) {
                return false;
            }
            place++;
        }
        is_waiting = true;
    }
    return !is_waiting || vocab_word_push(w, m->unknown, place, place + 1);
}

static int32_t find_character(tokjson_run *run, str character, bool is_first, bool is_last,
                              str *spelled) {
    const tokjson_model *m = &run->tok->model;
    if ((is_first || m->prefix.len == 0) && (!is_last || m->suffix.len == 0)) {
        return tokjson_find(run->run.vocab, character);
    }
    buf_clear(&run->spelling);
    if (!is_first) {
        buf_append_str(&run->spelling, m->prefix);
    }
    buf_append_str(&run->spelling, character);
    if (is_last) {
        buf_append_str(&run->spelling, m->suffix);
    }
    *spelled = buf_view(&run->spelling);
    return tokjson_find(run->run.vocab, *spelled);
}

/* Pushes nothing where one of the bytes has no token. */
static bool push_bytes(tokjson_run *run, str spelled, uint32_t *place) {
    const int32_t *byte_ids = run->run.vocab->byte_ids;
    for (size_t i = 0; i < spelled.len; i++) {
        if (byte_ids[(uint8_t)spelled.data[i]] == VOCAB_NONE) {
            return true;
        }
    }
    for (size_t i = 0; i < spelled.len; i++, ++*place) {
        const int32_t id = byte_ids[(uint8_t)spelled.data[i]];
        if (!vocab_word_push(&run->run.word, id, *place, *place + 1)) {
            return false;
        }
    }
    return true;
}

static vocab_pair pair_by_rank(const void *context, const vocab_symbol *left,
                               const vocab_symbol *right) {
    const vocab_merge *merge = vocab_merges_find(context, left->id, right->id);
    return merge == NULL ? (vocab_pair){VOCAB_RANK_NONE, VOCAB_NONE}
                         : (vocab_pair){merge->rank, merge->id};
}

/* The longest token from the left, again and again; one place without any makes the whole word
 * unknown. */
static bool encode_wordpiece(tokjson_run *run, str word) {
    const tokjson_model *m = &run->tok->model;
    const vocab *v = run->run.vocab;
    size_t n_chars = 0;
    for (size_t i = 0; i < word.len; i++) {
        n_chars += ((uint8_t)word.data[i] & 0xC0) != 0x80;
    }
    const size_t before = run->run.out->count;
    for (size_t at = 0; at < word.len && n_chars <= m->word_chars_max;) {
        size_t to =
            word.len - at < v->table.token_bytes_max ? word.len : at + v->table.token_bytes_max;
        int32_t id = VOCAB_NONE;
        for (; to > at && id == VOCAB_NONE; to--) {
            if (to < word.len && ((uint8_t)word.data[to] & 0xC0) == 0x80) {
                continue;
            }
            buf_clear(&run->spelling);
            if (at > 0) {
                buf_append_str(&run->spelling, m->prefix);
            }
            if (!buf_append(&run->spelling, word.data + at, to - at)) {
                return false;
            }
            id = tokjson_find(v, buf_view(&run->spelling));
        }
        if (id == VOCAB_NONE) {
            run->run.out->count = before;
            return push_unknown(run);
        }
        if (!vocab_ids_push(run->run.out, id)) {
            return false;
        }
        at = to + 1; /* the loop went one further */
    }
    return n_chars <= m->word_chars_max || push_unknown(run);
}

static bool encode_wordlevel(tokjson_run *run, str word) {
    const int32_t id = tokjson_find(run->run.vocab, word);
    return id == VOCAB_NONE ? push_unknown(run) : vocab_ids_push(run->run.out, id);
}

static bool encode_unigram(tokjson_run *run, str word) {
    const vocab *v = run->run.vocab;
    if (!vocab_best_find(&run->run.best, &v->best, &v->trie, word)) {
        return false;
    }
    const vocab_best_way *ways = run->run.best.ways;
    size_t unknown_from = SIZE_MAX;
    for (size_t from = 0; from < word.len; from = ways[from].at) {
        const int32_t id = ways[ways[from].at].id;
        if (id == VOCAB_NONE) {
            unknown_from = unknown_from == SIZE_MAX ? from : unknown_from;
            continue;
        }
        if (unknown_from != SIZE_MAX && !spell_unknown(run, str_slice(word, unknown_from, from))) {
            return false;
        }
        unknown_from = SIZE_MAX;
        if (!vocab_ids_push(run->run.out, id)) {
            return false;
        }
    }
    return unknown_from == SIZE_MAX || spell_unknown(run, str_slice(word, unknown_from, word.len));
}

static bool spell_unknown(tokjson_run *run, str text) {
    const vocab *v = run->run.vocab;
    vocab_ids *out = run->run.out;
    const int32_t id = tokjson_find(v, text);
    if (id != VOCAB_NONE) {
        return vocab_ids_push(out, id);
    }
    const size_t before = out->count;
    for (size_t i = 0; i < text.len && run->tok->model.has_byte_fallback; i++) {
        const int32_t byte = v->byte_ids[(uint8_t)text.data[i]];
        if (byte == VOCAB_NONE) {
            out->count = before;
            break;
        }
        if (!vocab_ids_push(out, byte)) {
            return false;
        }
    }
    return out->count > before || push_unknown(run);
}

static bool push_unknown(tokjson_run *run) {
    const int32_t unknown = run->tok->model.unknown;
    return unknown == VOCAB_NONE || vocab_ids_push(run->run.out, unknown);
}
