/* engine.c - one loaded model: opening and closing it, taking requests in, telling how it does.
 *
 * Opening plans first, then allocates exactly that. What the engine's thread does with requests is
 * in engine_loop.c.
 */
#include <pthread.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/os.h"
#include "engine/engine_impl.h"
#include "kernels/kernels.h"

#define QUEUE_DEFAULT 256u
#define QUEUE_MAX 65536u
#define KV_CACHE_BYTES_DEFAULT ((uint64_t)8 << 30)
#define PACK_CACHE_BYTES_MIN (16u << 20) /* less is packed as fast as it is read */
#define QUEUE_TOKENS_DEFAULT 1048576u

/* ---- open ---- */

weft_engine_options weft_engine_options_default(void) {
    return (weft_engine_options){.kv_type = WEFT_DTYPE_F16};
}

static weft_status make_plan(weft_engine *en, const weights *w, const weft_engine_options *o,
                             weft_error *err) {
    const plan_request rq = {.ctx = o->ctx,
                             .seqs = o->seqs != 0 ? o->seqs : 1,
                             .batch_rows = o->batch_rows,
                             .n_threads = weft_runtime_threads(en->rt),
                             .kv_type = o->kv_type,
                             .mem_bytes = en->rt->mem_bytes,
                             .kv_mem_bytes = o->kv_mem_bytes,
                             .maps_weights = o->maps_weights};
    weft_status status = geometry_read(&en->geo, w, err);
    if (status == WEFT_OK) {
        status = plan_make(&en->plan, &en->geo, w, &rq, err);
    }
    return status;
}

static weft_status load_text(weft_engine *en, const weights *w, weft_error *err) {
    weft_status status = vocab_create(&en->vocab, w, err);
    if (status != WEFT_OK) {
        return status;
    }
    if (vocab_size(en->vocab) > en->geo.n_vocab) {
        return weft_fail(err, WEFT_FORMAT, "%s: %u tokens in the vocabulary, but the model has %u",
                         en->path, vocab_size(en->vocab), en->geo.n_vocab);
    }
    for (uint32_t id = 0; id < vocab_size(en->vocab) && en->n_ends < ENGINE_ENDS_MAX; id++) {
        if (vocab_is_end(en->vocab, (int32_t)id)) {
            en->ends[en->n_ends++] = (int32_t)id;
        }
    }
    str source = {0};
    bool found = false;
    status = weights_get_str(w, "tokenizer.chat_template", &source, &found, err);
    if (status == WEFT_OK && found) {
        status = chat_create(&en->chat, source, vocab_token_text(en->vocab, vocab_bos(en->vocab)),
                             vocab_token_text(en->vocab, vocab_eos(en->vocab)), err);
    }
    return status;
}

static weft_status alloc_step(weft_engine *en, weft_error *err) {
    const uint32_t seqs = en->plan.seqs;
    en->sampler_scratch_stride = (sampler_scratch_bytes(en->geo.n_vocab) + 63) / 64 * 64;
    en->items = mem_zalloc(MEM_ENGINE, seqs, sizeof *en->items);
    en->sampled = mem_zalloc(MEM_ENGINE, seqs, sizeof *en->sampled);
    en->results = mem_zalloc(MEM_ENGINE, seqs, sizeof *en->results);
    en->sampler_scratch =
        mem_array(MEM_ENGINE, weft_runtime_threads(en->rt), en->sampler_scratch_stride);
    if (en->items == NULL || en->sampled == NULL || en->results == NULL ||
        en->sampler_scratch == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for steps of %u sequences", seqs);
    }
    const sched_config config = {.seqs_max = seqs,
                                 .queue_max = en->queue_max,
                                 .batch_rows_max = en->plan.batch_rows,
                                 .itl_target_ns = en->itl_target_ns};
    return sched_create(&en->sched, &config, err);
}

static uint64_t pages_fingerprint(const weft_engine *en, const weights *w) {
    const keep_origin origin = {.model = weights_identity(w),
                                .version = weft_version(),
                                .numerics = KERNELS_NUMERICS_VERSION,
                                .cpu = weft_runtime_cpu(en->rt),
                                .act_type = en->rt->act_type,
                                .plan = &en->plan};
    return keep_fingerprint(&origin);
}

static weft_status open_all(weft_engine *en, const weft_engine_options *o, weft_error *err) {
    weights *w = NULL;
    weft_status status = weights_open(&w, en->path, err);
    if (status != WEFT_OK) {
        return status;
    }
    en->file_bytes = weights_file_bytes(w);
    status = make_plan(en, w, o, err);
    if (status == WEFT_OK) {
        status = runtime_mem_take(en->rt, en->plan.total_bytes, err);
        en->has_budget = status == WEFT_OK;
    }
    if (status == WEFT_OK) {
        status = load_text(en, w, err);
    }
    if (status == WEFT_OK) {
        status = alloc_step(en, err);
    }
    if (status == WEFT_OK) {
        const pack_cache cache = {o->pack_cache_dir, o->pack_cache_bytes, PACK_CACHE_BYTES_MIN,
                                  en->rt->pool};
        const bool has_cache = cache.dir != NULL && cache.bytes_max > 0;
        const model_load_options load = {
            .progress = o->progress, .user = o->progress_user, .cache = has_cache ? &cache : NULL};
        /* Packing runs on the pool and may grow the device's workspace: no step meanwhile. */
        runtime_turn_take(en->rt);
        status = executor_create(&en->exec, en->rt->dev, w, &en->geo, &en->plan, &load, NULL, err);
        runtime_turn_give(en->rt);
    }
    if (status == WEFT_OK) {
        const keep_config config = {.dir = o->kv_cache_dir,
                                    .bytes_max = o->kv_cache_bytes != 0 ? o->kv_cache_bytes
                                                                        : KV_CACHE_BYTES_DEFAULT,
                                    .fingerprint = pages_fingerprint(en, w)};
        status = keep_init(&en->keep, en->exec, &config, err);
    }
    weights_release(&w);
    return status;
}

static void free_engine(weft_engine *en) {
    keep_deinit(&en->keep);
    executor_destroy(&en->exec);
    sched_destroy(&en->sched);
    chat_destroy(&en->chat);
    vocab_destroy(&en->vocab);
    if (en->has_budget) {
        runtime_mem_give(en->rt, en->plan.total_bytes);
    }
    pthread_mutex_destroy(&en->lock);
    pthread_cond_destroy(&en->work);
    meter_deinit(&en->meter);
    mem_free(en->items);
    mem_free(en->sampled);
    mem_free(en->results);
    mem_free(en->sampler_scratch);
    mem_free(en->path);
    mem_free(en);
}

weft_status weft_engine_open(weft_engine **out, weft_runtime *rt, const char *path,
                             const weft_engine_options *options, weft_error *err) {
    const weft_engine_options o = options != NULL ? *options : weft_engine_options_default();
    if (o.queue > QUEUE_MAX) {
        return weft_fail(err, WEFT_INVALID, "queue of %u requests, wanted at most %u", o.queue,
                         QUEUE_MAX);
    }
    if (o.shares_no_prefix && o.kv_cache_dir != NULL) {
        return weft_fail(
            err, WEFT_INVALID,
            "%s: pages are wanted on disk, and prefixes are not to be shared: choose one",
            o.kv_cache_dir);
    }
    weft_engine *en = mem_zalloc(MEM_ENGINE, 1, sizeof *en);
    if (en == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for an engine");
    }
    en->rt = rt;
    en->queue_max = o.queue != 0 ? o.queue : QUEUE_DEFAULT;
    en->on_turn = o.on_turn;
    en->turn_user = o.turn_user;
    en->shares_no_prefix = o.shares_no_prefix;
    en->itl_target_ns = o.itl_target_ms * UINT64_C(1000000);
    en->queue_tokens_max = o.queue_tokens != 0 ? o.queue_tokens : QUEUE_TOKENS_DEFAULT;
    pthread_mutex_init(&en->lock, NULL);
    pthread_cond_init(&en->work, NULL);
    meter_init(&en->meter);
    en->path = mem_strndup(MEM_ENGINE, path, strlen(path));
    weft_status status = en->path == NULL
                             ? weft_fail(err, WEFT_NOMEM, "out of memory for an engine")
                             : open_all(en, &o, err);
    if (status != WEFT_OK) {
        free_engine(en);
        return status;
    }
    if (os_thread_start(&en->thread, engine_main, en) != 0) {
        free_engine(en);
        return weft_fail(err, WEFT_NOMEM, "cannot start the engine's thread");
    }
    *out = en;
    return WEFT_OK;
}

void weft_engine_close(weft_engine **out) {
    weft_engine *en = *out;
    if (en == NULL) {
        return;
    }
    pthread_mutex_lock(&en->lock);
    en->is_closing = true;
    pthread_cond_signal(&en->work);
    pthread_mutex_unlock(&en->lock);
    pthread_join(en->thread, NULL);
    free_engine(en);
    *out = NULL;
}

/* ---- requests ---- */

/* Room for one more beside those that run and those that wait; the lock is held. A prompt that is
 * longer than the queue's tokens may still wait alone. */
static weft_status check_queue(weft_engine *en, uint32_t n_prompt, weft_error *err) {
    const uint32_t n_waiting = en->n_waiting + en->n_inbox;
    if (en->n_running + n_waiting >= en->plan.seqs + en->queue_max) {
        meter_reject(&en->meter, WEFT_REJECT_QUEUE);
        return weft_fail(err, WEFT_AGAIN, "%u requests are waiting, the queue holds no more",
                         n_waiting);
    }
    if (n_waiting > 0 && en->waiting_tokens + n_prompt > en->queue_tokens_max) {
        meter_reject(&en->meter, WEFT_REJECT_QUEUE_TOKENS);
        return weft_fail(err, WEFT_AGAIN,
                         "prompts of %llu tokens are waiting and this one has %u, the queue holds "
                         "%u",
                         (unsigned long long)en->waiting_tokens, n_prompt, en->queue_tokens_max);
    }
    return WEFT_OK;
}

weft_status weft_request_submit(weft_request **out, weft_engine *en,
                                const weft_request_options *options, weft_error *err) {
    weft_request *rq = NULL;
    weft_status status = request_create(&rq, en, en->vocab, en->plan.ctx, options, err);
    if (status != WEFT_OK) {
        meter_reject(&en->meter, status == WEFT_LIMIT ? WEFT_REJECT_TOO_LONG : WEFT_REJECT_INVALID);
        return status;
    }
    pthread_mutex_lock(&en->lock);
    status = check_queue(en, rq->n_prompt, err);
    if (status == WEFT_OK) {
        en->waiting_tokens += rq->n_prompt;
        rq->n_holders = 2;
        rq->next = en->inbox;
        en->inbox = rq;
        en->n_inbox++;
        pthread_cond_signal(&en->work);
    }
    pthread_mutex_unlock(&en->lock);
    if (status != WEFT_OK) {
        request_drop(rq);
        return status;
    }
    *out = rq;
    return WEFT_OK;
}

void weft_request_cancel(weft_request *rq) {
    pthread_mutex_lock(&rq->lock);
    rq->is_cancelled = true;
    pthread_mutex_unlock(&rq->lock);
}

void weft_request_release(weft_request **out) {
    weft_request *rq = *out;
    if (rq == NULL) {
        return;
    }
    pthread_mutex_lock(&rq->lock);
    rq->is_cancelled = true;
    rq->on_ready = NULL;
    pthread_mutex_unlock(&rq->lock);
    request_drop(rq);
    *out = NULL;
}

/* ---- views ---- */

static weft_memory planned_memory(const plan *p) {
    return (weft_memory){.weights_bytes = p->weights_bytes,
                         .packed_extra_bytes = p->packed_extra_bytes,
                         .kv_pool_bytes = p->kv_pool_bytes,
                         .state_pool_bytes = p->state_pool_bytes,
                         .scratch_bytes = p->scratch_bytes + p->workspace_bytes,
                         .process_bytes = p->process_bytes,
                         .total_bytes = p->total_bytes,
                         .mapped_bytes = p->mapped_bytes};
}

/* What was allocated, and as total what the system says is resident right now (of the process
 * alone when pages of the model's file are resident too). */
static weft_memory actual_memory(const weft_engine *en) {
    const executor_usage u = executor_usage_now(en->exec);
    return (weft_memory){.weights_bytes = en->plan.weights_bytes,
                         .packed_extra_bytes = en->plan.packed_extra_bytes,
                         .kv_pool_bytes = u.kv_pool_bytes,
                         .scratch_bytes = u.scratch_bytes + u.workspace_bytes,
                         .process_bytes = mem_stats_total().live_bytes,
                         .total_bytes =
                             en->plan.mapped_bytes > 0 ? os_anon_bytes() : os_rss_bytes(),
                         .mapped_bytes = en->plan.mapped_bytes};
}

weft_engine_info weft_engine_info_now(const weft_engine *en) {
    return (weft_engine_info){.path = en->path,
                              .arch = en->geo.arch,
                              .name = en->geo.name,
                              .params_total = en->plan.params_total,
                              .file_bytes = en->file_bytes,
                              .n_layers = en->geo.n_layers,
                              .n_embd = en->geo.n_embd,
                              .n_vocab = en->geo.n_vocab,
                              .ctx_train = en->geo.ctx_train,
                              .ctx = en->plan.ctx,
                              .seqs = en->plan.seqs,
                              .queue = en->queue_max,
                              .has_chat_template = en->chat != NULL,
                              .planned = planned_memory(&en->plan),
                              .actual = actual_memory(en)};
}

void weft_engine_load(const weft_engine *engine, uint32_t *running, uint32_t *waiting) {
    weft_engine *en = (weft_engine *)(uintptr_t)engine; /* the lock is not part of its value */
    pthread_mutex_lock(&en->lock);
    *running = en->n_running;
    *waiting = en->n_waiting + en->n_inbox;
    pthread_mutex_unlock(&en->lock);
}

uint32_t weft_engine_retry_after_ms(const weft_engine *engine) {
    weft_engine *en = (weft_engine *)(uintptr_t)engine;
    pthread_mutex_lock(&en->lock);
    const uint32_t ms = en->retry_ms;
    pthread_mutex_unlock(&en->lock);
    return ms;
}

void weft_engine_stats_now(const weft_engine *engine, weft_engine_stats *out) {
    weft_engine *en = (weft_engine *)(uintptr_t)engine;
    meter_read(&en->meter, out);
    pthread_mutex_lock(&en->lock);
    out->running = en->n_running;
    out->waiting = en->n_waiting + en->n_inbox;
    out->waiting_tokens = en->waiting_tokens;
    out->n_groups = en->plan.n_groups;
    memcpy(out->pages, en->pages, sizeof out->pages);
    pthread_mutex_unlock(&en->lock);
}

const vocab *engine_vocab(const weft_engine *en) { return en->vocab; }

const chat *engine_chat(const weft_engine *en) { return en->chat; }
