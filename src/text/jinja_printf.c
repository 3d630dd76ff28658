/* jinja_printf.c - "%s and %d" % (a, b), and "{} and {name:>8}".format(a, name=b).
 *
 * Both fill in values by Python's rules. A field is first written as text and then padded, so
 * that width, sign and zero filling are in one place for both.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "text/jinja_args.h"
#include "text/utf8.h"

#define PRECISION_MAX 300
#define NUMBER_TEXT_MAX 700 /* 309 digits, the point and PRECISION_MAX decimals */

typedef struct field {
    char align; /* '<' '>' '^' '=' or 0 for the type's own */
    char sign;  /* '+' ' ' or 0 */
    str fill;
    bool is_alternate; /* # */
    char group;        /* ',' or '_' between thousands, or 0 */
    int64_t width;
    int64_t precision; /* -1: not given */
    char type;         /* conversion letter, or 0 */
} field;

/* Writes digits (sign apart) with prefix and padding. */
static weft_status write_number(jinja_writer *w, const field *f, bool is_negative, str prefix,
                                str digits) {
    const char sign = is_negative ? '-' : f->sign;
    const int64_t len = (int64_t)(digits.len + prefix.len) + (sign != '\0');
    const int64_t missing = f->width > len ? f->width - len : 0;
    const char align = f->align == '\0' ? '>' : f->align;
    const int64_t left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
    JINJA_TRY(jinja_write_repeat(w, f->fill, left));
    if (sign != '\0') {
        JINJA_TRY(jinja_write_char(w, sign));
    }
    JINJA_TRY(jinja_write(w, prefix));
    JINJA_TRY(jinja_write_repeat(w, f->fill, align == '=' ? missing : 0));
    JINJA_TRY(jinja_write(w, digits));
    return jinja_write_repeat(w, f->fill, align == '=' ? 0 : missing - left);
}

static weft_status write_text(jinja_writer *w, const field *f, str s) {
    if (f->precision >= 0) {
        s = str_slice(s, 0, jinja_str_offset(s, (size_t)f->precision));
    }
    const int64_t len = (int64_t)jinja_str_chars(s);
    const int64_t missing = f->width > len ? f->width - len : 0;
    const int64_t left = f->align == '>' ? missing : f->align == '^' ? missing / 2 : 0;
    JINJA_TRY(jinja_write_repeat(w, f->fill, left));
    JINJA_TRY(jinja_write(w, s));
    return jinja_write_repeat(w, f->fill, missing - left);
}

/* Copies digits with a separator between groups, counted from the point leftwards. */
static str group_digits(char *to, size_t size, const char *digits, char separator, int group) {
    const size_t whole = strspn(digits, "0123456789abcdefABCDEF");
    size_t n = 0;
    for (size_t i = 0; digits[i] != '\0' && n + 2 < size; i++) {
        if (i > 0 && i < whole && (whole - i) % (size_t)group == 0) {
            to[n++] = separator;
        }
        to[n++] = digits[i];
    }
    return str_from(to, n);
}

static weft_status write_integer(jinja_writer *w, const field *f, int64_t i) {
    char digits[80];
    char grouped[120];
    const uint64_t magnitude = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    str prefix = {0};
    size_t n = 0;
    switch (f->type) {
    case 'x':
        snprintf(digits, sizeof(digits), "%" PRIx64, magnitude);
        prefix = STR_LIT("0x");
        break;
    case 'X':
        snprintf(digits, sizeof(digits), "%" PRIX64, magnitude);
        prefix = STR_LIT("0X");
        break;
    case 'o':
        snprintf(digits, sizeof(digits), "%" PRIo64, magnitude);
        prefix = STR_LIT("0o");
        break;
    case 'b':
        for (int bit = 63; bit >= 0; bit--) {
            if (n > 0 || bit == 0 || (magnitude >> bit & 1) != 0) {
                digits[n++] = (char)('0' + (magnitude >> bit & 1));
            }
        }
        digits[n] = '\0';
        prefix = STR_LIT("0b");
        break;
    default: snprintf(digits, sizeof(digits), "%" PRIu64, magnitude); break;
    }
    str text = str_from_cstr(digits);
    if (f->group != '\0') {
        text = group_digits(grouped, sizeof(grouped), digits, f->group, prefix.len > 0 ? 4 : 3);
    }
    return write_number(w, f, i < 0, f->is_alternate ? prefix : (str){0}, text);
}

static weft_status write_real(jinja_writer *w, const field *f, double d) {
    char digits[NUMBER_TEXT_MAX];
    char grouped[NUMBER_TEXT_MAX + NUMBER_TEXT_MAX / 2];
    const double magnitude = fabs(d);
    const bool is_percent = f->type == '%';
    const int precision = f->precision < 0 ? 6 : (int)f->precision;
    switch (isfinite(d) ? f->type : 's') {
    case 'e': snprintf(digits, sizeof(digits), "%.*e", precision, magnitude); break;
    case 'E': snprintf(digits, sizeof(digits), "%.*E", precision, magnitude); break;
    case 'g':
        snprintf(digits, sizeof(digits), f->is_alternate ? "%#.*g" : "%.*g", precision, magnitude);
        break;
    case 'G':
        snprintf(digits, sizeof(digits), f->is_alternate ? "%#.*G" : "%.*G", precision, magnitude);
        break;
    case 'f':
    case 'F':
    case '%':
        snprintf(digits, sizeof(digits), "%.*f%s", precision,
                 is_percent ? magnitude * 100.0 : magnitude, is_percent ? "%" : "");
        break;
    case 'r':
        if (f->precision >= 0) {
            snprintf(digits, sizeof(digits), "%.*g", precision == 0 ? 1 : precision, magnitude);
            break;
        }
        jinja_float_format(digits, magnitude);
        break;
    default: jinja_float_format(digits, magnitude); break;
    }
    str text = str_from_cstr(digits);
    if (f->group != '\0') {
        text = group_digits(grouped, sizeof(grouped), digits, f->group, 3);
    }
    return write_number(w, f, signbit(d) && !isnan(d), (str){0}, text);
}

/* Where the arguments of % come from. */
typedef struct percent_args {
    jinja_value all;
    uint32_t next;
    bool escapes; /* the format is markup: what comes into it as text is escaped */
} percent_args;

static weft_status escape_into(jinja_run *run, bool escapes, jinja_value v, str *s) {
    if (escapes && !(v.kind == JINJA_STRING && v.is_markup)) {
        jinja_value escaped;
        JINJA_TRY(jinja_escape(run, jinja_string(*s), &escaped));
        *s = jinja_text(escaped);
    }
    return WEFT_OK;
}

static weft_status next_arg(jinja_run *run, percent_args *a, jinja_value *out) {
    const bool is_tuple = a->all.kind == JINJA_TUPLE;
    if (a->next >= (is_tuple ? a->all.as.list->count : 1)) {
        return jinja_run_fail(run, WEFT_INVALID, "not enough arguments for format string");
    }
    *out = is_tuple ? a->all.as.list->items[a->next] : a->all;
    a->next++;
    return WEFT_OK;
}

static weft_status read_star_or_digits(jinja_run *run, str format, size_t *at, percent_args *a,
                                       int64_t *out) {
    if (*at < format.len && format.data[*at] == '*') {
        jinja_value v;
        *at += 1;
        JINJA_TRY(next_arg(run, a, &v));
        return jinja_arg_int(run, v, "* in a format", 0, out);
    }
    *out = 0;
    for (; *at < format.len && format.data[*at] >= '0' && format.data[*at] <= '9'; *at += 1) {
        *out = *out * 10 + (format.data[*at] - '0');
        if (*out > JINJA_OUTPUT_BYTES_MAX) {
            return jinja_run_fail(run, WEFT_LIMIT, "a width in a format is too large");
        }
    }
    return WEFT_OK;
}

static weft_status check_precision(jinja_run *run, const field *f) {
    if (f->precision > PRECISION_MAX && f->type != 's' && f->type != 'r' && f->type != '\0') {
        return jinja_run_fail(run, WEFT_LIMIT, "a precision in a format is above %d",
                              PRECISION_MAX);
    }
    return WEFT_OK;
}

static weft_status write_percent_number(jinja_writer *w, const field *f, jinja_value v) {
    jinja_run *run = w->run;
    if (v.kind == JINJA_UNDEFINED) {
        return jinja_undefined_fail(run, v);
    }
    if (!jinja_is_number(v)) {
        return jinja_run_fail(run, WEFT_INVALID, "%%%c format: a number is required, not %s",
                              f->type, jinja_type_name(v));
    }
    if (strchr("eEfFgG", f->type) != NULL) {
        return write_real(w, f, jinja_as_real(v));
    }
    if (v.kind == JINJA_FLOAT && (strchr("xXo", f->type) != NULL || !(fabs(v.as.real) < 9.2e18))) {
        return jinja_run_fail(run, WEFT_INVALID, "%%%c format: an integer is required, not float",
                              f->type);
    }
    return write_integer(w, f, v.kind == JINJA_FLOAT ? (int64_t)v.as.real : jinja_as_integer(v));
}

static weft_status write_character(jinja_writer *w, const field *f, jinja_value v) {
    char bytes[4];
    str s = jinja_text(v);
    if (v.kind == JINJA_STRING && jinja_str_chars(s) == 1) {
        return write_text(w, f, s);
    }
    const int64_t cp = jinja_is_integral(v) ? jinja_as_integer(v) : -1;
    if (cp < 0 || cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) {
        return jinja_run_fail(w->run, WEFT_INVALID, "%%c requires int or char");
    }
    s = str_from(bytes, utf8_encode(bytes, (uint32_t)cp));
    return write_text(w, f, s);
}

static weft_status write_conversion(jinja_writer *w, field *f, bool escapes, jinja_value v) {
    str s;
    JINJA_TRY(check_precision(w->run, f));
    switch (f->type) {
    case 's':
        JINJA_TRY(jinja_to_str(w->run, v, &s));
        JINJA_TRY(escape_into(w->run, escapes, v, &s));
        return write_text(w, f, s);
    case 'r':
    case 'a':
        JINJA_TRY(f->type == 'r' ? jinja_repr(w->run, v, &s) : jinja_ascii(w->run, v, &s));
        JINJA_TRY(escape_into(w->run, escapes, jinja_none(), &s));
        return write_text(w, f, s);
    case 'c': return write_character(w, f, v);
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G': return write_percent_number(w, f, v);
    default:
        return jinja_run_fail(w->run, WEFT_INVALID, "unsupported format character '%c'",
                              f->type >= ' ' && f->type < 0x7F ? f->type : '?');
    }
}

/* "(name)" of %(name)s, looked up in the dict that stands right of the %. */
static weft_status named_arg(jinja_run *run, str format, size_t *at, const percent_args *a,
                             jinja_value *out) {
    const size_t end = str_find(format, STR_LIT(")"), *at);
    if (end == SIZE_MAX) {
        return jinja_run_fail(run, WEFT_INVALID, "incomplete format key");
    }
    if (a->all.kind != JINJA_DICT) {
        return jinja_run_fail(run, WEFT_INVALID, "format requires a mapping");
    }
    const str name = str_slice(format, *at + 1, end);
    const jinja_value *v = jinja_dict_find(a->all.as.dict, name);
    if (v == NULL) {
        return jinja_run_fail(run, WEFT_INVALID, "the format's key '" STR_FMT "' is not there",
                              STR_ARG(name));
    }
    *at = end + 1;
    *out = *v;
    return WEFT_OK;
}

static weft_status percent_one(jinja_writer *w, str format, size_t *at, percent_args *a) {
    field f = {.fill = STR_LIT(" "), .precision = -1, .align = '>'};
    jinja_value v = jinja_missing();
    bool is_zero_filled = false;
    if (*at < format.len && format.data[*at] == '(') {
        JINJA_TRY(named_arg(w->run, format, at, a, &v));
    }
    for (;
         *at < format.len && strchr("#0- +", format.data[*at]) != NULL && format.data[*at] != '\0';
         *at += 1) {
        const char flag = format.data[*at];
        f.is_alternate |= flag == '#';
        is_zero_filled |= flag == '0';
        f.align = flag == '-' ? '<' : f.align;
        f.sign = flag == '+' || (flag == ' ' && f.sign == '\0') ? flag : f.sign;
    }
    JINJA_TRY(read_star_or_digits(w->run, format, at, a, &f.width));
    if (f.width < 0) {
        f.align = '<';
        f.width = -f.width;
    }
    if (*at < format.len && format.data[*at] == '.') {
        *at += 1;
        JINJA_TRY(read_star_or_digits(w->run, format, at, a, &f.precision));
    }
    while (*at < format.len && strchr("hlL", format.data[*at]) != NULL &&
           format.data[*at] != '\0') {
        *at += 1;
    }
    if (*at == format.len) {
        return jinja_run_fail(w->run, WEFT_INVALID, "incomplete format");
    }
    f.type = format.data[*at];
    *at += 1;
    if (f.type == '%') {
        return jinja_write_char(w, '%');
    }
    if (v.kind == JINJA_MISSING) {
        JINJA_TRY(next_arg(w->run, a, &v));
    }
    if (is_zero_filled && f.align != '<' && strchr("srac", f.type) == NULL) {
        f.fill = STR_LIT("0");
        f.align = '=';
    }
    return write_conversion(w, &f, a->escapes, v);
}

weft_status jinja_percent(jinja_run *run, jinja_value self, jinja_value args, jinja_value *out) {
    const str format = jinja_text(self);
    percent_args a = {.all = args, .escapes = self.is_markup};
    jinja_writer w;
    jinja_writer_init(&w, run);
    for (size_t at = 0; at < format.len;) {
        size_t percent = str_find(format, STR_LIT("%"), at);
        percent = percent == SIZE_MAX ? format.len : percent;
        JINJA_TRY(jinja_write(&w, str_slice(format, at, percent)));
        at = percent + 1;
        if (percent < format.len) {
            JINJA_TRY(percent_one(&w, format, &at, &a));
        }
    }
    const bool may_be_left = args.kind == JINJA_DICT || args.kind == JINJA_LIST ||
                             args.kind == JINJA_RANGE || args.kind == JINJA_UNDEFINED;
    const bool is_left_over =
        args.kind == JINJA_TUPLE ? a.next < args.as.list->count : a.next == 0 && !may_be_left;
    if (is_left_over) {
        return jinja_run_fail(run, WEFT_INVALID,
                              "not all arguments converted during string formatting");
    }
    *out = jinja_markup_like(self, jinja_writer_value(&w));
    return WEFT_OK;
}

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static weft_status read_spec(jinja_run *run, str spec, field *f) {
    size_t at = 0;
    size_t n = 0;
    *f = (field){.fill = STR_LIT(" "), .precision = -1};
    if (spec.len > 0) {
        jinja_cp_at(spec, 0, &n);
    }
    if (n > 0 && n < spec.len && strchr("<>^=", spec.data[n]) != NULL && spec.data[n] != '\0') {
        f->fill = str_slice(spec, 0, n);
        f->align = spec.data[n];
        at = n + 1;
    } else if (spec.len > 0 && strchr("<>^=", spec.data[0]) != NULL && spec.data[0] != '\0') {
        f->align = spec.data[0];
        at = 1;
    }
    if (at < spec.len && (spec.data[at] == '+' || spec.data[at] == ' ' || spec.data[at] == '-')) {
        f->sign = spec.data[at] == '-' ? '\0' : spec.data[at];
        at++;
    }
    if (at < spec.len && spec.data[at] == '#') {
        f->is_alternate = true;
        at++;
    }
    if (at < spec.len && spec.data[at] == '0' && f->align == '\0') {
        f->fill = STR_LIT("0");
        f->align = '=';
        at++;
    }
    percent_args none = {.all = jinja_none(), .next = 1};
    if (at < spec.len && spec.data[at] != '*') {
        JINJA_TRY(read_star_or_digits(run, spec, &at, &none, &f->width));
    }
    if (at < spec.len && (spec.data[at] == ',' || spec.data[at] == '_')) {
        f->group = spec.data[at++];
    }
    if (at + 1 < spec.len && spec.data[at] == '.' && spec.data[at + 1] != '*') {
        at++;
        JINJA_TRY(read_star_or_digits(run, spec, &at, &none, &f->precision));
    }
    if (at < spec.len) {
        f->type = spec.data[at++];
    }
    if (at < spec.len) {
        return jinja_run_fail(run, WEFT_INVALID, "invalid format specifier '" STR_FMT "'",
                              STR_ARG(spec));
    }
    return check_precision(run, f);
}

static weft_status unknown_code(jinja_run *run, const field *f, jinja_value v) {
    return jinja_run_fail(run, WEFT_INVALID, "unknown format code '%c' for object of type '%s'",
                          f->type >= ' ' && f->type < 0x7F ? f->type : '?', jinja_type_name(v));
}

static weft_status write_formatted(jinja_writer *w, jinja_value v, str spec) {
    jinja_run *run = w->run;
    field f;
    str s;
    JINJA_TRY(read_spec(run, spec, &f));
    if (v.kind == JINJA_FLOAT ||
        (jinja_is_integral(v) && f.type != '\0' && strchr("eEfFgG%", f.type) != NULL)) {
        if (f.type != '\0' && strchr("eEfFgG%n", f.type) == NULL) {
            return unknown_code(run, &f, v);
        }
        f.type = f.type == '\0' ? 'r' : f.type;
        JINJA_TRY(check_precision(run, &f));
        if (f.precision > PRECISION_MAX) {
            return jinja_run_fail(run, WEFT_LIMIT, "a precision in a format is above %d",
                                  PRECISION_MAX);
        }
        return write_real(w, &f, jinja_as_real(v));
    }
    if (jinja_is_integral(v) && (v.kind == JINJA_INT || spec.len > 0)) {
        if (f.type == 'c') {
            return write_character(w, &f, v);
        }
        if (f.type != '\0' && strchr("dbxXon", f.type) == NULL) {
            return unknown_code(run, &f, v);
        }
        return write_integer(w, &f, jinja_as_integer(v));
    }
    if (f.type != '\0' && f.type != 's') {
        return unknown_code(run, &f, v);
    }
    if (f.group != '\0') {
        return jinja_run_fail(run, WEFT_INVALID, "Cannot specify '%c' with 's'.", f.group);
    }
    if (f.sign != '\0' || f.is_alternate) {
        return jinja_run_fail(run, WEFT_INVALID, "%s not allowed in string format specifier",
                              f.is_alternate ? "Alternate form (#)" : "Sign");
    }
    if (v.kind != JINJA_STRING && spec.len > 0) {
        return jinja_run_fail(run, WEFT_INVALID,
                              "unsupported format string passed to %s.__format__",
                              jinja_type_name(v));
    }
    JINJA_TRY(jinja_to_str(run, v, &s));
    return write_text(w, &f, s);
}

/* Fields without a number count up by themselves; both kinds cannot be mixed. */
typedef struct format_args {
    const jinja_call *call;
    const jinja_dict *mapping; /* of format_map, which has nothing else */
    bool escapes;              /* the format is markup */
    uint32_t next;
    bool is_automatic;
    bool is_manual;
} format_args;

static weft_status first_of_field(jinja_run *run, format_args *a, str name, jinja_value *out) {
    uint64_t index = 0;
    if (name.len == 0 || str_parse_u64(name, &index)) {
        a->is_automatic |= name.len == 0;
        a->is_manual |= name.len > 0;
        if (a->is_automatic && a->is_manual) {
            return jinja_run_fail(run, WEFT_INVALID,
                                  "cannot switch between manual and automatic field numbering");
        }
        index = name.len == 0 ? a->next++ : index;
        if (index >= a->call->n_args) {
            return jinja_run_fail(run, WEFT_INVALID,
                                  "Replacement index %llu out of range for positional args tuple",
                                  (unsigned long long)index);
        }
        *out = a->call->args[index];
        return WEFT_OK;
    }
    for (uint32_t i = 0; i < a->call->n_keywords; i++) {
        if (str_eq(a->call->keywords[i].name, name)) {
            *out = a->call->keywords[i].value;
            return WEFT_OK;
        }
    }
    const jinja_value *v = a->mapping != NULL ? jinja_dict_find(a->mapping, name) : NULL;
    if (v != NULL) {
        *out = *v;
        return WEFT_OK;
    }
    return jinja_run_fail(run, WEFT_INVALID, "the format's key '" STR_FMT "' is not there",
                          STR_ARG(name));
}

static size_t field_name_end(str name, size_t at) {
    while (at < name.len && name.data[at] != '.' && name.data[at] != '[') {
        at++;
    }
    return at;
}

/* "0.name[key]" */
static weft_status resolve_field(jinja_run *run, format_args *a, str name, jinja_value *out) {
    size_t at = field_name_end(name, 0);
    JINJA_TRY(first_of_field(run, a, str_slice(name, 0, at), out));
    while (at < name.len) {
        if (name.data[at] == '.') {
            const size_t end = field_name_end(name, at + 1);
            JINJA_TRY(jinja_get_attribute(run, *out, str_slice(name, at + 1, end), NULL, out));
            at = end;
            continue;
        }
        const size_t end = str_find(name, STR_LIT("]"), at);
        if (name.data[at] != '[' || end == SIZE_MAX) {
            return jinja_run_fail(run, WEFT_INVALID, "missing ']' in format string");
        }
        const str key = str_slice(name, at + 1, end);
        int64_t index;
        JINJA_TRY(jinja_get_item(
            run, *out, str_parse_i64(key, &index) ? jinja_int(index) : jinja_string(key), out));
        at = end + 1;
    }
    return WEFT_OK;
}

/* "name!r:spec", where the spec may hold fields of its own, one level deep. */
static weft_status format_field(jinja_writer *w, format_args *a, str text, bool is_nested) {
    jinja_run *run = w->run;
    const size_t colon = str_find(text, STR_LIT(":"), 0);
    str name = str_slice(text, 0, colon);
    str spec = colon == SIZE_MAX ? (str){0} : str_slice(text, colon + 1, text.len);
    const size_t bang = str_find(name, STR_LIT("!"), 0);
    char conversion = '\0';
    if (bang != SIZE_MAX) {
        conversion = bang + 1 < name.len ? name.data[bang + 1] : '?';
        name.len = bang;
    }
    jinja_value v;
    JINJA_TRY(resolve_field(run, a, name, &v));
    if (conversion != '\0') {
        str s;
        switch (conversion) {
        case 's': JINJA_TRY(jinja_to_str(run, v, &s)); break;
        case 'r': JINJA_TRY(jinja_repr(run, v, &s)); break;
        case 'a': JINJA_TRY(jinja_ascii(run, v, &s)); break;
        default:
            return jinja_run_fail(run, WEFT_INVALID, "unknown conversion specifier in a format");
        }
        v = jinja_string(s);
    }
    const size_t open = str_find(spec, STR_LIT("{"), 0);
    const size_t close = open == SIZE_MAX ? SIZE_MAX : str_find(spec, STR_LIT("}"), open);
    if (close != SIZE_MAX && !is_nested) {
        jinja_writer whole;
        jinja_writer_init(&whole, run);
        JINJA_TRY(jinja_write(&whole, str_slice(spec, 0, open)));
        JINJA_TRY(format_field(&whole, a, str_slice(spec, open + 1, close), true));
        JINJA_TRY(jinja_write(&whole, str_slice(spec, close + 1, spec.len)));
        spec = jinja_text(jinja_writer_value(&whole));
    }
    if (!a->escapes) {
        return write_formatted(w, v, spec);
    }
    jinja_writer part;
    jinja_writer_init(&part, run);
    JINJA_TRY(write_formatted(&part, v, spec));
    str s = jinja_text(jinja_writer_value(&part));
    JINJA_TRY(escape_into(run, true, v, &s));
    return jinja_write(w, s);
}

/* The '}' that ends the field whose '{' stands before `at`. */
static size_t field_end(str format, size_t at) {
    int depth = 1;
    for (; at < format.len; at++) {
        depth += format.data[at] == '{';
        depth -= format.data[at] == '}';
        if (depth == 0) {
            return at;
        }
    }
    return SIZE_MAX;
}

static weft_status format_all(jinja_run *run, jinja_value self, format_args *a, jinja_value *out) {
    const str format = jinja_text(self);
    jinja_writer w;
    a->escapes = self.is_markup;
    jinja_writer_init(&w, run);
    for (size_t at = 0; at < format.len;) {
        const char c = format.data[at];
        const bool is_doubled = at + 1 < format.len && format.data[at + 1] == c;
        if ((c != '{' && c != '}') || is_doubled) {
            JINJA_TRY(jinja_write_char(&w, c));
            at += c == '{' || c == '}' ? 2 : 1;
            continue;
        }
        const size_t end = c == '{' ? field_end(format, at + 1) : SIZE_MAX;
        if (end == SIZE_MAX) {
            return jinja_run_fail(run, WEFT_INVALID, "Single '%c' encountered in format string", c);
        }
        JINJA_TRY(format_field(&w, a, str_slice(format, at + 1, end), false));
        at = end + 1;
    }
    *out = jinja_markup_like(self, jinja_writer_value(&w));
    return WEFT_OK;
}

weft_status jinja_str_format(jinja_run *run, jinja_value self, const jinja_call *call,
                             jinja_value *out) {
    format_args a = {.call = call};
    return format_all(run, self, &a, out);
}

weft_status jinja_str_format_map(jinja_run *run, jinja_value self, const jinja_value *args,
                                 jinja_value *out) {
    const jinja_call nothing = {0};
    if (args[0].kind != JINJA_DICT) {
        return jinja_run_fail(run, WEFT_INVALID, "format_map needs a dict, not '%s'",
                              jinja_type_name(args[0]));
    }
    format_args a = {.call = &nothing, .mapping = args[0].as.dict};
    return format_all(run, self, &a, out);
}
