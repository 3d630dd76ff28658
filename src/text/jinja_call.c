/* jinja_call.c - calling: arguments are gathered, bound to parameters, and the callee runs.
 *
 * Callable are macros, the built-in functions, methods bound to their object, a recursive loop
 * and joiners. Up to ARGS_LOCAL arguments live on the stack; more go to the arena.
 */
#include "text/jinja_run.h"

#define ARGS_LOCAL 6
#define KEYWORDS_LOCAL 4

typedef struct gathered {
    jinja_value local_args[ARGS_LOCAL];
    jinja_keyword local_keywords[KEYWORDS_LOCAL];
    jinja_value *args;
    jinja_keyword *keywords;
    jinja_call call;
} gathered;

static weft_status gather(jinja_run *run, const jinja_arguments *a, const jinja_value *caller,
                          gathered *g);
static weft_status call_macro(jinja_run *run, const jinja_macro *m, const jinja_call *call,
                              jinja_value *out);

/* What a method of markup gives is markup: its text, or each of the texts in its new list. */
static void mark_like(jinja_value object, jinja_value *out) {
    if (object.kind != JINJA_STRING || !object.is_markup) {
        return;
    }
    *out = jinja_markup_like(object, *out);
    for (uint32_t i = 0; jinja_is_list(*out) && i < out->as.list->count; i++) {
        out->as.list->items[i] = jinja_markup_like(object, out->as.list->items[i]);
    }
}

weft_status jinja_eval_call(jinja_run *run, const jinja_node *n, const jinja_value *caller,
                            jinja_value *out) {
    const jinja_node *callee = n->as.call.callee;
    const jinja_builtin *method = NULL;
    jinja_value target;
    if (callee->kind == JINJA_NODE_ATTRIBUTE) { /* object.method(...) needs no bound method */
        JINJA_TRY(jinja_eval(run, callee->as.attribute.object, &target));
        run->at = callee->at;
        method = jinja_method_of(target, &callee->as.attribute.methods);
        if (method == NULL) {
            JINJA_TRY(jinja_get_attribute(run, target, callee->as.attribute.name,
                                          &callee->as.attribute.methods, &target));
        }
    } else {
        JINJA_TRY(jinja_eval(run, callee, &target));
    }
    gathered g;
    JINJA_TRY(gather(run, &n->as.call.args, caller, &g));
    run->at = n->at;
    if (method == NULL) {
        return jinja_call_value(run, target, &g.call, out);
    }
    JINJA_TRY(jinja_call_builtin(run, method, target, &g.call, out));
    mark_like(target, out);
    return WEFT_OK;
}

weft_status jinja_eval_filter(jinja_run *run, const jinja_node *n, jinja_value value,
                              jinja_value *out) {
    run->at = n->at;
    if (n->as.filter.builtin == NULL) {
        return jinja_run_fail(run, WEFT_INVALID, "no %s named '" STR_FMT "'",
                              n->kind == JINJA_NODE_TEST ? "test" : "filter",
                              STR_ARG(n->as.filter.name));
    }
    gathered g;
    JINJA_TRY(gather(run, &n->as.filter.args, NULL, &g));
    run->at = n->at;
    return jinja_call_builtin(run, n->as.filter.builtin, value, &g.call, out);
}

static weft_status gather_star(jinja_run *run, const jinja_node *star, gathered *g) {
    jinja_value v;
    jinja_list more;
    JINJA_TRY(jinja_eval(run, star, &v));
    run->at = star->at;
    JINJA_TRY(jinja_iterate(run, v, &more));
    void *args;
    JINJA_TRY(
        jinja_run_alloc(run, (size_t)g->call.n_args + more.count + 1, sizeof(jinja_value), &args));
    jinja_value *all = args;
    memcpy(all, g->args, g->call.n_args * sizeof(*all));
    if (more.count > 0) {
        memcpy(all + g->call.n_args, more.items, more.count * sizeof(*all));
    }
    g->args = all;
    g->call.n_args += more.count;
    return WEFT_OK;
}

static weft_status gather_star_star(jinja_run *run, const jinja_node *star, gathered *g) {
    jinja_value v;
    JINJA_TRY(jinja_eval(run, star, &v));
    run->at = star->at;
    if (v.kind != JINJA_DICT) {
        return jinja_run_fail(run, WEFT_INVALID, "argument after ** must be a mapping, not %s",
                              jinja_type_name(v));
    }
    const jinja_dict *d = v.as.dict;
    void *keywords;
    JINJA_TRY(jinja_run_alloc(run, (size_t)g->call.n_keywords + d->count + 1, sizeof(jinja_keyword),
                              &keywords));
    jinja_keyword *all = keywords;
    memcpy(all, g->keywords, g->call.n_keywords * sizeof(*all));
    for (uint32_t i = 0; i < d->count; i++) {
        if (d->entries[i].key.kind != JINJA_STRING) {
            return jinja_run_fail(run, WEFT_INVALID, "keywords must be strings");
        }
        const str name = jinja_text(d->entries[i].key);
        for (uint32_t k = 0; k < g->call.n_keywords; k++) {
            if (str_eq(all[k].name, name)) {
                return jinja_run_fail(run, WEFT_INVALID,
                                      "multiple values for keyword argument '" STR_FMT "'",
                                      STR_ARG(name));
            }
        }
        all[g->call.n_keywords++] = (jinja_keyword){.name = name, .value = d->entries[i].value};
    }
    g->keywords = all;
    return WEFT_OK;
}

static weft_status gather(jinja_run *run, const jinja_arguments *a, const jinja_value *caller,
                          gathered *g) {
    g->call = (jinja_call){0};
    g->args = g->local_args;
    g->keywords = g->local_keywords;
    if (a->positional.count > ARGS_LOCAL) {
        void *args;
        JINJA_TRY(jinja_run_alloc(run, a->positional.count, sizeof(jinja_value), &args));
        g->args = args;
    }
    if (a->n_keywords + 1 > KEYWORDS_LOCAL) {
        void *keywords;
        JINJA_TRY(
            jinja_run_alloc(run, (size_t)a->n_keywords + 1, sizeof(jinja_keyword), &keywords));
        g->keywords = keywords;
    }
    for (uint32_t i = 0; i < a->positional.count; i++) {
        JINJA_TRY(jinja_eval(run, a->positional.items[i], &g->args[i]));
    }
    g->call.n_args = a->positional.count;
    for (uint32_t i = 0; i < a->n_keywords; i++) {
        g->keywords[i].name = a->keywords[i].name;
        JINJA_TRY(jinja_eval(run, a->keywords[i].value, &g->keywords[i].value));
    }
    g->call.n_keywords = a->n_keywords;
    if (caller != NULL) {
        g->keywords[g->call.n_keywords++] =
            (jinja_keyword){.name = STR_LIT("caller"), .value = *caller};
    }
    if (a->star != NULL) {
        JINJA_TRY(gather_star(run, a->star, g));
    }
    if (a->star_star != NULL) {
        JINJA_TRY(gather_star_star(run, a->star_star, g));
    }
    g->call.args = g->args;
    g->call.keywords = g->keywords;
    return WEFT_OK;
}

static uint32_t params_count(const jinja_builtin *b) {
    uint32_t n = 0;
    while (n < JINJA_PARAMS_MAX && b->params[n] != NULL) {
        n++;
    }
    return n;
}

weft_status jinja_call_builtin(jinja_run *run, const jinja_builtin *b, jinja_value self,
                               const jinja_call *call, jinja_value *out) {
    if (b->raw != NULL) {
        return b->raw(run, self, call, out);
    }
    jinja_value args[JINJA_PARAMS_MAX] = {{0}};
    const uint32_t n_params = params_count(b);
    if (call->n_args > n_params) {
        return jinja_run_fail(run, WEFT_INVALID, "%s() takes at most %u arguments (%u given)",
                              b->name, n_params, call->n_args);
    }
    for (uint32_t i = 0; i < call->n_args; i++) {
        args[i] = call->args[i];
    }
    for (uint32_t k = 0; k < call->n_keywords; k++) {
        uint32_t i = 0;
        while (i < n_params && !str_eq_cstr(call->keywords[k].name, b->params[i])) {
            i++;
        }
        if (i == n_params) {
            return jinja_run_fail(run, WEFT_INVALID,
                                  "%s() got an unexpected keyword argument '" STR_FMT "'", b->name,
                                  STR_ARG(call->keywords[k].name));
        }
        if (args[i].kind != JINJA_MISSING) {
            return jinja_run_fail(run, WEFT_INVALID, "%s() got multiple values for argument '%s'",
                                  b->name, b->params[i]);
        }
        args[i] = call->keywords[k].value;
    }
    for (uint32_t i = 0; i < b->n_required; i++) {
        if (args[i].kind == JINJA_MISSING) {
            return jinja_run_fail(run, WEFT_INVALID, "%s() missing required argument '%s'", b->name,
                                  b->params[i]);
        }
    }
    return b->fn(run, self, args, out);
}

static weft_status call_loop(jinja_run *run, const jinja_loop *loop, const jinja_call *call,
                             jinja_value *out) {
    if (call->n_args != 1 || call->n_keywords > 0) {
        return jinja_run_fail(run, WEFT_INVALID, "loop() takes one argument");
    }
    return jinja_loop_recurse(run, loop, call->args[0], out);
}

static weft_status call_joiner(jinja_run *run, jinja_joiner *j, const jinja_call *call,
                               jinja_value *out) {
    if (call->n_args > 0 || call->n_keywords > 0) {
        return jinja_run_fail(run, WEFT_INVALID, "a joiner takes no arguments");
    }
    *out = j->is_used ? j->separator : jinja_string(STR_LIT(""));
    j->is_used = true;
    return WEFT_OK;
}

weft_status jinja_call_value(jinja_run *run, jinja_value callee, const jinja_call *call,
                             jinja_value *out) {
    switch ((jinja_kind)callee.kind) {
    case JINJA_MACRO: return call_macro(run, callee.as.macro, call, out);
    case JINJA_BUILTIN:
        return jinja_call_builtin(run, callee.as.bound->builtin, callee.as.bound->self, call, out);
    case JINJA_LOOP: return call_loop(run, callee.as.loop, call, out);
    case JINJA_JOINER: return call_joiner(run, callee.as.joiner, call, out);
    case JINJA_UNDEFINED: return jinja_undefined_fail(run, callee);
    default:
        return jinja_run_fail(run, WEFT_INVALID, "'%s' object is not callable",
                              jinja_type_name(callee));
    }
}

/* Takes the keyword of this name out of the call; is_used marks what was taken. */
static jinja_value take_keyword(const jinja_call *call, bool *is_used, str name) {
    for (uint32_t i = 0; i < call->n_keywords; i++) {
        if (!is_used[i] && str_eq(call->keywords[i].name, name)) {
            is_used[i] = true;
            return call->keywords[i].value;
        }
    }
    return jinja_missing();
}

static bool is_missing(const jinja_frame *frame, uint32_t name) {
    for (uint32_t i = 0; i < frame->count; i++) {
        if (frame->slots[i].name == name) {
            return frame->slots[i].value.kind == JINJA_MISSING;
        }
    }
    return false;
}

/* Parameters in order: positional, then keyword, then default. */
static weft_status bind_parameters(jinja_run *run, const jinja_signature *s, const jinja_call *call,
                                   bool *is_used, jinja_frame *frame) {
    for (uint32_t i = 0; i < s->count; i++) {
        const jinja_parameter *p = &s->items[i];
        jinja_value v = i < call->n_args ? call->args[i] : take_keyword(call, is_used, p->text);
        JINJA_TRY(jinja_frame_set(run, frame, p->name, v));
    }
    for (uint32_t i = 0; i < s->count; i++) {
        const jinja_parameter *p = &s->items[i];
        if (!is_missing(frame, p->name)) {
            continue;
        }
        jinja_value v = jinja_undefined(JINJA_ABSENT_VARIABLE, p->text);
        if (p->value != NULL) {
            JINJA_TRY(jinja_eval(run, p->value, &v));
        }
        JINJA_TRY(jinja_frame_set(run, frame, p->name, v));
    }
    return WEFT_OK;
}

static weft_status bind_caller(jinja_run *run, const jinja_signature *s, const jinja_call *call,
                               bool *is_used, jinja_frame *frame) {
    if (!s->uses_caller) {
        return WEFT_OK;
    }
    jinja_value v = take_keyword(call, is_used, STR_LIT("caller"));
    if (v.kind == JINJA_MISSING) {
        v = jinja_undefined(JINJA_ABSENT_HINT, STR_LIT("No caller defined"));
    }
    return jinja_frame_set(run, frame, run->tree->name_caller, v);
}

/* What is left over goes to kwargs and varargs where the macro mentions them. */
static weft_status bind_rest(jinja_run *run, const jinja_node *macro, const jinja_call *call,
                             const bool *is_used, jinja_frame *frame) {
    const jinja_signature *s = &macro->as.macro.signature;
    jinja_dict *rest;
    JINJA_TRY(jinja_dict_create(run, 0, &rest));
    for (uint32_t i = 0; i < call->n_keywords; i++) {
        if (is_used[i]) {
            continue;
        }
        if (!s->uses_kwargs) {
            return jinja_run_fail(run, WEFT_INVALID,
                                  "macro '" STR_FMT "' takes no keyword argument '" STR_FMT "'",
                                  STR_ARG(macro->as.macro.name), STR_ARG(call->keywords[i].name));
        }
        JINJA_TRY(jinja_dict_set(run, rest, jinja_string(call->keywords[i].name),
                                 call->keywords[i].value));
    }
    if (s->uses_kwargs) {
        JINJA_TRY(jinja_frame_set(run, frame, run->tree->name_kwargs, jinja_dict_value(rest)));
    }
    if (!s->uses_varargs) {
        if (call->n_args > s->count) {
            return jinja_run_fail(run, WEFT_INVALID,
                                  "macro '" STR_FMT "' takes not more than %u argument(s)",
                                  STR_ARG(macro->as.macro.name), s->count);
        }
        return WEFT_OK;
    }
    jinja_list more;
    JINJA_TRY(jinja_list_init(run, &more, 0));
    for (uint32_t i = s->count; i < call->n_args; i++) {
        JINJA_TRY(jinja_list_push(run, &more, call->args[i]));
    }
    jinja_value v;
    JINJA_TRY(jinja_list_value(run, JINJA_TUPLE, &more, &v));
    return jinja_frame_set(run, frame, run->tree->name_varargs, v);
}

static weft_status call_macro(jinja_run *run, const jinja_macro *m, const jinja_call *call,
                              jinja_value *out) {
    const jinja_signature *s = &m->node->as.macro.signature;
    jinja_frame *outer = run->frame;
    jinja_frame *frame;
    void *used;
    JINJA_TRY(jinja_run_enter(run));
    JINJA_TRY(jinja_frame_create(run, m->frame, &frame));
    JINJA_TRY(jinja_run_alloc(run, (size_t)call->n_keywords + 1, sizeof(bool), &used));
    run->frame = frame;
    JINJA_TRY(bind_parameters(run, s, call, used, frame));
    JINJA_TRY(bind_caller(run, s, call, used, frame));
    JINJA_TRY(bind_rest(run, m->node, call, used, frame));
    JINJA_TRY(jinja_exec_captured(run, &m->node->as.macro.body, out));
    run->frame = outer;
    jinja_run_leave(run);
    return WEFT_OK;
}
