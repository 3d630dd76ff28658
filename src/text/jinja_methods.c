/* jinja_methods.c - methods of strings.
 *
 * Positions count code points; find and index convert to and from byte offsets. Methods of
 * lists, tuples and dicts are in jinja_methods_data.c.
 */
#include "text/jinja_args.h"

static weft_status answer(jinja_value *out, bool is_true) {
    *out = jinja_bool(is_true);
    return WEFT_OK;
}

#define CASE_METHOD(function, call)                                                        \
    static weft_status function(jinja_run *run, jinja_value self, const jinja_value *args, \
                                jinja_value *out) {                                        \
        return call;                                                                       \
    }

CASE_METHOD(method_upper, jinja_str_to_case(run, jinja_text(self), JINJA_CASE_UPPER, out))
CASE_METHOD(method_lower, jinja_str_to_case(run, jinja_text(self), JINJA_CASE_LOWER, out))
CASE_METHOD(method_casefold, jinja_str_to_case(run, jinja_text(self), JINJA_CASE_FOLD, out))
CASE_METHOD(method_capitalize, jinja_str_capitalize(run, jinja_text(self), out))

static bool is_cased(uint32_t cp) {
    return jinja_cp_is_lower(cp) || jinja_cp_is_upper(cp) || jinja_cp_is_title(cp);
}

/* title: a cased character behind an uncased one begins a word. */
static weft_status method_title(jinja_run *run, jinja_value self, const jinja_value *args,
                                jinja_value *out) {
    const str s = jinja_text(self);
    jinja_writer w;
    jinja_writer_init(&w, run);
    bool was_cased = false;
    for (size_t at = 0; at < s.len;) {
        size_t n;
        const uint32_t cp = jinja_cp_at(s, at, &n);
        uint32_t mapped[JINJA_CASE_CHARS_MAX];
        const size_t count =
            jinja_cp_map(s, at, was_cased ? JINJA_CASE_LOWER : JINJA_CASE_TITLE, mapped);
        for (size_t i = 0; i < count; i++) {
            JINJA_TRY(jinja_write_cp(&w, mapped[i]));
        }
        was_cased = is_cased(cp);
        at += n;
    }
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

static weft_status method_swapcase(jinja_run *run, jinja_value self, const jinja_value *args,
                                   jinja_value *out) {
    const str s = jinja_text(self);
    jinja_writer w;
    jinja_writer_init(&w, run);
    for (size_t at = 0; at < s.len;) {
        size_t n;
        const uint32_t cp = jinja_cp_at(s, at, &n);
        uint32_t mapped[JINJA_CASE_CHARS_MAX] = {cp};
        size_t count = 1;
        if (is_cased(cp)) {
            count = jinja_cp_map(s, at, jinja_cp_is_upper(cp) ? JINJA_CASE_LOWER : JINJA_CASE_UPPER,
                                 mapped);
        }
        for (size_t i = 0; i < count; i++) {
            JINJA_TRY(jinja_write_cp(&w, mapped[i]));
        }
        at += n;
    }
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

typedef bool class_fn(uint32_t cp);

static bool cp_is_alnum(uint32_t cp) { return jinja_cp_is_alpha(cp) || jinja_cp_is_numeric(cp); }

static bool all_in_class(str s, class_fn *is_member) {
    for (size_t at = 0; at < s.len;) {
        size_t n;
        if (!is_member(jinja_cp_at(s, at, &n))) {
            return false;
        }
        at += n;
    }
    return true;
}

#define CLASS_METHOD(function, is_member)                                                  \
    static weft_status function(jinja_run *run, jinja_value self, const jinja_value *args, \
                                jinja_value *out) {                                        \
        return answer(out, self.len > 0 && all_in_class(jinja_text(self), is_member));     \
    }

CLASS_METHOD(method_isalnum, cp_is_alnum)
CLASS_METHOD(method_isalpha, jinja_cp_is_alpha)
CLASS_METHOD(method_isdecimal, jinja_cp_is_decimal)
CLASS_METHOD(method_isdigit, jinja_cp_is_digit)
CLASS_METHOD(method_isnumeric, jinja_cp_is_numeric)
CLASS_METHOD(method_isspace, jinja_cp_is_space)

static bool cp_is_ascii(uint32_t cp) { return cp < 0x80; }

static weft_status method_isascii(jinja_run *run, jinja_value self, const jinja_value *args,
                                  jinja_value *out) {
    return answer(out, all_in_class(jinja_text(self), cp_is_ascii));
}

static weft_status method_isprintable(jinja_run *run, jinja_value self, const jinja_value *args,
                                      jinja_value *out) {
    return answer(out, all_in_class(jinja_text(self), jinja_cp_is_printable));
}

static weft_status method_isidentifier(jinja_run *run, jinja_value self, const jinja_value *args,
                                       jinja_value *out) {
    const str s = jinja_text(self);
    size_t n;
    return answer(out, s.len > 0 && all_in_class(s, jinja_cp_is_word) &&
                           !jinja_cp_is_numeric(jinja_cp_at(s, 0, &n)));
}

static weft_status method_islower(jinja_run *run, jinja_value self, const jinja_value *args,
                                  jinja_value *out) {
    const jinja_builtin *test = jinja_test_find(STR_LIT("lower"));
    return test->fn(run, self, args, out);
}

static weft_status method_isupper(jinja_run *run, jinja_value self, const jinja_value *args,
                                  jinja_value *out) {
    const jinja_builtin *test = jinja_test_find(STR_LIT("upper"));
    return test->fn(run, self, args, out);
}

static weft_status method_istitle(jinja_run *run, jinja_value self, const jinja_value *args,
                                  jinja_value *out) {
    const str s = jinja_text(self);
    bool was_cased = false;
    bool has_cased = false;
    for (size_t at = 0; at < s.len;) {
        size_t n;
        const uint32_t cp = jinja_cp_at(s, at, &n);
        const bool begins = jinja_cp_is_upper(cp) || jinja_cp_is_title(cp);
        if (begins ? was_cased : jinja_cp_is_lower(cp) && !was_cased) {
            return answer(out, false);
        }
        was_cased = is_cased(cp);
        has_cased |= was_cased;
        at += n;
    }
    return answer(out, has_cased);
}

static weft_status strip(jinja_run *run, jinja_value self, jinja_value chars, bool left, bool right,
                         jinja_value *out) {
    str set;
    if (!jinja_is_given(chars)) {
        *out = jinja_string(jinja_str_strip_set(jinja_text(self), NULL, left, right));
        return WEFT_OK;
    }
    JINJA_TRY(jinja_arg_str(run, chars, "strip: chars", &set));
    *out = jinja_string(jinja_str_strip_set(jinja_text(self), &set, left, right));
    return WEFT_OK;
}

CASE_METHOD(method_strip, strip(run, self, args[0], true, true, out))
CASE_METHOD(method_lstrip, strip(run, self, args[0], true, false, out))
CASE_METHOD(method_rstrip, strip(run, self, args[0], false, true, out))

static weft_status pad(jinja_run *run, jinja_value self, const jinja_value *args, int where,
                       jinja_value *out) {
    int64_t width;
    str fill = STR_LIT(" ");
    JINJA_TRY(jinja_arg_int(run, args[0], "width", 0, &width));
    if (args[1].kind != JINJA_MISSING) {
        JINJA_TRY(jinja_arg_str(run, args[1], "fill character", &fill));
        if (jinja_str_chars(fill) != 1) {
            return jinja_run_fail(run, WEFT_INVALID,
                                  "the fill character must be exactly one character long");
        }
    }
    return jinja_str_pad(run, jinja_text(self), width, fill, where, out);
}

CASE_METHOD(method_center, pad(run, self, args, 0, out))
CASE_METHOD(method_ljust, pad(run, self, args, -1, out))
CASE_METHOD(method_rjust, pad(run, self, args, 1, out))

static weft_status method_zfill(jinja_run *run, jinja_value self, const jinja_value *args,
                                jinja_value *out) {
    const str s = jinja_text(self);
    int64_t width;
    JINJA_TRY(jinja_arg_int(run, args[0], "zfill: width", 0, &width));
    const size_t sign = s.len > 0 && (s.data[0] == '-' || s.data[0] == '+');
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(jinja_write(&w, str_slice(s, 0, sign)));
    JINJA_TRY(jinja_write_repeat(&w, STR_LIT("0"), width - (int64_t)jinja_str_chars(s)));
    JINJA_TRY(jinja_write(&w, str_slice(s, sign, s.len)));
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

/* The part of the text between the optional start and end arguments, in bytes. */
static weft_status search_bounds(jinja_run *run, str s, const jinja_value *args, size_t *from,
                                 size_t *to, bool *is_valid) {
    const int64_t count = (int64_t)jinja_str_chars(s);
    int64_t start;
    int64_t end;
    JINJA_TRY(jinja_arg_int_or_none(run, args[0], "start", 0, &start));
    JINJA_TRY(jinja_arg_int_or_none(run, args[1], "end", INT64_MAX, &end));
    start = start < 0 ? (start + count < 0 ? 0 : start + count) : start;
    end = end < 0 ? (end + count < 0 ? 0 : end + count) : end > count ? count : end;
    *is_valid = start <= end && start <= count;
    *from = *is_valid ? jinja_str_offset(s, (size_t)start) : 0;
    *to = *is_valid ? jinja_str_offset(s, (size_t)end) : 0;
    return WEFT_OK;
}

static size_t find_last(str s, str what, size_t from) {
    if (what.len > s.len) {
        return SIZE_MAX;
    }
    for (size_t at = s.len - what.len + 1; at > from; at--) {
        if (what.len == 0 || memcmp(s.data + at - 1, what.data, what.len) == 0) {
            return at - 1;
        }
    }
    return SIZE_MAX;
}

/* find(sub, start, end) and its relatives; -1 when absent. */
static weft_status find(jinja_run *run, jinja_value self, const jinja_value *args, bool from_right,
                        int64_t *out) {
    const str s = jinja_text(self);
    str what;
    size_t from;
    size_t to;
    bool is_valid;
    JINJA_TRY(jinja_arg_str(run, args[0], "find: sub", &what));
    JINJA_TRY(search_bounds(run, s, args + 1, &from, &to, &is_valid));
    JINJA_TRY(jinja_run_step(run, from_right ? (uint64_t)s.len * what.len / 64 : s.len / 16));
    const str part = str_slice(s, 0, to);
    const size_t at = !is_valid    ? SIZE_MAX
                      : from_right ? find_last(part, what, from)
                                   : jinja_str_find(part, what, from);
    *out = at == SIZE_MAX ? -1 : (int64_t)jinja_str_chars(str_slice(s, 0, at));
    return WEFT_OK;
}

static weft_status find_or_fail(jinja_run *run, jinja_value self, const jinja_value *args,
                                bool from_right, bool may_be_absent, jinja_value *out) {
    int64_t at;
    JINJA_TRY(find(run, self, args, from_right, &at));
    if (at < 0 && !may_be_absent) {
        return jinja_run_fail(run, WEFT_INVALID, "substring not found");
    }
    *out = jinja_int(at);
    return WEFT_OK;
}

CASE_METHOD(method_find, find_or_fail(run, self, args, false, true, out))
CASE_METHOD(method_rfind, find_or_fail(run, self, args, true, true, out))
CASE_METHOD(method_index, find_or_fail(run, self, args, false, false, out))
CASE_METHOD(method_rindex, find_or_fail(run, self, args, true, false, out))

static weft_status method_count(jinja_run *run, jinja_value self, const jinja_value *args,
                                jinja_value *out) {
    const str s = jinja_text(self);
    str what;
    size_t from;
    size_t to;
    bool is_valid;
    int64_t count = 0;
    JINJA_TRY(jinja_arg_str(run, args[0], "count: sub", &what));
    JINJA_TRY(search_bounds(run, s, args + 1, &from, &to, &is_valid));
    const str part = str_slice(s, from, to);
    if (is_valid && what.len == 0) {
        count = (int64_t)jinja_str_chars(part) + 1;
    } else if (is_valid) {
        for (size_t at = 0; (at = jinja_str_find(part, what, at)) != SIZE_MAX; at += what.len) {
            count++;
        }
    }
    *out = jinja_int(count);
    return WEFT_OK;
}

static bool has_affix(str s, str affix, bool at_end) {
    return at_end ? str_ends_with(s, affix) : str_starts_with(s, affix);
}

/* startswith and endswith take one string or a tuple of them. */
static weft_status test_affix(jinja_run *run, jinja_value self, const jinja_value *args,
                              bool at_end, jinja_value *out) {
    const str s = jinja_text(self);
    size_t from;
    size_t to;
    bool is_valid;
    JINJA_TRY(search_bounds(run, s, args + 1, &from, &to, &is_valid));
    const str part = str_slice(s, from, to);
    if (args[0].kind != JINJA_TUPLE) {
        str affix;
        JINJA_TRY(jinja_arg_str(run, args[0], "startswith/endswith: first argument", &affix));
        return answer(out, is_valid && has_affix(part, affix, at_end));
    }
    const jinja_list *list = args[0].as.list;
    bool is_found = false;
    for (uint32_t i = 0; i < list->count && !is_found; i++) {
        str affix;
        JINJA_TRY(jinja_arg_str(run, list->items[i], "startswith/endswith: tuple item", &affix));
        is_found = is_valid && has_affix(part, affix, at_end);
    }
    return answer(out, is_found);
}

CASE_METHOD(method_startswith, test_affix(run, self, args, false, out))
CASE_METHOD(method_endswith, test_affix(run, self, args, true, out))

static weft_status remove_affix(jinja_run *run, jinja_value self, jinja_value argument, bool at_end,
                                jinja_value *out) {
    const str s = jinja_text(self);
    str affix;
    JINJA_TRY(jinja_arg_str(run, argument, "removeprefix/removesuffix: argument", &affix));
    *out = self;
    if (affix.len > 0 && has_affix(s, affix, at_end)) {
        *out = jinja_string(at_end ? str_slice(s, 0, s.len - affix.len)
                                   : str_slice(s, affix.len, s.len));
    }
    return WEFT_OK;
}

CASE_METHOD(method_removeprefix, remove_affix(run, self, args[0], false, out))
CASE_METHOD(method_removesuffix, remove_affix(run, self, args[0], true, out))

static weft_status method_replace(jinja_run *run, jinja_value self, const jinja_value *args,
                                  jinja_value *out) {
    str old;
    str with;
    int64_t count;
    JINJA_TRY(jinja_arg_str(run, args[0], "replace: old", &old));
    JINJA_TRY(jinja_arg_str(run, args[1], "replace: new", &with));
    JINJA_TRY(jinja_arg_int(run, args[2], "replace: count", -1, &count));
    return jinja_str_replace(run, jinja_text(self), old, with, count, out);
}

static weft_status push_str(jinja_run *run, jinja_list *list, str s) {
    return jinja_list_push(run, list, jinja_string(s));
}

/* Splitting at runs of white space: no empty parts. */
static weft_status split_space(jinja_run *run, str s, int64_t splits, jinja_list *out) {
    for (s = jinja_str_lstrip(s); s.len > 0; s = jinja_str_lstrip(s)) {
        size_t end = 0;
        if (splits == 0) {
            return push_str(run, out, s); /* trailing white space stays in the rest */
        }
        for (size_t n; end < s.len && !jinja_cp_is_space(jinja_cp_at(s, end, &n)); end += n) {
        }
        JINJA_TRY(push_str(run, out, str_slice(s, 0, end)));
        s = str_slice(s, end, s.len);
        splits--;
    }
    return WEFT_OK;
}

static weft_status rsplit_space(jinja_run *run, str s, int64_t splits, jinja_list *out) {
    for (s = jinja_str_rstrip(s); s.len > 0; s = jinja_str_rstrip(s)) {
        if (splits == 0) {
            return push_str(run, out, s);
        }
        size_t begin = s.len;
        while (begin > 0) {
            size_t n;
            if (jinja_cp_is_space(jinja_cp_before(s, begin, &n))) {
                break;
            }
            begin -= n;
        }
        JINJA_TRY(push_str(run, out, str_slice(s, begin, s.len)));
        s = str_slice(s, 0, begin);
        splits--;
    }
    return WEFT_OK;
}

static weft_status split_at(jinja_run *run, str s, str separator, int64_t splits, jinja_list *out) {
    size_t from = 0;
    for (; splits != 0; splits--) {
        const size_t at = jinja_str_find(s, separator, from);
        if (at == SIZE_MAX) {
            break;
        }
        JINJA_TRY(push_str(run, out, str_slice(s, from, at)));
        from = at + separator.len;
    }
    return push_str(run, out, str_slice(s, from, s.len));
}

static weft_status rsplit_at(jinja_run *run, str s, str separator, int64_t splits,
                             jinja_list *out) {
    for (; splits != 0; splits--) {
        const size_t at = find_last(s, separator, 0);
        if (at == SIZE_MAX) {
            break;
        }
        JINJA_TRY(push_str(run, out, str_slice(s, at + separator.len, s.len)));
        s.len = at;
    }
    return push_str(run, out, s);
}

static void reverse(jinja_list *list) {
    for (uint32_t i = 0; i < list->count / 2; i++) {
        const jinja_value v = list->items[i];
        list->items[i] = list->items[list->count - 1 - i];
        list->items[list->count - 1 - i] = v;
    }
}

static weft_status split(jinja_run *run, jinja_value self, const jinja_value *args, bool from_right,
                         jinja_value *out) {
    const str s = jinja_text(self);
    str separator;
    int64_t splits;
    jinja_list parts;
    JINJA_TRY(jinja_arg_int(run, args[1], "split: maxsplit", -1, &splits));
    JINJA_TRY(jinja_list_init(run, &parts, 0));
    JINJA_TRY(jinja_run_step(run, s.len / 16));
    if (!jinja_is_given(args[0])) {
        JINJA_TRY(from_right ? rsplit_space(run, s, splits, &parts)
                             : split_space(run, s, splits, &parts));
    } else {
        JINJA_TRY(jinja_arg_str(run, args[0], "split: sep", &separator));
        if (separator.len == 0) {
            return jinja_run_fail(run, WEFT_INVALID, "empty separator");
        }
        JINJA_TRY(jinja_run_step(run, from_right ? (uint64_t)s.len * separator.len / 64 : 0));
        JINJA_TRY(from_right ? rsplit_at(run, s, separator, splits, &parts)
                             : split_at(run, s, separator, splits, &parts));
    }
    if (from_right) {
        reverse(&parts);
    }
    return jinja_list_value(run, JINJA_LIST, &parts, out);
}

CASE_METHOD(method_split, split(run, self, args, false, out))
CASE_METHOD(method_rsplit, split(run, self, args, true, out))

static weft_status partition(jinja_run *run, jinja_value self, jinja_value argument,
                             bool from_right, jinja_value *out) {
    const str s = jinja_text(self);
    str separator;
    jinja_list parts;
    JINJA_TRY(jinja_arg_str(run, argument, "partition: sep", &separator));
    if (separator.len == 0) {
        return jinja_run_fail(run, WEFT_INVALID, "empty separator");
    }
    JINJA_TRY(jinja_run_step(run, from_right ? (uint64_t)s.len * separator.len / 64 : 0));
    const size_t at = from_right ? find_last(s, separator, 0) : jinja_str_find(s, separator, 0);
    JINJA_TRY(jinja_list_init(run, &parts, 3));
    if (at == SIZE_MAX) {
        JINJA_TRY(push_str(run, &parts, from_right ? STR_LIT("") : s));
        JINJA_TRY(push_str(run, &parts, STR_LIT("")));
        JINJA_TRY(push_str(run, &parts, from_right ? s : STR_LIT("")));
    } else {
        JINJA_TRY(push_str(run, &parts, str_slice(s, 0, at)));
        JINJA_TRY(push_str(run, &parts, separator));
        JINJA_TRY(push_str(run, &parts, str_slice(s, at + separator.len, s.len)));
    }
    return jinja_list_value(run, JINJA_TUPLE, &parts, out);
}

CASE_METHOD(method_partition, partition(run, self, args[0], false, out))
CASE_METHOD(method_rpartition, partition(run, self, args[0], true, out))

static weft_status method_splitlines(jinja_run *run, jinja_value self, const jinja_value *args,
                                     jinja_value *out) {
    const str s = jinja_text(self);
    bool keeps_ends;
    jinja_list lines;
    JINJA_TRY(jinja_arg_flag(run, args[0], &keeps_ends));
    JINJA_TRY(jinja_list_init(run, &lines, 0));
    for (size_t at = 0; at < s.len;) {
        size_t next;
        const size_t end = jinja_str_line_end(s, at, &next);
        JINJA_TRY(push_str(run, &lines, str_slice(s, at, keeps_ends ? next : end)));
        at = next;
    }
    return jinja_list_value(run, JINJA_LIST, &lines, out);
}

static weft_status method_join(jinja_run *run, jinja_value self, const jinja_value *args,
                               jinja_value *out) {
    jinja_list items;
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(jinja_iterate(run, args[0], &items));
    for (uint32_t i = 0; i < items.count; i++) {
        if (self.is_markup) {
            JINJA_TRY(jinja_escape(run, items.items[i], &items.items[i]));
        } else if (items.items[i].kind != JINJA_STRING) {
            return jinja_run_fail(run, WEFT_INVALID,
                                  "sequence item %u: expected str instance, %s found", i,
                                  jinja_type_name(items.items[i]));
        }
        JINJA_TRY(jinja_write(&w, i > 0 ? jinja_text(self) : (str){0}));
        JINJA_TRY(jinja_write(&w, jinja_text(items.items[i])));
    }
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

static weft_status method_expandtabs(jinja_run *run, jinja_value self, const jinja_value *args,
                                     jinja_value *out) {
    const str s = jinja_text(self);
    int64_t size;
    int64_t column = 0;
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(jinja_arg_int(run, args[0], "expandtabs: tabsize", 8, &size));
    for (size_t at = 0; at < s.len;) {
        size_t n;
        const uint32_t cp = jinja_cp_at(s, at, &n);
        if (cp == '\t') {
            const int64_t spaces = size > 0 ? size - column % size : 0;
            JINJA_TRY(jinja_write_repeat(&w, STR_LIT(" "), spaces));
            column += spaces;
        } else {
            JINJA_TRY(jinja_write(&w, str_slice(s, at, at + n)));
            column = cp == '\n' || cp == '\r' ? 0 : column + 1;
        }
        at += n;
    }
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

#define PLAIN(text, function) \
    { .name = text, .fn = function }
#define FIND(text, function)                                                               \
    {                                                                                      \
        .name = text, .fn = function, .n_required = 1, .params = { "sub", "start", "end" } \
    }
#define PAD(text, function)                                                              \
    {                                                                                    \
        .name = text, .fn = function, .n_required = 1, .params = { "width", "fillchar" } \
    }

static const jinja_builtin string_methods[] = {
    PLAIN("upper", method_upper),
    PLAIN("lower", method_lower),
    PLAIN("casefold", method_casefold),
    PLAIN("capitalize", method_capitalize),
    PLAIN("title", method_title),
    PLAIN("swapcase", method_swapcase),
    PLAIN("isalnum", method_isalnum),
    PLAIN("isalpha", method_isalpha),
    PLAIN("isascii", method_isascii),
    PLAIN("isdecimal", method_isdecimal),
    PLAIN("isdigit", method_isdigit),
    PLAIN("isidentifier", method_isidentifier),
    PLAIN("islower", method_islower),
    PLAIN("isnumeric", method_isnumeric),
    PLAIN("isprintable", method_isprintable),
    PLAIN("isspace", method_isspace),
    PLAIN("istitle", method_istitle),
    PLAIN("isupper", method_isupper),
    {.name = "strip", .fn = method_strip, .params = {"chars"}},
    {.name = "lstrip", .fn = method_lstrip, .params = {"chars"}},
    {.name = "rstrip", .fn = method_rstrip, .params = {"chars"}},
    PAD("center", method_center),
    PAD("ljust", method_ljust),
    PAD("rjust", method_rjust),
    {.name = "zfill", .fn = method_zfill, .n_required = 1, .params = {"width"}},
    FIND("find", method_find),
    FIND("rfind", method_rfind),
    FIND("index", method_index),
    FIND("rindex", method_rindex),
    FIND("count", method_count),
    FIND("startswith", method_startswith),
    FIND("endswith", method_endswith),
    {.name = "removeprefix", .fn = method_removeprefix, .n_required = 1, .params = {"prefix"}},
    {.name = "removesuffix", .fn = method_removesuffix, .n_required = 1, .params = {"suffix"}},
    {.name = "replace", .fn = method_replace, .n_required = 2, .params = {"old", "new", "count"}},
    {.name = "split", .fn = method_split, .params = {"sep", "maxsplit"}},
    {.name = "rsplit", .fn = method_rsplit, .params = {"sep", "maxsplit"}},
    {.name = "splitlines", .fn = method_splitlines, .params = {"keepends"}},
    {.name = "partition", .fn = method_partition, .n_required = 1, .params = {"sep"}},
    {.name = "rpartition", .fn = method_rpartition, .n_required = 1, .params = {"sep"}},
    {.name = "join", .fn = method_join, .n_required = 1, .params = {"iterable"}},
    {.name = "expandtabs", .fn = method_expandtabs, .params = {"tabsize"}},
    {.name = "format", .raw = jinja_str_format},
    {.name = "format_map", .fn = jinja_str_format_map, .n_required = 1, .params = {"mapping"}},
    {.name = "maketrans", .fn = jinja_str_maketrans, .n_required = 1, .params = {"x", "y", "z"}},
    {.name = "translate", .fn = jinja_str_translate, .n_required = 1, .params = {"table"}},
    {.name = NULL},
};

const jinja_builtin *jinja_string_method_find(str name) {
    return jinja_builtin_find(string_methods, name);
}
