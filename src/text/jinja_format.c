/* jinja_format.c - Python's str() and repr() of values.
 *
 * Templates print lists and dicts, and models were trained on exactly that text: quotes,
 * commas, "None", "True", the shortest digits of a float. Strings inside containers go through
 * repr, which prefers single quotes and escapes what is not printable.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/jinja_run.h"
#include "text/jinja_unicode.h"

void jinja_float_format(char out[JINJA_FLOAT_TEXT_MAX], double d) {
    if (isnan(d) || isinf(d)) {
        snprintf(out, JINJA_FLOAT_TEXT_MAX, "%s", isnan(d) ? "nan" : d < 0 ? "-inf" : "inf");
        return;
    }
    char digits[JINJA_FLOAT_TEXT_MAX]; /* d.ddde[+-]xx with the fewest digits that read back */
    for (int precision = 0; precision < 17; precision++) {
        snprintf(digits, sizeof(digits), "%.*e", precision, d);
        if (strtod(digits, NULL) == d) {
            break;
        }
    }
    char *e = strchr(digits, 'e');
    const int exponent = (int)strtol(e + 1, NULL, 10);
    const int n_digits =
        (int)(e - digits) - (d < 0 || (d == 0 && signbit(d))) - (strchr(digits, '.') != NULL);
    if (exponent < -4 || exponent >= 16) {
        snprintf(out, JINJA_FLOAT_TEXT_MAX, "%s", digits); /* printf writes it as Python does */
        return;
    }
    const int decimals = n_digits - 1 - exponent;
    snprintf(out, JINJA_FLOAT_TEXT_MAX, "%.*f", decimals < 1 ? 1 : decimals, d);
}

static weft_status write_float(jinja_writer *w, double d) {
    char text[JINJA_FLOAT_TEXT_MAX];
    jinja_float_format(text, d);
    return jinja_write(w, str_from_cstr(text));
}

static weft_status write_integer(jinja_writer *w, int64_t i) {
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, i);
    return jinja_write(w, str_from_cstr(text));
}

/* A character that repr does not show as it is. */
static weft_status write_escaped(jinja_writer *w, uint32_t cp) {
    char text[12];
    const char *known = cp == '\n' ? "\\n" : cp == '\r' ? "\\r" : cp == '\t' ? "\\t" : NULL;
    if (known == NULL) {
        if (cp < 0x100) {
            snprintf(text, sizeof(text), "\\x%02x", (unsigned)cp);
        } else if (cp < 0x10000) {
            snprintf(text, sizeof(text), "\\u%04x", (unsigned)cp);
        } else {
            snprintf(text, sizeof(text), "\\U%08x", (unsigned)cp);
        }
        known = text;
    }
    return jinja_write(w, str_from_cstr(known));
}

static weft_status write_string_repr(jinja_writer *w, str s) {
    const bool has_single = s.len > 0 && memchr(s.data, '\'', s.len) != NULL;
    const bool has_double = s.len > 0 && memchr(s.data, '"', s.len) != NULL;
    const char quote = has_single && !has_double ? '"' : '\'';
    JINJA_TRY(jinja_write_char(w, quote));
    size_t plain = 0; /* begin of what can be copied as it is */
    for (size_t at = 0; at < s.len;) {
        size_t n;
        const uint32_t cp = jinja_cp_at(s, at, &n);
        const bool is_quoted = cp == (unsigned char)quote || cp == '\\';
        if (is_quoted || !jinja_cp_is_printable(cp)) {
            JINJA_TRY(jinja_write(w, str_slice(s, plain, at)));
            if (is_quoted) {
                const char escape[2] = {'\\', (char)cp};
                JINJA_TRY(jinja_write(w, str_from(escape, 2)));
            } else {
                JINJA_TRY(write_escaped(w, cp));
            }
            plain = at + n;
        }
        at += n;
    }
    JINJA_TRY(jinja_write(w, str_slice(s, plain, s.len)));
    return jinja_write_char(w, quote);
}

static weft_status write_items(jinja_writer *w, const jinja_list *list) {
    for (uint32_t i = 0; i < list->count; i++) {
        JINJA_TRY(jinja_write(w, i > 0 ? STR_LIT(", ") : STR_LIT("")));
        JINJA_TRY(jinja_write_repr(w, list->items[i]));
    }
    return WEFT_OK;
}

static weft_status write_list(jinja_writer *w, jinja_value v) {
    const bool is_list = v.kind == JINJA_LIST;
    JINJA_TRY(jinja_write_char(w, is_list ? '[' : '('));
    JINJA_TRY(write_items(w, v.as.list));
    if (!is_list && v.as.list->count == 1) {
        JINJA_TRY(jinja_write_char(w, ','));
    }
    return jinja_write_char(w, is_list ? ']' : ')');
}

static weft_status write_dict(jinja_writer *w, const jinja_dict *d) {
    JINJA_TRY(jinja_write_char(w, '{'));
    for (uint32_t i = 0; i < d->count; i++) {
        JINJA_TRY(jinja_write(w, i > 0 ? STR_LIT(", ") : STR_LIT("")));
        JINJA_TRY(jinja_write_repr(w, d->entries[i].key));
        JINJA_TRY(jinja_write(w, STR_LIT(": ")));
        JINJA_TRY(jinja_write_repr(w, d->entries[i].value));
    }
    return jinja_write_char(w, '}');
}

static weft_status write_view(jinja_writer *w, jinja_value v) {
    jinja_list items;
    JINJA_TRY(jinja_iterate(w->run, v, &items));
    JINJA_TRY(jinja_write(w, str_from_cstr(jinja_type_name(v))));
    JINJA_TRY(jinja_write(w, STR_LIT("([")));
    JINJA_TRY(write_items(w, &items));
    return jinja_write(w, STR_LIT("])"));
}

static weft_status write_range(jinja_writer *w, const jinja_range *r) {
    JINJA_TRY(jinja_write(w, STR_LIT("range(")));
    JINJA_TRY(write_integer(w, r->start));
    JINJA_TRY(jinja_write(w, STR_LIT(", ")));
    JINJA_TRY(write_integer(w, r->stop));
    if (r->step != 1) {
        JINJA_TRY(jinja_write(w, STR_LIT(", ")));
        JINJA_TRY(write_integer(w, r->step));
    }
    return jinja_write_char(w, ')');
}

/* Objects without a text of their own: <generator object>, <Macro 'name'>. */
static weft_status write_object(jinja_writer *w, jinja_value v) {
    JINJA_TRY(jinja_write_char(w, '<'));
    JINJA_TRY(jinja_write(w, str_from_cstr(jinja_type_name(v))));
    if (v.kind == JINJA_MACRO) {
        JINJA_TRY(jinja_write_char(w, ' '));
        JINJA_TRY(write_string_repr(w, v.as.macro->node->as.macro.name));
    } else if (v.kind == JINJA_NAMESPACE) {
        JINJA_TRY(jinja_write_char(w, ' '));
        JINJA_TRY(write_dict(w, v.as.dict));
    } else if (v.kind == JINJA_LOOP) {
        JINJA_TRY(jinja_write_char(w, ' '));
        JINJA_TRY(write_integer(w, v.as.loop->index0 + 1));
    } else {
        JINJA_TRY(jinja_write(w, STR_LIT(" object")));
    }
    return jinja_write_char(w, '>');
}

static weft_status write_container(jinja_writer *w, jinja_value v) {
    switch ((jinja_kind)v.kind) {
    case JINJA_LIST:
    case JINJA_TUPLE: return write_list(w, v);
    case JINJA_DICT: return write_dict(w, v.as.dict);
    case JINJA_VIEW: return write_view(w, v);
    case JINJA_RANGE: return write_range(w, v.as.range);
    default: return write_object(w, v);
    }
}

weft_status jinja_write_repr(jinja_writer *w, jinja_value v) {
    switch ((jinja_kind)v.kind) {
    case JINJA_STRING:
        if (v.is_markup) {
            JINJA_TRY(jinja_write(w, STR_LIT("Markup(")));
            JINJA_TRY(write_string_repr(w, jinja_text(v)));
            return jinja_write_char(w, ')');
        }
        return write_string_repr(w, jinja_text(v));
    case JINJA_INT: return write_integer(w, v.as.integer);
    case JINJA_FLOAT: return write_float(w, v.as.real);
    case JINJA_BOOL: return jinja_write(w, v.as.boolean ? STR_LIT("True") : STR_LIT("False"));
    case JINJA_NONE: return jinja_write(w, STR_LIT("None"));
    case JINJA_MISSING:
    case JINJA_UNDEFINED: return jinja_write(w, STR_LIT("Undefined"));
    default: break;
    }
    JINJA_TRY(jinja_run_enter(w->run));
    JINJA_TRY(write_container(w, v));
    jinja_run_leave(w->run);
    return WEFT_OK;
}

weft_status jinja_write_str(jinja_writer *w, jinja_value v) {
    if (v.kind == JINJA_STRING) {
        return jinja_write(w, jinja_text(v));
    }
    return v.kind == JINJA_UNDEFINED ? WEFT_OK : jinja_write_repr(w, v);
}

weft_status jinja_to_str(jinja_run *run, jinja_value v, str *out) {
    if (v.kind == JINJA_STRING) {
        *out = jinja_text(v);
        return WEFT_OK;
    }
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(jinja_write_str(&w, v));
    *out = jinja_text(jinja_writer_value(&w));
    return WEFT_OK;
}

weft_status jinja_ascii(jinja_run *run, jinja_value v, str *out) {
    str s;
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(jinja_repr(run, v, &s));
    for (size_t at = 0; at < s.len;) {
        size_t n;
        const uint32_t cp = jinja_cp_at(s, at, &n);
        JINJA_TRY(cp < 0x80 ? jinja_write_char(&w, (char)cp) : write_escaped(&w, cp));
        at += n;
    }
    *out = jinja_text(jinja_writer_value(&w));
    return WEFT_OK;
}

weft_status jinja_repr(jinja_run *run, jinja_value v, str *out) {
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(jinja_write_repr(&w, v));
    *out = jinja_text(jinja_writer_value(&w));
    return WEFT_OK;
}
