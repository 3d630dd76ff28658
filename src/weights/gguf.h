/* gguf.h - one GGUF file image as metadata and tensors.
 *
 *  byte 0                                                                        end of file
 *  ┌────────┬─────────┬───────────┬────────┬──────────┬──────────────┬─ ─ ─┬─────────────────┐
 *  │ "GGUF" │ version │ n_tensors │ n_meta │ metadata │ tensor infos │ pad │ tensor data ... │
 *  │        │ u32 2,3 │ u64       │ u64    │ × n_meta │ × n_tensors  │     │                 │
 *  └────────┴─────────┴───────────┴────────┴──────────┴──────────────┴─ ─ ─┴─────────────────┘
 *                                                                          ▲ data_offset, a
 *  string        u64 length, bytes (no NUL)                                  multiple of alignment
 *  metadata      string key, u32 type, value
 *  array value   u32 element type, u64 count, elements
 *  tensor info   string name, u32 n_dims, u64 dims[n_dims] (fastest first), u32 type,
 *                u64 offset from data_offset (a multiple of alignment)
 *
 * Numbers are little-endian and nothing is aligned before the tensor data. `alignment` is the
 * metadata key general.alignment, 32 without it.
 *
 * The parser never allocates for a count that the bytes left in the file could not hold.
 *
 * Threads: none; a parsed gguf is read-only.
 */
#ifndef WEFT_WEIGHTS_GGUF_H
#define WEFT_WEIGHTS_GGUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/strmap.h"
#include "weights/weights.h"

#define GGUF_KEY_BYTES_MAX 65535u
#define GGUF_NAME_BYTES_MAX 1024u /* of a tensor */
#define GGUF_ALIGNMENT_DEFAULT 32u
#define GGUF_ALIGNMENT_MAX 65536u

typedef struct gguf {
    uint32_t version;
    uint32_t alignment;
    uint64_t data_offset; /* where tensor data begins; may be the end of the file, or the padded
                             place behind it when there are no tensors */
    meta_value *meta;
    size_t n_meta;
    strmap keys;             /* key -> index in meta */
    weights_tensor *tensors; /* part is 0 */
    size_t n_tensors;
} gguf;

/* Parses the image data[0..len), which must outlive *out. `name` is for messages. Duplicate keys
 * are refused here; duplicate tensor names by weights_open, which sees all parts of a split. */
weft_status gguf_parse(gguf *out, const uint8_t *data, size_t len, const char *name,
                       weft_error *err) WEFT_NODISCARD;
void gguf_deinit(gguf *g); /* accepts a zeroed gguf */

const meta_value *gguf_find(const gguf *g, const char *key); /* NULL when absent */

/* Bytes of a scalar; 0 for strings and arrays. */
uint32_t meta_type_bytes(meta_type t);

/* A name out of a hostile file as a printf argument of STR_FMT: at most 100 bytes of it. */
#define GGUF_NAME_ARG(s) (int)((s).len > 100 ? 100 : (s).len), ((s).data != NULL ? (s).data : "")

#endif /* WEFT_WEIGHTS_GGUF_H */
