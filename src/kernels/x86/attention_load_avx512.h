/* attention_load_avx512.h - a block's keys and values from the pages, as floats.
 *
 * For attention_avx512.c alone. Keys end up in columns, lanes being positions: rows of keys are
 * transposed as they are converted, columns are converted as they are. */
#ifndef WEFT_KERNELS_X86_ATTENTION_LOAD_AVX512_H
#define WEFT_KERNELS_X86_ATTENTION_LOAD_AVX512_H

#include "kernels/x86/attention_merge_avx512.h"
#define ATTENTION_LANES 16u
#define ATTENTION_GROUP 6u
#define ATTENTION_TILE (16u * ATTENTION_GROUP)
#define ATTENTION_ACC_FLOATS 24576u
#include "kernels/x86/attention_phases.inc"

INLINE_AVX512 float load_f16(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, sizeof(h));
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)));
}

/* The lower or upper nibbles of 16 bytes, which are codes around 8. */
INLINE_AVX512 __m128i nibble_codes(__m128i bytes, bool is_upper) {
    const __m128i codes = is_upper ? _mm_srli_epi16(bytes, 4) : bytes;
    return _mm_sub_epi8(_mm_and_si128(codes, _mm_set1_epi8(15)), _mm_set1_epi8(8));
}

INLINE_AVX512 __m512 scaled_codes(__m128i codes, __m512 scale) {
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes)), scale);
}

/* Values i..i+15 of a cache row. */
INLINE_AVX512 __m512 load_16(const uint8_t *row, size_t i, const weft_dtype dtype) {
    if (dtype == WEFT_DTYPE_F32) {
        return _mm512_loadu_ps(row + 4 * i);
    }
    if (dtype == WEFT_DTYPE_F16) { /* from memory the conversion leaves the shuffle port alone */
        return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(row + 2 * i)));
    }
    const bool is_q8_0 = dtype == WEFT_DTYPE_Q8_0; /* 34 bytes: f16 scale, 32 codes */
    const uint8_t *block = row + i / 32 * (is_q8_0 ? 34 : 18);
    const __m512 d = _mm512_set1_ps(load_f16(block));
    __m128i codes;
    if (is_q8_0) {
        codes = _mm_loadu_si128((const __m128i *)(const void *)(block + 2 + i % 32));
    } else { /* 16 bytes of codes around 8: values 0..15 in the low, 16..31 in the high halves */
        codes = _mm_loadu_si128((const __m128i *)(const void *)(block + 2));
        codes = nibble_codes(codes, i % 32 != 0);
    }
    return scaled_codes(codes, d);
}

/* The same of a row of n values, which may end among them; Q8_0 and Q4_0 rows hold whole blocks. */
INLINE_AVX512 __m512 load_last_16(const uint8_t *row, size_t i, size_t n, const weft_dtype dtype) {
    const __mmask16 mask = lanes_mask_avx512(n - i);
    if (dtype == WEFT_DTYPE_F32) {
        return _mm512_maskz_loadu_ps(mask, row + 4 * i);
    }
    if (dtype == WEFT_DTYPE_F16 && n - i < 16) {
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row + 2 * i));
    }
    return load_16(row, i, dtype);
}

/* Row j's lane i becomes row i's lane j: by ones, by pairs, then by quarters of a register. */
INLINE_AVX512 void transpose_16(__m512i r[16]) {
    __m512i a[16];
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        for (int j = 0; j < 2; j++) {
            r[i + 2 * j] = _mm512_unpacklo_epi64(a[i + j], a[i + j + 2]);
            r[i + 2 * j + 1] = _mm512_unpackhi_epi64(a[i + j], a[i + j + 2]);
        }
    }
    for (int c = 0; c < 4; c++) { /* r[4 g + c], quarter q: lane 4 q + c of rows 4 g .. 4 g + 3 */
        const __m512i even0 = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88);
        const __m512i odd0 = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xDD);
        const __m512i even1 = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
        const __m512i odd1 = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xDD);
        a[c] = _mm512_shuffle_i32x4(even0, even1, 0x88);
        a[4 + c] = _mm512_shuffle_i32x4(odd0, odd1, 0x88);
        a[8 + c] = _mm512_shuffle_i32x4(even0, even1, 0xDD);
        a[12 + c] = _mm512_shuffle_i32x4(odd0, odd1, 0xDD);
    }
    for (int i = 0; i < 16; i++) {
        r[i] = a[i];
    }
}

/* keys [n <= 16][BLOCK] <- columns i.. of a page's rows. */
INLINE_AVX512 void load_columns(float *keys, const tile *t, const uint8_t *rows, size_t i, size_t n,
                                const weft_dtype dtype) {
    __m512i r[16];
    for (size_t j = 0; j < 16; j++) {
        const uint8_t *row = rows + j * t->row_bytes;
        r[j] = _mm512_castps_si512(load_last_16(row, i, t->a->k_dim, dtype));
    }
    transpose_16(r);
    for (size_t j = 0; j < n; j++) {
        _mm512_store_si512(keys + j * BLOCK, r[j]);
    }
}

/* Pages lie anywhere, so the processor's own prefetch loses the trail at each; memory is asked for
 * one block ahead. */
INLINE_AVX512 void fetch(const uint8_t *data, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) {
        _mm_prefetch((const char *)data + i, _MM_HINT_T1);
    }
}

/* Of a page's 16 positions, for each value of a row (layout/page.h). */
INLINE_AVX512 size_t column_bytes(const weft_dtype dtype) {
    switch (dtype) {
    case WEFT_DTYPE_F32: return PAGE_TOKENS * 4;
    case WEFT_DTYPE_F16: return PAGE_TOKENS * 2;
    case WEFT_DTYPE_Q8_0: return 17;
    default: return 9;
    }
}

/* Where a page's block of 32 columns that holds column i begins: scales [16], then codes. */
INLINE_AVX512 const uint8_t *column_block(const uint8_t *page, size_t i, const weft_dtype dtype) {
    return page + i / 32 * 32 * column_bytes(dtype);
}

/* What column i's codes are times of. */
INLINE_AVX512 __m512 load_column_scale(const uint8_t *page, size_t i, const weft_dtype dtype) {
    const uint8_t *block = column_block(page, i, dtype);
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)block));
}

INLINE_AVX512 bool has_scales(const weft_dtype dtype) {
    return dtype == WEFT_DTYPE_Q8_0 || dtype == WEFT_DTYPE_Q4_0;
}

/* Column i of a page's positions; `scale` is its scale, where there are any. */
INLINE_AVX512 __m512 load_column(const uint8_t *page, size_t i, __m512 scale,
                                 const weft_dtype dtype) {
    if (dtype == WEFT_DTYPE_F32) {
        return _mm512_loadu_ps(page + 64 * i);
    }
    if (dtype == WEFT_DTYPE_F16) {
        return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(page + 32 * i)));
    }
    const uint8_t *codes_at = column_block(page, i, dtype) + 32;
    __m128i codes;
    if (dtype == WEFT_DTYPE_Q8_0) {
        codes = _mm_loadu_si128((const __m128i *)(const void *)(codes_at + 16 * (i % 32)));
    } else {
        codes = _mm_loadu_si128((const __m128i *)(const void *)(codes_at + 16 * (i % 16)));
        codes = nibble_codes(codes, i % 32 >= 16);
    }
    return scaled_codes(codes, scale);
}

/* Asks for columns i and i + 1, i being even, of the page at `ahead`. */
INLINE_AVX512 void fetch_columns(const uint8_t *ahead, size_t i, const weft_dtype dtype) {
    fetch(ahead + i * column_bytes(dtype), 2 * column_bytes(dtype));
}

/* block [k_dim][BLOCK] <- the seen pages' columns. */
INLINE_AVX512 void load_key_columns(tile *t, const weft_dtype dtype) {
    for (uint32_t page = t->lo / 16; page * 16 < t->hi; page++) {
        float *keys = t->block + page * 16;
        __m512 scale = _mm512_setzero_ps();
        for (size_t i = 0; i < t->a->k_dim; i++) {
            if (i % 2 == 0) {
                fetch_columns(t->ahead[page], i, dtype);
            }
            if (has_scales(dtype) && i % 32 == 0) {
                scale = load_column_scale(t->pages[page], i, dtype);
            }
            _mm512_store_ps(keys + i * BLOCK, load_column(t->pages[page], i, scale, dtype));
        }
    }
}

/* block [k_dim][BLOCK] <- the seen pages' keys. A page's rows are one stretch of memory, of which a
 * share is asked for at each step. */
INLINE_AVX512 void load_keys(tile *t, const weft_dtype dtype) {
    const size_t dim = t->a->k_dim;
    for (uint32_t page = t->lo / 16; page * 16 < t->hi; page++) {
        const uint8_t *rows = t->pages[page], *ahead = t->ahead[page];
        const size_t ahead_bytes = 16 * t->ahead_bytes;
        for (size_t i = 0, n, asked = 0; i < dim; i += n) {
            float *keys = t->block + i * BLOCK + page * 16;
            n = dim - i < 16 ? dim - i : 16;
            for (; asked * dim < (i + n) * ahead_bytes; asked += 64) {
                fetch(ahead + asked, 64);
            }
            if (n == 16) {
                load_columns(keys, t, rows, i, 16, dtype);
            } else {
                load_columns(keys, t, rows, i, n, dtype);
            }
        }
    }
}

/* block [BLOCK][acc_stride + PAD_FLOATS] <- values of the positions that somebody sees. */
INLINE_AVX512 void load_values(tile *t, const weft_dtype dtype) {
    const size_t dim = t->a->v_dim, stride = t->acc_stride + PAD_FLOATS;
    for (uint32_t p = t->lo; p < t->hi; p++) {
        const uint8_t *row = row_in(t->pages, p, t->row_bytes);
        float *values = t->block + p * stride;
        fetch(row_in(t->ahead, p, t->ahead_bytes), t->ahead_bytes);
        for (size_t i = 0; i < dim; i += 16) {
            _mm512_store_ps(values + i, load_last_16(row, i, dim, dtype));
        }
    }
}

#endif /* WEFT_KERNELS_X86_ATTENTION_LOAD_AVX512_H */
