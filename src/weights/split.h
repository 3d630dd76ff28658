/* split.h - models cut into several GGUF files.
 *
 *   name-00001-of-00003.gguf   split.no 0   all metadata, some tensors (or none)
 *   name-00002-of-00003.gguf   split.no 1   split.* keys, more tensors
 *   name-00003-of-00003.gguf   split.no 2
 *
 * Any part leads to all others through its name.
 */
#ifndef WEFT_WEIGHTS_SPLIT_H
#define WEFT_WEIGHTS_SPLIT_H

#include <stdint.h>

#include "base/status.h"
#include "weights/gguf.h"

typedef struct split {
    uint32_t no;        /* from 0 */
    uint32_t count;     /* 1: the file is a whole model */
    uint64_t n_tensors; /* of all parts together; meaningful when count > 1 */
} split;

/* What the metadata of one part says about the whole. */
weft_status split_read(split *out, const gguf *g, const char *path, weft_error *err) WEFT_NODISCARD;

/* The path of part `no`, given the path of part s->no. Free with mem_free. */
weft_status split_path(char **out, const split *s, const char *path, uint32_t no,
                       weft_error *err) WEFT_NODISCARD;

#endif /* WEFT_WEIGHTS_SPLIT_H */
