/* jinja_tree.h - a parsed template: nodes in one arena, read-only once made.
 *
 * One struct with a union by kind. Statements hold lists of statements; expressions hold
 * expressions. Variables are numbers (an index into the template's names), because scopes are
 * searched by number; attributes stay text.
 */
#ifndef WEFT_TEXT_JINJA_TREE_H
#define WEFT_TEXT_JINJA_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "text/jinja_value.h"

typedef enum jinja_node_kind {
    /* expressions */
    JINJA_NODE_CONST,
    JINJA_NODE_NAME,
    JINJA_NODE_LIST,
    JINJA_NODE_TUPLE,
    JINJA_NODE_DICT,
    JINJA_NODE_ATTRIBUTE,
    JINJA_NODE_ITEM,
    JINJA_NODE_SLICE,
    JINJA_NODE_CALL,
    JINJA_NODE_FILTER,
    JINJA_NODE_TEST,
    JINJA_NODE_UNARY,
    JINJA_NODE_BINARY,
    JINJA_NODE_AND,
    JINJA_NODE_OR,
    JINJA_NODE_NOT,
    JINJA_NODE_CONCAT,
    JINJA_NODE_COMPARE,
    JINJA_NODE_CONDITION,
    JINJA_NODE_NAMESPACE_REF, /* only as the target of a set */
    /* statements */
    JINJA_NODE_DATA,
    JINJA_NODE_PRINT,
    JINJA_NODE_IF,
    JINJA_NODE_FOR,
    JINJA_NODE_SET,
    JINJA_NODE_SET_BLOCK,
    JINJA_NODE_MACRO,
    JINJA_NODE_CALL_BLOCK,
    JINJA_NODE_FILTER_BLOCK,
    JINJA_NODE_WITH,
    JINJA_NODE_SCOPE, /* generation and block: statements with names of their own */
    JINJA_NODE_BREAK,
    JINJA_NODE_CONTINUE,
} jinja_node_kind;

typedef enum jinja_op {
    JINJA_OP_ADD,
    JINJA_OP_SUB,
    JINJA_OP_MUL,
    JINJA_OP_DIV,
    JINJA_OP_FLOORDIV,
    JINJA_OP_MOD,
    JINJA_OP_POW,
    JINJA_OP_EQ,
    JINJA_OP_NE,
    JINJA_OP_LT,
    JINJA_OP_LE,
    JINJA_OP_GT,
    JINJA_OP_GE,
    JINJA_OP_IN,
    JINJA_OP_NOT_IN,
} jinja_op;

typedef struct jinja_node jinja_node;

typedef struct jinja_nodes {
    jinja_node **items;
    uint32_t count;
    uint32_t capacity;
} jinja_nodes;

typedef struct jinja_keyword_node {
    str name;
    jinja_node *value;
} jinja_keyword_node;

typedef struct jinja_arguments { /* f(a, b, c=d, *e, **f) */
    jinja_nodes positional;
    jinja_keyword_node *keywords;
    uint32_t n_keywords;
    jinja_node *star;      /* may be NULL */
    jinja_node *star_star; /* may be NULL */
} jinja_arguments;

typedef struct jinja_branch { /* test is NULL in the else branch */
    jinja_node *test;
    jinja_nodes body;
} jinja_branch;

typedef struct jinja_operand {
    jinja_op op;
    jinja_node *value;
} jinja_operand;

typedef struct jinja_parameter {
    uint32_t name;
    str text;
    jinja_node *value; /* the default; NULL when there is none */
} jinja_parameter;

typedef struct jinja_signature {
    jinja_parameter *items;
    uint32_t count;
    bool uses_caller, uses_varargs, uses_kwargs; /* the body mentions them */
} jinja_signature;

/* Methods of an attribute's name by the type of the object, looked up once. */
typedef struct jinja_method_set {
    const struct jinja_builtin *of_string;
    const struct jinja_builtin *of_list;
    const struct jinja_builtin *of_tuple;
    const struct jinja_builtin *of_dict;
} jinja_method_set;

struct jinja_node {
    jinja_node_kind kind;
    uint32_t at; /* byte offset in the source */
    union {
        jinja_value constant;
        str data;
        struct {
            uint32_t id;
            str text;
        } name;
        jinja_nodes list; /* LIST, TUPLE, CONCAT; SCOPE's body */
        struct {
            jinja_nodes keys, values;
        } dict;
        struct {
            jinja_node *object;
            str name;
            jinja_method_set methods;
        } attribute;
        struct {
            jinja_node *object, *index;
        } item;
        struct {
            jinja_node *from, *to, *step; /* each may be NULL */
        } slice;
        struct {
            jinja_node *callee;
            jinja_arguments args;
        } call;
        struct {
            jinja_node *value; /* NULL in set and filter blocks: the block's text */
            str name;
            const struct jinja_builtin *builtin; /* NULL: no such filter or test */
            jinja_arguments args;
        } filter; /* FILTER and TEST */
        struct {
            jinja_op op;
            jinja_node *left, *right; /* UNARY and NOT: left */
        } binary;                     /* UNARY, BINARY, AND, OR, NOT */
        struct {
            jinja_node *first;
            jinja_operand *rest;
            uint32_t count;
        } compare;
        struct {
            jinja_node *test, *yes, *no; /* no may be NULL */
        } condition;
        struct {
            uint32_t id;
            str text;
            str attribute;
        } namespace_ref;
        jinja_node *print;
        struct {
            jinja_branch *branches;
            uint32_t count;
        } branch;
        struct {
            jinja_node *target, *iterable, *test; /* test may be NULL */
            jinja_nodes body, otherwise;
            bool is_recursive;
        } loop;
        struct {
            jinja_node *target, *value; /* SET_BLOCK: value is the filter or NULL */
            jinja_nodes body;
        } set;
        struct {
            uint32_t id;
            str name;
            jinja_signature signature;
            jinja_nodes body;
            jinja_node *call; /* CALL_BLOCK */
        } macro;
        struct {
            jinja_node *filter;
            jinja_nodes body;
        } filter_block;
        struct {
            jinja_nodes targets, values, body;
        } with;
    } as;
};

#endif /* WEFT_TEXT_JINJA_TREE_H */
