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
    weft_dtype act_type;
    pthread_mutex_t lock;
    pthread_cond_t turn_over;
    uint64_t turn_next, turn_now; /* guarded by lock: tickets for the pool */
    uint64_t mem_bytes;           /* budget, 0 = none */
    uint64_t mem_used_bytes;      /* guarded by lock: sum of the open engines' plans */
    uint32_t n_engines;           /* guarded by lock */
};

/* Engines take turns on the pool, a step each, in the order they ask. */
void runtime_turn_take(weft_runtime *rt);
void runtime_turn_give(weft_runtime *rt);

/* Takes `bytes` out of the budget, or refuses with both numbers. */
weft_status runtime_mem_take(weft_runtime *rt, uint64_t bytes, weft_error *err) WEFT_NODISCARD;
void runtime_mem_give(weft_runtime *rt, uint64_t bytes);

#endif /* WEFT_ENGINE_RUNTIME_IMPL_H */
