/* jinja_eval.c - statements: what a template does, node by node.
 *
 * The tree is walked directly. Scopes follow jinja2: loops, macros, call, filter, set and with
 * blocks have names of their own, "if" has not; an assignment in a scope never leaves it, which
 * is why templates carry namespaces around. break and continue travel up as run->flow.
 *
 * Errors end the whole render, so nothing is put back in order on the way out of a failure.
 */
#include "base/check.h"
#include "text/jinja_run.h"

static weft_status exec_node(jinja_run *run, const jinja_node *n);

weft_status jinja_exec(jinja_run *run, const jinja_nodes *body) {
    for (uint32_t i = 0; i < body->count && run->flow == JINJA_FLOW_NEXT; i++) {
        const jinja_node *n = body->items[i];
        if (n->kind == JINJA_NODE_DATA) {
            run->at = n->at;
            JINJA_TRY(jinja_write(run->out, n->as.data));
        } else {
            JINJA_TRY(jinja_run_enter(run));
            JINJA_TRY(exec_node(run, n));
            jinja_run_leave(run);
        }
    }
    return WEFT_OK;
}

weft_status jinja_exec_captured(jinja_run *run, const jinja_nodes *body, jinja_value *out) {
    jinja_writer text;
    jinja_writer_init(&text, run);
    jinja_writer *outer = run->out;
    run->out = &text;
    JINJA_TRY(jinja_exec(run, body));
    run->out = outer;
    *out = jinja_writer_value(&text);
    return WEFT_OK;
}

static weft_status exec_print(jinja_run *run, const jinja_node *n) {
    jinja_value v;
    JINJA_TRY(jinja_eval(run, n->as.print, &v));
    return jinja_write_str(run->out, v);
}

static weft_status exec_if(jinja_run *run, const jinja_node *n) {
    for (uint32_t i = 0; i < n->as.branch.count; i++) {
        const jinja_branch *b = &n->as.branch.branches[i];
        bool is_taken = b->test == NULL;
        if (!is_taken) {
            jinja_value v;
            JINJA_TRY(jinja_eval(run, b->test, &v));
            is_taken = jinja_truth(v);
        }
        if (is_taken) {
            return jinja_exec(run, &b->body);
        }
    }
    return WEFT_OK;
}

static weft_status assign_namespace(jinja_run *run, const jinja_node *target, jinja_value value) {
    const str attribute = target->as.namespace_ref.attribute;
    const jinja_value ns =
        jinja_run_lookup(run, target->as.namespace_ref.id, target->as.namespace_ref.text);
    run->at = target->at;
    if (ns.kind != JINJA_NAMESPACE) {
        return jinja_run_fail(run, WEFT_INVALID, "cannot assign attribute on non-namespace object");
    }
    if (attribute.len > 0 && attribute.data[0] == '_') {
        return jinja_run_fail(run, WEFT_INVALID,
                              "a namespace cannot store the underscore-prefixed '" STR_FMT "'",
                              STR_ARG(attribute));
    }
    return jinja_dict_set(run, ns.as.dict, jinja_string(attribute), value);
}

/* Recursion follows the target, whose nesting the parser bounds. */
weft_status jinja_assign(jinja_run *run, const jinja_node *target, jinja_frame *frame,
                         jinja_value value) {
    if (target->kind == JINJA_NODE_NAME) {
        return jinja_frame_set(run, frame, target->as.name.id, value);
    }
    if (target->kind == JINJA_NODE_NAMESPACE_REF) {
        return assign_namespace(run, target, value);
    }
    jinja_list items;
    run->at = target->at;
    JINJA_TRY(jinja_iterate(run, value, &items));
    const uint32_t wanted = target->as.list.count;
    if (items.count > wanted) {
        return jinja_run_fail(run, WEFT_INVALID, "too many values to unpack (expected %u)", wanted);
    }
    if (items.count < wanted) {
        return jinja_run_fail(run, WEFT_INVALID,
                              "not enough values to unpack (expected %u, got %u)", wanted,
                              items.count);
    }
    for (uint32_t i = 0; i < wanted; i++) {
        JINJA_TRY(jinja_assign(run, target->as.list.items[i], frame, items.items[i]));
    }
    return WEFT_OK;
}

weft_status jinja_loop_pull(jinja_run *run, jinja_loop *loop, jinja_value *out, bool *has) {
    *has = true;
    if (loop->has_after) {
        *out = loop->after;
        loop->has_after = false;
        return WEFT_OK;
    }
    const jinja_node *test = loop->node->as.loop.test;
    while (loop->next < loop->source.count) {
        *out = loop->source.items[loop->next++];
        if (test == NULL || loop->has_length) {
            return WEFT_OK;
        }
        jinja_frame *frame = run->frame;
        run->frame = loop->test_frame;
        loop->test_frame->count = 0;
        jinja_value keeps;
        JINJA_TRY(jinja_assign(run, loop->node->as.loop.target, loop->test_frame, *out));
        JINJA_TRY(jinja_eval(run, test, &keeps));
        run->frame = frame;
        if (jinja_truth(keeps)) {
            return WEFT_OK;
        }
    }
    *has = false;
    return WEFT_OK;
}

static weft_status loop_create(jinja_run *run, const jinja_node *n, jinja_value iterable,
                               uint32_t depth0, jinja_loop **out) {
    void *made;
    JINJA_TRY(jinja_run_alloc(run, 1, sizeof(jinja_loop), &made));
    jinja_loop *loop = made;
    loop->node = n;
    loop->outer = run->frame;
    loop->index0 = -1;
    loop->depth0 = depth0;
    loop->has_length = n->as.loop.test == NULL;
    if (!loop->has_length) {
        JINJA_TRY(jinja_frame_create(run, run->frame, &loop->test_frame));
    }
    *out = loop;
    run->at = n->as.loop.iterable->at;
    return jinja_iterate(run, iterable, &loop->source);
}

/* Runs the body for every item. is_empty: no body ran to its end, which is when jinja2 takes the
 * else branch (its bookkeeping stands behind the body, where break and continue never come). */
static weft_status loop_run(jinja_run *run, jinja_loop *loop, bool *is_empty) {
    const jinja_node *n = loop->node;
    jinja_frame *frame;
    JINJA_TRY(jinja_frame_create(run, run->frame, &frame));
    *is_empty = true;
    run->frame = frame;
    for (;;) {
        jinja_value item;
        bool has;
        JINJA_TRY(jinja_loop_pull(run, loop, &item, &has));
        if (!has) {
            break;
        }
        JINJA_TRY(jinja_run_step(run, 1));
        loop->index0++;
        loop->before = loop->current;
        loop->current = item;
        frame->count = 0;
        JINJA_TRY(jinja_frame_set(run, frame, run->tree->name_loop,
                                  (jinja_value){.kind = JINJA_LOOP, .as.loop = loop}));
        JINJA_TRY(jinja_assign(run, n->as.loop.target, frame, item));
        JINJA_TRY(jinja_exec(run, &n->as.loop.body));
        const jinja_flow flow = run->flow;
        run->flow = JINJA_FLOW_NEXT;
        if (flow == JINJA_FLOW_BREAK) {
            break;
        }
        *is_empty &= flow != JINJA_FLOW_NEXT;
    }
    run->frame = loop->outer;
    return WEFT_OK;
}

static weft_status exec_in_scope(jinja_run *run, const jinja_nodes *body) {
    jinja_frame *outer = run->frame;
    jinja_frame *frame;
    JINJA_TRY(jinja_frame_create(run, outer, &frame));
    run->frame = frame;
    JINJA_TRY(jinja_exec(run, body));
    run->frame = outer;
    return WEFT_OK;
}

static weft_status exec_loop(jinja_run *run, const jinja_node *n, jinja_value iterable,
                             uint32_t depth0) {
    jinja_loop *loop;
    bool is_empty;
    JINJA_TRY(loop_create(run, n, iterable, depth0, &loop));
    JINJA_TRY(loop_run(run, loop, &is_empty));
    if (is_empty && n->as.loop.otherwise.count > 0) {
        return exec_in_scope(run, &n->as.loop.otherwise);
    }
    return WEFT_OK;
}

static weft_status exec_for(jinja_run *run, const jinja_node *n) {
    jinja_value iterable;
    JINJA_TRY(jinja_eval(run, n->as.loop.iterable, &iterable));
    return exec_loop(run, n, iterable, 0);
}

weft_status jinja_loop_recurse(jinja_run *run, const jinja_loop *loop, jinja_value items,
                               jinja_value *out) {
    if (!loop->node->as.loop.is_recursive) {
        return jinja_run_fail(run, WEFT_INVALID,
                              "the loop must have the 'recursive' marker to be called");
    }
    jinja_frame *frame = run->frame;
    jinja_writer *outer = run->out;
    jinja_writer text;
    jinja_writer_init(&text, run);
    run->out = &text;
    run->frame = loop->outer;
    JINJA_TRY(jinja_run_enter(run));
    JINJA_TRY(exec_loop(run, loop->node, items, loop->depth0 + 1));
    jinja_run_leave(run);
    run->frame = frame;
    run->out = outer;
    *out = jinja_writer_value(&text);
    return WEFT_OK;
}

static weft_status exec_set(jinja_run *run, const jinja_node *n) {
    jinja_value v;
    JINJA_TRY(jinja_eval(run, n->as.set.value, &v));
    return jinja_assign(run, n->as.set.target, run->frame, v);
}

/* The filters of a set or filter block: innermost first, the block's text at the bottom. */
static weft_status apply_filters(jinja_run *run, const jinja_node *n, jinja_value text,
                                 jinja_value *out) {
    jinja_value v = text;
    JINJA_TRY(jinja_run_enter(run));
    if (n->as.filter.value != NULL) {
        JINJA_TRY(apply_filters(run, n->as.filter.value, text, &v));
    }
    JINJA_TRY(jinja_eval_filter(run, n, v, out));
    jinja_run_leave(run);
    return WEFT_OK;
}

static weft_status capture_in_scope(jinja_run *run, const jinja_nodes *body, jinja_value *out) {
    jinja_frame *outer = run->frame;
    jinja_frame *frame;
    JINJA_TRY(jinja_frame_create(run, outer, &frame));
    run->frame = frame;
    JINJA_TRY(jinja_exec_captured(run, body, out));
    run->frame = outer;
    return WEFT_OK;
}

static weft_status exec_set_block(jinja_run *run, const jinja_node *n) {
    jinja_value v;
    JINJA_TRY(capture_in_scope(run, &n->as.set.body, &v));
    if (n->as.set.value != NULL) {
        JINJA_TRY(apply_filters(run, n->as.set.value, v, &v));
    }
    return jinja_assign(run, n->as.set.target, run->frame, v);
}

static weft_status exec_filter_block(jinja_run *run, const jinja_node *n) {
    jinja_value v;
    JINJA_TRY(capture_in_scope(run, &n->as.filter_block.body, &v));
    JINJA_TRY(apply_filters(run, n->as.filter_block.filter, v, &v));
    return jinja_write_str(run->out, v);
}

static weft_status macro_create(jinja_run *run, const jinja_node *n, jinja_value *out) {
    void *made;
    JINJA_TRY(jinja_run_alloc(run, 1, sizeof(jinja_macro), &made));
    jinja_macro *macro = made;
    macro->node = n;
    macro->frame = run->frame;
    *out = (jinja_value){.kind = JINJA_MACRO, .as.macro = macro};
    return WEFT_OK;
}

static weft_status exec_macro(jinja_run *run, const jinja_node *n) {
    jinja_value macro;
    JINJA_TRY(macro_create(run, n, &macro));
    return jinja_frame_set(run, run->frame, n->as.macro.id, macro);
}

static weft_status exec_call_block(jinja_run *run, const jinja_node *n) {
    jinja_value caller;
    jinja_value v;
    JINJA_TRY(macro_create(run, n, &caller));
    JINJA_TRY(jinja_eval_call(run, n->as.macro.call, &caller, &v));
    return jinja_write_str(run->out, v);
}

static weft_status exec_with(jinja_run *run, const jinja_node *n) {
    jinja_frame *outer = run->frame;
    jinja_frame *frame;
    JINJA_TRY(jinja_frame_create(run, outer, &frame));
    for (uint32_t i = 0; i < n->as.with.targets.count; i++) {
        jinja_value v;
        JINJA_TRY(jinja_eval(run, n->as.with.values.items[i], &v));
        JINJA_TRY(jinja_assign(run, n->as.with.targets.items[i], frame, v));
    }
    run->frame = frame;
    JINJA_TRY(jinja_exec(run, &n->as.with.body));
    run->frame = outer;
    return WEFT_OK;
}

static weft_status exec_node(jinja_run *run, const jinja_node *n) {
    run->at = n->at;
    switch (n->kind) {
    case JINJA_NODE_PRINT: return exec_print(run, n);
    case JINJA_NODE_IF: return exec_if(run, n);
    case JINJA_NODE_FOR: return exec_for(run, n);
    case JINJA_NODE_SET: return exec_set(run, n);
    case JINJA_NODE_SET_BLOCK: return exec_set_block(run, n);
    case JINJA_NODE_MACRO: return exec_macro(run, n);
    case JINJA_NODE_CALL_BLOCK: return exec_call_block(run, n);
    case JINJA_NODE_FILTER_BLOCK: return exec_filter_block(run, n);
    case JINJA_NODE_WITH: return exec_with(run, n);
    case JINJA_NODE_SCOPE: return exec_in_scope(run, &n->as.list);
    case JINJA_NODE_BREAK: run->flow = JINJA_FLOW_BREAK; return WEFT_OK;
    case JINJA_NODE_CONTINUE: run->flow = JINJA_FLOW_CONTINUE; return WEFT_OK;
    default: break;
    }
    check_failed("a statement node", __FILE__, __LINE__);
}
