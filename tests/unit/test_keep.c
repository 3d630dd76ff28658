/* test_keep.c - pages are known again only by an engine that would write the same bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/keep.h"

enum { N_ORIGINS = 11 };

static void all_that_moves_bits_changes_the_fingerprint(void **state) {
    (void)state;
    plan plans[N_ORIGINS];
    keep_origin origins[N_ORIGINS];
    uint64_t sums[N_ORIGINS];
    for (uint32_t i = 0; i < N_ORIGINS; i++) {
        plans[i] = (plan){.kv_type = WEFT_DTYPE_F16,
                          .n_groups = 1,
                          .groups = {{.n_layers = 4, .layer_page_bytes = 4096}}};
        origins[i] = (keep_origin){.model = 7,
                                   .version = "1",
                                   .numerics = 1,
                                   .cpu = "avx2",
                                   .act_type = WEFT_DTYPE_F32,
                                   .plan = &plans[i]};
    }
    origins[1].model = 8;
    origins[2].version = "2";
    origins[3].numerics = 2;
    origins[4].cpu = "avx2 avx512";
    origins[5].act_type = WEFT_DTYPE_BF16;
    plans[6].kv_type = WEFT_DTYPE_F32;
    plans[7].groups[0].window = 512;
    plans[8].groups[0].layer_page_bytes = 8192;
    plans[9].groups[0].n_layers = 5;
    plans[10].n_groups = 2;
    for (uint32_t i = 0; i < N_ORIGINS; i++) {
        sums[i] = keep_fingerprint(&origins[i]);
        assert_true(sums[i] == keep_fingerprint(&origins[i]));
        for (uint32_t j = 0; j < i; j++) {
            if (sums[j] == sums[i]) {
                fail_msg("origins %u and %u have the same fingerprint", j, i);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_moves_bits_changes_the_fingerprint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
