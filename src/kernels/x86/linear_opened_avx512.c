/* linear_opened_avx512.c - products of the opened formats (kernels/opened.h) by AVX-512 VNNI, but
 * for lists of nibbles (linear_vnni_avx512.c).
 *
 * Chunks of 256 columns are opened once for all rows of x. A group of a chunk is
 * one register of 16 outputs x 4 columns, and vpdpbusd multiplies it by 4 activations of a row that
 * the load broadcasts. Nothing saturates, so narrow and wide codes are alike: all come with their
 * middle, and sums start at -middle * (sum of activations). Registers of a tile of 12 rows: 12
 * sums, 12 y, 1 of weights, 2 of scales; where halves have scales 8 rows, whose first halves wait.
 *
 * Bits, and codebooks with VBMI, read x in steps (layout/act.h), and many rows are bound by 8 to 10
 * instructions that multiply, a block and row; the others read ACT_Q8, and it is 10 or 11. Where a
 * code times its half's scale fits a byte, rows multiply that instead. Few are multiplied as
 * codes are opened: of two and three bits in linear_few_avx512.c, a single row of codebooks by
 * AVX2. With VBMI codebooks and TQ1_0 are opened by linear_grids_avx512vbmi.c and
 * linear_tq1_0_avx512vbmi.c.
 */
#include <immintrin.h>

#include "kernels/opened.h"
#include "kernels/products.h"
#include "kernels/x86/linear_few_avx512.h"
#include "kernels/x86/linear_opened_avx512.h"
#include "kernels/x86/long_avx512.h"
#include "kernels/x86/rows_avx512.h"

/* Where x comes in steps: codes with a middle have it at 128. */
VNNI_INLINE opened_kind steps_kind(opened_kind kind) {
    kind.log2_middle = kind.log2_middle != 0 ? 7 : 0;
    return kind;
}

/* Codes times the scales of their halves in place of codes, with the same middle. They are then
 * like codes of blocks without scales: sums are the same integers. */
VNNI_INLINE void fold(opened_kind kind, opened_chunk *c) {
    for (size_t h = 0; h < 2 * c->n_blocks; h++) {
        uint8_t(*codes)[64] = c->codes[h / 2] + 4 * (h % 2);
        const __m512i whole = _mm512_load_si512(c->whole[h]);
        const long_scale scale = long_scale_of(whole, kind.log2_middle, c->middle);
        for (size_t g = 0; g < 4; g++) {
            long_multiply(codes[g], _mm512_load_si512(codes[g]), scale);
        }
    }
}

VNNI_INLINE opened_kind folded_kind(opened_kind kind) {
    kind.has_halves = kind.has_scales = 0;
    return kind;
}

VNNI_INLINE void add_group(int rows, __m512i sums[VNNI_ROWS_MAX], const uint8_t *codes,
                           const vnni_rows *x, int group) {
    const __m512i w = _mm512_load_si512(codes + 64 * group);
    VNNI_EACH_ROW(rows, {
        sums[r] = _mm512_dpbusd_epi32(sums[r], w, vnni_broadcast32(vnni_row(x, r) + 4 * group));
    });
}

/* Half h of a block: four groups. */
VNNI_INLINE void add_half(int rows, __m512i sums[VNNI_ROWS_MAX], const uint8_t *codes,
                          const vnni_rows *x, int h) {
    add_group(rows, sums, codes, x, 4 * h);
    add_group(rows, sums, codes, x, 4 * h + 1);
    add_group(rows, sums, codes, x, 4 * h + 2);
    add_group(rows, sums, codes, x, 4 * h + 3);
}

VNNI_INLINE void dot_block(int rows, opened_kind kind, __m512 dots[VNNI_ROWS_MAX],
                           const uint8_t *codes, const vnni_rows *x) {
    __m512i sums[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { sums[r] = vnni_start(kind.log2_middle, vnni_block(x, r)); });
    add_half(rows, sums, codes, x, 0);
    add_half(rows, sums, codes, x, 1);
    VNNI_EACH_ROW(rows, { dots[r] = _mm512_cvtepi32_ps(sums[r]); });
}

/* The same where halves have scales. */
VNNI_INLINE void dot_halves(int rows, opened_kind kind, __m512 dots[VNNI_ROWS_MAX],
                            const uint8_t *codes, const vnni_rows *x,
                            const float half_scale[2][16]) {
    for (int h = 0; h < 2; h++) {
        __m512i sums[VNNI_ROWS_MAX];
        VNNI_EACH_ROW(rows, { sums[r] = vnni_start_half(kind.log2_middle, vnni_block(x, r), h); });
        add_half(rows, sums, codes, x, h);
        const __m512 scale = _mm512_load_ps(half_scale[h]);
        VNNI_EACH_ROW(rows, {
            const __m512 dot = _mm512_cvtepi32_ps(sums[r]);
            dots[r] = h == 0 ? _mm512_mul_ps(dot, scale) : _mm512_fmadd_ps(dot, scale, dots[r]);
        });
    }
}

/* y [rows][16] += x [rows] . chunk */
VNNI_INLINE void tile_blocks(int rows, opened_kind kind, float *y, const opened_chunk *c,
                             const uint8_t *from, size_t x_stride, vnni_ahead *ahead) {
    vnni_rows x = vnni_rows_of(from, x_stride);
    __m512 v[VNNI_ROWS_MAX], dots[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows,
                  { v[r] = kind.is_summed ? _mm512_setzero_ps() : _mm512_load_ps(y + 16 * r); });
    for (size_t b = 0; b < c->n_blocks; b++) {
        const uint8_t *codes = c->codes[b][0];
        vnni_ahead_step(ahead);
        if (kind.has_halves) {
            dot_halves(rows, kind, dots, codes, &x, c->half_scale + 2 * b);
        } else {
            dot_block(rows, kind, dots, codes, &x);
        }
        const __m512 scale = _mm512_load_ps(c->scale[b]);
        VNNI_EACH_ROW(rows, {
            const __m512 xs = _mm512_set1_ps(vnni_block(&x, r)->scale);
            const __m512 both = opened_scales_blocks(&kind) ? _mm512_mul_ps(scale, xs) : xs;
            v[r] = _mm512_fmadd_ps(dots[r], both, v[r]);
        });
        vnni_rows_step(&x, sizeof(act_block_q8));
    }
    if (kind.is_summed) {
        const __m512 d = _mm512_load_ps(c->scale[0]);
        VNNI_EACH_ROW(rows, { v[r] = _mm512_fmadd_ps(v[r], d, _mm512_load_ps(y + 16 * r)); });
    }
    VNNI_EACH_ROW(rows, { _mm512_store_ps(y + 16 * r, v[r]); });
}

/* sums of a step of x, or of half 0 or 1 of it, as float32. */
VNNI_INLINE void dot_step(int rows, opened_kind kind, __m512 dots[VNNI_ROWS_MAX],
                          const uint8_t *codes, const vnni_rows *x, int half) {
    const bool has_middle = kind.log2_middle != 0;
    __m512i sums[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { sums[r] = vnni_step_start(has_middle, vnni_step(x, r), half); });
    if (half != 1) {
        add_half(rows, sums, codes, x, 0);
    }
    if (half != 0) {
        add_half(rows, sums, codes, x, 1);
    }
    VNNI_EACH_ROW(rows, { dots[r] = vnni_step_sum(has_middle, sums[r], vnni_step(x, r)); });
}

/* v += block b, or half 0 or 1 of it, times its scale, which is the chunk's whole number i. */
VNNI_INLINE void add_scaled(int rows, opened_kind kind, __m512 v[VNNI_ROWS_MAX],
                            const opened_chunk *c, size_t b, const vnni_rows *x, int half,
                            size_t i) {
    __m512 dots[VNNI_ROWS_MAX];
    const __m512 scale = _mm512_cvtepi32_ps(_mm512_load_si512(c->whole[i]));
    dot_step(rows, kind, dots, c->codes[b][0], x, half);
    VNNI_EACH_ROW(rows, { v[r] = _mm512_fmadd_ps(dots[r], scale, v[r]); });
}

/* v += block b times its scales. */
VNNI_INLINE void add_step(int rows, opened_kind kind, __m512 v[VNNI_ROWS_MAX],
                          const opened_chunk *c, size_t b, const vnni_rows *x) {
    if (kind.has_halves) {
        add_scaled(rows, kind, v, c, b, x, 0, 2 * b);
        add_scaled(rows, kind, v, c, b, x, 1, 2 * b + 1);
    } else if (kind.has_scales) {
        add_scaled(rows, kind, v, c, b, x, ACT_STEP_ALL, b);
    } else {
        __m512 dots[VNNI_ROWS_MAX];
        dot_step(rows, kind, dots, c->codes[b][0], x, ACT_STEP_ALL);
        VNNI_EACH_ROW(rows, { v[r] = _mm512_add_ps(v[r], dots[r]); });
    }
}

/* As tile_blocks, where x comes in steps. */
VNNI_INLINE void tile_steps(int rows, opened_kind kind, float *y, const opened_chunk *c,
                            const uint8_t *from, size_t x_stride, vnni_ahead *ahead) {
    const vnni_rows blocks = vnni_rows_of(from, x_stride);
    vnni_rows x = blocks;
    __m512 v[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { v[r] = _mm512_setzero_ps(); });
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        vnni_ahead_step(ahead);
        add_step(rows, kind, v, c, b, &x);
        vnni_rows_step(&x, sizeof(act_step));
    }
    __m512i least[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { least[r] = _mm512_setzero_si512(); });
    for (size_t b = 0; kind.has_min && b < OPENED_BLOCKS; b++) {
        const __m512i mins =
            _mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_load_si512(c->half_min[2 * b]),
                                    _mm512_load_si512(c->half_min[2 * b + 1]));
        VNNI_EACH_ROW(rows, {
            const __m512i sums = vnni_broadcast32(&vnni_block_steps(&blocks, r)->sums16[2 * b]);
            least[r] = _mm512_dpwssd_epi32(least[r], mins, sums);
        });
    }
    const __m512 d = _mm512_load_ps(c->d), dmin = _mm512_load_ps(c->half_min_scale);
    VNNI_EACH_ROW(rows, {
        float *to = y + 16 * r;
        const act_block_steps *block = vnni_block_steps(&blocks, r);
        const __m512 before = _mm512_load_ps(to);
        _mm512_store_ps(to, kind.has_min
                                ? vnni_add_steps_least(before, v[r], d, least[r], dmin, block)
                                : vnni_add_steps(before, v[r], d, block));
    });
}

VNNI_INLINE void tile(int rows, opened_kind kind, bool is_steps, float *y, const opened_chunk *c,
                      const uint8_t *from, size_t x_stride, vnni_ahead *ahead) {
    if (is_steps) {
        tile_steps(rows, kind, y, c, from, x_stride, ahead);
    } else {
        tile_blocks(rows, kind, y, c, from, x_stride, ahead);
    }
}

/* y [m][16] += x [m] . chunk, which was opened from `slab`: a function for each kind, because gcc
 * would keep pointers to all rows of x over all chunks, and spill them. */
typedef void add_chunk_fn(float *y, opened_chunk *c, const uint8_t *slab, const uint8_t *x,
                          size_t x_stride, size_t m);

VNNI_INLINE void add_chunk(opened_kind kind, bool is_steps, float *y, opened_chunk *c,
                           const uint8_t *slab, const uint8_t *x, size_t x_stride, size_t m) {
    if (is_steps && opened_fits_bytes(&kind)) {
        fold(kind, c);
        kind = folded_kind(kind);
    }
    const size_t most = kind.has_halves ? 8 : 12;
    vnni_ahead ahead = vnni_ahead_of(slab, kind.chunk_bytes, (m + most - 1) / most * c->n_blocks);
    VNNI_EACH_TILE(1, most, m, y, x, x_stride,
                   tile(rows, kind, is_steps, y, c, x, x_stride, &ahead));
}

VNNI_INLINE void linear_opened(opened_kind kind, opened_open_fn *open, add_chunk_fn *add, float *y,
                               size_t y_stride, const uint8_t *panel, const uint8_t *x,
                               size_t x_stride, size_t m, size_t n, size_t k) {
    WEFT_ALIGNED(64) float sums[OPENED_ROWS * PACK_PANEL_ROWS];
    opened_chunk c;
    c.middle = opened_middle(&kind);
    for (size_t from = 0; from < m; from += OPENED_ROWS) {
        const size_t rows = m - from < OPENED_ROWS ? m - from : OPENED_ROWS;
        const uint8_t *slab = panel;
        const uint8_t *x_chunk = x + from * x_stride;
        vnni_begin_outputs(sums, y + from * y_stride, y_stride, rows);
        for (size_t col = 0; col < k; col += OPENED_COLS) {
            c.n_blocks = (k - col < OPENED_COLS ? k - col : OPENED_COLS) / ACT_BLOCK_LEN;
            open(&c, slab);
            add(sums, &c, slab, x_chunk, x_stride, rows);
            slab += kind.chunk_bytes;
            x_chunk += VNNI_X_BYTES;
        }
        vnni_store_outputs(y + from * y_stride, y_stride, sums, rows, n);
    }
}

#define ADD_CHUNK(name, form, kind, is_steps)                                                     \
    static WEFT_NOINLINE void add_##form##_##name(float *y, opened_chunk *c, const uint8_t *slab, \
                                                  const uint8_t *x, size_t x_stride, size_t m) {  \
        add_chunk(kind, is_steps, y, c, slab, x, x_stride, m);                                    \
    }
#define LINEAR(name)                                                                             \
    void linear_##name##_avx512vnni(float *y, size_t y_stride, const void *panel, const void *x, \
                                    size_t x_stride_bytes, size_t m, size_t n, size_t k)

/* Where x comes in steps. */
#define X(NAME, name)                                                                             \
    ADD_CHUNK(name, steps, steps_kind(opened_kind_##name), true)                                  \
    void linear_opened_##name##_avx512vnni(opened_open_fn *open, float *y, size_t y_stride,       \
                                           const void *panel, const void *x,                      \
                                           size_t x_stride_bytes, size_t m, size_t n, size_t k) { \
        linear_opened(steps_kind(opened_kind_##name), open, add_steps_##name, y, y_stride, panel, \
                      x, x_stride_bytes, m, n, k);                                                \
    }
PACK_BITS_LIST(X)
PACK_GRIDS_LIST(X)
#undef X

#define X(NAME, name)                                                                       \
    LINEAR(name) {                                                                          \
        if (m <= LINEAR_FEW_ROWS_MAX_##NAME) {                                              \
            linear_few_##name##_avx512vnni(y, y_stride, panel, x, x_stride_bytes, m, n, k); \
        } else {                                                                            \
            linear_opened_##name##_avx512vnni(opened_##name##_avx2, y, y_stride, panel, x,  \
                                              x_stride_bytes, m, n, k);                     \
        }                                                                                   \
    }
X(Q2_K, q2_k)
X(Q3_K, q3_k)
X(TQ2_0, tq2_0)
#undef X

LINEAR(tq1_0) {
    linear_opened_tq1_0_avx512vnni(opened_tq1_0_avx2, y, y_stride, panel, x, x_stride_bytes, m, n,
                                   k);
}

/* Codebooks without VBMI; one row by AVX2, because loading points one by one is faster than a
 * gather. */
#define X(NAME, name)                                                                     \
    ADD_CHUNK(name, blocks, opened_kind_##name, false)                                    \
    LINEAR(name) {                                                                        \
        if (m == 1) {                                                                     \
            linear_##name##_avx2(y, y_stride, panel, x, x_stride_bytes, m, n, k);         \
        } else {                                                                          \
            linear_opened(opened_kind_##name, opened_##name##_avx2, add_blocks_##name, y, \
                          y_stride, panel, x, x_stride_bytes, m, n, k);                   \
        }                                                                                 \
    }
PACK_GRIDS_LIST(X)
#undef X
#undef LINEAR
#undef ADD_CHUNK
