/* tokjson.h - a tokenizer.json of Hugging Face: a pipeline of small steps around a model.
 *
 *   text ─► added tokens ─► normalise ─► added tokens ─► pre-tokenise ─► model ─► ids ─► template
 *              as spelled                   as normalised
 *
 * tokjson_load.c    the file: where its parts stand, and the order in which they load
 * tokjson_model.c   the model's tokens and merges
 * tokjson_post.c    the template around a text
 * tokjson_normalise the normaliser    tokjson_pretok  the pre-tokeniser
 * tokjson_precompiled  its compiled kind
 * tokjson_scripts   its runs of one script
 * tokjson_added     added tokens      tokjson_decode  the decoder, for each token alone
 * tokjson_encode.c  running all of it: words through the model
 * tokjson_stream    running the decoder over tokens as they come
 *
 * Each step of a kind that is not known is refused by name. Limits: TOKJSON_* below.
 *
 * Threads: read-only once loaded; each encode has its own tokjson_run.
 */
#ifndef WEFT_VOCAB_TOKJSON_H
#define WEFT_VOCAB_TOKJSON_H

#include "base/arena.h"
#include "text/regex.h"
#include "vocab/tokjson_decode.h"
#include "vocab/vocab_impl.h"

#define TOKJSON_FILE_BYTES_MAX (512u << 20)
#define TOKJSON_STEPS_MAX 24u   /* of a normaliser or a pre-tokeniser, sequences opened */
#define TOKJSON_DECODES_MAX 64u /* of a decoder, each of its parts taken to pieces */
#define TOKJSON_DEPTH_MAX 8u    /* of sequences within sequences */
#define TOKJSON_TEMPLATE_MAX 32u
#define TOKJSON_TEXT_BYTES_MAX (768u << 20) /* of a normalised text */
#define TOKJSON_UNSAID INT64_MIN
#define TOKJSON_NAME_MAX 64u /* of a continuing prefix or a suffix */

/* Of a token that is in the added tokens only: the model does not find it. */
#define TOKJSON_ATTR_OUTSIDE 0x8000u

struct json_t;

/* Where the parts stand in the file, and the small members of the model. The two large ones, vocab
 * and merges, are read where they stand; jansson gets the steps only. */
typedef struct tokjson_file {
    str normalizer;
    str pre_tokenizer;
    str post_processor;
    str decoder;
    str added_tokens;
    bool has_model;
    str type; /* of the model; empty in older files */
    str vocab;
    str merges;
    str unk_token;  /* data is NULL: none */
    int64_t unk_id; /* TOKJSON_UNSAID: none */
    str prefix;
    str suffix;
    int64_t word_chars_max;
    bool is_unknown_fused;
    bool has_byte_fallback;
    bool is_whole_words;
    arena strings; /* texts that had escapes */
} tokjson_file;

typedef enum tokjson_norm_kind {
    TOKJSON_NORM_FORM, /* NFC and its sisters */
    TOKJSON_NORM_LOWERCASE,
    TOKJSON_NORM_REPLACE,
    TOKJSON_NORM_PREPEND,
    TOKJSON_NORM_APPEND,
    TOKJSON_NORM_STRIP,
    TOKJSON_NORM_STRIP_ACCENTS,
    TOKJSON_NORM_CLEAN,      /* BERT: no controls, every space U+0020 */
    TOKJSON_NORM_CHINESE,    /* BERT: spaces around ideographs */
    TOKJSON_NORM_NONSPACING, /* BERT: without nonspacing marks */
    TOKJSON_NORM_NMT,
    TOKJSON_NORM_BYTE_LEVEL,
    TOKJSON_NORM_PRECOMPILED,
} tokjson_norm_kind;

typedef struct tokjson_norm {
    tokjson_norm_kind kind;
    int form;                /* utf8proc's options */
    str what;                /* replaced; empty where there is a pattern */
    str with;                /* instead, before or after */
    regex *regex;            /* replaced; NULL where a text is */
    vocab_charsmap charsmap; /* of a compiled one */
    bool is_left;            /* strips there */
    bool is_right;
} tokjson_norm;

typedef enum tokjson_pretok_kind {
    TOKJSON_PRETOK_SPLIT, /* by pattern, text or class of characters */
    TOKJSON_PRETOK_PREFIX_SPACE,
    TOKJSON_PRETOK_BYTES, /* GPT-2's stand-ins */
    TOKJSON_PRETOK_METASPACE,
    TOKJSON_PRETOK_FIXED, /* so many characters each */
} tokjson_pretok_kind;

typedef enum tokjson_behavior {
    TOKJSON_REMOVED,
    TOKJSON_ISOLATED,
    TOKJSON_MERGED_WITH_PREVIOUS,
    TOKJSON_MERGED_WITH_NEXT,
    TOKJSON_CONTIGUOUS,
} tokjson_behavior;

typedef enum tokjson_prepend { TOKJSON_ALWAYS, TOKJSON_FIRST, TOKJSON_NEVER } tokjson_prepend;

/* True for the characters that a step splits at. */
typedef bool tokjson_class_fn(uint32_t cp);

typedef struct tokjson_pretok {
    tokjson_pretok_kind kind;
    tokjson_behavior behavior;
    bool is_inverted;
    regex *regex;                              /* one of these three splits */
    tokjson_class_fn *characters;              /* each character is a match of its own */
    str text;                                  /* also what a metaspace is written as */
    const struct vocab_threes_pattern *threes; /* the matches of regex are whole numbers; or NULL */
    tokjson_prepend prepend;
    uint32_t n_chars;
} tokjson_pretok;

typedef struct tokjson_added_token {
    str text; /* as it is looked for */
    int32_t id;
    bool is_special;
    bool is_outside; /* the model does not have it */
    bool is_normalized;
    bool is_single_word;
    bool strips_left;
    bool strips_right;
} tokjson_added_token;

/* A vocab_special over texts of its own. `which` of an entry leads to the added token. */
typedef struct tokjson_matcher {
    vocab_table texts; /* texts, at and attrs only */
    vocab_special find;
    uint32_t *which;
} tokjson_matcher;

typedef enum tokjson_model_kind {
    TOKJSON_BPE,
    TOKJSON_WORDPIECE,
    TOKJSON_WORDLEVEL,
    TOKJSON_UNIGRAM,
} tokjson_model_kind;

#define TOKJSON_CHARS 512u /* characters whose tokens are found without a search */

typedef struct tokjson_model {
    tokjson_model_kind kind;
    int32_t unknown; /* VOCAB_NONE: what has no token is left out */
    bool is_unknown_fused;
    bool has_byte_fallback; /* and no entry of byte_ids is missing, or it is looked up singly */
    bool is_whole_words;    /* a word that is a token is not merged */
    str prefix;             /* of what continues a word */
    str suffix;             /* of what ends a word */
    uint32_t word_chars_max;
    int32_t char_ids[TOKJSON_CHARS]; /* without prefix and suffix */
} tokjson_model;

/* What an encoding with the special tokens is: VOCAB_NONE stands for the text's tokens. */
typedef struct tokjson_template {
    int32_t ids[TOKJSON_TEMPLATE_MAX];
    uint32_t count;
} tokjson_template;

typedef struct tokjson {
    arena memory; /* every str below */
    tokjson_norm norms[TOKJSON_STEPS_MAX];
    uint32_t n_norms;
    tokjson_pretok pretoks[TOKJSON_STEPS_MAX];
    uint32_t n_pretoks;
    tokjson_decode decodes[TOKJSON_DECODES_MAX];
    uint32_t n_decodes;
    bool has_decoder;
    bool is_fused;      /* while the decoder loads: its steps so far make one token of all */
    uint32_t *added_at; /* by id: of added, plus 1; 0 for none */
    bool is_byte_level; /* broken UTF-8 is encoded as bytes */
    tokjson_added_token *added;
    uint32_t n_added;
    tokjson_matcher raw;        /* sought in the text as it comes */
    tokjson_matcher normalized; /* sought behind the normaliser */
    tokjson_template template;
    tokjson_model model;
} tokjson;

/* What a text went through; bufs alternate. */
typedef struct tokjson_scratch {
    regex_scratch *regex;
    buf bufs[2];
} tokjson_scratch;

typedef struct tokjson_run {
    vocab_run run; /* output, cache, symbols */
    const tokjson *tok;
    bool parses_special;
    tokjson_scratch scratch;
    buf stages[TOKJSON_STEPS_MAX]; /* text that a pre-tokeniser's step wrote */
    buf spelling;
} tokjson_run;

/* tokjson_load.c */
void tokjson_destroy(tokjson **t);
/* A copy in t->memory; NULL data when memory is out. */
str tokjson_keep(tokjson *t, str s);
/* The type of a step, or "" when it is none. */
const char *tokjson_type(const struct json_t *step);
str tokjson_get_str(const struct json_t *object, const char *key);
bool tokjson_get_bool(const struct json_t *object, const char *key, bool absent);
weft_status tokjson_nomem(weft_error *err);
/* {"String": ...} or {"Regex": ...}: fills one of the two. An empty text is a pattern, which is
 * found between all characters. */
weft_status tokjson_get_pattern(tokjson *t, const struct json_t *step, str *text, regex **pattern,
                                weft_error *err) WEFT_NODISCARD;

/* The parts of the file: each fills its part of t. step may be NULL or JSON's null. */
weft_status tokjson_norm_load(tokjson *t, const struct json_t *step, uint32_t depth,
                              weft_error *err) WEFT_NODISCARD;
weft_status tokjson_pretok_load(tokjson *t, const struct json_t *step, uint32_t depth,
                                weft_error *err) WEFT_NODISCARD;
weft_status tokjson_decode_load(tokjson *t, const struct json_t *step, uint32_t depth,
                                weft_error *err) WEFT_NODISCARD;
weft_status tokjson_post_load(tokjson *t, const struct json_t *step, uint32_t depth,
                              weft_error *err) WEFT_NODISCARD;
weft_status tokjson_added_load(tokjson *t, tokjson_file *file, weft_error *err) WEFT_NODISCARD;
/* Fills v->table (without pieces), v->merges or v->trie and v->unigram, and t->model. */
weft_status tokjson_model_load(tokjson *t, vocab *v, tokjson_file *file,
                               weft_error *err) WEFT_NODISCARD;
/* Fills v->table.pieces and t->added_at; wants the table. */
weft_status tokjson_decode_fill(tokjson *t, vocab *v, weft_error *err) WEFT_NODISCARD;
/* Builds the matchers; wants the normaliser. */
weft_status tokjson_added_index(tokjson *t, weft_error *err) WEFT_NODISCARD;
void tokjson_matcher_deinit(tokjson_matcher *m);

/* tokjson_precompiled.c: SentencePiece's compiled normaliser, given as base64, and run as the
 * tokenizers library does, by grapheme. */
weft_status tokjson_precompiled_load(vocab_charsmap *c, str base64, weft_error *err) WEFT_NODISCARD;
bool tokjson_precompiled_run(const vocab_charsmap *c, str text, buf *out);

/* text is UTF-8. *out is text or lies in scratch until the next call. *is_first becomes false where
 * the beginning was taken away. False when memory is out. */
bool tokjson_normalise(const tokjson *t, tokjson_scratch *scratch, str text, str *out,
                       bool *is_first) WEFT_NODISCARD;
/* Appends bytes as GPT-2's stand-ins. */
bool tokjson_append_stand_ins(buf *out, str bytes);

/* tokjson_scripts.c: a pattern of runs of one script; appends it. */
bool tokjson_scripts_pattern(buf *out);

/* Cuts text into words and encodes each. is_first: it begins where the whole text does. */
bool tokjson_pretok_run(tokjson_run *run, str text, bool is_first) WEFT_NODISCARD;

/* The next added token at or after `from`; special ones only where the run parses them. False when
 * there is none. at and to of the match include the space it strips. */
typedef struct tokjson_match {
    size_t from;
    size_t to;
    size_t next;      /* where to look for the one after it */
    size_t spaces_to; /* what matches have stripped to the right ends here */
    int32_t id;
} tokjson_match;
bool tokjson_added_find(const tokjson_run *run, const tokjson_matcher *m, str text, size_t from,
                        size_t done, tokjson_match *match);

/* Encodes one word, spelled as the vocabulary spells it. */
bool tokjson_encode_word(tokjson_run *run, str word) WEFT_NODISCARD;
weft_status tokjson_encode(const vocab *v, str text, uint32_t flags, vocab_ids *out,
                           weft_error *err) WEFT_NODISCARD;
/* A token of the model by its text. */
int32_t tokjson_find(const vocab *v, str text);

/* Classes of characters, as Rust's char and the category tables have them. */
bool tokjson_is_space(uint32_t cp);
/* The small form of a character, of one or two; returns how many. */
size_t tokjson_lower(uint32_t to[2], uint32_t cp);
bool tokjson_is_punctuation(uint32_t cp);
bool tokjson_is_numeric(uint32_t cp);
bool tokjson_is_word(uint32_t cp); /* \w */

#endif /* WEFT_VOCAB_TOKJSON_H */
