/* jinja_filters.c - filters on single values, and where filters are looked up.
 *
 * Names, parameters and defaults are jinja2's. Filters on lists are in jinja_filters_seq.c,
 * filters on text in jinja_filters_text.c. What makes no sense in a prompt (random, urlize,
 * pprint) is known and refused by name.
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

/* int(value): numbers are cut towards zero. False when there is no such integer. */
static bool to_integer(double d, int64_t *out) {
    if (!(d > -9.3e18 && d < 9.3e18) || d >= 9223372036854775808.0 || d < -9223372036854775808.0) {
        return false;
    }
    *out = (int64_t)d;
    return true;
}

static weft_status filter_int(jinja_run *run, jinja_value self, const jinja_value *args,
                              jinja_value *out) {
    int64_t base;
    int64_t i = 0;
    JINJA_TRY(jinja_arg_int(run, args[1], "int: base", 10, &base));
    if (base != 0 && (base < 2 || base > 36)) {
        return jinja_run_fail(run, WEFT_INVALID, "int: base must be 0 or 2 to 36");
    }
    bool is_number = false;
    if (jinja_is_integral(self)) {
        i = jinja_as_integer(self);
        is_number = true;
    } else if (self.kind == JINJA_FLOAT) {
        is_number = to_integer(self.as.real, &i);
    } else if (self.kind == JINJA_STRING) {
        bool is_overflow;
        double d;
        is_number = jinja_str_to_int(jinja_text(self), base, &i, &is_overflow);
        if (is_overflow) {
            return jinja_run_fail(run, WEFT_INVALID, "the integer does not fit in 64 bits");
        }
        if (!is_number && jinja_str_to_float(jinja_text(self), &d)) { /* "42.23" is 42 */
            is_number = to_integer(d, &i);
        }
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
    JINJA_TRY(jinja_arg_int(run, args[0], "round: precision", 0, &precision));
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
        return WEFT_OK;
    }
    const double scale = pow(10.0, (double)precision);
    const double scaled = jinja_as_real(self) * scale;
    *out = jinja_float((is_ceil ? ceil(scaled) : floor(scaled)) / scale);
    return WEFT_OK;
}

static weft_status filter_filesizeformat(jinja_run *run, jinja_value self, const jinja_value *args,
                                         jinja_value *out) {
    static const char *const names[2][8] = {
        {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"},
        {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}};
    const bool is_binary = jinja_arg_bool(args[0], false);
    const double base = is_binary ? 1024.0 : 1000.0;
    jinja_value number;
    const jinja_value no_default[JINJA_PARAMS_MAX] = {{0}};
    JINJA_TRY(filter_float(run, self, no_default, &number));
    double size = number.as.real;
    char text[400];
    if (size == 1.0) {
        snprintf(text, sizeof(text), "1 Byte");
    } else if (size < base) {
        snprintf(text, sizeof(text), "%.0f Bytes", trunc(size));
    } else {
        size_t i = 0;
        size /= base;
        while (i < 7 && size >= base) {
            size /= base;
            i++;
        }
        snprintf(text, sizeof(text), "%.1f %s", size, names[is_binary][i]);
    }
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(jinja_write(&w, str_from_cstr(text)));
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

static weft_status refuse(jinja_run *run, jinja_value self, const jinja_call *call,
                          jinja_value *out) {
    return jinja_run_fail(run, WEFT_UNSUPPORTED, "this filter is not supported");
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
    {.name = "random", .raw = refuse},
    {.name = "urlize", .raw = refuse},
    {.name = "pprint", .raw = refuse},
    {.name = NULL},
};
