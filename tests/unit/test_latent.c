/* test_latent.c - a cache whose values are the first part of their keys: the answers of one that
 * stores them again, from pages without them.
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
#include "device/device_deferred.h"
#include "layout/page.h"
#include "model/model_cache.h"

#define HEADS 4u
#define KV_HEADS 2u
#define K_DIM 96u
#define V_DIM 64u
#define ROWS 230u /* above KERNEL_ATTN_NEAR */
#define PAGES 15u
#define POISON 0xFF

static float keys[ROWS][KV_HEADS][K_DIM], values[ROWS][KV_HEADS][V_DIM];
static float queries[ROWS][HEADS][K_DIM];

static void fill(void) {
    uint32_t state = 7;
    float *all[] = {&keys[0][0][0], &queries[0][0][0]};
    const size_t n[] = {sizeof keys / sizeof(float), sizeof queries / sizeof(float)};
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < n[i]; j++) {
            state = state * 1664525u + 1013904223u;
            all[i][j] = (float)(int32_t)state * 0x1.0p-31f;
        }
    }
    for (uint32_t r = 0; r < ROWS; r++) {
        for (uint32_t h = 0; h < KV_HEADS; h++) {
            memcpy(values[r][h], keys[r][h], sizeof values[r][h]);
        }
    }
}

static tensor rows_of(void *data, uint32_t cols) {
    return tensor_of(data, WEFT_DTYPE_F32, ROWS, cols);
}

/* The last page of the pool belongs to nobody and must stay as it is. */
static void attend(device *dev, weft_dtype dtype, bool v_in_k, float *out) {
    static const uint32_t pages[PAGES] = {3, 1, 14, 0, 2, 4, 13, 12, 11, 5, 6, 7, 10, 9, 8};
    const size_t one_page = page_bytes(dtype, KV_HEADS, K_DIM, V_DIM, v_in_k);
    const batch_seq seq = {.n_rows = ROWS, .pages = {pages}};
    const batch whole = {.n_rows = ROWS, .n_seqs = 1, .seqs = &seq};
    weft_error err = {0};
    op_kv_store store = {.kv = {.page_stride_bytes = one_page,
                                .dtype = dtype,
                                .n_kv_heads = KV_HEADS,
                                .k_dim = K_DIM,
                                .v_dim = V_DIM,
                                .v_in_k = v_in_k},
                         .k = rows_of(keys, KV_HEADS * K_DIM),
                         .batch = &whole};
    if (!v_in_k) {
        store.v = rows_of(values, KV_HEADS * V_DIM);
    }
    assert_int_equal(device_alloc(dev, &store.kv.data, (PAGES + 1) * one_page, &err), WEFT_OK);
    memset(store.kv.data, POISON, (PAGES + 1) * one_page);
    const op_attention op = {.out = rows_of(out, HEADS * V_DIM),
                             .q = rows_of(queries, HEADS * K_DIM),
                             .kv = store.kv,
                             .batch = &whole,
                             .n_heads = HEADS,
                             .scale = 0.3f};
    dev->ops->kv_store(dev, &store);
    dev->ops->attention(dev, &op);
    assert_int_equal(device_sync(dev, &err), WEFT_OK);
    const uint8_t *nobodys = (const uint8_t *)store.kv.data + PAGES * one_page;
    for (size_t i = 0; i < one_page; i++) {
        assert_int_equal(nobodys[i], POISON);
    }
    device_free(dev, store.kv.data, (PAGES + 1) * one_page);
}

/* Not exact where AMX may multiply keys in columns: its sums have another order. */
static void compare(device *dev, weft_dtype dtype, bool is_exact) {
    static float inside[ROWS * HEADS * V_DIM], apart[ROWS * HEADS * V_DIM];
    attend(dev, dtype, true, inside);
    attend(dev, dtype, false, apart);
    if (is_exact) {
        assert_memory_equal(inside, apart, sizeof inside);
    }
    for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++) {
        assert_true(fabsf(inside[i] - apart[i]) < 1e-5f);
    }
}

static void values_inside_keys_answer_like_values_apart(void **state) {
    (void)state;
    static const weft_dtype dtypes[] = {WEFT_DTYPE_F32, WEFT_DTYPE_F16, WEFT_DTYPE_Q8_0,
                                        WEFT_DTYPE_Q4_0};
    const uint32_t flags[] = {0, cpu_flags_detect(), 0};
    for (uint32_t i = 0; i < 3; i++) {
        pool *threads = NULL;
        device *dev = NULL;
        kernels_cpu kernels;
        weft_error err = {0};
        kernels_cpu_init(&kernels, flags[i]);
        assert_int_equal(pool_create(&threads, 2, &err), WEFT_OK);
        assert_int_equal(i == 2 ? device_deferred_create(&dev, threads, &err)
                                : device_cpu_create(&dev, threads, flags[i], &err),
                         WEFT_OK);
        assert_int_equal(device_reserve(dev, 1 << 20, &err), WEFT_OK);
        for (size_t t = 0; t < sizeof dtypes / sizeof dtypes[0]; t++) {
            const bool is_exact =
                dtypes[t] != WEFT_DTYPE_F16 || kernels.kv_store_column[dtypes[t]] == NULL;
            compare(dev, dtypes[t], is_exact);
        }
        device_destroy(&dev);
        pool_destroy(&threads);
    }
}

static void a_model_cache_hands_on_what_a_group_says(void **state) {
    (void)state;
    static geometry g = {.n_layers = 2, .n_groups = 2, .layer_group = {0, 1}};
    g.groups[0] = (geometry_group){.n_layers = 1, .n_kv_heads = 1, .k_dim = 576, .v_dim = 512};
    g.groups[1] = g.groups[0];
    g.groups[1].v_in_k = true;
    const plan p = {.n_groups = 2, .kv_type = WEFT_DTYPE_F16};
    model_cache c;
    weft_error err = {0};
    assert_int_equal(model_cache_init(&c, NULL, &g, &p, &err), WEFT_OK);
    assert_false(c.layer[0].v_in_k);
    assert_true(c.layer[1].v_in_k);
    model_cache_deinit(&c);
}

int main(void) {
    fill();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_inside_keys_answer_like_values_apart),
        cmocka_unit_test(a_model_cache_hands_on_what_a_group_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
