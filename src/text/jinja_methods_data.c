/* jinja_methods_data.c - methods of lists, tuples and dicts.
 *
 * The sandbox is jinja2's immutable one: append, update and their kind exist in Python but are
 * refused here, and using what they give back is an error that says so.
 */
#include "text/jinja_args.h"

static weft_status list_index(jinja_run *run, jinja_value self, const jinja_value *args,
                              jinja_value *out) {
    const jinja_list *list = self.as.list;
    int64_t from;
    int64_t to;
    JINJA_TRY(jinja_arg_int(run, args[1], "index: start", 0, &from));
    JINJA_TRY(jinja_arg_int(run, args[2], "index: stop", INT64_MAX, &to));
    from = from < 0 ? (from + list->count < 0 ? 0 : from + list->count) : from;
    to = to < 0 ? to + list->count : to;
    for (int64_t i = from; i < to && i < list->count; i++) {
        bool is_equal;
        JINJA_TRY(jinja_run_step(run, 1));
        JINJA_TRY(jinja_equal(run, list->items[i], args[0], &is_equal));
        if (is_equal) {
            *out = jinja_int(i);
            return WEFT_OK;
        }
    }
    str what;
    JINJA_TRY(jinja_repr(run, args[0], &what));
    return jinja_run_fail(run, WEFT_INVALID, STR_FMT " is not in list", STR_ARG(what));
}

static weft_status list_count(jinja_run *run, jinja_value self, const jinja_value *args,
                              jinja_value *out) {
    int64_t count = 0;
    JINJA_TRY(jinja_run_step(run, self.as.list->count));
    for (uint32_t i = 0; i < self.as.list->count; i++) {
        bool is_equal;
        JINJA_TRY(jinja_equal(run, self.as.list->items[i], args[0], &is_equal));
        count += is_equal;
    }
    *out = jinja_int(count);
    return WEFT_OK;
}

static weft_status list_copy(jinja_run *run, jinja_value self, const jinja_value *args,
                             jinja_value *out) {
    *out = self; /* lists never change, so a copy cannot be told from the original */
    return WEFT_OK;
}

static weft_status dict_get(jinja_run *run, jinja_value self, const jinja_value *args,
                            jinja_value *out) {
    if (!jinja_is_hashable(args[0])) {
        return jinja_run_fail(run, WEFT_INVALID, "unhashable type: '%s'", jinja_type_name(args[0]));
    }
    const jinja_value *v = jinja_dict_find_key(self.as.dict, args[0]);
    *out = v != NULL ? *v : args[1].kind == JINJA_MISSING ? jinja_none() : args[1];
    return WEFT_OK;
}

static weft_status make_view(jinja_run *run, jinja_value self, jinja_view_kind kind,
                             jinja_value *out) {
    void *made;
    JINJA_TRY(jinja_run_alloc(run, 1, sizeof(jinja_view), &made));
    *(jinja_view *)made = (jinja_view){.dict = self.as.dict, .kind = kind};
    *out = (jinja_value){.kind = JINJA_VIEW, .as.view = made};
    return WEFT_OK;
}

static weft_status dict_keys(jinja_run *run, jinja_value self, const jinja_value *args,
                             jinja_value *out) {
    return make_view(run, self, JINJA_VIEW_KEYS, out);
}

static weft_status dict_values(jinja_run *run, jinja_value self, const jinja_value *args,
                               jinja_value *out) {
    return make_view(run, self, JINJA_VIEW_VALUES, out);
}

static weft_status dict_items(jinja_run *run, jinja_value self, const jinja_value *args,
                              jinja_value *out) {
    return make_view(run, self, JINJA_VIEW_ITEMS, out);
}

static weft_status dict_copy(jinja_run *run, jinja_value self, const jinja_value *args,
                             jinja_value *out) {
    *out = self;
    return WEFT_OK;
}

static weft_status dict_fromkeys(jinja_run *run, jinja_value self, const jinja_value *args,
                                 jinja_value *out) {
    jinja_list keys;
    jinja_dict *d;
    const jinja_value value = args[1].kind == JINJA_MISSING ? jinja_none() : args[1];
    JINJA_TRY(jinja_iterate(run, args[0], &keys));
    JINJA_TRY(jinja_dict_create(run, 0, &d));
    for (uint32_t i = 0; i < keys.count; i++) {
        JINJA_TRY(jinja_dict_set(run, d, keys.items[i], value));
    }
    *out = jinja_dict_value(d);
    return WEFT_OK;
}

static const jinja_builtin list_methods[] = {
    {.name = "index", .fn = list_index, .n_required = 1, .params = {"value", "start", "stop"}},
    {.name = "count", .fn = list_count, .n_required = 1, .params = {"value"}},
    {.name = "copy", .fn = list_copy},
    {.name = NULL},
};

static const jinja_builtin dict_methods[] = {
    {.name = "get", .fn = dict_get, .n_required = 1, .params = {"key", "default"}},
    {.name = "items", .fn = dict_items},
    {.name = "keys", .fn = dict_keys},
    {.name = "values", .fn = dict_values},
    {.name = "copy", .fn = dict_copy},
    {.name = "fromkeys", .fn = dict_fromkeys, .n_required = 1, .params = {"iterable", "value"}},
    {.name = NULL},
};

const jinja_builtin *jinja_list_method_find(str name) {
    return jinja_builtin_find(list_methods, name);
}

const jinja_builtin *jinja_tuple_method_find(str name) {
    return str_eq_cstr(name, "copy") ? NULL : jinja_builtin_find(list_methods, name);
}

const jinja_builtin *jinja_dict_method_find(str name) {
    return jinja_builtin_find(dict_methods, name);
}

jinja_method_set jinja_methods_find(str name) {
    return (jinja_method_set){.of_string = jinja_string_method_find(name),
                              .of_list = jinja_list_method_find(name),
                              .of_tuple = jinja_tuple_method_find(name),
                              .of_dict = jinja_dict_method_find(name)};
}

bool jinja_is_mutating_method(jinja_kind kind, str name) {
    static const char *const of_list[] = {"append", "clear", "pop",    "reverse",
                                          "insert", "sort",  "extend", "remove"};
    static const char *const of_dict[] = {"clear", "pop", "popitem", "setdefault", "update"};
    const char *const *names = kind == JINJA_LIST ? of_list : of_dict;
    const size_t count = kind == JINJA_LIST   ? WEFT_LEN(of_list)
                         : kind == JINJA_DICT ? WEFT_LEN(of_dict)
                                              : 0;
    for (size_t i = 0; i < count; i++) {
        if (str_eq_cstr(name, names[i])) {
            return true;
        }
    }
    return false;
}
