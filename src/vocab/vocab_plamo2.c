/* vocab_plamo2.c - PLaMo 2: the cheapest way to cut a text, decided from its end.
 *
 * Like unigram, each token has a score and the sum counts. What differs: scores are whole numbers
 * (ten thousandths, rounded), there is no normaliser, and the search runs backwards: for each place
 * the best way from there to the end. Of two equal ways the one whose first token is longer is
 * taken. A character can also be crossed as its bytes, at a score below every token's. Every
 * token but the bytes is found in text, whatever its kind. A byte order mark at the beginning is
 * dropped; bytes that are not UTF-8 are U+FFFD.
 */
#include <math.h>

#include "base/check.h"
#include "base/mem.h"
#include "text/utf8.h"
#include "vocab/vocab_impl.h"

#define REPLACEMENT "\xEF\xBF\xBD"
#define BYTE_ORDER_MARK "\xEF\xBB\xBF"
#define SCORE_UNIT 1e4
#define SCORE_BYTES (-1e7) /* of a character crossed as its bytes */
#define SCORE_MIN (-2e7)   /* a token with this or less is never taken */

static bool spell(vocab_run *run, str text, size_t *len);
static void find_from(vocab_run *run, str text, size_t at);
static bool emit(vocab_run *run, str text);

weft_status vocab_plamo2_init(vocab_best_model *m, const vocab_table *t, weft_error *err) {
    m->scores = mem_array(MEM_VOCAB, t->count, sizeof *m->scores);
    if (m->scores == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for the scores of %u tokens", t->count);
    }
    for (uint32_t id = 0; id < t->count; id++) {
        m->scores[id] = round((double)(t->scores[id] * (float)SCORE_UNIT));
    }
    m->unknown_score = SCORE_BYTES;
    m->unknown = VOCAB_NONE;
    return WEFT_OK;
}

bool vocab_plamo2_encode(vocab_run *run, str text) {
    size_t len;
    if (!spell(run, text, &len) || !vocab_best_reserve(&run->best, len)) {
        return false;
    }
    const str spelled = str_from(run->text, len);
    run->best.ways[len] = (vocab_best_way){0, (uint32_t)len, VOCAB_NONE};
    for (size_t at = len; at > 0;) {
        at--;
        if (((uint8_t)spelled.data[at] & 0xC0) != 0x80) {
            find_from(run, spelled, at);
        }
    }
    return emit(run, spelled);
}

/* The text in UTF-8. */
static bool spell(vocab_run *run, str text, size_t *len) {
    if (str_starts_with(text, STR_LIT(BYTE_ORDER_MARK))) {
        text = str_slice(text, 3, text.len);
    }
    if (!vocab_run_text(run, text.len * 3 + 1)) {
        return false;
    }
    *len = 0;
    for (size_t at = 0; at < text.len;) {
        const str rest = str_slice(text, at, text.len);
        const size_t valid = utf8_valid_prefix(rest);
        memcpy(run->text + *len, rest.data, valid);
        *len += valid;
        at += valid;
        if (at < text.len) {
            memcpy(run->text + *len, REPLACEMENT, 3);
            *len += 3;
            at++;
        }
    }
    return true;
}

/* ways[at]: the score from there to the end, where the first token ends, and which it is. */
static void find_from(vocab_run *run, str text, size_t at) {
    const vocab *v = run->vocab;
    vocab_best_way *ways = run->best.ways;
    size_t n;
    (void)utf8_decode(str_slice(text, at, text.len), &n);
    vocab_best_way best = {-INFINITY, 0, VOCAB_NONE};
    uint32_t node = VOCAB_TRIE_ROOT;
    for (size_t to = at; to < text.len;) {
        node = vocab_trie_step(&v->trie, node, (uint8_t)text.data[to++]);
        if (node == VOCAB_TRIE_NONE) {
            break;
        }
        const int32_t id = v->trie.nodes[node].id;
        const bool is_token = id != VOCAB_NONE && v->best.scores[id] > SCORE_MIN;
        if (is_token && ways[to].score + v->best.scores[id] >= best.score) {
            best = (vocab_best_way){ways[to].score + v->best.scores[id], (uint32_t)to, id};
        }
    }
    const double as_bytes = ways[at + n].score + v->best.unknown_score;
    if (as_bytes > best.score) {
        best = (vocab_best_way){as_bytes, (uint32_t)(at + n), VOCAB_NONE};
    }
    ways[at] = best;
}

static bool emit(vocab_run *run, str text) {
    for (size_t at = 0; at < text.len;) {
        const vocab_best_way way = run->best.ways[at];
        WEFT_DEBUG_ASSERT(way.at > at);
        if (!vocab_run_reserve(run, 4)) {
            return false;
        }
        if (way.id != VOCAB_NONE) {
            run->out->ids[run->out->count++] = way.id;
        }
        for (size_t i = at; i < way.at && way.id == VOCAB_NONE; i++) {
            run->out->ids[run->out->count++] = run->vocab->byte_ids[(uint8_t)text.data[i]];
        }
        at = way.at;
    }
    return true;
}
