/* vocab_table.h - the tokens of a vocabulary: number to text, text to number, kind.
 *
 *   texts:   <unk><s></s>...     all texts in one run of bytes, as stored in the file
 *   at:      0    5   8   12     where each begins; count + 1 entries
 *   slots:   [hash|id]           text to number: open addressing, power of two
 *   tags:    one byte of hash for each slot, 0 when free; most searches end here
 *   pieces:  what a decoder emits for each token, laid out like texts
 *
 * Three allocations of any size instead of one a token: a quarter of a million tokens load in
 * milliseconds.
 *
 * Threads: read-only once filled.
 */
#ifndef WEFT_VOCAB_VOCAB_TABLE_H
#define WEFT_VOCAB_VOCAB_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"
#include "weights/weights.h"

/* Bits, because a control token may also strip the space around it. */
typedef enum vocab_attr {
    VOCAB_ATTR_NORMAL = 1,
    VOCAB_ATTR_UNKNOWN = 2,
    VOCAB_ATTR_CONTROL = 4,
    VOCAB_ATTR_USER = 8,
    VOCAB_ATTR_UNUSED = 16,
    VOCAB_ATTR_BYTE = 32,
    VOCAB_ATTR_LSTRIP = 64,  /* swallows white space before it in the text */
    VOCAB_ATTR_RSTRIP = 128, /* and after it */
    VOCAB_ATTR_END = 256,    /* ends an answer */
} vocab_attr;

typedef struct vocab_slot {
    uint32_t hash;
    int32_t id;
} vocab_slot;

typedef struct vocab_table {
    uint32_t count;
    uint32_t token_bytes_max; /* of a text */
    char *texts;
    uint32_t *at; /* [count + 1] */
    char *pieces;
    uint32_t *pieces_at; /* [count + 1] */
    uint16_t *attrs;     /* [count] of vocab_attr */
    float *scores;       /* [count], 0 when the file has none */
    vocab_slot *slots;
    uint8_t *tags;
    uint32_t slot_mask;
    uint32_t n_equal; /* tokens whose text a lower number has too */
} vocab_table;

/* How a token's text becomes the bytes it stands for. */
typedef enum vocab_piece_form {
    VOCAB_PIECES_BYTE_LEVEL, /* GPT-2's printable stand-ins for bytes */
    VOCAB_PIECES_METASPACE,  /* U+2581 for a space, <0xXX> for a byte */
    VOCAB_PIECES_PLAIN,      /* as they are */
    VOCAB_PIECES_ESCAPED,    /* as Python writes bytes: \t \n \r \xHH, else the character */
} vocab_piece_form;

/* Reads tokenizer.ggml.tokens, scores and token_type. On failure the table is empty. */
weft_status vocab_table_init(vocab_table *t, const weights *w, vocab_piece_form form,
                             weft_error *err) WEFT_NODISCARD;
/* Makes texts findable, once count, texts, at and token_bytes_max are filled. */
weft_status vocab_table_index(vocab_table *t, weft_error *err) WEFT_NODISCARD;
void vocab_table_deinit(vocab_table *t); /* accepts a zeroed table */

/* VOCAB_NONE when absent. Of two equal texts the lower number is found. */
int32_t vocab_table_find(const vocab_table *t, str text);

/* The same for up to VOCAB_FIND_MANY_MAX texts at once, which waits for memory only once. */
#define VOCAB_FIND_MANY_MAX 64u
void vocab_table_find_many(const vocab_table *t, const str *texts, int32_t *ids, size_t n);

static inline str vocab_table_text(const vocab_table *t, int32_t id) {
    return (str){t->texts + t->at[id], t->at[id + 1] - t->at[id]};
}

static inline str vocab_table_piece(const vocab_table *t, int32_t id) {
    return (str){t->pieces + t->pieces_at[id], t->pieces_at[id + 1] - t->pieces_at[id]};
}

/* A fast hash of short byte runs, for tables that live in memory only. */
uint64_t vocab_hash(str s);

/* GPT-2's stand-ins: the code point shown for a byte, and back (-1 when cp is none of the 256). */
uint32_t vocab_byte_to_cp(uint8_t byte);
int vocab_cp_to_byte(uint32_t cp);

/* The byte of "<0xXX>", or -1. */
int vocab_byte_token_value(str text);

#endif /* WEFT_VOCAB_VOCAB_TABLE_H */
