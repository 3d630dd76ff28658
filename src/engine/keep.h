/* keep.h - between the prefix tree and the page store, for engine/ only: which pages go to disk,
 * and which come back before a prompt is queued.
 *
 *   after a step      whole pages that were run ──► store
 *   before queueing   pages that the store knows and the tree does not ──► tree, a few a step
 *
 * A page from disk is one that was run before: the same bytes, so the same bits.
 *
 * Threads: engine thread only.
 */
#ifndef WEFT_ENGINE_KEEP_H
#define WEFT_ENGINE_KEEP_H

#include "engine/executor.h"
#include "engine/page_store.h"

typedef struct keep {
    page_store *store; /* NULL = nothing is kept */
    executor *exec;    /* borrowed */
    void *page;        /* one payload, read */
} keep;

/* How far a request is in either direction. Zeroed at the beginning. */
typedef struct keep_walk {
    bool is_begun, is_stopped;
    page_name name; /* of the page before n_pages */
    uint32_t n_pages;
    uint32_t n_recall; /* pages that there is something to go on after */
} keep_walk;

typedef struct keep_config {
    const char *dir; /* NULL = keep nothing */
    uint64_t bytes_max;
    uint64_t fingerprint;
} keep_config;

/* What the bits of a page depend on, beside its tokens. */
typedef struct keep_origin {
    uint64_t model; /* weights_identity */
    const char *version;
    uint32_t numerics; /* KERNELS_NUMERICS_VERSION */
    const char *cpu;   /* the instruction sets in use */
    weft_dtype act_type;
    const plan *plan; /* its KV type and groups */
} keep_origin;

uint64_t keep_fingerprint(const keep_origin *o);

weft_status keep_init(keep *k, executor *exec, const keep_config *config,
                      weft_error *err) WEFT_NODISCARD;
void keep_deinit(keep *k);

/* Brings pages of the prompt back into the tree, at most *n_pages of them, which is counted down.
 * True when there are no more. */
bool keep_recall(keep *k, keep_walk *walk, const kv_unit *units, uint32_t n_prompt,
                 uint32_t *n_pages);
/* Hands whole pages of the first n_tokens positions of the sequence to the store, as far as it has
 * buffers. */
void keep_save(keep *k, keep_walk *walk, kv_seq seq, const kv_unit *units, uint32_t n_tokens);

#endif /* WEFT_ENGINE_KEEP_H */
