/* cpu.h - what this processor can do.
 *
 * A flag means that the processor has the instructions AND that the system saves their
 * registers (XGETBV on x86). Nothing below kernels_cpu_init asks for flags again.
 */
#ifndef WEFT_BASE_CPU_H
#define WEFT_BASE_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* Each level of a family includes what the level before it needs. */
#define CPU_FLAG_LIST(X)                                                  \
    X(AVX2, 0, "avx2")     /* AVX2 + FMA + F16C + BMI2 */                 \
    X(AVX512, 1, "avx512") /* F, BW, DQ, VL */                            \
    X(AVX512VNNI, 2, "avx512vnni")                                        \
    X(AVX512VBMI, 11, "avx512vbmi") /* avx512vnni, VBMI and GFNI */       \
    X(AVX512BF16, 3, "avx512bf16")                                        \
    X(AVXVNNI, 4, "avxvnni")   /* 256-bit VNNI without AVX-512 */         \
    X(AMX, 5, "amx")           /* tiles of 8-bit integers */              \
    X(AMXBF16, 6, "amxbf16")   /* and of bf16; and GFNI */                \
    X(FASTBF16, 7, "fastbf16") /* bf16 at the rate of VNNI; VBMI, GFNI */ \
    X(NEON, 8, "neon")                                                    \
    X(DOTPROD, 9, "dotprod")                                              \
    X(I8MM, 10, "i8mm")

typedef enum cpu_flag {
#define X(name, bit, text) CPU_##name = 1u << (bit),
    CPU_FLAG_LIST(X)
#undef X
} cpu_flag;

#define CPU_FLAGS_ALL UINT32_MAX

uint32_t cpu_flags_detect(void);

/* "avx2,avx512" or "none" or "all" or "0x3" to a mask. False when a name is unknown. */
bool cpu_mask_parse(str text, uint32_t *mask);

/* Writes "avx2 avx512" into out; always terminated. */
void cpu_flags_format(uint32_t flags, char *out, size_t out_bytes);

/* "AMD EPYC 7763 64-Core Processor"; "unknown" when the system does not say. */
void cpu_name(char *out, size_t out_bytes);

#endif /* WEFT_BASE_CPU_H */
