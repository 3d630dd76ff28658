/* shard.c - the cuts of tensor parallelism, by head and by quantisation block (shard.h).
 *
 * One table says which tensors are cut along which axis. Heads and the feed-forward's width are
 * each divided once, and every tensor follows one of the two: so the columns of attn_output are
 * those that the rank's own heads produce, and the rows of ffn_up those that its ffn_down reads.
 */
#include "plan/shard.h"

#include <string.h>

#include "base/check.h"
#include "base/compiler.h"
#include "tensor/tensor.h"

#define FF_BLOCK 256u /* the longest quantisation block; a width that has none is cut by 32 */
#define FF_BLOCK_SHORT 32u

typedef enum axis { AXIS_HEADS, AXIS_KV_HEADS, AXIS_FF } axis;

static const struct {
    const char *name; /* within "blk.N." */
    shard_cut cut;
    axis axis;
} cuts[] = {
    {"attn_q.weight", SHARD_ROWS, AXIS_HEADS},      {"attn_q.bias", SHARD_ROWS, AXIS_HEADS},
    {"attn_k.weight", SHARD_ROWS, AXIS_KV_HEADS},   {"attn_k.bias", SHARD_ROWS, AXIS_KV_HEADS},
    {"attn_v.weight", SHARD_ROWS, AXIS_KV_HEADS},   {"attn_v.bias", SHARD_ROWS, AXIS_KV_HEADS},
    {"attn_output.weight", SHARD_COLS, AXIS_HEADS}, {"attn_output.bias", SHARD_FIRST, AXIS_HEADS},
    {"ffn_gate.weight", SHARD_ROWS, AXIS_FF},       {"ffn_gate.bias", SHARD_ROWS, AXIS_FF},
    {"ffn_up.weight", SHARD_ROWS, AXIS_FF},         {"ffn_up.bias", SHARD_ROWS, AXIS_FF},
    {"ffn_down.weight", SHARD_COLS, AXIS_FF},       {"ffn_down.bias", SHARD_FIRST, AXIS_FF},
};

/* The rank's KV heads: its own, or, where ranks are more, the one that its query heads read. */
static slice kv_heads_of(const geometry *g, slice_rank r) {
    if (slice_is_alone(r) || g->n_kv_heads >= r.size) {
        return slice_of(g->n_kv_heads, 1, r);
    }
    return (slice){r.rank * g->n_kv_heads / r.size, 1};
}

static slice heads_of(const geometry *g, slice_rank r) {
    const uint32_t per_kv = g->n_heads / g->n_kv_heads;
    if (slice_is_alone(r) || g->n_kv_heads >= r.size) {
        const slice kv = slice_of(g->n_kv_heads, 1, r);
        return (slice){kv.from * per_kv, kv.count * per_kv};
    }
    return slice_of(g->n_heads, 1, r);
}

static slice ff_of(const geometry *g, slice_rank r) {
    const bool is_long = g->n_ff % FF_BLOCK == 0;
    const bool is_short = g->n_ff % FF_BLOCK_SHORT == 0;
    return slice_of(g->n_ff, is_long ? FF_BLOCK : is_short ? FF_BLOCK_SHORT : 1, r);
}

weft_status shard_geometry(geometry *out, const geometry *whole, slice_rank r, weft_error *err) {
    geometry mine = *whole;
    const slice heads = heads_of(whole, r);
    const slice kv_heads = kv_heads_of(whole, r);
    const bool has_copies = !slice_is_alone(r) && whole->n_kv_heads < r.size;
    if (has_copies && (r.size % whole->n_kv_heads != 0 || whole->n_heads % r.size != 0)) {
        return weft_fail(err, WEFT_UNSUPPORTED,
                         "%u heads on %u KV heads cannot be shared by %u ranks: wanted a number of "
                         "ranks that is at most %u, or a multiple of it that divides %u",
                         whole->n_heads, whole->n_kv_heads, r.size, whole->n_kv_heads,
                         whole->n_heads);
    }
    mine.n_heads = heads.count;
    mine.n_kv_heads = kv_heads.count;
    mine.n_ff = ff_of(whole, r).count;
    if (mine.n_ff == 0 && whole->n_ff > 0) {
        return weft_fail(
            err, WEFT_UNSUPPORTED,
            "a feed-forward of %u cannot be shared by %u ranks: cuts fall on blocks of "
            "%u",
            whole->n_ff, r.size, whole->n_ff % FF_BLOCK == 0 ? FF_BLOCK : FF_BLOCK_SHORT);
    }
    for (uint32_t i = 0; i < mine.n_groups; i++) {
        WEFT_ASSERT(mine.groups[i].n_kv_heads == whole->n_kv_heads);
        mine.groups[i].n_kv_heads = mine.n_kv_heads;
    }
    *out = mine;
    return WEFT_OK;
}

/* "blk.12.attn_q.weight" -> "attn_q.weight"; empty for a tensor of no layer. */
static str name_in_layer(str name) {
    if (!str_starts_with(name, STR_LIT("blk."))) {
        return str_from("", 0);
    }
    const size_t dot = str_find(name, STR_LIT("."), 4);
    return dot == SIZE_MAX ? str_from("", 0) : str_slice(name, dot + 1, name.len);
}

static slice scaled(slice s, uint32_t by) { return (slice){s.from * by, s.count * by}; }

shard_part shard_of(const geometry *whole, str name, slice_rank r) {
    const str local = name_in_layer(name);
    for (size_t i = 0; i < WEFT_LEN(cuts) && !slice_is_alone(r); i++) {
        if (!str_eq_cstr(local, cuts[i].name)) {
            continue;
        }
        const bool is_v = str_starts_with(local, STR_LIT("attn_v"));
        const uint32_t q_dim = cuts[i].cut == SHARD_ROWS ? whole->k_dim : whole->v_dim;
        switch (cuts[i].axis) {
        case AXIS_HEADS: return (shard_part){cuts[i].cut, scaled(heads_of(whole, r), q_dim)};
        case AXIS_KV_HEADS:
            return (shard_part){cuts[i].cut,
                                scaled(kv_heads_of(whole, r), is_v ? whole->v_dim : whole->k_dim)};
        case AXIS_FF: return (shard_part){cuts[i].cut, ff_of(whole, r)};
        }
    }
    return (shard_part){.cut = SHARD_WHOLE};
}

/* Keeps a part of one dimension, whose data begins skip_bytes later. */
static void keep(weights_tensor *t, uint32_t dim, slice s, size_t skip_bytes) {
    t->n_elements = t->n_elements / t->dims[dim] * s.count;
    t->dims[dim] = s.count;
    if (t->data != NULL) {
        t->data += skip_bytes;
    }
}

weft_status shard_tensor(weights_tensor *out, const weights_tensor *t, const geometry *whole,
                         slice_rank r, weft_error *err) {
    const shard_part p = shard_of(whole, t->name, r);
    const weft_dtype_info *info = weft_dtype_info_of(t->dtype);
    const uint32_t last = t->n_dims - 1;
    weights_tensor mine = *t;
    if (p.cut == SHARD_FIRST && r.rank != 0) {
        mine.n_elements = 0;
    }
    if (p.cut == SHARD_ROWS || p.cut == SHARD_COLS) {
        const uint32_t dim = p.cut == SHARD_ROWS ? 0 : last;
        const bool is_inside =
            p.part.from <= t->dims[dim] && p.part.count <= t->dims[dim] - p.part.from;
        const bool cuts_blocks = dim == last && (p.part.from % info->block_len != 0 ||
                                                 p.part.count % info->block_len != 0);
        if (!is_inside) {
            return weft_fail(err, WEFT_FORMAT,
                             "tensor '" STR_FMT
                             "' has %llu where rank %u of %u wants %u from %u on",
                             STR_ARG(t->name), (unsigned long long)t->dims[dim], r.rank, r.size,
                             p.part.count, p.part.from);
        }
        if (cuts_blocks) {
            return weft_fail(err, WEFT_UNSUPPORTED,
                             "tensor '" STR_FMT
                             "' of type %s has %llu columns: rank %u of %u wants "
                             "%u from %u on, which is no cut between blocks of %u",
                             STR_ARG(t->name), info->name, (unsigned long long)t->dims[dim], r.rank,
                             r.size, p.part.count, p.part.from, info->block_len);
        }
        const uint64_t skipped = dim == last ? p.part.from : p.part.from * t->dims[last];
        keep(&mine, dim, p.part, dtype_row_bytes(t->dtype, skipped));
    }
    mine.n_bytes = dtype_row_bytes(t->dtype, mine.n_elements);
    *out = mine;
    return WEFT_OK;
}
