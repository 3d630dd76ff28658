/* shards_checks.h - do several ranks that share a model find what one finds alone?
 *
 * The ranks are threads of this process over the loopback collectives, each with a pool of one
 * thread, a device and a cache of its own. Cutting a sum changes its rounding, so the logits agree
 * within a tolerance and not in their bits; all ranks have the same bits.
 */
#ifndef WEFT_TESTS_SHARDS_CHECKS_H
#define WEFT_TESTS_SHARDS_CHECKS_H

#include "bits_checks.h"

typedef struct shards_result {
    uint32_t n_rows;      /* compared */
    uint32_t n_top_equal; /* rows whose best token is the same */
    double nmse;          /* squared difference over squared deviation from the mean, of all rows */
    double kl_mean;       /* of the probabilities, in nats */
    bool ranks_agree;     /* every rank has the same bits */
    uint64_t packed_bytes_whole, packed_bytes_max; /* weights of one, and of the largest rank */
} shards_result;

#define SHARDS_MAX 8u

/* A prompt of n tokens, which runs in chunks of `chunk` and of which the last n_tail rows are
 * compared. */
typedef struct shards_prompt {
    const int32_t *tokens; /* NULL: random ones */
    uint32_t n, chunk, n_tail;
} shards_prompt;

/* c.request has room for the prompt. */
weft_status shards_compare(shards_result *out, const bits_config *c, uint32_t size,
                           const shards_prompt *prompt, weft_error *err) WEFT_NODISCARD;

#endif /* WEFT_TESTS_SHARDS_CHECKS_H */
