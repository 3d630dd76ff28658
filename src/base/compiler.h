/* compiler.h - the only place for compiler extensions outside ISA files.
 */
#ifndef WEFT_BASE_COMPILER_H
#define WEFT_BASE_COMPILER_H

#define WEFT_NODISCARD __attribute__((warn_unused_result))
#define WEFT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define WEFT_NORETURN __attribute__((noreturn))
#define WEFT_NOINLINE __attribute__((noinline))
#define WEFT_ALIGNED(n) __attribute__((aligned(n)))
#define WEFT_LIKELY(x) __builtin_expect(!!(x), 1)
#define WEFT_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define WEFT_PREFETCH(p) __builtin_prefetch(p)
#define WEFT_CTZ64(x) ((unsigned)__builtin_ctzll(x)) /* zeros below the lowest one; x is not 0 */
#define WEFT_LEN(array) (sizeof(array) / sizeof((array)[0]))

#endif /* WEFT_BASE_COMPILER_H */
