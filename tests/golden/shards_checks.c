/* shards_checks.c - one prompt through a whole model, and through its parts side by side.
 *
 * A rank that cannot open ends the comparison before any rank enters a collective, so that none
 * waits for one that will not come.
 */
#include "shards_checks.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/os.h"

typedef struct rank_job {
    bits_rig rig;
    const shards_prompt *prompt;
    float *logits; /* [prompt->n_tail][n_vocab] */
} rank_job;

static void run_prompt(rank_job *job) {
    bits_rig *rig = &job->rig;
    const uint32_t n_vocab = rig->geo.n_vocab;
    const shards_prompt *prompt = job->prompt;
    int32_t *tokens = mem_array(MEM_TEST, prompt->n, sizeof *tokens);
    WEFT_ASSERT(tokens != NULL);
    if (prompt->tokens != NULL) {
        memcpy(tokens, prompt->tokens, prompt->n * sizeof *tokens);
    } else {
        bits_tokens(tokens, prompt->n, n_vocab, 7);
    }
    kv_seqs *kv = executor_kv(rig->exec);
    const kv_seq seq = kv_seq_try_open(kv, rig->plan.ctx);
    WEFT_ASSERT(seq != KV_SEQ_NONE);
    uint32_t n_kept = 0;
    for (uint32_t at = 0; at < prompt->n; at += prompt->chunk) {
        const uint32_t left = prompt->n - at;
        const uint32_t n = left < prompt->chunk ? left : prompt->chunk;
        const uint32_t tail_from = prompt->n - prompt->n_tail;
        const uint32_t n_out = at + n <= tail_from ? 0 : (at >= tail_from ? n : at + n - tail_from);
        weft_error err;
        kv_seq_grow(kv, seq, at, at + n);
        const executor_item item = {seq, at, n, tokens + at, n_out};
        const weft_status status = executor_run(rig->exec, &item, 1, &err);
        WEFT_ASSERT(status == WEFT_OK);
        for (uint32_t i = 0; i < n_out; i++) {
            memcpy(job->logits + (size_t)n_kept++ * n_vocab, executor_logits(rig->exec, i),
                   n_vocab * sizeof(float));
        }
    }
    WEFT_ASSERT(n_kept == prompt->n_tail);
    kv_seq_close(kv, seq);
    mem_free(tokens);
}

static void *rank_main(void *arg) {
    run_prompt(arg);
    return NULL;
}

static weft_status open_job(rank_job *job, const bits_config *c, const shards_prompt *prompt,
                            weft_error *err) {
    *job = (rank_job){.prompt = prompt};
    const weft_status status = bits_rig_open(&job->rig, c, err);
    if (status != WEFT_OK) {
        return status;
    }
    job->logits = mem_array(MEM_TEST, (size_t)prompt->n_tail * job->rig.geo.n_vocab, sizeof(float));
    return job->logits != NULL ? WEFT_OK : weft_fail(err, WEFT_NOMEM, "out of memory for logits");
}

static void close_job(rank_job *job) {
    bits_rig_close(&job->rig);
    mem_free(job->logits);
}

/* log of the sum of exponentials. */
static double log_sum(const float *row, uint32_t n, float max) {
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++) {
        sum += exp((double)row[i] - max);
    }
    return (double)max + log(sum);
}

static uint32_t best_of(const float *row, uint32_t n) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++) {
        best = row[i] > row[best] ? i : best;
    }
    return best;
}

static void compare_rows(shards_result *r, const float *want, const float *got, uint32_t n_rows,
                         uint32_t n_vocab) {
    double error = 0.0, spread = 0.0;
    for (uint32_t i = 0; i < n_rows; i++) {
        const float *w = want + (size_t)i * n_vocab;
        const float *g = got + (size_t)i * n_vocab;
        const uint32_t best_w = best_of(w, n_vocab), best_g = best_of(g, n_vocab);
        const double log_w = log_sum(w, n_vocab, w[best_w]);
        const double log_g = log_sum(g, n_vocab, g[best_g]);
        double mean = 0.0, kl = 0.0;
        for (uint32_t j = 0; j < n_vocab; j++) {
            mean += (double)w[j] / n_vocab;
            kl += exp(w[j] - log_w) * ((w[j] - log_w) - (g[j] - log_g));
        }
        for (uint32_t j = 0; j < n_vocab; j++) {
            error += ((double)g[j] - w[j]) * ((double)g[j] - w[j]);
            spread += (w[j] - mean) * (w[j] - mean);
        }
        r->kl_mean += kl / n_rows;
        r->n_top_equal += best_w == best_g;
    }
    r->n_rows = n_rows;
    r->nmse = error / spread;
}

static void run_ranks(rank_job *jobs, uint32_t size) {
    pthread_t threads[SHARDS_MAX];
    for (uint32_t i = 1; i < size; i++) {
        const int failed = os_thread_start(&threads[i], rank_main, &jobs[i]);
        WEFT_ASSERT(failed == 0);
    }
    run_prompt(&jobs[0]);
    for (uint32_t i = 1; i < size; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void judge(shards_result *out, const rank_job *whole, const rank_job *jobs, uint32_t size) {
    const uint32_t n_vocab = whole->rig.geo.n_vocab;
    *out = (shards_result){.ranks_agree = true, .packed_bytes_whole = whole->rig.plan.packed_bytes};
    compare_rows(out, whole->logits, jobs[0].logits, whole->prompt->n_tail, n_vocab);
    for (uint32_t i = 0; i < size; i++) {
        const uint64_t bytes = jobs[i].rig.plan.packed_bytes;
        out->packed_bytes_max = bytes > out->packed_bytes_max ? bytes : out->packed_bytes_max;
        out->ranks_agree &= memcmp(jobs[0].logits, jobs[i].logits,
                                   (size_t)whole->prompt->n_tail * n_vocab * sizeof(float)) == 0;
    }
}

weft_status shards_compare(shards_result *out, const bits_config *c, uint32_t size,
                           const shards_prompt *prompt, weft_error *err) {
    WEFT_ASSERT(size <= SHARDS_MAX);
    dist *ranks[SHARDS_MAX] = {0};
    rank_job whole = {0}, jobs[SHARDS_MAX] = {0};
    weft_status status = open_job(&whole, c, prompt, err);
    if (status == WEFT_OK) {
        status =
            dist_loopback_create(ranks, size, (size_t)prompt->chunk * whole.rig.geo.n_embd, err);
    }
    for (uint32_t i = 0; i < size && status == WEFT_OK; i++) {
        bits_config mine = *c;
        mine.n_threads = 1;
        mine.request.rank = ranks[i]->place;
        mine.ranks = ranks[i];
        status = open_job(&jobs[i], &mine, prompt, err);
    }
    if (status == WEFT_OK) {
        run_prompt(&whole);
        run_ranks(jobs, size);
        judge(out, &whole, jobs, size);
    }
    for (uint32_t i = 0; i < size; i++) {
        close_job(&jobs[i]);
        dist_destroy(&ranks[i]);
    }
    close_job(&whole);
    return status;
}
