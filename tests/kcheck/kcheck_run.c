/* kcheck_run.c - one call of the kernel under test: twice, guarded against signals, or timed.
 *
 * A signal inside the call jumps back to KC_CALL, fails the case and ends it. Timing finds how many
 * repetitions take some milliseconds, then takes the median of a few samples of that many. One
 * thread counts its own processor time, so that a busy machine does not pass for a slow kernel
 * (what others do to caches and memory still shows). Several begin a sample together and count
 * what the clock on the wall says; their rates are added up. A limit is what nothing disturbed, and
 * the sample whose fraction of it is printed is the best.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kcheck_impl.h"

#define SAMPLE_NS 8000000u

static kcheck *running; /* the handler has no argument to carry it */

static void on_signal(int number) {
    if (running != NULL) {
        running->signal = number;
        siglongjmp(running->jump, 1);
    }
    signal(number, SIG_DFL);
    raise(number);
}

void kc_signals_catch(kcheck *kc) {
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    static char stack[256 * 1024]; /* own stack: an overflow is caught as well */
    (void)kc;
    const stack_t alternative = {.ss_sp = stack, .ss_size = sizeof(stack)};
    WEFT_ASSERT(sigaltstack(&alternative, NULL) == 0);
    for (size_t i = 0; i < KC_LEN(signals); i++) {
        struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_NODEFER};
        sigemptyset(&action.sa_mask);
        WEFT_ASSERT(sigaction(signals[i], &action, NULL) == 0);
    }
}

sigjmp_buf *kc_run_jump(kcheck *kc) { return &kc->jump; }

bool kc_run_begin(kcheck *kc) {
    WEFT_ASSERT(kc->is_open);
    if (kc->run == 2) {
        kc->run = 0; /* ready for another KC_CALL of the same case */
        return false;
    }
    kc_memory_before_run(kc);
    kc->signal = 0;
    running = kc;
    return true;
}

void kc_run_end(kcheck *kc) {
    running = NULL;
    if (kc->signal != 0) {
        kc_fail(kc, "crashed: %s", strsignal(kc->signal));
        kc->run = 2;
        return;
    }
    kc_memory_after_run(kc);
    kc->run++;
}

bool kc_bench_begin(kcheck *kc) {
    WEFT_ASSERT(kc->is_open && kc->is_bench);
    if (kc->bench_samples == KC_SAMPLES) {
        kc->bench_samples = -1;
        kc->reps = 1;
        return false;
    }
    barrier_meet(&kc->team->all);
    kc->bench_start_ns = ceiling_now_ns(kc->n_threads);
    return true;
}

void kc_bench_limit(kcheck *kc, ceiling_kind limit, double work) {
    kc->limit = limit;
    kc->limit_widened = 0;
    kc->limit_work = work;
}

void kc_bench_limit_bytes(kcheck *kc, uint32_t widened, double ops) {
    kc_bench_limit(kc, CEILING_BYTES, ops);
    kc->limit_widened = widened;
}

uint64_t kc_bench_reps(const kcheck *kc) { return kc->reps; }

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* "of the limit", or a dash where the case has none or the level's is not known. */
static void print_fraction(const kcheck *kc, double calls_s) {
    const double limit = ceilings_of(kc->ceilings, kc->level_flags, kc->limit, kc->limit_widened);
    if (limit > 0.0) {
        printf(" %5.1f %%", calls_s * kc->limit_work / limit * 100.0);
    } else {
        printf(" %5s  ", "-");
    }
}

/* Of samples in ascending order. */
static void report(kcheck *kc, double work, const char *unit) {
    const double calls_s = kc->samples[KC_SAMPLES / 2];
    if (kc->limit == CEILING_NONE && strcmp(unit, "B") == 0) {
        kc_bench_limit(kc, CEILING_READ, work);
    }
    char rate_unit[16];
    snprintf(rate_unit, sizeof(rate_unit), "G%s/s", unit);
    printf("%-36s %-10s %9.2f %-7s", kc->name, kc->level, work * calls_s * 1e-9, rate_unit);
    print_fraction(kc, kc->samples[KC_SAMPLES - 1]);
    printf(" %12.3f us", kc->n_threads / calls_s * 1e6);
    if (kc->n_proven == 0) {
        if (kc->n_times < KC_TIMES_MAX) {
            kc_time *t = &kc->times[kc->n_times++];
            memcpy(t->name, kc->name, sizeof(t->name));
            t->calls_s = calls_s;
        }
    }
    for (size_t i = 0; kc->n_proven > 0 && i < kc->n_times; i++) {
        if (strcmp(kc->times[i].name, kc->name) == 0) {
            printf("  x%.1f", calls_s / kc->times[i].calls_s);
        }
    }
    printf("\n");
    fflush(stdout);
}

typedef struct team_sample {
    uint64_t ns;    /* of the thread that was ready first */
    double calls_s; /* of all threads */
} team_sample;

/* The same for every thread, so that all of them go on in the same way. */
static team_sample add_up(kcheck *kc, uint64_t own_ns) {
    kc->team->ns[kc->thread] = own_ns;
    barrier_meet(&kc->team->all);
    team_sample sum = {.ns = UINT64_MAX};
    for (uint32_t i = 0; i < kc->n_threads; i++) {
        const uint64_t ns = kc->team->ns[i];
        sum.ns = ns < sum.ns ? ns : sum.ns;
        sum.calls_s += (double)kc->reps / (double)ns * 1e9;
    }
    return sum;
}

void kc_bench_end(kcheck *kc, double work, const char *unit) {
    const team_sample sample = add_up(kc, ceiling_now_ns(kc->n_threads) - kc->bench_start_ns);
    if (kc->bench_samples < 0) {
        if (sample.ns < SAMPLE_NS / 2) { /* too short to tell: more at a time */
            kc->reps *= 2;
            return;
        }
        kc->bench_samples = 0;
        if (sample.ns < 50 * (uint64_t)SAMPLE_NS) {
            return;
        }
        for (int i = 0; i < KC_SAMPLES; i++) { /* so slow that one sample must do */
            kc->samples[kc->bench_samples++] = sample.calls_s;
        }
    } else {
        kc->samples[kc->bench_samples++] = sample.calls_s;
    }
    if (kc->bench_samples == KC_SAMPLES && kc->thread == 0) {
        qsort(kc->samples, KC_SAMPLES, sizeof(kc->samples[0]), compare_doubles);
        report(kc, work, unit);
    }
}
