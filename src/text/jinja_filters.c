/* jinja_filters.c - filters on single values, and where filters are looked up.
 *
 * Names, parameters and defaults are jinja2's. Filters on lists are in jinja_filters_seq.c,
 * filters on text in jinja_filters_text.c.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/jinja_args.h"

const jinja_builtin *jinja_builtin_find(const jinja_builtin *table, str name) {
    for (; table->name != NULL; table++) {
        if (str_eq_cstr(name, table->name)) {
            return table;
        }
    }
    return NULL;
}

const jinja_builtin *jinja_filter_find(str name) {
    const jinja_builtin *b = jinja_builtin_find(jinja_value_filters, name);
    if (b == NULL) {
        b = jinja_builtin_find(jinja_sequence_filters, name);
    }
    return b != NULL ? b : jinja_builtin_find(jinja_text_filters, name);
}

static weft_status filter_abs(jinja_run *run, jinja_value self, const jinja_value *args,
                              jinja_value *out) {
    if (self.kind == JINJA_FLOAT) {
        *out = jinja_float(fabs(self.as.real));
        return WEFT_OK;
    }
    if (self.kind == JINJA_UNDEFINED) {
        return jinja_undefined_fail(run, self);
    }
    if (!jinja_is_integral(self)) {
        return jinja_run_fail(run, WEFT_INVALID, "bad operand type for abs(): '%s'",
                              jinja_type_name(self));
    }
    *out = jinja_int(jinja_as_integer(self));
    return out->as.integer < 0 ? jinja_sign(run, JINJA_OP_SUB, *out, out) : WEFT_OK;
}

/* The attribute proper, never the item: dicts have only their methods. */
static weft_status filter_attr(jinja_run *run, jinja_value self, const jinja_value *args,
                               jinja_value *out) {
    str name;
    JINJA_TRY(jinja_arg_str(run, args[0], "attr: name", &name));
    if (self.kind == JINJA_DICT && jinja_dict_method_find(name) == NULL &&
        !jinja_is_mutating_method(JINJA_DICT, name)) {
        *out = jinja_undefined(JINJA_ABSENT_ATTRIBUTE, name);
        out->owner = JINJA_DICT;
        return WEFT_OK;
    }
    return jinja_get_attribute(run, self, name, NULL, out);
}

static weft_status filter_default(jinja_run *run, jinja_value self, const jinja_value *args,
                                  jinja_value *out) {
    const bool uses_default =
        self.kind == JINJA_UNDEFINED || (jinja_arg_bool(args[1], false) && !jinja_truth(self));
    *out = !uses_default                   ? self
           : args[0].kind == JINJA_MISSING ? jinja_string(STR_LIT(""))
                                           : args[0];
    return WEFT_OK;
}

static weft_status filter_string(jinja_run *run, jinja_value self, const jinja_value *args,
                                 jinja_value *out) {
    str s;
    JINJA_TRY(jinja_to_str(run, self, &s));
    *out = jinja_markup_like(self, jinja_string(s));
    return WEFT_OK;
}

static weft_status overflow(jinja_run *run) {
    return jinja_run_fail(run, WEFT_INVALID, "the integer does not fit in 64 bits");
}

/* int(value): numbers are cut towards zero; what is not finite is no number. */
static weft_status to_integer(jinja_run *run, double d, int64_t *out, bool *is_number) {
    *is_number = isfinite(d);
    if (!*is_number) {
        return WEFT_OK;
    }
    if (d >= 9223372036854775808.0 || d < -9223372036854775808.0) {
        return overflow(run);
    }
    *out = (int64_t)d;
    return WEFT_OK;
}

static weft_status text_to_integer(jinja_run *run, str s, jinja_value base_arg, int64_t *out,
                                   bool *is_number) {
    double d;
    bool is_overflow = false;
    const int64_t base = base_arg.kind == JINJA_MISSING ? 10
                         : jinja_is_integral(base_arg)  ? jinja_as_integer(base_arg)
                                                        : -1;
    const bool is_base = base == 0 || (base >= 2 && base <= 36); /* else no digits are its */
    *is_number = is_base && jinja_str_to_int(s, base, out, &is_overflow);
    if (is_overflow) {
        return overflow(run);
    }
    if (!*is_number && jinja_str_to_float(s, &d)) { /* "42.23" is 42 */
        return to_integer(run, d, out, is_number);
    }
    return WEFT_OK;
}

static weft_status filter_int(jinja_run *run, jinja_value self, const jinja_value *args,
                              jinja_value *out) {
    int64_t i = 0;
    bool is_number = jinja_is_integral(self);
    if (is_number) {
        i = jinja_as_integer(self);
    } else if (self.kind == JINJA_FLOAT) {
        JINJA_TRY(to_integer(run, self.as.real, &i, &is_number));
    } else if (self.kind == JINJA_STRING) {
        JINJA_TRY(text_to_integer(run, jinja_text(self), args[1], &i, &is_number));
    } else if (self.kind == JINJA_UNDEFINED) {
        return jinja_undefined_fail(run, self);
    }
    *out = is_number ? jinja_int(i) : args[0].kind == JINJA_MISSING ? jinja_int(0) : args[0];
    return WEFT_OK;
}

static weft_status filter_float(jinja_run *run, jinja_value self, const jinja_value *args,
                                jinja_value *out) {
    double d = 0.0;
    bool is_number = jinja_is_number(self);
    if (is_number) {
        d = jinja_as_real(self);
    } else if (self.kind == JINJA_STRING) {
        is_number = jinja_str_to_float(jinja_text(self), &d);
    } else if (self.kind == JINJA_UNDEFINED) {
        return jinja_undefined_fail(run, self);
    }
    *out = is_number ? jinja_float(d) : args[0].kind == JINJA_MISSING ? jinja_float(0.0) : args[0];
    return WEFT_OK;
}

/* round(d, precision): printf rounds the exact binary value, ties to even, as CPython does. */
static double round_common(double d, int64_t precision) {
    if (!isfinite(d) || precision > 22) {
        return d;
    }
    if (precision < 0) {
        const double scale = pow(10.0, precision < -308 ? 308.0 : (double)-precision);
        return nearbyint(d / scale) * scale;
    }
    char text[400];
    snprintf(text, sizeof(text), "%.*f", (int)precision, d);
    return strtod(text, NULL);
}

static weft_status round_integer(jinja_run *run, int64_t i, int64_t precision, jinja_value *out) {
    if (precision >= 0) {
        *out = jinja_int(i);
        return WEFT_OK;
    }
    int64_t scale = 1;
    for (int64_t k = precision; k < 0; k++) {
        if (__builtin_mul_overflow(scale, 10, &scale)) {
            *out = jinja_int(0);
            return WEFT_OK;
        }
    }
    int64_t quotient = i / scale;
    const int64_t rest = llabs(i % scale);
    if (rest > scale / 2 || (rest == scale / 2 && quotient % 2 != 0)) {
        quotient += i < 0 ? -1 : 1;
    }
    return jinja_binary(run, JINJA_OP_MUL, jinja_int(quotient), jinja_int(scale), out);
}

static weft_status filter_round(jinja_run *run, jinja_value self, const jinja_value *args,
                                jinja_value *out) {
    int64_t precision;
    str method = STR_LIT("common");
    JINJA_TRY(jinja_arg_int_or_none(run, args[0], "round: precision", 0, &precision));
    if (args[1].kind != JINJA_MISSING) {
        JINJA_TRY(jinja_arg_str(run, args[1], "round: method", &method));
    }
    const bool is_ceil = str_eq_cstr(method, "ceil");
    if (!is_ceil && !str_eq_cstr(method, "floor") && !str_eq_cstr(method, "common")) {
        return jinja_run_fail(run, WEFT_INVALID, "method must be common, ceil or floor");
    }
    if (self.kind == JINJA_UNDEFINED) {
        return jinja_undefined_fail(run, self);
    }
    if (!jinja_is_number(self)) {
        return jinja_run_fail(run, WEFT_INVALID, "type %s cannot be rounded",
                              jinja_type_name(self));
    }
    if (str_eq_cstr(method, "common")) {
        if (jinja_is_integral(self)) {
            return round_integer(run, jinja_as_integer(self), precision, out);
        }
        *out = jinja_float(round_common(self.as.real, precision));
        if (args[0].kind == JINJA_NONE) { /* Python's round(x, None) is an integer */
            const jinja_value no_args[JINJA_PARAMS_MAX] = {{0}};
            return filter_int(run, *out, no_args, out);
        }
        return WEFT_OK;
    }
    const double scale = pow(10.0, (double)precision);
    const double scaled = jinja_as_real(self) * scale;
    if (!isfinite(scaled)) {
        return jinja_run_fail(run, WEFT_INVALID, "a number that is not finite cannot be rounded");
    }
    *out = jinja_float(((is_ceil ? ceil(scaled) : floor(scaled)) + 0.0) / scale); /* -0 is 0 */
    return WEFT_OK;
}

static weft_status filter_filesizeformat(jinja_run *run, jinja_value self, const jinja_value *args,
                                         jinja_value *out) {
    static const char *const names[2][8] = {
        {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"},
        {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}};
    const bool is_binary = jinja_arg_bool(args[0], false);
    const double base = is_binary ? 1024.0 : 1000.0;
    double size = jinja_is_number(self) ? jinja_as_real(self) : 0.0;
    char text[400];
    if (!jinja_is_number(self) &&
        (self.kind != JINJA_STRING || !jinja_str_to_float(jinja_text(self), &size))) {
        return jinja_run_fail(run, WEFT_INVALID, "filesizeformat needs a number, not '%s'",
                              jinja_type_name(self));
    }
    if (size == 1.0) {
        snprintf(text, sizeof(text), "1 Byte");
    } else if (size < base) {
        if (!isfinite(size)) {
            return jinja_run_fail(run, WEFT_INVALID, "filesizeformat needs a finite number");
        }
        snprintf(text, sizeof(text), "%.0f Bytes", trunc(size) + 0.0); /* -0 is 0 */
    } else {
        size_t i = 0;
        double unit = base * base;
        while (i < 7 && size >= unit) {
            i++;
            unit = pow(base, (double)i + 2);
        }
        snprintf(text, sizeof(text), "%.1f %s", base * size / unit, names[is_binary][i]);
    }
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(jinja_write(&w, str_from_cstr(text)));
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

/* Not at random: the same request must give the same prompt. Each call of a render picks another
 * item, the same ones in every render (splitmix64 from zero). */
static weft_status filter_random(jinja_run *run, jinja_value self, const jinja_value *args,
                                 jinja_value *out) {
    int64_t count;
    if (!jinja_length(self, &count) || self.kind == JINJA_DICT || self.kind == JINJA_VIEW) {
        return jinja_run_fail(run, WEFT_INVALID, "random needs a sequence, not '%s'",
                              jinja_type_name(self));
    }
    if (count == 0) {
        *out = jinja_undefined(JINJA_ABSENT_HINT, STR_LIT("No random item, sequence was empty."));
        return WEFT_OK;
    }
    run->random_state += 0x9E3779B97F4A7C15u;
    uint64_t bits = run->random_state;
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9u;
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EBu;
    bits ^= bits >> 31;
    return jinja_get_item(run, self, jinja_int((int64_t)(bits % (uint64_t)count)), out);
}

const jinja_builtin jinja_value_filters[] = {
    {.name = "tojson",
     .fn = jinja_to_json,
     .params = {"ensure_ascii", "indent", "separators", "sort_keys"}},
    {.name = "default", .fn = filter_default, .params = {"default_value", "boolean"}},
    {.name = "d", .fn = filter_default, .params = {"default_value", "boolean"}},
    {.name = "string", .fn = filter_string},
    {.name = "int", .fn = filter_int, .params = {"default", "base"}},
    {.name = "float", .fn = filter_float, .params = {"default"}},
    {.name = "abs", .fn = filter_abs},
    {.name = "round", .fn = filter_round, .params = {"precision", "method"}},
    {.name = "attr", .fn = filter_attr, .n_required = 1, .params = {"name"}},
    {.name = "filesizeformat", .fn = filter_filesizeformat, .params = {"binary"}},
    {.name = "random", .fn = filter_random},
    {.name = "pprint", .fn = jinja_pprint},
    {.name = NULL},
};
