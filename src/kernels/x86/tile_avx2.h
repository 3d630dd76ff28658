/* tile_avx2.h - the shape that all AVX2 products share.
 *
 *   for rows of x, ACT_CHUNK_ROWS at a time          their sums y stay in a 8 KB buffer
 *     for chunks of 256 columns of the panel         2.3 to 16 KB, in the first-level cache
 *       open(chunk)                                  scales to float32, once for all rows
 *       expand(chunk)                                codes to bytes, where many rows share them
 *       for tiles of 6 rows (the rest 5..1)          12 accumulators, 16 outputs wide
 *         tile(y, chunk, x)
 *
 * A format brings an `open` and its tiles; linear_run_avx2 is the loop. One row is a tile of one:
 * it reads the panel as one sequential stream. A tile only decides which rows are computed
 * together; the additions to one output are the same in each, so bits do not depend on it.
 */
#ifndef WEFT_KERNELS_X86_TILE_AVX2_H
#define WEFT_KERNELS_X86_TILE_AVX2_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "layout/act.h"
#include "layout/pack.h"

#define TILE_ROWS 6
#define TILE_COLS 256u
#define TILE_AHEAD 8192u /* bytes */
#define TILE_PAGE_BYTES 4096u
#define TILE_INLINE static inline __attribute__((always_inline))

/* gcc reassociates integer additions and then runs out of registers; a value that passes through
 * here is in its register at this point. */
#define TILE_PIN(v) __asm__ volatile("" : "+x"(v))

/* gcc knows no more of this address or offset than that a register holds it, so that it can't keep
 * sums of it with constants in registers of their own. */
#define TILE_KEEP(v) __asm__ volatile("" : "+r"(v))

/* sum += a * b, of 8 floats, in sum's register: gcc would use that of b and move it back. */
#define TILE_FMADD(sum, a, b) __asm__("vfmadd231ps %1, %2, %0" : "+x"(sum) : "x"(a), "x"(b))

/* gcc keeps a second copy of sums that are stored anyway; memory is all that is read after here. */
#define TILE_FORGET() __asm__ volatile("" : : : "memory")

/* The statement for r = 0 .. rows - 1, unrolled by the preprocessor: r is a constant in each copy,
 * so that arrays indexed by it become registers with every compiler. */
#define TILE_ROW(rows, number, ...) \
    {                               \
        enum { r = (number) };      \
        if ((number) < (rows)) {    \
            __VA_ARGS__             \
        }                           \
    }
#define TILE_EACH_ROW(rows, ...)       \
    do {                               \
        TILE_ROW(rows, 0, __VA_ARGS__) \
        TILE_ROW(rows, 1, __VA_ARGS__) \
        TILE_ROW(rows, 2, __VA_ARGS__) \
        TILE_ROW(rows, 3, __VA_ARGS__) \
        TILE_ROW(rows, 4, __VA_ARGS__) \
        TILE_ROW(rows, 5, __VA_ARGS__) \
    } while (0)

/* tile(rows, ...) for 1 .. TILE_ROWS rows, which are a constant in each of six copies. */
#define TILE_OF(rows, tile, ...)                  \
    switch (rows) {                               \
    case 1: tile(1, __VA_ARGS__); break;          \
    case 2: tile(2, __VA_ARGS__); break;          \
    case 3: tile(3, __VA_ARGS__); break;          \
    case 4: tile(4, __VA_ARGS__); break;          \
    case 5: tile(5, __VA_ARGS__); break;          \
    default: tile(TILE_ROWS, __VA_ARGS__); break; \
    }

/* Up to 256 columns of a panel, opened. Integer formats fill scale and min by block of 32;
 * Q6_K also the pairs of its 16 integer scales. */
typedef struct tile_chunk {
    WEFT_ALIGNED(64) float scale[8][PACK_PANEL_ROWS];
    float min[8][PACK_PANEL_ROWS];
    int16_t pair[16][2 * PACK_PANEL_ROWS];
    uint8_t codes[8][8][64]; /* filled by expand: a byte a code, by block and group */
    const uint8_t *panel;    /* where the codes start */
    const uint8_t *ahead;    /* what a tile of an expanded chunk asks for: its share of the lines */
    size_t ahead_bytes;      /* that a chunk to come has */
    size_t n_cols;
} tile_chunk;

typedef void tile_open_fn(tile_chunk *c, const uint8_t *slabs);
typedef void tile_expand_fn(tile_chunk *c);
/* y [rows][16] += x [rows] . chunk, for 1 .. TILE_ROWS rows */
typedef void tile_fn(size_t rows, float *y, const tile_chunk *c, const uint8_t *x, size_t x_stride);

typedef struct tile_format {
    tile_open_fn *open;
    tile_fn *tile;
    tile_expand_fn *expand; /* NULL: never worth it */
    tile_fn *expanded;      /* after expand */
    size_t expand_rows_min; /* from which it pays */
    size_t chunk_bytes;     /* of TILE_COLS columns of a panel */
    size_t x_chunk_bytes;   /* of TILE_COLS columns of x */
} tile_format;

void linear_run_avx2(const tile_format *f, float *y, size_t y_stride, const void *panel,
                     const void *x, size_t x_stride_bytes, size_t m, size_t n, size_t k);

TILE_INLINE __m256i tile_broadcast32(const void *p) {
    int32_t v;
    __builtin_memcpy(&v, p, sizeof(v));
    return _mm256_set1_epi32(v);
}

/* Asks, for the second-level cache, for what the stream of weights will come to after `bytes` at
 * `at`, because the processor's own prefetchers stop at every 4 KB: where rows share weights, or
 * one row takes many instructions for them, and come to the next ones late, or for what lies
 * apart. */
TILE_INLINE void tile_fetch_far(const void *at, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) {
        _mm_prefetch((const char *)at + i + TILE_AHEAD, _MM_HINT_T1);
    }
}

/* The same where a line takes so few instructions, as for a row alone, that prefetchers lead, and
 * lines from so far would take the places of those that are due: while a page is read, they are
 * shown the first half of the next. */
TILE_INLINE void tile_fetch_next(const void *at, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) {
        const char *read = (const char *)at + i;
        const size_t in_page = (uintptr_t)read % TILE_PAGE_BYTES;
        _mm_prefetch(read + TILE_PAGE_BYTES - in_page / 2, _MM_HINT_T1);
    }
}

TILE_INLINE void tile_fetch(bool is_fast, const void *at, size_t bytes) {
    if (is_fast) {
        tile_fetch_next(at, bytes);
    } else {
        tile_fetch_far(at, bytes);
    }
}

/* At block b of an expanded chunk: every eighth line of the tile's share. */
TILE_INLINE void tile_fetch_share(const tile_chunk *c, size_t b) {
    for (size_t i = 64 * b; i < c->ahead_bytes; i += 8 * 64) {
        tile_fetch_far(c->ahead + i, 64);
    }
}

TILE_INLINE __m256i tile_load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }

TILE_INLINE void tile_store(void *to, __m256i v) { _mm256_store_si256((__m256i *)to, v); }

TILE_INLINE __m256 tile_load_f16(const void *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

/* A group of 4 columns, codes of 8 outputs in each of w0 and w1: 16-bit sums of each row a0 and a1
 * += codes times x, or = where it is the first. */
TILE_INLINE void tile_add_products(int rows, int is_first, __m256i a0[TILE_ROWS],
                                   __m256i a1[TILE_ROWS], __m256i w0, __m256i w1, const uint8_t *x,
                                   size_t x_stride) {
    TILE_EACH_ROW(rows, {
        const __m256i xs = tile_broadcast32(x + r * x_stride);
        if (is_first) {
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

/* The same of a pair of columns of 16 bits, in sums of 32. */
TILE_INLINE void tile_add_words(int rows, int is_first, __m256i a0[TILE_ROWS],
                                __m256i a1[TILE_ROWS], __m256i w0, __m256i w1, const uint8_t *x,
                                size_t x_stride) {
    TILE_EACH_ROW(rows, {
        const __m256i xs = tile_broadcast32(x + r * x_stride);
        if (is_first) {
            a0[r] = _mm256_madd_epi16(w0, xs);
            a1[r] = _mm256_madd_epi16(w1, xs);
        } else {
            a0[r] = _mm256_add_epi32(a0[r], _mm256_madd_epi16(w0, xs));
            TILE_PIN(a0[r]);
            a1[r] = _mm256_add_epi32(a1[r], _mm256_madd_epi16(w1, xs));
            TILE_PIN(a1[r]);
        }
    });
}

/* y [8] += dot * (scale * xs) */
TILE_INLINE void tile_add_dot(float *y, __m256 dot, __m256 scale, float xs) {
    const __m256 factor = _mm256_mul_ps(scale, _mm256_set1_ps(xs));
    _mm256_store_ps(y, _mm256_fmadd_ps(dot, factor, _mm256_load_ps(y)));
}

/* Where 256 columns are summed before d multiplies them (products.h): sums [8] += dot * xs, and
 * then y [16] += sums * d. */
TILE_INLINE void tile_add_unscaled(float *sums, __m256 dot, float xs) {
    _mm256_store_ps(sums, _mm256_fmadd_ps(dot, _mm256_set1_ps(xs), _mm256_load_ps(sums)));
}

TILE_INLINE void tile_add_summed(float *y, const float *sums, const float *d) {
    for (size_t i = 0; i < PACK_PANEL_ROWS; i += 8) {
        const __m256 sum = _mm256_load_ps(sums + i), scale = _mm256_load_ps(d + i);
        _mm256_store_ps(y + i, _mm256_fmadd_ps(sum, scale, _mm256_load_ps(y + i)));
    }
}

#endif /* WEFT_KERNELS_X86_TILE_AVX2_H */
