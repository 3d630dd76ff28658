/* check_numerics.c - the bits that KERNELS_NUMERICS_VERSION stands for, as sums of outputs for fixed
 * inputs: K and V on disk need another version when a kernel changes them.
 *
 * Other checks hold each level's products, records of activations and kv_store to plain C's bits, so
 * these have one sum; the forms that products read have one a processor, attention and rows one a
 * level. Left out is what calls libm's exp, tanh and the like (plain C, a level without its own) and
 * plain C's rope, which compilers may fuse. A new format, form or level changes sums but no bits.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/checksum.h"
#include "cpu_levels.h"
#include "kcheck_impl.h"
#include "kernels/products.h"
#include "tensor/tensor.h"
#include "weights_make.h"

static const struct {
    const char *what;
    uint64_t number;
} numbers[] = {
#if defined(__aarch64__)
    {"forms of c", 0x42aa64237a835e36},
#else
    {"forms of c", 0x7d76027c50c85872},
#endif
    {"products of c", 0x8511e33379a9c723},       {"rows of c", 0xd7fdb3d13ee5d6f5},
    {"rows of avx2", 0xba12ba1ad8e2dcea},        {"rows of avx512", 0x21a533b4fe52d3cf},
    {"rows of neon", 0xa401f4c185576f49},        {"attention of avx2", 0x32502b0f6ffae49d},
    {"attention of avx512", 0xbcb724751cf364a3}, {"attention of amxbf16", 0x4b570469c3ce84c3},
    {"attention of neon", 0xeaaaabee71a4d822},
};
_Static_assert(KERNELS_NUMERICS_VERSION == 8, "the version of these numbers: look at each");

enum { N_PAGES = 44, FLOATS_MAX = 2048 };
static const weft_dtype cache_types[] = {WEFT_DTYPE_F32, WEFT_DTYPE_F16, WEFT_DTYPE_Q8_0,
                                         WEFT_DTYPE_Q4_0};

/* Memory and sum of a case. */
typedef struct tally {
    kcheck *kc;
    uint64_t sum;
    _Alignas(64) uint8_t rows[32768], panel[32768], record[4096], pool[N_PAGES * PAGE_TOKENS * 512];
    float x[FLOATS_MAX], w[FLOATS_MAX], y[FLOATS_MAX];
} tally;

static void add(tally *t, const void *p, size_t bytes) { t->sum = checksum(p, bytes, t->sum); }

static void check(kcheck *kc, const kernels_cpu *k, const void *slot, const char *what,
                  void (*add_all)(tally *, const kernels_cpu *)) {
    if (!kc_func(kc, slot, "numerics_%s", what)) {
        return;
    }
    static tally memory; /* there is one thread */
    tally *t = memset(&memory, 0, sizeof memory);
    t->kc = kc;
    kc->random = 1;
    kc_fill(kc, t->x, FLOATS_MAX, KC_OUTLIER);
    kc_fill(kc, t->w, FLOATS_MAX, KC_GAUSS);
    add_all(t, k);
    size_t i = 0;
    char name[64];
    snprintf(name, sizeof name, "%s of %s", what, kc->level);
    while (i < KC_LEN(numbers) && strcmp(numbers[i].what, name) != 0) {
        i++;
    }
    if (i == KC_LEN(numbers)) {
        printf("numerics: no number yet for %s: 0x%016" PRIx64 "\n", name, t->sum);
    } else if (numbers[i].number != t->sum) {
        kc_fail(kc,
                "bits changed: raise KERNELS_NUMERICS_VERSION and put 0x%016" PRIx64
                " into check_numerics.c",
                t->sum);
    }
}

static void add_product(tally *t, weft_dtype dtype, act_form form, linear_fn *product) {
    const kernels_cpu *ref = kc_ref(t->kc);
    const size_t n = PACK_PANEL_ROWS, k = weights_cols(dtype, 2);
    const size_t row_bytes = dtype_row_bytes(dtype, k), record_bytes = act_row_bytes(form, k);
    WEFT_ASSERT(n * row_bytes <= sizeof t->rows);
    WEFT_ASSERT(record_bytes <= sizeof t->record);
    WEFT_ASSERT(pack_panel_bytes(dtype, k) <= sizeof t->panel);
    weights_make(t->kc, dtype, WEIGHTS_RANDOM, t->rows, n, k);
    ref->pack_panel[dtype](t->panel, t->rows, row_bytes, n, k);
    memset(t->record, 0, sizeof t->record);
    ref->act_quantize[form](t->record, t->x, k);
    add(t, t->record, record_bytes);
    product(t->y, n, t->panel, t->record, record_bytes, 1, n, k);
    add(t, t->y, n * sizeof(float));
    if (ref->act_residual[form] != NULL) {
        ref->act_residual[form](t->y, t->x, t->record, k);
        add(t, t->y, k * sizeof(float));
    }
}

static void add_products(tally *t, const kernels_cpu *k) {
    for (size_t f = 0; f < WEIGHTS_FORMATS; f++) {
        const weft_dtype dtype = weights_formats[f];
        add_product(t, dtype, k->act_form[dtype], k->linear[dtype]);
    }
    add_product(t, WEFT_DTYPE_BF16, ACT_BF16, linear_bf16_pairs_ref);
    add_product(t, WEFT_DTYPE_BF16, ACT_BF16, linear_bf16_chain_ref);
    add_product(t, WEFT_DTYPE_Q8_0, ACT_Q8, linear_q8_0_bytes_ref);
    add_product(t, WEFT_DTYPE_F8_E4M3, ACT_Q9, linear_f8_e4m3_fixed_ref);
    add_product(t, WEFT_DTYPE_F8_E4M3, ACT_BF16, linear_f8_e4m3_chain_ref);
#define X(NAME, name) add_product(t, WEFT_DTYPE_##NAME, ACT_Q12, linear_##name##_twelve_ref);
    PRODUCTS_TWELVE_LIST(X)
#undef X
#define X(NAME, name) add_product(t, WEFT_DTYPE_##NAME, ACT_Q8_256, linear_##name##_long_ref);
    PRODUCTS_LONG_LIST(X)
#undef X
#define X(NAME, name) add_product(t, WEFT_DTYPE_##NAME, ACT_STEPS, linear_##name##_steps_ref);
    PRODUCTS_STEPS_LIST(X)
#undef X
#define X(NAME, name) add_product(t, WEFT_DTYPE_##NAME, ACT_SPLIT, linear_##name##_split_ref);
    PRODUCTS_SPLIT_LIST(X)
#undef X
    for (size_t i = 0; i < KC_LEN(cache_types); i++) {
        k->kv_store[cache_types[i]](t->y, t->x, 256);
        add(t, t->y, dtype_row_bytes(cache_types[i], 256));
    }
}

/* Of every level, also those that the machine lacks. */
static void add_forms(tally *t, const kernels_cpu *k) {
    for (size_t i = 0; i < KC_LEN(cpu_levels); i++) {
        kernels_cpu table;
        kernels_cpu_init(&table, cpu_levels[i].flags);
        add(t, table.act_form, sizeof table.act_form);
    }
}

static void add_rows(tally *t, const kernels_cpu *k) {
    const kernels_cpu *ref = kc_ref(t->kc);
    const size_t n = 331; /* whole vectors and a rest, for every level */
#define ADD(slot, ...) (k->slot(t->y, __VA_ARGS__), add(t, t->y, n * sizeof(float)))
#define ADD_OWN(slot, ...) (k->slot != ref->slot ? ADD(slot, __VA_ARGS__) : (void)0)
    ADD(rmsnorm, t->x, t->w, n, 1e-5f);
    ADD(layernorm, t->x, t->w, t->w, n, 1e-5f);
    ADD(add_rmsnorm, t->x + n, t->x, t->w, n, 1e-5f);
    for (int act = 0; act < ACT_KIND_COUNT; act++) {
        ADD_OWN(act_mul[act], t->x, t->w, n);
    }
    ADD_OWN(softmax, t->x, n);
    ADD_OWN(softcap, t->x, 3.0f, n);
    ADD_OWN(rope[ROPE_HALVES], 3, 110, t->w, 51); /* w: cosines and sines */
    ADD_OWN(rope[ROPE_PAIRS], 3, 110, t->w, 51);
}

/* Two rows, the second of which sees a position more; then with a cap, sinks and a window. */
static void add_attention(tally *t, const kernels_cpu *k) {
    static const uint32_t end[] = {699, 700}, begins[][2] = {{0, 0}, {333, 0}};
    for (size_t c = 0; c < 2 * KC_LEN(cache_types); c++) {
        const bool has_more = c % 2 == 1;
        const weft_dtype dtype = cache_types[c / 2];
        const uint32_t k_dim = has_more ? 96 : 64, v_dim = has_more ? 32 : 64;
        const size_t k_row = dtype_row_bytes(dtype, k_dim), v_row = dtype_row_bytes(dtype, v_dim);
        const size_t v_at = PAGE_TOKENS * k_row, page_bytes = v_at + PAGE_TOKENS * v_row;
        const bool in_columns = k->kv_store_column[dtype] != NULL;
        uint32_t pages[N_PAGES];
        for (uint32_t p = 0; p < end[1]; p++) {
            const size_t i = p % PAGE_TOKENS;
            uint8_t *page = t->pool + p / PAGE_TOKENS * page_bytes;
            pages[p / PAGE_TOKENS] = p / PAGE_TOKENS;
            if (in_columns) {
                k->kv_store_column[dtype](page, i, t->x + p, k_dim);
            } else {
                k->kv_store[dtype](page + i * k_row, t->x + p, k_dim);
            }
            k->kv_store[dtype](page + v_at + i * v_row, t->w + p, v_dim);
        }
        const attention_args a = {.out = t->y,
                                  .q = t->x + 900,
                                  .out_stride = 3 * v_dim,
                                  .q_stride = 3 * k_dim,
                                  .k = t->pool,
                                  .v = t->pool + v_at,
                                  .page_stride_bytes = page_bytes,
                                  .k_row_bytes = k_row,
                                  .v_row_bytes = v_row,
                                  .k_in_columns = in_columns,
                                  .pages = pages,
                                  .kv_begin = begins[has_more],
                                  .kv_end = end,
                                  .sinks = has_more ? t->w : NULL,
                                  .n_rows = 2,
                                  .n_heads = 3,
                                  .k_dim = k_dim,
                                  .v_dim = v_dim,
                                  .scale = 0.125f,
                                  .softcap = has_more ? 30.0f : 0.0f};
        k->attention[dtype](&a);
        add(t, t->y, 2 * a.out_stride * sizeof(float));
    }
}

void check_numerics(kcheck *kc, const kernels_cpu *k) {
    if (strcmp(kc->level, "c") == 0) {
        check(kc, k, &k->linear[WEFT_DTYPE_F32], "products", add_products);
        check(kc, k, &k->linear[WEFT_DTYPE_F32], "forms", add_forms);
    } else {
        check(kc, k, &k->attention[WEFT_DTYPE_F16], "attention", add_attention);
    }
    check(kc, k, &k->rmsnorm, "rows", add_rows);
}
