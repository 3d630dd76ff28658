/* runtime.h - one a process: devices, threads, memory budget, and the engines that share them.
 *
 * Every program starts here; engine.h continues. Threads: any, unless said.
 */
#ifndef WEFT_RUNTIME_H
#define WEFT_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>

#include "weft/dtype.h"
#include "weft/export.h"
#include "weft/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_runtime weft_runtime;

typedef struct weft_runtime_options {
    uint32_t n_threads; /* 0 = one per physical core this process may use */
    uint32_t cpu_mask;  /* limits the instruction sets used; all bits set = no limit */
    uint64_t mem_bytes; /* budget for all engines; 0 = no limit */
    bool is_unpinned;   /* the system may move threads from core to core */
    /* What BF16 weights multiply: WEFT_DTYPE_F32 (0), or WEFT_DTYPE_BF16: activations rounded,
     * where the processor multiplies them; refused elsewhere. */
    weft_dtype act_type;
} weft_runtime_options;

WEFT_API weft_runtime_options weft_runtime_options_default(void);

WEFT_API weft_status weft_runtime_create(weft_runtime **out, const weft_runtime_options *options,
                                         weft_error *err);
/* Every engine must have been closed. Accepts NULL; clears *rt. */
WEFT_API void weft_runtime_destroy(weft_runtime **rt);

WEFT_API uint32_t weft_runtime_threads(const weft_runtime *rt);
/* "avx2": the instruction sets in use. Lives as long as the runtime. */
WEFT_API const char *weft_runtime_cpu(const weft_runtime *rt);

/* "0.1.0" */
WEFT_API const char *weft_version(void);

#ifdef __cplusplus
}
#endif

#endif /* WEFT_RUNTIME_H */
