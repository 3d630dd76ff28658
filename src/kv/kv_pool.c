/* kv_pool.c - a stack of free page numbers and a holder count for each page.
 *
 * Taking pops, the last release pushes. Reservations are a single number: pages set aside for
 * sequences that have been promised their length; the stack never falls below it.
 */
#include "kv/kv_pool.h"

#include "base/check.h"
#include "base/mem.h"

struct kv_pool {
    uint32_t count;
    uint32_t n_free;
    uint32_t n_reserved; /* of n_free */
    uint32_t n_idle;     /* held by the keeper alone */
    uint32_t *free;      /* [count], the first n_free are free pages */
    uint32_t *holders;   /* [count], the keeper included */
    bool *is_kept;       /* [count] */
};

weft_status kv_pool_create(kv_pool **out, uint32_t count, weft_error *err) {
    if (count > KV_PAGES_MAX) {
        return weft_fail(err, WEFT_LIMIT, "%u KV pages, the most is %u", count, KV_PAGES_MAX);
    }
    kv_pool *pool = mem_zalloc(MEM_KV, 1, sizeof *pool);
    if (pool != NULL) {
        pool->count = pool->n_free = count;
        pool->free = mem_array(MEM_KV, count, sizeof *pool->free);
        pool->holders = mem_zalloc(MEM_KV, count, sizeof *pool->holders);
        pool->is_kept = mem_zalloc(MEM_KV, count, sizeof *pool->is_kept);
    }
    if (pool == NULL || pool->free == NULL || pool->holders == NULL || pool->is_kept == NULL) {
        if (pool != NULL) {
            mem_free(pool->free);
            mem_free(pool->holders);
            mem_free(pool->is_kept);
            mem_free(pool);
        }
        return weft_fail(err, WEFT_NOMEM, "out of memory for a table of %u KV pages", count);
    }
    for (uint32_t i = 0; i < count; i++) {
        pool->free[i] = count - 1 - i; /* page 0 comes out first */
    }
    *out = pool;
    return WEFT_OK;
}

void kv_pool_destroy(kv_pool **pool) {
    if (*pool == NULL) {
        return;
    }
    WEFT_ASSERT((*pool)->n_free == (*pool)->count);
    WEFT_ASSERT((*pool)->n_reserved == 0);
    mem_free((*pool)->free);
    mem_free((*pool)->holders);
    mem_free((*pool)->is_kept);
    mem_free(*pool);
    *pool = NULL;
}

uint32_t kv_pool_count(const kv_pool *pool) { return pool->count; }

uint32_t kv_pool_available(const kv_pool *pool) { return pool->n_free - pool->n_reserved; }

uint32_t kv_pool_held(const kv_pool *pool) { return pool->count - pool->n_free; }

bool kv_pool_try_reserve(kv_pool *pool, uint32_t n) {
    if (n > kv_pool_available(pool)) {
        return false;
    }
    pool->n_reserved += n;
    return true;
}

void kv_pool_unreserve(kv_pool *pool, uint32_t n) {
    WEFT_ASSERT(n <= pool->n_reserved);
    pool->n_reserved -= n;
}

kv_page kv_pool_take(kv_pool *pool) {
    WEFT_ASSERT(pool->n_reserved > 0);
    WEFT_ASSERT(pool->n_free > 0);
    pool->n_reserved--;
    const kv_page page = pool->free[--pool->n_free];
    WEFT_ASSERT(pool->holders[page] == 0);
    pool->holders[page] = 1;
    return page;
}

void kv_pool_retain(kv_pool *pool, kv_page page) {
    WEFT_ASSERT(page < pool->count);
    WEFT_ASSERT(pool->holders[page] > 0);
    pool->n_idle -= kv_pool_is_idle(pool, page);
    pool->holders[page]++;
}

bool kv_pool_release(kv_pool *pool, kv_page page) {
    WEFT_ASSERT(page < pool->count);
    WEFT_ASSERT(pool->holders[page] > 0);
    if (--pool->holders[page] > 0) {
        pool->n_idle += kv_pool_is_idle(pool, page);
        return false;
    }
    WEFT_ASSERT(!pool->is_kept[page]);
    pool->free[pool->n_free++] = page;
    return true;
}

void kv_pool_keep(kv_pool *pool, kv_page page) {
    kv_pool_retain(pool, page);
    WEFT_ASSERT(!pool->is_kept[page]);
    pool->is_kept[page] = true;
}

void kv_pool_unkeep(kv_pool *pool, kv_page page) {
    WEFT_ASSERT(pool->is_kept[page]);
    pool->n_idle -= kv_pool_is_idle(pool, page);
    pool->is_kept[page] = false;
    kv_pool_release(pool, page);
}

bool kv_pool_is_idle(const kv_pool *pool, kv_page page) {
    return pool->is_kept[page] && pool->holders[page] == 1;
}

uint32_t kv_pool_idle(const kv_pool *pool) { return pool->n_idle; }

uint32_t kv_pool_holders(const kv_pool *pool, kv_page page) {
    WEFT_ASSERT(page < pool->count);
    return pool->holders[page];
}

void kv_pool_check(const kv_pool *pool) {
    WEFT_ASSERT(pool->n_free <= pool->count);
    WEFT_ASSERT(pool->n_reserved <= pool->n_free);
    for (uint32_t i = 0; i < pool->n_free; i++) {
        WEFT_ASSERT(pool->free[i] < pool->count);
        WEFT_ASSERT(pool->holders[pool->free[i]] == 0);
    }
    uint32_t n_held = 0, n_idle = 0;
    for (uint32_t i = 0; i < pool->count; i++) {
        WEFT_ASSERT(!pool->is_kept[i] || pool->holders[i] > 0);
        n_held += pool->holders[i] > 0;
        n_idle += kv_pool_is_idle(pool, i);
    }
    WEFT_ASSERT(n_idle == pool->n_idle);
    WEFT_ASSERT(n_held == pool->count - pool->n_free);
}

void kv_pool_shuffle(kv_pool *pool, uint64_t seed) {
    WEFT_ASSERT(pool->n_free == pool->count);
    for (uint32_t i = pool->count; i > 1; i--) {
        seed = seed * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX generator */
        const uint32_t j = (uint32_t)((seed >> 33) % i);
        const uint32_t page = pool->free[i - 1];
        pool->free[i - 1] = pool->free[j];
        pool->free[j] = page;
    }
}
