/* act.c - sizes of quantised activations, and which weights read which form.
 *
 * Weights of up to 6 bits lose more than 8-bit activations do, and their products are built on
 * the 8-bit multiply. Q8_0 weights keep about eight bits themselves; in plain C and AVX2 16-bit
 * activations cost them no speed (the exact 8-bit product needs as many instructions) and are
 * nearly float32. Where one instruction multiplies and adds four bytes they would cost twice the
 * time, and the table of kernels says ACT_Q8 instead; and where tiles of a matrix unit add up 256
 * columns at once, ACT_Q8_256 for weights with a scale for as many, and ACT_Q12 for other codes, of
 * which such a tile takes twice as many columns as a block of weights has. Where instructions that
 * scale sums are as dear as those that multiply codes, and no tile adds up, ACT_STEPS for the same
 * weights: steps are scaled by a subtraction. A matrix unit multiplies
 * bfloat16 too, many times faster than float32 is multiplied elsewhere: there F32, F16 and BF16
 * weights read ACT_SPLIT, which loses nothing.
 *
 * F8_E4M3 weights are no integers of 8 bits. They are bf16 numbers, and so activations are bf16
 * too, 8 bits for each value alone, where tiles of those are multiplied, and where words are no
 * faster than floats (NEON). With AVX2 and AVX-512 they are twice as fast, and the table says
 * ACT_Q9: 512 times a code has 18 bits, and 32 products with more than 9 would leave 32.
 */
#include "layout/act.h"

#include <string.h>

#define ACT_ROW_ALIGN 64u /* a cache line */

act_form act_form_of(weft_dtype weight_dtype) {
    switch (weight_dtype) {
    case WEFT_DTYPE_F32:
    case WEFT_DTYPE_F16:
    case WEFT_DTYPE_BF16: return ACT_F32;
    case WEFT_DTYPE_Q8_0: return ACT_Q16;
    case WEFT_DTYPE_F8_E4M3: return ACT_BF16;
    default: return ACT_Q8;
    }
}

size_t act_block_len(act_form form) {
    return form == ACT_Q8_256 || form == ACT_Q12 || form == ACT_STEPS ? ACT_LONG_LEN
                                                                      : ACT_BLOCK_LEN;
}

size_t act_block_bytes(act_form form) {
    static const size_t bytes[ACT_FORM_COUNT] = {
        [ACT_F32] = ACT_BLOCK_LEN * sizeof(float),
        [ACT_Q8] = sizeof(act_block_q8),
        [ACT_Q16] = sizeof(act_block_q16),
        [ACT_Q8_256] = sizeof(act_block_q8_256),
        [ACT_BF16] = ACT_BLOCK_LEN * sizeof(uint16_t),
        [ACT_Q12] = sizeof(act_block_q12),
        [ACT_SPLIT] = sizeof(act_block_split),
        [ACT_Q9] = sizeof(act_block_q16),
        [ACT_STEPS] = sizeof(act_block_steps),
    };
    return bytes[form];
}

size_t act_row_bytes(act_form form, uint64_t k) {
    const size_t block_len = act_block_len(form), block_bytes = act_block_bytes(form);
    const uint64_t n_blocks = k / block_len + (k % block_len != 0);
    if (n_blocks > (SIZE_MAX - 2 * ACT_ROW_ALIGN) / block_bytes) {
        return 0;
    }
    size_t lines = ((size_t)n_blocks * block_bytes + ACT_ROW_ALIGN - 1) / ACT_ROW_ALIGN;
    /* An odd number of lines: the rows of a tile then start in different sets of the cache, which
     * a stride of a power of two would map to one. */
    lines |= 1u;
    return lines * ACT_ROW_ALIGN;
}

void act_group_put(void *group, size_t n_rows, size_t row, size_t i, const act_block_q12 *block) {
    char *to = (char *)group + i * n_rows * sizeof(*block);
    for (size_t b = 0; b < 8; b++) {
        memcpy(to + act_group_codes(n_rows, b, row), block->codes[b], sizeof(block->codes[b]));
    }
    memcpy(to + act_group_sums(n_rows, row), block->sums, sizeof(block->sums));
    memcpy(to + act_group_neg_sums(n_rows, row), block->neg_sums, sizeof(block->neg_sums));
    memcpy(to + act_group_scale(n_rows, row), &block->scale, sizeof(block->scale));
}

void act_group_get(act_block_q12 *block, const void *group, size_t n_rows, size_t row, size_t i) {
    const char *from = (const char *)group + i * n_rows * sizeof(*block);
    memset(block, 0, sizeof(*block));
    for (size_t b = 0; b < 8; b++) {
        memcpy(block->codes[b], from + act_group_codes(n_rows, b, row), sizeof(block->codes[b]));
    }
    memcpy(block->sums, from + act_group_sums(n_rows, row), sizeof(block->sums));
    memcpy(block->neg_sums, from + act_group_neg_sums(n_rows, row), sizeof(block->neg_sums));
    memcpy(&block->scale, from + act_group_scale(n_rows, row), sizeof(block->scale));
}

bool act_is_float(weft_dtype weight_dtype) {
    const act_form form = act_form_of(weight_dtype);
    return form == ACT_F32 || form == ACT_BF16;
}

uint64_t act_workspace_bytes(uint64_t n_rows, uint64_t k, bool has_floats) {
    const uint64_t bytes = act_row_bytes(ACT_Q8, k), steps = act_row_bytes(ACT_STEPS, k);
    const uint64_t wide = act_row_bytes(ACT_Q16, k), twelve = act_row_bytes(ACT_Q12, k);
    const uint64_t halves = 2 * steps > wide ? 2 * steps : wide;
    /* Where there are steps there is no ACT_Q12, but whole rows beside those in two halves. */
    const uint64_t integers =
        2 * bytes + halves + (bytes + steps > twelve ? bytes + steps : twelve);
    const uint64_t floats =
        has_floats ? (uint64_t)act_row_bytes(ACT_BF16, k) + act_row_bytes(ACT_SPLIT, k) : 0;
    return n_rows * (integers + floats) + (n_rows > 1 ? ACT_GROUP_SLACK : 0);
}
