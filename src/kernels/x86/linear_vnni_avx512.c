/* linear_vnni_avx512.c - products of 4- to 8-bit codes, and of nibbles that stand for values of a
 * list, with 8-bit activations, by vpdpbusd.
 *
 *   for rows of x, ACT_CHUNK_ROWS at a time          their sums y stay in a 8 KB buffer
 *     for chunks of 256 columns of the panel
 *       open                                         scales to float32 (vnni_avx512.h); one or two
 *                                                    rows do so block by block
 *       for tiles of up to 12 rows                   one register of sums a row, one of y
 *         for blocks of 32 columns                   8 groups, each times every row; from
 *                                                    KEEP_ROWS_MIN rows on the first tile keeps
 *                                                    codes as bytes, which the others read
 *
 * Registers of a tile of 12 x 16 outputs: 12 sums, 12 y, 1 of weights, 2 of scales, 2 spare. The 4
 * activations of a group are broadcast by the load. A block of a row is 8 products, a conversion
 * and 2 or 3 multiplications that scale it; where slabs are of 256 columns and x comes in steps
 * (layout/act.h), a subtraction and one multiplication, y standing for sums of 256 columns. Many
 * rows are bound by what of these multiplies, one row by reading the panel. Q6_K and NVFP4 scale
 * halves of a block, for which tiles of 8 are faster.
 *
 * A tile only decides which rows are computed together; bits do not depend on it (products.h).
 */
#include "kernels/products.h"
#include "kernels/x86/vnni_avx512.h"

#define KEEP_ROWS_MIN 40u /* fewer share too little */

VNNI_INLINE bool has_high_bits(vnni_kind kind) {
    return kind.codes == VNNI_CODES_5 || kind.codes == VNNI_CODES_6;
}

/* The kind for one or two rows alone. They convert scales as they come to them: to open those of
 * 256 columns first is a jump ahead, and the processor's prefetchers follow a stream that does not
 * jump. A single row of 5 or 6 bits takes more instructions for a block, and opens. is_fast is of
 * those whose lines take so few that they are shown the next page. */
VNNI_INLINE vnni_kind kind_of_few(int rows, vnni_kind kind) {
    kind.is_stream = rows == 2 || !has_high_bits(kind);
    kind.is_fast = rows == 2 ? !has_high_bits(kind) : kind.codes != VNNI_CODES_5;
    return kind;
}

VNNI_INLINE vnni_scale scale_of(vnni_kind kind, const vnni_chunk *c, size_t b) {
    return kind.is_stream ? vnni_scale_of(kind, c->slabs, b) : vnni_scale_opened(kind, c, b);
}

/* Codes of 6 bits plus 96, so that their middle is at 128: the upper two bits, plus 6, come from a
 * list of what four bits, of which they are a half, stand for. */
VNNI_INLINE __m512i six_bits(const uint8_t *at, int group) {
    const __m512i low4 = _mm512_set1_epi8(15);
    const __m128i list =
        group % 2 == 0 ? _mm_set1_epi32((int)0x90807060)
                       : _mm_setr_epi32(0x60606060, 0x70707070, (int)0x80808080, (int)0x90909090);
    const __m512i highs = vnni_load(at - 128 + 64 * (group / 4));
    const __m512i four =
        _mm512_and_si512(group % 4 < 2 ? highs : _mm512_srli_epi16(highs, 4), low4);
    const __m512i high = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(list), four);
    const __m512i lows = vnni_load(at + 64 * (group / 2));
    const __m512i low = group % 2 == 0 ? lows : _mm512_srli_epi16(lows, 4);
    return _mm512_ternarylogic_epi64(low, low4, high, 0xea); /* (a & b) | c */
}

VNNI_INLINE __m512i weights(vnni_codes codes, const uint8_t *at, int group) {
    return codes == VNNI_CODES_6 ? six_bits(at, group) : vnni_weights(codes, at, group);
}

/* What a block asks for: as much as it has, and what may be before the next one. */
VNNI_INLINE size_t fetch_bytes(vnni_kind kind) {
    return vnni_codes_before(kind, 2) - kind.block_stride;
}

/* sums += a group, `at` being where the codes of its block are, and `keep` where they are kept. */
VNNI_INLINE void add_group(int rows, vnni_kind kind, __m512i sums[VNNI_ROWS_MAX], const uint8_t *at,
                           uint8_t (*keep)[64], const vnni_rows *x, int group) {
    const __m512i w = weights(kind.codes, at, group);
    if (kind.is_kept) {
        _mm512_store_si512(keep[group], w);
    } else if (kind.codes != VNNI_CODES_EXPANDED) {
        vnni_fetch_group(kind.is_fast, at, fetch_bytes(kind), (size_t)group);
    }
    VNNI_EACH_ROW(rows, {
        sums[r] = _mm512_dpbusd_epi32(sums[r], w, vnni_broadcast32(vnni_row(x, r) + 4 * group));
    });
}

/* Where a slab begins with the scales of all blocks, these and what else is before the first codes:
 * groups ask for what follows. */
VNNI_INLINE void fetch_header(vnni_kind kind, const uint8_t *slab) {
    vnni_fetch_lines(slab, vnni_has_steps(kind) ? kind.codes_at : 0);
}

/* sums += groups 4 * half to 4 * half + 3 */
VNNI_INLINE void add_half(int rows, vnni_kind kind, __m512i sums[VNNI_ROWS_MAX], const uint8_t *at,
                          uint8_t (*keep)[64], const vnni_rows *x, int half) {
    add_group(rows, kind, sums, at, keep, x, 4 * half);
    add_group(rows, kind, sums, at, keep, x, 4 * half + 1);
    add_group(rows, kind, sums, at, keep, x, 4 * half + 2);
    add_group(rows, kind, sums, at, keep, x, 4 * half + 3);
}

VNNI_INLINE const uint8_t *codes_of(vnni_kind kind, const vnni_chunk *c, size_t b) {
    return kind.codes == VNNI_CODES_EXPANDED ? c->codes[b][0]
                                             : c->panel + vnni_codes_before(kind, b);
}

VNNI_INLINE __m512i start_of(vnni_kind kind, const act_block_q8 *x, int half) {
    return vnni_scales_halves(kind) ? vnni_start_half(kind.log2_middle, x, half)
                                    : vnni_start(kind.log2_middle, x);
}

/* v += block b. */
VNNI_INLINE void add_block(int rows, vnni_kind kind, __m512 v[VNNI_ROWS_MAX], vnni_chunk *c,
                           size_t b, const vnni_rows *x) {
    const uint8_t *at = codes_of(kind, c, b);
    __m512i sums[VNNI_ROWS_MAX];
    __m512 first[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { sums[r] = start_of(kind, vnni_block(x, r), 0); });
    add_half(rows, kind, sums, at, c->codes[b], x, 0);
    if (vnni_scales_halves(kind)) {
        const __m512 scale = scale_of(kind, c, b).half_scale[0];
        VNNI_EACH_ROW(rows, {
            first[r] = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[r]), scale);
            sums[r] = start_of(kind, vnni_block(x, r), 1);
        });
    }
    add_half(rows, kind, sums, at, c->codes[b], x, 1);
    const vnni_scale s = scale_of(kind, c, b);
    VNNI_EACH_ROW(rows, {
        const __m512 xs = _mm512_set1_ps(vnni_block(x, r)->scale);
        const __m512 dot = _mm512_cvtepi32_ps(sums[r]);
        v[r] = vnni_scales_halves(kind)
                   ? _mm512_fmadd_ps(_mm512_fmadd_ps(dot, s.half_scale[1], first[r]), xs, v[r])
                   : _mm512_fmadd_ps(dot, _mm512_mul_ps(s.scale, xs), v[r]);
    });
    if (vnni_has_mins(kind)) {
        VNNI_EACH_ROW(
            rows, { v[r] = _mm512_fmadd_ps(s.min, _mm512_set1_ps(vnni_block(x, r)->sum), v[r]); });
    }
}

/* y [rows][16] += x [rows] . chunk */
VNNI_INLINE void tile_blocks(int rows, vnni_kind kind, float *y, vnni_chunk *c, const uint8_t *from,
                             size_t x_stride, vnni_ahead *ahead) {
    vnni_rows x = vnni_rows_of(from, x_stride);
    __m512 v[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { v[r] = _mm512_load_ps(y + 16 * r); });
    for (size_t b = 0; b < c->n_blocks; b++) {
        vnni_ahead_step(ahead);
        add_block(rows, kind, v, c, b, &x);
        vnni_rows_step(&x, sizeof(act_block_q8));
    }
    VNNI_EACH_ROW(rows, { _mm512_store_ps(y + 16 * r, v[r]); });
}

/* v += half 0, 1 or all of block b times its whole scale, which is looked at after the codes: a
 * single row then reads on as prefetchers expect. */
VNNI_INLINE void add_part(int rows, vnni_kind kind, __m512 v[VNNI_ROWS_MAX], vnni_chunk *c,
                          size_t b, int half, const uint8_t *at, const vnni_rows *x) {
    const bool has_middle = !vnni_has_mins6(kind);
    __m512i sums[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { sums[r] = vnni_step_start(has_middle, vnni_step(x, r), half); });
    if (half != 1) {
        add_half(rows, kind, sums, at, c->codes[b], x, 0);
    }
    if (half != 0) {
        add_half(rows, kind, sums, at, c->codes[b], x, 1);
    }
    const vnni_scale s = scale_of(kind, c, b);
    const __m512 scale = half == ACT_STEP_ALL ? s.scale : s.half_scale[half];
    VNNI_EACH_ROW(rows, {
        v[r] = _mm512_fmadd_ps(vnni_step_sum(has_middle, sums[r], vnni_step(x, r)), scale, v[r]);
    });
}

/* least += minimums of block b, or of blocks b and b + 1, in the words of lanes, times x's sums. Of
 * block b alone the second word is 0, and meets the next sum, or what follows the last. */
VNNI_INLINE void add_mins(int rows, __m512i least[VNNI_ROWS_MAX], __m512i mins, size_t b,
                          const vnni_rows *x) {
    VNNI_EACH_ROW(rows, {
        const __m512i sums = vnni_broadcast32(&vnni_block_steps(x, r)->sums32[b]);
        least[r] = _mm512_dpwssd_epi32(least[r], mins, sums);
    });
}

/* As tile_blocks, where x comes in steps. */
VNNI_INLINE void tile_steps(int rows, vnni_kind kind, float *y, vnni_chunk *c, const uint8_t *from,
                            size_t x_stride, vnni_ahead *ahead) {
    const bool has_mins = vnni_has_mins6(kind);
    const vnni_rows blocks = vnni_rows_of(from, x_stride);
    vnni_rows x = blocks;
    __m512 v[VNNI_ROWS_MAX];
    __m512i least[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, {
        v[r] = _mm512_setzero_ps();
        least[r] = _mm512_setzero_si512();
    });
    for (size_t b = 0; b < VNNI_BLOCKS; b++) {
        vnni_ahead_step(ahead);
        const uint8_t *at = codes_of(kind, c, b);
        if (vnni_scales_halves(kind)) {
            add_part(rows, kind, v, c, b, 0, at, &x);
            add_part(rows, kind, v, c, b, 1, at, &x);
        } else {
            add_part(rows, kind, v, c, b, ACT_STEP_ALL, at, &x);
        }
        if (has_mins && kind.is_stream) { /* one by one, as scales are */
            add_mins(rows, least, vnni_min6(c->slabs, b), b, &blocks);
        }
        vnni_rows_step(&x, sizeof(act_step));
    }
    for (size_t b = 0; has_mins && !kind.is_stream && b < VNNI_BLOCKS; b += 2) {
        add_mins(rows, least, _mm512_load_si512(c->mins6[b / 2]), b, &blocks);
    }
    const __m512 d = _mm512_load_ps(c->d), dmin = _mm512_load_ps(c->dmin);
    VNNI_EACH_ROW(rows, {
        float *to = y + 16 * r;
        const act_block_steps *block = vnni_block_steps(&blocks, r);
        const __m512 before = _mm512_load_ps(to);
        _mm512_store_ps(to, has_mins ? vnni_add_steps_least(before, v[r], d, least[r], dmin, block)
                                     : vnni_add_steps(before, v[r], d, block));
    });
}

VNNI_INLINE void tile(int rows, vnni_kind kind, float *y, vnni_chunk *c, const uint8_t *from,
                      size_t x_stride, vnni_ahead *ahead) {
    if (vnni_has_steps(kind)) {
        tile_steps(rows, kind, y, c, from, x_stride, ahead);
    } else {
        tile_blocks(rows, kind, y, c, from, x_stride, ahead);
    }
}

/* Three rows or more. */
VNNI_INLINE void tiles(vnni_kind kind, float *y, vnni_chunk *c, const uint8_t *x, size_t x_stride,
                       size_t m) {
    const size_t most = vnni_scales_halves(kind) ? 8 : 12;
    vnni_open(kind, c);
    if (m < KEEP_ROWS_MIN) {
        fetch_header(kind, c->slabs);
        VNNI_EACH_TILE(3, most, m, y, x, x_stride, tile(rows, kind, y, c, x, x_stride, NULL));
        return;
    }
    vnni_kind keeping = kind, expanded = kind;
    keeping.is_kept = true;
    expanded.codes = VNNI_CODES_EXPANDED;
    vnni_ahead ahead =
        vnni_ahead_of(c->slabs, kind.chunk_bytes, (m + most - 1) / most * c->n_blocks);
    tile((int)most, keeping, y, c, x, x_stride, &ahead);
    y += most * PACK_PANEL_ROWS;
    x += most * x_stride;
    m -= most;
    VNNI_EACH_TILE(4, most, m, y, x, x_stride, tile(rows, expanded, y, c, x, x_stride, &ahead));
}

/* One or two rows alone. */
VNNI_INLINE void few(int rows, vnni_kind kind, float *y, vnni_chunk *c, const uint8_t *x,
                     size_t x_stride) {
    const vnni_kind of_few = kind_of_few(rows, kind);
    if (!of_few.is_stream) {
        vnni_open(kind, c);
    }
    fetch_header(kind, c->slabs);
    tile(rows, of_few, y, c, x, x_stride, NULL);
}

/* A function for each kind: gcc would keep pointers to all rows of x over all chunks, and spill
 * them. */
typedef void tiles_fn(float *y, vnni_chunk *c, const uint8_t *x, size_t x_stride, size_t m);

VNNI_INLINE void run(vnni_kind kind, tiles_fn *tiles_of, float *y, size_t y_stride,
                     const uint8_t *panel, const uint8_t *x, size_t x_stride, size_t m, size_t n,
                     size_t k) {
    WEFT_ALIGNED(64) float sums[ACT_CHUNK_ROWS * PACK_PANEL_ROWS];
    vnni_chunk c;
    for (size_t from = 0; from < m; from += ACT_CHUNK_ROWS) {
        const size_t rows = m - from < ACT_CHUNK_ROWS ? m - from : ACT_CHUNK_ROWS;
        const uint8_t *slabs = panel;
        const uint8_t *x_chunk = x + from * x_stride;
        vnni_begin_outputs(sums, y + from * y_stride, y_stride, rows);
        for (size_t col = 0; col < k; col += VNNI_COLS) {
            vnni_chunk_at(kind, &c, slabs, k - col < VNNI_COLS ? k - col : VNNI_COLS);
            if (rows == 1) {
                few(1, kind, sums, &c, x_chunk, x_stride);
            } else if (rows == 2) {
                few(2, kind, sums, &c, x_chunk, x_stride);
            } else {
                tiles_of(sums, &c, x_chunk, x_stride, rows);
            }
            slabs += kind.chunk_bytes;
            x_chunk += VNNI_X_BYTES;
        }
        vnni_store_outputs(y + from * y_stride, y_stride, sums, rows, n);
    }
}

#define X(NAME, name)                                                                            \
    static WEFT_NOINLINE void tiles_##name(float *y, vnni_chunk *c, const uint8_t *x,            \
                                           size_t x_stride, size_t m) {                          \
        tiles(vnni_##name, y, c, x, x_stride, m);                                                \
    }                                                                                            \
    void linear_##name##_avx512vnni(float *y, size_t y_stride, const void *panel, const void *x, \
                                    size_t x_stride_bytes, size_t m, size_t n, size_t k) {       \
        run(vnni_##name, tiles_##name, y, y_stride, panel, x, x_stride_bytes, m, n, k);          \
    }
PRODUCTS_BYTES_LIST(X)
PACK_LISTED_LIST(X)
X(NVFP4, nvfp4)
#undef X
