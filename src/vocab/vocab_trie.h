/* vocab_trie.h - the tokens of a vocabulary as a tree of bytes, to find those a text begins with.
 *
 *   nodes:   0 ── 'a' 1 ── 'b' 3 (ab)
 *            └─── 'b' 2 (b)
 *   labels:  [-] [a] [b] [b]     the byte that leads to a node; children lie side by side
 *
 * Threads: read-only once filled.
 */
#ifndef WEFT_VOCAB_VOCAB_TRIE_H
#define WEFT_VOCAB_VOCAB_TRIE_H

#include <stdint.h>
#include <string.h>

#include "base/status.h"
#include "vocab/vocab_table.h"

#define VOCAB_TRIE_ROOT 0u
#define VOCAB_TRIE_NONE 0u               /* no child: the root is nobody's */
#define VOCAB_TRIE_TOKEN_BYTES_MAX 1024u /* bounds the walk from any place of a text */

typedef struct vocab_trie_node {
    uint32_t first; /* of its children */
    uint32_t n_children;
    int32_t id; /* the token that ends here, or VOCAB_NONE */
} vocab_trie_node;

typedef struct vocab_trie {
    vocab_trie_node *nodes;
    uint8_t *labels;
    uint32_t count;
} vocab_trie;

/* What is taken as a token's spelling. */
typedef enum vocab_trie_spelling {
    VOCAB_TRIE_TEXTS,  /* as the file has it */
    VOCAB_TRIE_PIECES, /* the bytes it stands for */
} vocab_trie_spelling;

/* Takes every token with one of the attributes in `attrs` (bits of vocab_attr) and none of those in
 * `without`. Of two equal spellings the lower number is found. On failure the trie is empty. */
weft_status vocab_trie_init(vocab_trie *trie, const vocab_table *t, vocab_trie_spelling spelling,
                            uint32_t attrs, uint32_t without, weft_error *err) WEFT_NODISCARD;
void vocab_trie_deinit(vocab_trie *trie); /* accepts a zeroed one */

/* The child of a node by a byte, or VOCAB_TRIE_NONE. */
static inline uint32_t vocab_trie_step(const vocab_trie *trie, uint32_t node, uint8_t byte) {
    const vocab_trie_node *n = &trie->nodes[node];
    const uint8_t *labels = trie->labels + n->first;
    const uint8_t *found = n->n_children == 0 ? NULL : memchr(labels, byte, n->n_children);
    return found == NULL ? VOCAB_TRIE_NONE : n->first + (uint32_t)(found - labels);
}

/* The longest token that stands at the beginning of text, its bytes in *len; VOCAB_NONE when
 * there is none. */
int32_t vocab_trie_longest(const vocab_trie *trie, str text, size_t *len);

#endif /* WEFT_VOCAB_VOCAB_TRIE_H */
