/* bench_experts.c - the experts of one layer, timed against a dense layer of the same operations.
 *
 *   bench_experts [THREADS]
 *
 * 64 experts, 8 a row, 2048 wide, 768 inner, the same for every format: 512 rows against a dense
 * gated feed-forward of 8 x 768 on the same rows, which is what experts could reach; and one row,
 * whose 8 experts are others each time, against reading as many bytes from memory. Medians of
 * interleaved runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/str.h"
#include "ceiling.h"
#include "device/device_cpu.h"

enum { EXPERTS = 64, USED = 8, EMBD = 2048, FF = 768, ROWS = 512, RUNS = 7, DECODES = 64 };

typedef struct bench {
    pool *pool;
    device *dev;
    weft_dtype dtype;
    float *x, *y, *logits, *gate, *up;
    op_experts experts;
    device_weight dense[3];
} bench;

static void *must_alloc(device *dev, uint64_t bytes) {
    void *p = NULL;
    WEFT_ASSERT(device_alloc(dev, &p, bytes, NULL) == WEFT_OK);
    return p;
}

static float noise(void) {
    static uint64_t state = 9;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)((int64_t)(state >> 40) - (1 << 23)) * 0x1.0p-23f;
}

static float *floats(bench *b, size_t n) {
    float *p = must_alloc(b->dev, n * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        p[i] = noise();
    }
    return p;
}

/* n matrices of one byte throughout, which makes moderate scales: a power of two where a byte is a
 * scale, else the halves of an f16. */
static device_stack make_stack(bench *b, uint32_t n, uint32_t rows, uint32_t cols) {
    const size_t bytes = rows * dtype_row_bytes(b->dtype, cols);
    char *file = must_alloc(b->dev, n * bytes);
    memset(file, b->dtype == WEFT_DTYPE_MXFP4 ? 0x7C : 0x2C, n * bytes);
    const tensor first = tensor_of(file, b->dtype, rows, cols);
    void *packed = must_alloc(b->dev, n * pack_weight_bytes(b->dtype, rows, cols));
    const device_stack s = device_pack_stack(b->dev, packed, &first, n);
    device_free(b->dev, file, n * bytes);
    return s;
}

static void run_experts(bench *b, uint32_t n_rows, uint32_t first) {
    b->experts.x = tensor_of(b->x, WEFT_DTYPE_F32, n_rows, EMBD);
    b->experts.y = tensor_of(b->y, WEFT_DTYPE_F32, n_rows, EMBD);
    b->experts.logits =
        tensor_of(b->logits + (size_t)first * EXPERTS, WEFT_DTYPE_F32, n_rows, EXPERTS);
    b->dev->ops->experts(b->dev, &b->experts);
}

static void run_dense(bench *b) {
    const tensor x = tensor_of(b->x, WEFT_DTYPE_F32, ROWS, EMBD);
    const tensor gate = tensor_of(b->gate, WEFT_DTYPE_F32, ROWS, USED * FF);
    const tensor up = tensor_of(b->up, WEFT_DTYPE_F32, ROWS, USED * FF);
    const op_linear both = {.x = x, .n = 2, .w = {b->dense[0], b->dense[1]}, .y = {gate, up}};
    const op_act_mul act = {.y = gate, .gate = gate, .up = up, .kind = ACT_KIND_SILU};
    const op_linear down = {
        .x = gate, .n = 1, .w = {b->dense[2]}, .y = {tensor_of(b->y, WEFT_DTYPE_F32, ROWS, EMBD)}};
    b->dev->ops->linear(b->dev, &both);
    b->dev->ops->act_mul(b->dev, &act);
    b->dev->ops->linear(b->dev, &down);
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *seconds) {
    qsort(seconds, RUNS, sizeof *seconds, by_value);
    return seconds[RUNS / 2];
}

static double since(uint64_t begin_ns) { return (double)(clock_now_ns() - begin_ns) * 1e-9; }

static void open_bench(bench *b, uint32_t n_threads, weft_dtype dtype) {
    *b = (bench){.dtype = dtype};
    WEFT_ASSERT(pool_create(&b->pool, n_threads, NULL) == WEFT_OK);
    WEFT_ASSERT(device_cpu_create(&b->dev, b->pool, cpu_flags_detect(), NULL) == WEFT_OK);
    const expert_routing routing = {EXPERTS, USED, EXPERT_SCORE_SOFTMAX, true, 1.0f, 0, 0, 0};
    b->experts = (op_experts){.routing = routing, .kind = ACT_KIND_SILU};
    b->experts.gate = make_stack(b, EXPERTS, FF, EMBD);
    b->experts.up = make_stack(b, EXPERTS, FF, EMBD);
    b->experts.down = make_stack(b, EXPERTS, EMBD, FF);
    b->dense[0] = make_stack(b, 1, USED * FF, EMBD).w;
    b->dense[1] = make_stack(b, 1, USED * FF, EMBD).w;
    b->dense[2] = make_stack(b, 1, EMBD, USED * FF).w;
    b->experts.down.w.input = b->dense[2].input = DEVICE_INPUT_TAILED;
    b->x = floats(b, (size_t)ROWS * EMBD);
    b->y = floats(b, (size_t)ROWS * EMBD);
    b->logits = floats(b, (size_t)ROWS * EXPERTS);
    b->gate = floats(b, (size_t)ROWS * USED * FF);
    b->up = floats(b, (size_t)ROWS * USED * FF);
    const uint64_t experts = expert_workspace_bytes(&routing, ROWS, EMBD, FF);
    const uint64_t dense = act_workspace_bytes(ROWS, USED * FF, false);
    WEFT_ASSERT(device_reserve(b->dev, experts > dense ? experts : dense, NULL) == WEFT_OK);
}

static void time_format(uint32_t n_threads, weft_dtype dtype, double read_bytes_s) {
    bench b;
    double experts[RUNS], dense[RUNS], one[RUNS];
    open_bench(&b, n_threads, dtype);
    run_experts(&b, ROWS, 0);
    run_dense(&b);
    for (int i = 0; i < RUNS; i++) {
        uint64_t begin = clock_now_ns();
        run_experts(&b, ROWS, 0);
        experts[i] = since(begin);
        begin = clock_now_ns();
        run_dense(&b);
        dense[i] = since(begin);
        begin = clock_now_ns();
        for (uint32_t r = 0; r < DECODES; r++) {
            run_experts(&b, 1, (r * 37 + (uint32_t)i) % ROWS);
        }
        one[i] = since(begin) / DECODES;
    }
    const double op = 6.0 * ROWS * USED * EMBD * FF;
    const double bytes = USED * (2.0 * (double)pack_weight_bytes(dtype, FF, EMBD) +
                                 (double)pack_weight_bytes(dtype, EMBD, FF));
    const double t_experts = median(experts), t_dense = median(dense), t_one = median(one);
    printf("%-6s 512 rows: experts %.1f Gop/s, %.0f %% of dense %.1f Gop/s; "
           "1 row: %.2f GB/s, %.0f %% of reading, %.0f us\n",
           weft_dtype_info_of(dtype)->name, op / t_experts * 1e-9, t_dense / t_experts * 100.0,
           op / t_dense * 1e-9, bytes / t_one * 1e-9, bytes / t_one / read_bytes_s * 100.0,
           t_one * 1e6);
    device_destroy(&b.dev); /* its memory goes with the process */
    pool_destroy(&b.pool);
}

static double measure_reading(uint32_t n_threads) {
    pool *threads = NULL;
    WEFT_ASSERT(pool_create(&threads, n_threads, NULL) == WEFT_OK);
    const double bytes_s = ceiling_read(threads);
    printf("%u threads read %.2f GB/s from memory\n", pool_threads(threads), bytes_s * 1e-9);
    pool_destroy(&threads);
    return bytes_s;
}

int main(int argc, char **argv) {
    uint64_t n_threads = 0; /* one a core */
    if (argc > 2 || (argc == 2 && !str_parse_u64(str_from_cstr(argv[1]), &n_threads))) {
        fprintf(stderr, "usage: bench_experts [THREADS]\n");
        return 2;
    }
    const double read_bytes_s = measure_reading((uint32_t)n_threads);
    static const weft_dtype dtypes[] = {WEFT_DTYPE_Q4_K, WEFT_DTYPE_MXFP4, WEFT_DTYPE_Q8_0};
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        time_format((uint32_t)n_threads, dtypes[i], read_bytes_s);
    }
    return 0;
}
