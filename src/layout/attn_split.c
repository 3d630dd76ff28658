/* attn_split.c - tasks of attention by cost.
 *
 * Cost is rows x positions. A fair share is what each thread would do if the work could be cut
 * anywhere; a task of more than half of it makes others wait for its thread, and is cut over the
 * context if it is a single tile and the workspace has room. Tiles shrink, down to
 * TILE_ROWS_MIN rows that still share each block of keys, while there are too few of them. Groups
 * come first: what they save is more than what cutting their members costs.
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

/* Positions that are worth a group, in whole blocks. */
static uint32_t common_of(const attn_share *s) {
    const uint32_t n = s->n_common / ATTN_BLOCK_LEN * ATTN_BLOCK_LEN;
    return n > ATTN_NEAR_LEN ? n : 0;
}

/* Sequences from `first` on that begin alike, and how many positions all of them have in common:
 * one that would more than halve these is left to the next group. */
static uint32_t group_of(const attn_share *shares, uint32_t n, uint32_t first, uint32_t *common) {
    uint32_t end = first + 1;
    *common = end < n ? common_of(&shares[end]) : 0;
    while (end < n && end - first < ATTN_TILE_ROWS && common_of(&shares[end]) > 0 &&
           common_of(&shares[end]) >= *common / 2) {
        *common = common_of(&shares[end]) < *common ? common_of(&shares[end]) : *common;
        end++;
    }
    return end - first;
}

/* Cuts the members of a group, if there is one and the room for it; returns the floats it takes. */
static uint64_t cut_group(const attn_shape *shape, attn_share *shares, uint32_t n, uint32_t first,
                          uint64_t used) {
    uint32_t common;
    const uint32_t n_members = group_of(shares, n, first, &common);
    if (n_members < 2) {
        return 0;
    }
    const uint32_t n_shared = (common + ATTN_SPLIT_LEN - 1) / ATTN_SPLIT_LEN;
    const uint64_t records = attn_partial_floats(shape, n_members, n_shared);
    uint64_t floats = records;
    for (uint32_t i = first; i < first + n_members; i++) {
        floats += attn_partial_floats(shape, 1, parts_of(&shares[i]));
    }
    if (floats > shape->partial_floats - used) {
        return 0;
    }
    shares[first].n_members = n_members;
    shares[first].shared_first = used;
    used += records;
    for (uint32_t i = first; i < first + n_members; i++) {
        shares[i].leader = first;
        shares[i].n_shared = n_shared;
        shares[i].shared_end = common;
        shares[i].n_parts = parts_of(&shares[i]);
        shares[i].partial_first = used;
        used += attn_partial_floats(shape, 1, shares[i].n_parts);
    }
    return floats;
}

static uint32_t tasks_of(const attn_share *s, uint32_t tile_rows) {
    if (s->n_parts == 0) {
        return tiles_of(s, tile_rows);
    }
    return s->n_parts - (s->n_members > 0 ? 0 : s->n_shared);
}

attn_tasks attn_split(const attn_shape *shape, attn_share *shares, uint32_t n) {
    const uint64_t wanted = (uint64_t)shape->n_threads * SHARES_PER_THREAD;
    attn_tasks t = {.tile_rows = ATTN_TILE_ROWS};
    uint64_t total = 0, n_tiles = 0, used = 0;
    for (uint32_t i = 0; i < n; i++) {
        shares[i].n_parts = shares[i].n_shared = shares[i].n_members = 0;
        shares[i].shared_end = 0;
        total += cost_of(&shares[i]) * shape->n_kv_heads;
        n_tiles += (uint64_t)tiles_of(&shares[i], t.tile_rows) * shape->n_kv_heads;
    }
    for (; n_tiles < wanted && t.tile_rows > TILE_ROWS_MIN; t.tile_rows /= 2, n_tiles *= 2) {
    }
    for (uint32_t i = 0; i < n; i++) {
        attn_share *s = &shares[i];
        if (s->n_parts == 0) {
            used += cut_group(shape, shares, n, i, used);
        }
        const uint32_t n_parts = parts_of(s);
        const uint64_t floats = attn_partial_floats(shape, s->n_rows, n_parts);
        const bool is_long = shape->n_threads > 1 && cost_of(s) * wanted > total;
        if (s->n_parts == 0 && is_long && n_parts > 1 && s->n_rows <= t.tile_rows &&
            floats <= shape->partial_floats - used) {
            s->n_parts = n_parts;
            s->partial_first = used;
            used += floats;
        }
        t.n_split += s->n_parts > 0;
        s->task_first = t.n_tasks;
        t.n_tasks += tasks_of(s, t.tile_rows) * shape->n_kv_heads;
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
