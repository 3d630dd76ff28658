/* attention_tile_avx512.h - the inner loops of attention with 32 registers of 16 lanes.
 *
 * For attention_avx512.c alone, which tells the plan. Shapes are constant arguments, so each use is
 * its own loop: 24 accumulators, 4 vectors of keys or values, 1 of a query's. */
#ifndef WEFT_KERNELS_X86_ATTENTION_TILE_AVX512_H
#define WEFT_KERNELS_X86_ATTENTION_TILE_AVX512_H

#include "kernels/x86/vecmath_avx512.h"
#define ATTENTION_LANES 16u
#define ATTENTION_GROUP 6u
#define ATTENTION_TILE (16u * ATTENTION_GROUP)
#define ATTENTION_ACC_FLOATS 24576u
#include "kernels/x86/attention_walk.inc"

#define GROUP ATTENTION_GROUP
#define WIDTH (BLOCK / 16u)    /* vectors of 16 positions, each a page */
#define CHAIN 128u             /* columns of a head that are one sum; sums are added */
#define DIRECT_MAX (2 * GROUP) /* queries that rather convert keys and values themselves */

INLINE_AVX512 float load_f16(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, sizeof(h));
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)));
}

/* Values i..i+15 of a cache row of n values; Q8_0 and Q4_0 rows hold whole blocks. */
INLINE_AVX512 __m512 load_16(const uint8_t *row, size_t i, size_t n, const weft_dtype dtype) {
    const __mmask16 mask = lanes_mask_avx512(n - i);
    if (dtype == WEFT_DTYPE_F32) {
        return _mm512_maskz_loadu_ps(mask, row + 4 * i);
    }
    if (dtype == WEFT_DTYPE_F16) {
        if (n - i >= 16) { /* from memory the conversion leaves the shuffle port alone */
            return _mm512_cvtph_ps(
                _mm256_loadu_si256((const __m256i *)(const void *)(row + 2 * i)));
        }
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row + 2 * i));
    }
    const bool is_q8_0 = dtype == WEFT_DTYPE_Q8_0; /* 34 bytes: f16 scale, 32 codes */
    const uint8_t *block = row + i / 32 * (is_q8_0 ? 34 : 18);
    const __m512 d = _mm512_set1_ps(load_f16(block));
    __m128i codes;
    if (is_q8_0) {
        codes = _mm_loadu_si128((const __m128i *)(const void *)(block + 2 + i % 32));
    } else { /* 16 bytes of codes around 8: values 0..15 in the low, 16..31 in the high halves */
        codes = _mm_loadu_si128((const __m128i *)(const void *)(block + 2));
        codes = i % 32 == 0 ? codes : _mm_srli_epi16(codes, 4);
        codes = _mm_sub_epi8(_mm_and_si128(codes, _mm_set1_epi8(15)), _mm_set1_epi8(8));
    }
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes)), d);
}

/* Row j's lane i becomes row i's lane j: by ones, by pairs, then by quarters of a register. */
INLINE_AVX512 void transpose_16(__m512i r[16]) {
    __m512i a[16];
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        for (int j = 0; j < 2; j++) {
            r[i + 2 * j] = _mm512_unpacklo_epi64(a[i + j], a[i + j + 2]);
            r[i + 2 * j + 1] = _mm512_unpackhi_epi64(a[i + j], a[i + j + 2]);
        }
    }
    for (int c = 0; c < 4; c++) { /* r[4 g + c], quarter q: lane 4 q + c of rows 4 g .. 4 g + 3 */
        const __m512i even0 = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88);
        const __m512i odd0 = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xDD);
        const __m512i even1 = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
        const __m512i odd1 = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xDD);
        a[c] = _mm512_shuffle_i32x4(even0, even1, 0x88);
        a[4 + c] = _mm512_shuffle_i32x4(odd0, odd1, 0x88);
        a[8 + c] = _mm512_shuffle_i32x4(even0, even1, 0xDD);
        a[12 + c] = _mm512_shuffle_i32x4(odd0, odd1, 0xDD);
    }
    for (int i = 0; i < 16; i++) {
        r[i] = a[i];
    }
}

/* keys [n <= 16][BLOCK] <- columns i.. of a page's rows. */
INLINE_AVX512 void load_columns(float *keys, const tile *t, const uint8_t *rows, size_t i, size_t n,
                                const weft_dtype dtype) {
    __m512i r[16];
    for (size_t j = 0; j < 16; j++) {
        const uint8_t *row = rows + j * t->row_bytes;
        r[j] = _mm512_castps_si512(load_16(row, i, t->a->k_dim, dtype));
    }
    transpose_16(r);
    for (size_t j = 0; j < n; j++) {
        _mm512_store_si512(keys + j * BLOCK, r[j]);
    }
}

/* Pages lie anywhere, so the processor's own prefetch loses the trail at each; memory is asked for
 * one block ahead. */
INLINE_AVX512 void fetch(const uint8_t *data, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) {
        _mm_prefetch((const char *)data + i, _MM_HINT_T1);
    }
}

INLINE_AVX512 __m512 load_column(const uint8_t *page, size_t i) {
    return _mm512_cvtph_ps(
        _mm256_loadu_si256((const __m256i *)(const void *)(page + i * PAGE_TOKENS * 2)));
}

/* block [k_dim][BLOCK] <- the seen pages' columns. */
static void load_key_columns(tile *t) {
    for (uint32_t page = t->lo / 16; page * 16 < t->hi; page++) {
        float *keys = t->block + page * 16;
        for (size_t i = 0; i < t->a->k_dim; i++) {
            if (i % 2 == 0) {
                _mm_prefetch((const char *)t->ahead[page] + 32 * i, _MM_HINT_T1);
            }
            _mm512_store_ps(keys + i * BLOCK, load_column(t->pages[page], i));
        }
    }
}

/* block [k_dim][BLOCK] <- the seen pages' keys. A page's rows are one stretch of memory, of which a
 * share is asked for at each step. */
INLINE_AVX512 void load_keys(tile *t, const weft_dtype dtype) {
    const size_t dim = t->a->k_dim;
    for (uint32_t page = t->lo / 16; page * 16 < t->hi; page++) {
        const uint8_t *rows = t->pages[page], *ahead = t->ahead[page];
        const size_t ahead_bytes = 16 * t->ahead_bytes;
        for (size_t i = 0, n, asked = 0; i < dim; i += n) {
            float *keys = t->block + i * BLOCK + page * 16;
            n = dim - i < 16 ? dim - i : 16;
            for (; asked * dim < (i + n) * ahead_bytes; asked += 64) {
                _mm_prefetch((const char *)ahead + asked, _MM_HINT_T1);
            }
            if (n == 16) {
                load_columns(keys, t, rows, i, 16, dtype);
            } else {
                load_columns(keys, t, rows, i, n, dtype);
            }
        }
    }
}

/* block [BLOCK][acc_stride + PAD_FLOATS] <- values of the positions that somebody sees. */
INLINE_AVX512 void load_values(tile *t, const weft_dtype dtype) {
    const size_t dim = t->a->v_dim, stride = t->acc_stride + PAD_FLOATS;
    for (uint32_t p = t->lo; p < t->hi; p++) {
        const uint8_t *row = row_in(t->pages, p, t->row_bytes);
        float *values = t->block + p * stride;
        fetch(row_in(t->ahead, p, t->ahead_bytes), t->ahead_bytes);
        for (size_t i = 0; i < dim; i += 16) {
            _mm512_store_ps(values + i, load_16(row, i, dim, dtype));
        }
    }
}

/* Scores of n queries with `width` vectors of keys, from position `at`: columns [i, to) of the head
 * added to what is there, or in its place when i is 0. Keys are in the block, or where is_direct in
 * the pages. */
INLINE_AVX512 void score_group(query *const *queries, const tile *t, uint32_t at, size_t i,
                               size_t to, const bool is_direct, const int n, const int width) {
    __m512 acc[GROUP][WIDTH];
    const float *q[GROUP];
    for (int r = 0; r < n; r++) {
        q[r] = queries[r]->q;
        for (int j = 0; j < width; j++) {
            acc[r][j] = _mm512_setzero_ps();
        }
    }
    const bool is_first = i == 0;
    const float *keys = t->block + i * BLOCK + at;
    const uint8_t *const *pages = t->pages + at / PAGE_TOKENS;
    for (; i < to; i++, keys += BLOCK) {
        __m512 key[WIDTH];
        for (int j = 0; j < width; j++) {
            key[j] = is_direct ? load_column(pages[j], i) : _mm512_load_ps(keys + 16 * j);
        }
        for (int r = 0; r < n; r++) {
            const __m512 x = _mm512_set1_ps(q[r][i]);
            for (int j = 0; j < width; j++) {
                acc[r][j] = _mm512_fmadd_ps(x, key[j], acc[r][j]);
            }
        }
    }
    const __m512 scale = _mm512_set1_ps(t->a->scale);
    for (int r = 0; r < n; r++) {
        for (int j = 0; j < width; j++) {
            float *score = queries[r]->scores + at + 16 * j;
            const __m512 s = _mm512_mul_ps(acc[r][j], scale);
            _mm512_store_ps(score, is_first ? s : _mm512_add_ps(_mm512_load_ps(score), s));
        }
    }
}

/* acc of n queries, columns [col, col + 16 * width) += weights x values of [from, to), which are in
 * the block or, where is_direct, rows of whole vectors of F16 in the pages. */
INLINE_AVX512 void value_group(query *const *queries, const tile *t, uint32_t from, uint32_t to,
                               size_t col, const bool is_direct, const int n, const int width) {
    __m512 acc[GROUP][WIDTH];
    const float *weights[GROUP];
    for (int r = 0; r < n; r++) {
        weights[r] = queries[r]->scores;
        for (int j = 0; j < width; j++) {
            acc[r][j] = _mm512_load_ps(queries[r]->acc + col + 16 * j);
        }
    }
    const size_t stride = t->acc_stride + PAD_FLOATS;
    const float *values = t->block + from * stride + col;
    for (; from < to; from++, values += stride) {
        __m512 value[WIDTH];
        const uint8_t *row = is_direct ? row_in(t->pages, from, t->row_bytes) + 2 * col : NULL;
        for (int j = 0; j < width; j++) {
            value[j] = is_direct ? _mm512_cvtph_ps(_mm256_loadu_si256(
                                       (const __m256i *)(const void *)(row + 32 * j)))
                                 : _mm512_load_ps(values + 16 * j);
        }
        for (int r = 0; r < n; r++) {
            const __m512 weight = _mm512_set1_ps(weights[r][from]);
            for (int j = 0; j < width; j++) {
                acc[r][j] = _mm512_fmadd_ps(weight, value[j], acc[r][j]);
            }
        }
    }
    for (int r = 0; r < n; r++) {
        for (int j = 0; j < width; j++) {
            _mm512_store_ps(queries[r]->acc + col + 16 * j, acc[r][j]);
        }
    }
}

/* Calls f(..., n, width) with both as constants: n is 1..GROUP, width 1, 2 or 4. */
#define WITH_SHAPE(f, n, width, ...)                 \
    do {                                             \
        switch ((n)*8 + (width)) {                   \
        case 1 * 8 + 1: f(__VA_ARGS__, 1, 1); break; \
        case 1 * 8 + 2: f(__VA_ARGS__, 1, 2); break; \
        case 1 * 8 + 4: f(__VA_ARGS__, 1, 4); break; \
        case 2 * 8 + 1: f(__VA_ARGS__, 2, 1); break; \
        case 2 * 8 + 2: f(__VA_ARGS__, 2, 2); break; \
        case 2 * 8 + 4: f(__VA_ARGS__, 2, 4); break; \
        case 3 * 8 + 1: f(__VA_ARGS__, 3, 1); break; \
        case 3 * 8 + 2: f(__VA_ARGS__, 3, 2); break; \
        case 3 * 8 + 4: f(__VA_ARGS__, 3, 4); break; \
        case 4 * 8 + 1: f(__VA_ARGS__, 4, 1); break; \
        case 4 * 8 + 2: f(__VA_ARGS__, 4, 2); break; \
        case 4 * 8 + 4: f(__VA_ARGS__, 4, 4); break; \
        case 5 * 8 + 1: f(__VA_ARGS__, 5, 1); break; \
        case 5 * 8 + 2: f(__VA_ARGS__, 5, 2); break; \
        case 5 * 8 + 4: f(__VA_ARGS__, 5, 4); break; \
        case 6 * 8 + 1: f(__VA_ARGS__, 6, 1); break; \
        case 6 * 8 + 2: f(__VA_ARGS__, 6, 2); break; \
        default: f(__VA_ARGS__, 6, 4); break;        \
        }                                            \
    } while (0)

INLINE_AVX512 uint32_t group_size(uint32_t left) { return left < GROUP ? left : GROUP; }

/* Vectors that go together when `left` are: a power of two. */
INLINE_AVX512 uint32_t width_of(size_t left) { return left >= 4 ? 4 : left >= 2 ? 2 : 1; }

/* A page or more of keys against up to GROUP queries, CHAIN columns of the head at a time. */
static void score_columns(query *const *q, uint32_t n, const tile *t, uint32_t at, uint32_t width) {
    const size_t dim = t->a->k_dim;
    for (size_t i = 0; i < dim; i += CHAIN) {
        const size_t to = dim - i < CHAIN ? dim : i + CHAIN;
        if (t->is_direct) {
            WITH_SHAPE(score_group, n, width, q, t, at, i, to, true);
        } else {
            WITH_SHAPE(score_group, n, width, q, t, at, i, to, false);
        }
    }
}

static void score_block(tile *t) {
    for (uint32_t i = 0, n; i < t->n_active; i += n) {
        query *const *q = &t->active[i];
        n = group_size(t->n_active - i);
        uint32_t lo = q[0]->lo, hi = q[0]->hi;
        for (uint32_t r = 1; r < n; r++) {
            lo = q[r]->lo < lo ? q[r]->lo : lo;
            hi = q[r]->hi > hi ? q[r]->hi : hi;
        }
        for (uint32_t v = lo / 16, width; v * 16 < hi; v += width) {
            width = width_of((hi + 15) / 16 - v);
            score_columns(q, n, t, v * 16, width);
        }
    }
}

static void value_rows(query *const *q, uint32_t n, const tile *t, uint32_t from, uint32_t to,
                       size_t col, uint32_t width) {
    if (from < to) {
        if (t->is_direct) {
            WITH_SHAPE(value_group, n, width, q, t, from, to, col, true);
        } else {
            WITH_SHAPE(value_group, n, width, q, t, from, to, col, false);
        }
    }
}

/* The stretch that all n queries see together, what only some see one by one around it. */
static void value_columns(query *const *q, uint32_t n, const tile *t, size_t col, uint32_t width) {
    uint32_t from = q[0]->lo, to = q[0]->hi;
    for (uint32_t r = 1; r < n; r++) {
        from = q[r]->lo > from ? q[r]->lo : from;
        to = q[r]->hi < to ? q[r]->hi : to;
    }
    if (from >= to) {
        for (uint32_t r = 0; r < n; r++) {
            value_rows(&q[r], 1, t, q[r]->lo, q[r]->hi, col, width);
        }
        return;
    }
    for (uint32_t r = 0; r < n; r++) {
        value_rows(&q[r], 1, t, q[r]->lo, from, col, width);
    }
    value_rows(q, n, t, from, to, col, width);
    for (uint32_t r = 0; r < n; r++) {
        value_rows(&q[r], 1, t, to, q[r]->hi, col, width);
    }
}

static void value_block(tile *t) {
    const size_t n_vectors = t->acc_stride / 16;
    for (size_t v = 0, width; v < n_vectors; v += width) {
        width = width_of(n_vectors - v);
        for (uint32_t i = 0, n; i < t->n_active; i += n) {
            n = group_size(t->n_active - i);
            value_columns(&t->active[i], n, t, v * 16, (uint32_t)width);
        }
    }
}

#endif /* WEFT_KERNELS_X86_ATTENTION_TILE_AVX512_H */
