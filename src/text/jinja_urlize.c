/* jinja_urlize.c - the filter urlize: web and mail addresses in a text become links.
 *
 * jinja2's rules: the text is escaped and cut at white space; opening brackets in front of a word
 * and closing brackets, points and commas behind it stay outside, unless a bracket closes one that
 * the address itself opened. What is left is a link if it looks like one as a whole.
 */
#include "text/jinja_args.h"
#include "text/regex.h"

#define HTTP_PATTERN                                                                              \
    "(?i)^((https?://|www\\.)(([\\p{L}\\p{N}_%-]+\\.)+)?([a-z]{2,63}|xn--[\\p{L}\\p{N}_%]{2,59})" \
    "|([\\p{L}\\p{N}_%-]{2,63}\\.)+(com|net|int|edu|gov|org|info|mil)"                            \
    "|https?://((\\d{1,3}(\\.\\d{1,3}){3})"                                                       \
    "|(\\[([\\da-f]{0,4}:){2}([\\da-f]{0,4}:?){1,6}\\])))(?::\\d{1,5})?"                          \
    "(?:[/?#]\\S*)?$"
#define EMAIL_PATTERN "^\\S+@[\\p{L}\\p{N}_][\\p{L}\\p{N}_.-]*\\.[\\p{L}\\p{N}_]+$"

typedef struct linker {
    jinja_run *run;
    jinja_writer *out;
    regex *http;
    regex *email;
    regex_scratch *scratch;
    jinja_value limit; /* characters of a web address that are shown, or none */
    str attributes;
    jinja_list schemes;
} linker;

static bool matches(const linker *l, const regex *r, str s) {
    size_t from;
    size_t to;
    return regex_find(r, l->scratch, s, 0, &from, &to);
}

static weft_status write_all(jinja_writer *w, const str *parts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        JINJA_TRY(jinja_write(w, parts[i]));
    }
    return WEFT_OK;
}

/* The bracket or mark that s begins with, of those a link does not begin with; 0 when none. */
static size_t opening_len(str s) {
    return str_starts_with(s, STR_LIT("(")) || str_starts_with(s, STR_LIT("<")) ? 1
           : str_starts_with(s, STR_LIT("&lt;"))                                ? 4
                                                                                : 0;
}

static size_t closing_len(str s) {
    const char last = s.len > 0 ? s.data[s.len - 1] : '\0';
    return last == ')' || last == '>' || last == '.' || last == ',' ? 1
           : str_ends_with(s, STR_LIT("&gt;"))                      ? 4
                                                                    : 0;
}

static size_t count_of(str s, str what) {
    size_t count = 0;
    for (size_t at = 0; (at = str_find(s, what, at)) != SIZE_MAX; at += what.len) {
        count++;
    }
    return count;
}

/* middle and tail are neighbours: closing brackets that middle opened move into it. */
static void balance(str *middle, str *tail, str opening, str closing) {
    const size_t n_opened = count_of(*middle, opening);
    if (n_opened <= count_of(*middle, closing)) {
        return;
    }
    for (size_t i = 0; i < n_opened; i++) {
        const size_t at = str_find(*tail, closing, 0);
        if (at == SIZE_MAX) {
            return;
        }
        middle->len += at + closing.len;
        *tail = str_slice(*tail, at + closing.len, tail->len);
    }
}

/* What is shown of a web address. */
static weft_status trim(const linker *l, str address, str *shown, str *dots) {
    const int64_t chars = (int64_t)jinja_str_chars(address);
    int64_t limit;
    JINJA_TRY(jinja_arg_int_or_none(l->run, l->limit, "urlize: trim_url_limit", INT64_MAX, &limit));
    *shown = address;
    *dots = (str){0};
    if (chars > limit) {
        const int64_t kept = limit >= 0 ? limit : chars + limit;
        *shown = str_slice(address, 0, kept > 0 ? jinja_str_offset(address, (size_t)kept) : 0);
        *dots = STR_LIT("...");
    }
    return WEFT_OK;
}

static weft_status write_link(const linker *l, str scheme, str address, str attributes, str shown,
                              str dots) {
    const str parts[] = {STR_LIT("<a href=\""), scheme, address, STR_LIT("\""),  attributes,
                         STR_LIT(">"),          shown,  dots,    STR_LIT("</a>")};
    return write_all(l->out, parts, WEFT_LEN(parts));
}

static weft_status write_middle(const linker *l, str s) {
    const str mailto = STR_LIT("mailto:");
    const str none = {0};
    if (matches(l, l->http, s)) {
        const bool has_scheme =
            str_starts_with(s, STR_LIT("https://")) || str_starts_with(s, STR_LIT("http://"));
        str shown;
        str dots;
        JINJA_TRY(trim(l, s, &shown, &dots));
        return write_link(l, has_scheme ? none : STR_LIT("https://"), s, l->attributes, shown,
                          dots);
    }
    if (str_starts_with(s, mailto) && matches(l, l->email, str_slice(s, mailto.len, s.len))) {
        return write_link(l, none, s, none, str_slice(s, mailto.len, s.len), none);
    }
    if (!str_starts_with(s, STR_LIT("www.")) && !str_starts_with(s, STR_LIT("@")) &&
        str_find(s, STR_LIT(":"), 0) == SIZE_MAX && str_find(s, STR_LIT("@"), 0) != SIZE_MAX &&
        matches(l, l->email, s)) {
        return write_link(l, mailto, s, none, s, none);
    }
    for (uint32_t i = 0; i < l->schemes.count; i++) {
        const str scheme = jinja_text(l->schemes.items[i]);
        if (s.len > scheme.len && str_starts_with(s, scheme)) {
            return write_link(l, none, s, l->attributes, s, none);
        }
    }
    return jinja_write(l->out, s);
}

static weft_status write_word(const linker *l, str word) {
    str middle = word;
    for (size_t n; (n = opening_len(middle)) > 0;) {
        middle = str_slice(middle, n, middle.len);
    }
    str tail = str_slice(middle, middle.len, middle.len);
    for (size_t n; (n = closing_len(middle)) > 0;) {
        middle.len -= n;
        tail = str_from(tail.data - n, tail.len + n);
    }
    JINJA_TRY(jinja_write(l->out, str_slice(word, 0, word.len - middle.len - tail.len)));
    balance(&middle, &tail, STR_LIT("("), STR_LIT(")"));
    balance(&middle, &tail, STR_LIT("<"), STR_LIT(">"));
    balance(&middle, &tail, STR_LIT("&lt;"), STR_LIT("&gt;"));
    JINJA_TRY(write_middle(l, middle));
    return jinja_write(l->out, tail);
}

static weft_status write_words(const linker *l, str s) {
    for (size_t at = 0; at < s.len;) {
        size_t end = at;
        size_t n;
        while (end < s.len && !jinja_cp_is_space(jinja_cp_at(s, end, &n))) {
            end += n;
        }
        JINJA_TRY(jinja_run_step(l->run, 8 + (end - at)));
        JINJA_TRY(write_word(l, str_slice(s, at, end)));
        at = end;
        while (end < s.len && jinja_cp_is_space(jinja_cp_at(s, end, &n))) {
            end += n;
        }
        JINJA_TRY(jinja_write(l->out, str_slice(s, at, end)));
        at = end;
    }
    return WEFT_OK;
}

/* The words of rel, "noopener" and perhaps "nofollow": each once, in order. */
static weft_status write_rel(jinja_writer *w, jinja_value rel, bool is_nofollow) {
    jinja_run *run = w->run;
    jinja_list words;
    uint32_t *order;
    str last = {0};
    JINJA_TRY(jinja_list_init(run, &words, 0));
    JINJA_TRY(jinja_list_push(run, &words, jinja_string(STR_LIT("noopener"))));
    if (is_nofollow) {
        JINJA_TRY(jinja_list_push(run, &words, jinja_string(STR_LIT("nofollow"))));
    }
    for (str rest = jinja_text(rel); (rest = jinja_str_lstrip(rest)).len > 0;) {
        size_t end = 0;
        for (size_t n; end < rest.len && !jinja_cp_is_space(jinja_cp_at(rest, end, &n)); end += n) {
        }
        JINJA_TRY(jinja_list_push(run, &words, jinja_string(str_slice(rest, 0, end))));
        rest = str_slice(rest, end, rest.len);
    }
    JINJA_TRY(jinja_sort_order(run, words.items, words.count, false, &order));
    JINJA_TRY(jinja_write(w, STR_LIT(" rel=\"")));
    for (uint32_t i = 0; i < words.count; i++) {
        const str word = jinja_text(words.items[order[i]]);
        if (!str_eq(word, last)) {
            JINJA_TRY(jinja_write(w, last.len > 0 ? STR_LIT(" ") : (str){0}));
            JINJA_TRY(jinja_write_html(w, word));
        }
        last = word;
    }
    return jinja_write_char(w, '"');
}

static weft_status read_attributes(linker *l, jinja_value nofollow, jinja_value target,
                                   jinja_value rel) {
    jinja_writer w;
    str text = {0};
    jinja_writer_init(&w, l->run);
    if (!jinja_is_given(rel)) {
        rel = jinja_string(STR_LIT(""));
    }
    JINJA_TRY(jinja_arg_str(l->run, rel, "urlize: rel", &text));
    JINJA_TRY(write_rel(&w, rel, jinja_arg_bool(nofollow, false)));
    if (jinja_is_given(target) && jinja_truth(target)) {
        JINJA_TRY(jinja_to_str(l->run, target, &text));
        JINJA_TRY(jinja_write(&w, STR_LIT(" target=\"")));
        JINJA_TRY(jinja_write_html(&w, text));
        JINJA_TRY(jinja_write_char(&w, '"'));
    }
    l->attributes = jinja_text(jinja_writer_value(&w));
    return WEFT_OK;
}

/* [\w.+-]{2,}:/{0,2} */
static bool is_scheme(str s) {
    size_t at = 0;
    size_t chars = 0;
    for (size_t n; at < s.len; at += n, chars++) {
        const uint32_t cp = jinja_cp_at(s, at, &n);
        if (!jinja_cp_is_word(cp) && cp != '.' && cp != '+' && cp != '-') {
            break;
        }
    }
    const str rest = str_slice(s, at, s.len);
    return chars >= 2 &&
           (str_eq_cstr(rest, ":") || str_eq_cstr(rest, ":/") || str_eq_cstr(rest, "://"));
}

static weft_status read_schemes(linker *l, jinja_value schemes) {
    if (!jinja_is_given(schemes)) {
        return WEFT_OK;
    }
    JINJA_TRY(jinja_iterate(l->run, schemes, &l->schemes));
    for (uint32_t i = 0; i < l->schemes.count; i++) {
        const jinja_value v = l->schemes.items[i];
        if (v.kind != JINJA_STRING || !is_scheme(jinja_text(v))) {
            str text;
            JINJA_TRY(jinja_repr(l->run, v, &text));
            return jinja_run_fail(l->run, WEFT_INVALID, STR_FMT " is not a valid URI scheme prefix",
                                  STR_ARG(text));
        }
    }
    return WEFT_OK;
}

/* urlize(value, trim_url_limit=None, nofollow=False, target=None, rel=None, extra_schemes=None) */
weft_status jinja_urlize(jinja_run *run, jinja_value self, const jinja_value *args,
                         jinja_value *out) {
    jinja_writer w;
    jinja_value escaped;
    linker l = {.run = run, .out = &w, .limit = args[0]};
    jinja_writer_init(&w, run);
    JINJA_TRY(read_attributes(&l, args[1], args[2], args[3]));
    JINJA_TRY(read_schemes(&l, args[4]));
    JINJA_TRY(jinja_escape(run, self, &escaped));
    JINJA_TRY(jinja_run_step(run, 1000)); /* what the patterns cost */
    weft_status status = regex_compile(&l.http, STR_LIT(HTTP_PATTERN), run->err);
    if (status == WEFT_OK) {
        status = regex_compile(&l.email, STR_LIT(EMAIL_PATTERN), run->err);
    }
    if (status == WEFT_OK) {
        status = regex_scratch_create(&l.scratch, run->err);
    }
    if (status == WEFT_OK) {
        status = write_words(&l, jinja_text(escaped));
    }
    if (status == WEFT_OK) {
        status = regex_scratch_status(l.scratch, run->err);
    }
    regex_scratch_destroy(&l.scratch);
    regex_destroy(&l.email);
    regex_destroy(&l.http);
    *out = jinja_writer_value(&w);
    return status;
}
