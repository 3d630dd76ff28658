/* test_pace.c - on a machine whose steps take a known time, the rows are found that fill the target.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/pace.h"

#define MS 1000000.0

/* A step's time: weights, a little for every answer, and prompt rows that get dearer with depth. */
static double step_ns(uint32_t n_decode, uint32_t n_prompt, uint32_t depth) {
    return 30 * MS + n_decode * 0.5 * MS + n_prompt * (1 + depth / 4000.0) * MS;
}

static uint64_t random_state = 1;

static double noise(double percent) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return 1 + percent / 100 * (double)(random_state >> 33) / (double)(UINT64_C(1) << 31);
}

typedef struct outcome {
    uint32_t n_steps, n_late; /* mixed steps, and those beyond twice one without prompt rows */
    double total_ns;
} outcome;

/* A prompt of 4,000 tokens arrives beside n_decode running answers. */
static outcome run_prompt(pace *p, uint32_t n_decode, double late_ns) {
    outcome o = {0};
    for (int i = 0; i < 20; i++) {
        pace_observe(p, n_decode, 0, 0, (uint64_t)(step_ns(n_decode, 0, 0) * noise(5)));
    }
    for (uint32_t done = 0; done < 4000;) {
        const uint32_t n = pace_rows(p, n_decode, 1, done, 512);
        const double ns = step_ns(n_decode, n, done) * noise(5);
        pace_observe(p, n_decode, n, done, (uint64_t)ns);
        done += n;
        o.n_steps++;
        o.n_late += ns > late_ns;
        o.total_ns += ns;
    }
    return o;
}

static void a_long_prompt_stretches_steps_at_most_twice(void **state) {
    (void)state;
    pace p;
    pace_init(&p, 0);
    const outcome o = run_prompt(&p, 8, 2 * step_ns(8, 0, 0));
    assert_true(o.n_late * 100 <= o.n_steps);
    double alone_ns = 0;
    for (uint32_t done = 0; done < 4000; done += 500) {
        alone_ns += step_ns(0, 500, done);
    }
    assert_true(o.total_ns < 3 * alone_ns);
}

static void an_explicit_target_is_kept(void **state) {
    (void)state;
    pace p;
    pace_init(&p, (uint64_t)(100 * MS));
    const outcome o = run_prompt(&p, 8, 110 * MS);
    assert_true(o.n_late * 50 <= o.n_steps);
    assert_true(o.n_steps < 130); /* 66 ms a step for prompt rows of 1 to 2 ms */
}

static void a_target_below_a_bare_step_still_moves_prompts(void **state) {
    (void)state;
    pace p;
    pace_init(&p, 1);
    pace_observe(&p, 4, 0, 0, (uint64_t)(30 * MS));
    for (int i = 0; i < 20; i++) {
        const uint32_t n = pace_rows(&p, 4, 1, 0, 512);
        assert_int_equal(n, PACE_ROWS_MIN);
        pace_observe(&p, 4, n, 0, (uint64_t)(46 * MS));
    }
    assert_int_equal(pace_rows(&p, 4, 1, 0, 1), 1);
}

static void without_answers_nothing_is_held_back(void **state) {
    (void)state;
    pace p;
    pace_init(&p, 1);
    assert_int_equal(pace_rows(&p, 0, 1, 0, 512), 512);
}

static void a_step_without_is_measured_first_and_again_later(void **state) {
    (void)state;
    pace p;
    pace_init(&p, 0);
    assert_int_equal(pace_rows(&p, 3, 1, 0, 512), 0);
    pace_observe(&p, 3, 0, 0, (uint64_t)(30 * MS));
    for (uint32_t i = 0; i < PACE_REFRESH; i++) {
        assert_true(pace_rows(&p, 3, 1, 0, 512) > 0);
        pace_observe(&p, 3, 16, 0, (uint64_t)(46 * MS));
    }
    assert_int_equal(pace_rows(&p, 3, 1, 0, 512), 0);
    pace_observe(&p, 3, 0, 0, (uint64_t)(30 * MS));
    assert_true(pace_rows(&p, 3, 1, 0, 512) > 0);
    assert_true(pace_rows(&p, 100, 1, 0, 512) > 0); /* a size not met yet borrows the nearest */
}

/* A small model: what a row adds is three times as much at 4,000 as at first. */
static double small_ns(uint32_t n_prompt, uint32_t depth) {
    return 6 * MS + n_prompt * (0.27 + 0.15 * (depth + n_prompt / 2.0) / 1000) * MS;
}

static uint32_t small_prompt(pace *p, uint32_t from, uint32_t to, double late_ns) {
    uint32_t n = 0;
    for (uint32_t done = from; done < to; done += n) {
        n = pace_rows(p, 8, 1, done, 512);
        const double ns = small_ns(n, done);
        assert_true(ns < late_ns);
        pace_observe(p, 8, n, done, (uint64_t)ns);
    }
    return n;
}

static void rows_that_get_dearer_with_depth_are_foreseen(void **state) {
    (void)state;
    pace p;
    pace_init(&p, 0);
    pace_observe(&p, 8, 0, 0, (uint64_t)small_ns(0, 0));
    pace_observe(&p, 8, 100, 0, (uint64_t)small_ns(100, 0));
    const uint32_t shallow = small_prompt(&p, 100, 800, 1.08 * PACE_EASE_NS);
    const uint32_t deep = small_prompt(&p, 800, 4000, 1.03 * PACE_EASE_NS);
    assert_true(shallow > 2 * deep);
    /* who comes next begins with as many as the guard allows, and is not let in too fast */
    assert_in_range(pace_rows(&p, 8, 1, 0, 512), 2 * deep - 1, 2 * deep);
    small_prompt(&p, 2 * deep, 4000, 1.08 * PACE_EASE_NS);
}

static void rows_at_one_depth_tell_nothing_of_growth(void **state) {
    (void)state;
    pace p;
    pace_init(&p, 0);
    pace_observe(&p, 8, 0, 0, (uint64_t)step_ns(8, 0, 0));
    for (uint32_t i = 0; i < 40; i++) { /* one in two is late, and a little deeper */
        const uint32_t n = pace_rows(&p, 8, 1, 100 + i % 2 * 8, 512);
        pace_observe(&p, 8, n, 100 + i % 2 * 8, (uint64_t)(step_ns(8, n, 0) * (1 + i % 2 * 0.1)));
    }
    const uint32_t here = pace_rows(&p, 8, 1, 100, 512), there = pace_rows(&p, 8, 1, 1000, 512);
    assert_true(there * 10 > here * 8);
}

/* Steps as they are on this machine until the pace has settled. */
static uint32_t settle(pace *p, uint32_t n_decode, uint32_t n_prompts) {
    uint32_t n = 0;
    for (int i = 0; i < 40; i++) {
        n = pace_rows(p, n_decode, n_prompts, 0, 4096);
        pace_observe(p, n_decode, n, 0, (uint64_t)step_ns(n_decode, n, 0));
    }
    return n;
}

/* Milliseconds that prompts may add to a step of 8 answers; a row takes one. */
static double allowed_ms(uint32_t n_prompts) {
    const double base = step_ns(8, 0, 0) / MS, share = PACE_SHARE * base * n_prompts;
    const uint32_t n_eased = n_prompts < PACE_EASED_MAX ? n_prompts : PACE_EASED_MAX;
    const double ease = PACE_EASE_NS / MS * n_eased - base;
    return share > ease ? share : ease;
}

static void each_prompt_that_waits_brings_its_own_rows(void **state) {
    (void)state;
    pace p;
    pace_init(&p, 0);
    pace_observe(&p, 8, 0, 0, (uint64_t)step_ns(8, 0, 0));
    for (uint32_t n_prompts = 1; n_prompts <= 32; n_prompts *= 2) {
        const double rows = allowed_ms(n_prompts);
        assert_in_range(settle(&p, 8, n_prompts), (uint32_t)(rows * 0.9), (uint32_t)(rows * 1.1));
    }
    const double one = allowed_ms(1);
    assert_in_range(settle(&p, 8, 1), (uint32_t)(one * 0.9), (uint32_t)(one * 1.1));
}

static void a_crowd_is_let_in_at_the_next_step(void **state) {
    (void)state;
    pace p;
    pace_init(&p, 0);
    pace_observe(&p, 8, 0, 0, (uint64_t)step_ns(8, 0, 0));
    const uint32_t one = settle(&p, 8, 1);
    assert_in_range(pace_rows(&p, 8, 10, 0, 4096), one * 9, one * 11);
}

static void the_last_of_a_crowd_come_in_as_fast_as_the_first(void **state) {
    (void)state;
    pace p;
    pace_init(&p, 0);
    pace_observe(&p, 8, 0, 0, (uint64_t)step_ns(8, 0, 0));
    const uint32_t one = settle(&p, 8, 1), many = settle(&p, 8, 16);
    for (uint32_t i = 0; i < 4; i++) { /* four steps later one is left */
        pace_rows(&p, 8, 1, 0, 4096);
    }
    assert_in_range(pace_rows(&p, 8, 1, 0, 4096), many * 55 / 100, many * 60 / 100);
    assert_int_equal(settle(&p, 8, 1), one); /* after 40 it is one that waits */
    settle(&p, 8, 16);
    pace_rows(&p, 8, 0, 0, 4096); /* and at once where none was left */
    assert_in_range(pace_rows(&p, 8, 1, 0, 4096), one - 1, one + 1);
}

static void an_explicit_target_does_not_know_how_many_wait(void **state) {
    (void)state;
    pace p;
    pace_init(&p, (uint64_t)(100 * MS));
    pace_observe(&p, 8, 0, 0, (uint64_t)step_ns(8, 0, 0));
    const uint32_t one = settle(&p, 8, 1);
    assert_int_equal(settle(&p, 8, 16), one);
}

static void a_short_end_of_a_prompt_does_not_hold_the_next_one_back(void **state) {
    (void)state;
    pace p;
    pace_init(&p, 0);
    pace_observe(&p, 8, 0, 0, (uint64_t)step_ns(8, 0, 0));
    const uint32_t before = settle(&p, 8, 1);
    assert_true(pace_rows(&p, 8, 1, 0, 4096) >= before);
    /* two rows were all there was, in kernels that work by sixteen */
    pace_observe(&p, 8, 2, 0, (uint64_t)step_ns(8, 16, 0));
    assert_true(pace_rows(&p, 8, 1, 0, 4096) * 10 > before * 8);
}

static void more_answers_than_ever_measured_count_as_rows(void **state) {
    (void)state;
    pace p;
    pace_init(&p, 0);
    pace_observe(&p, 4, 0, 0, (uint64_t)step_ns(4, 0, 0)); /* 32 ms */
    const uint32_t few = settle(&p, 4, 1);
    /* 64 answers in steps that are never without prompts: longer than those of 4, and a step of
     * them is stretched as one of 4 was */
    assert_in_range(pace_rows(&p, 64, 1, 0, 4096), 2 * few - 4, 2 * few + 4); /* at most doubled */
    const uint32_t many = settle(&p, 64, 1);
    assert_true(many > few * 3 / 2);
    assert_true(step_ns(64, many, 0) < 2 * step_ns(64, 0, 0));
}

static void one_wild_measurement_does_not_stop_prompts(void **state) {
    (void)state;
    pace p;
    pace_init(&p, 0);
    run_prompt(&p, 8, 0);
    const uint32_t before = pace_rows(&p, 8, 1, 0, 512);
    pace_observe(&p, 8, before, 0, (uint64_t)(60000 * MS)); /* the machine slept */
    assert_true(pace_rows(&p, 8, 1, 0, 512) * 3 > before);
}

static void one_slow_step_without_prompts_hardly_lets_more_in(void **state) {
    (void)state;
    pace p;
    pace_init(&p, 0);
    for (int i = 0; i < 20; i++) {
        pace_observe(&p, 8, 0, 0, (uint64_t)step_ns(8, 0, 0));
    }
    const uint32_t before = settle(&p, 8, 1);
    pace_observe(&p, 8, 0, 0, (uint64_t)(3 * step_ns(8, 0, 0)));
    assert_in_range(settle(&p, 8, 1), before, before * 115 / 100);
    for (int i = 0; i < 40; i++) { /* what lasts is believed */
        pace_observe(&p, 8, 0, 0, (uint64_t)(2 * step_ns(8, 0, 0)));
    }
    assert_in_range(pace_rows(&p, 8, 1, 0, 512), before * 185 / 100, before * 220 / 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_prompt_stretches_steps_at_most_twice),
        cmocka_unit_test(an_explicit_target_is_kept),
        cmocka_unit_test(a_target_below_a_bare_step_still_moves_prompts),
        cmocka_unit_test(without_answers_nothing_is_held_back),
        cmocka_unit_test(a_step_without_is_measured_first_and_again_later),
        cmocka_unit_test(rows_that_get_dearer_with_depth_are_foreseen),
        cmocka_unit_test(rows_at_one_depth_tell_nothing_of_growth),
        cmocka_unit_test(each_prompt_that_waits_brings_its_own_rows),
        cmocka_unit_test(a_crowd_is_let_in_at_the_next_step),
        cmocka_unit_test(the_last_of_a_crowd_come_in_as_fast_as_the_first),
        cmocka_unit_test(an_explicit_target_does_not_know_how_many_wait),
        cmocka_unit_test(a_short_end_of_a_prompt_does_not_hold_the_next_one_back),
        cmocka_unit_test(more_answers_than_ever_measured_count_as_rows),
        cmocka_unit_test(one_wild_measurement_does_not_stop_prompts),
        cmocka_unit_test(one_slow_step_without_prompts_hardly_lets_more_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
