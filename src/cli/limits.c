/* limits.c - short measurements of what binds inference: reading memory and multiplying numbers.
 *
 * Reading: every thread reads a word of each cache line of its own part of a buffer far larger than
 * the caches; the best of some rounds counts. Multiplying: the product kernels themselves on data
 * that stays in the caches of a core, as many panels as they take at once and a chunk of rows, so
 * that the figure is what this build's best instruction mix reaches and not a number from a data
 * sheet.
 */
#include "cli/limits.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/os.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

#define READ_BYTES_MIN (128u << 20) /* or 16 times the last-level cache, which keeps some of it, */
#define READ_BYTES_MAX (1u << 30)   /* up to this and a part of what is free */
#define READ_FREE_PART 8u
#define READ_ROUNDS_MIN 4u
#define READ_NS 100000000u
#define LINE_WORDS 8u
#define LOOP_ROUNDS 4u
#define PEAK_K 256u
#define PEAK_ROWS ACT_CHUNK_ROWS
#define PEAK_NS 30000000u
#define LOOPS 2000u
#define LOOP_TASKS_PER_THREAD 4u

typedef struct read_job {
    const uint64_t *words;
    size_t n_words, n_words_each;
    uint64_t sums[POOL_THREADS_MAX]; /* keeps the reads alive */
} read_job;

static void read_task(void *arg, uint32_t task, uint32_t thread) {
    read_job *job = arg;
    (void)thread;
    const uint64_t *p = job->words + task * job->n_words_each;
    uint64_t sum = 0;
    for (size_t i = 0; i < job->n_words_each; i += LINE_WORDS) {
        sum += p[i];
    }
    job->sums[task] = sum;
}

static double best_read(pool *p, read_job *job, uint32_t n_tasks) {
    const uint64_t begin = clock_now_ns();
    double best = 0;
    job->n_words_each = job->n_words / n_tasks / LINE_WORDS * LINE_WORDS;
    for (uint32_t round = 0; round < READ_ROUNDS_MIN || clock_now_ns() - begin < READ_NS; round++) {
        const uint64_t start = clock_now_ns();
        pool_run(p, read_task, job, n_tasks);
        const double bytes = (double)job->n_words_each * sizeof(uint64_t) * n_tasks;
        const double rate = bytes / clock_seconds(clock_now_ns() - start);
        best = rate > best ? rate : best;
    }
    return best;
}

static size_t read_bytes(void) {
    const uint64_t wanted = 16 * os_cache_bytes(3);
    uint64_t most = os_mem_available_bytes() / READ_FREE_PART;
    most = most < READ_BYTES_MAX ? most : READ_BYTES_MAX;
    const uint64_t bytes = wanted < most ? wanted : most;
    return bytes > READ_BYTES_MIN ? bytes : READ_BYTES_MIN;
}

static void measure_read(machine_limits *out, pool *p) {
    void *memory = NULL;
    const size_t bytes = read_bytes();
    read_job *job = mem_zalloc(MEM_CLI, 1, sizeof *job);
    if (job == NULL || os_region_alloc(&memory, bytes, NULL) != WEFT_OK) {
        mem_free(job);
        return; /* zeros say that nothing was measured */
    }
    memset(memory, 1, bytes);
    job->words = memory;
    job->n_words = bytes / sizeof(uint64_t);
    out->read_one_bytes_s = best_read(p, job, 1);
    out->read_bytes_s = best_read(p, job, pool_threads(p));
    os_region_free(memory, bytes);
    mem_free(job);
}

typedef struct peak_job {
    const kernels_cpu *k;
    weft_dtype dtype;
    const void *panels, *act;
    size_t n_panels, act_bytes;
    uint64_t rounds[POOL_THREADS_MAX];
} peak_job;

static void peak_task(void *arg, uint32_t task, uint32_t thread) {
    peak_job *job = arg;
    float y[PEAK_ROWS * PACK_PANEL_ROWS * KERNEL_PANELS_MAX];
    const size_t n = PACK_PANEL_ROWS * job->n_panels;
    (void)thread;
    const uint64_t start = clock_now_ns();
    uint64_t rounds = 0;
    do {
        for (int i = 0; i < 16; i++) {
            job->k->linear[job->dtype](y, n, job->panels, job->act, job->act_bytes, PEAK_ROWS, n,
                                       PEAK_K);
        }
        rounds += 16;
    } while (clock_now_ns() - start < PEAK_NS);
    job->rounds[task] = rounds;
}

static double measure_peak(const kernels_cpu *k, pool *p, weft_dtype dtype) {
    const act_form form = k->act_form[dtype];
    const size_t act_bytes = act_row_bytes(form, PEAK_K);
    const uint32_t n = pool_threads(p);
    const float zeros[PEAK_K] = {0};
    peak_job *job = mem_zalloc(MEM_CLI, 1, sizeof *job);
    void *memory = NULL;
    double ops = 0;
    const size_t n_panels = k->linear_panels[dtype];
    const size_t weights_bytes = n_panels * pack_panel_bytes(dtype, PEAK_K);
    const size_t bytes = weights_bytes + PEAK_ROWS * act_bytes + ACT_GROUP_SLACK;
    if (job != NULL && os_region_alloc(&memory, bytes, NULL) == WEFT_OK) {
        char *act = (char *)memory + weights_bytes;
        for (uint32_t r = 0; r < PEAK_ROWS; r++) {
            k->act_quantize[form](act + r * act_bytes, zeros, PEAK_K);
        }
        *job = (peak_job){.k = k,
                          .dtype = dtype,
                          .panels = memory,
                          .act = act,
                          .n_panels = n_panels,
                          .act_bytes = act_bytes};
        const uint64_t start = clock_now_ns();
        pool_run(p, peak_task, job, n);
        const double seconds = clock_seconds(clock_now_ns() - start);
        const double ops_each = 2.0 * PEAK_ROWS * PACK_PANEL_ROWS * (double)n_panels * PEAK_K;
        for (uint32_t i = 0; i < n; i++) {
            ops += ops_each * (double)job->rounds[i] / seconds;
        }
        os_region_free(memory, bytes);
    }
    mem_free(job);
    return ops;
}

/* Blocks of 32 columns and of 256: which are faster differs by instruction set. */
static double measure_int8(const kernels_cpu *k, pool *p) {
    return fmax(measure_peak(k, p, WEFT_DTYPE_Q4_0), measure_peak(k, p, WEFT_DTYPE_Q4_K));
}

static double measure_bf16_acts(const kernels_cpu *k, pool *p) {
    kernels_cpu pairs = *k;
    return kernels_cpu_use_bf16(&pairs) ? measure_peak(&pairs, p, WEFT_DTYPE_BF16) : 0.0;
}

/* ---- a parallel loop ---- */

static void empty_task(void *arg, uint32_t task, uint32_t thread) {
    (void)arg;
    (void)task;
    (void)thread;
}

static double measure_loop(pool *p) {
    double best = 0;
    for (uint32_t round = 0; round < LOOP_ROUNDS; round++) {
        const uint64_t start = clock_now_ns();
        for (uint32_t i = 0; i < LOOPS; i++) {
            pool_run(p, empty_task, NULL, LOOP_TASKS_PER_THREAD * pool_threads(p));
        }
        const double seconds = clock_seconds(clock_now_ns() - start) / LOOPS;
        best = round == 0 || seconds < best ? seconds : best;
    }
    return best;
}

void limits_measure(machine_limits *out, const kernels_cpu *k, pool *p) {
    *out = (machine_limits){0};
    measure_read(out, p);
    out->loop_s = measure_loop(p);
    out->int8_ops_s = measure_int8(k, p);
    out->bf16_ops_s = measure_peak(k, p, WEFT_DTYPE_BF16);
    out->bf16_acts_ops_s = measure_bf16_acts(k, p);
    out->f32_ops_s = measure_peak(k, p, WEFT_DTYPE_F32);
}

static bool is_same(const kernels_cpu *a, const kernels_cpu *b) {
    return a->linear[WEFT_DTYPE_Q4_0] == b->linear[WEFT_DTYPE_Q4_0] &&
           a->linear[WEFT_DTYPE_Q4_K] == b->linear[WEFT_DTYPE_Q4_K] &&
           a->linear[WEFT_DTYPE_BF16] == b->linear[WEFT_DTYPE_BF16] &&
           a->linear_bf16_pairs == b->linear_bf16_pairs &&
           a->linear[WEFT_DTYPE_F32] == b->linear[WEFT_DTYPE_F32];
}

/* One flag more at a time, in the order of their bits. */
uint32_t limits_measure_levels(limits_level out[LIMITS_LEVELS_MAX], uint32_t cpu_flags, pool *p) {
    kernels_cpu before, k;
    uint32_t n = 0;
    kernels_cpu_init(&before, 0);
    for (uint32_t bit = 0; bit < LIMITS_LEVELS_MAX; bit++) {
        const uint32_t flags = cpu_flags & (uint32_t)(((uint64_t)2 << bit) - 1);
        kernels_cpu_init(&k, flags);
        if ((cpu_flags >> bit & 1u) == 0 || is_same(&k, &before)) {
            continue;
        }
        limits_level *l = &out[n++];
        *l = (limits_level){.flag = 1u << bit};
        l->int8_ops_s = measure_int8(&k, p);
        l->bf16_ops_s = measure_peak(&k, p, WEFT_DTYPE_BF16);
        l->bf16_acts_ops_s = measure_bf16_acts(&k, p);
        l->f32_ops_s = measure_peak(&k, p, WEFT_DTYPE_F32);
        before = k;
    }
    return n;
}
