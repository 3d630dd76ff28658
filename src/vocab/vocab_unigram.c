/* vocab_unigram.c - SentencePiece's unigram model: the best-scored way to cut the text up.
 *
 * Scores are logarithms of probabilities, and the tokens of a text are those whose scores have the
 * highest sum (T5, XLM-RoBERTa and the embedding models made from it). First the text is
 * normalised: the compiled normaliser of the file, then, as its flags say, spaces at both ends
 * dropped and runs of them made one, and a space put before. Spaces are spelled U+2581.
 *
 * Then the search (vocab_best.h). An unknown character becomes its bytes where the vocabulary has
 * them, or the unknown token, once for a run.
 *
 * The text is first cut where no token reaches across (vocab_cuts.h). The best way through the
 * whole is the best way through each part, so nothing changes but the memory and the rounding of
 * sums, which no longer depends on how much text stands before.
 */
#include "base/check.h"
#include "base/mem.h"
#include "text/utf8.h"
#include "vocab/vocab_impl.h"

#define METASPACE "\xE2\x96\x81"
#define REPLACEMENT "\xEF\xBF\xBD"
#define NORMALISED_BYTES_MAX (1u << 30)

typedef struct spelling {
    vocab_run *run; /* writes run->text */
    size_t len;
    bool is_after_space; /* spaces that come now are dropped */
} spelling;

static bool normalise(vocab_run *run, str text, size_t *len);
static size_t read_prefix(const vocab *v, str text, str *out);
static bool spell(spelling *s, str text);
static bool encode_part(vocab_run *run, str part);
static bool encode_cached(vocab_run *run, str part);
static bool emit(vocab_run *run, str part);
static void emit_unknown(vocab_run *run, str character);

weft_status vocab_unigram_init(vocab_unigram *u, vocab_best_model *m, const vocab_table *t,
                               const weights *w, weft_error *err) {
    bool found = false;
    weft_status status = weights_get_bool(w, "tokenizer.ggml.remove_extra_whitespaces",
                                          &u->drops_spaces, &found, err);
    if (status == WEFT_OK) {
        status = vocab_charsmap_init(&u->charsmap, w, err);
    }
    if (status != WEFT_OK) {
        return status;
    }
    m->scores = mem_array(MEM_VOCAB, t->count, sizeof *m->scores);
    if (m->scores == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for the scores of %u tokens", t->count);
    }
    bool is_first = true;
    double worst = 0;
    double best = 0;
    for (uint32_t id = 0; id < t->count; id++) {
        if ((t->attrs[id] & VOCAB_ATTR_NORMAL) != 0) {
            const double score = t->scores[id];
            worst = is_first || score < worst ? score : worst;
            best = is_first || score > best ? score : best;
            is_first = false;
        }
    }
    /* A user-defined token wins over any way to cut its text. */
    for (uint32_t id = 0; id < t->count; id++) {
        const bool is_user = (t->attrs[id] & VOCAB_ATTR_USER) != 0;
        const double bytes = (double)vocab_table_text(t, (int32_t)id).len;
        m->scores[id] = is_user ? bytes * best - 0.1 : t->scores[id];
    }
    m->unknown_score = worst - VOCAB_BEST_UNKNOWN_PENALTY;
    m->unknown = VOCAB_NONE; /* not in the tree */
    return WEFT_OK;
}

void vocab_unigram_deinit(vocab_unigram *u) { vocab_charsmap_deinit(&u->charsmap); }

bool vocab_unigram_encode(vocab_run *run, str text) {
    size_t len;
    if (!normalise(run, text, &len)) {
        return false;
    }
    run->is_after_unknown = false;
    const str normalised = str_from(run->text, len);
    for (size_t at = 0; at < len;) {
        const size_t to = vocab_cuts_next(&run->vocab->cuts, normalised, at);
        WEFT_DEBUG_ASSERT(to > at);
        if (!encode_cached(run, str_from(normalised.data + at, to - at))) {
            return false;
        }
        at = to;
    }
    return true;
}

static bool normalise(vocab_run *run, str text, size_t *len) {
    const vocab *v = run->vocab;
    const bool drops = v->unigram.drops_spaces;
    spelling s = {run, 0, false};
    str out;
    size_t at = 0;
    /* Until something other than a space has come. */
    while (drops && at < text.len) {
        const size_t n = read_prefix(v, str_from(text.data + at, text.len - at), &out);
        if (!str_eq(out, STR_LIT(" "))) {
            break;
        }
        at += n;
    }
    *len = 0;
    if (at == text.len) {
        return true;
    }
    if (v->adds_space && !spell(&s, STR_LIT(" "))) {
        return false;
    }
    s.is_after_space = drops;
    while (at < text.len) {
        at += read_prefix(v, str_from(text.data + at, text.len - at), &out);
        while (s.is_after_space && out.len > 0 && out.data[0] == ' ') {
            out = str_from(out.data + 1, out.len - 1);
        }
        if (!spell(&s, out)) {
            return false;
        }
        if (out.len > 0) {
            s.is_after_space = drops && out.data[out.len - 1] == ' ';
        }
    }
    while (drops && s.len >= 3 && memcmp(run->text + s.len - 3, METASPACE, 3) == 0) {
        s.len -= 3;
    }
    *len = s.len;
    return true;
}

/* What the text begins with, normalised; returns the bytes it took. */
static size_t read_prefix(const vocab *v, str text, str *out) {
    const size_t mapped = vocab_charsmap_find(&v->unigram.charsmap, text, out);
    if (mapped > 0) {
        return mapped;
    }
    size_t n = 1;
    if ((uint8_t)text.data[0] >= 0x80 && utf8_decode(text, &n) == UTF8_INVALID) {
        *out = STR_LIT(REPLACEMENT);
        return 1;
    }
    *out = str_from(text.data, n);
    return n;
}

static bool spell(spelling *s, str text) {
    if (s->len + text.len * 3 > NORMALISED_BYTES_MAX ||
        !vocab_run_text(s->run, s->len + text.len * 3)) {
        return false;
    }
    char *out = s->run->text;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == ' ') {
            memcpy(out + s->len, METASPACE, 3);
            s->len += 3;
        } else {
            out[s->len++] = text.data[i];
        }
    }
    return true;
}

static bool encode_cached(vocab_run *run, str part) {
    if (part.len > VOCAB_CACHE_WORD_MAX) {
        return encode_part(run, part);
    }
    const vocab_cache_key key = vocab_cache_key_of(part);
    vocab_cache_entry *entry = vocab_cache_place(&run->cache, &key);
    if (vocab_cache_is(entry, &key)) {
        if (!vocab_run_reserve(run, VOCAB_CACHE_IDS_MAX)) {
            return false;
        }
        memcpy(run->out->ids + run->out->count, entry->ids, sizeof entry->ids);
        run->out->count += entry->n_ids;
        run->is_after_unknown = false;
        return true;
    }
    const size_t before = run->out->count;
    run->met_unknown = false;
    if (!encode_part(run, part)) {
        return false;
    }
    /* What an unknown character becomes may depend on the part before. */
    if (!run->met_unknown) {
        vocab_cache_store(entry, &key, run->out->ids + before, run->out->count - before);
    }
    return true;
}

static bool encode_part(vocab_run *run, str part) {
    const vocab *v = run->vocab;
    return vocab_best_find(&run->best, &v->best, &v->trie, part) && emit(run, part);
}

static bool emit(vocab_run *run, str part) {
    for (size_t from = 0; from < part.len;) {
        const size_t to = run->best.ways[from].at;
        const int32_t id = run->best.ways[to].id;
        if (!vocab_run_reserve(run, 4)) {
            return false;
        }
        if (id != VOCAB_NONE) {
            run->out->ids[run->out->count++] = id;
            run->is_after_unknown = false;
        } else {
            run->met_unknown = true;
            emit_unknown(run, str_from(part.data + from, to - from));
        }
        from = to;
    }
    return true;
}

static void emit_unknown(vocab_run *run, str character) {
    const vocab *v = run->vocab;
    vocab_ids *out = run->out;
    WEFT_DEBUG_ASSERT(character.len <= 4);
    if (v->has_all_bytes) {
        for (size_t i = 0; i < character.len; i++) {
            out->ids[out->count++] = v->byte_ids[(uint8_t)character.data[i]];
        }
        return;
    }
    if (v->unknown != VOCAB_NONE && !run->is_after_unknown) {
        out->ids[out->count++] = v->unknown;
    }
    run->is_after_unknown = true;
}
