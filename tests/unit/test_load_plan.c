/* test_load_plan.c - a load follows from its seed; its lengths and arrivals have the shape asked for. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/load_plan.h"

#define DRAWS 20000

static load_lengths parsed(const char *text) {
    load_lengths l;
    weft_error err;
    assert_int_equal(load_lengths_parse(&l, text, "--prompt", &err), WEFT_OK);
    return l;
}

static void lengths_keep_their_shape(void **state) {
    (void)state;
    uint64_t random = 5;
    const load_lengths fixed = parsed("128"), range = parsed("75-128"),
                       skewed = parsed("lognormal:200,0.5,1000");
    double sum = 0;
    uint32_t below = 0, most = 0;
    for (int i = 0; i < DRAWS; i++) {
        const uint32_t n = load_lengths_draw(&range, &random);
        assert_true(n >= 75 && n <= 128);
        assert_int_equal(load_lengths_draw(&fixed, &random), 128);
        sum += n;
        const uint32_t s = load_lengths_draw(&skewed, &random);
        assert_true(s >= 1 && s <= 1000);
        below += s < 200;
        most = s > most ? s : most;
    }
    assert_true(fabs(sum / DRAWS - 101.5) < 0.5);
    assert_true(fabs((double)below / DRAWS - 0.5) < 0.02);
    assert_true(most > 600);
}

static void wrong_lengths_are_named(void **state) {
    (void)state;
    static const char *const wrong[] = {"",
                                        "x",
                                        "0",
                                        "5-3",
                                        "1-2-3",
                                        "-4",
                                        "1.5",
                                        "1-",
                                        "lognormal:9",
                                        "lognormal:9,-1",
                                        "lognormal:9,1,3",
                                        "2000000"};
    for (size_t i = 0; i < WEFT_LEN(wrong); i++) {
        load_lengths l;
        weft_error err;
        assert_int_equal(load_lengths_parse(&l, wrong[i], "--gen", &err), WEFT_INVALID);
        assert_non_null(strstr(err.message, "--gen"));
    }
}

static void gaps_are_a_poisson_process(void **state) {
    (void)state;
    uint64_t random = 1;
    double sum = 0, squares = 0;
    for (int i = 0; i < DRAWS; i++) {
        const double gap = load_random_gap(&random, 4);
        assert_true(gap >= 0);
        sum += gap;
        squares += gap * gap;
    }
    const double mean = sum / DRAWS, variance = squares / DRAWS - mean * mean;
    assert_true(fabs(mean - 0.25) < 0.01); /* exponential: the deviation equals the mean */
    assert_true(fabs(sqrt(variance) - 0.25) < 0.01);
}

static const load_plan plan = {.seed = 9,
                               .prompt = {LOAD_UNIFORM, 40, 80, LOAD_TOKENS_MAX},
                               .answer = {LOAD_FIXED, 16, 16, LOAD_TOKENS_MAX},
                               .shared_tokens = 30,
                               .shared_share = 0.75,
                               .shared_groups = 2,
                               .turns = 3};

static void words_of(uint64_t conversation, uint32_t turn, buf *out) {
    const load_turn t = load_plan_turn(&plan, conversation, turn);
    uint32_t n = 1;
    buf_init(out, MEM_TEST, 1u << 20);
    load_plan_words(out, &plan, &t);
    for (size_t i = 0; i < out->len; i++) {
        n += out->data[i] == ' ';
    }
    assert_int_equal(n, t.prompt_tokens);
}

static void a_turn_follows_from_its_numbers_alone(void **state) {
    (void)state;
    buf a, b, c, d;
    words_of(7, 1, &a);
    words_of(7, 2, &b);
    words_of(8, 1, &c);
    words_of(7, 1, &d);
    assert_string_equal(buf_cstr(&a), buf_cstr(&d));
    assert_string_not_equal(buf_cstr(&a), buf_cstr(&b));
    assert_string_not_equal(buf_cstr(&a), buf_cstr(&c));
    buf_deinit(&a);
    buf_deinit(&b);
    buf_deinit(&c);
    buf_deinit(&d);
}

/* Where the 30th word ends. */
static size_t end_of_words(const buf *b, uint32_t n) {
    size_t at = 0;
    for (; at < b->len && n > 0; at++) {
        n -= b->data[at] == ' ';
    }
    return at;
}

static void the_asked_share_begins_alike(void **state) {
    (void)state;
    buf first[2] = {{0}, {0}};
    uint32_t n_shared = 0;
    for (uint64_t i = 0; i < 2000; i++) {
        const load_turn t = load_plan_turn(&plan, i, 0);
        buf words;
        words_of(i, 0, &words);
        assert_int_equal(load_plan_turn(&plan, i, 1).shared_tokens, 0);
        if (t.shared_tokens > 0) {
            buf *reference = &first[t.shared_group];
            n_shared++;
            assert_int_equal(t.shared_tokens, 30);
            if (reference->data == NULL) {
                *reference = words;
                continue;
            }
            const size_t end = end_of_words(reference, 30);
            assert_memory_equal(words.data, reference->data, end);
            assert_string_not_equal(words.data + end, reference->data + end);
        }
        buf_deinit(&words);
    }
    assert_true(n_shared > 1400 && n_shared < 1600);
    assert_memory_not_equal(first[0].data, first[1].data, 20);
    buf_deinit(&first[0]);
    buf_deinit(&first[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_keep_their_shape),
        cmocka_unit_test(wrong_lengths_are_named),
        cmocka_unit_test(gaps_are_a_poisson_process),
        cmocka_unit_test(a_turn_follows_from_its_numbers_alone),
        cmocka_unit_test(the_asked_share_begins_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
