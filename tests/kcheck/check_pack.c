/* check_pack.c - packing loses nothing, and a row of a panel dequantises to the file's floats.
 *
 * Packing is proven against its inverse and both against quant_dequantize, which knows only the
 * file's blocks; another instruction set must in addition give the bits of plain C.
 */
#include <string.h>

#include "kcheck.h"
#include "tensor/quant.h"
#include "tensor/tensor.h"
#include "weights_make.h"

static void check_one(kcheck *kc, const kernels_cpu *k, weft_dtype dtype, weights_kind kind,
                      size_t n_rows, size_t cols) {
    const char *name = weft_dtype_info_of(dtype)->name;
    const size_t row_bytes = dtype_row_bytes(dtype, cols);
    const size_t panel_bytes = pack_panel_bytes(dtype, cols);
    const size_t stride = row_bytes + 6; /* rows need not touch */
    if (kc_func(kc, &k->pack_panel[dtype], "pack_panel_%s_k%zu_n%zu_%d", name, cols, n_rows,
                kind)) {
        uint8_t *rows = kc_scratch(kc, 16 * row_bytes);
        uint8_t *spread = kc_in(kc, (n_rows - 1) * stride + row_bytes, 1);
        uint8_t *panel = kc_out(kc, panel_bytes, PACK_ALIGN_BYTES);
        uint8_t *want = kc_scratch(kc, panel_bytes), *back = kc_scratch(kc, 16 * row_bytes);
        weights_make(kc, dtype, kind, rows, n_rows, cols);
        for (size_t r = 0; r < n_rows; r++) {
            memcpy(spread + r * stride, rows + r * row_bytes, row_bytes);
        }
        KC_CALL(kc, k->pack_panel[dtype](panel, spread, stride, n_rows, cols));
        kc_ref(kc)->pack_panel[dtype](want, spread, stride, n_rows, cols);
        kc_bits(kc, want, panel, panel_bytes);
        kc_ref(kc)->unpack_panel[dtype](back, row_bytes, panel, 16, cols);
        kc_bits(kc, rows, back, 16 * row_bytes); /* missing rows are zero */
    }
    if (kc_func(kc, &k->unpack_panel[dtype], "unpack_panel_%s_k%zu_n%zu_%d", name, cols, n_rows,
                kind)) {
        uint8_t *rows = kc_scratch(kc, 16 * row_bytes);
        uint8_t *panel = kc_in(kc, panel_bytes, PACK_ALIGN_BYTES);
        uint8_t *back = kc_out_rows(kc, n_rows, row_bytes, stride, 1);
        weights_make(kc, dtype, kind, rows, 16, cols);
        kc_ref(kc)->pack_panel[dtype](panel, rows, row_bytes, 16, cols);
        KC_CALL(kc, k->unpack_panel[dtype](back, stride, panel, n_rows, cols));
        for (size_t r = 0; r < n_rows; r++) {
            kc_bits(kc, rows + r * row_bytes, back + r * stride, row_bytes);
        }
    }
    if (kc_func(kc, &k->panel_row[dtype], "panel_row_%s_k%zu_r%zu_%d", name, cols, n_rows - 1,
                kind)) {
        uint8_t *rows = kc_scratch(kc, 16 * row_bytes);
        uint8_t *panel = kc_in(kc, panel_bytes, PACK_ALIGN_BYTES);
        float *got = kc_out(kc, cols * sizeof(float), 4);
        float *want = kc_scratch(kc, cols * sizeof(float));
        weights_make(kc, dtype, kind, rows, 16, cols);
        kc_ref(kc)->pack_panel[dtype](panel, rows, row_bytes, 16, cols);
        quant_dequantize(dtype, want, rows + (n_rows - 1) * row_bytes, cols);
        KC_CALL(kc, k->panel_row[dtype](got, panel, n_rows - 1, cols));
        kc_bits(kc, want, got, cols * sizeof(float));
    }
}

static void bench(kcheck *kc, const kernels_cpu *k, weft_dtype dtype) {
    const char *name = weft_dtype_info_of(dtype)->name;
    const size_t cols = 2048;
    const size_t row_bytes = dtype_row_bytes(dtype, cols);
    if (kc_bench_func(kc, &k->pack_panel[dtype], "pack_panel_%s", name)) {
        uint8_t *rows = kc_in(kc, 16 * row_bytes, 64);
        uint8_t *panel = kc_out(kc, pack_panel_bytes(dtype, cols), PACK_ALIGN_BYTES);
        weights_make(kc, dtype, WEIGHTS_RANDOM, rows, 16, cols);
        KC_BENCH(kc, 16 * row_bytes, "B", k->pack_panel[dtype](panel, rows, row_bytes, 16, cols));
    }
    if (kc_bench_func(kc, &k->unpack_panel[dtype], "unpack_panel_%s", name)) {
        uint8_t *rows = kc_in(kc, 16 * row_bytes, 64);
        uint8_t *panel = kc_in(kc, pack_panel_bytes(dtype, cols), PACK_ALIGN_BYTES);
        weights_make(kc, dtype, WEIGHTS_RANDOM, rows, 16, cols);
        kc_ref(kc)->pack_panel[dtype](panel, rows, row_bytes, 16, cols);
        KC_BENCH(kc, 16 * row_bytes, "B", k->unpack_panel[dtype](rows, row_bytes, panel, 16, cols));
    }
    if (kc_bench_func(kc, &k->panel_row[dtype], "panel_row_%s", name)) {
        uint8_t *rows = kc_in(kc, 16 * row_bytes, 64);
        uint8_t *panel = kc_in(kc, pack_panel_bytes(dtype, cols), PACK_ALIGN_BYTES);
        float *out = kc_out(kc, cols * sizeof(float), 4);
        weights_make(kc, dtype, WEIGHTS_RANDOM, rows, 16, cols);
        kc_ref(kc)->pack_panel[dtype](panel, rows, row_bytes, 16, cols);
        KC_BENCH(kc, row_bytes, "B", k->panel_row[dtype](out, panel, 5, cols));
    }
}

void check_pack(kcheck *kc, const kernels_cpu *k) {
    static const size_t counts[] = {1, 7, 16};
    for (size_t f = 0; f < WEIGHTS_FORMATS; f++) {
        for (int kind = 0; kind < WEIGHTS_KIND_COUNT; kind++) {
            for (size_t i = 0; i < WEIGHTS_COLS * KC_LEN(counts); i++) {
                check_one(kc, k, weights_formats[f], (weights_kind)kind, counts[i / WEIGHTS_COLS],
                          weights_cols(weights_formats[f], i % WEIGHTS_COLS));
            }
        }
        bench(kc, k, weights_formats[f]);
    }
}
