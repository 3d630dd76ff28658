/* tile_neon.h - the shape of NEON integer products of formats that are not opened first.
 *
 *   open(block)                a signed byte a code, scales to float32
 *   for tiles of rows          16 outputs wide, 4 registers a row
 *     tile(y, block, x)
 *
 * The loop around it is in linear_int_neon.h.
 *
 * A register of codes is 4 rows of the panel times 4 columns (a quarter of a group, slab.h), which
 * is what the dot-product instructions take: four products are added to one 32-bit sum. The levels
 * differ in the tile alone: plain NEON multiplies to 16 bits and adds pairs twice, dotprod has one
 * instruction for it, i8mm multiplies two rows of x by two of the panel at once. Sums of integers
 * are exact and the float steps are those of products.h in its order, so all give the same bits.
 *
 * Everything is static inline: no copy made for one level can be linked into another.
 */
#ifndef WEFT_KERNELS_ARM_TILE_NEON_H
#define WEFT_KERNELS_ARM_TILE_NEON_H

#include <arm_neon.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"
#include "layout/act.h"
#include "layout/pack.h"
#include "layout/slab.h"

#define NEON_INLINE static inline __attribute__((always_inline))
#define TILE_CHUNK_ROWS 96u

/* 32 columns of a panel. Q6_K has integer scales for halves of 16 columns. */
typedef struct neon_block {
    WEFT_ALIGNED(64) int8_t codes[8][64];
    float scale[PACK_PANEL_ROWS];
    float min[PACK_PANEL_ROWS];
    int32_t half_scale[2][PACK_PANEL_ROWS];
} neon_block;

typedef void neon_open_fn(neon_block *out, const void *panel, size_t block);

typedef struct neon_kind {
    neon_open_fn *open;
    bool has_min, has_halves;
    bool is_summed; /* blocks, of 256 columns, before their scale multiplies (products.h) */
} neon_kind;

/* y [n_rows][16] += x . block, without its scale where is_summed; rows of x x_stride bytes
 * apart. */
typedef void neon_tile_fn(neon_kind kind, float *y, const neon_block *w, const uint8_t *x,
                          size_t x_stride, size_t n_rows);

NEON_INLINE float32x4_t neon_load_f16(const uint16_t *p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

/* ---- opening a block ---- */

/* Bits `from`.. of each byte, moved to bit 4. */
NEON_INLINE uint8x16_t neon_high(uint8x16_t v, int from, uint8_t mask) {
    return vandq_u8(vshlq_u8(v, vdupq_n_s8((int8_t)(4 - from))), vdupq_n_u8(mask));
}

/* Nibbles to codes less `middle`; n_high: 0, 1 or 2 more bits a code at high. */
NEON_INLINE void neon_expand(neon_block *out, const uint8_t low[4][64], const uint8_t *high,
                             int n_high, int8_t middle) {
    const int8x16_t less = vdupq_n_s8(middle);
    for (int p = 0; p < 4; p++) {
        for (int q = 0; q < 4; q++) {
            const uint8x16_t both = vld1q_u8(low[p] + 16 * q);
            uint8x16_t even = vandq_u8(both, vdupq_n_u8(15));
            uint8x16_t odd = vshrq_n_u8(both, 4);
            if (n_high == 1) {
                const uint8x16_t bits = vld1q_u8(high + 16 * q);
                even = vorrq_u8(even, neon_high(bits, 2 * p, 16));
                odd = vorrq_u8(odd, neon_high(bits, 2 * p + 1, 16));
            } else if (n_high == 2) {
                const uint8x16_t bits = vld1q_u8(high + 64 * (p / 2) + 16 * q);
                even = vorrq_u8(even, neon_high(bits, 4 * (p % 2), 48));
                odd = vorrq_u8(odd, neon_high(bits, 4 * (p % 2) + 2, 48));
            }
            vst1q_s8(out->codes[2 * p] + 16 * q, vsubq_s8(vreinterpretq_s8_u8(even), less));
            vst1q_s8(out->codes[2 * p + 1] + 16 * q, vsubq_s8(vreinterpretq_s8_u8(odd), less));
        }
    }
}

NEON_INLINE void neon_open_halves(float *out, const uint16_t d[16]) {
    for (int q = 0; q < 4; q++) {
        vst1q_f32(out + 4 * q, neon_load_f16(d + 4 * q));
    }
}

NEON_INLINE void neon_open_q4_0(neon_block *out, const void *panel, size_t block) {
    const slab_q4_0 *slab = (const slab_q4_0 *)panel + block;
    neon_open_halves(out->scale, slab->d);
    neon_expand(out, slab->low, NULL, 0, 8);
}

NEON_INLINE void neon_open_q4_1(neon_block *out, const void *panel, size_t block) {
    const slab_q4_1 *slab = (const slab_q4_1 *)panel + block;
    neon_open_halves(out->scale, slab->d);
    neon_open_halves(out->min, slab->m);
    neon_expand(out, slab->low, NULL, 0, 0);
}

NEON_INLINE void neon_open_q5_0(neon_block *out, const void *panel, size_t block) {
    const slab_q5_0 *slab = (const slab_q5_0 *)panel + block;
    neon_open_halves(out->scale, slab->d);
    neon_expand(out, slab->low, slab->high, 1, 16);
}

/* The middle taken out of the codes goes into the minimum. */
NEON_INLINE void neon_add_middle(neon_block *out) {
    for (int q = 0; q < 4; q++) {
        const float32x4_t scale = vld1q_f32(out->scale + 4 * q);
        vst1q_f32(out->min + 4 * q, vfmaq_n_f32(vld1q_f32(out->min + 4 * q), scale, 16.0f));
    }
}

NEON_INLINE void neon_open_q5_1(neon_block *out, const void *panel, size_t block) {
    const slab_q5_1 *slab = (const slab_q5_1 *)panel + block;
    neon_open_halves(out->scale, slab->d);
    neon_open_halves(out->min, slab->m);
    neon_add_middle(out);
    neon_expand(out, slab->low, slab->high, 1, 16);
}

NEON_INLINE float32x4_t neon_bytes_to_f32(uint8x16_t v, int quarter) {
    uint8_t bytes[16];
    uint32_t words[4];
    vst1q_u8(bytes, v);
    for (int i = 0; i < 4; i++) {
        words[i] = bytes[4 * quarter + i];
    }
    return vcvtq_f32_u32(vld1q_u32(words));
}

/* d * sc and -(dmin * mn) of block b (0..7), from the 6-bit fields (slab.h). */
NEON_INLINE void neon_open_scales6(neon_block *out, const uint16_t *d, const uint16_t *dmin,
                                   const uint8_t scales[12][16], size_t b) {
    uint8x16_t sc, mn;
    if (b < 4) {
        sc = vandq_u8(vld1q_u8(scales[b]), vdupq_n_u8(63));
        mn = vandq_u8(vld1q_u8(scales[4 + b]), vdupq_n_u8(63));
    } else {
        const uint8x16_t lows = vld1q_u8(scales[4 + b]);
        const uint8x16_t sc_high = vshrq_n_u8(vld1q_u8(scales[b - 4]), 6);
        const uint8x16_t mn_high = vshrq_n_u8(vld1q_u8(scales[b]), 6);
        sc = vorrq_u8(vandq_u8(lows, vdupq_n_u8(15)), vshlq_n_u8(sc_high, 4));
        mn = vorrq_u8(vshrq_n_u8(lows, 4), vshlq_n_u8(mn_high, 4));
    }
    for (int q = 0; q < 4; q++) {
        const float32x4_t scale = vmulq_f32(neon_load_f16(d + 4 * q), neon_bytes_to_f32(sc, q));
        const float32x4_t min = vmulq_f32(neon_load_f16(dmin + 4 * q), neon_bytes_to_f32(mn, q));
        vst1q_f32(out->scale + 4 * q, scale);
        vst1q_f32(out->min + 4 * q, vnegq_f32(min));
    }
}

NEON_INLINE void neon_open_q4_k(neon_block *out, const void *panel, size_t block) {
    const slab_q4_k *slab = (const slab_q4_k *)panel + block / 8;
    neon_open_scales6(out, slab->d, slab->dmin, slab->scales, block % 8);
    neon_expand(out, slab->low[block % 8], NULL, 0, 0);
}

NEON_INLINE void neon_open_q5_k(neon_block *out, const void *panel, size_t block) {
    const slab_q5_k *slab = (const slab_q5_k *)panel + block / 8;
    const slab_q5_k_block *at = &slab->blocks[block % 8];
    neon_open_scales6(out, slab->d, slab->dmin, slab->scales, block % 8);
    neon_add_middle(out);
    neon_expand(out, at->low, at->high, 1, 16);
}

NEON_INLINE void neon_open_q6_k(neon_block *out, const void *panel, size_t block) {
    const slab_q6_k *slab = (const slab_q6_k *)panel + block / 8;
    const slab_q6_k_block *at = &slab->blocks[block % 8];
    neon_open_halves(out->scale, slab->d);
    for (unsigned h = 0; h < 2; h++) {
        for (unsigned row = 0; row < PACK_PANEL_ROWS; row++) {
            out->half_scale[h][row] = slab->scales[2 * (block % 8) + h][slab_q6_k_lane(row)];
        }
    }
    neon_expand(out, at->low, at->high[0], 2, 32);
}

/* ---- the end of a block ---- */

/* y[0..16) += dot * (scale * xs) [+ min * xsum] for one row; where is_summed dot * xs. */
NEON_INLINE void neon_add_block(neon_kind kind, float *y, const int32x4_t dot[4],
                                const neon_block *w, const act_block_q8 *x) {
    for (int q = 0; q < 4; q++) {
        const float32x4_t xs = vdupq_n_f32(x->scale);
        const float32x4_t factor = kind.is_summed ? xs : vmulq_f32(vld1q_f32(w->scale + 4 * q), xs);
        float32x4_t v = vfmaq_f32(vld1q_f32(y + 4 * q), vcvtq_f32_s32(dot[q]), factor);
        if (kind.has_min) {
            v = vfmaq_n_f32(v, vld1q_f32(w->min + 4 * q), x->sum);
        }
        vst1q_f32(y + 4 * q, v);
    }
}

/* ---- tiles of levels that have, or make, a dot product of four ---- */

/* acc[i] += the sum over 4 columns of w[4 * i ..] * x[4 * i ..] */
typedef int32x4_t neon_dot_fn(int32x4_t acc, int8x16_t w, int8x16_t x);

NEON_INLINE int8x16_t neon_broadcast4(const int8_t *p) {
    int32_t v;
    memcpy(&v, p, sizeof v);
    return vreinterpretq_s8_s32(vdupq_n_s32(v));
}

/* rows is a constant, 1 or 4. */
NEON_INLINE void neon_tile_dot(neon_dot_fn *dot4, neon_kind kind, float *y, const neon_block *w,
                               const uint8_t *x, size_t x_stride, int rows) {
    int32x4_t acc[4][4], first[4][4];
    for (int r = 0; r < rows; r++) {
        for (int q = 0; q < 4; q++) {
            acc[r][q] = vdupq_n_s32(0);
        }
    }
    for (int g = 0; g < 8; g++) {
        if (kind.has_halves && g == 4) {
            for (int r = 0; r < rows; r++) {
                for (int q = 0; q < 4; q++) {
                    first[r][q] = vmulq_s32(acc[r][q], vld1q_s32(w->half_scale[0] + 4 * q));
                    acc[r][q] = vdupq_n_s32(0);
                }
            }
        }
        for (int r = 0; r < rows; r++) {
            const act_block_q8 *row = (const act_block_q8 *)(const void *)(x + r * x_stride);
            const int8x16_t xs = neon_broadcast4(row->codes + 4 * g);
            for (int q = 0; q < 4; q++) {
                acc[r][q] = dot4(acc[r][q], vld1q_s8(w->codes[g] + 16 * q), xs);
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        if (kind.has_halves) {
            for (int q = 0; q < 4; q++) {
                acc[r][q] = vmlaq_s32(first[r][q], acc[r][q], vld1q_s32(w->half_scale[1] + 4 * q));
            }
        }
        neon_add_block(kind, y + r * PACK_PANEL_ROWS, acc[r], w,
                       (const act_block_q8 *)(const void *)(x + r * x_stride));
    }
}

NEON_INLINE void neon_tiles_dot(neon_dot_fn *dot4, neon_kind kind, float *y, const neon_block *w,
                                const uint8_t *x, size_t x_stride, size_t n_rows) {
    size_t r = 0;
    for (; r + 4 <= n_rows; r += 4) {
        neon_tile_dot(dot4, kind, y + r * PACK_PANEL_ROWS, w, x + r * x_stride, x_stride, 4);
    }
    for (; r < n_rows; r++) {
        neon_tile_dot(dot4, kind, y + r * PACK_PANEL_ROWS, w, x + r * x_stride, x_stride, 1);
    }
}

/* ---- outputs ---- */

NEON_INLINE void neon_copy_out(float *y, size_t y_stride, const float *sums, size_t n_rows,
                               size_t n) {
    for (size_t r = 0; r < n_rows; r++) {
        memcpy(y + r * y_stride, sums + r * PACK_PANEL_ROWS, n * sizeof *y);
    }
}

#endif /* WEFT_KERNELS_ARM_TILE_NEON_H */
