/* kcheck.c - the kernel conformance tester: is every kernel equal to its slow twin?
 *
 * For each level of instruction set, from plain C upward, the table of kernels is built with that
 * level's flags and every family's cases run for the slots whose function is new at the level.
 * Levels that the machine lacks are named at the end, since what did not run was not proven. A
 * kernel of a level's own that no case ran for is a failure, so that none can be added untested;
 * with --match, which leaves cases out on purpose, only when --cover asks for it.
 *
 * A kernel that crashes is caught by the signal, charged to the case and the run goes on.
 *
 * Files: kcheck_run.c calls and timing, kcheck_memory.c fences, kcheck_compare.c verdicts and
 * values, check_*.c the cases; ceiling.c what speeds are fractions of.
 */
#include <fnmatch.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/str.h"
#include "cpu_levels.h"
#include "kcheck_impl.h"

typedef struct family {
    const char *name;
    kc_check_fn *check;
} family;

static const family families[] = {
#define X(name, function) {#name, function},
    KC_FAMILY_LIST(X)
#undef X
};

typedef struct member {
    const char *name;
    size_t offset, count;
} member;

#define MEMBER(field)                                                  \
    {                                                                  \
#field, offsetof(kernels_cpu, field),                          \
            sizeof(((kernels_cpu *)0)->field) / sizeof(void (*)(void)) \
    }
static const member members[] = {
    MEMBER(pack_panel),
    MEMBER(unpack_panel),
    MEMBER(panel_row),
    MEMBER(linear),
    MEMBER(linear_precise),
    MEMBER(act_quantize),
    MEMBER(act_residual),
    MEMBER(attention),
    MEMBER(attention_merge),
    MEMBER(kv_store),
    MEMBER(rmsnorm),
    MEMBER(add),
    MEMBER(scale),
    MEMBER(act_mul),
    MEMBER(softcap),
    MEMBER(rope_table),
    MEMBER(rope),
    MEMBER(add_rmsnorm),
    MEMBER(layernorm),
    MEMBER(softmax),
    MEMBER(topk),
    MEMBER(mul_add),
    MEMBER(linear_bf16_pairs),
    MEMBER(kv_store_column),
};

static bool parse_options(kcheck *kc, int argc, char **argv);
static void run_bench(kcheck *states);
static void run_levels(kcheck *kc);
static bool print_totals(const kcheck *kc);
static void run_level(kcheck *kc, const cpu_level *l);
static bool open_case(kcheck *kc, const void *slot, const char *fmt, va_list args)
    WEFT_PRINTF(3, 0);
static void end_case(kcheck *kc);
static void look_at_coverage(kcheck *kc);

/* What a test returns that had nothing to run. */
#define SKIPPED 77

static const char usage[] =
    "usage: kcheck [--match PATTERN]... [--cover] [--level NAME] [--seed N] [--cpu-mask FLAGS]\n"
    "              [--bench [--threads N]] [--list]\n"
    "\n"
    "Compares every kernel with its slow twin. PATTERN is a shell pattern of names (--list);\n"
    "with --cover a kernel of a level's own that no pattern tries is a failure.\n"
    "\n"
    "--bench times kernels instead. A line is: name, level, rate, fraction of a limit, time of\n"
    "a call, speed-up over plain C. The limits are measured and printed first: for products and\n"
    "attention of several rows what the level multiplies with, from registers alone; for one\n"
    "row and row operations, reading memory (what stays in the caches may exceed it).\n"
    "A dash: no limit is known.\n"
    "--threads N: N threads time a case at once, each with weights and outputs of its own. The\n"
    "rate is their sum, the limit that of N threads.\n";

int main(int argc, char **argv) {
    kcheck options = {.seed = 1, .mask = CPU_FLAGS_ALL, .n_threads = 1};
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        printf("%s", usage);
        return 0;
    }
    if (!parse_options(&options, argc, argv)) {
        fprintf(stderr, "%s", usage);
        return 2;
    }
    const kc_machine machine = kc_machine_detect();
    if (options.is_bench && machine.note[0] != '\0') {
        fprintf(stderr, "kcheck: --bench wants the machine itself, not%s\n", machine.note);
        return 2;
    }
    options.mask &= machine.flags;
    /* A thread each; without --bench there is one. */
    kcheck *states = mem_zalloc(MEM_TEST, options.n_threads, sizeof(*states));
    WEFT_ASSERT(states != NULL);
    for (uint32_t i = 0; i < options.n_threads; i++) {
        states[i] = options;
        states[i].thread = i;
    }
    if (!options.is_list) {
        printf("kcheck: seed %" PRIu64 "\n", options.seed);
    }
    kc_signals_catch(states);
    if (options.is_bench && !options.is_list) {
        run_bench(states);
    } else {
        run_levels(states);
    }
    const size_t n_failed = states->n_failed;
    const bool is_skipped = !options.is_list && !print_totals(states);
    mem_free(states);
    return n_failed > 0 ? 1 : is_skipped ? SKIPPED : 0;
}

static bool parse_options(kcheck *kc, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        uint64_t number = 0;
        if (strcmp(argv[i], "--bench") == 0) {
            kc->is_bench = true;
        } else if (strcmp(argv[i], "--list") == 0) {
            kc->is_list = true;
        } else if (strcmp(argv[i], "--cover") == 0) {
            kc->must_cover = true;
        } else if (i + 1 == argc) {
            return false;
        } else if (strcmp(argv[i], "--match") == 0) {
            if (kc->n_matches == KC_MATCHES_MAX) {
                return false;
            }
            kc->matches[kc->n_matches++] = argv[++i];
        } else if (strcmp(argv[i], "--level") == 0) {
            kc->only_level = argv[++i];
        } else if (strcmp(argv[i], "--seed") == 0) {
            if (!str_parse_u64(str_from_cstr(argv[++i]), &number)) {
                return false;
            }
            kc->seed = number;
        } else if (strcmp(argv[i], "--threads") == 0) {
            if (!str_parse_u64(str_from_cstr(argv[++i]), &number) || number < 1 ||
                number > KC_THREADS_MAX) {
                return false;
            }
            kc->n_threads = (uint32_t)number;
        } else if (strcmp(argv[i], "--cpu-mask") == 0) {
            if (!cpu_mask_parse(str_from_cstr(argv[++i]), &kc->mask)) {
                return false;
            }
        } else {
            return false;
        }
    }
    return kc->is_bench || kc->n_threads == 1;
}

static void run_levels_task(void *arg, uint32_t task, uint32_t thread) {
    run_levels((kcheck *)arg + task);
}

/* The threads wait for each other before the first sample, so that each takes one task. */
static void run_bench(kcheck *states) {
    const uint32_t n = states->n_threads;
    kc_team team;
    ceilings limits;
    pool *threads = NULL;
    barrier_init(&team.all, n);
    WEFT_ASSERT(pool_create(&threads, n, NULL) == WEFT_OK);
    ceilings_measure(&limits, states->mask, threads);
    for (uint32_t i = 0; i < n; i++) {
        states[i].team = &team;
        states[i].ceilings = &limits;
    }
    pool_run(threads, run_levels_task, states, n);
    pool_destroy(&threads);
    barrier_deinit(&team.all);
}

static bool is_lacking(const kcheck *kc, const cpu_level *l) {
    return (l->flags & kc->mask) != l->flags;
}

static bool is_chosen(const kcheck *kc, const cpu_level *l) {
    return kc->only_level == NULL || strcmp(kc->only_level, l->name) == 0;
}

static void run_levels(kcheck *kc) {
    for (size_t i = 0; i < KC_LEN(cpu_levels); i++) {
        if (!is_lacking(kc, &cpu_levels[i])) {
            run_level(kc, &cpu_levels[i]);
        }
    }
}

/* Whether any level has run. */
static bool print_totals(const kcheck *kc) {
    bool has_run = false, has_all = true;
    printf("kcheck: levels run:");
    for (size_t i = 0; i < KC_LEN(cpu_levels); i++) {
        if (!is_lacking(kc, &cpu_levels[i]) && is_chosen(kc, &cpu_levels[i])) {
            printf(" %s", cpu_levels[i].name);
            has_run = true;
        }
    }
    printf("%s\nkcheck: not run, lacked by this machine or masked:",
           has_run ? kc_machine_detect().note : " none");
    for (size_t i = 0; i < KC_LEN(cpu_levels); i++) {
        if (is_lacking(kc, &cpu_levels[i])) {
            printf(" %s", cpu_levels[i].name);
            has_all = false;
        }
    }
    printf("%s\nkcheck: %zu passed, %zu failed\n", has_all ? " nothing" : "", kc->n_passed,
           kc->n_failed);
    return has_run;
}

static void run_family(kcheck *kc, const family *f) {
    kc->n_family_passed = 0;
    kc->n_family_failed = 0;
    kc->family_worst = 0.0;
    const int n_passes = kc->is_bench || kc->is_list ? 1 : 2;
    for (int pass = 0; pass < n_passes; pass++) {
        kc->is_flush = pass == 1;
        f->check(kc, &kc->table);
        end_case(kc);
    }
    const size_t n = kc->n_family_passed + kc->n_family_failed;
    if (n == 0 || kc->is_bench || kc->is_list) {
        return;
    }
    printf("%-12s %-11s %5zu cases  %s", f->name, kc->level, n,
           kc->n_family_failed > 0 ? "FAILED" : "ok");
    if (kc->family_worst > 0.0) {
        printf("  (largest error %.2f of the allowed)", kc->family_worst);
    }
    printf("\n");
    fflush(stdout);
}

static void run_level(kcheck *kc, const cpu_level *l) {
    kc->level = l->name;
    kc->level_flags = l->flags;
    kernels_cpu_init(&kc->table, l->flags);
    if (kc->n_proven == 0) {
        kc->proven[0] = kc->table; /* kc_ref, for plain C as well */
    }
    if (!is_chosen(kc, l)) {
        kc->proven[kc->n_proven++] = kc->table;
        return;
    }
    memset(kc->is_covered, 0, sizeof(kc->is_covered));
    const size_t before = kc->n_passed + kc->n_failed;
    for (size_t i = 0; i < KC_LEN(families); i++) {
        run_family(kc, &families[i]);
    }
    if (!kc->is_bench && !kc->is_list) {
        if (kc->n_matches == 0 || kc->must_cover) {
            look_at_coverage(kc);
        }
        if (kc->n_passed + kc->n_failed == before) {
            printf("%-12s %-11s no kernels of its own\n", "", l->name);
        }
    }
    kc->proven[kc->n_proven++] = kc->table;
}

const kernels_cpu *kc_ref(const kcheck *kc) { return &kc->proven[0]; }

static void read_slot(void (**function)(void), const kernels_cpu *table, size_t index) {
    memcpy(function, (const char *)table + index * sizeof(*function), sizeof(*function));
}

/* False for an empty slot and for one that a lower level proved. */
static bool is_new(const kcheck *kc, size_t index) {
    void (*now)(void), (*then)(void);
    read_slot(&now, &kc->table, index);
    for (size_t i = 0; i < kc->n_proven; i++) {
        read_slot(&then, &kc->proven[i], index);
        if (now == then) {
            return false;
        }
    }
    return now != NULL;
}

static bool is_wanted(const kcheck *kc) {
    for (size_t i = 0; i < kc->n_matches; i++) {
        if (fnmatch(kc->matches[i], kc->name, 0) == 0) {
            return true;
        }
    }
    return kc->n_matches == 0;
}

static bool open_case(kcheck *kc, const void *slot, const char *fmt, va_list args) {
    end_case(kc);
    const size_t offset = (size_t)((const char *)slot - (const char *)&kc->table);
    WEFT_ASSERT(offset < sizeof(kc->table));
    const size_t index = offset / sizeof(void (*)(void));
    vsnprintf(kc->name, sizeof(kc->name), fmt, args);
    if (!is_new(kc, index) || !is_wanted(kc)) {
        return false;
    }
    kc->is_covered[index] = true;
    if (kc->is_list) {
        printf("%s %s\n", kc->level, kc->name);
        return false;
    }
    kc->is_open = true;
    kc->has_failed = false;
    kc->run = 0;
    kc->bench_samples = -1;
    kc->reps = 1;
    kc->limit = CEILING_NONE;
    /* The case's own stream of numbers: leaving others out does not change it. */
    kc->random = kc->seed * 2 + (kc->is_flush ? 1 : 0) + str_hash(str_from_cstr(kc->name));
    return true;
}

bool kc_func(kcheck *kc, const void *slot, const char *fmt, ...) {
    if (kc->is_bench) {
        return false;
    }
    va_list args;
    va_start(args, fmt);
    const bool is_open = open_case(kc, slot, fmt, args);
    va_end(args);
    return is_open;
}

bool kc_bench_func(kcheck *kc, const void *slot, const char *fmt, ...) {
    if (!kc->is_bench) {
        return false;
    }
    va_list args;
    va_start(args, fmt);
    const bool is_open = open_case(kc, slot, fmt, args);
    va_end(args);
    return is_open;
}

static void end_case(kcheck *kc) {
    if (!kc->is_open) {
        return;
    }
    kc_memory_end_case(kc);
    kc->is_open = false;
    if (kc->is_bench) {
        return;
    }
    if (kc->has_failed) {
        kc->n_failed++;
        kc->n_family_failed++;
    } else {
        kc->n_passed++;
        kc->n_family_passed++;
    }
}

/* Prints the first thing that is wrong with a case; what follows from it is not news. */
void kc_fail(kcheck *kc, const char *fmt, ...) {
    if (kc->has_failed) {
        return;
    }
    kc->has_failed = true;
    char what[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    printf("FAILED %s %s (%s pass): %s\n", kc->level, kc->name, kc->is_flush ? "flush" : "odd",
           what);
    fflush(stdout);
}

/* Every slot of the table that is new, whether or not its member has a name here. */
static void look_at_coverage(kcheck *kc) {
    for (size_t index = 0; index < KC_SLOTS; index++) {
        if (!is_new(kc, index) || kc->is_covered[index]) {
            continue;
        }
        const char *name = "kernels_cpu";
        size_t at = index;
        for (size_t m = 0; m < KC_LEN(members); m++) {
            const size_t first = members[m].offset / sizeof(void (*)(void));
            if (index >= first && index < first + members[m].count) {
                name = members[m].name;
                at = index - first;
            }
        }
        printf("FAILED %s: no case ran for slot %s[%zu]\n", kc->level, name, at);
        kc->n_failed++;
    }
}
