/* vocab_trie.c - building the tree from the sorted spellings, level by level.
 *
 * A node is a range of the sorted spellings that agree in their first bytes. Those that end here
 * sort first in the range; the rest falls into one run for each next byte, and each run is a
 * child. Nodes are made in the order in which they are looked at, so that the children of a node
 * lie side by side and no pointer is needed. Every spelling is looked at once for each of its
 * bytes: building is linear in the size of the vocabulary.
 */
#include "vocab/vocab_trie.h"

#include <stdlib.h>

#include "base/mem.h"
#include "vocab/vocab.h"

#define NODES_MAX (1u << 26)

typedef struct entry {
    str text;
    int32_t id;
} entry;

typedef struct range {
    uint32_t from;
    uint32_t to;
    uint32_t depth;
} range;

typedef struct builder {
    vocab_trie *trie;
    entry *entries;
    uint32_t n_entries;
    range *ranges; /* [capacity], of each node */
    uint32_t capacity;
} builder;

static weft_status gather(builder *b, const vocab_table *t, vocab_trie_spelling spelling,
                          uint32_t attrs, uint32_t without, weft_error *err);
static weft_status build(builder *b, weft_error *err);
static weft_status add_children(builder *b, uint32_t node, weft_error *err);
static weft_status add_node(builder *b, uint8_t label, range r, weft_error *err);
static int compare_entries(const void *a, const void *b);

weft_status vocab_trie_init(vocab_trie *trie, const vocab_table *t, vocab_trie_spelling spelling,
                            uint32_t attrs, uint32_t without, weft_error *err) {
    *trie = (vocab_trie){0};
    builder b = {.trie = trie};
    weft_status status = gather(&b, t, spelling, attrs, without, err);
    if (status == WEFT_OK) {
        status = build(&b, err);
    }
    if (status != WEFT_OK) {
        vocab_trie_deinit(trie);
    }
    mem_free(b.entries);
    mem_free(b.ranges);
    return status;
}

void vocab_trie_deinit(vocab_trie *trie) {
    mem_free(trie->nodes);
    mem_free(trie->labels);
    *trie = (vocab_trie){0};
}

int32_t vocab_trie_longest(const vocab_trie *trie, str text, size_t *len) {
    int32_t best = VOCAB_NONE;
    uint32_t node = VOCAB_TRIE_ROOT;
    for (size_t at = 0; at < text.len; at++) {
        node = vocab_trie_step(trie, node, (uint8_t)text.data[at]);
        if (node == VOCAB_TRIE_NONE) {
            break;
        }
        if (trie->nodes[node].id != VOCAB_NONE) {
            best = trie->nodes[node].id;
            *len = at + 1;
        }
    }
    return best;
}

static weft_status gather(builder *b, const vocab_table *t, vocab_trie_spelling spelling,
                          uint32_t attrs, uint32_t without, weft_error *err) {
    b->entries = mem_array(MEM_VOCAB, t->count, sizeof *b->entries);
    if (b->entries == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory to sort %u tokens", t->count);
    }
    for (uint32_t i = 0; i < t->count; i++) {
        const int32_t id = (int32_t)i;
        const str text =
            spelling == VOCAB_TRIE_TEXTS ? vocab_table_text(t, id) : vocab_table_piece(t, id);
        if ((t->attrs[i] & attrs) == 0 || (t->attrs[i] & without) != 0 || text.len == 0) {
            continue;
        }
        if (text.len > VOCAB_TRIE_TOKEN_BYTES_MAX) {
            return weft_fail(err, WEFT_LIMIT,
                             "token %u has %zu bytes, at most %u are taken by this tokenizer", i,
                             text.len, VOCAB_TRIE_TOKEN_BYTES_MAX);
        }
        b->entries[b->n_entries++] = (entry){text, id};
    }
    qsort(b->entries, b->n_entries, sizeof *b->entries, compare_entries);
    return WEFT_OK;
}

static weft_status build(builder *b, weft_error *err) {
    weft_status status = add_node(b, 0, (range){0, b->n_entries, 0}, err);
    for (uint32_t node = 0; status == WEFT_OK && node < b->trie->count; node++) {
        status = add_children(b, node, err);
    }
    return status;
}

static weft_status add_children(builder *b, uint32_t node, weft_error *err) {
    range r = b->ranges[node];
    while (r.from < r.to && b->entries[r.from].text.len == r.depth) {
        if (b->trie->nodes[node].id == VOCAB_NONE) {
            b->trie->nodes[node].id = b->entries[r.from].id;
        }
        r.from++;
    }
    b->trie->nodes[node].first = b->trie->count;
    while (r.from < r.to) {
        const uint8_t label = (uint8_t)b->entries[r.from].text.data[r.depth];
        uint32_t to = r.from + 1;
        while (to < r.to && (uint8_t)b->entries[to].text.data[r.depth] == label) {
            to++;
        }
        const weft_status status = add_node(b, label, (range){r.from, to, r.depth + 1}, err);
        if (status != WEFT_OK) {
            return status;
        }
        b->trie->nodes[node].n_children++;
        r.from = to;
    }
    return WEFT_OK;
}

static weft_status add_node(builder *b, uint8_t label, range r, weft_error *err) {
    vocab_trie *trie = b->trie;
    if (trie->count == NODES_MAX) {
        return weft_fail(err, WEFT_LIMIT, "tokens that make a tree of over %u nodes", NODES_MAX);
    }
    if (trie->count == b->capacity) {
        const uint32_t capacity = b->capacity == 0 ? 1024 : b->capacity * 2;
        vocab_trie_node *nodes = mem_realloc(MEM_VOCAB, trie->nodes, capacity, sizeof *nodes);
        trie->nodes = nodes == NULL ? trie->nodes : nodes;
        uint8_t *labels = mem_realloc(MEM_VOCAB, trie->labels, capacity, 1);
        trie->labels = labels == NULL ? trie->labels : labels;
        range *ranges = mem_realloc(MEM_VOCAB, b->ranges, capacity, sizeof *ranges);
        b->ranges = ranges == NULL ? b->ranges : ranges;
        if (nodes == NULL || labels == NULL || ranges == NULL) {
            return weft_fail(err, WEFT_NOMEM, "out of memory for a tree of %u nodes", capacity);
        }
        b->capacity = capacity;
    }
    trie->nodes[trie->count] = (vocab_trie_node){0, 0, VOCAB_NONE};
    trie->labels[trie->count] = label;
    b->ranges[trie->count] = r;
    trie->count++;
    return WEFT_OK;
}

static int compare_entries(const void *a, const void *b) {
    const entry *x = a;
    const entry *y = b;
    const int by_text = str_cmp(x->text, y->text);
    return by_text != 0 ? by_text : (x->id > y->id) - (x->id < y->id);
}
