/* batch.h - the rows of one forward pass, as plain arrays.
 *
 * A row is one position of one sequence. Rows of a sequence lie together, in ascending position;
 * prefill chunks and decode rows mix freely:
 *
 *   row        0   1   2   3   4   5   6 | 7 | 8
 *   sequence   0   0   0   0   0   0   0 | 1 | 2       a chunk of 7, a decode row, a short prompt
 *   cache pos  32  33  34  35  36  37  38| 90| 0
 *
 * Every array is borrowed from the caller until the forward has been synchronised. What a model
 * or device does not support must be NULL or 0; model_forward refuses the rest by name.
 */
#ifndef WEFT_DEVICE_BATCH_H
#define WEFT_DEVICE_BATCH_H

#include <stdint.h>

#include "tensor/tensor.h"

#define BATCH_GROUPS_MAX 4u /* KV groups of a model */
#define BATCH_AXES 3u       /* axes of a rope position */
#define BATCH_STATE_NONE UINT32_MAX

typedef enum batch_row_flags {
    BATCH_LOGITS = 1, /* the row's logits are wanted */
    BATCH_HIDDEN = 2, /* the row's last hidden state is wanted */
    BATCH_POOLED = 4, /* the row takes part in its sequence's pooled embedding */
} batch_row_flags;

/* Rows [from, to) of a sequence that see each other in both directions (images). */
typedef struct batch_span {
    uint32_t from, to; /* cache positions */
} batch_span;

typedef struct batch_seq {
    uint32_t row_first, n_rows; /* its rows in this batch */
    uint32_t n_past; /* cache positions before row_first: row i is stored at n_past + i */
    /* One block table per KV group: page of cache position p is pages[g][p / 16]. Entries before a
     * sliding group's window are never read. */
    const uint32_t *pages[BATCH_GROUPS_MAX];
    uint32_t state_in, state_out; /* recurrent slots, BATCH_STATE_NONE without */
    const batch_span *spans;      /* [n_spans], ascending, or NULL */
    uint32_t n_spans;
    const uint32_t *tree_mask;  /* speculation: [n_rows][ceil(n_rows / 32)] bits, or NULL */
    const tensor *cross_memory; /* encoder output for cross attention, or NULL */
} batch_seq;

typedef struct batch {
    uint32_t n_rows, n_seqs, n_out; /* n_out: rows with BATCH_LOGITS */
    const int32_t *token;           /* [n_rows] id, or -1 - r: row r of `embeddings` */
    const int32_t *position;  /* [n_rows][BATCH_AXES] rope position; plain models use axis 0 */
    const uint32_t *seq;      /* [n_rows] index into seqs */
    const uint32_t *adapter;  /* [n_rows] 0 = none, or NULL */
    const uint8_t *flags;     /* [n_rows] batch_row_flags */
    const uint32_t *out_row;  /* [n_out] the rows with BATCH_LOGITS, ascending */
    const batch_seq *seqs;    /* [n_seqs] */
    const tensor *embeddings; /* rows for negative tokens, or NULL */
    /* The rows of out_row as a batch of their own, of which only n_rows, n_seqs and seqs are read;
     * sequences without any are left out. Wanted where n_out < n_rows, and those rows must then be
     * the last of their sequences. */
    const struct batch *out;
} batch;

#endif /* WEFT_DEVICE_BATCH_H */
