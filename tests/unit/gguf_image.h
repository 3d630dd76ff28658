/* gguf_image.h - builds GGUF files in memory for tests, good ones and bad ones.
 *
 *   gguf_image g;
 *   gguf_image_init(&g, 3);
 *   gguf_image_str(&g, "general.architecture", "llama");
 *   gguf_image_int(&g, "llama.block_count", META_U32, 2);
 *   gguf_image_tensor(&g, "output.weight", WEFT_DTYPE_F32, 2, (uint64_t[]){4, 8}, NULL);
 *   size_t len;
 *   uint8_t *bytes = gguf_image_finish(&g, &len);     free with mem_free
 *   gguf_image_deinit(&g);
 *
 * Keys and tensors are written in the order of the calls. A test that wants a lie in the header
 * changes version, n_meta or n_tensors before gguf_image_finish. Running out of memory or of
 * room ends the test.
 */
#ifndef WEFT_TESTS_GGUF_IMAGE_H
#define WEFT_TESTS_GGUF_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "weft/dtype.h"
#include "weights/weights.h"

typedef struct gguf_image {
    uint32_t version;
    uint32_t alignment; /* of the tensor data */
    uint64_t n_meta;    /* as the header will say */
    uint64_t n_tensors;
    buf meta;
    buf infos;
    buf data;
} gguf_image;

void gguf_image_init(gguf_image *g, uint32_t version);
void gguf_image_deinit(gguf_image *g);

/* Writes general.alignment and obeys it. Before the first tensor. */
void gguf_image_align(gguf_image *g, uint32_t alignment);
/* The three keys of part `no` (from 0) of `count`. */
void gguf_image_split(gguf_image *g, uint32_t no, uint32_t count, uint32_t n_tensors);

/* Any integer type or bool; any float type. */
void gguf_image_int(gguf_image *g, const char *key, meta_type type, int64_t value);
void gguf_image_float(gguf_image *g, const char *key, meta_type type, double value);
void gguf_image_str(gguf_image *g, const char *key, const char *value);
/* elems are little-endian, as they lie in the file. */
void gguf_image_array(gguf_image *g, const char *key, meta_type elem_type, const void *elems,
                      uint64_t count);
void gguf_image_ints(gguf_image *g, const char *key, meta_type elem_type, const int64_t *values,
                     uint64_t count);
void gguf_image_floats(gguf_image *g, const char *key, const float *values, uint64_t count);
void gguf_image_strs(gguf_image *g, const char *key, const char *const *values, uint64_t count);
/* A key with any type number and any bytes as its value. */
void gguf_image_meta_raw(gguf_image *g, const char *key, uint32_t type, const void *value,
                         size_t n_bytes);

/* dims are slowest first, as in weights_tensor. data is the tensor's bytes, NULL for zeros. */
void gguf_image_tensor(gguf_image *g, const char *name, weft_dtype dtype, uint32_t n_dims,
                       const uint64_t *dims, const void *data);
/* Only an entry in the list, with any numbers: dims in file order (fastest first). */
void gguf_image_info_raw(gguf_image *g, const char *name, uint32_t n_dims, const uint64_t *dims,
                         uint32_t type, uint64_t offset);

/* The file image; the builder stays usable. Free with mem_free. */
uint8_t *gguf_image_finish(const gguf_image *g, size_t *len);
/* The same into a file. */
void gguf_image_write(const gguf_image *g, const char *path);

#endif /* WEFT_TESTS_GGUF_IMAGE_H */
