/* vocab_pretok.h - cuts a text into the words that byte pair encoding never merges across.
 *
 * Each vocabulary names its rule (tokenizer.ggml.pre). A rule is a few stages, each of which cuts
 * every piece of the stage before it: matches of its pattern become pieces, and so does what
 * lies between them.
 *
 * Threads: read-only once created; each encode has its own regex_scratch.
 */
#ifndef WEFT_VOCAB_VOCAB_PRETOK_H
#define WEFT_VOCAB_VOCAB_PRETOK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"
#include "text/regex.h"

/* What the name says about the vocabulary besides the cuts. */
typedef enum vocab_pretok_flags {
    VOCAB_PRETOK_WHOLE_WORDS = 1, /* a word that is a token is taken as it is, unmerged */
    VOCAB_PRETOK_ADDS_BOS = 2,    /* when tokenizer.ggml.add_bos_token does not say */
    VOCAB_PRETOK_NFC = 8,         /* text is brought to normalisation form C first */
    VOCAB_PRETOK_METASPACE = 4,   /* tokens are plain text with U+2581, cut at line ends only */
    VOCAB_PRETOK_WORDS = 16,      /* with METASPACE: each U+2581 begins a word, and each line one */
    VOCAB_PRETOK_WHITE_SPACE = 32, /* tokens are plain text, cut at white space, which is dropped */
} vocab_pretok_flags;

typedef struct vocab_pretok vocab_pretok;

/* Called with each word in order, never empty. False stops the cutting. */
typedef bool vocab_pretok_fn(void *context, str word);

/* An unknown name is WEFT_UNSUPPORTED and says so. */
weft_status vocab_pretok_create(vocab_pretok **out, str name, weft_error *err) WEFT_NODISCARD;
void vocab_pretok_destroy(vocab_pretok **p);

uint32_t vocab_pretok_flags_of(const vocab_pretok *p);

/* text is well-formed UTF-8. False when the sink stopped it. */
bool vocab_pretok_split(const vocab_pretok *p, regex_scratch *scratch, str text,
                        vocab_pretok_fn *sink, void *context);

/* The known names in the order of the table; NULL behind the last. */
const char *vocab_pretok_name_at(size_t i);

#endif /* WEFT_VOCAB_VOCAB_PRETOK_H */
