/* jinja_ops.c - operators with Python's rules.
 *
 * bool counts as int, / always gives a float, // and % round towards minus infinity, strings
 * and lists repeat and join. Integers have 64 bits: leaving them is an error, not a wrong
 * number. Containers compare element by element; values cannot contain themselves except through
 * a namespace, which compares by identity, so depth is bounded by the run's limit.
 */
#include <math.h>

#include "text/jinja_args.h"

static weft_status lists_equal(jinja_run *run, const jinja_list *a, const jinja_list *b,
                               bool *out) {
    *out = a->count == b->count;
    for (uint32_t i = 0; i < a->count && *out; i++) {
        JINJA_TRY(jinja_equal(run, a->items[i], b->items[i], out));
    }
    return WEFT_OK;
}

static weft_status dicts_equal(jinja_run *run, const jinja_dict *a, const jinja_dict *b,
                               bool *out) {
    *out = a->count == b->count;
    for (uint32_t i = 0; i < a->count && *out; i++) {
        const jinja_value *other = jinja_dict_find_key(b, a->entries[i].key);
        *out = other != NULL;
        if (*out) {
            JINJA_TRY(jinja_equal(run, a->entries[i].value, *other, out));
        }
    }
    return WEFT_OK;
}

static bool ranges_equal(const jinja_range *a, const jinja_range *b) {
    return a->count == b->count &&
           (a->count == 0 || (a->start == b->start && (a->count == 1 || a->step == b->step)));
}

/* Keys and items are sets to Python; values are equal to themselves alone. */
static weft_status views_equal(jinja_run *run, jinja_value a, jinja_value b, bool *out) {
    const jinja_dict *x = a.as.view->dict;
    const jinja_dict *y = b.as.view->dict;
    *out = a.as.view == b.as.view;
    if (a.as.view->kind == JINJA_VIEW_VALUES || a.as.view->kind != b.as.view->kind) {
        return WEFT_OK;
    }
    if (a.as.view->kind == JINJA_VIEW_ITEMS) {
        return dicts_equal(run, x, y, out);
    }
    *out = x->count == y->count;
    for (uint32_t i = 0; i < x->count && *out; i++) {
        *out = jinja_dict_find_key(y, x->entries[i].key) != NULL;
    }
    return jinja_run_step(run, x->count);
}

weft_status jinja_equal(jinja_run *run, jinja_value a, jinja_value b, bool *out) {
    if (a.kind != b.kind || jinja_is_number(a) || a.kind == JINJA_STRING) {
        *out = jinja_key_equal(a, b);
        return WEFT_OK;
    }
    JINJA_TRY(jinja_run_enter(run));
    switch ((jinja_kind)a.kind) {
    case JINJA_LIST:
    case JINJA_TUPLE: JINJA_TRY(lists_equal(run, a.as.list, b.as.list, out)); break;
    case JINJA_DICT: JINJA_TRY(dicts_equal(run, a.as.dict, b.as.dict, out)); break;
    case JINJA_RANGE: *out = ranges_equal(a.as.range, b.as.range); break;
    case JINJA_VIEW: JINJA_TRY(views_equal(run, a, b, out)); break;
    default: *out = jinja_key_equal(a, b); break;
    }
    jinja_run_leave(run);
    return WEFT_OK;
}

static const char *op_text(jinja_op op) {
    switch (op) {
    case JINJA_OP_ADD: return "+";
    case JINJA_OP_SUB: return "-";
    case JINJA_OP_MUL: return "*";
    case JINJA_OP_DIV: return "/";
    case JINJA_OP_FLOORDIV: return "//";
    case JINJA_OP_MOD: return "%";
    case JINJA_OP_POW: return "** or pow()";
    case JINJA_OP_EQ: return "==";
    case JINJA_OP_NE: return "!=";
    case JINJA_OP_LT: return "<";
    case JINJA_OP_LE: return "<=";
    case JINJA_OP_GT: return ">";
    case JINJA_OP_GE: return ">=";
    case JINJA_OP_IN: return "in";
    case JINJA_OP_NOT_IN: return "not in";
    }
    return "?";
}

static bool holds(jinja_op op, int order) {
    switch (op) {
    case JINJA_OP_LT: return order < 0;
    case JINJA_OP_LE: return order <= 0;
    case JINJA_OP_GT: return order > 0;
    default: return order >= 0;
    }
}

static bool numbers_hold(jinja_op op, jinja_value a, jinja_value b) {
    if (a.kind != JINJA_FLOAT && b.kind != JINJA_FLOAT) {
        const int64_t x = jinja_as_integer(a);
        const int64_t y = jinja_as_integer(b);
        return holds(op, (x > y) - (x < y));
    }
    const double x = jinja_as_real(a);
    const double y = jinja_as_real(b);
    return !isnan(x) && !isnan(y) && holds(op, (x > y) - (x < y));
}

/* The first items that differ decide; otherwise the shorter list comes first. */
static weft_status compare_lists(jinja_run *run, jinja_op op, const jinja_list *a,
                                 const jinja_list *b, bool *out) {
    const uint32_t n = a->count < b->count ? a->count : b->count;
    for (uint32_t i = 0; i < n; i++) {
        bool is_equal;
        JINJA_TRY(jinja_equal(run, a->items[i], b->items[i], &is_equal));
        if (!is_equal) {
            return jinja_compare(run, op, a->items[i], b->items[i], out);
        }
    }
    *out = holds(op, (a->count > b->count) - (a->count < b->count));
    return WEFT_OK;
}

weft_status jinja_compare(jinja_run *run, jinja_op op, jinja_value a, jinja_value b, bool *out) {
    if (jinja_is_number(a) && jinja_is_number(b)) {
        *out = numbers_hold(op, a, b);
        return WEFT_OK;
    }
    if (a.kind == JINJA_STRING && b.kind == JINJA_STRING) { /* UTF-8 sorts as code points do */
        *out = holds(op, str_cmp(jinja_text(a), jinja_text(b)));
        return WEFT_OK;
    }
    if (jinja_is_list(a) && a.kind == b.kind) {
        JINJA_TRY(jinja_run_enter(run));
        JINJA_TRY(compare_lists(run, op, a.as.list, b.as.list, out));
        jinja_run_leave(run);
        return WEFT_OK;
    }
    if (a.kind == JINJA_UNDEFINED || b.kind == JINJA_UNDEFINED) {
        return jinja_undefined_fail(run, a.kind == JINJA_UNDEFINED ? a : b);
    }
    return jinja_run_fail(run, WEFT_INVALID,
                          "'%s' not supported between instances of '%s' and '%s'", op_text(op),
                          jinja_type_name(a), jinja_type_name(b));
}

static bool range_contains(const jinja_range *r, jinja_value item) {
    if (!jinja_is_number(item) || r->count == 0) {
        return false;
    }
    const double d = jinja_as_real(item);
    if (item.kind == JINJA_FLOAT && (d != floor(d) || fabs(d) > 9e15)) {
        return false;
    }
    const int64_t i = item.kind == JINJA_FLOAT ? (int64_t)d : jinja_as_integer(item);
    const int64_t last = jinja_range_item(r, r->count - 1);
    const bool is_between = r->step > 0 ? i >= r->start && i <= last : i <= r->start && i >= last;
    return is_between && (i - r->start) % r->step == 0;
}

weft_status jinja_contains(jinja_run *run, jinja_value container, jinja_value item, bool *out) {
    switch ((jinja_kind)container.kind) {
    case JINJA_STRING:
        if (item.kind != JINJA_STRING) {
            return jinja_run_fail(run, WEFT_INVALID,
                                  "'in <string>' requires string as left operand, not %s",
                                  jinja_type_name(item));
        }
        *out = jinja_str_find(jinja_text(container), jinja_text(item), 0) != SIZE_MAX;
        return WEFT_OK;
    case JINJA_DICT:
        if (!jinja_is_hashable(item)) {
            return jinja_run_fail(run, WEFT_INVALID, "unhashable type: '%s'",
                                  jinja_type_name(item));
        }
        *out = jinja_dict_find_key(container.as.dict, item) != NULL;
        return WEFT_OK;
    case JINJA_VIEW:
        if (container.as.view->kind == JINJA_VIEW_KEYS) {
            return jinja_contains(
                run, (jinja_value){.kind = JINJA_DICT, .as.dict = container.as.view->dict}, item,
                out);
        }
        break;
    case JINJA_RANGE: *out = range_contains(container.as.range, item); return WEFT_OK;
    case JINJA_UNDEFINED:
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_ITER:
    case JINJA_LOOP: break;
    default:
        return jinja_run_fail(run, WEFT_INVALID, "argument of type '%s' is not iterable",
                              jinja_type_name(container));
    }
    jinja_list items;
    JINJA_TRY(jinja_iterate(run, container, &items));
    *out = false;
    for (uint32_t i = 0; i < items.count && !*out; i++) {
        JINJA_TRY(jinja_equal(run, items.items[i], item, out));
    }
    return WEFT_OK;
}

static weft_status unsupported(jinja_run *run, jinja_op op, jinja_value a, jinja_value b) {
    if (a.kind == JINJA_UNDEFINED || b.kind == JINJA_UNDEFINED) {
        return jinja_undefined_fail(run, a.kind == JINJA_UNDEFINED ? a : b);
    }
    return jinja_run_fail(run, WEFT_INVALID, "unsupported operand type(s) for %s: '%s' and '%s'",
                          op_text(op), jinja_type_name(a), jinja_type_name(b));
}

static weft_status overflow(jinja_run *run) {
    return jinja_run_fail(run, WEFT_INVALID, "the integer result does not fit in 64 bits");
}

static weft_status integer_power(jinja_run *run, int64_t base, int64_t exponent, jinja_value *out) {
    if (exponent < 0) {
        if (base == 0) {
            return jinja_run_fail(run, WEFT_INVALID, "0.0 cannot be raised to a negative power");
        }
        *out = jinja_float(pow((double)base, (double)exponent));
        return WEFT_OK;
    }
    int64_t result = 1;
    while (exponent > 0) {
        if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
            return overflow(run);
        }
        exponent >>= 1;
        if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) {
            return overflow(run);
        }
    }
    *out = jinja_int(result);
    return WEFT_OK;
}

static weft_status integers(jinja_run *run, jinja_op op, int64_t a, int64_t b, jinja_value *out) {
    int64_t result = 0;
    bool is_overflow = false;
    switch (op) {
    case JINJA_OP_ADD: is_overflow = __builtin_add_overflow(a, b, &result); break;
    case JINJA_OP_SUB: is_overflow = __builtin_sub_overflow(a, b, &result); break;
    case JINJA_OP_MUL: is_overflow = __builtin_mul_overflow(a, b, &result); break;
    case JINJA_OP_POW: return integer_power(run, a, b, out);
    default:
        if (b == 0) {
            return jinja_run_fail(run, WEFT_INVALID,
                                  op == JINJA_OP_DIV ? "division by zero"
                                                     : "integer division or modulo by zero");
        }
        if (op == JINJA_OP_DIV) {
            *out = jinja_float((double)a / (double)b);
            return WEFT_OK;
        }
        if (b == -1) { /* INT64_MIN / -1 traps */
            is_overflow = op == JINJA_OP_FLOORDIV && a == INT64_MIN;
            result = op == JINJA_OP_MOD || is_overflow ? 0 : -a;
            break;
        }
        result = op == JINJA_OP_FLOORDIV ? a / b : a % b;
        if (a % b != 0 && (a < 0) != (b < 0)) { /* C rounds to zero, Python down */
            result += op == JINJA_OP_FLOORDIV ? -1 : b;
        }
        break;
    }
    if (is_overflow) {
        return overflow(run);
    }
    *out = jinja_int(result);
    return WEFT_OK;
}

/* Python's float modulo has the sign of the divisor. */
static double floor_modulo(double a, double b) {
    double m = fmod(a, b);
    if (m != 0.0 && (b < 0) != (m < 0)) {
        m += b;
    }
    return m != 0.0 ? m : copysign(0.0, b);
}

static double floor_divide(double a, double b) {
    const double m = floor_modulo(a, b);
    const double quotient = (a - m) / b;
    double down = floor(quotient);
    if (quotient - down > 0.5) {
        down += 1.0;
    }
    return quotient != 0.0 ? down : copysign(0.0, a / b);
}

static weft_status reals(jinja_run *run, jinja_op op, double a, double b, jinja_value *out) {
    double result = 0.0;
    switch (op) {
    case JINJA_OP_ADD: result = a + b; break;
    case JINJA_OP_SUB: result = a - b; break;
    case JINJA_OP_MUL: result = a * b; break;
    case JINJA_OP_POW:
        if ((a == 0.0 && b < 0.0) || (a < 0.0 && isfinite(b) && b != floor(b))) {
            return jinja_run_fail(run, WEFT_INVALID, "the power is not a real number");
        }
        result = pow(a, b);
        if (isinf(result) && isfinite(a) && isfinite(b)) {
            return jinja_run_fail(run, WEFT_INVALID, "the power is out of range");
        }
        break;
    default:
        if (b == 0.0) {
            return jinja_run_fail(run, WEFT_INVALID, "float division by zero");
        }
        result = op == JINJA_OP_DIV        ? a / b
                 : op == JINJA_OP_FLOORDIV ? floor_divide(a, b)
                                           : floor_modulo(a, b);
        break;
    }
    *out = jinja_float(result);
    return WEFT_OK;
}

static weft_status repeat(jinja_run *run, jinja_value sequence, int64_t times, jinja_value *out) {
    if (sequence.kind == JINJA_STRING) {
        jinja_writer w;
        jinja_writer_init(&w, run);
        JINJA_TRY(jinja_write_repeat(&w, jinja_text(sequence), times));
        *out = jinja_markup_like(sequence, jinja_writer_value(&w));
        return WEFT_OK;
    }
    const jinja_list *list = sequence.as.list;
    jinja_list made;
    JINJA_TRY(jinja_list_init(run, &made, 0));
    for (int64_t i = 0; i < times && list->count > 0; i++) {
        JINJA_TRY(jinja_run_step(run, list->count));
        for (uint32_t k = 0; k < list->count; k++) {
            JINJA_TRY(jinja_list_push(run, &made, list->items[k]));
        }
    }
    return jinja_list_value(run, sequence.kind, &made, out);
}

static weft_status join(jinja_run *run, jinja_value a, jinja_value b, jinja_value *out) {
    if (a.kind == JINJA_STRING) {
        void *data;
        const bool is_markup = a.is_markup || b.is_markup;
        if (is_markup) { /* what is joined to markup is escaped */
            JINJA_TRY(jinja_escape(run, a, &a));
            JINJA_TRY(jinja_escape(run, b, &b));
        }
        const size_t len = (size_t)a.len + b.len;
        if (len > JINJA_OUTPUT_BYTES_MAX) {
            return jinja_run_fail(run, WEFT_LIMIT, "a text grows beyond %u bytes",
                                  JINJA_OUTPUT_BYTES_MAX);
        }
        JINJA_TRY(jinja_run_alloc(run, len + 1, 1, &data));
        if (a.len > 0) {
            memcpy(data, a.as.text, a.len);
        }
        if (b.len > 0) {
            memcpy((char *)data + a.len, b.as.text, b.len);
        }
        *out = jinja_string(str_from(data, len));
        out->is_markup = is_markup;
        return WEFT_OK;
    }
    jinja_list made;
    JINJA_TRY(jinja_list_init(run, &made, (size_t)a.as.list->count + b.as.list->count));
    JINJA_TRY(jinja_run_step(run, (uint64_t)a.as.list->count + b.as.list->count));
    for (uint32_t i = 0; i < a.as.list->count; i++) {
        JINJA_TRY(jinja_list_push(run, &made, a.as.list->items[i]));
    }
    for (uint32_t i = 0; i < b.as.list->count; i++) {
        JINJA_TRY(jinja_list_push(run, &made, b.as.list->items[i]));
    }
    return jinja_list_value(run, a.kind, &made, out);
}

static bool is_sequence(jinja_value v) { return v.kind == JINJA_STRING || jinja_is_list(v); }

weft_status jinja_binary(jinja_run *run, jinja_op op, jinja_value a, jinja_value b,
                         jinja_value *out) {
    if (jinja_is_integral(a) && jinja_is_integral(b)) {
        return integers(run, op, jinja_as_integer(a), jinja_as_integer(b), out);
    }
    if (jinja_is_number(a) && jinja_is_number(b)) {
        return reals(run, op, jinja_as_real(a), jinja_as_real(b), out);
    }
    if (op == JINJA_OP_ADD && is_sequence(a) && a.kind == b.kind) {
        return join(run, a, b, out);
    }
    if (op == JINJA_OP_MUL && is_sequence(a) && jinja_is_integral(b)) {
        return repeat(run, a, jinja_as_integer(b), out);
    }
    if (op == JINJA_OP_MUL && is_sequence(b) && jinja_is_integral(a)) {
        return repeat(run, b, jinja_as_integer(a), out);
    }
    if (op == JINJA_OP_MOD && a.kind == JINJA_STRING) {
        return jinja_percent(run, a, b, out);
    }
    return unsupported(run, op, a, b);
}

weft_status jinja_sign(jinja_run *run, jinja_op op, jinja_value v, jinja_value *out) {
    if (v.kind == JINJA_FLOAT) {
        *out = jinja_float(op == JINJA_OP_SUB ? -v.as.real : v.as.real);
        return WEFT_OK;
    }
    if (jinja_is_integral(v)) {
        const int64_t i = jinja_as_integer(v);
        if (op == JINJA_OP_SUB && i == INT64_MIN) {
            return overflow(run);
        }
        *out = jinja_int(op == JINJA_OP_SUB ? -i : i);
        return WEFT_OK;
    }
    if (v.kind == JINJA_UNDEFINED) {
        return jinja_undefined_fail(run, v);
    }
    return jinja_run_fail(run, WEFT_INVALID, "bad operand type for unary %s: '%s'", op_text(op),
                          jinja_type_name(v));
}
