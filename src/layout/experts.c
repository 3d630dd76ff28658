/* experts.c - a counting sort of (row, rank) pairs by expert, and the room that they need.
 */
#include "layout/experts.h"

#include <string.h>

#include "layout/act.h"

#define ALIGN_BYTES 64u

static uint64_t aligned(uint64_t bytes) {
    return (bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
}

/* Whole tiles, and for each expert at most one that is not. */
static uint64_t tiles_max(const expert_routing *r, uint64_t n_slots) {
    const uint64_t partial = n_slots < r->n_experts ? n_slots : r->n_experts;
    return n_slots / ACT_CHUNK_ROWS + partial;
}

uint64_t expert_table_bytes(const expert_routing *r, uint32_t n_rows) {
    const uint64_t n_slots = (uint64_t)n_rows * r->n_used;
    return 4 * aligned(n_slots * sizeof(uint32_t)) + aligned(r->n_experts * sizeof(uint32_t)) +
           aligned(tiles_max(r, n_slots) * sizeof(expert_tile));
}

static void *take(char **memory, uint64_t bytes) {
    void *p = *memory;
    *memory += aligned(bytes);
    return p;
}

void expert_table_init(expert_table *t, const expert_routing *r, uint32_t n_rows, void *memory) {
    const uint64_t n_slots = (uint64_t)n_rows * r->n_used;
    char *at = memory;
    *t = (expert_table){.n_rows = n_rows, .n_used = r->n_used, .n_experts = r->n_experts};
    t->id = take(&at, n_slots * sizeof(uint32_t));
    t->weight = take(&at, n_slots * sizeof(float));
    t->slot = take(&at, n_slots * sizeof(uint32_t));
    t->row = take(&at, n_slots * sizeof(uint32_t));
    t->next = take(&at, r->n_experts * sizeof(uint32_t));
    t->tiles = take(&at, tiles_max(r, n_slots) * sizeof(expert_tile));
}

static void add_tiles(expert_table *t, uint32_t expert, uint32_t slot, uint32_t n_slots) {
    while (n_slots > 0) {
        const uint32_t n = n_slots < ACT_CHUNK_ROWS ? n_slots : ACT_CHUNK_ROWS;
        t->tiles[t->n_tiles++] = (expert_tile){expert, slot, n};
        slot += n;
        n_slots -= n;
    }
}

void expert_table_sort(expert_table *t) {
    const uint32_t n_slots = t->n_rows * t->n_used;
    memset(t->next, 0, t->n_experts * sizeof *t->next);
    for (uint32_t i = 0; i < n_slots; i++) {
        t->next[t->id[i]]++;
    }
    t->n_tiles = 0;
    for (uint32_t e = 0, first = 0; e < t->n_experts; e++) {
        const uint32_t n = t->next[e];
        add_tiles(t, e, first, n);
        t->next[e] = first;
        first += n;
    }
    for (uint32_t i = 0; i < n_slots; i++) {
        t->slot[i] = t->next[t->id[i]]++;
        t->row[t->slot[i]] = i / t->n_used;
    }
}

/* Of any form. A row in two halves, two records of 8 bits, of whole blocks, is no longer than the
 * longest. */
static uint64_t record_bytes_max(uint32_t k) {
    uint64_t most = 0;
    for (int form = 0; form < ACT_FORM_COUNT; form++) {
        const uint64_t bytes = act_row_bytes((act_form)form, k);
        most = bytes > most ? bytes : most;
    }
    return most;
}

expert_room expert_room_of(const expert_routing *r, uint32_t n_rows, uint32_t n_embd,
                           uint32_t n_ff) {
    const uint32_t widest = n_embd > n_ff ? n_embd : n_ff;
    const uint64_t n_slots = (uint64_t)n_rows * r->n_used;
    return (expert_room){
        .table_bytes = expert_table_bytes(r, n_rows),
        .acts_bytes = n_slots * record_bytes_max(widest),
        /* an odd number of lines: columns of rows lie in different sets of a cache */
        .values_bytes = n_slots * (aligned(widest * sizeof(float)) | ALIGN_BYTES),
    };
}

uint64_t expert_workspace_bytes(const expert_routing *r, uint32_t n_rows, uint32_t n_embd,
                                uint32_t n_ff) {
    const expert_room room = expert_room_of(r, n_rows, n_embd, n_ff);
    return room.table_bytes + room.acts_bytes + room.values_bytes;
}
