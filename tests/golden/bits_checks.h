/* bits_checks.h - do the same tokens give the same bits, however they are batched?
 *
 * A rig is one loaded model with a cache, on a device of the caller's choice. The checks compare
 * whole rows of logits by their bits; every row must also be finite, so that two equal heaps of
 * NaN never pass. Used by tests/unit/test_executor.c on tiny models and by `bits` on real ones.
 */
#ifndef WEFT_TESTS_BITS_CHECKS_H
#define WEFT_TESTS_BITS_CHECKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pool.h"
#include "device/device.h"
#include "engine/executor.h"

typedef struct bits_config {
    const char *path;
    uint32_t n_threads;
    uint32_t cpu_flags;    /* of those the processor has */
    bool is_deferred;      /* the deferred device: reference kernels, poisoned memory */
    const char *cache_dir; /* packed weights are kept there, or NULL */
    plan_request request;
    dist *ranks; /* of request.rank; NULL alone */
} bits_config;

typedef struct bits_rig {
    pool *pool;
    device *dev;
    weights *w;
    geometry geo;
    plan plan;
    executor *exec;
} bits_rig;

/* A rig that failed to open is empty again. Closing accepts an empty one. */
weft_status bits_rig_open(bits_rig *rig, const bits_config *c, weft_error *err) WEFT_NODISCARD;
void bits_rig_close(bits_rig *rig);

/* n pseudo-random token ids below n_vocab, the same for the same seed. */
void bits_tokens(int32_t *out, uint32_t n, uint32_t n_vocab, uint64_t seed);

/* Fingerprint of the i-th logits row of the last run; 0 when a value is not finite. */
uint64_t bits_row(const bits_rig *rig, uint32_t i);

/* One forward over three sequences: seven tokens in the middle of a prompt, from position
 * n_past_chunk; one decode row at n_past_decode; a prompt of one token. Against three forwards, each
 * with its sequence alone. Pages come in another shuffled order every time. Returns how many of the
 * 9 rows are equal. */
#define BITS_TOGETHER_ROWS 9u
uint32_t bits_together(bits_rig *rig, uint32_t n_past_chunk, uint32_t n_past_decode);

/* Runs n_tokens in chunks and keeps the fingerprints of the last n_tail rows. */
void bits_prefill(bits_rig *rig, uint32_t n_tokens, uint32_t chunk, uint32_t n_tail,
                  uint64_t *rows);

/* How many of n rows are equal and finite. */
uint32_t bits_equal(const uint64_t *a, const uint64_t *b, uint32_t n);

#endif /* WEFT_TESTS_BITS_CHECKS_H */
