/* page.h - the arithmetic of KV pages, shared by whoever counts them (kv), sizes them (plan) and
 * reads them (kernels, device).
 */
#ifndef WEFT_LAYOUT_PAGE_H
#define WEFT_LAYOUT_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/dtype.h"

#define PAGE_TOKENS 16u /* positions in a page */

/* Pages that n_tokens positions need. */
static inline uint32_t page_count(uint64_t n_tokens) {
    return (uint32_t)((n_tokens + PAGE_TOKENS - 1) / PAGE_TOKENS);
}

/* Pages that one sequence of at most n_tokens positions may hold at once. A sliding group keeps the
 * window that the first row of a step sees and the step's chunk; both may begin inside a page. */
static inline uint32_t page_count_group(uint32_t window, uint32_t n_tokens, uint32_t chunk_max) {
    const uint32_t full = page_count(n_tokens);
    if (window == 0) {
        return full;
    }
    const uint32_t kept = page_count((uint64_t)window + chunk_max) + 1;
    return kept < full ? kept : full;
}

/* Bytes of K and V of one head at one position. With v_in_k a value is the first v_dim of its key
 * (multi-head latent attention): nothing but the key is stored. */
size_t page_row_bytes(weft_dtype dtype, uint32_t k_dim, uint32_t v_dim, bool v_in_k);

/* Bytes of one layer's part of a page: K and V of all its heads. */
size_t page_bytes(weft_dtype dtype, uint32_t n_kv_heads, uint32_t k_dim, uint32_t v_dim,
                  bool v_in_k);

/* Keys may lie in columns: a page's positions side by side, for each value, scale or byte of codes
 * of a row. F32 and F16 are [n][16]; Q8_0 and Q4_0 [n / 32] of scales [16] and codes [32][16] or
 * [16][16]. Where the byte of position `at`'s row is then: kernels write the same out in loops, and
 * are held against this. */
size_t page_column_byte(weft_dtype dtype, size_t row_byte, size_t at);

#endif /* WEFT_LAYOUT_PAGE_H */
