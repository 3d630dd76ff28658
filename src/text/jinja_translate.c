/* jinja_translate.c - str.maketrans and str.translate: characters for characters.
 *
 * A table is a dict from code points to what replaces them: a code point, a text, or none for
 * nothing. What is not in it stays.
 */
#include "text/jinja_args.h"

static bool char_of(jinja_value v, uint32_t *cp) {
    size_t n;
    const str s = v.kind == JINJA_STRING ? jinja_text(v) : (str){0};
    if (s.len == 0) {
        return false;
    }
    *cp = jinja_cp_at(s, 0, &n);
    return n == s.len;
}

/* maketrans({'a': 'b', 99: none}): keys become code points. */
static weft_status table_of_dict(jinja_run *run, const jinja_dict *from, jinja_dict *table) {
    for (uint32_t i = 0; i < from->count; i++) {
        jinja_value key = from->entries[i].key;
        uint32_t cp;
        if (char_of(key, &cp)) {
            key = jinja_int(cp);
        } else if (!jinja_is_integral(key)) {
            return jinja_run_fail(run, WEFT_INVALID,
                                  "maketrans: keys must be integers or single characters");
        }
        JINJA_TRY(jinja_dict_set(run, table, key, from->entries[i].value));
    }
    return WEFT_OK;
}

/* maketrans('ab', 'xy', 'z'): a to x, b to y, z to nothing. */
static weft_status table_of_texts(jinja_run *run, const jinja_value *args, jinja_dict *table) {
    str texts[3] = {{0}};
    for (int i = 0; i < 3 && args[i].kind != JINJA_MISSING; i++) {
        JINJA_TRY(jinja_arg_str(run, args[i], "maketrans: argument", &texts[i]));
    }
    if (jinja_str_chars(texts[0]) != jinja_str_chars(texts[1])) {
        return jinja_run_fail(run, WEFT_INVALID,
                              "maketrans: the first two texts must have equal length");
    }
    size_t n;
    size_t m;
    for (size_t at = 0, to = 0; at < texts[0].len; at += n, to += m) {
        const jinja_value key = jinja_int(jinja_cp_at(texts[0], at, &n));
        const jinja_value value = jinja_int(jinja_cp_at(texts[1], to, &m));
        JINJA_TRY(jinja_dict_set(run, table, key, value));
    }
    for (size_t at = 0; at < texts[2].len; at += n) {
        JINJA_TRY(
            jinja_dict_set(run, table, jinja_int(jinja_cp_at(texts[2], at, &n)), jinja_none()));
    }
    return WEFT_OK;
}

weft_status jinja_str_maketrans(jinja_run *run, jinja_value self, const jinja_value *args,
                                jinja_value *out) {
    jinja_dict *table;
    JINJA_TRY(jinja_dict_create(run, 0, &table));
    if (args[1].kind != JINJA_MISSING) {
        JINJA_TRY(table_of_texts(run, args, table));
    } else if (args[0].kind == JINJA_DICT) {
        JINJA_TRY(table_of_dict(run, args[0].as.dict, table));
    } else {
        return jinja_run_fail(run, WEFT_INVALID, "maketrans: one argument must be a dict, not '%s'",
                              jinja_type_name(args[0]));
    }
    *out = jinja_dict_value(table);
    return WEFT_OK;
}

weft_status jinja_str_translate(jinja_run *run, jinja_value self, const jinja_value *args,
                                jinja_value *out) {
    const str s = jinja_text(self);
    jinja_writer w;
    jinja_writer_init(&w, run);
    if (args[0].kind != JINJA_DICT && args[0].kind != JINJA_STRING && !jinja_is_list(args[0])) {
        return jinja_run_fail(run, WEFT_INVALID, "translate: the table must be a dict, not '%s'",
                              jinja_type_name(args[0]));
    }
    JINJA_TRY(jinja_run_step(run, s.len / 8));
    size_t n;
    for (size_t at = 0; at < s.len; at += n) {
        jinja_value to;
        const jinja_value key = jinja_int(jinja_cp_at(s, at, &n));
        JINJA_TRY(jinja_get_item(run, args[0], key, &to));
        const int64_t cp = jinja_is_integral(to) ? jinja_as_integer(to) : -1;
        if (to.kind == JINJA_UNDEFINED) {
            JINJA_TRY(jinja_write(&w, str_slice(s, at, at + n)));
        } else if (to.kind == JINJA_STRING) {
            JINJA_TRY(jinja_write(&w, jinja_text(to)));
        } else if (cp >= 0 && cp <= 0x10FFFF && (cp < 0xD800 || cp > 0xDFFF)) {
            JINJA_TRY(jinja_write_cp(&w, (uint32_t)cp));
        } else if (to.kind != JINJA_NONE) {
            return jinja_run_fail(run, WEFT_INVALID,
                                  "translate: a character must become an integer, none or a text");
        }
    }
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}
