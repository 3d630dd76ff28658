/* kcheck_run.c - one call of the kernel under test: twice, guarded against signals, or timed.
 *
 * A signal inside the call jumps back to KC_CALL, fails the case and ends it. Timing finds how many
 * repetitions take some milliseconds, then takes the median of a few samples of that many. It
 * counts the thread's own processor time, so that a busy machine does not pass for a slow kernel
 * (what others do to caches and memory still shows).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

static uint64_t thread_now_ns(void) {
    struct timespec now;
    WEFT_ASSERT(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
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
    kc->bench_start_ns = thread_now_ns();
    return true;
}

uint64_t kc_bench_reps(const kcheck *kc) { return kc->reps; }

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(kcheck *kc, double seconds, double work, const char *unit) {
    printf("%-36s %-10s %9.2f G%s/s %12.3f us", kc->name, kc->level, work / seconds * 1e-9, unit,
           seconds * 1e6);
    if (kc->n_proven == 0) {
        if (kc->n_times < KC_TIMES_MAX) {
            kc_time *t = &kc->times[kc->n_times++];
            memcpy(t->name, kc->name, sizeof(t->name));
            t->seconds = seconds;
        }
    }
    for (size_t i = 0; kc->n_proven > 0 && i < kc->n_times; i++) {
        if (strcmp(kc->times[i].name, kc->name) == 0) {
            printf("  x%.1f", kc->times[i].seconds / seconds);
        }
    }
    printf("\n");
    fflush(stdout);
}

void kc_bench_end(kcheck *kc, double work, const char *unit) {
    const uint64_t ns = thread_now_ns() - kc->bench_start_ns;
    if (kc->bench_samples < 0) {
        if (ns < SAMPLE_NS / 2) { /* too short to tell: more at a time */
            kc->reps *= 2;
            return;
        }
        kc->bench_samples = 0;
        if (ns < 50 * (uint64_t)SAMPLE_NS) {
            return;
        }
        for (int i = 0; i < KC_SAMPLES; i++) { /* so slow that one sample must do */
            kc->samples[kc->bench_samples++] = (double)ns * 1e-9 / (double)kc->reps;
        }
    } else {
        kc->samples[kc->bench_samples++] = (double)ns * 1e-9 / (double)kc->reps;
    }
    if (kc->bench_samples == KC_SAMPLES) {
        qsort(kc->samples, KC_SAMPLES, sizeof(kc->samples[0]), compare_doubles);
        report(kc, kc->samples[KC_SAMPLES / 2], work, unit);
    }
}
