/* test_device_linear.c - both devices' products against plain arithmetic and against kernels alone:
 * cutting into tasks, panels and chunks of rows, several weights at once, biases, strides, inputs in
 * two halves; and which activations weights read.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "device/device_cpu.h"
#include "device/device_cpu_impl.h" /* the workspace, for its guard */
#include "tensor/quant.h"

#include "device_bench.h"

/* ---- products ---- */

#define COLS 64u
#define ROWS_MAX 300u /* more than two chunks of activation rows */

static float host_x[ROWS_MAX * COLS], host_w[3][50 * COLS], host_bias[50], staging[ROWS_MAX * 64];

static void expect_product(device_bench *b, tensor y, const float *w, const float *bias) {
    size_t stride = 0;
    const char *got = device_read(b->dev, y, staging, &stride);
    for (uint32_t r = 0; r < y.rows; r++) {
        const float *row = (const float *)(got + r * stride);
        for (uint32_t i = 0; i < y.cols; i++) {
            double sum = bias != NULL ? bias[i] : 0;
            for (uint32_t j = 0; j < COLS; j++) {
                sum += (double)w[i * COLS + j] * host_x[r * COLS + j];
            }
            assert_true(fabs(row[i] - sum) < 1e-4);
        }
    }
}

static void check_products(device_bench *b) {
    static const uint32_t heights[] = {50, 16, 7}; /* whole panels, and parts of one */
    static const uint32_t counts[] = {1, 2, 130, ROWS_MAX};
    device_weight w[3];
    void *memory[3];
    weft_error err = {0};
    for (uint32_t i = 0; i < 3; i++) {
        const uint64_t bytes = pack_weight_bytes(WEFT_DTYPE_F32, heights[i], COLS);
        assert_int_equal(device_alloc(b->dev, &memory[i], bytes, &err), WEFT_OK);
        for (size_t j = 0; j < (size_t)heights[i] * COLS; j++) {
            host_w[i][j] = device_bench_random();
        }
        w[i] =
            device_pack(b->dev, memory[i], tensor_of(host_w[i], WEFT_DTYPE_F32, heights[i], COLS));
    }
    for (uint32_t i = 0; i < 50; i++) {
        host_bias[i] = device_bench_random();
    }
    const tensor bias = device_scratch_take(&b->scratch, WEFT_DTYPE_F32, 1, 50);
    device_write(b->dev, bias, host_bias);
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        const size_t mark = device_scratch_mark(&b->scratch);
        const tensor x = device_bench_take(b, counts[c], COLS, host_x);
        op_linear op = {.x = x, .n = 3, .w = {w[0], w[1], w[2]}, .bias = {bias}};
        for (uint32_t i = 0; i < 3; i++) {
            op.y[i] = device_scratch_take(&b->scratch, WEFT_DTYPE_F32, counts[c], heights[i]);
        }
        b->dev->ops->linear(b->dev, &op);
        for (uint32_t i = 0; i < 3; i++) {
            expect_product(b, op.y[i], host_w[i], i == 0 ? host_bias : NULL);
        }
        device_scratch_release(&b->scratch, mark);
    }
    for (uint32_t i = 0; i < 3; i++) {
        device_free(b->dev, memory[i], pack_weight_bytes(WEFT_DTYPE_F32, heights[i], COLS));
    }
}

/* BF16 weights times bf16 rows are products of the rounded rows; F32 weights beside them are not. */
static void check_bf16_acts(device_bench *b) {
    uint16_t bf16[50 * COLS];
    device_weight w[2];
    void *memory[2];
    weft_error err = {0};
    for (size_t i = 0; i < WEFT_LEN(bf16); i++) {
        host_w[1][i] = device_bench_random();
        bf16[i] = quant_f32_to_bf16(device_bench_random());
        host_w[0][i] = quant_bf16_to_f32(bf16[i]);
    }
    const tensor files[2] = {tensor_of(bf16, WEFT_DTYPE_BF16, 50, COLS),
                             tensor_of(host_w[1], WEFT_DTYPE_F32, 50, COLS)};
    const tensor x = device_bench_take(b, 130, COLS, host_x);
    op_linear op = {.x = x, .n = 2};
    for (uint32_t i = 0; i < 2; i++) {
        const uint64_t bytes = pack_weight_bytes(files[i].dtype, 50, COLS);
        assert_int_equal(device_alloc(b->dev, &memory[i], bytes, &err), WEFT_OK);
        w[i] = device_pack(b->dev, memory[i], files[i]);
        op.w[i] = w[i];
        op.y[i] = device_scratch_take(&b->scratch, WEFT_DTYPE_F32, 130, 50);
    }
    b->dev->ops->linear(b->dev, &op);
    expect_product(b, op.y[1], host_w[1], NULL);
    for (size_t i = 0; i < 130 * COLS; i++) {
        host_x[i] = quant_bf16_to_f32(quant_f32_to_bf16(host_x[i]));
    }
    expect_product(b, op.y[0], host_w[0], NULL);
    for (uint32_t i = 0; i < 2; i++) {
        device_free(b->dev, memory[i], pack_weight_bytes(files[i].dtype, 50, COLS));
    }
}

static void bf16_activations_are_used_where_the_processor_has_them(void **state) {
    (void)state;
    weft_error err = {0};
    device_bench b = device_bench_open(false, 2, 0);
    assert_int_equal(device_cpu_set_acts(b.dev, WEFT_DTYPE_F32, &err), WEFT_OK);
    assert_int_equal(device_cpu_set_acts(b.dev, WEFT_DTYPE_BF16, &err), WEFT_UNSUPPORTED);
    assert_string_equal(err.message, "activations of bf16 need avx512bf16 or amxbf16, this "
                                     "processor has: neither");
    assert_int_equal(device_cpu_set_acts(b.dev, WEFT_DTYPE_F16, &err), WEFT_INVALID);
    assert_string_equal(err.message, "activations are F16, wanted F32 or BF16");
    device_bench_close(&b);
    const uint32_t flags = cpu_flags_detect();
    const bool can = (flags & (CPU_AVX512BF16 | CPU_AMXBF16)) != 0;
    b = device_bench_open(false, 2, flags);
    assert_int_equal(device_cpu_set_acts(b.dev, WEFT_DTYPE_BF16, &err),
                     can ? WEFT_OK : WEFT_UNSUPPORTED);
    if (can) {
        check_bf16_acts(&b);
    }
    device_bench_close(&b);
}

static void several_products_at_once_are_the_products(void **state) {
    (void)state;
    device_bench_each(check_products);
}

/* ---- products that read their input in two halves, beside others ---- */

#define LONG_COLS 512u /* two blocks of 256 */
#define LONG_ROWS_MAX 130u
#define LONG_BYTES_MAX (LONG_COLS / 32 * 22) /* a row of Q5_0 */
#define HEIGHT_MAX 50u
#define GUARD_BYTES 4096u

/* A query, a key, a value and one more: whole rows and rows in two halves, in two forms where a
 * level reads ACT_STEPS. */
static const struct {
    weft_dtype dtype;
    device_input input;
    uint32_t height;
} readers[] = {
    {WEFT_DTYPE_Q4_K, DEVICE_INPUT_EVEN, HEIGHT_MAX},
    {WEFT_DTYPE_Q4_K, DEVICE_INPUT_KEPT, 23},
    {WEFT_DTYPE_Q5_0, DEVICE_INPUT_KEPT, 16},
    {WEFT_DTYPE_Q5_0, DEVICE_INPUT_EVEN, 7},
};
#define READERS WEFT_LEN(readers)

static float long_x[LONG_ROWS_MAX * LONG_COLS], long_staging[LONG_ROWS_MAX * HEIGHT_MAX];
static uint8_t reader_rows[READERS][HEIGHT_MAX * LONG_BYTES_MAX];

/* Any codes, scales of about 2^-6, and activations of which every step holds some. */
static void fill_readers(void) {
    device_bench_state = 9;
    for (size_t i = 0; i < READERS; i++) {
        const weft_dtype dtype = readers[i].dtype;
        const size_t block_bytes = weft_dtype_info_of(dtype)->block_bytes;
        for (size_t at = 0; at < readers[i].height * dtype_row_bytes(dtype, LONG_COLS); at++) {
            const size_t in_block = at % block_bytes;
            const bool is_high = in_block == 1 || (in_block == 3 && dtype == WEFT_DTYPE_Q4_K);
            reader_rows[i][at] = is_high ? 0x24 : (uint8_t)(device_bench_random() * 128 + 128);
        }
    }
    for (size_t i = 0; i < WEFT_LEN(long_x); i++) {
        long_x[i] = ldexpf(device_bench_random(), -(int)(i / 32 % 5));
    }
}

/* y <- reader i's product with x by kernels alone, a panel at a time: where the input is kept and
 * has a form of 8 bits, of its codes and of what those lost. */
static void multiply_alone(const kernels_cpu *k, size_t i, const float *x, float *y) {
    static WEFT_ALIGNED(PACK_ALIGN_BYTES) uint8_t panel[PACK_PANEL_ROWS * LONG_BYTES_MAX];
    static WEFT_ALIGNED(64) uint8_t high[4096 + ACT_GROUP_SLACK], low[4096];
    const weft_dtype dtype = readers[i].dtype;
    const act_form form = k->act_form[dtype];
    const bool is_kept = readers[i].input == DEVICE_INPUT_KEPT && k->act_residual[form] != NULL;
    const size_t row_bytes = dtype_row_bytes(dtype, LONG_COLS);
    const size_t record_bytes = act_row_bytes(form, LONG_COLS);
    float lost[LONG_COLS], more[PACK_PANEL_ROWS];
    assert_true(record_bytes <= sizeof low);
    k->act_quantize[form](high, x, LONG_COLS);
    if (is_kept) {
        k->act_residual[form](lost, x, high, LONG_COLS);
        k->act_quantize[form](low, lost, LONG_COLS);
    }
    for (uint32_t at = 0; at < readers[i].height; at += PACK_PANEL_ROWS) {
        const uint32_t left = readers[i].height - at;
        const uint32_t n = left < PACK_PANEL_ROWS ? left : PACK_PANEL_ROWS;
        k->pack_panel[dtype](panel, reader_rows[i] + at * row_bytes, row_bytes, n, LONG_COLS);
        k->linear[dtype](y + at, n, panel, high, record_bytes, 1, n, LONG_COLS);
        if (is_kept) {
            k->linear[dtype](more, n, panel, low, record_bytes, 1, n, LONG_COLS);
            for (uint32_t j = 0; j < n; j++) {
                y[at + j] += more[j];
            }
        }
    }
}

static void expect_alone(device_bench *b, const kernels_cpu *k, size_t i, tensor y) {
    size_t stride = 0;
    const char *got = device_read(b->dev, y, long_staging, &stride);
    for (uint32_t r = 0; r < y.rows; r++) {
        float want[HEIGHT_MAX];
        multiply_alone(k, i, long_x + r * LONG_COLS, want);
        assert_memory_equal(got + r * stride, want, y.cols * sizeof(float));
    }
}

static void run_readers(device_bench *b, const kernels_cpu *k, uint32_t n_rows) {
    const size_t x_bytes = LONG_COLS * sizeof(float);
    op_linear op = {.x = {long_x, x_bytes, n_rows, LONG_COLS, WEFT_DTYPE_F32}, .n = READERS};
    void *memory[READERS];
    weft_error err = {0};
    for (uint32_t i = 0; i < READERS; i++) {
        const tensor file =
            tensor_of(reader_rows[i], readers[i].dtype, readers[i].height, LONG_COLS);
        const uint64_t bytes = pack_weight_bytes(file.dtype, file.rows, LONG_COLS);
        assert_int_equal(device_alloc(b->dev, &memory[i], bytes, &err), WEFT_OK);
        op.w[i] = device_pack(b->dev, memory[i], file);
        op.w[i].input = readers[i].input;
        op.y[i] = device_scratch_take(&b->scratch, WEFT_DTYPE_F32, n_rows, file.rows);
    }
    b->dev->ops->linear(b->dev, &op);
    for (uint32_t i = 0; i < READERS; i++) {
        expect_alone(b, k, i, op.y[i]);
        device_free(b->dev, memory[i],
                    pack_weight_bytes(readers[i].dtype, readers[i].height, LONG_COLS));
    }
}

/* The workspace has what the plan gives for n_rows, and then a guard. */
static void check_readers(uint32_t n_threads, uint32_t flags, uint32_t n_rows) {
    const size_t planned = act_workspace_bytes(n_rows, LONG_COLS, false);
    device_bench b = device_bench_open_of(false, n_threads, flags, planned + GUARD_BYTES);
    device_cpu *d = device_cpu_of(b.dev);
    char guard[GUARD_BYTES];
    kernels_cpu k;
    kernels_cpu_init(&k, flags);
    memset(guard, 0xa5, sizeof guard);
    memcpy(d->workspace + planned, guard, sizeof guard);
    d->workspace_bytes = planned;
    run_readers(&b, &k, n_rows);
    assert_memory_equal(d->workspace + planned, guard, sizeof guard);
    d->workspace_bytes = planned + GUARD_BYTES; /* as it is freed */
    device_bench_close(&b);
}

static void a_kept_input_is_read_in_halves_beside_others(void **state) {
    (void)state;
    static const uint32_t masks[] = {0, CPU_AVX2, ~(uint32_t)CPU_AMX, CPU_FLAGS_ALL};
    static const uint32_t counts[] = {1, 13, LONG_ROWS_MAX}; /* of one the plan is used up */
    fill_readers();
    for (size_t m = 0; m < WEFT_LEN(masks); m++) {
        for (size_t c = 0; c < WEFT_LEN(counts); c++) {
            check_readers(1, masks[m] & cpu_flags_detect(), counts[c]);
            check_readers(3, masks[m] & cpu_flags_detect(), counts[c]);
        }
    }
}

static void packing_loses_nothing_on_any_device(void **state) {
    (void)state;
    static const weft_dtype types[] = {WEFT_DTYPE_F16, WEFT_DTYPE_Q4_0, WEFT_DTYPE_Q8_0};
    static uint8_t file[37 * 256 * 2], back[37 * 256 * 2];
    device_bench b = device_bench_open(true, 2, 0);
    weft_error err = {0};
    for (size_t i = 0; i < sizeof file; i++) {
        file[i] = (uint8_t)(i * 31 + i / 7);
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const uint64_t bytes = pack_weight_bytes(types[i], 37, 256);
        void *memory = NULL;
        assert_int_equal(device_alloc(b.dev, &memory, bytes, &err), WEFT_OK);
        const device_weight w = device_pack(b.dev, memory, tensor_of(file, types[i], 37, 256));
        memset(back, 0, sizeof back);
        device_unpack(b.dev, back, w);
        assert_memory_equal(back, file, 37 * dtype_row_bytes(types[i], 256));
        device_free(b.dev, memory, bytes);
    }
    device_bench_close(&b);
}

/* ---- which activations weights read ---- */

#define X(name, bit, text) | CPU_##name
static const uint32_t flags_known = 0 CPU_FLAG_LIST(X);
#undef X

/* check(weights, the form that they read) at every combination of flags. */
static void for_every_form(void (*check)(weft_dtype dtype, act_form form)) {
    for (uint32_t flags = 0; flags <= flags_known; flags++) {
        kernels_cpu k;
        kernels_cpu_init(&k, flags);
        for (uint32_t dtype = 0; dtype < WEFT_DTYPE_COUNT; dtype++) {
            check((weft_dtype)dtype, k.act_form[dtype]);
        }
    }
}

static void expect_float(weft_dtype dtype, act_form form) {
    if (form == ACT_BF16 || form == ACT_SPLIT || form == ACT_Q9) {
        assert_true(act_is_float(dtype));
    }
}

/* What a plan leaves out for a model without float matrices, no level's products of others read. */
static void only_floats_read_their_forms(void **state) {
    (void)state;
    for_every_form(expect_float);
}

static void expect_block_of_256(weft_dtype dtype, act_form form) {
    if (form == ACT_Q8_256 || form == ACT_STEPS) {
        assert_int_equal(weft_dtype_info_of(dtype)->block_len, ACT_LONG_LEN);
    }
}

/* A row of other weights need not be a multiple of 256 long. */
static void only_blocks_of_256_read_records_of_as_many(void **state) {
    (void)state;
    for_every_form(expect_block_of_256);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_products_at_once_are_the_products),
        cmocka_unit_test(bf16_activations_are_used_where_the_processor_has_them),
        cmocka_unit_test(a_kept_input_is_read_in_halves_beside_others),
        cmocka_unit_test(packing_loses_nothing_on_any_device),
        cmocka_unit_test(only_floats_read_their_forms),
        cmocka_unit_test(only_blocks_of_256_read_records_of_as_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
