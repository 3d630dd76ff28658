/* linear_f8_fastbf16.c - products of F8_E4M3 weights with bf16 activations, by vdpbf16ps.
 *
 *   for rows of x, ACT_CHUNK_ROWS at a time
 *     for blocks of 128 columns of the panel
 *       open                                         codes to pairs of bf16, for all rows: 4 KB
 *       for tiles of 12 rows (then 8, 4, 2, 1)       two registers of sums a row
 *
 * Up to 8 rows multiply what they open. Two chains an output (products.h) keep few rows from
 * waiting for their sums. Many are bound by 66 instructions of a row for 2048 multiply-adds, one or
 * two by memory.
 */
#include "base/compiler.h"
#include "kernels/products.h"
#include "kernels/x86/f8_pairs_avx512.h"

#define PAIRS (PAIRS_BLOCK_LEN / 2)

/* 128 columns, opened: a pair of them is 16 outputs, each with both. */
typedef struct pairs_block {
    WEFT_ALIGNED(64) uint16_t pairs[PAIRS][32];
    float scale[PACK_PANEL_ROWS];
} pairs_block;

VNNI_INLINE __m512 add_pair(__m512 sum, __m512i w, const uint8_t *x) {
    return _mm512_dpbf16_ps(sum, (__m512bh)vnni_broadcast32(x), (__m512bh)w);
}

/* Four columns: a pair to each chain. */
VNNI_INLINE void add_pairs(int rows, __m512 even[VNNI_ROWS_MAX], __m512 odd[VNNI_ROWS_MAX],
                           const __m512i pairs[2], const vnni_rows *x) {
    VNNI_EACH_ROW(rows, { even[r] = add_pair(even[r], pairs[0], vnni_row(x, r)); });
    VNNI_EACH_ROW(rows, { odd[r] = add_pair(odd[r], pairs[1], vnni_row(x, r) + 4); });
}

/* y [rows][16] += (even + odd) * d */
VNNI_INLINE void add_chains(int rows, float *y, const __m512 even[VNNI_ROWS_MAX],
                            const __m512 odd[VNNI_ROWS_MAX], __m512 d) {
    VNNI_EACH_ROW(rows, {
        const __m512 sum = _mm512_add_ps(even[r], odd[r]);
        _mm512_store_ps(y + 16 * r, _mm512_fmadd_ps(sum, d, _mm512_load_ps(y + 16 * r)));
    });
}

/* y [rows][16] += x [rows][128] . block */
VNNI_INLINE void tile(int rows, float *y, const pairs_block *block, const uint8_t *from,
                      size_t stride) {
    vnni_rows x = vnni_rows_of(from, stride);
    __m512 even[VNNI_ROWS_MAX], odd[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { even[r] = odd[r] = _mm512_setzero_ps(); });
    for (size_t p = 0; p < PAIRS; p += 2, vnni_rows_step(&x, 8)) {
        const __m512i pairs[2] = {_mm512_load_si512(block->pairs[p]),
                                  _mm512_load_si512(block->pairs[p + 1])};
        add_pairs(rows, even, odd, pairs, &x);
    }
    add_chains(rows, y, even, odd, _mm512_load_ps(block->scale));
}

static void tiles(float *y, const pairs_block *block, const uint8_t *x, size_t stride, size_t m) {
    VNNI_EACH_TILE(12u, m, y, x, stride, tile(rows, y, block, x, stride));
}

/* y [rows][16] += x [rows][128] . slab, multiplied as it is opened */
VNNI_INLINE void few(int rows, float *y, const slab_f8_e4m3 *slab, const uint8_t *from,
                     size_t stride) {
    vnni_rows x = vnni_rows_of(from, stride);
    __m512i largest = _mm512_setzero_si512();
    __m512 even[VNNI_ROWS_MAX], odd[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { even[r] = odd[r] = _mm512_setzero_ps(); });
    vnni_fetch_line((const uint8_t *)slab);
    for (size_t g = 0; g < PAIRS / 2; g++, vnni_rows_step(&x, 8)) {
        __m512i pairs[2];
        vnni_fetch_line(slab->codes[g]);
        largest = _mm512_max_epu8(largest, f8_to_pairs(pairs, _mm512_loadu_si512(slab->codes[g])));
        add_pairs(rows, even, odd, pairs, &x);
    }
    add_chains(rows, y, even, odd, _mm512_loadu_ps(slab->scale));
    for (int r = 0; r < rows; r++) {
        f8_mark_nan(y + 16 * r, largest);
    }
}

static void add_slab(float *sums, const slab_f8_e4m3 *slab, const uint8_t *x, size_t x_stride,
                     size_t rows) {
    switch (rows) { /* more than 8 share what is opened */
    case 1: few(1, sums, slab, x, x_stride); return;
    case 2: few(2, sums, slab, x, x_stride); return;
    case 3: few(3, sums, slab, x, x_stride); return;
    case 4: few(4, sums, slab, x, x_stride); return;
    case 5: few(5, sums, slab, x, x_stride); return;
    case 6: few(6, sums, slab, x, x_stride); return;
    case 7: few(7, sums, slab, x, x_stride); return;
    case 8: few(8, sums, slab, x, x_stride); return;
    }
    pairs_block block;
    f8_open_pairs(block.pairs, block.scale, slab);
    tiles(sums, &block, x, x_stride, rows);
}

void linear_f8_e4m3_fastbf16(float *y, size_t y_stride, const void *panel, const void *x,
                             size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    f8_linear(add_slab, PAIRS_BLOCK_LEN * sizeof(uint16_t), y, y_stride, panel, x, x_stride_bytes,
              m, n, k);
}
