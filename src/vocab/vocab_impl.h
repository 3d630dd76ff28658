/* vocab_impl.h - what a vocabulary is made of, for the files of this room.
 *
 *   vocab.c ── vocab_load.c     metadata: models, special numbers, flags
 *           ├─ vocab_table      texts, pieces, kinds
 *           ├─ vocab_special    tokens recognised in the text
 *           ├─ vocab_bpe.c      byte pair encoding: vocab_pretok, vocab_merges, vocab_word
 *           ├─ vocab_spm.c      SentencePiece: vocab_cuts, vocab_word
 *           ├─ vocab_unigram.c  SentencePiece's unigram: vocab_charsmap, vocab_cuts, vocab_best
 *           ├─ vocab_wordpiece.c  BERT: vocab_trie
 *           ├─ vocab_plamo2.c   cheapest cut, from the end: vocab_trie
 *           ├─ vocab_rwkv.c     longest match: vocab_trie
 *           ├─ vocab_decoder.c  pieces to text
 *           └─ tokjson.h        all of it from a tokenizer.json, by steps of its own
 */
#ifndef WEFT_VOCAB_VOCAB_IMPL_H
#define WEFT_VOCAB_VOCAB_IMPL_H

#include "vocab/vocab.h"
#include "vocab/vocab_best.h"
#include "vocab/vocab_cache.h"
#include "vocab/vocab_charsmap.h"
#include "vocab/vocab_cuts.h"
#include "vocab/vocab_merges.h"
#include "vocab/vocab_pretok.h"
#include "vocab/vocab_special.h"
#include "vocab/vocab_table.h"
#include "vocab/vocab_trie.h"
#include "vocab/vocab_word.h"

#define VOCAB_MODEL_NAME_MAX 32u

/* What unigram needs besides the table. */
typedef struct vocab_unigram {
    vocab_charsmap charsmap;
    bool drops_spaces; /* at both ends, and all but one of a run */
} vocab_unigram;

/* What BERT's normaliser is told. */
typedef struct vocab_wordpiece {
    bool is_lower;
    bool strips_accents;
} vocab_wordpiece;

/* The scratch of one encode. */
typedef struct vocab_run {
    const vocab *vocab;
    vocab_ids *out;
    regex_scratch *regex; /* NULL where no pattern is matched */
    vocab_cache cache;
    vocab_word word;
    char *text; /* grown as needed: a word as the vocabulary spells it */
    size_t text_capacity;
    vocab_best best;       /* unigram's search */
    bool is_after_unknown; /* the unknown token was written last: one stands for a run */
    bool met_unknown;      /* since it was cleared */
} vocab_run;

/* Encodes what stands between two special tokens. False when memory is out. */
typedef bool vocab_encode_fn(vocab_run *run, str text);

struct tokjson;

struct vocab {
    char model[VOCAB_MODEL_NAME_MAX];
    vocab_table table;
    vocab_special special;      /* control, user-defined and unknown tokens */
    vocab_special user_defined; /* these are recognised even where special tokens are not */
    vocab_encode_fn *encode;
    struct tokjson *tokjson; /* of a vocabulary from a tokenizer.json; else NULL */
    vocab_merges merges;
    vocab_pretok *pretok; /* NULL but for byte pair encoding with merges */
    vocab_cuts cuts;
    vocab_trie trie;       /* of unigram, WordPiece and RWKV */
    vocab_best_model best; /* of unigram and PLaMo 2 */
    vocab_unigram unigram;
    vocab_wordpiece wordpiece;
    int32_t byte_ids[256]; /* the token that is this byte, VOCAB_NONE when there is none */
    int32_t char_ids[128]; /* the token that is this ASCII character */
    int32_t bos;
    int32_t eos;
    int32_t separator; /* BERT ends a text with it */
    int32_t unknown;
    bool is_whole_words; /* a word that is a token is not merged */
    bool is_space_words; /* a line begins with U+2581, and each U+2581 begins a word */
    bool is_lower;       /* text is, before it is cut at white space */
    bool has_all_bytes;  /* no entry of byte_ids is VOCAB_NONE */
    bool adds_bos;
    bool adds_eos;
    bool adds_separator;
    bool adds_space; /* before the text and after each special token */
};

/* vocab_load.c: fills everything. On failure what was filled is left for vocab_destroy. */
weft_status vocab_load(vocab *v, const weights *w, weft_error *err) WEFT_NODISCARD;

/* vocab_bpe.c */
vocab_encode_fn vocab_bpe_encode;           /* byte level */
vocab_encode_fn vocab_bpe_encode_metaspace; /* plain text with U+2581 */
vocab_encode_fn vocab_bpe_encode_words;     /* plain text between white space */

/* vocab_spm.c */
vocab_encode_fn vocab_spm_encode;

/* vocab_unigram.c */
vocab_encode_fn vocab_unigram_encode;
weft_status vocab_unigram_init(vocab_unigram *u, vocab_best_model *m, const vocab_table *t,
                               const weights *w, weft_error *err) WEFT_NODISCARD;
void vocab_unigram_deinit(vocab_unigram *u); /* accepts a zeroed one */

/* vocab_wordpiece.c */
vocab_encode_fn vocab_wordpiece_encode;
weft_status vocab_wordpiece_init(vocab_wordpiece *p, const weights *w,
                                 weft_error *err) WEFT_NODISCARD;

/* vocab_plamo2.c */
vocab_encode_fn vocab_plamo2_encode;
weft_status vocab_plamo2_init(vocab_best_model *m, const vocab_table *t,
                              weft_error *err) WEFT_NODISCARD;

/* vocab_rwkv.c */
vocab_encode_fn vocab_rwkv_encode;

/* vocab.c: capacity for n more ids, so that they can be written to out->ids + out->count. */
bool vocab_run_reserve(vocab_run *run, size_t n);

/* vocab.c: room for n bytes in run->text. */
bool vocab_run_text(vocab_run *run, size_t n);

/* vocab.c: a run of text as a sequence of symbols in vocabularies that spell a space U+2581. Writes
 * the spelling to run->text and pushes one symbol a character; bytes that are not UTF-8
 * become U+FFFD, one each. */
bool vocab_run_spell(vocab_run *run, str text, bool has_space_before);

/* vocab.c: writes the tokens of the symbols left after merging. A symbol that is no token is
 * written byte by byte, or as the unknown token where bytes have none. */
bool vocab_run_emit(vocab_run *run);

#endif /* WEFT_VOCAB_VOCAB_IMPL_H */
