/* gguf_image.c - three growing buffers (metadata, tensor infos, tensor data) and a header.
 *
 * The parts of a GGUF file are kept apart while they grow, because the tensor data can be placed
 * only behind the last info. gguf_image_finish() puts them together and pads. Written by hand from
 * the format's description, byte by byte and without any code of the parser, so that the two check
 * each other.
 */
#include "gguf_image.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/os.h"

#define IMAGE_BYTES_MAX ((size_t)256 << 20)

static void put(buf *b, const void *data, size_t n) {
    const bool is_ok = buf_append(b, data, n);
    WEFT_ASSERT(is_ok);
}

/* The low n bytes of v, lowest first. */
static void put_int(buf *b, uint64_t v, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const uint8_t byte = (uint8_t)(v >> (8 * i));
        put(b, &byte, 1);
    }
}

static void put_str(buf *b, const char *s) {
    put_int(b, strlen(s), 8);
    put(b, s, strlen(s));
}

static void put_zeros(buf *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        put(b, "", 1);
    }
}

static void pad(buf *b, size_t alignment) {
    put_zeros(b, (alignment - b->len % alignment) % alignment);
}

static void put_f32(buf *b, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    put_int(b, bits, 4);
}

static size_t int_bytes(meta_type type) {
    switch (type) {
    case META_U8:
    case META_I8:
    case META_BOOL: return 1;
    case META_U16:
    case META_I16: return 2;
    case META_U32:
    case META_I32: return 4;
    case META_U64:
    case META_I64: return 8;
    case META_F32:
    case META_F64:
    case META_STRING:
    case META_ARRAY:
    case META_TYPE_COUNT: break;
    }
    WEFT_ASSERT(!"an integer type");
    return 0;
}

static void begin_meta(gguf_image *g, const char *key, uint32_t type) {
    put_str(&g->meta, key);
    put_int(&g->meta, type, 4);
    g->n_meta++;
}

static void begin_array(gguf_image *g, const char *key, meta_type elem_type, uint64_t count) {
    begin_meta(g, key, META_ARRAY);
    put_int(&g->meta, elem_type, 4);
    put_int(&g->meta, count, 8);
}

void gguf_image_init(gguf_image *g, uint32_t version) {
    *g = (gguf_image){.version = version, .alignment = 32};
    buf_init(&g->meta, MEM_TEST, IMAGE_BYTES_MAX);
    buf_init(&g->infos, MEM_TEST, IMAGE_BYTES_MAX);
    buf_init(&g->data, MEM_TEST, IMAGE_BYTES_MAX);
}

void gguf_image_deinit(gguf_image *g) {
    buf_deinit(&g->meta);
    buf_deinit(&g->infos);
    buf_deinit(&g->data);
}

void gguf_image_align(gguf_image *g, uint32_t alignment) {
    WEFT_ASSERT(g->infos.len == 0);
    gguf_image_int(g, "general.alignment", META_U32, alignment);
    g->alignment = alignment;
}

void gguf_image_split(gguf_image *g, uint32_t no, uint32_t count, uint32_t n_tensors) {
    gguf_image_int(g, "split.no", META_U16, no);
    gguf_image_int(g, "split.count", META_U16, count);
    gguf_image_int(g, "split.tensors.count", META_I32, n_tensors);
}

void gguf_image_int(gguf_image *g, const char *key, meta_type type, int64_t value) {
    begin_meta(g, key, type);
    put_int(&g->meta, (uint64_t)value, int_bytes(type));
}

void gguf_image_float(gguf_image *g, const char *key, meta_type type, double value) {
    begin_meta(g, key, type);
    if (type == META_F32) {
        put_f32(&g->meta, (float)value);
    } else {
        WEFT_ASSERT(type == META_F64);
        uint64_t bits;
        memcpy(&bits, &value, sizeof(bits));
        put_int(&g->meta, bits, 8);
    }
}

void gguf_image_str(gguf_image *g, const char *key, const char *value) {
    begin_meta(g, key, META_STRING);
    put_str(&g->meta, value);
}

void gguf_image_array(gguf_image *g, const char *key, meta_type elem_type, const void *elems,
                      uint64_t count) {
    const bool is_float = elem_type == META_F32 || elem_type == META_F64;
    const size_t elem_bytes = is_float ? (elem_type == META_F32 ? 4 : 8) : int_bytes(elem_type);
    begin_array(g, key, elem_type, count);
    put(&g->meta, elems, (size_t)count * elem_bytes);
}

void gguf_image_ints(gguf_image *g, const char *key, meta_type elem_type, const int64_t *values,
                     uint64_t count) {
    begin_array(g, key, elem_type, count);
    for (uint64_t i = 0; i < count; i++) {
        put_int(&g->meta, (uint64_t)values[i], int_bytes(elem_type));
    }
}

void gguf_image_floats(gguf_image *g, const char *key, const float *values, uint64_t count) {
    begin_array(g, key, META_F32, count);
    for (uint64_t i = 0; i < count; i++) {
        put_f32(&g->meta, values[i]);
    }
}

void gguf_image_strs(gguf_image *g, const char *key, const char *const *values, uint64_t count) {
    begin_array(g, key, META_STRING, count);
    for (uint64_t i = 0; i < count; i++) {
        put_str(&g->meta, values[i]);
    }
}

void gguf_image_meta_raw(gguf_image *g, const char *key, uint32_t type, const void *value,
                         size_t n_bytes) {
    begin_meta(g, key, type);
    put(&g->meta, value, n_bytes);
}

void gguf_image_tensor(gguf_image *g, const char *name, weft_dtype dtype, uint32_t n_dims,
                       const uint64_t *dims, const void *data) {
    WEFT_ASSERT(n_dims <= WEIGHTS_DIMS_MAX);
    const weft_dtype_info *info = weft_dtype_info_of(dtype);
    uint64_t reversed[WEIGHTS_DIMS_MAX];
    uint64_t n_elements = 1;
    for (uint32_t d = 0; d < n_dims; d++) {
        reversed[d] = dims[n_dims - 1 - d];
        n_elements *= dims[d];
    }
    pad(&g->data, g->alignment);
    gguf_image_info_raw(g, name, n_dims, reversed, info->gguf_id, g->data.len);
    const size_t n_bytes = (size_t)(n_elements / info->block_len * info->block_bytes);
    if (data != NULL) {
        put(&g->data, data, n_bytes);
    } else {
        put_zeros(&g->data, n_bytes);
    }
}

void gguf_image_info_raw(gguf_image *g, const char *name, uint32_t n_dims, const uint64_t *dims,
                         uint32_t type, uint64_t offset) {
    put_str(&g->infos, name);
    put_int(&g->infos, n_dims, 4);
    for (uint32_t d = 0; d < n_dims; d++) {
        put_int(&g->infos, dims[d], 8);
    }
    put_int(&g->infos, type, 4);
    put_int(&g->infos, offset, 8);
    g->n_tensors++;
}

uint8_t *gguf_image_finish(const gguf_image *g, size_t *len) {
    buf out;
    buf_init(&out, MEM_TEST, 2 * IMAGE_BYTES_MAX);
    put(&out, "GGUF", 4);
    put_int(&out, g->version, 4);
    put_int(&out, g->n_tensors, 8);
    put_int(&out, g->n_meta, 8);
    put(&out, buf_cstr(&g->meta), g->meta.len);
    put(&out, buf_cstr(&g->infos), g->infos.len);
    if (g->data.len > 0) {
        pad(&out, g->alignment);
        put(&out, buf_cstr(&g->data), g->data.len);
    }
    *len = out.len;
    char *bytes = buf_take(&out);
    WEFT_ASSERT(bytes != NULL);
    return (uint8_t *)bytes;
}

void gguf_image_write(const gguf_image *g, const char *path) {
    size_t len = 0;
    uint8_t *bytes = gguf_image_finish(g, &len);
    const weft_status status = os_write_file(path, bytes, len, NULL);
    WEFT_ASSERT(status == WEFT_OK);
    mem_free(bytes);
}
