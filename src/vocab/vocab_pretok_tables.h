/* vocab_pretok_tables.h - the rules by name.
 */
#ifndef WEFT_VOCAB_VOCAB_PRETOK_TABLES_H
#define WEFT_VOCAB_VOCAB_PRETOK_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#define VOCAB_PRETOK_STAGES_MAX 6u

typedef struct vocab_pretok_stage {
    const char *pattern; /* NULL behind the last stage */
    bool is_threes;      /* a match is cut into threes of characters, counted from its end */
    bool is_border;      /* and only before each: what stands beside the threes stays with them */
} vocab_pretok_stage;

typedef struct vocab_pretok_rule {
    vocab_pretok_stage stages[VOCAB_PRETOK_STAGES_MAX];
} vocab_pretok_rule;

typedef struct vocab_pretok_name {
    const char *name; /* NULL behind the last */
    uint16_t rule;    /* index of vocab_pretok_rules */
    uint16_t flags;   /* vocab_pretok_flags */
} vocab_pretok_name;

extern const vocab_pretok_rule vocab_pretok_rules[];
extern const vocab_pretok_name vocab_pretok_names[];

#endif /* WEFT_VOCAB_VOCAB_PRETOK_TABLES_H */
