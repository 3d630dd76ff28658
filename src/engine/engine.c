/* engine.c - one loaded model and the thread that runs it.
 *
 *   inbox (guarded by lock) ─► live list (engine's thread) ─► sched ─► executor ─► sampler
 *
 * The thread sleeps while there is nothing to do. Each turn of its loop takes new requests in,
 * drops cancelled ones, asks the scheduler for a step, runs it and publishes the tokens. While a
 * step runs no lock is held but the runtime's turn, and nothing is allocated: requests brought
 * their own storage, the executor has its own.
 */
#include <pthread.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/os.h"
#include "engine/engine_impl.h"
#include "engine/request_impl.h"
#include "engine/runtime_impl.h"
#include "sched/sched.h"

#define QUEUE_DEFAULT 256u
#define QUEUE_MAX 65536u
#define PACK_CACHE_BYTES_MIN (16u << 20) /* less is packed as fast as it is read */
#define ENDS_MAX 64u                     /* tokens that end an answer */

struct weft_engine {
    weft_runtime *rt;
    char *path;
    vocab *vocab;
    chat *chat; /* NULL without a template */
    executor *exec;
    sched *sched;
    geometry geo;
    plan plan;
    uint64_t file_bytes;
    uint32_t queue_max;
    int32_t ends[ENDS_MAX];
    uint32_t n_ends;

    pthread_t thread;
    bool has_budget; /* runtime_mem_take was granted */
    pthread_mutex_t lock;
    pthread_cond_t work;
    weft_request *inbox;           /* guarded by lock, newest first */
    uint32_t n_inbox;              /* guarded by lock */
    bool is_closing;               /* guarded by lock */
    uint32_t n_running, n_waiting; /* guarded by lock, copies for others to read */

    /* engine's thread */
    weft_request *live;
    executor_item *items;    /* [seqs] */
    weft_request **sampled;  /* [seqs] whose row i of the logits is */
    sampler_result *results; /* [seqs] */
    char *sampler_scratch;   /* [threads] of sampler_scratch_bytes, padded */
    size_t sampler_scratch_stride;
};

static void *engine_main(void *arg);

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
                             .kv_mem_bytes = o->kv_mem_bytes};
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
    for (uint32_t id = 0; id < vocab_size(en->vocab) && en->n_ends < ENDS_MAX; id++) {
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
    const sched_config config = {
        .seqs_max = seqs, .queue_max = en->queue_max, .batch_rows_max = en->plan.batch_rows};
    return sched_create(&en->sched, &config, err);
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
        status = executor_create(&en->exec, en->rt->dev, w, &en->geo, &en->plan, &load, err);
        runtime_turn_give(en->rt);
    }
    weights_release(&w);
    return status;
}

static void free_engine(weft_engine *en) {
    executor_destroy(&en->exec);
    sched_destroy(&en->sched);
    chat_destroy(&en->chat);
    vocab_destroy(&en->vocab);
    if (en->has_budget) {
        runtime_mem_give(en->rt, en->plan.total_bytes);
    }
    pthread_mutex_destroy(&en->lock);
    pthread_cond_destroy(&en->work);
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
    weft_engine *en = mem_zalloc(MEM_ENGINE, 1, sizeof *en);
    if (en == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for an engine");
    }
    en->rt = rt;
    en->queue_max = o.queue != 0 ? o.queue : QUEUE_DEFAULT;
    pthread_mutex_init(&en->lock, NULL);
    pthread_cond_init(&en->work, NULL);
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

/* ---- the thread ---- */

static sched_id id_of(const weft_request *rq) { return (sched_id)(uintptr_t)rq; }

static weft_request *request_of(sched_id id) { return (weft_request *)(uintptr_t)id; }

/* Waits for something to do; takes the inbox. False when the engine is closing. */
static bool take_inbox(weft_engine *en, weft_request **inbox) {
    pthread_mutex_lock(&en->lock);
    en->n_running = sched_running(en->sched);
    en->n_waiting = sched_waiting(en->sched);
    while (en->inbox == NULL && en->live == NULL && !en->is_closing) {
        pthread_cond_wait(&en->work, &en->lock);
    }
    *inbox = en->inbox;
    en->inbox = NULL;
    en->n_waiting += en->n_inbox;
    en->n_inbox = 0;
    const bool is_closing = en->is_closing;
    pthread_mutex_unlock(&en->lock);
    return !is_closing;
}

/* Oldest first into the scheduler; the inbox is newest first. */
static void admit_inbox(weft_engine *en, weft_request *inbox) {
    weft_request *oldest = NULL;
    while (inbox != NULL) {
        weft_request *next = inbox->next;
        inbox->next = oldest;
        oldest = inbox;
        inbox = next;
    }
    while (oldest != NULL) {
        weft_request *next = oldest->next;
        const bool is_queued =
            sched_try_submit(en->sched, id_of(oldest), oldest->units, oldest->n_prompt,
                             oldest->n_prompt + oldest->max_tokens - 1);
        WEFT_ASSERT(is_queued); /* submit counted the places */
        oldest->next = en->live;
        en->live = oldest;
        oldest = next;
    }
}

/* Takes the request at *link off the engine's books: its pages are free before its caller hears. */
static weft_request *forget(weft_engine *en, weft_request **link) {
    weft_request *rq = *link;
    *link = rq->next;
    const bool was_known = sched_finish(en->sched, executor_kv(en->exec), id_of(rq));
    WEFT_ASSERT(was_known);
    return rq;
}

/* Ends every live request that nobody wants any more. */
static void sweep(weft_engine *en, bool is_closing) {
    weft_request **link = &en->live;
    while (*link != NULL) {
        if (is_closing || request_is_cancelled(*link)) {
            request_finish(forget(en, link), WEFT_FINISH_CANCELLED, NULL);
        } else {
            link = &(*link)->next;
        }
    }
}

static weft_request **link_to(weft_engine *en, const weft_request *rq) {
    weft_request **link = &en->live;
    while (*link != rq) {
        link = &(*link)->next;
    }
    return link;
}

/* The scheduler's items with their tokens. Returns how many rows are sampled. */
static uint32_t fill_items(weft_engine *en, const sched_step *step) {
    const uint64_t now = clock_now_ns();
    uint32_t n_sampled = 0;
    for (uint32_t i = 0; i < step->n_items; i++) {
        const sched_item *item = &step->items[i];
        weft_request *rq = request_of(item->id);
        request_mark_started(rq, item->n_cached, now);
        en->items[i] = (executor_item){.seq = item->seq,
                                       .from = item->from,
                                       .n_tokens = item->n_rows,
                                       .tokens = rq->tokens + item->from,
                                       .n_out = item->is_sampled ? 1 : 0};
        if (item->is_sampled) {
            en->sampled[n_sampled++] = rq;
        }
    }
    return n_sampled;
}

static void sample_task(void *arg, uint32_t i, uint32_t thread) {
    weft_engine *en = arg;
    weft_request *rq = en->sampled[i];
    sampler_pick(&en->results[i], executor_logits(en->exec, i), vocab_size(en->vocab), &rq->params,
                 rq->history_storage != NULL ? &rq->history : NULL, rq->n_prompt + rq->n_new,
                 rq->n_top, en->ends, rq->ignore_eos ? en->n_ends : 0,
                 en->sampler_scratch + thread * en->sampler_scratch_stride);
}

static weft_finish finish_of(const weft_engine *en, const weft_request *rq, int32_t token) {
    if (!rq->ignore_eos && vocab_is_end(en->vocab, token)) {
        return WEFT_FINISH_STOP;
    }
    return rq->n_new + 1 == rq->max_tokens ? WEFT_FINISH_LENGTH : WEFT_FINISH_NONE;
}

static void publish_step(weft_engine *en, uint32_t n_sampled) {
    const uint64_t now = clock_now_ns();
    for (uint32_t i = 0; i < n_sampled; i++) {
        weft_request *rq = en->sampled[i];
        const int32_t token = en->results[i].token;
        if (rq->history_storage != NULL) {
            sampler_history_add(&rq->history, token, true);
        }
        const weft_finish finish = finish_of(en, rq, token);
        if (finish != WEFT_FINISH_NONE) {
            forget(en, link_to(en, rq));
        }
        request_publish(rq, &en->results[i], finish, now);
    }
}

/* What was admitted makes room in the queue at once, not after the step. */
static void publish_load(weft_engine *en) {
    pthread_mutex_lock(&en->lock);
    en->n_running = sched_running(en->sched);
    en->n_waiting = sched_waiting(en->sched);
    pthread_mutex_unlock(&en->lock);
}

static void run_step(weft_engine *en) {
    weft_error err;
    const sched_step step = sched_next(en->sched, executor_kv(en->exec));
    publish_load(en);
    if (step.n_items == 0) {
        return;
    }
    const uint32_t n_sampled = fill_items(en, &step);
    runtime_turn_take(en->rt);
    const weft_status status = executor_run(en->exec, en->items, step.n_items, &err);
    if (status == WEFT_OK) {
        pool_run(en->rt->pool, sample_task, en, n_sampled);
    }
    runtime_turn_give(en->rt);
    if (status != WEFT_OK) {
        for (uint32_t i = 0; i < step.n_items; i++) {
            weft_request *rq = request_of(step.items[i].id);
            request_finish(forget(en, link_to(en, rq)), WEFT_FINISH_ERROR, err.message);
        }
        return;
    }
    sched_advance(en->sched, executor_kv(en->exec));
    publish_step(en, n_sampled);
}

static void *engine_main(void *arg) {
    weft_engine *en = arg;
    weft_request *inbox = NULL;
    os_thread_name("weft-engine");
    while (take_inbox(en, &inbox)) {
        admit_inbox(en, inbox);
        sweep(en, false);
        run_step(en);
    }
    admit_inbox(en, inbox);
    sweep(en, true);
    return NULL;
}

/* ---- requests ---- */

weft_status weft_request_submit(weft_request **out, weft_engine *en,
                                const weft_request_options *options, weft_error *err) {
    weft_request *rq = NULL;
    weft_status status = request_create(&rq, en, en->vocab, en->plan.ctx, options, err);
    if (status != WEFT_OK) {
        return status;
    }
    pthread_mutex_lock(&en->lock);
    if (en->n_waiting + en->n_inbox >= en->queue_max) {
        status = weft_fail(err, WEFT_AGAIN, "%u requests are waiting, the queue holds no more",
                           en->n_waiting + en->n_inbox);
    } else {
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
                         .total_bytes = p->total_bytes};
}

/* What was allocated, and as total what the system says is resident right now. */
static weft_memory actual_memory(const weft_engine *en) {
    const executor_usage u = executor_usage_now(en->exec);
    return (weft_memory){.weights_bytes = en->plan.weights_bytes,
                         .packed_extra_bytes = en->plan.packed_extra_bytes,
                         .kv_pool_bytes = u.kv_pool_bytes,
                         .scratch_bytes = u.scratch_bytes + u.workspace_bytes,
                         .process_bytes = mem_stats_total().live_bytes,
                         .total_bytes = os_rss_bytes()};
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

const vocab *engine_vocab(const weft_engine *en) { return en->vocab; }

const chat *engine_chat(const weft_engine *en) { return en->chat; }
