/* completion.c - the life of a completion request on the event thread.
 *
 * Waking: the engine's thread calls on_ready under the request's lock; it puts completion_pump
 * before the event thread unless one is already on its way. That thread is woken once for all of
 * them, at the end of the engine's turn (api.h). Releasing a request takes the same lock, so once
 * on_end has released them all nobody posts any more; whoever comes last, on_end or the posted
 * pump, frees.
 */
#include "api/completion.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "api/api_json.h"
#include "api/completion_json.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/os.h"

#define ANSWER_BYTES_MAX (256u << 20)

typedef struct choice {
    weft_request *rq;
    buf text;           /* collected, when not streamed */
    json_t *logprobs;   /* collected, when wanted; an array */
    size_t text_offset; /* of the next token, for the logprobs of /v1/completions */
    weft_finish finish;
} choice;

typedef struct completion {
    http_exchange *x;
    http_server *server;
    openai_request request;
    completion_head head;
    completion_context context;
    choice *choices; /* [n_choices]: prompt by prompt, n each */
    uint32_t n_choices, n_done;
    uint32_t prompt_tokens; /* each prompt once */
    buf event;              /* of a stream, while it is written */
    bool explains_cache;    /* in a header: the stream begins with the first event */
    bool is_streaming;      /* the stream has begun */
    bool is_over;           /* the exchange is */
    _Atomic bool is_posted;
    uint64_t start_ns;
    weft_usage usage;  /* of all choices, kept when they are released */
    weft_finish first; /* choice's finish */
    api_error failure; /* http_status 0 without */
} completion;

static void pump(void *arg);

static void on_ready(void *user) {
    completion *c = user;
    if (!atomic_exchange(&c->is_posted, true) && !http_server_put(c->server, pump, c)) {
        atomic_store(&c->is_posted, false); /* the loop is over, or memory is: on_end frees */
    }
}

static void free_completion(completion *c) {
    for (uint32_t i = 0; i < c->n_choices; i++) {
        buf_deinit(&c->choices[i].text);
        json_decref(c->choices[i].logprobs);
    }
    mem_free(c->choices);
    buf_deinit(&c->event);
    openai_request_deinit(&c->request);
    mem_free(c);
}

/* Tokens of all choices; a prompt and what of it was cached count once, times are the first's. */
static weft_usage total_usage(const completion *c) {
    weft_usage total = {.prompt_tokens = c->prompt_tokens};
    for (uint32_t i = 0; i < c->n_choices && c->choices[i].rq != NULL; i++) {
        const weft_usage u = weft_request_usage(c->choices[i].rq);
        if (i == 0) {
            total = u;
            total.prompt_tokens = c->prompt_tokens;
            continue;
        }
        total.completion_tokens += u.completion_tokens;
        total.preemptions += u.preemptions;
        total.cached_tokens += i % c->request.n == 0 ? u.cached_tokens : 0;
    }
    return total;
}

static void release_requests(completion *c) {
    if (c->n_choices > 0 && c->choices[0].rq != NULL) {
        c->usage = total_usage(c);
    }
    for (uint32_t i = 0; i < c->n_choices; i++) {
        weft_request_release(&c->choices[i].rq);
    }
}

static const char *miss_name(weft_miss miss) {
    switch (miss) {
    case WEFT_MISS_NEW: return "new";
    case WEFT_MISS_DIVERGED: return "diverged";
    case WEFT_MISS_EVICTED: return "evicted";
    case WEFT_MISS_PARTIAL: return "partial_page";
    }
    return "unknown";
}

static const char *finish_word(weft_finish finish) {
    switch (finish) {
    case WEFT_FINISH_STOP: return "stop";
    case WEFT_FINISH_LENGTH: return "length";
    case WEFT_FINISH_DEADLINE: return "deadline";
    case WEFT_FINISH_CANCELLED: return "cancelled";
    case WEFT_FINISH_ERROR: return "error";
    case WEFT_FINISH_NONE: break;
    }
    return NULL;
}

static void tell_journal(const completion *c, bool is_complete) {
    const weft_usage *u = &c->usage;
    const bool has_run = u->completion_tokens > 0;
    const bool has_failed = c->failure.http_status != 0;
    const journal_entry e = {
        .endpoint = c->head.is_chat ? JOURNAL_CHAT : JOURNAL_TEXT,
        .status = has_failed    ? c->failure.http_status
                  : is_complete ? 200
                                : JOURNAL_CLIENT_LEFT,
        .id = c->head.id,
        .client = http_client(c->x),
        .is_stream = c->request.is_stream,
        .choices = c->n_choices,
        .prompt_tokens = c->prompt_tokens,
        .cached_tokens = u->cached_tokens,
        .completion_tokens = u->completion_tokens,
        .preemptions = u->preemptions,
        .miss = has_run ? miss_name(u->miss) : NULL,
        .miss_at = u->miss_at,
        .queue_ms = has_run ? (double)u->queued_ns * 1e-6 : -1,
        .prefill_ms = has_run ? (double)u->prefill_ns * 1e-6 : -1,
        .decode_ms = has_run ? (double)u->decode_ns * 1e-6 : -1,
        .total_ms = (double)(clock_now_ns() - c->start_ns) * 1e-6,
        .finish = finish_word(c->first),
        .error = has_failed ? c->failure.message : NULL,
    };
    journal_add(c->context.journal, &e);
}

static void on_end(void *owner, bool is_complete) {
    completion *c = owner;
    release_requests(c);
    tell_journal(c, is_complete);
    c->is_over = true;
    if (!atomic_load(&c->is_posted)) {
        free_completion(c);
    }
}

/* ---- answers ---- */

/* "cached=96, prompt=128, miss=diverged, at=97" */
static void explain_cache(completion *c) {
    char text[128];
    const weft_usage u = weft_request_usage(c->choices[0].rq);
    if (c->explains_cache && u.completion_tokens > 0) {
        snprintf(text, sizeof text, "cached=%u, prompt=%u, miss=%s, at=%u", u.cached_tokens,
                 u.prompt_tokens, miss_name(u.miss), u.miss_at);
        http_set_header(c->x, "X-Weft-Cache", text);
    }
}

static void respond_whole(completion *c) {
    json_t *choices = json_array();
    for (uint32_t i = 0; i < c->n_choices; i++) {
        choice *ch = &c->choices[i];
        json_array_append_new(choices, completion_json_choice(&c->head, i, buf_view(&ch->text),
                                                              ch->logprobs, ch->finish));
    }
    const weft_usage usage = total_usage(c);
    explain_cache(c);
    api_json_respond(c->x, 200, completion_json_document(&c->head, choices, &usage));
}

static void respond_error(completion *c, const api_error *e) {
    c->failure = *e;
    if (c->is_streaming) {
        (void)api_json_event(c->x, api_json_error(e));
        http_stream_end(c->x);
    } else {
        api_error_respond(e, c->x);
    }
}

/* Before the first event, or after it where a header tells what came of the prompt. */
static void begin_stream(completion *c) {
    http_set_header(c->x, "Cache-Control", "no-cache");
    http_stream_begin(c->x, 200, "text/event-stream");
    c->is_streaming = true;
    for (uint32_t i = 0; i < c->n_choices && c->head.is_chat; i++) {
        if (!api_json_event(c->x, completion_json_role_chunk(&c->head, i))) {
            return;
        }
    }
}

static bool stream_event(completion *c, uint32_t i, const weft_event *ev, json_t *logprobs) {
    const str text = str_from(ev->text, ev->text_len);
    if (ev->text_len > 0 && logprobs == NULL) {
        buf_clear(&c->event);
        completion_json_text_event(&c->event, &c->head, i, text);
        if (c->event.is_failed || !http_stream_write(c->x, c->event.data, c->event.len)) {
            return false;
        }
    } else if (ev->text_len > 0 || json_array_size(logprobs) > 0) {
        if (!api_json_event(c->x,
                            completion_json_chunk(&c->head, i, text, logprobs, WEFT_FINISH_NONE))) {
            return false;
        }
    }
    return !ev->is_done ||
           api_json_event(c->x, completion_json_chunk(&c->head, i, (str){0}, NULL, ev->finish));
}

static void end_stream(completion *c) {
    if (c->request.has_usage) {
        const weft_usage usage = total_usage(c);
        if (!api_json_event(c->x, completion_json_usage_chunk(&c->head, &usage))) {
            return;
        }
    }
    static const char done[] = "data: [DONE]\n\n";
    if (http_stream_write(c->x, done, sizeof done - 1)) {
        http_stream_end(c->x);
    }
}

/* ---- events ---- */

static json_t *event_logprobs(completion *c, choice *ch, const weft_event *ev) {
    if (!c->request.options.has_logprobs) {
        return NULL;
    }
    json_t *out = json_array();
    for (size_t t = 0; t < ev->n_logprobs; t++) {
        json_array_append_new(out, completion_json_logprob(&c->head, c->context.en,
                                                           &ev->logprobs[t], &ch->text_offset));
    }
    return out;
}

/* Whether that end is an error and no answer. */
static bool is_failure(const choice *ch, weft_finish finish) {
    return finish == WEFT_FINISH_ERROR || finish == WEFT_FINISH_CANCELLED ||
           (finish == WEFT_FINISH_DEADLINE && weft_request_usage(ch->rq).completion_tokens == 0);
}

static void end_choice(completion *c, uint32_t i, weft_finish finish) {
    choice *ch = &c->choices[i];
    if (!is_failure(ch, finish)) {
        const weft_usage usage = weft_request_usage(ch->rq);
        metrics_answers_add(c->context.answers, &usage);
    }
    ch->finish = finish;
    c->first = i == 0 ? finish : c->first;
    c->n_done++;
}

/* False when the exchange is over: the completion may not be touched but through on_end. */
static bool take_event(completion *c, uint32_t i, const weft_event *ev) {
    choice *ch = &c->choices[i];
    json_t *logprobs = event_logprobs(c, ch, ev);
    bool is_alive = true;
    if (c->request.is_stream) {
        if (!c->is_streaming && !is_failure(ch, ev->finish)) {
            explain_cache(c);
            begin_stream(c);
        }
        is_alive = !c->is_streaming || stream_event(c, i, ev, logprobs);
    } else {
        buf_append(&ch->text, ev->text, ev->text_len);
        json_array_extend(ch->logprobs, logprobs);
    }
    json_decref(logprobs);
    if (is_alive && ev->is_done) {
        end_choice(c, i, ev->finish);
    }
    if (ch->text.is_failed) {
        ch->finish = WEFT_FINISH_ERROR; /* out of memory: no answer is better than half of one */
    }
    return is_alive;
}

/* What ends a completion early: an engine error, or a cancellation that the client did not ask for
 * (the engine is closing). */
static bool find_failure(const completion *c, api_error *e) {
    char message[128];
    uint32_t i = 0;
    while (i < c->n_choices && !is_failure(&c->choices[i], c->choices[i].finish)) {
        i++;
    }
    if (i == c->n_choices) {
        return false;
    }
    const choice *ch = &c->choices[i];
    if (ch->finish == WEFT_FINISH_DEADLINE) {
        snprintf(message, sizeof message, "no token came within 'timeout_ms' = %u",
                 c->request.options.deadline_ms);
        api_error_set(e, 504, "deadline_exceeded", message);
    } else if (ch->finish == WEFT_FINISH_CANCELLED) {
        api_error_set(e, 503, "shutting_down", "the server is shutting down");
    } else {
        const char *why = weft_request_error(ch->rq);
        api_error_set(e, 500, NULL, why[0] != 0 ? why : "out of memory for the answer");
    }
    return true;
}

static void pump_choices(completion *c) {
    weft_event ev;
    api_error e;
    for (uint32_t i = 0; i < c->n_choices; i++) {
        while (weft_request_poll(c->choices[i].rq, &ev) == WEFT_OK) {
            if (!take_event(c, i, &ev)) {
                return;
            }
        }
    }
    if (find_failure(c, &e)) {
        release_requests(c);
        c->n_done = c->n_choices; /* nothing left to pump */
        respond_error(c, &e);
    } else if (c->n_done == c->n_choices) {
        if (c->request.is_stream) {
            end_stream(c);
        } else {
            respond_whole(c);
        }
    }
}

static void pump(void *arg) {
    completion *c = arg;
    atomic_store(&c->is_posted, false);
    if (c->is_over) {
        free_completion(c);
        return;
    }
    /* All done means that the answer is already on its way. */
    if (c->n_done < c->n_choices) {
        pump_choices(c);
    }
}

/* ---- start ---- */

static uint32_t retry_after_s(const weft_engine *en) {
    return (weft_engine_retry_after_ms(en) + 999) / 1000;
}

/* What the queue can never hold is refused whatever the load. */
static bool check_choices(const completion *c, api_error *e) {
    const uint32_t n_prompts = openai_request_prompt_count(&c->request);
    const uint32_t queue = weft_engine_info_now(c->context.en).queue;
    return n_prompts * c->request.n <= queue ||
           api_error_bad(e, "n", "%u prompts of 'n' = %u choices, the queue holds %u", n_prompts,
                         c->request.n, queue);
}

/* Refusing must be cheap under overload: few prompts are tokenised for a full queue. But one that
 * can never fit must not be told to come back. */
static bool check_queue(completion *c, api_error *e) {
    const weft_engine *en = c->context.en;
    const uint32_t queue = weft_engine_info_now(en).queue;
    uint32_t running = 0, waiting = 0;
    char message[128];
    weft_engine_load(en, &running, &waiting);
    if (waiting < queue) {
        return true;
    }
    if (!openai_request_fits(&c->request, en, e)) {
        const bool is_length = e->code != NULL && strcmp(e->code, "context_length_exceeded") == 0;
        c->context.refused->too_long += is_length;
        return false;
    }
    c->context.refused->early++;
    snprintf(message, sizeof message, "the queue is full: %u requests wait, it holds %u", waiting,
             queue);
    api_error_set(e, 429, "queue_full", message);
    e->retry_after_s = retry_after_s(en);
    return false;
}

static bool submit_choice(completion *c, weft_engine *en, choice *ch, const weft_tokens *prompt,
                          uint32_t number, api_error *e) {
    weft_error err;
    weft_request_options o = c->request.options;
    o.prompt = prompt->ids;
    o.n_prompt = prompt->count;
    o.choice = number;
    o.on_ready = on_ready;
    o.user = c;
    o.client = c->context.client;
    const weft_status status = weft_request_submit(&ch->rq, en, &o, &err);
    if (status == WEFT_OK) {
        return true;
    }
    api_error_from(e, status, &err);
    e->retry_after_s = status == WEFT_AGAIN ? retry_after_s(en) : 0;
    return false;
}

static bool submit_prompt(completion *c, weft_engine *en, uint32_t p, api_error *e) {
    weft_tokens prompt = {0};
    bool is_fine = openai_request_prompt(&c->request, p, en, &prompt, e);
    c->prompt_tokens += (uint32_t)prompt.count;
    for (uint32_t j = 0; j < c->request.n && is_fine; j++) {
        const uint32_t number = p * c->request.n + j;
        is_fine = submit_choice(c, en, &c->choices[number], &prompt, number, e);
    }
    weft_tokens_deinit(&prompt);
    return is_fine;
}

static bool submit_all(completion *c, weft_engine *en, api_error *e) {
    const uint32_t n_prompts = openai_request_prompt_count(&c->request);
    const uint32_t n = n_prompts * c->request.n;
    c->choices = mem_zalloc(MEM_API, n, sizeof *c->choices);
    if (c->choices == NULL) {
        return api_error_set(e, 500, NULL, "out of memory for a request");
    }
    c->n_choices = n;
    for (uint32_t i = 0; i < n; i++) {
        buf_init(&c->choices[i].text, MEM_API, ANSWER_BYTES_MAX);
        c->choices[i].logprobs = c->request.options.has_logprobs ? json_array() : NULL;
    }
    if (!c->request.options.has_seed) {                  /* all choices share one */
        c->request.options.seed = os_random_u64() >> 11; /* what a JSON number carries exactly */
        c->request.options.has_seed = true;
    }
    for (uint32_t p = 0; p < n_prompts; p++) {
        if (!submit_prompt(c, en, p, e)) {
            return false;
        }
    }
    return true;
}

static bool check_model(const completion *c, api_error *e) {
    char message[256];
    if (c->request.model == NULL || strcmp(c->request.model, c->head.model) == 0) {
        return true;
    }
    snprintf(message, sizeof message, "the model '%.100s' does not exist here, '%.100s' does",
             c->request.model, c->head.model);
    api_error_set(e, 404, "model_not_found", message);
    memcpy(e->param, "model", sizeof "model");
    return false;
}

void completion_start(http_exchange *x, openai_kind kind, const completion_context *context) {
    api_error e;
    completion *c = mem_zalloc(MEM_API, 1, sizeof *c);
    if (c == NULL) {
        api_error_set(&e, 500, NULL, "out of memory for a request");
        api_error_respond(&e, x);
        return;
    }
    c->x = x;
    c->server = http_exchange_server(x);
    c->context = *context;
    c->start_ns = clock_now_ns();
    c->explains_cache = str_eq_cstr(http_header(x, "X-Weft-Cache"), "explain");
    buf_init(&c->event, MEM_API, ANSWER_BYTES_MAX);
    completion_head_init(&c->head, kind == OPENAI_CHAT, context->model_id);
    const bool is_fine = openai_request_read(&c->request, kind, http_body(x), &e) &&
                         check_model(c, &e) && check_choices(c, &e) && check_queue(c, &e) &&
                         submit_all(c, context->en, &e);
    c->head.has_usage_field = c->request.has_usage;
    http_on_end(x, on_end, c);
    if (!is_fine) {
        release_requests(c);
        c->n_done = c->n_choices; /* nothing left to pump */
        respond_error(c, &e);
    } else if (c->request.is_stream && !c->explains_cache) {
        begin_stream(c);
    }
}
