/* linear_grids_avx512vbmi.c - products of codebooks whose points come from registers, by AVX-512
 * with VNNI, VBMI and GFNI.
 *
 * A point is two bytes (tensor/quant_grids.h), and a codebook a list of low ones and one of high
 * ones (grids.h), 256 to 2048 long. vpermi2b looks 64 of them up at once among 128: two of it do so
 * among 256, and a bit of the indices chooses. IQ1's high bytes take three of it, not 16: its list
 * is sorted, so that they seldom change. Everything is in lanes of 32 bits, one an output:
 *
 *   index        bytes of a lane, points of a block's 32 columns
 *   points       two registers, low and high bytes
 *   signs        a lane's 32 bits; the eighth of a point, which makes their number even, comes of a
 *                multiplication by a matrix of bits
 *   numbers      vpmultishiftqb takes 4 columns of 16 outputs out of points, a byte each, and their
 *                signs out of signs
 *   codes        vpermb turns number and sign to the value plus the middle
 *
 * Codes are then a group of a slab, as everywhere. Up to FEW_ROWS rows are multiplied by them
 * without a store; for more a chunk is opened, and linear_opened_avx512.c's tiles multiply.
 * Few rows are bound by the 45 (IQ2_XXS) to 80 (IQ1_S) instructions a block that make codes, of
 * which look-ups and products share one unit: one row reads 0.2 to 0.5 of what plain reading does.
 */
#include <immintrin.h>

#include "kernels/grids.h"
#include "kernels/opened.h"
#include "kernels/products.h"
#include "kernels/x86/linear_opened_avx512.h"
#include "kernels/x86/lists_avx512vbmi.h"
#include "kernels/x86/rows_avx512.h"

#define FEW_ROWS 4
#define MIDDLE 128 /* of codes: x comes in steps (layout/act.h) */

/* ---- bits of lanes ---- */

/* Four bytes of each lane: eight bits from bit `from` on, from bit from + step, and so on. Two
 * lanes are a ring of 64 bits: what is beyond one comes from the other. */
VNNI_INLINE __m512i lanes_bits(__m512i v, unsigned from, unsigned step) {
    const uint64_t places = 0x0302010003020100u * step + 0x0101010101010101u * from;
    const uint64_t second = 0x2020202000000000u;
    return _mm512_multishift_epi64_epi8(_mm512_set1_epi64((long long)(places + second)), v);
}

/* Four rows of 16 bytes become the bytes of 16 lanes. */
VNNI_INLINE __m512i lanes_of_rows(const uint8_t (*rows)[16]) {
    const __m512i order =
        _mm512_set_epi32(0x3f2f1f0f, 0x3e2e1e0e, 0x3d2d1d0d, 0x3c2c1c0c, 0x3b2b1b0b, 0x3a2a1a0a,
                         0x39291909, 0x38281808, 0x37271707, 0x36261606, 0x35251505, 0x34241404,
                         0x33231303, 0x32221202, 0x31211101, 0x30201000);
    return _mm512_permutexvar_epi8(order, _mm512_loadu_si512(rows));
}

/* Low (byte 0) or high (1) bytes of four rows of 16 words. */
VNNI_INLINE __m512i bytes_of_words(const uint16_t (*rows)[16], char byte) {
    const __m512i order =
        _mm512_set_epi32(0x7e5e3e1e, 0x7c5c3c1c, 0x7a5a3a1a, 0x78583818, 0x76563616, 0x74543414,
                         0x72523212, 0x70503010, 0x6e4e2e0e, 0x6c4c2c0c, 0x6a4a2a0a, 0x68482808,
                         0x66462606, 0x64442404, 0x62422202, 0x60402000);
    return _mm512_permutex2var_epi8(_mm512_loadu_si512(rows),
                                    _mm512_add_epi8(order, _mm512_set1_epi8(byte)),
                                    _mm512_loadu_si512(rows + 2));
}

/* Seven signs of each byte, from bit 0 or 1 on, become eight, an even number of them minus. */
VNNI_INLINE __m512i signs8(__m512i signs7, int from) {
    const long long matrix = from == 0 ? 0x010204081020407f : 0x02040810204080fe;
    return _mm512_gf2p8affine_epi64_epi8(signs7, _mm512_set1_epi64(matrix), 0);
}

/* Of lanes whose lower 28 bits are four times seven signs. */
VNNI_INLINE __m512i signs_of_fields(__m512i fields) { return signs8(lanes_bits(fields, 0, 7), 0); }

/* ---- codes: four columns of 16 outputs ---- */

/* What numbers of two bits, and of three, stand for, with their sign as the bit above. */
VNNI_INLINE __m512i table_of_two(int middle, int v0, int v1, int v2) {
    const int plus = (middle + v0) | (middle + v1) << 8 | (middle + v2) << 16;
    const int minus = (middle - v0) | (middle - v1) << 8 | (middle - v2) << 16;
    return _mm512_set1_epi64((long long)((uint64_t)(uint32_t)minus << 32 | (uint32_t)plus));
}

VNNI_INLINE __m512i table_of_three(int middle, __m128i list) {
    const __m128i plus = _mm_add_epi8(_mm_set1_epi8((char)middle), list);
    const __m128i minus = _mm_sub_epi8(_mm_set1_epi8((char)middle), list);
    return _mm512_broadcast_i32x4(_mm_unpacklo_epi64(plus, minus));
}

/* Numbers of `bits` bits, every `step` from bit `from` of points on. Of minus, the bit above a
 * number is its sign. vpermb reads six bits, and finds the same at all that differ above number and
 * sign. */
VNNI_INLINE __m512i codes_of(__m512i values, unsigned bits, __m512i points, unsigned from,
                             unsigned step, __m512i minus) {
    const __m512i numbers = lanes_bits(points, from, step);
    const __m512i sign = _mm512_set1_epi8((char)(1 << bits));
    return _mm512_permutexvar_epi8(_mm512_ternarylogic_epi64(sign, minus, numbers, 0xca), values);
}

/* The signs of four columns, one bit each from bit `column` on, as bit `bits` of bytes. */
VNNI_INLINE __m512i minus_of(__m512i signs, unsigned column, unsigned bits) {
    return lanes_bits(signs, 64 + column - bits, 1);
}

/* A block's eight groups, and the whole numbers that they, or the halves of them, are times of. */
typedef struct grid_block {
    __m512i codes[8];
    __m512i whole[2]; /* the second one of halves */
} grid_block;

/* 2 * sc + 1 */
VNNI_INLINE __m512i odd_of(__m512i sc) {
    return _mm512_add_epi32(_mm512_add_epi32(sc, sc), _mm512_set1_epi32(1));
}

/* n bits of each lane. */
VNNI_INLINE __m512i lanes_field(__m512i v, unsigned from, int n) {
    return _mm512_and_si512(_mm512_srli_epi32(v, from), _mm512_set1_epi32((1 << n) - 1));
}

/* Halves of a block have the two nibbles of a byte. */
VNNI_INLINE void whole_halves(grid_block *to, const uint8_t scales[16]) {
    const __m512i both = vnni_load_bytes(scales);
    to->whole[0] = odd_of(lanes_field(both, 0, 4));
    to->whole[1] = odd_of(lanes_field(both, 4, 4));
}

/* ---- IQ2: a point is 8 columns ---- */

VNNI_INLINE void codes_iq2(__m512i codes[8], __m512i low, __m512i high, __m512i signs) {
    const __m512i values = table_of_two(MIDDLE, 8, 25, 43);
    for (unsigned g = 0; g < 4; g++) {
        codes[2 * g] = codes_of(values, 2, low, 8 * g, 2, minus_of(signs, 8 * g, 2));
        codes[2 * g + 1] = codes_of(values, 2, high, 8 * g, 2, minus_of(signs, 8 * g + 4, 2));
    }
}

VNNI_INLINE void block_iq2_xxs(grid_block *to, const uint8_t *from, size_t b) {
    const slab_iq2_xxs *slab = (const slab_iq2_xxs *)from;
    const list_index i = list_index_of(_mm512_loadu_si512(slab->codes[b][0]));
    const __m512i fields = _mm512_loadu_si512(slab->codes[b][1]);
    codes_iq2(to->codes, list_of_256(grid_halves_iq2_xxs[0], &i),
              list_of_256(grid_halves_iq2_xxs[1], &i), signs_of_fields(fields));
    to->whole[0] = odd_of(_mm512_srli_epi32(fields, 28));
}

VNNI_INLINE void block_iq2_xs(grid_block *to, const uint8_t *from, size_t b) {
    const slab_iq2_xs *slab = (const slab_iq2_xs *)from;
    const __m512i high = bytes_of_words(slab->codes + 4 * b, 1); /* a bit of indices, then signs */
    list_index i = list_index_of(bytes_of_words(slab->codes + 4 * b, 0));
    i.bit8 = _mm512_test_epi8_mask(high, _mm512_set1_epi8(1));
    codes_iq2(to->codes, list_of_512(grid_halves_iq2_xs[0], &i),
              list_of_512(grid_halves_iq2_xs[1], &i), signs8(high, 1));
    whole_halves(to, slab->scales[b]);
}

VNNI_INLINE void block_iq2_s(grid_block *to, const uint8_t *from, size_t b) {
    const slab_iq2_s *slab = (const slab_iq2_s *)from;
    const __m512i high = lanes_bits(vnni_load_bytes(slab->high[b]), 0, 2);
    list_index i = list_index_of(lanes_of_rows(slab->low + 4 * b));
    i.bit8 = _mm512_test_epi8_mask(high, _mm512_set1_epi8(1));
    i.bit9 = _mm512_test_epi8_mask(high, _mm512_set1_epi8(2));
    codes_iq2(to->codes, list_of_1024(grid_halves_iq2_s[0], &i),
              list_of_1024(grid_halves_iq2_s[1], &i), lanes_of_rows(slab->signs + 4 * b));
    whole_halves(to, slab->scales[b]);
}

/* ---- IQ3: a point is 4 columns ---- */

/* The groups of four points a lane; low and high bytes come together first. */
VNNI_INLINE void codes_iq3(__m512i codes[4], __m512i values, __m512i low, __m512i high,
                           __m512i signs, unsigned column) {
    const __m512i pairs =
        _mm512_set_epi32(0x7d3d7c3c, 0x79397838, 0x75357434, 0x71317030, 0x6d2d6c2c, 0x69296828,
                         0x65256424, 0x61216020, 0x5d1d5c1c, 0x59195818, 0x55155414, 0x51115010,
                         0x4d0d4c0c, 0x49094808, 0x45054404, 0x41014000);
    const __m512i two = _mm512_set1_epi8(2);
    const __m512i p[2] = {_mm512_permutex2var_epi8(low, pairs, high),
                          _mm512_permutex2var_epi8(low, _mm512_add_epi8(pairs, two), high)};
    for (unsigned g = 0; g < 4; g++) {
        codes[g] =
            codes_of(values, 3, p[g / 2], 16 * (g % 2), 4, minus_of(signs, column + 4 * g, 3));
    }
}

VNNI_INLINE void block_iq3_xxs(grid_block *to, const uint8_t *from, size_t b) {
    const slab_iq3_xxs *slab = (const slab_iq3_xxs *)from;
    const __m512i values = table_of_three(
        MIDDLE, _mm_setr_epi8(4, 12, 20, 28, 36, 44, 52, 62, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m512i fields = _mm512_loadu_si512(slab->signs[b]);
    const __m512i signs = signs_of_fields(fields);
    for (unsigned h = 0; h < 2; h++) {
        const list_index i = list_index_of(lanes_of_rows(slab->low + 8 * b + 4 * h));
        codes_iq3(to->codes + 4 * h, values, list_of_256(grid_halves_iq3_xxs[0], &i),
                  list_of_256(grid_halves_iq3_xxs[1], &i), signs, 16 * h);
    }
    to->whole[0] = odd_of(_mm512_srli_epi32(fields, 28));
}

VNNI_INLINE void block_iq3_s(grid_block *to, const uint8_t *from, size_t b) {
    const slab_iq3_s *slab = (const slab_iq3_s *)from;
    const __m512i values =
        table_of_three(MIDDLE, _mm_setr_epi8(1, 3, 5, 7, 9, 11, 13, 15, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m512i high = vnni_load_bytes(slab->high[b]);
    const __m512i signs = lanes_of_rows(slab->signs + 4 * b);
    for (unsigned h = 0; h < 2; h++) {
        list_index i = list_index_of(lanes_of_rows(slab->low + 8 * b + 4 * h));
        i.bit8 = _mm512_test_epi8_mask(lanes_bits(high, 4 * h, 1), _mm512_set1_epi8(1));
        codes_iq3(to->codes + 4 * h, values, list_of_512(grid_halves_iq3_s[0], &i),
                  list_of_512(grid_halves_iq3_s[1], &i), signs, 16 * h);
    }
    const __m512i both = vnni_load_bytes(slab->scales[b / 2]);
    to->whole[0] = odd_of(lanes_field(both, (unsigned)(b % 2 * 4), 4));
}

/* ---- IQ1: a point is 8 columns of -1, 0 and 1, and all have an eighth more, or less ---- */

/* High bytes of 64 points, from the lower bytes of their indices and what is above (grids.h). */
VNNI_INLINE __m512i highs_iq1(__m512i lows, __m512i highs) {
    const __m512i low4 = _mm512_set1_epi8(15);
    const list_index i = {.bytes = _mm512_ternarylogic_epi64(low4, _mm512_srli_epi16(lows, 4),
                                                             _mm512_slli_epi16(highs, 4), 0xca)};
    const __mmask64 is_last =
        _mm512_cmpge_epu8_mask(_mm512_and_si512(lows, low4), list_of_128(grid_highs_iq1[2], &i));
    return list_chosen(list_of_128(grid_highs_iq1[0], &i), list_of_128(grid_highs_iq1[1], &i),
                       is_last);
}

/* A block's codes. `highs` are bytes with the upper three bits of indices; in `fields`, four bytes
 * a lane, bit `from + step * g` says whether point g has an eighth less. */
VNNI_INLINE void codes_iq1(__m512i codes[8], const uint8_t (*lows)[16], __m512i highs,
                           __m512i fields, unsigned from, unsigned step) {
    const int plus = 121 | 129 << 8 | 137 << 16, minus = 119 | 127 << 8 | 135 << 16;
    const __m512i values = _mm512_set1_epi64((long long)((uint64_t)minus << 32 | (uint32_t)plus));
    list_index i = list_index_of(lanes_of_rows(lows));
    i.bit8 = _mm512_test_epi8_mask(highs, _mm512_set1_epi8(1));
    i.bit9 = _mm512_test_epi8_mask(highs, _mm512_set1_epi8(2));
    i.bit10 = _mm512_test_epi8_mask(highs, _mm512_set1_epi8(4));
    const __m512i low = list_of_2048(grid_lows_iq1, &i), high = highs_iq1(i.bytes, highs);
    for (unsigned g = 0; g < 4; g++) {
        const __m512i sign = lanes_bits(fields, from + step * g - 2, 0); /* as bit 2 of bytes */
        codes[2 * g] = codes_of(values, 2, low, 8 * g, 2, sign);
        codes[2 * g + 1] = codes_of(values, 2, high, 8 * g, 2, sign);
    }
}

VNNI_INLINE void block_iq1_s(grid_block *to, const uint8_t *from, size_t b) {
    const slab_iq1_s *slab = (const slab_iq1_s *)from;
    const __m512i word = vnni_load_words(slab->high[b]);
    codes_iq1(to->codes, slab->low + 4 * b, lanes_bits(word, 0, 3), word, 15, 0);
    to->whole[0] = odd_of(lanes_field(word, 12, 3));
}

VNNI_INLINE void block_iq1_m(grid_block *to, const uint8_t *from, size_t b) {
    const slab_iq1_m *slab = (const slab_iq1_m *)from;
    const __m512i first = vnni_load_bytes(slab->high[2 * b]);
    const __m512i second = vnni_load_bytes(slab->high[2 * b + 1]);
    const __m512i four = _mm512_or_si512(first, _mm512_slli_epi32(second, 8)); /* nibbles */
    codes_iq1(to->codes, slab->low + 4 * b, lanes_bits(four, 0, 4), four, 3, 4);
    const __m512i scales = vnni_load_words(slab->scales[b / 2]);
    to->whole[0] = odd_of(lanes_field(scales, (unsigned)(b % 2 * 6), 3));
    to->whole[1] = odd_of(lanes_field(scales, (unsigned)(b % 2 * 6 + 3), 3));
}

/* ---- rows ---- */

typedef void grid_block_fn(grid_block *to, const uint8_t *slab, size_t b);

VNNI_INLINE __m512i dot_half(__m512i sum, const __m512i codes[4], const int8_t *x) {
    sum = _mm512_dpbusd_epi32(sum, codes[0], vnni_broadcast32(x));
    sum = _mm512_dpbusd_epi32(sum, codes[1], vnni_broadcast32(x + 4));
    sum = _mm512_dpbusd_epi32(sum, codes[2], vnni_broadcast32(x + 8));
    return _mm512_dpbusd_epi32(sum, codes[3], vnni_broadcast32(x + 12));
}

/* sum + a block times a step of x */
VNNI_INLINE __m512 add_step(__m512 sum, opened_kind kind, const grid_block *w, const act_step *x) {
    if (!kind.has_halves) {
        const __m512i first = dot_half(vnni_step_start(true, x, ACT_STEP_ALL), w->codes, x->codes);
        const __m512i all = dot_half(first, w->codes + 4, x->codes + 16);
        return _mm512_fmadd_ps(vnni_step_sum(true, all, x), _mm512_cvtepi32_ps(w->whole[0]), sum);
    }
    const __m512i half0 = dot_half(vnni_step_start(true, x, 0), w->codes, x->codes);
    const __m512i half1 = dot_half(vnni_step_start(true, x, 1), w->codes + 4, x->codes + 16);
    sum = _mm512_fmadd_ps(vnni_step_sum(true, half0, x), _mm512_cvtepi32_ps(w->whole[0]), sum);
    return _mm512_fmadd_ps(vnni_step_sum(true, half1, x), _mm512_cvtepi32_ps(w->whole[1]), sum);
}

/* A block's share of the lines of its slab, for later. */
VNNI_INLINE void fetch_block(opened_kind kind, const uint8_t *slab, size_t b) {
    const size_t bytes = kind.chunk_bytes / OPENED_BLOCKS;
    vnni_fetch_lines(slab + b * bytes, bytes);
}

/* What 256 columns are times of, whatever numbers of the codebook stand for. */
typedef __m512 grid_d_fn(const uint8_t *slab);

#define D(name, unit)                                                            \
    VNNI_INLINE __m512 d_##name(const uint8_t *slab) { /* which begins with d */ \
        return _mm512_mul_ps(vnni_load_f16(slab), _mm512_set1_ps(unit));         \
    }
D(iq2_xxs, 0.125f)
D(iq2_xs, 0.125f)
D(iq2_s, 0.125f)
D(iq3_xxs, 0.25f)
D(iq3_s, 1.0f)
D(iq1_s, 0.125f)
#undef D

VNNI_INLINE __m512 d_iq1_m(const uint8_t *slab) {
    const __m256i d = vnni_load_split_f16(((const slab_iq1_m *)slab)->scales);
    return _mm512_mul_ps(_mm512_cvtph_ps(d), _mm512_set1_ps(0.125f));
}

VNNI_INLINE void few(int rows, opened_kind kind, grid_block_fn *block_of, grid_d_fn *d_of, float *y,
                     size_t y_stride, const uint8_t *slab, const uint8_t *x, size_t x_stride,
                     size_t n, size_t k) {
    const __mmask16 there = (__mmask16)((1u << n) - 1);
    __m512 v[FEW_ROWS];
    for (int r = 0; r < rows; r++) {
        v[r] = _mm512_setzero_ps();
    }
    for (size_t col = 0; col < k; col += OPENED_COLS) {
        const vnni_rows blocks = vnni_rows_of(x, x_stride);
        __m512 sums[FEW_ROWS];
        for (int r = 0; r < rows; r++) {
            sums[r] = _mm512_setzero_ps();
        }
        for (size_t b = 0; b < OPENED_BLOCKS; b++) {
            grid_block w;
            block_of(&w, slab, b);
            fetch_block(kind, slab, b);
            for (int r = 0; r < rows; r++) {
                const act_step *step = &vnni_block_steps(&blocks, r)->steps[b];
                sums[r] = add_step(sums[r], kind, &w, step);
            }
        }
        const __m512 d = d_of(slab);
        for (int r = 0; r < rows; r++) {
            v[r] = vnni_add_steps(v[r], sums[r], d, vnni_block_steps(&blocks, r));
        }
        slab += kind.chunk_bytes;
        x += VNNI_X_BYTES;
    }
    for (int r = 0; r < rows; r++) {
        _mm512_mask_storeu_ps(y + (size_t)r * y_stride, there, v[r]);
    }
}

/* What tiles of many rows read. */
VNNI_INLINE void open_slab(opened_kind kind, grid_block_fn *block_of, grid_d_fn *d_of,
                           opened_chunk *c, const uint8_t *slab) {
    _mm512_store_ps(c->d, d_of(slab));
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        grid_block w;
        block_of(&w, slab, b);
        for (size_t g = 0; g < 8; g++) {
            _mm512_store_si512(c->codes[b][g], w.codes[g]);
        }
        _mm512_store_si512(c->whole[kind.has_halves ? 2 * b : b], w.whole[0]);
        if (kind.has_halves) {
            _mm512_store_si512(c->whole[2 * b + 1], w.whole[1]);
        }
    }
}

#define FEW(rows, name)                                                                          \
    few(rows, opened_kind_##name, block_##name, d_##name, y, y_stride, panel, x, x_stride_bytes, \
        n, k)
#define X(NAME, name)                                                                             \
    static void open_##name(opened_chunk *c, const uint8_t *slab) {                               \
        open_slab(opened_kind_##name, block_##name, d_##name, c, slab);                           \
    }                                                                                             \
    void linear_##name##_avx512vbmi(float *y, size_t y_stride, const void *panel, const void *x,  \
                                    size_t x_stride_bytes, size_t m, size_t n, size_t k) {        \
        switch (m) {                                                                              \
        case 1: FEW(1, name); return;                                                             \
        case 2: FEW(2, name); return;                                                             \
        case 3: FEW(3, name); return;                                                             \
        case 4: FEW(4, name); return;                                                             \
        default:                                                                                  \
            linear_opened_##name##_avx512vnni(open_##name, y, y_stride, panel, x, x_stride_bytes, \
                                              m, n, k);                                           \
        }                                                                                         \
    }
PACK_GRIDS_LIST(X)
#undef X
#undef FEW
