/* sampler.c - the order of things, and the selections that make it fast.
 *
 * Candidates are (logit, token) pairs under one total order: higher logit first, then lower id. A
 * filter is a bar: the last candidate that stays. The draw goes over the vocabulary in the order of
 * tokens and passes over what comes after the bar, so nothing is sorted, and equal inputs draw
 * equal tokens whatever the path.
 *
 * What a bar needs is found among few candidates. The k best are not below the kth best maximum of
 * blocks, since each of the k is as good. Those whose weight is below an equal share of what top-p
 * leaves out are left out: all of them together have less. Weights are computed a block at a time,
 * by a polynomial without branches, which compilers turn into vectors.
 *
 * Random numbers: Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2,
 * 3"), counter (position, choice), key (seed).
 *
 * Log probabilities are those of the model, before bias, penalties, temperature and filters.
 */
#include "sample/sampler.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/check.h"

#define BLOCK 64u /* logits that are looked at or passed over together */
#define LANES 16u /* maxima or sums side by side: vectors of any instruction set */

typedef struct candidate {
    float logit;
    int32_t token;
} candidate;

sampler_params sampler_params_default(void) {
    return (sampler_params){.temperature = 1.0f, .top_p = 1.0f, .repetition_penalty = 1.0f};
}

static weft_status check_range(const char *name, double value, double min, double max,
                               bool is_min_open, weft_error *err) {
    if (value >= min && value <= max && !(is_min_open && value == min)) {
        return WEFT_OK;
    }
    return weft_fail(err, WEFT_INVALID, "%s is %g, wanted %s%g to %g", name, value,
                     is_min_open ? "above " : "", min, max);
}

weft_status sampler_params_check(const sampler_params *p, uint32_t n_vocab, weft_error *err) {
    const struct {
        const char *name;
        double value, min, max;
        bool is_min_open;
    } ranges[] = {
        {"temperature", p->temperature, 0, 100, false},
        {"top_k", p->top_k, 0, INT32_MAX, false},
        {"top_p", p->top_p, 0, 1, true},
        {"min_p", p->min_p, 0, 1, false},
        {"repetition_penalty", p->repetition_penalty, 0, 100, true},
        {"presence_penalty", p->presence_penalty, -2, 2, false},
        {"frequency_penalty", p->frequency_penalty, -2, 2, false},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const weft_status status = check_range(ranges[i].name, ranges[i].value, ranges[i].min,
                                               ranges[i].max, ranges[i].is_min_open, err);
        if (status != WEFT_OK) {
            return status;
        }
    }
    for (uint32_t i = 0; i < p->n_bias; i++) {
        const int32_t token = p->bias[i].token;
        if (token < 0 || (uint32_t)token >= n_vocab) {
            return weft_fail(err, WEFT_INVALID, "logit_bias names token %d, wanted 0 to %u", token,
                             n_vocab - 1);
        }
        if (isnan(p->bias[i].bias)) {
            return weft_fail(err, WEFT_INVALID, "logit_bias of token %d is not a number", token);
        }
    }
    return WEFT_OK;
}

/* ---- history ---- */

static uint32_t history_capacity(uint32_t n_tokens_max) {
    uint32_t capacity = 16;
    while (capacity < 2 * (uint64_t)n_tokens_max && capacity < (1u << 30)) {
        capacity *= 2;
    }
    return capacity;
}

size_t sampler_history_bytes(uint32_t n_tokens_max) {
    return (size_t)history_capacity(n_tokens_max) * 3 * sizeof(uint32_t);
}

void sampler_history_init(sampler_history *h, void *storage, uint32_t n_tokens_max) {
    const uint32_t capacity = history_capacity(n_tokens_max);
    uint32_t *p = storage;
    *h = (sampler_history){.tokens = (int32_t *)p,
                           .n_prompt = p + capacity,
                           .n_answer = p + 2 * (size_t)capacity,
                           .capacity = capacity};
    memset(storage, 0, sampler_history_bytes(n_tokens_max));
    for (uint32_t i = 0; i < capacity; i++) {
        h->tokens[i] = -1;
    }
}

void sampler_history_add(sampler_history *h, int32_t token, bool is_answer) {
    uint32_t i = ((uint32_t)token * 2654435761u) & (h->capacity - 1);
    while (h->tokens[i] != -1 && h->tokens[i] != token) {
        i = (i + 1) & (h->capacity - 1);
    }
    if (h->tokens[i] == -1) {
        WEFT_ASSERT(h->count < h->capacity / 2);
        h->tokens[i] = token;
        h->count++;
    }
    (is_answer ? h->n_answer : h->n_prompt)[i]++;
}

static void apply_penalties(float *logits, uint32_t n_vocab, const sampler_params *p,
                            const sampler_history *h) {
    for (uint32_t i = 0; i < h->capacity; i++) {
        const int32_t token = h->tokens[i];
        if (token < 0 || (uint32_t)token >= n_vocab) {
            continue;
        }
        float l = logits[token];
        l = l > 0 ? l / p->repetition_penalty : l * p->repetition_penalty;
        if (h->n_answer[i] > 0) {
            l -= p->presence_penalty + p->frequency_penalty * (float)h->n_answer[i];
        }
        logits[token] = l;
    }
}

/* ---- random numbers ---- */

/* Uniform in [0, 1), 53 bits. */
static double uniform(uint64_t seed, uint32_t choice, uint32_t position) {
    uint32_t c[4] = {position, choice, 0x77656674u, 0};
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)c[0] * 0xD2511F53u;
        const uint64_t b = (uint64_t)c[2] * 0xCD9E8D57u;
        const uint32_t c1 = c[1], c3 = c[3];
        c[0] = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c[1] = (uint32_t)b;
        c[2] = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c[3] = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    const uint64_t bits = (uint64_t)c[0] << 32 | c[1];
    return (double)(bits >> 11) * 0x1.0p-53;
}

/* ---- selection ---- */

static bool is_before(candidate a, candidate b) {
    return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

static void swap(candidate *a, candidate *b) {
    const candidate t = *a;
    *a = *b;
    *b = t;
}

/* Parts [low, high), of two or more, so that nothing of the first part comes after anything of the
 * second (Hoare, median-of-three pivot). Returns where the second begins; neither is empty. */
static uint32_t part(candidate *c, uint32_t low, uint32_t high) {
    const uint32_t mid = low + (high - low - 1) / 2; /* the lower one: both parts shrink */
    if (is_before(c[mid], c[low])) {
        swap(&c[mid], &c[low]);
    }
    if (is_before(c[high - 1], c[low])) {
        swap(&c[high - 1], &c[low]);
    }
    if (is_before(c[high - 1], c[mid])) {
        swap(&c[high - 1], &c[mid]);
    }
    const candidate pivot = c[mid];
    uint32_t i = low, j = high - 1;
    for (;;) {
        while (is_before(c[i], pivot)) {
            i++;
        }
        while (is_before(pivot, c[j])) {
            j--;
        }
        if (i >= j) {
            return j + 1;
        }
        swap(&c[i++], &c[j--]);
    }
}

/* Moves the k best to the front, in any order. */
static void select_best(candidate *c, uint32_t n, uint32_t k) {
    uint32_t low = 0, high = n;
    while (high - low > 1 && k > low && k < high) {
        const uint32_t split = part(c, low, high);
        if (k <= split) {
            high = split;
        } else {
            low = split;
        }
    }
}

/* The one that comes after all others of c[0..n). */
static candidate last_of(const candidate *c, uint32_t n) {
    candidate last = c[0];
    for (uint32_t i = 1; i < n; i++) {
        last = is_before(last, c[i]) ? c[i] : last;
    }
    return last;
}

static void sift_down(candidate *c, uint32_t n, uint32_t i) {
    for (;;) {
        uint32_t worst = 2 * i + 1;
        if (worst >= n) {
            return;
        }
        if (worst + 1 < n && is_before(c[worst], c[worst + 1])) {
            worst++;
        }
        if (!is_before(c[i], c[worst])) {
            return;
        }
        swap(&c[i], &c[worst]);
        i = worst;
    }
}

/* Heapsort, best first. */
static void sort_best(candidate *c, uint32_t n) {
    for (uint32_t i = n / 2; i-- > 0;) {
        sift_down(c, n, i);
    }
    for (uint32_t end = n; end > 1; end--) {
        swap(&c[0], &c[end - 1]);
        sift_down(c, end - 1, 0);
    }
}

/* The largest; -infinity when there is none. A NaN is not larger than anything. */
static float max_of(const float *x, uint32_t n) {
    float most[LANES];
    uint32_t i = 0;
    for (uint32_t lane = 0; lane < LANES; lane++) {
        most[lane] = -INFINITY;
    }
    for (; i + LANES <= n; i += LANES) {
        for (uint32_t lane = 0; lane < LANES; lane++) {
            most[lane] = x[i + lane] > most[lane] ? x[i + lane] : most[lane];
        }
    }
    float max = -INFINITY;
    for (; i < n; i++) {
        max = x[i] > max ? x[i] : max;
    }
    for (uint32_t lane = 0; lane < LANES; lane++) {
        max = most[lane] > max ? most[lane] : max;
    }
    return max;
}

static uint32_t block_count(uint32_t n_vocab) { return (n_vocab + BLOCK - 1) / BLOCK; }

static uint32_t block_len(uint32_t block, uint32_t n_vocab) {
    return n_vocab - block * BLOCK < BLOCK ? n_vocab - block * BLOCK : BLOCK;
}

/* The first of the largest; 0 when everything is banned. */
static int32_t pick_best(const float *logits, uint32_t n_vocab) {
    float best = -INFINITY;
    uint32_t at = 0;
    for (uint32_t b = 0; b < block_count(n_vocab); b++) {
        const float max = max_of(logits + b * BLOCK, block_len(b, n_vocab));
        at = max > best ? b * BLOCK : at;
        best = max > best ? max : best;
    }
    while (best > -INFINITY && logits[at] != best) {
        at++;
    }
    return (int32_t)at;
}

/* A row of logits without NaN, and its blocks' maxima. */
typedef struct vocab_row {
    const float *logits;
    uint32_t n_vocab;
    float *block_max; /* [block_count] */
    float max;
} vocab_row;

static vocab_row row_of(const float *logits, uint32_t n_vocab, float *block_max) {
    vocab_row r = {logits, n_vocab, block_max, -INFINITY};
    for (uint32_t b = 0; b < block_count(n_vocab); b++) {
        block_max[b] = max_of(logits + b * BLOCK, block_len(b, n_vocab));
        r.max = block_max[b] > r.max ? block_max[b] : r.max;
    }
    return r;
}

/* Candidates that are not below lowest, in the order of tokens. What is banned is none. */
static uint32_t take_from(candidate *c, const vocab_row *r, float lowest) {
    uint32_t n = 0;
    lowest = lowest >= -FLT_MAX ? lowest : -FLT_MAX;
    for (uint32_t b = 0; b < block_count(r->n_vocab); b++) {
        if (r->block_max[b] < lowest) {
            continue;
        }
        const uint32_t end = b * BLOCK + block_len(b, r->n_vocab);
        for (uint32_t i = b * BLOCK; i < end; i++) {
            if (r->logits[i] >= lowest) {
                c[n++] = (candidate){r->logits[i], (int32_t)i};
            }
        }
    }
    return n;
}

/* The k best, in any order; all, if these are fewer. */
static uint32_t take_top_k(candidate *c, const vocab_row *r, uint32_t k) {
    const uint32_t n_blocks = block_count(r->n_vocab);
    float lowest = -INFINITY;
    if (k < n_blocks) {
        for (uint32_t b = 0; b < n_blocks; b++) {
            c[b] = (candidate){r->block_max[b], (int32_t)b};
        }
        select_best(c, n_blocks, k);
        lowest = last_of(c, k).logit;
    }
    const uint32_t n = take_from(c, r, lowest);
    if (n <= k) {
        return n;
    }
    select_best(c, n, k);
    return k;
}

/* ---- weights ---- */

/* e^x for x from -88 to 0, to some units in the last place; 0 below some 2^-126.5. */
static inline float exp_neg(float x) {
    const float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f; /* 1.5 * 2^23 rounds */
    const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    const union {
        int32_t bits;
        float value;
    } power = {((int32_t)n + 127) * (1 << 23)}; /* 2^n, and 0 for 2^-127 */
    return p * power.value;
}

/* What exp_neg is asked for. */
static inline float exponent(float logit, float max, float temperature) {
    const float x = (logit - max) / temperature;
    return x > -88.0f ? x : -88.0f;
}

static float weight(float logit, float max, float temperature) {
    return exp_neg(exponent(logit, max, temperature));
}

/* w[i] of n tokens from first on, 0 for those after the bar. Returns their sum. */
static double block_weights(float *w, const vocab_row *r, uint32_t first, uint32_t n, candidate bar,
                            float temperature) {
    const float *x = r->logits + first;
    const int32_t bar_at = bar.token - (int32_t)first;
    float sums[LANES] = {0};
    for (uint32_t i = 0; i < n; i++) {
        w[i] = exponent(x[i], r->max, temperature);
    }
    for (uint32_t i = 0; i < n; i++) { /* apart: together they become branches */
        w[i] = exp_neg(w[i]);
    }
    for (uint32_t i = 0; i < n; i++) {
        const bool is_kept = (x[i] > bar.logit) | ((x[i] == bar.logit) & ((int32_t)i <= bar_at));
        w[i] = is_kept ? w[i] : 0.0f;
    }
    memset(w + n, 0, (BLOCK - n) * sizeof *w);
    for (uint32_t i = 0; i < BLOCK; i += LANES) {
        for (uint32_t lane = 0; lane < LANES; lane++) {
            sums[lane] += w[i + lane];
        }
    }
    double sum = 0;
    for (uint32_t lane = 0; lane < LANES; lane++) {
        sum += sums[lane];
    }
    return sum;
}

/* Of all tokens down to the bar, and of each block, which is 0 where no token is. */
static double sum_weights(double *block_sum, const vocab_row *r, candidate bar, float temperature) {
    float w[BLOCK];
    double total = 0;
    for (uint32_t b = 0; b < block_count(r->n_vocab); b++) {
        block_sum[b] =
            r->block_max[b] < bar.logit
                ? 0.0
                : block_weights(w, r, b * BLOCK, block_len(b, r->n_vocab), bar, temperature);
        total += block_sum[b];
    }
    return total;
}

static const candidate no_bar = {-INFINITY, INT32_MAX};

/* ---- the draw ---- */

static double sum_of(const candidate *c, uint32_t from, uint32_t to, float max, float temperature) {
    double sum = 0;
    for (uint32_t i = from; i < to; i++) {
        sum += weight(c[i].logit, max, temperature);
    }
    return sum;
}

/* Moves the best to the front, as few as have the weight wanted, in any order. Returns how many. */
static uint32_t keep_mass(candidate *c, uint32_t n, double wanted, float max, float temperature) {
    uint32_t low = 0, high = n;
    while (high - low > 1) {
        const uint32_t split = part(c, low, high);
        const double sum = sum_of(c, low, split, max, temperature);
        if (sum >= wanted) {
            high = split;
        } else {
            wanted -= sum;
            low = split;
        }
    }
    return high;
}

/* The last candidate that top-k and top-p keep. */
static candidate bar_of(candidate *c, double *block_sum, const vocab_row *r,
                        const sampler_params *p) {
    const bool has_k = p->top_k > 0 && (uint32_t)p->top_k < r->n_vocab;
    uint32_t n = 0;
    if (!has_k && p->top_p >= 1.0f) {
        return no_bar;
    }
    if (has_k) {
        n = take_top_k(c, r, (uint32_t)p->top_k);
    }
    if (p->top_p < 1.0f) {
        double total;
        if (has_k) {
            total = sum_of(c, 0, n, r->max, p->temperature);
        } else { /* half of a share: sums are rounded */
            total = sum_weights(block_sum, r, no_bar, p->temperature);
            const double share = (1.0 - p->top_p) * total / r->n_vocab / 2;
            n = take_from(c, r, (float)(r->max + p->temperature * log(share)));
        }
        n = keep_mass(c, n, p->top_p * total, r->max, p->temperature);
    }
    return last_of(c, n);
}

/* The first of a block's tokens with which the sum exceeds the target; the last that has a weight,
 * should a sum in another order miss it. */
static uint32_t draw_of_block(const float *w, uint32_t n, double sum, double target) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < n && sum <= target; i++) {
        sum += w[i];
        at = w[i] > 0 ? i : at;
    }
    return at;
}

static int32_t draw(double *block_sum, const vocab_row *r, candidate bar, const sampler_params *p,
                    uint32_t position) {
    float w[BLOCK];
    const double total = sum_weights(block_sum, r, bar, p->temperature);
    const double target = uniform(p->seed, p->choice, position) * total;
    double before = 0;
    uint32_t b = 0;
    while (before + block_sum[b] <= target && before + block_sum[b] < total) {
        before += block_sum[b++];
    }
    const uint32_t first = b * BLOCK, n = block_len(b, r->n_vocab);
    (void)block_weights(w, r, first, n, bar, p->temperature);
    return (int32_t)(first + draw_of_block(w, n, before, target));
}

static int32_t pick_random(candidate *c, double *block_sum, const vocab_row *r,
                           const sampler_params *p, uint32_t position) {
    if (r->max == -INFINITY) {
        return 0; /* everything is banned: nothing better to say */
    }
    if (r->max == INFINITY) {
        return pick_best(r->logits, r->n_vocab); /* no distribution to draw from */
    }
    candidate bar = bar_of(c, block_sum, r, p);
    if (p->min_p > 0.0f) {
        const candidate lowest = {r->max + p->temperature * logf(p->min_p), INT32_MAX};
        bar = is_before(lowest, bar) ? lowest : bar;
    }
    return draw(block_sum, r, bar, p, position);
}

/* ---- log probabilities ---- */

static double log_sum_exp(double *block_sum, const vocab_row *r) {
    if (isinf(r->max)) {
        return r->max > 0 ? r->max : 0;
    }
    return r->max + log(sum_weights(block_sum, r, no_bar, 1.0f));
}

static void fill_top(sampler_result *out, const vocab_row *r, double lse, candidate *c) {
    const uint32_t n = out->n_top < r->n_vocab ? out->n_top : r->n_vocab;
    out->n_top = n > 0 ? take_top_k(c, r, n) : 0;
    sort_best(c, out->n_top);
    for (uint32_t i = 0; i < out->n_top; i++) {
        out->top[i] = (sampler_logprob){c[i].token, (float)(c[i].logit - lse)};
    }
}

/* ---- all together ---- */

size_t sampler_scratch_bytes(uint32_t n_vocab) {
    return block_count(n_vocab) * (sizeof(double) + sizeof(float)) +
           n_vocab * (sizeof(candidate) + sizeof(float));
}

void sampler_pick(sampler_result *out, float *logits, uint32_t n_vocab, const sampler_params *p,
                  const sampler_history *history, uint32_t position, uint32_t n_top,
                  const int32_t *banned, size_t n_banned, void *scratch) {
    double *block_sum = scratch;
    float *block_max = (float *)(block_sum + block_count(n_vocab));
    candidate *candidates = (candidate *)(void *)(block_max + block_count(n_vocab));
    float *raw = (float *)(candidates + n_vocab);
    const bool has_logprobs = n_top != SAMPLER_NO_LOGPROBS;
    double lse = 0;
    *out = (sampler_result){0};
    if (has_logprobs || p->temperature != 0.0f) { /* the greedy choice passes NaN over by itself */
        for (uint32_t i = 0; i < n_vocab; i++) {
            logits[i] = isnan(logits[i]) ? -INFINITY : logits[i];
        }
    }
    if (has_logprobs) {
        memcpy(raw, logits, n_vocab * sizeof *raw);
        const vocab_row r = row_of(raw, n_vocab, block_max);
        lse = log_sum_exp(block_sum, &r);
        out->n_top = n_top < SAMPLER_TOP_LOGPROBS_MAX ? n_top : SAMPLER_TOP_LOGPROBS_MAX;
        fill_top(out, &r, lse, candidates);
    }
    for (uint32_t i = 0; i < p->n_bias; i++) {
        logits[p->bias[i].token] += p->bias[i].bias;
    }
    if (history != NULL) {
        apply_penalties(logits, n_vocab, p, history);
    }
    for (size_t i = 0; i < n_banned; i++) {
        logits[banned[i]] = -INFINITY;
    }
    if (p->temperature == 0.0f) {
        out->token = pick_best(logits, n_vocab);
    } else {
        const vocab_row r = row_of(logits, n_vocab, block_max);
        out->token = pick_random(candidates, block_sum, &r, p, position);
    }
    if (has_logprobs) {
        out->logprob = (float)(raw[out->token] - lse);
    }
}
