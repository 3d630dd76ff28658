/* quant_blocks.h - one decoder and one encoder a format; inside the room only.
 *
 * n is a multiple of the format's block_len; src and dst need no alignment on the block side.
 */
#ifndef WEFT_TENSOR_QUANT_BLOCKS_H
#define WEFT_TENSOR_QUANT_BLOCKS_H

#include <stddef.h>

typedef void quant_decode_fn(float *dst, const void *src, size_t n);
typedef void quant_encode_fn(void *dst, const float *src, size_t n);

quant_decode_fn quant_decode_f32, quant_decode_f16, quant_decode_bf16;
quant_decode_fn quant_decode_q4_0, quant_decode_q4_1, quant_decode_q5_0, quant_decode_q5_1;
quant_decode_fn quant_decode_q8_0, quant_decode_q4_k, quant_decode_q5_k, quant_decode_q6_k;
quant_decode_fn quant_decode_q2_k, quant_decode_q3_k, quant_decode_tq1_0, quant_decode_tq2_0;
quant_decode_fn quant_decode_iq4_nl, quant_decode_iq4_xs, quant_decode_mxfp4, quant_decode_nvfp4;
quant_decode_fn quant_decode_iq2_xxs, quant_decode_iq2_xs, quant_decode_iq2_s;
quant_decode_fn quant_decode_iq3_xxs, quant_decode_iq3_s, quant_decode_iq1_s, quant_decode_iq1_m;
quant_decode_fn quant_decode_f8_e4m3;

quant_encode_fn quant_encode_f32, quant_encode_f16, quant_encode_bf16;
quant_encode_fn quant_encode_q4_0, quant_encode_q4_1, quant_encode_q5_0, quant_encode_q5_1;
quant_encode_fn quant_encode_q8_0;

#endif /* WEFT_TENSOR_QUANT_BLOCKS_H */
