/* jinja_builtins.h - filters, tests, functions and methods: what they are called and how they
 * take their arguments.
 *
 * A builtin either lists its parameters and gets one value for each (JINJA_MISSING when it was
 * not given), or takes the call as written. For filters and tests self is the value they are
 * applied to, for methods the object, for functions nothing.
 *
 * Threads: constant tables.
 */
#ifndef WEFT_TEXT_JINJA_BUILTINS_H
#define WEFT_TEXT_JINJA_BUILTINS_H

#include "base/status.h"
#include "text/jinja_tree.h"
#include "text/jinja_value.h"

typedef struct jinja_run jinja_run;

typedef struct jinja_keyword {
    str name;
    jinja_value value;
} jinja_keyword;

typedef struct jinja_call {
    const jinja_value *args;
    uint32_t n_args;
    const jinja_keyword *keywords;
    uint32_t n_keywords;
} jinja_call;

#define JINJA_PARAMS_MAX 6

typedef weft_status jinja_builtin_fn(jinja_run *run, jinja_value self, const jinja_value *args,
                                     jinja_value *out);
typedef weft_status jinja_builtin_raw_fn(jinja_run *run, jinja_value self, const jinja_call *call,
                                         jinja_value *out);

typedef struct jinja_builtin {
    const char *name;
    jinja_builtin_fn *fn; /* exactly one of fn and raw is set */
    jinja_builtin_raw_fn *raw;
    uint32_t n_required; /* of params, from the front */
    const char *params[JINJA_PARAMS_MAX];
} jinja_builtin;

/* NULL when there is none of that name. */
const jinja_builtin *jinja_filter_find(str name);
const jinja_builtin *jinja_test_find(str name);
const jinja_builtin *jinja_function_find(str name); /* global functions */
const jinja_builtin *jinja_string_method_find(str name);
const jinja_builtin *jinja_list_method_find(str name);
const jinja_builtin *jinja_tuple_method_find(str name);
const jinja_builtin *jinja_dict_method_find(str name);
jinja_method_set jinja_methods_find(str name);
/* A method of a global function: dict has fromkeys, the others have none. */
const jinja_builtin *jinja_function_field(const jinja_builtin *function, str name);

/* Methods of lists and dicts that would change them: the sandbox refuses those. */
bool jinja_is_mutating_method(jinja_kind kind, str name);

/* The tables of filters, one a file; each ends with an entry without name. */
extern const jinja_builtin jinja_value_filters[];
extern const jinja_builtin jinja_sequence_filters[];
extern const jinja_builtin jinja_text_filters[];

/* One entry of a table, or NULL. */
const jinja_builtin *jinja_builtin_find(const jinja_builtin *table, str name);

#endif /* WEFT_TEXT_JINJA_BUILTINS_H */
