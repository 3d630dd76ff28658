/* kv_pool.h - fixed set of cache pages, handed out and taken back.
 *
 * A page is a number in [0, count). The pool never touches the memory behind it: the engine maps
 * page numbers to device addresses. A page is free or held by one or more holders. One of them may
 * be its keeper, the prefix tree; a page that only its keeper holds is idle.
 *
 *       take                 release, last holder
 * free ------> held (1..n) -----------------------> free
 *                │  ▲ retain
 *           keep ▼  │ release, all but the keeper
 *                idle ──── unkeep ────────────────> free
 *
 * Reservations: an admission sets pages aside without naming them, so that taking them later
 * cannot fail:  free pages not reserved = kv_pool_available.
 *
 * Threads: engine thread only.   Errors: kv_pool_create only.
 */
#ifndef WEFT_KV_KV_POOL_H
#define WEFT_KV_KV_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "layout/page.h"

typedef struct kv_pool kv_pool;
typedef uint32_t kv_page;
#define KV_PAGE_NONE UINT32_MAX
#define KV_PAGES_MAX (1u << 30)

/* Makes a pool of `count` free pages. */
weft_status kv_pool_create(kv_pool **out, uint32_t count, weft_error *err) WEFT_NODISCARD;
/* No page may be held. */
void kv_pool_destroy(kv_pool **pool);

uint32_t kv_pool_count(const kv_pool *pool);
uint32_t kv_pool_available(const kv_pool *pool); /* free and not reserved */
uint32_t kv_pool_held(const kv_pool *pool);

/* Sets `n` pages aside, or refuses. unreserve gives back what was not taken. */
bool kv_pool_try_reserve(kv_pool *pool, uint32_t n);
void kv_pool_unreserve(kv_pool *pool, uint32_t n);

/* Returns a page with one holder out of the caller's reservation, which shrinks by one. */
kv_page kv_pool_take(kv_pool *pool);
void kv_pool_retain(kv_pool *pool, kv_page page);
/* True when that was the last holder and the page is free again. */
bool kv_pool_release(kv_pool *pool, kv_page page);
uint32_t kv_pool_holders(const kv_pool *pool, kv_page page);

/* Becomes the keeper of a held page without one, as one more holder; gives that up again. */
void kv_pool_keep(kv_pool *pool, kv_page page);
void kv_pool_unkeep(kv_pool *pool, kv_page page);
bool kv_pool_is_idle(const kv_pool *pool, kv_page page);
uint32_t kv_pool_idle(const kv_pool *pool); /* pages that only their keeper holds */

/* Every page is free or held, once; the counts agree. Ends the program when not. */
void kv_pool_check(const kv_pool *pool);

/* For tests: hands pages out in an order shuffled by seed. Only while nothing is held. */
void kv_pool_shuffle(kv_pool *pool, uint64_t seed);

#endif /* WEFT_KV_KV_POOL_H */
