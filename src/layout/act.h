/* act.h - how activations lie in memory when a product reads them. Pure arithmetic.
 *
 * For block-quantised weights each row is quantised once, per 32 values, to 8 bits (or 9, or 16; or
 * with a scale for 256 values, which every 32 of them may halve up to three times or which all
 * share); for F32, F16 and BF16 weights it stays float32, or becomes three bfloat16 whose sum is
 * the value where tiles of a matrix unit multiply those; F8_E4M3 weights multiply rows of bf16, in
 * which they are exact, or of 9 bits where the table of kernels says ACT_Q9. One row is one
 * contiguous record of act_row_bytes; rows lie act_row_bytes apart.
 *
 *   scale = max|x| / 127 (ACT_Q9 255, ACT_Q16 32767, ACT_Q12 2039),
 *   code = round_to_even(x * (127 / max|x|))
 *
 * and with ACT_STEPS scale / 2^s, for the largest s up to 3 that the 32 values allow.
 *
 * A block whose largest magnitude is below ACT_TINY becomes exact zeros with scale 0. A block
 * with an infinity or a NaN gets zero codes and a NaN scale, so that every product of the row is
 * NaN rather than a plausible number. In bf16, values are rounded to nearest even, each on its own:
 * one below ACT_TINY becomes 0, one that is no finite bf16 the NaN ACT_BF16_NAN.
 */
#ifndef WEFT_LAYOUT_ACT_H
#define WEFT_LAYOUT_ACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/dtype.h"

#define ACT_BLOCK_LEN 32u
#define ACT_LONG_LEN 256u
#define ACT_TINY 0x1p-100f
#define ACT_BF16_NAN 0x7fc0u

/* Rows that a caller should give to a product at a time, so that they stay in the second-level
 * cache while all panels pass by. Any number is correct. */
#define ACT_CHUNK_ROWS 128u

typedef enum act_form {
    ACT_F32,    /* the row itself */
    ACT_Q8,     /* act_block_q8 for every 32 values */
    ACT_Q16,    /* act_block_q16 for every 32 values */
    ACT_Q8_256, /* act_block_q8_256 for every 256 values */
    ACT_BF16,   /* the row in bf16 */
    ACT_Q12,    /* act_block_q12 for every 256 values */
    ACT_SPLIT,  /* act_block_split for every 32 values */
    ACT_Q9,     /* act_block_q16 for every 32 values, whose codes have 9 bits */
    ACT_STEPS,  /* act_block_steps for every 256 values */
    ACT_FORM_COUNT
} act_form;

/* What a product that multiplies groups of 4 codes by unsigned weights starts from to subtract the
 * weights' middle. Where its sums have 16 bits: neg_sums[h][i] is minus the sum of the codes
 * 16h + l with l % 4 / 2 == i. Where they have 32: neg_totals[0] is minus the sum of the first 16
 * codes, neg_totals[1] of all. */
typedef struct act_block_q8 {
    int8_t codes[32];
    float scale;
    float sum; /* scale * sum of codes */
    int16_t neg_sums[2][2];
    int32_t neg_totals[2];
} act_block_q8;

/* Minus the sum of the codes of half 0 or 1. */
static inline int32_t act_neg_half(const act_block_q8 *block, size_t half) {
    const int32_t first = block->neg_totals[0];
    return half == 0 ? first : block->neg_totals[1] - first;
}

typedef struct act_block_q16 {
    int16_t codes[32];
    float scale;
} act_block_q16;

/* One scale for 256 values, so that a product over all of them is a sum of integers; five cache
 * lines, so that 64 codes never lie on two. sums16[i] and sums32[i] are sums of codes from 16i and
 * 32i on. */
typedef struct act_block_q8_256 {
    int8_t codes[256];
    int16_t sums16[16];
    int16_t sums32[8];
    float scale;
    float unused[3]; /* zeros */
} act_block_q8_256;

/* 32 values whose scale is that of 256 over 2^s, s from 0 to 3. base is 1.5 * 2^(23 - s): a sum of
 * integers that starts from its bits, and stays below 2^22, is the float base + sum / 2^s, so that
 * one subtraction makes it a float and scales it. starts are these bits less 128 times the sum of
 * codes of half 0, of half 1 and of all: what sums start from where codes of weights are 128 more
 * than their values. */
typedef struct act_step {
    int8_t codes[32];
    float base;
    int32_t starts[3];
} act_step;

#define ACT_STEP_ALL 2 /* of starts: of all 32 */

#define ACT_STEP_MAX 3
#define ACT_STEP_BASE 0x1.8p23f

/* 8-bit codes as near as a scale for 32 values makes them, but for one bit, down to an eighth of
 * the largest of 256, and then for more; their products are summed up over 256 before they are
 * scaled. sums16[i] and sums32[i] are sums of codes from 16i and 32i on, times 2^(3 - s): all of
 * them count eighths of the scale. */
typedef struct act_block_steps {
    act_step steps[8];
    int16_t sums16[16];
    int16_t sums32[8];
    float scale;
    float unused[3]; /* zeros */
} act_block_steps;

/* 2^-s */
static inline float act_step_factor(const act_step *step) { return step->base / ACT_STEP_BASE; }

/* piece[0] is the bfloat16 nearest to the value, piece[1] to what that lost, piece[2] to what both
 * lost: their sum is the value, but for what lies below the smallest normal number. Infinities and
 * NaN leave a NaN. Values beyond k in the last block are zeros. */
typedef struct act_block_split {
    uint16_t piece[3][32];
} act_block_split;

_Static_assert(sizeof(act_block_split) == 192, "activation block in three pieces");
_Static_assert(sizeof(act_block_q8_256) == 320, "8-bit activation block of 256");
_Static_assert(sizeof(act_block_steps) == 448, "8-bit activation block of 256 with steps");
_Static_assert(offsetof(act_step, starts) == offsetof(act_step, base) + 4, "16 bytes together");
_Static_assert(offsetof(act_block_steps, scale) == offsetof(act_block_steps, sums32) + 16,
               "four bytes may be read at the last of sums32");
/* 12 bits: a code is 16 * a + b, a of 8 bits, b from -8 to 7, because matrix units multiply bytes
 * and take 64 columns at once: 32 values as a and b side by side, which a product multiplies by 32
 * weights and by a sixteenth of these. codes[i]: a of 16 values, b of these, a of 16 more, b of
 * these. Ten cache lines. The last block of a row may have fewer values: multiples of 32, then
 * zeros.
 *
 * What minimums of weights are multiplied by, the sum of 32 codes, has 16 bits and a sign: two
 * bfloat16, 256 * h and l from -128 to 127. sums[i] is these two, twice, so that a line of eight
 * such times two pieces of each minimum is one row of a tile.
 *
 * Rows lie in groups of ACT_GROUP_ROWS, the last of what is left, because a tile takes lines of 16
 * rows at a time and caches bring lines in a row best: in a group of g rows, each field of a block
 * holds that of row 0, then of row 1, and so on, lines of codes for each i apart. So a block of a
 * group is 640 * g bytes, and a group of one row is this struct. */
typedef struct act_block_q12 {
    int8_t codes[8][64];
    uint16_t sums[8][4];    /* of 32 codes, in bfloat16 */
    int16_t neg_sums[8][2]; /* minus the sums of their a and of their b */
    float scale;
    float unused[7]; /* zeros */
} act_block_q12;

_Static_assert(sizeof(act_block_q12) == 640, "12-bit activation block");
_Static_assert(sizeof(act_block_q8) == 56, "8-bit activation block");
_Static_assert(sizeof(act_block_q16) == 68, "16-bit activation block");

#define ACT_GROUP_ROWS 16u
#define ACT_GROUP_SLACK 1024u /* bytes after the last group of several that a tile may read */

/* Of row `row` among n_rows: the first of its group, and how many that has. */
static inline size_t act_group_first(size_t row) { return row / ACT_GROUP_ROWS * ACT_GROUP_ROWS; }

static inline size_t act_group_rows(size_t row, size_t n_rows) {
    const size_t left = n_rows - act_group_first(row);
    return left < ACT_GROUP_ROWS ? left : ACT_GROUP_ROWS;
}

/* From the start of a block of a group of n_rows to row `row`'s codes[i], sums, neg_sums, scale. */
static inline size_t act_group_codes(size_t n_rows, size_t i, size_t row) {
    return (i * n_rows + row) * 64;
}

static inline size_t act_group_sums(size_t n_rows, size_t row) {
    return n_rows * offsetof(act_block_q12, sums) + row * 32 * sizeof(uint16_t);
}

static inline size_t act_group_neg_sums(size_t n_rows, size_t row) {
    return n_rows * offsetof(act_block_q12, neg_sums) + row * 16 * sizeof(int16_t);
}

static inline size_t act_group_scale(size_t n_rows, size_t row) {
    return n_rows * offsetof(act_block_q12, scale) + row * sizeof(float);
}

/* Block number i of row `row` into its group of n_rows, and out of it. */
void act_group_put(void *group, size_t n_rows, size_t row, size_t i, const act_block_q12 *block);
void act_group_get(act_block_q12 *block, const void *group, size_t n_rows, size_t row, size_t i);

/* Values of a block, and its bytes. */
size_t act_block_len(act_form form);
size_t act_block_bytes(act_form form);

/* The form that plain products with weights of this format read. A level of kernels may choose
 * another: who has a table asks kernels_cpu.act_form. */
act_form act_form_of(weft_dtype weight_dtype);

/* Bytes of one row of k values, a multiple of 64. k is a multiple of 32 unless the form is
 * ACT_F32, ACT_BF16 or ACT_SPLIT, and of 256 for ACT_Q8_256 and ACT_STEPS. 0 when k is so large
 * that it would overflow. */
size_t act_row_bytes(act_form form, uint64_t k);

/* Whether weights of this format are multiplied as floats on some level: ACT_BF16, ACT_SPLIT and
 * ACT_Q9 are forms of theirs alone. */
bool act_is_float(weft_dtype weight_dtype);

/* Room for the quantised inputs of one operation over n_rows rows of k values: the forms that a
 * level reads side by side (ACT_Q8, then ACT_Q8_256, ACT_STEPS or ACT_Q16, then ACT_Q12 and, if
 * some weights have act_is_float, ACT_BF16, ACT_SPLIT or ACT_Q9), and the second half of rows that
 * are given in two. */
uint64_t act_workspace_bytes(uint64_t n_rows, uint64_t k, bool has_floats);

#endif /* WEFT_LAYOUT_ACT_H */
