/* plan.h - what a model will need in memory, computed before anything is loaded. Pure.
 *
 *   geometry + tensor table + request ─► bytes of every part ─► the engine allocates exactly these
 *
 *   total = weights + packed extra + KV pools + state pools + scratch + workspace + process
 *
 * kv_bytes and state_bytes are the format's minimum (unpadded, exact window); the pools are what
 * is allocated. Mapped weights are pages of the file, which the system takes back when memory is
 * short: they stand beside the total. docs/memory.md explains each number.
 */
#ifndef WEFT_PLAN_PLAN_H
#define WEFT_PLAN_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "layout/slice.h"
#include "plan/geometry.h"
#include "weft/dtype.h"
#include "weights/weights.h"

#define PLAN_CTX_RUN_DEFAULT 8192u

/* Rows of a forward where nobody says: 512, and 64 a thread from 8 threads on, so that each has
 * panels and rows enough, up to 2,048. */
uint32_t plan_batch_rows_default(uint32_t n_threads);

typedef struct plan_request {
    uint32_t ctx;        /* positions of one sequence; 0 = min(the model's maximum, 8192) */
    uint32_t seqs;       /* sequences at once, at least 1 */
    uint32_t batch_rows; /* rows of one forward; 0 = plan_batch_rows_default */
    uint32_t out_rows;   /* rows of one forward whose logits are wanted; 0 = seqs */
    uint32_t n_threads;
    weft_dtype kv_type;    /* F16, F32, Q8_0, Q4_0 */
    uint64_t mem_bytes;    /* budget for the total; 0 = no limit */
    uint64_t kv_mem_bytes; /* budget for all KV pools; 0 = enough for seqs full contexts */
    bool maps_weights;     /* matrices stay in the file: products read them there */
    slice_rank rank;       /* whose share is planned (plan/shard.h); zero = all of it */
} plan_request;

typedef struct plan_group {
    uint32_t n_layers, window;
    uint64_t layer_page_bytes; /* one layer's part of a page */
    uint64_t page_bytes;       /* all layers of the group */
    uint32_t n_pages;
    uint32_t pages_per_seq; /* a sequence of ctx positions may hold at once */
    uint64_t pool_bytes;    /* n_pages * page_bytes */
} plan_group;

typedef struct plan {
    uint32_t ctx, seqs, batch_rows, out_rows;
    slice_rank rank;
    weft_dtype kv_type;
    uint64_t params_total;
    uint64_t weights_bytes;      /* of what is loaded, as stored in the file */
    uint64_t mapped_bytes;       /* of matrices left in the file; no part of the total */
    uint64_t packed_bytes;       /* weights_bytes once packed, small tensors as F32 */
    uint64_t packed_extra_bytes; /* packed_bytes - weights_bytes, at least 0 */
    uint64_t kv_bytes;           /* minimum for seqs contexts */
    uint64_t kv_pool_bytes;
    uint64_t state_bytes, state_pool_bytes;
    uint64_t scratch_bytes;   /* device_scratch of one forward */
    uint64_t workspace_bytes; /* the device's own: activations, parts of attention */
    uint64_t process_bytes;   /* code, libraries, vocabulary, threads, buffers */
    uint64_t total_bytes;
    uint32_t n_groups;
    plan_group groups[GEOMETRY_GROUPS_MAX];
} plan;

/* g is the whole model's, also where the plan is one rank's share of it.
 * A budget that is too small is WEFT_LIMIT with a message that says what would fit. */
weft_status plan_make(plan *out, const geometry *g, const weights *w, const plan_request *request,
                      weft_error *err) WEFT_NODISCARD;

/* Bytes a tensor takes on the device once loaded: packed panels for a matrix, F32 for a vector,
 * rounded up to PLAN_ALIGN. The loader lays tensors out by the same function. 0 = not supported. */
#define PLAN_ALIGN 64u
uint64_t plan_tensor_bytes(const weights_tensor *t);
/* The same for the frequencies of one kind of layer, which no file stores. */
uint64_t plan_rope_bytes(const geometry_rope *r);

/* The most bytes of scratch that a forward of up to `batch_rows` rows and `out_rows` logit rows
 * takes. The layer functions of model/ take exactly these buffers; a test compares. */
uint64_t plan_scratch_bytes(const geometry *g, uint32_t batch_rows, uint32_t out_rows);

/* "1.31 GiB" into out. */
void plan_format_bytes(uint64_t bytes, char *out, size_t out_bytes);

#endif /* WEFT_PLAN_PLAN_H */
