/* linear_k_amx.c - products of Q4_K, Q5_K, Q6_K and IQ4_XS where 256 activations share a scale.
 *
 * Codes as they are packed times their 6- or 8-bit scales, in two planes of bytes for the tiles of
 * long_amx.h:
 *
 *   Q4_K Q5_K   sc * q = 8 * (q * (sc / 8)) + q * (sc % 8)          each at most 31 * 7
 *   Q6_K        sc * (q - 32) = 128 * high + low                    low from -64 to 63
 *   IQ4_XS      the same with q - 128, q a byte that a nibble stands for
 *
 * A few rows go through vpdpbusd, a block's sum times its scale by vpmulld. One row is bound by
 * reading the panel.
 */
#include "kernels/products.h"
#include "kernels/x86/long_amx.h"
#include "kernels/x86/vnni_avx512.h"

#define FEW_ROWS_MAX 11u /* from 12 on, making planes costs less than what it saves */

typedef struct k_chunk {
    WEFT_ALIGNED(64) int32_t scale[16][16]; /* of 8 blocks, or of Q6_K's 16 halves */
    int32_t scale_pairs[8][16];             /* of codes with a middle: neighbours, 16 bits each */
    const uint8_t *panel;
} k_chunk;

VNNI_INLINE long_kind long_of(vnni_kind kind, long_open_fn *open, long_make_fn *make,
                              long_few_fn *few) {
    return (long_kind){
        .n_planes = 2,
        .log2_high = vnni_has_mins6(kind) ? 3 : 7,
        .is_signed = !vnni_has_mins6(kind),
        .n_min_pairs = vnni_has_mins6(kind) ? 4 : 0,
        .few_rows_max = FEW_ROWS_MAX,
        .chunk_bytes = kind.chunk_bytes,
        .open = open,
        .make = make,
        .few = few,
    };
}

VNNI_INLINE __m512i signed_scale(vnni_kind kind, const uint8_t *slab, size_t i) {
    return vnni_scales_halves(kind) ? _mm512_cvtepi8_epi32(vnni_scales16(slab, i))
                                    : vnni_scales_xs((const slab_iq4_xs *)slab, i);
}

VNNI_INLINE void k_open(vnni_kind kind, k_chunk *c, long_factors *fs, const uint8_t *slab) {
    c->panel = slab + kind.codes_at;
    _mm512_store_ps(fs->d, vnni_load_f16(slab));
    if (!vnni_has_mins6(kind)) {
        for (size_t p = 0; p < (vnni_scales_halves(kind) ? 8 : 4); p++) {
            const __m512i even = signed_scale(kind, slab, 2 * p);
            const __m512i odd = signed_scale(kind, slab, 2 * p + 1);
            _mm512_store_si512(c->scale[2 * p], even);
            _mm512_store_si512(c->scale[2 * p + 1], odd);
            _mm512_store_si512(c->scale_pairs[p], long_pair(even, odd));
        }
        return;
    }
    const __m512 dmin = vnni_load_f16(slab + 32);
    _mm512_store_ps(fs->neg_dmin, _mm512_xor_ps(dmin, _mm512_set1_ps(-0.0f)));
    for (size_t p = 0; p < 4; p++) {
        __m128i sc[2], mn[2];
        vnni_fields6(&sc[0], &mn[0], slab + 64, 2 * p);
        vnni_fields6(&sc[1], &mn[1], slab + 64, 2 * p + 1);
        _mm512_store_si512(c->scale[2 * p], _mm512_cvtepu8_epi32(sc[0]));
        _mm512_store_si512(c->scale[2 * p + 1], _mm512_cvtepu8_epi32(sc[1]));
        _mm512_store_si512(fs->min_pairs[p],
                           long_pair(_mm512_cvtepu8_epi32(mn[0]), _mm512_cvtepu8_epi32(mn[1])));
    }
}

/* ---- few rows ---- */

/* Whether prefetchers lead (rows_avx512.h), by the rows of a tile. */
VNNI_INLINE bool is_fast(int rows) { return rows <= 4; }

/* sums += scale * (groups from .. from + count - 1 of a block) */
VNNI_INLINE void add_groups(int rows, vnni_kind kind, __m512i sums[VNNI_ROWS_MAX],
                            const uint8_t *at, const vnni_rows *x, int from, int count,
                            const int32_t scale[16]) {
    __m512i dots[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { dots[r] = _mm512_setzero_si512(); });
#define GROUP(g)                                                                      \
    if ((g) < count) {                                                                \
        const __m512i w = vnni_weights(kind.codes, at, from + (g));                   \
        vnni_fetch_group(is_fast(rows), at, kind.block_stride, (size_t)(from + (g))); \
        VNNI_EACH_ROW(rows, {                                                         \
            const __m512i xs = vnni_broadcast32(vnni_row(x, r) + 4 * (from + (g)));   \
            dots[r] = _mm512_dpbusd_epi32(dots[r], w, xs);                            \
        });                                                                           \
    }
    GROUP(0)
    GROUP(1)
    GROUP(2)
    GROUP(3)
    GROUP(4)
    GROUP(5)
    GROUP(6)
    GROUP(7)
#undef GROUP
    const __m512i by = _mm512_load_si512(scale);
    VNNI_EACH_ROW(rows, { sums[r] = _mm512_add_epi32(sums[r], _mm512_mullo_epi32(dots[r], by)); });
}

VNNI_INLINE void few(int rows, vnni_kind kind, float *y, const k_chunk *c, const long_factors *fs,
                     const uint8_t *from, size_t x_stride) {
    __m512i sums[VNNI_ROWS_MAX];
    const vnni_rows first = vnni_rows_of(from, x_stride);
    vnni_rows x = first;
    VNNI_EACH_ROW(rows, { sums[r] = _mm512_setzero_si512(); });
    vnni_fetch_lines(c->panel - kind.codes_at, kind.codes_at); /* the scales */
    for (size_t b = 0; b < VNNI_BLOCKS; b++) {
        const uint8_t *at = c->panel + b * kind.block_stride;
        if (vnni_scales_halves(kind)) {
            add_groups(rows, kind, sums, at, &x, 0, 4, c->scale[2 * b]);
            add_groups(rows, kind, sums, at, &x, 4, 4, c->scale[2 * b + 1]);
        } else {
            add_groups(rows, kind, sums, at, &x, 0, 8, c->scale[b]);
        }
        vnni_rows_step(&x, ACT_BLOCK_LEN);
    }
    const long_registers f = long_registers_of(fs);
    VNNI_EACH_ROW(rows, {
        const long_x *row = (const long_x *)vnni_row(&first, r);
        if (!vnni_has_mins6(kind)) { /* q is a middle more than the code stands for */
            __m512i more = _mm512_setzero_si512();
            for (size_t p = 0; p < (vnni_scales_halves(kind) ? 8 : 4); p++) {
                const int16_t *of = vnni_scales_halves(kind) ? row->sums16 : row->sums32;
                more = _mm512_dpwssd_epi32(more, _mm512_load_si512(c->scale_pairs[p]),
                                           vnni_broadcast32(of + 2 * p));
            }
            more = _mm512_slli_epi32(more, (unsigned)kind.log2_middle);
            sums[r] = _mm512_sub_epi32(sums[r], more);
        }
        long_add_row(long_of(kind, NULL, NULL, NULL), y + 16 * r, f, row, sums[r]);
    });
}

/* ---- planes ---- */

/* What half a block's codes are multiplied by: a scale with a sign, else its upper bits and its
 * lower ones, in each 16 bits. */
typedef struct k_split {
    long_scale scale;
    __m512i high, low;
} k_split;

VNNI_INLINE k_split split_of(vnni_kind kind, const k_chunk *c, size_t b, size_t half) {
    const __m512i one = _mm512_load_si512(c->scale[vnni_scales_halves(kind) ? 2 * b + half : b]);
    const __m512i both = long_pair(one, one);
    return (k_split){
        .scale = long_scale_of(one, kind.log2_middle, 64),
        .high = _mm512_srli_epi16(both, 3),
        .low = _mm512_and_si512(both, _mm512_set1_epi16(7)),
    };
}

VNNI_INLINE void make_group(vnni_kind kind, uint8_t *high_to, uint8_t *low_to, const uint8_t *at,
                            int group, k_split by) {
    const __m512i q = vnni_weights(kind.codes, at, group);
    if (!vnni_has_mins6(kind)) {
        long_split(high_to + 64 * group, low_to + 64 * group, q, by.scale);
    } else { /* two bytes at once: neither product reaches the next byte */
        _mm512_store_si512(high_to + 64 * group, _mm512_mullo_epi16(q, by.high));
        _mm512_store_si512(low_to + 64 * group, _mm512_mullo_epi16(q, by.low));
    }
}

VNNI_INLINE void make_block(vnni_kind kind, long_plane planes[2], const k_chunk *c, size_t b) {
    const uint8_t *at = c->panel + b * kind.block_stride;
    uint8_t *high = planes[0][8 * b], *low = planes[1][8 * b];
    const k_split first = split_of(kind, c, b, 0), second = split_of(kind, c, b, 1);
    make_group(kind, high, low, at, 0, first);
    make_group(kind, high, low, at, 1, first);
    make_group(kind, high, low, at, 2, first);
    make_group(kind, high, low, at, 3, first);
    make_group(kind, high, low, at, 4, second);
    make_group(kind, high, low, at, 5, second);
    make_group(kind, high, low, at, 6, second);
    make_group(kind, high, low, at, 7, second);
}

#define X(NAME, name)                                                                             \
    static void open_##name(void *chunk, long_factors *factors, const uint8_t *slab) {            \
        k_open(vnni_##name, chunk, factors, slab);                                                \
    }                                                                                             \
    static void make_##name(long_plane planes[2], const void *chunk, size_t b) {                  \
        make_block(vnni_##name, planes, chunk, b);                                                \
    }                                                                                             \
    VNNI_INLINE void few_##name(int rows, float *y, const void *chunk,                            \
                                const long_factors *factors, const uint8_t *x, size_t x_stride) { \
        few(rows, vnni_##name, y, chunk, factors, x, x_stride);                                   \
    }                                                                                             \
    LONG_FUNCTIONS(NAME, name, long_of(vnni_##name, open_##name, make_##name, few_##name), k_chunk)
PRODUCTS_LONG_PACKED_LIST(X)
#undef X
