/* test_sampler.c - every step from logits to a token, against a twin that sorts everything.
 *
 * The twin works in double, over all tokens, with its own copy of the random generator (held to
 * its published answer). It predicts the very token that must come out; a case whose choice hangs on
 * less than EDGE of probability is left out, because float and double may then differ.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "sample/sampler.h"

#define VOCAB_MAX 6000u
#define EDGE 1e-5

static float logits[VOCAB_MAX];
static float kept_logits[VOCAB_MAX]; /* pick changes what it is given */
static uint64_t scratch[VOCAB_MAX * 2];
static uint64_t random_state;

static uint32_t random_u32(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

static float random_float(float low, float high) {
    return low + (high - low) * (float)(random_u32() >> 8) * 0x1.0p-24f;
}

static sampler_result pick(uint32_t n, const sampler_params *p, uint32_t position, uint32_t n_top) {
    sampler_result r;
    void *exact = mem_alloc(MEM_TEST, sampler_scratch_bytes(n));
    assert_non_null(exact);
    memcpy(kept_logits, logits, n * sizeof *logits);
    sampler_pick(&r, kept_logits, n, p, NULL, position, n_top, NULL, 0, exact);
    mem_free(exact);
    return r;
}

static int32_t pick_token(uint32_t n, const sampler_params *p, uint32_t position) {
    return pick(n, p, position, SAMPLER_NO_LOGPROBS).token;
}

/* ---- the twin ---- */

static void philox(uint32_t c[4], uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; round++) {
        const uint64_t a = 0xD2511F53u * (uint64_t)c[0], b = 0xCD9E8D57u * (uint64_t)c[2];
        const uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k0, (uint32_t)b,
                                  (uint32_t)(a >> 32) ^ c[3] ^ k1, (uint32_t)a};
        memcpy(c, next, sizeof next);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

static double twin_uniform(const sampler_params *p, uint32_t position) {
    uint32_t c[4] = {position, p->choice, 0x77656674u, 0};
    philox(c, (uint32_t)p->seed, (uint32_t)(p->seed >> 32));
    return (double)(((uint64_t)c[0] << 32 | c[1]) >> 11) / 9007199254740992.0;
}

typedef struct twin_entry {
    double logit, prob;
    int32_t token;
} twin_entry;

static int by_logit(const void *a, const void *b) {
    const twin_entry *x = a, *y = b;
    if (x->logit != y->logit) {
        return x->logit > y->logit ? -1 : 1;
    }
    return x->token < y->token ? -1 : 1;
}

static int by_token(const void *a, const void *b) {
    const twin_entry *x = a, *y = b;
    return x->token < y->token ? -1 : 1;
}

static double normalise(twin_entry *e, uint32_t n) {
    double total = 0;
    for (uint32_t i = 0; i < n; i++) {
        total += e[i].prob;
    }
    for (uint32_t i = 0; i < n; i++) {
        e[i].prob /= total;
    }
    return total;
}

/* Keeps what the filters keep, best first. Returns how many; *is_on_edge when a rounding error could
 * keep one more or less. */
static uint32_t twin_filter(twin_entry *e, uint32_t n, const sampler_params *p, bool *is_on_edge) {
    if (p->top_k > 0 && (uint32_t)p->top_k < n) {
        n = (uint32_t)p->top_k;
    }
    normalise(e, n);
    if (p->top_p < 1.0f) {
        double sum = 0;
        for (uint32_t i = 0; i < n; i++) {
            sum += e[i].prob;
            *is_on_edge |= fabs(sum - p->top_p) < EDGE;
            if (sum >= p->top_p) {
                n = i + 1;
            }
        }
    }
    if (p->min_p > 0.0f) {
        const double best = e[0].prob;
        uint32_t kept = 0;
        while (kept < n && e[kept].prob >= p->min_p * best) {
            kept++;
        }
        for (uint32_t i = 0; i < n; i++) {
            *is_on_edge |= i > 0 && fabs(e[i].prob / best - p->min_p) < EDGE;
        }
        n = kept;
    }
    normalise(e, n);
    return n;
}

/* The token that must come out, or -1 when the case is on an edge. */
static int32_t twin_pick(uint32_t n_vocab, const sampler_params *p, uint32_t position,
                         bool *is_kept /* [n_vocab] */) {
    static twin_entry e[VOCAB_MAX];
    uint32_t n = 0;
    bool is_on_edge = false;
    double best = -INFINITY;
    memset(is_kept, 0, n_vocab * sizeof *is_kept);
    for (uint32_t i = 0; i < n_vocab; i++) {
        best = logits[i] > best ? logits[i] : best;
    }
    for (uint32_t i = 0; i < n_vocab; i++) {
        if (!isnan(logits[i]) && logits[i] != -INFINITY) {
            e[n++] = (twin_entry){logits[i], exp((logits[i] - best) / p->temperature), (int32_t)i};
        }
    }
    qsort(e, n, sizeof *e, by_logit);
    n = twin_filter(e, n, p, &is_on_edge);
    qsort(e, n, sizeof *e, by_token);
    const double u = twin_uniform(p, position);
    int32_t token = e[n - 1].token;
    double sum = 0;
    bool is_found = false;
    for (uint32_t i = 0; i < n; i++) {
        is_kept[e[i].token] = true;
        sum += e[i].prob;
        is_on_edge |= fabs(sum - u) < EDGE && i + 1 < n;
        if (!is_found && sum > u) {
            token = e[i].token;
            is_found = true;
        }
    }
    return is_on_edge ? -1 : token;
}

/* ---- greedy ---- */

static void greedy_takes_the_best_and_the_lower_id_of_a_tie(void **state) {
    (void)state;
    sampler_params p = sampler_params_default();
    p.temperature = 0;
    for (uint32_t i = 0; i < 50; i++) {
        logits[i] = (float)(i % 10);
    }
    assert_int_equal(pick_token(50, &p, 0), 9);
    logits[44] = 9.5f;
    assert_int_equal(pick_token(50, &p, 0), 44);
    for (uint32_t i = 0; i < 50; i++) {
        logits[i] = -3.0f;
    }
    assert_int_equal(pick_token(50, &p, 0), 0);
}

static void not_a_number_never_comes_out(void **state) {
    (void)state;
    sampler_params p = sampler_params_default();
    for (uint32_t i = 0; i < 40; i++) {
        logits[i] = i % 2 == 0 ? NAN : -100.0f - (float)i;
    }
    p.temperature = 0;
    assert_int_equal(pick_token(40, &p, 0), 1);
    p.temperature = 5;
    for (uint32_t position = 0; position < 200; position++) {
        assert_int_equal(pick_token(40, &p, position) % 2, 1);
    }
    for (uint32_t i = 0; i < 40; i++) {
        logits[i] = NAN;
    }
    const sampler_result r = pick(40, &p, 0, 5);
    assert_true(r.token >= 0 && r.token < 40);
}

/* ---- bias, bans, penalties ---- */

static void bias_is_added_before_the_choice(void **state) {
    (void)state;
    const sampler_bias bias[] = {{3, 100.0f}, {4, 99.5f}, {5, -INFINITY}};
    sampler_params p = sampler_params_default();
    p.temperature = 0;
    p.bias = bias;
    p.n_bias = 3;
    for (uint32_t i = 0; i < 8; i++) {
        logits[i] = (float)i;
    }
    assert_int_equal(pick_token(8, &p, 0), 4);
    assert_true(kept_logits[3] == 103.0f);
    assert_true(kept_logits[4] == 103.5f);
    assert_true(kept_logits[5] == -INFINITY);
    assert_true(kept_logits[6] == 6.0f);
}

static void banned_tokens_never_come_out(void **state) {
    (void)state;
    const int32_t banned[] = {0, 7};
    const sampler_bias bias = {7, 100.0f};
    sampler_params p = sampler_params_default();
    sampler_result r;
    p.bias = &bias;
    p.n_bias = 1;
    for (uint32_t position = 0; position < 300; position++) {
        for (uint32_t i = 0; i < 8; i++) {
            logits[i] = i == 0 ? 50.0f : 0.0f;
        }
        p.temperature = position < 5 ? 0.0f : 1.0f;
        sampler_pick(&r, logits, 8, &p, NULL, position, SAMPLER_NO_LOGPROBS, banned, 2, scratch);
        assert_true(r.token != 0 && r.token != 7);
    }
}

static void penalties_follow_their_formulas(void **state) {
    (void)state;
    static uint32_t storage[4096];
    sampler_history h;
    sampler_result r;
    sampler_params p = sampler_params_default();
    p.temperature = 0;
    p.repetition_penalty = 1.3f;
    p.presence_penalty = 0.4f;
    p.frequency_penalty = 0.25f;
    assert_true(sampler_history_bytes(100) <= sizeof storage);
    sampler_history_init(&h, storage, 100);
    for (int i = 0; i < 3; i++) {
        sampler_history_add(&h, 2, false); /* in the prompt only */
        sampler_history_add(&h, 3, true);
        sampler_history_add(&h, 4, i == 0);
    }
    sampler_history_add(&h, 5, true);
    const float before[7] = {1.0f, -1.0f, 2.0f, 3.0f, -4.0f, 0.0f, -INFINITY};
    sampler_history_add(&h, 6, true);
    memcpy(logits, before, sizeof before);
    sampler_pick(&r, logits, 7, &p, &h, 0, SAMPLER_NO_LOGPROBS, NULL, 0, scratch);
    assert_true(logits[0] == 1.0f);
    assert_true(logits[1] == -1.0f);
    assert_true(logits[2] == 2.0f / 1.3f);
    assert_true(logits[3] == 3.0f / 1.3f - (0.4f + 0.25f * 3));
    assert_true(logits[4] == -4.0f * 1.3f - (0.4f + 0.25f * 1));
    assert_true(logits[5] == 0.0f - (0.4f + 0.25f * 1));
    assert_true(logits[6] == -INFINITY);
    assert_int_equal(r.token, 2);
}

static void history_counts_as_many_tokens_as_promised(void **state) {
    (void)state;
    const uint32_t n = 1000;
    sampler_history h;
    sampler_params p = sampler_params_default();
    sampler_result r;
    p.temperature = 0;
    p.frequency_penalty = 1.0f;
    void *storage = mem_alloc(MEM_TEST, sampler_history_bytes(n));
    sampler_history_init(&h, storage, n);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < n; i++) {
            sampler_history_add(&h, (int32_t)(i * 5), i % (round + 1) == 0);
        }
    }
    assert_int_equal(h.count, n);
    for (uint32_t i = 0; i < 5000; i++) {
        logits[i] = 0;
    }
    sampler_pick(&r, logits, 5000, &p, &h, 0, SAMPLER_NO_LOGPROBS, NULL, 0, scratch);
    for (uint32_t i = 0; i < n; i++) {
        const float times = (float)(1 + (i % 2 == 0) + (i % 3 == 0));
        assert_true(logits[i * 5] == -times);
        assert_true(logits[i * 5 + 1] == 0);
    }
    mem_free(storage);
}

/* ---- filters and draws ---- */

static void the_random_generator_gives_its_published_answer(void **state) {
    (void)state;
    uint32_t c[4] = {0};
    philox(c, 0, 0); /* the known-answer table of Random123 */
    assert_int_equal(c[0], 0x6627e8d5);
    assert_int_equal(c[1], 0xe169c58d);
    assert_int_equal(c[2], 0xbc57ac4c);
    assert_int_equal(c[3], 0x9b00dbd8);
}

static sampler_params random_params(uint32_t n) {
    sampler_params p = sampler_params_default();
    static const float temperatures[] = {0.1f, 0.7f, 1.0f, 1.5f, 10.0f};
    p.temperature = temperatures[random_u32() % 5];
    p.top_k = random_u32() % 2 != 0 ? (int32_t)(random_u32() % (n + 3)) : 0;
    p.top_p = random_u32() % 2 != 0 ? random_float(0.01f, 1.0f) : 1.0f;
    p.min_p = random_u32() % 3 == 0 ? random_float(0.001f, 0.9f) : 0.0f;
    p.seed = (uint64_t)random_u32() << 32 | random_u32();
    p.choice = random_u32() % 4;
    return p;
}

static void random_logits(uint32_t n) {
    const uint32_t kind = random_u32() % 4;
    for (uint32_t i = 0; i < n; i++) {
        switch (kind) {
        case 0: logits[i] = random_float(-8.0f, 8.0f); break;
        case 1: logits[i] = (float)(random_u32() % 5); break; /* many ties */
        case 2: logits[i] = random_u32() % 4 == 0 ? -INFINITY : random_float(-3.0f, 3.0f); break;
        default: logits[i] = random_u32() % 9 == 0 ? NAN : random_float(-1.0f, 1.0f); break;
        }
    }
    logits[random_u32() % n] = 2.0f; /* at least one is possible */
}

/* Returns 1 when the case was decided. */
static uint32_t expect_as_twin(uint32_t n, const sampler_params *p, uint32_t position) {
    static bool is_kept[VOCAB_MAX];
    const int32_t want = twin_pick(n, p, position, is_kept);
    const int32_t got = pick_token(n, p, position);
    assert_true(got >= 0 && (uint32_t)got < n);
    if (want < 0) {
        return 0;
    }
    if (got != want || !is_kept[got]) {
        fail_msg("token %d instead of %d of %u: temperature %g, top_k %d, top_p %g, min_p %g", got,
                 want, n, p->temperature, p->top_k, p->top_p, p->min_p);
    }
    return 1;
}

static void filters_keep_what_sorting_everything_keeps(void **state) {
    (void)state;
    static const uint32_t sizes[] = {1, 2, 3, 7, 31, 128, 129, 600, 5000};
    uint32_t n_decided = 0, n_cases = 0;
    random_state = 11;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const uint32_t n_rounds = sizes[s] > 1000 ? 60 : 500;
        for (uint32_t i = 0; i < n_rounds; i++) {
            random_logits(sizes[s]);
            const sampler_params p = random_params(sizes[s]);
            for (uint32_t position = 0; position < 3; position++) {
                n_decided += expect_as_twin(sizes[s], &p, position);
                n_cases++;
            }
        }
    }
    assert_true(n_cases > 10000);
    assert_true(n_decided > n_cases * 9 / 10);
}

static void fill_shape(uint32_t shape, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        switch (shape) {
        case 0: logits[i] = (float)i; break;
        case 1: logits[i] = -(float)i; break;
        case 2: logits[i] = (float)(i < n / 2 ? i : n - i); break; /* organ pipe */
        case 3: logits[i] = 1.0f; break;
        case 4: logits[i] = (float)(i % 2); break;
        case 5: logits[i] = (float)(i % 17) + (float)(i / 17); break; /* saw */
        case 6: logits[i] = i == n - 1 ? 5.0f : 0.0f; break;
        default: logits[i] = (float)((i ^ (i >> 1)) % n); break;
        }
        logits[i] *= 0.01f;
    }
}

static void selection_survives_adversarial_orders(void **state) {
    (void)state;
    static const uint32_t sizes[] = {1, 2, 5, 64, 129, 1000, 5000};
    uint32_t n_decided = 0;
    for (uint32_t shape = 0; shape < 8; shape++) {
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            const uint32_t n = sizes[s];
            const uint32_t ks[] = {1, 2, n / 3, n / 2, n - 1, n};
            fill_shape(shape, n);
            for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++) {
                sampler_params p = sampler_params_default();
                p.temperature = 50;
                p.top_k = (int32_t)ks[i];
                p.top_p = i % 2 == 0 ? 1.0f : 0.6f;
                p.seed = shape;
                n_decided += expect_as_twin(n, &p, (uint32_t)i);
            }
        }
    }
    assert_true(n_decided > 200);
}

static void top_k_1_is_greedy_at_any_temperature(void **state) {
    (void)state;
    sampler_params p = sampler_params_default();
    p.temperature = 100;
    p.top_k = 1;
    for (uint32_t i = 0; i < 500; i++) {
        logits[i] = (float)(i % 100);
    }
    for (uint32_t position = 0; position < 50; position++) {
        assert_int_equal(pick_token(500, &p, position), 99);
    }
}

static void draws_follow_the_probabilities(void **state) {
    (void)state;
    enum { N = 5, DRAWS = 20000 };
    static const double probs[N] = {0.4, 0.3, 0.2, 0.07, 0.03};
    uint32_t counts[N] = {0};
    double chi_square = 0;
    sampler_params p = sampler_params_default();
    p.seed = 42;
    for (uint32_t i = 0; i < N; i++) {
        logits[i] = (float)log(probs[i]);
    }
    for (uint32_t position = 0; position < DRAWS; position++) {
        counts[pick_token(N, &p, position)]++;
    }
    for (uint32_t i = 0; i < N; i++) {
        const double want = probs[i] * DRAWS;
        chi_square += (counts[i] - want) * (counts[i] - want) / want;
    }
    assert_true(chi_square < 18.5); /* four degrees of freedom: one seed in a thousand is above */
}

static void a_draw_depends_on_seed_choice_and_position_alone(void **state) {
    (void)state;
    enum { DRAWS = 64 };
    int32_t first[DRAWS];
    sampler_params p = sampler_params_default();
    uint32_t n_seed = 0, n_choice = 0;
    p.seed = 0x123456789abcdef0u;
    random_state = 5;
    for (uint32_t i = 0; i < 1000; i++) {
        logits[i] = random_float(-1.0f, 1.0f);
    }
    for (uint32_t i = 0; i < DRAWS; i++) {
        first[i] = pick_token(1000, &p, i);
    }
    for (uint32_t i = DRAWS; i-- > 0;) { /* in another order: nothing is remembered */
        assert_int_equal(pick_token(1000, &p, i), first[i]);
    }
    sampler_params other_seed = p, other_choice = p;
    other_seed.seed ^= (uint64_t)1 << 63;
    other_choice.choice = 1;
    for (uint32_t i = 0; i < DRAWS; i++) {
        n_seed += pick_token(1000, &other_seed, i) == first[i];
        n_choice += pick_token(1000, &other_choice, i) == first[i];
    }
    assert_true(n_seed < 4);
    assert_true(n_choice < 4);
}

/* ---- log probabilities ---- */

static void logprobs_are_those_of_the_model(void **state) {
    (void)state;
    const sampler_bias bias = {17, -50.0f};
    sampler_params p = sampler_params_default();
    p.temperature = 0.3f; /* neither this nor bias nor filters change them */
    p.top_k = 5;
    p.bias = &bias;
    p.n_bias = 1;
    random_state = 9;
    for (uint32_t round = 0; round < 200; round++) {
        const uint32_t n = 1 + random_u32() % 400;
        static twin_entry e[VOCAB_MAX];
        p.n_bias = n > 17;
        double best = -INFINITY, total = 0;
        for (uint32_t i = 0; i < n; i++) {
            logits[i] = random_float(-20.0f, 20.0f);
            e[i] = (twin_entry){logits[i], 0, (int32_t)i};
            best = logits[i] > best ? logits[i] : best;
        }
        for (uint32_t i = 0; i < n; i++) {
            total += exp(logits[i] - best);
        }
        qsort(e, n, sizeof *e, by_logit);
        const sampler_result r = pick(n, &p, round, SAMPLER_TOP_LOGPROBS_MAX);
        assert_int_equal(r.n_top, n < 20 ? n : 20);
        for (uint32_t i = 0; i < r.n_top; i++) {
            assert_int_equal(r.top[i].token, e[i].token);
            assert_true(fabs(r.top[i].logprob - (e[i].logit - best - log(total))) < 1e-5);
        }
        assert_true(fabs(r.logprob - (logits[r.token] - best - log(total))) < 1e-5);
    }
}

static void logprobs_are_given_only_when_asked(void **state) {
    (void)state;
    sampler_params p = sampler_params_default();
    for (uint32_t i = 0; i < 30; i++) {
        logits[i] = (float)i;
    }
    assert_int_equal(pick(30, &p, 0, SAMPLER_NO_LOGPROBS).n_top, 0);
    const sampler_result r = pick(30, &p, 0, 0);
    assert_int_equal(r.n_top, 0);
    assert_true(r.logprob < 0);
    assert_int_equal(pick(30, &p, 0, 3).n_top, 3);
    assert_int_equal(pick(30, &p, 0, 3).token, pick_token(30, &p, 0));
}

/* ---- parameters ---- */

static void parameters_out_of_range_are_named(void **state) {
    (void)state;
    weft_error err;
    sampler_params p = sampler_params_default();
    assert_int_equal(sampler_params_check(&p, 100, &err), WEFT_OK);
#define EXPECT(field, value, text)                                           \
    do {                                                                     \
        p = sampler_params_default();                                        \
        p.field = (value);                                                   \
        assert_int_equal(sampler_params_check(&p, 100, &err), WEFT_INVALID); \
        assert_string_equal(err.message, text);                              \
    } while (0)
    EXPECT(temperature, -0.5f, "temperature is -0.5, wanted 0 to 100");
    EXPECT(temperature, 101, "temperature is 101, wanted 0 to 100");
    EXPECT(temperature, NAN, "temperature is nan, wanted 0 to 100");
    EXPECT(top_k, -1, "top_k is -1, wanted 0 to 2.14748e+09");
    EXPECT(top_p, 0, "top_p is 0, wanted above 0 to 1");
    EXPECT(top_p, 1.5f, "top_p is 1.5, wanted above 0 to 1");
    EXPECT(min_p, -0.5f, "min_p is -0.5, wanted 0 to 1");
    EXPECT(repetition_penalty, 0, "repetition_penalty is 0, wanted above 0 to 100");
    EXPECT(presence_penalty, 2.5f, "presence_penalty is 2.5, wanted -2 to 2");
    EXPECT(frequency_penalty, -3, "frequency_penalty is -3, wanted -2 to 2");
#undef EXPECT
}

static void bias_out_of_range_is_named(void **state) {
    (void)state;
    weft_error err;
    sampler_bias bias[2] = {{5, 1.0f}, {100, 1.0f}};
    sampler_params p = sampler_params_default();
    p.bias = bias;
    p.n_bias = 2;
    assert_int_equal(sampler_params_check(&p, 100, &err), WEFT_INVALID);
    assert_string_equal(err.message, "logit_bias names token 100, wanted 0 to 99");
    bias[1].token = -1;
    assert_int_equal(sampler_params_check(&p, 100, &err), WEFT_INVALID);
    assert_string_equal(err.message, "logit_bias names token -1, wanted 0 to 99");
    bias[1] = (sampler_bias){99, NAN};
    assert_int_equal(sampler_params_check(&p, 100, &err), WEFT_INVALID);
    assert_string_equal(err.message, "logit_bias of token 99 is not a number");
    bias[1].bias = -INFINITY;
    assert_int_equal(sampler_params_check(&p, 100, &err), WEFT_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_best_and_the_lower_id_of_a_tie),
        cmocka_unit_test(not_a_number_never_comes_out),
        cmocka_unit_test(bias_is_added_before_the_choice),
        cmocka_unit_test(banned_tokens_never_come_out),
        cmocka_unit_test(penalties_follow_their_formulas),
        cmocka_unit_test(history_counts_as_many_tokens_as_promised),
        cmocka_unit_test(the_random_generator_gives_its_published_answer),
        cmocka_unit_test(filters_keep_what_sorting_everything_keeps),
        cmocka_unit_test(selection_survives_adversarial_orders),
        cmocka_unit_test(top_k_1_is_greedy_at_any_temperature),
        cmocka_unit_test(draws_follow_the_probabilities),
        cmocka_unit_test(a_draw_depends_on_seed_choice_and_position_alone),
        cmocka_unit_test(logprobs_are_those_of_the_model),
        cmocka_unit_test(logprobs_are_given_only_when_asked),
        cmocka_unit_test(parameters_out_of_range_are_named),
        cmocka_unit_test(bias_out_of_range_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
