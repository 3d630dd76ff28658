/* regex_pattern.c - where Oniguruma and PCRE2 read the same pattern differently.
 *
 *   written        Oniguruma                                PCRE2 with UCP
 *   \s             White_Space                              and U+180E
 *   \w, \b         Alphabetic, marks, Nd, Pc                letters, numbers, underscore
 *   \h             a hexadecimal digit                      a horizontal space
 *   \p{Han}        the script                               its script extensions
 *   [[:alpha:]]    by property                              by category
 *   [a[bc]]        a class in a class                       a [ and more
 *   [a&&b]         what is in both                          an ampersand
 *   \uHHHH         a character                              an error
 *   (?m)           . takes line ends                        ^ and $ are ends of lines
 *   x{,3}          at most three                            itself
 *   x{1,3}+        one to three, again and again            one to three, not given back
 *
 * One oddity is kept: \w outside brackets, and \b, also take the six superscripts and fractions of
 * Latin-1, and \w within brackets does not.
 *
 * Each is written out in terms that mean the same everywhere. A class of plain members stays a
 * class, which PCRE2 matches by bitmap. One that holds a complement (\W, \S), another class or an
 * && becomes alternatives and look-aheads of one character:
 *
 *     [^\W\d]     (?:(?![\d]|[^word])(?s:.))
 *     [ab&&[bc]]  (?:(?=[ab])[bc])
 */
#include "text/regex_pattern.h"

#include <stdio.h>
#include <string.h>

#include "base/compiler.h"

#define DEPTH_MAX 16u
#define PART_BYTES_MAX (1u << 20)

#define WHITE_SPACE "\\t-\\r\\x{85}\\p{Z}"
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
#define WORD_OUTSIDE "[" WORD "\\xB2\\xB3\\xB9\\xBC-\\xBE]"
#define HEXADECIMAL "0-9A-Fa-f"

typedef struct translator {
    str pattern;
    pcre2_compile_context *context;
    size_t at;
    unsigned depth;    /* of classes */
    bool is_truncated; /* a class has no end */
    bool is_repeated;  /* an interval is, and the two are not one interval */
} translator;

/* What one side of an && allows: a member of the class, or one of the alternatives. */
typedef struct members {
    buf plain;
    buf others; /* each with a | before it */
} members;

typedef struct shorthand {
    char letter;
    const char *members; /* within brackets */
    const char *outside; /* NULL: the members in brackets */
} shorthand;

static const shorthand shorthands[] = {
    {'s', WHITE_SPACE, NULL},
    {'w', WORD, WORD_OUTSIDE},
    {'h', HEXADECIMAL, NULL},
};

static const struct {
    const char *name;
    const char *members;
} posix_classes[] = {
    {"alnum", "\\p{Alphabetic}\\p{Nd}"},
    {"alpha", "\\p{Alphabetic}"},
    {"ascii", "\\x00-\\x7F"},
    {"blank", "\\t\\p{Zs}"},
    {"cntrl", "\\p{Cc}"},
    {"digit", "\\p{Nd}"},
    {"graph", "\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Cf}\\p{Co}"},
    {"lower", "\\p{Lowercase}"},
    {"print", "\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Cf}\\p{Co}\\p{Zs}"},
    {"punct", "\\p{P}\\p{S}"},
    {"space", WHITE_SPACE},
    {"upper", "\\p{Uppercase}"},
    {"word", WORD},
    {"xdigit", HEXADECIMAL},
};

static void translate_escape(translator *t, buf *out);
static void translate_group(translator *t, buf *out);
static void translate_interval(translator *t, buf *out);
static void translate_class(translator *t, buf *out);
static void read_members(translator *t, members *m);
static void read_member_escape(translator *t, members *m);
static bool read_posix_class(translator *t, members *m);
static bool read_property(translator *t, buf *out);
static bool read_code_point(translator *t, buf *out);
static void append_union(buf *out, const members *m);
static const shorthand *find_shorthand(char letter);
static bool is_script(const translator *t, str name, buf *out);

weft_status regex_pattern_translate(buf *out, str pattern, pcre2_compile_context *context,
                                    weft_error *err) {
    translator t = {.pattern = pattern, .context = context};
    while (t.at < pattern.len && t.depth <= DEPTH_MAX) {
        const char c = pattern.data[t.at++];
        if (c == '\\' && t.at < pattern.len) {
            translate_escape(&t, out);
        } else if (c == '[') {
            translate_class(&t, out);
        } else if (c == '(') {
            translate_group(&t, out);
        } else if (c == '{') {
            translate_interval(&t, out);
        } else {
            buf_append_char(out, c);
        }
    }
    if (t.depth > DEPTH_MAX) {
        return weft_fail(err, WEFT_LIMIT,
                         "regular expression '" STR_FMT "': classes nested more than %u deep",
                         STR_ARG(pattern), DEPTH_MAX);
    }
    if (t.is_truncated) {
        return weft_fail(err, WEFT_FORMAT, "regular expression '" STR_FMT "': a [ without its ]",
                         STR_ARG(pattern));
    }
    if (t.is_repeated) {
        return weft_fail(err, WEFT_UNSUPPORTED,
                         "regular expression '" STR_FMT "': a repeated interval is not supported",
                         STR_ARG(pattern));
    }
    if (out->is_failed) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for a regular expression");
    }
    return WEFT_OK;
}

/* Outside brackets; t->at is behind the backslash. */
static void translate_escape(translator *t, buf *out) {
    if (read_property(t, out) || read_code_point(t, out)) {
        return;
    }
    const char c = t->pattern.data[t->at++];
    const shorthand *s = find_shorthand(c);
    const shorthand *complement = find_shorthand((char)(c | 0x20));
    if (c == 'b') {
        buf_append_cstr(out, "(?:(?<=" WORD_OUTSIDE ")(?!" WORD_OUTSIDE ")|(?<!" WORD_OUTSIDE
                             ")(?=" WORD_OUTSIDE "))");
    } else if (c == 'B') {
        buf_append_cstr(out, "(?:(?<=" WORD_OUTSIDE ")(?=" WORD_OUTSIDE ")|(?<!" WORD_OUTSIDE
                             ")(?!" WORD_OUTSIDE "))");
    } else if (s != NULL && s->outside != NULL) {
        buf_append_cstr(out, s->outside);
    } else if (s != NULL) {
        buf_printf(out, "[%s]", s->members);
    } else if (complement != NULL && complement->outside != NULL) {
        buf_printf(out, "[^%s", complement->outside + 1);
    } else if (complement != NULL) {
        buf_printf(out, "[^%s]", complement->members);
    } else {
        buf_append_char(out, '\\');
        buf_append_char(out, c);
    }
}

/* t->at is behind the (. */
static void translate_group(translator *t, buf *out) {
    buf_append_char(out, '(');
    if (!str_starts_with(str_slice(t->pattern, t->at, t->pattern.len), STR_LIT("?"))) {
        return;
    }
    size_t to = t->at + 1;
    while (to < t->pattern.len && memchr("imx-", t->pattern.data[to], 4) != NULL) {
        to++;
    }
    for (; t->at < to; t->at++) {
        const char c = t->pattern.data[t->at];
        buf_append_char(out, c == 'm' ? 's' : c);
    }
}

/* t->at is behind the {. */
static void translate_interval(translator *t, buf *out) {
    const str rest = str_slice(t->pattern, t->at, t->pattern.len);
    const size_t end = str_find(rest, STR_LIT("}"), 0);
    const str inner = str_slice(rest, 0, end == SIZE_MAX ? 0 : end);
    const size_t comma = str_find(inner, STR_LIT(","), 0);
    bool is_interval = inner.len > 0 && !str_eq_cstr(inner, ",");
    for (size_t i = 0; i < inner.len; i++) {
        const char c = inner.data[i];
        is_interval = is_interval && ((c >= '0' && c <= '9') || i == comma);
    }
    buf_append_cstr(out, is_interval && comma == 0 ? "{0" : "{");
    if (!is_interval) {
        return;
    }
    t->at += end + 1;
    const str least = str_slice(inner, 0, comma == SIZE_MAX ? inner.len : comma);
    const char next = t->at < t->pattern.len ? t->pattern.data[t->at] : '\0';
    if (next == '+' && comma != SIZE_MAX) { /* as often as it can, from the least on */
        const bool has_end = comma + 1 < inner.len;
        const bool is_dense = least.len == 0 || str_eq_cstr(least, "0") || str_eq_cstr(least, "1");
        t->is_repeated = t->is_repeated || (has_end && !is_dense);
        buf_append_str(out, least);
        buf_append_cstr(out, ",}");
        t->at++;
        return;
    }
    t->is_repeated = t->is_repeated || (comma == SIZE_MAX && (next == '+' || next == '?'));
    buf_append_str(out, inner);
    buf_append_char(out, '}');
}

/* t->at is behind the [, and is behind the ] afterwards. */
static void translate_class(translator *t, buf *out) {
    if (++t->depth > DEPTH_MAX) {
        return; /* stays deeper, which the caller reports */
    }
    const bool is_negated = t->at < t->pattern.len && t->pattern.data[t->at] == '^';
    t->at += is_negated;
    buf sides; /* all of an && but the last, as look-aheads */
    members m;
    buf_init(&sides, MEM_TEXT, PART_BYTES_MAX);
    buf_init(&m.plain, MEM_TEXT, PART_BYTES_MAX);
    buf_init(&m.others, MEM_TEXT, PART_BYTES_MAX);
    if (t->at < t->pattern.len && t->pattern.data[t->at] == ']') { /* first, it is a member */
        buf_append_cstr(&m.plain, "\\]");
        t->at++;
    }
    read_members(t, &m);
    while (t->at < t->pattern.len && t->pattern.data[t->at] == '&') {
        t->at += 2;
        buf_append_cstr(&sides, "(?=");
        append_union(&sides, &m);
        buf_append_char(&sides, ')');
        buf_clear(&m.plain);
        buf_clear(&m.others);
        read_members(t, &m);
    }
    t->is_truncated = t->is_truncated || t->at >= t->pattern.len;
    t->at++;
    if (sides.len == 0 && m.others.len == 0) {
        buf_printf(out, is_negated ? "[^%s]" : "[%s]", buf_cstr(&m.plain));
    } else {
        buf_append_cstr(out, is_negated ? "(?:(?!" : "(?:");
        buf_append_str(out, buf_view(&sides));
        append_union(out, &m);
        buf_append_cstr(out, is_negated ? ")(?s:.))" : ")");
    }
    out->is_failed = out->is_failed || sides.is_failed || m.plain.is_failed || m.others.is_failed;
    buf_deinit(&sides);
    buf_deinit(&m.plain);
    buf_deinit(&m.others);
    if (t->depth <= DEPTH_MAX) {
        t->depth--;
    }
}

/* Up to the ] or the &&. */
static void read_members(translator *t, members *m) {
    while (t->at < t->pattern.len && t->pattern.data[t->at] != ']' && t->depth <= DEPTH_MAX) {
        const char c = t->pattern.data[t->at];
        if (str_starts_with(str_slice(t->pattern, t->at, t->pattern.len), STR_LIT("&&"))) {
            return;
        }
        t->at++;
        if (c == '\\' && t->at < t->pattern.len) {
            read_member_escape(t, m);
        } else if (c == '[' && !read_posix_class(t, m)) {
            buf_append_char(&m->others, '|');
            translate_class(t, &m->others);
        } else if (c != '[') {
            if (c == '^') {
                buf_append_char(&m->plain, '\\');
            }
            buf_append_char(&m->plain, c);
        }
    }
}

static void read_member_escape(translator *t, members *m) {
    if (read_property(t, &m->plain) || read_code_point(t, &m->plain)) {
        return;
    }
    const char c = t->pattern.data[t->at++];
    const shorthand *s = find_shorthand(c);
    const shorthand *complement = find_shorthand((char)(c | 0x20));
    if (s != NULL) {
        buf_append_cstr(&m->plain, s->members);
    } else if (complement != NULL) {
        buf_printf(&m->others, "|[^%s]", complement->members);
    } else {
        buf_append_char(&m->plain, '\\');
        buf_append_char(&m->plain, c);
    }
}

/* [:name:] and [:^name:]; t->at is behind the first [. False when it is something else. */
static bool read_posix_class(translator *t, members *m) {
    const str rest = str_slice(t->pattern, t->at, t->pattern.len);
    const bool is_negated = str_starts_with(rest, STR_LIT(":^"));
    if (!str_starts_with(rest, STR_LIT(":"))) {
        return false;
    }
    const str name = str_slice(rest, is_negated ? 2 : 1, rest.len);
    for (size_t i = 0; i < WEFT_LEN(posix_classes); i++) {
        const size_t len = strlen(posix_classes[i].name);
        if (!str_starts_with(name, str_from_cstr(posix_classes[i].name)) ||
            !str_starts_with(str_slice(name, len, name.len), STR_LIT(":]"))) {
            continue;
        }
        if (is_negated) {
            buf_printf(&m->others, "|[^%s]", posix_classes[i].members);
        } else {
            buf_append_cstr(&m->plain, posix_classes[i].members);
        }
        t->at += (size_t)(name.data - rest.data) + len + 2;
        return true;
    }
    return false;
}

/* \p{...} and \P{...}; t->at is behind the backslash. */
static bool read_property(translator *t, buf *out) {
    const str rest = str_slice(t->pattern, t->at, t->pattern.len);
    const size_t end = str_find(rest, STR_LIT("}"), 0);
    if ((rest.data[0] != 'p' && rest.data[0] != 'P') || rest.len < 2 || rest.data[1] != '{' ||
        end == SIZE_MAX) {
        return false;
    }
    const bool is_negated = rest.data[2] == '^';
    const str name = str_slice(rest, is_negated ? 3 : 2, end);
    const bool is_complement = is_negated != (rest.data[0] == 'P');
    buf_printf(out, "\\%c{%s" STR_FMT "}", is_complement ? 'P' : 'p',
               is_script(t, name, out) ? "sc:" : "", STR_ARG(name));
    t->at += end + 1;
    return true;
}

static bool read_code_point(translator *t, buf *out) {
    const str rest = str_slice(t->pattern, t->at, t->pattern.len);
    if (rest.data[0] != 'u' || rest.len < 5) {
        return false;
    }
    buf_printf(out, "\\x{%.4s}", rest.data + 1);
    t->at += 5;
    return true;
}

static void append_union(buf *out, const members *m) {
    if (m->others.len == 0) {
        buf_printf(out, "[%s]", buf_cstr(&m->plain));
        return;
    }
    const str others = buf_view(&m->others);
    buf_append_cstr(out, "(?:");
    if (m->plain.len > 0) {
        buf_printf(out, "[%s]", buf_cstr(&m->plain));
    }
    buf_append_str(out, str_slice(others, m->plain.len > 0 ? 0 : 1, others.len));
    buf_append_char(out, ')');
}

static const shorthand *find_shorthand(char letter) {
    for (size_t i = 0; i < WEFT_LEN(shorthands); i++) {
        if (shorthands[i].letter == letter) {
            return &shorthands[i];
        }
    }
    return NULL;
}

/* PCRE2 knows: a name behind sc: has to be a script. Without memory to ask, out fails. */
static bool is_script(const translator *t, str name, buf *out) {
    char probe[64];
    if (name.len < 3 || name.len > sizeof probe - sizeof "\\p{sc:}") {
        return false;
    }
    (void)snprintf(probe, sizeof probe, "\\p{sc:" STR_FMT "}", STR_ARG(name));
    int code = 0;
    PCRE2_SIZE at = 0;
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)probe, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &code, &at, t->context);
    const bool is_compiled = compiled != NULL;
    pcre2_code_free(compiled);
    out->is_failed = out->is_failed || (!is_compiled && code == PCRE2_ERROR_HEAP_FAILED);
    return is_compiled;
}
