/* jinja_wordwrap.c - the filter wordwrap: Python's textwrap on every line of a text.
 *
 * A line is cut into chunks, which alternate between white space and words; words with hyphens
 * fall apart behind the hyphen. Chunks fill lines up to the width; white space at the begin or
 * end of a made line is dropped, except in front of the very first one. A chunk that is longer
 * than a whole line is cut when break_long_words is set.
 *
 *   "a well-known fact"  ─►  |a| |well-|known| |fact|
 */
#include "text/jinja_args.h"

typedef struct wrapper {
    jinja_writer *out;
    int64_t width;
    str separator;
    bool breaks_words;
    bool breaks_hyphens;
    bool has_lines;
} wrapper;

/* textwrap knows the white space of ASCII only. */
static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool is_letter_at(str s, size_t at) {
    size_t n;
    return at < s.len && jinja_cp_is_alpha(jinja_cp_at(s, at, &n));
}

static bool is_word_at(str s, size_t at) {
    size_t n;
    return at < s.len && jinja_cp_is_word(jinja_cp_at(s, at, &n));
}

/* May a word end behind the hyphen at `at`? Two letters, or letter-hyphen-letter, stand before
 * it and a letter, or a letter and a hyphen, behind it. */
static bool ends_at_hyphen(str s, size_t at) {
    size_t n;
    if (at < 2 || !is_letter_at(s, at + 1)) {
        return false;
    }
    if (!jinja_cp_is_alpha(jinja_cp_before(s, at, &n))) {
        return false;
    }
    const size_t before = at - n;
    if (before == 0) {
        return false;
    }
    const uint32_t cp = jinja_cp_before(s, before, &n);
    const bool is_prefix =
        jinja_cp_is_alpha(cp) ||
        (cp == '-' && before >= 2 && jinja_cp_is_alpha(jinja_cp_before(s, before - 1, &n)));
    if (!is_prefix) {
        return false;
    }
    jinja_cp_at(s, at + 1, &n);
    const size_t after = at + 1 + n;
    return is_letter_at(s, after) ||
           (after < s.len && s.data[after] == '-' && is_letter_at(s, after + 1));
}

/* The end of the chunk that begins at `at`. */
static size_t chunk_end(const wrapper *wr, str s, size_t at) {
    size_t i = at;
    if (is_blank(s.data[i])) {
        while (i < s.len && is_blank(s.data[i])) {
            i++;
        }
        return i;
    }
    while (i < s.len && !is_blank(s.data[i])) {
        if (s.data[i] == '-' && wr->breaks_hyphens) {
            size_t dashes = i;
            while (dashes < s.len && s.data[dashes] == '-') {
                dashes++;
            }
            if (dashes - i >= 2 && is_word_at(s, dashes)) { /* an em dash is its own chunk */
                return i == at ? dashes : i;
            }
            if (dashes - i == 1 && ends_at_hyphen(s, i)) {
                return i + 1;
            }
            i = dashes;
        } else {
            i++;
        }
    }
    return i;
}

static weft_status write_line(wrapper *wr, str line, bool drops_blanks) {
    while (drops_blanks && line.len > 0 && is_blank(line.data[line.len - 1])) {
        line.len--;
    }
    if (line.len == 0) {
        return WEFT_OK;
    }
    JINJA_TRY(jinja_write(wr->out, wr->has_lines ? wr->separator : (str){0}));
    wr->has_lines = true;
    return jinja_write(wr->out, line);
}

/* How many bytes of a word that is too long fit into `room` characters: up to the last hyphen that
 * has something else in front of it, if there is one. */
static size_t cut_of(const wrapper *wr, str chunk, int64_t room) {
    const size_t end = jinja_str_offset(chunk, (size_t)room);
    for (size_t i = end; wr->breaks_hyphens && i > 1; i--) {
        if (chunk.data[i - 1] == '-') {
            size_t plain = 0;
            while (plain < i - 1 && chunk.data[plain] == '-') {
                plain++;
            }
            return plain < i - 1 ? i : end;
        }
    }
    return end;
}

/* Chunks are adjacent in the text, so a line under construction is just a part of it. */
static weft_status wrap_line(wrapper *wr, str s) {
    size_t begin = 0;
    size_t at = 0;
    int64_t chars = 0;
    while (at < s.len) {
        const size_t end = chunk_end(wr, s, at);
        const str chunk = str_slice(s, at, end);
        const int64_t chunk_chars = (int64_t)jinja_str_chars(chunk);
        JINJA_TRY(jinja_run_step(wr->out->run, 1));
        if (begin == at && wr->has_lines && is_blank(chunk.data[0])) {
            begin = at = end; /* no made line begins with white space */
        } else if (chars + chunk_chars <= wr->width) {
            chars += chunk_chars;
            at = end;
        } else if (chunk_chars > wr->width && wr->breaks_words) {
            const size_t cut = cut_of(wr, chunk, wr->width - chars);
            at += cut;
            /* Python cuts no character off a word, and then keeps the blanks in front of it. */
            JINJA_TRY(write_line(wr, str_slice(s, begin, at), cut > 0));
            begin = at;
            chars = 0;
        } else if (begin == at) { /* too long, and not to be broken */
            at = end;
            JINJA_TRY(write_line(wr, str_slice(s, begin, at), true));
            begin = at;
        } else {
            JINJA_TRY(write_line(wr, str_slice(s, begin, at), true));
            begin = at;
            chars = 0;
        }
    }
    return write_line(wr, str_slice(s, begin, s.len), true);
}

weft_status jinja_wordwrap(jinja_run *run, jinja_value self, const jinja_value *args,
                           jinja_value *out) {
    str s;
    jinja_writer w;
    jinja_writer_init(&w, run);
    wrapper wr = {.out = &w,
                  .separator = STR_LIT("\n"),
                  .breaks_words = jinja_arg_bool(args[1], true),
                  .breaks_hyphens = jinja_arg_bool(args[3], true)};
    JINJA_TRY(jinja_arg_str(run, self, "wordwrap: value", &s));
    JINJA_TRY(jinja_arg_int(run, args[0], "wordwrap: width", 79, &wr.width));
    if (jinja_is_given(args[2])) {
        JINJA_TRY(jinja_arg_str(run, args[2], "wordwrap: wrapstring", &wr.separator));
    }
    if (wr.width <= 0) {
        return jinja_run_fail(run, WEFT_INVALID, "invalid width %lld (must be > 0)",
                              (long long)wr.width);
    }
    for (size_t at = 0; at < s.len;) {
        size_t next;
        const size_t end = jinja_str_line_end(s, at, &next);
        JINJA_TRY(jinja_write(&w, at > 0 ? wr.separator : (str){0}));
        wr.has_lines = false;
        JINJA_TRY(wrap_line(&wr, str_slice(s, at, end)));
        at = next;
    }
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}
