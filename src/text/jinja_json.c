/* jinja_json.c - JSON becomes values, values become JSON.
 *
 * Out: exactly json.dumps(value, ensure_ascii=False, indent, separators, sort_keys), which is
 * what transformers installs as the tojson filter; unlike jinja2's own it does not escape
 * HTML's characters. In: straight from the text, whose strings are borrowed where they have no
 * escapes: the text must outlive the render.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/jinja_run.h"
#include "text/jinja_unicode.h"
#include "text/json_reader.h"

/* What the reader has to say against the text is written by jinja_read_json. */
static weft_status malformed(const json_reader *r) {
    weft_error why;
    return json_reader_status(r, &why);
}

static weft_status read_array(jinja_run *run, json_reader *r, jinja_value *out) {
    jinja_list list;
    JINJA_TRY(jinja_list_init(run, &list, 0));
    for (json_event e = json_reader_next(r); e != JSON_EVENT_ARRAY_END; e = json_reader_next(r)) {
        jinja_value item;
        JINJA_TRY(jinja_read_value(run, r, e, &item));
        JINJA_TRY(jinja_list_push(run, &list, item));
    }
    return jinja_list_value(run, JINJA_LIST, &list, out);
}

/* A key that comes twice has its first place and its last value, as in Python. */
static weft_status read_object(jinja_run *run, json_reader *r, jinja_value *out) {
    jinja_dict *d;
    JINJA_TRY(jinja_dict_create(run, 0, &d));
    for (json_event e = json_reader_next(r); e == JSON_EVENT_KEY; e = json_reader_next(r)) {
        const jinja_value key = jinja_string(r->text);
        jinja_value value;
        JINJA_TRY(jinja_read_value(run, r, json_reader_next(r), &value));
        JINJA_TRY(jinja_dict_set(run, d, key, value));
    }
    *out = jinja_dict_value(d);
    return r->last == JSON_EVENT_ERROR ? malformed(r) : WEFT_OK;
}

/* Depth is bounded by the run and by the reader. */
weft_status jinja_read_value(jinja_run *run, json_reader *r, json_event event, jinja_value *out) {
    switch (event) {
    case JSON_EVENT_STRING: *out = jinja_string(r->text); return WEFT_OK;
    case JSON_EVENT_INTEGER: *out = jinja_int(r->integer); return WEFT_OK;
    case JSON_EVENT_REAL: *out = jinja_float(r->real); return WEFT_OK;
    case JSON_EVENT_TRUE:
    case JSON_EVENT_FALSE: *out = jinja_bool(event == JSON_EVENT_TRUE); return WEFT_OK;
    case JSON_EVENT_NULL: *out = jinja_none(); return WEFT_OK;
    case JSON_EVENT_ARRAY:
    case JSON_EVENT_OBJECT: break;
    default: return malformed(r);
    }
    JINJA_TRY(jinja_run_enter(run));
    JINJA_TRY(event == JSON_EVENT_ARRAY ? read_array(run, r, out) : read_object(run, r, out));
    jinja_run_leave(run);
    return WEFT_OK;
}

weft_status jinja_read_json(jinja_run *run, str text, const char *what, jinja_value *out) {
    json_reader r;
    weft_error why;
    json_reader_init(&r, text, &run->memory);
    weft_status status = jinja_read_value(run, &r, json_reader_next(&r), out);
    if (status == WEFT_OK) {
        json_reader_next(&r);
    }
    if (json_reader_status(&r, &why) != WEFT_OK) {
        status = weft_fail(run->err, WEFT_INVALID, "%s: %s", what, why.message);
    }
    return status;
}

typedef struct json_style {
    bool is_ascii;
    bool sorts_keys;
    bool has_indent;
    str indent; /* once per level */
    str item_separator;
    str key_separator;
    uint32_t level;
} json_style;

static weft_status write_json(jinja_writer *w, json_style *style, jinja_value v);

static weft_status write_unit(jinja_writer *w, uint32_t unit) {
    char text[8];
    snprintf(text, sizeof(text), "\\u%04x", (unsigned)(unit & 0xFFFF));
    return jinja_write(w, str_from_cstr(text));
}

static weft_status write_json_escape(jinja_writer *w, uint32_t cp) {
    static const char plain[] = "\"\\\n\r\t\f\b";
    static const char letters[] = "\"\\nrtfb";
    const char *known = cp < 0x80 && cp != 0 ? strchr(plain, (int)cp) : NULL;
    if (known != NULL) {
        const char escape[2] = {'\\', letters[known - plain]};
        return jinja_write(w, str_from(escape, 2));
    }
    if (cp >= 0x10000) { /* ASCII only: a surrogate pair */
        JINJA_TRY(write_unit(w, 0xD800 + ((cp - 0x10000) >> 10)));
        return write_unit(w, 0xDC00 + ((cp - 0x10000) & 0x3FF));
    }
    return write_unit(w, cp);
}

static weft_status write_json_string(jinja_writer *w, const json_style *style, str s) {
    JINJA_TRY(jinja_write_char(w, '"'));
    size_t plain = 0;
    for (size_t at = 0; at < s.len;) {
        const unsigned char c = (unsigned char)s.data[at];
        size_t n = 1;
        uint32_t cp = c;
        if (c >= 0x80 && style->is_ascii) {
            cp = jinja_cp_at(s, at, &n);
        }
        if (c < 0x20 || c == '"' || c == '\\' || (style->is_ascii && c >= 0x7F)) {
            JINJA_TRY(jinja_write(w, str_slice(s, plain, at)));
            JINJA_TRY(write_json_escape(w, cp));
            plain = at + n;
        }
        at += n;
    }
    JINJA_TRY(jinja_write(w, str_slice(s, plain, s.len)));
    return jinja_write_char(w, '"');
}

static weft_status write_json_float(jinja_writer *w, double d) {
    if (isnan(d) || isinf(d)) {
        return jinja_write(w, isnan(d)  ? STR_LIT("NaN")
                              : d < 0.0 ? STR_LIT("-Infinity")
                                        : STR_LIT("Infinity"));
    }
    char text[JINJA_FLOAT_TEXT_MAX];
    jinja_float_format(text, d);
    return jinja_write(w, str_from_cstr(text));
}

static weft_status write_break(jinja_writer *w, const json_style *style) {
    if (!style->has_indent) {
        return WEFT_OK;
    }
    JINJA_TRY(jinja_write_char(w, '\n'));
    return jinja_write_repeat(w, style->indent, style->level);
}

static weft_status write_json_list(jinja_writer *w, json_style *style, const jinja_list *list) {
    if (list->count == 0) {
        return jinja_write(w, STR_LIT("[]"));
    }
    JINJA_TRY(jinja_write_char(w, '['));
    style->level++;
    for (uint32_t i = 0; i < list->count; i++) {
        JINJA_TRY(jinja_write(w, i > 0 ? style->item_separator : STR_LIT("")));
        JINJA_TRY(write_break(w, style));
        JINJA_TRY(write_json(w, style, list->items[i]));
    }
    style->level--;
    JINJA_TRY(write_break(w, style));
    return jinja_write_char(w, ']');
}

static weft_status write_json_key(jinja_writer *w, const json_style *style, jinja_value key) {
    str text;
    switch ((jinja_kind)key.kind) {
    case JINJA_STRING: text = jinja_text(key); break;
    case JINJA_BOOL: text = key.as.boolean ? STR_LIT("true") : STR_LIT("false"); break;
    case JINJA_NONE: text = STR_LIT("null"); break;
    case JINJA_INT:
    case JINJA_FLOAT: JINJA_TRY(jinja_to_str(w->run, key, &text)); break;
    default:
        return jinja_run_fail(w->run, WEFT_INVALID,
                              "keys must be str, int, float, bool or None, not %s",
                              jinja_type_name(key));
    }
    return write_json_string(w, style, text);
}

/* Insertion sort of entry numbers: keys of JSON objects are few. */
static weft_status sorted_order(jinja_run *run, const jinja_dict *d, uint32_t **out) {
    void *made;
    JINJA_TRY(jinja_run_alloc(run, d->count, sizeof(uint32_t), &made));
    uint32_t *order = made;
    for (uint32_t i = 0; i < d->count; i++) {
        uint32_t at = i;
        while (at > 0) {
            bool is_less;
            JINJA_TRY(jinja_run_step(run, 1));
            JINJA_TRY(jinja_compare(run, JINJA_OP_LT, d->entries[i].key,
                                    d->entries[order[at - 1]].key, &is_less));
            if (!is_less) {
                break;
            }
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
    *out = order;
    return WEFT_OK;
}

static weft_status write_json_dict(jinja_writer *w, json_style *style, const jinja_dict *d) {
    if (d->count == 0) {
        return jinja_write(w, STR_LIT("{}"));
    }
    uint32_t *order = NULL;
    if (style->sorts_keys) {
        JINJA_TRY(sorted_order(w->run, d, &order));
    }
    JINJA_TRY(jinja_write_char(w, '{'));
    style->level++;
    for (uint32_t i = 0; i < d->count; i++) {
        const jinja_entry *e = &d->entries[order != NULL ? order[i] : i];
        JINJA_TRY(jinja_write(w, i > 0 ? style->item_separator : STR_LIT("")));
        JINJA_TRY(write_break(w, style));
        JINJA_TRY(write_json_key(w, style, e->key));
        JINJA_TRY(jinja_write(w, style->key_separator));
        JINJA_TRY(write_json(w, style, e->value));
    }
    style->level--;
    JINJA_TRY(write_break(w, style));
    return jinja_write_char(w, '}');
}

static weft_status write_json(jinja_writer *w, json_style *style, jinja_value v) {
    switch ((jinja_kind)v.kind) {
    case JINJA_NONE: return jinja_write(w, STR_LIT("null"));
    case JINJA_BOOL: return jinja_write(w, v.as.boolean ? STR_LIT("true") : STR_LIT("false"));
    case JINJA_INT: return jinja_write_repr(w, v);
    case JINJA_FLOAT: return write_json_float(w, v.as.real);
    case JINJA_STRING: return write_json_string(w, style, jinja_text(v));
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_DICT: break;
    default:
        return jinja_run_fail(w->run, WEFT_INVALID, "Object of type %s is not JSON serializable",
                              jinja_type_name(v));
    }
    JINJA_TRY(jinja_run_enter(w->run));
    JINJA_TRY(v.kind == JINJA_DICT ? write_json_dict(w, style, v.as.dict)
                                   : write_json_list(w, style, v.as.list));
    jinja_run_leave(w->run);
    return WEFT_OK;
}

static weft_status read_separators(jinja_run *run, jinja_value separators, json_style *style) {
    jinja_list pair;
    JINJA_TRY(jinja_iterate(run, separators, &pair));
    if (pair.count != 2 || pair.items[0].kind != JINJA_STRING ||
        pair.items[1].kind != JINJA_STRING) {
        return jinja_run_fail(run, WEFT_INVALID, "tojson: separators must be two strings");
    }
    style->item_separator = jinja_text(pair.items[0]);
    style->key_separator = jinja_text(pair.items[1]);
    return WEFT_OK;
}

/* tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False) */
weft_status jinja_to_json(jinja_run *run, jinja_value self, const jinja_value *args,
                          jinja_value *out) {
    const jinja_value indent = args[1];
    json_style style = {.is_ascii = jinja_truth(args[0]),
                        .sorts_keys = jinja_truth(args[3]),
                        .item_separator = STR_LIT(", "),
                        .key_separator = STR_LIT(": ")};
    if (indent.kind != JINJA_MISSING && indent.kind != JINJA_NONE) {
        jinja_writer spaces;
        jinja_writer_init(&spaces, run);
        if (jinja_is_integral(indent)) {
            JINJA_TRY(jinja_write_repeat(&spaces, STR_LIT(" "), jinja_as_integer(indent)));
            style.indent = jinja_text(jinja_writer_value(&spaces));
        } else if (indent.kind == JINJA_STRING) {
            style.indent = jinja_text(indent);
        } else {
            return jinja_run_fail(run, WEFT_INVALID, "tojson: indent must be a number or a string");
        }
        style.has_indent = true;
        style.item_separator = STR_LIT(",");
    }
    if (args[2].kind != JINJA_MISSING && args[2].kind != JINJA_NONE) {
        JINJA_TRY(read_separators(run, args[2], &style));
    }
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(write_json(&w, &style, self));
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}
