/* gguf.c - reads one GGUF image and believes nothing in it.
 *
 * The file is walked once, front to back, by a reader that cannot pass the end: every read first
 * asks need(). A count (keys, tensors, array elements) is compared with the bytes that are left
 * divided by the smallest possible item before anything is allocated for it, so that a header of
 * fifty bytes cannot ask for gigabytes. Sizes are multiplied only after a check for overflow.
 *
 * Tensor offsets count from the start of the tensor data, which is known only once the last
 * tensor info has been read. They wait in an array of their own and become pointers in
 * place_tensors().
 *
 * Each message is written here, where the fact is known: path, the thing, what was found and what
 * was wanted. The reader remembers which item it is in, so that a truncated file can say so.
 *
 * Read gguf.h first: it has the drawing of the format.
 */
#include "weights/gguf.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "weights/le.h"

#define HEADER_BYTES 24u
#define META_BYTES_MIN (8u + 1u + 4u + 1u)             /* key length, key, type, value */
#define TENSOR_BYTES_MIN (8u + 1u + 4u + 8u + 4u + 8u) /* name, n_dims, a dim, type, offset */
#define VERSION_MIN 2u
#define VERSION_MAX 3u

typedef struct reader {
    const uint8_t *data;
    size_t len;
    size_t pos; /* <= len */
    const char *path;
    weft_error *err;
    const char *item; /* what is being read: "the header", "metadata entry", "tensor" */
    uint64_t index;   /* its number, from 0; UINT64_MAX: it has none */
    str item_name;    /* once known */
} reader;

static weft_status read_header(reader *r, gguf *g, uint64_t *n_tensors, uint64_t *n_meta);
static weft_status read_all_meta(reader *r, gguf *g, uint64_t n_meta);
static weft_status read_alignment(const reader *r, gguf *g);
static weft_status read_all_tensors(reader *r, gguf *g, uint64_t n_tensors);

weft_status gguf_parse(gguf *out, const uint8_t *data, size_t len, const char *name,
                       weft_error *err) {
    gguf g = {0};
    strmap_init(&g.keys, MEM_WEIGHTS);
    reader r = {.data = data, .len = len, .path = name, .err = err};
    uint64_t n_tensors = 0;
    uint64_t n_meta = 0;

    weft_status status = read_header(&r, &g, &n_tensors, &n_meta);
    if (status == WEFT_OK) {
        status = read_all_meta(&r, &g, n_meta);
    }
    if (status == WEFT_OK) {
        status = read_alignment(&r, &g);
    }
    if (status == WEFT_OK) {
        status = read_all_tensors(&r, &g, n_tensors);
    }
    if (status != WEFT_OK) {
        gguf_deinit(&g);
        return status;
    }
    *out = g;
    return WEFT_OK;
}

void gguf_deinit(gguf *g) {
    mem_free(g->tensors);
    mem_free(g->meta);
    strmap_deinit(&g->keys);
    *g = (gguf){0};
}

const meta_value *gguf_find(const gguf *g, const char *key) {
    uint32_t i = 0;
    if (!strmap_get(&g->keys, str_from_cstr(key), &i)) {
        return NULL;
    }
    WEFT_ASSERT(i < g->n_meta);
    return &g->meta[i];
}

static size_t bytes_left(const reader *r) {
    WEFT_DEBUG_ASSERT(r->pos <= r->len);
    return r->len - r->pos;
}

/* "metadata entry 3 'general.name'" */
static const char *item_text(const reader *r, char out[static 192]) {
    char number[24] = "";
    if (r->index != UINT64_MAX) {
        snprintf(number, sizeof(number), " %" PRIu64, r->index);
    }
    if (r->item_name.len > 0) {
        snprintf(out, 192, "%s%s '" STR_FMT "'", r->item, number, GGUF_NAME_ARG(r->item_name));
    } else {
        snprintf(out, 192, "%s%s", r->item, number);
    }
    return out;
}

static weft_status need(const reader *r, uint64_t n_bytes) {
    if (n_bytes <= bytes_left(r)) {
        return WEFT_OK;
    }
    char item[192];
    return weft_fail(r->err, WEFT_FORMAT,
                     "%s: truncated: %s needs %" PRIu64 " bytes at byte %zu but the file has %zu "
                     "bytes",
                     r->path, item_text(r, item), n_bytes, r->pos, r->len);
}

static weft_status read_u32(reader *r, uint32_t *out) {
    const weft_status status = need(r, 4);
    if (status == WEFT_OK) {
        *out = le_u32(r->data + r->pos);
        r->pos += 4;
    }
    return status;
}

static weft_status read_u64(reader *r, uint64_t *out) {
    const weft_status status = need(r, 8);
    if (status == WEFT_OK) {
        *out = le_u64(r->data + r->pos);
        r->pos += 8;
    }
    return status;
}

static weft_status read_str(reader *r, str *out) {
    uint64_t len = 0;
    weft_status status = read_u64(r, &len);
    if (status == WEFT_OK) {
        status = need(r, len);
    }
    if (status == WEFT_OK) {
        *out = str_from((const char *)r->data + r->pos, (size_t)len);
        r->pos += (size_t)len;
    }
    return status;
}

/* A key or a tensor name: it becomes the item's name for later messages. */
static weft_status read_name(reader *r, str *out, size_t len_max) {
    const size_t start = r->pos;
    str name = {0};
    const weft_status status = read_str(r, &name);
    if (status != WEFT_OK) {
        return status;
    }
    if (name.len == 0 || name.len > len_max) {
        return weft_fail(r->err, WEFT_FORMAT,
                         "%s: %s %" PRIu64 " at byte %zu has a name of %zu bytes; want 1 to %zu",
                         r->path, r->item, r->index, start, name.len, len_max);
    }
    r->item_name = name;
    *out = name;
    return WEFT_OK;
}

static void enter_item(reader *r, const char *item, uint64_t index) {
    r->item = item;
    r->index = index;
    r->item_name = (str){0};
}

static weft_status read_version(reader *r, gguf *g) {
    weft_status status = read_u32(r, &g->version);
    if (status != WEFT_OK) {
        return status;
    }
    if ((g->version & 0xffffu) == 0 && g->version != 0) {
        return weft_fail(r->err, WEFT_UNSUPPORTED,
                         "%s: big-endian GGUF is not supported; want a little-endian file",
                         r->path);
    }
    if (g->version == 1) {
        return weft_fail(r->err, WEFT_UNSUPPORTED,
                         "%s: GGUF version 1 is not supported; want version 2 or 3 (convert the "
                         "model again)",
                         r->path);
    }
    if (g->version < VERSION_MIN || g->version > VERSION_MAX) {
        return weft_fail(r->err, WEFT_UNSUPPORTED,
                         "%s: GGUF version %" PRIu32 " is unknown; want version 2 or 3", r->path,
                         g->version);
    }
    return WEFT_OK;
}

/* `limit` is ours; the bytes that are left set a tighter one. */
static weft_status check_count(const reader *r, uint64_t count, const char *what, uint32_t limit,
                               uint32_t item_bytes_min) {
    const uint64_t room = bytes_left(r) / item_bytes_min;
    if (count > room) {
        return weft_fail(r->err, WEFT_FORMAT,
                         "%s: the header claims %" PRIu64 " %s but the file's %zu bytes can hold "
                         "at most %" PRIu64,
                         r->path, count, what, r->len, room);
    }
    if (count > limit) {
        return weft_fail(r->err, WEFT_LIMIT,
                         "%s: the file has %" PRIu64 " %s; at most %" PRIu32 " are supported",
                         r->path, count, what, limit);
    }
    return WEFT_OK;
}

static weft_status read_header(reader *r, gguf *g, uint64_t *n_tensors, uint64_t *n_meta) {
    enter_item(r, "the header", UINT64_MAX);
    if (r->len >= 4 && memcmp(r->data, "GGUF", 4) != 0) {
        return weft_fail(r->err, WEFT_FORMAT,
                         "%s: not a GGUF file: it starts with bytes %02x %02x %02x %02x; want 47 "
                         "47 55 46 (\"GGUF\")",
                         r->path, r->data[0], r->data[1], r->data[2], r->data[3]);
    }
    weft_status status = need(r, 8);
    if (status != WEFT_OK) {
        return status;
    }
    r->pos = 4;
    status = read_version(r, g);
    if (status == WEFT_OK) {
        status = need(r, HEADER_BYTES - 8);
    }
    if (status == WEFT_OK) {
        status = read_u64(r, n_tensors);
    }
    if (status == WEFT_OK) {
        status = read_u64(r, n_meta);
    }
    if (status == WEFT_OK) {
        status = check_count(r, *n_tensors, "tensors", WEIGHTS_TENSORS_MAX, TENSOR_BYTES_MIN);
    }
    if (status == WEFT_OK) {
        status = check_count(r, *n_meta, "metadata keys", WEIGHTS_META_MAX, META_BYTES_MIN);
    }
    return status;
}

static weft_status read_type(reader *r, meta_type *out, const char *of) {
    uint32_t type = 0;
    const weft_status status = read_u32(r, &type);
    if (status != WEFT_OK) {
        return status;
    }
    if (type >= META_TYPE_COUNT) {
        return weft_fail(r->err, WEFT_FORMAT,
                         "%s: key '" STR_FMT "' has unknown %s type %" PRIu32 "; want 0 to %d",
                         r->path, GGUF_NAME_ARG(r->item_name), of, type, META_TYPE_COUNT - 1);
    }
    *out = (meta_type)type;
    return WEFT_OK;
}

/* Leaves r->pos behind the last string. */
static weft_status skip_strings(reader *r, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        str ignored;
        const weft_status status = read_str(r, &ignored);
        if (status != WEFT_OK) {
            return status;
        }
    }
    return WEFT_OK;
}

static weft_status read_array(reader *r, meta_value *m) {
    weft_status status = read_type(r, &m->elem_type, "array element");
    if (status == WEFT_OK) {
        status = read_u64(r, &m->count);
    }
    if (status != WEFT_OK) {
        return status;
    }
    if (m->elem_type == META_ARRAY) {
        return weft_fail(r->err, WEFT_UNSUPPORTED,
                         "%s: key '" STR_FMT "' is an array of arrays, which is not supported",
                         r->path, GGUF_NAME_ARG(m->key));
    }
    const uint32_t elem_bytes = m->elem_type == META_STRING ? 8 : meta_type_bytes(m->elem_type);
    const uint64_t room = bytes_left(r) / elem_bytes;
    if (m->count > room) {
        return weft_fail(r->err, WEFT_FORMAT,
                         "%s: key '" STR_FMT "' claims an array of %" PRIu64 " elements but the "
                         "file's %zu bytes can hold at most %" PRIu64,
                         r->path, GGUF_NAME_ARG(m->key), m->count, r->len, room);
    }
    if (m->count > WEIGHTS_ARRAY_MAX) {
        return weft_fail(r->err, WEFT_LIMIT,
                         "%s: key '" STR_FMT "' is an array of %" PRIu64 " elements; at most %u "
                         "are supported",
                         r->path, GGUF_NAME_ARG(m->key), m->count, WEIGHTS_ARRAY_MAX);
    }
    const size_t start = r->pos;
    m->data = r->data + start;
    if (m->elem_type == META_STRING) {
        status = skip_strings(r, m->count);
    } else {
        r->pos += (size_t)(m->count * elem_bytes);
    }
    m->n_bytes = r->pos - start;
    return status;
}

static weft_status read_value(reader *r, meta_value *m) {
    m->count = 1;
    m->elem_type = m->type;
    if (m->type == META_ARRAY) {
        return read_array(r, m);
    }
    if (m->type == META_STRING) {
        str s = {0};
        const weft_status status = read_str(r, &s);
        m->data = (const uint8_t *)s.data;
        m->n_bytes = s.len;
        return status;
    }
    m->n_bytes = meta_type_bytes(m->type);
    const weft_status status = need(r, m->n_bytes);
    if (status == WEFT_OK) {
        m->data = r->data + r->pos;
        r->pos += (size_t)m->n_bytes;
    }
    return status;
}

static weft_status read_meta(reader *r, gguf *g) {
    meta_value m = {0};
    weft_status status = read_name(r, &m.key, GGUF_KEY_BYTES_MAX);
    if (status == WEFT_OK) {
        status = read_type(r, &m.type, "value");
    }
    if (status == WEFT_OK) {
        status = read_value(r, &m);
    }
    if (status != WEFT_OK) {
        return status;
    }
    uint32_t earlier = 0;
    if (strmap_get(&g->keys, m.key, &earlier)) {
        return weft_fail(r->err, WEFT_FORMAT,
                         "%s: key '" STR_FMT "' is there twice, as entries "
                         "%" PRIu32 " and %zu",
                         r->path, GGUF_NAME_ARG(m.key), earlier, g->n_meta);
    }
    if (!strmap_put(&g->keys, m.key, (uint32_t)g->n_meta)) {
        return weft_fail(r->err, WEFT_NOMEM, "%s: out of memory for metadata", r->path);
    }
    g->meta[g->n_meta++] = m;
    return WEFT_OK;
}

static weft_status read_all_meta(reader *r, gguf *g, uint64_t n_meta) {
    WEFT_ASSERT(n_meta <= WEIGHTS_META_MAX);
    g->meta = mem_zalloc(MEM_WEIGHTS, (size_t)n_meta, sizeof(*g->meta));
    if (g->meta == NULL || !strmap_reserve(&g->keys, (uint32_t)n_meta)) {
        return weft_fail(r->err, WEFT_NOMEM, "%s: out of memory for %" PRIu64 " metadata keys",
                         r->path, n_meta);
    }
    for (uint64_t i = 0; i < n_meta; i++) {
        enter_item(r, "metadata entry", i);
        const weft_status status = read_meta(r, g);
        if (status != WEFT_OK) {
            return status;
        }
    }
    return WEFT_OK;
}

static weft_status read_alignment(const reader *r, gguf *g) {
    g->alignment = GGUF_ALIGNMENT_DEFAULT;
    const meta_value *m = gguf_find(g, "general.alignment");
    if (m == NULL) {
        return WEFT_OK;
    }
    uint64_t alignment = 0;
    if (m->type == META_ARRAY || !meta_as_u64(m, 0, &alignment) || alignment == 0 ||
        alignment % 8 != 0 || alignment > GGUF_ALIGNMENT_MAX) {
        char found[64];
        meta_format(m, found, sizeof(found));
        return weft_fail(r->err, WEFT_FORMAT,
                         "%s: key 'general.alignment' is %s; want a multiple of 8 up to %u",
                         r->path, found, GGUF_ALIGNMENT_MAX);
    }
    g->alignment = (uint32_t)alignment;
    return WEFT_OK;
}

static bool mul_overflows(uint64_t a, uint64_t b) { return b != 0 && a > UINT64_MAX / b; }

static uint64_t add_saturated(uint64_t a, uint64_t b) {
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* The file lists the fastest dimension first; weights_tensor has the slowest first. */
static weft_status read_dims(reader *r, weights_tensor *t) {
    weft_status status = read_u32(r, &t->n_dims);
    if (status != WEFT_OK) {
        return status;
    }
    if (t->n_dims < 1 || t->n_dims > WEIGHTS_DIMS_MAX) {
        return weft_fail(r->err, WEFT_FORMAT,
                         "%s: tensor '" STR_FMT "' has %" PRIu32 " dimensions; want 1 to %u",
                         r->path, GGUF_NAME_ARG(t->name), t->n_dims, WEIGHTS_DIMS_MAX);
    }
    for (uint32_t d = 0; d < WEIGHTS_DIMS_MAX; d++) {
        t->dims[d] = 1;
    }
    t->n_elements = 1;
    for (uint32_t d = t->n_dims; d-- > 0;) {
        status = read_u64(r, &t->dims[d]);
        if (status != WEFT_OK) {
            return status;
        }
        if (t->dims[d] == 0) {
            return weft_fail(r->err, WEFT_FORMAT,
                             "%s: tensor '" STR_FMT "' has a dimension of 0; want at least 1",
                             r->path, GGUF_NAME_ARG(t->name));
        }
        if (mul_overflows(t->n_elements, t->dims[d])) {
            return weft_fail(r->err, WEFT_FORMAT,
                             "%s: tensor '" STR_FMT "' has %" PRIu64 " times %" PRIu64
                             " elements; want fewer than 2^64",
                             r->path, GGUF_NAME_ARG(t->name), t->n_elements, t->dims[d]);
        }
        t->n_elements *= t->dims[d];
    }
    return WEFT_OK;
}

static weft_status read_dtype(reader *r, weights_tensor *t) {
    uint32_t id = 0;
    const weft_status status = read_u32(r, &id);
    if (status != WEFT_OK) {
        return status;
    }
    t->dtype = weft_dtype_from_gguf(id);
    if (t->dtype == WEFT_DTYPE_COUNT) {
        return weft_fail(r->err, WEFT_UNSUPPORTED,
                         "%s: tensor '" STR_FMT "' has unknown type %" PRIu32, r->path,
                         GGUF_NAME_ARG(t->name), id);
    }
    const weft_dtype_info *info = weft_dtype_info_of(t->dtype);
    const uint64_t row_len = t->dims[t->n_dims - 1];
    if (row_len % info->block_len != 0) {
        return weft_fail(r->err, WEFT_FORMAT,
                         "%s: tensor '" STR_FMT "' has rows of %" PRIu64 " elements; %s wants a "
                         "multiple of %" PRIu32,
                         r->path, GGUF_NAME_ARG(t->name), row_len, info->name, info->block_len);
    }
    const uint64_t n_blocks = t->n_elements / info->block_len;
    if (mul_overflows(n_blocks, info->block_bytes)) {
        return weft_fail(r->err, WEFT_FORMAT,
                         "%s: tensor '" STR_FMT "' has %" PRIu64 " elements of %s; want fewer "
                         "than 2^64 bytes",
                         r->path, GGUF_NAME_ARG(t->name), t->n_elements, info->name);
    }
    t->n_bytes = n_blocks * info->block_bytes;
    return WEFT_OK;
}

static weft_status read_tensor(reader *r, weights_tensor *t, uint64_t *offset) {
    weft_status status = read_name(r, &t->name, GGUF_NAME_BYTES_MAX);
    if (status == WEFT_OK) {
        status = read_dims(r, t);
    }
    if (status == WEFT_OK) {
        status = read_dtype(r, t);
    }
    if (status == WEFT_OK) {
        status = read_u64(r, offset);
    }
    return status;
}

/* Turns offsets into addresses, now that the start of the data is known. */
static weft_status place_tensors(const reader *r, gguf *g, const uint64_t *offsets) {
    const uint64_t padding = (g->alignment - r->pos % g->alignment) % g->alignment;
    g->data_offset = (uint64_t)r->pos + padding;
    const uint64_t room = g->data_offset < r->len ? r->len - g->data_offset : 0;

    for (size_t i = 0; i < g->n_tensors; i++) {
        weights_tensor *t = &g->tensors[i];
        if (offsets[i] % g->alignment != 0) {
            return weft_fail(r->err, WEFT_FORMAT,
                             "%s: tensor '" STR_FMT "' is at offset %" PRIu64 "; want a multiple "
                             "of the alignment %" PRIu32,
                             r->path, GGUF_NAME_ARG(t->name), offsets[i], g->alignment);
        }
        if (offsets[i] > room || t->n_bytes > room - offsets[i]) {
            const uint64_t end =
                add_saturated(add_saturated(g->data_offset, offsets[i]), t->n_bytes);
            return weft_fail(r->err, WEFT_FORMAT,
                             "%s: tensor '" STR_FMT "' ends at byte %" PRIu64 " but the file has "
                             "%zu bytes",
                             r->path, GGUF_NAME_ARG(t->name), end, r->len);
        }
        t->data = r->data + g->data_offset + offsets[i];
    }
    return WEFT_OK;
}

static weft_status read_all_tensors(reader *r, gguf *g, uint64_t n_tensors) {
    WEFT_ASSERT(n_tensors <= WEIGHTS_TENSORS_MAX);
    uint64_t *offsets = mem_array(MEM_WEIGHTS, (size_t)n_tensors, sizeof(*offsets));
    g->tensors = mem_zalloc(MEM_WEIGHTS, (size_t)n_tensors, sizeof(*g->tensors));
    weft_status status = WEFT_OK;
    if (offsets == NULL || g->tensors == NULL) {
        status = weft_fail(r->err, WEFT_NOMEM, "%s: out of memory for %" PRIu64 " tensors", r->path,
                           n_tensors);
    }
    for (uint64_t i = 0; i < n_tensors && status == WEFT_OK; i++) {
        enter_item(r, "tensor", i);
        status = read_tensor(r, &g->tensors[i], &offsets[i]);
    }
    if (status == WEFT_OK) {
        g->n_tensors = (size_t)n_tensors;
        status = place_tensors(r, g, offsets);
    }
    mem_free(offsets);
    return status;
}
