/* long_pass_amx.h - one tile of rows times 256 columns of one panel, for long_amx.h.
 *
 * Four tiles hold the rows' 256 columns for both panels, two hold sums: of the two planes, or of
 * this pass and the one before. Sums are ready long after they were asked for: they leave their
 * tile when that is needed again. While tiles multiply, the rest of the processor scales sums that
 * have left, makes the planes that come next and asks for lines, some with each of the steps that a
 * pass has: 64 columns times a plane.
 */
#ifndef WEFT_KERNELS_X86_LONG_PASS_AMX_H
#define WEFT_KERNELS_X86_LONG_PASS_AMX_H

#include "kernels/x86/amx.h"
#include "kernels/x86/long_avx512.h"
#include "layout/pack.h"

#define LONG_PANELS 2u     /* that share tiles of x */
#define LONG_ROWS_MAX 192u /* that share planes; more, and their sums leave the first-level cache */

typedef int32_t long_sums[AMX_ROWS][PACK_PANEL_ROWS];

/* A tile of rows times 256 columns of a panel. Of the last tile of rows, which begins earlier than
 * the one before ends when rows are no multiple of a tile's, the first `skip` are done already. */
typedef struct long_pass {
    long_sums *sums; /* of each plane */
    const long_factors *factors;
    float *before; /* [end][16] sums of the columns before these */
    float *to;     /* and where those with these go: the same, or y */
    size_t to_stride;
    const uint8_t *x;
    size_t skip, end;
    __mmask16 has_before, outputs;
    int is_last;    /* columns */
    int is_precise; /* rows of x are pairs, the sum of two is a row of y */
} long_pass;

#define LONG_FACTORS 5 /* a pass is finished up to three passes later, the next is opened before */

typedef struct long_state {
    WEFT_ALIGNED(64) long_sums sums[2][2];
    float before[LONG_PANELS][LONG_ROWS_MAX * PACK_PANEL_ROWS];
    long_plane planes[2][2]; /* of the panel that is multiplied, and the next */
    long_factors factors[LONG_FACTORS][LONG_PANELS];
    long_pass held[2]; /* sums in tiles: of one plane, tile 6 and tile 7 */
    long_pass stored;  /* sums in memory */
} long_state;

/* What is done beside a pass's multiplications, but for the sums of an earlier one. */
typedef struct long_beside {
    long_plane *next; /* NULL, or where planes of the open chunk go */
    const void *chunk;
    const uint8_t *ahead, *ahead_end; /* lines to ask for at once, then one with each step */
} long_beside;

/* Row r of a pass whose sums are in memory. */
VNNI_INLINE void long_finish_row(long_kind kind, const long_pass *pass, long_registers f,
                                 size_t x_stride, size_t r) {
    __m512i sum = _mm512_load_si512(pass->sums[0][r]);
    if (kind.n_planes == 2) {
        const __m512i low = _mm512_load_si512(pass->sums[1][r]);
        sum = _mm512_add_epi32(_mm512_slli_epi32(sum, (unsigned)kind.log2_high), low);
    }
    const __m512 before = _mm512_maskz_load_ps(pass->has_before, pass->before + 16 * r);
    const __m512 v = long_add(kind, before, f, (const long_x *)(pass->x + r * x_stride), sum);
    if (pass->is_last && !pass->is_precise) {
        _mm512_mask_storeu_ps(pass->to + r * pass->to_stride, pass->outputs, v);
    } else if (pass->is_last && r % 2 == 1) {
        const __m512 high = _mm512_load_ps(pass->before + 16 * (r - 1));
        _mm512_mask_storeu_ps(pass->to + r / 2 * pass->to_stride, pass->outputs,
                              _mm512_add_ps(high, v));
    } else {
        _mm512_store_ps(pass->before + 16 * r, v);
    }
}

VNNI_INLINE void long_finish(long_kind kind, const long_pass *pass, size_t x_stride) {
    const long_registers f = long_registers_of(pass->factors);
    for (size_t r = pass->skip; r < pass->end; r++) {
        long_finish_row(kind, pass, f, x_stride, r);
    }
}

/* 64 columns of x times those of a plane, and while the tiles multiply a share of the rest. */
#define LONG_STEP(sums, x_tile, w_tile, w, number)                               \
    _tile_loadd(w_tile, w, 64);                                                  \
    if (kind.is_signed) {                                                        \
        _tile_dpbssd(sums, x_tile, w_tile);                                      \
    } else {                                                                     \
        _tile_dpbsud(sums, x_tile, w_tile);                                      \
    }                                                                            \
    for (size_t r = 2 * share * (number); r < 2 * share * ((number) + 1); r++) { \
        if (r >= done.skip && r < done.end) {                                    \
            long_finish_row(kind, &done, f, x_stride, r);                        \
        }                                                                        \
    }                                                                            \
    if (beside->next != NULL) {                                                  \
        for (size_t b = share * (number); b < share * ((number) + 1); b++) {     \
            kind.make(beside->next, beside->chunk, b);                           \
        }                                                                        \
    }                                                                            \
    _mm_prefetch((const char *)ahead + 64 * (number), _MM_HINT_T1);              \
    for (size_t r = 2 * share * (number); r < 2 * share * ((number) + 1); r++) { \
        _mm_prefetch((const char *)(now->to + r * now->to_stride), _MM_HINT_T0); \
    }
/* sums <- x, which is in tiles 0, 1, 4 and 5, times a plane. */
#define LONG_MULTIPLY(sums, before, plane, number) \
    _tile_stored(sums, before, 64);                \
    _tile_zero(sums);                              \
    LONG_STEP(sums, 0, 2, plane[0], number)        \
    LONG_STEP(sums, 1, 3, plane[16], (number) + 1) \
    LONG_STEP(sums, 4, 2, plane[32], (number) + 2) \
    LONG_STEP(sums, 5, 3, plane[48], (number) + 3)

/* Multiplies; a pass before leaves its tiles, and the one before that is finished. `number` counts
 * passes. */
VNNI_INLINE void long_run_pass(long_kind kind, long_state *s, const long_pass *now, size_t number,
                               long_plane planes[2], const long_beside *beside, int is_new_x,
                               size_t x_stride) {
    const size_t share = kind.n_planes == 2 ? 1 : 2; /* of the rest, with each step */
    long_pass *held = &s->held[kind.n_planes == 2 ? 0 : number % 2];
    const long_pass done = s->stored;
    const long_registers f = long_registers_of(done.factors);
    const uint8_t *ahead = beside->ahead;
    for (; ahead < beside->ahead_end; ahead += 64) {
        _mm_prefetch((const char *)ahead, _MM_HINT_T1);
    }
    if (is_new_x) {
        _tile_stream_loadd(0, now->x, x_stride);
        _tile_stream_loadd(1, now->x + 64, x_stride);
        _tile_stream_loadd(4, now->x + 128, x_stride);
        _tile_stream_loadd(5, now->x + 192, x_stride);
    }
    if (kind.n_planes == 2) {
        LONG_MULTIPLY(6, held->sums[0], planes[0], 0);
        LONG_MULTIPLY(7, held->sums[1], planes[1], 4);
    } else if (number % 2 == 0) {
        LONG_MULTIPLY(6, held->sums[0], planes[0], 0);
    } else {
        LONG_MULTIPLY(7, held->sums[0], planes[0], 0);
    }
    amx_fence();
    s->stored = *held;
    *held = *now;
}
#undef LONG_MULTIPLY
#undef LONG_STEP

/* After the last pass. */
VNNI_INLINE void long_drain(long_kind kind, long_state *s, size_t number, size_t x_stride) {
    long_finish(kind, &s->stored, x_stride);
    _tile_stored(6, s->held[0].sums[0], 64);
    _tile_stored(7, kind.n_planes == 2 ? s->held[0].sums[1] : s->held[1].sums[0], 64);
    amx_fence();
    if (kind.n_planes == 2) {
        long_finish(kind, &s->held[0], x_stride);
    } else {
        long_finish(kind, &s->held[number % 2], x_stride);
        long_finish(kind, &s->held[(number + 1) % 2], x_stride);
    }
}

#endif /* WEFT_KERNELS_X86_LONG_PASS_AMX_H */
