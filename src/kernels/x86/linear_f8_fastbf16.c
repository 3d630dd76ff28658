/* linear_f8_fastbf16.c - products of F8_E4M3 weights with bf16 activations, by vdpbf16ps.
 *
 *   for rows of x, ACT_CHUNK_ROWS at a time
 *     for blocks of 128 columns of the panel
 *       a tile of up to 12 rows                      codes to pairs of bf16, multiplied at once
 *       for tiles of up to 12 rows                   what the first tile has opened: 4 KB
 *
 * With VBMI both bytes of 64 numbers are looked up, each in a list of 128: two look-ups, the sign
 * and two steps that put bytes together, beside two products a row. Two chains an output
 * (products.h), two registers of sums a row, keep few rows from waiting for their sums.
 */
#include "base/compiler.h"
#include "kernels/products.h"
#include "kernels/x86/f8_avx512.h"

#define PAIRS (PAIRS_BLOCK_LEN / 2)
#define TILE 12

/* 128 columns, opened: a pair of them is 16 outputs, each with both. */
typedef struct pairs_block {
    WEFT_ALIGNED(64) uint16_t pairs[PAIRS][32];
} pairs_block;

/* Bytes of the bf16 numbers that codes stand for, without their sign. In the upper byte are seven
 * bits of the exponent, in the lower one the last and the mantissa. Codes without an exponent, the
 * first eight, have one here; the last code is NaN. */
#define UPPER(e) (((e) + 120) >> 1)
#define UPPER8(e) UPPER(e), UPPER(e), UPPER(e), UPPER(e), UPPER(e), UPPER(e), UPPER(e), UPPER(e)
#define LOWER(e, m) (((e) + 120) % 2 << 7 | (m) << 4)
#define LOWER7(e) \
    LOWER(e, 0), LOWER(e, 1), LOWER(e, 2), LOWER(e, 3), LOWER(e, 4), LOWER(e, 5), LOWER(e, 6)
#define LOWER8(e) LOWER7(e), LOWER(e, 7)

static const WEFT_ALIGNED(64) uint8_t f8_uppers[128] = {
    0,         UPPER(-2),  UPPER(-1),  UPPER(-1),  UPPER(0),   UPPER(0),   UPPER(0),  UPPER(0),
    UPPER8(1), UPPER8(2),  UPPER8(3),  UPPER8(4),  UPPER8(5),  UPPER8(6),  UPPER8(7), UPPER8(8),
    UPPER8(9), UPPER8(10), UPPER8(11), UPPER8(12), UPPER8(13), UPPER8(14), UPPER(15), UPPER(15),
    UPPER(15), UPPER(15),  UPPER(15),  UPPER(15),  UPPER(15),  0x7f,
};
static const WEFT_ALIGNED(64) uint8_t f8_lowers[128] = {
    0,           LOWER(-2, 0), LOWER(-1, 0), LOWER(-1, 4), LOWER(0, 0), LOWER(0, 2),
    LOWER(0, 4), LOWER(0, 6),  LOWER8(1),    LOWER8(2),    LOWER8(3),   LOWER8(4),
    LOWER8(5),   LOWER8(6),    LOWER8(7),    LOWER8(8),    LOWER8(9),   LOWER8(10),
    LOWER8(11),  LOWER8(12),   LOWER8(13),   LOWER8(14),   LOWER7(15),  0xc0,
};

/* The lists in registers: gcc would load them for each look-up, as those of lists_avx512vbmi.h,
 * which are longer, are. */
typedef struct f8_lists {
    __m512i upper[2], lower[2], sign;
} f8_lists;

VNNI_INLINE f8_lists f8_lists_load(void) {
    f8_lists l = {
        .upper = {_mm512_load_si512(f8_uppers), _mm512_load_si512(f8_uppers + 64)},
        .lower = {_mm512_load_si512(f8_lowers), _mm512_load_si512(f8_lowers + 64)},
        .sign = _mm512_set1_epi8((char)0x80),
    };
    __asm__("" : "+v"(l.upper[0]), "+v"(l.upper[1]), "+v"(l.lower[0]), "+v"(l.lower[1]));
    return l;
}

/* Four columns of 16 outputs, in two pairs. */
VNNI_INLINE void to_pairs(__m512i pairs[2], const f8_lists *l, __m512i codes) {
    const __m512i lower = _mm512_permutex2var_epi8(l->lower[0], codes, l->lower[1]);
    __m512i upper = _mm512_permutex2var_epi8(l->upper[0], codes, l->upper[1]);
    upper = _mm512_ternarylogic_epi64(upper, codes, l->sign, 0xf8); /* upper | (codes & sign) */
    pairs[0] = _mm512_unpacklo_epi8(lower, upper);
    pairs[1] = _mm512_unpackhi_epi8(lower, upper);
}

VNNI_INLINE __m512 add_pair(__m512 sum, __m512i w, const uint8_t *x) {
    return _mm512_dpbf16_ps(sum, (__m512bh)vnni_broadcast32(x), (__m512bh)w);
}

/* Sums of a tile, in two chains. */
typedef struct chains {
    __m512 even[VNNI_ROWS_MAX], odd[VNNI_ROWS_MAX];
} chains;

VNNI_INLINE void chains_start(int rows, chains *c) {
    VNNI_EACH_ROW(rows, { c->even[r] = c->odd[r] = _mm512_setzero_ps(); });
}

/* Four columns: a pair to each chain. */
VNNI_INLINE void chains_add(int rows, chains *c, const __m512i pairs[2], const vnni_rows *x) {
    VNNI_EACH_ROW(rows, { c->even[r] = add_pair(c->even[r], pairs[0], vnni_row(x, r)); });
    VNNI_EACH_ROW(rows, { c->odd[r] = add_pair(c->odd[r], pairs[1], vnni_row(x, r) + 4); });
}

/* y [rows][16] += (even + odd) * d */
VNNI_INLINE void chains_end(int rows, float *y, const chains *c, const slab_f8_e4m3 *slab) {
    const __m512 d = _mm512_loadu_ps(slab->scale);
    VNNI_EACH_ROW(rows, {
        const __m512 sum = _mm512_add_ps(c->even[r], c->odd[r]);
        _mm512_store_ps(y + 16 * r, _mm512_fmadd_ps(sum, d, _mm512_load_ps(y + 16 * r)));
    });
}

/* y [rows][16] += x [rows][128] . slab, which is opened, and kept if `keep` is not null. */
VNNI_INLINE void opening_tile(int rows, float *y, pairs_block *keep, const slab_f8_e4m3 *slab,
                              const uint8_t *from, size_t stride) {
    vnni_rows x = vnni_rows_of(from, stride);
    const f8_lists l = f8_lists_load();
    chains c;
    chains_start(rows, &c);
    vnni_fetch_line((const uint8_t *)slab);
    for (size_t g = 0; g < PAIRS / 2; g++, vnni_rows_step(&x, 8)) {
        __m512i pairs[2];
        vnni_fetch_line(slab->codes[g]);
        to_pairs(pairs, &l, _mm512_loadu_si512(slab->codes[g]));
        if (keep != NULL) {
            _mm512_store_si512(keep->pairs[2 * g], pairs[0]);
            _mm512_store_si512(keep->pairs[2 * g + 1], pairs[1]);
        }
        chains_add(rows, &c, pairs, &x);
    }
    chains_end(rows, y, &c, slab);
}

/* y [rows][16] += x [rows][128] . slab, of which `block` is what was opened */
VNNI_INLINE void tile(int rows, float *y, const pairs_block *block, const slab_f8_e4m3 *slab,
                      const uint8_t *from, size_t stride) {
    vnni_rows x = vnni_rows_of(from, stride);
    chains c;
    chains_start(rows, &c);
    for (size_t p = 0; p < PAIRS; p += 2, vnni_rows_step(&x, 8)) {
        const __m512i pairs[2] = {_mm512_load_si512(block->pairs[p]),
                                  _mm512_load_si512(block->pairs[p + 1])};
        chains_add(rows, &c, pairs, &x);
    }
    chains_end(rows, y, &c, slab);
}

static void add_slab(float *sums, const slab_f8_e4m3 *slab, const uint8_t *x, size_t x_stride,
                     size_t m) {
    const size_t first = vnni_tile_rows(m, TILE);
    if (first == m) {
        VNNI_TILE(m, 1, TILE, opening_tile(rows, sums, NULL, slab, x, x_stride));
        return;
    }
    pairs_block block;
    VNNI_TILE(first, TILE / 2 + 1, TILE, opening_tile(rows, sums, &block, slab, x, x_stride));
    sums += first * PACK_PANEL_ROWS;
    x += first * x_stride;
    m -= first;
    VNNI_EACH_TILE(4, TILE, m, sums, x, x_stride, tile(rows, sums, &block, slab, x, x_stride));
}

void linear_f8_e4m3_fastbf16(float *y, size_t y_stride, const void *panel, const void *x,
                             size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    f8_linear(add_slab, PAIRS_BLOCK_LEN * sizeof(uint16_t), y, y_stride, panel, x, x_stride_bytes,
              m, n, k);
}
