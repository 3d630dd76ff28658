/* rope_ref.c - rotary position embedding in plain C.
 *
 * The table is made once a row and used by all heads of all layers that share a base. The angle
 * is a float32 product, as in the implementations the models were trained with: its rounding
 * error at long positions is part of the model.
 */
#include <math.h>

#include "kernels/ref/kernels_ref.h"

void rope_table_f32_ref(float *cos_sin, const int32_t *pos, const float *inv_freq,
                        const uint8_t *axis, size_t n_freqs, float mscale) {
    for (size_t i = 0; i < n_freqs; i++) {
        const float angle = (float)pos[axis != NULL ? axis[i] : 0] * inv_freq[i];
        cos_sin[2 * i] = cosf(angle) * mscale;
        cos_sin[2 * i + 1] = sinf(angle) * mscale;
    }
}

void rope_halves_f32_ref(float *x, size_t n_heads, size_t head_stride, const float *cos_sin,
                         size_t n_freqs) {
    for (size_t h = 0; h < n_heads; h++) {
        float *lo = x + h * head_stride;
        float *hi = lo + n_freqs;
        for (size_t i = 0; i < n_freqs; i++) {
            const float c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
            const float a = lo[i], b = hi[i];
            lo[i] = a * c - b * s;
            hi[i] = b * c + a * s;
        }
    }
}

void rope_pairs_f32_ref(float *x, size_t n_heads, size_t head_stride, const float *cos_sin,
                        size_t n_freqs) {
    for (size_t h = 0; h < n_heads; h++) {
        float *head = x + h * head_stride;
        for (size_t i = 0; i < n_freqs; i++) {
            const float c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
            const float a = head[2 * i], b = head[2 * i + 1];
            head[2 * i] = a * c - b * s;
            head[2 * i + 1] = b * c + a * s;
        }
    }
}
