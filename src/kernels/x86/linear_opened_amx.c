/* linear_opened_amx.c - products of opened formats where 256 activations share a scale.
 *
 * A chunk of these (kernels/opened.h) is whole numbers times one scale: codes, and whole scales of
 * blocks or halves of blocks. Multiplied with each other they are one plane of bytes for the tiles
 * of long_amx.h, or 128 * high + low in two.
 *
 * A few rows go through vpdpbusd, codes with their middle, the sum of a block or a half times its
 * scale by vpmulld. One row is bound by opening.
 */
#include "kernels/opened.h"
#include "kernels/products.h"
#include "kernels/x86/long_amx.h"

#define AHEAD_BYTES 4096

VNNI_INLINE long_kind long_of(opened_kind kind, long_open_fn *open, long_make_fn *make,
                              long_few_fn *few) {
    return (long_kind){
        .n_planes = kind.n_planes,
        .log2_high = 7,
        .is_signed = 1,
        .n_min_pairs = kind.has_min ? 8 : 0,
        .few_rows_max = kind.n_planes == 1 ? 5 : 9, /* then planes save more than they cost */
        .chunk_bytes = kind.chunk_bytes,
        .open = open,
        .make = make,
        .few = few,
    };
}

/* The whole scale of half h of a chunk. */
VNNI_INLINE __m512i scale_of(opened_kind kind, const opened_chunk *c, size_t h) {
    return kind.has_scales ? _mm512_load_si512(c->whole[kind.has_halves ? h : h / 2])
                           : _mm512_set1_epi32(1);
}

VNNI_INLINE void open_chunk(opened_kind kind, opened_open_fn *open, opened_chunk *c,
                            long_factors *factors, const uint8_t *slab) {
    c->n_blocks = OPENED_BLOCKS;
    c->middle = opened_middle(&kind);
    for (size_t line = 0; 64 * line < kind.chunk_bytes; line++) {
        _mm_prefetch((const char *)slab + AHEAD_BYTES + 64 * line, _MM_HINT_T1);
    }
    open(c, slab);
    _mm512_store_ps(factors->d, _mm512_load_ps(c->d));
    if (kind.has_min) {
        const __m512 dmin = _mm512_load_ps(c->half_min_scale);
        _mm512_store_ps(factors->neg_dmin, _mm512_xor_ps(dmin, _mm512_set1_ps(-0.0f)));
        for (size_t p = 0; p < 8; p++) {
            const __m512i even = _mm512_load_si512(c->half_min[2 * p]);
            const __m512i odd = _mm512_load_si512(c->half_min[2 * p + 1]);
            _mm512_store_si512(factors->min_pairs[p],
                               _mm512_mask_blend_epi16(0xaaaaaaaau, even, odd));
        }
    }
}

/* ---- few rows ---- */

/* sums += scale * (groups from .. from + count - 1 of block b) */
VNNI_INLINE void add_groups(int rows, opened_kind kind, __m512i sums[VNNI_ROWS_MAX],
                            const uint8_t *codes, const vnni_rows *x, int from, int count,
                            __m512i scale) {
    __m512i dots[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { dots[r] = _mm512_setzero_si512(); });
    for (int g = from; g < from + count; g++) {
        const __m512i w = _mm512_load_si512(codes + 64 * g);
        VNNI_EACH_ROW(rows, {
            dots[r] = _mm512_dpbusd_epi32(dots[r], w, vnni_broadcast32(vnni_row(x, r) + 4 * g));
        });
    }
    if (kind.has_scales) {
        VNNI_EACH_ROW(rows, { dots[r] = _mm512_mullo_epi32(dots[r], scale); });
    }
    VNNI_EACH_ROW(rows, { sums[r] = _mm512_add_epi32(sums[r], dots[r]); });
}

/* Codes are a middle more than they stand for. */
VNNI_INLINE void take_middle(int rows, opened_kind kind, __m512i sums[VNNI_ROWS_MAX],
                             const opened_chunk *c, const vnni_rows *x) {
    __m512i more[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { more[r] = _mm512_setzero_si512(); });
    for (size_t p = 0; p < (kind.has_halves ? 8 : 4); p++) {
        const size_t h = kind.has_halves ? 2 * p : 4 * p, step = kind.has_halves ? 1 : 2;
        const __m512i pair = long_pair(scale_of(kind, c, h), scale_of(kind, c, h + step));
        VNNI_EACH_ROW(rows, {
            const long_x *row = (const long_x *)vnni_row(x, r);
            const int16_t *of = kind.has_halves ? row->sums16 : row->sums32;
            more[r] = _mm512_dpwssd_epi32(more[r], pair, vnni_broadcast32(of + 2 * p));
        });
    }
    VNNI_EACH_ROW(rows, {
        sums[r] = _mm512_sub_epi32(sums[r], _mm512_slli_epi32(more[r], (unsigned)kind.log2_middle));
    });
}

VNNI_INLINE void few(int rows, opened_kind kind, float *y, const opened_chunk *c,
                     const long_factors *factors, const uint8_t *from, size_t x_stride) {
    __m512i sums[VNNI_ROWS_MAX];
    const vnni_rows first = vnni_rows_of(from, x_stride);
    vnni_rows x = first;
    VNNI_EACH_ROW(rows, { sums[r] = _mm512_setzero_si512(); });
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        const uint8_t *codes = c->codes[b][0];
        if (kind.has_halves) {
            add_groups(rows, kind, sums, codes, &x, 0, 4, scale_of(kind, c, 2 * b));
            add_groups(rows, kind, sums, codes, &x, 4, 4, scale_of(kind, c, 2 * b + 1));
        } else {
            add_groups(rows, kind, sums, codes, &x, 0, 8, scale_of(kind, c, 2 * b));
        }
        vnni_rows_step(&x, ACT_BLOCK_LEN);
    }
    if (kind.log2_middle != 0) {
        take_middle(rows, kind, sums, c, &first);
    }
    const long_registers f = long_registers_of(factors);
    VNNI_EACH_ROW(rows, {
        const long_x *row = (const long_x *)vnni_row(&first, r);
        long_add_row(long_of(kind, NULL, NULL, NULL), y + 16 * r, f, row, sums[r]);
    });
}

/* ---- planes ---- */

VNNI_INLINE void make_group(opened_kind kind, uint8_t high[64], uint8_t low[64],
                            const uint8_t *codes, long_scale scale) {
    const __m512i q = _mm512_load_si512(codes);
    if (!kind.has_scales) {
        const __m512i middle = _mm512_set1_epi8((char)opened_middle(&kind));
        _mm512_store_si512(high, _mm512_sub_epi8(q, middle));
    } else if (kind.n_planes == 1) {
        long_multiply(high, q, scale);
    } else {
        long_split(high, low, q, scale);
    }
}

VNNI_INLINE void make_block(opened_kind kind, long_plane planes[2], const opened_chunk *c,
                            size_t b) {
    for (size_t h = 2 * b; h < 2 * b + 2; h++) {
        const long_scale scale =
            long_scale_of(scale_of(kind, c, h), kind.log2_middle, kind.n_planes == 1 ? 0 : 64);
        for (size_t g = 4 * h; g < 4 * h + 4; g++) {
            make_group(kind, planes[0][g], planes[1][g], c->codes[b][g % 8], scale);
        }
    }
}

#define LINEAR(NAME, name, opener)                                                                \
    static void open_##name(void *chunk, long_factors *factors, const uint8_t *slab) {            \
        open_chunk(opened_kind_##name, opener, chunk, factors, slab);                             \
    }                                                                                             \
    static void make_##name(long_plane planes[2], const void *chunk, size_t b) {                  \
        make_block(opened_kind_##name, planes, chunk, b);                                         \
    }                                                                                             \
    VNNI_INLINE void few_##name(int rows, float *y, const void *chunk,                            \
                                const long_factors *factors, const uint8_t *x, size_t x_stride) { \
        few(rows, opened_kind_##name, y, chunk, factors, x, x_stride);                            \
    }                                                                                             \
    LONG_FUNCTIONS(NAME, name, long_of(opened_kind_##name, open_##name, make_##name, few_##name), \
                   opened_chunk)
#define X(NAME, name) LINEAR(NAME, name, opened_##name##_avx2)
PACK_BITS_LIST(X)
#undef X
#define X(NAME, name) LINEAR(NAME, name, opened_##name##_avx512)
PACK_GRIDS_LIST(X)
#undef X
