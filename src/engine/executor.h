/* executor.h - a loaded model with its cache and scratch, run synchronously. No thread, no queue.
 *
 * The one place where page numbers, sequences and the model meet: it turns a list of (sequence,
 * tokens) into a batch, runs the forward and hands out logits. The engine's thread drives it for
 * requests; `weft logits`, `weft bench` and the tests drive it directly.
 *
 * Everything is allocated by executor_create, exactly as the plan says. executor_run allocates
 * nothing.
 *
 * Threads: one at a time. Ownership: owns model, kv, cache, scratch; borrows the device.
 */
#ifndef WEFT_ENGINE_EXECUTOR_H
#define WEFT_ENGINE_EXECUTOR_H

#include "device/device.h"
#include "kv/kv_seqs.h"
#include "model/model.h"
#include "plan/plan.h"

typedef struct executor executor;

/* g is the whole model's geometry. ranks: this executor's place among those that share the model,
 * of the plan's rank, borrowed; NULL alone. */
weft_status executor_create(executor **out, device *dev, const weights *w, const geometry *g,
                            const plan *p, const model_load_options *options, dist *ranks,
                            weft_error *err) WEFT_NODISCARD;
void executor_destroy(executor **e);

kv_seqs *executor_kv(executor *e);
const plan *executor_plan(const executor *e);
const geometry *executor_geometry(const executor *e);

typedef struct executor_item {
    kv_seq seq;
    uint32_t from; /* cache position of the first token */
    uint32_t n_tokens;
    const int32_t *tokens; /* [n_tokens] */
    uint32_t n_out;        /* logits of the last n_out tokens are wanted; 0 = none */
} executor_item;

/* Runs one forward over all items; the sequences must have been grown to hold their tokens
 * (kv_seq_grow). Rows and out rows must be within the plan. Logits stay readable until the next
 * run. */
weft_status executor_run(executor *e, const executor_item *items, uint32_t n_items,
                         weft_error *err) WEFT_NODISCARD;

/* Gives the next piece of scratch or cache its memory, some milliseconds' worth, so that no step
 * has to wait for the system to clear pages. False when nothing is left to do. Between runs. */
bool executor_try_warm(executor *e);

/* Logits [n_vocab] of the i-th wanted row of the last run, in item order. May be changed. */
float *executor_logits(executor *e, uint32_t i);

/* A page's bytes, every group and layer one after the other: [executor_page_bytes]. get wants all
 * of pages [n_groups]; put leaves out those that are KV_PAGE_NONE. Only where the device shares the
 * host's memory (0 bytes elsewhere), and between runs. */
uint64_t executor_page_bytes(const executor *e);
void executor_page_get(const executor *e, const kv_page *pages, void *out);
void executor_page_put(executor *e, const kv_page *pages, const void *in);

/* Measured, to hold against the plan. */
typedef struct executor_usage {
    uint64_t weights_bytes, kv_pool_bytes, scratch_bytes, workspace_bytes;
} executor_usage;
executor_usage executor_usage_now(const executor *e);

/* The most scratch that any run so far has used. Between runs only. */
uint64_t executor_scratch_peak(const executor *e);

#endif /* WEFT_ENGINE_EXECUTOR_H */
