/* jinja_args.h - reading arguments of filters, tests, functions and methods, and the string
 * operations that filters and methods share.
 *
 * `what` names the argument in messages, as in "center: width".
 */
#ifndef WEFT_TEXT_JINJA_ARGS_H
#define WEFT_TEXT_JINJA_ARGS_H

#include "text/jinja_run.h"
#include "text/jinja_unicode.h"

/* fallback when the argument was not given. */
weft_status jinja_arg_int(jinja_run *run, jinja_value v, const char *what, int64_t fallback,
                          int64_t *out) WEFT_NODISCARD;
/* The same where none is as good as not given. */
weft_status jinja_arg_int_or_none(jinja_run *run, jinja_value v, const char *what, int64_t fallback,
                                  int64_t *out) WEFT_NODISCARD;
weft_status jinja_arg_str(jinja_run *run, jinja_value v, const char *what, str *out) WEFT_NODISCARD;
bool jinja_arg_bool(jinja_value v, bool fallback);
/* A flag of Python's own: a bool or an integer; false when it was not given. */
weft_status jinja_arg_flag(jinja_run *run, jinja_value v, bool *out) WEFT_NODISCARD;
bool jinja_is_given(jinja_value v); /* neither missing nor none */

/* Every character mapped. */
weft_status jinja_str_to_case(jinja_run *run, str s, jinja_case to,
                              jinja_value *out) WEFT_NODISCARD;
/* First character in title case, the rest in lower case. */
weft_status jinja_str_capitalize(jinja_run *run, str s, jinja_value *out) WEFT_NODISCARD;
/* At most count replacements; all when count is negative. */
weft_status jinja_str_replace(jinja_run *run, str s, str old, str with, int64_t count,
                              jinja_value *out) WEFT_NODISCARD;
/* One word of `where` per side to pad: -1 text at the left, 0 centred, 1 at the right. */
weft_status jinja_str_pad(jinja_run *run, str s, int64_t width, str fill, int where,
                          jinja_value *out) WEFT_NODISCARD;
/* chars: the set of characters to strip; NULL means white space. */
str jinja_str_strip_set(str s, const str *chars, bool left, bool right);
/* Python's int(text, base) and float(text); false when it is none. is_overflow tells why. */
bool jinja_str_to_int(str s, int64_t base, int64_t *out, bool *is_overflow);
bool jinja_str_to_float(str s, double *out);

/* HTML's special characters as entities; text that is markup already stays. Gives markup. */
weft_status jinja_escape(jinja_run *run, jinja_value v, jinja_value *out) WEFT_NODISCARD;
weft_status jinja_write_html(jinja_writer *w, str s) WEFT_NODISCARD;

/* Methods and filters with a file of their own. */
weft_status jinja_str_maketrans(jinja_run *run, jinja_value self, const jinja_value *args,
                                jinja_value *out) WEFT_NODISCARD;
weft_status jinja_str_translate(jinja_run *run, jinja_value self, const jinja_value *args,
                                jinja_value *out) WEFT_NODISCARD;
weft_status jinja_urlize(jinja_run *run, jinja_value self, const jinja_value *args,
                         jinja_value *out) WEFT_NODISCARD;
weft_status jinja_pprint(jinja_run *run, jinja_value self, const jinja_value *args,
                         jinja_value *out) WEFT_NODISCARD;

/* item.a.b as "a.b" of an attribute argument; absent steps become fallback unless missing. */
weft_status jinja_get_path(jinja_run *run, jinja_value item, jinja_value attribute,
                           jinja_value fallback, jinja_value *out) WEFT_NODISCARD;

/* The order of items by their keys, stable: sorted() of Python. */
weft_status jinja_sort_order(jinja_run *run, const jinja_value *keys, uint32_t count,
                             bool is_reverse, uint32_t **out) WEFT_NODISCARD;

/* jinja_wordwrap.c: the filter wordwrap, which is Python's textwrap. */
jinja_builtin_fn jinja_wordwrap;

#endif /* WEFT_TEXT_JINJA_ARGS_H */
