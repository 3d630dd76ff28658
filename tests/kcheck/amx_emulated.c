/* amx_emulated.c - tiles in memory, and the machine that kcheck_amx takes this one for. */
#include "amx_emulated.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "kcheck_impl.h"
#include "tensor/quant.h"

#define TILES 8
#define TILE_ROWS 16
#define TILE_ROW_BYTES 64

typedef struct tile {
    uint8_t n_rows;
    uint16_t row_bytes;
    uint8_t rows[TILE_ROWS][TILE_ROW_BYTES];
} tile;

static _Thread_local tile tiles[TILES];

kc_machine kc_machine_detect(void) {
    uint32_t flags = cpu_flags_detect();
    flags |= (flags & CPU_AVX512VNNI) != 0 ? CPU_AMX : 0u;
    flags |= (flags & CPU_FASTBF16) != 0 ? CPU_AMXBF16 : 0u; /* stands for bf16 and GFNI */
    return (kc_machine){.flags = flags, .note = " (tiles emulated)"};
}

static tile *tile_of(int number) {
    WEFT_ASSERT(number >= 0 && number < TILES && tiles[number].n_rows > 0);
    return &tiles[number];
}

void amx_emulated_configure(const void *shape) {
    const uint8_t *bytes = shape;
    WEFT_ASSERT(bytes[0] == 1 && bytes[1] == 0); /* palette, the row to start from */
    for (size_t t = 0; t < TILES; t++) {
        memset(&tiles[t], 0, sizeof tiles[t]);
        memcpy(&tiles[t].row_bytes, bytes + 16 + 2 * t, sizeof tiles[t].row_bytes);
        tiles[t].n_rows = bytes[48 + t];
        WEFT_ASSERT(tiles[t].n_rows <= TILE_ROWS && tiles[t].row_bytes <= TILE_ROW_BYTES);
    }
}

void amx_emulated_release(void) { memset(tiles, 0, sizeof tiles); }

void amx_emulated_zero(int number) {
    tile *t = tile_of(number);
    memset(t->rows, 0, sizeof t->rows);
}

void amx_emulated_load(int number, const void *from, size_t stride_bytes) {
    tile *t = tile_of(number);
    memset(t->rows, 0, sizeof t->rows);
    for (size_t r = 0; r < t->n_rows; r++) {
        memcpy(t->rows[r], (const uint8_t *)from + r * stride_bytes, t->row_bytes);
    }
}

void amx_emulated_store(int number, void *to, size_t stride_bytes) {
    const tile *t = tile_of(number);
    for (size_t r = 0; r < t->n_rows; r++) {
        memcpy((uint8_t *)to + r * stride_bytes, t->rows[r], t->row_bytes);
    }
}

/* The shapes that a product of tiles wants; returns how many 4 bytes a row of a has. */
static size_t depth_of(const tile *sums, const tile *a, const tile *b) {
    WEFT_ASSERT(sums->n_rows == a->n_rows && sums->row_bytes == b->row_bytes);
    WEFT_ASSERT(a->row_bytes == 4 * b->n_rows && sums->row_bytes % 4 == 0);
    return b->n_rows;
}

static int byte_of(uint8_t byte, int is_signed) { return is_signed ? (int8_t)byte : byte; }

void amx_emulated_bytes(int sums, int a, int b, int is_a_signed, int is_b_signed) {
    tile *to = tile_of(sums);
    const tile *left = tile_of(a), *right = tile_of(b);
    const size_t depth = depth_of(to, left, right);
    for (size_t m = 0; m < to->n_rows; m++) {
        for (size_t n = 0; n < to->row_bytes / 4u; n++) {
            int32_t sum;
            memcpy(&sum, to->rows[m] + 4 * n, sizeof sum);
            for (size_t i = 0; i < 4 * depth; i++) {
                sum += byte_of(left->rows[m][i], is_a_signed) *
                       byte_of(right->rows[i / 4][4 * n + i % 4], is_b_signed);
            }
            memcpy(to->rows[m] + 4 * n, &sum, sizeof sum);
        }
    }
}

/* Denormal numbers are zeros, as operands and as results. */
static float flushed(float f) { return fabsf(f) < 0x1p-126f ? copysignf(0.0f, f) : f; }

static float bf16_at(const uint8_t *at) {
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return flushed(quant_bf16_to_f32(bits));
}

void amx_emulated_bf16(int sums, int a, int b) {
    tile *to = tile_of(sums);
    const tile *left = tile_of(a), *right = tile_of(b);
    const size_t depth = depth_of(to, left, right);
    for (size_t m = 0; m < to->n_rows; m++) {
        for (size_t n = 0; n < to->row_bytes / 4u; n++) {
            float sum, chains[2] = {0.0f, 0.0f};
            memcpy(&sum, to->rows[m] + 4 * n, sizeof sum);
            for (size_t i = 0; i < 2 * depth; i++) {
                const float x = bf16_at(left->rows[m] + 2 * i);
                const float w = bf16_at(right->rows[i / 2] + 4 * n + i % 2 * 2);
                chains[i % 2] = flushed(fmaf(x, w, chains[i % 2]));
            }
            sum = flushed(flushed(sum) + flushed(chains[0] + chains[1]));
            memcpy(to->rows[m] + 4 * n, &sum, sizeof sum);
        }
    }
}
