/* runtime_impl.h - the runtime's insides, for engine/ only.
 */
#ifndef WEFT_ENGINE_RUNTIME_IMPL_H
#define WEFT_ENGINE_RUNTIME_IMPL_H

#include <pthread.h>

#include "base/pool.h"
#include "device/device.h"
#include "weft/runtime.h"

struct weft_runtime {
    pool *pool;
    device *dev;
    uint32_t cpu_flags;
    char cpu_text[96];
    pthread_mutex_t turn; /* held by the engine whose step is running on the pool */
    pthread_mutex_t lock;
    uint64_t mem_bytes;      /* budget, 0 = none */
    uint64_t mem_used_bytes; /* guarded by lock: sum of the open engines' plans */
    uint32_t n_engines;      /* guarded by lock */
};

/* Takes `bytes` out of the budget, or refuses with both numbers. */
weft_status runtime_mem_take(weft_runtime *rt, uint64_t bytes, weft_error *err) WEFT_NODISCARD;
void runtime_mem_give(weft_runtime *rt, uint64_t bytes);

#endif /* WEFT_ENGINE_RUNTIME_IMPL_H */
