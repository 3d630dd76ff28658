/* weights.h - a model file as named tensors and metadata, whatever its format.
 *
 *   path ─► weights_open ─► gguf (one file, or all parts of a split) ─► tensors + metadata
 *
 * Everything is mapped and borrowed: strings, arrays and tensor data point into the mapping and
 * live until the last weights_release. Opening checks every count, offset, name and size against
 * the file, so that nothing read through this interface can leave it.
 *
 * Threads: an open weights is read-only and may be read by many; retain and release are atomic.
 */
#ifndef WEFT_WEIGHTS_WEIGHTS_H
#define WEFT_WEIGHTS_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"
#include "weft/dtype.h"

#define WEIGHTS_TENSORS_MAX 1000000u
#define WEIGHTS_META_MAX 100000u
#define WEIGHTS_ARRAY_MAX 64000000u /* elements of one metadata array */
#define WEIGHTS_PARTS_MAX 1000u
#define WEIGHTS_DIMS_MAX 4u

typedef struct weights weights;

typedef struct weights_tensor {
    str name;
    weft_dtype dtype;
    uint32_t n_dims;
    uint64_t dims[WEIGHTS_DIMS_MAX]; /* slowest first, like a numpy shape; unused ones are 1 */
    uint64_t n_elements;
    uint64_t n_bytes;
    const uint8_t *data; /* borrowed; NULL when only the header is there */
    uint32_t part;       /* which file of a split */
} weights_tensor;

typedef enum meta_type {
    META_U8,
    META_I8,
    META_U16,
    META_I16,
    META_U32,
    META_I32,
    META_F32,
    META_BOOL,
    META_STRING,
    META_ARRAY,
    META_U64,
    META_I64,
    META_F64, /* GGUF's own numbers */
    META_TYPE_COUNT
} meta_type;

typedef struct meta_value {
    str key;
    meta_type type;
    meta_type elem_type; /* of an array; arrays of arrays are refused at open */
    uint64_t count;      /* elements of an array, else 1 */
    const uint8_t *data; /* little-endian, unaligned; of a string its bytes; arrays of strings:
                           walk with meta_next_str */
    uint64_t n_bytes;    /* of data */
} meta_value;

/* Opens a GGUF file, or all parts of a split when path is one of them
 * (name-00001-of-00003.gguf). Errors name the file, and the tensor or key. */
weft_status weights_open(weights **out, const char *path, weft_error *err) WEFT_NODISCARD;

/* Parses a file image that the caller keeps alive (tests, fuzzing). */
weft_status weights_open_memory(weights **out, const void *data, size_t len, const char *name,
                                weft_error *err) WEFT_NODISCARD;

weights *weights_retain(weights *w);
void weights_release(weights **w); /* accepts NULL; clears *w */

const char *weights_path(const weights *w);
uint32_t weights_version(const weights *w);    /* GGUF version */
uint64_t weights_file_bytes(const weights *w); /* all parts */

/* A number that changes when the file does: of every part its place on disk, size and time of last
 * change, and everything before the tensors' data. The data itself is not read. 0 for an image in
 * memory. */
uint64_t weights_identity(const weights *w);

size_t weights_tensor_count(const weights *w);
const weights_tensor *weights_tensor_at(const weights *w, size_t i);
const weights_tensor *weights_find(const weights *w, const char *name); /* NULL when absent */

/* Hints that a tensor's mapped pages are no longer wanted in memory (it has been packed), or
 * will be read soon. */
void weights_drop_pages(const weights *w, const weights_tensor *t);
void weights_drop_bytes(const weights *w, const weights_tensor *t, uint64_t from, uint64_t bytes);
void weights_want_pages(const weights *w, const weights_tensor *t);

size_t weights_meta_count(const weights *w);
const meta_value *weights_meta_at(const weights *w, size_t i);
const meta_value *weights_meta(const weights *w, const char *key); /* NULL when absent */
const char *meta_type_name(meta_type t);                           /* "u32", "string", "array" */

/* Writes "u32 4096", "string 'abc'" or "array of 3 f32"; long strings are cut. */
void meta_format(const meta_value *m, char *out, size_t out_bytes);

/* Reads a scalar of any integer (or bool) type; element i of an array, i = 0 for a scalar. False
 * when the type does not hold such a value. */
bool meta_as_u64(const meta_value *m, uint64_t i, uint64_t *out);
bool meta_as_i64(const meta_value *m, uint64_t i, int64_t *out);
bool meta_as_f64(const meta_value *m, uint64_t i, double *out); /* integers too */
bool meta_as_bool(const meta_value *m, uint64_t i, bool *out);
bool meta_as_str(const meta_value *m, str *out); /* META_STRING only */

/* Walks an array of strings in order: *cursor starts at 0. False at the end or when m is not
 * one. */
bool meta_next_str(const meta_value *m, uint64_t *cursor, str *out);

/* The common look-ups: key absent -> false, *out untouched, WEFT_OK; key present with a wrong type
 * or out of range -> WEFT_FORMAT naming key, found and wanted. */
weft_status weights_get_u32(const weights *w, const char *key, uint32_t *out, bool *found,
                            weft_error *err) WEFT_NODISCARD;
weft_status weights_get_f32(const weights *w, const char *key, float *out, bool *found,
                            weft_error *err) WEFT_NODISCARD;
weft_status weights_get_bool(const weights *w, const char *key, bool *out, bool *found,
                             weft_error *err) WEFT_NODISCARD;
weft_status weights_get_str(const weights *w, const char *key, str *out, bool *found,
                            weft_error *err) WEFT_NODISCARD;

#endif /* WEFT_WEIGHTS_WEIGHTS_H */
