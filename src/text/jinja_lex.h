/* jinja_lex.h - a template's text becomes tokens, white space rules already applied.
 *
 * White space control ('-' and '+'), trim_blocks, lstrip_blocks, comments and raw blocks are
 * settled here: the parser sees data, tags and expressions, nothing else.
 */
#ifndef WEFT_TEXT_JINJA_LEX_H
#define WEFT_TEXT_JINJA_LEX_H

#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"
#include "text/jinja_source.h"

typedef enum jinja_token_kind {
    JINJA_TOKEN_EOF,
    JINJA_TOKEN_DATA,
    JINJA_TOKEN_PRINT_BEGIN,
    JINJA_TOKEN_PRINT_END,
    JINJA_TOKEN_BLOCK_BEGIN,
    JINJA_TOKEN_BLOCK_END,
    JINJA_TOKEN_NAME,
    JINJA_TOKEN_STRING,
    JINJA_TOKEN_INTEGER,
    JINJA_TOKEN_FLOAT,
    JINJA_TOKEN_ADD,
    JINJA_TOKEN_SUB,
    JINJA_TOKEN_MUL,
    JINJA_TOKEN_DIV,
    JINJA_TOKEN_FLOORDIV,
    JINJA_TOKEN_MOD,
    JINJA_TOKEN_POW,
    JINJA_TOKEN_TILDE,
    JINJA_TOKEN_LBRACKET,
    JINJA_TOKEN_RBRACKET,
    JINJA_TOKEN_LPAREN,
    JINJA_TOKEN_RPAREN,
    JINJA_TOKEN_LBRACE,
    JINJA_TOKEN_RBRACE,
    JINJA_TOKEN_EQ,
    JINJA_TOKEN_NE,
    JINJA_TOKEN_GT,
    JINJA_TOKEN_GE,
    JINJA_TOKEN_LT,
    JINJA_TOKEN_LE,
    JINJA_TOKEN_ASSIGN,
    JINJA_TOKEN_DOT,
    JINJA_TOKEN_COLON,
    JINJA_TOKEN_PIPE,
    JINJA_TOKEN_COMMA,
    JINJA_TOKEN_SEMICOLON,
} jinja_token_kind;

typedef struct jinja_token {
    jinja_token_kind kind;
    uint32_t at; /* byte offset in the source */
    str text;    /* data, name, unescaped string, or the operator as written */
    union {
        int64_t integer;
        double real;
    } number;
} jinja_token;

typedef struct jinja_tokens {
    jinja_token *items; /* ends with one JINJA_TOKEN_EOF */
    size_t count;
    size_t capacity;
} jinja_tokens;

/* Texts point into the source or into memory. Free with jinja_tokens_deinit in any case. */
weft_status jinja_lex(jinja_tokens *out, arena *memory, const jinja_source *source,
                      weft_error *err) WEFT_NODISCARD;
void jinja_tokens_deinit(jinja_tokens *t);

/* "end of statement block" or the operator: how messages call a kind of token. */
const char *jinja_token_kind_text(jinja_token_kind kind);

#endif /* WEFT_TEXT_JINJA_LEX_H */
