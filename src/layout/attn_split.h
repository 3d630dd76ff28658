/* attn_split.h - how the attention of one batch is cut into tasks. Pure arithmetic.
 *
 * A task is a tile of query rows of one sequence against one KV head. A sequence whose tasks are
 * longer than a thread's fair share is cut over its context instead, in parts of ATTN_SPLIT_LEN
 * positions whose results lie in the workspace until they are merged:
 *
 *   sequence 0: 40 rows   | tile, head | tile, head | ...            n_tiles x n_kv_heads tasks
 *   sequence 1: 1 row     | head |                                   short: one task a head
 *   sequence 2: 1 row     | part, head | part, head | ... -> merge   long: n_parts x n_kv_heads
 *
 * Single rows of sequences that follow each other and begin with the same pages form a group: the
 * positions that all of them have in common are attended by all rows at once, so that each key and
 * value is read once for all, and every member is cut:
 *
 *   sequences 3 to 6      | common part, head | ...                  n_shared x n_kv_heads
 *                         | part, head | ... -> merge                each: the rest of its parts
 *
 * Where the common positions end inside a part, its members go on from there when they merge.
 *
 * How a row is cut never changes its bits (kernels.h), so the cut may follow the threads and the
 * room there is.
 */
#ifndef WEFT_LAYOUT_ATTN_SPLIT_H
#define WEFT_LAYOUT_ATTN_SPLIT_H

#include <stdint.h>

#define ATTN_SPLIT_LEN 512u /* positions in a part, aligned to 0 */
#define ATTN_BLOCK_LEN 64u  /* that are attended in one step, aligned to 0 */
#define ATTN_NEAR_LEN 192u  /* fewer in common are not worth a group */
#define ATTN_TILE_ROWS 64u  /* query rows in a task; fewer when tasks would be few */

/* What is known of a sequence, and what attn_split answers. */
typedef struct attn_share {
    uint32_t n_rows, kv_begin, kv_end; /* positions that some row sees */
    uint32_t n_common;      /* leading positions that are those of the sequence before it, too; both
                             * have one row, and see all of them */
    uint32_t task_first;    /* its tasks count on from there */
    uint32_t n_parts;       /* 0: not cut over the context */
    uint64_t partial_first; /* floats: [n_kv_heads][n_parts][n_rows][heads][2 + v_dim] */
    uint32_t leader;        /* the first of its group, whose tasks begin with the group's */
    uint32_t n_members;     /* of a leader's group; 0: none */
    uint32_t n_shared;      /* parts of a member that the group's tasks attend, */
    uint32_t shared_end;    /* the last of them up to here: whole blocks */
    uint64_t shared_first;  /* of a leader: [n_kv_heads][n_shared][n_members][heads][2 + v_dim] */
} attn_share;

typedef struct attn_shape {
    uint32_t n_heads, n_kv_heads, v_dim;
    uint32_t n_threads;
    uint64_t partial_floats; /* room for results of parts */
} attn_shape;

typedef struct attn_tasks {
    uint32_t tile_rows, n_tasks, n_split; /* n_split: sequences that are cut */
} attn_tasks;

/* Fills the answers of shares [n], whose rows and positions are given. */
attn_tasks attn_split(const attn_shape *shape, attn_share *shares, uint32_t n);

/* The share that a task belongs to. */
const attn_share *attn_share_of(const attn_share *shares, uint32_t n, uint32_t task);

/* Floats of one sequence's parts, all heads. */
uint64_t attn_partial_floats(const attn_shape *shape, uint32_t n_rows, uint32_t n_parts);

/* Room for a batch of n_seqs sequences of at most ctx positions: their shares, and the parts of as
 * many as there may be fewer tasks than threads. */
uint64_t attn_workspace_bytes(const attn_shape *shape, uint32_t n_seqs, uint32_t ctx);

#endif /* WEFT_LAYOUT_ATTN_SPLIT_H */
