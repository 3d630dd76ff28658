/* jinja_access.c - a.b, a[b] and a[b:c].
 *
 * a.b asks for an attribute first (methods of strings, lists and dicts; the fields of loop,
 * macros, cyclers) and then for the item "b"; a["b"] asks the other way round. What is not there
 * is undefined, which is no error until it is used. Slices and indices of strings count code
 * points.
 */
#include "text/jinja_run.h"
#include "text/jinja_unicode.h"

/* How messages call an object: "dict object", "None". */
static const char *owner_text(jinja_kind kind) {
    switch (kind) {
    case JINJA_NONE: return "None";
    case JINJA_BOOL: return "bool object";
    case JINJA_INT: return "int object";
    case JINJA_FLOAT: return "float object";
    case JINJA_STRING: return "str object";
    case JINJA_LIST: return "list object";
    case JINJA_TUPLE: return "tuple object";
    case JINJA_DICT: return "dict object";
    case JINJA_NAMESPACE: return "namespace object";
    case JINJA_LOOP: return "loop object";
    case JINJA_MACRO: return "macro object";
    case JINJA_RANGE: return "range object";
    case JINJA_VIEW: return "dict view object";
    case JINJA_ITER: return "generator object";
    case JINJA_MISSING:
    case JINJA_UNDEFINED:
    case JINJA_BUILTIN:
    case JINJA_CYCLER:
    case JINJA_JOINER: break;
    }
    return "object";
}

weft_status jinja_undefined_fail(jinja_run *run, jinja_value undefined) {
    const str text = jinja_text(undefined);
    switch ((jinja_absence)undefined.absence) {
    case JINJA_ABSENT_VARIABLE:
        return jinja_run_fail(run, WEFT_INVALID, "'" STR_FMT "' is undefined", STR_ARG(text));
    case JINJA_ABSENT_ATTRIBUTE:
        return jinja_run_fail(run, WEFT_INVALID, "'%s' has no attribute '" STR_FMT "'",
                              owner_text((jinja_kind)undefined.owner), STR_ARG(text));
    case JINJA_ABSENT_HINT: return jinja_run_fail(run, WEFT_INVALID, STR_FMT, STR_ARG(text));
    case JINJA_ABSENT_UNSAFE:
        return jinja_run_fail(run, WEFT_INVALID,
                              "access to attribute '" STR_FMT "' of '%s' is unsafe", STR_ARG(text),
                              owner_text((jinja_kind)undefined.owner));
    }
    return WEFT_INVALID;
}

static jinja_value absent(jinja_value object, str name, jinja_absence absence) {
    jinja_value v = jinja_undefined(absence, name);
    v.owner = object.kind;
    return v;
}

const jinja_builtin *jinja_method_of(jinja_value object, const jinja_method_set *methods) {
    switch ((jinja_kind)object.kind) {
    case JINJA_STRING: return methods->of_string;
    case JINJA_LIST: return methods->of_list;
    case JINJA_TUPLE: return methods->of_tuple;
    case JINJA_DICT: return methods->of_dict;
    default: return NULL;
    }
}

static weft_status loop_length(jinja_run *run, jinja_loop *loop, int64_t *out) {
    if (!loop->has_length) { /* test what is left, once */
        jinja_list rest;
        const int64_t seen = loop->index0 + 1;
        JINJA_TRY(jinja_list_init(run, &rest, 0));
        for (;;) {
            jinja_value item;
            bool has;
            JINJA_TRY(jinja_loop_pull(run, loop, &item, &has));
            if (!has) {
                break;
            }
            JINJA_TRY(jinja_list_push(run, &rest, item));
        }
        loop->source = rest;
        loop->next = 0;
        loop->has_length = true;
        *out = seen + rest.count;
        return WEFT_OK;
    }
    *out = loop->index0 + 1 + (loop->source.count - loop->next) + loop->has_after;
    return WEFT_OK;
}

static weft_status loop_peek(jinja_run *run, jinja_loop *loop) {
    if (loop->has_after) {
        return WEFT_OK;
    }
    bool has;
    jinja_value after;
    JINJA_TRY(jinja_loop_pull(run, loop, &after, &has));
    loop->has_after = has;
    loop->after = after;
    return WEFT_OK;
}

static weft_status loop_cycle(jinja_run *run, jinja_value self, const jinja_call *call,
                              jinja_value *out) {
    if (call->n_args == 0 || call->n_keywords > 0) {
        return jinja_run_fail(run, WEFT_INVALID, "no items for cycling given");
    }
    *out = call->args[self.as.loop->index0 % call->n_args];
    return WEFT_OK;
}

static weft_status loop_changed(jinja_run *run, jinja_value self, const jinja_call *call,
                                jinja_value *out) {
    jinja_loop *loop = self.as.loop;
    bool is_same = loop->has_changed && loop->changed.count == call->n_args;
    for (uint32_t i = 0; i < call->n_args && is_same; i++) {
        JINJA_TRY(jinja_equal(run, loop->changed.items[i], call->args[i], &is_same));
    }
    if (!is_same) {
        JINJA_TRY(jinja_list_init(run, &loop->changed, call->n_args));
        for (uint32_t i = 0; i < call->n_args; i++) {
            JINJA_TRY(jinja_list_push(run, &loop->changed, call->args[i]));
        }
        loop->has_changed = true;
    }
    *out = jinja_bool(!is_same);
    return WEFT_OK;
}

static const jinja_builtin loop_methods[] = {
    {.name = "cycle", .raw = loop_cycle},
    {.name = "changed", .raw = loop_changed},
    {.name = NULL},
};

static weft_status bind(jinja_run *run, const jinja_builtin *b, jinja_value self,
                        jinja_value *out) {
    void *made;
    JINJA_TRY(jinja_run_alloc(run, 1, sizeof(jinja_bound), &made));
    jinja_bound *bound = made;
    *bound = (jinja_bound){.builtin = b, .self = self};
    *out = (jinja_value){.kind = JINJA_BUILTIN, .as.bound = bound};
    return WEFT_OK;
}

/* The fields that need the items to come. */
static weft_status loop_far_field(jinja_run *run, jinja_loop *loop, str name, jinja_value *out) {
    int64_t length;
    if (str_eq_cstr(name, "last") || str_eq_cstr(name, "nextitem")) {
        JINJA_TRY(loop_peek(run, loop));
        if (name.data[0] == 'l') {
            *out = jinja_bool(!loop->has_after);
        } else {
            *out = loop->has_after
                       ? loop->after
                       : jinja_undefined(JINJA_ABSENT_HINT, STR_LIT("there is no next item"));
        }
        return WEFT_OK;
    }
    JINJA_TRY(loop_length(run, loop, &length));
    if (str_eq_cstr(name, "length")) {
        *out = jinja_int(length);
    } else {
        *out = jinja_int(length - loop->index0 - str_eq_cstr(name, "revindex0"));
    }
    return WEFT_OK;
}

static weft_status loop_field(jinja_run *run, jinja_value object, str name, jinja_value *out,
                              bool *is_known) {
    jinja_loop *loop = object.as.loop;
    *is_known = true;
    if (str_eq_cstr(name, "index")) {
        *out = jinja_int(loop->index0 + 1);
    } else if (str_eq_cstr(name, "index0")) {
        *out = jinja_int(loop->index0);
    } else if (str_eq_cstr(name, "first")) {
        *out = jinja_bool(loop->index0 == 0);
    } else if (str_eq_cstr(name, "depth")) {
        *out = jinja_int((int64_t)loop->depth0 + 1);
    } else if (str_eq_cstr(name, "depth0")) {
        *out = jinja_int(loop->depth0);
    } else if (str_eq_cstr(name, "previtem")) {
        *out = loop->index0 > 0
                   ? loop->before
                   : jinja_undefined(JINJA_ABSENT_HINT, STR_LIT("there is no previous item"));
    } else if (str_eq_cstr(name, "last") || str_eq_cstr(name, "nextitem") ||
               str_eq_cstr(name, "length") || str_eq_cstr(name, "revindex") ||
               str_eq_cstr(name, "revindex0")) {
        return loop_far_field(run, loop, name, out);
    } else {
        const jinja_builtin *method = jinja_builtin_find(loop_methods, name);
        *is_known = method != NULL;
        if (*is_known) {
            return bind(run, method, object, out);
        }
    }
    return WEFT_OK;
}

static weft_status macro_field(jinja_run *run, const jinja_macro *m, str name, jinja_value *out,
                               bool *is_known) {
    const jinja_signature *s = &m->node->as.macro.signature;
    *is_known = true;
    if (str_eq_cstr(name, "name")) {
        *out =
            m->node->kind == JINJA_NODE_MACRO ? jinja_string(m->node->as.macro.name) : jinja_none();
    } else if (str_eq_cstr(name, "arguments")) {
        jinja_list names;
        JINJA_TRY(jinja_list_init(run, &names, s->count));
        for (uint32_t i = 0; i < s->count; i++) {
            JINJA_TRY(jinja_list_push(run, &names, jinja_string(s->items[i].text)));
        }
        return jinja_list_value(run, JINJA_TUPLE, &names, out);
    } else if (str_eq_cstr(name, "catch_kwargs")) {
        *out = jinja_bool(s->uses_kwargs);
    } else if (str_eq_cstr(name, "catch_varargs")) {
        *out = jinja_bool(s->uses_varargs);
    } else if (str_eq_cstr(name, "caller")) {
        *out = jinja_bool(s->uses_caller);
    } else {
        *is_known = false;
    }
    return WEFT_OK;
}

static weft_status cycler_next(jinja_run *run, jinja_value self, const jinja_value *args,
                               jinja_value *out) {
    jinja_cycler *c = self.as.cycler;
    *out = c->items[c->next];
    c->next = (c->next + 1) % c->count;
    return WEFT_OK;
}

static weft_status cycler_reset(jinja_run *run, jinja_value self, const jinja_value *args,
                                jinja_value *out) {
    self.as.cycler->next = 0;
    *out = jinja_none();
    return WEFT_OK;
}

static const jinja_builtin cycler_methods[] = {
    {.name = "next", .fn = cycler_next},
    {.name = "reset", .fn = cycler_reset},
    {.name = NULL},
};

static bool range_field(const jinja_range *r, str name, jinja_value *out) {
    if (!str_eq_cstr(name, "start") && !str_eq_cstr(name, "stop") && !str_eq_cstr(name, "step")) {
        return false;
    }
    *out = jinja_int(name.data[2] == 'a' ? r->start : name.data[2] == 'o' ? r->stop : r->step);
    return true;
}

/* Fields of the objects the interpreter itself hands out. */
static weft_status object_field(jinja_run *run, jinja_value object, str name, jinja_value *out,
                                bool *is_known) {
    *is_known = false;
    switch ((jinja_kind)object.kind) {
    case JINJA_LOOP: return loop_field(run, object, name, out, is_known);
    case JINJA_MACRO: return macro_field(run, object.as.macro, name, out, is_known);
    case JINJA_CYCLER:
        if (str_eq_cstr(name, "current")) {
            *is_known = true;
            *out = object.as.cycler->items[object.as.cycler->next];
            return WEFT_OK;
        }
        const jinja_builtin *method = jinja_builtin_find(cycler_methods, name);
        *is_known = method != NULL;
        return *is_known ? bind(run, method, object, out) : WEFT_OK;
    case JINJA_BUILTIN: {
        const jinja_builtin *of_dict = jinja_function_field(object.as.bound->builtin, name);
        *is_known = of_dict != NULL;
        return *is_known ? bind(run, of_dict, object, out) : WEFT_OK;
    }
    case JINJA_RANGE: *is_known = range_field(object.as.range, name, out); return WEFT_OK;
    case JINJA_NAMESPACE: {
        const jinja_value *v = jinja_dict_find(object.as.dict, name);
        *is_known = v != NULL;
        if (*is_known) {
            *out = *v;
        }
        return WEFT_OK;
    }
    case JINJA_TUPLE:
        if (object.as.list->is_group &&
            (str_eq_cstr(name, "grouper") || str_eq_cstr(name, "list"))) {
            *is_known = true;
            *out = object.as.list->items[name.data[0] == 'l'];
        }
        return WEFT_OK;
    default: return WEFT_OK;
    }
}

/* The attribute proper: methods and fields. */
static weft_status find_attribute(jinja_run *run, jinja_value object, str name,
                                  const jinja_method_set *methods, jinja_value *out,
                                  bool *is_known) {
    const jinja_builtin *method = jinja_method_of(object, methods);
    if (method != NULL) {
        *is_known = true;
        return bind(run, method, object, out);
    }
    if (jinja_is_mutating_method((jinja_kind)object.kind, name)) {
        *is_known = true;
        *out = absent(object, name, JINJA_ABSENT_UNSAFE);
        return WEFT_OK;
    }
    return object_field(run, object, name, out, is_known);
}

weft_status jinja_get_attribute(jinja_run *run, jinja_value object, str name,
                                const jinja_method_set *methods, jinja_value *out) {
    if (object.kind == JINJA_UNDEFINED) {
        return jinja_undefined_fail(run, object);
    }
    const jinja_method_set found = methods == NULL ? jinja_methods_find(name) : *methods;
    bool is_known;
    JINJA_TRY(find_attribute(run, object, name, &found, out, &is_known));
    if (is_known) {
        return WEFT_OK;
    }
    const jinja_value *v = object.kind == JINJA_DICT ? jinja_dict_find(object.as.dict, name) : NULL;
    *out = v != NULL ? *v : absent(object, name, JINJA_ABSENT_ATTRIBUTE);
    return WEFT_OK;
}

/* Python's index: counted from the end when negative. False when it is outside. */
static bool fix_index(int64_t index, int64_t count, int64_t *out) {
    *out = index < 0 ? index + count : index;
    return *out >= 0 && *out < count;
}

static bool sequence_item(jinja_value object, int64_t index, jinja_value *out) {
    int64_t at;
    switch ((jinja_kind)object.kind) {
    case JINJA_LIST:
    case JINJA_TUPLE:
        if (!fix_index(index, object.as.list->count, &at)) {
            return false;
        }
        *out = object.as.list->items[at];
        return true;
    case JINJA_RANGE:
        if (!fix_index(index, object.as.range->count, &at)) {
            return false;
        }
        *out = jinja_int(jinja_range_item(object.as.range, at));
        return true;
    case JINJA_STRING: {
        const str s = jinja_text(object);
        if (!fix_index(index, (int64_t)jinja_str_chars(s), &at)) {
            return false;
        }
        const size_t offset = jinja_str_offset(s, (size_t)at);
        size_t n;
        jinja_cp_at(s, offset, &n);
        *out = jinja_markup_like(object, jinja_string(str_slice(s, offset, offset + n)));
        return true;
    }
    default: return false;
    }
}

/* What a[b] gives when there is neither item nor attribute b. */
static weft_status absent_item(jinja_run *run, jinja_value object, jinja_value key,
                               jinja_value *out) {
    if (key.kind == JINJA_STRING) {
        *out = absent(object, jinja_text(key), JINJA_ABSENT_ATTRIBUTE);
        return WEFT_OK;
    }
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(jinja_write(&w, str_from_cstr(owner_text((jinja_kind)object.kind))));
    JINJA_TRY(jinja_write(&w, STR_LIT(" has no element ")));
    JINJA_TRY(jinja_write_repr(&w, key));
    *out = jinja_undefined(JINJA_ABSENT_HINT, jinja_text(jinja_writer_value(&w)));
    return WEFT_OK;
}

weft_status jinja_get_item(jinja_run *run, jinja_value object, jinja_value key, jinja_value *out) {
    if (object.kind == JINJA_UNDEFINED) {
        return jinja_undefined_fail(run, object);
    }
    if (object.kind == JINJA_DICT) {
        const jinja_value *v = key.kind == JINJA_STRING
                                   ? jinja_dict_find(object.as.dict, jinja_text(key))
                                   : jinja_dict_find_key(object.as.dict, key);
        if (v != NULL) {
            *out = *v;
            return WEFT_OK;
        }
    } else if (jinja_is_integral(key)) {
        JINJA_TRY(jinja_run_step(run, object.kind == JINJA_STRING ? object.len / 64 : 0));
        if (sequence_item(object, jinja_as_integer(key), out)) {
            return WEFT_OK;
        }
    }
    if (key.kind == JINJA_STRING) {
        const jinja_method_set methods = jinja_methods_find(jinja_text(key));
        bool is_known;
        JINJA_TRY(find_attribute(run, object, jinja_text(key), &methods, out, &is_known));
        if (is_known) {
            return WEFT_OK;
        }
    }
    return absent_item(run, object, key, out);
}

/* Where a slice begins and ends, by Python's rules for absent and far ends. */
typedef struct slice_bounds {
    int64_t from, to, step;
} slice_bounds;

static int64_t clamp_end(jinja_value end, int64_t count, int64_t step, int64_t absent_value) {
    if (end.kind == JINJA_NONE) {
        return absent_value;
    }
    int64_t i = jinja_as_integer(end);
    const int64_t low = step < 0 ? -1 : 0;
    const int64_t high = step < 0 ? count - 1 : count;
    if (i < 0) {
        i += count;
    }
    return i < low ? low : i > high ? high : i;
}

static weft_status bounds_of(jinja_run *run, const jinja_value part[3], int64_t count,
                             slice_bounds *b) {
    for (int i = 0; i < 3; i++) {
        if (part[i].kind != JINJA_NONE && !jinja_is_integral(part[i])) {
            return jinja_run_fail(run, WEFT_INVALID,
                                  "slice indices must be integers or none, not %s",
                                  jinja_type_name(part[i]));
        }
    }
    b->step = part[2].kind == JINJA_NONE ? 1 : jinja_as_integer(part[2]);
    if (b->step == 0) {
        return jinja_run_fail(run, WEFT_INVALID, "slice step cannot be zero");
    }
    if (b->step < -count - 1) { /* as good as any larger step, and cannot overflow */
        b->step = -count - 1;
    } else if (b->step > count + 1) {
        b->step = count + 1;
    }
    b->from = clamp_end(part[0], count, b->step, b->step < 0 ? count - 1 : 0);
    b->to = clamp_end(part[1], count, b->step, b->step < 0 ? -1 : count);
    return WEFT_OK;
}

static weft_status slice_string(jinja_run *run, str s, const jinja_value part[3],
                                jinja_value *out) {
    slice_bounds b;
    JINJA_TRY(bounds_of(run, part, (int64_t)jinja_str_chars(s), &b));
    JINJA_TRY(jinja_run_step(run, s.len / 16));
    if (b.step == 1) {
        const int64_t to = b.to < b.from ? b.from : b.to;
        const size_t from_byte = jinja_str_offset(s, (size_t)b.from);
        const str rest = str_slice(s, from_byte, s.len);
        *out = jinja_string(str_slice(rest, 0, jinja_str_offset(rest, (size_t)(to - b.from))));
        return WEFT_OK;
    }
    jinja_list chars;
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(jinja_iterate(run, jinja_string(s), &chars));
    for (int64_t i = b.from; b.step > 0 ? i < b.to : i > b.to; i += b.step) {
        JINJA_TRY(jinja_write(&w, jinja_text(chars.items[i])));
    }
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

/* A part of a range is a range. Its ends may leave 64 bits only where it is empty. */
static weft_status slice_range(jinja_run *run, const jinja_range *r, const jinja_value part[3],
                               jinja_value *out) {
    slice_bounds b;
    JINJA_TRY(bounds_of(run, part, r->count, &b));
    const uint64_t start = (uint64_t)r->start + (uint64_t)b.from * (uint64_t)r->step;
    const uint64_t stop = (uint64_t)r->start + (uint64_t)b.to * (uint64_t)r->step;
    int64_t count = 0;
    if (b.step > 0 && b.from < b.to) {
        count = (b.to - b.from - 1) / b.step + 1;
    } else if (b.step < 0 && b.from > b.to) {
        count = (b.from - b.to - 1) / -b.step + 1;
    }
    const uint64_t step = part[2].kind == JINJA_NONE ? 1 : (uint64_t)jinja_as_integer(part[2]);
    void *made;
    JINJA_TRY(jinja_run_alloc(run, 1, sizeof(jinja_range), &made));
    *(jinja_range *)made = (jinja_range){.start = (int64_t)start,
                                         .stop = (int64_t)stop,
                                         .step = (int64_t)((uint64_t)r->step * step),
                                         .count = count};
    *out = (jinja_value){.kind = JINJA_RANGE, .as.range = made};
    return WEFT_OK;
}

weft_status jinja_get_slice(jinja_run *run, jinja_value object, const jinja_value part[3],
                            jinja_value *out) {
    if (object.kind == JINJA_UNDEFINED) {
        return jinja_undefined_fail(run, object);
    }
    if (object.kind == JINJA_STRING) {
        JINJA_TRY(slice_string(run, jinja_text(object), part, out));
        *out = jinja_markup_like(object, *out);
        return WEFT_OK;
    }
    if (object.kind == JINJA_RANGE) {
        return slice_range(run, object.as.range, part, out);
    }
    if (!jinja_is_list(object)) {
        return jinja_run_fail(run, WEFT_INVALID, "'%s' object cannot be sliced",
                              jinja_type_name(object));
    }
    slice_bounds b;
    jinja_list items;
    jinja_list made;
    JINJA_TRY(jinja_iterate(run, object, &items));
    JINJA_TRY(bounds_of(run, part, items.count, &b));
    JINJA_TRY(jinja_list_init(run, &made, 0));
    if (b.step == 1 && b.to > b.from) { /* a part of the same items: lists never change */
        made.items = items.items + b.from;
        made.count = made.capacity = (uint32_t)(b.to - b.from);
        return jinja_list_value(run, object.kind, &made, out);
    }
    for (int64_t i = b.from; b.step > 0 ? i < b.to : i > b.to; i += b.step) {
        JINJA_TRY(jinja_list_push(run, &made, items.items[i]));
    }
    return jinja_list_value(run, object.kind, &made, out);
}
