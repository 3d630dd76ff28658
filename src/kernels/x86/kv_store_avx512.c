/* kv_store_avx512.c - one head's key into its column of a page (layout/page.h), with the bits that
 * a row would have. Bound by stores, which go 16 values apart.
 */
#include <immintrin.h>
#include <string.h>

#include "base/compiler.h"
#include "kernels/x86/kernels_avx2.h"
#include "kernels/x86/kernels_avx512.h"
#include "kernels/x86/vecmath_avx512.h"

static void store_blocks(uint8_t *page, size_t at, const float *src, size_t n, kv_store_fn *store,
                         size_t code_bytes);

void kv_store_column_f32_avx512(void *page, size_t at, const float *src, size_t n) {
    float *out = (float *)page + at;
    for (size_t i = 0; i < n; i++) {
        out[i * PAGE_TOKENS] = src[i];
    }
}

void kv_store_column_f16_avx512(void *page, size_t at, const float *src, size_t n) {
    uint16_t *out = (uint16_t *)page + at;
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_mask_avx512(n - i);
        WEFT_ALIGNED(32) uint16_t h[16];
        _mm256_store_si256(
            (__m256i *)(void *)h,
            _mm512_cvtps_ph(_mm512_maskz_loadu_ps(mask, src + i), _MM_FROUND_TO_NEAREST_INT));
        for (size_t j = 0; j < 16 && i + j < n; j++) {
            out[(i + j) * PAGE_TOKENS] = h[j];
        }
    }
}

void kv_store_column_q8_0_avx512(void *page, size_t at, const float *src, size_t n) {
    store_blocks(page, at, src, n, kv_store_q8_0_avx2, 32);
}

void kv_store_column_q4_0_avx512(void *page, size_t at, const float *src, size_t n) {
    store_blocks(page, at, src, n, kv_store_q4_0_avx2, 16);
}

/* Blocks of 32 values: a scale and code_bytes bytes, as `store` makes them of a row. */
static void store_blocks(uint8_t *page, size_t at, const float *src, size_t n, kv_store_fn *store,
                         size_t code_bytes) {
    uint8_t row[2 + 32];
    for (; n > 0; n -= 32, src += 32) {
        store(row, src, 32);
        memcpy(page + 2 * at, row, 2);
        page += 2 * PAGE_TOKENS;
        for (size_t i = 0; i < code_bytes; i++, page += PAGE_TOKENS) {
            page[at] = row[2 + i];
        }
    }
}
