/* jinja_parse.c - statements: the tags of a template and the text between them.
 *
 * A recursive descent parser over the token array. Every statement is one function that begins
 * behind its tag's name and ends before the closing mark of its last tag. Bodies end at the
 * first tag named in a list of enders ("elif", "else", "endif"), which stays the current token.
 *
 * Expressions are in jinja_parse_expr.c; the two share jinja_parser.h.
 */
#include "text/jinja_parse.h"

#include <stdio.h>

#include "text/jinja.h"
#include "text/jinja_parser.h"

/* Tags that end a body; NULL-terminated. The names appear in messages as written here. */
static const char *const until_endif[] = {"elif", "else", "endif", NULL};
static const char *const until_endfor[] = {"else", "endfor", NULL};
static const char *const only_endif[] = {"endif", NULL};
static const char *const only_endfor[] = {"endfor", NULL};
static const char *const only_endset[] = {"endset", NULL};
static const char *const only_endmacro[] = {"endmacro", NULL};
static const char *const only_endcall[] = {"endcall", NULL};
static const char *const only_endfilter[] = {"endfilter", NULL};
static const char *const only_endwith[] = {"endwith", NULL};
static const char *const only_endblock[] = {"endblock", NULL};
static const char *const only_endgeneration[] = {"endgeneration", NULL};

static weft_status parse_until(jinja_parser *p, const char *const *enders, jinja_nodes *out);
static weft_status parse_body(jinja_parser *p, const char *const *enders, jinja_nodes *out);
static weft_status parse_statement(jinja_parser *p, jinja_nodes *out);

weft_status jinja_parse(jinja_tree *out, arena *memory, const jinja_source *source,
                        weft_error *err) {
    *out = (jinja_tree){0};
    strmap_init(&out->names, MEM_TEXT);
    jinja_tokens tokens;
    weft_status status = jinja_lex(&tokens, memory, source, err);
    if (status != WEFT_OK) {
        goto done;
    }
    jinja_parser p = {
        .source = source, .token = tokens.items, .memory = memory, .tree = out, .err = err};
    status = jinja_parser_intern(&p, STR_LIT("loop"), &out->name_loop);
    if (status == WEFT_OK) {
        status = jinja_parser_intern(&p, STR_LIT("caller"), &out->name_caller);
    }
    if (status == WEFT_OK) {
        status = jinja_parser_intern(&p, STR_LIT("varargs"), &out->name_varargs);
    }
    if (status == WEFT_OK) {
        status = jinja_parser_intern(&p, STR_LIT("kwargs"), &out->name_kwargs);
    }
    if (status == WEFT_OK) {
        status = parse_until(&p, NULL, &out->body);
    }
done:
    jinja_tokens_deinit(&tokens);
    return status;
}

void jinja_tree_deinit(jinja_tree *t) { strmap_deinit(&t->names); }

weft_status jinja_parser_fail(jinja_parser *p, uint32_t at, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    const weft_status status = jinja_source_vfail(p->source, at, p->err, WEFT_FORMAT, fmt, args);
    va_end(args);
    return status;
}

static weft_status out_of_memory(jinja_parser *p) {
    return jinja_source_fail(p->source, p->token->at, p->err, WEFT_NOMEM,
                             "out of memory for the parsed template");
}

weft_status jinja_parser_enter(jinja_parser *p) {
    if (p->depth == JINJA_DEPTH_MAX) {
        return jinja_source_fail(p->source, p->token->at, p->err, WEFT_LIMIT,
                                 "the template nests deeper than %d", JINJA_DEPTH_MAX);
    }
    p->depth++;
    return WEFT_OK;
}

void jinja_parser_leave(jinja_parser *p) { p->depth--; }

weft_status jinja_parser_node(jinja_parser *p, jinja_node_kind kind, uint32_t at,
                              jinja_node **out) {
    jinja_node *n = arena_alloc(p->memory, 1, sizeof(*n));
    if (n == NULL) {
        return out_of_memory(p);
    }
    n->kind = kind;
    n->at = at;
    *out = n;
    return WEFT_OK;
}

weft_status jinja_parser_push(jinja_parser *p, jinja_nodes *list, jinja_node *n) {
    if (list->count == list->capacity) {
        const uint32_t capacity = list->capacity == 0 ? 4 : list->capacity * 2;
        jinja_node **items = arena_alloc(p->memory, capacity, sizeof(*items));
        if (items == NULL) {
            return out_of_memory(p);
        }
        if (list->count > 0) {
            memcpy(items, list->items, list->count * sizeof(*items));
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = n;
    return WEFT_OK;
}

weft_status jinja_parser_intern(jinja_parser *p, str name, uint32_t *id) {
    jinja_tree *t = p->tree;
    if (strmap_get(&t->names, name, id)) {
        return WEFT_OK;
    }
    if (t->n_names == p->names_capacity) {
        const uint32_t capacity = p->names_capacity == 0 ? 32 : p->names_capacity * 2;
        str *texts = arena_alloc(p->memory, capacity, sizeof(*texts));
        if (texts == NULL) {
            return out_of_memory(p);
        }
        if (t->n_names > 0) {
            memcpy(texts, t->name_texts, t->n_names * sizeof(*texts));
        }
        t->name_texts = texts;
        p->names_capacity = capacity;
    }
    if (!strmap_put(&t->names, name, t->n_names)) {
        return out_of_memory(p);
    }
    t->name_texts[t->n_names] = name;
    *id = t->n_names++;
    return WEFT_OK;
}

bool jinja_parser_is_name(const jinja_parser *p, const char *name) {
    return p->token->kind == JINJA_TOKEN_NAME && str_eq_cstr(p->token->text, name);
}

bool jinja_parser_skip(jinja_parser *p, jinja_token_kind kind) {
    if (p->token->kind != kind) {
        return false;
    }
    p->token++;
    return true;
}

bool jinja_parser_skip_name(jinja_parser *p, const char *name) {
    if (!jinja_parser_is_name(p, name)) {
        return false;
    }
    p->token++;
    return true;
}

weft_status jinja_parser_expect(jinja_parser *p, jinja_token_kind kind) {
    if (p->token->kind == kind) {
        p->token++;
        return WEFT_OK;
    }
    if (p->token->kind == JINJA_TOKEN_EOF) {
        return jinja_parser_fail(p, p->token->at, "unexpected end of template, expected '%s'",
                                 jinja_token_kind_text(kind));
    }
    const bool has_text = p->token->kind == JINJA_TOKEN_NAME;
    return jinja_parser_fail(
        p, p->token->at, "expected token '%s', got '" STR_FMT "'", jinja_token_kind_text(kind),
        STR_ARG(has_text ? p->token->text : str_from_cstr(jinja_token_kind_text(p->token->kind))));
}

static bool is_one_of(const jinja_parser *p, const char *const *names) {
    for (; names != NULL && *names != NULL; names++) {
        if (jinja_parser_is_name(p, *names)) {
            return true;
        }
    }
    return false;
}

/* Text, prints and statements up to a tag of `enders` (whose name is then the current token), or
 * up to the end of the template when enders is NULL. */
static weft_status parse_until(jinja_parser *p, const char *const *enders, jinja_nodes *out) {
    for (;;) {
        const uint32_t at = p->token->at;
        jinja_node *n = NULL;
        switch (p->token->kind) {
        case JINJA_TOKEN_DATA:
            JINJA_TRY(jinja_parser_node(p, JINJA_NODE_DATA, at, &n));
            n->as.data = p->token->text;
            p->token++;
            JINJA_TRY(jinja_parser_push(p, out, n));
            break;
        case JINJA_TOKEN_PRINT_BEGIN:
            p->token++;
            JINJA_TRY(jinja_parser_node(p, JINJA_NODE_PRINT, at, &n));
            JINJA_TRY(jinja_parse_tuple(p, 0, NULL, false, &n->as.print));
            JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_PRINT_END));
            JINJA_TRY(jinja_parser_push(p, out, n));
            break;
        case JINJA_TOKEN_BLOCK_BEGIN:
            p->token++;
            if (is_one_of(p, enders)) {
                return WEFT_OK;
            }
            JINJA_TRY(parse_statement(p, out));
            JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_BLOCK_END));
            break;
        case JINJA_TOKEN_EOF:
            if (enders != NULL) {
                return jinja_parser_fail(p, at, "unexpected end of template, expected '%s'",
                                         enders[0]);
            }
            return WEFT_OK;
        default:
            return jinja_parser_fail(p, at, "unexpected '" STR_FMT "'", STR_ARG(p->token->text));
        }
    }
}

/* The rest of a tag and the body behind it. */
static weft_status parse_body(jinja_parser *p, const char *const *enders, jinja_nodes *out) {
    jinja_parser_skip(p, JINJA_TOKEN_COLON); /* as in Python: {% if a: %} */
    JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_BLOCK_END));
    JINJA_TRY(jinja_parser_enter(p));
    JINJA_TRY(parse_until(p, enders, out));
    jinja_parser_leave(p);
    return WEFT_OK;
}

/* A body whose closing tag is consumed, up to but not including its mark. */
static weft_status parse_whole_body(jinja_parser *p, const char *const *enders, jinja_nodes *out) {
    JINJA_TRY(parse_body(p, enders, out));
    p->token++;
    return WEFT_OK;
}

static weft_status parse_if(jinja_parser *p, jinja_node *n) {
    jinja_branch *branches = NULL;
    uint32_t capacity = 0;
    uint32_t count = 0;
    for (bool is_open = true; is_open;) {
        if (count == capacity) {
            capacity = capacity == 0 ? 2 : capacity * 2;
            jinja_branch *grown = arena_alloc(p->memory, capacity, sizeof(*grown));
            if (grown == NULL) {
                return out_of_memory(p);
            }
            if (count > 0) {
                memcpy(grown, branches, count * sizeof(*grown));
            }
            branches = grown;
        }
        jinja_branch *b = &branches[count++];
        if (count > 1 && jinja_parser_is_name(p, "else")) {
            p->token++;
            JINJA_TRY(parse_whole_body(p, only_endif, &b->body));
            break;
        }
        p->token++; /* "if" or "elif" */
        JINJA_TRY(jinja_parse_tuple(p, JINJA_EXPR_NO_CONDITION, NULL, false, &b->test));
        JINJA_TRY(parse_body(p, until_endif, &b->body));
        is_open = !jinja_parser_skip_name(p, "endif");
    }
    n->as.branch.branches = branches;
    n->as.branch.count = count;
    return WEFT_OK;
}

static weft_status parse_for(jinja_parser *p, jinja_node *n) {
    JINJA_TRY(jinja_parse_target(p, false, "in", &n->as.loop.target));
    if (!jinja_parser_skip_name(p, "in")) {
        return jinja_parser_fail(p, p->token->at, "expected 'in' after the names of a for loop");
    }
    JINJA_TRY(
        jinja_parse_tuple(p, JINJA_EXPR_NO_CONDITION, "recursive", false, &n->as.loop.iterable));
    if (jinja_parser_skip_name(p, "if")) {
        JINJA_TRY(jinja_parse_expression(p, 0, &n->as.loop.test));
    }
    n->as.loop.is_recursive = jinja_parser_skip_name(p, "recursive");
    p->n_loops++;
    JINJA_TRY(parse_body(p, until_endfor, &n->as.loop.body));
    p->n_loops--;
    if (jinja_parser_skip_name(p, "endfor")) {
        return WEFT_OK;
    }
    p->token++;
    return parse_whole_body(p, only_endfor, &n->as.loop.otherwise);
}

static weft_status parse_set(jinja_parser *p, jinja_node *n) {
    JINJA_TRY(jinja_parse_target(p, true, NULL, &n->as.set.target));
    if (jinja_parser_skip(p, JINJA_TOKEN_ASSIGN)) {
        return jinja_parse_tuple(p, 0, NULL, false, &n->as.set.value);
    }
    n->kind = JINJA_NODE_SET_BLOCK;
    JINJA_TRY(jinja_parse_filters(p, NULL, false, &n->as.set.value));
    return parse_whole_body(p, only_endset, &n->as.set.body);
}

static weft_status parse_signature(jinja_parser *p, jinja_signature *s) {
    uint32_t capacity = 0;
    bool has_default = false;
    JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_LPAREN));
    while (p->token->kind != JINJA_TOKEN_RPAREN) {
        if (s->count > 0) {
            JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_COMMA));
        }
        if (s->count == capacity) {
            capacity = capacity == 0 ? 4 : capacity * 2;
            jinja_parameter *grown = arena_alloc(p->memory, capacity, sizeof(*grown));
            if (grown == NULL) {
                return out_of_memory(p);
            }
            if (s->count > 0) {
                memcpy(grown, s->items, s->count * sizeof(*grown));
            }
            s->items = grown;
        }
        jinja_parameter *parameter = &s->items[s->count];
        parameter->text = p->token->text;
        JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_NAME));
        JINJA_TRY(jinja_parser_intern(p, parameter->text, &parameter->name));
        if (jinja_parser_skip(p, JINJA_TOKEN_ASSIGN)) {
            JINJA_TRY(jinja_parse_expression(p, 0, &parameter->value));
            has_default = true;
        } else if (has_default) {
            return jinja_parser_fail(p, p->token->at,
                                     "a parameter without default follows one with default");
        }
        s->count++;
    }
    p->token++;
    return WEFT_OK;
}

/* The body of a macro or call block: a place of its own, where break has no loop to end. */
static weft_status parse_macro_body(jinja_parser *p, jinja_node *n, const char *const *enders) {
    jinja_signature *s = &n->as.macro.signature;
    const uint32_t n_loops = p->n_loops;
    const uint32_t n_caller = p->n_caller;
    const uint32_t n_varargs = p->n_varargs;
    const uint32_t n_kwargs = p->n_kwargs;
    p->n_loops = 0;
    JINJA_TRY(parse_whole_body(p, enders, &n->as.macro.body));
    p->n_loops = n_loops;
    s->uses_caller = p->n_caller > n_caller;
    s->uses_varargs = p->n_varargs > n_varargs;
    s->uses_kwargs = p->n_kwargs > n_kwargs;
    for (uint32_t i = 0; i < s->count; i++) {
        const uint32_t name = s->items[i].name;
        s->uses_caller &= name != p->tree->name_caller;
        s->uses_varargs &= name != p->tree->name_varargs;
        s->uses_kwargs &= name != p->tree->name_kwargs;
    }
    return WEFT_OK;
}

static weft_status parse_macro(jinja_parser *p, jinja_node *n) {
    n->as.macro.name = p->token->text;
    JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_NAME));
    JINJA_TRY(jinja_parser_intern(p, n->as.macro.name, &n->as.macro.id));
    JINJA_TRY(parse_signature(p, &n->as.macro.signature));
    return parse_macro_body(p, n, only_endmacro);
}

static weft_status parse_call_block(jinja_parser *p, jinja_node *n) {
    if (p->token->kind == JINJA_TOKEN_LPAREN) {
        JINJA_TRY(parse_signature(p, &n->as.macro.signature));
    }
    const uint32_t at = p->token->at;
    JINJA_TRY(jinja_parse_expression(p, 0, &n->as.macro.call));
    if (n->as.macro.call->kind != JINJA_NODE_CALL) {
        return jinja_parser_fail(p, at, "expected a call in a call block");
    }
    return parse_macro_body(p, n, only_endcall);
}

static weft_status parse_filter_block(jinja_parser *p, jinja_node *n) {
    JINJA_TRY(jinja_parse_filters(p, NULL, true, &n->as.filter_block.filter));
    return parse_whole_body(p, only_endfilter, &n->as.filter_block.body);
}

static weft_status parse_with(jinja_parser *p, jinja_node *n) {
    while (p->token->kind != JINJA_TOKEN_BLOCK_END) {
        jinja_node *target;
        jinja_node *value;
        if (n->as.with.targets.count > 0) {
            JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_COMMA));
        }
        JINJA_TRY(jinja_parse_target(p, false, NULL, &target));
        JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_ASSIGN));
        JINJA_TRY(jinja_parse_expression(p, 0, &value));
        JINJA_TRY(jinja_parser_push(p, &n->as.with.targets, target));
        JINJA_TRY(jinja_parser_push(p, &n->as.with.values, value));
    }
    return parse_whole_body(p, only_endwith, &n->as.with.body);
}

static weft_status parse_block(jinja_parser *p, jinja_node *n) {
    const str name = p->token->text;
    JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_NAME));
    jinja_parser_skip_name(p, "scoped");
    jinja_parser_skip_name(p, "required");
    JINJA_TRY(parse_whole_body(p, only_endblock, &n->as.list));
    if (p->token->kind == JINJA_TOKEN_NAME && str_eq(p->token->text, name)) {
        p->token++;
    }
    return WEFT_OK;
}

static weft_status parse_generation(jinja_parser *p, jinja_node *n) {
    return parse_whole_body(p, only_endgeneration, &n->as.list);
}

static weft_status parse_loop_control(jinja_parser *p, jinja_node *n) {
    if (p->n_loops == 0) {
        return jinja_parser_fail(p, n->at, "'%s' outside of a loop",
                                 n->kind == JINJA_NODE_BREAK ? "break" : "continue");
    }
    return WEFT_OK;
}

/* {% print a, b %}: each value a node of its own. */
static weft_status parse_print(jinja_parser *p, uint32_t at, jinja_nodes *out) {
    for (bool is_first = true; p->token->kind != JINJA_TOKEN_BLOCK_END; is_first = false) {
        if (!is_first) {
            JINJA_TRY(jinja_parser_expect(p, JINJA_TOKEN_COMMA));
        }
        jinja_node *n = NULL;
        JINJA_TRY(jinja_parser_node(p, JINJA_NODE_PRINT, at, &n));
        JINJA_TRY(jinja_parse_expression(p, 0, &n->as.print));
        JINJA_TRY(jinja_parser_push(p, out, n));
    }
    return WEFT_OK;
}

typedef struct statement_form {
    const char *name;
    jinja_node_kind kind;
    weft_status (*parse)(jinja_parser *p, jinja_node *n);
} statement_form;

static const statement_form statement_forms[] = {
    {"for", JINJA_NODE_FOR, parse_for},
    {"set", JINJA_NODE_SET, parse_set},
    {"macro", JINJA_NODE_MACRO, parse_macro},
    {"call", JINJA_NODE_CALL_BLOCK, parse_call_block},
    {"filter", JINJA_NODE_FILTER_BLOCK, parse_filter_block},
    {"with", JINJA_NODE_WITH, parse_with},
    {"block", JINJA_NODE_SCOPE, parse_block},
    {"generation", JINJA_NODE_SCOPE, parse_generation},
    {"break", JINJA_NODE_BREAK, parse_loop_control},
    {"continue", JINJA_NODE_CONTINUE, parse_loop_control},
};

/* Tags of jinja2 that need other templates or HTML: a chat template has neither. */
static const char *const refused[] = {"include", "import", "from", "extends", "autoescape", NULL};

static weft_status parse_statement(jinja_parser *p, jinja_nodes *out) {
    const uint32_t at = p->token->at;
    const str name = p->token->text;
    if (p->token->kind != JINJA_TOKEN_NAME) {
        return jinja_parser_fail(p, at, "tag name expected");
    }
    if (is_one_of(p, refused)) {
        return jinja_source_fail(p->source, at, p->err, WEFT_UNSUPPORTED,
                                 "the tag '" STR_FMT "' is not supported", STR_ARG(name));
    }
    jinja_node *n = NULL;
    if (str_eq_cstr(name, "if")) { /* reads its own name: "if" and "elif" are one loop */
        JINJA_TRY(jinja_parser_node(p, JINJA_NODE_IF, at, &n));
        JINJA_TRY(parse_if(p, n));
        return jinja_parser_push(p, out, n);
    }
    p->token++;
    if (str_eq_cstr(name, "print")) {
        return parse_print(p, at, out);
    }
    for (size_t i = 0; i < WEFT_LEN(statement_forms); i++) {
        if (str_eq_cstr(name, statement_forms[i].name)) {
            JINJA_TRY(jinja_parser_node(p, statement_forms[i].kind, at, &n));
            JINJA_TRY(statement_forms[i].parse(p, n));
            return jinja_parser_push(p, out, n);
        }
    }
    return jinja_parser_fail(p, at, "encountered unknown tag '" STR_FMT "'", STR_ARG(name));
}
