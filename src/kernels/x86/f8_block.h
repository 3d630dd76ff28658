/* f8_block.h - 128 columns of F8_E4M3 opened to whole numbers, as AVX2 and AVX-512 multiply them.
 *
 * 512 times a code has 18 bits. All but the smallest weights of a row need 15 of them: the code in
 * 64ths, a word, of which one instruction multiplies two columns at a time as it does Q8_0's. What
 * is left of 512 times the code, 7 at most, is not 0 only below 1/8: one in a thousand of normal
 * weights that were scaled to reach 448. Pairs of columns that have such are marked, and only they
 * are multiplied again. Sums of 32 columns fit 32 bits (products.h), so that the result is exact
 * however codes are cut.
 */
#ifndef WEFT_KERNELS_X86_F8_BLOCK_H
#define WEFT_KERNELS_X86_F8_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "kernels/products.h"
#include "layout/act.h"
#include "layout/pack.h"

#define F8_BLOCKS (PAIRS_BLOCK_LEN / ACT_BLOCK_LEN) /* of x */
#define F8_PAIRS (ACT_BLOCK_LEN / 2)                /* of columns, in one */

/* A pair of columns is 16 outputs, each with both. */
typedef struct f8_block {
    WEFT_ALIGNED(64) int16_t words[F8_BLOCKS][F8_PAIRS][32]; /* 64ths */
    int16_t rests[F8_BLOCKS][F8_PAIRS][32];                  /* 512ths, where marked */
    float scale[PACK_PANEL_ROWS];                            /* per 64th */
    uint32_t marks[F8_BLOCKS]; /* bit p: pair p (AVX2: of outputs 0..7; bit 16 + p: of 8..15) */
} f8_block;
_Static_assert(offsetof(f8_block, scale) % 64 == 0, "scales are loaded as a whole");

#endif /* WEFT_KERNELS_X86_F8_BLOCK_H */
