/* attn_split.c - tasks of attention by cost.
 *
 * Cost is rows x positions. A fair share is what each thread would do if the work could be cut
 * anywhere; a task of more than half of it makes others wait for its thread, and is cut over the
 * context if it is a single tile and the workspace has room. Tiles shrink, down to
 * TILE_ROWS_MIN rows that still share each block of keys, while there are too few of them.
 */
#include "layout/attn_split.h"

#include <stdbool.h>

#define TILE_ROWS_MIN 16u
#define SHARES_PER_THREAD 2u /* tasks a thread that even out */

static uint64_t cost_of(const attn_share *s) {
    return (uint64_t)s->n_rows * (s->kv_end - s->kv_begin);
}

static uint32_t tiles_of(const attn_share *s, uint32_t tile_rows) {
    return (s->n_rows + tile_rows - 1) / tile_rows;
}

static uint32_t parts_of(const attn_share *s) {
    return (s->kv_end - 1) / ATTN_SPLIT_LEN - s->kv_begin / ATTN_SPLIT_LEN + 1;
}

uint64_t attn_partial_floats(const attn_shape *shape, uint32_t n_rows, uint32_t n_parts) {
    return (uint64_t)n_parts * n_rows * shape->n_heads * ((uint64_t)shape->v_dim + 2);
}

attn_tasks attn_split(const attn_shape *shape, attn_share *shares, uint32_t n) {
    const uint64_t wanted = (uint64_t)shape->n_threads * SHARES_PER_THREAD;
    attn_tasks t = {.tile_rows = ATTN_TILE_ROWS};
    uint64_t total = 0, n_tiles = 0, used = 0;
    for (uint32_t i = 0; i < n; i++) {
        total += cost_of(&shares[i]) * shape->n_kv_heads;
        n_tiles += (uint64_t)tiles_of(&shares[i], t.tile_rows) * shape->n_kv_heads;
    }
    for (; n_tiles < wanted && t.tile_rows > TILE_ROWS_MIN; t.tile_rows /= 2, n_tiles *= 2) {
    }
    for (uint32_t i = 0; i < n; i++) {
        attn_share *s = &shares[i];
        const uint32_t n_parts = parts_of(s);
        const uint64_t floats = attn_partial_floats(shape, s->n_rows, n_parts);
        const bool is_long = shape->n_threads > 1 && cost_of(s) * wanted > total;
        s->task_first = t.n_tasks;
        s->n_parts = 0;
        if (is_long && n_parts > 1 && s->n_rows <= t.tile_rows &&
            floats <= shape->partial_floats - used) {
            s->n_parts = n_parts;
            s->partial_first = used;
            used += floats;
            t.n_split++;
        }
        t.n_tasks += (s->n_parts > 0 ? n_parts : tiles_of(s, t.tile_rows)) * shape->n_kv_heads;
    }
    return t;
}

const attn_share *attn_share_of(const attn_share *shares, uint32_t n, uint32_t task) {
    uint32_t low = 0, high = n - 1;
    while (low < high) {
        const uint32_t mid = low + (high - low + 1) / 2;
        if (shares[mid].task_first <= task) {
            low = mid;
        } else {
            high = mid - 1;
        }
    }
    return &shares[low];
}

uint64_t attn_workspace_bytes(const attn_shape *shape, uint32_t n_seqs, uint32_t ctx) {
    const uint64_t shares = (uint64_t)n_seqs * sizeof(attn_share);
    if (shape->n_threads <= 1) {
        return shares;
    }
    const uint32_t wanted = shape->n_threads * SHARES_PER_THREAD;
    const uint32_t enough = (wanted + shape->n_kv_heads - 1) / shape->n_kv_heads;
    const uint32_t n_parts = (ctx + ATTN_SPLIT_LEN - 1) / ATTN_SPLIT_LEN;
    const uint64_t floats = attn_partial_floats(shape, n_seqs < enough ? n_seqs : enough, n_parts);
    return shares + floats * sizeof(float);
}
