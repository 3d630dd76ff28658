/* check_kv_store.c - keys and values into the cache's formats: the bits of tensor/quant.h.
 */
#include <math.h>
#include <string.h>

#include "kcheck.h"
#include "tensor/quant.h"

/* Rounding ties of every format: halves of a step around the largest value, in both signs. */
static void put_ties(float *x, size_t n) {
    for (size_t i = 0; i + 32 <= n; i += 64) {
        const float most = (i / 64) % 2 == 0 ? 127.0f : -8.0f;
        for (size_t j = 0; j < 32; j++) {
            x[i + j] = ((float)j - 15.0f) * 0.5f;
        }
        x[i + 7] = most;
        x[i + 19] = -most;
    }
}

/* What half precision has a rule for: infinities, its own largest, overflow, denormals, ties. */
static void put_specials(float *x, size_t n) {
    static const float specials[] = {INFINITY, -INFINITY, 65504.0f,   65519.0f,   65520.0f,  -0.0f,
                                     0x1p-24f, 0x1p-25f,  0x1.8p-25f, 0x1.002p0f, 0x1.006p0f};
    for (size_t i = 0; i < KC_LEN(specials) && i < n; i++) {
        x[n - 1 - i] = specials[i];
    }
}

static void check_store(kcheck *kc, const kernels_cpu *k, weft_dtype dtype, size_t n,
                        kc_values kind) {
    const weft_dtype_info *info = weft_dtype_info_of(dtype);
    if (!kc_func(kc, &k->kv_store[dtype], "kv_store_%s_n%zu_%d", info->name, n, (int)kind)) {
        return;
    }
    float *src = kc_floats(kc, n, kind);
    if (kind == KC_CONSTANT) {
        put_ties(src, n);
    }
    if (kind == KC_WIDE && info->block_len == 1) {
        put_specials(src, n);
    }
    const size_t bytes = n / info->block_len * info->block_bytes;
    uint8_t *got = kc_out(kc, bytes, info->block_len == 1 ? info->block_bytes : 2);
    uint8_t *want = kc_scratch(kc, bytes);
    quant_quantize(dtype, want, src, n);
    KC_CALL(kc, k->kv_store[dtype](got, src, n));
    kc_bits(kc, want, got, bytes);
}

/* A key's bytes go where page.h says, and what is between them stays. */
static void check_column(kcheck *kc, const kernels_cpu *k, weft_dtype dtype, size_t n,
                         kc_values kind) {
    const weft_dtype_info *info = weft_dtype_info_of(dtype);
    if (!kc_func(kc, &k->kv_store_column[dtype], "kv_store_column_%s_n%zu_%d", info->name, n,
                 (int)kind)) {
        return;
    }
    float *src = kc_floats(kc, n, kind);
    if (kind == KC_WIDE && info->block_len == 1) {
        put_specials(src, n);
    }
    const size_t row_bytes = n / info->block_len * info->block_bytes;
    const size_t at = (n + (size_t)kind) % PAGE_TOKENS;
    uint8_t *row = kc_scratch(kc, row_bytes);
    uint8_t *want = kc_scratch(kc, row_bytes * PAGE_TOKENS);
    uint8_t *got =
        kc_inout(kc, row_bytes * PAGE_TOKENS, info->block_len == 1 ? info->block_bytes : 2);
    quant_quantize(dtype, row, src, n);
    memset(want, 0x5a, row_bytes * PAGE_TOKENS);
    memset(got, 0x5a, row_bytes * PAGE_TOKENS);
    for (size_t i = 0; i < row_bytes; i++) {
        want[page_column_byte(dtype, i, at)] = row[i];
    }
    KC_CALL(kc, k->kv_store_column[dtype](got, at, src, n));
    kc_bits(kc, want, got, row_bytes * PAGE_TOKENS);
}

void check_kv_store(kcheck *kc, const kernels_cpu *k) {
    static const weft_dtype dtypes[] = {WEFT_DTYPE_F32, WEFT_DTYPE_F16, WEFT_DTYPE_Q8_0,
                                        WEFT_DTYPE_Q4_0};
    static const size_t blocks[] = {1, 2, 4, 8, 18, 32};
    for (size_t d = 0; d < KC_LEN(dtypes); d++) {
        const size_t block_len = weft_dtype_info_of(dtypes[d])->block_len;
        for (int kind = 0; kind < KC_VALUES_COUNT; kind++) {
            for (size_t i = 0; i < KC_LEN(blocks); i++) {
                check_store(kc, k, dtypes[d], blocks[i] * 32, (kc_values)kind);
                if (k->kv_store_column[dtypes[d]] != NULL) {
                    check_column(kc, k, dtypes[d], blocks[i] * 32, (kc_values)kind);
                }
            }
            for (size_t i = 0; block_len == 1 && i < KC_LEN(kc_sizes); i++) {
                check_store(kc, k, dtypes[d], kc_sizes[i], (kc_values)kind);
                if (k->kv_store_column[dtypes[d]] != NULL) {
                    check_column(kc, k, dtypes[d], kc_sizes[i], (kc_values)kind);
                }
            }
        }
        if (kc_bench_func(kc, &k->kv_store[dtypes[d]], "kv_store_%s_n128",
                          weft_dtype_info_of(dtypes[d])->name)) {
            const float *src = kc_floats(kc, 128, KC_GAUSS);
            uint8_t *dst = kc_out(kc, 512, 4);
            KC_BENCH(kc, 512, "B", k->kv_store[dtypes[d]](dst, src, 128));
        }
        if (kc_bench_func(kc, &k->kv_store_column[dtypes[d]], "kv_store_column_%s_n128",
                          weft_dtype_info_of(dtypes[d])->name)) {
            const float *src = kc_floats(kc, 128, KC_GAUSS);
            uint8_t *page = kc_out(kc, PAGE_TOKENS * 512, 4);
            KC_BENCH(kc, 512, "B", k->kv_store_column[dtypes[d]](page, 3, src, 128));
        }
    }
}
