/* model_image.h - the header of a small model as a GGUF image, with any key changed or left out.
 *
 *   const model_edit edits[] = {{"llama.block_count", META_U32, 0, NULL}, MODEL_WITHOUT("x")};
 *   model_spec spec = model_spec_llama();
 *   spec.edits = edits;  spec.n_edits = 2;
 *   weights *w = model_image_open(&spec);      model_image_close(&w)
 *
 * Tensors are zeros: enough for geometry and plans, which read shapes alone.
 */
#ifndef WEFT_TESTS_MODEL_IMAGE_H
#define WEFT_TESTS_MODEL_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "weights/weights.h"

/* Replaces the default of that key, or adds it. Strings are in text, all else in number; an array
 * (META_ARRAY) is one of `number` zeros of type u32. */
typedef struct model_edit {
    const char *key;
    meta_type type;
    double number;
    const char *text;
} model_edit;

#define MODEL_WITHOUT(name) \
    { name, META_TYPE_COUNT, 0, NULL }

typedef struct model_spec {
    const char *arch;
    const model_edit *edits;
    size_t n_edits;
    uint32_t n_embd, n_vocab; /* of token_embd.weight; n_vocab 0 leaves it out */
    bool has_output, has_rope_freqs;
    weft_dtype dtype; /* of the matrices */
} model_spec;

/* Two layers, 64 wide, 4 heads of 16 over 2 KV heads, 512 positions, 100 tokens. */
model_spec model_spec_llama(void);
/* Seven layers, 64 wide, 4 heads of 32 over 1 KV head, window 32, 512 positions, 100 tokens. */
model_spec model_spec_gemma3(void);

/* Opens the image under the name "tiny.gguf"; fails the test when that is refused. One at a time. */
weights *model_image_open(const model_spec *spec);
void model_image_close(weights **w);

#endif /* WEFT_TESTS_MODEL_IMAGE_H */
