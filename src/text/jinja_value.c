/* jinja_value.c - questions about values that need nothing but the value.
 *
 * Types, truth, length and the lookup of dict keys. Small dicts, which messages are, are
 * searched from front to back; that beats hashing at eight entries.
 */
#include "text/jinja_value.h"

#include <math.h>

#include "base/check.h"
#include "text/jinja_unicode.h"

#define KEY_DEPTH_MAX 16

const char *jinja_type_name(jinja_value v) {
    switch ((jinja_kind)v.kind) {
    case JINJA_MISSING:
    case JINJA_UNDEFINED: return "Undefined";
    case JINJA_NONE: return "NoneType";
    case JINJA_BOOL: return "bool";
    case JINJA_INT: return "int";
    case JINJA_FLOAT: return "float";
    case JINJA_STRING: return "str";
    case JINJA_LIST: return "list";
    case JINJA_TUPLE: return "tuple";
    case JINJA_DICT: return "dict";
    case JINJA_VIEW:
        return v.as.view->kind == JINJA_VIEW_KEYS     ? "dict_keys"
               : v.as.view->kind == JINJA_VIEW_VALUES ? "dict_values"
                                                      : "dict_items";
    case JINJA_RANGE: return "range";
    case JINJA_ITER: return v.as.iter->type_name;
    case JINJA_NAMESPACE: return "Namespace";
    case JINJA_LOOP: return "LoopContext";
    case JINJA_MACRO: return "Macro";
    case JINJA_BUILTIN: return "function";
    case JINJA_CYCLER: return "Cycler";
    case JINJA_JOINER: return "Joiner";
    }
    return "object";
}

bool jinja_truth(jinja_value v) {
    switch ((jinja_kind)v.kind) {
    case JINJA_MISSING:
    case JINJA_UNDEFINED:
    case JINJA_NONE: return false;
    case JINJA_BOOL: return v.as.boolean;
    case JINJA_INT: return v.as.integer != 0;
    case JINJA_FLOAT: return v.as.real != 0.0;
    case JINJA_STRING: return v.len > 0;
    case JINJA_LIST:
    case JINJA_TUPLE: return v.as.list->count > 0;
    case JINJA_DICT: return v.as.dict->count > 0;
    case JINJA_VIEW: return v.as.view->dict->count > 0;
    case JINJA_RANGE: return v.as.range->count > 0;
    case JINJA_ITER:
    case JINJA_NAMESPACE:
    case JINJA_LOOP:
    case JINJA_MACRO:
    case JINJA_BUILTIN:
    case JINJA_CYCLER:
    case JINJA_JOINER: return true;
    }
    return true;
}

bool jinja_length(jinja_value v, int64_t *out) {
    switch ((jinja_kind)v.kind) {
    case JINJA_UNDEFINED: *out = 0; return true;
    case JINJA_STRING: *out = (int64_t)jinja_str_chars(jinja_text(v)); return true;
    case JINJA_LIST:
    case JINJA_TUPLE: *out = v.as.list->count; return true;
    case JINJA_DICT: *out = v.as.dict->count; return true;
    case JINJA_VIEW: *out = v.as.view->dict->count; return true;
    case JINJA_RANGE: *out = v.as.range->count; return true;
    default: return false;
    }
}

static bool numbers_equal(jinja_value a, jinja_value b) {
    if (a.kind == JINJA_FLOAT || b.kind == JINJA_FLOAT) {
        return jinja_as_real(a) == jinja_as_real(b);
    }
    return jinja_as_integer(a) == jinja_as_integer(b);
}

static bool key_equal(jinja_value a, jinja_value b, uint32_t depth) {
    if (jinja_is_number(a) && jinja_is_number(b)) {
        return numbers_equal(a, b);
    }
    if (a.kind != b.kind) {
        return false;
    }
    if (a.kind == JINJA_STRING) {
        return str_eq(jinja_text(a), jinja_text(b));
    }
    if (a.kind != JINJA_TUPLE) {
        return a.kind == JINJA_NONE || a.kind == JINJA_UNDEFINED || a.as.address == b.as.address;
    }
    if (a.as.list->count != b.as.list->count || depth == KEY_DEPTH_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < a.as.list->count; i++) {
        if (!key_equal(a.as.list->items[i], b.as.list->items[i], depth + 1)) {
            return false;
        }
    }
    return true;
}

bool jinja_key_equal(jinja_value a, jinja_value b) { return key_equal(a, b, 0); }

static bool is_hashable(jinja_value key, uint32_t depth) {
    if (key.kind == JINJA_LIST || key.kind == JINJA_DICT ||
        (key.kind == JINJA_VIEW && key.as.view->kind != JINJA_VIEW_VALUES)) {
        return false;
    }
    if (key.kind == JINJA_TUPLE) {
        if (depth == KEY_DEPTH_MAX) {
            return false;
        }
        for (uint32_t i = 0; i < key.as.list->count; i++) {
            if (!is_hashable(key.as.list->items[i], depth + 1)) {
                return false;
            }
        }
    }
    return true;
}

bool jinja_is_hashable(jinja_value key) { return is_hashable(key, 0); }

/* Equal keys have equal hashes: numbers hash by value, whatever their type. */
static uint64_t key_hash(jinja_value key) {
    switch ((jinja_kind)key.kind) {
    case JINJA_STRING: return str_hash(jinja_text(key));
    case JINJA_BOOL:
    case JINJA_INT:
    case JINJA_FLOAT: {
        const double d = jinja_as_real(key);
        return (uint64_t)(isfinite(d) && fabs(d) < 1e18 ? (int64_t)d : 0) * 0x9E3779B97F4A7C15u;
    }
    case JINJA_TUPLE: return 7u + key.as.list->count;
    default: return key.kind;
    }
}

const jinja_value *jinja_dict_find(const jinja_dict *d, str key) {
    if (d->index != NULL) {
        return jinja_dict_find_key(d, jinja_string(key));
    }
    for (uint32_t i = 0; i < d->count; i++) {
        const jinja_value *k = &d->entries[i].key;
        if (k->kind == JINJA_STRING && k->len == key.len &&
            (key.len == 0 || memcmp(k->as.text, key.data, key.len) == 0)) {
            return &d->entries[i].value;
        }
    }
    return NULL;
}

const jinja_value *jinja_dict_find_key(const jinja_dict *d, jinja_value key) {
    if (d->index == NULL) {
        for (uint32_t i = 0; i < d->count; i++) {
            if (jinja_key_equal(d->entries[i].key, key)) {
                return &d->entries[i].value;
            }
        }
        return NULL;
    }
    const uint32_t mask = d->index_len - 1;
    for (uint32_t at = (uint32_t)key_hash(key) & mask; d->index[at] != 0; at = (at + 1) & mask) {
        const jinja_entry *e = &d->entries[d->index[at] - 1];
        if (jinja_key_equal(e->key, key)) {
            return &e->value;
        }
    }
    return NULL;
}

void jinja_dict_index_add(jinja_dict *d, uint32_t entry) {
    const uint32_t mask = d->index_len - 1;
    uint32_t at = (uint32_t)key_hash(d->entries[entry].key) & mask;
    while (d->index[at] != 0) {
        at = (at + 1) & mask;
    }
    d->index[at] = entry + 1;
}
