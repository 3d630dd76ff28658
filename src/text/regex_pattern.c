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
 *   (?i)a|b        within the brackets around it            from here to their end
 *   x{,3}          at most three                            itself
 *   x{3}?          three or none                            three
 *   x{1,3}+        one to three, again and again            one to three, not given back
 *   x{3,1}         one to three, not given back             an error
 *   x+{2}, x{2}*   a repeated repeat                        an error
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
 *
 * What is repeated again is put into brackets afterwards, which is why the translator remembers
 * where the last atom begins in what it has written.
 */
#include "text/regex_pattern.h"

#include <stdio.h>
#include <string.h>

#include "base/compiler.h"

#define DEPTH_MAX 16u
#define NESTED_MAX 200u /* groups, and repeats of repeats; PCRE2 takes 250 brackets */
#define PART_BYTES_MAX (1u << 20)

#define WHITE_SPACE "\\t-\\r\\x{85}\\p{Z}"
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
#define WORD_OUTSIDE "[" WORD "\\xB2\\xB3\\xB9\\xBC-\\xBE]"
#define HEXADECIMAL "0-9A-Fa-f"

/* Round brackets; the whole pattern is the outermost. */
typedef struct group {
    size_t at;          /* where it begins in what is written */
    unsigned n_options; /* (?i) and the like in it, each of which opened brackets of its own */
    bool is_spaced;     /* (?x): white space and comments do not count */
} group;

typedef struct translator {
    str pattern;
    pcre2_compile_context *context;
    size_t at;
    size_t atom_at;     /* in what is written */
    unsigned n_repeats; /* the atom has so far */
    unsigned depth;     /* of classes */
    unsigned n_groups;  /* open ones */
    group groups[NESTED_MAX + 1];
    bool is_truncated; /* a class has no end */
    bool is_excessive; /* a repeat is repeated too often, or groups are nested too deep */
} translator;

/* {2,3} and the like, as digits. */
typedef struct interval {
    str least;
    str most;
    bool has_comma;
} interval;

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

static void translate_next(translator *t, buf *out);
static void translate_escape(translator *t, buf *out);
static void copy_escape(translator *t, buf *out);
static void open_group(translator *t, buf *out);
static bool open_options(translator *t, buf *out);
static void close_group(translator *t, buf *out);
static void translate_repeat(translator *t, buf *out);
static void translate_interval(translator *t, const interval *in, buf *out);
static bool read_interval(translator *t, interval *out);
static void append_repeat(translator *t, buf *out, const char *repeat);
static bool take(translator *t, char c);
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
    while (t.at < pattern.len && t.depth <= DEPTH_MAX && !t.is_excessive) {
        translate_next(&t, out);
    }
    for (unsigned i = 0; i < t.groups[0].n_options; i++) {
        buf_append_char(out, ')');
    }
    if (t.depth > DEPTH_MAX) {
        return weft_fail(err, WEFT_LIMIT,
                         "regular expression '" STR_FMT "': classes nested more than %u deep",
                         STR_ARG(pattern), DEPTH_MAX);
    }
    if (t.is_excessive) {
        return weft_fail(err, WEFT_LIMIT,
                         "regular expression '" STR_FMT
                         "': groups or repeats of repeats nested more than %u deep",
                         STR_ARG(pattern), NESTED_MAX);
    }
    if (t.is_truncated) {
        return weft_fail(err, WEFT_FORMAT, "regular expression '" STR_FMT "': a [ without its ]",
                         STR_ARG(pattern));
    }
    if (out->is_failed) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for a regular expression");
    }
    return WEFT_OK;
}

static void translate_next(translator *t, buf *out) {
    const char c = t->pattern.data[t->at++];
    if (t->groups[t->n_groups].is_spaced && memchr(" \t\n\v\f\r#", c, 7) != NULL) {
        const size_t end = str_find(t->pattern, STR_LIT("\n"), t->at);
        t->at = c != '#' ? t->at : end == SIZE_MAX ? t->pattern.len : end + 1;
        return;
    }
    if (memchr("*+?{", c, 4) != NULL) {
        t->at--;
        translate_repeat(t, out);
        return;
    }
    const bool is_inside = ((uint8_t)c & 0xC0) == 0x80; /* a character of several bytes */
    if (!is_inside && c != ')') {
        t->atom_at = out->len;
        t->n_repeats = 0;
    }
    if (c == '\\' && t->at < t->pattern.len) {
        translate_escape(t, out);
    } else if (c == '[') {
        translate_class(t, out);
    } else if (c == '(') {
        open_group(t, out);
    } else if (c == ')') {
        close_group(t, out);
    } else {
        buf_append_char(out, c);
    }
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
        copy_escape(t, out);
    }
}

/* What belongs to an escape besides its first character, which is written. */
static void copy_escape(translator *t, buf *out) {
    const char c = t->pattern.data[t->at - 1];
    const str rest = str_slice(t->pattern, t->at, t->pattern.len);
    const char next = rest.len > 0 ? rest.data[0] : '\0';
    size_t n = 0;
    if ((next == '{' && (c == 'x' || c == 'o')) || (next == '<' && (c == 'k' || c == 'g'))) {
        const size_t end = str_find(rest, next == '{' ? STR_LIT("}") : STR_LIT(">"), 0);
        n = end == SIZE_MAX ? rest.len : end + 1;
    } else if (c == 'x') {
        while (n < 2 && n < rest.len && strchr("0123456789abcdefABCDEF", rest.data[n]) != NULL) {
            n++;
        }
    } else if (c == 'c') {
        n = rest.len > 0;
    } else if (c >= '0' && c <= '9') {
        while (n < rest.len && rest.data[n] >= '0' && rest.data[n] <= '9') {
            n++;
        }
    }
    buf_append(out, rest.data, n);
    t->at += n;
}

/* t->at is behind the (. */
static void open_group(translator *t, buf *out) {
    const str rest = str_slice(t->pattern, t->at, t->pattern.len);
    if (str_starts_with(rest, STR_LIT("?#"))) { /* a comment */
        const size_t end = str_find(rest, STR_LIT(")"), 0);
        t->at += end == SIZE_MAX ? rest.len : end + 1;
        return;
    }
    if (open_options(t, out)) {
        return;
    }
    if (t->n_groups == NESTED_MAX) {
        t->is_excessive = true;
        return;
    }
    const bool is_spaced = t->groups[t->n_groups].is_spaced;
    t->groups[++t->n_groups] = (group){.at = out->len, .is_spaced = is_spaced};
    const bool is_verb = t->at < t->pattern.len && t->pattern.data[t->at] == '*'; /* to PCRE2 */
    buf_append_cstr(out, is_verb ? "(?:" : "(");
    if (take(t, '?')) {
        buf_append_char(out, '?');
        /* : = ! > and the < of what follows it; another ( is a condition, and a group */
        if (t->at < t->pattern.len && t->pattern.data[t->at] != '(') {
            buf_append_char(out, t->pattern.data[t->at++]);
        }
    }
}

/* (?i-m) and (?i-m:, of which the first goes on to the end of the group around it. */
static bool open_options(translator *t, buf *out) {
    size_t to = t->at + 1;
    while (to < t->pattern.len && memchr("imx-", t->pattern.data[to], 4) != NULL) {
        to++;
    }
    const bool is_closed = to < t->pattern.len && t->pattern.data[to] == ')';
    if (to == t->at + 1 || t->pattern.data[t->at] != '?' || to == t->pattern.len ||
        (!is_closed && t->pattern.data[to] != ':') || t->n_groups == NESTED_MAX) {
        return false;
    }
    group inner = {.at = out->len, .is_spaced = t->groups[t->n_groups].is_spaced};
    bool is_on = true;
    buf_append_cstr(out, "(?");
    for (size_t i = t->at + 1; i < to; i++) {
        const char c = t->pattern.data[i];
        is_on = is_on && c != '-';
        if (c == 'x') {
            inner.is_spaced = is_on;
        } else {
            buf_append_char(out, c == 'm' ? 's' : c);
        }
    }
    buf_append_char(out, ':');
    t->at = to + 1;
    if (is_closed) {
        t->groups[t->n_groups].n_options++;
        t->groups[t->n_groups].is_spaced = inner.is_spaced;
    } else {
        t->groups[++t->n_groups] = inner;
    }
    return true;
}

/* The brackets that options opened end here too. */
static void close_group(translator *t, buf *out) {
    const group *g = &t->groups[t->n_groups];
    if (t->n_groups > 0) {
        for (unsigned i = 0; i < g->n_options; i++) {
            buf_append_char(out, ')');
        }
        t->atom_at = g->at;
        t->n_repeats = 0;
        t->n_groups--;
    }
    buf_append_char(out, ')'); /* one too many is PCRE2's to refuse */
}

/* t->at is at one of * + ? {. Only these, and an interval with a comma, take a ? that makes them
 * lazy; only the first three a + that makes them keep what they have. Anything else behind a
 * repeat repeats it. */
static void translate_repeat(translator *t, buf *out) {
    interval in;
    if (t->pattern.data[t->at] != '{') {
        char repeat[3] = {t->pattern.data[t->at++]};
        repeat[1] = take(t, '?') ? '?' : take(t, '+') ? '+' : '\0';
        append_repeat(t, out, repeat);
    } else if (read_interval(t, &in)) {
        translate_interval(t, &in, out);
    } else {
        t->atom_at = out->len;
        t->n_repeats = 0;
        t->at++;
        buf_append_cstr(out, "\\{");
    }
}

/* x{1,3}+ is written x{1,}, which is the same and is found faster. */
static void translate_interval(translator *t, const interval *in, buf *out) {
    const str rest = str_slice(t->pattern, t->at, t->pattern.len);
    const bool is_dense =
        in->least.len == 0 || str_eq_cstr(in->least, "0") || str_eq_cstr(in->least, "1");
    const bool is_plus =
        str_starts_with(rest, STR_LIT("+")) && !str_starts_with(rest, STR_LIT("+?"));
    const str least = in->least.len > 0 ? in->least : STR_LIT("0");
    int64_t from = 0;
    int64_t to = INT64_MAX;
    char repeat[64];
    const bool is_known =
        str_parse_i64(least, &from) && (in->most.len == 0 || str_parse_i64(in->most, &to));
    if (!is_known || from > UINT16_MAX || (in->most.len > 0 && to > UINT16_MAX)) {
        append_repeat(t, out, "{65536}"); /* PCRE2 says that it is too much */
    } else if (!in->has_comma) {
        (void)snprintf(repeat, sizeof repeat, "{%lld}", (long long)from);
        append_repeat(t, out, repeat);
    } else if (to < from) {
        (void)snprintf(repeat, sizeof repeat, "{%lld,%lld}+", (long long)to, (long long)from);
        append_repeat(t, out, repeat);
    } else if (is_plus && (is_dense || in->most.len == 0)) {
        t->at++;
        (void)snprintf(repeat, sizeof repeat, "{%lld,}%s", (long long)from,
                       take(t, '+') ? "+" : "");
        append_repeat(t, out, repeat);
    } else {
        (void)snprintf(repeat, sizeof repeat, "{%lld," STR_FMT "}%s", (long long)from,
                       STR_ARG(in->most), take(t, '?') ? "?" : "");
        append_repeat(t, out, repeat);
    }
}

/* t->at is at the { and goes behind the }. False, and it stays, where this is no interval. */
static bool read_interval(translator *t, interval *out) {
    const size_t end = str_find(t->pattern, STR_LIT("}"), t->at);
    if (end == SIZE_MAX) {
        return false;
    }
    const str inner = str_slice(t->pattern, t->at + 1, end);
    const size_t comma = str_find(inner, STR_LIT(","), 0);
    for (size_t i = 0; i < inner.len; i++) {
        if (i != comma && (inner.data[i] < '0' || inner.data[i] > '9')) {
            return false;
        }
    }
    out->has_comma = comma != SIZE_MAX;
    out->least = str_slice(inner, 0, comma);
    out->most = out->has_comma ? str_slice(inner, comma + 1, inner.len) : out->least;
    if (out->least.len + out->most.len == 0) {
        return false;
    }
    t->at = end + 1;
    return true;
}

static void append_repeat(translator *t, buf *out, const char *repeat) {
    static const char opening[] = "(?:";
    const size_t n = sizeof opening - 1;
    if (t->n_repeats == NESTED_MAX) {
        t->is_excessive = true;
        return;
    }
    if (t->n_repeats++ > 0 && buf_append_cstr(out, opening)) { /* makes room for it */
        memmove(out->data + t->atom_at + n, out->data + t->atom_at, out->len - n - t->atom_at);
        memcpy(out->data + t->atom_at, opening, n);
        buf_append_char(out, ')');
    }
    buf_append_cstr(out, repeat);
}

static bool take(translator *t, char c) {
    const bool is_there = t->at < t->pattern.len && t->pattern.data[t->at] == c;
    t->at += is_there;
    return is_there;
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
