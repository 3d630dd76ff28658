/* shard.h - what of a model belongs to one of several ranks. Pure.
 *
 *                      rank 0      rank 1
 *   attn_q  k  v       heads 0-5   heads 6-8     rows cut: each rank computes other outputs
 *   attn_output        cols 0-383  cols 384-575  columns cut: each rank computes a part of the sum
 *   ffn_gate  up       rows        rows
 *   ffn_down           cols        cols
 *   everything else    whole       whole
 *
 * Shoeybi et al. 2019, "Megatron-LM", section 3: a pair of a column- and a row-parallel product
 * needs one sum over the ranks. Query heads stay with the KV head that they read; where there are
 * fewer KV heads than ranks, ranks share one and each keeps a copy. Cuts fall on quantisation
 * blocks. Tensors are known by GGUF's names.
 */
#ifndef WEFT_PLAN_SHARD_H
#define WEFT_PLAN_SHARD_H

#include "base/status.h"
#include "base/str.h"
#include "layout/slice.h"
#include "plan/geometry.h"
#include "weights/weights.h"

typedef enum shard_cut {
    SHARD_WHOLE,
    SHARD_ROWS, /* outputs; also the elements of a bias */
    SHARD_COLS, /* inputs */
    SHARD_FIRST /* whole on rank 0, nowhere else: what is added once */
} shard_cut;

typedef struct shard_part {
    shard_cut cut;
    slice part; /* of the rows or columns that are cut */
} shard_part;

/* The rank's own geometry: its heads and its share of the feed-forward. Refuses what cannot be
 * shared so, with the numbers. Alone it is a copy. */
weft_status shard_geometry(geometry *out, const geometry *whole, slice_rank r,
                           weft_error *err) WEFT_NODISCARD;

/* The part of a tensor. whole: a geometry that shard_geometry took for this rank. */
shard_part shard_of(const geometry *whole, str name, slice_rank r);

/* The tensor as the rank has it: smaller shape, same type, and its data begins at the part. Rows
 * keep the distance they have in the file. n_elements is 0 where the rank has none of it. Refuses a
 * cut inside a quantisation block. */
weft_status shard_tensor(weights_tensor *out, const weights_tensor *t, const geometry *whole,
                         slice_rank r, weft_error *err) WEFT_NODISCARD;

#endif /* WEFT_PLAN_SHARD_H */
