/* kernels.h - arithmetic on bare pointers, one thread, no memory, no errors.
 *
 * A family is one signature, one reference in plain C (ref/) and faster versions by instruction
 * set (x86/, arm/). kernels_cpu holds one function of each; kernels_cpu_init fills it with the
 * references and overrides upward by CPU flag. Splitting work over threads is the caller's.
 *
 * What holds for all: the result of a row depends on that row, the shape, the format and the
 * instruction set, never on how many rows come with it. Outputs never overlap inputs unless said.
 * Shapes are written [slowest]...[fastest]; strides are in elements unless named _bytes.
 */
#ifndef WEFT_KERNELS_KERNELS_H
#define WEFT_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout/act.h"
#include "layout/attn_split.h"
#include "layout/pack.h"
#include "layout/page.h"
#include "weft/dtype.h"

/* Raised with every change after which a row may have other bits, or K and V another place in their
 * page: of the order or the rounding of additions in a product, in attention or in a row operation,
 * of which of two ways a level goes, of a record of activations. Pages on disk of another version
 * are not used. */
#define KERNELS_NUMERICS_VERSION 8u

/* ---- packed weights (layout/pack.h) ---- */

/* panel <- n_rows (1..16) file rows of k elements, row_stride_bytes apart; missing rows are zero
 * blocks. Bit-exact and invertible. */
typedef void pack_panel_fn(void *panel, const void *rows, size_t row_stride_bytes, size_t n_rows,
                           size_t k);
/* rows <- panel: the file's own blocks come back. */
typedef void unpack_panel_fn(void *rows, size_t row_stride_bytes, const void *panel, size_t n_rows,
                             size_t k);
/* out [k] <- row `row` (0..15) of a panel, dequantised: bit-equal to quant_dequantize. */
typedef void panel_row_fn(float *out, const void *panel, size_t row, size_t k);

/* ---- products ---- */

/* act <- x [k]: one row in the form's layout (layout/act.h). */
typedef void act_quantize_fn(void *act, const float *x, size_t k);

/* r [k] <- x - what the row's record of 8-bit codes stands for: the part that they lost. */
typedef void act_residual_fn(float *r, const float *x, const void *act, size_t k);

#define KERNEL_PANELS_MAX 8u /* that a product takes at once */
#define KERNEL_PAIR 2u       /* that share what tiles load of x */

/* y[m][0..n) = x[m][k] . panel[n][k] for m rows; n is 1..16 (outputs beyond n are not written), or
 * up to 16 * linear_panels[dtype], of panels that follow each other. y rows are y_stride floats
 * apart; x rows are records of act_row_bytes, x_stride_bytes apart; those of ACT_Q12 are whole
 * groups of such rows (layout/act.h), of which ACT_GROUP_SLACK bytes after the last are read.
 * Integer parts are exact; floats are added in ascending k, in chains that products.h tells. */
typedef void linear_fn(float *y, size_t y_stride, const void *panel, const void *x,
                       size_t x_stride_bytes, size_t m, size_t n, size_t k);

/* ---- attention over pages ---- */

#define KERNEL_ATTN_BLOCK ATTN_BLOCK_LEN /* positions in one step of the online softmax */
#define KERNEL_ATTN_SPLIT ATTN_SPLIT_LEN /* positions in a part; parts are merged in order */
#define KERNEL_ATTN_NEAR ATTN_NEAR_LEN   /* rows that see no more may go another way than others */
#define KERNEL_HEAD_DIM_MAX 1024u

/* Queries of one sequence against one KV head of one layer.
 *
 *   position p lies in page pages[p / 16]; its K row, if keys are not in columns, is
 *   k + pages[p / 16] * page_stride_bytes + (p % 16) * k_row_bytes       (V likewise)
 *
 * Row r attends positions [kv_begin[r], kv_end[r]); kv_begin < kv_end. For each row and head the
 * blocks of KERNEL_ATTN_BLOCK positions, aligned to absolute position 0, are reduced in ascending
 * order with a running maximum and sum; parts of KERNEL_ATTN_SPLIT positions start afresh and are
 * merged in ascending order. So the result depends neither on the other rows nor on who computes
 * which part. Positions outside a row's range are not used for it, whatever their memory holds.
 * Which of two ways a level goes may depend on whether kv_end is above KERNEL_ATTN_NEAR. */
typedef struct attention_args {
    float *out;     /* [n_rows][n_heads][v_dim], rows out_stride floats apart */
    const float *q; /* [n_rows][n_heads][k_dim], rows q_stride floats apart */
    size_t out_stride, q_stride;
    const uint8_t *k, *v;     /* this layer's and head's cache, page 0 position 0; v may be k (MLA:
                               * a value is the first v_dim of its key, v_row_bytes that of k) */
    size_t page_stride_bytes; /* same for K and V */
    size_t k_row_bytes, v_row_bytes;
    bool k_in_columns;        /* as kv_store_column leaves them (layout/page.h); not where v is k */
    const uint32_t *pages;    /* block table, indexed by position / 16 */
    const uint32_t *kv_begin; /* [n_rows] */
    const uint32_t *kv_end;   /* [n_rows] */
    const float *sinks;       /* [n_heads] extra logit in the denominator, or NULL */
    uint32_t n_rows;
    uint32_t n_heads; /* query heads of this KV head, stored next to each other */
    uint32_t k_dim, v_dim;
    float scale;   /* applied to q . k */
    float softcap; /* cap * tanh(s / cap) after the scale; 0 = none */

    /* To share a context between threads, and between rows. NULL: out is written. Otherwise only
     * positions [from, to) are attended, which lie in one part and begin and end a block; out and
     * sinks are left alone, and each row and head leaves its maximum, sum and accumulator for
     * attention_merge, the sum 0 where it saw nothing. When `from` does not begin the part, partial
     * holds what the part's positions before it left, and they go on from there. */
    float *partial; /* [n_rows][n_heads][2 + v_dim] */
    uint32_t from, to;
} attention_args;

/* Rows come with ascending (equal allowed) kv_end. */
typedef void attention_fn(const attention_args *args);

/* out <- partials [n_parts][n_rows][n_heads][2 + v_dim], the parts in ascending order without a
 * gap: the bits of one attention_fn call over all of them. Uses the args' out, sinks and shape. */
typedef void attention_merge_fn(const attention_args *args, const float *partials,
                                uint32_t n_parts);

/* dst <- src [n] in the cache's format; n is a multiple of the format's block_len. */
typedef void kv_store_fn(void *dst, const float *src, size_t n);
/* The same of position `at` of a page whose keys are in columns (layout/page.h). */
typedef void kv_store_column_fn(void *page, size_t at, const float *src, size_t n);

/* ---- row by row ---- */

/* y = x / sqrt(mean(x^2) + eps) * w; w may be NULL (all ones). y may be x. */
typedef void rmsnorm_fn(float *y, const float *x, const float *w, size_t n, float eps);
/* x += r, then y = rmsnorm of x: the bits of add and rmsnorm, one pass less. */
typedef void add_rmsnorm_fn(float *y, float *x, const float *r, const float *w, size_t n,
                            float eps);
/* y = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * w + b; b may be NULL. y may be x. */
typedef void layernorm_fn(float *y, const float *x, const float *w, const float *b, size_t n,
                          float eps);
/* y[i] = e^(x[i] - max(x)) / sum of those; y may be x. n is at least 1. */
typedef void softmax_fn(float *y, const float *x, size_t n);
/* index [k] <- where the k largest of x [n] are, largest first; of equals the first comes first.
 * 1 <= k <= n < 2^31. A NaN is not larger than anything: the indices are different in any case. */
typedef void topk_fn(uint32_t *index, const float *x, size_t n, size_t k);
/* y[i] += x[i] * s: two roundings. */
typedef void mul_add_fn(float *y, const float *x, float s, size_t n);
/* y[i] += x[i] */
typedef void add_fn(float *y, const float *x, size_t n);
/* y[i] = x[i] * s; y may be x */
typedef void scale_fn(float *y, const float *x, float s, size_t n);
/* y[i] = act(gate[i]) * up[i]; y may be gate */
typedef void act_mul_fn(float *y, const float *gate, const float *up, size_t n);
/* y[i] = cap * tanh(x[i] / cap); y may be x */
typedef void softcap_fn(float *y, const float *x, float cap, size_t n);

/* cos_sin [n_freqs][2] <- cos and sin of pos[axis[i]] * inv_freq[i], each times mscale. axis NULL
 * means axis 0 for all. The angle is formed in float32 as the reference implementations do. */
typedef void rope_table_fn(float *cos_sin, const int32_t *pos, const float *inv_freq,
                           const uint8_t *axis, size_t n_freqs, float mscale);

typedef enum rope_pairing {
    ROPE_HALVES, /* (i, i + n_freqs): GPT-NeoX order */
    ROPE_PAIRS,  /* (2i, 2i + 1): the original order, and GGUF llama weights */
    ROPE_PAIRING_COUNT
} rope_pairing;

/* Rotates, in place, the first 2 * n_freqs values of each of n_heads heads, head_stride apart. */
typedef void rope_fn(float *x, size_t n_heads, size_t head_stride, const float *cos_sin,
                     size_t n_freqs);

typedef enum act_kind {
    ACT_KIND_SILU,       /* g sigmoid(g) */
    ACT_KIND_GELU_TANH,  /* g / 2 (1 + tanh(sqrt(2 / pi) (g + 0.044715 g^3))) */
    ACT_KIND_GELU_ERF,   /* g / 2 (1 + erf(g / sqrt(2))) */
    ACT_KIND_GELU_QUICK, /* g sigmoid(1.702 g) */
    ACT_KIND_SIGMOID,
    ACT_KIND_COUNT
} act_kind;

typedef struct kernels_cpu {
    pack_panel_fn *pack_panel[WEFT_DTYPE_COUNT]; /* NULL exactly where !pack_is_supported */
    unpack_panel_fn *unpack_panel[WEFT_DTYPE_COUNT];
    panel_row_fn *panel_row[WEFT_DTYPE_COUNT];
    linear_fn *linear[WEFT_DTYPE_COUNT];
    /* Where it is set: m rows of two records each, x_stride_bytes from one to the next. An output
     * is the sum of what linear computes for both. */
    linear_fn *linear_precise[WEFT_DTYPE_COUNT];
    linear_fn *linear_bf16_pairs; /* BF16 weights, rows in ACT_BF16: kernels_cpu_use_bf16 */
    act_quantize_fn *act_quantize[ACT_FORM_COUNT]; /* ACT_F32 copies */
    act_residual_fn *act_residual[ACT_FORM_COUNT]; /* set for ACT_Q8, ACT_Q8_256, ACT_STEPS */
    attention_fn *attention[WEFT_DTYPE_COUNT];     /* set for F32, F16, Q8_0, Q4_0 */
    attention_merge_fn *attention_merge;
    kv_store_fn *kv_store[WEFT_DTYPE_COUNT]; /* the same formats */
    /* Where it is set, attention wants keys in columns; elsewhere, and where they hold the values
     * as well, they are rows. */
    kv_store_column_fn *kv_store_column[WEFT_DTYPE_COUNT];
    rmsnorm_fn *rmsnorm;
    add_rmsnorm_fn *add_rmsnorm;
    layernorm_fn *layernorm;
    softmax_fn *softmax;
    topk_fn *topk;
    mul_add_fn *mul_add;
    add_fn *add;
    scale_fn *scale;
    act_mul_fn *act_mul[ACT_KIND_COUNT];
    softcap_fn *softcap;
    rope_table_fn *rope_table;
    rope_fn *rope[ROPE_PAIRING_COUNT];

    /* After the functions: the form of x that linear[dtype] reads. */
    act_form act_form[WEFT_DTYPE_COUNT];
    /* How many panels linear[dtype] takes at once, 1 to KERNEL_PANELS_MAX. */
    uint32_t linear_panels[WEFT_DTYPE_COUNT];
    /* Rows that leave no tile of a product half full: a chunk of rows is best a multiple. */
    uint32_t linear_rows;
} kernels_cpu;

/* Pure: same flags, same table. Flags are an argument so that a test can build any table. */
void kernels_cpu_init(kernels_cpu *k, uint32_t cpu_flags);

/* BF16 weights multiply rows of bf16 from now on. False, and nothing is changed, where the table's
 * flags have no instruction that does. */
bool kernels_cpu_use_bf16(kernels_cpu *k);

#endif /* WEFT_KERNELS_KERNELS_H */
