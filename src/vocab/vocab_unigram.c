/* vocab_unigram.c - SentencePiece's unigram model: the best-scored way to cut the text up.
 *
 * Scores are logarithms of probabilities, and the tokens of a text are those whose scores have the
 * highest sum (T5, XLM-RoBERTa and the embedding models made from it). First the text is
 * normalised: the compiled normaliser of the file, then, as its flags say, spaces at both ends
 * dropped and runs of them made one, and a space put before. Spaces are spelled U+2581.
 *
 * Then Viterbi's algorithm, from character to character: for each place the best score that
 * reaches it and the token that does. A character that is no token by itself can also be crossed
 * as unknown, at ten less than the worst token. It becomes its bytes where the vocabulary has
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
#define UNKNOWN_PENALTY 10.0
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
static void find_best(vocab_run *run, str part);
static void offer(vocab_way *way, double score, size_t from, int32_t id);
static void turn_round(vocab_way *ways, size_t len);
static bool emit(vocab_run *run, str part);
static void emit_unknown(vocab_run *run, str character);
static size_t character_len(str text);

weft_status vocab_unigram_init(vocab_unigram *u, const vocab_table *t, const weights *w,
                               weft_error *err) {
    bool found = false;
    weft_status status = weights_get_bool(w, "tokenizer.ggml.remove_extra_whitespaces",
                                          &u->drops_spaces, &found, err);
    if (status == WEFT_OK) {
        status = vocab_charsmap_init(&u->charsmap, w, err);
    }
    bool is_first = true;
    double worst = 0;
    for (uint32_t id = 0; id < t->count; id++) {
        if ((t->attrs[id] & VOCAB_ATTR_NORMAL) != 0) {
            const double score = t->scores[id];
            worst = is_first || score < worst ? score : worst;
            u->best_score = is_first || score > u->best_score ? score : u->best_score;
            is_first = false;
        }
    }
    u->unknown_score = worst - UNKNOWN_PENALTY;
    return status;
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
    if (part.len >= run->ways_capacity) {
        size_t capacity = run->ways_capacity == 0 ? 256 : run->ways_capacity;
        while (capacity <= part.len) {
            capacity *= 2;
        }
        vocab_way *grown = mem_realloc(MEM_VOCAB, run->ways, capacity, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        run->ways = grown;
        run->ways_capacity = capacity;
    }
    find_best(run, part);
    turn_round(run->ways, part.len);
    return emit(run, part);
}

static void find_best(vocab_run *run, str part) {
    const vocab *v = run->vocab;
    vocab_way *ways = run->ways;
    for (size_t i = 0; i <= part.len; i++) {
        ways[i] = (vocab_way){0, UINT32_MAX, VOCAB_NONE};
    }
    size_t n;
    for (size_t from = 0; from < part.len; from += n) {
        n = character_len(str_from(part.data + from, part.len - from));
        const double so_far = ways[from].score;
        bool has_single = false;
        uint32_t node = VOCAB_TRIE_ROOT;
        for (size_t to = from; to < part.len;) {
            node = vocab_trie_step(&v->trie, node, (uint8_t)part.data[to++]);
            if (node == VOCAB_TRIE_NONE) {
                break;
            }
            const int32_t id = v->trie.nodes[node].id;
            if (id == VOCAB_NONE) {
                continue;
            }
            const bool is_user = (v->table.attrs[id] & VOCAB_ATTR_USER) != 0;
            const double score =
                is_user ? (double)(to - from) * v->unigram.best_score - 0.1 : v->table.scores[id];
            offer(&ways[to], so_far + score, from, id);
            has_single = has_single || to - from == n;
        }
        if (!has_single) {
            offer(&ways[from + n], so_far + v->unigram.unknown_score, from, VOCAB_NONE);
        }
    }
}

static void offer(vocab_way *way, double score, size_t from, int32_t id) {
    if (way->at == UINT32_MAX || score > way->score) {
        *way = (vocab_way){score, (uint32_t)from, id};
    }
}

/* Found from the end to the beginning: afterwards ways[i].at is where the token after i ends. */
static void turn_round(vocab_way *ways, size_t len) {
    uint32_t next = (uint32_t)len;
    for (uint32_t to = (uint32_t)len; to > 0;) {
        const uint32_t from = ways[to].at;
        ways[to].at = next;
        next = to;
        to = from;
    }
    ways[0].at = next;
}

static bool emit(vocab_run *run, str part) {
    for (size_t from = 0; from < part.len;) {
        const size_t to = run->ways[from].at;
        const int32_t id = run->ways[to].id;
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

/* A replacement may end within a character: what is no UTF-8 goes byte by byte. */
static size_t character_len(str text) {
    size_t n = 1;
    if ((uint8_t)text.data[0] >= 0x80 && utf8_decode(text, &n) == UTF8_INVALID) {
        return 1;
    }
    return n;
}
