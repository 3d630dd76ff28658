/* kernels_amx.h - functions by AMX with bf16 that are not products.
 *
 * Contracts are in kernels.h. Callable only where CPU_AVX512 and CPU_AMXBF16 are set.
 */
#ifndef WEFT_KERNELS_X86_KERNELS_AMX_H
#define WEFT_KERNELS_X86_KERNELS_AMX_H

#include "kernels/kernels.h"

attention_fn attention_f16_amx;

#endif /* WEFT_KERNELS_X86_KERNELS_AMX_H */
