/* opened_ref.h - what the two reference files of the opened formats share. */
#ifndef WEFT_KERNELS_REF_OPENED_REF_H
#define WEFT_KERNELS_REF_OPENED_REF_H

#include <stddef.h>
#include <stdint.h>

#include "weft/dtype.h"

/* block <- a row's block of a slab, as the file has it. */
void opened_take_block(weft_dtype dtype, void *block, const uint8_t *slab, size_t row);

#endif /* WEFT_KERNELS_REF_OPENED_REF_H */
