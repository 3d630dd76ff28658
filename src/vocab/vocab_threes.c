/* vocab_threes.c - counting digits, and the spellings that mean it.
 *
 * The spellings are those of published tokenizer files and their close relatives. One that is not
 * here runs as the regular expression it is: slower in long numbers, and an error where PCRE2 gives
 * up, which names the expression.
 *
 * \b behind a digit is where no character of a word follows. A number that a letter follows has no
 * such place and stays whole, so the pattern for it must not begin again in the middle.
 */
#include "vocab/vocab_threes.h"

#include "base/compiler.h"
#include "text/utf8.h"

#define BEFORE_BORDER "(?<!\\d)\\d++(?!\\w)"

static const vocab_threes_pattern patterns[] = {
    {"\\d{1,3}(?=(?:\\d{3})*\\b)", BEFORE_BORDER, false},
    {"\\d{1,3}(?=(\\d{3})*\\b)", BEFORE_BORDER, false},
    {"\\d{1,3}(?=(?:\\d{3})*(?!\\d))", "\\d++", false},
    {"\\d{1,3}(?=(?:\\d{3})*$)", "(?<!\\d)\\d++$", false},
    {"\\p{N}{1,3}(?=(?:\\p{N}{3})*(?:\\P{N}|$))", "\\p{N}++", false},
    {"\\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))", "\\p{N}++", false},
    {"(?=(\\d{3})+(?!\\d))", "\\d++", true},
    {"(?=(?:\\d{3})+(?!\\d))", "\\d++", true},
};

vocab_threes vocab_threes_of(str number) {
    vocab_threes t = {number, 0};
    size_t n = 0;
    for (size_t at = 0; at < number.len; at += n, t.n_left++) {
        (void)utf8_decode(str_slice(number, at, number.len), &n);
    }
    return t;
}

bool vocab_threes_next(vocab_threes *t, str *group) {
    if (t->n_left == 0) {
        return false;
    }
    const size_t n_digits = t->n_left % 3 == 0 ? 3 : t->n_left % 3;
    size_t at = 0;
    size_t n = 0;
    for (size_t i = 0; i < n_digits; i++, at += n) {
        (void)utf8_decode(str_slice(t->rest, at, t->rest.len), &n);
    }
    *group = str_slice(t->rest, 0, at);
    t->rest = str_slice(t->rest, at, t->rest.len);
    t->n_left -= n_digits;
    return true;
}

const vocab_threes_pattern *vocab_threes_find(str pattern) {
    for (size_t i = 0; i < WEFT_LEN(patterns); i++) {
        if (str_eq_cstr(pattern, patterns[i].written)) {
            return &patterns[i];
        }
    }
    return NULL;
}
