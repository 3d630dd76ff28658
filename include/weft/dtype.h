/* dtype.h - number formats of tensors.
 *
 * A format stores `block_len` consecutive elements of a row in `block_bytes` bytes. The layouts are
 * GGUF's own (ggml-common.h in the public tree describes them); tensor/blocks.h restates them.
 * F8_E4M3 is not GGUF's: codes of float8_e4m3fn with a float32 scale for 128 columns of a row,
 * which is how checkpoints with a scale for 128 x 128 are held too.
 */
#ifndef WEFT_DTYPE_H
#define WEFT_DTYPE_H

#include <stddef.h>
#include <stdint.h>

#include "weft/export.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_DTYPE_NO_GGUF UINT32_MAX /* the id of formats that GGUF has none for */

/*    name     gguf id  block_len  block_bytes  text */
#define WEFT_DTYPE_LIST(X)             \
    X(F32, 0, 1, 4, "F32")             \
    X(F16, 1, 1, 2, "F16")             \
    X(Q4_0, 2, 32, 18, "Q4_0")         \
    X(Q4_1, 3, 32, 20, "Q4_1")         \
    X(Q5_0, 6, 32, 22, "Q5_0")         \
    X(Q5_1, 7, 32, 24, "Q5_1")         \
    X(Q8_0, 8, 32, 34, "Q8_0")         \
    X(Q8_1, 9, 32, 36, "Q8_1")         \
    X(Q2_K, 10, 256, 84, "Q2_K")       \
    X(Q3_K, 11, 256, 110, "Q3_K")      \
    X(Q4_K, 12, 256, 144, "Q4_K")      \
    X(Q5_K, 13, 256, 176, "Q5_K")      \
    X(Q6_K, 14, 256, 210, "Q6_K")      \
    X(Q8_K, 15, 256, 292, "Q8_K")      \
    X(IQ2_XXS, 16, 256, 66, "IQ2_XXS") \
    X(IQ2_XS, 17, 256, 74, "IQ2_XS")   \
    X(IQ3_XXS, 18, 256, 98, "IQ3_XXS") \
    X(IQ1_S, 19, 256, 50, "IQ1_S")     \
    X(IQ4_NL, 20, 32, 18, "IQ4_NL")    \
    X(IQ3_S, 21, 256, 110, "IQ3_S")    \
    X(IQ2_S, 22, 256, 82, "IQ2_S")     \
    X(IQ4_XS, 23, 256, 136, "IQ4_XS")  \
    X(I8, 24, 1, 1, "I8")              \
    X(I16, 25, 1, 2, "I16")            \
    X(I32, 26, 1, 4, "I32")            \
    X(I64, 27, 1, 8, "I64")            \
    X(F64, 28, 1, 8, "F64")            \
    X(IQ1_M, 29, 256, 56, "IQ1_M")     \
    X(BF16, 30, 1, 2, "BF16")          \
    X(TQ1_0, 34, 256, 54, "TQ1_0")     \
    X(TQ2_0, 35, 256, 66, "TQ2_0")     \
    X(MXFP4, 39, 32, 17, "MXFP4")      \
    X(NVFP4, 40, 64, 36, "NVFP4")      \
    X(F8_E4M3, WEFT_DTYPE_NO_GGUF, 128, 132, "F8_E4M3")

typedef enum weft_dtype {
#define X(name, gguf, len, bytes, text) WEFT_DTYPE_##name,
    WEFT_DTYPE_LIST(X)
#undef X
        WEFT_DTYPE_COUNT
} weft_dtype;

typedef struct weft_dtype_info {
    const char *name;
    uint32_t gguf_id;
    uint32_t block_len;
    uint32_t block_bytes;
} weft_dtype_info;

/* Static storage. dtype must be below WEFT_DTYPE_COUNT. */
WEFT_API const weft_dtype_info *weft_dtype_info_of(weft_dtype dtype);

/* WEFT_DTYPE_COUNT when unknown. Names compare without regard to case. */
WEFT_API weft_dtype weft_dtype_from_gguf(uint32_t gguf_id);
WEFT_API weft_dtype weft_dtype_from_name(const char *name);

#ifdef __cplusplus
}
#endif

#endif /* WEFT_DTYPE_H */
