/* test_device.c - both devices against plain arithmetic: gathers, the cache, scratch; and the
 * deferred one's promise that nothing happens before device_sync. Products are in
 * test_device_linear.c.
 *
 * Kernels have their own tester (kcheck). Here it is about what the device adds: page tables, and
 * heads and contexts cut over threads.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "device/device_cpu.h"
#include "device/device_deferred.h"
#include "layout/page.h"
#include "tensor/quant.h"

#include "device_bench.h"

/* ---- the cache ---- */

#define HEADS 4u
#define KV_HEADS 2u
#define DIM 32u /* a block of the quantised formats */
#define POSITIONS 53u

static float host_k[POSITIONS * KV_HEADS * DIM], host_v[POSITIONS * KV_HEADS * DIM];
static float host_q[POSITIONS * HEADS * DIM];
static float staging[POSITIONS * HEADS * DIM]; /* what is read from a device */

/* Softmax attention of one row and head in double, over [begin, end). */
static void expect_attention(const float *got, uint32_t row, uint32_t head, uint32_t begin,
                             uint32_t end, float scale) {
    double weights[POSITIONS], total = 0;
    const uint32_t kv_head = head / (HEADS / KV_HEADS);
    for (uint32_t p = begin; p < end; p++) {
        double dot = 0;
        for (uint32_t i = 0; i < DIM; i++) {
            dot += (double)host_q[(row * HEADS + head) * DIM + i] *
                   host_k[(p * KV_HEADS + kv_head) * DIM + i];
        }
        weights[p] = exp(dot * scale);
        total += weights[p];
    }
    for (uint32_t i = 0; i < DIM; i++) {
        double sum = 0;
        for (uint32_t p = begin; p < end; p++) {
            sum += weights[p] / total * host_v[(p * KV_HEADS + kv_head) * DIM + i];
        }
        assert_true(fabs(got[head * DIM + i] - sum) < 1e-4);
    }
}

/* Two sequences in one batch: 50 rows from position 0 (pages 3, 1, 5, 0), and one at position 2. */
static void check_attention(device_bench *b) {
    static const uint32_t first_pages[] = {3, 1, 5, 0}, second_pages[] = {4};
    static const uint32_t windows[] = {0, 20};
    const size_t one_page = page_bytes(WEFT_DTYPE_F32, KV_HEADS, DIM, DIM, false);
    weft_error err = {0};
    device_kv kv = {.page_stride_bytes = one_page,
                    .dtype = WEFT_DTYPE_F32,
                    .n_kv_heads = KV_HEADS,
                    .k_dim = DIM,
                    .v_dim = DIM};
    assert_int_equal(device_alloc(b->dev, &kv.data, 6 * one_page, &err), WEFT_OK);
    const batch_seq seqs[] = {{.row_first = 0, .n_rows = 50, .n_past = 0, .pages = {first_pages}},
                              {.row_first = 50, .n_rows = 3, .n_past = 0, .pages = {second_pages}}};
    const batch whole = {.n_rows = POSITIONS, .n_seqs = 2, .seqs = seqs};
    const tensor k = device_bench_take(b, POSITIONS, KV_HEADS * DIM, host_k);
    const tensor v = device_bench_take(b, POSITIONS, KV_HEADS * DIM, host_v);
    const tensor q = device_bench_take(b, POSITIONS, HEADS * DIM, host_q);
    const tensor out = device_scratch_take(&b->scratch, WEFT_DTYPE_F32, POSITIONS, HEADS * DIM);
    const op_kv_store store = {.kv = kv, .k = k, .v = v, .batch = &whole};
    b->dev->ops->kv_store(b->dev, &store);
    for (size_t w = 0; w < 2; w++) {
        const op_attention op = {.out = out,
                                 .q = q,
                                 .kv = kv,
                                 .batch = &whole,
                                 .n_heads = HEADS,
                                 .window = windows[w],
                                 .scale = 0.25f};
        size_t stride = 0;
        b->dev->ops->attention(b->dev, &op);
        const char *got = device_read(b->dev, out, staging, &stride);
        for (uint32_t r = 0; r < POSITIONS; r++) {
            const uint32_t seq_begin = r < 50 ? 0 : 50;
            const uint32_t n = r + 1 - seq_begin;
            const uint32_t begin =
                windows[w] != 0 && n > windows[w] ? r + 1 - windows[w] : seq_begin;
            for (uint32_t h = 0; h < HEADS; h++) {
                expect_attention((const float *)(got + r * stride), r, h, begin, r + 1, 0.25f);
            }
        }
    }
    device_free(b->dev, kv.data, 6 * one_page);
}

/* One long sequence and three short ones, a row each: the long one is cut over the context as soon
 * as there are threads for it, and no bit of the result changes. */
#define LONG 2100u
#define SHORT 30u
#define STORED (LONG + 3 * SHORT)
static float decode_q[6 * HEADS * DIM], decode_kv[2][STORED * KV_HEADS * DIM];
static float decode_sinks[HEADS];

typedef struct attn_kind {
    weft_dtype dtype; /* of the cache */
    bool has_sinks;
    float softcap;
    uint32_t window;
} attn_kind;

static const attn_kind plain_kind = {.dtype = WEFT_DTYPE_F16};

static device_kv kv_of(device_bench *b, weft_dtype dtype, uint32_t n_pages) {
    const size_t one_page = page_bytes(dtype, KV_HEADS, DIM, DIM, false);
    weft_error err = {0};
    device_kv kv = {.page_stride_bytes = one_page,
                    .dtype = dtype,
                    .n_kv_heads = KV_HEADS,
                    .k_dim = DIM,
                    .v_dim = DIM};
    assert_int_equal(device_alloc(b->dev, &kv.data, n_pages * one_page, &err), WEFT_OK);
    return kv;
}

/* decode_kv into the pages of seqs, whose rows begin at position 0. */
static void store_decode(device_bench *b, device_kv kv, const batch *prompt) {
    const size_t row_bytes = KV_HEADS * DIM * sizeof(float);
    const op_kv_store store = {
        .kv = kv,
        .k = {decode_kv[0], row_bytes, prompt->n_rows, KV_HEADS * DIM, WEFT_DTYPE_F32},
        .v = {decode_kv[1], row_bytes, prompt->n_rows, KV_HEADS * DIM, WEFT_DTYPE_F32},
        .batch = prompt};
    b->dev->ops->kv_store(b->dev, &store);
}

/* out, like decode_q, has n_rows rows; step may be some of them. */
static void attend_decode(device_bench *b, device_kv kv, const attn_kind *kind, const batch *step,
                          uint32_t n_rows, float *out) {
    const size_t row_bytes = HEADS * DIM * sizeof(float);
    const tensor sinks = {decode_sinks, sizeof decode_sinks, 1, HEADS, WEFT_DTYPE_F32};
    const op_attention op = {.out = {out, row_bytes, n_rows, HEADS * DIM, WEFT_DTYPE_F32},
                             .q = {decode_q, row_bytes, n_rows, HEADS * DIM, WEFT_DTYPE_F32},
                             .kv = kv,
                             .batch = step,
                             .sinks = kind->has_sinks ? sinks : (tensor){0},
                             .n_heads = HEADS,
                             .window = kind->window,
                             .scale = 0.25f,
                             .softcap = kind->softcap};
    b->dev->ops->attention(b->dev, &op);
}

static void close_decode(device_bench *b, device_kv kv, uint32_t n_pages) {
    weft_error err = {0};
    assert_int_equal(device_sync(b->dev, &err), WEFT_OK);
    device_free(b->dev, kv.data, n_pages * kv.page_stride_bytes);
    device_bench_close(b);
}

static void decode_on(device_bench b, const attn_kind *kind, float *out) {
    static uint32_t pages[LONG / PAGE_TOKENS + 1 + 3 * 2];
    weft_error err = {0};
    const uint32_t n_pages = sizeof pages / sizeof pages[0], page_long = LONG / PAGE_TOKENS + 1;
    const device_kv kv = kv_of(&b, kind->dtype, n_pages);
    for (uint32_t i = 0; i < n_pages; i++) {
        pages[i] = n_pages - 1 - i;
    }
    batch_seq seqs[4] = {{.n_rows = LONG, .pages = {pages}}};
    for (uint32_t i = 1; i < 4; i++) {
        seqs[i] = (batch_seq){.row_first = LONG + (i - 1) * SHORT,
                              .n_rows = SHORT,
                              .pages = {pages + page_long + 2 * (i - 1)}};
    }
    const batch prompt = {.n_rows = STORED, .n_seqs = 4, .seqs = seqs};
    store_decode(&b, kv, &prompt);
    assert_int_equal(device_sync(b.dev, &err), WEFT_OK);
    for (uint32_t i = 0; i < 4; i++) {
        seqs[i].n_past = seqs[i].n_rows - 1;
        seqs[i].row_first = i;
        seqs[i].n_rows = 1;
    }
    const batch step = {.n_rows = 4, .n_seqs = 4, .seqs = seqs};
    attend_decode(&b, kv, kind, &step, 4, out);
    close_decode(&b, kv, n_pages);
}

static void fill_decode(void) {
    device_bench_state = 5;
    for (size_t i = 0; i < sizeof decode_q / sizeof decode_q[0]; i++) {
        decode_q[i] = 4 * device_bench_random();
    }
    for (size_t i = 0; i < sizeof decode_kv[0] / sizeof decode_kv[0][0]; i++) {
        decode_kv[0][i] = device_bench_random();
        decode_kv[1][i] = device_bench_random();
    }
    for (uint32_t h = 0; h < HEADS; h++) {
        decode_sinks[h] = 4 * device_bench_random();
    }
}

static device_bench open_fastest(uint32_t n_threads) {
    return device_bench_open(false, n_threads, CPU_FLAGS_ALL & cpu_flags_detect());
}

static void a_context_cut_over_threads_keeps_its_bits(void **state) {
    (void)state;
    static float one[4 * HEADS * DIM], many[4 * HEADS * DIM];
    fill_decode();
    decode_on(open_fastest(1), &plain_kind, one);
    for (uint32_t n_threads = 2; n_threads <= 5; n_threads++) {
        memset(many, 0, sizeof many);
        decode_on(open_fastest(n_threads), &plain_kind, many);
        assert_memory_equal(one, many, sizeof one);
    }
}

/* decode_kv as the cache gives it back. */
static void pass_through(weft_dtype dtype, float *k, float *v) {
    static uint8_t stored[sizeof decode_kv[0]];
    const size_t n = WEFT_LEN(decode_kv[0]);
    quant_quantize(dtype, stored, decode_kv[0], n);
    quant_dequantize(dtype, k, stored, n);
    quant_quantize(dtype, stored, decode_kv[1], n);
    quant_dequantize(dtype, v, stored, n);
}

/* The last of positions [begin, end) of k and v attends them all, in double. */
static void expect_decoded(const attn_kind *kind, const float *got, uint32_t row, uint32_t head,
                           uint32_t begin, uint32_t end, const float *k, const float *v) {
    static double weights[STORED];
    const float *q = decode_q + (row * HEADS + head) * DIM;
    const uint32_t kv_head = head / (HEADS / KV_HEADS);
    double total = kind->has_sinks ? exp(decode_sinks[head]) : 0;
    for (uint32_t p = begin; p < end; p++) {
        double score = 0;
        for (uint32_t i = 0; i < DIM; i++) {
            score += 0.25 * q[i] * k[(p * KV_HEADS + kv_head) * DIM + i];
        }
        score = kind->softcap > 0 ? kind->softcap * tanh(score / kind->softcap) : score;
        weights[p] = exp(score);
        total += weights[p];
    }
    for (uint32_t i = 0; i < DIM; i++) {
        double sum = 0;
        for (uint32_t p = begin; p < end; p++) {
            sum += weights[p] / total * v[(p * KV_HEADS + kv_head) * DIM + i];
        }
        assert_true(fabs(got[(row * HEADS + head) * DIM + i] - sum) < 1e-5);
    }
}

static void expect_kind(const attn_kind *kind) {
    static float one[4 * HEADS * DIM], other[4 * HEADS * DIM];
    static float k[STORED * KV_HEADS * DIM], v[STORED * KV_HEADS * DIM];
    pass_through(kind->dtype, k, v);
    for (uint32_t n_threads = 1; n_threads <= 5; n_threads++) {
        const bool is_slow = n_threads > 3; /* the references, and those of the deferred device */
        memset(other, 0, sizeof other);
        decode_on(is_slow ? device_bench_open(n_threads == 5, n_threads, 0)
                          : open_fastest(n_threads),
                  kind, other);
        if (n_threads == 1) {
            memcpy(one, other, sizeof one);
        }
        assert_true(is_slow || memcmp(one, other, sizeof one) == 0);
        for (uint32_t row = 0; row < 4; row++) {
            const uint32_t end = LONG + row * SHORT, n = row == 0 ? LONG : SHORT;
            const uint32_t seen = kind->window != 0 && kind->window < n ? kind->window : n;
            for (uint32_t head = 0; head < HEADS; head++) {
                expect_decoded(kind, other, row, head, end - seen, end, k, v);
            }
        }
    }
}

static void sinks_softcap_window_and_every_cache_hold_over_threads(void **state) {
    (void)state;
    static const weft_dtype types[] = {WEFT_DTYPE_F32, WEFT_DTYPE_F16, WEFT_DTYPE_Q8_0,
                                       WEFT_DTYPE_Q4_0};
    fill_decode();
    for (uint32_t i = 0; i < WEFT_LEN(types); i++) {
        for (uint32_t j = 0; j < 8; j++) {
            const attn_kind kind = {types[i], (j & 1) != 0, (j & 2) != 0 ? 3.0f : 0,
                                    (j & 4) != 0 ? 1500 : 0};
            expect_kind(&kind);
        }
    }
}

/* Rows of sequences whose first 1,088 positions are the same pages, and of one that has pages of its
 * own: attended together, and each alone. */
#define MEMBERS 6u
#define COMMON_PAGES 68u

static void attend_members(uint32_t n_threads, const attn_kind *kind, bool is_alone, float *out) {
    static uint32_t tables[MEMBERS][COMMON_PAGES + 2];
    const uint32_t n_pages = LONG / PAGE_TOKENS;
    device_bench b = open_fastest(n_threads);
    weft_error err = {0};
    assert_int_equal(device_reserve(b.dev, 1 << 20, &err), WEFT_OK);
    const device_kv kv = kv_of(&b, kind->dtype, n_pages);
    uint32_t all[LONG / PAGE_TOKENS];
    for (uint32_t i = 0; i < n_pages; i++) {
        all[i] = n_pages - 1 - i;
    }
    const batch_seq prompt = {.n_rows = n_pages * PAGE_TOKENS, .pages = {all}};
    const batch stored = {.n_rows = prompt.n_rows, .n_seqs = 1, .seqs = &prompt};
    store_decode(&b, kv, &stored);
    batch_seq seqs[MEMBERS];
    for (uint32_t i = 0; i < MEMBERS; i++) {
        for (uint32_t p = 0; p < COMMON_PAGES; p++) {
            tables[i][p] = all[p + (i == 4 ? 20 : 0)];
        }
        tables[i][COMMON_PAGES] = all[COMMON_PAGES + 2 * i];
        tables[i][COMMON_PAGES + 1] = all[COMMON_PAGES + 2 * i + 1];
        const uint32_t n_past = i == 3 ? 600 : COMMON_PAGES * PAGE_TOKENS + 5 * i;
        seqs[i] = (batch_seq){.row_first = i, .n_rows = 1, .n_past = n_past, .pages = {tables[i]}};
    }
    for (uint32_t i = 0; i < MEMBERS; i += is_alone ? 1 : MEMBERS) {
        const batch step = {.n_rows = MEMBERS, .n_seqs = is_alone ? 1 : MEMBERS, .seqs = seqs + i};
        attend_decode(&b, kv, kind, &step, MEMBERS, out);
    }
    close_decode(&b, kv, n_pages);
}

static void a_shared_beginning_keeps_every_bit(void **state) {
    (void)state;
    static float alone[MEMBERS * HEADS * DIM], together[MEMBERS * HEADS * DIM];
    static const attn_kind kinds[] = {{.dtype = WEFT_DTYPE_F16},
                                      {WEFT_DTYPE_F16, true, 3.0f, 0},
                                      {WEFT_DTYPE_Q8_0, true, 0, 0},
                                      {WEFT_DTYPE_Q4_0, false, 3.0f, 0}};
    fill_decode();
    for (uint32_t i = 0; i < WEFT_LEN(kinds); i++) {
        attend_members(1, &kinds[i], true, alone);
        for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
            memset(together, 0, sizeof together);
            attend_members(n_threads, &kinds[i], false, together);
            assert_memory_equal(alone, together, sizeof alone);
        }
    }
}

static void attention_reads_its_own_pages(void **state) {
    (void)state;
    device_bench_each(check_attention);
}

static void page_bytes_are_those_of_the_plan(void **state) {
    (void)state;
    assert_int_equal(page_bytes(WEFT_DTYPE_F16, 2, 64, 32, false), 2 * 16 * (64 + 32) * 2);
    assert_int_equal(page_bytes(WEFT_DTYPE_Q8_0, 1, 64, 64, false), 16 * 2 * 2 * 34);
    assert_int_equal(page_bytes(WEFT_DTYPE_F16, 1, 576, 512, true), 16 * 576 * 2);
}

/* ---- rows ---- */

static void check_rows(device_bench *b) {
    static float a[40 * 24], c[40 * 24];
    static const uint32_t rows[] = {39, 0, 7, 7};
    size_t stride = 0;
    const tensor x = device_bench_take(b, 40, 24, a), y = device_bench_take(b, 40, 24, c);
    const op_add add = {.y = y, .x = x};
    const op_scale scale = {.y = y, .scale = 2};
    const tensor picked = device_scratch_take(&b->scratch, WEFT_DTYPE_F32, 4, 24);
    const op_gather gather = {.y = picked, .x = y, .rows = rows, .n = 4};
    b->dev->ops->add(b->dev, &add);
    b->dev->ops->scale(b->dev, &scale);
    b->dev->ops->gather(b->dev, &gather);
    const char *got = device_read(b->dev, picked, staging, &stride);
    for (uint32_t i = 0; i < 4; i++) {
        for (uint32_t j = 0; j < 24; j++) {
            const uint32_t at = rows[i] * 24 + j;
            assert_true(((const float *)(got + i * stride))[j] == 2 * (c[at] + a[at]));
        }
    }
}

/* Residual and norm at once are residual, then norm: to the bit. */
static void check_add_rmsnorm(device_bench *b) {
    static float x[40 * 24], r[40 * 24], w[24], results[2][40 * 24];
    const tensor weight = device_bench_take(b, 1, 24, w);
    const tensor y = device_scratch_take(&b->scratch, WEFT_DTYPE_F32, 40, 24);
    for (uint32_t i = 0; i < 2; i++) {
        device_bench_state = 77;
        const tensor to = device_bench_take(b, 40, 24, x), from = device_bench_take(b, 40, 24, r);
        const op_add_rmsnorm both = {.y = y, .x = to, .r = from, .w = weight, .eps = 1e-5f};
        const op_add add = {.y = to, .x = from};
        const op_rmsnorm norm = {.y = y, .x = to, .w = weight, .groups = 1, .eps = 1e-5f};
        size_t stride = 0;
        if (i == 0) {
            b->dev->ops->add_rmsnorm(b->dev, &both);
        } else {
            b->dev->ops->add(b->dev, &add);
            b->dev->ops->rmsnorm(b->dev, &norm);
        }
        const char *got = device_read(b->dev, y, staging, &stride);
        for (uint32_t row = 0; row < 40; row++) {
            memcpy(results[i] + row * 24, got + row * stride, 24 * sizeof(float));
        }
    }
    assert_memory_equal(results[0], results[1], sizeof results[0]);
}

static void a_residual_and_its_norm_are_the_two_operations(void **state) {
    (void)state;
    device_bench_each(check_add_rmsnorm);
}

static void operations_run_in_the_order_given(void **state) {
    (void)state;
    device_bench_each(check_rows);
}

/* ---- scratch and deferral ---- */

static void scratch_is_taken_and_released_like_a_stack(void **state) {
    (void)state;
    device_bench b = device_bench_open(false, 1, 0);
    assert_int_equal(device_scratch_tensor_bytes(WEFT_DTYPE_F32, 3, 5), 3 * 64);
    assert_int_equal(device_scratch_tensor_bytes(WEFT_DTYPE_F32, 3, 17),
                     3 * 192); /* 2 lines and 1 */
    const tensor t = device_scratch_take(&b.scratch, WEFT_DTYPE_F32, 3, 5);
    assert_int_equal(t.stride_bytes, 64);
    assert_int_equal((uintptr_t)t.data % DEVICE_SCRATCH_ALIGN, 0);
    const size_t mark = device_scratch_mark(&b.scratch);
    assert_int_equal(mark, 3 * 64);
    const tensor u = device_scratch_take(&b.scratch, WEFT_DTYPE_F32, 1, 100);
    device_scratch_release(&b.scratch, mark);
    const tensor again = device_scratch_take(&b.scratch, WEFT_DTYPE_F32, 1, 100);
    assert_ptr_equal(again.data, u.data);
    assert_int_equal(b.scratch.peak_bytes, 3 * 64 + 448);
    device_bench_close(&b);
}

static void the_deferred_device_does_nothing_before_sync(void **state) {
    (void)state;
    static float host[4] = {1, 2, 3, 4};
    weft_error err = {0};
    size_t stride = 0;
    device_bench b = device_bench_open(true, 1, 0);
    assert_false(b.dev->is_host_memory);
    const tensor y = device_scratch_take(&b.scratch, WEFT_DTYPE_F32, 1, 4);
    assert_true(isnan(((const float *)y.data)[0])); /* fresh memory is poison */
    device_write(b.dev, y, host);
    const op_scale op = {.y = y, .scale = 10};
    b.dev->ops->scale(b.dev, &op);
    assert_true(((const float *)y.data)[0] == 1);
    assert_int_equal(device_sync(b.dev, &err), WEFT_OK);
    assert_true(((const float *)y.data)[0] == 10);
    const float *got = device_read(b.dev, y, staging, &stride);
    assert_ptr_equal(got, staging);
    assert_true(got[3] == 40);
    device_scratch_release(&b.scratch, 0);
    assert_true(((const float *)y.data)[0] == 10); /* poisoned in its turn, not at once */
    assert_int_equal(device_sync(b.dev, &err), WEFT_OK);
    assert_true(isnan(((const float *)y.data)[0]));
    device_bench_close(&b);
}

static void a_lost_record_is_an_error_at_sync_and_only_once(void **state) {
    (void)state;
    static float host[4] = {1, 2, 3, 4};
    weft_error err = {0};
    device_bench b = device_bench_open(true, 1, 0);
    const tensor y = device_scratch_take(&b.scratch, WEFT_DTYPE_F32, 1, 4);
    device_write(b.dev, y, host);
    const op_scale op = {.y = y, .scale = 10};
    mem_fail_after(0);
    b.dev->ops->scale(b.dev, &op);
    mem_fail_after(-1);
    assert_int_equal(device_sync(b.dev, &err), WEFT_DEVICE);
    assert_string_equal(err.message, "deferred device: out of memory for its records");
    assert_int_equal(device_sync(b.dev, &err), WEFT_OK);
    device_bench_close(&b);
}

static void devices_survive_every_failing_allocation(void **state) {
    (void)state;
    pool *p = NULL;
    weft_error err = {0};
    assert_int_equal(pool_create(&p, 1, &err), WEFT_OK);
    const uint64_t live = mem_stats_total().live_bytes;
    for (int64_t nth = 0; nth < 3; nth++) {
        device *dev = NULL;
        mem_fail_after(nth);
        const weft_status status = device_deferred_create(&dev, p, &err);
        mem_fail_after(-1);
        assert_int_equal(status, nth < 2 ? WEFT_NOMEM : WEFT_OK);
        device_destroy(&dev);
        assert_int_equal(mem_stats_total().live_bytes, live);
    }
    pool_destroy(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_reads_its_own_pages),
        cmocka_unit_test(a_shared_beginning_keeps_every_bit),
        cmocka_unit_test(a_context_cut_over_threads_keeps_its_bits),
        cmocka_unit_test(sinks_softcap_window_and_every_cache_hold_over_threads),
        cmocka_unit_test(page_bytes_are_those_of_the_plan),
        cmocka_unit_test(a_residual_and_its_norm_are_the_two_operations),
        cmocka_unit_test(operations_run_in_the_order_given),
        cmocka_unit_test(scratch_is_taken_and_released_like_a_stack),
        cmocka_unit_test(the_deferred_device_does_nothing_before_sync),
        cmocka_unit_test(a_lost_record_is_an_error_at_sync_and_only_once),
        cmocka_unit_test(devices_survive_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
