/* linear_one_grids_avx2.c - one row of x against codebooks, whose points stay as they are listed.
 *
 * A point is 8 consecutive columns of one output (IQ3: 4). Points of 4 outputs (8) side by side are
 * multiplied by those columns of x, which take the signs, and nothing is transposed or stored:
 *
 *   indices    of 16 outputs; where they are put together of several fields, words in memory, all
 *              of a slab before the first is used: taken from a store on its way they cost a third
 *   points     registers q of outputs 2q, 2q + 1, 2q + 8, 2q + 9 (IQ3: 4q .. 4q + 3, and 8 on)
 *   sums       16 bits wide as far as they fit, then as integers; an output's lie side by side
 *
 * Outputs 0-3 and 8-11, then 4-7 and 12-15, is the order in which pairs of sums add up, and what
 * words of outputs become when they are widened; results and scales are kept in it (lanes16).
 * Integers are below 2^24, so the floats are those of linear_opened_avx2.c.
 */
#include "kernels/grids.h"
#include "kernels/opened.h"
#include "kernels/x86/linear_few_avx2.h"
#include "kernels/x86/open_avx2.h"

/* Of 16 outputs: 0-3, 8-11 and 4-7, 12-15. */
typedef struct lanes16 {
    __m256 v[2];
} lanes16;

TILE_INLINE __m256 lanes_join(__m128 low, __m128 high) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1);
}

TILE_INLINE lanes16 lanes_load(const float *y) {
    return (lanes16){{lanes_join(_mm_load_ps(y), _mm_load_ps(y + 8)),
                      lanes_join(_mm_load_ps(y + 4), _mm_load_ps(y + 12))}};
}

TILE_INLINE void lanes_store(float *y, lanes16 from) {
    _mm_store_ps(y, _mm256_castps256_ps128(from.v[0]));
    _mm_store_ps(y + 4, _mm256_castps256_ps128(from.v[1]));
    _mm_store_ps(y + 8, _mm256_extractf128_ps(from.v[0], 1));
    _mm_store_ps(y + 12, _mm256_extractf128_ps(from.v[1], 1));
}

/* 16 halves, times factor. */
TILE_INLINE lanes16 lanes_f16(__m256i halves, float factor) {
    const __m256i order = _mm256_permute4x64_epi64(halves, _MM_SHUFFLE(3, 1, 2, 0));
    const __m256 f = _mm256_set1_ps(factor);
    return (lanes16){{_mm256_mul_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(order)), f),
                      _mm256_mul_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(order, 1)), f)}};
}

/* y += dots * (d * xs) */
TILE_INLINE void lanes_add(lanes16 *y, __m256i dots0, __m256i dots1, lanes16 d, float scale) {
    const __m256 xs = _mm256_set1_ps(scale);
    y->v[0] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots0), _mm256_mul_ps(d.v[0], xs), y->v[0]);
    y->v[1] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots1), _mm256_mul_ps(d.v[1], xs), y->v[1]);
}

/* d * the whole numbers of 16 outputs, words. */
TILE_INLINE lanes16 lanes_scaled(lanes16 d, __m256i whole) {
    const __m256i zero = _mm256_setzero_si256();
    const __m256 w0 = _mm256_cvtepi32_ps(_mm256_unpacklo_epi16(whole, zero));
    const __m256 w1 = _mm256_cvtepi32_ps(_mm256_unpackhi_epi16(whole, zero));
    return (lanes16){{_mm256_mul_ps(d.v[0], w0), _mm256_mul_ps(d.v[1], w1)}};
}

/* ---- words of 16 outputs ---- */

TILE_INLINE __m256i words_of_bytes(const uint8_t bytes[16]) {
    return _mm256_cvtepu8_epi16(open_load16(bytes));
}

/* n bits of each word from bit `from` on, moved to bit `to`. */
TILE_INLINE __m256i words_bits(__m256i v, int from, int n, int to) {
    const __m256i moved = from >= to ? _mm256_srli_epi16(v, from >= to ? from - to : 0)
                                     : _mm256_slli_epi16(v, from >= to ? 0 : to - from);
    return _mm256_and_si256(moved, _mm256_set1_epi16((short)(((1 << n) - 1) << to)));
}

/* 2 * sc + 1 */
TILE_INLINE __m256i words_odd(__m256i sc) {
    return _mm256_add_epi16(_mm256_add_epi16(sc, sc), _mm256_set1_epi16(1));
}

/* Nibble i of units of a byte of 16 outputs. */
TILE_INLINE __m256i words_nibble(const uint8_t (*units)[16], size_t i) {
    return _mm256_cvtepu8_epi16(open_nibble(units, i));
}

/* 32-bit fields of 16 outputs, in the order of words that they pack to. */
TILE_INLINE __m256i halves_of(const uint32_t *fields) {
    return _mm256_inserti128_si256(_mm256_loadu_si256((const __m256i *)fields),
                                   _mm_loadu_si128((const __m128i *)(fields + 8)), 1);
}

/* Bits from..from + n - 1 of each of 16 fields of 32. */
TILE_INLINE __m256i words_fields(const __m256i fields[2], size_t from, int n) {
    const __m128i shift = _mm_cvtsi32_si128((int)from);
    const __m256i mask = _mm256_set1_epi32((1 << n) - 1);
    return _mm256_packus_epi32(_mm256_and_si256(_mm256_srl_epi32(fields[0], shift), mask),
                               _mm256_and_si256(_mm256_srl_epi32(fields[1], shift), mask));
}

/* ---- points of 8 columns ---- */

/* Words 2q and 2q + 1 of each half of v: their low bytes eight times, or themselves four. */
TILE_INLINE __m256i spread_bytes(__m256i v, int q) {
    const __m128i order = _mm_set_epi64x(0x0202020202020202, 0);
    const __m128i from = _mm_add_epi8(order, _mm_set1_epi8((char)(4 * q)));
    return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(from));
}

TILE_INLINE __m256i spread_words(__m256i v, int q) {
    const __m128i order = _mm_set_epi64x(0x0302030203020302, 0x0100010001000100);
    const __m128i from = _mm_add_epi8(order, _mm_set1_epi8((char)(4 * q)));
    return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(from));
}

/* Indices come several to a load and are then taken apart: two loads a cycle, of points and of
 * indices, is what binds. gcc would load each alone if it saw through. */
TILE_INLINE uint32_t load_indices(const void *p) {
    uint32_t v;
    __builtin_memcpy(&v, p, sizeof(v));
    __asm__("" : "+r"(v));
    return v;
}

/* Points of register q: index i of word 16 or byte 4 * output. */
TILE_INLINE __m256i points_of_words(const uint64_t *grid, const uint16_t index[16], size_t q) {
    const uint32_t i = load_indices(index + 2 * q), j = load_indices(index + 2 * q + 8);
    return _mm256_castps_si256(lanes_join(open_two_points(grid + (i & 0xffff), grid + (i >> 16)),
                                          open_two_points(grid + (j & 0xffff), grid + (j >> 16))));
}

TILE_INLINE const uint64_t *point_of_byte(const uint64_t *grid, uint32_t indices, size_t g) {
    return grid + (indices >> 8 * g & 0xff);
}

/* The same of groups g and g + 1, whose indices are those bytes of a word of 32 bits. */
TILE_INLINE void points_of_bytes(__m256i to[2], const uint64_t *grid, const uint32_t index[16],
                                 size_t g, size_t q) {
    const uint32_t i0 = load_indices(index + 2 * q), i1 = load_indices(index + 2 * q + 1);
    const uint32_t i8 = load_indices(index + 2 * q + 8), i9 = load_indices(index + 2 * q + 9);
    for (size_t t = 0; t < 2; t++) {
        const __m128 p01 =
            open_two_points(point_of_byte(grid, i0, g + t), point_of_byte(grid, i1, g + t));
        const __m128 p89 =
            open_two_points(point_of_byte(grid, i8, g + t), point_of_byte(grid, i9, g + t));
        to[t] = _mm256_castps_si256(lanes_join(p01, p89));
    }
}

typedef struct columns8 {
    __m256i x, minus_x;
} columns8;

TILE_INLINE __m256i eight_of(const int8_t *x) {
    long long v;
    __builtin_memcpy(&v, x, sizeof(v));
    return _mm256_set1_epi64x(v);
}

TILE_INLINE columns8 columns_of(const int8_t *x) {
    const __m256i v = eight_of(x);
    return (columns8){v, _mm256_sub_epi8(_mm256_setzero_si256(), v)};
}

/* x with the signs of bits `bits` of each byte. */
TILE_INLINE __m256i with_signs(columns8 x, __m256i signs, __m256i bits) {
    const __m256i minus = _mm256_cmpeq_epi8(_mm256_and_si256(signs, bits), bits);
    return _mm256_blendv_epi8(x.x, x.minus_x, minus);
}

TILE_INLINE __m256i times_signed(__m256i points, columns8 x, __m256i signs, int q) {
    const __m256i bits = _mm256_set1_epi64x((long long)0x8040201008040201);
    return _mm256_maddubs_epi16(points, with_signs(x, spread_bytes(signs, q), bits));
}

/* y += the sums of each output's two, times scale and that of x. */
TILE_INLINE void add_pairs(lanes16 *y, const __m256i sums[4], lanes16 scale, float xs) {
    lanes_add(y, _mm256_hadd_epi32(sums[0], sums[1]), _mm256_hadd_epi32(sums[2], sums[3]), scale,
              xs);
}

/* y += the sums of 256 columns * d */
TILE_INLINE void add_summed(float *y, lanes16 sums, lanes16 d) {
    lanes16 v = lanes_load(y);
    v.v[0] = _mm256_fmadd_ps(sums.v[0], d.v[0], v.v[0]);
    v.v[1] = _mm256_fmadd_ps(sums.v[1], d.v[1], v.v[1]);
    lanes_store(y, v);
}

/* The sums of each output's two, times the scale of x only. */
TILE_INLINE void add_pairs_unscaled(lanes16 *sums, const __m256i pairs[4], float xs) {
    const __m256 scale = _mm256_set1_ps(xs);
    const __m256 dots0 = _mm256_cvtepi32_ps(_mm256_hadd_epi32(pairs[0], pairs[1]));
    const __m256 dots1 = _mm256_cvtepi32_ps(_mm256_hadd_epi32(pairs[2], pairs[3]));
    sums->v[0] = _mm256_fmadd_ps(dots0, scale, sums->v[0]);
    sums->v[1] = _mm256_fmadd_ps(dots1, scale, sums->v[1]);
}

#define EACH_OF_2(name, ...)   \
    do {                       \
        {                      \
            enum { name = 0 }; \
            __VA_ARGS__        \
        }                      \
        {                      \
            enum { name = 1 }; \
            __VA_ARGS__        \
        }                      \
    } while (0)
#define EACH_OF_4(name, ...)   \
    do {                       \
        {                      \
            enum { name = 0 }; \
            __VA_ARGS__        \
        }                      \
        {                      \
            enum { name = 1 }; \
            __VA_ARGS__        \
        }                      \
        {                      \
            enum { name = 2 }; \
            __VA_ARGS__        \
        }                      \
        {                      \
            enum { name = 3 }; \
            __VA_ARGS__        \
        }                      \
    } while (0)

static void one_iq2_xxs(float *y, const uint8_t *from, size_t n_blocks, const uint8_t *x) {
    const slab_iq2_xxs *slab = (const slab_iq2_xxs *)from;
    const act_block_q8 *block = (const act_block_q8 *)x;
    const lanes16 d = lanes_f16(tile_load(slab->d), 0.125f);
    const __m256i ones = _mm256_set1_epi16(1);
    lanes16 result = lanes_load(y);
    for (size_t b = 0; b < n_blocks; b++, block++) {
        const __m256i fields[2] = {halves_of(slab->codes[b][1]), halves_of(slab->codes[b][1] + 4)};
        __m256i sums[4];
        sums[0] = sums[1] = sums[2] = sums[3] = _mm256_setzero_si256();
        tile_fetch_far(from + b * (sizeof(*slab) / 8), sizeof(*slab) / 8);
        EACH_OF_2(pair, {
            enum { g = 2 * pair };
            const columns8 x0 = columns_of(block->codes + 8 * g);
            const columns8 x1 = columns_of(block->codes + 8 * g + 8);
            const __m256i signs0 = open_signs8(words_fields(fields, 7 * g, 7));
            const __m256i signs1 = open_signs8(words_fields(fields, 7 * g + 7, 7));
            EACH_OF_4(q, {
                __m256i p[2];
                points_of_bytes(p, grid_iq2_xxs, slab->codes[b][0], g, q);
                const __m256i sum = _mm256_add_epi16(times_signed(p[0], x0, signs0, q),
                                                     times_signed(p[1], x1, signs1, q));
                sums[q] = _mm256_add_epi32(sums[q], _mm256_madd_epi16(sum, ones));
            });
        });
        add_pairs(&result, sums, lanes_scaled(d, words_odd(words_fields(fields, 28, 4))),
                  block->scale);
    }
    lanes_store(y, result);
}

/* What register q of two groups, whose half has these whole scales, adds. */
TILE_INLINE __m256i two_products_iq2(const uint64_t *grid, uint16_t (*index)[16],
                                     const columns8 x[2], const __m256i signs[2], __m256i whole,
                                     int q) {
    const __m256i p0 = points_of_words(grid, index[0], q);
    const __m256i p1 = points_of_words(grid, index[1], q);
    const __m256i sum =
        _mm256_add_epi16(times_signed(p0, x[0], signs[0], q), times_signed(p1, x[1], signs[1], q));
    return _mm256_madd_epi16(sum, spread_words(whole, q));
}

/* sums = or += half 0 or 1 of a block. */
TILE_INLINE void add_half_iq2(__m256i sums[4], int half, const uint64_t *grid,
                              uint16_t (*index)[16], const __m256i signs[2], __m256i whole,
                              const int8_t *x) {
    const columns8 columns[2] = {columns_of(x), columns_of(x + 8)};
    EACH_OF_4(q, {
        const __m256i product = two_products_iq2(grid, index, columns, signs, whole, q);
        sums[q] = half == 0 ? product : _mm256_add_epi32(sums[q], product);
    });
}

/* The signs of group g of a slab. */
typedef __m256i group_signs_fn(const uint8_t *slab, size_t g);

/* A slab whose halves have scales, from its indices on. */
TILE_INLINE void one_row_iq2(float *y, const uint8_t *slab, size_t slab_bytes, size_t n_blocks,
                             const uint8_t *x, const uint16_t *d16, const uint8_t (*scales)[16],
                             const uint64_t *grid, uint16_t (*index)[16],
                             group_signs_fn *group_signs) {
    const act_block_q8 *block = (const act_block_q8 *)x;
    lanes16 total = {{_mm256_setzero_ps(), _mm256_setzero_ps()}};
    for (size_t b = 0; b < n_blocks; b++, block++) {
        __m256i sums[4];
        tile_fetch_far(slab + b * (slab_bytes / 8), slab_bytes / 8);
        EACH_OF_2(half, {
            const size_t g = 4 * b + 2 * half;
            const __m256i signs[2] = {group_signs(slab, g), group_signs(slab, g + 1)};
            add_half_iq2(sums, half, grid, index + g, signs,
                         words_odd(words_nibble(scales, 2 * b + half)), block->codes + 16 * half);
        });
        add_pairs_unscaled(&total, sums, block->scale);
    }
    add_summed(y, total, lanes_f16(tile_load(d16), 0.125f));
}

TILE_INLINE __m256i signs_iq2_xs(const uint8_t *slab, size_t g) {
    const __m256i codes = tile_load(((const slab_iq2_xs *)slab)->codes[g]);
    return open_signs8(_mm256_srli_epi16(codes, 9));
}

static void one_iq2_xs(float *y, const uint8_t *from, size_t n_blocks, const uint8_t *x) {
    const slab_iq2_xs *slab = (const slab_iq2_xs *)from;
    WEFT_ALIGNED(32) uint16_t index[32][16];
    for (size_t g = 0; g < 32; g++) {
        tile_store(index[g], words_bits(tile_load(slab->codes[g]), 0, 9, 0));
    }
    one_row_iq2(y, from, sizeof(*slab), n_blocks, x, slab->d, slab->scales, grid_iq2_xs, index,
                signs_iq2_xs);
}

TILE_INLINE __m256i signs_iq2_s(const uint8_t *slab, size_t g) {
    return words_of_bytes(((const slab_iq2_s *)slab)->signs[g]);
}

static void one_iq2_s(float *y, const uint8_t *from, size_t n_blocks, const uint8_t *x) {
    const slab_iq2_s *slab = (const slab_iq2_s *)from;
    WEFT_ALIGNED(32) uint16_t index[32][16];
    for (size_t b = 0; b < n_blocks; b++) {
        const __m256i high = words_of_bytes(slab->high[b]);
        EACH_OF_4(g, {
            tile_store(index[4 * b + g], _mm256_or_si256(words_of_bytes(slab->low[4 * b + g]),
                                                         words_bits(high, 2 * g, 2, 8)));
        });
    }
    one_row_iq2(y, from, sizeof(*slab), n_blocks, x, slab->d, slab->scales, grid_iq2_s, index,
                signs_iq2_s);
}

/* ---- IQ1: points of 0, 8, 16, which are 8 more than they stand for ---- */

static void one_iq1_s(float *y, const uint8_t *from, size_t n_blocks, const uint8_t *x) {
    const slab_iq1_s *slab = (const slab_iq1_s *)from;
    const act_block_q8 *block = (const act_block_q8 *)x;
    const lanes16 d = lanes_f16(tile_load(slab->d), 0.125f);
    const __m256i ones = _mm256_set1_epi16(1), seven = _mm256_set1_epi16(7);
    lanes16 result = lanes_load(y);
    WEFT_ALIGNED(32) uint16_t index[32][16];
    for (size_t b = 0; b < n_blocks; b++) {
        const __m256i word = tile_load(slab->high[b]);
        EACH_OF_4(g, {
            tile_store(index[4 * b + g], _mm256_or_si256(words_of_bytes(slab->low[4 * b + g]),
                                                         words_bits(word, 3 * g, 3, 8)));
        });
    }
    for (size_t b = 0; b < n_blocks; b++, block++) {
        const __m256i word = tile_load(slab->high[b]);
        __m256i sums[4];
        tile_fetch_far(from + b * (sizeof(*slab) / 8), sizeof(*slab) / 8);
        EACH_OF_4(g, {
            const __m256i eight = eight_of(block->codes + 8 * g);
            EACH_OF_4(q, {
                const __m256i points = points_of_words(grid_iq1, index[4 * b + g], q);
                const __m256i product = _mm256_maddubs_epi16(points, eight);
                sums[q] = g == 0 ? product : _mm256_add_epi16(sums[q], product);
            });
        });
        EACH_OF_4(q, { sums[q] = _mm256_madd_epi16(sums[q], ones); });
        /* all are 8 - 1 or, where bit 15 is set, 8 + 1 too large */
        const __m256i neg_sum = _mm256_add_epi16(tile_broadcast32(block->neg_sums[0]),
                                                 tile_broadcast32(block->neg_sums[1]));
        const __m256i more = _mm256_add_epi16(words_bits(word, 15, 1, 1), seven);
        const __m256i more0 = _mm256_madd_epi16(_mm256_unpacklo_epi16(more, more), neg_sum);
        const __m256i more1 = _mm256_madd_epi16(_mm256_unpackhi_epi16(more, more), neg_sum);
        lanes_add(&result, _mm256_add_epi32(_mm256_hadd_epi32(sums[0], sums[1]), more0),
                  _mm256_add_epi32(_mm256_hadd_epi32(sums[2], sums[3]), more1),
                  lanes_scaled(d, words_odd(words_bits(word, 12, 3, 0))), block->scale);
    }
    lanes_store(y, result);
}

static void one_iq1_m(float *y, const uint8_t *from, size_t n_blocks, const uint8_t *x) {
    const slab_iq1_m *slab = (const slab_iq1_m *)from;
    const act_block_q8 *block = (const act_block_q8 *)x;
    const __m256i nine = _mm256_set1_epi16(9), two = _mm256_set1_epi8(2);
    lanes16 total = {{_mm256_setzero_ps(), _mm256_setzero_ps()}};
    WEFT_ALIGNED(32) uint16_t index[32][16];
    for (size_t h = 0; h < 2 * n_blocks; h++) {
        const __m256i high = words_of_bytes(slab->high[h]);
        tile_store(index[2 * h],
                   _mm256_or_si256(words_of_bytes(slab->low[2 * h]), words_bits(high, 0, 3, 8)));
        tile_store(index[2 * h + 1], _mm256_or_si256(words_of_bytes(slab->low[2 * h + 1]),
                                                     words_bits(high, 4, 3, 8)));
    }
    for (size_t b = 0; b < n_blocks; b++, block++) {
        __m256i sums[4];
        tile_fetch_far(from + b * (sizeof(*slab) / 8), sizeof(*slab) / 8);
        EACH_OF_2(half, {
            const size_t h = 2 * b + half;
            const __m256i high = words_of_bytes(slab->high[h]);
            const __m256i scales = _mm256_srl_epi16(tile_load(slab->scales[h / 4]),
                                                    _mm_cvtsi32_si128((int)(3 * (h % 4))));
            const __m256i whole = words_odd(words_bits(scales, 0, 3, 0));
            /* all are 8 + 1 and, where bit 3 is set, 2 less too large */
            const __m256i plus0 = _mm256_xor_si256(words_bits(high, 3, 1, 1), two);
            const __m256i plus1 = _mm256_xor_si256(words_bits(high, 7, 1, 1), two);
            const __m256i x0 = eight_of(block->codes + 16 * half);
            const __m256i x1 = eight_of(block->codes + 16 * half + 8);
            const __m256i neg_sum = _mm256_blend_epi32(tile_broadcast32(block->neg_sums[half]),
                                                       _mm256_setzero_si256(), 0xaa);
            const __m256i start = _mm256_mullo_epi16(neg_sum, nine);
            EACH_OF_4(q, {
                const __m256i p0 = _mm256_add_epi8(points_of_words(grid_iq1, index[2 * h], q),
                                                   spread_bytes(plus0, q));
                const __m256i p1 = _mm256_add_epi8(points_of_words(grid_iq1, index[2 * h + 1], q),
                                                   spread_bytes(plus1, q));
                const __m256i sum0 = _mm256_add_epi16(start, _mm256_maddubs_epi16(p0, x0));
                const __m256i sum = _mm256_add_epi16(sum0, _mm256_maddubs_epi16(p1, x1));
                const __m256i product = _mm256_madd_epi16(sum, spread_words(whole, q));
                sums[q] = half == 0 ? product : _mm256_add_epi32(sums[q], product);
            });
        });
        add_pairs_unscaled(&total, sums, block->scale);
    }
    add_summed(y, total, lanes_f16(open_split_f16(slab->scales), 0.125f));
}

/* ---- IQ3: points of 4 columns ---- */

/* Low bytes of words 4q .. 4q + 3 of each half of v, four times. */
TILE_INLINE __m256i spread_four(__m256i v, int q) {
    const __m128i order = _mm_setr_epi32(0, 0x02020202, 0x04040404, 0x06060606);
    const __m128i from = _mm_add_epi8(order, _mm_set1_epi8((char)(8 * q)));
    return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(from));
}

TILE_INLINE __m128i four_of_bytes(const uint32_t *grid, const uint8_t *index) {
    const uint32_t i = load_indices(index);
    return open_four_points(grid, i & 0xff, i >> 8 & 0xff, i >> 16 & 0xff, i >> 24);
}

TILE_INLINE __m128i four_of_words(const uint32_t *grid, const uint16_t *index) {
    const uint32_t i = load_indices(index), j = load_indices(index + 2);
    return open_four_points(grid, i & 0xffff, i >> 16, j & 0xffff, j >> 16);
}

TILE_INLINE __m256i small_points_of_bytes(const uint32_t *grid, const uint8_t index[16], size_t q) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(four_of_bytes(grid, index + 4 * q)),
                                   four_of_bytes(grid, index + 4 * q + 8), 1);
}

TILE_INLINE __m256i small_points_of_words(const uint32_t *grid, const uint16_t index[16],
                                          size_t q) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(four_of_words(grid, index + 4 * q)),
                                   four_of_words(grid, index + 4 * q + 8), 1);
}

TILE_INLINE columns8 columns4_of(const int8_t *x) {
    const __m256i v = tile_broadcast32(x);
    return (columns8){v, _mm256_sub_epi8(_mm256_setzero_si256(), v)};
}

/* The products of 8 columns, whose points p0 and p1 hold four each. */
TILE_INLINE __m256i times_signed_small(__m256i p0, __m256i p1, const columns8 x[2], __m256i signs,
                                       int q) {
    const __m256i bits0 = _mm256_set1_epi32(0x08040201);
    const __m256i bits1 = _mm256_set1_epi32((int)0x80402010);
    const __m256i four = spread_four(signs, q);
    return _mm256_add_epi16(_mm256_maddubs_epi16(p0, with_signs(x[0], four, bits0)),
                            _mm256_maddubs_epi16(p1, with_signs(x[1], four, bits1)));
}

TILE_INLINE void add_group_iq3_xxs(__m256i sums[2], const uint8_t (*index)[16],
                                   const __m256i fields[2], const int8_t *x, int g) {
    const columns8 columns[2] = {columns4_of(x + 8 * g), columns4_of(x + 8 * g + 4)};
    const __m256i signs = open_signs8(words_fields(fields, 7 * g, 7));
    EACH_OF_2(q, {
        const __m256i p0 = small_points_of_bytes(grid_iq3_xxs, index[2 * g], q);
        const __m256i p1 = small_points_of_bytes(grid_iq3_xxs, index[2 * g + 1], q);
        const __m256i sum = times_signed_small(p0, p1, columns, signs, q);
        sums[q] = _mm256_add_epi32(sums[q], _mm256_madd_epi16(sum, _mm256_set1_epi16(1)));
    });
}

static void one_iq3_xxs(float *y, const uint8_t *from, size_t n_blocks, const uint8_t *x) {
    const slab_iq3_xxs *slab = (const slab_iq3_xxs *)from;
    const act_block_q8 *block = (const act_block_q8 *)x;
    const lanes16 d = lanes_f16(tile_load(slab->d), 0.25f);
    lanes16 result = lanes_load(y);
    for (size_t b = 0; b < n_blocks; b++, block++) {
        const __m256i fields[2] = {halves_of(slab->signs[b]), halves_of(slab->signs[b] + 4)};
        __m256i sums[2];
        sums[0] = sums[1] = _mm256_setzero_si256();
        tile_fetch_far(from + b * (sizeof(*slab) / 8), sizeof(*slab) / 8);
        EACH_OF_4(g, { add_group_iq3_xxs(sums, slab->low + 8 * b, fields, block->codes, g); });
        lanes_add(&result, sums[0], sums[1],
                  lanes_scaled(d, words_odd(words_fields(fields, 28, 4))), block->scale);
    }
    lanes_store(y, result);
}

static void one_iq3_s(float *y, const uint8_t *from, size_t n_blocks, const uint8_t *x) {
    const slab_iq3_s *slab = (const slab_iq3_s *)from;
    const act_block_q8 *block = (const act_block_q8 *)x;
    const lanes16 d = lanes_f16(tile_load(slab->d), 1.0f);
    const __m256i ones = _mm256_set1_epi16(1);
    lanes16 result = lanes_load(y);
    WEFT_ALIGNED(32) uint16_t index[64][16];
    for (size_t b = 0; b < n_blocks; b++) {
        const __m256i high = words_of_bytes(slab->high[b]);
        const uint8_t(*low)[16] = slab->low + 8 * b;
        EACH_OF_4(g, {
            tile_store(index[8 * b + 2 * g],
                       _mm256_or_si256(words_of_bytes(low[2 * g]), words_bits(high, 2 * g, 1, 8)));
            tile_store(
                index[8 * b + 2 * g + 1],
                _mm256_or_si256(words_of_bytes(low[2 * g + 1]), words_bits(high, 2 * g + 1, 1, 8)));
        });
    }
    for (size_t b = 0; b < n_blocks; b++, block++) {
        __m256i sums[2];
        tile_fetch_far(from + b * (sizeof(*slab) / 8), sizeof(*slab) / 8);
        EACH_OF_4(g, {
            const columns8 columns[2] = {columns4_of(block->codes + 8 * g),
                                         columns4_of(block->codes + 8 * g + 4)};
            const __m256i signs = words_of_bytes(slab->signs[4 * b + g]);
            uint16_t(*at)[16] = index + 8 * b + 2 * g;
            EACH_OF_2(q, {
                const __m256i p0 = small_points_of_words(grid_iq3_s, at[0], q);
                const __m256i p1 = small_points_of_words(grid_iq3_s, at[1], q);
                const __m256i sum = times_signed_small(p0, p1, columns, signs, q);
                sums[q] = g == 0 ? sum : _mm256_add_epi16(sums[q], sum);
            });
        });
        lanes_add(&result, _mm256_madd_epi16(sums[0], ones), _mm256_madd_epi16(sums[1], ones),
                  lanes_scaled(d, words_odd(words_nibble(slab->scales, b))), block->scale);
    }
    lanes_store(y, result);
}

#define X(NAME, name)                                                                          \
    void linear_few_##name##_avx2(size_t rows, float *y, const uint8_t *slab, size_t n_blocks, \
                                  const uint8_t *x, size_t x_stride) {                         \
        one_##name(y, slab, n_blocks, x);                                                      \
    }
PACK_GRIDS_LIST(X)
#undef X
