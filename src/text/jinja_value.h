/* jinja_value.h - what a template computes with: Python's values, as far as templates see them.
 *
 * A value is 16 bytes and is passed by value. Strings are borrowed runs of UTF-8; everything a
 * value points to lives in the arena of one render (or of the compiled template, for constants)
 * and is never changed after it was made, except the state of namespaces, iterators, loops,
 * cyclers and joiners.
 *
 * Threads: the values of one render belong to its thread.
 */
#ifndef WEFT_TEXT_JINJA_VALUE_H
#define WEFT_TEXT_JINJA_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

typedef enum jinja_kind {
    JINJA_MISSING, /* an argument that was not given; a template never gets hold of it */
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_DICT,
    JINJA_VIEW, /* dict.keys(), dict.values(), dict.items() */
    JINJA_RANGE,
    JINJA_ITER, /* a generator: read once, always true, no length */
    JINJA_NAMESPACE,
    JINJA_LOOP,
    JINJA_MACRO,
    JINJA_BUILTIN, /* range, namespace, ... and methods bound to a value */
    JINJA_CYCLER,
    JINJA_JOINER,
} jinja_kind;

/* Why a value is undefined decides the message when it is used after all. */
typedef enum jinja_absence {
    JINJA_ABSENT_VARIABLE,  /* text is the variable's name */
    JINJA_ABSENT_ATTRIBUTE, /* text is the attribute's name, owner the kind of the object */
    JINJA_ABSENT_HINT,      /* text is the whole message */
    JINJA_ABSENT_UNSAFE,    /* text is the name of an attribute the sandbox refuses */
} jinja_absence;

typedef struct jinja_value {
    uint8_t kind;    /* jinja_kind */
    uint8_t absence; /* of JINJA_UNDEFINED: jinja_absence */
    uint8_t owner;   /* of JINJA_ABSENT_ATTRIBUTE: jinja_kind of the object */
    bool is_markup;  /* of strings: safe for HTML, so that + escapes what it joins to it */
    uint32_t len;    /* of strings and undefined: bytes of text */
    union {
        bool boolean;
        int64_t integer;
        double real;
        const char *text;
        struct jinja_list *list;
        struct jinja_dict *dict; /* also of a namespace */
        struct jinja_view *view;
        struct jinja_range *range;
        struct jinja_iter *iter;
        struct jinja_loop *loop;
        struct jinja_macro *macro;
        struct jinja_bound *bound;
        struct jinja_cycler *cycler;
        struct jinja_joiner *joiner;
        const void *address;
    } as;
} jinja_value;

typedef struct jinja_list { /* of lists and tuples */
    jinja_value *items;
    uint32_t count;
    uint32_t capacity;
    bool is_group; /* a tuple of groupby: has the names grouper and list */
} jinja_list;

typedef struct jinja_entry {
    jinja_value key;
    jinja_value value;
} jinja_entry;

/* Entries in order of insertion; above JINJA_DICT_LINEAR_MAX entries a hash index joins in.
 *
 *   index: [ 0 | 3 | 0 | 1 | 2 ... ]  power of two, entry number + 1, linear probing
 */
#define JINJA_DICT_LINEAR_MAX 8

typedef struct jinja_dict {
    jinja_entry *entries;
    uint32_t count;
    uint32_t capacity;
    uint32_t *index; /* NULL while the dict is small */
    uint32_t index_len;
} jinja_dict;

typedef enum jinja_view_kind {
    JINJA_VIEW_KEYS,
    JINJA_VIEW_VALUES,
    JINJA_VIEW_ITEMS
} jinja_view_kind;

typedef struct jinja_view {
    jinja_dict *dict;
    jinja_view_kind kind;
} jinja_view;

typedef struct jinja_range {
    int64_t start, stop, step;
    int64_t count;
} jinja_range;

typedef struct jinja_iter {
    jinja_value *items;
    uint32_t count;
    uint32_t next;
    const char *type_name; /* "generator", "list_reverseiterator" */
} jinja_iter;

typedef struct jinja_cycler {
    jinja_value *items;
    uint32_t count;
    uint32_t next;
} jinja_cycler;

typedef struct jinja_joiner {
    jinja_value separator;
    bool is_used;
} jinja_joiner;

typedef struct jinja_bound { /* a function, or a method together with its object */
    const struct jinja_builtin *builtin;
    jinja_value self;
} jinja_bound;

static inline jinja_value jinja_none(void) { return (jinja_value){.kind = JINJA_NONE}; }
static inline jinja_value jinja_missing(void) { return (jinja_value){.kind = JINJA_MISSING}; }
static inline jinja_value jinja_bool(bool b) {
    return (jinja_value){.kind = JINJA_BOOL, .as.boolean = b};
}
static inline jinja_value jinja_int(int64_t i) {
    return (jinja_value){.kind = JINJA_INT, .as.integer = i};
}
static inline jinja_value jinja_float(double d) {
    return (jinja_value){.kind = JINJA_FLOAT, .as.real = d};
}
/* The same text, as markup if `like` is markup: what Python's Markup does in most methods. */
static inline jinja_value jinja_markup_like(jinja_value like, jinja_value s) {
    s.is_markup = s.kind == JINJA_STRING && like.kind == JINJA_STRING && like.is_markup;
    return s;
}
/* s must outlive the value and be shorter than 4 GiB. */
static inline jinja_value jinja_string(str s) {
    return (jinja_value){.kind = JINJA_STRING, .len = (uint32_t)s.len, .as.text = s.data};
}
static inline jinja_value jinja_undefined(jinja_absence absence, str text) {
    return (jinja_value){.kind = JINJA_UNDEFINED,
                         .absence = (uint8_t)absence,
                         .len = (uint32_t)text.len,
                         .as.text = text.data};
}
/* The text of a string (or of an undefined value). */
static inline str jinja_text(jinja_value v) { return str_from(v.as.text, v.len); }

static inline bool jinja_is_list(jinja_value v) {
    return v.kind == JINJA_LIST || v.kind == JINJA_TUPLE;
}
static inline bool jinja_is_integral(jinja_value v) { /* Python's bool is an int */
    return v.kind == JINJA_INT || v.kind == JINJA_BOOL;
}
static inline bool jinja_is_number(jinja_value v) {
    return jinja_is_integral(v) || v.kind == JINJA_FLOAT;
}
static inline int64_t jinja_as_integer(jinja_value v) {
    return v.kind == JINJA_BOOL ? v.as.boolean : v.as.integer;
}
static inline double jinja_as_real(jinja_value v) {
    return v.kind == JINJA_FLOAT ? v.as.real : (double)jinja_as_integer(v);
}

/* Python's name of the type: "str", "int", "dict", "NoneType". */
const char *jinja_type_name(jinja_value v);
/* Python's truth of a value. */
bool jinja_truth(jinja_value v);
/* len(v); false when the type has none. */
bool jinja_length(jinja_value v, int64_t *out);

/* The value of a string key; NULL when absent. */
const jinja_value *jinja_dict_find(const jinja_dict *d, str key);
/* Any key. Python's equality of keys: 1, 1.0 and true are one key. Unhashable: NULL. */
const jinja_value *jinja_dict_find_key(const jinja_dict *d, jinja_value key);
/* Enters entries[entry] into the index, which exists and has a free place. */
void jinja_dict_index_add(jinja_dict *d, uint32_t entry);
/* False when the key cannot be hashed (lists, dicts, namespaces). */
bool jinja_is_hashable(jinja_value key);
/* Same key of a dict? Tuples are compared to a bounded depth. */
bool jinja_key_equal(jinja_value a, jinja_value b);

/* The item of a range; index in [0, count). */
static inline int64_t jinja_range_item(const jinja_range *r, int64_t index) {
    return r->start + index * r->step;
}

#endif /* WEFT_TEXT_JINJA_VALUE_H */
