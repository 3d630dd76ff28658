/* pick.c - how long choosing one token takes, by what its choice is limited to.
 *
 *   pick [VOCAB]
 *
 * VOCAB (250000) logits are normally distributed. With a deviation of 6 some hundreds of them have
 * 0.95 of the probability, with 3 some tens of thousands. A line is the limits and the median time
 * of a pick for both; the last gives the log probabilities of 5 alternatives too.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/str.h"
#include "sample/sampler.h"

enum { RUNS = 51, VOCAB_MAX = 1 << 24 };

typedef struct limits {
    const char *name;
    float temperature;
    int32_t top_k;
    float top_p, min_p;
    uint32_t n_top;
} limits;

static const limits all_limits[] = {
    {"temperature 0", 0.0f, 0, 1.0f, 0.0f, SAMPLER_NO_LOGPROBS},
    {"none", 1.0f, 0, 1.0f, 0.0f, SAMPLER_NO_LOGPROBS},
    {"top-k 40", 1.0f, 40, 1.0f, 0.0f, SAMPLER_NO_LOGPROBS},
    {"top-k 1000", 1.0f, 1000, 1.0f, 0.0f, SAMPLER_NO_LOGPROBS},
    {"top-p 0.95", 1.0f, 0, 0.95f, 0.0f, SAMPLER_NO_LOGPROBS},
    {"min-p 0.05", 1.0f, 0, 1.0f, 0.05f, SAMPLER_NO_LOGPROBS},
    {"top-k 40, top-p 0.95, min-p 0.05", 1.0f, 40, 0.95f, 0.05f, SAMPLER_NO_LOGPROBS},
    {"the same, 5 log probabilities", 1.0f, 40, 0.95f, 0.05f, 5},
};

static void fill(float *logits, uint32_t n, float deviation) {
    uint64_t state = 9;
    for (uint32_t i = 0; i < n; i++) {
        float sum = 0.0f; /* of 12 uniforms of variance 1/12 */
        for (int j = 0; j < 12; j++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += (float)(state >> 40) * 0x1p-24f - 0.5f;
        }
        logits[i] = deviation * sum;
    }
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_us(const limits *l, float *logits, uint32_t n_vocab, void *scratch) {
    double us[RUNS];
    sampler_params p = sampler_params_default();
    p.temperature = l->temperature;
    p.top_k = l->top_k;
    p.top_p = l->top_p;
    p.min_p = l->min_p;
    for (uint32_t i = 0; i < RUNS; i++) {
        sampler_result result;
        const uint64_t begin = clock_now_ns();
        sampler_pick(&result, logits, n_vocab, &p, NULL, i, l->n_top, NULL, 0, scratch);
        us[i] = clock_seconds(clock_now_ns() - begin) * 1e6;
    }
    qsort(us, RUNS, sizeof us[0], by_value);
    return us[RUNS / 2];
}

int main(int argc, char **argv) {
    uint64_t n_vocab = 250000;
    if (argc > 2 || (argc == 2 && !str_parse_u64(str_from_cstr(argv[1]), &n_vocab)) ||
        n_vocab == 0 || n_vocab > VOCAB_MAX) {
        fprintf(stderr, "usage: pick [VOCAB]\n");
        return 2;
    }
    float *sure = malloc(n_vocab * sizeof *sure), *unsure = malloc(n_vocab * sizeof *unsure);
    void *scratch = malloc(sampler_scratch_bytes((uint32_t)n_vocab));
    WEFT_ASSERT(sure != NULL && unsure != NULL && scratch != NULL);
    fill(sure, (uint32_t)n_vocab, 6.0f);
    fill(unsure, (uint32_t)n_vocab, 3.0f);
    printf("%-36s %14s %14s\n", "", "deviation 6", "deviation 3");
    for (size_t i = 0; i < WEFT_LEN(all_limits); i++) {
        const limits *l = &all_limits[i];
        printf("%-36s %11.1f us", l->name, median_us(l, sure, (uint32_t)n_vocab, scratch));
        printf(" %11.1f us\n", median_us(l, unsure, (uint32_t)n_vocab, scratch));
    }
    free(sure);
    free(unsure);
    free(scratch);
    return 0;
}
