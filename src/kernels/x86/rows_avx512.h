/* rows_avx512.h - up to 16 rows of activations in step, a register each.
 */
#ifndef WEFT_KERNELS_X86_ROWS_AVX512_H
#define WEFT_KERNELS_X86_ROWS_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout/act.h"
#include "layout/pack.h"

#define VNNI_INLINE static inline __attribute__((always_inline))

/* The statement for r = 0 .. rows - 1; r is a constant in each copy. */
#define VNNI_ROW(rows, number, ...) \
    {                               \
        enum { r = (number) };      \
        if ((number) < (rows)) {    \
            __VA_ARGS__             \
        }                           \
    }
#define VNNI_EACH_ROW(rows, ...)        \
    do {                                \
        VNNI_ROW(rows, 0, __VA_ARGS__)  \
        VNNI_ROW(rows, 1, __VA_ARGS__)  \
        VNNI_ROW(rows, 2, __VA_ARGS__)  \
        VNNI_ROW(rows, 3, __VA_ARGS__)  \
        VNNI_ROW(rows, 4, __VA_ARGS__)  \
        VNNI_ROW(rows, 5, __VA_ARGS__)  \
        VNNI_ROW(rows, 6, __VA_ARGS__)  \
        VNNI_ROW(rows, 7, __VA_ARGS__)  \
        VNNI_ROW(rows, 8, __VA_ARGS__)  \
        VNNI_ROW(rows, 9, __VA_ARGS__)  \
        VNNI_ROW(rows, 10, __VA_ARGS__) \
        VNNI_ROW(rows, 11, __VA_ARGS__) \
        VNNI_ROW(rows, 12, __VA_ARGS__) \
        VNNI_ROW(rows, 13, __VA_ARGS__) \
        VNNI_ROW(rows, 14, __VA_ARGS__) \
        VNNI_ROW(rows, 15, __VA_ARGS__) \
    } while (0)
#define VNNI_ROWS_MAX 16

/* How many of m rows a tile of up to `most` takes: a tile of less than four waits for its sums. */
VNNI_INLINE size_t vnni_tile_rows(size_t m, size_t most) {
    return m <= most ? m : m < most + 4 ? (m + 1) / 2 : most;
}

/* The call for a tile of n rows, from `least` to `most`, in which `rows` is n, a constant. */
#define VNNI_TILE_CASE(number, least, most, ...)         \
    case number: {                                       \
        enum { rows = (number) };                        \
        if ((number) >= (least) && (number) <= (most)) { \
            __VA_ARGS__;                                 \
        }                                                \
        break;                                           \
    }
#define VNNI_TILE(n, least, most, ...)                   \
    do {                                                 \
        switch (n) {                                     \
            VNNI_TILE_CASE(1, least, most, __VA_ARGS__)  \
            VNNI_TILE_CASE(2, least, most, __VA_ARGS__)  \
            VNNI_TILE_CASE(3, least, most, __VA_ARGS__)  \
            VNNI_TILE_CASE(4, least, most, __VA_ARGS__)  \
            VNNI_TILE_CASE(5, least, most, __VA_ARGS__)  \
            VNNI_TILE_CASE(6, least, most, __VA_ARGS__)  \
            VNNI_TILE_CASE(7, least, most, __VA_ARGS__)  \
            VNNI_TILE_CASE(8, least, most, __VA_ARGS__)  \
            VNNI_TILE_CASE(9, least, most, __VA_ARGS__)  \
            VNNI_TILE_CASE(10, least, most, __VA_ARGS__) \
            VNNI_TILE_CASE(11, least, most, __VA_ARGS__) \
            VNNI_TILE_CASE(12, least, most, __VA_ARGS__) \
            VNNI_TILE_CASE(13, least, most, __VA_ARGS__) \
            VNNI_TILE_CASE(14, least, most, __VA_ARGS__) \
            VNNI_TILE_CASE(15, least, most, __VA_ARGS__) \
            VNNI_TILE_CASE(16, least, most, __VA_ARGS__) \
        }                                                \
    } while (0)

/* The call for all tiles of m rows, m being at least `least`: from 4 on no tile has less than 4. y
 * and x are the tile's: m, y and x move on. */
#define VNNI_EACH_TILE(least, most, m, y, x, stride, ...)     \
    do {                                                      \
        while ((m) > 0) {                                     \
            const size_t tile_rows = vnni_tile_rows(m, most); \
            VNNI_TILE(tile_rows, least, most, __VA_ARGS__);   \
            (y) += tile_rows * PACK_PANEL_ROWS;               \
            (x) += tile_rows * (stride);                      \
            (m) -= tile_rows;                                 \
        }                                                     \
    } while (0)

/* Row r's activations: four base pointers and multiples of the stride reach sixteen. */
typedef struct vnni_rows {
    const uint8_t *base[4];
    size_t stride, stride3;
} vnni_rows;

VNNI_INLINE vnni_rows vnni_rows_of(const uint8_t *x, size_t stride) {
    return (vnni_rows){{x, x + 4 * stride, x + 8 * stride, x + 12 * stride}, stride, 3 * stride};
}

VNNI_INLINE void vnni_rows_step(vnni_rows *x, size_t bytes) {
    x->base[0] += bytes;
    x->base[1] += bytes;
    x->base[2] += bytes;
    x->base[3] += bytes;
}

VNNI_INLINE const uint8_t *vnni_row(const vnni_rows *x, int r) {
    return x->base[r / 4] + (r % 4 == 3 ? x->stride3 : (size_t)(r % 4) * x->stride);
}

VNNI_INLINE __m512i vnni_broadcast32(const void *p) {
    int32_t v;
    __builtin_memcpy(&v, p, sizeof(v));
    return _mm512_set1_epi32(v);
}

/* 16 halves as float32, and 16 bytes or words as integers of 32 bits. */
VNNI_INLINE __m512 vnni_load_f16(const void *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

VNNI_INLINE __m512i vnni_load_words(const uint16_t words[16]) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)words));
}

VNNI_INLINE __m512i vnni_load_bytes(const uint8_t bytes[16]) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)bytes));
}

/* 16 halves that the top nibbles of four words are (IQ1_M). */
VNNI_INLINE __m256i vnni_load_split_f16(const uint16_t (*words)[16]) {
    const __m256i top = _mm256_set1_epi16((short)0xf000);
    __m256i v[4];
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_and_si256(_mm256_loadu_si256((const __m256i *)words[i]), top);
    }
    const __m256i low = _mm256_or_si256(_mm256_srli_epi16(v[0], 12), _mm256_srli_epi16(v[1], 8));
    return _mm256_or_si256(low, _mm256_or_si256(_mm256_srli_epi16(v[2], 4), v[3]));
}

/* A row's block of ACT_Q8. */
VNNI_INLINE const act_block_q8 *vnni_block(const vnni_rows *x, int r) {
    return (const act_block_q8 *)vnni_row(x, r);
}

/* What sums of codes times activations begin with, so that codes count from their middle (0: there
 * is none): over a block, or over one half. By a shift, which is not in the multipliers' way. */
VNNI_INLINE __m512i vnni_start(int log2_middle, const act_block_q8 *x) {
    return log2_middle != 0
               ? _mm512_slli_epi32(vnni_broadcast32(&x->neg_totals[1]), (unsigned)log2_middle)
               : _mm512_setzero_si512();
}

VNNI_INLINE __m512i vnni_start_half(int log2_middle, const act_block_q8 *x, int half) {
    if (log2_middle == 0) {
        return _mm512_setzero_si512();
    }
    __m512i neg_sum = vnni_broadcast32(&x->neg_totals[0]);
    if (half == 1) {
        neg_sum = _mm512_sub_epi32(vnni_broadcast32(&x->neg_totals[1]), neg_sum);
    }
    return _mm512_slli_epi32(neg_sum, (unsigned)log2_middle);
}

/* Bytes of 256 columns of a row, in either form. */
#define VNNI_X_BYTES sizeof(act_block_steps)
_Static_assert(VNNI_X_BYTES == 8 * sizeof(act_block_q8), "8 blocks, or steps of one");

/* A row's step of ACT_STEPS, and its block of 256. */
VNNI_INLINE const act_step *vnni_step(const vnni_rows *x, int r) {
    return (const act_step *)vnni_row(x, r);
}

VNNI_INLINE const act_block_steps *vnni_block_steps(const vnni_rows *x, int r) {
    return (const act_block_steps *)vnni_row(x, r);
}

/* What sums over a step (ACT_STEP_ALL) or its half begin with, and what they then come to. Codes
 * with a middle have it at 128. */
VNNI_INLINE __m512i vnni_step_start(bool has_middle, const act_step *x, int half) {
    return vnni_broadcast32(has_middle ? (const void *)&x->starts[half] : (const void *)&x->base);
}

/* With a broadcast of another kind than the start's: gcc would keep that in registers, of which
 * there are not enough. */
VNNI_INLINE __m512 vnni_step_sum(bool has_middle, __m512i sum, const act_step *x) {
    const __m512 base =
        has_middle ? _mm512_castsi512_ps(vnni_broadcast32(&x->base)) : _mm512_set1_ps(x->base);
    return _mm512_sub_ps(_mm512_castsi512_ps(sum), base);
}

/* 256 columns: y + sum * d * scale, and y + (sum * d - least * dmin / 8) * scale. */
VNNI_INLINE __m512 vnni_add_steps(__m512 y, __m512 sum, __m512 d, const act_block_steps *x) {
    return _mm512_fmadd_ps(_mm512_mul_ps(sum, d), _mm512_set1_ps(x->scale), y);
}

VNNI_INLINE __m512 vnni_add_steps_least(__m512 y, __m512 sum, __m512 d, __m512i least, __m512 dmin,
                                        const act_block_steps *x) {
    const __m512 unit = _mm512_mul_ps(dmin, _mm512_set1_ps(-0.125f));
    const __m512 t = _mm512_fmadd_ps(_mm512_cvtepi32_ps(least), unit, _mm512_mul_ps(sum, d));
    return _mm512_fmadd_ps(t, _mm512_set1_ps(x->scale), y);
}

/* Weights are one stream, which is asked for before it is read, because the processor's own
 * prefetchers stop at every 4 KB. A line at a time, between products: a burst of them stalls.
 *
 * VNNI_AHEAD_BYTES before, where rows share a line, or one row takes many instructions for it,
 * and a core comes to the next one late. Where a line takes a few only, prefetchers lead, and lines
 * from so far would take the places of those that are due: while a page is read, they are shown the
 * first half of the next. */
#define VNNI_AHEAD_BYTES 7168u
#define VNNI_PAGE_BYTES 4096u

VNNI_INLINE void vnni_fetch_at(const uint8_t *at) { _mm_prefetch((const char *)at, _MM_HINT_T1); }

VNNI_INLINE void vnni_fetch_line(const uint8_t *at) { vnni_fetch_at(at + VNNI_AHEAD_BYTES); }

/* Where in the first half of the next page: as far as `at` is in its own. */
VNNI_INLINE const uint8_t *vnni_next_page(const uint8_t *at) {
    return at + VNNI_PAGE_BYTES - (uintptr_t)at % VNNI_PAGE_BYTES / 2;
}

VNNI_INLINE void vnni_fetch_lines(const uint8_t *at, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) {
        vnni_fetch_line(at + i);
    }
}

/* What is to be asked for while the bytes at `at` are multiplied, so many at each step. */
typedef struct vnni_ahead {
    const uint8_t *at;
    size_t step_bytes;
} vnni_ahead;

/* All of them in n_steps steps, not 0. */
VNNI_INLINE vnni_ahead vnni_ahead_of(const uint8_t *at, size_t bytes, size_t n_steps) {
    return (vnni_ahead){at, (bytes + 64 * n_steps - 1) / (64 * n_steps) * 64};
}

/* Nothing if a is NULL. */
VNNI_INLINE void vnni_ahead_step(vnni_ahead *a) {
    if (a != NULL) {
        vnni_fetch_lines(a->at, a->step_bytes);
        a->at += a->step_bytes;
    }
}

/* Outputs of a panel are one line of each row of y, and rows are far apart: the lines are asked for
 * when a product begins, so that they are there when it ends. */
VNNI_INLINE void vnni_fetch_outputs(const float *y, size_t y_stride, size_t rows) {
    for (size_t r = 0; r < rows; r++) {
        _mm_prefetch((const char *)(y + r * y_stride), _MM_HINT_T0);
    }
}

/* The same, and sums [rows][16], aligned to 64, are 0. */
VNNI_INLINE void vnni_begin_outputs(float *sums, const float *y, size_t y_stride, size_t rows) {
    vnni_fetch_outputs(y, y_stride, rows);
    for (size_t r = 0; r < rows; r++) {
        _mm512_store_ps(sums + r * PACK_PANEL_ROWS, _mm512_setzero_ps());
    }
}

/* y [rows][n] <- sums [rows][16] */
VNNI_INLINE void vnni_store_outputs(float *y, size_t y_stride, const float *sums, size_t rows,
                                    size_t n) {
    const __mmask16 there = (__mmask16)((1u << n) - 1);
    for (size_t r = 0; r < rows; r++) {
        _mm512_mask_storeu_ps(y + r * y_stride, there, _mm512_load_ps(sums + 16 * r));
    }
}

/* The same of the panels that n outputs take, whose sums are panel_floats apart. */
VNNI_INLINE void vnni_store_panels(float *y, size_t y_stride, const float *sums,
                                   size_t panel_floats, size_t rows, size_t n) {
    for (; n > 16; n -= 16, y += 16, sums += panel_floats) {
        vnni_store_outputs(y, y_stride, sums, rows, 16);
    }
    vnni_store_outputs(y, y_stride, sums, rows, n);
}

#endif /* WEFT_KERNELS_X86_ROWS_AVX512_H */
