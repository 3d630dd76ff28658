/* ceiling.c - measures the limits: the best of a few short samples, since a ceiling is what nothing
 * disturbed. The loops themselves are in ceiling_x86.c and ceiling_arm.c.
 */
#include "ceiling.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/os.h"
#include "base/pool.h"

#define SAMPLES 9
#define SAMPLE_NS 2000000u
#define READ_PARTS 13u /* of a thread's memory: a sample reads one, the next sample the next */
#define READ_PART_WORDS ((size_t)16 << 20 >> 3)
#define READ_ROUNDS 8u
#define READ_WORDS (READ_PARTS * READ_PART_WORDS)
#define LINE_WORDS 8u

uint64_t ceiling_now_ns(uint32_t n_threads) {
    if (n_threads > 1) {
        return clock_now_ns();
    }
    struct timespec now;
    WEFT_ASSERT(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

typedef struct multiplying {
    const ceiling_loop *loop;
    uint64_t n_turns;
} multiplying;

static void multiply_task(void *arg, uint32_t task, uint32_t thread) {
    const multiplying *m = arg;
    m->loop->run(m->n_turns);
}

static uint64_t multiply_ns(multiplying *m, pool *threads) {
    const uint32_t n = threads != NULL ? pool_threads(threads) : 1;
    const uint64_t begin = ceiling_now_ns(n);
    if (n > 1) {
        pool_run(threads, multiply_task, m, n);
    } else {
        multiply_task(m, 0, 0);
    }
    return ceiling_now_ns(n) - begin;
}

/* Of one thread alone (NULL), or of each when all run. */
static double loop_ops_s(const ceiling_loop *loop, pool *threads) {
    multiplying m = {loop, 1024};
    while (multiply_ns(&m, threads) < SAMPLE_NS) {
        m.n_turns *= 2;
    }
    double best = 0.0;
    for (int i = 0; i < SAMPLES; i++) {
        const double ops_s = loop->ops * (double)m.n_turns / (double)multiply_ns(&m, threads) * 1e9;
        best = ops_s > best ? ops_s : best;
    }
    return best;
}

typedef struct reading {
    uint64_t *words; /* [n_threads][READ_PARTS][READ_PART_WORDS] */
    uint32_t part;
    uint64_t sums[POOL_THREADS_MAX];
} reading;

/* Zeros would be one page of the system's for all. */
static void fill_task(void *arg, uint32_t task, uint32_t thread) {
    const reading *r = arg;
    memset(r->words + task * READ_WORDS, 1, READ_WORDS * sizeof(*r->words));
}

static void read_task(void *arg, uint32_t task, uint32_t thread) {
    reading *r = arg;
    const uint64_t *p = r->words + task * READ_WORDS + r->part * READ_PART_WORDS;
    uint64_t sum = 0;
    for (size_t i = 0; i < READ_PART_WORDS; i += LINE_WORDS) {
        sum += p[i];
    }
    r->sums[task] = sum;
}

double ceiling_read(pool *threads) {
    static reading r;
    const uint32_t n = pool_threads(threads);
    const size_t bytes = n * READ_WORDS * sizeof(*r.words);
    void *region;
    WEFT_ASSERT(os_region_alloc(&region, bytes, NULL) == WEFT_OK);
    r.words = region;
    pool_run(threads, fill_task, &r, n);
    double best = 0.0;
    for (uint32_t i = 0; i < READ_ROUNDS * READ_PARTS; i++) {
        r.part = i % READ_PARTS;
        const uint64_t begin = ceiling_now_ns(n);
        pool_run(threads, read_task, &r, n);
        const double seconds = (double)(ceiling_now_ns(n) - begin) * 1e-9;
        const double bytes_s = (double)(bytes / READ_PARTS) / seconds;
        best = bytes_s > best ? bytes_s : best;
    }
    WEFT_ASSERT(r.sums[0] != 0); /* somebody looks at them */
    os_region_free(region, bytes);
    return best;
}

void ceilings_measure(ceilings *c, uint32_t cpu_flags, pool *threads) {
    size_t count;
    const ceiling_loop *loops = ceiling_loops(&count);
    WEFT_ASSERT(count <= CEILING_LOOPS_MAX);
    *c = (ceilings){.n_threads = pool_threads(threads)};
    for (size_t i = 0; i < count; i++) {
        if ((loops[i].flag & cpu_flags) == 0) {
            continue;
        }
        c->ops_s[i] = loop_ops_s(&loops[i], NULL);
        printf("ceiling: %-24s %9.2f Gop/s a thread", loops[i].instructions, c->ops_s[i] * 1e-9);
        if (c->n_threads > 1) {
            printf(", %.2f where %u run", loop_ops_s(&loops[i], threads) * 1e-9, c->n_threads);
        }
        printf("\n");
    }
    c->read_bytes_s = ceiling_read(threads);
    printf("ceiling: %-24s %9.2f GB/s by %u thread%s\n", "reading memory", c->read_bytes_s * 1e-9,
           c->n_threads, c->n_threads > 1 ? "s together" : "");
}

double ceilings_of(const ceilings *c, uint32_t level_flags, ceiling_kind kind, uint32_t widened) {
    if (kind == CEILING_READ) {
        return c->read_bytes_s;
    }
    size_t count;
    const ceiling_loop *loops = ceiling_loops(&count);
    for (size_t i = count; i > 0; i--) {
        const ceiling_loop *loop = &loops[i - 1];
        if (loop->kind == kind && (loop->flag & level_flags) != 0 &&
            (loop->widened == 0 || loop->widened == widened)) {
            return c->ops_s[i - 1] * c->n_threads;
        }
    }
    switch (kind) {
    case CEILING_WORDS: return ceilings_of(c, level_flags, CEILING_BYTES, widened);
    case CEILING_BF16: return ceilings_of(c, level_flags, CEILING_FLOAT, widened);
    default: return 0.0;
    }
}

#if !defined(__x86_64__) && !defined(__aarch64__)
const ceiling_loop *ceiling_loops(size_t *count) {
    *count = 0;
    return NULL;
}
#endif
