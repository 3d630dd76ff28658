/* jinja_parser.h - the state shared by the two halves of the parser: statements in
 * jinja_parse.c, expressions in jinja_parse_expr.c.
 */
#ifndef WEFT_TEXT_JINJA_PARSER_H
#define WEFT_TEXT_JINJA_PARSER_H

#include "text/jinja_lex.h"
#include "text/jinja_parse.h"

typedef struct jinja_parser {
    const jinja_source *source;
    const jinja_token *token; /* the current one; the array ends with EOF */
    arena *memory;
    jinja_tree *tree;
    weft_error *err;
    uint32_t depth;
    uint32_t n_loops; /* around the current statement, inside the innermost macro */
    uint32_t names_capacity;
    /* How often these names were read so far: a macro compares before and after its body. */
    uint32_t n_caller, n_varargs, n_kwargs;
} jinja_parser;

/* Which of Python's expression forms a place allows. */
typedef enum jinja_expr_flags {
    JINJA_EXPR_NO_CONDITION = 1, /* "a if b" is not part of it */
} jinja_expr_flags;

weft_status jinja_parser_fail(jinja_parser *p, uint32_t at, const char *fmt, ...) WEFT_PRINTF(3, 4);
weft_status jinja_parser_enter(jinja_parser *p) WEFT_NODISCARD; /* one level deeper */
void jinja_parser_leave(jinja_parser *p);

weft_status jinja_parser_node(jinja_parser *p, jinja_node_kind kind, uint32_t at,
                              jinja_node **out) WEFT_NODISCARD;
weft_status jinja_parser_push(jinja_parser *p, jinja_nodes *list, jinja_node *n) WEFT_NODISCARD;
weft_status jinja_parser_intern(jinja_parser *p, str name, uint32_t *id) WEFT_NODISCARD;

bool jinja_parser_is_name(const jinja_parser *p, const char *name);
bool jinja_parser_skip(jinja_parser *p, jinja_token_kind kind);
bool jinja_parser_skip_name(jinja_parser *p, const char *name);
weft_status jinja_parser_expect(jinja_parser *p, jinja_token_kind kind) WEFT_NODISCARD;

weft_status jinja_parse_expression(jinja_parser *p, uint32_t flags,
                                   jinja_node **out) WEFT_NODISCARD;
/* One expression, or several with commas as a tuple. until: a name that ends it, or NULL. */
weft_status jinja_parse_tuple(jinja_parser *p, uint32_t flags, const char *until, bool may_be_empty,
                              jinja_node **out) WEFT_NODISCARD;
/* What can stand left of "=" or between "for" and "in". */
weft_status jinja_parse_target(jinja_parser *p, bool with_namespace, const char *until,
                               jinja_node **out) WEFT_NODISCARD;
/* "|name(args)|..." applied to value (NULL in block forms); *out is NULL when there is none. */
weft_status jinja_parse_filters(jinja_parser *p, jinja_node *value, bool starts_inline,
                                jinja_node **out) WEFT_NODISCARD;

#endif /* WEFT_TEXT_JINJA_PARSER_H */
