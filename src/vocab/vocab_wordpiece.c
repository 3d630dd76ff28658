/* vocab_wordpiece.c - BERT's tokeniser: normalised words, each of the longest pieces that fit.
 *
 * Character by character: controls, NUL and U+FFFD vanish, white space ends a word, Chinese
 * characters and punctuation are words of their own, accents are taken off (canonical
 * decomposition without its nonspacing marks) and letters made small, as the file says. A word is
 * then spelled U+2581 and itself, and takes the longest token from its beginning, then the
 * longest from where that ends. If one of them fails, or the word is longer than a hundred
 * characters, the whole word is one unknown token.
 *
 * The first piece must reach past the U+2581. A token that begins with U+2581 starts a word and
 * never continues one; the exception is U+2581 alone, which is that character.
 *
 * Marks that are left in an odd order by the text are not put in the canonical one: the nonspacing
 * ones are taken off, and the few others with an order never stand together in words.
 */
#include <utf8proc.h>

#include "text/utf8.h"
#include "vocab/tokjson.h"
#include "vocab/vocab_impl.h"

#define WORD_CHARACTERS_MAX 100u
#define WORD_START "\xE2\x96\x81"
#define WORD_START_BYTES 3u
#define DECOMPOSED_MAX 32

typedef struct word {
    vocab_run *run;
    uint32_t n_characters; /* counted beyond the maximum, not kept */
    size_t len;
    char text[WORD_START_BYTES + WORD_CHARACTERS_MAX * 4];
} word;

static bool add_character(word *w, uint32_t cp);
static bool add_simple(word *w, uint32_t cp);
static bool append(word *w, uint32_t cp);
static bool end_word(word *w);
static int32_t find_piece(const vocab_trie *trie, str rest, bool is_first, size_t *len);
static bool is_dropped(uint32_t cp, utf8proc_category_t category);
static bool is_space(uint32_t cp, utf8proc_category_t category);
static bool is_punctuation(uint32_t cp, utf8proc_category_t category);
static bool is_chinese(uint32_t cp);

static utf8proc_category_t category_of(uint32_t cp) {
    return utf8proc_category((utf8proc_int32_t)cp);
}

weft_status vocab_wordpiece_init(vocab_wordpiece *p, const weights *w, weft_error *err) {
    bool found = false;
    p->is_lower = true;
    weft_status status =
        weights_get_bool(w, "tokenizer.ggml.normalizer.lowercase", &p->is_lower, &found, err);
    p->strips_accents = p->is_lower;
    if (status == WEFT_OK) {
        status = weights_get_bool(w, "tokenizer.ggml.normalizer.strip_accents", &p->strips_accents,
                                  &found, err);
    }
    return status;
}

bool vocab_wordpiece_encode(vocab_run *run, str text) {
    word w;
    w.run = run;
    w.n_characters = 0;
    memcpy(w.text, WORD_START, WORD_START_BYTES);
    w.len = WORD_START_BYTES;
    size_t n;
    for (size_t at = 0; at < text.len; at += n) {
        n = 1;
        const uint8_t first = (uint8_t)text.data[at];
        const uint32_t cp =
            first < 0x80 ? first : utf8_decode(str_from(text.data + at, text.len - at), &n);
        if (cp != UTF8_INVALID && !add_character(&w, cp)) {
            return false;
        }
    }
    return end_word(&w);
}

static bool add_character(word *w, uint32_t cp) {
    const utf8proc_category_t category = category_of(cp);
    if (is_dropped(cp, category)) {
        return true;
    }
    if (is_space(cp, category)) {
        return end_word(w);
    }
    if (is_chinese(cp)) {
        return end_word(w) && add_simple(w, cp) && end_word(w);
    }
    return add_simple(w, cp);
}

static bool add_simple(word *w, uint32_t cp) {
    if (cp < 0x80 || !w->run->vocab->wordpiece.strips_accents) {
        return append(w, cp);
    }
    utf8proc_int32_t parts[DECOMPOSED_MAX];
    int boundclass = 0;
    const utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)cp, parts, DECOMPOSED_MAX,
                                UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, &boundclass);
    if (n < 0 || n > DECOMPOSED_MAX) {
        return append(w, cp);
    }
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        const uint32_t part = (uint32_t)parts[i];
        if (category_of(part) != UTF8PROC_CATEGORY_MN && !append(w, part)) {
            return false;
        }
    }
    return true;
}

static bool append(word *w, uint32_t cp) {
    const bool is_alone = is_punctuation(cp, category_of(cp));
    if (is_alone && !end_word(w)) {
        return false;
    }
    uint32_t lower[2] = {cp};
    const size_t n = w->run->vocab->wordpiece.is_lower ? tokjson_lower(lower, cp) : 1;
    for (size_t i = 0; i < n; i++) {
        if (w->n_characters < WORD_CHARACTERS_MAX) {
            w->len += utf8_encode(w->text + w->len, lower[i]);
        }
        if (w->n_characters <= WORD_CHARACTERS_MAX) {
            w->n_characters++;
        }
    }
    return !is_alone || end_word(w);
}

static bool end_word(word *w) {
    if (w->n_characters == 0) {
        return true;
    }
    const vocab *v = w->run->vocab;
    vocab_ids *out = w->run->out;
    const size_t before = out->count;
    bool is_known = w->n_characters <= WORD_CHARACTERS_MAX;
    size_t n = 0;
    for (size_t at = 0; is_known && at < w->len; at += n) {
        const str rest = str_from(w->text + at, w->len - at);
        const int32_t id = find_piece(&v->trie, rest, at == 0, &n);
        is_known = id != VOCAB_NONE;
        if (is_known && !vocab_ids_push(out, id)) {
            return false;
        }
    }
    w->n_characters = 0;
    w->len = WORD_START_BYTES;
    if (is_known) {
        return true;
    }
    out->count = before;
    return v->unknown == VOCAB_NONE || vocab_ids_push(out, v->unknown);
}

static int32_t find_piece(const vocab_trie *trie, str rest, bool is_first, size_t *len) {
    const bool has_start =
        rest.len >= WORD_START_BYTES && memcmp(rest.data, WORD_START, WORD_START_BYTES) == 0;
    if (!is_first && has_start) {
        rest.len = WORD_START_BYTES;
    }
    const int32_t id = vocab_trie_longest(trie, rest, len);
    const bool is_empty = is_first && id != VOCAB_NONE && *len <= WORD_START_BYTES;
    const bool is_part = !is_first && has_start && id != VOCAB_NONE && *len < WORD_START_BYTES;
    return is_empty || is_part ? VOCAB_NONE : id;
}

static bool is_dropped(uint32_t cp, utf8proc_category_t category) {
    const bool is_control = category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
                            category == UTF8PROC_CATEGORY_CO;
    return cp == 0xFFFD || (is_control && cp != '\t' && cp != '\n' && cp != '\r');
}

static bool is_space(uint32_t cp, utf8proc_category_t category) {
    return cp == '\t' || cp == '\n' || cp == '\r' || category == UTF8PROC_CATEGORY_ZS ||
           category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

/* All of ASCII that is printed and is neither a letter nor a digit counts. */
static bool is_punctuation(uint32_t cp, utf8proc_category_t category) {
    return (category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO) ||
           (cp < 0x80 && category >= UTF8PROC_CATEGORY_SM && category <= UTF8PROC_CATEGORY_SO);
}

/* The ranges that BERT's tokenisers are trained with; one begins at 2B920, not where its block
 * does. */
static bool is_chinese(uint32_t cp) {
    static const uint32_t ranges[][2] = {
        {0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
        {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F},
    };
    for (size_t i = 0; cp >= 0x3400 && i < WEFT_LEN(ranges); i++) {
        if (cp >= ranges[i][0] && cp <= ranges[i][1]) {
            return true;
        }
    }
    return false;
}
