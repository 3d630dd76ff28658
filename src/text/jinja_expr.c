/* jinja_expr.c - expressions: a node becomes a value.
 *
 * and, or and "if else" give back one of their operands, as in Python; comparisons chain and
 * stop at the first false one. Before an operation can fail, run->at is set back to its node, so
 * that a message points at the operator and not into its operands.
 */
#include "base/check.h"
#include "text/jinja_run.h"

static weft_status eval_inner(jinja_run *run, const jinja_node *n, jinja_value *out);

weft_status jinja_eval(jinja_run *run, const jinja_node *n, jinja_value *out) {
    if (n->kind == JINJA_NODE_CONST) {
        *out = n->as.constant;
        return WEFT_OK;
    }
    if (n->kind == JINJA_NODE_NAME) {
        run->at = n->at;
        *out = jinja_run_lookup(run, n->as.name.id, n->as.name.text);
        return WEFT_OK;
    }
    run->at = n->at;
    JINJA_TRY(jinja_run_enter(run));
    JINJA_TRY(eval_inner(run, n, out));
    jinja_run_leave(run);
    return WEFT_OK;
}

static weft_status eval_items(jinja_run *run, const jinja_node *n, jinja_kind kind,
                              jinja_value *out) {
    jinja_list list;
    JINJA_TRY(jinja_list_init(run, &list, n->as.list.count));
    for (uint32_t i = 0; i < n->as.list.count; i++) {
        jinja_value item;
        JINJA_TRY(jinja_eval(run, n->as.list.items[i], &item));
        JINJA_TRY(jinja_list_push(run, &list, item));
    }
    return jinja_list_value(run, kind, &list, out);
}

static weft_status eval_dict(jinja_run *run, const jinja_node *n, jinja_value *out) {
    jinja_dict *d;
    JINJA_TRY(jinja_dict_create(run, n->as.dict.keys.count, &d));
    for (uint32_t i = 0; i < n->as.dict.keys.count; i++) {
        jinja_value key;
        jinja_value value;
        JINJA_TRY(jinja_eval(run, n->as.dict.keys.items[i], &key));
        JINJA_TRY(jinja_eval(run, n->as.dict.values.items[i], &value));
        run->at = n->at;
        JINJA_TRY(jinja_dict_set(run, d, key, value));
    }
    *out = jinja_dict_value(d);
    return WEFT_OK;
}

static weft_status eval_attribute(jinja_run *run, const jinja_node *n, jinja_value *out) {
    jinja_value object;
    JINJA_TRY(jinja_eval(run, n->as.attribute.object, &object));
    run->at = n->at;
    return jinja_get_attribute(run, object, n->as.attribute.name, &n->as.attribute.methods, out);
}

static weft_status eval_optional(jinja_run *run, const jinja_node *n, jinja_value *out) {
    *out = jinja_none();
    return n != NULL ? jinja_eval(run, n, out) : WEFT_OK;
}

static weft_status eval_item(jinja_run *run, const jinja_node *n, jinja_value *out) {
    jinja_value object;
    const jinja_node *index = n->as.item.index;
    JINJA_TRY(jinja_eval(run, n->as.item.object, &object));
    if (index->kind == JINJA_NODE_SLICE) {
        jinja_value part[3];
        JINJA_TRY(eval_optional(run, index->as.slice.from, &part[0]));
        JINJA_TRY(eval_optional(run, index->as.slice.to, &part[1]));
        JINJA_TRY(eval_optional(run, index->as.slice.step, &part[2]));
        run->at = n->at;
        return jinja_get_slice(run, object, part, out);
    }
    jinja_value key;
    JINJA_TRY(jinja_eval(run, index, &key));
    run->at = n->at;
    return jinja_get_item(run, object, key, out);
}

static weft_status eval_filter_node(jinja_run *run, const jinja_node *n, jinja_value *out) {
    jinja_value value;
    JINJA_TRY(jinja_eval(run, n->as.filter.value, &value));
    return jinja_eval_filter(run, n, value, out);
}

static weft_status eval_binary(jinja_run *run, const jinja_node *n, jinja_value *out) {
    jinja_value left;
    jinja_value right;
    JINJA_TRY(jinja_eval(run, n->as.binary.left, &left));
    JINJA_TRY(jinja_eval(run, n->as.binary.right, &right));
    run->at = n->at;
    return jinja_binary(run, n->as.binary.op, left, right, out);
}

static weft_status eval_unary(jinja_run *run, const jinja_node *n, jinja_value *out) {
    jinja_value v;
    JINJA_TRY(jinja_eval(run, n->as.binary.left, &v));
    run->at = n->at;
    return jinja_sign(run, n->as.binary.op, v, out);
}

static weft_status eval_logic(jinja_run *run, const jinja_node *n, jinja_value *out) {
    JINJA_TRY(jinja_eval(run, n->as.binary.left, out));
    if (jinja_truth(*out) == (n->kind == JINJA_NODE_OR)) {
        return WEFT_OK;
    }
    return jinja_eval(run, n->as.binary.right, out);
}

static weft_status eval_not(jinja_run *run, const jinja_node *n, jinja_value *out) {
    jinja_value v;
    JINJA_TRY(jinja_eval(run, n->as.binary.left, &v));
    *out = jinja_bool(!jinja_truth(v));
    return WEFT_OK;
}

static weft_status eval_concat(jinja_run *run, const jinja_node *n, jinja_value *out) {
    jinja_writer w;
    jinja_writer_init(&w, run);
    for (uint32_t i = 0; i < n->as.list.count; i++) {
        jinja_value v;
        JINJA_TRY(jinja_eval(run, n->as.list.items[i], &v));
        run->at = n->at;
        JINJA_TRY(jinja_write_str(&w, v));
    }
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

static weft_status compare_one(jinja_run *run, jinja_op op, jinja_value left, jinja_value right,
                               bool *out) {
    switch (op) {
    case JINJA_OP_EQ: return jinja_equal(run, left, right, out);
    case JINJA_OP_NE:
        JINJA_TRY(jinja_equal(run, left, right, out));
        *out = !*out;
        return WEFT_OK;
    case JINJA_OP_IN: return jinja_contains(run, right, left, out);
    case JINJA_OP_NOT_IN:
        JINJA_TRY(jinja_contains(run, right, left, out));
        *out = !*out;
        return WEFT_OK;
    default: return jinja_compare(run, op, left, right, out);
    }
}

static weft_status eval_compare(jinja_run *run, const jinja_node *n, jinja_value *out) {
    jinja_value left;
    bool holds = true;
    JINJA_TRY(jinja_eval(run, n->as.compare.first, &left));
    for (uint32_t i = 0; i < n->as.compare.count && holds; i++) {
        jinja_value right;
        JINJA_TRY(jinja_eval(run, n->as.compare.rest[i].value, &right));
        run->at = n->at;
        JINJA_TRY(compare_one(run, n->as.compare.rest[i].op, left, right, &holds));
        left = right;
    }
    *out = jinja_bool(holds);
    return WEFT_OK;
}

static weft_status eval_condition(jinja_run *run, const jinja_node *n, jinja_value *out) {
    jinja_value test;
    JINJA_TRY(jinja_eval(run, n->as.condition.test, &test));
    if (jinja_truth(test)) {
        return jinja_eval(run, n->as.condition.yes, out);
    }
    if (n->as.condition.no != NULL) {
        return jinja_eval(run, n->as.condition.no, out);
    }
    *out = jinja_undefined(
        JINJA_ABSENT_HINT,
        STR_LIT("the inline if-expression evaluated to false and no else section was defined."));
    return WEFT_OK;
}

static weft_status eval_inner(jinja_run *run, const jinja_node *n, jinja_value *out) {
    switch (n->kind) {
    case JINJA_NODE_LIST: return eval_items(run, n, JINJA_LIST, out);
    case JINJA_NODE_TUPLE: return eval_items(run, n, JINJA_TUPLE, out);
    case JINJA_NODE_DICT: return eval_dict(run, n, out);
    case JINJA_NODE_ATTRIBUTE: return eval_attribute(run, n, out);
    case JINJA_NODE_ITEM: return eval_item(run, n, out);
    case JINJA_NODE_CALL: return jinja_eval_call(run, n, NULL, out);
    case JINJA_NODE_FILTER:
    case JINJA_NODE_TEST: return eval_filter_node(run, n, out);
    case JINJA_NODE_UNARY: return eval_unary(run, n, out);
    case JINJA_NODE_BINARY: return eval_binary(run, n, out);
    case JINJA_NODE_AND:
    case JINJA_NODE_OR: return eval_logic(run, n, out);
    case JINJA_NODE_NOT: return eval_not(run, n, out);
    case JINJA_NODE_CONCAT: return eval_concat(run, n, out);
    case JINJA_NODE_COMPARE: return eval_compare(run, n, out);
    case JINJA_NODE_CONDITION: return eval_condition(run, n, out);
    case JINJA_NODE_SLICE: /* inside a tuple of subscripts, which nothing here can take */
        return jinja_run_fail(run, WEFT_INVALID, "a slice cannot stand among several subscripts");
    default: break;
    }
    check_failed("an expression node", __FILE__, __LINE__);
}
