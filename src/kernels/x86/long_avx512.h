/* long_avx512.h - weights that are whole numbers for 256 columns, with ACT_Q8_256.
 *
 * With one scale for 256 activations, and one for as many weights, all between is integers: I = sum
 * of w * x, w a code times its whole scale, and where there are minimums M = sum of mn * x. A file
 * of formats gives I, by vpdpbusd for few rows, or in planes of bytes that tiles of AMX multiply
 * (long_amx.h); here is how bytes of planes are made, and how I and M become a row's output.
 */
#ifndef WEFT_KERNELS_X86_LONG_AVX512_H
#define WEFT_KERNELS_X86_LONG_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "kernels/x86/rows_avx512.h"
#include "layout/act.h"

#define LONG_GROUPS (ACT_LONG_LEN / 4)

typedef act_block_q8_256 long_x;

typedef struct long_factors {
    WEFT_ALIGNED(64) float d[16];
    float neg_dmin[16];
    int32_t min_pairs[8][16]; /* two neighbours' minimums, 16 bits each */
} long_factors;

typedef uint8_t long_plane[LONG_GROUPS][64]; /* by group of 4 columns */

/* Reads the scales of the chunk that begins at slab. */
typedef void long_open_fn(void *chunk, long_factors *factors, const uint8_t *slab);
/* The planes of 32 columns of an opened chunk, number b. */
typedef void long_make_fn(long_plane planes[2], const void *chunk, size_t b);
/* y [rows][16] += x . an opened chunk; rows is 8, 4, 2 or 1. */
typedef void long_few_fn(int rows, float *y, const void *chunk, const long_factors *factors,
                         const uint8_t *x, size_t x_stride);

/* What a product's code is made for; all constants. */
typedef struct long_kind {
    int n_planes;
    int log2_high;
    int is_signed;   /* the bytes of planes */
    int n_min_pairs; /* 0, 4 where every 32 columns have a minimum, 8 where every 16 do */
    size_t few_rows_max;
    size_t chunk_bytes;
    long_open_fn *open;
    long_make_fn *make;
    long_few_fn *few;
} long_kind;

VNNI_INLINE __m512i long_pair(__m512i even, __m512i odd) {
    return _mm512_mask_blend_epi16(0xaaaaaaaau, even, _mm512_slli_epi32(odd, 16));
}

/* What codes of bytes are multiplied by in vpmaddubsw, and what is added. */
typedef struct long_scale {
    __m512i even, odd, bias;
} long_scale;

/* Codes are 2^log2_middle more than they stand for; products shall be `more` more. */
VNNI_INLINE long_scale long_scale_of(__m512i scale, int log2_middle, int16_t more) {
    const __m512i both = long_pair(scale, scale);
    const __m512i middle = _mm512_slli_epi16(both, (unsigned)log2_middle);
    return (long_scale){
        .even = _mm512_and_si512(both, _mm512_set1_epi16(255)),
        .odd = _mm512_slli_epi16(both, 8),
        .bias = log2_middle != 0 ? _mm512_sub_epi16(_mm512_set1_epi16(more), middle)
                                 : _mm512_set1_epi16(more),
    };
}

/* Products of 64 codes, which fit a byte. */
VNNI_INLINE void long_multiply(uint8_t to[64], __m512i q, long_scale by) {
    const __m512i even = _mm512_add_epi16(_mm512_maddubs_epi16(q, by.even), by.bias);
    const __m512i odd = _mm512_add_epi16(_mm512_maddubs_epi16(q, by.odd), by.bias);
    _mm512_store_si512(
        to, _mm512_mask_blend_epi8(0xaaaaaaaaaaaaaaaau, even, _mm512_slli_epi16(odd, 8)));
}

/* Products plus 64, which are 128 * high + (low + 64). */
VNNI_INLINE void long_split(uint8_t high[64], uint8_t low[64], __m512i q, long_scale by) {
    const __mmask64 odds = 0xaaaaaaaaaaaaaaaau;
    const __m512i even = _mm512_add_epi16(_mm512_maddubs_epi16(q, by.even), by.bias);
    const __m512i odd = _mm512_add_epi16(_mm512_maddubs_epi16(q, by.odd), by.bias);
    const __m512i lows = _mm512_mask_blend_epi8(odds, even, _mm512_slli_epi16(odd, 8));
    const __m512i low7 = _mm512_and_si512(lows, _mm512_set1_epi8(127));
    _mm512_store_si512(
        high, _mm512_mask_blend_epi8(odds, _mm512_srli_epi16(even, 7), _mm512_slli_epi16(odd, 1)));
    _mm512_store_si512(low, _mm512_sub_epi8(low7, _mm512_set1_epi8(64)));
}

/* What long_add_row needs of a chunk, in registers. */
typedef struct long_registers {
    __m512 d, neg_dmin;
    __m512i min_pairs[8];
} long_registers;

VNNI_INLINE long_registers long_registers_of(const long_factors *f) {
    return (long_registers){
        _mm512_load_ps(f->d),
        _mm512_load_ps(f->neg_dmin),
        {_mm512_load_si512(f->min_pairs[0]), _mm512_load_si512(f->min_pairs[1]),
         _mm512_load_si512(f->min_pairs[2]), _mm512_load_si512(f->min_pairs[3]),
         _mm512_load_si512(f->min_pairs[4]), _mm512_load_si512(f->min_pairs[5]),
         _mm512_load_si512(f->min_pairs[6]), _mm512_load_si512(f->min_pairs[7])},
    };
}

/* sums of minimums times x, two neighbours at a time. */
VNNI_INLINE __m512i long_mins(int n_pairs, const long_registers *f, const int16_t *sums) {
    __m512i mins = _mm512_setzero_si512();
    mins = _mm512_dpwssd_epi32(mins, f->min_pairs[0], vnni_broadcast32(sums));
    mins = _mm512_dpwssd_epi32(mins, f->min_pairs[1], vnni_broadcast32(sums + 2));
    mins = _mm512_dpwssd_epi32(mins, f->min_pairs[2], vnni_broadcast32(sums + 4));
    mins = _mm512_dpwssd_epi32(mins, f->min_pairs[3], vnni_broadcast32(sums + 6));
    if (n_pairs == 8) {
        mins = _mm512_dpwssd_epi32(mins, f->min_pairs[4], vnni_broadcast32(sums + 8));
        mins = _mm512_dpwssd_epi32(mins, f->min_pairs[5], vnni_broadcast32(sums + 10));
        mins = _mm512_dpwssd_epi32(mins, f->min_pairs[6], vnni_broadcast32(sums + 12));
        mins = _mm512_dpwssd_epi32(mins, f->min_pairs[7], vnni_broadcast32(sums + 14));
    }
    return mins;
}

/* v + d * xs * I - dmin * xs * M, 16 outputs of a row. */
VNNI_INLINE __m512 long_add(long_kind kind, __m512 v, long_registers f, const long_x *x,
                            __m512i sum) {
    const __m512 xs = _mm512_set1_ps(x->scale);
    v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(f.d, xs), v);
    if (kind.n_min_pairs > 0) {
        const __m512i mins =
            long_mins(kind.n_min_pairs, &f, kind.n_min_pairs == 8 ? x->sums16 : x->sums32);
        v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(mins), _mm512_mul_ps(f.neg_dmin, xs), v);
    }
    return v;
}

/* y += the same */
VNNI_INLINE void long_add_row(long_kind kind, float *y, long_registers f, const long_x *x,
                              __m512i sum) {
    _mm512_store_ps(y, long_add(kind, _mm512_load_ps(y), f, x, sum));
}

#endif /* WEFT_KERNELS_X86_LONG_AVX512_H */
