/* vocab_word.c - the two ways to merge: scan for short words, heap for long ones.
 *
 * Both do the same: of all pairs of neighbours take the one with the lowest rank, the leftmost of
 * equals, make it one symbol, and ask anew about the two pairs that this symbol is now part of.
 *
 * Short words keep the pairs in an array beside the symbols and scan it: up to a few dozen symbols
 * nothing is faster. Long words (a megabyte of letters without a space is a legal text) link the
 * symbols in a list and keep the pairs in a binary heap, so that the whole takes O(n log n). A pair
 * whose symbols have changed since stays in the heap and is recognised when it comes up: its left
 * symbol is gone, or the two no longer end where they ended.
 *
 * The order of equal ranks: the heap compares the number of the left symbol, which grows from left
 * to right and never changes.
 */
#include "vocab/vocab_word.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "vocab/vocab.h"
#include "vocab/vocab_merges.h"

#define SYMBOL_END UINT32_MAX
#define SYMBOL_GONE UINT32_MAX /* as `to` of a symbol that became part of its left neighbour */

static void merge_short(vocab_word *w, vocab_pair_fn *pair, const void *context);
static bool merge_long(vocab_word *w, vocab_pair_fn *pair, const void *context);
static bool enter_pair(vocab_word *w, vocab_pair_fn *pair, const void *context, uint32_t left);
static void join(vocab_word *w, uint32_t left, int32_t id);
static bool heap_push(vocab_word *w, vocab_word_heap_item item);
static vocab_word_heap_item heap_pop(vocab_word *w);

void vocab_word_deinit(vocab_word *w) {
    mem_free(w->symbols);
    mem_free(w->heap);
    *w = (vocab_word){0};
}

bool vocab_word_push(vocab_word *w, int32_t id, uint32_t from, uint32_t to) {
    if (w->count == w->capacity) {
        const size_t capacity = w->capacity == 0 ? 64 : w->capacity * 2;
        vocab_symbol *grown = mem_realloc(MEM_VOCAB, w->symbols, capacity, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        w->symbols = grown;
        w->capacity = capacity;
    }
    w->symbols[w->count++] = (vocab_symbol){id, from, to, 0, 0};
    return true;
}

bool vocab_word_merge(vocab_word *w, vocab_pair_fn *pair, const void *context) {
    if (w->count < 2) {
        return true;
    }
    if (w->count <= VOCAB_WORD_SHORT_MAX) {
        merge_short(w, pair, context);
        return true;
    }
    return merge_long(w, pair, context);
}

static void merge_short(vocab_word *w, vocab_pair_fn *pair, const void *context) {
    vocab_pair pairs[VOCAB_WORD_SHORT_MAX]; /* pairs[i]: symbols i and i + 1 */
    vocab_symbol *s = w->symbols;
    size_t n = w->count;
    for (size_t i = 0; i + 1 < n; i++) {
        pairs[i] = pair(context, &s[i], &s[i + 1]);
    }
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) {
            if (pairs[i].rank < pairs[best].rank) {
                best = i;
            }
        }
        if (pairs[best].rank == VOCAB_RANK_NONE) {
            break;
        }
        s[best].id = pairs[best].id;
        s[best].to = s[best + 1].to;
        n--;
        memmove(&s[best + 1], &s[best + 2], (n - best - 1) * sizeof *s);
        if (best + 1 < n) {
            memmove(&pairs[best + 1], &pairs[best + 2], (n - best - 2) * sizeof *pairs);
            pairs[best] = pair(context, &s[best], &s[best + 1]);
        }
        if (best > 0) {
            pairs[best - 1] = pair(context, &s[best - 1], &s[best]);
        }
    }
    w->count = n;
}

static bool merge_long(vocab_word *w, vocab_pair_fn *pair, const void *context) {
    WEFT_ASSERT(w->count < SYMBOL_END);
    const uint32_t n = (uint32_t)w->count;
    w->heap_count = 0;
    for (uint32_t i = 0; i < n; i++) {
        w->symbols[i].prev = i == 0 ? SYMBOL_END : i - 1;
        w->symbols[i].next = i + 1 == n ? SYMBOL_END : i + 1;
    }
    for (uint32_t i = 0; i + 1 < n; i++) {
        if (!enter_pair(w, pair, context, i)) {
            return false;
        }
    }
    while (w->heap_count > 0) {
        const vocab_word_heap_item item = heap_pop(w);
        const vocab_symbol *left = &w->symbols[item.left];
        if (left->to == SYMBOL_GONE || left->next == SYMBOL_END ||
            w->symbols[left->next].to != item.to) {
            continue;
        }
        join(w, item.left, item.id);
        if (!enter_pair(w, pair, context, left->prev) || !enter_pair(w, pair, context, item.left)) {
            return false;
        }
    }
    size_t kept = 0;
    for (uint32_t i = 0; i != SYMBOL_END;) {
        const vocab_symbol symbol = w->symbols[i];
        w->symbols[kept++] = symbol;
        i = symbol.next;
    }
    w->count = kept;
    return true;
}

/* The pair of symbol `left` and its right neighbour, if there are such and they merge. */
static bool enter_pair(vocab_word *w, vocab_pair_fn *pair, const void *context, uint32_t left) {
    if (left == SYMBOL_END || w->symbols[left].next == SYMBOL_END) {
        return true;
    }
    const vocab_symbol *right = &w->symbols[w->symbols[left].next];
    const vocab_pair p = pair(context, &w->symbols[left], right);
    if (p.rank == VOCAB_RANK_NONE) {
        return true;
    }
    return heap_push(w, (vocab_word_heap_item){p.rank, left, right->to, p.id});
}

static void join(vocab_word *w, uint32_t left, int32_t id) {
    vocab_symbol *symbol = &w->symbols[left];
    vocab_symbol *right = &w->symbols[symbol->next];
    symbol->id = id;
    symbol->to = right->to;
    symbol->next = right->next;
    if (right->next != SYMBOL_END) {
        w->symbols[right->next].prev = left;
    }
    right->to = SYMBOL_GONE;
}

static bool is_before(const vocab_word_heap_item *a, const vocab_word_heap_item *b) {
    return a->rank < b->rank || (a->rank == b->rank && a->left < b->left);
}

static bool heap_push(vocab_word *w, vocab_word_heap_item item) {
    if (w->heap_count == w->heap_capacity) {
        const size_t capacity = w->heap_capacity == 0 ? 256 : w->heap_capacity * 2;
        vocab_word_heap_item *grown = mem_realloc(MEM_VOCAB, w->heap, capacity, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        w->heap = grown;
        w->heap_capacity = capacity;
    }
    size_t at = w->heap_count++;
    while (at > 0 && is_before(&item, &w->heap[(at - 1) / 2])) {
        w->heap[at] = w->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->heap[at] = item;
    return true;
}

static vocab_word_heap_item heap_pop(vocab_word *w) {
    const vocab_word_heap_item top = w->heap[0];
    const vocab_word_heap_item last = w->heap[--w->heap_count];
    size_t at = 0;
    for (size_t child = 1; child < w->heap_count; child = at * 2 + 1) {
        if (child + 1 < w->heap_count && is_before(&w->heap[child + 1], &w->heap[child])) {
            child++;
        }
        if (!is_before(&w->heap[child], &last)) {
            break;
        }
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return top;
}
