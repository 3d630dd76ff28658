/* vnni_avx512.h - panels as AVX-512 products read them: scales opened, codes a byte each.
 *
 * A group of a slab (slab.h) is 4 columns x 16 outputs: 64 bytes, one register, and what vpdpbusd
 * multiplies by 4 broadcast activations into 16 sums of 32 bits. Nothing saturates, so codes are
 * unsigned as they are stored (Q8_0 with its sign bit turned: code + 128), and a format with a
 * middle starts its sums at -middle * (sum of activations).
 *
 *   open      the scales of up to 256 columns, as float32, once for all rows of x
 *   weights   one group from its packed bits: 1 to 5 instructions
 *   fetch     prefetches that go with a group that is read as it is packed
 *
 * What differs between formats is constants (vnni_kinds.h); all code is inlined into each.
 */
#ifndef WEFT_KERNELS_X86_VNNI_AVX512_H
#define WEFT_KERNELS_X86_VNNI_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "kernels/x86/rows_avx512.h"
#include "kernels/x86/vnni_kinds.h"
#include "layout/act.h"
#include "layout/pack.h"
#include "layout/slab.h"

/* Up to 256 columns of a panel. */
typedef struct vnni_chunk {
    WEFT_ALIGNED(64) float scale[VNNI_BLOCKS][PACK_PANEL_ROWS];
    float min[VNNI_BLOCKS][PACK_PANEL_ROWS];
    float half_scale[2 * VNNI_BLOCKS][PACK_PANEL_ROWS];  /* vnni_scales_halves */
    float d[PACK_PANEL_ROWS], dmin[PACK_PANEL_ROWS];     /* with steps, of all */
    int16_t mins6[VNNI_BLOCKS / 2][2 * PACK_PANEL_ROWS]; /* VNNI_SCALES_6: of two blocks a lane */
    uint8_t codes[VNNI_BLOCKS][8][64];                   /* by block and group */
    const uint8_t *slabs, *panel;                        /* packed; the first block's codes */
    size_t n_blocks;
} vnni_chunk;

/* Minimums of blocks, as float32; and whole ones, times dmin of 256 columns. */
VNNI_INLINE bool vnni_has_mins(vnni_kind kind) { return kind.scales == VNNI_SCALES_DM; }

VNNI_INLINE bool vnni_has_mins6(vnni_kind kind) { return kind.scales == VNNI_SCALES_6; }

VNNI_INLINE bool vnni_scales_halves(vnni_kind kind) {
    return kind.scales == VNNI_SCALES_16 || kind.scales == VNNI_SCALES_E4M3;
}

/* Slabs of 256 columns begin with their d, and blocks have whole scales: x comes in steps. */
VNNI_INLINE bool vnni_has_steps(vnni_kind kind) {
    return kind.scales == VNNI_SCALES_XS || kind.scales == VNNI_SCALES_6 ||
           kind.scales == VNNI_SCALES_16;
}

/* Asks for what follows a block of block_bytes at `at`: the lines that fall to one of its eight
 * groups. */
VNNI_INLINE void vnni_fetch_group(bool is_fast, const uint8_t *at, size_t block_bytes,
                                  size_t group) {
    for (size_t line = group; line * 64 < block_bytes; line += 8) {
        const uint8_t *read = at + 64 * line;
        vnni_fetch_at(is_fast ? vnni_next_page(read) : read + VNNI_AHEAD_BYTES);
    }
}

VNNI_INLINE __m512i vnni_load(const void *p) { return _mm512_loadu_si512(p); }

/* min + middle * scale: what goes with codes less the middle. */
VNNI_INLINE __m512 vnni_centred_min(vnni_kind kind, __m512 scale, __m512 min) {
    const __m512 middle = _mm512_set1_ps((float)(1 << kind.log2_middle));
    return kind.log2_middle != 0 ? _mm512_fmadd_ps(middle, scale, min) : min;
}

/* 2^(e - 128) of 16 exponents; the lowest two are denormal. */
VNNI_INLINE __m512 vnni_half_e8m0(const void *bytes) {
    const __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)bytes));
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    const __mmask16 is_low = _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2));
    return _mm512_castsi512_ps(
        _mm512_mask_sllv_epi32(normal, is_low, _mm512_set1_epi32(0x00200000), e));
}

/* Half of 16 E4M3 values without signs, which are halves' bits but for a factor of 256; 0x7f is
 * 0. */
VNNI_INLINE __m512 vnni_half_e4m3(const void *bytes) {
    const __m256i v = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)bytes));
    const __mmask16 is_there = _mm256_cmpneq_epi16_mask(v, _mm256_set1_epi16(0x7f));
    const __m256i bits = _mm256_and_si256(v, _mm256_set1_epi16(0x7f));
    const __m256i half = _mm256_maskz_slli_epi16(is_there, bits, 7);
    return _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(128.0f));
}

/* What a block's codes are times of, and what is added: of 16 outputs. With steps scales are whole
 * numbers, or those of halves are. */
typedef struct vnni_scale {
    __m512 scale, min;
    __m512 half_scale[2];
} vnni_scale;

VNNI_INLINE __m512 vnni_bytes_to_floats(__m128i bytes) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
}

/* The 6-bit scale and minimum of block b from a slab's fields scales[12][16]. */
VNNI_INLINE void vnni_fields6(__m128i *sc, __m128i *mn, const void *scales, size_t b) {
    const __m128i low4 = _mm_set1_epi8(15), low6 = _mm_set1_epi8(63), high2 = _mm_set1_epi8(48);
    const __m128i *fields = scales;
    if (b < 4) {
        *sc = _mm_and_si128(_mm_loadu_si128(fields + b), low6);
        *mn = _mm_and_si128(_mm_loadu_si128(fields + 4 + b), low6);
        return;
    }
    const __m128i lows = _mm_loadu_si128(fields + 4 + b);
    const __m128i sc_high = _mm_srli_epi16(_mm_loadu_si128(fields + b - 4), 2);
    const __m128i mn_high = _mm_srli_epi16(_mm_loadu_si128(fields + b), 2);
    *sc = _mm_or_si128(_mm_and_si128(lows, low4), _mm_and_si128(sc_high, high2));
    *mn = _mm_or_si128(_mm_and_si128(_mm_srli_epi16(lows, 4), low4), _mm_and_si128(mn_high, high2));
}

/* Row i of a slab's scales of halves, in the order of rows (slab_q6_k_lane). */
VNNI_INLINE __m128i vnni_scales16(const uint8_t *slab, size_t i) {
    const __m128i *scales = (const __m128i *)(slab + offsetof(slab_q6_k, scales));
    return _mm_shuffle_epi32(_mm_loadu_si128(scales + i), 0xd8);
}

/* sc - 32 of IQ4_XS, block b. */
VNNI_INLINE __m512i vnni_scales_xs(const slab_iq4_xs *slab, size_t b) {
    const __m512i highs = vnni_load_words(slab->scales_high);
    const __m128i bytes = _mm_loadu_si128((const __m128i *)slab->scales_low[b / 2]);
    __m512i sc = _mm512_srli_epi32(_mm512_cvtepu8_epi32(bytes), (unsigned)(b % 2 * 4));
    sc = _mm512_and_si512(sc, _mm512_set1_epi32(15));
    const __m512i high = _mm512_srli_epi32(highs, (unsigned)(2 * b));
    sc = _mm512_or_si512(sc, _mm512_slli_epi32(_mm512_and_si512(high, _mm512_set1_epi32(3)), 4));
    return _mm512_sub_epi32(sc, _mm512_set1_epi32(32));
}

/* The 6-bit minimum of block b. */
VNNI_INLINE __m512i vnni_min6(const uint8_t *slab, size_t b) {
    __m128i sc, mn;
    vnni_fields6(&sc, &mn, slab + 64, b);
    return _mm512_cvtepu8_epi32(mn);
}

/* Block b of the slabs of 256 columns. */
VNNI_INLINE vnni_scale vnni_scale_of(vnni_kind kind, const uint8_t *slabs, size_t b) {
    const uint8_t *at = slabs + b * kind.block_stride; /* where blocks have scales before them */
    vnni_scale s = {.min = _mm512_setzero_ps()};
    switch (kind.scales) {
    case VNNI_SCALES_D: s.scale = vnni_load_f16(at); return s;
    case VNNI_SCALES_E: s.scale = vnni_half_e8m0(at); return s;
    case VNNI_SCALES_DM:
        s.scale = vnni_load_f16(at);
        s.min = vnni_centred_min(kind, s.scale, vnni_load_f16(at + 32));
        return s;
    case VNNI_SCALES_6: {
        __m128i sc, mn;
        vnni_fields6(&sc, &mn, slabs + 64, b);
        s.scale = vnni_bytes_to_floats(sc);
        return s;
    }
    case VNNI_SCALES_XS:
        s.scale = _mm512_cvtepi32_ps(vnni_scales_xs((const slab_iq4_xs *)slabs, b));
        return s;
    case VNNI_SCALES_16:
    case VNNI_SCALES_E4M3: break;
    }
    s.scale = _mm512_setzero_ps();
    for (size_t half = 0; half < 2; half++) {
        const size_t i = 2 * b + half;
        const slab_nvfp4 *slab = (const slab_nvfp4 *)slabs + i / 4;
        s.half_scale[half] = kind.scales == VNNI_SCALES_16
                                 ? _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(vnni_scales16(slabs, i)))
                                 : vnni_half_e4m3(slab->d[i % 4]);
    }
    return s;
}

/* The chunk of n_cols columns at `slabs`, still packed, but for what its slab begins with. */
VNNI_INLINE void vnni_chunk_at(vnni_kind kind, vnni_chunk *c, const uint8_t *slabs, size_t n_cols) {
    c->n_blocks = n_cols / ACT_BLOCK_LEN;
    c->slabs = slabs;
    c->panel = slabs + kind.codes_at;
    if (vnni_has_steps(kind)) {
        _mm512_store_ps(c->d, vnni_load_f16(slabs));
        _mm512_store_ps(c->dmin, vnni_load_f16(slabs + 32)); /* of VNNI_SCALES_6 */
    }
}

/* Its scales to float32. */
VNNI_INLINE void vnni_open(vnni_kind kind, vnni_chunk *c) {
    for (size_t b = 0; b < c->n_blocks; b++) {
        const vnni_scale s = vnni_scale_of(kind, c->slabs, b);
        _mm512_store_ps(c->scale[b], s.scale);
        if (vnni_has_mins(kind)) {
            _mm512_store_ps(c->min[b], s.min);
        }
        if (vnni_scales_halves(kind)) {
            _mm512_store_ps(c->half_scale[2 * b], s.half_scale[0]);
            _mm512_store_ps(c->half_scale[2 * b + 1], s.half_scale[1]);
        }
    }
    for (size_t b = 0; vnni_has_mins6(kind) && b < VNNI_BLOCKS; b += 2) {
        const __m512i second = _mm512_slli_epi32(vnni_min6(c->slabs, b + 1), 16);
        _mm512_store_si512(c->mins6[b / 2], _mm512_or_si512(vnni_min6(c->slabs, b), second));
    }
}

/* What vnni_open has stored. */
VNNI_INLINE vnni_scale vnni_scale_opened(vnni_kind kind, const vnni_chunk *c, size_t b) {
    vnni_scale s = {.scale = _mm512_load_ps(c->scale[b]), .min = _mm512_setzero_ps()};
    if (vnni_has_mins(kind)) {
        s.min = _mm512_load_ps(c->min[b]);
    }
    if (vnni_scales_halves(kind)) {
        s.half_scale[0] = _mm512_load_ps(c->half_scale[2 * b]);
        s.half_scale[1] = _mm512_load_ps(c->half_scale[2 * b + 1]);
    }
    return s;
}

/* Bits 4 (and 5) of group's codes; `from` is where the group's own lie in each byte of v. */
VNNI_INLINE __m512i vnni_high_bits(__m512i v, int from, int mask) {
    const __m512i moved = from <= 4 ? _mm512_slli_epi16(v, (unsigned)(from <= 4 ? 4 - from : 0))
                                    : _mm512_srli_epi16(v, (unsigned)(from > 4 ? from - 4 : 0));
    return _mm512_and_si512(moved, _mm512_set1_epi8((char)mask));
}

/* What nibbles stand for, plus the middle. */
VNNI_INLINE __m128i vnni_values(vnni_codes codes) {
    return codes == VNNI_CODES_IQ4
               ? _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, -127, -115, -103, -90, -75, -59,
                               -39, -15)
               : _mm_setr_epi8(16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4);
}

/* Codes of group 0..7, 64 bytes: lane 4 * output + column % 4. */
VNNI_INLINE __m512i vnni_weights(vnni_codes codes, const uint8_t *at, int group) {
    if (codes == VNNI_CODES_EXPANDED) {
        return vnni_load(at + 64 * group);
    }
    if (codes == VNNI_CODES_8) {
        /* Pairs (0, 1) of 16 outputs, then their pairs (2, 3): words 0, 16, 1, 17, ... */
        const __m512i order =
            _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                             22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
        const __m512i v = _mm512_permutexvar_epi16(order, vnni_load(at + 64 * group));
        return _mm512_xor_si512(v, _mm512_set1_epi8((char)0x80));
    }
    if (codes == VNNI_CODES_IQ4 || codes == VNNI_CODES_E2M1 || codes == VNNI_CODES_E2M1_16) {
        const bool is_16 = codes == VNNI_CODES_E2M1_16;
        const int word = is_16 ? group / 4 * 2 + group % 2 : group % 4;
        const bool is_high = is_16 ? group % 4 >= 2 : group >= 4;
        const __m512i both = vnni_load(at + 64 * word);
        const __m512i number = is_high ? _mm512_srli_epi16(both, 4) : both;
        return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(vnni_values(codes)),
                                   _mm512_and_si512(number, _mm512_set1_epi8(15)));
    }
    __m512i v = vnni_load(at + 64 * (group / 2));
    v = group % 2 != 0 ? _mm512_srli_epi16(v, 4) : v;
    v = _mm512_and_si512(v, _mm512_set1_epi8(15));
    if (codes == VNNI_CODES_5) {
        v = _mm512_or_si512(v, vnni_high_bits(vnni_load(at - 64), group, 16));
    } else if (codes == VNNI_CODES_6) {
        const __m512i high = vnni_load(at - 128 + 64 * (group / 4));
        v = _mm512_or_si512(v, vnni_high_bits(high, 2 * (group % 4), 48));
    }
    return v;
}

#endif /* WEFT_KERNELS_X86_VNNI_AVX512_H */
