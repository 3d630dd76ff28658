/* loader.c - finds a tensor by name, checks it, lays it out on the device.
 *
 * Device memory comes from one allocation that the plan sized: every tensor takes
 * plan_tensor_bytes of it, in the order it is asked for. Once a part of a tensor is packed its
 * mapped pages are given back to the system, so that a loading model never holds two copies of more
 * than a few megabytes. The gaps between tensors keep the zeros of fresh memory.
 */
#include "model/loader.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/checksum.h"
#include "base/log.h"
#include "base/mem.h"
#include "layout/pack.h"
#include "plan/shard.h"
#include "tensor/quant.h"

#define NAME_BYTES 96
#define VECTOR_MAX (1u << 20)
#define SLICE_BYTES ((size_t)8 << 20)
#define SEAM_BYTES ((uint64_t)64 << 10)

void loader_set_layer(loader *ld, uint32_t layer) { ld->layer = layer; }

static void full_name(const loader *ld, const char *name, const char *suffix,
                      char out[NAME_BYTES]) {
    if (ld->layer == LOADER_GLOBAL) {
        snprintf(out, NAME_BYTES, "%s.%s", name, suffix);
    } else {
        snprintf(out, NAME_BYTES, "blk.%u.%s.%s", ld->layer, name, suffix);
    }
}

static void shape_text(const weights_tensor *t, char *out, size_t out_bytes) {
    size_t used = 0;
    for (uint32_t i = 0; i < t->n_dims && used < out_bytes; i++) {
        used += (size_t)snprintf(out + used, out_bytes - used, "[%llu]",
                                 (unsigned long long)t->dims[i]);
    }
}

/* Finds a tensor of shape [n][rows][cols], [rows][cols] when n is 0, [cols] when rows is 0 too. */
static weft_status find_stack(loader *ld, const char *name, uint32_t n, uint32_t rows,
                              uint32_t cols, const weights_tensor **out) {
    const weights_tensor *t = weights_find(ld->w, name);
    if (t == NULL) {
        return weft_fail(ld->err, WEFT_FORMAT, "%s: tensor '%s' is missing", weights_path(ld->w),
                         name);
    }
    const uint64_t dims[] = {n, rows, cols};
    const uint32_t n_dims = n > 0 ? 3 : rows > 0 ? 2 : 1;
    const bool fits = n_dims == 1 ? t->n_elements == cols && t->dims[0] == cols
                                  : t->n_dims == n_dims && memcmp(t->dims, dims + 3 - n_dims,
                                                                  n_dims * sizeof *dims) == 0;
    if (!fits) {
        char found[96], wanted[96];
        weights_tensor shape = {.n_dims = n_dims};
        memcpy(shape.dims, dims + 3 - n_dims, n_dims * sizeof *dims);
        shape_text(t, found, sizeof found);
        shape_text(&shape, wanted, sizeof wanted);
        return weft_fail(ld->err, WEFT_FORMAT, "%s: tensor '%s' is %s, wanted %s",
                         weights_path(ld->w), name, found, wanted);
    }
    *out = t;
    return WEFT_OK;
}

static weft_status find(loader *ld, const char *name, uint32_t rows, uint32_t cols,
                        const weights_tensor **out) {
    return find_stack(ld, name, 0, rows, cols, out);
}

static void *take(loader *ld, uint64_t bytes) {
    WEFT_ASSERT(bytes <= ld->memory_bytes - ld->used_bytes);
    void *p = ld->memory + ld->used_bytes;
    ld->used_bytes += bytes;
    return p;
}

/* Tells apart two loads that lay tensors out in a different order. */
static void note_order(loader *ld, const weights_tensor *t, const void *at) {
    const uint64_t place[] = {(uint64_t)((const char *)at - ld->memory), t->dtype, t->dims[0],
                              t->dims[1]};
    ld->order = checksum(t->name.data, t->name.len, ld->order);
    ld->order = checksum(place, sizeof place, ld->order);
}

static size_t index_of(const loader *ld, const weights_tensor *t) {
    return (size_t)(t - weights_tensor_at(ld->w, 0));
}

/* `bytes` more are done: tells whoever watches. */
static weft_status advance(loader *ld, uint64_t bytes) {
    ld->done_bytes += bytes;
    const model_load_options *o = ld->options;
    if (o != NULL && o->progress != NULL &&
        !o->progress(o->user, ld->done_bytes, ld->total_bytes)) {
        return weft_fail(ld->err, WEFT_CANCELLED, "%s: loading was cancelled", weights_path(ld->w));
    }
    return WEFT_OK;
}

/* t is done, of which the rank had n_bytes. */
static weft_status finish_tensor(loader *ld, const weights_tensor *t, uint64_t n_bytes) {
    ld->is_used[index_of(ld, t)] = 1;
    if (!ld->maps_weights) {
        weights_drop_pages(ld->w, t);
    }
    return advance(ld, n_bytes);
}

/* Packs a matrix slice by slice: a slice's mapped pages are given back before the next is read, so
 * that even a vocabulary's embedding is never in memory twice. */
static weft_status pack_slices(loader *ld, const weights_tensor *t, char *dst, tensor src,
                               device_weight *out) {
    const size_t panel_bytes = pack_panel_bytes(src.dtype, src.cols);
    const uint32_t n_panels = (uint32_t)(panel_bytes < SLICE_BYTES ? SLICE_BYTES / panel_bytes : 1);
    const uint32_t step = n_panels * PACK_PANEL_ROWS;
    weft_status status = WEFT_OK;
    for (uint32_t row = 0; row < src.rows && status == WEFT_OK; row += step) {
        tensor rows = src;
        const uint64_t from = (uint64_t)row * src.stride_bytes;
        rows.data = (char *)src.data + from;
        rows.rows = src.rows - row < step ? src.rows - row : step;
        (void)device_pack(ld->dev, dst + row / PACK_PANEL_ROWS * panel_bytes, rows);
        const uint64_t bytes = (uint64_t)rows.rows * src.stride_bytes;
        const uint64_t seam =
            from < SEAM_BYTES ? from : SEAM_BYTES; /* the page the last one left */
        weights_drop_bytes(ld->w, t, from - seam, bytes + seam);
        status = advance(ld, (uint64_t)rows.rows * dtype_row_bytes(src.dtype, src.cols));
    }
    ld->is_used[index_of(ld, t)] = 1;
    *out = (device_weight){.data = dst, .rows = src.rows, .cols = src.cols, .dtype = src.dtype};
    return status;
}

/* Packs the middle panel of a matrix again and compares: the packing of this build, on this file,
 * must give the bytes that are there. */
static weft_status compare_panel(loader *ld, const weights_tensor *t, const char *packed,
                                 tensor src) {
    const size_t panel_bytes = pack_panel_bytes(src.dtype, src.cols);
    const uint32_t panel = (uint32_t)pack_panel_count(src.rows) / 2;
    const uint32_t first = panel * PACK_PANEL_ROWS;
    const uint32_t left = src.rows - first;
    void *fresh = mem_array(MEM_MODEL, panel_bytes, 1);
    if (fresh == NULL) {
        return weft_fail(ld->err, WEFT_NOMEM, "out of memory for tensor '" STR_FMT "'",
                         STR_ARG(t->name));
    }
    src.data = (char *)src.data + first * src.stride_bytes;
    src.rows = left < PACK_PANEL_ROWS ? left : PACK_PANEL_ROWS;
    (void)device_pack(ld->dev, fresh, src);
    ld->is_unlike |= memcmp(fresh, packed + panel * panel_bytes, panel_bytes) != 0;
    mem_free(fresh);
    return finish_tensor(ld, t, t->n_bytes);
}

/* F32 numbers [1][n] of this load: written, or compared with those of an earlier one. */
static void put_vector(loader *ld, tensor t, const float *values) {
    if (ld->is_packed_already) {
        ld->is_unlike |= memcmp(t.data, values, t.cols * sizeof *values) != 0;
    } else {
        device_write(ld->dev, t, values);
    }
}

/* Matrices of one shape, which plan_make knows how to multiply with. Of those that are packed
 * already, the last one's middle panel is compared. */
static weft_status load_stack(loader *ld, const char *name, uint32_t n, uint32_t rows,
                              uint32_t cols, device_stack *out) {
    const weights_tensor *t = NULL;
    weights_tensor mine;
    weft_status status = find_stack(ld, name, n, rows, cols, &t);
    if (status == WEFT_OK) {
        status = shard_tensor(&mine, t, ld->whole, ld->rank, ld->err);
    }
    if (status != WEFT_OK) {
        return status;
    }
    const uint32_t count = n > 0 ? n : 1;
    tensor src = tensor_of((void *)(uintptr_t)mine.data, t->dtype,
                           (uint32_t)mine.dims[t->n_dims - 2], (uint32_t)mine.dims[t->n_dims - 1]);
    src.stride_bytes = dtype_row_bytes(t->dtype, cols); /* a rank's columns lie among the others' */
    if (ld->maps_weights) {
        *out = (device_stack){device_map(src), count};
        return finish_tensor(ld, t, mine.n_bytes);
    }
    void *dst = take(ld, plan_tensor_bytes(&mine));
    note_order(ld, t, dst);
    if (!ld->is_packed_already && n == 0) {
        out->n = 1;
        return pack_slices(ld, t, dst, src, &out->w);
    }
    if (!ld->is_packed_already) {
        *out = device_pack_stack(ld->dev, dst, &src, count);
        return finish_tensor(ld, t, mine.n_bytes);
    }
    *out =
        (device_stack){{.data = dst, .rows = src.rows, .cols = src.cols, .dtype = t->dtype}, count};
    src.data = (char *)src.data + (size_t)(count - 1) * src.rows * src.stride_bytes;
    return compare_panel(ld, t, device_stack_at(out, count - 1).data, src);
}

static weft_status load_matrix(loader *ld, const char *name, uint32_t rows, uint32_t cols,
                               device_weight *out) {
    device_stack stack = {0};
    const weft_status status = load_stack(ld, name, 0, rows, cols, &stack);
    *out = stack.w;
    return status;
}

/* F32 numbers of a vector, on the host; freed with mem_free. */
static weft_status read_floats(loader *ld, const weights_tensor *t, float **out) {
    if (t->n_elements > VECTOR_MAX || !quant_can_dequantize(t->dtype)) {
        return weft_fail(ld->err, WEFT_UNSUPPORTED,
                         "%s: tensor '" STR_FMT "' has %llu values of type %s, wanted a vector of "
                         "numbers",
                         weights_path(ld->w), STR_ARG(t->name), (unsigned long long)t->n_elements,
                         weft_dtype_info_of(t->dtype)->name);
    }
    float *values = mem_array(MEM_MODEL, t->n_elements, sizeof *values);
    if (values == NULL) {
        return weft_fail(ld->err, WEFT_NOMEM, "out of memory for tensor '" STR_FMT "'",
                         STR_ARG(t->name));
    }
    quant_dequantize(t->dtype, values, t->data, t->n_elements);
    *out = values;
    return WEFT_OK;
}

/* A vector of n values; *out stays as it is where the rank has none of it. */
static weft_status load_vector(loader *ld, const char *name, uint32_t n, tensor *out) {
    const weights_tensor *t = NULL;
    weights_tensor mine;
    float *values = NULL;
    weft_status status = find(ld, name, 0, n, &t);
    if (status == WEFT_OK) {
        status = shard_tensor(&mine, t, ld->whole, ld->rank, ld->err);
    }
    if (status == WEFT_OK && mine.n_elements > 0) {
        status = read_floats(ld, &mine, &values);
    }
    if (status != WEFT_OK) {
        return status;
    }
    if (mine.n_elements > 0) {
        *out = tensor_of(take(ld, plan_tensor_bytes(&mine)), WEFT_DTYPE_F32, 1,
                         (uint32_t)mine.n_elements);
        note_order(ld, t, out->data);
        put_vector(ld, *out, values);
        mem_free(values);
    }
    return finish_tensor(ld, t, mine.n_bytes);
}

weft_status loader_linear(loader *ld, const char *name, uint32_t rows, uint32_t cols, linear *out) {
    char full[NAME_BYTES];
    *out = (linear){0};
    full_name(ld, name, "weight", full);
    const weft_status status = load_matrix(ld, full, rows, cols, &out->w);
    if (status != WEFT_OK) {
        return status;
    }
    full_name(ld, name, "bias", full);
    return weights_find(ld->w, full) == NULL ? WEFT_OK : load_vector(ld, full, rows, &out->bias);
}

weft_status loader_vector(loader *ld, const char *name, uint32_t n, tensor *out) {
    char full[NAME_BYTES];
    full_name(ld, name, "weight", full);
    return load_vector(ld, full, n, out);
}

weft_status loader_vector_if_any(loader *ld, const char *name, uint32_t n, tensor *out) {
    char full[NAME_BYTES];
    *out = (tensor){0};
    full_name(ld, name, "weight", full);
    return weights_find(ld->w, full) == NULL ? WEFT_OK : load_vector(ld, full, n, out);
}

typedef struct linear_part {
    const char *name;
    uint32_t rows, cols;
    linear *out;
} linear_part;

static weft_status load_linears(loader *ld, const linear_part *parts, size_t n) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < n && status == WEFT_OK; i++) {
        status = loader_linear(ld, parts[i].name, parts[i].rows, parts[i].cols, parts[i].out);
    }
    return status;
}

weft_status loader_attention(loader *ld, const geometry *g, attention_layer *out) {
    const linear_part parts[] = {
        {"attn_q", g->n_heads * g->k_dim, g->n_embd, &out->q},
        {"attn_k", g->n_kv_heads * g->k_dim, g->n_embd, &out->k},
        {"attn_v", g->n_kv_heads * g->v_dim, g->n_embd, &out->v},
        {"attn_output", g->n_embd, g->n_heads * g->v_dim, &out->o},
    };
    weft_status status = load_linears(ld, parts, WEFT_LEN(parts));
    out->k.w.input = out->v.w.input = DEVICE_INPUT_KEPT;
    out->o.w.input = DEVICE_INPUT_TAILED;
    if (status == WEFT_OK) {
        status = loader_vector_if_any(ld, "attn_q_norm", g->k_dim, &out->q_norm);
    }
    if (status == WEFT_OK) {
        status = loader_vector_if_any(ld, "attn_k_norm", g->k_dim, &out->k_norm);
    }
    return status;
}

weft_status loader_ffn(loader *ld, const geometry *g, ffn_layer *out) {
    const linear_part parts[] = {
        {"ffn_gate", g->n_ff, g->n_embd, &out->gate},
        {"ffn_up", g->n_ff, g->n_embd, &out->up},
        {"ffn_down", g->n_embd, g->n_ff, &out->down},
    };
    const weft_status status = load_linears(ld, parts, WEFT_LEN(parts));
    out->down.w.input = DEVICE_INPUT_TAILED;
    return status;
}

weft_status loader_experts(loader *ld, const geometry *g, experts_layer *out) {
    const uint32_t n = g->routing.n_experts, n_ff = g->n_ff_expert;
    const struct {
        const char *name;
        uint32_t rows, cols;
        device_stack *out;
    } parts[] = {
        {"ffn_gate_exps", n_ff, g->n_embd, &out->gate},
        {"ffn_up_exps", n_ff, g->n_embd, &out->up},
        {"ffn_down_exps", g->n_embd, n_ff, &out->down},
    };
    weft_status status = loader_linear(ld, "ffn_gate_inp", n, g->n_embd, &out->router);
    for (size_t i = 0; i < WEFT_LEN(parts) && status == WEFT_OK; i++) {
        char full[NAME_BYTES];
        full_name(ld, parts[i].name, "weight", full);
        status = load_stack(ld, full, n, parts[i].rows, parts[i].cols, parts[i].out);
    }
    out->down.w.input = DEVICE_INPUT_TAILED;
    return status;
}

/* The divisors of "llama3" scaling, made by the converter: one a frequency. */
static weft_status read_factors(loader *ld, uint32_t n_freqs, float **out) {
    const weights_tensor *t = NULL;
    weft_status status = find(ld, "rope_freqs.weight", 0, n_freqs, &t);
    if (status != WEFT_OK) {
        return status;
    }
    ld->is_used[index_of(ld, t)] = 1;
    status = read_floats(ld, t, out);
    for (uint32_t i = 0; i < n_freqs && status == WEFT_OK; i++) {
        if (!isfinite((*out)[i]) || (*out)[i] <= 0.0f) {
            status = weft_fail(ld->err, WEFT_FORMAT,
                               "%s: rope_freqs.weight[%u] is %g, wanted a number above 0",
                               weights_path(ld->w), i, (double)(*out)[i]);
        }
    }
    return status;
}

/* The frequency that turns n times in the original context, as a fraction of an index. */
static double yarn_index(const geometry_rope *r, double n) {
    const double turn = 2.0 * acos(-1.0);
    return r->n_dims * log(r->yarn.ctx_original / (n * turn)) / (2.0 * log((double)r->base));
}

/* How much of frequency i is divided by the factor, 0 to 1. The ramp's ends are whole indices, and
 * bounded as all implementations do, by n_dims - 1. */
static double yarn_share(const geometry_rope *r, uint32_t i) {
    const double low = fmax(floor(yarn_index(r, r->yarn.beta_fast)), 0.0);
    const double high = fmin(ceil(yarn_index(r, r->yarn.beta_slow)), r->n_dims - 1.0);
    const double width = high > low ? high - low : 0.001;
    const double along = fmin(fmax((i - low) / width, 0.0), 1.0);
    return 1.0 - (1.0 - along) * (double)r->yarn.ramp;
}

static float frequency(const geometry_rope *r, uint32_t i, const float *factors) {
    const double plain = 1.0 / pow((double)r->base, 2.0 * i / r->n_dims);
    if (r->scaling == ROPE_SCALING_YARN) {
        const double share = yarn_share(r, i);
        return (float)(plain / (double)r->factor * share + plain * (1.0 - share));
    }
    return (float)plain / (factors != NULL ? factors[i] * r->factor : r->factor);
}

weft_status loader_rope(loader *ld, const geometry_rope *r, rope_pairing pairing, rope_layer *out) {
    const uint32_t n_freqs = r->n_dims / 2;
    float *factors = NULL;
    weft_status status = WEFT_OK;
    if (r->scaling == ROPE_SCALING_FACTORS) {
        status = read_factors(ld, n_freqs, &factors);
    }
    float *freqs = mem_array(MEM_MODEL, n_freqs, sizeof *freqs);
    if (status == WEFT_OK && freqs == NULL) {
        status = weft_fail(ld->err, WEFT_NOMEM, "out of memory for %u rope frequencies", n_freqs);
    }
    if (status == WEFT_OK) {
        for (uint32_t i = 0; i < n_freqs; i++) {
            freqs[i] = frequency(r, i, factors);
        }
        out->inv_freq = tensor_of(take(ld, plan_rope_bytes(r)), WEFT_DTYPE_F32, 1, n_freqs);
        out->pairing = pairing;
        out->mscale = r->mscale;
        put_vector(ld, out->inv_freq, freqs);
    }
    mem_free(freqs);
    mem_free(factors);
    return status;
}

/* A factor of another tensor's values: without it the model would answer, wrongly. */
static bool is_scale(str name) {
    return str_ends_with(name, STR_LIT(".scale")) || str_ends_with(name, STR_LIT("_scale"));
}

weft_status loader_check_unused(const loader *ld) {
    for (size_t i = 0; i < weights_tensor_count(ld->w); i++) {
        const str name = weights_tensor_at(ld->w, i)->name;
        if (ld->is_used[i]) {
            continue;
        }
        if (is_scale(name)) {
            return weft_fail(ld->err, WEFT_UNSUPPORTED,
                             "%s: tensor '" STR_FMT "' scales another one, which is not supported",
                             weights_path(ld->w), STR_ARG(name));
        }
        LOG_WARN("%s: tensor '" STR_FMT "' is not used by this architecture", weights_path(ld->w),
                 STR_ARG(name));
    }
    return WEFT_OK;
}
