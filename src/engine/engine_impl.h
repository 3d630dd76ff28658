/* engine_impl.h - a loaded model as its two halves see it, for engine/ only.
 *
 *   engine.c        opens, closes, takes requests in       any thread
 *   engine_loop.c   runs them                              the engine's thread
 */
#ifndef WEFT_ENGINE_ENGINE_IMPL_H
#define WEFT_ENGINE_ENGINE_IMPL_H

#include <pthread.h>

#include "engine/executor.h"
#include "engine/meter.h"
#include "engine/request_impl.h"
#include "engine/runtime_impl.h"
#include "sched/sched.h"
#include "vocab/chat.h"
#include "vocab/vocab.h"
#include "weft/engine.h"

#define ENGINE_ENDS_MAX 64u /* tokens that end an answer */

struct weft_engine {
    weft_runtime *rt;
    char *path;
    vocab *vocab;
    chat *chat; /* NULL without a template */
    executor *exec;
    sched *sched;
    geometry geo;
    plan plan;
    uint64_t file_bytes;
    uint32_t queue_max, queue_tokens_max;
    uint64_t itl_target_ns;
    bool shares_no_prefix;
    int32_t ends[ENGINE_ENDS_MAX];
    uint32_t n_ends;

    pthread_t thread;
    bool has_budget; /* runtime_mem_take was granted */
    pthread_mutex_t lock;
    pthread_cond_t work;
    weft_request *inbox;                     /* guarded by lock, newest first */
    uint32_t n_inbox;                        /* guarded by lock */
    bool is_closing;                         /* guarded by lock */
    uint32_t n_running, n_waiting;           /* guarded by lock, copies for others to read */
    uint64_t waiting_tokens;                 /* guarded by lock, likewise; the inbox included */
    uint32_t retry_ms;                       /* guarded by lock */
    weft_pages pages[WEFT_STATS_GROUPS_MAX]; /* guarded by lock */
    meter meter;

    /* engine's thread */
    weft_turn_fn *on_turn; /* NULL = nobody asks */
    void *turn_user;
    bool has_told; /* since the last on_turn */
    bool is_warm;  /* all memory of the plan has been touched */
    keep keep;
    weft_request *recalling; /* their pages come back from disk; not yet in sched */
    uint32_t n_recalling;
    weft_request *live;
    executor_item *items;    /* [seqs] */
    weft_request **sampled;  /* [seqs] whose row i of the logits is */
    sampler_result *results; /* [seqs] */
    char *sampler_scratch;   /* [threads] of sampler_scratch_bytes, padded */
    size_t sampler_scratch_stride;
};

const vocab *engine_vocab(const weft_engine *en);
const chat *engine_chat(const weft_engine *en); /* NULL without a template */

/* What the engine's thread does until the engine closes. arg: the weft_engine. */
void *engine_main(void *arg);

#endif /* WEFT_ENGINE_ENGINE_IMPL_H */
