/* check_attention.c - attention over pages against a double softmax over the whole context.
 *
 * The cache is stored by quant.h and the oracle sees the values that come back from it, so that
 * only the kernel's own arithmetic is measured: normalised mean square error below 1e-10 for every
 * format (a score of 30 carries a float32 rounding error of 2e-6, and so does its weight). Pages
 * are dealt in shuffled order; pages that belong to nobody and positions that no row sees hold
 * NaN. Beyond the numbers the contract promises bits: of a row alone, of pages in order, and of
 * parts computed one by one and merged, and of values inside their keys or stored again.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/os.h"
#include "kcheck.h"
#include "tensor/quant.h"

#define PAGE PAGE_TOKENS

typedef struct shape {
    uint32_t n_rows, n_heads, k_dim, v_dim;
    uint32_t kv_end; /* of the last row; the row before it ends one earlier */
    uint32_t window; /* 0: everything before */
    float softcap;
    bool has_sinks;
    bool is_latent;  /* a value is the first v_dim of its key */
    bool in_columns; /* keys are; set where a level wants that */
} shape;

static const shape shapes[] = {
    {1, 1, 64, 64, 1, 0, 0.0f, false, false, false},
    {1, 3, 64, 64, 63, 0, 0.0f, false, false, false},
    {1, 3, 64, 64, 64, 0, 0.0f, true, false, false},
    {1, 4, 64, 64, 65, 0, 0.0f, false, false, false},
    {1, 8, 128, 128, 700, 0, 0.0f, false, false, false},
    {2, 1, 128, 128, 130, 0, 50.0f, false, false, false},
    {5, 3, 64, 64, 77, 0, 0.0f, true, false, false},
    {7, 4, 256, 256, 200, 0, 0.0f, false, false, false},
    {16, 1, 64, 64, 16, 0, 0.0f, false, false, false},
    {23, 8, 64, 64, 301, 0, 0.0f, false, false, false},
    {64, 3, 64, 64, 64, 0, 0.0f, false, false, false},
    {70, 3, 64, 64, 230, 0, 0.0f, false, false, false},
    {70, 3, 64, 64, 583, 0, 0.0f, false, false, false},
    {70, 1, 128, 128, 190, 100, 0.0f, false, false, false},
    {33, 4, 256, 256, 600, 67, 0.0f, true, false, false},
    {9, 8, 80, 80, 1100, 0, 0.0f, false, false, false},
    {3, 2, 96, 64, 555, 513, 30.0f, true, false, false},
    {40, 3, 64, 64, 1500, 5, 0.0f, false, false, false},
    {4, 16, 576, 512, 530, 0, 0.0f, false, true, false},
    {2, 20, 1024, 1024, 90, 0, 0.0f, false, false, false},
    {3, 2, 76, 52, 140, 90, 0.0f, true, false, false},
    {2, 3, 7, 5, 600, 0, 0.0f, false, false, false},
    {1, 128, 576, 512, 75, 0, 0.0f, false, true, false},
    {2, 4, 72, 40, 90, 0, 0.0f, false, false, false},
    {2, 3, 160, 96, 150, 0, 0.0f, false, false, false},
    {5, 3, 192, 96, 140, 70, 0.0f, false, false, false},
};

/* A cache and queries for one shape. */
typedef struct context {
    attention_args args;
    weft_dtype dtype;
    uint32_t n_pages; /* of the table */
    size_t page_bytes, pool_bytes;
    uint8_t *pool;
    double *k, *v; /* [kv_end][dim], as the cache returns them */
} context;

static size_t row_bytes_of(weft_dtype dtype, uint32_t dim) {
    const weft_dtype_info *info = weft_dtype_info_of(dtype);
    return (size_t)dim / info->block_len * info->block_bytes;
}

static uint8_t *row_at(const context *c, const uint8_t *pool, bool is_value, uint32_t position) {
    const size_t at = c->args.pages[position / PAGE] * c->page_bytes;
    const size_t in_page = position % PAGE;
    return (uint8_t *)pool + at +
           (is_value ? (size_t)(c->args.v - c->args.k) + in_page * c->args.v_row_bytes
                     : in_page * c->args.k_row_bytes);
}

static void fill_row(kcheck *kc, const context *c, bool is_value, uint32_t position) {
    float row[KERNEL_HEAD_DIM_MAX];
    const uint32_t dim = is_value ? c->args.v_dim : c->args.k_dim;
    uint8_t key[KERNEL_HEAD_DIM_MAX * sizeof(float)];
    const bool is_column = !is_value && c->args.k_in_columns;
    uint8_t *stored = is_column ? key : row_at(c, c->pool, is_value, position);
    if (!is_value || c->args.v != c->args.k) {
        kc_fill(kc, row, dim, position % 7 == 3 ? KC_OUTLIER : KC_GAUSS);
        quant_quantize(c->dtype, stored, row, dim);
    }
    for (size_t i = 0; is_column && i < c->args.k_row_bytes; i++) {
        const size_t at = c->args.pages[position / PAGE] * c->page_bytes;
        c->pool[at + page_column_byte(c->dtype, i, position % PAGE)] = key[i];
    }
    quant_dequantize(c->dtype, row, stored, dim);
    double *want = (is_value ? c->v : c->k) + (size_t)position * dim;
    for (uint32_t i = 0; i < dim; i++) {
        want[i] = (double)row[i];
    }
}

/* Two pages more than needed, dealt at random. */
static uint32_t *deal_pages(kcheck *kc, uint32_t n) {
    uint32_t *deck = kc_scratch(kc, (n + 2) * sizeof(uint32_t));
    for (uint32_t i = 0; i < n + 2; i++) {
        deck[i] = i;
    }
    for (uint32_t i = n + 1; i > 0; i--) {
        const uint32_t j = kc_below(kc, i + 1), other = deck[j];
        deck[j] = deck[i];
        deck[i] = other;
    }
    uint32_t *pages = kc_in(kc, n * sizeof(uint32_t), 4);
    memcpy(pages, deck, n * sizeof(uint32_t));
    return pages;
}

static void make_ranges(kcheck *kc, context *c, const shape *s) {
    uint32_t *begin = kc_in(kc, s->n_rows * sizeof(uint32_t), 4);
    uint32_t *end = kc_in(kc, s->n_rows * sizeof(uint32_t), 4);
    for (uint32_t r = 0; r < s->n_rows; r++) {
        end[r] = s->kv_end - (s->n_rows - 1 - r);
        begin[r] = s->window != 0 && end[r] > s->window ? end[r] - s->window : 0;
    }
    c->args.kv_begin = begin;
    c->args.kv_end = end;
}

static void make_context(kcheck *kc, context *c, weft_dtype dtype, const shape *s) {
    const size_t k_row = row_bytes_of(dtype, s->k_dim);
    const size_t v_row = s->is_latent ? k_row : row_bytes_of(dtype, s->v_dim);
    *c = (context){.dtype = dtype};
    c->n_pages = (s->kv_end + PAGE - 1) / PAGE;
    c->page_bytes = PAGE * (s->is_latent ? k_row : k_row + v_row);
    c->pool_bytes = (c->n_pages + 2) * c->page_bytes;
    c->pool = kc_in(kc, c->pool_bytes, dtype == WEFT_DTYPE_F32 ? 4 : 2);
    memset(c->pool, 0xFF, c->pool_bytes); /* NaN in every format */
    c->k = kc_scratch(kc, (size_t)s->kv_end * s->k_dim * sizeof(double));
    c->v = kc_scratch(kc, (size_t)s->kv_end * s->v_dim * sizeof(double));
    c->args = (attention_args){
        .out_stride = (size_t)s->n_heads * s->v_dim + 3,
        .q_stride = (size_t)s->n_heads * s->k_dim + 5,
        .k = c->pool,
        .v = c->pool + (s->is_latent ? 0 : PAGE * k_row),
        .page_stride_bytes = c->page_bytes,
        .k_row_bytes = k_row,
        .v_row_bytes = v_row,
        .k_in_columns = s->in_columns,
        .n_rows = s->n_rows,
        .n_heads = s->n_heads,
        .k_dim = s->k_dim,
        .v_dim = s->v_dim,
        .scale = 1.0f / sqrtf((float)s->k_dim),
        .softcap = s->softcap,
    };
    attention_args *a = &c->args;
    a->pages = deal_pages(kc, c->n_pages);
    make_ranges(kc, c, s);
    for (uint32_t p = a->kv_begin[0]; p < s->kv_end; p++) {
        fill_row(kc, c, false, p);
        fill_row(kc, c, true, p);
    }
    a->q = kc_floats(kc, (s->n_rows - 1) * a->q_stride + (size_t)s->n_heads * s->k_dim, KC_GAUSS);
    a->sinks = s->has_sinks ? kc_floats(kc, s->n_heads, KC_GAUSS) : NULL;
    a->out = kc_out_rows(kc, s->n_rows, (size_t)s->n_heads * s->v_dim * sizeof(float),
                         a->out_stride * sizeof(float), 4);
}

/* One row and head in double: scores, softmax over all of them, weighted values. */
static void want_query(const context *c, double *out, double *scores, uint32_t row, uint32_t head) {
    const attention_args *a = &c->args;
    const float *q = a->q + row * a->q_stride + (size_t)head * a->k_dim;
    double most = a->sinks != NULL ? (double)a->sinks[head] : -INFINITY;
    for (uint32_t p = a->kv_begin[row]; p < a->kv_end[row]; p++) {
        double s = 0.0;
        for (uint32_t i = 0; i < a->k_dim; i++) {
            s += (double)q[i] * c->k[(size_t)p * a->k_dim + i];
        }
        s *= (double)a->scale;
        s = a->softcap != 0.0f ? (double)a->softcap * tanh(s / (double)a->softcap) : s;
        scores[p] = s;
        most = fmax(most, s);
    }
    double sum = a->sinks != NULL ? exp((double)a->sinks[head] - most) : 0.0;
    memset(out, 0, a->v_dim * sizeof(double));
    for (uint32_t p = a->kv_begin[row]; p < a->kv_end[row]; p++) {
        const double weight = exp(scores[p] - most);
        sum += weight;
        for (uint32_t i = 0; i < a->v_dim; i++) {
            out[i] += weight * c->v[(size_t)p * a->v_dim + i];
        }
    }
    for (uint32_t i = 0; i < a->v_dim; i++) {
        out[i] /= sum;
    }
}

static void compare_values(kcheck *kc, const context *c) {
    const attention_args *a = &c->args;
    double *want = kc_scratch(kc, a->v_dim * sizeof(double));
    double *scores = kc_scratch(kc, a->kv_end[a->n_rows - 1] * sizeof(double));
    for (uint32_t r = 0; r<a->n_rows; r += a->n_rows> 30 ? 3 : 1) {
        for (uint32_t h = 0; h < a->n_heads; h++) {
            want_query(c, want, scores, r, h);
            kc_nmse(kc, want, a->out + r * a->out_stride + (size_t)h * a->v_dim, a->v_dim, 1e-10);
        }
    }
}

/* A row by itself, and two consecutive rows, leave the bits they had among all. */
static void compare_alone(kcheck *kc, attention_fn *attention, const context *c) {
    const size_t row_len = (size_t)c->args.n_heads * c->args.v_dim;
    float *got = kc_scratch(kc, 2 * row_len * sizeof(float));
    for (uint32_t r = 0; r < c->args.n_rows; r += 1 + c->args.n_rows / 9) {
        attention_args a = c->args;
        a.n_rows = r + 1 < c->args.n_rows && r % 2 == 1 ? 2 : 1;
        a.out = got;
        a.out_stride = row_len;
        a.q += r * a.q_stride;
        a.kv_begin += r;
        a.kv_end += r;
        attention(&a);
        for (uint32_t i = 0; i < a.n_rows; i++) {
            kc_bits(kc, c->args.out + (r + i) * c->args.out_stride, got + i * row_len,
                    row_len * sizeof(float));
        }
    }
}

/* The arguments give the first n_rows of c's output, bit for bit. Returns all of theirs. */
static const float *expect_bits(kcheck *kc, attention_fn *attention, const context *c,
                                attention_args a, uint32_t n_rows) {
    const size_t row_len = (size_t)a.n_heads * a.v_dim;
    float *got = kc_scratch(kc, a.n_rows * row_len * sizeof(float));
    a.out = got;
    a.out_stride = row_len;
    attention(&a);
    for (uint32_t r = 0; r < n_rows; r++) {
        kc_bits(kc, c->args.out + r * c->args.out_stride, got + r * row_len,
                row_len * sizeof(float));
    }
    return got;
}

/* The same content in pages 0, 1, 2, ... */
static void compare_in_order(kcheck *kc, attention_fn *attention, const context *c) {
    uint32_t *pages = kc_scratch(kc, c->n_pages * sizeof(uint32_t));
    uint8_t *pool = kc_scratch(kc, c->n_pages * c->page_bytes);
    for (uint32_t i = 0; i < c->n_pages; i++) {
        pages[i] = i;
        memcpy(pool + i * c->page_bytes, c->pool + c->args.pages[i] * c->page_bytes, c->page_bytes);
    }
    attention_args a = c->args;
    a.pages = pages;
    a.v = pool + (a.v - a.k);
    a.k = pool;
    (void)expect_bits(kc, attention, c, a, c->args.n_rows);
}

/* Values that are the first part of their keys, stored again beside them. */
static void compare_apart(kcheck *kc, attention_fn *attention, const context *c) {
    const size_t k_row = c->args.k_row_bytes, v_row = row_bytes_of(c->dtype, c->args.v_dim);
    const size_t page_bytes = PAGE * (k_row + v_row), n_pages = c->n_pages + 2;
    uint8_t *pool = kc_scratch(kc, n_pages * page_bytes);
    for (size_t i = 0; i < n_pages; i++) {
        const uint8_t *from = c->pool + i * c->page_bytes;
        uint8_t *to = pool + i * page_bytes;
        memcpy(to, from, PAGE * k_row);
        for (size_t j = 0; j < PAGE; j++) {
            memcpy(to + PAGE * k_row + j * v_row, from + j * k_row, v_row);
        }
    }
    attention_args a = c->args;
    a.k = pool;
    a.v = pool + PAGE * k_row;
    a.v_row_bytes = v_row;
    a.page_stride_bytes = page_bytes;
    (void)expect_bits(kc, attention, c, a, c->args.n_rows);
}

/* An infinite value at the last position is there for the last row, in its column, and for nobody
 * else. */
static void compare_infinite(kcheck *kc, attention_fn *attention, const context *c) {
    const size_t row_len = (size_t)c->args.n_heads * c->args.v_dim;
    const uint32_t last = c->args.n_rows - 1, position = c->args.kv_end[last] - 1;
    uint8_t *value = row_at(c, c->pool, true, position), kept[KERNEL_HEAD_DIM_MAX * sizeof(float)];
    memcpy(kept, value, c->args.v_row_bytes);
    const float infinite = INFINITY;
    quant_quantize(c->dtype, value, &infinite, 1);
    const float *got = expect_bits(kc, attention, c, c->args, last);
    for (uint32_t h = 0; h < c->args.n_heads; h++) {
        const size_t at = last * row_len + (size_t)h * c->args.v_dim;
        kc_bits(kc, &infinite, got + at, sizeof(float));
        kc_bits(kc, c->args.out + last * c->args.out_stride + (size_t)h * c->args.v_dim + 1,
                got + at + 1, (c->args.v_dim - 1) * sizeof(float));
    }
    memcpy(value, kept, c->args.v_row_bytes);
}

/* Parts one by one, each in stretches of random length, then merged into out. */
static void attend_parts(kcheck *kc, const kernels_cpu *k, const context *c) {
    const attention_args *a = &c->args;
    const uint32_t n_parts = (a->kv_end[a->n_rows - 1] + KERNEL_ATTN_SPLIT - 1) / KERNEL_ATTN_SPLIT;
    const size_t part_len = (size_t)a->n_rows * a->n_heads * (a->v_dim + 2);
    float *partials = kc_in(kc, n_parts * part_len * sizeof(float), 4);
    for (uint32_t part = 0; part < n_parts; part++) {
        attention_args one = *a;
        one.out = NULL;
        one.partial = partials + part * part_len;
        for (one.from = part * KERNEL_ATTN_SPLIT; one.from < (part + 1) * KERNEL_ATTN_SPLIT;) {
            const uint32_t left = (part + 1) * KERNEL_ATTN_SPLIT - one.from;
            const uint32_t n_blocks = 1 + kc_below(kc, left / KERNEL_ATTN_BLOCK);
            one.to = one.from + n_blocks * KERNEL_ATTN_BLOCK;
            k->attention[c->dtype](&one);
            one.from = one.to;
        }
    }
    KC_CALL(kc, k->attention_merge(a, partials, n_parts));
}

/* What attend and merge left in out has the bits of the whole. */
static void compare_whole(kcheck *kc, attention_fn *attention, const context *c) {
    const size_t row_len = (size_t)c->args.n_heads * c->args.v_dim;
    float *whole = kc_scratch(kc, c->args.n_rows * row_len * sizeof(float));
    attention_args a = c->args;
    a.out = whole;
    a.out_stride = row_len;
    attention(&a);
    for (uint32_t r = 0; r < a.n_rows; r++) {
        kc_bits(kc, whole + r * row_len, c->args.out + r * c->args.out_stride,
                row_len * sizeof(float));
    }
}

static void check_shape(kcheck *kc, const kernels_cpu *k, weft_dtype dtype, size_t i,
                        bool in_columns) {
    shape with = shapes[i];
    with.in_columns = in_columns;
    const shape *s = &with;
    const weft_dtype_info *info = weft_dtype_info_of(dtype);
    if (s->k_dim % info->block_len != 0 || s->v_dim % info->block_len != 0) {
        return;
    }
    if (!kc_func(kc, &k->attention[dtype], "attention_%s%s_r%u_h%u_k%u_v%u_end%u_w%u%s%s",
                 info->name, in_columns ? "_columns" : "", s->n_rows, s->n_heads, s->k_dim,
                 s->v_dim, s->kv_end, s->window, s->softcap != 0.0f ? "_cap" : "",
                 s->has_sinks ? "_sinks" : "")) {
        return;
    }
    context c;
    make_context(kc, &c, dtype, s);
    KC_CALL(kc, k->attention[dtype](&c.args));
    compare_values(kc, &c);
    compare_alone(kc, k->attention[dtype], &c);
    compare_in_order(kc, k->attention[dtype], &c);
    if (s->is_latent) {
        compare_apart(kc, k->attention[dtype], &c);
    } else if (info->block_len == 1) {
        compare_infinite(kc, k->attention[dtype], &c);
    }
    attend_parts(kc, k, &c);
    compare_whole(kc, k->attention[dtype], &c);
}

/* Of a level that has a merging of its own. */
static void check_merge(kcheck *kc, const kernels_cpu *k, weft_dtype dtype, size_t i) {
    const shape *s = &shapes[i];
    const weft_dtype_info *info = weft_dtype_info_of(dtype);
    if (s->k_dim % info->block_len != 0 || s->v_dim % info->block_len != 0) {
        return;
    }
    if (!kc_func(kc, &k->attention_merge, "attention_merge_%s_r%u_h%u_k%u_v%u_end%u", info->name,
                 s->n_rows, s->n_heads, s->k_dim, s->v_dim, s->kv_end)) {
        return;
    }
    context c;
    make_context(kc, &c, dtype, s);
    attend_parts(kc, k, &c);
    compare_whole(kc, k->attention[dtype], &c);
}

/* Timed work: the same call on one cache after another, so that decode reads memory. */
typedef struct bench {
    attention_fn *attention;
    attention_args args;
    const uint8_t *k, *v;
    size_t cache_bytes;
    uint32_t n_caches, next;
} bench;

static void bench_step(bench *b) {
    const size_t offset = b->next * b->cache_bytes;
    b->args.k = b->k + offset;
    b->args.v = b->v + offset;
    b->next = b->next + 1 < b->n_caches ? b->next + 1 : 0;
    b->attention(&b->args);
}

static void bench_shape(kcheck *kc, const kernels_cpu *k, weft_dtype dtype, uint32_t n_rows,
                        uint32_t n_heads, uint32_t dim, uint32_t depth) {
    if (!kc_bench_func(kc, &k->attention[dtype], "attention_%s_r%u_h%u_d%u_at%u",
                       weft_dtype_info_of(dtype)->name, n_rows, n_heads, dim, depth)) {
        return;
    }
    const bool is_latent = dim > 512; /* of MLA: values are the first 512 of a key */
    const shape s = {
        .n_rows = n_rows,
        .n_heads = n_heads,
        .k_dim = dim,
        .v_dim = is_latent ? 512 : dim,
        .kv_end = depth,
        .is_latent = is_latent,
        .in_columns = k->kv_store_column[dtype] != NULL && !is_latent,
    };
    context c;
    make_context(kc, &c, dtype, &s);
    /* Long decode reads memory, the rest what the caches hold; huge pages as in the engine. */
    const bool is_cold = n_rows == 1 && depth > 512;
    const uint32_t n_caches = is_cold ? (uint32_t)((128u << 20) / c.pool_bytes + 1) : 1;
    void *region;
    WEFT_ASSERT(os_region_alloc(&region, n_caches * c.pool_bytes, NULL) == WEFT_OK);
    uint8_t *pools = region;
    for (uint32_t i = 0; i < n_caches; i++) {
        memcpy(pools + i * c.pool_bytes, c.pool, c.pool_bytes);
    }
    bench b = {.attention = k->attention[dtype],
               .args = c.args,
               .k = pools,
               .v = pools + (c.args.v - c.args.k),
               .cache_bytes = c.pool_bytes,
               .n_caches = n_caches};
    double positions = 0.0;
    for (uint32_t r = 0; r < n_rows; r++) {
        positions += c.args.kv_end[r];
    }
    if (n_rows == 1) {
        KC_BENCH(kc, positions * (double)c.page_bytes / PAGE, "B", bench_step(&b));
    } else {
        const double ops = positions * n_heads * (s.k_dim + s.v_dim) * 2.0;
        kc_bench_limit(kc, dtype == WEFT_DTYPE_F16 ? CEILING_BF16 : CEILING_FLOAT, ops);
        KC_BENCH(kc, ops, "flop", bench_step(&b));
    }
    os_region_free(region, n_caches * c.pool_bytes);
}

/* Parts of a long context into one row of 32 heads. */
static void bench_merge(kcheck *kc, const kernels_cpu *k, uint32_t n_parts) {
    enum { HEADS = 32, DIM = 128 };
    if (!kc_bench_func(kc, &k->attention_merge, "attention_merge_h%d_d%d_p%u", HEADS, DIM,
                       n_parts)) {
        return;
    }
    const size_t n = (size_t)n_parts * HEADS * (2 + DIM);
    float *partials = kc_floats(kc, n, KC_GAUSS);
    for (size_t i = 0; i < n; i += 2 + DIM) {
        partials[i + 1] = 1.0f + fabsf(partials[i + 1]); /* a sum of exponentials */
    }
    const attention_args args = {.out = kc_out(kc, HEADS * DIM * sizeof(float), 4),
                                 .out_stride = HEADS * DIM,
                                 .n_rows = 1,
                                 .n_heads = HEADS,
                                 .k_dim = DIM,
                                 .v_dim = DIM};
    KC_BENCH(kc, n * sizeof(float), "B", k->attention_merge(&args, partials, n_parts));
}

void check_attention(kcheck *kc, const kernels_cpu *k) {
    static const weft_dtype dtypes[] = {WEFT_DTYPE_F32, WEFT_DTYPE_F16, WEFT_DTYPE_Q8_0,
                                        WEFT_DTYPE_Q4_0};
    for (size_t d = 0; d < KC_LEN(dtypes); d++) {
        for (size_t i = 0; i < KC_LEN(shapes); i++) {
            check_shape(kc, k, dtypes[d], i, false);
            if (k->kv_store_column[dtypes[d]] != NULL && !shapes[i].is_latent) {
                check_shape(kc, k, dtypes[d], i, true);
            }
            check_merge(kc, k, dtypes[d], i);
        }
        for (uint32_t dim = 64; dim <= 256; dim *= 2) {
            bench_shape(kc, k, dtypes[d], 1, 1, dim, 512);
            bench_shape(kc, k, dtypes[d], 1, 3, dim, 512);
            bench_shape(kc, k, dtypes[d], 1, 8, dim, 512);
            bench_shape(kc, k, dtypes[d], 1, 1, dim, 4096);
            bench_shape(kc, k, dtypes[d], 1, 3, dim, 4096);
            bench_shape(kc, k, dtypes[d], 1, 4, dim, 4096);
            bench_shape(kc, k, dtypes[d], 1, 8, dim, 4096);
            bench_shape(kc, k, dtypes[d], 64, 1, dim, 1024);
            bench_shape(kc, k, dtypes[d], 64, 3, dim, 1024);
            bench_shape(kc, k, dtypes[d], 64, 4, dim, 1024);
        }
        bench_shape(kc, k, dtypes[d], 1, 16, 576, 4096);
        bench_shape(kc, k, dtypes[d], 4, 128, 576, 1024);
    }
    bench_merge(kc, k, 8);
}
