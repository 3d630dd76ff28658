/* vocab_pretok_tables.h - the rules by name.
 */
#ifndef WEFT_VOCAB_VOCAB_PRETOK_TABLES_H
#define WEFT_VOCAB_VOCAB_PRETOK_TABLES_H

#include <stdint.h>

#define VOCAB_PRETOK_STAGES_MAX 6u

typedef enum vocab_pretok_match {
    AS_ONE,        /* a match is one piece */
    IN_THREES,     /* it is cut into threes of characters, counted from its end */
    BEFORE_THREES, /* only before each of them: what stands beside them stays with them */
} vocab_pretok_match;

typedef struct vocab_pretok_stage {
    const char *pattern; /* NULL behind the last stage */
    vocab_pretok_match match;
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
