/* test_experts.c - routing and the sort by expert against plain arithmetic, and the operation itself:
 * against a double reference, and to the bit alone, in any batch and at any number of threads.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "device/device_cpu.h"
#include "device/device_deferred.h"
#include "device/route.h"
#include "tensor/blocks.h"
#include "tensor/quant.h"

#define EXPERTS 12u
#define USED 3u
#define EMBD 64u
#define EMBD_MAX 256u /* a block of Q4_K */
#define FF 40u        /* neither a multiple of a panel nor of a vector */
#define FF_BLOCKS 96u
#define FF_MAX 256u
#define ROWS 300u

static uint64_t random_state;

static float random_value(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)((int64_t)(random_state >> 40) - (1 << 23)) * 0x1.0p-23f;
}

/* ---- routing ---- */

/* The same in double, by the formulas. */
static void want_route(const expert_routing *r, const float *logits, const float *bias,
                       uint32_t *id, double *weight) {
    double score[EXPERTS], choice[EXPERTS], sum = 0.0;
    for (uint32_t e = 0; e < r->n_experts; e++) {
        score[e] = r->score == EXPERT_SCORE_SIGMOID ? 1.0 / (1.0 + exp(-(double)logits[e]))
                                                    : exp((double)logits[e]);
        sum += score[e];
    }
    for (uint32_t e = 0; e < r->n_experts; e++) {
        score[e] /= r->score == EXPERT_SCORE_SOFTMAX ? sum : 1.0;
        choice[e] = score[e] + (bias != NULL ? (double)bias[e] : 0.0);
    }
    const uint32_t len = r->n_groups > 1 ? r->n_experts / r->n_groups : r->n_experts;
    double worth[EXPERTS];
    for (uint32_t g = 0; r->n_groups > 1 && g < r->n_groups; g++) {
        double first = -INFINITY, second = -INFINITY;
        for (uint32_t e = g * len; e < (g + 1) * len; e++) {
            second = choice[e] > first ? first : fmax(second, choice[e]);
            first = fmax(first, choice[e]);
        }
        worth[g] = r->n_group_best == 2 ? first + second : first;
    }
    for (uint32_t g = 0; r->n_groups > 1 && g < r->n_groups; g++) {
        uint32_t n_better = 0;
        for (uint32_t other = 0; other < r->n_groups; other++) {
            n_better += worth[other] > worth[g];
        }
        for (uint32_t e = g * len; n_better >= r->n_groups_used && e < (g + 1) * len; e++) {
            choice[e] = -INFINITY;
        }
    }
    double total = 0.0;
    for (uint32_t i = 0; i < r->n_used; i++) {
        uint32_t best = 0;
        for (uint32_t e = 1; e < r->n_experts; e++) {
            best = choice[e] > choice[best] ? e : best;
        }
        id[i] = best;
        weight[i] = score[best];
        total += score[best];
        choice[best] = -INFINITY;
    }
    const bool is_divided = r->is_normalised || r->score == EXPERT_SCORE_SOFTMAX_SELECTED;
    for (uint32_t i = 0; i < r->n_used; i++) {
        weight[i] *= (double)r->scale / (is_divided ? total : 1.0);
    }
}

static void routing_follows_its_options(void **state) {
    (void)state;
    static const expert_routing options[] = {
        {EXPERTS, USED, EXPERT_SCORE_SOFTMAX, true, 1.0f, 0, 0, 0},
        {EXPERTS, USED, EXPERT_SCORE_SOFTMAX, false, 16.0f, 0, 0, 0},
        {EXPERTS, USED, EXPERT_SCORE_SOFTMAX_SELECTED, false, 1.0f, 0, 0, 0},
        {EXPERTS, USED, EXPERT_SCORE_SIGMOID, true, 2.5f, 4, 2, 2},  /* DeepSeek-V3 */
        {EXPERTS, USED, EXPERT_SCORE_SOFTMAX, false, 1.0f, 3, 1, 1}, /* DeepSeek-V2 */
        {EXPERTS, EXPERTS, EXPERT_SCORE_SIGMOID, true, 1.0f, 0, 0, 0},
    };
    kernels_cpu k;
    for (uint32_t flags = 0; flags < 2; flags++) {
        kernels_cpu_init(&k, flags == 0 ? 0 : cpu_flags_detect());
        random_state = 3;
        for (uint32_t i = 0; i < 60; i++) {
            const expert_routing *r = &options[i % 6];
            float logits[EXPERTS], bias[EXPERTS], weight[EXPERTS];
            uint32_t id[EXPERTS], want_id[EXPERTS];
            double want[EXPERTS];
            for (uint32_t e = 0; e < EXPERTS; e++) {
                logits[e] = 3.0f * random_value();
                bias[e] = random_value();
            }
            const float *b = i % 6 == 3 ? bias : NULL;
            route_row(&k, r, logits, b, id, weight);
            want_route(r, logits, b, want_id, want);
            for (uint32_t j = 0; j < r->n_used; j++) {
                assert_int_equal(id[j], want_id[j]);
                assert_true(fabs((double)weight[j] - want[j]) < 1e-5 * want[j] + 1e-7);
            }
        }
    }
}

static void logits_that_are_no_numbers_still_name_experts(void **state) {
    (void)state;
    const expert_routing r = {EXPERTS, USED, EXPERT_SCORE_SIGMOID, true, 1.0f, 4, 2, 2};
    float logits[EXPERTS], weight[USED];
    uint32_t id[USED];
    kernels_cpu k;
    kernels_cpu_init(&k, cpu_flags_detect());
    for (uint32_t e = 0; e < EXPERTS; e++) {
        logits[e] = NAN;
    }
    route_row(&k, &r, logits, NULL, id, weight);
    assert_true(id[0] < EXPERTS && id[1] < EXPERTS && id[2] < EXPERTS);
    assert_true(id[0] != id[1] && id[1] != id[2] && id[0] != id[2]);
}

/* ---- the sort, and the room ---- */

static void slots_are_ordered_by_expert_then_row(void **state) {
    (void)state;
    static char memory[1 << 16];
    static uint8_t is_taken[ROWS * USED];
    const expert_routing r = {.n_experts = EXPERTS, .n_used = USED};
    expert_table t;
    assert_true(expert_table_bytes(&r, ROWS) <= sizeof memory);
    expert_table_init(&t, &r, ROWS, memory);
    for (uint32_t i = 0; i < ROWS; i++) {
        for (uint32_t j = 0; j < USED; j++) {
            t.id[i * USED + j] = i < 200 && j == 0 ? 5 : (i * 7 + j) % 5 + 6 * (j == 2);
        }
    }
    expert_table_sort(&t);
    uint32_t at = 0;
    for (uint32_t i = 0; i < t.n_tiles; i++) {
        assert_int_equal(t.tiles[i].slot_first, at);
        assert_true(t.tiles[i].n_slots > 0);
        at += t.tiles[i].n_slots;
        for (uint32_t p = 0; p < ROWS * USED; p++) {
            const uint32_t slot = t.slot[p];
            if (slot >= t.tiles[i].slot_first && slot < at) {
                assert_int_equal(t.id[p], t.tiles[i].expert);
                assert_int_equal(t.row[slot], p / USED);
                assert_false(is_taken[slot]);
                is_taken[slot] = 1;
            }
        }
    }
    assert_int_equal(at, ROWS * USED);
}

static void a_slot_has_room_for_a_record_of_any_form_or_two_halves(void **state) {
    (void)state;
    const expert_routing r = {.n_experts = 4, .n_used = 2};
    for (uint32_t k = 32; k <= 8192; k += 32) {
        const uint64_t slot_bytes = expert_room_of(&r, 1, k, 32).acts_bytes / r.n_used;
        for (int form = 0; form < ACT_FORM_COUNT; form++) {
            const bool has_halves = form == ACT_Q8 || form == ACT_Q8_256 || form == ACT_STEPS;
            const uint64_t records = has_halves && k % act_block_len((act_form)form) == 0 ? 2 : 1;
            assert_true(records * act_row_bytes((act_form)form, k) <= slot_bytes);
        }
    }
}

/* ---- the operation ---- */

typedef struct rig {
    pool *pool;
    device *dev;
    void *memory[3];
    uint64_t bytes[3];
    weft_dtype dtype; /* of the weights */
    bool is_mapped;   /* they stay as they are stored */
    uint32_t embd, ff;
    op_experts op;
} rig;

static float w_file[3][EXPERTS * FF_MAX * EMBD_MAX], w_value[3][EXPERTS * FF_MAX * EMBD_MAX];
static uint8_t w_stored[3]
                       [sizeof w_file[0]]; /* w_file in the rig's format; w_value is what it says */
static float host_x[ROWS * EMBD_MAX], host_logits[ROWS * EXPERTS];
static const expert_routing routing = {EXPERTS, USED, EXPERT_SCORE_SOFTMAX, true, 1.0f, 0, 0, 0};

/* For formats that nothing writes: random codes, with scales that leave values up to about 0.3. */
static void store_q4_k(block_q4_k *block, size_t n_blocks) {
    for (size_t i = 0; i < n_blocks; i++) {
        const float d = 0.0004f * (2.0f + random_value());
        for (size_t j = 0; j < sizeof block[i]; j++) {
            ((uint8_t *)&block[i])[j] = (uint8_t)(128.0f + 128.0f * random_value());
        }
        block_store_u16(block[i].d, quant_f32_to_f16(d));
        block_store_u16(block[i].dmin, quant_f32_to_f16(7.5f * d));
    }
}

static void store_mxfp4(block_mxfp4 *block, size_t n_blocks) {
    for (size_t i = 0; i < n_blocks; i++) {
        block[i].e = (uint8_t)(122.0f + 1.5f * random_value());
        for (size_t j = 0; j < sizeof block[i].low; j++) {
            block[i].low[j] = (uint8_t)(128.0f + 128.0f * random_value());
        }
    }
}

static void store_weights(weft_dtype dtype, uint8_t *stored, const float *from, size_t n) {
    switch (dtype) {
    case WEFT_DTYPE_Q4_K: store_q4_k((block_q4_k *)stored, n / 256); break;
    case WEFT_DTYPE_MXFP4: store_mxfp4((block_mxfp4 *)stored, n / 32); break;
    default: quant_quantize(dtype, stored, from, n); break;
    }
}

static device_stack stack_of(rig *g, uint32_t i, uint32_t rows, uint32_t cols) {
    weft_error err = {0};
    const size_t n = (size_t)EXPERTS * rows * cols;
    store_weights(g->dtype, w_stored[i], w_file[i], n);
    quant_dequantize(g->dtype, w_value[i], w_stored[i], n);
    const tensor first = tensor_of(w_stored[i], g->dtype, rows, cols);
    if (g->is_mapped) {
        return (device_stack){device_map(first), EXPERTS};
    }
    g->bytes[i] = EXPERTS * pack_weight_bytes(g->dtype, rows, cols);
    assert_int_equal(device_alloc(g->dev, &g->memory[i], g->bytes[i], &err), WEFT_OK);
    return device_pack_stack(g->dev, g->memory[i], &first, EXPERTS);
}

static void open_rig(rig *g, weft_dtype dtype, bool is_deferred, uint32_t n_threads,
                     uint32_t flags) {
    weft_error err = {0};
    g->dtype = dtype;
    random_state = 5; /* the same weights for every rig of a format */
    g->embd = dtype == WEFT_DTYPE_Q4_K ? EMBD_MAX : EMBD;
    g->ff = dtype == WEFT_DTYPE_F32 ? FF : dtype == WEFT_DTYPE_Q4_K ? FF_MAX : FF_BLOCKS;
    const uint32_t widest = g->embd > g->ff ? g->embd : g->ff;
    const uint64_t places = g->is_mapped ? n_threads * pack_panel_bytes(dtype, widest) : 0;
    const uint64_t workspace = expert_workspace_bytes(&routing, ROWS, g->embd, g->ff) + places;
    assert_int_equal(pool_create(&g->pool, n_threads, &err), WEFT_OK);
    assert_int_equal(is_deferred ? device_deferred_create(&g->dev, g->pool, &err)
                                 : device_cpu_create(&g->dev, g->pool, flags, &err),
                     WEFT_OK);
    assert_int_equal(device_reserve(g->dev, workspace, &err), WEFT_OK);
    g->op = (op_experts){.routing = routing, .kind = ACT_KIND_SILU};
    g->op.gate = stack_of(g, 0, g->ff, g->embd);
    g->op.up = stack_of(g, 1, g->ff, g->embd);
    g->op.down = stack_of(g, 2, g->embd, g->ff);
}

static void close_rig(rig *g) {
    for (uint32_t i = 0; i < 3; i++) {
        device_free(g->dev, g->memory[i], g->bytes[i]);
    }
    device_destroy(&g->dev);
    pool_destroy(&g->pool);
}

static void run(rig *g, uint32_t from, uint32_t n, float *y) {
    weft_error err = {0};
    g->op.x = tensor_of(host_x + from * g->embd, WEFT_DTYPE_F32, n, g->embd);
    g->op.logits = tensor_of(host_logits + from * EXPERTS, WEFT_DTYPE_F32, n, EXPERTS);
    g->op.y = tensor_of(y, WEFT_DTYPE_F32, n, g->embd);
    g->dev->ops->experts(g->dev, &g->op);
    assert_int_equal(device_sync(g->dev, &err), WEFT_OK);
}

static void fill_inputs(void) {
    random_state = 11;
    for (uint32_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < sizeof w_file[i] / sizeof w_file[i][0]; j++) {
            w_file[i][j] = 0.25f * random_value();
        }
    }
    for (size_t i = 0; i < ROWS * EMBD_MAX; i++) {
        host_x[i] = 2.0f * random_value();
    }
    for (size_t i = 0; i < ROWS * EXPERTS; i++) {
        host_logits[i] = 3.0f * random_value() + (i % EXPERTS == 4 ? 2.0f : 0.0f);
    }
}

static void want_row(const rig *g, uint32_t row, double *y) {
    uint32_t id[USED];
    double weight[USED];
    want_route(&routing, host_logits + row * EXPERTS, NULL, id, weight);
    memset(y, 0, g->embd * sizeof *y);
    for (uint32_t i = 0; i < USED; i++) {
        double h[FF_MAX];
        for (uint32_t f = 0; f < g->ff; f++) {
            double gate = 0, up = 0;
            for (uint32_t j = 0; j < g->embd; j++) {
                const double x = (double)host_x[row * g->embd + j];
                gate += x * (double)w_value[0][(id[i] * g->ff + f) * g->embd + j];
                up += x * (double)w_value[1][(id[i] * g->ff + f) * g->embd + j];
            }
            h[f] = gate / (1.0 + exp(-gate)) * up;
        }
        for (uint32_t j = 0; j < g->embd; j++) {
            for (uint32_t f = 0; f < g->ff; f++) {
                y[j] += weight[i] * h[f] * (double)w_value[2][(id[i] * g->embd + j) * g->ff + f];
            }
        }
    }
}

static void experts_compute_their_formula_on_every_device(void **state) {
    (void)state;
    static float y[ROWS * EMBD_MAX];
    for (uint32_t i = 0; i < 3; i++) {
        rig g = {0};
        open_rig(&g, WEFT_DTYPE_F32, i == 2, i + 1, i == 0 ? cpu_flags_detect() : 0);
        run(&g, 0, ROWS, y);
        for (uint32_t r = 0; r < ROWS; r += 7) {
            double want[EMBD_MAX];
            want_row(&g, r, want);
            for (uint32_t j = 0; j < g.embd; j++) {
                assert_true(fabs((double)y[r * g.embd + j] - want[j]) < 1e-4);
            }
        }
        close_rig(&g);
    }
}

/* What 8 bits of the inputs lose is allowed; a row in a wrong place is not. */
static void quantised_experts_compute_their_formula(void **state) {
    (void)state;
    static const weft_dtype dtypes[] = {WEFT_DTYPE_Q4_0, WEFT_DTYPE_Q8_0, WEFT_DTYPE_Q4_K,
                                        WEFT_DTYPE_MXFP4};
    static float y[ROWS * EMBD_MAX];
    for (uint32_t i = 0; i < 2 * WEFT_LEN(dtypes); i++) {
        rig g = {0};
        open_rig(&g, dtypes[i / 2], false, 2, i % 2 == 0 ? cpu_flags_detect() : 0);
        run(&g, 0, ROWS, y);
        for (uint32_t r = 0; r < ROWS; r += 7) {
            double want[EMBD_MAX], error = 0.0, all = 0.0;
            want_row(&g, r, want);
            for (uint32_t j = 0; j < g.embd; j++) {
                const double lost = (double)y[r * g.embd + j] - want[j];
                error += lost * lost;
                all += want[j] * want[j];
            }
            assert_true(error < 1e-3 * all);
        }
        close_rig(&g);
    }
}

static void check_bits(weft_dtype dtype) {
    static float all[ROWS * EMBD_MAX], some[ROWS * EMBD_MAX];
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
        rig g = {0};
        open_rig(&g, dtype, false, n_threads, cpu_flags_detect());
        run(&g, 0, ROWS, n_threads == 1 ? all : some);
        if (n_threads > 1) {
            assert_memory_equal(all, some, (size_t)ROWS * g.embd * sizeof(float));
        }
        for (uint32_t r = 0; r < ROWS; r += 29) {
            const uint32_t n = r % 2 == 0 ? 1 : 17;
            run(&g, r, n < ROWS - r ? n : ROWS - r, some);
            assert_memory_equal(all + r * g.embd, some, g.embd * sizeof(float));
        }
        close_rig(&g);
    }
}

static void a_row_has_the_same_bits_alone_and_among_all(void **state) {
    (void)state;
    check_bits(WEFT_DTYPE_F32);
    check_bits(WEFT_DTYPE_Q4_0);
    check_bits(WEFT_DTYPE_Q8_0);
    check_bits(WEFT_DTYPE_Q4_K);
    check_bits(WEFT_DTYPE_MXFP4);
}

/* Few tiles, whose panels threads share, and many, each with its thread. */
static void expect_mapped_bits(weft_dtype dtype, uint32_t n_threads, uint32_t flags) {
    static float packed[ROWS * EMBD_MAX], mapped[ROWS * EMBD_MAX];
    rig rigs[2] = {{.is_mapped = false}, {.is_mapped = true}};
    open_rig(&rigs[0], dtype, false, n_threads, flags);
    open_rig(&rigs[1], dtype, false, n_threads, flags);
    assert_null(rigs[1].memory[0]);
    const uint32_t sizes[] = {1, 17, ROWS};
    for (uint32_t i = 0; i < WEFT_LEN(sizes); i++) {
        run(&rigs[0], 0, sizes[i], packed);
        run(&rigs[1], 0, sizes[i], mapped);
        assert_memory_equal(packed, mapped, sizes[i] * (size_t)rigs[0].embd * sizeof(float));
    }
    close_rig(&rigs[0]);
    close_rig(&rigs[1]);
}

static void experts_left_in_the_file_give_the_same_bits(void **state) {
    (void)state;
    static const weft_dtype dtypes[] = {WEFT_DTYPE_F32, WEFT_DTYPE_Q4_0, WEFT_DTYPE_Q8_0,
                                        WEFT_DTYPE_Q4_K, WEFT_DTYPE_MXFP4};
    for (uint32_t i = 0; i < WEFT_LEN(dtypes); i++) {
        for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
            expect_mapped_bits(dtypes[i], n_threads, cpu_flags_detect());
            expect_mapped_bits(dtypes[i], n_threads, 0);
        }
    }
}

int main(void) {
    fill_inputs();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routing_follows_its_options),
        cmocka_unit_test(logits_that_are_no_numbers_still_name_experts),
        cmocka_unit_test(slots_are_ordered_by_expert_then_row),
        cmocka_unit_test(a_slot_has_room_for_a_record_of_any_form_or_two_halves),
        cmocka_unit_test(experts_compute_their_formula_on_every_device),
        cmocka_unit_test(quantised_experts_compute_their_formula),
        cmocka_unit_test(a_row_has_the_same_bits_alone_and_among_all),
        cmocka_unit_test(experts_left_in_the_file_give_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
