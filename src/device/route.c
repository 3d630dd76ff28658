/* route.c - scores, selection, weights.
 *
 *   score   softmax or sigmoid of each logit, or the logit itself
 *   select  score + bias, minus infinity outside the best groups; the n_used largest
 *   weight  the score without bias (or softmax of the selected logits), normalised, scaled
 *
 * Mixtral and Qwen3 take the softmax of all, gpt-oss that of the selected ones; DeepSeek-V2 keeps
 * to groups by their best expert, DeepSeek-V3 by their two best, with sigmoid scores and a bias.
 * Weights are summed in rank order.
 */
#include "device/route.h"

#include <math.h>
#include <string.h>

#include "base/check.h"

static void sigmoid(const kernels_cpu *k, float *y, const float *x, size_t n) {
    float ones[EXPERTS_MAX];
    for (size_t i = 0; i < n; i++) {
        ones[i] = 1.0f;
    }
    k->act_mul[ACT_KIND_SIGMOID](y, x, ones, n);
}

/* Minus infinity for the experts outside the best groups. */
static void keep_groups(const kernels_cpu *k, const expert_routing *r, float *choice) {
    const uint32_t len = r->n_experts / r->n_groups;
    float worth[EXPERTS_MAX];
    uint32_t best[EXPERTS_MAX], kept[EXPERTS_MAX];
    for (uint32_t g = 0; g < r->n_groups; g++) {
        k->topk(best, choice + g * len, len, r->n_group_best);
        worth[g] = 0.0f;
        for (uint32_t i = 0; i < r->n_group_best; i++) {
            worth[g] += choice[g * len + best[i]];
        }
    }
    k->topk(kept, worth, r->n_groups, r->n_groups_used);
    for (uint32_t g = 0; g < r->n_groups; g++) {
        bool is_kept = false;
        for (uint32_t i = 0; i < r->n_groups_used; i++) {
            is_kept |= kept[i] == g;
        }
        for (uint32_t e = g * len; !is_kept && e < (g + 1) * len; e++) {
            choice[e] = -INFINITY;
        }
    }
}

void route_row(const kernels_cpu *k, const expert_routing *r, const float *logits,
               const float *bias, uint32_t *id, float *weight) {
    const size_t n = r->n_experts;
    float score[EXPERTS_MAX], choice[EXPERTS_MAX];
    WEFT_DEBUG_ASSERT(n <= EXPERTS_MAX);
    WEFT_DEBUG_ASSERT(r->n_used <= n);
    switch (r->score) {
    case EXPERT_SCORE_SOFTMAX: k->softmax(score, logits, n); break;
    case EXPERT_SCORE_SIGMOID: sigmoid(k, score, logits, n); break;
    case EXPERT_SCORE_SOFTMAX_SELECTED: memcpy(score, logits, n * sizeof *score); break;
    }
    memcpy(choice, score, n * sizeof *choice);
    if (bias != NULL) {
        k->add(choice, bias, n);
    }
    if (r->n_groups > 1) {
        keep_groups(k, r, choice);
    }
    k->topk(id, choice, n, r->n_used);
    float sum = 0.0f;
    for (uint32_t i = 0; i < r->n_used; i++) {
        weight[i] = score[id[i]];
    }
    if (r->score == EXPERT_SCORE_SOFTMAX_SELECTED) {
        k->softmax(weight, weight, r->n_used);
    }
    for (uint32_t i = 0; i < r->n_used; i++) {
        sum += weight[i];
    }
    const float factor = r->is_normalised ? r->scale / (sum + 1e-20f) : r->scale;
    for (uint32_t i = 0; i < r->n_used; i++) {
        weight[i] *= factor;
    }
}
