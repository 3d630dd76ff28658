/* check.h - assertions: our own mistakes end the program with the expression that broke.
 *
 * WEFT_ASSERT is cheap and stays on in release builds. WEFT_DEBUG_ASSERT is for hot loops and
 * whole-structure checks; it is compiled out when NDEBUG is set.
 */
#ifndef WEFT_BASE_CHECK_H
#define WEFT_BASE_CHECK_H

#include "base/compiler.h"

/* Prints "file:line: assertion failed: expr" to stderr and aborts. */
WEFT_NORETURN void check_failed(const char *expr, const char *file, int line);

#define WEFT_ASSERT(expr) (WEFT_LIKELY(expr) ? (void)0 : check_failed(#expr, __FILE__, __LINE__))

#ifdef NDEBUG
#define WEFT_DEBUG_ASSERT(expr) ((void)sizeof(!(expr)))
#else
#define WEFT_DEBUG_ASSERT(expr) WEFT_ASSERT(expr)
#endif

#endif /* WEFT_BASE_CHECK_H */
