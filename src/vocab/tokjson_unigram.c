/* tokjson_unigram.c - the best-scored way to cut a word into tokens.
 *
 * A node stands at every place of the word and remembers the best path that ends there. From each
 * character on, the tokens that begin there are found by narrowing the list of all tokens, sorted
 * by text, one byte at a time. Where no token is one character long, an unknown one bridges it;
 * neighbouring unknowns are one, which is then looked up once more, and spelled in bytes where
 * there are byte tokens.
 */
#include "base/mem.h"
#include "text/utf8.h"
#include "vocab/tokjson.h"

typedef struct range {
    uint32_t from;
    uint32_t to;
} range;

static bool search(tokjson_run *run, str word);
static void extend(tokjson_run *run, str word, size_t at, size_t character_bytes);
static void offer(tokjson_run *run, size_t from, size_t to, double score, int32_t id);
static uint32_t first_at_least(const tokjson_run *run, range r, size_t depth, unsigned byte);
static bool emit_unknown(tokjson_run *run, str text);

bool tokjson_encode_unigram(tokjson_run *run, str word) {
    if (!search(run, word)) {
        return false;
    }
    /* Turn the links round, so that the path is read from the left. */
    size_t to = word.len;
    size_t next = word.len;
    while (to > 0) {
        const size_t from = run->nodes[to].from;
        run->nodes[to].from = (uint32_t)next;
        next = to;
        to = from;
    }
    size_t from = 0;
    size_t unknown_from = SIZE_MAX;
    for (to = next; from < word.len; from = to, to = run->nodes[to].from) {
        if (run->nodes[to].id == VOCAB_NONE) {
            unknown_from = unknown_from == SIZE_MAX ? from : unknown_from;
            continue;
        }
        if (unknown_from != SIZE_MAX && !emit_unknown(run, str_slice(word, unknown_from, from))) {
            return false;
        }
        unknown_from = SIZE_MAX;
        if (!vocab_ids_push(run->run.out, run->nodes[to].id)) {
            return false;
        }
    }
    return unknown_from == SIZE_MAX || emit_unknown(run, str_slice(word, unknown_from, word.len));
}

static bool search(tokjson_run *run, str word) {
    if (run->nodes_capacity < word.len + 1) {
        const size_t capacity = word.len + 1 < 64 ? 64 : (word.len + 1) * 2;
        tokjson_node *grown = mem_realloc(MEM_VOCAB, run->nodes, capacity, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        run->nodes = grown;
        run->nodes_capacity = capacity;
    }
    for (size_t i = 0; i <= word.len; i++) {
        run->nodes[i] = (tokjson_node){0, UINT32_MAX, VOCAB_NONE};
    }
    size_t n = 0;
    for (size_t at = 0; at < word.len; at += n) {
        (void)utf8_decode(str_slice(word, at, word.len), &n);
        extend(run, word, at, n);
    }
    return true;
}

static void extend(tokjson_run *run, str word, size_t at, size_t character_bytes) {
    const tokjson_model *m = &run->tok->model;
    const vocab_table *t = &run->run.vocab->table;
    const double so_far = run->nodes[at].score;
    bool has_single = false;
    range r = {0, m->n_sorted};
    for (size_t depth = 0; at + depth < word.len && r.from < r.to; depth++) {
        const unsigned byte = (uint8_t)word.data[at + depth];
        r.from = first_at_least(run, r, depth, byte);
        r.to = first_at_least(run, r, depth, byte + 1);
        if (r.from < r.to && vocab_table_text(t, (int32_t)m->sorted[r.from]).len == depth + 1) {
            const int32_t id = (int32_t)m->sorted[r.from];
            offer(run, at, at + depth + 1, so_far + m->scores[id], id);
            has_single = has_single || depth + 1 == character_bytes;
            r.from++;
        }
    }
    if (!has_single) {
        offer(run, at, at + character_bytes, so_far + m->unknown_score, VOCAB_NONE);
    }
}

static void offer(tokjson_run *run, size_t from, size_t to, double score, int32_t id) {
    tokjson_node *node = &run->nodes[to];
    if (node->from == UINT32_MAX || score > node->score) {
        *node =
            (tokjson_node){score, (uint32_t)from, id == run->tok->model.unknown ? VOCAB_NONE : id};
    }
}

/* All texts of the range agree in their first `depth` bytes and are longer. */
static uint32_t first_at_least(const tokjson_run *run, range r, size_t depth, unsigned byte) {
    while (r.from < r.to) {
        const uint32_t middle = r.from + (r.to - r.from) / 2;
        const str text =
            vocab_table_text(&run->run.vocab->table, (int32_t)run->tok->model.sorted[middle]);
        if ((uint8_t)text.data[depth] < byte) {
            r.from = middle + 1;
        } else {
            r.to = middle;
        }
    }
    return r.from;
}

static bool emit_unknown(tokjson_run *run, str text) {
    const vocab *v = run->run.vocab;
    const int32_t id = tokjson_find(v, text);
    if (id != VOCAB_NONE) {
        return vocab_ids_push(run->run.out, id);
    }
    const size_t before = run->run.out->count;
    for (size_t i = 0; i < text.len && run->tok->model.has_byte_fallback; i++) {
        const int32_t byte = v->byte_ids[(uint8_t)text.data[i]];
        if (byte == VOCAB_NONE) {
            run->run.out->count = before;
            break;
        }
        if (!vocab_ids_push(run->run.out, byte)) {
            return false;
        }
    }
    const int32_t unknown = run->tok->model.unknown;
    return run->run.out->count > before || unknown == VOCAB_NONE ||
           vocab_ids_push(run->run.out, unknown);
}
