/* cpu_levels.h - the levels of instruction set that tests run at, plain C first; each with the flags
 * that it stands on.
 */
#ifndef WEFT_TESTS_CPU_LEVELS_H
#define WEFT_TESTS_CPU_LEVELS_H

#include <stdint.h>

#include "base/cpu.h"

typedef struct cpu_level {
    const char *name;
    uint32_t flags;
} cpu_level;

static const cpu_level cpu_levels[] = {
    {"c", 0},
#if defined(__x86_64__)
    {"avx2", CPU_AVX2},
    {"avx512", CPU_AVX2 | CPU_AVX512},
    {"avx512vnni", CPU_AVX2 | CPU_AVX512 | CPU_AVX512VNNI},
    {"avx512vbmi", CPU_AVX2 | CPU_AVX512 | CPU_AVX512VNNI | CPU_AVX512VBMI},
    {"avx512bf16", CPU_AVX2 | CPU_AVX512 | CPU_AVX512VNNI | CPU_AVX512BF16},
    {"fastbf16",
     CPU_AVX2 | CPU_AVX512 | CPU_AVX512VNNI | CPU_AVX512VBMI | CPU_AVX512BF16 | CPU_FASTBF16},
    {"amx", CPU_AVX2 | CPU_AVX512 | CPU_AVX512VNNI | CPU_AMX},
    {"amxbf16", CPU_AVX2 | CPU_AVX512 | CPU_AVX512VNNI | CPU_AMX | CPU_AMXBF16},
    {"avxvnni", CPU_AVX2 | CPU_AVXVNNI},
#elif defined(__aarch64__)
    {"neon", CPU_NEON},
    {"dotprod", CPU_NEON | CPU_DOTPROD},
    {"i8mm", CPU_NEON | CPU_DOTPROD | CPU_I8MM},
#endif
};

#endif /* WEFT_TESTS_CPU_LEVELS_H */
