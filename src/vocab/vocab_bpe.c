/* vocab_bpe.c - byte pair encoding, byte-level as GPT-2 began it and over plain text as Gemma 4.
 *
 * Byte level: the text is cut into words by the vocabulary's rule, a word's bytes are its first
 * symbols, and symbols merge by rank. The files spell bytes as printable stand-ins; here only raw
 * bytes occur, since the tables were translated when they were loaded. Text that is not UTF-8 is
 * cut around the bytes that break it: each run of broken bytes is a word of its own, encoded byte
 * by byte like any other, so that every text comes back from its tokens.
 *
 * Plain text (metaspace): a line is a word, spelled with U+2581 for spaces, its characters are the
 * first symbols, and what is no token in the end is written as byte tokens. Lines are cut further
 * where no token reaches across. A run of line ends that is a token is taken whole. mmBERT has
 * words within a line: each U+2581 begins one, and a line that does not begin with one gets one.
 *
 * Plain text between white space (Jina's Chinese embeddings): white space is dropped.
 *
 * Bytes and characters that no token stands for are left out, as the models' own tokenizers do.
 */
#include "base/check.h"
#include "text/nfc.h"
#include "text/utf8.h"
#include "vocab/tokjson.h"
#include "vocab/vocab_impl.h"

/* Form C is at most three times as long as any UTF-8 text. */
#define NFC_BYTES_MAX (3u * VOCAB_TEXT_BYTES_MAX)
#define LOWER_BYTES_MAX (3u * VOCAB_TEXT_BYTES_MAX)

static bool encode_valid(vocab_run *run, str text);
static bool encode_word(void *context, str word);
static bool merge_word(vocab_run *run, str word);
static int32_t whole_word(const vocab_run *run, str word);
static vocab_pair pair_by_rank(const void *context, const vocab_symbol *left,
                               const vocab_symbol *right);
static size_t broken_bytes(str text);
static bool encode_space_words(vocab_run *run, str line);
static size_t space_at(str text, size_t at);
static bool encode_line(vocab_run *run, str line, bool has_space_before);
static bool append_lower(buf *out, str text);

bool vocab_bpe_encode(vocab_run *run, str text) {
    for (size_t at = 0; at < text.len;) {
        const str rest = str_from(text.data + at, text.len - at);
        const str valid = str_from(rest.data, utf8_valid_prefix(rest));
        if (!encode_valid(run, valid)) {
            return false;
        }
        at += valid.len;
        const str broken = str_from(text.data + at, broken_bytes(str_slice(text, at, text.len)));
        if (broken.len > 0 && !encode_word(run, broken)) {
            return false;
        }
        at += broken.len;
    }
    return true;
}

bool vocab_bpe_encode_metaspace(vocab_run *run, str text) {
    for (size_t at = 0; at < text.len;) {
        const bool is_end = text.data[at] == '\n';
        size_t to = at + 1;
        while (to < text.len && (text.data[to] == '\n') == is_end) {
            to++;
        }
        const str line = str_from(text.data + at, to - at);
        const int32_t id = is_end ? vocab_table_find(&run->vocab->table, line) : VOCAB_NONE;
        if (id != VOCAB_NONE) {
            if (!vocab_ids_push(run->out, id)) {
                return false;
            }
        } else if (!(run->vocab->is_space_words && !is_end ? encode_space_words(run, line)
                                                           : encode_line(run, line, false))) {
            return false;
        }
        at = to;
    }
    return true;
}

bool vocab_bpe_encode_words(vocab_run *run, str text) {
    buf lower;
    buf_init(&lower, MEM_VOCAB, LOWER_BYTES_MAX);
    bool is_done = !run->vocab->is_lower || append_lower(&lower, text);
    text = run->vocab->is_lower ? buf_view(&lower) : text;
    size_t from = 0; /* of a word */
    size_t n = 0;
    for (size_t at = 0; at < text.len && is_done; at += n) {
        if (tokjson_is_space(utf8_decode(str_slice(text, at, text.len), &n))) {
            is_done = encode_line(run, str_slice(text, from, at), false);
            from = at + n;
        }
    }
    is_done = is_done && encode_line(run, str_slice(text, from, text.len), false);
    buf_deinit(&lower);
    return is_done;
}

/* Text in UTF-8; normalised first where the vocabulary's own tokenizer does so. */
static bool encode_valid(vocab_run *run, str text) {
    const vocab_pretok *pretok = run->vocab->pretok;
    const bool is_normalised = (vocab_pretok_flags_of(pretok) & VOCAB_PRETOK_NFC) != 0;
    if (!is_normalised || !nfc_may_change(text)) {
        return vocab_pretok_split(pretok, run->regex, text, encode_word, run);
    }
    buf normalised;
    buf_init(&normalised, MEM_VOCAB, NFC_BYTES_MAX);
    const bool is_done =
        nfc_append(&normalised, text) &&
        vocab_pretok_split(pretok, run->regex, buf_view(&normalised), encode_word, run);
    buf_deinit(&normalised);
    return is_done;
}

static bool encode_word(void *context, str word) {
    vocab_run *run = context;
    if (word.len > VOCAB_CACHE_WORD_MAX) {
        return merge_word(run, word);
    }
    const vocab_cache_key key = vocab_cache_key_of(word);
    vocab_cache_entry *entry = vocab_cache_place(&run->cache, &key);
    if (vocab_cache_is(entry, &key)) {
        if (!vocab_run_reserve(run, VOCAB_CACHE_IDS_MAX)) {
            return false;
        }
        memcpy(run->out->ids + run->out->count, entry->ids, sizeof entry->ids);
        run->out->count += entry->n_ids;
        return true;
    }
    const size_t before = run->out->count;
    if (!merge_word(run, word)) {
        return false;
    }
    vocab_cache_store(entry, &key, run->out->ids + before, run->out->count - before);
    return true;
}

static bool merge_word(vocab_run *run, str word) {
    const vocab *v = run->vocab;
    if (v->is_whole_words) {
        const int32_t id = whole_word(run, word);
        if (id != VOCAB_NONE) {
            return vocab_ids_push(run->out, id);
        }
    }
    vocab_word_clear(&run->word);
    for (size_t i = 0; i < word.len; i++) {
        const int32_t id = v->byte_ids[(uint8_t)word.data[i]];
        if (id != VOCAB_NONE && !vocab_word_push(&run->word, id, (uint32_t)i, (uint32_t)i + 1)) {
            return false;
        }
    }
    if (!vocab_word_merge(&run->word, pair_by_rank, &v->merges) ||
        !vocab_run_reserve(run, run->word.count)) {
        return false;
    }
    for (size_t i = 0; i < run->word.count; i++) {
        run->out->ids[run->out->count++] = run->word.symbols[i].id;
    }
    return true;
}

/* The token that is exactly this word, spelled with stand-ins as the file has it. */
static int32_t whole_word(const vocab_run *run, str word) {
    const vocab_table *t = &run->vocab->table;
    char spelled[256];
    if (word.len > sizeof spelled / 2) {
        return VOCAB_NONE;
    }
    size_t len = 0;
    for (size_t i = 0; i < word.len; i++) {
        len += utf8_encode(spelled + len, vocab_byte_to_cp((uint8_t)word.data[i]));
    }
    const int32_t id = vocab_table_find(t, str_from(spelled, len));
    const bool is_text =
        id != VOCAB_NONE && (t->attrs[id] & (VOCAB_ATTR_NORMAL | VOCAB_ATTR_USER)) != 0;
    return is_text ? id : VOCAB_NONE;
}

static vocab_pair pair_by_rank(const void *context, const vocab_symbol *left,
                               const vocab_symbol *right) {
    const vocab_merge *merge = vocab_merges_find(context, left->id, right->id);
    return merge == NULL ? (vocab_pair){VOCAB_RANK_NONE, VOCAB_NONE}
                         : (vocab_pair){merge->rank, merge->id};
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

static bool encode_space_words(vocab_run *run, str line) {
    const bool has_space = space_at(line, 0) > 0;
    for (size_t at = 0, to; at < line.len; at = to) {
        size_t n;
        for (to = at; to == at || (to < line.len && space_at(line, to) == 0); to += n) {
            (void)utf8_decode(str_slice(line, to, line.len), &n);
        }
        if (!encode_line(run, str_slice(line, at, to), at == 0 && !has_space)) {
            return false;
        }
    }
    return true;
}

/* Length of the space, or of the U+2581, that stands there; 0 when none does. */
static size_t space_at(str text, size_t at) {
    const str rest = str_slice(text, at, text.len);
    return str_starts_with(rest, STR_LIT(" "))        ? 1
           : str_starts_with(rest, STR_LIT("\u2581")) ? 3
                                                      : 0;
}

static bool encode_line(vocab_run *run, str line, bool has_space_before) {
    for (size_t at = 0; at < line.len;) {
        const size_t to = vocab_cuts_next(&run->vocab->cuts, line, at);
        WEFT_DEBUG_ASSERT(to > at);
        if (!vocab_run_spell(run, str_slice(line, at, to), has_space_before && at == 0) ||
            !vocab_word_merge(&run->word, pair_by_rank, &run->vocab->merges) ||
            !vocab_run_emit(run)) {
            return false;
        }
        at = to;
    }
    return true;
}

/* Character by character; what is not UTF-8 stays. */
static bool append_lower(buf *out, str text) {
    size_t n;
    for (size_t at = 0; at < text.len; at += n) {
        const uint32_t cp = utf8_decode(str_slice(text, at, text.len), &n);
        if (cp == UTF8_INVALID) {
            buf_append(out, text.data + at, n);
            continue;
        }
        uint32_t lower[2];
        const size_t n_lower = tokjson_lower(lower, cp);
        for (size_t i = 0; i < n_lower; i++) {
            char encoded[4];
            buf_append(out, encoded, utf8_encode(encoded, lower[i]));
        }
    }
    return !out->is_failed;
}
