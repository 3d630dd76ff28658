/* linear_opened_avx2.c - products of the opened formats (kernels/opened.h).
 *
 * Chunks of 256 columns are opened once for all rows of x, then tiles read bytes of codes from the
 * first-level cache. Three tiles, by what the codes' values may be:
 *
 *   narrow  6 rows x 16 outputs, 16-bit sums as in tile_int_avx2.h: up to 16 in a block of 32 (a
 *           lane takes 16 products of at most 16 * 127), or 32 in a half
 *   medium  the same in 32-bit sums: vpmaddwd widens every two products; one and a half the work
 *   wide    3 rows x 16 outputs, 32-bit sums: |value| times the activation with the value's sign,
 *           because a code with its middle would not fit; twice the work of narrow
 *
 * Codes come with their middle but for wide tiles. One row is multiplied as it is opened, where
 * codes are a shift, a mask and a look-up (linear_one_avx2.c) and where they are points of a
 * codebook (linear_one_grids_avx2.c); TQ1_0 and NVFP4 are opened for it too.
 */
#include <string.h>

#include "kernels/opened.h"
#include "kernels/products.h"
#include "kernels/x86/linear_one_avx2.h"
#include "kernels/x86/tile_avx2.h"

#define WIDE_ROWS 3

TILE_INLINE const act_block_q8 *block_at(const uint8_t *x, size_t x_stride, size_t r) {
    return (const act_block_q8 *)(x + r * x_stride);
}

/* What a tile asks for of the slab to come, with each of its blocks: all at once would be more
 * lines than a core has on their way. */
typedef struct stream {
    const uint8_t *at;
    size_t bytes; /* a block */
} stream;

/* y [8] += dot * scale * xs */
TILE_INLINE void add_dot(float *y, __m256 dot, __m256 scale, float xs) {
    const __m256 factor = _mm256_mul_ps(scale, _mm256_set1_ps(xs));
    _mm256_store_ps(y, _mm256_fmadd_ps(dot, factor, _mm256_load_ps(y)));
}

/* y [16] += minimums times minus the sums of a block of x. */
TILE_INLINE void add_min(float *y, const opened_chunk *c, size_t b, const act_block_q8 *x) {
    const __m256i first = tile_broadcast32(x->neg_sums[0]);
    const __m256i second = tile_broadcast32(x->neg_sums[1]);
    for (size_t half = 0; half < 2; half++) {
        const __m256i m0 = _mm256_madd_epi16(tile_load(c->half_min[2 * b] + 16 * half), first);
        const __m256i m1 = _mm256_madd_epi16(tile_load(c->half_min[2 * b + 1] + 16 * half), second);
        add_dot(y + 8 * half, _mm256_cvtepi32_ps(_mm256_add_epi32(m0, m1)),
                _mm256_load_ps(c->half_min_scale + 8 * half), x->scale);
    }
}

/* ---- narrow and medium ---- */

TILE_INLINE void narrow_group(int rows, opened_kind kind, int is_first, __m256i a0[TILE_ROWS],
                              __m256i a1[TILE_ROWS], const uint8_t *at, const uint8_t *x,
                              size_t x_stride, int group) {
    const __m256i w0 = tile_load(at + 64 * group);
    const __m256i w1 = tile_load(at + 64 * group + 32);
    TILE_EACH_ROW(rows, {
        const __m256i xs = tile_broadcast32(x + r * x_stride + 4 * group);
        if (kind.width == OPENED_MEDIUM) {
            const __m256i ones = _mm256_set1_epi16(1);
            a0[r] = _mm256_add_epi32(a0[r], _mm256_madd_epi16(_mm256_maddubs_epi16(w0, xs), ones));
            TILE_PIN(a0[r]);
            a1[r] = _mm256_add_epi32(a1[r], _mm256_madd_epi16(_mm256_maddubs_epi16(w1, xs), ones));
            TILE_PIN(a1[r]);
        } else if (is_first) {
            a0[r] = _mm256_maddubs_epi16(w0, xs);
            a1[r] = _mm256_maddubs_epi16(w1, xs);
        } else {
            a0[r] = _mm256_add_epi16(a0[r], _mm256_maddubs_epi16(w0, xs));
            TILE_PIN(a0[r]);
            a1[r] = _mm256_add_epi16(a1[r], _mm256_maddubs_epi16(w1, xs));
            TILE_PIN(a1[r]);
        }
    });
}

/* Four groups from `group` on; is_start: sums begin here, of this half or of the whole block. */
TILE_INLINE void narrow_half(int rows, opened_kind kind, int is_start, __m256i a0[TILE_ROWS],
                             __m256i a1[TILE_ROWS], const uint8_t *at, const uint8_t *x,
                             size_t x_stride, int group) {
    if (is_start && kind.log2_middle != 0) {
        TILE_EACH_ROW(rows, {
            const act_block_q8 *block = block_at(x, x_stride, r);
            __m256i sum = tile_broadcast32(block->neg_sums[group / 4]);
            if (!kind.has_halves) {
                sum = _mm256_add_epi16(sum, tile_broadcast32(block->neg_sums[1]));
            }
            a0[r] = kind.width == OPENED_MEDIUM
                        ? _mm256_madd_epi16(sum, _mm256_set1_epi16((short)(1 << kind.log2_middle)))
                        : _mm256_slli_epi16(sum, kind.log2_middle);
            a1[r] = a0[r];
        });
    }
    const int is_first = is_start && kind.log2_middle == 0;
    narrow_group(rows, kind, is_first, a0, a1, at, x, x_stride, group);
    narrow_group(rows, kind, 0, a0, a1, at, x, x_stride, group + 1);
    narrow_group(rows, kind, 0, a0, a1, at, x, x_stride, group + 2);
    narrow_group(rows, kind, 0, a0, a1, at, x, x_stride, group + 3);
}

TILE_INLINE __m256 narrow_dot(opened_kind kind, __m256i sums) {
    return _mm256_cvtepi32_ps(
        kind.width == OPENED_MEDIUM ? sums : _mm256_madd_epi16(sums, _mm256_set1_epi16(1)));
}

TILE_INLINE void narrow(int rows, opened_kind kind, float *y, const opened_chunk *c,
                        const uint8_t *x, size_t x_stride, stream s) {
    for (size_t b = 0; b < c->n_blocks; b++, x += sizeof(act_block_q8), s.at += s.bytes) {
        const uint8_t *at = c->codes[b][0];
        tile_fetch(s.at, s.bytes);
        __m256i a0[TILE_ROWS], a1[TILE_ROWS];
        WEFT_ALIGNED(32) float first[TILE_ROWS][16];
        narrow_half(rows, kind, 1, a0, a1, at, x, x_stride, 0);
        if (kind.has_halves) {
            const __m256 h0 = _mm256_load_ps(c->half_scale[2 * b]);
            const __m256 h1 = _mm256_load_ps(c->half_scale[2 * b] + 8);
            TILE_EACH_ROW(rows, {
                _mm256_store_ps(first[r], _mm256_mul_ps(narrow_dot(kind, a0[r]), h0));
                _mm256_store_ps(first[r] + 8, _mm256_mul_ps(narrow_dot(kind, a1[r]), h1));
            });
        }
        narrow_half(rows, kind, kind.has_halves, a0, a1, at, x, x_stride, 4);
        TILE_FORGET();
        const float *half_scale = c->half_scale[2 * b + 1];
        const __m256 s0 = _mm256_load_ps(c->scale[b]);
        const __m256 s1 = _mm256_load_ps(c->scale[b] + 8);
        TILE_EACH_ROW(rows, {
            const act_block_q8 *block = block_at(x, x_stride, r);
            __m256 d0 = narrow_dot(kind, a0[r]);
            __m256 d1 = narrow_dot(kind, a1[r]);
            if (kind.has_halves) {
                d0 = _mm256_fmadd_ps(d0, _mm256_load_ps(half_scale), _mm256_load_ps(first[r]));
                d1 = _mm256_fmadd_ps(d1, _mm256_load_ps(half_scale + 8),
                                     _mm256_load_ps(first[r] + 8));
            }
            add_dot(y + 16 * r, d0, s0, block->scale);
            add_dot(y + 16 * r + 8, d1, s1, block->scale);
            if (kind.has_min) {
                add_min(y + 16 * r, c, b, block);
            }
        });
    }
}

/* ---- wide: no format with scales of halves is ---- */

/* Four groups from `group` on, into sums of 32 bits. */
TILE_INLINE void wide_half(int rows, __m256i a0[TILE_ROWS], __m256i a1[TILE_ROWS],
                           const uint8_t *at, const uint8_t *x, size_t x_stride, int group) {
    const __m256i ones = _mm256_set1_epi16(1);
    for (int g = group; g < group + 4; g++) {
        const __m256i w0 = tile_load(at + 64 * g);
        const __m256i w1 = tile_load(at + 64 * g + 32);
        const __m256i abs0 = _mm256_abs_epi8(w0);
        const __m256i abs1 = _mm256_abs_epi8(w1);
        TILE_EACH_ROW(rows, {
            const __m256i xs = tile_broadcast32(x + r * x_stride + 4 * g);
            const __m256i p0 = _mm256_maddubs_epi16(abs0, _mm256_sign_epi8(xs, w0));
            const __m256i p1 = _mm256_maddubs_epi16(abs1, _mm256_sign_epi8(xs, w1));
            a0[r] = _mm256_add_epi32(a0[r], _mm256_madd_epi16(p0, ones));
            TILE_PIN(a0[r]);
            a1[r] = _mm256_add_epi32(a1[r], _mm256_madd_epi16(p1, ones));
            TILE_PIN(a1[r]);
        });
    }
}

TILE_INLINE void wide(int rows, float *y, const opened_chunk *c, const uint8_t *x, size_t x_stride,
                      stream s) {
    for (size_t b = 0; b < c->n_blocks; b++, x += sizeof(act_block_q8), s.at += s.bytes) {
        const uint8_t *at = c->codes[b][0];
        tile_fetch(s.at, s.bytes);
        __m256i a0[TILE_ROWS], a1[TILE_ROWS];
        TILE_EACH_ROW(rows, { a0[r] = a1[r] = _mm256_setzero_si256(); });
        wide_half(rows, a0, a1, at, x, x_stride, 0);
        wide_half(rows, a0, a1, at, x, x_stride, 4);
        TILE_FORGET();
        const __m256 s0 = _mm256_load_ps(c->scale[b]);
        const __m256 s1 = _mm256_load_ps(c->scale[b] + 8);
        TILE_EACH_ROW(rows, {
            const float xs = block_at(x, x_stride, r)->scale;
            add_dot(y + 16 * r, _mm256_cvtepi32_ps(a0[r]), s0, xs);
            add_dot(y + 16 * r + 8, _mm256_cvtepi32_ps(a1[r]), s1, xs);
        });
    }
}

/* ---- the loop ---- */

/* As many rows as a tile takes, or what is left; returns how many. */
TILE_INLINE size_t tile(opened_kind kind, float *y, const opened_chunk *c, const uint8_t *x,
                        size_t x_stride, size_t rows, stream s) {
    if (kind.width == OPENED_WIDE) {
        switch (rows) {
        case 1: wide(1, y, c, x, x_stride, s); return 1;
        case 2: wide(2, y, c, x, x_stride, s); return 2;
        default: wide(3, y, c, x, x_stride, s); return 3;
        }
    }
    switch (rows) {
    case 1: narrow(1, kind, y, c, x, x_stride, s); return 1;
    case 2: narrow(2, kind, y, c, x, x_stride, s); return 2;
    case 3: narrow(3, kind, y, c, x, x_stride, s); return 3;
    case 4: narrow(4, kind, y, c, x, x_stride, s); return 4;
    case 5: narrow(5, kind, y, c, x, x_stride, s); return 5;
    default: narrow(6, kind, y, c, x, x_stride, s); return 6;
    }
}

/* What multiplies a single row; the others are opened for it too. */
static linear_one_fn *const one_row_of[WEFT_DTYPE_COUNT] = {
    [WEFT_DTYPE_Q2_K] = linear_one_q2_k_avx2,       [WEFT_DTYPE_Q3_K] = linear_one_q3_k_avx2,
    [WEFT_DTYPE_TQ2_0] = linear_one_tq2_0_avx2,     [WEFT_DTYPE_IQ4_NL] = linear_one_iq4_nl_avx2,
    [WEFT_DTYPE_IQ4_XS] = linear_one_iq4_xs_avx2,   [WEFT_DTYPE_MXFP4] = linear_one_mxfp4_avx2,
    [WEFT_DTYPE_IQ2_XXS] = linear_one_iq2_xxs_avx2, [WEFT_DTYPE_IQ2_XS] = linear_one_iq2_xs_avx2,
    [WEFT_DTYPE_IQ2_S] = linear_one_iq2_s_avx2,     [WEFT_DTYPE_IQ3_XXS] = linear_one_iq3_xxs_avx2,
    [WEFT_DTYPE_IQ3_S] = linear_one_iq3_s_avx2,     [WEFT_DTYPE_IQ1_S] = linear_one_iq1_s_avx2,
    [WEFT_DTYPE_IQ1_M] = linear_one_iq1_m_avx2,
};

TILE_INLINE void linear_opened(opened_kind kind, opened_open_fn *open, linear_one_fn *one, float *y,
                               size_t y_stride, const uint8_t *panel, const uint8_t *x,
                               size_t x_stride, size_t m, size_t n, size_t k) {
    WEFT_ALIGNED(64) float sums[OPENED_ROWS * PACK_PANEL_ROWS];
    opened_chunk c;
    c.middle = kind.width == OPENED_WIDE ? 0 : opened_middle(&kind);
    for (size_t from = 0; from < m; from += OPENED_ROWS) {
        const size_t rows = m - from < OPENED_ROWS ? m - from : OPENED_ROWS;
        const uint8_t *slab = panel;
        const uint8_t *x_chunk = x + from * x_stride;
        const size_t n_tiles = (rows - 1) / (kind.width == OPENED_WIDE ? WIDE_ROWS : TILE_ROWS) + 1;
        const size_t fetch_bytes = (kind.chunk_bytes / OPENED_BLOCKS / n_tiles + 63) / 64 * 64;
        memset(sums, 0, rows * PACK_PANEL_ROWS * sizeof(float));
        for (size_t col = 0; col < k; col += OPENED_COLS) {
            stream ahead = {slab, fetch_bytes};
            c.n_blocks = (k - col < OPENED_COLS ? k - col : OPENED_COLS) / ACT_BLOCK_LEN;
            if (one != NULL && rows == 1) {
                one(sums, slab, c.n_blocks, x_chunk);
            } else {
                open(&c, slab);
                for (size_t r = 0; r < rows; ahead.at += OPENED_BLOCKS * ahead.bytes) {
                    r += tile(kind, sums + r * PACK_PANEL_ROWS, &c, x_chunk + r * x_stride,
                              x_stride, rows - r, ahead);
                }
            }
            slab += kind.chunk_bytes;
            x_chunk += OPENED_BLOCKS * sizeof(act_block_q8);
        }
        for (size_t r = 0; r < rows; r++) {
            memcpy(y + (from + r) * y_stride, sums + r * PACK_PANEL_ROWS, n * sizeof(float));
        }
    }
}

#define X(NAME, name)                                                                             \
    void linear_##name##_avx2(float *y, size_t y_stride, const void *panel, const void *x,        \
                              size_t x_stride_bytes, size_t m, size_t n, size_t k) {              \
        linear_opened(opened_kind_##name, opened_##name##_avx2, one_row_of[WEFT_DTYPE_##NAME], y, \
                      y_stride, panel, x, x_stride_bytes, m, n, k);                               \
    }
PACK_OPENED_LIST(X)
#undef X
