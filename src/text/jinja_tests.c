/* jinja_tests.c - what stands behind "is": defined, string, divisibleby 3, in [...].
 *
 * The names are jinja2's, its synonyms included. Tests never change anything and answer with a
 * bool.
 */
#include "text/jinja_args.h"

static weft_status answer(jinja_value *out, bool is_true) {
    *out = jinja_bool(is_true);
    return WEFT_OK;
}

#define KIND_TEST(function, condition)                                                     \
    static weft_status function(jinja_run *run, jinja_value self, const jinja_value *args, \
                                jinja_value *out) {                                        \
        return answer(out, (condition));                                                   \
    }

KIND_TEST(test_defined, self.kind != JINJA_UNDEFINED)
KIND_TEST(test_undefined, self.kind == JINJA_UNDEFINED)
KIND_TEST(test_none, self.kind == JINJA_NONE)
KIND_TEST(test_boolean, self.kind == JINJA_BOOL)
KIND_TEST(test_true, self.kind == JINJA_BOOL && self.as.boolean)
KIND_TEST(test_false, self.kind == JINJA_BOOL && !self.as.boolean)
KIND_TEST(test_integer, self.kind == JINJA_INT)
KIND_TEST(test_float, self.kind == JINJA_FLOAT)
KIND_TEST(test_number, jinja_is_number(self))
KIND_TEST(test_string, self.kind == JINJA_STRING)
KIND_TEST(test_mapping, self.kind == JINJA_DICT)
KIND_TEST(test_escaped, self.kind == JINJA_STRING && self.is_markup)
KIND_TEST(test_callable, self.kind == JINJA_MACRO || self.kind == JINJA_BUILTIN ||
                             self.kind == JINJA_LOOP || self.kind == JINJA_JOINER ||
                             self.kind == JINJA_UNDEFINED)
KIND_TEST(test_sequence, self.kind == JINJA_STRING || jinja_is_list(self) ||
                             self.kind == JINJA_DICT || self.kind == JINJA_RANGE ||
                             self.kind == JINJA_UNDEFINED)
KIND_TEST(test_iterable, self.kind == JINJA_STRING || jinja_is_list(self) ||
                             self.kind == JINJA_DICT || self.kind == JINJA_RANGE ||
                             self.kind == JINJA_UNDEFINED || self.kind == JINJA_VIEW ||
                             self.kind == JINJA_ITER || self.kind == JINJA_LOOP)

/* A name is looked up as a key of a dict: one that cannot be a key is an error. */
static weft_status is_named(jinja_run *run, jinja_value name,
                            const jinja_builtin *(*find)(str name), jinja_value *out) {
    if (!jinja_is_hashable(name)) {
        return jinja_run_fail(run, WEFT_INVALID, "unhashable type: '%s'", jinja_type_name(name));
    }
    return answer(out, name.kind == JINJA_STRING && find(jinja_text(name)) != NULL);
}

static weft_status test_filter(jinja_run *run, jinja_value self, const jinja_value *args,
                               jinja_value *out) {
    return is_named(run, self, jinja_filter_find, out);
}

static weft_status test_test(jinja_run *run, jinja_value self, const jinja_value *args,
                             jinja_value *out) {
    return is_named(run, self, jinja_test_find, out);
}

static weft_status remainder_is(jinja_run *run, jinja_value self, jinja_value divisor,
                                int64_t wanted, jinja_value *out) {
    jinja_value rest;
    JINJA_TRY(jinja_binary(run, JINJA_OP_MOD, self, divisor, &rest));
    bool is_equal;
    JINJA_TRY(jinja_equal(run, rest, jinja_int(wanted), &is_equal));
    return answer(out, is_equal);
}

static weft_status test_odd(jinja_run *run, jinja_value self, const jinja_value *args,
                            jinja_value *out) {
    return remainder_is(run, self, jinja_int(2), 1, out);
}

static weft_status test_even(jinja_run *run, jinja_value self, const jinja_value *args,
                             jinja_value *out) {
    return remainder_is(run, self, jinja_int(2), 0, out);
}

static weft_status test_divisibleby(jinja_run *run, jinja_value self, const jinja_value *args,
                                    jinja_value *out) {
    return remainder_is(run, self, args[0], 0, out);
}

/* islower and isupper: some cased character, and none of the other case. */
static bool has_only_case(str s, bool is_upper) {
    bool has_cased = false;
    for (size_t at = 0; at < s.len;) {
        size_t n;
        const uint32_t cp = jinja_cp_at(s, at, &n);
        if (jinja_cp_is_title(cp) || (is_upper ? jinja_cp_is_lower(cp) : jinja_cp_is_upper(cp))) {
            return false;
        }
        has_cased |= is_upper ? jinja_cp_is_upper(cp) : jinja_cp_is_lower(cp);
        at += n;
    }
    return has_cased;
}

static weft_status test_lower(jinja_run *run, jinja_value self, const jinja_value *args,
                              jinja_value *out) {
    str s;
    JINJA_TRY(jinja_to_str(run, self, &s));
    return answer(out, has_only_case(s, false));
}

static weft_status test_upper(jinja_run *run, jinja_value self, const jinja_value *args,
                              jinja_value *out) {
    str s;
    JINJA_TRY(jinja_to_str(run, self, &s));
    return answer(out, has_only_case(s, true));
}

/* Identity: small things are the same when they are equal and of one type. */
static weft_status test_sameas(jinja_run *run, jinja_value self, const jinja_value *args,
                               jinja_value *out) {
    const jinja_value other = args[0];
    if (self.kind != other.kind) {
        return answer(out, false);
    }
    const bool is_scalar = jinja_is_number(self) || self.kind == JINJA_STRING;
    return answer(out, is_scalar ? jinja_key_equal(self, other)
                                 : self.kind == JINJA_NONE || self.as.address == other.as.address);
}

static weft_status test_in(jinja_run *run, jinja_value self, const jinja_value *args,
                           jinja_value *out) {
    bool is_in;
    JINJA_TRY(jinja_contains(run, args[0], self, &is_in));
    return answer(out, is_in);
}

static weft_status test_eq(jinja_run *run, jinja_value self, const jinja_value *args,
                           jinja_value *out) {
    bool is_equal;
    JINJA_TRY(jinja_equal(run, self, args[0], &is_equal));
    return answer(out, is_equal);
}

static weft_status test_ne(jinja_run *run, jinja_value self, const jinja_value *args,
                           jinja_value *out) {
    bool is_equal;
    JINJA_TRY(jinja_equal(run, self, args[0], &is_equal));
    return answer(out, !is_equal);
}

#define ORDER_TEST(function, op)                                                           \
    static weft_status function(jinja_run *run, jinja_value self, const jinja_value *args, \
                                jinja_value *out) {                                        \
        bool holds;                                                                        \
        JINJA_TRY(jinja_compare(run, op, self, args[0], &holds));                          \
        return answer(out, holds);                                                         \
    }

ORDER_TEST(test_gt, JINJA_OP_GT)
ORDER_TEST(test_ge, JINJA_OP_GE)
ORDER_TEST(test_lt, JINJA_OP_LT)
ORDER_TEST(test_le, JINJA_OP_LE)

#define PLAIN(text, function) \
    { .name = text, .fn = function }
#define WITH_OTHER(text, function)                                           \
    {                                                                        \
        .name = text, .fn = function, .n_required = 1, .params = { "other" } \
    }

static const jinja_builtin tests[] = {
    PLAIN("defined", test_defined),
    PLAIN("undefined", test_undefined),
    PLAIN("none", test_none),
    PLAIN("string", test_string),
    PLAIN("mapping", test_mapping),
    PLAIN("iterable", test_iterable),
    PLAIN("sequence", test_sequence),
    PLAIN("boolean", test_boolean),
    PLAIN("true", test_true),
    PLAIN("false", test_false),
    PLAIN("integer", test_integer),
    PLAIN("float", test_float),
    PLAIN("number", test_number),
    PLAIN("callable", test_callable),
    PLAIN("escaped", test_escaped),
    PLAIN("filter", test_filter),
    PLAIN("test", test_test),
    PLAIN("odd", test_odd),
    PLAIN("even", test_even),
    PLAIN("lower", test_lower),
    PLAIN("upper", test_upper),
    {.name = "divisibleby", .fn = test_divisibleby, .n_required = 1, .params = {"num"}},
    {.name = "in", .fn = test_in, .n_required = 1, .params = {"seq"}},
    WITH_OTHER("sameas", test_sameas),
    WITH_OTHER("eq", test_eq),
    WITH_OTHER("equalto", test_eq),
    WITH_OTHER("==", test_eq),
    WITH_OTHER("ne", test_ne),
    WITH_OTHER("!=", test_ne),
    WITH_OTHER("gt", test_gt),
    WITH_OTHER("greaterthan", test_gt),
    WITH_OTHER(">", test_gt),
    WITH_OTHER("ge", test_ge),
    WITH_OTHER(">=", test_ge),
    WITH_OTHER("lt", test_lt),
    WITH_OTHER("lessthan", test_lt),
    WITH_OTHER("<", test_lt),
    WITH_OTHER("le", test_le),
    WITH_OTHER("<=", test_le),
    {.name = NULL},
};

const jinja_builtin *jinja_test_find(str name) { return jinja_builtin_find(tests, name); }
