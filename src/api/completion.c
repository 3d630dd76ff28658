/* completion.c - the life of a completion request on the event thread.
 *
 * Waking: the engine's thread calls on_ready under the request's lock; it posts completion_pump
 * unless one is already on its way. Releasing a request takes the same lock, so once on_end has
 * released them all nobody posts any more; whoever comes last, on_end or the posted pump, frees.
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
    const weft_engine *en;
    choice *choices; /* [n_choices]: prompt by prompt, n each */
    uint32_t n_choices, n_done;
    uint32_t prompt_tokens; /* each prompt once */
    bool is_streaming;      /* the stream has begun */
    bool is_over;           /* the exchange is */
    _Atomic bool is_posted;
} completion;

static void pump(void *arg);

static void on_ready(void *user) {
    completion *c = user;
    if (!atomic_exchange(&c->is_posted, true) && !http_server_post(c->server, pump, c)) {
        atomic_store(&c->is_posted, false); /* the loop is over, or memory is: on_end frees */
    }
}

static void free_completion(completion *c) {
    for (uint32_t i = 0; i < c->n_choices; i++) {
        buf_deinit(&c->choices[i].text);
        json_decref(c->choices[i].logprobs);
    }
    mem_free(c->choices);
    openai_request_deinit(&c->request);
    mem_free(c);
}

static void release_requests(completion *c) {
    for (uint32_t i = 0; i < c->n_choices; i++) {
        weft_request_release(&c->choices[i].rq);
    }
}

static void on_end(void *owner, bool is_complete) {
    completion *c = owner;
    (void)is_complete;
    release_requests(c);
    c->is_over = true;
    if (!atomic_load(&c->is_posted)) {
        free_completion(c);
    }
}

/* ---- answers ---- */

static weft_usage total_usage(const completion *c) {
    weft_usage total = {.prompt_tokens = c->prompt_tokens};
    for (uint32_t i = 0; i < c->n_choices; i++) {
        const weft_usage u = weft_request_usage(c->choices[i].rq);
        total.completion_tokens += u.completion_tokens;
        total.cached_tokens += u.cached_tokens;
        total.seed = i == 0 ? u.seed : total.seed;
    }
    return total;
}

static void respond_whole(completion *c) {
    json_t *choices = json_array();
    for (uint32_t i = 0; i < c->n_choices; i++) {
        choice *ch = &c->choices[i];
        json_array_append_new(choices, completion_json_choice(&c->head, i, buf_view(&ch->text),
                                                              ch->logprobs, ch->finish));
    }
    const weft_usage usage = total_usage(c);
    api_json_respond(c->x, 200, completion_json_document(&c->head, choices, &usage));
}

static void respond_error(completion *c, const api_error *e) {
    if (c->is_streaming) {
        (void)api_json_event(c->x, api_json_error(e));
        http_stream_end(c->x);
    } else {
        api_error_respond(e, c->x);
    }
}

static bool stream_event(completion *c, uint32_t i, const weft_event *ev, json_t *logprobs) {
    const str text = str_from(ev->text, ev->text_len);
    if (ev->text_len > 0 || json_array_size(logprobs) > 0) {
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
        json_array_append_new(
            out, completion_json_logprob(&c->head, c->en, &ev->logprobs[t], &ch->text_offset));
    }
    return out;
}

/* False when the exchange is over: the completion may not be touched but through on_end. */
static bool take_event(completion *c, uint32_t i, const weft_event *ev) {
    choice *ch = &c->choices[i];
    json_t *logprobs = event_logprobs(c, ch, ev);
    bool is_alive = true;
    if (c->request.is_stream) {
        is_alive = stream_event(c, i, ev, logprobs);
    } else {
        buf_append(&ch->text, ev->text, ev->text_len);
        json_array_extend(ch->logprobs, logprobs);
    }
    if (ch->text.is_failed) {
        ch->finish = WEFT_FINISH_ERROR; /* out of memory: no answer is better than half of one */
    }
    json_decref(logprobs);
    if (is_alive && ev->is_done) {
        ch->finish = ev->finish;
        c->n_done++;
    }
    return is_alive;
}

/* What ends a completion early: an engine error, or a cancellation that the client did not ask for
 * (the engine is closing). */
static bool find_failure(const completion *c, api_error *e) {
    for (uint32_t i = 0; i < c->n_choices; i++) {
        const choice *ch = &c->choices[i];
        if (ch->finish == WEFT_FINISH_ERROR) {
            const char *why = weft_request_error(ch->rq);
            return !api_error_set(e, 500, NULL, why[0] != 0 ? why : "out of memory for the answer");
        }
        if (ch->finish == WEFT_FINISH_CANCELLED) {
            return !api_error_set(e, 503, "shutting_down", "the server is shutting down");
        }
    }
    return false;
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

static bool submit_choice(completion *c, weft_engine *en, choice *ch, const weft_tokens *prompt,
                          uint32_t number, api_error *e) {
    weft_error err;
    weft_request_options o = c->request.options;
    o.prompt = prompt->ids;
    o.n_prompt = prompt->count;
    o.choice = number;
    o.on_ready = on_ready;
    o.user = c;
    const weft_status status = weft_request_submit(&ch->rq, en, &o, &err);
    return status == WEFT_OK || api_error_from(e, status, &err);
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
    const uint32_t queue = weft_engine_info_now(en).queue;
    if (n > queue) {
        return api_error_bad(e, "n", "%u prompts of 'n' = %u choices, the queue holds %u",
                             n_prompts, c->request.n, queue);
    }
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
    c->en = context->en;
    completion_head_init(&c->head, kind == OPENAI_CHAT, context->model_id);
    const bool is_fine = openai_request_read(&c->request, kind, http_body(x), &e) &&
                         check_model(c, &e) && submit_all(c, context->en, &e);
    c->head.has_usage_field = c->request.has_usage;
    http_on_end(x, on_end, c);
    if (!is_fine) {
        release_requests(c);
        c->n_done = c->n_choices; /* nothing left to pump */
        api_error_respond(&e, x);
    } else if (c->request.is_stream) {
        begin_stream(c);
    }
}
