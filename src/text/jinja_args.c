/* jinja_args.c - arguments, shared string operations and sorting.
 *
 * What more than one table of builtins needs. Strings are never changed: each operation writes
 * a new one into the run's arena, or gives back a part of the old one.
 */
#include "text/jinja_args.h"

#include <math.h>
#include <stdlib.h>

#include "text/utf8.h"

bool jinja_is_given(jinja_value v) { return v.kind != JINJA_MISSING && v.kind != JINJA_NONE; }

bool jinja_arg_bool(jinja_value v, bool fallback) {
    return v.kind == JINJA_MISSING ? fallback : jinja_truth(v);
}

weft_status jinja_arg_flag(jinja_run *run, jinja_value v, bool *out) {
    if (v.kind != JINJA_MISSING && !jinja_is_integral(v)) {
        return jinja_run_fail(run, WEFT_INVALID, "'%s' object cannot be interpreted as an integer",
                              jinja_type_name(v));
    }
    *out = jinja_arg_bool(v, false);
    return WEFT_OK;
}

weft_status jinja_arg_int(jinja_run *run, jinja_value v, const char *what, int64_t fallback,
                          int64_t *out) {
    *out = fallback;
    if (v.kind == JINJA_MISSING) {
        return WEFT_OK;
    }
    if (v.kind == JINJA_UNDEFINED) {
        return jinja_undefined_fail(run, v);
    }
    if (!jinja_is_integral(v)) {
        return jinja_run_fail(run, WEFT_INVALID, "%s must be an integer, not '%s'", what,
                              jinja_type_name(v));
    }
    *out = jinja_as_integer(v);
    return WEFT_OK;
}

weft_status jinja_arg_int_or_none(jinja_run *run, jinja_value v, const char *what, int64_t fallback,
                                  int64_t *out) {
    return jinja_arg_int(run, v.kind == JINJA_NONE ? jinja_missing() : v, what, fallback, out);
}

weft_status jinja_arg_str(jinja_run *run, jinja_value v, const char *what, str *out) {
    if (v.kind != JINJA_STRING) {
        return jinja_run_fail(run, WEFT_INVALID, "%s must be a string, not '%s'", what,
                              jinja_type_name(v));
    }
    *out = jinja_text(v);
    return WEFT_OK;
}

static weft_status write_mapped(jinja_writer *w, str s, size_t at, jinja_case to) {
    uint32_t mapped[JINJA_CASE_CHARS_MAX];
    const size_t n = jinja_cp_map(s, at, to, mapped);
    for (size_t i = 0; i < n; i++) {
        JINJA_TRY(jinja_write_cp(w, mapped[i]));
    }
    return WEFT_OK;
}

static weft_status write_case(jinja_writer *w, str s, size_t from, jinja_case to) {
    for (size_t at = from; at < s.len;) {
        size_t n;
        jinja_cp_at(s, at, &n);
        JINJA_TRY(write_mapped(w, s, at, to));
        at += n;
    }
    return WEFT_OK;
}

weft_status jinja_str_to_case(jinja_run *run, str s, jinja_case to, jinja_value *out) {
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(jinja_run_step(run, s.len / 8));
    JINJA_TRY(write_case(&w, s, 0, to));
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

weft_status jinja_str_capitalize(jinja_run *run, str s, jinja_value *out) {
    jinja_writer w;
    jinja_writer_init(&w, run);
    if (s.len > 0) {
        size_t n;
        jinja_cp_at(s, 0, &n);
        JINJA_TRY(write_mapped(&w, s, 0, JINJA_CASE_TITLE));
        JINJA_TRY(write_case(&w, s, n, JINJA_CASE_LOWER));
    }
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

/* An empty pattern stands between all characters and at both ends. */
static weft_status replace_empty(jinja_run *run, str s, str with, int64_t count, jinja_value *out) {
    jinja_writer w;
    jinja_writer_init(&w, run);
    size_t at = 0;
    for (; count != 0; count -= count > 0) {
        JINJA_TRY(jinja_write(&w, with));
        if (at == s.len) {
            break;
        }
        size_t n;
        jinja_cp_at(s, at, &n);
        JINJA_TRY(jinja_write(&w, str_slice(s, at, at + n)));
        at += n;
    }
    JINJA_TRY(jinja_write(&w, str_slice(s, at, s.len)));
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

weft_status jinja_str_replace(jinja_run *run, str s, str old, str with, int64_t count,
                              jinja_value *out) {
    if (old.len == 0) {
        return replace_empty(run, s, with, count, out);
    }
    jinja_writer w;
    jinja_writer_init(&w, run);
    size_t from = 0;
    JINJA_TRY(jinja_run_step(run, s.len / 64));
    for (; count != 0; count -= count > 0) {
        const size_t at = jinja_str_find(s, old, from);
        if (at == SIZE_MAX) {
            break;
        }
        JINJA_TRY(jinja_write(&w, str_slice(s, from, at)));
        JINJA_TRY(jinja_write(&w, with));
        from = at + old.len;
    }
    if (from == 0) {
        *out = jinja_string(s);
        return WEFT_OK;
    }
    JINJA_TRY(jinja_write(&w, str_slice(s, from, s.len)));
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

weft_status jinja_str_pad(jinja_run *run, str s, int64_t width, str fill, int where,
                          jinja_value *out) {
    const int64_t missing = width - (int64_t)jinja_str_chars(s);
    if (missing <= 0) {
        *out = jinja_string(s);
        return WEFT_OK;
    }
    int64_t left = where < 0 ? 0 : missing;
    if (where == 0) { /* CPython puts the odd one left when the width is odd */
        left = missing / 2 + (missing & width & 1);
    }
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(jinja_write_repeat(&w, fill, left));
    JINJA_TRY(jinja_write(&w, s));
    JINJA_TRY(jinja_write_repeat(&w, fill, missing - left));
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

static bool set_has(const str *chars, str s, size_t at, size_t n, uint32_t cp) {
    return chars == NULL ? jinja_cp_is_space(cp)
                         : jinja_str_find(*chars, str_slice(s, at, at + n), 0) != SIZE_MAX;
}

str jinja_str_strip_set(str s, const str *chars, bool left, bool right) {
    size_t n;
    while (left && s.len > 0) {
        const uint32_t cp = jinja_cp_at(s, 0, &n);
        if (!set_has(chars, s, 0, n, cp)) {
            break;
        }
        s = str_slice(s, n, s.len);
    }
    while (right && s.len > 0) {
        const uint32_t cp = jinja_cp_before(s, s.len, &n);
        if (!set_has(chars, s, s.len - n, n, cp)) {
            break;
        }
        s.len -= n;
    }
    return s;
}

weft_status jinja_write_html(jinja_writer *w, str s) {
    size_t plain = 0;
    for (size_t i = 0; i < s.len; i++) {
        str entity = {0};
        switch (s.data[i]) {
        case '&': entity = STR_LIT("&amp;"); break;
        case '<': entity = STR_LIT("&lt;"); break;
        case '>': entity = STR_LIT("&gt;"); break;
        case '\'': entity = STR_LIT("&#39;"); break;
        case '"': entity = STR_LIT("&#34;"); break;
        default: continue;
        }
        JINJA_TRY(jinja_write(w, str_slice(s, plain, i)));
        JINJA_TRY(jinja_write(w, entity));
        plain = i + 1;
    }
    return jinja_write(w, str_slice(s, plain, s.len));
}

weft_status jinja_escape(jinja_run *run, jinja_value v, jinja_value *out) {
    *out = v;
    if (v.kind == JINJA_STRING && v.is_markup) {
        return WEFT_OK;
    }
    str s;
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(jinja_to_str(run, v, &s));
    JINJA_TRY(jinja_write_html(&w, s));
    *out = jinja_writer_value(&w);
    out->is_markup = true;
    return WEFT_OK;
}

static int digit_of(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'z' ? lower - 'a' + 10 : 99;
}

/* "0x", "0o", "0b" in front of digits, where the base allows it. */
static str skip_prefix(str s, int64_t *base) {
    if (s.len > 2 && s.data[0] == '0') {
        const char letter = (char)(s.data[1] | 0x20);
        const int64_t named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
        if (named != 0 && (*base == named || *base == 0)) {
            *base = named;
            s = str_slice(s, 2, s.len);
            return s.data[0] == '_' ? str_slice(s, 1, s.len) : s;
        }
    }
    if (*base == 0) {
        *base = 10;
    }
    return s;
}

bool jinja_str_to_int(str s, int64_t base, int64_t *out, bool *is_overflow) {
    *is_overflow = false;
    s = jinja_str_strip_set(s, NULL, true, true);
    const bool is_negative = s.len > 0 && s.data[0] == '-';
    if (s.len > 0 && (s.data[0] == '-' || s.data[0] == '+')) {
        s = str_slice(s, 1, s.len);
    }
    s = skip_prefix(s, &base);
    uint64_t value = 0;
    bool was_digit = false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '_' && was_digit && i + 1 < s.len) {
            was_digit = false;
            continue;
        }
        const int digit = digit_of(s.data[i]);
        if (digit >= base) {
            return false;
        }
        was_digit = true;
        if (value > ((uint64_t)INT64_MAX - (uint64_t)digit) / (uint64_t)base) {
            *is_overflow = true;
            value = 0;
        }
        value = value * (uint64_t)base + (uint64_t)digit;
    }
    *out = is_negative ? -(int64_t)value : (int64_t)value;
    return was_digit && !*is_overflow;
}

/* Decimal digits only: strtod would also read hexadecimal. */
static bool is_decimal_float(const char *text) {
    text += *text == '-' || *text == '+';
    return (*text >= '0' && *text <= '9') || *text == '.' || (*text | 0x20) == 'i' ||
           (*text | 0x20) == 'n';
}

bool jinja_str_to_float(str s, double *out) {
    char text[400];
    size_t n = 0;
    s = jinja_str_strip_set(s, NULL, true, true);
    if (s.len == 0 || s.len >= sizeof(text)) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        const bool is_joint = s.data[i] == '_' && i > 0 && i + 1 < s.len &&
                              digit_of(s.data[i - 1]) < 10 && digit_of(s.data[i + 1]) < 10;
        if (s.data[i] == '\0' || s.data[i] == '(' || (s.data[i] | 0x20) == 'x') {
            return false;
        }
        if (!is_joint) {
            text[n++] = s.data[i];
        }
    }
    text[n] = '\0';
    char *end;
    *out = strtod(text, &end);
    return is_decimal_float(text) && end == text + n;
}

static bool is_digits(str s) {
    for (size_t i = 0; i < s.len; i++) {
        if (digit_of(s.data[i]) > 9) {
            return false;
        }
    }
    return s.len > 0;
}

weft_status jinja_get_path(jinja_run *run, jinja_value item, jinja_value attribute,
                           jinja_value fallback, jinja_value *out) {
    *out = item;
    if (!jinja_is_given(attribute)) {
        return WEFT_OK;
    }
    const bool is_text = attribute.kind == JINJA_STRING;
    const str path = is_text ? jinja_text(attribute) : (str){0};
    for (size_t from = 0; from <= path.len;) {
        size_t to = is_text ? jinja_str_find(path, STR_LIT("."), from) : 0;
        to = to == SIZE_MAX ? path.len : to;
        const str part = str_slice(path, from, to);
        jinja_value key = is_text ? jinja_string(part) : attribute;
        int64_t index;
        if (is_text && is_digits(part) && str_parse_i64(part, &index)) {
            key = jinja_int(index);
        }
        JINJA_TRY(jinja_get_item(run, *out, key, out));
        if (out->kind == JINJA_UNDEFINED && jinja_is_given(fallback)) {
            *out = fallback;
        }
        from = to + 1;
    }
    return WEFT_OK;
}

typedef struct sorter {
    jinja_run *run;
    const jinja_value *keys;
    bool is_reverse;
} sorter;

static weft_status merge(const sorter *s, const uint32_t *from, uint32_t *to, uint32_t low,
                         uint32_t middle, uint32_t high) {
    uint32_t left = low;
    uint32_t right = middle;
    for (uint32_t i = low; i < high; i++) {
        bool takes_right = left == middle;
        if (!takes_right && right < high) {
            JINJA_TRY(jinja_run_step(s->run, 1));
            JINJA_TRY(jinja_compare(s->run, s->is_reverse ? JINJA_OP_GT : JINJA_OP_LT,
                                    s->keys[from[right]], s->keys[from[left]], &takes_right));
        }
        to[i] = takes_right ? from[right++] : from[left++];
    }
    return WEFT_OK;
}

weft_status jinja_sort_order(jinja_run *run, const jinja_value *keys, uint32_t count,
                             bool is_reverse, uint32_t **out) {
    const sorter s = {.run = run, .keys = keys, .is_reverse = is_reverse};
    void *first;
    void *second;
    JINJA_TRY(jinja_run_alloc(run, (size_t)count + 1, sizeof(uint32_t), &first));
    JINJA_TRY(jinja_run_alloc(run, (size_t)count + 1, sizeof(uint32_t), &second));
    uint32_t *from = first;
    uint32_t *to = second;
    for (uint32_t i = 0; i < count; i++) {
        from[i] = i;
    }
    for (uint64_t width = 1; width < count; width *= 2) {
        for (uint64_t low = 0; low < count; low += 2 * width) {
            const uint64_t middle = low + width < count ? low + width : count;
            const uint64_t high = low + 2 * width < count ? low + 2 * width : count;
            JINJA_TRY(merge(&s, from, to, (uint32_t)low, (uint32_t)middle, (uint32_t)high));
        }
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    *out = from;
    return WEFT_OK;
}
