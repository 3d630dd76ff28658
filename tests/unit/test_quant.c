/* test_quant.c - reference conversions give the bits of the `gguf` Python package.
 *
 * quant_tables.h holds hashes of that package's results; this file repeats the generator of
 * tests/golden/make_quant_fixture.py to make the same inputs. f8_table.h holds what PyTorch makes of
 * the codes of F8_E4M3 (tests/golden/make_f8_fixture.py).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/compiler.h"
#include "f8_table.h"
#include "quant_tables.h"
#include "tensor/blocks.h"
#include "tensor/quant.h"
#include "tensor/tensor.h"

typedef struct format_case {
    weft_dtype dtype;
    int n_fields; /* f16 fields of a block */
    size_t fields[2];
} format_case;

static const format_case decoded_formats[] = {
    {WEFT_DTYPE_F16, 1, {0}},     {WEFT_DTYPE_BF16, 1, {0}},      {WEFT_DTYPE_Q4_0, 1, {0}},
    {WEFT_DTYPE_Q4_1, 2, {0, 2}}, {WEFT_DTYPE_Q5_0, 1, {0}},      {WEFT_DTYPE_Q5_1, 2, {0, 2}},
    {WEFT_DTYPE_Q8_0, 1, {0}},    {WEFT_DTYPE_Q4_K, 2, {0, 2}},   {WEFT_DTYPE_Q5_K, 2, {0, 2}},
    {WEFT_DTYPE_Q6_K, 1, {208}},  {WEFT_DTYPE_Q2_K, 2, {80, 82}}, {WEFT_DTYPE_Q3_K, 1, {108}},
    {WEFT_DTYPE_TQ1_0, 1, {52}},  {WEFT_DTYPE_TQ2_0, 1, {64}},    {WEFT_DTYPE_IQ4_NL, 1, {0}},
    {WEFT_DTYPE_IQ4_XS, 1, {0}},  {WEFT_DTYPE_MXFP4, 0, {0}},     {WEFT_DTYPE_NVFP4, 0, {0}},
    {WEFT_DTYPE_IQ2_XXS, 1, {0}}, {WEFT_DTYPE_IQ2_XS, 1, {0}},    {WEFT_DTYPE_IQ2_S, 1, {0}},
    {WEFT_DTYPE_IQ3_XXS, 1, {0}}, {WEFT_DTYPE_IQ3_S, 1, {0}},     {WEFT_DTYPE_IQ1_S, 1, {0}},
    {WEFT_DTYPE_IQ1_M, 0, {0}},
};

static const weft_dtype encoded_formats[] = {
    WEFT_DTYPE_F16,  WEFT_DTYPE_BF16, WEFT_DTYPE_Q4_0, WEFT_DTYPE_Q4_1,
    WEFT_DTYPE_Q5_0, WEFT_DTYPE_Q5_1, WEFT_DTYPE_Q8_0,
};

static uint32_t next_bits(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

#define FNV_START 0x811c9dc5u

static uint32_t fnv(uint32_t h, const void *data, size_t n) {
    const uint8_t *bytes = data;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ bytes[i]) * 0x01000193u;
    }
    return h;
}

/* IQ1_M: the scale lies in the top nibbles of its last four words. */
static void put_split(uint8_t *block, unsigned half) {
    for (unsigned j = 0; j < 4; j++) {
        uint8_t *at = block + 49 + 2 * j;
        *at = (uint8_t)((*at & 0x0f) | ((half >> (4 * j)) & 15u) << 4);
    }
}

static void make_block(uint8_t *block, uint32_t *state, size_t i, const format_case *f) {
    const size_t n_bytes = weft_dtype_info_of(f->dtype)->block_bytes;
    for (size_t b = 0; b < n_bytes; b++) {
        block[b] = (uint8_t)(next_bits(state) >> 16);
    }
    if (i == 60 || i == 61) {
        memset(block, i == 60 ? 0 : 0xff, n_bytes);
    }
    static const uint16_t special[8] = {0, 0x7bff, 0x0001, 0xfbff, 0, 0, 0, 0};
    if (f->dtype == WEFT_DTYPE_IQ1_M) {
        put_split(block, special[i % 8] != 0 ? special[i % 8] : 0x2c00u + (unsigned)i);
    }
    for (int field = 0; field < f->n_fields; field++) {
        uint8_t *at = block + f->fields[field];
        if (special[i % 8] == 0) {
            at[1] &= 0xbf;
        } else {
            at[0] = (uint8_t)(special[i % 8] & 255);
            at[1] = (uint8_t)(special[i % 8] >> 8);
        }
    }
}

static void make_floats(float *x, uint32_t *state, size_t i) {
    for (size_t l = 0; l < 32; l++) {
        const double unit = ((double)next_bits(state) - 0x1p23) / 0x1p23;
        double v = ldexp(unit, (int)(i % 40) - 25);
        v = i == 60 ? 0.0 : v;
        v = i == 61 ? 0.75 : v;
        v = i == 62 ? -fabs(v) - 1.0 : v;
        v = i == 63 ? (double)l * 0.5 - 8.0 : v;
        x[l] = (float)v;
    }
}

static void decoded_bits_are_those_of_gguf(void **state) {
    (void)state;
    for (size_t f = 0; f < WEFT_LEN(decoded_formats); f++) {
        const weft_dtype_info *info = weft_dtype_info_of(decoded_formats[f].dtype);
        uint32_t seed = info->block_bytes, hash = 0;
        for (size_t i = 0; i < QUANT_BLOCKS; i++) {
            uint8_t block[256];
            float x[256];
            make_block(block, &seed, i, &decoded_formats[f]);
            quant_dequantize(decoded_formats[f].dtype, x, block, info->block_len);
            hash = fnv(i % 2 == 0 ? FNV_START : hash, x, info->block_len * sizeof(float));
            if (i % 2 == 1 && hash != quant_decoded_hashes[f][i / 2]) {
                fail_msg("%s block %zu or the one before differs", info->name, i);
            }
        }
    }
}

static void f8_codes_are_those_of_pytorch(void **state) {
    (void)state;
    static const float scales[] = {1.0f, -0.37f, 1e-3f, 0x1p-130f};
    for (unsigned code = 0; code < 256; code++) {
        const float value = quant_f8_e4m3_to_f32((uint8_t)code);
        assert_memory_equal(&value, &f8_e4m3_bits[code], sizeof(value));
    }
    for (size_t i = 0; i < 2 * WEFT_LEN(scales); i++) {
        const float scale = scales[i / 2];
        block_f8_e4m3 block;
        float x[128];
        memcpy(block.scale, &scale, sizeof(scale));
        for (unsigned l = 0; l < 128; l++) {
            block.codes[l] = (uint8_t)(l + i % 2 * 128);
        }
        quant_dequantize(WEFT_DTYPE_F8_E4M3, x, &block, 128);
        for (unsigned l = 0; l < 128; l++) {
            const float want = quant_f8_e4m3_to_f32(block.codes[l]) * scale;
            assert_memory_equal(&x[l], &want, sizeof(want));
        }
    }
}

static void encoded_bits_are_those_of_gguf(void **state) {
    (void)state;
    for (size_t f = 0; f < WEFT_LEN(encoded_formats); f++) {
        uint32_t seed = 7, hash = 0;
        for (size_t i = 0; i < QUANT_BLOCKS; i++) {
            uint8_t blocks[64];
            float x[32];
            make_floats(x, &seed, i);
            quant_quantize(encoded_formats[f], blocks, x, 32);
            hash =
                fnv(i % 2 == 0 ? FNV_START : hash, blocks, dtype_row_bytes(encoded_formats[f], 32));
            if (i % 2 == 1 && hash != quant_encoded_hashes[f][i / 2]) {
                fail_msg("%s block %zu or the one before differs",
                         weft_dtype_info_of(encoded_formats[f])->name, i);
            }
        }
    }
}

static void every_half_survives_the_way_to_float_and_back(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        assert_int_equal(quant_f32_to_f16(quant_f16_to_f32((uint16_t)h)), h);
    }
}

static void halves_round_to_nearest_even(void **state) {
    (void)state;
    assert_int_equal(quant_f32_to_f16(1.0f + 0x1p-11f), 0x3c00);
    assert_int_equal(quant_f32_to_f16(1.0f + 0x1.8p-10f), 0x3c02);
    assert_int_equal(quant_f32_to_f16(65519.0f), 0x7bff);
    assert_int_equal(quant_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(quant_f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(quant_f32_to_f16(0x1p-25f), 0x0000);
    assert_int_equal(quant_f32_to_f16(0x1.000002p-25f), 0x0001);
    assert_int_equal(quant_f32_to_f16(-0x1.8p-24f), 0x8002);
    assert_int_equal(quant_f32_to_f16(0x1.ff8p-15f), 0x03ff);
    assert_int_equal(quant_f32_to_f16(0x1.ffcp-15f), 0x0400);
}

static void a_half_lies_between_its_neighbours(void **state) {
    (void)state;
    for (uint32_t h = 1; h < 0x7c00; h++) {
        const float below = quant_f16_to_f32((uint16_t)(h - 1));
        const float here = quant_f16_to_f32((uint16_t)h);
        const float middle = (below + here) / 2; /* exact */
        assert_int_equal(quant_f32_to_f16(middle), h % 2 == 0 ? h : h - 1);
        assert_int_equal(quant_f32_to_f16(nextafterf(middle, INFINITY)), h);
        assert_int_equal(quant_f32_to_f16(nextafterf(middle, -INFINITY)), h - 1);
    }
}

static void bf16_keeps_nan_and_rounds_to_even(void **state) {
    (void)state;
    assert_true(isnan(quant_bf16_to_f32(quant_f32_to_bf16(NAN))));
    assert_int_equal(quant_f32_to_bf16(1.0f + 0x1p-8f), 0x3f80);
    assert_int_equal(quant_f32_to_bf16(1.0f + 0x1.8p-7f), 0x3f82);
    assert_int_equal(quant_f32_to_bf16(INFINITY), 0x7f80);
}

static void values_that_are_not_finite_are_encoded_without_harm(void **state) {
    (void)state;
    float x[32];
    uint8_t blocks[64];
    for (size_t f = 0; f < WEFT_LEN(encoded_formats); f++) {
        for (size_t l = 0; l < 32; l++) {
            x[l] = l % 4 == 0 ? NAN : l % 4 == 1 ? INFINITY : l % 4 == 2 ? -INFINITY : 1e-42f;
        }
        quant_quantize(encoded_formats[f], blocks, x, 32);
        x[0] = 1e-42f;
        quant_quantize(encoded_formats[f], blocks, x + 0, 32);
    }
}

static void formats_known_are_listed(void **state) {
    (void)state;
    assert_true(quant_can_dequantize(WEFT_DTYPE_F32));
    assert_true(quant_can_dequantize(WEFT_DTYPE_Q6_K));
    assert_true(quant_can_dequantize(WEFT_DTYPE_IQ1_M));
    assert_true(quant_can_dequantize(WEFT_DTYPE_F8_E4M3));
    assert_false(quant_can_dequantize(WEFT_DTYPE_I8));
    assert_false(quant_can_dequantize(WEFT_DTYPE_COUNT));
    assert_true(quant_can_quantize(WEFT_DTYPE_Q8_0));
    assert_false(quant_can_quantize(WEFT_DTYPE_Q4_K));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoded_bits_are_those_of_gguf),
        cmocka_unit_test(f8_codes_are_those_of_pytorch),
        cmocka_unit_test(encoded_bits_are_those_of_gguf),
        cmocka_unit_test(every_half_survives_the_way_to_float_and_back),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(a_half_lies_between_its_neighbours),
        cmocka_unit_test(bf16_keeps_nan_and_rounds_to_even),
        cmocka_unit_test(values_that_are_not_finite_are_encoded_without_harm),
        cmocka_unit_test(formats_known_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
