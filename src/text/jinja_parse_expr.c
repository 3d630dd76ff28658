/* jinja_parse_expr.c - expressions, from the loosest operator to the tightest.
 *
 *   a if b else c  >  or  >  and  >  not  >  == < in ...  >  + -  >  ~  >  * / // %  >  **
 *   >  unary - +  >  name, literal, (...)  >  .attribute [item] (call)  >  |filter, is test
 *
 * The order is jinja2's, oddities included: "~" binds tighter than "+", "**" leads from left to
 * right, and a filter behind "-a" applies to the negated value.
 */
#include "text/jinja_parser.h"

#include "text/jinja_builtins.h"

static weft_status parse_or(jinja_parser *p, jinja_node **out);
static weft_status parse_and(jinja_parser *p, jinja_node **out);
static weft_status parse_not(jinja_parser *p, jinja_node **out);
static weft_status parse_compare(jinja_parser *p, jinja_node **out);
static weft_status parse_sum(jinja_parser *p, jinja_node **out);
static weft_status parse_concat(jinja_parser *p, jinja_node **out);
static weft_status parse_product(jinja_parser *p, jinja_node **out);
static weft_status parse_power(jinja_parser *p, jinja_node **out);
static weft_status parse_unary(jinja_parser *p, bool with_filter, jinja_node **out);
static weft_status parse_primary(jinja_parser *p, bool with_namespace, jinja_node **out);
static weft_status parse_postfix(jinja_parser *p, jinja_node **n);
static weft_status parse_arguments(jinja_parser *p, jinja_arguments *args);

static weft_status parse_condition(jinja_parser *p, jinja_node **out) {
    const uint32_t at = p->token->at;
    JINJA_TRY(parse_or(p, out));
    while (jinja_parser_skip_name(p, "if")) {
        jinja_node *n;
        JINJA_TRY(jinja_parser_node(p, JINJA_NODE_CONDITION, at, &n));
        n->as.condition.yes = *out;
        JINJA_TRY(parse_or(p, &n->as.condition.test));
        if (jinja_parser_skip_name(p, "else")) {
            JINJA_TRY(jinja_parse_expression(p, 0, &n->as.condition.no));
        }
        *out = n;
    }
    return WEFT_OK;
}

weft_status jinja_parse_expression(jinja_parser *p, uint32_t flags, jinja_node **out) {
    JINJA_TRY(jinja_parser_enter(p));
    JINJA_TRY((flags & JINJA_EXPR_NO_CONDITION) != 0 ? parse_or(p, out) : parse_condition(p, out));
    jinja_parser_leave(p);
    return WEFT_OK;
}

static bool is_tuple_end(const jinja_parser *p, const char *until) {
    return p->token->kind == JINJA_TOKEN_PRINT_END || p->token->kind == JINJA_TOKEN_BLOCK_END ||
           p->token->kind == JINJA_TOKEN_RPAREN ||
           (until != NULL && jinja_parser_is_name(p, until));
}

typedef struct tuple_form {
    const char *until;
    uint32_t flags;
    bool may_be_empty;
    bool is_target; /* names only */
    bool with_namespace;
} tuple_form;

static weft_status parse_tuple_form(jinja_parser *p, const tuple_form *form, jinja_node **out) {
    const uint32_t at = p->token->at;
    jinja_nodes items = {0};
    bool is_tuple = false;
    while (!is_tuple_end(p, form->until)) {
        jinja_node *item;
        JINJA_TRY(form->is_target ? parse_primary(p, form->with_namespace, &item)
                                  : jinja_parse_expression(p, form->flags, &item));
        JINJA_TRY(jinja_parser_push(p, &items, item));
        if (!jinja_parser_skip(p, JINJA_TOKEN_COMMA)) {
            break;
        }
        is_tuple = true;
    }
    if (!is_tuple && items.count == 1) {
        *out = items.items[0];
        return WEFT_OK;
    }
    if (!is_tuple && !form->may_be_empty) {
        return jinja_parser_fail(p, p->token->at, "expected an expression, got '%s'",
                                 jinja_token_kind_text(p->token->kind));
    }
    JINJA_TRY(jinja_parser_node(p, JINJA_NODE_TUPLE, at, out));
    (*out)->as.list = items;
    return WEFT_OK;
}

weft_status jinja_parse_tuple(jinja_parser *p, uint32_t flags, const char *until, bool may_be_empty,
                              jinja_node **out) {
    const tuple_form form = {.until = until, .flags = flags, .may_be_empty = may_be_empty};
    return parse_tuple_form(p, &form, out);
}

static weft_status check_target(jinja_parser *p, const jinja_node *n, uint32_t depth) {
    if (n->kind == JINJA_NODE_NAME || n->kind == JINJA_NODE_NAMESPACE_REF) {
        return WEFT_OK;
    }
    if (n->kind != JINJA_NODE_TUPLE || depth == 8) {
        return jinja_parser_fail(p, n->at, "this cannot be assigned to");
    }
    for (uint32_t i = 0; i < n->as.list.count; i++) {
        JINJA_TRY(check_target(p, n->as.list.items[i], depth + 1));
    }
    return WEFT_OK;
}

weft_status jinja_parse_target(jinja_parser *p, bool with_namespace, const char *until,
                               jinja_node **out) {
    const tuple_form form = {.until = until, .is_target = true, .with_namespace = with_namespace};
    JINJA_TRY(parse_tuple_form(p, &form, out));
    return check_target(p, *out, 0);
}

static weft_status binary(jinja_parser *p, jinja_node_kind kind, jinja_op op, uint32_t at,
                          jinja_node *left, jinja_node *right, jinja_node **out) {
    JINJA_TRY(jinja_parser_node(p, kind, at, out));
    (*out)->as.binary.op = op;
    (*out)->as.binary.left = left;
    (*out)->as.binary.right = right;
    return WEFT_OK;
}

static weft_status parse_or(jinja_parser *p, jinja_node **out) {
    JINJA_TRY(parse_and(p, out));
    for (uint32_t at = p->token->at; jinja_parser_skip_name(p, "or"); at = p->token->at) {
        jinja_node *right;
        JINJA_TRY(parse_and(p, &right));
        JINJA_TRY(binary(p, JINJA_NODE_OR, JINJA_OP_ADD, at, *out, right, out));
    }
    return WEFT_OK;
}

static weft_status parse_and(jinja_parser *p, jinja_node **out) {
    JINJA_TRY(parse_not(p, out));
    for (uint32_t at = p->token->at; jinja_parser_skip_name(p, "and"); at = p->token->at) {
        jinja_node *right;
        JINJA_TRY(parse_not(p, &right));
        JINJA_TRY(binary(p, JINJA_NODE_AND, JINJA_OP_ADD, at, *out, right, out));
    }
    return WEFT_OK;
}

static weft_status parse_not(jinja_parser *p, jinja_node **out) {
    const uint32_t at = p->token->at;
    uint32_t n_nots = 0;
    while (jinja_parser_skip_name(p, "not")) {
        n_nots++;
    }
    JINJA_TRY(parse_compare(p, out));
    for (uint32_t i = 0; i < n_nots; i++) {
        JINJA_TRY(binary(p, JINJA_NODE_NOT, JINJA_OP_ADD, at, *out, NULL, out));
    }
    return WEFT_OK;
}

/* Reads a comparison operator; false when there is none. */
static bool parse_comparison(jinja_parser *p, jinja_op *op) {
    static const struct {
        jinja_token_kind kind;
        jinja_op op;
    } forms[] = {
        {JINJA_TOKEN_EQ, JINJA_OP_EQ}, {JINJA_TOKEN_NE, JINJA_OP_NE}, {JINJA_TOKEN_LT, JINJA_OP_LT},
        {JINJA_TOKEN_LE, JINJA_OP_LE}, {JINJA_TOKEN_GT, JINJA_OP_GT}, {JINJA_TOKEN_GE, JINJA_OP_GE},
    };
    for (size_t i = 0; i < WEFT_LEN(forms); i++) {
        if (jinja_parser_skip(p, forms[i].kind)) {
            *op = forms[i].op;
            return true;
        }
    }
    if (jinja_parser_skip_name(p, "in")) {
        *op = JINJA_OP_IN;
        return true;
    }
    if (jinja_parser_is_name(p, "not") && p->token[1].kind == JINJA_TOKEN_NAME &&
        str_eq_cstr(p->token[1].text, "in")) {
        p->token += 2;
        *op = JINJA_OP_NOT_IN;
        return true;
    }
    return false;
}

static weft_status parse_compare(jinja_parser *p, jinja_node **out) {
    JINJA_TRY(parse_sum(p, out));
    uint32_t capacity = 0;
    jinja_node *n = NULL;
    jinja_op op;
    for (uint32_t at = p->token->at; parse_comparison(p, &op);) {
        if (n == NULL) {
            JINJA_TRY(jinja_parser_node(p, JINJA_NODE_COMPARE, at, &n));
            n->as.compare.first = *out;
            *out = n;
        }
        if (n->as.compare.count == capacity) {
            capacity = capacity == 0 ? 1 : capacity * 2;
            jinja_operand *grown = arena_alloc(p->memory, capacity, sizeof(*grown));
            if (grown == NULL) {
                return jinja_source_fail(p->source, at, p->err, WEFT_NOMEM, "out of memory");
            }
            if (n->as.compare.count > 0) {
                memcpy(grown, n->as.compare.rest, n->as.compare.count * sizeof(*grown));
            }
            n->as.compare.rest = grown;
        }
        jinja_operand *operand = &n->as.compare.rest[n->as.compare.count++];
        operand->op = op;
        JINJA_TRY(parse_sum(p, &operand->value));
    }
    return WEFT_OK;
}

static weft_status parse_sum(jinja_parser *p, jinja_node **out) {
    JINJA_TRY(parse_concat(p, out));
    while (p->token->kind == JINJA_TOKEN_ADD || p->token->kind == JINJA_TOKEN_SUB) {
        const uint32_t at = p->token->at;
        const jinja_op op = p->token->kind == JINJA_TOKEN_ADD ? JINJA_OP_ADD : JINJA_OP_SUB;
        jinja_node *right;
        p->token++;
        JINJA_TRY(parse_concat(p, &right));
        JINJA_TRY(binary(p, JINJA_NODE_BINARY, op, at, *out, right, out));
    }
    return WEFT_OK;
}

static weft_status parse_concat(jinja_parser *p, jinja_node **out) {
    JINJA_TRY(parse_product(p, out));
    if (p->token->kind != JINJA_TOKEN_TILDE) {
        return WEFT_OK;
    }
    jinja_node *n;
    JINJA_TRY(jinja_parser_node(p, JINJA_NODE_CONCAT, p->token->at, &n));
    JINJA_TRY(jinja_parser_push(p, &n->as.list, *out));
    while (jinja_parser_skip(p, JINJA_TOKEN_TILDE)) {
        jinja_node *item;
        JINJA_TRY(parse_product(p, &item));
        JINJA_TRY(jinja_parser_push(p, &n->as.list, item));
    }
    *out = n;
    return WEFT_OK;
}

static bool product_op(jinja_token_kind kind, jinja_op *op) {
    switch (kind) {
    case JINJA_TOKEN_MUL: *op = JINJA_OP_MUL; return true;
    case JINJA_TOKEN_DIV: *op = JINJA_OP_DIV; return true;
    case JINJA_TOKEN_FLOORDIV: *op = JINJA_OP_FLOORDIV; return true;
    case JINJA_TOKEN_MOD: *op = JINJA_OP_MOD; return true;
    default: return false;
    }
}

static weft_status parse_product(jinja_parser *p, jinja_node **out) {
    JINJA_TRY(parse_power(p, out));
    jinja_op op;
    while (product_op(p->token->kind, &op)) {
        const uint32_t at = p->token->at;
        jinja_node *right;
        p->token++;
        JINJA_TRY(parse_power(p, &right));
        JINJA_TRY(binary(p, JINJA_NODE_BINARY, op, at, *out, right, out));
    }
    return WEFT_OK;
}

static weft_status parse_power(jinja_parser *p, jinja_node **out) {
    JINJA_TRY(parse_unary(p, true, out));
    while (p->token->kind == JINJA_TOKEN_POW) {
        const uint32_t at = p->token->at;
        jinja_node *right;
        p->token++;
        JINJA_TRY(parse_unary(p, true, &right));
        JINJA_TRY(binary(p, JINJA_NODE_BINARY, JINJA_OP_POW, at, *out, right, out));
    }
    return WEFT_OK;
}

static weft_status parse_test(jinja_parser *p, jinja_node **n);

/* Filters, tests and calls behind an operand. */
static weft_status parse_filter_expr(jinja_parser *p, jinja_node **n) {
    for (;;) {
        if (p->token->kind == JINJA_TOKEN_PIPE) {
            JINJA_TRY(jinja_parse_filters(p, *n, false, n));
        } else if (jinja_parser_is_name(p, "is")) {
            JINJA_TRY(parse_test(p, n));
        } else if (p->token->kind == JINJA_TOKEN_LPAREN) {
            JINJA_TRY(parse_postfix(p, n));
        } else {
            return WEFT_OK;
        }
    }
}

static weft_status parse_unary(jinja_parser *p, bool with_filter, jinja_node **out) {
    const jinja_token_kind kind = p->token->kind;
    if (kind == JINJA_TOKEN_SUB || kind == JINJA_TOKEN_ADD) {
        const uint32_t at = p->token->at;
        jinja_node *operand;
        p->token++;
        JINJA_TRY(jinja_parser_enter(p));
        JINJA_TRY(parse_unary(p, false, &operand));
        jinja_parser_leave(p);
        JINJA_TRY(binary(p, JINJA_NODE_UNARY, kind == JINJA_TOKEN_SUB ? JINJA_OP_SUB : JINJA_OP_ADD,
                         at, operand, NULL, out));
    } else {
        JINJA_TRY(parse_primary(p, false, out));
    }
    JINJA_TRY(parse_postfix(p, out));
    return with_filter ? parse_filter_expr(p, out) : WEFT_OK;
}

static weft_status constant(jinja_parser *p, uint32_t at, jinja_value value, jinja_node **out) {
    JINJA_TRY(jinja_parser_node(p, JINJA_NODE_CONST, at, out));
    (*out)->as.constant = value;
    return WEFT_OK;
}

static weft_status parse_name(jinja_parser *p, bool with_namespace, jinja_node **out) {
    const uint32_t at = p->token->at;
    const str name = p->token->text;
    p->token++;
    if (str_eq_cstr(name, "true") || str_eq_cstr(name, "True")) {
        return constant(p, at, jinja_bool(true), out);
    }
    if (str_eq_cstr(name, "false") || str_eq_cstr(name, "False")) {
        return constant(p, at, jinja_bool(false), out);
    }
    if (str_eq_cstr(name, "none") || str_eq_cstr(name, "None")) {
        return constant(p, at, jinja_none(), out);
    }
    uint32_t id;
    JINJA_TRY(jinja_parser_intern(p, name, &id));
    if (with_namespace && jinja_parser_skip(p, JINJA_TOKEN_DOT)) {
        JINJA_TRY(jinja_parser_node(p, JINJA_NODE_NAMESPACE_REF, at, out));
        (*out)->as.namespace_ref.id = id;
        (*out)->as.namespace_ref.text = name;
        (*out)->as.namespace_ref.attribute = p->token->text;
        return jinja_parser_expect(p, JINJA_TOKEN_NAME);
    }
    p->n_caller += id == p->tree->name_caller;
    p->n_varargs += id == p->tree->name_varargs;
    p->n_kwargs += id == p->tree->name_kwargs;
    JINJA_TRY(jinja_parser_node(p, JINJA_NODE_NAME, at, out));
    (*out)->as.name.id = id;
    (*out)->as.name.text = name;
    return WEFT_OK;
}

/* Adjacent strings are one string. */
static weft_status parse_strings(jinja_parser *p, jinja_node **out) {
    const jinja_token *first = p->token;
    size_t len = 0;
    for (; p->token->kind == JINJA_TOKEN_STRING; p->token++) {
        len += p->token->text.len;
    }
    if (p->token == first + 1) {
        return constant(p, first->at, jinja_string(first->text), out);
    }
    char *data = arena_alloc(p->memory, len + 1, 1);
    if (data == NULL) {
        return jinja_source_fail(p->source, first->at, p->err, WEFT_NOMEM, "out of memory");
    }
    len = 0;
    for (const jinja_token *t = first; t < p->token; t++) {
        if (t->text.len > 0) {
            memcpy(data + len, t->text.data, t->text.len);
            len += t->text.len;
        }
    }
    return constant(p, first->at, jinja_string(str_from(data, len)), out);
}

static weft_status parse_list(jinja_parser *p, jinja_node **out) {
    JINJA_TRY(jinja_parser_node(p, JINJA_NODE_LIST, p->token->at, out));
    p->token++;
    while (p->token->kind != JINJA_TOKEN_RBRACKET) {
        jinja_node *item;
        JINJA_TRY(jinja_parse_expression(p, 0, &item));
        JINJA_TRY(jinja_parser_push(p, &(*out)->as.list, item));
        if (p->token->kind != JINJA_TOKEN_RBRACKET) {
            JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_COMMA));
        }
    }
    p->token++;
    return WEFT_OK;
}

static weft_status parse_dict(jinja_parser *p, jinja_node **out) {
    JINJA_TRY(jinja_parser_node(p, JINJA_NODE_DICT, p->token->at, out));
    p->token++;
    while (p->token->kind != JINJA_TOKEN_RBRACE) {
        jinja_node *key;
        jinja_node *value;
        JINJA_TRY(jinja_parse_expression(p, 0, &key));
        JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_COLON));
        JINJA_TRY(jinja_parse_expression(p, 0, &value));
        JINJA_TRY(jinja_parser_push(p, &(*out)->as.dict.keys, key));
        JINJA_TRY(jinja_parser_push(p, &(*out)->as.dict.values, value));
        if (p->token->kind != JINJA_TOKEN_RBRACE) {
            JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_COMMA));
        }
    }
    p->token++;
    return WEFT_OK;
}

static weft_status parse_primary(jinja_parser *p, bool with_namespace, jinja_node **out) {
    const uint32_t at = p->token->at;
    switch (p->token->kind) {
    case JINJA_TOKEN_NAME: return parse_name(p, with_namespace, out);
    case JINJA_TOKEN_STRING: return parse_strings(p, out);
    case JINJA_TOKEN_INTEGER:
        p->token++;
        return constant(p, at, jinja_int(p->token[-1].number.integer), out);
    case JINJA_TOKEN_FLOAT:
        p->token++;
        return constant(p, at, jinja_float(p->token[-1].number.real), out);
    case JINJA_TOKEN_LPAREN:
        p->token++;
        JINJA_TRY(jinja_parse_tuple(p, 0, NULL, true, out));
        return jinja_parser_expect(p, JINJA_TOKEN_RPAREN);
    case JINJA_TOKEN_LBRACKET: return parse_list(p, out);
    case JINJA_TOKEN_LBRACE: return parse_dict(p, out);
    default:
        return jinja_parser_fail(p, at, "unexpected '%s'", jinja_token_kind_text(p->token->kind));
    }
}

/* One end of a slice, absent before ':', ',' and ']'. */
static weft_status parse_slice_part(jinja_parser *p, jinja_node **out) {
    const jinja_token_kind kind = p->token->kind;
    if (kind == JINJA_TOKEN_COLON || kind == JINJA_TOKEN_COMMA || kind == JINJA_TOKEN_RBRACKET) {
        *out = NULL;
        return WEFT_OK;
    }
    return jinja_parse_expression(p, 0, out);
}

static weft_status parse_subscript(jinja_parser *p, jinja_node **out) {
    const uint32_t at = p->token->at;
    jinja_node *from = NULL;
    if (p->token->kind != JINJA_TOKEN_COLON) {
        JINJA_TRY(jinja_parse_expression(p, 0, &from));
        if (p->token->kind != JINJA_TOKEN_COLON) {
            *out = from;
            return WEFT_OK;
        }
    }
    p->token++;
    JINJA_TRY(jinja_parser_node(p, JINJA_NODE_SLICE, at, out));
    (*out)->as.slice.from = from;
    JINJA_TRY(parse_slice_part(p, &(*out)->as.slice.to));
    if (jinja_parser_skip(p, JINJA_TOKEN_COLON)) {
        JINJA_TRY(parse_slice_part(p, &(*out)->as.slice.step));
    }
    return WEFT_OK;
}

static weft_status parse_item(jinja_parser *p, jinja_node **n) {
    jinja_node *item;
    JINJA_TRY(jinja_parser_node(p, JINJA_NODE_ITEM, p->token->at, &item));
    p->token++;
    item->as.item.object = *n;
    jinja_nodes indices = {0};
    while (p->token->kind != JINJA_TOKEN_RBRACKET) {
        jinja_node *index;
        if (indices.count > 0) {
            JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_COMMA));
        }
        JINJA_TRY(parse_subscript(p, &index));
        JINJA_TRY(jinja_parser_push(p, &indices, index));
    }
    p->token++;
    if (indices.count == 1) {
        item->as.item.index = indices.items[0];
    } else {
        JINJA_TRY(jinja_parser_node(p, JINJA_NODE_TUPLE, item->at, &item->as.item.index));
        item->as.item.index->as.list = indices;
    }
    *n = item;
    return WEFT_OK;
}

static weft_status parse_attribute(jinja_parser *p, jinja_node **n) {
    const uint32_t at = p->token->at;
    p->token++;
    const jinja_token *name = p->token;
    jinja_node *access;
    if (name->kind == JINJA_TOKEN_INTEGER) { /* a.0 is a[0] */
        JINJA_TRY(jinja_parser_node(p, JINJA_NODE_ITEM, at, &access));
        access->as.item.object = *n;
        JINJA_TRY(constant(p, at, jinja_int(name->number.integer), &access->as.item.index));
    } else if (name->kind == JINJA_TOKEN_NAME) {
        JINJA_TRY(jinja_parser_node(p, JINJA_NODE_ATTRIBUTE, at, &access));
        access->as.attribute.object = *n;
        access->as.attribute.name = name->text;
        access->as.attribute.methods = jinja_methods_find(name->text);
    } else {
        return jinja_parser_fail(p, name->at, "expected name or number after '.'");
    }
    p->token++;
    *n = access;
    return WEFT_OK;
}

static weft_status parse_postfix(jinja_parser *p, jinja_node **n) {
    for (;;) {
        jinja_node *call;
        switch (p->token->kind) {
        case JINJA_TOKEN_DOT: JINJA_TRY(parse_attribute(p, n)); break;
        case JINJA_TOKEN_LBRACKET: JINJA_TRY(parse_item(p, n)); break;
        case JINJA_TOKEN_LPAREN:
            JINJA_TRY(jinja_parser_node(p, JINJA_NODE_CALL, p->token->at, &call));
            call->as.call.callee = *n;
            JINJA_TRY(parse_arguments(p, &call->as.call.args));
            *n = call;
            break;
        default: return WEFT_OK;
        }
    }
}

static weft_status push_keyword(jinja_parser *p, jinja_arguments *args, uint32_t *capacity) {
    if (args->n_keywords == *capacity) {
        *capacity = *capacity == 0 ? 4 : *capacity * 2;
        jinja_keyword_node *grown = arena_alloc(p->memory, *capacity, sizeof(*grown));
        if (grown == NULL) {
            return jinja_source_fail(p->source, p->token->at, p->err, WEFT_NOMEM, "out of memory");
        }
        if (args->n_keywords > 0) {
            memcpy(grown, args->keywords, args->n_keywords * sizeof(*grown));
        }
        args->keywords = grown;
    }
    jinja_keyword_node *keyword = &args->keywords[args->n_keywords++];
    keyword->name = p->token->text;
    for (uint32_t i = 0; i + 1 < args->n_keywords; i++) {
        if (str_eq(args->keywords[i].name, keyword->name)) {
            return jinja_parser_fail(p, p->token->at, "keyword argument repeated: " STR_FMT,
                                     STR_ARG(keyword->name));
        }
    }
    p->token += 2;
    return jinja_parse_expression(p, 0, &keyword->value);
}

static weft_status parse_arguments(jinja_parser *p, jinja_arguments *args) {
    const uint32_t at = p->token->at;
    uint32_t capacity = 0;
    JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_LPAREN));
    while (p->token->kind != JINJA_TOKEN_RPAREN) {
        const bool has_star = args->star != NULL || args->star_star != NULL;
        bool is_valid = true;
        if (p->token->kind == JINJA_TOKEN_MUL) {
            is_valid = !has_star;
            p->token++;
            JINJA_TRY(jinja_parse_expression(p, 0, &args->star));
        } else if (p->token->kind == JINJA_TOKEN_POW) {
            is_valid = args->star_star == NULL;
            p->token++;
            JINJA_TRY(jinja_parse_expression(p, 0, &args->star_star));
        } else if (p->token->kind == JINJA_TOKEN_NAME && p->token[1].kind == JINJA_TOKEN_ASSIGN) {
            is_valid = args->star_star == NULL;
            JINJA_TRY(push_keyword(p, args, &capacity));
        } else {
            is_valid = !has_star && args->n_keywords == 0;
            jinja_node *item;
            JINJA_TRY(jinja_parse_expression(p, 0, &item));
            JINJA_TRY(jinja_parser_push(p, &args->positional, item));
        }
        if (!is_valid) {
            return jinja_parser_fail(p, at, "invalid syntax for function call expression");
        }
        if (p->token->kind != JINJA_TOKEN_RPAREN) {
            JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_COMMA));
        }
    }
    p->token++;
    return WEFT_OK;
}

/* "a" or "a.b": dotted names exist in the grammar, though no built-in has one. */
static weft_status parse_dotted_name(jinja_parser *p, str *out) {
    *out = p->token->text;
    JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_NAME));
    while (jinja_parser_skip(p, JINJA_TOKEN_DOT)) {
        const str part = p->token->text;
        JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_NAME));
        out->len = (size_t)(part.data + part.len - out->data);
    }
    return WEFT_OK;
}

weft_status jinja_parse_filters(jinja_parser *p, jinja_node *value, bool starts_inline,
                                jinja_node **out) {
    *out = value;
    while (starts_inline || p->token->kind == JINJA_TOKEN_PIPE) {
        jinja_node *n;
        p->token += !starts_inline;
        JINJA_TRY(jinja_parser_node(p, JINJA_NODE_FILTER, p->token->at, &n));
        n->as.filter.value = *out;
        JINJA_TRY(parse_dotted_name(p, &n->as.filter.name));
        n->as.filter.builtin = jinja_filter_find(n->as.filter.name);
        if (p->token->kind == JINJA_TOKEN_LPAREN) {
            JINJA_TRY(parse_arguments(p, &n->as.filter.args));
        }
        *out = n;
        starts_inline = false;
    }
    return WEFT_OK;
}

static bool starts_test_argument(const jinja_parser *p) {
    switch (p->token->kind) {
    case JINJA_TOKEN_NAME:
        return !jinja_parser_is_name(p, "else") && !jinja_parser_is_name(p, "or") &&
               !jinja_parser_is_name(p, "and");
    case JINJA_TOKEN_STRING:
    case JINJA_TOKEN_INTEGER:
    case JINJA_TOKEN_FLOAT:
    case JINJA_TOKEN_LBRACKET:
    case JINJA_TOKEN_LBRACE: return true;
    default: return false;
    }
}

static weft_status parse_test(jinja_parser *p, jinja_node **n) {
    const uint32_t at = p->token->at;
    p->token++; /* "is" */
    const bool is_negated = jinja_parser_skip_name(p, "not");
    jinja_node *test;
    JINJA_TRY(jinja_parser_node(p, JINJA_NODE_TEST, at, &test));
    test->as.filter.value = *n;
    JINJA_TRY(parse_dotted_name(p, &test->as.filter.name));
    test->as.filter.builtin = jinja_test_find(test->as.filter.name);
    if (p->token->kind == JINJA_TOKEN_LPAREN) {
        JINJA_TRY(parse_arguments(p, &test->as.filter.args));
    } else if (jinja_parser_is_name(p, "is")) {
        return jinja_parser_fail(p, p->token->at, "you cannot chain multiple tests with is");
    } else if (starts_test_argument(p)) {
        jinja_node *argument;
        JINJA_TRY(jinja_parser_enter(p));
        JINJA_TRY(parse_primary(p, false, &argument));
        JINJA_TRY(parse_postfix(p, &argument));
        jinja_parser_leave(p);
        JINJA_TRY(jinja_parser_push(p, &test->as.filter.args.positional, argument));
    }
    *n = test;
    return is_negated ? binary(p, JINJA_NODE_NOT, JINJA_OP_ADD, at, test, NULL, n) : WEFT_OK;
}
