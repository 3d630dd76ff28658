/* jinja_filters_seq.c - filters on lists, dicts and everything else that can be walked through.
 *
 * jinja2 makes generators of many of these; here the items are worked out at once and wrapped
 * as a generator, so that templates see the same type: no length, always true, used up by one
 * reading.
 */
#include "text/jinja_args.h"

#define GENERATOR "generator"

static weft_status filter_length(jinja_run *run, jinja_value self, const jinja_value *args,
                                 jinja_value *out) {
    int64_t length;
    if (!jinja_length(self, &length)) {
        return jinja_run_fail(run, WEFT_INVALID, "object of type '%s' has no len()",
                              jinja_type_name(self));
    }
    *out = jinja_int(length);
    return WEFT_OK;
}

static weft_status filter_first(jinja_run *run, jinja_value self, const jinja_value *args,
                                jinja_value *out) {
    bool is_end;
    JINJA_TRY(jinja_next_item(run, self, out, &is_end));
    if (is_end) {
        *out = jinja_undefined(JINJA_ABSENT_HINT, STR_LIT("No first item, sequence was empty."));
    }
    return WEFT_OK;
}

static bool is_reversible(jinja_value v) {
    return v.kind == JINJA_STRING || jinja_is_list(v) || v.kind == JINJA_DICT ||
           v.kind == JINJA_RANGE || v.kind == JINJA_VIEW || v.kind == JINJA_UNDEFINED;
}

static weft_status filter_last(jinja_run *run, jinja_value self, const jinja_value *args,
                               jinja_value *out) {
    jinja_list items;
    if (!is_reversible(self)) {
        return jinja_run_fail(run, WEFT_INVALID, "'%s' object is not reversible",
                              jinja_type_name(self));
    }
    JINJA_TRY(jinja_iterate(run, self, &items));
    *out = items.count > 0
               ? jinja_markup_like(self, items.items[items.count - 1])
               : jinja_undefined(JINJA_ABSENT_HINT, STR_LIT("No last item, sequence was empty."));
    return WEFT_OK;
}

/* A list of its own, never a borrowed one. */
static weft_status copy_items(jinja_run *run, jinja_value from, jinja_list *out) {
    jinja_list items;
    JINJA_TRY(jinja_iterate(run, from, &items));
    JINJA_TRY(jinja_list_init(run, out, items.count));
    for (uint32_t i = 0; i < items.count; i++) {
        JINJA_TRY(jinja_list_push(run, out, items.items[i]));
    }
    return WEFT_OK;
}

static weft_status filter_list(jinja_run *run, jinja_value self, const jinja_value *args,
                               jinja_value *out) {
    jinja_list items;
    JINJA_TRY(copy_items(run, self, &items));
    return jinja_list_value(run, JINJA_LIST, &items, out);
}

static weft_status filter_reverse(jinja_run *run, jinja_value self, const jinja_value *args,
                                  jinja_value *out) {
    jinja_list items;
    jinja_list reversed;
    JINJA_TRY(jinja_iterate(run, self, &items));
    JINJA_TRY(jinja_list_init(run, &reversed, items.count));
    for (uint32_t i = items.count; i > 0; i--) {
        JINJA_TRY(jinja_list_push(run, &reversed, items.items[i - 1]));
    }
    if (self.kind == JINJA_STRING) {
        jinja_writer w;
        jinja_writer_init(&w, run);
        for (uint32_t i = 0; i < reversed.count; i++) {
            JINJA_TRY(jinja_write(&w, jinja_text(reversed.items[i])));
        }
        *out = jinja_markup_like(self, jinja_writer_value(&w));
        return WEFT_OK;
    }
    if (!is_reversible(self)) {
        return jinja_list_value(run, JINJA_LIST, &reversed, out);
    }
    return jinja_iter_value(run, self.kind == JINJA_LIST ? "list_reverseiterator" : "reversed",
                            &reversed, out);
}

static weft_status filter_items(jinja_run *run, jinja_value self, const jinja_value *args,
                                jinja_value *out) {
    jinja_list items = {0};
    if (self.kind == JINJA_DICT) {
        jinja_view view = {.dict = self.as.dict, .kind = JINJA_VIEW_ITEMS};
        const jinja_value pairs = {.kind = JINJA_VIEW, .as.view = &view};
        JINJA_TRY(jinja_iterate(run, pairs, &items));
    } else if (self.kind != JINJA_UNDEFINED) {
        return jinja_run_fail(run, WEFT_INVALID, "Can only get item pairs from a mapping.");
    }
    return jinja_iter_value(run, GENERATOR, &items, out);
}

static weft_status filter_join(jinja_run *run, jinja_value self, const jinja_value *args,
                               jinja_value *out) {
    jinja_list items;
    str separator = {0};
    if (args[0].kind != JINJA_MISSING) {
        JINJA_TRY(jinja_to_str(run, args[0], &separator));
    }
    JINJA_TRY(jinja_iterate(run, self, &items));
    jinja_writer w;
    jinja_writer_init(&w, run);
    for (uint32_t i = 0; i < items.count; i++) {
        jinja_value item;
        JINJA_TRY(jinja_get_path(run, items.items[i], args[1], jinja_missing(), &item));
        JINJA_TRY(jinja_write(&w, i > 0 ? separator : (str){0}));
        JINJA_TRY(jinja_write_str(&w, item));
    }
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

static weft_status filter_sum(jinja_run *run, jinja_value self, const jinja_value *args,
                              jinja_value *out) {
    jinja_list items;
    JINJA_TRY(jinja_iterate(run, self, &items));
    *out = args[1].kind == JINJA_MISSING ? jinja_int(0) : args[1];
    if (out->kind == JINJA_STRING) {
        return jinja_run_fail(run, WEFT_INVALID, "sum() can't sum strings");
    }
    for (uint32_t i = 0; i < items.count; i++) {
        jinja_value item;
        JINJA_TRY(jinja_get_path(run, items.items[i], args[0], jinja_missing(), &item));
        JINJA_TRY(jinja_binary(run, JINJA_OP_ADD, *out, item, out));
    }
    return WEFT_OK;
}

/* Strings count as their lower case unless the filter is told otherwise. */
static weft_status fold_key(jinja_run *run, bool is_case_sensitive, jinja_value *key) {
    return key->kind == JINJA_STRING && !is_case_sensitive
               ? jinja_str_to_case(run, jinja_text(*key), JINJA_CASE_LOWER, key)
               : WEFT_OK;
}

static weft_status plain_key(jinja_run *run, jinja_value item, jinja_value attribute,
                             bool is_case_sensitive, jinja_value *out) {
    JINJA_TRY(jinja_get_path(run, item, attribute, jinja_missing(), out));
    return fold_key(run, is_case_sensitive, out);
}

/* The key of one item: a list of its attributes ("age,name"), though there be only one, because
 * lists compare by their first difference and so take what has no order but is equal. */
static weft_status list_key(jinja_run *run, jinja_value item, jinja_value attribute,
                            bool is_case_sensitive, jinja_value *out) {
    const str names = attribute.kind == JINJA_STRING ? jinja_text(attribute) : (str){0};
    jinja_list keys;
    JINJA_TRY(jinja_list_init(run, &keys, 1));
    for (size_t from = 0; from <= names.len;) {
        size_t to = jinja_str_find(names, STR_LIT(","), from);
        to = to == SIZE_MAX ? names.len : to;
        jinja_value key = attribute;
        if (attribute.kind == JINJA_STRING) {
            key = jinja_string(str_slice(names, from, to));
        }
        JINJA_TRY(plain_key(run, item, key, is_case_sensitive, &key));
        JINJA_TRY(jinja_list_push(run, &keys, key));
        from = to + 1;
    }
    return jinja_list_value(run, JINJA_LIST, &keys, out);
}

typedef weft_status key_fn(jinja_run *run, jinja_value item, jinja_value attribute,
                           bool is_case_sensitive, jinja_value *out);

static weft_status keys_of(jinja_run *run, const jinja_list *items, key_fn *key_of,
                           jinja_value attribute, bool is_case_sensitive, jinja_list *out) {
    JINJA_TRY(jinja_list_init(run, out, items->count));
    for (uint32_t i = 0; i < items->count; i++) {
        jinja_value key;
        JINJA_TRY(key_of(run, items->items[i], attribute, is_case_sensitive, &key));
        JINJA_TRY(jinja_list_push(run, out, key));
    }
    return WEFT_OK;
}

static weft_status in_order(jinja_run *run, const jinja_list *items, const jinja_list *keys,
                            bool is_reverse, jinja_value *out) {
    uint32_t *order;
    jinja_list sorted;
    JINJA_TRY(jinja_sort_order(run, keys->items, items->count, is_reverse, &order));
    JINJA_TRY(jinja_list_init(run, &sorted, items->count));
    for (uint32_t i = 0; i < items->count; i++) {
        JINJA_TRY(jinja_list_push(run, &sorted, items->items[order[i]]));
    }
    return jinja_list_value(run, JINJA_LIST, &sorted, out);
}

static weft_status filter_sort(jinja_run *run, jinja_value self, const jinja_value *args,
                               jinja_value *out) {
    jinja_list items;
    jinja_list keys;
    bool is_reverse;
    JINJA_TRY(jinja_iterate(run, self, &items));
    JINJA_TRY(jinja_arg_flag(run, args[0], &is_reverse));
    JINJA_TRY(keys_of(run, &items, list_key, args[2], jinja_arg_bool(args[1], false), &keys));
    return in_order(run, &items, &keys, is_reverse, out);
}

static weft_status filter_dictsort(jinja_run *run, jinja_value self, const jinja_value *args,
                                   jinja_value *out) {
    if (self.kind == JINJA_UNDEFINED) {
        return jinja_undefined_fail(run, self);
    }
    if (self.kind != JINJA_DICT) {
        return jinja_run_fail(run, WEFT_INVALID, "'%s' object has no attribute 'items'",
                              jinja_type_name(self));
    }
    str by = STR_LIT("key");
    if (args[1].kind != JINJA_MISSING) {
        JINJA_TRY(jinja_arg_str(run, args[1], "dictsort: by", &by));
    }
    const bool by_value = str_eq_cstr(by, "value");
    if (!by_value && !str_eq_cstr(by, "key")) {
        return jinja_run_fail(run, WEFT_INVALID,
                              "You can only sort by either \"key\" or \"value\"");
    }
    jinja_view view = {.dict = self.as.dict, .kind = JINJA_VIEW_ITEMS};
    jinja_list items;
    jinja_list keys;
    bool is_reverse;
    JINJA_TRY(jinja_iterate(run, (jinja_value){.kind = JINJA_VIEW, .as.view = &view}, &items));
    JINJA_TRY(keys_of(run, &items, plain_key, jinja_int(by_value), jinja_arg_bool(args[0], false),
                      &keys));
    JINJA_TRY(jinja_arg_flag(run, args[2], &is_reverse));
    return in_order(run, &items, &keys, is_reverse, out);
}

static weft_status min_or_max(jinja_run *run, jinja_value self, const jinja_value *args,
                              jinja_op better, jinja_value *out) {
    jinja_list items;
    jinja_list keys;
    JINJA_TRY(jinja_iterate(run, self, &items));
    if (items.count == 0) {
        *out =
            jinja_undefined(JINJA_ABSENT_HINT, STR_LIT("No aggregated item, sequence was empty."));
        return WEFT_OK;
    }
    JINJA_TRY(keys_of(run, &items, plain_key, args[1], jinja_arg_bool(args[0], false), &keys));
    uint32_t best = 0;
    for (uint32_t i = 1; i < items.count; i++) {
        bool is_better;
        JINJA_TRY(jinja_compare(run, better, keys.items[i], keys.items[best], &is_better));
        best = is_better ? i : best;
    }
    *out = items.items[best];
    return WEFT_OK;
}

static weft_status filter_min(jinja_run *run, jinja_value self, const jinja_value *args,
                              jinja_value *out) {
    return min_or_max(run, self, args, JINJA_OP_LT, out);
}

static weft_status filter_max(jinja_run *run, jinja_value self, const jinja_value *args,
                              jinja_value *out) {
    return min_or_max(run, self, args, JINJA_OP_GT, out);
}

static weft_status filter_unique(jinja_run *run, jinja_value self, const jinja_value *args,
                                 jinja_value *out) {
    jinja_list items;
    jinja_list unique;
    jinja_dict *seen;
    JINJA_TRY(jinja_iterate(run, self, &items));
    JINJA_TRY(jinja_list_init(run, &unique, 0));
    JINJA_TRY(jinja_dict_create(run, 0, &seen));
    for (uint32_t i = 0; i < items.count; i++) {
        jinja_value key;
        JINJA_TRY(jinja_get_path(run, items.items[i], args[1], jinja_missing(), &key));
        JINJA_TRY(fold_key(run, jinja_arg_bool(args[0], false), &key));
        const uint32_t count = seen->count;
        JINJA_TRY(jinja_dict_set(run, seen, key, jinja_none()));
        if (seen->count > count) {
            JINJA_TRY(jinja_list_push(run, &unique, items.items[i]));
        }
    }
    return jinja_iter_value(run, GENERATOR, &unique, out);
}

static weft_status push_group(jinja_run *run, jinja_list *groups, jinja_value grouper,
                              const jinja_list *members) {
    jinja_list group;
    jinja_value list;
    jinja_value tuple;
    JINJA_TRY(jinja_list_value(run, JINJA_LIST, members, &list));
    JINJA_TRY(jinja_list_init(run, &group, 2));
    JINJA_TRY(jinja_list_push(run, &group, grouper));
    JINJA_TRY(jinja_list_push(run, &group, list));
    group.is_group = true;
    JINJA_TRY(jinja_list_value(run, JINJA_TUPLE, &group, &tuple));
    return jinja_list_push(run, groups, tuple);
}

/* groupby(attribute, default, case_sensitive): sorted first, then cut where the key changes. */
static weft_status filter_groupby(jinja_run *run, jinja_value self, const jinja_value *args,
                                  jinja_value *out) {
    jinja_list items;
    jinja_list keys;
    jinja_list groups;
    jinja_list members = {0};
    uint32_t *order;
    const bool is_case_sensitive = jinja_arg_bool(args[2], false);
    JINJA_TRY(jinja_iterate(run, self, &items));
    JINJA_TRY(jinja_list_init(run, &keys, items.count));
    for (uint32_t i = 0; i < items.count; i++) {
        jinja_value key;
        JINJA_TRY(jinja_get_path(run, items.items[i], args[0], args[1], &key));
        JINJA_TRY(fold_key(run, is_case_sensitive, &key));
        JINJA_TRY(jinja_list_push(run, &keys, key));
    }
    JINJA_TRY(jinja_sort_order(run, keys.items, items.count, false, &order));
    JINJA_TRY(jinja_list_init(run, &groups, 0));
    for (uint32_t i = 0; i < items.count; i++) {
        JINJA_TRY(jinja_list_push(run, &members, items.items[order[i]]));
        bool goes_on = i + 1 < items.count;
        if (goes_on) {
            JINJA_TRY(jinja_equal(run, keys.items[order[i]], keys.items[order[i + 1]], &goes_on));
        }
        if (!goes_on) { /* the group is called as its first member spells it */
            jinja_value grouper;
            JINJA_TRY(jinja_get_path(run, members.items[0], args[0], args[1], &grouper));
            JINJA_TRY(push_group(run, &groups, grouper, &members));
            members = (jinja_list){0};
        }
    }
    return jinja_list_value(run, JINJA_LIST, &groups, out);
}

static weft_status push_list(jinja_run *run, jinja_list *lists, const jinja_list *items) {
    jinja_value v;
    JINJA_TRY(jinja_list_value(run, JINJA_LIST, items, &v));
    return jinja_list_push(run, lists, v);
}

static weft_status filter_batch(jinja_run *run, jinja_value self, const jinja_value *args,
                                jinja_value *out) {
    int64_t size;
    jinja_list items;
    jinja_list batches;
    jinja_list batch = {0};
    /* No number of items equals what is no number, so that all go into one batch. */
    const bool has_size = jinja_is_integral(args[0]) || jinja_is_given(args[1]);
    JINJA_TRY(
        jinja_arg_int(run, has_size ? args[0] : jinja_missing(), "batch: linecount", -1, &size));
    JINJA_TRY(jinja_iterate(run, self, &items));
    JINJA_TRY(jinja_list_init(run, &batches, 0));
    for (uint32_t i = 0; i < items.count; i++) {
        if (batch.count == size) {
            JINJA_TRY(push_list(run, &batches, &batch));
            batch = (jinja_list){0};
        }
        JINJA_TRY(jinja_list_push(run, &batch, items.items[i]));
    }
    while (batch.count > 0 && jinja_is_given(args[1]) && batch.count < size) {
        JINJA_TRY(jinja_run_step(run, 1));
        JINJA_TRY(jinja_list_push(run, &batch, args[1]));
    }
    if (batch.count > 0) {
        JINJA_TRY(push_list(run, &batches, &batch));
    }
    return jinja_iter_value(run, GENERATOR, &batches, out);
}

static weft_status filter_slice(jinja_run *run, jinja_value self, const jinja_value *args,
                                jinja_value *out) {
    int64_t n_slices;
    jinja_list items;
    jinja_list slices;
    JINJA_TRY(jinja_arg_int(run, args[0], "slice: slices", 0, &n_slices));
    JINJA_TRY(jinja_iterate(run, self, &items));
    if (n_slices == 0) {
        return jinja_run_fail(run, WEFT_INVALID, "integer division or modulo by zero");
    }
    JINJA_TRY(jinja_list_init(run, &slices, 0));
    const int64_t size = n_slices > 0 ? items.count / n_slices : 0;
    const int64_t n_longer = n_slices > 0 ? items.count % n_slices : 0;
    uint32_t next = 0;
    for (int64_t i = 0; i < n_slices; i++) {
        jinja_list slice = {0};
        JINJA_TRY(jinja_run_step(run, 1));
        for (int64_t k = 0; k < size + (i < n_longer); k++) {
            JINJA_TRY(jinja_list_push(run, &slice, items.items[next++]));
        }
        if (jinja_is_given(args[1]) && i >= n_longer) {
            JINJA_TRY(jinja_list_push(run, &slice, args[1]));
        }
        JINJA_TRY(push_list(run, &slices, &slice));
    }
    return jinja_iter_value(run, GENERATOR, &slices, out);
}

static jinja_value keyword_of(const jinja_call *call, const char *name) {
    for (uint32_t i = 0; i < call->n_keywords; i++) {
        if (str_eq_cstr(call->keywords[i].name, name)) {
            return call->keywords[i].value;
        }
    }
    return jinja_missing();
}

/* The call without its first n arguments, which named a filter or test. */
static jinja_call rest_of(const jinja_call *call, uint32_t n) {
    return (jinja_call){.args = call->args + n,
                        .n_args = call->n_args - n,
                        .keywords = call->keywords,
                        .n_keywords = call->n_keywords};
}

static weft_status find_named(jinja_run *run, jinja_value name, bool is_test,
                              const jinja_builtin **out) {
    const str text = name.kind == JINJA_STRING ? jinja_text(name) : STR_LIT("?");
    *out = is_test ? jinja_test_find(text) : jinja_filter_find(text);
    if (*out == NULL) {
        return jinja_run_fail(run, WEFT_INVALID, "no %s named '" STR_FMT "'",
                              is_test ? "test" : "filter", STR_ARG(text));
    }
    return WEFT_OK;
}

static weft_status filter_map(jinja_run *run, jinja_value self, const jinja_call *call,
                              jinja_value *out) {
    jinja_list items = {0};
    jinja_list mapped = {0};
    const jinja_value attribute = keyword_of(call, "attribute");
    const jinja_builtin *filter = NULL;
    if (jinja_truth(self)) {
        if (call->n_args == 0 && attribute.kind == JINJA_MISSING) {
            return jinja_run_fail(run, WEFT_INVALID, "map requires a filter argument");
        }
        if (call->n_args > 0) {
            JINJA_TRY(find_named(run, call->args[0], false, &filter));
        }
        JINJA_TRY(jinja_iterate(run, self, &items));
    }
    JINJA_TRY(jinja_list_init(run, &mapped, items.count));
    for (uint32_t i = 0; i < items.count; i++) {
        jinja_value v;
        if (filter != NULL) {
            const jinja_call rest = rest_of(call, 1);
            JINJA_TRY(jinja_call_builtin(run, filter, items.items[i], &rest, &v));
        } else {
            JINJA_TRY(
                jinja_get_path(run, items.items[i], attribute, keyword_of(call, "default"), &v));
        }
        JINJA_TRY(jinja_list_push(run, &mapped, v));
    }
    return jinja_iter_value(run, GENERATOR, &mapped, out);
}

/* select, reject and their attr forms: keeps what the test says, or its opposite. */
static weft_status choose(jinja_run *run, jinja_value self, const jinja_call *call,
                          bool by_attribute, bool keeps, jinja_value *out) {
    jinja_list items = {0};
    jinja_list chosen = {0};
    const jinja_builtin *test = NULL;
    const uint32_t n_names = by_attribute ? 1 : 0;
    if (jinja_truth(self)) {
        if (call->n_args < n_names) {
            return jinja_run_fail(run, WEFT_INVALID, "Missing parameter for attribute name");
        }
        if (call->n_args > n_names) {
            JINJA_TRY(find_named(run, call->args[n_names], true, &test));
        }
        JINJA_TRY(jinja_iterate(run, self, &items));
    }
    for (uint32_t i = 0; i < items.count; i++) {
        jinja_value v = items.items[i];
        if (by_attribute) {
            JINJA_TRY(jinja_get_path(run, v, call->args[0], jinja_missing(), &v));
        }
        if (test != NULL) {
            const jinja_call rest = rest_of(call, n_names + 1);
            JINJA_TRY(jinja_call_builtin(run, test, v, &rest, &v));
        }
        if (jinja_truth(v) == keeps) {
            JINJA_TRY(jinja_list_push(run, &chosen, items.items[i]));
        }
    }
    return jinja_iter_value(run, GENERATOR, &chosen, out);
}

static weft_status filter_select(jinja_run *run, jinja_value self, const jinja_call *call,
                                 jinja_value *out) {
    return choose(run, self, call, false, true, out);
}

static weft_status filter_reject(jinja_run *run, jinja_value self, const jinja_call *call,
                                 jinja_value *out) {
    return choose(run, self, call, false, false, out);
}

static weft_status filter_selectattr(jinja_run *run, jinja_value self, const jinja_call *call,
                                     jinja_value *out) {
    return choose(run, self, call, true, true, out);
}

static weft_status filter_rejectattr(jinja_run *run, jinja_value self, const jinja_call *call,
                                     jinja_value *out) {
    return choose(run, self, call, true, false, out);
}

const jinja_builtin jinja_sequence_filters[] = {
    {.name = "length", .fn = filter_length},
    {.name = "count", .fn = filter_length},
    {.name = "first", .fn = filter_first},
    {.name = "last", .fn = filter_last},
    {.name = "list", .fn = filter_list},
    {.name = "items", .fn = filter_items},
    {.name = "join", .fn = filter_join, .params = {"d", "attribute"}},
    {.name = "map", .raw = filter_map},
    {.name = "select", .raw = filter_select},
    {.name = "reject", .raw = filter_reject},
    {.name = "selectattr", .raw = filter_selectattr},
    {.name = "rejectattr", .raw = filter_rejectattr},
    {.name = "reverse", .fn = filter_reverse},
    {.name = "sort", .fn = filter_sort, .params = {"reverse", "case_sensitive", "attribute"}},
    {.name = "dictsort", .fn = filter_dictsort, .params = {"case_sensitive", "by", "reverse"}},
    {.name = "min", .fn = filter_min, .params = {"case_sensitive", "attribute"}},
    {.name = "max", .fn = filter_max, .params = {"case_sensitive", "attribute"}},
    {.name = "unique", .fn = filter_unique, .params = {"case_sensitive", "attribute"}},
    {.name = "sum", .fn = filter_sum, .params = {"attribute", "start"}},
    {.name = "groupby",
     .fn = filter_groupby,
     .n_required = 1,
     .params = {"attribute", "default", "case_sensitive"}},
    {.name = "batch", .fn = filter_batch, .n_required = 1, .params = {"linecount", "fill_with"}},
    {.name = "slice", .fn = filter_slice, .n_required = 1, .params = {"slices", "fill_with"}},
    {.name = NULL},
};
