/* jinja_filters_text.c - filters on text.
 *
 * A value that is no string is turned into one first, as jinja2's soft_str does. Nothing here
 * renders HTML and nothing escapes by itself, but a few templates use "safe" and then "+", whose
 * result is escaped; so strings remember whether they are markup.
 */
#include "text/jinja_args.h"
#include "text/utf8.h"

static weft_status filter_upper(jinja_run *run, jinja_value self, const jinja_value *args,
                                jinja_value *out) {
    str s;
    JINJA_TRY(jinja_to_str(run, self, &s));
    JINJA_TRY(jinja_str_to_case(run, s, JINJA_CASE_UPPER, out));
    *out = jinja_markup_like(self, *out);
    return WEFT_OK;
}

static weft_status filter_lower(jinja_run *run, jinja_value self, const jinja_value *args,
                                jinja_value *out) {
    str s;
    JINJA_TRY(jinja_to_str(run, self, &s));
    JINJA_TRY(jinja_str_to_case(run, s, JINJA_CASE_LOWER, out));
    *out = jinja_markup_like(self, *out);
    return WEFT_OK;
}

static weft_status filter_capitalize(jinja_run *run, jinja_value self, const jinja_value *args,
                                     jinja_value *out) {
    str s;
    JINJA_TRY(jinja_to_str(run, self, &s));
    JINJA_TRY(jinja_str_capitalize(run, s, out));
    *out = jinja_markup_like(self, *out);
    return WEFT_OK;
}

static bool parts_words(uint32_t cp) { /* [-\s({\[<] */
    return cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<' || jinja_cp_is_space(cp);
}

static weft_status filter_title(jinja_run *run, jinja_value self, const jinja_value *args,
                                jinja_value *out) {
    str s;
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(jinja_to_str(run, self, &s));
    bool is_first = true;
    for (size_t at = 0; at < s.len;) {
        size_t n;
        const uint32_t cp = jinja_cp_at(s, at, &n);
        uint32_t mapped[JINJA_CASE_CHARS_MAX];
        const size_t count =
            jinja_cp_map(s, at, is_first ? JINJA_CASE_UPPER : JINJA_CASE_LOWER, mapped);
        for (size_t i = 0; i < count; i++) {
            JINJA_TRY(jinja_write_cp(&w, mapped[i]));
        }
        is_first = parts_words(cp);
        at += n;
    }
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

static weft_status filter_trim(jinja_run *run, jinja_value self, const jinja_value *args,
                               jinja_value *out) {
    str s;
    str chars = {0};
    JINJA_TRY(jinja_to_str(run, self, &s));
    const bool has_chars = jinja_is_given(args[0]);
    if (has_chars) {
        JINJA_TRY(jinja_arg_str(run, args[0], "trim: chars", &chars));
    }
    *out = jinja_markup_like(
        self, jinja_string(jinja_str_strip_set(s, has_chars ? &chars : NULL, true, true)));
    return WEFT_OK;
}

static weft_status filter_center(jinja_run *run, jinja_value self, const jinja_value *args,
                                 jinja_value *out) {
    str s;
    int64_t width;
    JINJA_TRY(jinja_to_str(run, self, &s));
    JINJA_TRY(jinja_arg_int(run, args[0], "center: width", 80, &width));
    JINJA_TRY(jinja_str_pad(run, s, width, STR_LIT(" "), 0, out));
    *out = jinja_markup_like(self, *out);
    return WEFT_OK;
}

static weft_status filter_replace(jinja_run *run, jinja_value self, const jinja_value *args,
                                  jinja_value *out) {
    str s;
    str old;
    str with;
    int64_t count;
    JINJA_TRY(jinja_to_str(run, self, &s));
    JINJA_TRY(jinja_to_str(run, args[0], &old));
    JINJA_TRY(jinja_to_str(run, args[1], &with));
    JINJA_TRY(jinja_arg_int_or_none(run, args[2], "replace: count", -1, &count));
    return jinja_str_replace(run, s, old, with, count, out);
}

static weft_status filter_format(jinja_run *run, jinja_value self, const jinja_call *call,
                                 jinja_value *out) {
    str s;
    JINJA_TRY(jinja_to_str(run, self, &s));
    const jinja_value self_text = jinja_markup_like(self, jinja_string(s));
    if (call->n_args > 0 && call->n_keywords > 0) {
        return jinja_run_fail(run, WEFT_INVALID,
                              "can't handle positional and keyword arguments at the same time");
    }
    if (call->n_keywords > 0) {
        jinja_dict *d;
        JINJA_TRY(jinja_dict_create(run, call->n_keywords, &d));
        for (uint32_t i = 0; i < call->n_keywords; i++) {
            JINJA_TRY(jinja_dict_set(run, d, jinja_string(call->keywords[i].name),
                                     call->keywords[i].value));
        }
        return jinja_percent(run, self_text, jinja_dict_value(d), out);
    }
    jinja_list args;
    jinja_value tuple;
    JINJA_TRY(jinja_list_init(run, &args, call->n_args));
    for (uint32_t i = 0; i < call->n_args; i++) {
        JINJA_TRY(jinja_list_push(run, &args, call->args[i]));
    }
    JINJA_TRY(jinja_list_value(run, JINJA_TUPLE, &args, &tuple));
    return jinja_percent(run, self_text, tuple, out);
}

static weft_status filter_escape(jinja_run *run, jinja_value self, const jinja_value *args,
                                 jinja_value *out) {
    return jinja_escape(run, self, out);
}

static weft_status filter_forceescape(jinja_run *run, jinja_value self, const jinja_value *args,
                                      jinja_value *out) {
    self.is_markup = false;
    return jinja_escape(run, self, out);
}

static weft_status filter_safe(jinja_run *run, jinja_value self, const jinja_value *args,
                               jinja_value *out) {
    str s;
    JINJA_TRY(jinja_to_str(run, self, &s));
    *out = jinja_string(s);
    out->is_markup = true;
    return WEFT_OK;
}

static weft_status filter_indent(jinja_run *run, jinja_value self, const jinja_value *args,
                                 jinja_value *out) {
    str s;
    jinja_writer indent;
    jinja_writer w;
    jinja_writer_init(&indent, run);
    jinja_writer_init(&w, run);
    if (self.kind == JINJA_UNDEFINED) {
        return jinja_undefined_fail(run, self);
    }
    JINJA_TRY(jinja_arg_str(run, self, "indent: value", &s));
    if (args[0].kind == JINJA_STRING) {
        JINJA_TRY(jinja_write(&indent, jinja_text(args[0])));
    } else {
        int64_t width;
        JINJA_TRY(jinja_arg_int(run, args[0], "indent: width", 4, &width));
        JINJA_TRY(jinja_write_repeat(&indent, STR_LIT(" "), width));
    }
    const str by = jinja_text(jinja_writer_value(&indent));
    const bool indents_first = jinja_arg_bool(args[1], false);
    const bool indents_blank = jinja_arg_bool(args[2], false);
    bool is_first = true;
    for (size_t at = 0; at < s.len || is_first; is_first = false) {
        size_t next;
        const size_t end = jinja_str_line_end(s, at, &next);
        const bool indents = is_first ? indents_first : indents_blank || end > at;
        JINJA_TRY(jinja_write(&w, is_first ? (str){0} : STR_LIT("\n")));
        JINJA_TRY(jinja_write(&w, indents ? by : (str){0}));
        JINJA_TRY(jinja_write(&w, str_slice(s, at, end)));
        const bool ends_open = end < s.len && next == s.len; /* the added newline makes one more */
        at = next;
        if (ends_open) {
            JINJA_TRY(jinja_write(&w, STR_LIT("\n")));
            JINJA_TRY(jinja_write(&w, indents_blank ? by : (str){0}));
        }
    }
    *out = jinja_markup_like(self, jinja_writer_value(&w));
    return WEFT_OK;
}

static weft_status filter_truncate(jinja_run *run, jinja_value self, const jinja_value *args,
                                   jinja_value *out) {
    str s;
    str end = STR_LIT("...");
    int64_t length;
    int64_t leeway;
    JINJA_TRY(jinja_arg_int(run, args[0], "truncate: length", 255, &length));
    if (args[2].kind != JINJA_MISSING) {
        JINJA_TRY(jinja_arg_str(run, args[2], "truncate: end", &end));
    }
    JINJA_TRY(jinja_arg_int_or_none(run, args[3], "truncate: leeway", 5, &leeway));
    const int64_t end_chars = (int64_t)jinja_str_chars(end);
    if (length < end_chars || leeway < 0) {
        return jinja_run_fail(run, WEFT_INVALID, "expected length >= %lld and leeway >= 0",
                              (long long)end_chars);
    }
    int64_t n_chars;
    if (!jinja_length(self, &n_chars)) {
        return jinja_run_fail(run, WEFT_INVALID, "object of type '%s' has no len()",
                              jinja_type_name(self));
    }
    if (n_chars <= length || n_chars - length <= leeway) {
        *out = self; /* whatever it is: it is short enough */
        return WEFT_OK;
    }
    JINJA_TRY(jinja_arg_str(run, self, "truncate: value", &s));
    str kept = str_slice(s, 0, jinja_str_offset(s, (size_t)(length - end_chars)));
    if (!jinja_arg_bool(args[1], false)) { /* back to the last space, if there is one */
        for (size_t i = kept.len; i > 0; i--) {
            if (kept.data[i - 1] == ' ') {
                kept.len = i - 1;
                break;
            }
        }
    }
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(jinja_write(&w, kept));
    JINJA_TRY(jinja_write(&w, end));
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

static weft_status filter_wordcount(jinja_run *run, jinja_value self, const jinja_value *args,
                                    jinja_value *out) {
    str s;
    JINJA_TRY(jinja_to_str(run, self, &s));
    int64_t count = 0;
    bool was_word = false;
    for (size_t at = 0; at < s.len;) {
        size_t n;
        const bool is_word = jinja_cp_is_word(jinja_cp_at(s, at, &n));
        count += is_word && !was_word;
        was_word = is_word;
        at += n;
    }
    *out = jinja_int(count);
    return WEFT_OK;
}

/* The character that the digits of a numeric reference stand for, by HTML's rules; the reference
 * is s[0..*len). UTF8_INVALID when there are no digits, 0 when it stands for nothing. */
static uint32_t numeric_reference(str s, size_t *len) {
    static const uint16_t windows_1252[32] = {
        0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
        0x2039, 0x0152, 0x8D,   0x017D, 0x8F,   0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
        0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};
    const bool is_hex = s.len > 2 && (s.data[2] | 0x20) == 'x';
    size_t at = is_hex ? 3 : 2;
    const size_t begin = at;
    uint32_t cp = 0;
    for (; at < s.len; at++) {
        const char c = s.data[at];
        const int digit = c >= '0' && c <= '9'                               ? c - '0'
                          : is_hex && (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                                             : -1;
        if (digit < 0) {
            break;
        }
        cp = cp > 0x10FFFF ? cp : cp * (is_hex ? 16 : 10) + (uint32_t)digit;
    }
    if (at == begin) {
        return UTF8_INVALID;
    }
    *len = at + (at < s.len && s.data[at] == ';');
    if (cp >= 0x80 && cp < 0xA0) {
        return windows_1252[cp - 0x80];
    }
    if (cp == 0 || cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) {
        return 0xFFFD;
    }
    const bool is_nothing = (cp < 0x20 && cp != '\t' && cp != '\n' && cp != '\f' && cp != '\r') ||
                            cp == 0x7F || (cp >= 0xFDD0 && cp <= 0xFDEF) || (cp & 0xFFFE) == 0xFFFE;
    return is_nothing ? 0 : cp;
}

/* The references of escape() and numeric ones back to characters; other names stay. */
static weft_status unescape_html(jinja_run *run, str s, jinja_value *out) {
    static const struct {
        const char *name;
        const char *text;
    } names[] = {{"&lt;", "<"},    {"&gt;", ">"},   {"&amp;", "&"},
                 {"&quot;", "\""}, {"&apos;", "'"}, {"&nbsp;", "\xC2\xA0"}};
    jinja_writer w;
    jinja_writer_init(&w, run);
    for (size_t at = 0; at < s.len;) {
        size_t next = str_find(s, STR_LIT("&"), at);
        next = next == SIZE_MAX ? s.len : next;
        JINJA_TRY(jinja_write(&w, str_slice(s, at, next)));
        const str rest = str_slice(s, next, s.len);
        size_t len = rest.len > 0 ? 1 : 0;
        str text = str_slice(rest, 0, len);
        for (size_t i = 0; i < WEFT_LEN(names); i++) {
            if (str_starts_with(rest, str_from_cstr(names[i].name))) {
                len = strlen(names[i].name);
                text = str_from_cstr(names[i].text);
            }
        }
        if (rest.len > 1 && rest.data[1] == '#') {
            const uint32_t cp = numeric_reference(rest, &len);
            if (cp != UTF8_INVALID) {
                text = (str){0};
                if (cp != 0) {
                    JINJA_TRY(jinja_write_cp(&w, cp));
                }
            }
        }
        JINJA_TRY(jinja_write(&w, text));
        at = next + len;
    }
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

/* Without <!-- comments --> and <tags>, white space runs made single spaces. */
static weft_status filter_striptags(jinja_run *run, jinja_value self, const jinja_value *args,
                                    jinja_value *out) {
    str s;
    JINJA_TRY(jinja_to_str(run, self, &s));
    for (int pass = 0; pass < 2; pass++) {
        const str open = pass == 0 ? STR_LIT("<!--") : STR_LIT("<");
        const str close = pass == 0 ? STR_LIT("-->") : STR_LIT(">");
        jinja_writer w;
        jinja_writer_init(&w, run);
        size_t from = 0;
        for (;;) {
            const size_t begin = str_find(s, open, from);
            const size_t end = begin == SIZE_MAX ? SIZE_MAX : str_find(s, close, begin);
            if (end == SIZE_MAX) {
                break;
            }
            JINJA_TRY(jinja_write(&w, str_slice(s, from, begin)));
            from = end + close.len;
        }
        JINJA_TRY(jinja_write(&w, str_slice(s, from, s.len)));
        s = jinja_text(jinja_writer_value(&w));
    }
    jinja_writer words;
    jinja_writer_init(&words, run);
    for (s = jinja_str_lstrip(s); s.len > 0; s = jinja_str_lstrip(s)) {
        size_t end = 0;
        for (size_t n; end < s.len && !jinja_cp_is_space(jinja_cp_at(s, end, &n)); end += n) {
        }
        JINJA_TRY(jinja_write(&words, words.len > 0 ? STR_LIT(" ") : (str){0}));
        JINJA_TRY(jinja_write(&words, str_slice(s, 0, end)));
        s = str_slice(s, end, s.len);
    }
    return unescape_html(run, jinja_text(jinja_writer_value(&words)), out);
}

static weft_status write_quoted(jinja_writer *w, jinja_value v, bool is_query) {
    static const char digits[] = "0123456789ABCDEF";
    str s;
    JINJA_TRY(jinja_to_str(w->run, v, &s));
    for (size_t i = 0; i < s.len; i++) {
        const unsigned char c = (unsigned char)s.data[i];
        const bool is_plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
                              c == '_' || c == '.' || c == '-' || c == '~' ||
                              (c == '/' && !is_query);
        if (is_plain) {
            JINJA_TRY(jinja_write_char(w, (char)c));
        } else if (c == ' ' && is_query) {
            JINJA_TRY(jinja_write_char(w, '+'));
        } else {
            const char quoted[3] = {'%', digits[c >> 4], digits[c & 15]};
            JINJA_TRY(jinja_write(w, str_from(quoted, 3)));
        }
    }
    return WEFT_OK;
}

static weft_status filter_urlencode(jinja_run *run, jinja_value self, const jinja_value *args,
                                    jinja_value *out) {
    jinja_writer w;
    jinja_writer_init(&w, run);
    const bool is_pairs = self.kind == JINJA_DICT || jinja_is_list(self) ||
                          self.kind == JINJA_ITER || self.kind == JINJA_VIEW ||
                          self.kind == JINJA_RANGE || self.kind == JINJA_LOOP;
    if (!is_pairs) {
        JINJA_TRY(write_quoted(&w, self, false));
        *out = jinja_writer_value(&w);
        return WEFT_OK;
    }
    jinja_list pairs;
    jinja_view view = {.kind = JINJA_VIEW_ITEMS};
    if (self.kind == JINJA_DICT) {
        view.dict = self.as.dict;
        self = (jinja_value){.kind = JINJA_VIEW, .as.view = &view};
    }
    JINJA_TRY(jinja_iterate(run, self, &pairs));
    for (uint32_t i = 0; i < pairs.count; i++) {
        jinja_list pair;
        JINJA_TRY(jinja_iterate(run, pairs.items[i], &pair));
        if (pair.count != 2) {
            return jinja_run_fail(run, WEFT_INVALID, "urlencode needs pairs of key and value");
        }
        JINJA_TRY(jinja_write(&w, i > 0 ? STR_LIT("&") : (str){0}));
        JINJA_TRY(write_quoted(&w, pair.items[0], true));
        JINJA_TRY(jinja_write_char(&w, '='));
        JINJA_TRY(write_quoted(&w, pair.items[1], true));
    }
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

static bool is_attribute_name(str key) {
    for (size_t i = 0; i < key.len; i++) {
        const char c = key.data[i];
        if (c == ' ' || (c >= '\t' && c <= '\r') || c == '/' || c == '>' || c == '=') {
            return false;
        }
    }
    return true;
}

static weft_status filter_xmlattr(jinja_run *run, jinja_value self, const jinja_value *args,
                                  jinja_value *out) {
    if (self.kind != JINJA_DICT) {
        return jinja_run_fail(run, WEFT_INVALID, "xmlattr needs a dict, not '%s'",
                              jinja_type_name(self));
    }
    jinja_writer w;
    jinja_writer_init(&w, run);
    const jinja_dict *d = self.as.dict;
    for (uint32_t i = 0; i < d->count; i++) {
        const jinja_value value = d->entries[i].value;
        str key;
        str text;
        if (value.kind == JINJA_NONE || value.kind == JINJA_UNDEFINED) {
            continue;
        }
        JINJA_TRY(jinja_arg_str(run, d->entries[i].key, "xmlattr: key", &key));
        JINJA_TRY(jinja_to_str(run, value, &text));
        if (!is_attribute_name(key)) {
            return jinja_run_fail(run, WEFT_INVALID,
                                  "Invalid character in attribute name: '" STR_FMT "'",
                                  STR_ARG(key));
        }
        JINJA_TRY(
            jinja_write(&w, w.len > 0 || jinja_arg_bool(args[0], true) ? STR_LIT(" ") : (str){0}));
        JINJA_TRY(jinja_write_html(&w, key));
        JINJA_TRY(jinja_write(&w, STR_LIT("=\"")));
        JINJA_TRY(jinja_write_html(&w, text));
        JINJA_TRY(jinja_write_char(&w, '"'));
    }
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

const jinja_builtin jinja_text_filters[] = {
    {.name = "trim", .fn = filter_trim, .params = {"chars"}},
    {.name = "upper", .fn = filter_upper},
    {.name = "lower", .fn = filter_lower},
    {.name = "capitalize", .fn = filter_capitalize},
    {.name = "title", .fn = filter_title},
    {.name = "replace", .fn = filter_replace, .n_required = 2, .params = {"old", "new", "count"}},
    {.name = "format", .raw = filter_format},
    {.name = "indent", .fn = filter_indent, .params = {"width", "first", "blank"}},
    {.name = "center", .fn = filter_center, .params = {"width"}},
    {.name = "truncate", .fn = filter_truncate, .params = {"length", "killwords", "end", "leeway"}},
    {.name = "wordcount", .fn = filter_wordcount},
    {.name = "wordwrap",
     .fn = jinja_wordwrap,
     .params = {"width", "break_long_words", "wrapstring", "break_on_hyphens"}},
    {.name = "striptags", .fn = filter_striptags},
    {.name = "escape", .fn = filter_escape},
    {.name = "e", .fn = filter_escape},
    {.name = "forceescape", .fn = filter_forceescape},
    {.name = "safe", .fn = filter_safe},
    {.name = "urlencode", .fn = filter_urlencode},
    {.name = "urlize",
     .fn = jinja_urlize,
     .params = {"trim_url_limit", "nofollow", "target", "rel", "extra_schemes"}},
    {.name = "xmlattr", .fn = filter_xmlattr, .params = {"autospace"}},
    {.name = NULL},
};
