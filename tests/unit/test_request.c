/* test_request.c - one request: where its text ends, what it counts, what it refuses.
 *
 * The tiny models' first 256 tokens are bytes, so that a test can make one spell a text: each
 * letter gets a large bias, smaller than the one before, and a repetition penalty of 100 makes
 * a letter that was used lose to all that were not. Letters must differ and not be in the prompt.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "answer.h"
#include "base/mem.h"

#define EOS 263
#define BIAS_MAX 32u

static answer_engine e;
static const int32_t prompt[] = {262, '1', '2', '3'};

static int open_engine(void **state) {
    (void)state;
    answer_open(&e, TINY_MODELS_DIR "/llama_gqa.gguf", 2, 8);
    return 0;
}

static int close_engine(void **state) {
    (void)state;
    answer_close(&e);
    return 0;
}

/* An answer that spells `text` and then goes on with whatever it likes. */
static answer spell(const char *text, const char *const *stop, size_t n_stop, uint32_t max_tokens) {
    weft_logit_bias bias[BIAS_MAX];
    weft_request_options o = answer_options(prompt, 4, max_tokens);
    o.repetition_penalty = 100;
    o.bias = bias;
    o.n_bias = strlen(text);
    assert_true(o.n_bias <= BIAS_MAX);
    for (size_t i = 0; i < o.n_bias; i++) {
        bias[i] = (weft_logit_bias){(unsigned char)text[i], 10000.0f - 100.0f * (float)i};
    }
    o.stop = stop;
    o.n_stop = n_stop;
    return answer_ask(&e, &o);
}

static void expect_spelled(const char *spelled, const char *const *stop, size_t n_stop,
                           const char *text, weft_finish finish) {
    for (int i = 0; i < 5; i++) { /* events fall differently each time */
        const answer a = spell(spelled, stop, n_stop, (uint32_t)strlen(spelled));
        assert_string_equal(a.text, text);
        assert_int_equal(a.finish, finish);
    }
}

static void letters_can_be_spelled(void **state) {
    (void)state;
    expect_spelled("abcdefghij", NULL, 0, "abcdefghij", WEFT_FINISH_LENGTH);
}

static void text_ends_before_a_stop_string(void **state) {
    (void)state;
    const char *const stop[] = {"efg"};
    expect_spelled("abcdefghij", stop, 1, "abcd", WEFT_FINISH_STOP);
    const char *const first[] = {"abc"};
    expect_spelled("abcdefghij", first, 1, "", WEFT_FINISH_STOP);
    const char *const last[] = {"j"};
    expect_spelled("abcdefghij", last, 1, "abcdefghi", WEFT_FINISH_STOP);
}

static void what_only_looked_like_a_stop_string_is_shown(void **state) {
    (void)state;
    const char *const stop[] = {"efgX", "cdX"};
    expect_spelled("abcdefghij", stop, 2, "abcdefghij", WEFT_FINISH_LENGTH);
    const char *const at_end[] = {"hijk"}; /* held back until the end comes */
    expect_spelled("abcdefghij", at_end, 1, "abcdefghij", WEFT_FINISH_LENGTH);
}

static void the_stop_string_that_is_complete_first_wins(void **state) {
    (void)state;
    const char *const nested[] = {"bcdef", "cde"};
    expect_spelled("abcdefghij", nested, 2, "ab", WEFT_FINISH_STOP);
    const char *const longer[] = {"abcd", "bc"};
    expect_spelled("abcdefghij", longer, 2, "a", WEFT_FINISH_STOP);
    const char *const same_end[] = {"de", "cde", "bcde"};
    expect_spelled("abcdefghij", same_end, 3, "a", WEFT_FINISH_STOP);
}

static void stop_strings_meet_whole_characters(void **state) {
    (void)state;
    expect_spelled("ab\xc3\xa9"
                   "cd",
                   NULL, 0,
                   "ab\xc3\xa9"
                   "cd",
                   WEFT_FINISH_LENGTH);
    const char *const stop[] = {"\xc3\xa9"
                                "c"};
    expect_spelled("ab\xc3\xa9"
                   "cd",
                   stop, 1, "ab", WEFT_FINISH_STOP);
    /* half a character at the end becomes the replacement character */
    expect_spelled("ab\xc3", NULL, 0, "ab\xef\xbf\xbd", WEFT_FINISH_LENGTH);
}

/* No event may show a byte that later turns out to belong to the stop string. */
static void no_event_shows_a_part_of_the_stop_string(void **state) {
    (void)state;
    const char *const stop[] = {"cdefghi"};
    for (int round = 0; round < 10; round++) {
        const answer a = spell("abcdefghij", stop, 1, 10);
        assert_null(memchr(a.text, 'c', a.text_len));
        assert_string_equal(a.text, "ab");
        assert_int_equal(a.usage.completion_tokens, 9);
        assert_int_equal(a.n_ids, 9);
    }
}

static void an_answer_ends_at_max_tokens(void **state) {
    (void)state;
    weft_request_options o = answer_options(prompt, 4, 17);
    answer a = answer_ask(&e, &o);
    assert_int_equal(a.finish, WEFT_FINISH_LENGTH);
    assert_int_equal(a.n_ids, 17);
    assert_int_equal(a.usage.completion_tokens, 17);
    assert_int_equal(a.usage.prompt_tokens, 4);
    assert_int_equal(a.usage.cached_tokens, 0);
    o.max_tokens = 1;
    a = answer_ask(&e, &o);
    assert_int_equal(a.n_ids, 1);
    o.max_tokens = 0; /* all that the context holds */
    a = answer_ask(&e, &o);
    assert_int_equal(a.n_ids, 512 - 4);
    assert_int_equal(a.finish, WEFT_FINISH_LENGTH);
    o.max_tokens = 512 - 4;
    assert_int_equal(answer_ask(&e, &o).n_ids, 508);
}

static void an_end_token_ends_it_unless_ignored(void **state) {
    (void)state;
    const weft_logit_bias bias = {EOS, 1000};
    weft_request_options o = answer_options(prompt, 4, 10);
    o.bias = &bias;
    o.n_bias = 1;
    o.ignore_eos = false;
    answer a = answer_ask(&e, &o);
    assert_int_equal(a.finish, WEFT_FINISH_STOP);
    assert_int_equal(a.usage.completion_tokens, 1);
    assert_string_equal(a.text, "");
    o.shows_special = true;
    assert_string_equal(answer_ask(&e, &o).text, "</s>");
    o.ignore_eos = true;
    a = answer_ask(&e, &o);
    assert_int_equal(a.finish, WEFT_FINISH_LENGTH);
    assert_int_equal(a.n_ids, 10);
    for (size_t i = 0; i < a.n_ids; i++) {
        assert_int_not_equal(a.ids[i], EOS);
    }
}

static void the_same_seed_gives_the_same_answer(void **state) {
    (void)state;
    weft_request_options o = answer_options(prompt, 4, 40);
    o.temperature = 2;
    o.seed = 77;
    o.has_seed = true;
    const answer a = answer_ask(&e, &o), b = answer_ask(&e, &o);
    assert_memory_equal(a.ids, b.ids, sizeof a.ids);
    assert_int_equal(a.usage.seed, 77);
    o.choice = 1;
    const answer c = answer_ask(&e, &o);
    assert_memory_not_equal(a.ids, c.ids, sizeof a.ids);
    o.has_seed = false;
    const answer d = answer_ask(&e, &o);
    assert_true(d.usage.seed < (uint64_t)1 << 53); /* what a JSON number carries */
    o.has_seed = true;
    o.seed = d.usage.seed; /* the reported seed gives it again */
    const answer again = answer_ask(&e, &o);
    assert_memory_equal(d.ids, again.ids, sizeof d.ids);
}

static void logprobs_come_with_every_token(void **state) {
    (void)state;
    weft_request_options o = answer_options(prompt, 4, 8);
    o.n_top_logprobs = 3;
    weft_request *rq = answer_submit(&e, &o);
    size_t n = 0;
    for (weft_event ev = {0}; !ev.is_done;) {
        assert_int_equal(weft_request_wait(rq, &ev, -1), WEFT_OK);
        for (size_t i = 0; i < ev.n_logprobs; i++, n++) {
            const weft_token_logprobs *l = &ev.logprobs[i];
            assert_int_equal(l->n_top, 3);
            assert_int_equal(l->top[0].token, l->token.token); /* greedy */
            assert_true(l->top[0].logprob == l->token.logprob);
            assert_true(l->token.logprob <= 0);
            assert_true(l->top[0].logprob >= l->top[1].logprob);
            assert_true(l->top[1].logprob >= l->top[2].logprob);
        }
    }
    assert_int_equal(n, 8);
    weft_request_release(&rq);
    o.has_logprobs = false;
    assert_int_equal(answer_ask(&e, &o).n_ids, 0);
}

static void expect_refused(const weft_request_options *o, weft_status want, const char *message) {
    weft_error err = {0};
    weft_request *rq = NULL;
    answer_settle(&e);
    const uint64_t live = mem_stats_total().live_bytes;
    assert_int_equal(weft_request_submit(&rq, e.en, o, &err), want);
    assert_string_equal(err.message, message);
    assert_null(rq);
    assert_int_equal(mem_stats_total().live_bytes, live);
}

static void what_can_never_fit_is_refused_with_numbers(void **state) {
    (void)state;
    static const int32_t many[600] = {1};
    weft_request_options o = answer_options(many, 512, 1);
    expect_refused(&o, WEFT_LIMIT,
                   "the prompt has 512 tokens, but the context holds 512 and the answer needs at "
                   "least one");
    o.n_prompt = 500;
    o.max_tokens = 13;
    expect_refused(&o, WEFT_LIMIT,
                   "the prompt has 500 tokens and max_tokens is 13, together more than the context "
                   "of 512; at most 12 would fit");
}

static void options_out_of_range_are_named(void **state) {
    (void)state;
    static const int32_t foreign[] = {1, 264}, negative[] = {-1};
    static weft_logit_bias bias[1025];
    char long_stop[1026];
    const char *stops[17];
    memset(long_stop, 'x', 1025);
    long_stop[1025] = 0;
    for (size_t i = 0; i < 17; i++) {
        stops[i] = i == 1 ? long_stop : "x";
    }
    weft_request_options o = answer_options(prompt, 0, 1);
    expect_refused(&o, WEFT_INVALID, "the prompt is empty, wanted at least one token");
    o = answer_options(foreign, 2, 1);
    expect_refused(&o, WEFT_INVALID, "prompt token 1 is 264, wanted 0 to 263 (the vocabulary)");
    o = answer_options(negative, 1, 1);
    expect_refused(&o, WEFT_INVALID, "prompt token 0 is -1, wanted 0 to 263 (the vocabulary)");
    o = answer_options(prompt, 4, 1);
    o.stop = stops;
    o.n_stop = 17;
    expect_refused(&o, WEFT_INVALID, "17 stop strings, at most 16 are taken");
    o.n_stop = 2;
    expect_refused(&o, WEFT_INVALID, "stop string 1 has 1025 bytes, wanted 1 to 1024");
    stops[0] = "";
    expect_refused(&o, WEFT_INVALID, "stop string 0 has 0 bytes, wanted 1 to 1024");
    o = answer_options(prompt, 4, 1);
    o.n_top_logprobs = 21;
    expect_refused(&o, WEFT_INVALID, "top_logprobs is 21, wanted 0 to 20");
    o = answer_options(prompt, 4, 1);
    o.bias = bias;
    o.n_bias = 1025;
    expect_refused(&o, WEFT_INVALID, "logit_bias names 1025 tokens, at most 1024 are taken");
    o.n_bias = 1;
    bias[0].token = 264;
    expect_refused(&o, WEFT_INVALID, "logit_bias names token 264, wanted 0 to 263");
    o = answer_options(prompt, 4, 1);
    o.top_p = 0;
    expect_refused(&o, WEFT_INVALID, "top_p is 0, wanted above 0 to 1");
}

static void submitting_survives_every_failing_allocation(void **state) {
    (void)state;
    static const weft_logit_bias bias = {5, 1};
    const char *const stops[] = {"abc", "def"};
    answer_settle(&e);
    const uint64_t live = mem_stats_total().live_bytes;
    weft_request_options o = answer_options(prompt, 4, 3);
    o.bias = &bias;
    o.n_bias = 1;
    o.stop = stops;
    o.n_stop = 2;
    o.presence_penalty = 1;
    for (int64_t nth = 0;; nth++) {
        weft_request *rq = NULL;
        weft_error err = {0};
        mem_fail_after(nth);
        const weft_status status = weft_request_submit(&rq, e.en, &o, &err);
        mem_fail_after(-1);
        if (status == WEFT_OK) {
            assert_true(nth >= 6);
            answer_collect(rq);
            weft_request_release(&rq);
            return;
        }
        assert_int_equal(status, WEFT_NOMEM);
        assert_non_null(strstr(err.message, "out of memory for a request"));
        assert_int_equal(mem_stats_total().live_bytes, live);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_can_be_spelled),
        cmocka_unit_test(text_ends_before_a_stop_string),
        cmocka_unit_test(what_only_looked_like_a_stop_string_is_shown),
        cmocka_unit_test(the_stop_string_that_is_complete_first_wins),
        cmocka_unit_test(stop_strings_meet_whole_characters),
        cmocka_unit_test(no_event_shows_a_part_of_the_stop_string),
        cmocka_unit_test(an_answer_ends_at_max_tokens),
        cmocka_unit_test(an_end_token_ends_it_unless_ignored),
        cmocka_unit_test(the_same_seed_gives_the_same_answer),
        cmocka_unit_test(logprobs_come_with_every_token),
        cmocka_unit_test(what_can_never_fit_is_refused_with_numbers),
        cmocka_unit_test(options_out_of_range_are_named),
        cmocka_unit_test(submitting_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
