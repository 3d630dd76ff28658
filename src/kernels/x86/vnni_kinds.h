/* vnni_kinds.h - what differs between the formats whose codes AVX-512 multiplies as they are packed
 * (vnni_avx512.h), in constants: where codes and scales stand in a slab (slab.h), and their kind.
 */
#ifndef WEFT_KERNELS_X86_VNNI_KINDS_H
#define WEFT_KERNELS_X86_VNNI_KINDS_H

#include <stdbool.h>
#include <stddef.h>

#include "layout/act.h"
#include "layout/slab.h"

#define VNNI_COLS 256u
#define VNNI_BLOCKS (VNNI_COLS / ACT_BLOCK_LEN)

typedef enum vnni_codes {
    VNNI_CODES_4,       /* nibbles at `at` */
    VNNI_CODES_5,       /* 64 bytes of fifth bits before the nibbles */
    VNNI_CODES_6,       /* 128 bytes of high bits before the nibbles */
    VNNI_CODES_8,       /* pairs of signed columns at `at` */
    VNNI_CODES_IQ4,     /* nibbles of groups g and g + 4, numbers of the values of IQ4_NL */
    VNNI_CODES_E2M1,    /* the same of twice the values of MXFP4 */
    VNNI_CODES_E2M1_16, /* these, of groups g and g + 2 of a half */
    VNNI_CODES_EXPANDED /* bytes in vnni_chunk.codes */
} vnni_codes;

typedef enum vnni_scales {
    VNNI_SCALES_D,    /* f16 d[16] before each block's codes */
    VNNI_SCALES_DM,   /* f16 d[16], m[16] */
    VNNI_SCALES_E,    /* exponents e[16]: a code is worth 2^(e - 128) */
    VNNI_SCALES_E4M3, /* NVFP4: d[4][16] of halves before each two blocks' codes */
    VNNI_SCALES_XS,   /* IQ4_XS: f16 d[16] and 6-bit fields at the front of a slab of 256 */
    VNNI_SCALES_6,    /* f16 d[16], dmin[16] and 6-bit fields at the front of a slab of 256 */
    VNNI_SCALES_16    /* f16 d[16] and 8-bit scales of halves of a block, there */
} vnni_scales;

typedef struct vnni_kind {
    vnni_codes codes;
    vnni_scales scales;
    int log2_middle;     /* of the codes; 0: none */
    size_t codes_at;     /* from the start of a chunk to the first block's codes */
    size_t block_stride; /* bytes from one block's codes to the next, but see vnni_codes_before */
    size_t chunk_bytes;  /* of 256 columns */
    bool is_stream;      /* scales are converted block by block, not opened */
    bool is_kept;        /* codes are stored as bytes in vnni_chunk.codes as they are read */
    bool is_fast;        /* a line takes so few instructions that prefetchers lead */
} vnni_kind;

static const vnni_kind vnni_q4_0 = {
    .codes = VNNI_CODES_4,
    .scales = VNNI_SCALES_D,
    .log2_middle = 3,
    .codes_at = offsetof(slab_q4_0, low),
    .block_stride = sizeof(slab_q4_0),
    .chunk_bytes = VNNI_BLOCKS * sizeof(slab_q4_0),
};
static const vnni_kind vnni_q4_1 = {
    .codes = VNNI_CODES_4,
    .scales = VNNI_SCALES_DM,
    .codes_at = offsetof(slab_q4_1, low),
    .block_stride = sizeof(slab_q4_1),
    .chunk_bytes = VNNI_BLOCKS * sizeof(slab_q4_1),
};
static const vnni_kind vnni_q5_0 = {
    .codes = VNNI_CODES_5,
    .scales = VNNI_SCALES_D,
    .log2_middle = 4,
    .codes_at = offsetof(slab_q5_0, low),
    .block_stride = sizeof(slab_q5_0),
    .chunk_bytes = VNNI_BLOCKS * sizeof(slab_q5_0),
};
static const vnni_kind vnni_q5_1 = {
    .codes = VNNI_CODES_5,
    .scales = VNNI_SCALES_DM,
    .log2_middle = 4,
    .codes_at = offsetof(slab_q5_1, low),
    .block_stride = sizeof(slab_q5_1),
    .chunk_bytes = VNNI_BLOCKS * sizeof(slab_q5_1),
};
static const vnni_kind vnni_q8_0 = {
    .codes = VNNI_CODES_8,
    .scales = VNNI_SCALES_D,
    .log2_middle = 7,
    .codes_at = offsetof(slab_q8_0, codes),
    .block_stride = sizeof(slab_q8_0),
    .chunk_bytes = VNNI_BLOCKS * sizeof(slab_q8_0),
};
static const vnni_kind vnni_q4_k = {
    .codes = VNNI_CODES_4,
    .scales = VNNI_SCALES_6,
    .codes_at = offsetof(slab_q4_k, low),
    .block_stride = sizeof(((slab_q4_k *)0)->low[0]),
    .chunk_bytes = sizeof(slab_q4_k),
};
static const vnni_kind vnni_q5_k = {
    .codes = VNNI_CODES_5,
    .scales = VNNI_SCALES_6,
    .codes_at = offsetof(slab_q5_k, blocks[0].low),
    .block_stride = sizeof(slab_q5_k_block),
    .chunk_bytes = sizeof(slab_q5_k),
};
static const vnni_kind vnni_q6_k = {
    .codes = VNNI_CODES_6,
    .scales = VNNI_SCALES_16,
    .log2_middle = 5,
    .codes_at = offsetof(slab_q6_k, blocks[0].low),
    .block_stride = sizeof(slab_q6_k_block),
    .chunk_bytes = sizeof(slab_q6_k),
};
static const vnni_kind vnni_iq4_nl = {
    .codes = VNNI_CODES_IQ4,
    .scales = VNNI_SCALES_D,
    .log2_middle = 7,
    .codes_at = offsetof(slab_iq4_nl, low),
    .block_stride = sizeof(slab_iq4_nl),
    .chunk_bytes = VNNI_BLOCKS * sizeof(slab_iq4_nl),
};
static const vnni_kind vnni_iq4_xs = {
    .codes = VNNI_CODES_IQ4,
    .scales = VNNI_SCALES_XS,
    .log2_middle = 7,
    .codes_at = offsetof(slab_iq4_xs, low),
    .block_stride = sizeof(((slab_iq4_xs *)0)->low[0]),
    .chunk_bytes = sizeof(slab_iq4_xs),
};
static const vnni_kind vnni_mxfp4 = {
    .codes = VNNI_CODES_E2M1,
    .scales = VNNI_SCALES_E,
    .log2_middle = 4,
    .codes_at = offsetof(slab_mxfp4, low),
    .block_stride = sizeof(slab_mxfp4),
    .chunk_bytes = VNNI_BLOCKS * sizeof(slab_mxfp4),
};
static const vnni_kind vnni_nvfp4 = {
    .codes = VNNI_CODES_E2M1_16,
    .scales = VNNI_SCALES_E4M3,
    .log2_middle = 4,
    .codes_at = offsetof(slab_nvfp4, low),
    .block_stride = sizeof(((slab_nvfp4 *)0)->low) / 2,
    .chunk_bytes = VNNI_BLOCKS / 2 * sizeof(slab_nvfp4),
};

/* From the first block's codes to those of block b. */
static inline size_t vnni_codes_before(vnni_kind kind, size_t b) {
    const size_t between = sizeof(((slab_nvfp4 *)0)->d);
    return b * kind.block_stride + (kind.scales == VNNI_SCALES_E4M3 ? b / 2 * between : 0);
}

#endif /* WEFT_KERNELS_X86_VNNI_KINDS_H */
