/* pack_ref.c - file blocks into slabs and back, one block of one row at a time.
 *
 * Each format has a `put` (block into its row of a slab) and a `take` (the inverse). They move
 * words of four codes, because a group of a slab is four columns of a row: word g of a block of 32
 * is columns 4g .. 4g + 3, a byte each. pack, unpack and panel_row are one loop over blocks for
 * all formats. The target's other rows are never touched, so rows may be put in any order.
 *
 * Layouts: tensor/blocks.h (file), layout/slab.h (panel).
 */
#include <string.h>

#include "kernels/products.h"
#include "layout/slab.h"
#include "tensor/blocks.h"
#include "tensor/quant.h"

typedef void put_fn(void *slab, size_t row, const void *block);
typedef void take_fn(void *block, const void *slab, size_t row);

typedef struct pack_format {
    put_fn *put;
    take_fn *take;
    size_t block_len;
    size_t block_bytes;
} pack_format;

#define NIBBLES 0x0f0f0f0fu
#define ONES 0x01010101u
#define TWOS 0x03030303u

static void put_rows(const pack_format *f, uint8_t *panel, const uint8_t *rows, size_t row_stride,
                     size_t n_rows, size_t k) {
    const size_t slab_bytes = PACK_PANEL_ROWS * f->block_bytes;
    const size_t n_slabs = k / f->block_len;
    const size_t bytes = n_slabs * slab_bytes;
    const size_t tail = (PACK_ALIGN_BYTES - bytes % PACK_ALIGN_BYTES) % PACK_ALIGN_BYTES;
    if (n_rows < PACK_PANEL_ROWS) {
        memset(panel, 0, bytes);
    }
    memset(panel + bytes, 0, tail);
    for (size_t s = 0; s < n_slabs; s++) {
        for (size_t r = 0; r < n_rows; r++) {
            f->put(panel + s * slab_bytes, r, rows + r * row_stride + s * f->block_bytes);
        }
    }
}

static void take_rows(const pack_format *f, uint8_t *rows, size_t row_stride, const uint8_t *panel,
                      size_t n_rows, size_t k) {
    const size_t slab_bytes = PACK_PANEL_ROWS * f->block_bytes;
    for (size_t s = 0; s < k / f->block_len; s++) {
        for (size_t r = 0; r < n_rows; r++) {
            f->take(rows + r * row_stride + s * f->block_bytes, panel + s * slab_bytes, r);
        }
    }
}

static void take_floats(const pack_format *f, weft_dtype dtype, float *out, const uint8_t *panel,
                        size_t row, size_t k) {
    uint8_t block[256];
    const size_t slab_bytes = PACK_PANEL_ROWS * f->block_bytes;
    for (size_t s = 0; s < k / f->block_len; s++) {
        f->take(block, panel + s * slab_bytes, row);
        quant_dequantize(dtype, out + s * f->block_len, block, f->block_len);
    }
}

/* ---- words of four codes ---- */

static void put_low(uint8_t low[4][64], size_t row, const uint32_t words[8]) {
    for (size_t p = 0; p < 4; p++) {
        block_store_u32(&low[p][4 * row], words[2 * p] | words[2 * p + 1] << 4);
    }
}

static void take_low(uint32_t words[8], const uint8_t low[4][64], size_t row) {
    for (size_t p = 0; p < 4; p++) {
        const uint32_t both = block_load_u32(&low[p][4 * row]);
        words[2 * p] = both & NIBBLES;
        words[2 * p + 1] = (both >> 4) & NIBBLES;
    }
}

/* The 16 bytes of a block of 32: elements l and l + 16 share a byte. */
static void put_low32(uint8_t low[4][64], size_t row, const uint8_t bytes[16]) {
    uint32_t words[8];
    for (size_t g = 0; g < 4; g++) {
        const uint32_t both = block_load_u32(bytes + 4 * g);
        words[g] = both & NIBBLES;
        words[g + 4] = (both >> 4) & NIBBLES;
    }
    put_low(low, row, words);
}

static void take_low32(uint8_t bytes[16], const uint8_t low[4][64], size_t row) {
    uint32_t words[8];
    take_low(words, low, row);
    for (size_t g = 0; g < 4; g++) {
        block_store_u32(bytes + 4 * g, words[g] | words[g + 4] << 4);
    }
}

/* One nibble (`shift` 0 or 4) of 32 bytes: a block of a K-quant. */
static void put_low_k(uint8_t low[4][64], size_t row, const uint8_t bytes[32], unsigned shift) {
    uint32_t words[8];
    for (size_t g = 0; g < 8; g++) {
        words[g] = (block_load_u32(bytes + 4 * g) >> shift) & NIBBLES;
    }
    put_low(low, row, words);
}

/* Adds to bytes that start as zero. */
static void take_low_k(uint8_t bytes[32], const uint8_t low[4][64], size_t row, unsigned shift) {
    uint32_t words[8];
    take_low(words, low, row);
    for (size_t g = 0; g < 8; g++) {
        block_store_u32(bytes + 4 * g, block_load_u32(bytes + 4 * g) | words[g] << shift);
    }
}

/* 32 fifth bits, element l in bit l. The multiplications spread 4 bits to the lowest bits of 4
 * bytes and collect them again; no two partial products meet, so nothing carries. */
static void put_high32(uint8_t high[64], size_t row, uint32_t bits) {
    uint32_t word = 0;
    for (unsigned g = 0; g < 8; g++) {
        word |= ((((bits >> (4 * g)) & 15u) * 0x00204081u) & ONES) << g;
    }
    block_store_u32(high + 4 * row, word);
}

static uint32_t take_high32(const uint8_t high[64], size_t row) {
    const uint32_t word = block_load_u32(high + 4 * row);
    uint32_t bits = 0;
    for (unsigned g = 0; g < 8; g++) {
        const uint32_t four = (((word >> g) & ONES) * 0x01020408u) >> 24;
        bits |= (four & 15u) << (4 * g);
    }
    return bits;
}

static void put_u16(uint16_t *lanes, size_t row, const uint8_t *bytes) {
    lanes[row] = block_load_u16(bytes);
}

/* ---- put and take, format by format ---- */

static void put_f32(void *slab, size_t row, const void *block) {
    memcpy((uint8_t *)slab + 4 * row, block, 4);
}

static void take_f32(void *block, const void *slab, size_t row) {
    memcpy(block, (const uint8_t *)slab + 4 * row, 4);
}

static void put_16(void *slab, size_t row, const void *block) {
    memcpy((uint8_t *)slab + 2 * row, block, 2);
}

static void take_16(void *block, const void *slab, size_t row) {
    memcpy(block, (const uint8_t *)slab + 2 * row, 2);
}

static void put_q4_0(void *slab, size_t row, const void *block) {
    slab_q4_0 *to = slab;
    const block_q4_0 *from = block;
    put_u16(to->d, row, from->d);
    put_low32(to->low, row, from->low);
}

static void take_q4_0(void *block, const void *slab, size_t row) {
    const slab_q4_0 *from = slab;
    block_q4_0 *to = block;
    block_store_u16(to->d, from->d[row]);
    take_low32(to->low, from->low, row);
}

static void put_q4_1(void *slab, size_t row, const void *block) {
    slab_q4_1 *to = slab;
    const block_q4_1 *from = block;
    put_u16(to->d, row, from->d);
    put_u16(to->m, row, from->m);
    put_low32(to->low, row, from->low);
}

static void take_q4_1(void *block, const void *slab, size_t row) {
    const slab_q4_1 *from = slab;
    block_q4_1 *to = block;
    block_store_u16(to->d, from->d[row]);
    block_store_u16(to->m, from->m[row]);
    take_low32(to->low, from->low, row);
}

static void put_q5_0(void *slab, size_t row, const void *block) {
    slab_q5_0 *to = slab;
    const block_q5_0 *from = block;
    put_u16(to->d, row, from->d);
    put_high32(to->high, row, block_load_u32(from->high));
    put_low32(to->low, row, from->low);
}

static void take_q5_0(void *block, const void *slab, size_t row) {
    const slab_q5_0 *from = slab;
    block_q5_0 *to = block;
    block_store_u16(to->d, from->d[row]);
    block_store_u32(to->high, take_high32(from->high, row));
    take_low32(to->low, from->low, row);
}

static void put_q5_1(void *slab, size_t row, const void *block) {
    slab_q5_1 *to = slab;
    const block_q5_1 *from = block;
    put_u16(to->d, row, from->d);
    put_u16(to->m, row, from->m);
    put_high32(to->high, row, block_load_u32(from->high));
    put_low32(to->low, row, from->low);
}

static void take_q5_1(void *block, const void *slab, size_t row) {
    const slab_q5_1 *from = slab;
    block_q5_1 *to = block;
    block_store_u16(to->d, from->d[row]);
    block_store_u16(to->m, from->m[row]);
    block_store_u32(to->high, take_high32(from->high, row));
    take_low32(to->low, from->low, row);
}

static void put_q8_0(void *slab, size_t row, const void *block) {
    slab_q8_0 *to = slab;
    const block_q8_0 *from = block;
    put_u16(to->d, row, from->d);
    for (size_t pair = 0; pair < 16; pair++) {
        memcpy(&to->codes[pair][2 * row], &from->codes[2 * pair], 2);
    }
}

static void take_q8_0(void *block, const void *slab, size_t row) {
    const slab_q8_0 *from = slab;
    block_q8_0 *to = block;
    block_store_u16(to->d, from->d[row]);
    for (size_t pair = 0; pair < 16; pair++) {
        memcpy(&to->codes[2 * pair], &from->codes[pair][2 * row], 2);
    }
}

static void put_f8_e4m3(void *slab, size_t row, const void *block) {
    slab_f8_e4m3 *to = slab;
    const block_f8_e4m3 *from = block;
    memcpy(&to->scale[row], from->scale, 4);
    for (size_t col = 0; col < 128; col += 2) {
        memcpy(&to->codes[col / 4][slab_f8_e4m3_place(row, col)], &from->codes[col], 2);
    }
}

static void take_f8_e4m3(void *block, const void *slab, size_t row) {
    const slab_f8_e4m3 *from = slab;
    block_f8_e4m3 *to = block;
    memcpy(to->scale, &from->scale[row], 4);
    for (size_t col = 0; col < 128; col += 2) {
        memcpy(&to->codes[col], &from->codes[col / 4][slab_f8_e4m3_place(row, col)], 2);
    }
}

static void put_q4_k(void *slab, size_t row, const void *block) {
    slab_q4_k *to = slab;
    const block_q4_k *from = block;
    put_u16(to->d, row, from->d);
    put_u16(to->dmin, row, from->dmin);
    for (size_t i = 0; i < 12; i++) {
        to->scales[i][row] = from->scales[i];
    }
    for (unsigned b = 0; b < 8; b++) {
        put_low_k(to->low[b], row, from->low + 32 * (b / 2), 4 * (b % 2));
    }
}

static void take_q4_k(void *block, const void *slab, size_t row) {
    const slab_q4_k *from = slab;
    block_q4_k *to = block;
    memset(to, 0, sizeof(*to));
    block_store_u16(to->d, from->d[row]);
    block_store_u16(to->dmin, from->dmin[row]);
    for (size_t i = 0; i < 12; i++) {
        to->scales[i] = from->scales[i][row];
    }
    for (unsigned b = 0; b < 8; b++) {
        take_low_k(to->low + 32 * (b / 2), from->low[b], row, 4 * (b % 2));
    }
}

static void put_q5_k(void *slab, size_t row, const void *block) {
    slab_q5_k *to = slab;
    const block_q5_k *from = block;
    put_u16(to->d, row, from->d);
    put_u16(to->dmin, row, from->dmin);
    for (size_t i = 0; i < 12; i++) {
        to->scales[i][row] = from->scales[i];
    }
    for (unsigned b = 0; b < 8; b++) {
        uint32_t word = 0;
        for (unsigned g = 0; g < 8; g++) {
            word |= ((block_load_u32(from->high + 4 * g) >> b) & ONES) << g;
        }
        block_store_u32(to->blocks[b].high + 4 * row, word);
        put_low_k(to->blocks[b].low, row, from->low + 32 * (b / 2), 4 * (b % 2));
    }
}

static void take_q5_k(void *block, const void *slab, size_t row) {
    const slab_q5_k *from = slab;
    block_q5_k *to = block;
    memset(to, 0, sizeof(*to));
    block_store_u16(to->d, from->d[row]);
    block_store_u16(to->dmin, from->dmin[row]);
    for (size_t i = 0; i < 12; i++) {
        to->scales[i] = from->scales[i][row];
    }
    for (unsigned b = 0; b < 8; b++) {
        const uint32_t word = block_load_u32(from->blocks[b].high + 4 * row);
        for (unsigned g = 0; g < 8; g++) {
            const uint32_t bits = block_load_u32(to->high + 4 * g) | ((word >> g) & ONES) << b;
            block_store_u32(to->high + 4 * g, bits);
        }
        take_low_k(to->low + 32 * (b / 2), from->blocks[b].low, row, 4 * (b % 2));
    }
}

static void put_q6_k(void *slab, size_t row, const void *block) {
    slab_q6_k *to = slab;
    const block_q6_k *from = block;
    put_u16(to->d, row, from->d);
    for (size_t i = 0; i < 16; i++) {
        to->scales[i][slab_q6_k_lane((unsigned)row)] = from->scales[i];
    }
    for (unsigned b = 0; b < 8; b++) {
        const unsigned t = b % 4;
        const uint8_t *high = from->high + 32 * (b / 4);
        for (unsigned h = 0; h < 2; h++) {
            uint32_t word = 0;
            for (unsigned f = 0; f < 4; f++) {
                const uint32_t four = block_load_u32(high + 4 * (4 * h + f));
                word |= ((four >> (2 * t)) & TWOS) << (2 * f);
            }
            block_store_u32(to->blocks[b].high[h] + 4 * row, word);
        }
        put_low_k(to->blocks[b].low, row, from->low + 64 * (b / 4) + 32 * (t % 2), 4 * (t / 2));
    }
}

static void take_q6_k(void *block, const void *slab, size_t row) {
    const slab_q6_k *from = slab;
    block_q6_k *to = block;
    memset(to, 0, sizeof(*to));
    block_store_u16(to->d, from->d[row]);
    for (size_t i = 0; i < 16; i++) {
        to->scales[i] = from->scales[i][slab_q6_k_lane((unsigned)row)];
    }
    for (unsigned b = 0; b < 8; b++) {
        const unsigned t = b % 4;
        uint8_t *high = to->high + 32 * (b / 4);
        for (unsigned g = 0; g < 8; g++) {
            const uint32_t word = block_load_u32(from->blocks[b].high[g / 4] + 4 * row);
            const uint32_t twos = ((word >> (2 * (g % 4))) & TWOS) << (2 * t);
            block_store_u32(high + 4 * g, block_load_u32(high + 4 * g) | twos);
        }
        take_low_k(to->low + 64 * (b / 4) + 32 * (t % 2), from->blocks[b].low, row, 4 * (t / 2));
    }
}

/* ---- the table's functions: three a format ---- */

static const pack_format format_f32 = {put_f32, take_f32, 1, 4};
static const pack_format format_16 = {put_16, take_16, 1, 2};
static const pack_format format_q4_0 = {put_q4_0, take_q4_0, 32, sizeof(block_q4_0)};
static const pack_format format_q4_1 = {put_q4_1, take_q4_1, 32, sizeof(block_q4_1)};
static const pack_format format_q5_0 = {put_q5_0, take_q5_0, 32, sizeof(block_q5_0)};
static const pack_format format_q5_1 = {put_q5_1, take_q5_1, 32, sizeof(block_q5_1)};
static const pack_format format_q8_0 = {put_q8_0, take_q8_0, 32, sizeof(block_q8_0)};
static const pack_format format_q4_k = {put_q4_k, take_q4_k, 256, sizeof(block_q4_k)};
static const pack_format format_q5_k = {put_q5_k, take_q5_k, 256, sizeof(block_q5_k)};
static const pack_format format_q6_k = {put_q6_k, take_q6_k, 256, sizeof(block_q6_k)};
static const pack_format format_f8_e4m3 = {put_f8_e4m3, take_f8_e4m3, 128, sizeof(block_f8_e4m3)};

void pack_panel_f32_ref(void *panel, const void *rows, size_t row_stride_bytes, size_t n_rows,
                        size_t k) {
    put_rows(&format_f32, panel, rows, row_stride_bytes, n_rows, k);
}

void pack_panel_16_ref(void *panel, const void *rows, size_t row_stride_bytes, size_t n_rows,
                       size_t k) {
    put_rows(&format_16, panel, rows, row_stride_bytes, n_rows, k);
}

void pack_panel_q4_0_ref(void *panel, const void *rows, size_t row_stride_bytes, size_t n_rows,
                         size_t k) {
    put_rows(&format_q4_0, panel, rows, row_stride_bytes, n_rows, k);
}

void pack_panel_q4_1_ref(void *panel, const void *rows, size_t row_stride_bytes, size_t n_rows,
                         size_t k) {
    put_rows(&format_q4_1, panel, rows, row_stride_bytes, n_rows, k);
}

void pack_panel_q5_0_ref(void *panel, const void *rows, size_t row_stride_bytes, size_t n_rows,
                         size_t k) {
    put_rows(&format_q5_0, panel, rows, row_stride_bytes, n_rows, k);
}

void pack_panel_q5_1_ref(void *panel, const void *rows, size_t row_stride_bytes, size_t n_rows,
                         size_t k) {
    put_rows(&format_q5_1, panel, rows, row_stride_bytes, n_rows, k);
}

void pack_panel_q8_0_ref(void *panel, const void *rows, size_t row_stride_bytes, size_t n_rows,
                         size_t k) {
    put_rows(&format_q8_0, panel, rows, row_stride_bytes, n_rows, k);
}

void pack_panel_q4_k_ref(void *panel, const void *rows, size_t row_stride_bytes, size_t n_rows,
                         size_t k) {
    put_rows(&format_q4_k, panel, rows, row_stride_bytes, n_rows, k);
}

void pack_panel_q5_k_ref(void *panel, const void *rows, size_t row_stride_bytes, size_t n_rows,
                         size_t k) {
    put_rows(&format_q5_k, panel, rows, row_stride_bytes, n_rows, k);
}

void pack_panel_q6_k_ref(void *panel, const void *rows, size_t row_stride_bytes, size_t n_rows,
                         size_t k) {
    put_rows(&format_q6_k, panel, rows, row_stride_bytes, n_rows, k);
}

void pack_panel_f8_e4m3_ref(void *panel, const void *rows, size_t row_stride_bytes, size_t n_rows,
                            size_t k) {
    put_rows(&format_f8_e4m3, panel, rows, row_stride_bytes, n_rows, k);
}

void unpack_panel_f8_e4m3_ref(void *rows, size_t row_stride_bytes, const void *panel, size_t n_rows,
                              size_t k) {
    take_rows(&format_f8_e4m3, rows, row_stride_bytes, panel, n_rows, k);
}

void panel_row_f8_e4m3_ref(float *out, const void *panel, size_t row, size_t k) {
    take_floats(&format_f8_e4m3, WEFT_DTYPE_F8_E4M3, out, panel, row, k);
}

void unpack_panel_f32_ref(void *rows, size_t row_stride_bytes, const void *panel, size_t n_rows,
                          size_t k) {
    take_rows(&format_f32, rows, row_stride_bytes, panel, n_rows, k);
}

void unpack_panel_16_ref(void *rows, size_t row_stride_bytes, const void *panel, size_t n_rows,
                         size_t k) {
    take_rows(&format_16, rows, row_stride_bytes, panel, n_rows, k);
}

void unpack_panel_q4_0_ref(void *rows, size_t row_stride_bytes, const void *panel, size_t n_rows,
                           size_t k) {
    take_rows(&format_q4_0, rows, row_stride_bytes, panel, n_rows, k);
}

void unpack_panel_q4_1_ref(void *rows, size_t row_stride_bytes, const void *panel, size_t n_rows,
                           size_t k) {
    take_rows(&format_q4_1, rows, row_stride_bytes, panel, n_rows, k);
}

void unpack_panel_q5_0_ref(void *rows, size_t row_stride_bytes, const void *panel, size_t n_rows,
                           size_t k) {
    take_rows(&format_q5_0, rows, row_stride_bytes, panel, n_rows, k);
}

void unpack_panel_q5_1_ref(void *rows, size_t row_stride_bytes, const void *panel, size_t n_rows,
                           size_t k) {
    take_rows(&format_q5_1, rows, row_stride_bytes, panel, n_rows, k);
}

void unpack_panel_q8_0_ref(void *rows, size_t row_stride_bytes, const void *panel, size_t n_rows,
                           size_t k) {
    take_rows(&format_q8_0, rows, row_stride_bytes, panel, n_rows, k);
}

void unpack_panel_q4_k_ref(void *rows, size_t row_stride_bytes, const void *panel, size_t n_rows,
                           size_t k) {
    take_rows(&format_q4_k, rows, row_stride_bytes, panel, n_rows, k);
}

void unpack_panel_q5_k_ref(void *rows, size_t row_stride_bytes, const void *panel, size_t n_rows,
                           size_t k) {
    take_rows(&format_q5_k, rows, row_stride_bytes, panel, n_rows, k);
}

void unpack_panel_q6_k_ref(void *rows, size_t row_stride_bytes, const void *panel, size_t n_rows,
                           size_t k) {
    take_rows(&format_q6_k, rows, row_stride_bytes, panel, n_rows, k);
}

void panel_row_f32_ref(float *out, const void *panel, size_t row, size_t k) {
    take_floats(&format_f32, WEFT_DTYPE_F32, out, panel, row, k);
}

void panel_row_f16_ref(float *out, const void *panel, size_t row, size_t k) {
    take_floats(&format_16, WEFT_DTYPE_F16, out, panel, row, k);
}

void panel_row_bf16_ref(float *out, const void *panel, size_t row, size_t k) {
    take_floats(&format_16, WEFT_DTYPE_BF16, out, panel, row, k);
}

void panel_row_q4_0_ref(float *out, const void *panel, size_t row, size_t k) {
    take_floats(&format_q4_0, WEFT_DTYPE_Q4_0, out, panel, row, k);
}

void panel_row_q4_1_ref(float *out, const void *panel, size_t row, size_t k) {
    take_floats(&format_q4_1, WEFT_DTYPE_Q4_1, out, panel, row, k);
}

void panel_row_q5_0_ref(float *out, const void *panel, size_t row, size_t k) {
    take_floats(&format_q5_0, WEFT_DTYPE_Q5_0, out, panel, row, k);
}

void panel_row_q5_1_ref(float *out, const void *panel, size_t row, size_t k) {
    take_floats(&format_q5_1, WEFT_DTYPE_Q5_1, out, panel, row, k);
}

void panel_row_q8_0_ref(float *out, const void *panel, size_t row, size_t k) {
    take_floats(&format_q8_0, WEFT_DTYPE_Q8_0, out, panel, row, k);
}

void panel_row_q4_k_ref(float *out, const void *panel, size_t row, size_t k) {
    take_floats(&format_q4_k, WEFT_DTYPE_Q4_K, out, panel, row, k);
}

void panel_row_q5_k_ref(float *out, const void *panel, size_t row, size_t k) {
    take_floats(&format_q5_k, WEFT_DTYPE_Q5_K, out, panel, row, k);
}

void panel_row_q6_k_ref(float *out, const void *panel, size_t row, size_t k) {
    take_floats(&format_q6_k, WEFT_DTYPE_Q6_K, out, panel, row, k);
}
