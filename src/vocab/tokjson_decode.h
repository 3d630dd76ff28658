/* tokjson_decode.h - the decoder of a tokenizer.json: its steps, what they make of one token, and
 * the stream of tokens through all of them.
 */
#ifndef WEFT_VOCAB_TOKJSON_DECODE_H
#define WEFT_VOCAB_TOKJSON_DECODE_H

#include "text/regex.h"
#include "vocab/vocab.h"

struct tokjson;

typedef enum tokjson_decode_kind {
    TOKJSON_DECODE_BYTE_LEVEL,
    TOKJSON_DECODE_BYTE_FALLBACK,
    TOKJSON_DECODE_REPLACE, /* a text; an empty one stands between characters */
    TOKJSON_DECODE_PATTERN, /* the same for a pattern */
    TOKJSON_DECODE_STRIP,
    TOKJSON_DECODE_METASPACE,  /* a text by a space, in the first token by nothing */
    TOKJSON_DECODE_SUFFIX,     /* a text by a space, in the last token by nothing */
    TOKJSON_DECODE_WORDS,      /* a space before each token but the first and those with a prefix */
    TOKJSON_DECODE_UNIQUE,     /* a token that comes again at once is shown once */
    TOKJSON_DECODE_DROP_EMPTY, /* tokens */
} tokjson_decode_kind;

typedef struct tokjson_decode {
    tokjson_decode_kind kind;
    bool is_growing; /* behind a step that makes one token of all: it gets that, part by part */
    str what;
    str with;
    regex *regex;    /* of a pattern */
    uint32_t n_left; /* characters stripped */
    uint32_t n_right;
} tokjson_decode;

/* What a step that looks at nothing beside makes of a token; is_first counts for METASPACE and
 * WORDS. False when memory is out. */
bool tokjson_decode_token(const tokjson_decode *d, regex_scratch *matching, str token,
                          bool is_first, buf *out) WEFT_NODISCARD;
/* What a decoder gets for a token. */
str tokjson_decode_text(const vocab *v, int32_t id);
bool tokjson_decode_replace(str text, str what, str with, buf *out) WEFT_NODISCARD;
/* Bytes for stand-ins; false for a text with a character that is none, which is then as it was. */
bool tokjson_decode_bytes(str text, buf *out);

/* tokjson_stream.c: the decoder over tokens as they come. NULL when memory is out. */
typedef struct tokjson_stream tokjson_stream;
tokjson_stream *tokjson_stream_create(const vocab *v);
void tokjson_stream_destroy(tokjson_stream **s);
/* False where the tokens' pieces, one after the other, are the text. */
bool tokjson_stream_is_needed(const struct tokjson *t);
/* Appends what can no longer change; out fails with what fails here. */
void tokjson_stream_push(tokjson_stream *s, int32_t id, buf *out);
void tokjson_stream_flush(tokjson_stream *s, buf *out);
/* An error when a pattern of the decoder was given up. */
weft_status tokjson_stream_status(const tokjson_stream *s, weft_error *err) WEFT_NODISCARD;

#endif /* WEFT_VOCAB_TOKJSON_DECODE_H */
