/* kcheck_impl.h - the state of a run, shared by the tester's own files.
 */
#ifndef WEFT_TESTS_KCHECK_IMPL_H
#define WEFT_TESTS_KCHECK_IMPL_H

#include <signal.h>

#include "base/barrier.h"
#include "base/cpu.h"
#include "kcheck.h"

#define KC_BUFFERS_MAX 24
#define KC_LEVELS_MAX 16
#define KC_SLOTS (offsetof(kernels_cpu, act_form) / sizeof(void (*)(void)))
#define KC_MATCHES_MAX 32
#define KC_NAME_MAX 96
#define KC_TIMES_MAX 512
#define KC_SAMPLES 9
#define KC_THREADS_MAX 64

/* What a program runs on: kcheck_machine.c, or amx_emulated.c. */
typedef struct kc_machine {
    uint32_t flags;
    const char *note; /* behind the levels that it ran */
} kc_machine;

kc_machine kc_machine_detect(void);

typedef enum kc_role { KC_ROLE_IN, KC_ROLE_OUT, KC_ROLE_INOUT } kc_role;

/* One fenced run of memory: mapping | unmapped page | room .. data .. | unmapped page. */
typedef struct kc_buffer {
    kc_role role;
    uint8_t *map, *room, *data;
    size_t map_bytes, room_bytes, bytes;
    size_t n_rows, row_bytes, stride_bytes; /* what of data a call must write */
    uint8_t *before; /* content of an input, or of the room of an input-output, at the first run */
    uint8_t *first;  /* what the first run wrote */
} kc_buffer;

typedef struct kc_time {
    char name[KC_NAME_MAX];
    double calls_s; /* calls a second of all threads */
} kc_time;

/* Threads that time the same case at once. Each goes through all cases with a state and memory of
 * its own. They wait for each other before a sample, and again after it to add up what each took.
 */
typedef struct kc_team {
    barrier all;
    uint64_t ns[KC_THREADS_MAX]; /* of the sample just taken; a thread's own until they meet */
} kc_team;

struct kcheck {
    /* options */
    const char *matches[KC_MATCHES_MAX];
    size_t n_matches;       /* 0: everything */
    const char *only_level; /* NULL: every level */
    uint64_t seed;
    uint32_t mask; /* of what the machine has */
    uint32_t n_threads;
    bool is_bench, is_list;
    bool must_cover; /* with --match too */

    /* the level being run */
    const char *level;
    uint32_t level_flags;
    kernels_cpu table;
    kernels_cpu proven[KC_LEVELS_MAX]; /* tables of the levels before it; [0] is plain C */
    size_t n_proven;
    bool is_covered[KC_SLOTS]; /* a case ran */

    /* the case being run */
    char name[KC_NAME_MAX];
    bool is_open, has_failed, is_flush;
    uint64_t random;
    kc_buffer buffers[KC_BUFFERS_MAX];
    size_t n_buffers;
    void *scratch[KC_BUFFERS_MAX];
    size_t n_scratch;
    int run; /* 0, 1; 2 when the call is over */
    volatile sig_atomic_t signal;
    sigjmp_buf jump;

    /* totals */
    size_t n_passed, n_failed; /* of everything */
    size_t n_family_passed, n_family_failed;
    double family_worst; /* largest error as a fraction of what is allowed */

    /* timing */
    const ceilings *ceilings;
    kc_team *team;
    uint32_t thread; /* in the team; the first reports */
    uint64_t reps, bench_start_ns;
    int bench_samples;           /* -1: calibrating */
    double samples[KC_SAMPLES];  /* calls a second of all threads */
    ceiling_kind limit;          /* that the case's rate is a fraction of */
    uint32_t limit_widened;      /* CEILING_BYTES: how often sums are widened */
    double limit_work;           /* of a call, in the limit's units */
    kc_time times[KC_TIMES_MAX]; /* of plain C, for the speed-up */
    size_t n_times;
};

void kc_memory_end_case(kcheck *kc);
/* Poisons or restores before a run; looks at fences, inputs and outputs after it. */
void kc_memory_before_run(kcheck *kc);
void kc_memory_after_run(kcheck *kc);

void kc_signals_catch(kcheck *kc);

#endif /* WEFT_TESTS_KCHECK_IMPL_H */
