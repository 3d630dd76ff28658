/* attention_ref.c - attention over pages in plain C, one row and one head at a time.
 *
 * The reduction has two levels, both anchored at absolute position 0. A part (KERNEL_ATTN_SPLIT
 * positions) is reduced block by block (KERNEL_ATTN_BLOCK) with a running maximum m, sum l and
 * accumulator acc:
 *
 *   m' = max(m, max of the block's scores)     p[j] = exp(s[j] - m')
 *   l  = l * exp(m - m') + sum of p            acc = acc * exp(m - m') + sum of p[j] * v[j]
 *
 * and parts are merged in ascending order by the same rule. A part alone therefore leaves the
 * same bits that it has inside the whole, and parts may be computed by different threads.
 *
 * The state of one row and head is a record of v_dim + 2 floats: m, l, acc. It is also what
 * attention_args.partial holds. l is 0 until the first position.
 *
 * Positions outside the row's range are never read: their memory may hold anything.
 */
#include <math.h>
#include <string.h>

#include "kernels/ref/kernels_ref.h"
#include "tensor/quant.h"

#define RECORD_MAX (KERNEL_HEAD_DIM_MAX + 2u)

static void attend(const attention_args *a, weft_dtype dtype);
static void attend_row(const attention_args *a, weft_dtype dtype, uint32_t row, uint32_t head);
static void attend_range(const attention_args *a, weft_dtype dtype, uint32_t row, uint32_t head,
                         uint32_t from, uint32_t to, float *record);
static void attend_block(const attention_args *a, weft_dtype dtype, const float *q, uint32_t begin,
                         uint32_t end, float *record);
/* into <- both; a part without positions has the sum 0 and changes nothing. */
static void record_merge(float *into, const float *part, size_t v_dim);
/* out [v_dim] <- the record's average. A sink (or NULL) is one more logit in the denominator whose
 * value vector is zero. */
static void record_finish(float *out, const float *record, const float *sink, size_t v_dim);

void attention_f32_ref(const attention_args *args) { attend(args, WEFT_DTYPE_F32); }
void attention_f16_ref(const attention_args *args) { attend(args, WEFT_DTYPE_F16); }
void attention_q8_0_ref(const attention_args *args) { attend(args, WEFT_DTYPE_Q8_0); }
void attention_q4_0_ref(const attention_args *args) { attend(args, WEFT_DTYPE_Q4_0); }

void attention_merge_f32_ref(const attention_args *a, const float *partials, uint32_t n_parts) {
    const size_t record_len = (size_t)a->v_dim + 2;
    const size_t part_len = (size_t)a->n_rows * a->n_heads * record_len;
    for (uint32_t r = 0; r < a->n_rows; r++) {
        for (uint32_t h = 0; h < a->n_heads; h++) {
            const float *first = partials + ((size_t)r * a->n_heads + h) * record_len;
            float sum[RECORD_MAX] = {-INFINITY};
            for (uint32_t part = 0; part < n_parts; part++) {
                record_merge(sum, first + part * part_len, a->v_dim);
            }
            record_finish(a->out + r * a->out_stride + (size_t)h * a->v_dim, sum,
                          a->sinks != NULL ? &a->sinks[h] : NULL, a->v_dim);
        }
    }
}

static void attend(const attention_args *a, weft_dtype dtype) {
    const size_t record_len = (size_t)a->v_dim + 2;
    for (uint32_t r = 0; r < a->n_rows; r++) {
        for (uint32_t h = 0; h < a->n_heads; h++) {
            if (a->partial != NULL) {
                attend_range(a, dtype, r, h, a->from, a->to,
                             a->partial + ((size_t)r * a->n_heads + h) * record_len);
            } else {
                attend_row(a, dtype, r, h);
            }
        }
    }
}

static void attend_row(const attention_args *a, weft_dtype dtype, uint32_t row, uint32_t head) {
    const uint32_t part_first = a->kv_begin[row] / KERNEL_ATTN_SPLIT;
    const uint32_t part_last = (a->kv_end[row] - 1) / KERNEL_ATTN_SPLIT;
    float sum[RECORD_MAX] = {-INFINITY};
    for (uint32_t part = part_first; part <= part_last; part++) {
        float record[RECORD_MAX];
        attend_range(a, dtype, row, head, part * KERNEL_ATTN_SPLIT, (part + 1) * KERNEL_ATTN_SPLIT,
                     record);
        record_merge(sum, record, a->v_dim);
    }
    record_finish(a->out + row * a->out_stride + (size_t)head * a->v_dim, sum,
                  a->sinks != NULL ? &a->sinks[head] : NULL, a->v_dim);
}

static void attend_range(const attention_args *a, weft_dtype dtype, uint32_t row, uint32_t head,
                         uint32_t from, uint32_t to, float *record) {
    const uint32_t begin = a->kv_begin[row] > from ? a->kv_begin[row] : from;
    const uint32_t end = a->kv_end[row] < to ? a->kv_end[row] : to;
    const float *q = a->q + row * a->q_stride + (size_t)head * a->k_dim;
    if (from % KERNEL_ATTN_SPLIT == 0) {
        memset(record, 0, ((size_t)a->v_dim + 2) * sizeof(float));
        record[0] = -INFINITY;
    }
    for (uint32_t at = begin; at < end;) {
        const uint32_t block_end = (at / KERNEL_ATTN_BLOCK + 1) * KERNEL_ATTN_BLOCK;
        const uint32_t stop = block_end < end ? block_end : end;
        attend_block(a, dtype, q, at, stop, record);
        at = stop;
    }
}

/* Row of the cache at a position, as float. */
static void load_row(const attention_args *a, weft_dtype dtype, float *dst, const uint8_t *base,
                     size_t row_bytes, uint32_t position, size_t dim) {
    const size_t page = a->pages[position / PAGE_TOKENS];
    quant_dequantize(dtype, dst,
                     base + page * a->page_stride_bytes + position % PAGE_TOKENS * row_bytes, dim);
}

static void attend_block(const attention_args *a, weft_dtype dtype, const float *q, uint32_t begin,
                         uint32_t end, float *record) {
    float row[KERNEL_HEAD_DIM_MAX], scores[KERNEL_ATTN_BLOCK];
    float *acc = record + 2;
    float m = record[0];
    for (uint32_t p = begin; p < end; p++) {
        load_row(a, dtype, row, a->k, a->k_row_bytes, p, a->k_dim);
        double dot = 0.0;
        for (uint32_t i = 0; i < a->k_dim; i++) {
            dot += (double)q[i] * (double)row[i];
        }
        float s = (float)dot * a->scale;
        if (a->softcap != 0.0f) {
            s = a->softcap * tanhf(s / a->softcap);
        }
        scores[p - begin] = s;
        m = s > m ? s : m;
    }
    const float decay = expf(record[0] - m);
    float sum = 0.0f;
    for (uint32_t i = 0; i < a->v_dim; i++) {
        acc[i] *= decay;
    }
    for (uint32_t p = begin; p < end; p++) {
        const float weight = expf(scores[p - begin] - m);
        sum += weight;
        load_row(a, dtype, row, a->v, a->v_row_bytes, p, a->v_dim);
        for (uint32_t i = 0; i < a->v_dim; i++) {
            acc[i] += weight * row[i];
        }
    }
    record[0] = m;
    record[1] = record[1] * decay + sum;
}

static void record_merge(float *into, const float *part, size_t v_dim) {
    if (part[1] == 0.0f) {
        return;
    }
    if (into[1] == 0.0f) {
        memcpy(into, part, (v_dim + 2) * sizeof(float));
        return;
    }
    const float m = part[0] > into[0] ? part[0] : into[0];
    const float keep = expf(into[0] - m), add = expf(part[0] - m);
    into[0] = m;
    for (size_t i = 1; i < v_dim + 2; i++) { /* l and acc alike */
        into[i] = into[i] * keep + part[i] * add;
    }
}

static void record_finish(float *out, const float *record, const float *sink, size_t v_dim) {
    float scale = 1.0f / record[1];
    if (sink != NULL) {
        const float m = *sink > record[0] ? *sink : record[0];
        const float keep = expf(record[0] - m);
        scale = keep / (record[1] * keep + expf(*sink - m));
    }
    for (size_t i = 0; i < v_dim; i++) {
        out[i] = record[2 + i] * scale;
    }
}
