/* sampler.c - the order of things, and the selections that make it fast.
 *
 * Candidates are (logit, token) pairs under one total order: higher logit first, then lower id.
 * top-k looks only at those blocks of the vocabulary whose maximum is among the k best maxima,
 * since each of these is as good as anything elsewhere, and quickselects there. top-p sorts only as
 * long a prefix as it needs, growing it by four. What is left is drawn in that order, so that equal
 * inputs draw equal tokens whatever the path.
 *
 * Random numbers: Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2,
 * 3"), counter (position, choice), key (seed).
 *
 * Log probabilities are those of the model, before bias, penalties, temperature and filters.
 */
#include "sample/sampler.h"

#include <math.h>
#include <string.h>

#include "base/check.h"

#define BLOCK 64u         /* logits that are looked at or passed over together */
#define LANES 16u         /* maxima of a block side by side: a vector of any instruction set */
#define PREFIX_START 128u /* first sorted prefix that top-p tries */

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

/* Moves the k best to the front, in any order (Hoare's quickselect, median-of-three pivot). */
static void select_best(candidate *c, uint32_t n, uint32_t k) {
    uint32_t low = 0, high = n;
    while (high - low > 1 && k > low && k < high) {
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
                break;
            }
            swap(&c[i++], &c[j--]);
        }
        if (k <= j + 1) {
            high = j + 1;
        } else {
            low = j + 1;
        }
    }
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

static double weight(candidate c, float max, float temperature) {
    return expf((c.logit - max) / temperature);
}

/* Keeps the shortest best-first prefix with probability top_p; sorted afterwards. */
static uint32_t keep_top_p(candidate *c, uint32_t n, const sampler_params *p, float max) {
    double total = 0;
    for (uint32_t i = 0; i < n; i++) {
        total += weight(c[i], max, p->temperature);
    }
    for (uint32_t prefix = PREFIX_START;; prefix *= 4) {
        const uint32_t k = prefix < n ? prefix : n;
        double sum = 0;
        select_best(c, n, k);
        sort_best(c, k);
        for (uint32_t i = 0; i < k; i++) {
            sum += weight(c[i], max, p->temperature);
            if (sum >= p->top_p * total) {
                return i + 1;
            }
        }
        if (k == n) {
            return n;
        }
    }
}

/* The candidates' logits become weights. */
static int32_t draw(candidate *c, uint32_t n, float max, const sampler_params *p,
                    uint32_t position) {
    double total = 0;
    for (uint32_t i = 0; i < n; i++) {
        c[i].logit = (float)weight(c[i], max, p->temperature);
        total += c[i].logit;
    }
    const double target = uniform(p->seed, p->choice, position) * total;
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += c[i].logit;
        if (sum > target) {
            return c[i].token;
        }
    }
    return c[n - 1].token;
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

static uint32_t block_end(uint32_t from, uint32_t n_vocab) {
    return n_vocab - from < BLOCK ? n_vocab : from + BLOCK;
}

/* The first of the largest; 0 when everything is banned. */
static int32_t pick_best(const float *logits, uint32_t n_vocab) {
    float best = -INFINITY;
    uint32_t at = 0;
    for (uint32_t from = 0; from < n_vocab; from += BLOCK) {
        const float max = max_of(logits + from, block_end(from, n_vocab) - from);
        at = max > best ? from : at;
        best = max > best ? max : best;
    }
    while (best > -INFINITY && logits[at] != best) {
        at++;
    }
    return (int32_t)at;
}

/* Candidates from a block, without what is banned. */
static uint32_t take_block(candidate *c, uint32_t n, const float *logits, uint32_t from,
                           uint32_t end) {
    for (uint32_t i = from; i < end; i++) {
        if (logits[i] != -INFINITY) {
            c[n++] = (candidate){logits[i], (int32_t)i};
        }
    }
    return n;
}

/* The k best, best first; without more than k all, as they stand. blocks: room for one a block. */
static uint32_t take_top_k(candidate *c, candidate *blocks, const float *logits, uint32_t n_vocab,
                           uint32_t k) {
    uint32_t n_blocks = 0, n = 0;
    for (uint32_t from = 0; from < n_vocab; from += BLOCK) {
        const float max = max_of(logits + from, block_end(from, n_vocab) - from);
        blocks[n_blocks++] = (candidate){max, (int32_t)from};
    }
    const uint32_t n_taken = k < n_blocks ? k : n_blocks;
    select_best(blocks, n_blocks, n_taken);
    for (uint32_t i = 0; i < n_taken; i++) {
        const uint32_t from = (uint32_t)blocks[i].token;
        n = take_block(c, n, logits, from, block_end(from, n_vocab));
    }
    if (n <= k) { /* perhaps nearly everything is banned */
        n = take_block(c, 0, logits, 0, n_vocab);
    }
    if (n <= k) {
        return n;
    }
    select_best(c, n, k);
    sort_best(c, k);
    return k;
}

static int32_t pick_random(const float *logits, uint32_t n_vocab, const sampler_params *p,
                           uint32_t position, candidate *c, candidate *blocks) {
    const float max = max_of(logits, n_vocab);
    if (max == -INFINITY) {
        return 0; /* everything is banned: nothing better to say */
    }
    if (max == INFINITY) {
        return pick_best(logits, n_vocab); /* no distribution to draw from */
    }
    uint32_t n = 0;
    if (p->top_k > 0 && (uint32_t)p->top_k < n_vocab) {
        n = take_top_k(c, blocks, logits, n_vocab, (uint32_t)p->top_k);
    } else {
        n = take_block(c, 0, logits, 0, n_vocab);
    }
    if (p->top_p < 1.0f) {
        n = keep_top_p(c, n, p, max);
    }
    if (p->min_p > 0.0f) {
        const float lowest = max + p->temperature * logf(p->min_p);
        uint32_t kept = 0;
        for (uint32_t i = 0; i < n; i++) {
            if (c[i].logit >= lowest) {
                c[kept++] = c[i];
            }
        }
        n = kept;
    }
    return draw(c, n, max, p, position);
}

/* ---- log probabilities ---- */

static double log_sum_exp(const float *logits, uint32_t n_vocab) {
    float max = -INFINITY;
    for (uint32_t i = 0; i < n_vocab; i++) {
        max = logits[i] > max ? logits[i] : max;
    }
    if (max == -INFINITY) {
        return 0;
    }
    double sum = 0;
    for (uint32_t i = 0; i < n_vocab; i++) {
        sum += expf(logits[i] - max);
    }
    return max + log(sum);
}

static void fill_top(sampler_result *out, const float *logits, uint32_t n_vocab, double lse,
                     candidate *c) {
    for (uint32_t i = 0; i < n_vocab; i++) {
        c[i] = (candidate){logits[i], (int32_t)i};
    }
    const uint32_t n = out->n_top < n_vocab ? out->n_top : n_vocab;
    select_best(c, n_vocab, n);
    sort_best(c, n);
    for (uint32_t i = 0; i < n; i++) {
        out->top[i] = (sampler_logprob){c[i].token, (float)(c[i].logit - lse)};
    }
    out->n_top = n;
}

/* ---- all together ---- */

size_t sampler_scratch_bytes(uint32_t n_vocab) {
    const size_t n_blocks = (n_vocab + BLOCK - 1) / BLOCK;
    return (n_vocab + n_blocks) * sizeof(candidate) + n_vocab * sizeof(float);
}

void sampler_pick(sampler_result *out, float *logits, uint32_t n_vocab, const sampler_params *p,
                  const sampler_history *history, uint32_t position, uint32_t n_top,
                  const int32_t *banned, size_t n_banned, void *scratch) {
    candidate *candidates = scratch;
    candidate *blocks = candidates + n_vocab;
    float *raw = (float *)(blocks + (n_vocab + BLOCK - 1) / BLOCK);
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
        lse = log_sum_exp(raw, n_vocab);
        out->n_top = n_top < SAMPLER_TOP_LOGPROBS_MAX ? n_top : SAMPLER_TOP_LOGPROBS_MAX;
        fill_top(out, raw, n_vocab, lse, candidates);
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
    out->token = p->temperature == 0.0f
                     ? pick_best(logits, n_vocab)
                     : pick_random(logits, n_vocab, p, position, candidates, blocks);
    if (has_logprobs) {
        out->logprob = (float)(raw[out->token] - lse);
    }
}
