/* vocab_best.c - Viterbi's algorithm from character to character.
 *
 * For each place of the text the best score that reaches it, and the token that does; each
 * character tries the tokens that begin with it, walking down the tree of tokens. Of two equal
 * scores the one that was offered first stays: the token that begins further left. In the end the
 * links, found from the end to the beginning, are turned round.
 */
#include "vocab/vocab_best.h"

#include "base/mem.h"
#include "text/utf8.h"
#include "vocab/vocab.h"

static void offer(vocab_best_way *way, double score, size_t from, int32_t id);
static void turn_round(vocab_best_way *ways, size_t len);
static size_t character_len(str text);

bool vocab_best_find(vocab_best *b, const vocab_best_model *m, const vocab_trie *trie, str text) {
    if (!vocab_best_reserve(b, text.len)) {
        return false;
    }
    vocab_best_way *ways = b->ways;
    for (size_t i = 0; i <= text.len; i++) {
        ways[i] = (vocab_best_way){0, UINT32_MAX, VOCAB_NONE};
    }
    size_t n;
    for (size_t from = 0; from < text.len; from += n) {
        n = character_len(str_from(text.data + from, text.len - from));
        const double so_far = ways[from].score;
        bool has_single = false;
        uint32_t node = VOCAB_TRIE_ROOT;
        for (size_t to = from; to < text.len;) {
            node = vocab_trie_step(trie, node, (uint8_t)text.data[to++]);
            if (node == VOCAB_TRIE_NONE) {
                break;
            }
            const int32_t id = trie->nodes[node].id;
            if (id != VOCAB_NONE) {
                offer(&ways[to], so_far + m->scores[id], from, id == m->unknown ? VOCAB_NONE : id);
                has_single = has_single || to - from == n;
            }
        }
        if (!has_single) {
            offer(&ways[from + n], so_far + m->unknown_score, from, VOCAB_NONE);
        }
    }
    turn_round(ways, text.len);
    return true;
}

bool vocab_best_reserve(vocab_best *b, size_t len) {
    if (len < b->capacity) {
        return true;
    }
    const size_t capacity = len < 128 ? 256 : (len + 1) * 2;
    vocab_best_way *grown = mem_realloc(MEM_VOCAB, b->ways, capacity, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    b->ways = grown;
    b->capacity = capacity;
    return true;
}

void vocab_best_deinit(vocab_best *b) {
    mem_free(b->ways);
    *b = (vocab_best){0};
}

static void offer(vocab_best_way *way, double score, size_t from, int32_t id) {
    if (way->at == UINT32_MAX || score > way->score) {
        *way = (vocab_best_way){score, (uint32_t)from, id};
    }
}

static void turn_round(vocab_best_way *ways, size_t len) {
    uint32_t next = (uint32_t)len;
    for (uint32_t to = (uint32_t)len; to > 0;) {
        const uint32_t from = ways[to].at;
        ways[to].at = next;
        next = to;
        to = from;
    }
    ways[0].at = next;
}

static size_t character_len(str text) {
    size_t n = 1;
    if ((uint8_t)text.data[0] >= 0x80 && utf8_decode(text, &n) == UTF8_INVALID) {
        return 1;
    }
    return n;
}
