/* sampler.h - logits become one token.
 *
 *   logits ─► bias ─► penalties ─► temperature 0? argmax
 *                                 └► temperature ─► top-k ─► top-p ─► min-p ─► draw
 *
 * (temperature first, as vLLM and transformers have it). A draw is keyed by (seed, choice,
 * position) through a counter-based generator: it depends on nothing that happened before, so the
 * same request draws the same tokens in any batch.
 *
 * Threads: sampler_pick touches only its arguments; different scratch, different threads.
 */
#ifndef WEFT_SAMPLE_SAMPLER_H
#define WEFT_SAMPLE_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SAMPLER_BIAS_MAX 1024u
#define SAMPLER_TOP_LOGPROBS_MAX 20u

typedef struct sampler_bias {
    int32_t token;
    float bias; /* added to the logit; -INFINITY bans */
} sampler_bias;

typedef struct sampler_params {
    float temperature;        /* 0 = greedy, at most 100 */
    int32_t top_k;            /* 0 = off */
    float top_p;              /* (0, 1]; 1 = off */
    float min_p;              /* [0, 1); 0 = off */
    float repetition_penalty; /* 1 = off; over prompt and answer, as vLLM and transformers */
    float presence_penalty;   /* 0 = off; over the answer, as OpenAI */
    float frequency_penalty;  /* 0 = off; over the answer */
    uint64_t seed;
    uint32_t choice; /* index among n choices */
    uint32_t n_bias;
    const sampler_bias *bias; /* borrowed */
} sampler_params;

sampler_params sampler_params_default(void);

/* Names the field, the value found and the range wanted. n_vocab bounds the bias tokens. */
weft_status sampler_params_check(const sampler_params *p, uint32_t n_vocab,
                                 weft_error *err) WEFT_NODISCARD;

/* Counts of tokens seen, for the penalties: an open-addressing table, storage from the caller. */
typedef struct sampler_history {
    int32_t *tokens;    /* [capacity], -1 = empty */
    uint32_t *n_prompt; /* [capacity] occurrences in the prompt */
    uint32_t *n_answer; /* [capacity] occurrences in the answer */
    uint32_t capacity;  /* power of two */
    uint32_t count;
} sampler_history;

/* Bytes and initialisation for up to n_tokens_max distinct tokens; storage is caller's. */
size_t sampler_history_bytes(uint32_t n_tokens_max);
void sampler_history_init(sampler_history *h, void *storage, uint32_t n_tokens_max);
void sampler_history_add(sampler_history *h, int32_t token, bool is_answer);

/* Scratch of one concurrent pick: sampler_scratch_bytes(n_vocab) bytes from the caller, aligned for
 * a double. */
size_t sampler_scratch_bytes(uint32_t n_vocab);

typedef struct sampler_logprob {
    int32_t token;
    float logprob; /* natural log, of the unmodified distribution (temperature 1, no filter) */
} sampler_logprob;

typedef struct sampler_result {
    int32_t token;
    float logprob; /* of token; only when n_top was not NO_LOGPROBS */
    uint32_t n_top;
    sampler_logprob top[SAMPLER_TOP_LOGPROBS_MAX]; /* best first */
} sampler_result;

#define SAMPLER_NO_LOGPROBS UINT32_MAX

/* logits [n_vocab] is changed. history may be NULL when no penalty is on. position is that of the
 * token being drawn. n_top: alternatives wanted, 0..20, or SAMPLER_NO_LOGPROBS. banned: NULL or
 * tokens that must not come out (ignore_eos). Ties go to the lower id. NaN logits count as -inf. */
void sampler_pick(sampler_result *out, float *logits, uint32_t n_vocab, const sampler_params *p,
                  const sampler_history *history, uint32_t position, uint32_t n_top,
                  const int32_t *banned, size_t n_banned, void *scratch);

#endif /* WEFT_SAMPLE_SAMPLER_H */
