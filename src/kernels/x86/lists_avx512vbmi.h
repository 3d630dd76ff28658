/* lists_avx512vbmi.h - 64 bytes looked up at once in lists of 128 to 2,048, aligned to 64: vpermi2b
 * reads two registers of a list, and bits above the seven that it looks at choose among results.
 */
#ifndef WEFT_KERNELS_X86_LISTS_AVX512VBMI_H
#define WEFT_KERNELS_X86_LISTS_AVX512VBMI_H

#include <immintrin.h>
#include <stdint.h>

#include "kernels/x86/rows_avx512.h"

/* Of 64 look-ups: the lower seven bits of bytes, and the bits above these. */
typedef struct list_index {
    __m512i bytes;
    __mmask64 bit7, bit8, bit9, bit10;
} list_index;

VNNI_INLINE list_index list_index_of(__m512i bytes) {
    return (list_index){.bytes = bytes, .bit7 = _mm512_movepi8_mask(bytes)};
}

VNNI_INLINE __m512i list_chosen(__m512i low, __m512i high, __mmask64 bit) {
    return _mm512_mask_mov_epi8(low, bit, high);
}

VNNI_INLINE __m512i list_of_128(const uint8_t *list, const list_index *i) {
    return _mm512_permutex2var_epi8(_mm512_load_si512(list), i->bytes,
                                    _mm512_load_si512(list + 64));
}

VNNI_INLINE __m512i list_of_256(const uint8_t *list, const list_index *i) {
    return list_chosen(list_of_128(list, i), list_of_128(list + 128, i), i->bit7);
}

VNNI_INLINE __m512i list_of_512(const uint8_t *list, const list_index *i) {
    return list_chosen(list_of_256(list, i), list_of_256(list + 256, i), i->bit8);
}

VNNI_INLINE __m512i list_of_1024(const uint8_t *list, const list_index *i) {
    return list_chosen(list_of_512(list, i), list_of_512(list + 512, i), i->bit9);
}

VNNI_INLINE __m512i list_of_2048(const uint8_t *list, const list_index *i) {
    return list_chosen(list_of_1024(list, i), list_of_1024(list + 1024, i), i->bit10);
}

#endif /* WEFT_KERNELS_X86_LISTS_AVX512VBMI_H */
