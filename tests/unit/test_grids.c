/* test_grids.c - codebooks as products read them, against the packed lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/grids.h"
#include "tensor/quant_grids.h"

static void bytes_of_iq1_make_its_points(void **state) {
    (void)state;
    for (size_t i = 0; i < 2048; i++) {
        const size_t sixteen = i / 16;
        const int is_last = i % 16 >= grid_highs_iq1[2][sixteen];
        const unsigned high = grid_highs_iq1[is_last][sixteen];
        assert_int_equal(grid_lows_iq1[i] | high << 8, quant_grid_iq1[i]);
    }
}

/* n points of two bytes. */
static void expect_halves(const uint16_t *points, const uint8_t *lows, const uint8_t *highs,
                          size_t n) {
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(lows[i] | highs[i] << 8, points[i]);
    }
}

static void halves_make_points(void **state) {
    (void)state;
    expect_halves(quant_grid_iq2_xxs, grid_halves_iq2_xxs[0], grid_halves_iq2_xxs[1], 256);
    expect_halves(quant_grid_iq2_xs, grid_halves_iq2_xs[0], grid_halves_iq2_xs[1], 512);
    expect_halves(quant_grid_iq2_s, grid_halves_iq2_s[0], grid_halves_iq2_s[1], 1024);
    expect_halves(quant_grid_iq3_xxs, grid_halves_iq3_xxs[0], grid_halves_iq3_xxs[1], 256);
    expect_halves(quant_grid_iq3_s, grid_halves_iq3_s[0], grid_halves_iq3_s[1], 512);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_iq1_make_its_points),
        cmocka_unit_test(halves_make_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
