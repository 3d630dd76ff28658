/* bits_checks.c - the same tokens in many batchings, compared by fingerprints of logits rows.
 *
 * Every run starts from an empty cache whose free pages are shuffled by another seed, so that no two
 * runs put a position into the same page. Whatever still gives the same bits depends on tokens
 * and positions alone.
 */
#include "bits_checks.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "device/device_cpu.h"
#include "device/device_deferred.h"

#define CHUNK_ROWS 7u

weft_status bits_rig_open(bits_rig *rig, const bits_config *c, weft_error *err) {
    *rig = (bits_rig){0};
    weft_status status = weights_open(&rig->w, c->path, err);
    if (status == WEFT_OK) {
        status = geometry_read(&rig->geo, rig->w, err);
    }
    if (status == WEFT_OK) {
        plan_request request = c->request;
        request.n_threads = c->n_threads;
        status = plan_make(&rig->plan, &rig->geo, rig->w, &request, err);
    }
    if (status == WEFT_OK) {
        status = pool_create(&rig->pool, c->n_threads, err);
    }
    if (status == WEFT_OK) {
        status = c->is_deferred ? device_deferred_create(&rig->dev, rig->pool, err)
                                : device_cpu_create(&rig->dev, rig->pool,
                                                    cpu_flags_detect() & c->cpu_flags, err);
    }
    if (status == WEFT_OK) {
        const pack_cache cache = {c->cache_dir, UINT64_MAX, 0, rig->pool};
        const model_load_options load = {.cache = c->cache_dir != NULL ? &cache : NULL};
        status = executor_create(&rig->exec, rig->dev, rig->w, &rig->geo, &rig->plan, &load,
                                 c->ranks, err);
    }
    if (status != WEFT_OK) {
        bits_rig_close(rig);
    }
    return status;
}

void bits_rig_close(bits_rig *rig) {
    executor_destroy(&rig->exec);
    device_destroy(&rig->dev);
    pool_destroy(&rig->pool);
    weights_release(&rig->w);
    *rig = (bits_rig){0};
}

void bits_tokens(int32_t *out, uint32_t n, uint32_t n_vocab, uint64_t seed) {
    for (uint32_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        out[i] = (int32_t)((seed >> 33) % n_vocab);
    }
}

uint64_t bits_row(const bits_rig *rig, uint32_t i) {
    const float *row = executor_logits(rig->exec, i);
    uint64_t hash = 0xcbf29ce484222325u;
    for (uint32_t j = 0; j < rig->geo.n_vocab; j++) {
        uint32_t word;
        if (!isfinite(row[j])) {
            return 0;
        }
        memcpy(&word, &row[j], sizeof word);
        hash = (hash ^ word) * 0x100000001b3u;
        hash ^= hash >> 29;
    }
    return hash;
}

static void run(bits_rig *rig, const executor_item *items, uint32_t n_items) {
    weft_error err = {0};
    const weft_status status = executor_run(rig->exec, items, n_items, &err);
    WEFT_ASSERT(status == WEFT_OK);
}

static kv_seq open_seq(bits_rig *rig) {
    const kv_seq seq = kv_seq_try_open(executor_kv(rig->exec), rig->plan.ctx);
    WEFT_ASSERT(seq != KV_SEQ_NONE);
    return seq;
}

static void run_chunk(bits_rig *rig, kv_seq seq, const int32_t *tokens, uint32_t from, uint32_t n,
                      uint32_t n_out) {
    kv_seq_grow(executor_kv(rig->exec), seq, from, from + n);
    kv_seqs_check(executor_kv(rig->exec));
    const executor_item item = {seq, from, n, tokens + from, n_out};
    run(rig, &item, 1);
}

/* Fills the cache with the first n tokens, `chunk` at a time. */
static void fill_past(bits_rig *rig, kv_seq seq, const int32_t *tokens, uint32_t n,
                      uint32_t chunk) {
    for (uint32_t at = 0; at < n; at += chunk) {
        run_chunk(rig, seq, tokens, at, n - at < chunk ? n - at : chunk, 0);
    }
}

typedef struct story {
    int32_t *tokens;
    uint32_t n_past, n_new;
} story;

static void run_together(bits_rig *rig, const story stories[3], uint64_t *rows) {
    kv_seqs *kv = executor_kv(rig->exec);
    executor_item items[3];
    kv_seqs_shuffle(kv, 1);
    for (uint32_t s = 0; s < 3; s++) {
        items[s] = (executor_item){open_seq(rig), stories[s].n_past, stories[s].n_new,
                                   stories[s].tokens + stories[s].n_past, stories[s].n_new};
        fill_past(rig, items[s].seq, stories[s].tokens, stories[s].n_past, rig->plan.batch_rows);
    }
    for (uint32_t s = 0; s < 3; s++) {
        kv_seq_grow(kv, items[s].seq, items[s].from, items[s].from + items[s].n_tokens);
    }
    kv_seqs_check(kv);
    run(rig, items, 3);
    for (uint32_t i = 0; i < BITS_TOGETHER_ROWS; i++) {
        rows[i] = bits_row(rig, i);
    }
    for (uint32_t s = 0; s < 3; s++) {
        kv_seq_close(kv, items[s].seq);
    }
}

static void run_alone(bits_rig *rig, const story *t, uint64_t seed, uint64_t *rows) {
    kv_seqs *kv = executor_kv(rig->exec);
    kv_seqs_shuffle(kv, seed);
    const kv_seq seq = open_seq(rig);
    fill_past(rig, seq, t->tokens, t->n_past, rig->plan.batch_rows);
    run_chunk(rig, seq, t->tokens, t->n_past, t->n_new, t->n_new);
    for (uint32_t i = 0; i < t->n_new; i++) {
        rows[i] = bits_row(rig, i);
    }
    kv_seq_close(kv, seq);
}

uint32_t bits_together(bits_rig *rig, uint32_t n_past_chunk, uint32_t n_past_decode) {
    uint64_t together[BITS_TOGETHER_ROWS], alone[BITS_TOGETHER_ROWS];
    story stories[3] = {{NULL, n_past_chunk, CHUNK_ROWS}, {NULL, n_past_decode, 1}, {NULL, 0, 1}};
    for (uint32_t s = 0; s < 3; s++) {
        const uint32_t n = stories[s].n_past + stories[s].n_new;
        stories[s].tokens = mem_array(MEM_TEST, n, sizeof *stories[s].tokens);
        WEFT_ASSERT(stories[s].tokens != NULL);
        bits_tokens(stories[s].tokens, n, rig->geo.n_vocab, 100 + s);
    }
    run_together(rig, stories, together);
    uint32_t row = 0;
    for (uint32_t s = 0; s < 3; s++) {
        run_alone(rig, &stories[s], 2 + s, alone + row);
        row += stories[s].n_new;
        mem_free(stories[s].tokens);
    }
    WEFT_ASSERT(row == BITS_TOGETHER_ROWS);
    return bits_equal(together, alone, BITS_TOGETHER_ROWS);
}

void bits_prefill(bits_rig *rig, uint32_t n_tokens, uint32_t chunk, uint32_t n_tail,
                  uint64_t *rows) {
    kv_seqs *kv = executor_kv(rig->exec);
    int32_t *tokens = mem_array(MEM_TEST, n_tokens, sizeof *tokens);
    WEFT_ASSERT(tokens != NULL);
    bits_tokens(tokens, n_tokens, rig->geo.n_vocab, 7);
    kv_seqs_shuffle(kv, 10 + chunk);
    const kv_seq seq = open_seq(rig);
    uint32_t n_kept = 0;
    for (uint32_t at = 0; at < n_tokens; at += chunk) {
        const uint32_t n = n_tokens - at < chunk ? n_tokens - at : chunk;
        const uint32_t left = n_tokens - at - n; /* rows that come after this chunk */
        uint32_t n_out = left < n_tail ? n_tail - left : 0;
        n_out = n_out < n ? n_out : n;
        run_chunk(rig, seq, tokens, at, n, n_out);
        for (uint32_t i = 0; i < n_out; i++) {
            rows[n_kept++] = bits_row(rig, i);
        }
    }
    WEFT_ASSERT(n_kept == n_tail);
    kv_seq_close(kv, seq);
    mem_free(tokens);
}

uint32_t bits_equal(const uint64_t *a, const uint64_t *b, uint32_t n) {
    uint32_t n_equal = 0;
    for (uint32_t i = 0; i < n; i++) {
        n_equal += a[i] == b[i] && a[i] != 0;
    }
    return n_equal;
}
