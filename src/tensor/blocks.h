/* blocks.h - how GGUF's quantised blocks lie in a file, restated.
 *
 *   32 elements                          256 elements
 *   Q4_0  x = d * (q - 8)                Q4_K, Q5_K  x = d * sc[i/32] * q - dmin * mn[i/32]
 *   Q4_1  x = d * q + m                  Q6_K        x = d * sc[i/16] * (q - 32)
 *   Q5_0  x = d * (q - 16)
 *   Q5_1  x = d * q + m                  d, m, dmin are f16. In blocks of 32, byte i of `low`
 *   Q8_0  x = d * q                      holds elements i (low nibble) and i + 16 (high).
 *
 * Blocks have no alignment: every field is bytes, and 16- and 32-bit values are read with the
 * block_load functions. GGUF is little-endian and so is every machine this runs on.
 */
#ifndef WEFT_TENSOR_BLOCKS_H
#define WEFT_TENSOR_BLOCKS_H

#include <stdint.h>
#include <string.h>

typedef struct block_q4_0 {
    uint8_t d[2];
    uint8_t low[16];
} block_q4_0;

typedef struct block_q4_1 {
    uint8_t d[2];
    uint8_t m[2];
    uint8_t low[16];
} block_q4_1;

/* Bit i of the 32-bit word `high` is bit 4 of element i. */
typedef struct block_q5_0 {
    uint8_t d[2];
    uint8_t high[4];
    uint8_t low[16];
} block_q5_0;

typedef struct block_q5_1 {
    uint8_t d[2];
    uint8_t m[2];
    uint8_t high[4];
    uint8_t low[16];
} block_q5_1;

typedef struct block_q8_0 {
    uint8_t d[2];
    int8_t codes[32];
} block_q8_0;

/* Eight 6-bit scales and eight 6-bit minimums in 12 bytes:
 *
 *   byte      bits 7,6           bits 5..0                    byte        bits 7..4   bits 3..0
 *   i 0..3    sc[i+4] bits 5,4   sc[i]                        8+i 0..3    mn[i+4]     sc[i+4]
 *   4+i       mn[i+4] bits 5,4   mn[i]                                    bits 3..0   bits 3..0
 *
 * Nibbles: 32 bytes hold elements 64c .. 64c + 31 (low) and 64c + 32 .. 64c + 63 (high). */
typedef struct block_q4_k {
    uint8_t d[2];
    uint8_t dmin[2];
    uint8_t scales[12];
    uint8_t low[128];
} block_q4_k;

/* As Q4_K; bit b of high[l] is bit 4 of element 32b + l. */
typedef struct block_q5_k {
    uint8_t d[2];
    uint8_t dmin[2];
    uint8_t scales[12];
    uint8_t high[32];
    uint8_t low[128];
} block_q5_k;

/* Two halves of 128 elements, each with 64 bytes of `low` and 32 of `high`. Element 32t + l of a
 * half: nibble t/2 (0 low, 1 high) of low[32 * (t % 2) + l], bits 2t and 2t+1 of high[l]. */
typedef struct block_q6_k {
    uint8_t low[128];
    uint8_t high[64];
    int8_t scales[16];
    uint8_t d[2];
} block_q6_k;

_Static_assert(sizeof(block_q4_0) == 18, "Q4_0 block");
_Static_assert(sizeof(block_q4_1) == 20, "Q4_1 block");
_Static_assert(sizeof(block_q5_0) == 22, "Q5_0 block");
_Static_assert(sizeof(block_q5_1) == 24, "Q5_1 block");
_Static_assert(sizeof(block_q8_0) == 34, "Q8_0 block");
_Static_assert(sizeof(block_q4_k) == 144, "Q4_K block");
_Static_assert(sizeof(block_q5_k) == 176, "Q5_K block");
_Static_assert(sizeof(block_q6_k) == 210, "Q6_K block");

static inline uint16_t block_load_u16(const void *p) {
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint32_t block_load_u32(const void *p) {
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline void block_store_u16(void *p, uint16_t v) { memcpy(p, &v, sizeof(v)); }
static inline void block_store_u32(void *p, uint32_t v) { memcpy(p, &v, sizeof(v)); }

/* Scale and minimum i (0..7) of Q4_K's and Q5_K's 12 bytes. */
static inline uint8_t block_scale6(const uint8_t scales[12], unsigned i) {
    return i < 4 ? scales[i] & 63 : (uint8_t)((scales[4 + i] & 15) | ((scales[i - 4] >> 6) << 4));
}

static inline uint8_t block_min6(const uint8_t scales[12], unsigned i) {
    return i < 4 ? scales[4 + i] & 63 : (uint8_t)((scales[4 + i] >> 4) | ((scales[i] >> 6) << 4));
}

#endif /* WEFT_TENSOR_BLOCKS_H */
