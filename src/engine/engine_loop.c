/* engine_loop.c - the engine's thread: what one turn of its loop does.
 *
 *   inbox (guarded by lock) ─► live list (engine's thread) ─► sched ─► executor ─► sampler
 *
 * The thread sleeps while there is nothing to do. Each turn of its loop takes new requests in,
 * drops cancelled ones, asks the scheduler for a step, runs it and publishes the tokens. While a
 * step runs no lock is held but the runtime's turn, and nothing is allocated: requests brought
 * their own storage, the executor has its own.
 */
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/os.h"
#include "engine/engine_impl.h"

#define RECALL_PAGES 8u /* from disk a turn, also while nothing runs: a few milliseconds */

static sched_id id_of(const weft_request *rq) { return (sched_id)(uintptr_t)rq; }

static weft_request *request_of(sched_id id) { return (weft_request *)(uintptr_t)id; }

/* What the scheduler and the cache hold now, for others to read. The lock is held. */
static void publish_load(weft_engine *en) {
    kv_seqs *kv = executor_kv(en->exec);
    en->n_running = sched_running(en->sched);
    en->n_waiting = sched_waiting(en->sched) + en->n_recalling;
    en->retry_ms = sched_retry_ms(en->sched);
    for (uint32_t g = 0; g < en->plan.n_groups; g++) {
        const kv_pool *pages = kv_seqs_pool(kv, g);
        const uint32_t n_idle = kv_pool_idle(pages);
        en->pages[g] = (weft_pages){.window = en->plan.groups[g].window,
                                    .total = kv_pool_count(pages),
                                    .used = kv_pool_held(pages) - n_idle,
                                    .cached = n_idle};
    }
}

/* The lock is held. While there is nothing better to do, memory is made ready. */
static void wait_for_work(weft_engine *en) {
    while (en->inbox == NULL && en->live == NULL && en->recalling == NULL && !en->is_closing) {
        if (en->is_warm) {
            pthread_cond_wait(&en->work, &en->lock);
            continue;
        }
        pthread_mutex_unlock(&en->lock);
        en->is_warm = !executor_try_warm(en->exec);
        pthread_mutex_lock(&en->lock);
    }
}

/* Waits for something to do; takes the inbox. False when the engine is closing. */
static bool take_inbox(weft_engine *en, weft_request **inbox) {
    pthread_mutex_lock(&en->lock);
    publish_load(en);
    wait_for_work(en);
    *inbox = en->inbox;
    en->inbox = NULL;
    en->n_waiting += en->n_inbox;
    en->n_inbox = 0;
    const bool is_closing = en->is_closing;
    pthread_mutex_unlock(&en->lock);
    return !is_closing;
}

/* Queues a request with the scheduler. */
static void queue_request(weft_engine *en, weft_request *rq) {
    const sched_request request = {.id = id_of(rq),
                                   .units = en->shares_no_prefix ? NULL : rq->units,
                                   .n_prompt = rq->n_prompt,
                                   .n_max = rq->n_prompt + rq->max_tokens - 1,
                                   .client = rq->client,
                                   .priority = rq->priority,
                                   .deadline_ns = rq->deadline_ns};
    const bool is_queued = sched_try_submit(en->sched, &request, clock_now_ns());
    WEFT_ASSERT(is_queued); /* submit counted the places */
    rq->next = en->live;
    en->live = rq;
}

/* Brings back what the disk knows of the prompt, at most *n_pages. True when that was all. */
static bool recall_pages(weft_engine *en, weft_request *rq, uint32_t *n_pages) {
    const uint32_t n_before = *n_pages;
    const bool is_done = keep_recall(&en->keep, &rq->walk, rq->units, rq->n_prompt, n_pages);
    if (n_before > *n_pages) {
        meter_recall(&en->meter, (n_before - *n_pages) * PAGE_TOKENS);
    }
    return is_done;
}

/* By this recall is ordered, least first: by arrival, a class counting for SCHED_AGE_NS, so that a
 * higher one goes first and none starves. */
static int64_t recall_rank(const weft_request *rq) {
    return (int64_t)rq->submit_ns - rq->priority * (int64_t)SCHED_AGE_NS;
}

static void await_recall(weft_engine *en, weft_request *rq) {
    weft_request **link = &en->recalling;
    while (*link != NULL && recall_rank(*link) <= recall_rank(rq)) {
        link = &(*link)->next;
    }
    rq->next = *link;
    *link = rq;
    en->n_recalling++;
}

/* Oldest first; the inbox is newest first. Of whom the disk knows nothing more than the cache is
 * queued at once: it waits for nobody's recall. */
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
        if (recall_pages(en, oldest, &(uint32_t){0})) {
            queue_request(en, oldest);
        } else {
            await_recall(en, oldest);
        }
        oldest = next;
    }
}

/* A turn's pages go to the first in the order of recall, and who has all of its own is queued.
 * Never more: cancellations, deadlines and new requests are seen once a turn. */
static void recall(weft_engine *en) {
    uint32_t n_pages = RECALL_PAGES;
    while (en->recalling != NULL && recall_pages(en, en->recalling, &n_pages)) {
        weft_request *rq = en->recalling;
        en->recalling = rq->next;
        en->n_recalling--;
        queue_request(en, rq);
    }
}

/* Whole pages that the step has run go to disk, as far as there are buffers. */
static void save(weft_engine *en, const sched_step *step) {
    for (uint32_t i = 0; i < step->n_items; i++) {
        const sched_item *item = &step->items[i];
        weft_request *rq = request_of(item->id);
        keep_save(&en->keep, &rq->walk, item->seq, rq->units, item->from + item->n_rows);
    }
}

/* The request waits no more. */
static void note_left(weft_engine *en, const weft_request *rq) {
    pthread_mutex_lock(&en->lock);
    WEFT_ASSERT(en->waiting_tokens >= rq->n_prompt);
    en->waiting_tokens -= rq->n_prompt;
    pthread_mutex_unlock(&en->lock);
}

/* Takes the request at *link off the engine's books: its pages are free before its caller hears. */
static weft_request *forget(weft_engine *en, weft_request **link) {
    weft_request *rq = *link;
    *link = rq->next;
    if (rq->start_ns == 0) {
        note_left(en, rq);
    }
    const bool was_known = sched_finish(en->sched, executor_kv(en->exec), id_of(rq));
    WEFT_ASSERT(was_known);
    return rq;
}

static void meter_end(weft_engine *en, const weft_request *rq, weft_finish finish, uint64_t now) {
    meter_finish(&en->meter, finish, now - rq->submit_ns,
                 rq->first_ns != 0 ? now - rq->first_ns : 0);
}

static void finish_request(weft_engine *en, weft_request *rq, weft_finish finish,
                           const char *error) {
    meter_end(en, rq, finish, clock_now_ns());
    en->has_told |= request_finish(rq, finish, error);
}

static void end_request(weft_engine *en, weft_request **link, weft_finish finish,
                        const char *error) {
    finish_request(en, forget(en, link), finish, error);
}

static weft_request **link_to(weft_engine *en, const weft_request *rq) {
    weft_request **link = &en->live;
    while (*link != rq) {
        link = &(*link)->next;
    }
    return link;
}

/* Ends every live request that nobody wants any more, and those whose time is over. */
static void sweep(weft_engine *en, bool is_closing) {
    sched_id id = 0;
    while (sched_try_expired(en->sched, clock_now_ns(), &id)) {
        end_request(en, link_to(en, request_of(id)), WEFT_FINISH_DEADLINE, NULL);
    }
    for (weft_request **link = &en->recalling; *link != NULL;) {
        weft_request *rq = *link;
        const bool is_late = rq->deadline_ns != 0 && rq->deadline_ns <= clock_now_ns();
        if (is_closing || is_late || request_is_cancelled(rq)) {
            *link = rq->next;
            en->n_recalling--;
            note_left(en, rq);
            finish_request(en, rq, is_late ? WEFT_FINISH_DEADLINE : WEFT_FINISH_CANCELLED, NULL);
        } else {
            link = &rq->next;
        }
    }
    weft_request **link = &en->live;
    while (*link != NULL) {
        if (is_closing || request_is_cancelled(*link)) {
            end_request(en, link, WEFT_FINISH_CANCELLED, NULL);
        } else {
            link = &(*link)->next;
        }
    }
}

/* The scheduler's items with their tokens. Returns how many rows are sampled. */
static uint32_t fill_items(weft_engine *en, const sched_step *step) {
    const uint64_t now = clock_now_ns();
    uint32_t n_sampled = 0;
    for (uint32_t i = 0; i < step->n_items; i++) {
        const sched_item *item = &step->items[i];
        weft_request *rq = request_of(item->id);
        if (rq->start_ns == 0) {
            request_mark_started(rq, &item->prefix, now);
            meter_start(&en->meter, rq->n_prompt, &item->prefix, now - rq->submit_ns);
            note_left(en, rq);
        }
        request_note_preempted(rq, item->n_preempted);
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

static void meter_answer(weft_engine *en, const weft_request *rq, uint64_t now) {
    if (rq->first_ns == 0) {
        meter_first_token(&en->meter, now - rq->submit_ns, now - rq->start_ns);
    } else {
        meter_token(&en->meter, now - rq->last_ns);
    }
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
        meter_answer(en, rq, now);
        if (finish != WEFT_FINISH_NONE) {
            forget(en, link_to(en, rq));
            meter_end(en, rq, finish, now);
        }
        en->has_told |= request_publish(rq, &en->results[i], finish, now);
    }
}

static void run_step(weft_engine *en) {
    weft_error err;
    const sched_step step = sched_next(en->sched, executor_kv(en->exec), clock_now_ns());
    pthread_mutex_lock(&en->lock);
    publish_load(en); /* who was admitted makes room in the queue at once, not after the step */
    pthread_mutex_unlock(&en->lock);
    if (step.n_items == 0) {
        return;
    }
    const uint32_t n_sampled = fill_items(en, &step);
    meter_preempt(&en->meter, step.n_preempted);
    runtime_turn_take(en->rt);
    const uint64_t start = clock_now_ns();
    const weft_status status = executor_run(en->exec, en->items, step.n_items, &err);
    if (status == WEFT_OK) {
        pool_run(en->rt->pool, sample_task, en, n_sampled);
    }
    const uint64_t step_ns = clock_now_ns() - start;
    runtime_turn_give(en->rt);
    if (status != WEFT_OK) {
        for (uint32_t i = 0; i < step.n_items; i++) {
            weft_request *rq = request_of(step.items[i].id);
            end_request(en, link_to(en, rq), WEFT_FINISH_ERROR, err.message);
        }
        return;
    }
    meter_step(&en->meter, step.n_rows, step_ns);
    sched_advance(en->sched, executor_kv(en->exec), step_ns);
    save(en, &step);
    publish_step(en, n_sampled);
}

/* What the turn had to tell is told. */
static void end_turn(weft_engine *en) {
    if (en->has_told && en->on_turn != NULL) {
        en->on_turn(en->turn_user);
    }
    en->has_told = false;
}

void *engine_main(void *arg) {
    weft_engine *en = arg;
    weft_request *inbox = NULL;
    os_thread_name("weft-engine");
    while (take_inbox(en, &inbox)) {
        admit_inbox(en, inbox);
        sweep(en, false);
        recall(en);
        run_step(en);
        end_turn(en);
    }
    admit_inbox(en, inbox);
    sweep(en, true);
    end_turn(en);
    return NULL;
}
