/* completion.c - the life of a completion request on the event thread.
 *
 * Beginning: a body is read, and its prompts are tokenised, in the handler when it is small, else
 * by the clerk (clerk.h), which posts take_back: at 4 to 40 MB a second, one of megabytes would
 * hold up every stream. Meanwhile the clerk's thread has `in` and what stands beside it; whoever
 * comes last, on_end or what the clerk calls, frees.
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
#include "api/intake.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/os.h"

#define ANSWER_BYTES_MAX (256u << 20)
#define INLINE_BYTES_MAX \
    (16u << 10) /* of a body: 1 to 2 ms of the event thread's time, 4 at worst */

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
    intake in; /* the clerk's thread has this and the next three while is_preparing */
    buf body;  /* of a large request, until it is read */
    bool is_fine;
    api_error refusal; /* meaningful when it is not */
    clerk_job job;
    bool is_preparing; /* the clerk has it, or take_back is on its way */
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
    intake_deinit(&c->in);
    buf_deinit(&c->body);
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
        total.cached_tokens += i % c->in.request.n == 0 ? u.cached_tokens : 0;
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
        .is_stream = !c->is_preparing && c->in.request.is_stream,
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
    const bool is_ours =
        c->is_preparing ? clerk_withdraw(c->context.clerk, &c->job) : !atomic_load(&c->is_posted);
    if (is_ours) {
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

/* Instead of an answer, or of its rest. */
static void refuse(completion *c, const api_error *e) {
    release_requests(c);
    c->n_done = c->n_choices; /* nothing left to pump */
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
    if (c->in.request.has_usage) {
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
    if (!c->in.request.options.has_logprobs) {
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
    if (c->in.request.is_stream) {
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

static void set_late(const completion *c, api_error *e) {
    char message[128];
    snprintf(message, sizeof message, "no token came within 'timeout_ms' = %u",
             c->in.request.options.deadline_ms);
    api_error_set(e, 504, "deadline_exceeded", message);
}

/* What ends a completion early: an engine error, or a cancellation that the client did not ask for
 * (the engine is closing). */
static bool find_failure(const completion *c, api_error *e) {
    uint32_t i = 0;
    while (i < c->n_choices && !is_failure(&c->choices[i], c->choices[i].finish)) {
        i++;
    }
    if (i == c->n_choices) {
        return false;
    }
    const choice *ch = &c->choices[i];
    if (ch->finish == WEFT_FINISH_DEADLINE) {
        set_late(c, e);
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
        refuse(c, &e);
    } else if (c->n_done == c->n_choices) {
        if (c->in.request.is_stream) {
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

/* The client's time runs from the request's arrival: what is left of it, in ms. */
static bool take_deadline(const completion *c, uint32_t *ms, api_error *e) {
    const uint64_t spent_ms = (clock_now_ns() - c->start_ns) / 1000000u;
    if (*ms != 0 && spent_ms >= *ms) {
        set_late(c, e);
        return false;
    }
    *ms -= *ms != 0 ? (uint32_t)spent_ms : 0;
    return true;
}

static bool submit_choice(completion *c, choice *ch, const weft_tokens *prompt, uint32_t number,
                          api_error *e) {
    weft_error err;
    weft_request_options o = c->in.request.options;
    o.prompt = prompt->ids;
    o.n_prompt = prompt->count;
    o.choice = number;
    o.on_ready = on_ready;
    o.user = c;
    o.client = c->context.client;
    if (!take_deadline(c, &o.deadline_ms, e)) {
        return false;
    }
    const weft_status status = weft_request_submit(&ch->rq, c->context.en, &o, &err);
    if (status == WEFT_AGAIN) {
        return api_error_full(e, c->context.en, err.message);
    }
    return status == WEFT_OK || api_error_from(e, status, &err);
}

static bool submit_all(completion *c, api_error *e) {
    weft_request_options *o = &c->in.request.options;
    const uint32_t n_each = c->in.request.n, n = c->in.n_prompts * n_each;
    c->choices = mem_zalloc(MEM_API, n, sizeof *c->choices);
    if (c->choices == NULL) {
        return api_error_set(e, 500, NULL, "out of memory for a request");
    }
    c->n_choices = n;
    for (uint32_t i = 0; i < n; i++) {
        buf_init(&c->choices[i].text, MEM_API, ANSWER_BYTES_MAX);
        c->choices[i].logprobs = o->has_logprobs ? json_array() : NULL;
    }
    if (!o->has_seed) {                  /* all choices share one */
        o->seed = os_random_u64() >> 11; /* what a JSON number carries exactly */
        o->has_seed = true;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!submit_choice(c, &c->choices[i], &c->in.prompts[i / n_each], i, e)) {
            return false;
        }
    }
    return true;
}

/* The request has been read. */
static void go_on(completion *c) {
    api_error e = c->refusal;
    c->context.refused->early += c->in.is_early;
    c->context.refused->too_long += c->in.is_too_long;
    c->prompt_tokens = intake_prompt_tokens(&c->in);
    c->head.has_usage_field = c->in.request.has_usage;
    const bool is_fine = c->is_fine && submit_all(c, &e);
    intake_forget_prompts(&c->in);
    if (!is_fine) {
        refuse(c, &e);
    } else if (c->in.request.is_stream && !c->explains_cache) {
        begin_stream(c);
    }
}

/* ---- large bodies: read by the clerk ---- */

static void read_body(void *owner) {
    completion *c = owner;
    c->is_fine = intake_read(&c->in, c->head.is_chat ? OPENAI_CHAT : OPENAI_TEXT,
                             buf_view(&c->body), c->head.model, c->context.en, &c->refusal);
    buf_deinit(&c->body);
}

static void take_back(void *arg) {
    completion *c = arg;
    if (c->is_over) {
        free_completion(c);
        return;
    }
    c->is_preparing = false;
    go_on(c);
}

static bool post_back(void *owner) {
    completion *c = owner;
    return http_server_post(c->server, take_back, c);
}

static void drop(void *owner) { free_completion(owner); }

static void give_to_clerk(completion *c) {
    clerk *k = c->context.clerk;
    http_take_body(c->x, &c->body);
    c->job = (clerk_job){
        .owner = c, .bytes = c->body.len, .run = read_body, .done = post_back, .drop = drop};
    c->is_preparing = clerk_try_give(k, &c->job);
    if (!c->is_preparing) {
        api_error e;
        char message[160];
        snprintf(message, sizeof message,
                 "%zu bytes of large requests wait to be read and this one has %zu, at most %u may "
                 "wait",
                 clerk_load_now(k).bytes, c->job.bytes, COMPLETION_CLERK_BYTES_MAX);
        buf_deinit(&c->body);
        api_error_full(&e, c->context.en, message);
        c->context.refused->early++;
        refuse(c, &e);
    }
}

void completion_start(http_exchange *x, openai_kind kind, const completion_context *context) {
    completion *c = mem_zalloc(MEM_API, 1, sizeof *c);
    if (c == NULL) {
        api_error e;
        api_error_set(&e, 500, NULL, "out of memory for a request");
        api_error_respond(&e, x);
        return;
    }
    const str body = http_body(x);
    c->x = x;
    c->server = http_exchange_server(x);
    c->context = *context;
    c->start_ns = clock_now_ns();
    c->explains_cache = str_eq_cstr(http_header(x, "X-Weft-Cache"), "explain");
    buf_init(&c->event, MEM_API, ANSWER_BYTES_MAX);
    completion_head_init(&c->head, kind == OPENAI_CHAT, context->model_id);
    http_on_end(x, on_end, c);
    if (body.len > INLINE_BYTES_MAX) {
        give_to_clerk(c);
    } else {
        c->is_fine = intake_read(&c->in, kind, body, c->head.model, context->en, &c->refusal);
        go_on(c);
    }
}
