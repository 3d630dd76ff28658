/* jinja_run.c - the state of a render: limits, scopes, strings, lists and dicts under
 * construction.
 *
 * All memory comes from one arena with JINJA_MEMORY_BYTES_MAX as its limit, so that a template
 * can be stopped at any point and nothing has to be freed piece by piece. Things that grow double
 * their storage and leave the old one behind in the arena.
 */
#include "text/jinja_run.h"

#include "base/check.h"
#include "text/jinja_unicode.h"
#include "text/utf8.h"

weft_status jinja_run_fail(jinja_run *run, weft_status code, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    const weft_status status = jinja_source_vfail(run->source, run->at, run->err, code, fmt, args);
    va_end(args);
    return status;
}

weft_status jinja_run_step(jinja_run *run, uint64_t n) {
    run->n_steps += n;
    if (run->n_steps > run->steps_max) {
        return jinja_run_fail(run, WEFT_LIMIT, "the template takes more than %llu steps",
                              (unsigned long long)run->steps_max);
    }
    return WEFT_OK;
}

weft_status jinja_run_enter(jinja_run *run) {
    if (run->depth == JINJA_EVAL_DEPTH_MAX) {
        return jinja_run_fail(run, WEFT_LIMIT, "evaluation nests deeper than %d",
                              JINJA_EVAL_DEPTH_MAX);
    }
    run->depth++;
    return jinja_run_step(run, 1);
}

void jinja_run_leave(jinja_run *run) { run->depth--; }

weft_status jinja_run_alloc(jinja_run *run, size_t n, size_t size, void **out) {
    *out = arena_alloc(&run->memory, n, size);
    if (*out == NULL) {
        return jinja_run_fail(run, WEFT_LIMIT,
                              "rendering needs more memory than the %zu bytes it may have",
                              run->memory.max_bytes);
    }
    return WEFT_OK;
}

jinja_value jinja_run_lookup(const jinja_run *run, uint32_t name, str text) {
    jinja_value v = run->globals[name];
    for (const jinja_frame *f = run->frame; f != NULL; f = f->parent) {
        for (uint32_t i = 0; i < f->count; i++) {
            if (f->slots[i].name == name) {
                v = f->slots[i].value;
                goto done;
            }
        }
    }
done: /* a parameter that still waits for its default is missing */
    return v.kind != JINJA_MISSING ? v : jinja_undefined(JINJA_ABSENT_VARIABLE, text);
}

weft_status jinja_frame_create(jinja_run *run, jinja_frame *parent, jinja_frame **out) {
    void *frame;
    JINJA_TRY(jinja_run_alloc(run, 1, sizeof(jinja_frame), &frame));
    *out = frame;
    (*out)->parent = parent;
    return WEFT_OK;
}

weft_status jinja_frame_set(jinja_run *run, jinja_frame *frame, uint32_t name, jinja_value value) {
    if (frame == NULL) {
        run->globals[name] = value;
        return WEFT_OK;
    }
    for (uint32_t i = 0; i < frame->count; i++) {
        if (frame->slots[i].name == name) {
            frame->slots[i].value = value;
            return WEFT_OK;
        }
    }
    if (frame->count == frame->capacity) {
        const uint32_t capacity = frame->capacity == 0 ? 4 : frame->capacity * 2;
        void *slots;
        JINJA_TRY(jinja_run_alloc(run, capacity, sizeof(jinja_slot), &slots));
        if (frame->count > 0) {
            memcpy(slots, frame->slots, frame->count * sizeof(jinja_slot));
        }
        frame->slots = slots;
        frame->capacity = capacity;
    }
    frame->slots[frame->count++] = (jinja_slot){.name = name, .value = value};
    return WEFT_OK;
}

void jinja_writer_init(jinja_writer *w, jinja_run *run) { *w = (jinja_writer){.run = run}; }

static weft_status writer_reserve(jinja_writer *w, size_t extra) {
    if (extra > JINJA_OUTPUT_BYTES_MAX - w->len) {
        return jinja_run_fail(w->run, WEFT_LIMIT, "a text grows beyond %u bytes",
                              JINJA_OUTPUT_BYTES_MAX);
    }
    size_t capacity = w->capacity == 0 ? 64 : w->capacity * 2;
    if (capacity < w->len + extra) {
        capacity = w->len + extra;
    }
    void *data;
    JINJA_TRY(jinja_run_alloc(w->run, capacity, 1, &data));
    if (w->len > 0) {
        memcpy(data, w->data, w->len);
    }
    w->data = data;
    w->capacity = capacity;
    return WEFT_OK;
}

weft_status jinja_write(jinja_writer *w, str s) {
    if (s.len == 0) {
        return WEFT_OK;
    }
    if (s.len > w->capacity - w->len) {
        JINJA_TRY(writer_reserve(w, s.len));
    }
    memcpy(w->data + w->len, s.data, s.len);
    w->len += s.len;
    return WEFT_OK;
}

weft_status jinja_write_char(jinja_writer *w, char c) { return jinja_write(w, str_from(&c, 1)); }

weft_status jinja_write_cp(jinja_writer *w, uint32_t cp) {
    char bytes[4];
    return jinja_write(w, str_from(bytes, utf8_encode(bytes, cp)));
}

weft_status jinja_write_repeat(jinja_writer *w, str s, int64_t times) {
    if (times <= 0 || s.len == 0) {
        return WEFT_OK;
    }
    if ((uint64_t)times > JINJA_OUTPUT_BYTES_MAX / s.len) {
        return jinja_run_fail(w->run, WEFT_LIMIT, "a text grows beyond %u bytes",
                              JINJA_OUTPUT_BYTES_MAX);
    }
    JINJA_TRY(jinja_run_step(w->run, (uint64_t)times / 8));
    for (int64_t i = 0; i < times; i++) {
        JINJA_TRY(jinja_write(w, s));
    }
    return WEFT_OK;
}

jinja_value jinja_writer_value(const jinja_writer *w) {
    return jinja_string(str_from(w->data != NULL ? w->data : "", w->len));
}

weft_status jinja_list_init(jinja_run *run, jinja_list *list, size_t capacity) {
    *list = (jinja_list){0};
    if (capacity == 0) {
        return WEFT_OK;
    }
    void *items;
    JINJA_TRY(jinja_run_alloc(run, capacity, sizeof(jinja_value), &items));
    list->items = items;
    list->capacity = (uint32_t)capacity;
    return WEFT_OK;
}

weft_status jinja_list_push(jinja_run *run, jinja_list *list, jinja_value v) {
    if (list->count == list->capacity) {
        const uint32_t capacity = list->capacity == 0 ? 8 : list->capacity * 2;
        void *items;
        JINJA_TRY(jinja_run_alloc(run, capacity, sizeof(jinja_value), &items));
        if (list->count > 0) {
            memcpy(items, list->items, list->count * sizeof(jinja_value));
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = v;
    return WEFT_OK;
}

weft_status jinja_list_value(jinja_run *run, jinja_kind kind, const jinja_list *list,
                             jinja_value *out) {
    void *copy;
    JINJA_TRY(jinja_run_alloc(run, 1, sizeof(jinja_list), &copy));
    jinja_list *made = copy;
    *made = *list;
    *out = (jinja_value){.kind = (uint8_t)kind, .as.list = made};
    return WEFT_OK;
}

weft_status jinja_iter_value(jinja_run *run, const char *type_name, const jinja_list *items,
                             jinja_value *out) {
    void *made;
    JINJA_TRY(jinja_run_alloc(run, 1, sizeof(jinja_iter), &made));
    jinja_iter *iter = made;
    *iter = (jinja_iter){.items = items->items, .count = items->count, .type_name = type_name};
    *out = (jinja_value){.kind = JINJA_ITER, .as.iter = iter};
    return WEFT_OK;
}

static weft_status dict_grow(jinja_run *run, jinja_dict *d, uint32_t capacity) {
    void *entries;
    JINJA_TRY(jinja_run_alloc(run, capacity, sizeof(jinja_entry), &entries));
    if (d->count > 0) {
        memcpy(entries, d->entries, d->count * sizeof(jinja_entry));
    }
    d->entries = entries;
    d->capacity = capacity;
    d->index = NULL;
    if (capacity <= JINJA_DICT_LINEAR_MAX) {
        return WEFT_OK;
    }
    uint32_t index_len = 32;
    while (index_len < capacity * 2) {
        index_len *= 2;
    }
    void *index;
    JINJA_TRY(jinja_run_alloc(run, index_len, sizeof(uint32_t), &index));
    d->index = index;
    d->index_len = index_len;
    for (uint32_t i = 0; i < d->count; i++) {
        jinja_dict_index_add(d, i);
    }
    return WEFT_OK;
}

weft_status jinja_dict_create(jinja_run *run, size_t capacity, jinja_dict **out) {
    void *made;
    JINJA_TRY(jinja_run_alloc(run, 1, sizeof(jinja_dict), &made));
    *out = made;
    return capacity > 0 ? dict_grow(run, *out, (uint32_t)capacity) : WEFT_OK;
}

weft_status jinja_dict_set(jinja_run *run, jinja_dict *d, jinja_value key, jinja_value value) {
    if (!jinja_is_hashable(key)) {
        return jinja_run_fail(run, WEFT_INVALID, "unhashable type: '%s'", jinja_type_name(key));
    }
    const jinja_value *known = jinja_dict_find_key(d, key);
    if (known != NULL) {
        d->entries[(const jinja_entry *)(const void *)((const char *)known -
                                                       offsetof(jinja_entry, value)) -
                   d->entries]
            .value = value;
        return WEFT_OK;
    }
    if (d->count == d->capacity) {
        JINJA_TRY(dict_grow(run, d, d->capacity == 0 ? 4 : d->capacity * 2));
    }
    d->entries[d->count++] = (jinja_entry){.key = key, .value = value};
    if (d->index != NULL) {
        jinja_dict_index_add(d, d->count - 1);
    }
    return WEFT_OK;
}

jinja_value jinja_dict_value(jinja_dict *d) {
    return (jinja_value){.kind = JINJA_DICT, .as.dict = d};
}

static weft_status iterate_string(jinja_run *run, str s, jinja_list *out) {
    JINJA_TRY(jinja_list_init(run, out, jinja_str_chars(s)));
    for (size_t at = 0; at < s.len;) {
        size_t n;
        jinja_cp_at(s, at, &n);
        JINJA_TRY(jinja_list_push(run, out, jinja_string(str_from(s.data + at, n))));
        at += n;
    }
    return WEFT_OK;
}

static weft_status iterate_dict(jinja_run *run, const jinja_dict *d, jinja_view_kind kind,
                                jinja_list *out) {
    JINJA_TRY(jinja_list_init(run, out, d->count));
    for (uint32_t i = 0; i < d->count; i++) {
        const jinja_entry *e = &d->entries[i];
        jinja_value item = kind == JINJA_VIEW_KEYS ? e->key : e->value;
        if (kind == JINJA_VIEW_ITEMS) {
            jinja_list pair;
            JINJA_TRY(jinja_list_init(run, &pair, 2));
            JINJA_TRY(jinja_list_push(run, &pair, e->key));
            JINJA_TRY(jinja_list_push(run, &pair, e->value));
            JINJA_TRY(jinja_list_value(run, JINJA_TUPLE, &pair, &item));
        }
        JINJA_TRY(jinja_list_push(run, out, item));
    }
    return WEFT_OK;
}

static weft_status iterate_loop(jinja_run *run, jinja_loop *loop, jinja_list *out) {
    JINJA_TRY(jinja_list_init(run, out, 0));
    for (;;) {
        jinja_value item;
        bool has;
        JINJA_TRY(jinja_loop_pull(run, loop, &item, &has));
        if (!has) {
            return WEFT_OK;
        }
        JINJA_TRY(jinja_list_push(run, out, item));
    }
}

weft_status jinja_iterate(jinja_run *run, jinja_value v, jinja_list *out) {
    *out = (jinja_list){0};
    switch ((jinja_kind)v.kind) {
    case JINJA_UNDEFINED: return WEFT_OK;
    case JINJA_LIST:
    case JINJA_TUPLE:
        *out = *v.as.list;
        out->capacity = out->count; /* a push must not touch what is only borrowed */
        break;
    case JINJA_STRING: JINJA_TRY(iterate_string(run, jinja_text(v), out)); break;
    case JINJA_DICT: JINJA_TRY(iterate_dict(run, v.as.dict, JINJA_VIEW_KEYS, out)); break;
    case JINJA_VIEW: JINJA_TRY(iterate_dict(run, v.as.view->dict, v.as.view->kind, out)); break;
    case JINJA_RANGE:
        JINJA_TRY(jinja_list_init(run, out, (size_t)v.as.range->count));
        for (int64_t i = 0; i < v.as.range->count; i++) {
            JINJA_TRY(jinja_list_push(run, out, jinja_int(jinja_range_item(v.as.range, i))));
        }
        break;
    case JINJA_ITER:
        out->items = v.as.iter->count > 0 ? v.as.iter->items + v.as.iter->next : NULL;
        out->count = out->capacity = v.as.iter->count - v.as.iter->next;
        v.as.iter->next = v.as.iter->count;
        break;
    case JINJA_LOOP: JINJA_TRY(iterate_loop(run, v.as.loop, out)); break;
    case JINJA_MISSING:
    case JINJA_NONE:
    case JINJA_BOOL:
    case JINJA_INT:
    case JINJA_FLOAT:
    case JINJA_NAMESPACE:
    case JINJA_MACRO:
    case JINJA_BUILTIN:
    case JINJA_CYCLER:
    case JINJA_JOINER:
        return jinja_run_fail(run, WEFT_INVALID, "'%s' object is not iterable", jinja_type_name(v));
    }
    return jinja_run_step(run, out->count);
}

weft_status jinja_next_item(jinja_run *run, jinja_value v, jinja_value *out, bool *is_end) {
    if (v.kind == JINJA_ITER) {
        *is_end = v.as.iter->next == v.as.iter->count;
        if (!*is_end) {
            *out = v.as.iter->items[v.as.iter->next++];
        }
        return WEFT_OK;
    }
    if (v.kind == JINJA_LOOP) {
        bool has;
        JINJA_TRY(jinja_loop_pull(run, v.as.loop, out, &has));
        *is_end = !has;
        return WEFT_OK;
    }
    jinja_list items;
    JINJA_TRY(jinja_iterate(run, v, &items));
    *is_end = items.count == 0;
    if (!*is_end) {
        *out = items.items[0];
    }
    return WEFT_OK;
}
