/* experts.h - who goes to which expert: routing as plain data, and rows grouped by expert. Pure.
 *
 * Each row of a batch goes to n_used experts, its ranks. A pair (row, rank) has a slot; slots are
 * ordered by expert, then row, so that an expert's rows lie together: a product of many rows.
 *
 *   row 0 -> experts 5 2        slot    0     1     2     3     4     5
 *   row 1 -> experts 2 7        expert  2     2     5     5     7     7
 *   row 2 -> experts 7 5        pair   0,1   1,0   0,0   2,1   1,1   2,0
 *                               tiles  |-- 2 ----|-- 5 ----|-- 7 ----|
 *
 * A tile is up to ACT_CHUNK_ROWS slots of one expert.
 */
#ifndef WEFT_LAYOUT_EXPERTS_H
#define WEFT_LAYOUT_EXPERTS_H

#include <stdbool.h>
#include <stdint.h>

#define EXPERTS_MAX 512u
#define EXPERTS_USED_MAX 64u

typedef enum expert_score {
    EXPERT_SCORE_SOFTMAX,          /* of all logits */
    EXPERT_SCORE_SOFTMAX_SELECTED, /* selected by logit; softmax of the selected ones */
    EXPERT_SCORE_SIGMOID,          /* of each logit */
} expert_score;

/* How a row's logits become experts and weights. A bias, if the model has one, is added to scores
 * for selection alone. Experts in n_groups equal groups: only those of the n_groups_used best
 * groups may be selected; a group is worth the sum of its n_group_best best. */
typedef struct expert_routing {
    uint32_t n_experts, n_used;
    expert_score score;
    bool is_normalised;                             /* weights are divided by their sum */
    float scale;                                    /* then multiplied by this */
    uint32_t n_groups, n_groups_used, n_group_best; /* n_groups 0: none */
} expert_routing;

typedef struct expert_tile {
    uint32_t expert, slot_first, n_slots;
} expert_tile;

/* Arrays of one batch, in memory of expert_table_bytes. */
typedef struct expert_table {
    uint32_t n_rows, n_used, n_experts, n_tiles;
    uint32_t *id;       /* [n_rows][n_used], best first: the caller's */
    float *weight;      /* [n_rows][n_used]: the caller's */
    uint32_t *slot;     /* [n_rows][n_used] */
    uint32_t *row;      /* [n_rows * n_used] of each slot */
    uint32_t *next;     /* [n_experts] the slot after an expert's last, once sorted */
    expert_tile *tiles; /* [n_tiles], in ascending slots */
} expert_table;

uint64_t expert_table_bytes(const expert_routing *r, uint32_t n_rows);
void expert_table_init(expert_table *t, const expert_routing *r, uint32_t n_rows, void *memory);

/* Fills slot, row and tiles from id, in which every row names different experts. */
void expert_table_sort(expert_table *t);

/* Room for the experts of one batch: the table, and two regions in turn for quantised inputs and
 * for the floats that become the next ones (device_cpu_experts.c). */
typedef struct expert_room {
    uint64_t table_bytes, acts_bytes, values_bytes;
} expert_room;

expert_room expert_room_of(const expert_routing *r, uint32_t n_rows, uint32_t n_embd,
                           uint32_t n_ff);
uint64_t expert_workspace_bytes(const expert_routing *r, uint32_t n_rows, uint32_t n_embd,
                                uint32_t n_ff);

#endif /* WEFT_LAYOUT_EXPERTS_H */
