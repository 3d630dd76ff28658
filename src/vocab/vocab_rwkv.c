/* vocab_rwkv.c - RWKV's world vocabulary: at every place the longest token.
 *
 * The tokens are runs of bytes, written in the file with escapes as Python writes bytes; the tree
 * holds what they stand for. Nothing is normalised and nothing cut. A byte that begins no token is
 * the unknown token, or nothing where there is none; real vocabularies have all 256.
 */
#include "vocab/vocab_impl.h"

bool vocab_rwkv_encode(vocab_run *run, str text) {
    const vocab *v = run->vocab;
    size_t n;
    for (size_t at = 0; at < text.len; at += n) {
        n = 1;
        int32_t id = vocab_trie_longest(&v->trie, str_from(text.data + at, text.len - at), &n);
        if (id == VOCAB_NONE) {
            id = v->unknown;
        }
        if (id != VOCAB_NONE && !vocab_ids_push(run->out, id)) {
            return false;
        }
    }
    return true;
}
