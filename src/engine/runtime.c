/* runtime.c - the process's threads, device and memory budget.
 *
 * Engines share one thread pool. Whoever wants to run a step draws a ticket and waits for its
 * number: first come, first served, so several engines advance side by side.
 */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "device/device_cpu.h"
#include "engine/runtime_impl.h"
#include "plan/plan.h"

weft_runtime_options weft_runtime_options_default(void) {
    return (weft_runtime_options){.cpu_mask = CPU_FLAGS_ALL};
}

weft_status weft_runtime_create(weft_runtime **out, const weft_runtime_options *options,
                                weft_error *err) {
    const weft_runtime_options o = options != NULL ? *options : weft_runtime_options_default();
    weft_runtime *rt = mem_zalloc(MEM_ENGINE, 1, sizeof *rt);
    if (rt == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for the runtime");
    }
    rt->mem_bytes = o.mem_bytes;
    rt->cpu_flags = cpu_flags_detect() & o.cpu_mask;
    rt->act_type = o.act_type;
    cpu_flags_format(rt->cpu_flags, rt->cpu_text, sizeof rt->cpu_text);
    pthread_cond_init(&rt->turn_over, NULL);
    pthread_mutex_init(&rt->lock, NULL);
    weft_status status = o.is_unpinned ? pool_create_unpinned(&rt->pool, o.n_threads, err)
                                       : pool_create(&rt->pool, o.n_threads, err);
    if (status == WEFT_OK) {
        status = device_cpu_create(&rt->dev, rt->pool, rt->cpu_flags, err);
    }
    if (status == WEFT_OK) {
        status = device_cpu_set_acts(rt->dev, o.act_type, err);
    }
    if (status != WEFT_OK) {
        weft_runtime_destroy(&rt);
        return status;
    }
    *out = rt;
    return WEFT_OK;
}

void weft_runtime_destroy(weft_runtime **out) {
    weft_runtime *rt = *out;
    if (rt == NULL) {
        return;
    }
    WEFT_ASSERT(rt->n_engines == 0);
    device_destroy(&rt->dev);
    pool_destroy(&rt->pool);
    pthread_cond_destroy(&rt->turn_over);
    pthread_mutex_destroy(&rt->lock);
    mem_free(rt);
    *out = NULL;
}

uint32_t weft_runtime_threads(const weft_runtime *rt) { return pool_threads(rt->pool); }

const char *weft_runtime_cpu(const weft_runtime *rt) { return rt->cpu_text; }

const char *weft_version(void) { return WEFT_VERSION; }

void runtime_turn_take(weft_runtime *rt) {
    pthread_mutex_lock(&rt->lock);
    const uint64_t mine = rt->turn_next++;
    while (mine != rt->turn_now) {
        pthread_cond_wait(&rt->turn_over, &rt->lock);
    }
    pthread_mutex_unlock(&rt->lock);
}

void runtime_turn_give(weft_runtime *rt) {
    pthread_mutex_lock(&rt->lock);
    rt->turn_now++;
    pthread_cond_broadcast(&rt->turn_over);
    pthread_mutex_unlock(&rt->lock);
}

weft_status runtime_mem_take(weft_runtime *rt, uint64_t bytes, weft_error *err) {
    weft_status status = WEFT_OK;
    pthread_mutex_lock(&rt->lock);
    if (rt->mem_bytes != 0 && bytes > rt->mem_bytes - rt->mem_used_bytes) {
        char want[32], have[32];
        plan_format_bytes(bytes, want, sizeof want);
        plan_format_bytes(rt->mem_bytes - rt->mem_used_bytes, have, sizeof have);
        status = weft_fail(err, WEFT_LIMIT, "the model needs %s, of the memory budget %s are left",
                           want, have);
    } else {
        rt->mem_used_bytes += bytes;
        rt->n_engines++;
    }
    pthread_mutex_unlock(&rt->lock);
    return status;
}

void runtime_mem_give(weft_runtime *rt, uint64_t bytes) {
    pthread_mutex_lock(&rt->lock);
    WEFT_ASSERT(bytes <= rt->mem_used_bytes);
    rt->mem_used_bytes -= bytes;
    rt->n_engines--;
    pthread_mutex_unlock(&rt->lock);
}
