/* meta.c - reads typed values out of metadata.
 *
 * A meta_value is a type, a count and a borrowed run of bytes that gguf.c has already checked
 * against the file, so nothing here can leave it. Values are converted, never reinterpreted: a
 * reader that wants an unsigned number gets one from any integer type that holds one, and false
 * from a negative number or a float.
 *
 * A bool is one byte. The format allows 0 and 1; every other byte reads as true, as a C program
 * would have it, because files with such bytes exist and nothing else can be meant.
 *
 * weights_get_* at the end are what loaders use: an absent key is not an error, a key of the wrong
 * type is one, and the message says what was found.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "weights/gguf.h"
#include "weights/le.h"
#include "weights/weights.h"

typedef struct type_info {
    const char *name;
    uint32_t n_bytes; /* 0: not a scalar of fixed size */
} type_info;

static const type_info type_infos[META_TYPE_COUNT] = {
    [META_U8] = {"u8", 1},       [META_I8] = {"i8", 1},     [META_U16] = {"u16", 2},
    [META_I16] = {"i16", 2},     [META_U32] = {"u32", 4},   [META_I32] = {"i32", 4},
    [META_F32] = {"f32", 4},     [META_BOOL] = {"bool", 1}, [META_STRING] = {"string", 0},
    [META_ARRAY] = {"array", 0}, [META_U64] = {"u64", 8},   [META_I64] = {"i64", 8},
    [META_F64] = {"f64", 8},
};

const char *meta_type_name(meta_type t) {
    WEFT_ASSERT((unsigned)t < META_TYPE_COUNT);
    return type_infos[t].name;
}

uint32_t meta_type_bytes(meta_type t) {
    WEFT_ASSERT((unsigned)t < META_TYPE_COUNT);
    return type_infos[t].n_bytes;
}

/* Element i, or NULL when there is none of fixed size. */
static const uint8_t *element(const meta_value *m, uint64_t i) {
    const uint32_t elem_bytes = meta_type_bytes(m->elem_type);
    if (elem_bytes == 0 || i >= m->count) {
        return NULL;
    }
    WEFT_DEBUG_ASSERT(m->n_bytes == m->count * elem_bytes);
    return m->data + i * elem_bytes;
}

/* The low 64 bits of an integer or bool in two's complement, and whether they are a negative
 * number. False when the element is no integer. */
static bool integer_bits(const meta_value *m, uint64_t i, uint64_t *bits, bool *is_negative) {
    const uint8_t *p = element(m, i);
    if (p == NULL) {
        return false;
    }
    int64_t value = 0;
    switch (m->elem_type) {
    case META_U8: value = p[0]; break;
    case META_I8: value = (int8_t)p[0]; break;
    case META_U16: value = le_u16(p); break;
    case META_I16: value = (int16_t)le_u16(p); break;
    case META_U32: value = le_u32(p); break;
    case META_I32: value = (int32_t)le_u32(p); break;
    case META_BOOL: value = p[0] != 0; break;
    case META_I64: value = (int64_t)le_u64(p); break;
    case META_U64:
        *bits = le_u64(p);
        *is_negative = false;
        return true;
    case META_F32:
    case META_F64:
    case META_STRING:
    case META_ARRAY:
    case META_TYPE_COUNT: return false;
    }
    *bits = (uint64_t)value;
    *is_negative = value < 0;
    return true;
}

bool meta_as_u64(const meta_value *m, uint64_t i, uint64_t *out) {
    uint64_t bits = 0;
    bool is_negative = false;
    if (!integer_bits(m, i, &bits, &is_negative) || is_negative) {
        return false;
    }
    *out = bits;
    return true;
}

bool meta_as_i64(const meta_value *m, uint64_t i, int64_t *out) {
    uint64_t bits = 0;
    bool is_negative = false;
    if (!integer_bits(m, i, &bits, &is_negative) || (!is_negative && bits > INT64_MAX)) {
        return false;
    }
    *out = (int64_t)bits;
    return true;
}

bool meta_as_f64(const meta_value *m, uint64_t i, double *out) {
    const uint8_t *p = element(m, i);
    if (p != NULL && m->elem_type == META_F32) {
        *out = (double)le_f32(p);
        return true;
    }
    if (p != NULL && m->elem_type == META_F64) {
        *out = le_f64(p);
        return true;
    }
    uint64_t bits = 0;
    bool is_negative = false;
    if (m->elem_type == META_BOOL || !integer_bits(m, i, &bits, &is_negative)) {
        return false;
    }
    *out = is_negative ? (double)(int64_t)bits : (double)bits;
    return true;
}

bool meta_as_bool(const meta_value *m, uint64_t i, bool *out) {
    const uint8_t *p = element(m, i);
    if (p == NULL || m->elem_type != META_BOOL) {
        return false;
    }
    *out = p[0] != 0;
    return true;
}

bool meta_as_str(const meta_value *m, str *out) {
    if (m->type != META_STRING) {
        return false;
    }
    *out = str_from((const char *)m->data, (size_t)m->n_bytes);
    return true;
}

bool meta_next_str(const meta_value *m, uint64_t *cursor, str *out) {
    if (m->type != META_ARRAY || m->elem_type != META_STRING || *cursor >= m->n_bytes) {
        return false;
    }
    WEFT_ASSERT(m->n_bytes - *cursor >= 8);
    const uint64_t len = le_u64(m->data + *cursor);
    *cursor += 8;
    WEFT_ASSERT(len <= m->n_bytes - *cursor);
    *out = str_from((const char *)m->data + *cursor, (size_t)len);
    *cursor += len;
    return true;
}

void meta_format(const meta_value *m, char *out, size_t out_bytes) {
    const char *type = meta_type_name(m->type);
    uint64_t u = 0;
    int64_t i = 0;
    double f = 0;
    bool b = false;
    str s = {0};
    if (m->type == META_ARRAY) {
        snprintf(out, out_bytes, "array of %" PRIu64 " %s", m->count, meta_type_name(m->elem_type));
    } else if (meta_as_str(m, &s)) {
        snprintf(out, out_bytes, "%s '" STR_FMT "%s'", type, GGUF_NAME_ARG(s),
                 s.len > 100 ? "..." : "");
    } else if (meta_as_bool(m, 0, &b)) {
        snprintf(out, out_bytes, "%s %s", type, b ? "true" : "false");
    } else if (meta_as_i64(m, 0, &i)) {
        snprintf(out, out_bytes, "%s %" PRId64, type, i);
    } else if (meta_as_u64(m, 0, &u)) {
        snprintf(out, out_bytes, "%s %" PRIu64, type, u);
    } else {
        const bool is_float = meta_as_f64(m, 0, &f);
        WEFT_ASSERT(is_float);
        snprintf(out, out_bytes, "%s %.9g", type, f);
    }
}

static weft_status wrong(const weights *w, const meta_value *m, const char *want, weft_error *err) {
    char found[160];
    meta_format(m, found, sizeof(found));
    return weft_fail(err, WEFT_FORMAT, "%s: key '" STR_FMT "' is %s; want %s", weights_path(w),
                     GGUF_NAME_ARG(m->key), found, want);
}

weft_status weights_get_u32(const weights *w, const char *key, uint32_t *out, bool *found,
                            weft_error *err) {
    const meta_value *m = weights_meta(w, key);
    *found = m != NULL;
    if (m == NULL) {
        return WEFT_OK;
    }
    uint64_t value = 0;
    if (m->type == META_ARRAY || m->type == META_BOOL || !meta_as_u64(m, 0, &value) ||
        value > UINT32_MAX) {
        return wrong(w, m, "an integer from 0 to 4294967295", err);
    }
    *out = (uint32_t)value;
    return WEFT_OK;
}

weft_status weights_get_f32(const weights *w, const char *key, float *out, bool *found,
                            weft_error *err) {
    const meta_value *m = weights_meta(w, key);
    *found = m != NULL;
    if (m == NULL) {
        return WEFT_OK;
    }
    double value = 0;
    if (m->type == META_ARRAY || !meta_as_f64(m, 0, &value) || !isfinite((float)value)) {
        return wrong(w, m, "a finite number", err);
    }
    *out = (float)value;
    return WEFT_OK;
}

weft_status weights_get_bool(const weights *w, const char *key, bool *out, bool *found,
                             weft_error *err) {
    const meta_value *m = weights_meta(w, key);
    *found = m != NULL;
    if (m == NULL || (m->type != META_ARRAY && meta_as_bool(m, 0, out))) {
        return WEFT_OK;
    }
    return wrong(w, m, "a bool", err);
}

weft_status weights_get_str(const weights *w, const char *key, str *out, bool *found,
                            weft_error *err) {
    const meta_value *m = weights_meta(w, key);
    *found = m != NULL;
    if (m == NULL || meta_as_str(m, out)) {
        return WEFT_OK;
    }
    return wrong(w, m, "a string", err);
}
