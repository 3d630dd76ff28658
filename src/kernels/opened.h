/* opened.h - up to 256 columns of a panel as bytes and scales, the same for all opened formats.
 *
 *   packed slab (layout/slab.h) --- opened_<format> ---> opened_chunk --- tiles ---> y
 *
 * The formats of PACK_OPENED_LIST store their codes in many ways (lists of values, codebooks,
 * bit planes, powers of three), but all of them stand for whole numbers of 8 bits times a scale for
 * 32 or 16 columns. Opening loses nothing. It writes 4 KB of codes that stay in the first-level
 * cache and serve all rows of x; few rows are multiplied without.
 *
 *   codes        value + middle, lanes as a group of a slab: 4 columns x 16 rows
 *   scale        of a block of 32; where halves have scales of their own, what those are times of,
 *                but for NVFP4
 *   half_scale   of 16 columns: a whole number, but for NVFP4
 *   half_min     of 16 columns, a whole number, twice (it meets the two sums of act_block_q8)
 *   half_min_scale   what half_min is times of
 *
 * Where 256 columns share a scale (kind.n_planes is not 0), that and the whole numbers beside it
 * are there as well:
 *
 *   d            what all of the chunk is times of
 *   whole        of a half, or of a block where halves have none; not if !kind.has_scales, and not
 *                from NEON, whose products read none
 *
 * VBMI's set codes, d and whole only: what they open meets x in steps (layout/act.h).
 */
#ifndef WEFT_KERNELS_OPENED_H
#define WEFT_KERNELS_OPENED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "layout/act.h"
#include "layout/pack.h"
#include "layout/slab.h"

#define OPENED_COLS 256u
#define OPENED_BLOCKS (OPENED_COLS / ACT_BLOCK_LEN)
#define OPENED_HALVES (2 * OPENED_BLOCKS)

/* Rows of x that share one opening: those of a caller's chunk when each comes in two halves. */
#define OPENED_ROWS (2 * ACT_CHUNK_ROWS)

typedef struct opened_chunk {
    WEFT_ALIGNED(64) float scale[OPENED_BLOCKS][PACK_PANEL_ROWS];
    float half_scale[OPENED_HALVES][PACK_PANEL_ROWS];
    int16_t half_min[OPENED_HALVES][2 * PACK_PANEL_ROWS];
    float half_min_scale[PACK_PANEL_ROWS];
    float d[PACK_PANEL_ROWS];
    int32_t whole[OPENED_HALVES][PACK_PANEL_ROWS];
    uint8_t codes[OPENED_BLOCKS][8][64];
    size_t n_blocks;
    uint8_t middle; /* what is added to values; set before opening, the kind's or 0; NEON's 0 */
} opened_chunk;

/* What 16 bits hold, of codes times activations of 8 bits. */
typedef enum opened_width {
    OPENED_NARROW, /* the sum of a block, or of a half where halves have scales */
    OPENED_SIX,    /* six products of values, and two of codes with their middle */
    OPENED_FOUR,   /* four products of values, and two of codes with their middle */
    OPENED_WIDE    /* two products of values only */
} opened_width;

/* What a product's code is made for; all constants. */
typedef struct opened_kind {
    int log2_middle; /* 0: codes are values and not negative */
    opened_width width;
    int has_halves;
    int has_min;        /* only where is_summed */
    int n_planes;       /* of bytes that code * whole fills; 0: 256 columns share no scale */
    int has_scales;     /* whole ones */
    int is_summed;      /* blocks, of 256 columns, before their scale multiplies (products.h) */
    size_t chunk_bytes; /* of 256 columns of a panel */
} opened_kind;

#define KIND(name, ...) static const opened_kind opened_kind_##name = {__VA_ARGS__};
KIND(q2_k, 0, OPENED_NARROW, 1, 1, 1, 1, 1, sizeof(slab_q2_k))
KIND(q3_k, 2, OPENED_NARROW, 1, 0, 1, 1, 1, sizeof(slab_q3_k))
KIND(tq1_0, 1, OPENED_NARROW, 0, 0, 1, 0, 1, sizeof(slab_tq1_0))
KIND(tq2_0, 1, OPENED_NARROW, 0, 0, 1, 0, 1, sizeof(slab_tq2_0))
KIND(iq4_nl, 7, OPENED_WIDE, 0, 0, 0, 0, 0, 8 * sizeof(slab_iq4_nl))
KIND(iq4_xs, 7, OPENED_WIDE, 0, 0, 2, 1, 0, sizeof(slab_iq4_xs))
KIND(mxfp4, 4, OPENED_NARROW, 0, 0, 0, 0, 0, 8 * sizeof(slab_mxfp4))
KIND(nvfp4, 4, OPENED_NARROW, 1, 0, 0, 0, 0, 4 * sizeof(slab_nvfp4))
KIND(iq2_xxs, 6, OPENED_SIX, 0, 0, 2, 1, 0, sizeof(slab_iq2_xxs))
KIND(iq2_xs, 6, OPENED_SIX, 1, 0, 2, 1, 1, sizeof(slab_iq2_xs))
KIND(iq2_s, 6, OPENED_SIX, 1, 0, 2, 1, 1, sizeof(slab_iq2_s))
KIND(iq3_xxs, 6, OPENED_FOUR, 0, 0, 2, 1, 0, sizeof(slab_iq3_xxs))
KIND(iq3_s, 4, OPENED_NARROW, 0, 0, 2, 1, 0, sizeof(slab_iq3_s))
KIND(iq1_s, 4, OPENED_NARROW, 0, 0, 2, 1, 0, sizeof(slab_iq1_s))
KIND(iq1_m, 4, OPENED_NARROW, 1, 0, 2, 1, 1, sizeof(slab_iq1_m))
#undef KIND

static inline uint8_t opened_middle(const opened_kind *kind) {
    return (uint8_t)(kind->log2_middle != 0 ? 1 << kind->log2_middle : 0);
}

/* Whether a code times the whole scale of its half fits a byte: Q2_K, Q3_K. */
static inline bool opened_fits_bytes(const opened_kind *kind) {
    return kind->n_planes == 1 && kind->has_scales;
}

/* Whether halves of a block are added to sums one by one (products.h, ACT_STEPS). */
static inline bool opened_sums_halves(const opened_kind *kind) {
    return kind->has_halves && !opened_fits_bytes(kind);
}

/* Whether a block's sum has a scale to be multiplied by before it is added: where 256 columns are
 * summed d comes later, and where halves' scales are no whole numbers (NVFP4) there is none. */
static inline bool opened_scales_blocks(const opened_kind *kind) {
    return !kind->is_summed && !kind->has_halves;
}

/* Opens the n_blocks blocks that begin at slab. n_blocks and middle are set. */
typedef void opened_open_fn(opened_chunk *c, const uint8_t *slab);

#define X(NAME, name) \
    opened_open_fn opened_##name##_ref, opened_##name##_avx2, opened_##name##_neon;
PACK_OPENED_LIST(X)
#undef X
#define X(NAME, name) opened_open_fn opened_##name##_avx512;
PACK_GRIDS_LIST(X)
#undef X

#endif /* WEFT_KERNELS_OPENED_H */
