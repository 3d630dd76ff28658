/* device.h - where tensors live and operations run.
 *
 *   model ─► device_rmsnorm, device_linear, ... ─► device_ops of this device ─► kernels
 *
 * A device is one struct of functions over tensor handles. Operations enqueue and return nothing;
 * they run in the order given. An error is sticky and read at device_sync. The host reads results
 * only through device_read. Each operation takes one argument struct, so that a device may record
 * it; what the struct points to must stay as it is until device_sync.
 *
 * Two devices exist: cpu (device_cpu.h: kernels over the thread pool) and deferred
 * (device_deferred.h: records, runs at sync on reference kernels, poisons freed scratch).
 *
 * Threads: one thread at a time. Shapes: tensors are [rows][cols]; T is the rows of the batch that
 * an operation is given, or of its tensors.
 */
#ifndef WEFT_DEVICE_DEVICE_H
#define WEFT_DEVICE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "device/batch.h"
#include "kernels/kernels.h"
#include "layout/experts.h"
#include "tensor/tensor.h"

typedef struct device device;

/* What a matrix multiplies, which says when 8 bits are too few for it (docs/numerics.md): products
 * then read it in two 8-bit halves. */
typedef enum device_input {
    DEVICE_INPUT_EVEN,   /* a norm's output: never */
    DEVICE_INPUT_TAILED, /* no norm's output, with some large values: where 256 share a scale */
    DEVICE_INPUT_KEPT    /* its product goes to the cache, or is the logits: always */
} device_input;

/* A matrix laid out for this device's products. A value, like a tensor; owns nothing. */
typedef struct device_weight {
    void *data;
    uint32_t rows, cols; /* outputs, inputs */
    weft_dtype dtype;
    device_input input;
    bool is_mapped; /* data is the file's own rows on the host: products pack panel by panel */
} device_weight;

/* n matrices of one shape, each laid out like a device_weight, one after another: the same part of
 * every expert of a layer. */
typedef struct device_stack {
    device_weight w; /* the first */
    uint32_t n;
} device_stack;

/* Keys and values of one layer in the page pool of its group.
 *
 *   page p:  k  [n_kv_heads][16][k_dim] then v [n_kv_heads][16][v_dim], in dtype,
 *            at data + p * page_stride_bytes
 *
 * or the keys of each head in columns (layout/page.h), as the device's kernels want it. With v_in_k
 * a value is the first v_dim of its key: pages end after k, whose rows are always rows. */
typedef struct device_kv {
    void *data;
    size_t page_stride_bytes;
    weft_dtype dtype;
    uint32_t n_kv_heads, k_dim, v_dim;
    bool v_in_k;
    uint32_t group; /* which block table of the sequences */
} device_kv;

/* y [T][cols] <- rows of the table named by batch->token, times scale. */
typedef struct op_embed {
    tensor y;
    device_weight table;
    const batch *batch;
    float scale;
} op_embed;

/* y[i] [T][w[i].rows] <- x [T][cols] . w[i]^T (+ bias[i]): products that read the same x. */
#define OP_LINEAR_MAX 4u
typedef struct op_linear {
    tensor x;
    uint32_t n;
    device_weight w[OP_LINEAR_MAX];
    tensor y[OP_LINEAR_MAX];
    tensor bias[OP_LINEAR_MAX]; /* [1][w.rows] F32, data NULL without */
} op_linear;

/* Each row's `groups` equal parts are normalised on their own: 1 for a layer norm, the number of
 * heads for a norm of queries or keys. w is [1][cols / groups] F32. y may be x. */
typedef struct op_rmsnorm {
    tensor y, x, w;
    uint32_t groups;
    float eps;
} op_rmsnorm;

/* x += r, then y <- rmsnorm of x's rows times w [1][cols]: the bits of op_add and op_rmsnorm. */
typedef struct op_add_rmsnorm {
    tensor y, x, r, w;
    float eps;
} op_add_rmsnorm;

/* y += x, element by element. */
typedef struct op_add {
    tensor y, x;
} op_add;

/* y *= scale. */
typedef struct op_scale {
    tensor y;
    float scale;
} op_scale;

/* y = cap * tanh(y / cap). */
typedef struct op_softcap {
    tensor y;
    float cap;
} op_softcap;

/* y = act(gate) * up; y may be gate. */
typedef struct op_act_mul {
    tensor y, gate, up;
    act_kind kind;
} op_act_mul;

/* y [T][cols] <- for each row, the sum over its experts, in rank order, of weight x
 * down(act(gate(x)) * up(x)). Which and how much, routing makes of logits [T][n_experts]. */
typedef struct op_experts {
    tensor y, x, logits;
    tensor bias; /* [1][n_experts] F32, added for selection; data NULL without */
    expert_routing routing;
    device_stack gate, up, down;
    act_kind kind;
} op_experts;

/* cos_sin [T][2 * n_freqs] <- angles of every row's position. inv_freq is [1][n_freqs] F32. axis
 * says which axis of the position each frequency follows; NULL = axis 0. */
typedef struct op_rope_table {
    tensor cos_sin, inv_freq;
    const uint8_t *axis; /* [n_freqs] or NULL */
    const batch *batch;
    float mscale;
} op_rope_table;

/* Rotates the first cos_sin.cols values of each of x's n_heads heads, in place. */
typedef struct op_rope {
    tensor x, cos_sin;
    uint32_t n_heads;
    rope_pairing pairing;
} op_rope;

/* Writes k [T][n_kv_heads * k_dim] and, but for kv.v_in_k, v [T][n_kv_heads * v_dim] to the batch's
 * cache positions. */
typedef struct op_kv_store {
    device_kv kv;
    tensor k, v;
    const batch *batch;
} op_kv_store;

/* out [T][n_heads * v_dim] <- softmax(scale * q . k) v over each row's own positions in kv. */
typedef struct op_attention {
    tensor out, q;
    device_kv kv;
    const batch *batch;
    tensor sinks;     /* [1][n_heads] F32, data NULL without */
    uint32_t n_heads; /* a multiple of kv.n_kv_heads */
    uint32_t window;  /* 0 = all positions, else the last `window` including the row's own */
    float scale;
    float softcap; /* 0 = none */
} op_attention;

/* y [n] <- x[rows[i]]. */
typedef struct op_gather {
    tensor y, x;
    const uint32_t *rows;
    uint32_t n;
} op_gather;

/* Runs fn over x's rows where the host may read and change them, in its place among the operations:
 * what ranks do together. stride is in floats. */
typedef void op_host_fn(void *arg, float *x, size_t stride, uint32_t n_rows, uint32_t n_cols);
typedef struct op_host {
    tensor x; /* F32 */
    op_host_fn *fn;
    void *arg;
} op_host;

typedef struct device_ops {
    void (*destroy)(device *d);
    weft_status (*alloc)(device *d, void **out, size_t bytes, weft_error *err);
    void (*free)(device *d, void *p, size_t bytes);
    /* Grows the device's own workspace (activations, parts of attention) to at least
     * `bytes`. */
    weft_status (*reserve)(device *d, size_t bytes, weft_error *err);
    void (*pack)(device *d, void *dst, tensor src); /* src: host memory, file layout */
    void (*unpack)(device *d, void *dst, device_weight w);
    void (*write)(device *d, tensor dst, const void *src);
    void *(*read)(device *d, tensor src, void *staging);
    weft_status (*sync)(device *d, weft_error *err);
    void (*poison)(device *d, void *p, size_t bytes); /* freed scratch: may be left as it is */

    void (*embed)(device *d, const op_embed *op);
    void (*linear)(device *d, const op_linear *op);
    void (*rmsnorm)(device *d, const op_rmsnorm *op);
    void (*add_rmsnorm)(device *d, const op_add_rmsnorm *op);
    void (*add)(device *d, const op_add *op);
    void (*scale)(device *d, const op_scale *op);
    void (*softcap)(device *d, const op_softcap *op);
    void (*act_mul)(device *d, const op_act_mul *op);
    void (*experts)(device *d, const op_experts *op);
    void (*rope_table)(device *d, const op_rope_table *op);
    void (*rope)(device *d, const op_rope *op);
    void (*kv_store)(device *d, const op_kv_store *op);
    void (*attention)(device *d, const op_attention *op);
    void (*gather)(device *d, const op_gather *op);
    void (*host)(device *d, const op_host *op);
} device_ops;

struct device {
    const device_ops *ops;
    const char *name;
    bool is_host_memory; /* device_read returns src itself and needs no staging */
};

void device_destroy(device **d);

/* Memory of this device, page-aligned, content undefined; sizes come from the plan. free takes the
 * same size. */
weft_status device_alloc(device *d, void **out, size_t bytes, weft_error *err) WEFT_NODISCARD;
void device_free(device *d, void *p, size_t bytes);
weft_status device_reserve(device *d, size_t bytes, weft_error *err) WEFT_NODISCARD;

/* Lays src (host, file layout, a supported format) out at dst, which has pack_weight_bytes, on all
 * threads, and returns the handle. Done when it returns. */
device_weight device_pack(device *d, void *dst, tensor src);

/* The same for n matrices, one after another: dst has n times that. */
device_stack device_pack_stack(device *d, void *dst, const tensor *first, uint32_t n);

/* One matrix of a stack. */
device_weight device_stack_at(const device_stack *s, uint32_t i);

/* The same handle without packing: src must stay as it is. Products then need room for a panel of
 * it a thread (pack_panel_bytes) at the end of the workspace. */
device_weight device_map(tensor src);

/* The file's own rows come back: dst has rows * dtype_row_bytes. Done when it returns. */
void device_unpack(device *d, void *dst, device_weight w);

/* dst [rows][cols] <- host rows without gaps. */
void device_write(device *d, tensor dst, const void *src);

/* Waits, then returns rows of src where the host may read and change them: src itself where memory
 * is shared, else `staging` filled (rows without gaps; at least rows * cols * size). The row
 * stride of the result is *stride_bytes. */
void *device_read(device *d, tensor src, void *staging, size_t *stride_bytes);

/* Waits for everything queued. The first error since the last sync. */
weft_status device_sync(device *d, weft_error *err) WEFT_NODISCARD;

/* ---- scratch: one region, given out in order, reset as a whole ---- */

typedef struct device_scratch {
    device *dev;
    void *base;
    size_t bytes; /* what the plan gave */
    size_t used_bytes;
    size_t peak_bytes; /* highest use so far: a test compares it with the plan */
} device_scratch;

#define DEVICE_SCRATCH_ALIGN 64u

weft_status device_scratch_init(device_scratch *s, device *dev, size_t bytes,
                                weft_error *err) WEFT_NODISCARD;
void device_scratch_deinit(device_scratch *s);

/* Bytes that a take of this shape uses: rows are padded to an odd number of DEVICE_SCRATCH_ALIGN,
 * so that rows of a power of two start in different sets of a cache. Pure. */
size_t device_scratch_tensor_bytes(weft_dtype dtype, uint32_t rows, uint32_t cols);
/* Cannot fail: the plan reserved enough, anything else is our mistake. */
tensor device_scratch_take(device_scratch *s, weft_dtype dtype, uint32_t rows, uint32_t cols);
size_t device_scratch_mark(const device_scratch *s);
void device_scratch_release(device_scratch *s, size_t mark); /* back to a mark; poisons */

#endif /* WEFT_DEVICE_DEVICE_H */
